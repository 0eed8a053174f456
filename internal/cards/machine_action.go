package cards

import (
	"fmt"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// Action is the card of one of Defender's machine actions.
func Action(a defender.MachineAction, p Portal) chat.Message {
	m := chat.Message{
		Title: chat.Join(chat.Untrusted(string(a.Type)), chat.Plain(" on "), outside(a.MachineName), chat.Plain(": "), chat.Untrusted(string(a.Status))),
		Facts: []chat.Fact{
			{Label: "Machine", Value: sentence(outside(a.MachineName), code(a.MachineID))},
			{Label: "Status", Value: dotted(outside(string(a.Status)), chat.Plain(actionMeaning(a.Status)))},
			{Label: "Scope", Value: outside(a.Scope)},
			{Label: "Started", Value: when(a.Created)},
			{Label: "Changed", Value: when(a.Updated)},
			{Label: "By", Value: dotted(outside(a.Requestor), optional(a.Source))},
			{Label: "Comment", Value: outside(a.Comment)},
		},
		Note: chat.Join(chat.Plain("Machine action "), chat.Code(a.ID)),
	}
	switch a.Status {
	case defender.ActionSucceeded:
		m.Tone = chat.Good
	case defender.ActionFailed, defender.ActionTimeOut:
		m.Tone = chat.Danger
	case defender.ActionCancelled:
		m.Tone = chat.Neutral
		m.Facts = append(m.Facts, chat.Fact{Label: "Cancelled by", Value: dotted(outside(a.CancelledBy), optional(a.CancelComment))})
	default:
		m.Tone = chat.Notice
	}
	if a.HResult != 0 {
		m.Facts = append(m.Facts, chat.Fact{Label: "Error", Value: chat.Code(fmt.Sprintf("0x%08x", uint32(a.HResult)))})
	}
	m.Buttons = append(m.Buttons, chat.Button{Label: "Look again", Action: ActionShowAction, Value: a.ID})
	if a.MachineID != "" {
		m.Buttons = append(m.Buttons, chat.Button{Label: "Show machine", Action: ActionShowMachine, Value: a.MachineID})
	}
	m.Buttons = append(m.Buttons, openInDefender(machineURL(p, a.MachineID))...)
	return m
}

func actionMeaning(s defender.MachineActionStatus) string {
	switch s {
	case defender.ActionPending:
		return "waits for the machine; offline machines: up to three days"
	case defender.ActionInProgress:
		return "the machine is working on it"
	case defender.ActionSucceeded:
		return "done"
	case defender.ActionFailed:
		return "not done"
	case defender.ActionTimeOut:
		return "not done, the machine did not answer"
	case defender.ActionCancelled:
		return "not done, somebody cancelled it"
	}
	return "not a final status that mdebot knows"
}
