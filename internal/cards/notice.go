package cards

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Notice is a short message about the bot itself.
func Notice(tone chat.Tone, title string, lines ...chat.Text) chat.Message {
	return chat.Message{Title: chat.Plain(title), Tone: tone, Sections: []chat.Section{{Lines: lines}}}
}

// ReadersView is a place that got nothing because of who reads it.
type ReadersView struct {
	Place string
	// Requests or results of scheduled hunts were to go there; otherwise alerts.
	Requests, Hunts bool
	Found           chat.Readers
	// Unknown is why nobody can tell who reads it.
	Unknown string
}

// Readers tells the ops channel which place gets nothing, why and what to do.
func Readers(v ReadersView) chat.Message {
	what, instead, allow := "Alerts", "They go to the fallback of notify.", "or allow guests by name: allow_guests: true at every route that names it (under notify for ops and fallback)."
	switch {
	case v.Hunts:
		what, instead, allow = "Scheduled hunts", "What they find waits until it may be posted.", "or allow guests by name: allow_guests: true at the schedule."
	case v.Requests:
		what, instead, allow = "Requests for approval", "They go to direct chats: of who asked, and of everybody who may approve.", "or allow guests by name: allow_guests: true under approvals, for the places of post_to."
	}
	var why, todo chat.Text
	switch {
	case v.Unknown != "":
		why = chat.Join(chat.Plain("Who reads it cannot be found out: "), chat.Untrusted(v.Unknown))
		todo = chat.Plain("It is tried again by itself. If it stays so, look at what the bot may read of the channel's members, use a smaller channel, " + allow)
	case v.Found.Strangers:
		why = chat.Plain("People of other organisations read it.")
		todo = chat.Plain("Use a channel of your own. Only the alerts of one customer may go to channels shared with it: shared_channels: alerts at its tenant.")
	default:
		why = chat.Plain("Guests read it.")
		todo = chat.Plain("Take them out of the channel, use another one, " + allow)
	}
	return Notice(chat.Warning, what+" are not posted to a place because of who reads it",
		chat.Join(chat.Plain("Place "), chat.Code(v.Place), chat.Plain(". "), why), chat.Plain(instead), todo)
}

// RequestReminder says that a request still waits.
func RequestReminder(r approvals.Request, now time.Time) chat.Message {
	waited := now.Sub(r.Opened).Round(time.Minute)
	m := chat.Message{
		Title: chat.Join(chat.Plain(fmt.Sprintf("#%d still waits after %s: ", r.Number, plural(int(waited.Minutes()), "minute", "minutes"))), requestSubject(r)),
		Tone:  chat.Notice,
		Facts: []chat.Fact{
			{Label: "Asked by", Value: outside(r.RequesterName)},
			{Label: "Approvals", Value: approvalCount(r)},
			{Label: "Decide by", Value: chat.At(r.Expires)},
		},
		Buttons: []chat.Button{showCard(r)},
	}
	m.Preview = m.Title
	return m
}

// AskedNext says that a request still waits and that the groups of a step of its
// rule may approve it from now on.
func AskedNext(r approvals.Request, step int) chat.Message {
	m := chat.Message{
		Title: chat.Join(chat.Plain(fmt.Sprintf("#%d still waits, so ", r.Number)), groupNames(r.Rule.NextGroups(step)), chat.Plain(" can approve it now, too: "), requestSubject(r)),
		Tone:  chat.Notice,
		Facts: []chat.Fact{
			{Label: "Asked by", Value: outside(r.RequesterName)},
			{Label: "Approvals", Value: approvalCount(r)},
			{Label: "Waits for", Value: waitsFor(r)},
			{Label: "Decide by", Value: chat.At(r.Expires)},
		},
		Buttons: []chat.Button{showCard(r)},
	}
	m.Preview = m.Title
	return m
}

// Unreached tells a requester that no approver has been shown the request.
func Unreached(r approvals.Request) chat.Message {
	return Notice(chat.Warning, fmt.Sprintf("No approver could be reached for #%d", r.Number),
		chat.Plain("The card has not been posted to anyone who could approve it. It stays open and is tried again."),
		chat.Join(chat.Plain("Ask an approver to type "), chat.Bold(fmt.Sprintf("approve %d", r.Number)), chat.Plain(", or act in the Defender portal if it cannot wait.")))
}

// AlertRaised is the short new message on a raised severity: edits notify nobody.
func AlertRaised(a defender.Alert) chat.Message {
	title := chat.Join(chat.Plain("Raised to "), severityWord(a.Severity), chat.Plain(": "), outside(a.Title))
	return chat.Message{
		Preview: title, Title: title, Tone: severityTone(a.Severity),
		Facts:   []chat.Fact{{Label: "Machine", Value: outside(a.MachineName)}},
		Buttons: []chat.Button{{Label: "Show the alert", Action: ActionAlertShow, Value: a.ID}},
	}
}

