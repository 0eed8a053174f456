package cards

import (
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// MachineView is what the card of one machine shows.
type MachineView struct {
	Machine defender.Machine
	Users   []defender.User
	Alerts  []defender.Alert // in any status; only open ones are shown
	Actions []defender.MachineAction
	// Owners registered the machine in the directory; ShowOwners says that they were
	// asked for.
	Owners     []defender.Owner
	ShowOwners bool
	Unread     Unread
	// MayIsolate says that the token permits isolation and release.
	MayIsolate bool
	Now        time.Time
	Portal     Portal
}

// shownInList is how many users, alerts or actions a machine card lists.
const shownInList = 5

// Machine is the card of one machine.
func Machine(v MachineView) chat.Message {
	m := v.Machine
	isolation := defender.IsolationOf(v.Actions)
	f := FactsOf(v, v.Now)
	msg := chat.Message{
		Title: chat.Join(chat.Plain("Machine "), outside(m.Name)),
		Facts: []chat.Fact{
			{Label: "ID", Value: code(m.ID)},
			{Label: "Isolation", Value: either(v.Unread.Actions, isolationLine(isolation.State, isolation.Since))},
			{Label: "Health", Value: outside(m.Health)},
			{Label: "Last seen", Value: lastSeen(m.LastSeen, v.Now, "")},
			{Label: "Risk", Value: outside(m.Risk)},
			{Label: "Exposure", Value: outside(m.Exposure)},
			{Label: "OS", Value: sentence(outside(m.OS), optional(m.OSVersion))},
			{Label: "Signed in", Value: either(v.Unread.Users, users(v.Users))},
			{Label: "Open alerts", Value: either(v.Unread.Alerts, openAlertsLine(f, v.Portal))},
			{Label: "Pending actions", Value: either(v.Unread.Actions, listOrNone(f.Pending, roomForFew))},
			{Label: "Group", Value: outside(m.Group)},
			{Label: "Tags", Value: list(m.Tags)},
			{Label: "Addresses", Value: dotted(sentence(chat.Plain("internal"), code(m.InternalIP)), sentence(chat.Plain("external"), code(m.ExternalIP)))},
		},
		Note: chat.Plain("Isolation is worked out from machine actions and is the last known state."),
	}
	if v.ShowOwners {
		msg.Facts = append(msg.Facts, chat.Fact{Label: "Owner", Value: either(v.Unread.Owners, owners(v.Owners))})
	}
	msg.Preview = machinePreview(v, isolation)
	msg.Tone = machineTone(v, isolation)
	if m.MergedInto != "" {
		msg.Facts = append(msg.Facts, chat.Fact{Label: "Stale record", Value: chat.Join(chat.Plain("Defender merged it into "), chat.Code(m.MergedInto))})
	}
	if s, ok := machineAlerts(v); ok {
		msg.Sections = append(msg.Sections, s)
	}
	msg.Buttons = machineButtons(v, isolation)
	return msg
}

func optional(s string) chat.Text {
	if s == "" {
		return nil
	}
	return chat.Untrusted(s)
}

func machinePreview(v MachineView, isolation defender.Isolation) chat.Text {
	p := chat.Join(outside(v.Machine.Name), chat.Plain(": "))
	if v.Unread.Actions == "" {
		p = chat.Join(p, chat.Plain(string(isolation.State)+", "))
	}
	p = chat.Join(p, chat.Plain("risk "), outside(v.Machine.Risk))
	if v.Unread.Alerts == "" {
		p = chat.Join(p, chat.Plain(", "+plural(len(openAlerts(v.Alerts)), "open alert", "open alerts")))
	}
	return p
}

func machineTone(v MachineView, isolation defender.Isolation) chat.Tone {
	switch {
	case isolation.State != defender.NotIsolated:
		return chat.Notice
	case v.Machine.Risk == "High":
		return chat.Danger
	case v.Machine.Risk == "Medium":
		return chat.Warning
	}
	return chat.Neutral
}

func users(all []defender.User) chat.Text {
	if len(all) == 0 {
		return chat.Plain("nobody seen")
	}
	var parts []chat.Text
	for _, u := range all[:min(len(all), shownInList)] {
		t := chat.Untrusted(accountName(defender.AccountName{Name: u.Name, Domain: u.Domain}))
		if u.DomainAdmin {
			t = chat.Join(t, chat.Bold(" (domain admin)"))
		}
		parts = append(parts, t)
	}
	if more := len(all) - shownInList; more > 0 {
		parts = append(parts, chat.Plain(plural(more, "more", "more")))
	}
	return separated(", ", parts)
}

func owners(all []defender.Owner) chat.Text {
	if len(all) == 0 {
		return chat.Plain("nobody registered")
	}
	var parts []chat.Text
	for _, o := range all[:min(len(all), shownInList)] {
		switch {
		case o.Name != "" && o.Principal != "":
			parts = append(parts, chat.Join(chat.Untrusted(o.Name), chat.Plain(" ("), chat.Untrusted(o.Principal), chat.Plain(")")))
		case o.Name != "":
			parts = append(parts, chat.Untrusted(o.Name))
		default: // Graph gives no names without User.Read.All there
			parts = append(parts, chat.Join(chat.Plain("object "), chat.Code(o.ID)))
		}
	}
	return separated(", ", parts)
}

func machineAlerts(v MachineView) (chat.Section, bool) {
	s := chat.Section{Heading: "Open alerts", Folded: true}
	open := openAlerts(v.Alerts)
	for _, a := range open[:min(len(open), shownInList)] {
		s.Lines = append(s.Lines, dotted(chat.Join(severityWord(a.Severity), chat.Plain(": "), outside(a.Title)), when(a.Created), code(a.ID)))
	}
	if more := len(open) - shownInList; more > 0 {
		s.Lines = append(s.Lines, chat.Plain(plural(more, "more", "more")))
	}
	return s, len(s.Lines) > 0
}

func machineButtons(v MachineView, isolation defender.Isolation) []chat.Button {
	var buttons []chat.Button
	if v.MayIsolate {
		isolate := chat.Button{Label: "Request isolation", Action: ActionRequestIsolation, Value: v.Machine.ID, Style: chat.StyleDanger, OpensForm: true}
		release := chat.Button{Label: "Request release", Action: ActionRequestRelease, Value: v.Machine.ID, OpensForm: true}
		switch {
		case v.Unread.Actions != "":
			buttons = append(buttons, isolate, release)
		case isolation.State == defender.NotIsolated:
			buttons = append(buttons, isolate)
		case isolation.State == defender.Isolated:
			buttons = append(buttons, release)
		}
	}
	return append(buttons, openInDefender(machineURL(v.Portal, v.Machine.ID))...)
}
