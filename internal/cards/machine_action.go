package cards

import (
	"fmt"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// ActionOrigin is one of Defender's machine actions, with the request here that it
// came from, or nil when somebody else started it.
type ActionOrigin struct {
	Action  defender.MachineAction
	Request *approvals.Request
}

// IsBy reports whether a person of that name, or part of it, started or asked for
// the action.
func (o ActionOrigin) IsBy(name string) bool {
	who := o.Action.Requestor
	if o.Request != nil {
		who = o.Request.RequesterName
	}
	return strings.Contains(strings.ToLower(who), strings.ToLower(name))
}

// by says who started the action and from where.
func (o ActionOrigin) by() chat.Text {
	if o.Request != nil {
		return sentence(chat.Plain("mdebot"), chat.Plain(fmt.Sprintf("#%d, asked by", o.Request.Number)), outside(o.Request.RequesterName))
	}
	return dotted(outside(o.Action.Requestor), chat.Plain(o.from()))
}

func (o ActionOrigin) from() string {
	switch {
	case o.Request != nil:
		return "mdebot"
	case strings.EqualFold(o.Action.Source, "Portal"):
		return "in the portal"
	}
	return "through the API, not by mdebot"
}

// ActionList is a list of machine actions, the newest first. What says which, and
// more that there are others beyond it.
func ActionList(all []ActionOrigin, what chat.Text, since time.Duration, more bool) chat.Message {
	within := chat.Plain("in the last " + spanWord(since))
	if len(all) == 0 {
		return chat.Message{Title: sentence(chat.Plain("No machine actions"), what, within)}
	}
	m := chat.Message{
		Title: sentence(chat.Plain(plural(len(all), "machine action", "machine actions")), what, within),
		Table: &chat.Table{Caption: "Machine actions", Columns: []string{"Started", "Type", "Machine", "Status", "By", "From", "ID"}, Total: len(all)},
		Menu:  &chat.Menu{Label: "Show an action", Action: ActionShowAction},
	}
	if more {
		m.Note = chat.Plain("There are more; name a machine or a person, or choose a shorter --since.")
	}
	for i, o := range all {
		a := o.Action
		who, from := a.Requestor, o.from()
		if o.Request != nil {
			who, from = o.Request.RequesterName, fmt.Sprintf("mdebot #%d", o.Request.Number)
		}
		kind := string(a.Type)
		if a.Scope != "" {
			kind += " (" + a.Scope + ")"
		}
		m.Table.Rows = append(m.Table.Rows, []string{tableTime(a.Created), kind, a.MachineName, string(a.Status), who, from, a.ID})
		if i < menuOptions {
			m.Menu.Options = append(m.Menu.Options, chat.Option{Label: kind + " on " + a.MachineName, Detail: string(a.Status) + ", " + who, Value: a.ID})
		}
	}
	return m
}

// spanWord is "24 hours" or "7 days".
func spanWord(d time.Duration) string {
	switch {
	case d%(24*time.Hour) == 0 && d >= 48*time.Hour:
		return plural(int(d/(24*time.Hour)), "day", "days")
	case d%time.Hour == 0:
		return plural(int(d/time.Hour), "hour", "hours")
	}
	return plural(int(d/time.Minute), "minute", "minutes")
}

// Action is the card of one of Defender's machine actions.
func Action(o ActionOrigin, p Portal) chat.Message {
	a := o.Action
	m := chat.Message{
		Title: chat.Join(chat.Untrusted(string(a.Type)), chat.Plain(" on "), outside(a.MachineName), chat.Plain(": "), chat.Untrusted(string(a.Status))),
		Facts: []chat.Fact{
			{Label: "Machine", Value: sentence(outside(a.MachineName), code(a.MachineID))},
			{Label: "Status", Value: dotted(outside(string(a.Status)), chat.Plain(actionMeaning(a.Status)))},
			{Label: "Scope", Value: outside(a.Scope)},
			{Label: "Started", Value: when(a.Created)},
			{Label: "Changed", Value: when(a.Updated)},
			{Label: "By", Value: o.by()},
			{Label: "Comment", Value: outside(a.Comment)},
		},
		Note: chat.Join(chat.Plain("Machine action "), chat.Code(a.ID)),
	}
	if a.File != "" {
		m.Facts = append(m.Facts, chat.Fact{Label: "File", Value: chat.Code(a.File)})
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
