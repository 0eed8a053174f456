package cards

import (
	"strconv"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// AlertPreview is an alert below its address: what it is and where it stands.
func AlertPreview(a defender.Alert) chat.Message {
	return chat.Message{
		Title: sentence(chat.Join(severityWord(a.Severity), chat.Plain(" alert:")), outside(within(a.Title, roomForTitle))),
		Tone:  severityTone(a.Severity),
		Facts: []chat.Fact{
			{Label: "Machine", Value: outside(within(a.MachineName, roomForName))},
			{Label: "Status", Value: outside(a.Status)},
			{Label: "Assigned to", Value: outside(within(a.AssignedTo, roomForName))},
			{Label: "Created", Value: when(a.Created)},
		},
		Note: chat.Join(chat.Plain("alert "), chat.Code(a.ID), chat.Plain(" shows the rest.")),
	}
}

// MachinePreview is a machine below its address.
func MachinePreview(m defender.Machine) chat.Message {
	return chat.Message{
		Title: sentence(chat.Plain("Machine"), outside(within(m.Name, roomForName))),
		Facts: []chat.Fact{
			{Label: "OS", Value: outside(m.OS)},
			{Label: "Health", Value: outside(m.Health)},
			{Label: "Risk", Value: outside(m.Risk)},
			{Label: "Last seen", Value: when(m.LastSeen)},
		},
		Note: chat.Join(chat.Plain("machine "), chat.Code(m.ID), chat.Plain(" shows the rest, also whether it is isolated.")),
	}
}

// IncidentPreview is an incident below its address.
func IncidentPreview(in defender.Incident) chat.Message {
	return chat.Message{
		Title: chat.Join(chat.Plain("Incident "+strconv.FormatInt(in.ID, 10)+": "), outside(within(in.Name, roomForTitle))),
		Tone:  severityTone(in.Severity),
		Facts: []chat.Fact{
			{Label: "Severity", Value: severityWord(in.Severity)},
			{Label: "Status", Value: outside(in.Status)},
			{Label: "Alerts", Value: chat.Plain(strconv.Itoa(len(in.Alerts)))},
			{Label: "Machines", Value: chat.Plain(strconv.Itoa(len(in.Machines)))},
			{Label: "Changed", Value: when(in.Updated)},
		},
		Note: chat.Plain("incident " + strconv.FormatInt(in.ID, 10) + " shows the rest."),
	}
}
