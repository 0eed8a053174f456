package cards

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/policy"
)

// offlineAfter is how long a machine may be silent before a card says that it is
// probably offline: a live machine's last full report is up to a day old.
const offlineAfter = 25 * time.Hour

// Unread says why facts about a machine could not be read; empty fields were
// read. What it holds may come from a service: outside text.
type Unread struct {
	Users   string `json:"users,omitempty"`
	Alerts  string `json:"alerts,omitempty"`
	Actions string `json:"actions,omitempty"`
	Owners  string `json:"owners,omitempty"`
}

// TargetFacts is what an approver is told about a target machine. It is read
// when the request is opened, stored in [approvals.Target.Facts] and shown
// unchanged ever after, with its time.
type TargetFacts struct {
	OS       string    `json:"os,omitempty"`
	Health   string    `json:"health,omitempty"`
	LastSeen time.Time `json:"last_seen,omitzero"`
	Group    string    `json:"group,omitempty"`
	Tags     []string  `json:"tags,omitempty"`
	Value    string    `json:"value,omitempty"`
	Risk     string    `json:"risk,omitempty"`
	Users    []string  `json:"users,omitempty"`
	// Isolation is the last known state, Since its time.
	Isolation defender.IsolationState `json:"isolation,omitempty"`
	Since     time.Time               `json:"since,omitzero"`
	// Pending are the machine actions that have not ended.
	Pending []string `json:"pending,omitempty"`
	// OpenAlerts counts unresolved alerts; the worst of them is named.
	OpenAlerts    int               `json:"open_alerts,omitempty"`
	WorstSeverity defender.Severity `json:"worst_severity,omitempty"`
	WorstTitle    string            `json:"worst_title,omitempty"`
	WorstID       string            `json:"worst_id,omitempty"`
	Unread        Unread            `json:"unread,omitzero"`
	ReadAt        time.Time         `json:"read_at"`
	// FirstSeen and EntraDevice tell a machine from one that was set up anew under
	// its name.
	FirstSeen   time.Time `json:"first_seen,omitzero"`
	EntraDevice string    `json:"entra_device,omitempty"`
}

// FactsOf condenses what was read about a machine into what an approver sees.
func FactsOf(v MachineView, readAt time.Time) TargetFacts {
	m := v.Machine
	isolation := defender.IsolationOf(v.Actions)
	f := TargetFacts{
		OS: m.OS, Health: m.Health, LastSeen: m.LastSeen, Group: m.Group, Tags: m.Tags, Value: m.Value, Risk: m.Risk,
		Isolation: isolation.State, Since: isolation.Since,
		Unread: v.Unread, ReadAt: readAt, FirstSeen: m.FirstSeen, EntraDevice: m.EntraDeviceID,
	}
	for _, u := range v.Users {
		f.Users = append(f.Users, accountName(defender.AccountName{Name: u.Name, Domain: u.Domain}))
	}
	for _, a := range v.Actions {
		if !a.Status.Final() {
			f.Pending = append(f.Pending, fmt.Sprintf("%s %s since %s", a.Type, a.Status, a.Created.UTC().Format("2006-01-02 15:04 UTC")))
		}
	}
	for _, a := range openAlerts(v.Alerts) {
		f.OpenAlerts++
		if f.WorstID == "" || a.Severity.Rank() > f.WorstSeverity.Rank() {
			f.WorstSeverity, f.WorstTitle, f.WorstID = a.Severity, a.Title, a.ID
		}
	}
	return f
}

// PolicyMachine is what rules and routes see of m.
func PolicyMachine(m defender.Machine) *policy.Machine {
	return &policy.Machine{
		ID: m.ID, Name: strings.ToLower(m.Name), OS: m.OS, Tags: m.Tags, Group: m.Group,
		Risk: m.Risk, Exposure: m.Exposure, Value: m.Value, Health: m.Health,
	}
}

// openAlerts are the unresolved ones.
func openAlerts(alerts []defender.Alert) []defender.Alert {
	return slices.DeleteFunc(slices.Clone(alerts), func(a defender.Alert) bool { return a.Status == "Resolved" })
}

// Bounds of what is shown of targets. Both platforms limit a card as a whole, so
// the more targets there are, the less of each that others chose is shown, each
// cut with a visible mark; IDs are always whole.
const (
	// fewTargets have a section each; more of them have a line each.
	fewTargets = 3
	// roomForFew is shared by that many targets, for each of their values.
	roomForFew   = 240
	roomForName  = 40 // in a line
	roomForTitle = 80
	roomForFact  = 20
)

