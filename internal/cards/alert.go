package cards

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// roomForStory is how much of Defender's description a card shows at once; the
// whole of it is folded away.
const roomForStory = 240

// AlertView is what the card of one alert shows.
type AlertView struct {
	Alert defender.Alert
	// Machine adds to what the alert says about its machine; nil when unknown.
	Machine *defender.Machine
	// Isolation is the machine's last known isolation; "" when nobody looked.
	Isolation      defender.IsolationState
	IsolationSince time.Time
	// EvidenceUnread says why evidence is missing; "" when it was read or was not
	// asked for.
	EvidenceUnread string
	// Posted cards turn quiet when the alert is resolved.
	Posted bool
	// MayUpdate, MayIsolate and MayHunt say what the token permits: a button that
	// must fail is not shown.
	MayUpdate, MayIsolate, MayHunt bool
	Portal                         Portal
}

// Alert is the card of one alert, as it is now.
func Alert(v AlertView) chat.Message {
	a := v.Alert
	m := chat.Message{
		Preview: alertPreview(a),
		Title:   sentence(chat.Join(severityWord(a.Severity), chat.Plain(" alert:")), outside(a.Title)),
		Tone:    severityTone(a.Severity),
		Facts:   alertFacts(v),
		Buttons: alertButtons(v),
		Note:    chat.Join(chat.Plain("Alert "), chat.Code(a.ID)),
	}
	if a.IncidentID != 0 {
		m.Note = chat.Join(m.Note, chat.Plain(fmt.Sprintf(" · incident %d", a.IncidentID)))
	}
	if a.Status == "Resolved" {
		m.Preview = chat.Join(chat.Plain("Resolved: "), m.Preview)
		m.Title = sentence(chat.Plain("Resolved:"), m.Title)
		m.Tone = chat.Good
		if v.Posted {
			return quiet(m, v)
		}
	}
	if utf8.RuneCountInString(oneLine(a.Description)) > roomForStory {
		m.Sections = append(m.Sections, chat.Section{Heading: "What Defender says", Lines: outsideLines(a.Description), Folded: true})
	}
	if s, ok := evidenceSection(v); ok {
		m.Sections = append(m.Sections, s)
	}
	if s, ok := commentSection(a); ok {
		m.Sections = append(m.Sections, s)
	}
	return m
}

// quiet is what stays of a posted card when nobody has to do anything about the
// alert any more.
func quiet(m chat.Message, v AlertView) chat.Message {
	m.Facts = slices.DeleteFunc(m.Facts, func(f chat.Fact) bool {
		return f.Label != "Status" && f.Label != "Machine" && f.Label != "User"
	})
	m.Buttons = openInDefender(alertURL(v.Portal, v.Alert.ID))
	return m
}

func alertPreview(a defender.Alert) chat.Text {
	p := chat.Join(severityWord(a.Severity), chat.Plain(" alert"))
	if a.MachineName != "" {
		p = chat.Join(p, chat.Plain(" on "), chat.Untrusted(a.MachineName))
	}
	return chat.Join(p, chat.Plain(": "), outside(a.Title))
}

func alertFacts(v AlertView) []chat.Fact {
	a := v.Alert
	facts := []chat.Fact{
		{Label: "Status", Value: alertStatus(a)},
		{Label: "Machine", Value: alertMachine(v)},
	}
	if v.Isolation != "" {
		facts = append(facts, chat.Fact{Label: "Isolation", Value: isolationLine(v.Isolation, v.IsolationSince)})
	}
	if a.User != (defender.AccountName{}) {
		facts = append(facts, chat.Fact{Label: "User", Value: chat.Untrusted(accountName(a.User))})
	}
	if a.Description != "" {
		facts = append(facts, chat.Fact{Label: "What happened", Value: chat.Untrusted(within(oneLine(a.Description), roomForStory))})
	}
	facts = append(facts, chat.Fact{Label: "When", Value: alertTimes(a)}, chat.Fact{Label: "Category", Value: outside(a.Category)})
	if len(a.Techniques) > 0 {
		facts = append(facts, chat.Fact{Label: "Technique", Value: techniques(a.Techniques)})
	}
	if a.ThreatFamily != "" || a.ThreatName != "" {
		threat := a.ThreatName
		if threat == "" {
			threat = a.ThreatFamily
		}
		facts = append(facts, chat.Fact{Label: "Threat", Value: chat.Untrusted(threat)})
	}
	return append(facts, chat.Fact{Label: "Source", Value: outside(a.DetectionSource)})
}

// oneLine is s without its line breaks.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// outsideLines is outside text of several lines, as lines.
func outsideLines(s string) []chat.Text {
	var lines []chat.Text
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, chat.Untrusted(line))
		}
	}
	return lines
}

