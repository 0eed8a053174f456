package cards

import (
	"fmt"
	"strings"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// evidenceShown is how many pieces of evidence a card lists; the rest is counted.
const evidenceShown = 10

// AlertView is what the card of one alert shows.
type AlertView struct {
	Alert defender.Alert
	// Machine adds to what the alert says about its machine; nil when unknown.
	Machine *defender.Machine
	// EvidenceUnread says why evidence is missing; "" when it was read or was not
	// asked for.
	EvidenceUnread string
	// MayUpdate and MayIsolate say what the token permits: a button that must
	// fail is not shown.
	MayUpdate, MayIsolate bool
	Portal                Portal
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
	if a.Status == "Resolved" {
		m.Tone = chat.Good
	}
	if a.IncidentID != 0 {
		m.Note = chat.Join(m.Note, chat.Plain(fmt.Sprintf(" · incident %d", a.IncidentID)))
	}
	if a.Description != "" {
		m.Sections = append(m.Sections, chat.Section{Heading: "What Defender says", Lines: []chat.Text{chat.Untrusted(a.Description)}, Folded: true})
	}
	if s, ok := evidenceSection(v); ok {
		m.Sections = append(m.Sections, s)
	}
	if s, ok := commentSection(a); ok {
		m.Sections = append(m.Sections, s)
	}
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
		{Label: "Severity", Value: severityWord(a.Severity)},
		{Label: "Status", Value: alertStatus(a)},
		{Label: "Machine", Value: alertMachine(v)},
	}
	if a.User != (defender.AccountName{}) {
		facts = append(facts, chat.Fact{Label: "User", Value: chat.Untrusted(accountName(a.User))})
	}
	facts = append(facts,
		chat.Fact{Label: "Category", Value: outside(a.Category)},
		chat.Fact{Label: "Created", Value: when(a.Created)},
		chat.Fact{Label: "Last event", Value: when(a.LastEvent)},
	)
	if len(a.Techniques) > 0 {
		facts = append(facts, chat.Fact{Label: "Techniques", Value: list(a.Techniques)})
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

func evidenceSection(v AlertView) (chat.Section, bool) {
	s := chat.Section{Heading: "Evidence", Folded: true}
	if v.EvidenceUnread != "" {
		s.Lines = []chat.Text{chat.Join(chat.Plain("Evidence "), notRead(v.EvidenceUnread))}
		return s, true
	}
	for i, e := range v.Alert.Evidence {
		if i == evidenceShown {
			s.Lines = append(s.Lines, chat.Plain(fmt.Sprintf("and %d more, in the Defender portal", len(v.Alert.Evidence)-i)))
			break
		}
		s.Lines = append(s.Lines, evidenceLine(e))
	}
	return s, len(s.Lines) > 0
}

func evidenceLine(e defender.Evidence) chat.Text {
	line := labelled("Other", outside(e.Type))
	switch e.Type {
	case "User":
		name := accountName(e.Account)
		if e.UserPrincipal != "" {
			name = e.UserPrincipal
		}
		line = labelled("User", outside(name))
	case "Process":
		line = labelled("Process", dotted(code(e.FileName), optionalCode(e.CommandLine)))
		if e.ParentFileName != "" {
			line = dotted(line, sentence(chat.Plain("started by"), chat.Code(e.ParentFileName)))
		}
	case "File":
		line = labelled("File", dotted(code(joinPath(e.FilePath, e.FileName)), optionalCode(fileHash(e))))
	case "Ip":
		line = labelled("IP address", code(e.IPAddress))
	case "Url":
		line = labelled("URL", code(Defang(e.URL)))
	case "Registry":
		line = labelled("Registry", code(strings.Trim(e.RegistryHive+`\`+e.RegistryKey, `\`)))
	}
	if e.Status != "" {
		line = dotted(line, chat.Untrusted(e.Status))
	}
	return line
}

func optionalCode(s string) chat.Text {
	if s == "" {
		return nil
	}
	return chat.Code(s)
}

func joinPath(dir, name string) string {
	switch {
	case dir == "":
		return name
	case name == "" || strings.HasSuffix(dir, name):
		return dir
	case strings.Contains(dir, "/"):
		return strings.TrimSuffix(dir, "/") + "/" + name
	default:
		return strings.TrimSuffix(dir, `\`) + `\` + name
	}
}

func fileHash(e defender.Evidence) string {
	if e.SHA1 != "" {
		return "SHA-1 " + e.SHA1
	}
	if e.SHA256 != "" {
		return "SHA-256 " + e.SHA256
	}
	return ""
}

// Defang makes an address unusable by accident: no chat client turns it into a
// link (threat-model X-09).
func Defang(url string) string {
	url = strings.Replace(url, "http", "hxxp", 1)
	return strings.ReplaceAll(url, ".", "[.]")
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
	var buttons []chat.Button
	if v.MayUpdate && a.Status != "Resolved" {
		if a.Status != "InProgress" {
			buttons = append(buttons, chat.Button{Label: "Acknowledge", Action: ActionAlertAck, Value: a.ID})
		}
		buttons = append(buttons, chat.Button{Label: "Resolve", Action: ActionAlertResolve, Value: a.ID, OpensForm: true})
	}
	if a.MachineID != "" {
		buttons = append(buttons, chat.Button{Label: "Show machine", Action: ActionShowMachine, Value: a.MachineID})
		if v.MayIsolate {
			buttons = append(buttons, chat.Button{
				Label: "Request isolation", Action: ActionRequestIsolation,
				Value: IsolationValue(a.MachineID, a.ID), Style: chat.StyleDanger, OpensForm: true,
			})
		}
	}
	return append(buttons, openInDefender(alertURL(v.Portal, a.ID))...)
}
