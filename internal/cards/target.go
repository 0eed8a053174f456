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
	// VPN: see [defender.Machine.OnVPN].
	VPN bool `json:"vpn,omitempty"`
	// File is the one that the action is about, if any.
	File *FileFacts `json:"file,omitempty"`
}

// FileFacts is what an approver is told about a file.
type FileFacts struct {
	SHA1   string   `json:"sha1,omitempty"`
	SHA256 string   `json:"sha256,omitempty"`
	Names  []string `json:"names,omitempty"`
	// Signer is who signed it, and Valid whether that counts.
	Signer        string `json:"signer,omitempty"`
	Valid         bool   `json:"valid,omitempty"`
	Publisher     string `json:"publisher,omitempty"`
	Determination string `json:"determination,omitempty"`
	// Machines is how many of ours it was seen on within thirty days, Global how
	// many anywhere.
	Machines int64     `json:"machines"`
	Global   int64     `json:"global"`
	First    time.Time `json:"first,omitzero"`
	Last     time.Time `json:"last,omitzero"`
	// Here tells whether it was seen on the target machine: "yes", "no" or "".
	Here string `json:"here,omitempty"`
	// Unread says why the rest could not be read, or is empty.
	Unread string `json:"unread,omitempty"`
}

// fileFactLines are what is known about a file, one labelled line per value.
func fileFactLines(f FileFacts, room int) []chat.Text {
	lines := []chat.Text{labelled("File", code(f.SHA1))}
	if f.SHA1 == "" {
		lines[0] = labelled("File", code(f.SHA256))
	}
	if f.Here == "yes" {
		lines = append(lines, labelled("On this machine", chat.Plain("seen within thirty days")))
	}
	if f.Unread != "" {
		return append(lines, labelled("About the file", notRead(f.Unread)))
	}
	signed := chat.Plain("not signed")
	switch {
	case f.Signer != "" && f.Valid:
		signed = chat.Join(chat.Plain("signed by "), chat.Untrusted(within(f.Signer, room)))
	case f.Signer != "":
		signed = chat.Join(chat.Plain("signed by "), chat.Untrusted(within(f.Signer, room)), chat.Plain(", not validly"))
	}
	return append(lines,
		labelled("File names", listWithin(f.Names, room)),
		labelled("Signature", signed),
		labelled("Publisher", outside(within(f.Publisher, room))),
		labelled("Defender holds it for", outside(within(f.Determination, room))),
		labelled("Prevalence", chat.Plain(fmt.Sprintf("%s here within thirty days, %s anywhere", plural(int(f.Machines), "machine", "machines"), plural(int(f.Global), "machine", "machines")))),
	)
}

// ActionFacts is what an approver is told about a machine action that is to be
// cancelled, and about its machine.
type ActionFacts struct {
	TargetFacts
	Type        string    `json:"type"`
	Scope       string    `json:"scope,omitempty"`
	Status      string    `json:"status"`
	By          string    `json:"by,omitempty"`
	Source      string    `json:"source,omitempty"`
	Comment     string    `json:"comment,omitempty"`
	Started     time.Time `json:"started,omitzero"`
	MachineID   string    `json:"machine_id"`
	MachineName string    `json:"machine_name,omitempty"`
}

// ActionFactsOf condenses what was read about a machine action and its machine.
func ActionFactsOf(a defender.MachineAction, v MachineView, readAt time.Time) ActionFacts {
	return ActionFacts{
		TargetFacts: FactsOf(v, readAt), Type: string(a.Type), Scope: a.Scope, Status: string(a.Status), By: a.Requestor, Source: a.Source,
		Comment: a.Comment, Started: a.Created, MachineID: a.MachineID, MachineName: v.Machine.Name,
	}
}

func actionFactLines(r approvals.Request, t approvals.Target, p Portal) []chat.Text {
	var f ActionFacts
	if err := json.Unmarshal(t.Facts, &f); err != nil || f.ReadAt.IsZero() {
		return []chat.Text{chat.Bold("Facts about this machine action could not be read. Look at it in the Defender portal before you decide.")}
	}
	room := roomForFew / len(r.Targets)
	lines := []chat.Text{
		labelled("Action", dotted(outside(within(f.Type, room)), optional(within(f.Scope, room)))),
		labelled("Status at request", outside(within(f.Status, room))),
		labelled("Started", dotted(when(f.Started), sentence(chat.Plain("by"), outside(within(f.By, room))), optional(within(f.Source, room)))),
		labelled("Its comment", outside(within(f.Comment, room))),
		labelled("Machine", sentence(outside(within(f.MachineName, room)), code(f.MachineID))),
	}
	return append(lines, factLinesOf(r, f.TargetFacts, f.MachineID, p)...)
}

// FactsOf condenses what was read about a machine into what an approver sees.
func FactsOf(v MachineView, readAt time.Time) TargetFacts {
	m := v.Machine
	isolation := defender.IsolationOf(v.Actions)
	f := TargetFacts{
		OS: m.OS, Health: m.Health, LastSeen: m.LastSeen, Group: m.Group, Tags: m.Tags, Value: m.Value, Risk: m.Risk,
		Isolation: isolation.State, Since: isolation.Since,
		Unread: v.Unread, ReadAt: readAt, FirstSeen: m.FirstSeen, EntraDevice: m.EntraDeviceID, VPN: m.OnVPN(),
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
	if beware := Doubts(r, t); len(beware) > 0 && !r.State.Resolved() {
		s.Lines = append(s.Lines, beware)
	}
	if lines, ok := factLines[t.Kind]; ok {
		s.Lines = append(s.Lines, lines(r, t, p)...)
	}
	if t.Kind == approvals.TargetMute {
		s.Lines = append(s.Lines, muteFactLines(t)...)
	}
	if outcome := targetOutcome(r, t); len(outcome) > 0 {
		s.Lines = append(s.Lines, labelled("Now", outcome))
	}
	return s
}

// factLines are the lines about targets of the kinds that have facts.
var factLines = map[approvals.TargetKind]func(approvals.Request, approvals.Target, Portal) []chat.Text{
	approvals.TargetMachine:       machineFactLines,
	approvals.TargetMachineAction: actionFactLines,
	approvals.TargetIndicator:     indicatorFactLines,
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
	var lines []chat.Text
	if f.File != nil {
		lines = fileFactLines(*f.File, roomForFew/len(r.Targets))
	}
	return append(lines, factLinesOf(r, f, t.ID, p)...)
}

func factLinesOf(r approvals.Request, f TargetFacts, machineID string, p Portal) []chat.Text {
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
		labelled("Facts read", dotted(chat.At(f.ReadAt), machineLink(p, machineID))),
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
		t = dotted(t, sensorHealth(health))
	}
	return t
}

// sensorHealth is Defender's word. One it is known to use counts as ours, which may
// stand in one line of a Teams card with the time before it.
func sensorHealth(health string) chat.Text {
	if defender.KnownHealth(health) {
		return chat.Plain(health)
	}
	return chat.Untrusted(health)
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
