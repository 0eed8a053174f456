package cards

import (
	"fmt"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
)

// frozenBy is "by Avery since 12:00: why".
func frozenBy(f approvals.Freeze) chat.Text {
	return chat.Join(chat.Plain("by "), outside(f.ByName), chat.Plain(" since "), when(f.Since), chat.Plain(": "), outside(f.Reason))
}

// Frozen tells everybody who decides that nothing runs any more.
func Frozen(f approvals.Freeze) chat.Message {
	m := Notice(chat.Danger, "All actions are frozen",
		chat.Plain("Nothing is opened, approved or sent to Defender. What was approved and not sent is void; what was sent goes on."),
		chat.Join(chat.Plain("Two people end it: "), chat.Bold("unfreeze <reason>"), chat.Plain(". What cannot wait is done in the Defender portal.")))
	m.Facts = []chat.Fact{
		{Label: "By", Value: whoFroze(f)},
		{Label: "Since", Value: when(f.Since)},
		{Label: "Why, in their words", Value: outside(f.Reason)},
	}
	m.Note = chat.Join(chat.Plain("Tenant "), code(string(f.Tenant)))
	return m
}

// whoFroze is a person with account, or mdebot itself.
func whoFroze(f approvals.Freeze) chat.Text {
	if f.By.IsZero() {
		return chat.Plain("mdebot itself")
	}
	return person(f.ByName, f.By, f.As)
}

// Unfrozen tells that a freeze is over, and who ended it.
func Unfrozen(f approvals.Freeze, by approvals.Request) chat.Message {
	m := Notice(chat.Good, "Actions are no longer frozen",
		chat.Plain("Requests can be opened, approved and carried out again. What the freeze made void stays void."))
	m.Facts = []chat.Fact{
		{Label: "Was frozen", Value: frozenBy(f)},
		{Label: "Asked by", Value: outside(by.RequesterName)},
	}
	for _, v := range by.Votes {
		if !v.Deny {
			m.Facts = append(m.Facts, chat.Fact{Label: "Approved by", Value: outside(v.Name)})
		}
	}
	m.Facts = append(m.Facts,
		chat.Fact{Label: "Request", Value: chat.Plain(fmt.Sprintf("#%d", by.Number))},
		chat.Fact{Label: "Why, in the requester's words", Value: outside(by.Reason)})
	m.Note = chat.Join(chat.Plain("Tenant "), code(string(f.Tenant)))
	return m
}

// FrozenAnswer tells whoever froze what that stopped.
func FrozenAnswer(f approvals.Frozen) chat.Message {
	m := Frozen(f.Freeze)
	for _, r := range f.Stopped {
		m.Facts = append(m.Facts, chat.Fact{Label: "Stopped", Value: RequestReply(r).Title})
	}
	return m
}