// alertTimes is when it happened, and when Defender said so.
func alertTimes(a defender.Alert) chat.Text {
	first, last := a.FirstEvent, a.LastEvent
	if first.IsZero() {
		first = last
	}
	if first.IsZero() {
		return chat.Join(chat.Plain("alert raised "), when(a.Created))
	}
	t := chat.At(first)
	if !last.IsZero() && last.Sub(first) >= time.Minute {
		t = chat.Join(t, chat.Plain(" to "), chat.At(last))
	}
	return chat.Join(t, chat.Plain(", alert raised "), when(a.Created))
}

var technique = regexp.MustCompile(`^T[0-9]{4}(\.[0-9]{3})?$`)

// techniques lead to their descriptions at MITRE; what is not formed like one is
// text from outside.
func techniques(all []string) chat.Text {
	parts := make([]chat.Text, len(all))
	for i, id := range all {
		parts[i] = chat.Untrusted(id)
		if technique.MatchString(id) {
			parts[i] = chat.Link(id, "https://attack.mitre.org/techniques/"+strings.ReplaceAll(id, ".", "/")+"/")
		}
	}
	return separated(", ", parts)
}

// alertStatus is where the alert stands and with whom.
func alertStatus(a defender.Alert) chat.Text {
	s := alertStatusWord(a.Status)
	if a.AssignedTo != "" {
		s = chat.Join(s, chat.Plain(", assigned to "), chat.Untrusted(a.AssignedTo))
	}
	if a.Classification != "" {
		s = chat.Join(s, chat.Plain(", classified "), chat.Untrusted(a.Classification))
		if a.Determination != "" && a.Determination != "NotAvailable" {
			s = chat.Join(s, chat.Plain(" / "), chat.Untrusted(a.Determination))
		}
	}
	return s
}

func alertStatusWord(status string) chat.Text {
	switch status {
	case "New":
		return chat.Plain("New")
	case "InProgress":
		return chat.Plain("In progress")
	case "Resolved":
		return chat.Plain("Resolved")
	default:
		return outside(status)
	}
}

func alertMachine(v AlertView) chat.Text {
	a := v.Alert
	if a.MachineID == "" {
		return chat.Plain("none named by Defender")
	}
	t := sentence(outside(a.MachineName), chat.Code(a.MachineID))
	if m := v.Machine; m != nil && m.ID == a.MachineID {
		t = dotted(t, outside(m.OS), sentence(chat.Plain("last seen"), when(m.LastSeen)))
		if len(m.Tags) > 0 {
			t = dotted(t, sentence(chat.Plain("tags"), list(m.Tags)))
		}
	}
	if a.MachineGroup != "" {
		t = dotted(t, sentence(chat.Plain("group"), chat.Untrusted(a.MachineGroup)))
	}
	return t
}

func accountName(a defender.AccountName) string {
	if a.Domain == "" {
		return a.Name
	}
	return a.Domain + `\` + a.Name
}

func commentSection(a defender.Alert) (chat.Section, bool) {
	s := chat.Section{Heading: "Comments", Folded: true}
	for _, c := range a.Comments {
		s.Lines = append(s.Lines, chat.Join(chat.Untrusted(c.Text), chat.Plain(" – "), outside(c.By), chat.Plain(", "), when(c.At)))
	}
	return s, len(s.Lines) > 0
}

func alertButtons(v AlertView) []chat.Button {
	a := v.Alert
	var buttons, mute []chat.Button
	if v.MayUpdate && a.Status != "Resolved" {
		if a.Status != "InProgress" {
			buttons = append(buttons, chat.Button{Label: "Acknowledge", Action: ActionAlertAck, Value: a.ID, Style: chat.StylePrimary})
		}
		buttons = append(buttons,
			chat.Button{Label: "Assign", Action: ActionAlertAssign, Value: a.ID, OpensForm: true},
			chat.Button{Label: "Resolve", Action: ActionAlertResolve, Value: a.ID, OpensForm: true},
			chat.Button{Label: "Comment", Action: ActionAlertComment, Value: a.ID, OpensForm: true},
		)
	}
	if a.Severity != defender.High && a.Status != "Resolved" {
		mute = []chat.Button{{Label: "Mute", Action: ActionAlertMute, Value: a.ID, OpensForm: true}}
	}
	if a.MachineID != "" {
		buttons = append(buttons, chat.Button{Label: "Show machine", Action: ActionShowMachine, Value: a.MachineID})
		if v.MayHunt {
			buttons = append(buttons, chat.Button{Label: "Hunt around it", Action: ActionHuntAround, Value: a.ID, OpensForm: true})
		}
		if v.MayIsolate {
			buttons = append(buttons, chat.Button{
				Label: "Request isolation", Action: ActionRequestIsolation,
				Value: IsolationValue(a.MachineID, a.ID), Style: chat.StyleDanger, OpensForm: true,
			})
		}
	}
	return slices.Concat(buttons, openInDefender(alertURL(v.Portal, a.ID)), mute)
}
