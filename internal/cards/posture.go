package cards

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// Incident shows one incident. Asked is the number that was asked for, which
// differs when the incident was merged into another.
func Incident(in defender.Incident, asked int64, p Portal) chat.Message {
	m := chat.Message{
		Title: chat.Join(chat.Plain("Incident "+strconv.FormatInt(in.ID, 10)+": "), outside(in.Name)),
		Tone:  severityTone(in.Severity),
		Facts: []chat.Fact{
			{Label: "Severity", Value: severityWord(in.Severity)},
			{Label: "Status", Value: outside(in.Status)},
			{Label: "Assigned to", Value: outside(in.AssignedTo)},
			{Label: "Classification", Value: sentence(outside(in.Classification), optional(in.Determination))},
			{Label: "Created", Value: when(in.Created)},
			{Label: "Changed", Value: when(in.Updated)},
			{Label: "Machines", Value: references(in.Machines)},
			{Label: "Users", Value: listWithin(in.Users, 300)},
			{Label: "Tags", Value: list(in.Tags)},
		},
	}
	if in.ID != asked {
		m.Facts = append(m.Facts, chat.Fact{Label: "Merged", Value: chat.Plain("incident " + strconv.FormatInt(asked, 10) + " is part of this one now")})
	}
	if len(in.Alerts) > 0 {
		m.Table = &chat.Table{Caption: "Alerts", Columns: []string{"Severity", "Title", "Status", "Created", "Source", "ID"}, Total: len(in.Alerts)}
		for _, a := range in.Alerts {
			m.Table.Rows = append(m.Table.Rows, []string{string(a.Severity), a.Title, a.Status, tableTime(a.Created), a.Source, a.ID})
		}
		m.Menu = incidentAlerts(in)
	}
	if p != nil {
		m.Buttons = openInDefender(p.Incident(in.ID))
	}
	return m
}

// incidentAlerts offers those alerts that mdebot can show: Defender for
// Endpoint's own.
func incidentAlerts(in defender.Incident) *chat.Menu {
	menu := &chat.Menu{Label: "Show an alert", Action: ActionAlertShow}
	for _, a := range in.Alerts {
		if a.Source == "MicrosoftDefenderATP" && len(menu.Options) < menuOptions {
			menu.Options = append(menu.Options, chat.Option{Label: string(a.Severity) + ": " + a.Title, Detail: a.ID, Value: a.ID})
		}
	}
	if len(menu.Options) == 0 {
		return nil
	}
	return menu
}