// incidentMachines is how many machines the head of an incident's thread names.
const incidentMachines = 5

// WithIncident adds to the card that heads an incident's thread what the thread
// holds, first of all facts. A head whose own alert is resolved stays loud while
// others are open.
func WithIncident(m chat.Message, head defender.Alert, others []defender.Alert) chat.Message {
	if len(others) == 0 {
		return m
	}
	all := append([]defender.Alert{head}, others...)
	open := openAlerts(all)
	state := chat.Plain(fmt.Sprintf("%s, all resolved", plural(len(all), "alert", "alerts")))
	if len(open) > 0 {
		state = chat.Plain(fmt.Sprintf("%s, %d open: %s", plural(len(all), "alert", "alerts"), len(open), severityCounts(open)))
	}
	m.Facts = append([]chat.Fact{
		{Label: fmt.Sprintf("Incident %d", head.IncidentID), Value: chat.Join(state, chat.Plain("; the others are in this thread"))},
		{Label: "Its machines", Value: incidentMachineNames(all)},
	}, m.Facts...)
	if worst := worstOf(open); head.Status == "Resolved" && len(open) > 0 {
		m.Tone = severityTone(worst)
	}
	return m
}

// Unshowable stands for an alert of which nothing but the ID can be shown.
func Unshowable(alert string) chat.Message {
	title := chat.Join(chat.Plain("An alert that cannot be shown: "), chat.Untrusted(alert))
	return chat.Message{Preview: title, Title: title, Tone: chat.Warning}
}

// SetAside names an alert that could not be recorded and will not be posted as a card.
func SetAside(alert, title string) chat.Message {
	return Notice(chat.Danger, "An alert that could not be recorded",
		chat.Join(outside(title), chat.Plain(" · "), chat.Untrusted(alert)),
		chat.Plain("Look at it in the Defender portal. All others are posted; the details are in mdebot's log."))
}

