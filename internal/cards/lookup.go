package cards

import (
	"strconv"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// ObservableKind is what can be looked up.
type ObservableKind string

// The kinds, as Defender's collections are called.
const (
	ObservableFile   = ObservableKind(defender.ObservableFile)
	ObservableIP     = ObservableKind(defender.ObservableIP)
	ObservableDomain = ObservableKind(defender.ObservableDomain)
)

// Observable is one thing to look up.
type Observable struct {
	Kind  ObservableKind
	Value string
	Typed string // as it stood in the text
	// FromURL: only the host of an address is looked up.
	FromURL bool
}

// NotLookedUp is something that looks like an observable and is none.
type NotLookedUp struct{ Text, Why string }

// LookupResult is what is known about one observable.
type LookupResult struct {
	Observable  Observable
	File        *defender.File
	UnknownFile bool
	Sightings   defender.Sightings
	Alerts      []defender.Alert
	Machines    []defender.Machine
	Unread      struct{ File, Sightings, Alerts, Machines string }
}

// LookupView is the answer to a lookup.
type LookupView struct {
	Results []LookupResult
	// Machines were named in a message, beside what was looked up.
	Machines []defender.Machine
	// MachinesUnread says why names were not looked for among machines.
	MachinesUnread string
	Cannot         []NotLookedUp
	// Left is what one lookup has no room for.
	Left   []string
	Now    time.Time
	Portal Portal
}

// Lookup says of each observable whether it was seen, where, and what is known.
func Lookup(v LookupView) chat.Message {
	m := chat.Message{Title: chat.Plain("Looked up " + plural(len(v.Results)+len(v.Machines), "thing", "things"))}
	if len(v.Results) > 0 {
		m.Note = chat.Plain("Seen here: machines within the last 30 days, the most that Defender counts.")
	}
	if len(v.Results) == 1 && len(v.Machines) == 0 {
		m.Title = chat.Join(chat.Plain(kindWord(v.Results[0].Observable.Kind)+" "), chat.Untrusted(v.Results[0].Observable.Value))
	}
	for _, d := range v.Machines {
		if d.Risk == "High" {
			m.Tone = chat.Danger
		}
		m.Sections = append(m.Sections, chat.Section{Heading: "Machine", Lines: []chat.Text{
			chat.Join(outside(d.Name), chat.Plain(" "), code(d.ID)),
			dotted(chat.Join(chat.Plain("risk "), outside(d.Risk)), chat.Join(chat.Plain("health "), outside(d.Health)), sentence(outside(d.OS), optional(d.OSVersion))),
			labelled("Last seen", lastSeen(d.LastSeen, v.Now, "")),
		}})
	}
	if len(v.Machines) > 0 {
		m.Menu = machineMenu(v.Machines)
	}
	for _, r := range v.Results {
		if bad(r) {
			m.Tone = chat.Danger
		}
		m.Sections = append(m.Sections, chat.Section{Heading: kindWord(r.Observable.Kind), Lines: lookupLines(r)})
	}
	return WithNotLookedUp(m, v)
}

// WithNotLookedUp adds to m what was not looked up, and why.
func WithNotLookedUp(m chat.Message, v LookupView) chat.Message {
	if lines := NotLookedUpLines(v); len(lines) > 0 {
		m.Sections = append(m.Sections, chat.Section{Heading: "Not looked up", Lines: lines})
	}
	return m
}

// leftShown is how much of what had no room is named, to be copied into a lookup.
const leftShown = 20

// NotLookedUpLines says what was not looked up, and why.
func NotLookedUpLines(v LookupView) []chat.Text {
	var lines []chat.Text
	for _, c := range v.Cannot {
		lines = append(lines, chat.Join(chat.Code(c.Text), chat.Plain(": "+c.Why)))
	}
	if v.MachinesUnread != "" {
		lines = append(lines, chat.Join(chat.Plain("Names of machines: "), notRead(v.MachinesUnread)))
	}
	if n := len(v.Left); n > 0 {
		shown := strings.Join(v.Left[:min(n, leftShown)], " ")
		lines = append(lines, chat.Join(chat.Plain(plural(n, "more", "more")+": one lookup takes no more. Ask for the rest with lookup: "), chat.Code(shown)))
	}
	return lines
}

func machineMenu(machines []defender.Machine) *chat.Menu {
	menu := &chat.Menu{Label: "Show a machine", Action: ActionShowMachine}
	for _, d := range machines[:min(len(machines), menuOptions)] {
		menu.Options = append(menu.Options, chat.Option{Label: d.Name, Detail: d.ID, Value: d.ID})
	}
	return menu
}

func bad(r LookupResult) bool {
	return len(openAlerts(r.Alerts)) > 0 || (r.File != nil && r.File.Determination == "Malware")
}

func kindWord(k ObservableKind) string {
	switch k {
	case ObservableFile:
		return "File"
	case ObservableIP:
		return "Address"
	case ObservableDomain:
	}
	return "Host"
}

func lookupLines(r LookupResult) []chat.Text {
	o := r.Observable
	lines := []chat.Text{code(o.Value)}
	if o.FromURL {
		lines[0] = chat.Join(lines[0], chat.Plain(" is the host of what you gave; Defender has no statistics by URL"))
	}
	lines = append(lines, labelled("Seen here", either(r.Unread.Sightings, seenHere(r.Sightings))))
	if o.Kind == ObservableFile {
		lines = append(lines, fileLines(r)...)
	}
	lines = append(lines, labelled("Alerts", either(r.Unread.Alerts, alertsBriefly(r.Alerts))))
	if o.Kind != ObservableIP {
		lines = append(lines, labelled("Machines", either(r.Unread.Machines, machinesBriefly(r.Machines))))
	}
	return lines
}

func seenHere(s defender.Sightings) chat.Text {
	if s.Prevalence == 0 {
		return chat.Plain("not at all")
	}
	return dotted(
		chat.Plain("on "+plural(int(s.Prevalence), "machine", "machines")),
		chat.Join(chat.Plain("first "), when(s.First)), chat.Join(chat.Plain("last "), when(s.Last)),
		namesSeen(s.FileNames),
	)
}

func namesSeen(names []string) chat.Text {
	if len(names) == 0 {
		return nil
	}
	return chat.Join(chat.Plain("as "), list(names[:min(len(names), shownInList)]))
}

func fileLines(r LookupResult) []chat.Text {
	switch {
	case r.UnknownFile:
		return []chat.Text{chat.Plain("Microsoft has never seen this file.")}
	case r.Unread.File != "":
		return []chat.Text{labelled("Known as", notRead(r.Unread.File))}
	case r.File == nil:
		return nil
	}
	f := r.File
	signed := chat.Plain("not signed")
	if f.Signer != "" {
		signed = chat.Join(chat.Untrusted(f.Signer), chat.Plain(", certificate "+map[bool]string{true: "valid", false: "not valid"}[f.ValidCertificate]))
	}
	return []chat.Text{
		labelled("Determination", sentence(outside(f.Determination), optional(f.DeterminationName))),
		labelled("Signer", signed),
		labelled("Product", dotted(outside(f.Product), outside(f.Publisher), chat.Plain(strconv.FormatInt(f.Size, 10)+" bytes"))),
		labelled("Everywhere", dotted(chat.Plain(strconv.FormatInt(f.GlobalPrevalence, 10)+" machines"), chat.Join(chat.Plain("first "), when(f.GlobalFirst)), chat.Join(chat.Plain("last "), when(f.GlobalLast)))),
		labelled("SHA-1", code(f.SHA1)),
		labelled("SHA-256", code(f.SHA256)),
	}
}

func alertsBriefly(alerts []defender.Alert) chat.Text {
	if len(alerts) == 0 {
		return chat.Plain("none")
	}
	var parts []chat.Text
	for _, a := range alerts[:min(len(alerts), shownInList)] {
		parts = append(parts, chat.Join(severityWord(a.Severity), chat.Plain(": "), outside(a.Title), chat.Plain(" "), code(a.ID)))
	}
	if more := len(alerts) - shownInList; more > 0 {
		parts = append(parts, chat.Plain(plural(more, "more", "more")))
	}
	return separated(", ", parts)
}

func machinesBriefly(machines []defender.Machine) chat.Text {
	if len(machines) == 0 {
		return chat.Plain("none")
	}
	var parts []chat.Text
	for _, d := range machines[:min(len(machines), shownInList)] {
		parts = append(parts, chat.Join(outside(d.Name), chat.Plain(" "), code(d.ID)))
	}
	if more := len(machines) - shownInList; more > 0 {
		parts = append(parts, chat.Plain(plural(more, "more", "more")))
	}
	return separated(", ", parts)
}

// UserView is what is known about an account.
type UserView struct {
	Account        string
	Machines       []defender.Machine
	MachinesUnread string
	Alerts         []defender.Alert
	AlertsUnread   string
	Now            time.Time
	Portal         Portal
}

// User says where an account was seen and which alerts it has.
func User(v UserView) chat.Message {
	m := chat.Message{
		Title: chat.Join(chat.Plain("Account "), chat.Untrusted(v.Account)),
		Facts: []chat.Fact{
			{Label: "Open alerts", Value: either(v.AlertsUnread, alertsBriefly(openAlerts(v.Alerts)))},
			{Label: "All alerts", Value: either(v.AlertsUnread, chat.Plain(strconv.Itoa(len(v.Alerts))))},
			{Label: "Seen on", Value: either(v.MachinesUnread, machinesBriefly(v.Machines))},
		},
		Note: chat.Plain("Defender asks by account name alone: accounts of the same name in several domains count together."),
	}
	if len(openAlerts(v.Alerts)) > 0 {
		m.Tone = chat.Warning
	}
	if len(v.Machines) > 0 {
		m.Menu = machineMenu(v.Machines)
	}
	return m
}