// targetSections is everything about the targets, never folded.
func targetSections(r approvals.Request, p Portal) []chat.Section {
	if len(r.Targets) > fewTargets {
		s := chat.Section{Heading: fmt.Sprintf("%s 1 to %d, in this order", targetNoun(r.Targets[0].Kind), len(r.Targets))}
		for _, t := range r.Targets {
			s.Lines = append(s.Lines, targetLine(r, t))
		}
		return []chat.Section{s}
	}
	var sections []chat.Section
	for _, t := range r.Targets {
		sections = append(sections, targetSection(r, t, p))
	}
	return sections
}

// targetLine is a target among many. What the machine says of itself is one run
// of outside text, in which no separator can be imitated, behind everything else.
func targetLine(r approvals.Request, t approvals.Target) chat.Text {
	line := sentence(chat.Plain(fmt.Sprintf("%d.", t.Index+1)), outside(within(t.Name, roomForName)), code(t.ID))
	if outcome := targetOutcome(r, t); len(outcome) > 0 {
		return dotted(line, outcome)
	}
	if t.Kind != approvals.TargetMachine {
		return line
	}
	f, ok := factsOf(t)
	if !ok {
		return dotted(line, chat.Bold("its facts could not be read"))
	}
	state, alerts := string(f.Isolation), plural(f.OpenAlerts, "open alert", "open alerts")
	if f.Unread.Actions != "" {
		state = "state not read"
	}
	if f.Unread.Alerts != "" {
		alerts = "alerts not read"
	}
	seen := "never seen"
	if !f.LastSeen.IsZero() {
		seen = "seen " + f.LastSeen.UTC().Format("2006-01-02 15:04 UTC")
	}
	var own []string
	for _, v := range []struct{ label, value string }{
		{"", f.OS}, {"group ", f.Group}, {"tags ", strings.Join(f.Tags, ", ")}, {"users ", strings.Join(f.Users, ", ")},
	} {
		if v.value != "" {
			own = append(own, v.label+within(strings.ReplaceAll(v.value, "·", "."), roomForFact))
		}
	}
	ours := []string{state, seen, alerts}
	if beware := Doubts(r, t); len(beware) > 0 {
		ours = append(ours, beware.String())
	}
	return dotted(line, chat.Plain(strings.Join(ours, " · ")), optional(strings.Join(own, " · ")))
}

// targetSection is everything about one target, one labelled line per value.
func targetSection(r approvals.Request, t approvals.Target, p Portal) chat.Section {
	s := chat.Section{Heading: targetHeading(r, t)}
	s.Lines = append(s.Lines,
		labelled("Name", outside(within(t.Name, roomForFew))),
		labelled("ID", code(t.ID)),
	)
	if t.Kind == approvals.TargetMachine {
		if beware := Doubts(r, t); len(beware) > 0 && !r.State.Resolved() {
			s.Lines = append(s.Lines, beware)
		}
		s.Lines = append(s.Lines, machineFactLines(r, t, p)...)
	}
	if t.Kind == approvals.TargetMute {
		s.Lines = append(s.Lines, muteFactLines(t)...)
	}
	if outcome := targetOutcome(r, t); len(outcome) > 0 {
		s.Lines = append(s.Lines, labelled("Now", outcome))
	}
	return s
}

func targetHeading(r approvals.Request, t approvals.Target) string {
	noun := targetNoun(t.Kind)
	if len(r.Targets) == 1 {
		return noun
	}
	return fmt.Sprintf("%s %d of %d", noun, t.Index+1, len(r.Targets))
}

func targetNoun(k approvals.TargetKind) string {
	return map[approvals.TargetKind]string{
		approvals.TargetMachine:       "Machine",
		approvals.TargetIndicator:     "Indicator",
		approvals.TargetMachineAction: "Machine action",
		approvals.TargetRequest:       "Request",
		approvals.TargetTenant:        "Tenant",
		approvals.TargetMute:          "Mute",
	}[k]
}

// factsOf is what was read about a machine when the request was opened.
func factsOf(t approvals.Target) (f TargetFacts, ok bool) {
	err := json.Unmarshal(t.Facts, &f)
	return f, err == nil && !f.ReadAt.IsZero()
}

