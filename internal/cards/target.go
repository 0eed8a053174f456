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
}

// FactsOf condenses what was read about a machine into what an approver sees.
func FactsOf(v MachineView, readAt time.Time) TargetFacts {
	m := v.Machine
	isolation := defender.IsolationOf(v.Actions)
	f := TargetFacts{
		OS: m.OS, Health: m.Health, LastSeen: m.LastSeen, Group: m.Group, Tags: m.Tags, Value: m.Value, Risk: m.Risk,
		Isolation: isolation.State, Since: isolation.Since,
		Unread: v.Unread, ReadAt: readAt,
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

// targetSection is everything about one target, one labelled line per value,
// never folded.
func targetSection(r approvals.Request, t approvals.Target, p Portal) chat.Section {
	s := chat.Section{Heading: targetHeading(r, t)}
	s.Lines = append(s.Lines,
		labelled("Name", outside(t.Name)),
		labelled("ID", code(t.ID)),
	)
	if t.Kind == approvals.TargetMachine {
		s.Lines = append(s.Lines, machineFactLines(r, t, p)...)
	}
	if outcome := targetOutcome(r, t); len(outcome) > 0 {
		s.Lines = append(s.Lines, labelled("Now", outcome))
	}
	return s
}

func targetHeading(r approvals.Request, t approvals.Target) string {
	noun := map[approvals.TargetKind]string{
		approvals.TargetMachine:       "Machine",
		approvals.TargetFile:          "File",
		approvals.TargetIndicator:     "Indicator",
		approvals.TargetMachineAction: "Machine action",
		approvals.TargetRequest:       "Request",
		approvals.TargetTenant:        "Tenant",
	}[t.Kind]
	if len(r.Targets) == 1 {
		return noun
	}
	return fmt.Sprintf("%s %d of %d", noun, t.Index+1, len(r.Targets))
}

func machineFactLines(r approvals.Request, t approvals.Target, p Portal) []chat.Text {
	var f TargetFacts
	if err := json.Unmarshal(t.Facts, &f); err != nil || f.ReadAt.IsZero() {
		return []chat.Text{chat.Bold("Facts about this machine could not be read. Look at it in the Defender portal before you decide.")}
	}
	tier := "not tier 0"
	if r.Rule.TierZero {
		tier = "this request counts as tier 0"
	}
	return []chat.Text{
		labelled("OS", outside(f.OS)),
		labelled("Last seen", lastSeen(f.LastSeen, f.ReadAt, f.Health)),
		labelled("Signed in", either(f.Unread.Users, list(f.Users))),
		labelled("State at request", either(f.Unread.Actions, isolationLine(f.Isolation, f.Since))),
		labelled("Pending actions", either(f.Unread.Actions, listOrNone(f.Pending))),
		labelled("Open alerts", either(f.Unread.Alerts, openAlertsLine(f, p))),
		labelled("Group", outside(f.Group)),
		labelled("Tags", list(f.Tags)),
		labelled("Tier", dotted(chat.Plain(tier), deviceValue(f.Value))),
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

func listOrNone(values []string) chat.Text {
	if len(values) == 0 {
		return chat.Plain("none")
	}
	return list(values)
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
	return sentence(chat.Plain("device value"), chat.Untrusted(v))
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