func references(machines []defender.MachineReference) chat.Text {
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

// IncidentList lists incidents that changed since then. More says that there are
// others beyond it.
func IncidentList(all []defender.Incident, since time.Time, least defender.Severity, more bool) chat.Message {
	what := " changed since " + since.UTC().Format("2006-01-02 15:04 UTC")
	if least != "" {
		what = " of severity " + string(least) + " or higher" + what
	}
	m := chat.Message{Title: chat.Plain(plural(len(all), "incident", "incidents") + what)}
	if len(all) == 0 {
		m.Title, m.Tone = chat.Plain("No incidents"+what), chat.Good
		return m
	}
	if more {
		m.Note = chat.Plain("There are more; narrow the list with a severity or --since.")
	}
	m.Table = &chat.Table{Caption: "Incidents", Columns: []string{"Incident", "Severity", "Name", "Status", "Alerts", "Assigned to", "Changed"}, Total: len(all)}
	for _, in := range all {
		m.Table.Rows = append(m.Table.Rows, []string{
			strconv.FormatInt(in.ID, 10), string(in.Severity), in.Name, in.Status, strconv.Itoa(len(in.Alerts)), in.AssignedTo, tableTime(in.Updated),
		})
	}
	return m
}

// VulnerabilityView is one CVE and whom it concerns.
type VulnerabilityView struct {
	Vulnerability  defender.Vulnerability
	Machines       []defender.MachineReference
	MachinesUnread string
}

// Vulnerability says what a CVE is and which machines it concerns.
func Vulnerability(v VulnerabilityView) chat.Message {
	known := v.Vulnerability
	exploit := "none known"
	switch {
	case known.ExploitInKit:
		exploit = "in exploit kits"
	case known.ExploitVerified:
		exploit = "public and verified"
	case known.PublicExploit:
		exploit = "public"
	}
	m := chat.Message{
		Title: chat.Join(outside(known.ID), chat.Plain(": "+plural(int(known.ExposedMachines), "exposed machine", "exposed machines"))),
		Facts: []chat.Fact{
			{Label: "Severity", Value: outside(known.Severity)},
			{Label: "CVSS", Value: dotted(chat.Plain(strconv.FormatFloat(known.CVSS, 'f', 1, 64)), optional(known.Vector))},
			{Label: "Exploit", Value: chat.Plain(exploit)},
			{Label: "Published", Value: when(known.Published)},
			{Label: "Machines", Value: either(v.MachinesUnread, references(v.Machines))},
		},
		Sections: []chat.Section{{Heading: "What it is", Lines: []chat.Text{outside(within(known.Description, 1500))}, Folded: true}},
	}
	if known.EPSS > 0 {
		m.Facts = append(m.Facts, chat.Fact{Label: "EPSS", Value: chat.Plain(fmt.Sprintf("%.0f %% likely to be exploited within 30 days", known.EPSS*100))})
	}
	if known.ExposedMachines > 0 && slices.Contains([]string{"High", "Critical"}, known.Severity) {
		m.Tone = chat.Danger
	}
	if len(v.Machines) > 0 {
		m.Menu = &chat.Menu{Label: "Show a machine", Action: ActionShowMachine}
		for _, d := range v.Machines[:min(len(v.Machines), menuOptions)] {
			m.Menu.Options = append(m.Menu.Options, chat.Option{Label: d.Name, Detail: d.ID, Value: d.ID})
		}
	}
	return m
}

// ScoreView is the tenant's scores.
type ScoreView struct {
	Exposure, Secure             defender.Score
	ExposureUnread, SecureUnread string
}

// Score shows them.
func Score(v ScoreView) chat.Message {
	return chat.Message{
		Title: chat.Plain("Scores of the tenant"),
		Facts: []chat.Fact{
			{Label: "Exposure", Value: either(v.ExposureUnread, chat.Join(chat.Plain(fmt.Sprintf("%.1f of 100, lower is better, as of ", v.Exposure.Score)), when(v.Exposure.At)))},
			{Label: "Secure score for devices", Value: either(v.SecureUnread, chat.Join(chat.Plain(fmt.Sprintf("%.0f, higher is better, as of ", v.Secure.Score)), when(v.Secure.At)))},
		},
	}
}

// SoftwareList lists products. More says that there are others beyond it.
func SoftwareList(all []defender.Software, words string, more bool) chat.Message {
	m := chat.Message{Title: chat.Join(chat.Plain(plural(len(all), "product", "products")+" like "), chat.Untrusted(words))}
	if len(all) == 0 {
		m.Title = chat.Join(chat.Plain("No product like "), chat.Untrusted(words), chat.Plain(" in the inventory"))
		return m
	}
	if more {
		m.Note = chat.Plain("There are more; give more of the name.")
	}
	m.Table = &chat.Table{Caption: "Software", Columns: []string{"Product", "Vendor", "Weaknesses", "Exposed machines", "Public exploit", "Active alert"}, Total: len(all)}
	yesNo := map[bool]string{true: "yes", false: "no"}
	for _, s := range all {
		m.Table.Rows = append(m.Table.Rows, []string{
			s.Name, s.Vendor, strconv.FormatInt(s.Weaknesses, 10), strconv.FormatInt(s.ExposedMachines, 10), yesNo[s.PublicExploit], yesNo[s.ActiveAlert],
		})
	}
	return m
}

// TaggedMachine is a machine whose tags were changed.
type TaggedMachine struct {
	Machine defender.Machine // as it is now
	Before  []string
}

// Tagged says which tags machines have now.
func Tagged(all []TaggedMachine) chat.Message {
	if len(all) == 1 {
		m := all[0].Machine
		return chat.Message{
			Title: chat.Join(chat.Plain("Tags of "), outside(m.Name), chat.Plain(" changed")),
			Tone:  chat.Good,
			Facts: []chat.Fact{
				{Label: "ID", Value: code(m.ID)},
				{Label: "Now", Value: list(m.Tags)},
				{Label: "Before", Value: list(all[0].Before)},
			},
		}
	}
	m := chat.Message{Title: chat.Plain(fmt.Sprintf("Tags of %d machines changed", len(all))), Tone: chat.Good}
	m.Table = &chat.Table{Caption: "Tags", Columns: []string{"Machine", "Now", "Before", "ID"}, Total: len(all)}
	for _, t := range all {
		m.Table.Rows = append(m.Table.Rows, []string{t.Machine.Name, strings.Join(t.Machine.Tags, ", "), strings.Join(t.Before, ", "), t.Machine.ID})
	}
	return m
}
