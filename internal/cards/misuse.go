package cards

import (
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// ForeignAction raises the alarm about a machine action that carries the bot's
// identity and that it did not start.
func ForeignAction(a defender.MachineAction, p Portal) chat.Message {
	m := foreign("mdebot did not start this machine action", "look at the machine, look for more in Defender's action center")
	m.Facts = []chat.Fact{
		{Label: "Action", Value: dotted(chat.Untrusted(string(a.Type)), chat.Untrusted(string(a.Status)), code(a.ID))},
		{Label: "Machine", Value: sentence(outside(a.MachineName), code(a.MachineID))},
		{Label: "Requestor", Value: code(a.Requestor)},
		{Label: "Started", Value: when(a.Created)},
		{Label: "Comment", Value: outside(a.Comment)},
	}
	m.Buttons = openInDefender(machineURL(p, a.MachineID))
	return m
}

// ForeignIndicator raises the alarm about an indicator that was set with the bot's
// identity, and not by it.
func ForeignIndicator(i defender.Indicator) chat.Message {
	m := foreign("mdebot did not set this indicator, or not so", "put the indicator right, look for more in Defender's list of indicators and in its action center")
	m.Facts = []chat.Fact{
		{Label: "Indicator", Value: dotted(chat.Untrusted(string(i.Type)), chat.Untrusted(i.Value), chat.Untrusted(string(i.Action)), code(i.ID))},
		{Label: "Set", Value: when(i.Updated)},
		{Label: "Title", Value: outside(i.Title)},
		{Label: "Description", Value: outside(i.Description)},
	}
	return m
}

func foreign(what, look string) chat.Message {
	m := Notice(chat.Danger, "Somebody acts in Defender with mdebot's identity",
		chat.Plain(what+": no approved request stands behind it. Take its application's credential for stolen."),
		chat.Plain("Now: remove the client secret in Entra (App registrations, Certificates & secrets), "+look+", then make a new secret."))
	m.Preview = m.Title
	return m
}