func machineFactLines(r approvals.Request, t approvals.Target, p Portal) []chat.Text {
	f, ok := factsOf(t)
	if !ok {
		return []chat.Text{chat.Bold("Facts about this machine could not be read. Look at it in the Defender portal before you decide.")}
	}
	tier := "not tier 0"
	if r.Rule.TierZero {
		tier = "this request counts as tier 0"
	}
	room := roomForFew / len(r.Targets)
	f.WorstTitle = within(f.WorstTitle, room)
	return []chat.Text{
		labelled("OS", outside(within(f.OS, room))),
		labelled("Last seen", lastSeen(f.LastSeen, f.ReadAt, within(f.Health, room))),
		labelled("Signed in", either(f.Unread.Users, listWithin(f.Users, room))),
		labelled("State at request", either(f.Unread.Actions, isolationLine(f.Isolation, f.Since))),
		labelled("Pending actions", either(f.Unread.Actions, listOrNone(f.Pending, room))),
		labelled("Open alerts", either(f.Unread.Alerts, openAlertsLine(f, p))),
		labelled("Group", outside(within(f.Group, room))),
		labelled("Tags", listWithin(f.Tags, room)),
		labelled("Tier", dotted(chat.Plain(tier), deviceValue(within(f.Value, room)))),
		labelled("Facts read", dotted(chat.At(f.ReadAt), machineLink(p, t.ID))),
	}
}

// either is value, or why it could not be read.
func either(unread string, value chat.Text) chat.Text {
	if unread != "" {
		return notRead(unread)
	}
	return value
}

func listOrNone(values []string, room int) chat.Text {
	if len(values) == 0 {
		return chat.Plain("none")
	}
	return listWithin(values, room)
}

func lastSeen(seen, now time.Time, health string) chat.Text {
	t := when(seen)
	if !seen.IsZero() && now.Sub(seen) > offlineAfter {
		t = chat.Join(t, chat.Plain(" (probably offline)"))
	}
	if health != "" {
		t = dotted(t, chat.Untrusted(health))
	}
	return t
}

func isolationLine(state defender.IsolationState, since time.Time) chat.Text {
	t := chat.Plain(string(state) + ", as last known")
	if !since.IsZero() {
		t = chat.Join(t, chat.Plain(" since "), chat.At(since))
	}
	return t
}

func openAlertsLine(f TargetFacts, p Portal) chat.Text {
	if f.OpenAlerts == 0 {
		return chat.Plain("none")
	}
	t := chat.Join(chat.Plain(fmt.Sprintf("%d, worst ", f.OpenAlerts)), severityWord(f.WorstSeverity), chat.Plain(": "), outside(f.WorstTitle))
	if url := alertURL(p, f.WorstID); url != "" {
		t = dotted(t, chat.Link("open it", url))
	}
	return t
}

func deviceValue(v string) chat.Text {
	if v == "" || v == "Normal" {
		return nil
	}
	return sentence(chat.Plain("value in Defender"), chat.Untrusted(v))
}

func machineLink(p Portal, id string) chat.Text {
	url := machineURL(p, id)
	if url == "" {
		return nil
	}
	return chat.Link("open in Defender", url)
}

// targetOutcome says how far the action is on this target, in Defender's words
// where there are any; nothing before it began.
func targetOutcome(r approvals.Request, t approvals.Target) chat.Text {
	w := wordsOf(r.Action)
	var line chat.Text
	switch t.State {
	case approvals.Approved:
		if t.Why == "" {
			return nil
		}
		line = chat.Plain("not sent yet")
	case approvals.Executing:
		line = chat.Plain("being sent to Defender")
	case approvals.Submitted:
		line = chat.Plain("Defender has taken it and is working; not " + w.done + " yet")
	case approvals.Unknown:
		line = chat.Plain("no clear answer from Defender; it may or may not have taken effect")
	case approvals.Succeeded:
		line = chat.Bold(w.done)
	case approvals.Failed:
		line = chat.Bold("failed, not " + w.done)
	case approvals.Void:
		line = chat.Plain("not started")
	default:
		return nil
	}
	if t.ActionStatus != "" {
		line = chat.Join(line, chat.Plain(" · Defender says "), chat.Untrusted(t.ActionStatus))
	}
	if t.MachineAction != "" {
		line = chat.Join(line, chat.Plain(" · machine action "), chat.Code(t.MachineAction))
	}
	if t.Why != "" {
		line = chat.Join(line, chat.Plain(" · "), chat.Untrusted(t.Why))
	}
	if !t.Updated.IsZero() {
		line = chat.Join(line, chat.Plain(" · "), chat.At(t.Updated))
	}
	return line
}
