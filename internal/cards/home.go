package cards

import (
	"fmt"
	"slices"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// HomeView is the head of somebody's own page.
type HomeView struct {
	// Waiting is how many requests wait for them.
	Waiting int
	// Name is theirs, when mdebot knows it.
	Name string
	Now  time.Time
	// Elsewhere is of how many more tenants isolated machines and alerts are not on it.
	Elsewhere int
	// Live pages follow everything by themselves while they are open, and nothing is
	// decided in them.
	Live bool
}

// HomeHead is the beginning of somebody's own page. It says of when the page is: what
// cannot be brought up to date must not look fresh.
func HomeHead(v HomeView) chat.Message {
	m := chat.Message{
		Title: chat.Plain("Nothing waits for you to decide"),
		Tone:  chat.Good,
		Facts: v.asOf(),
		Note:  chat.Plain("What you do here is answered in Messages."),
	}
	if v.Live {
		m.Note = chat.Plain("Nothing is decided here. The chat with mdebot has the cards with their buttons.")
	}
	if v.Waiting > 0 {
		m.Title, m.Tone = chat.Plain(plural(v.Waiting, "request waits", "requests wait")+" for you to decide"), chat.Notice
	}
	if v.Name != "" {
		m.Facts = append(m.Facts, chat.Fact{Label: "You", Value: outside(v.Name)})
	}
	if v.Elsewhere > 0 {
		m.Facts = append(m.Facts, chat.Fact{Label: "Not shown", Value: chat.Plain("isolated machines and alerts of " +
			plural(v.Elsewhere, "more tenant", "more tenants") + ": type isolated or alerts with --tenant; tenant lists them")})
	}
	return m
}

func (v HomeView) asOf() []chat.Fact {
	follows := "; requests follow by themselves, the rest when you open this page"
	if v.Live {
		follows = "; follows by itself while it is open"
	}
	return []chat.Fact{{Label: "As of", Value: chat.Join(chat.At(v.Now), chat.Plain(follows))}}
}

// HomeRefused is the page of somebody who is told no and nothing else.
func HomeRefused(no chat.Message, v HomeView) chat.Message {
	no.Facts = append(v.asOf(), no.Facts...)
	return no
}

// HomeRequest is the approval card as it stands in the page of somebody for whom it
// waits: all of it, because nobody decides on less.
func HomeRequest(v RequestView) chat.Message {
	m := Request(v)
	m.Buttons = slices.DeleteFunc(m.Buttons, func(b chat.Button) bool { return b.Action == ActionWithdraw })
	m.Buttons = append(m.Buttons, chat.Button{Label: "Open in Messages", Action: ActionShowReq, Value: RequestValue(v.Request.ID, v.Request.Digest)})
	return m
}

// HomeQueue is [RequestList] of what the page does not show in whole, which is above
// requests. Without anything it says nothing: the head has said it.
func HomeQueue(q RequestQueue, above int) (m chat.Message, ok bool) {
	if len(q.Requests) == 0 {
		return chat.Message{}, false
	}
	m = RequestList(q)
	if above > 0 {
		m.Title = chat.Plain(plural(len(q.Requests), "more open request", "more open requests"))
		m.Preview = m.Title
	}
	return m, true
}

// HomeAlertsDays is how far back a page looks for alerts.
const HomeAlertsDays = 7

// homeAlerts is how many alerts a page names; the menu has them all.
const homeAlerts = 5

// HomeAlerts are the High alerts that nobody has resolved, the newest first. Tables
// would be cut in a page, so its lists are lines.
func HomeAlerts(alerts []defender.Alert, more bool) chat.Message {
	m := AlertList(alerts, chat.Plain(fmt.Sprintf("that are High and open, of the last %d days", HomeAlertsDays)), more)
	m.Note = nil
	if m.Table == nil {
		return m
	}
	m.Table, m.Tone = nil, chat.Danger
	s := chat.Section{Heading: "The newest first"}
	for _, a := range alerts[:min(len(alerts), homeAlerts)] {
		s.Lines = append(s.Lines, dotted(outside(within(a.Title, roomForTitle)), outside(within(a.MachineName, roomForName)), outside(a.Status), sentence(chat.Plain("since"), chat.At(a.Created))))
	}
	if rest := len(alerts) - homeAlerts; rest > 0 || more {
		s.Lines = append(s.Lines, chat.Plain("and more: type alerts high"))
	}
	m.Sections = []chat.Section{s}
	return m
}

// HomeIsolations is [IsolatedList] as it stands in a page.
func HomeIsolations(machines []IsolatedMachine, complete bool, now time.Time) chat.Message {
	m := IsolatedList(machines, complete, now)
	if m.Table == nil {
		return m
	}
	m.Table = nil
	s := chat.Section{Heading: "The longest first"}
	for _, d := range machines[:min(len(machines), forgottenShown)] {
		s.Lines = append(s.Lines, isolatedLine(d, chat.Plain(d.state()), now))
	}
	if more := len(machines) - forgottenShown; more > 0 {
		s.Lines = append(s.Lines, chat.Plain("and "+plural(more, "more", "more")+": type isolated"))
	}
	m.Sections = []chat.Section{s}
	return m
}