func incidentMachineNames(alerts []defender.Alert) chat.Text {
	var names []string
	for _, a := range alerts {
		if name := cmp.Or(a.MachineName, a.MachineID); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	t := list(names[:min(len(names), incidentMachines)])
	if more := len(names) - incidentMachines; more > 0 {
		t = chat.Join(t, chat.Plain(" and "+plural(more, "more", "more")))
	}
	return t
}

func worstOf(alerts []defender.Alert) defender.Severity {
	var worst defender.Severity
	for _, a := range alerts {
		if worst == "" || a.Severity.Rank() > worst.Rank() {
			worst = a.Severity
		}
	}
	return worst
}

// OpenAlerts sums up what was open when watching began.
func OpenAlerts(alerts []defender.Alert) chat.Message {
	return Notice(chat.Neutral, "mdebot watches this tenant from now on",
		chat.Plain(fmt.Sprintf("Already open in Defender and not posted here: %s.", severityCounts(alerts))),
		chat.Join(chat.Plain("See them with "), chat.Bold("alerts"), chat.Plain(".")))
}

// Blind says that alerts cannot be read.
func Blind(t defender.TenantID, since time.Time, problem string) chat.Message {
	m := Notice(chat.Danger, "Blind: alerts cannot be read from Defender",
		chat.Join(chat.Plain("Last good look: "), when(since), chat.Plain(". New alerts are not seen here; watch the Defender portal.")),
		chat.Plain("This is announced again when it is over, and everything in between will be posted."))
	if problem != "" {
		m.Facts = []chat.Fact{{Label: "Reason", Value: chat.Untrusted(problem)}}
	}
	m.Note = chat.Join(chat.Plain("Tenant "), code(string(t)))
	return m
}

// SeesAgain says that blindness is over.
func SeesAgain(t defender.TenantID, since, now time.Time) chat.Message {
	m := Notice(chat.Good, "Alerts are read again",
		chat.Join(chat.Plain("Blind from "), when(since), chat.Plain(" to "), when(now), chat.Plain(". What came in between has been read and is being posted.")))
	m.Note = chat.Join(chat.Plain("Tenant "), code(string(t)))
	return m
}

// StormView is what the head message of a storm shows.
type StormView struct {
	Began, Last time.Time
	Over        bool
	Alerts      []defender.Alert // held back so far
}

// stormMachines is how many machines and techniques a storm's head names.
const stormMachines = 10

// Storm is the one live message that counts a flood of alerts.
func Storm(v StormView) chat.Message {
	title := fmt.Sprintf("Alert storm: %s counted here", plural(len(v.Alerts), "alert", "alerts"))
	tone := chat.Danger
	if v.Over {
		title, tone = fmt.Sprintf("Alert storm is over: %s", plural(len(v.Alerts), "alert", "alerts")), chat.Neutral
	}
	m := chat.Message{
		Title: chat.Plain(title), Preview: chat.Plain(title), Tone: tone,
		Facts: []chat.Fact{
			{Label: "By severity", Value: chat.Plain(severityCounts(v.Alerts))},
			{Label: "Began", Value: when(v.Began)},
			{Label: "Latest", Value: when(v.Last)},
		},
		Note: chat.Plain("Every one of them is named in the thread of this message."),
	}
	machines, techniques := map[string]int{}, map[string]int{}
	for _, a := range v.Alerts {
		machines[a.MachineName]++
		for _, t := range a.Techniques {
			techniques[t]++
		}
	}
	m.Sections = append(m.Sections, mostOf("Machines with most alerts", "machine", machines))
	if len(techniques) > 0 {
		m.Sections = append(m.Sections, mostOf("Techniques", "technique", techniques))
	}
	return m
}

// mostOf lists what occurs most often.
func mostOf(heading, what string, counts map[string]int) chat.Section {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	s := chat.Section{Heading: heading}
	for _, name := range names[:min(len(names), stormMachines)] {
		s.Lines = append(s.Lines, chat.Join(outside(name), chat.Plain(fmt.Sprintf(": %d", counts[name]))))
	}
	if more := len(names) - len(s.Lines); more > 0 {
		s.Lines = append(s.Lines, chat.Plain("and "+plural(more, "more "+what, "more "+what+"s")))
	}
	return s
}

// StormFile ends a storm's thread with everything in a file.
func StormFile(n int, file chat.File) chat.Message {
	return chat.Message{
		Title: chat.Plain("All " + plural(n, "alert", "alerts") + " of this storm in a file"),
		Note:  chat.Plain("Where files cannot be posted, alerts --since lists them."), Files: []chat.File{file},
	}
}

// StormPageSize is how many alerts a StormPage names: so few that every platform
// shows all of them, whatever they are called.
const StormPageSize = 25

// StormPage names alerts that a storm holds; first is the number of the first.
func StormPage(alerts []defender.Alert, first int, p Portal) chat.Message {
	m := chat.Message{Title: chat.Plain(fmt.Sprintf("Alerts %d to %d of this storm", first, first+len(alerts)-1))}
	if len(alerts) == 1 {
		m.Title = chat.Plain(fmt.Sprintf("Alert %d of this storm", first))
	}
	var lines []chat.Text
	for i, a := range alerts {
		line := sentence(chat.Plain(fmt.Sprintf("%d.", first+i)), severityWord(a.Severity), outside(a.MachineName), outside(a.Title))
		if url := alertURL(p, a.ID); url != "" {
			line = dotted(line, chat.Link("open", url))
		} else {
			line = dotted(line, chat.Code(a.ID))
		}
		lines = append(lines, line)
	}
	m.Sections = []chat.Section{{Lines: lines}}
	return m
}

// severityCounts is "2 High, 1 Medium", or "none".
func severityCounts(alerts []defender.Alert) string {
	counts := map[int]int{}
	for _, a := range alerts {
		counts[a.Severity.Rank()]++
	}
	words := ""
	for _, s := range []defender.Severity{defender.High, defender.Medium, defender.Low, defender.Informational, defender.UnSpecified} {
		if c := counts[s.Rank()]; c > 0 {
			word := string(s)
			if s == defender.UnSpecified {
				word = "without severity"
			}
			if words != "" {
				words += ", "
			}
			words += fmt.Sprintf("%d %s", c, word)
		}
	}
	if words == "" {
		return "none"
	}
	return words
}

// CredentialEnds says that a client secret or certificate will not work much
// longer.
func CredentialEnds(t tenant.ID, whose, kind string, ends, now time.Time) chat.Message {
	title := "The " + kind + " of " + whose + " ends in " + plural(int(ends.Sub(now).Hours()/24), "day", "days")
	if ends.Before(now) {
		title = "The " + kind + " of " + whose + " has ended"
	}
	return Notice(chat.Warning, title,
		chat.Join(chat.Plain("Tenant "), chat.Code(string(t)), chat.Plain(". It ends at "), chat.At(ends), chat.Plain(".")),
		chat.Plain("Afterwards no alert is read and no machine is isolated. Make a new one under Certificates & secrets of the app registration, give it to mdebot, then delete the old one."))
}
