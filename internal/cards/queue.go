package cards

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
)

// RequestQueue is what waits or runs, as one person sees it.
type RequestQueue struct {
	Requests []approvals.Request
	// Mine reports whether a request waits for whoever looks.
	Mine func(approvals.Request) bool
	// Own, unless nil, reports whether whoever looks has asked for it. Those then
	// stand apart.
	Own func(approvals.Request) bool
	Now time.Time
}

// First takes out the first requests that wait for whoever looks, at most most of
// them, in the order in which [RequestList] names them.
func (q RequestQueue) First(most int) (first []approvals.Request, rest RequestQueue) {
	all := slices.Clone(q.Requests)
	byDeadline(all)
	rest = q
	rest.Requests = nil
	for _, r := range all {
		if len(first) < most && r.State == approvals.Pending && q.Mine != nil && q.Mine(r) {
			first = append(first, r)
		} else {
			rest.Requests = append(rest.Requests, r)
		}
	}
	return first, rest
}

func byDeadline(all []approvals.Request) {
	slices.SortStableFunc(all, func(a, b approvals.Request) int {
		return cmp.Or(deadline(a).Compare(deadline(b)), cmp.Compare(a.Number, b.Number))
	})
}

const (
	// queueShown is how many requests a queue names; its menu has as many.
	queueShown = menuOptions
	// queueButtons is how many have a button of their own: more would hide the list
	// on a phone.
	queueButtons = 5
)

// RequestList is the queue: requests that are not resolved, first those that wait for
// whoever looks, then others that wait, then those that run, each by the time that is
// left. It is drawn as short lines and not as a table, which a phone cuts.
func RequestList(q RequestQueue) chat.Message {
	if len(q.Requests) == 0 {
		return chat.Message{Title: chat.Plain("No requests are open"), Tone: chat.Good}
	}
	var mine, own, others, running []approvals.Request
	for _, r := range q.Requests {
		switch {
		case q.Own != nil && q.Own(r):
			own = append(own, r)
		case r.State != approvals.Pending:
			running = append(running, r)
		case q.Mine != nil && q.Mine(r):
			mine = append(mine, r)
		default:
			others = append(others, r)
		}
	}
	m := chat.Message{
		Title: chat.Plain(plural(len(q.Requests), "open request", "open requests")),
		Tone:  chat.Notice,
		Menu:  &chat.Menu{Label: "Show a request", Action: ActionShowReq},
	}
	if len(mine) > 0 {
		m.Title = chat.Join(m.Title, chat.Plain(fmt.Sprintf(", %d for you to decide", len(mine))))
	}
	m.Preview = m.Title
	shown := 0
	for _, part := range []struct {
		heading  string
		requests []approvals.Request
	}{{"For you to decide", mine}, {"You asked for", own}, {"Wait for others", others}, {"Run", running}} {
		byDeadline(part.requests)
		s := chat.Section{Heading: part.heading}
		for _, r := range part.requests[:min(len(part.requests), queueShown-shown)] {
			s.Lines = append(s.Lines, queueLines(r, q.Now)...)
			m.Menu.Options = append(m.Menu.Options, queueOption(r))
			shown++
		}
		if len(s.Lines) > 0 {
			m.Sections = append(m.Sections, s)
		}
	}
	for _, r := range mine[:min(len(mine), queueButtons)] {
		m.Buttons = append(m.Buttons, chat.Button{Label: fmt.Sprintf("Show #%d", r.Number), Action: ActionShowReq, Value: RequestValue(r.ID, r.Digest)})
	}
	if more := len(q.Requests) - shown; more > 0 {
		m.Note = chat.Plain("And " + plural(more, "more", "more") + ": approve <number> shows any of them.")
	}
	return m
}

// deadline is when the present state of a request ends by itself, or far away.
func deadline(r approvals.Request) time.Time {
	switch r.State {
	case approvals.Pending:
		return r.Expires
	case approvals.Approved:
		return r.ExecuteBy
	default:
		return r.Opened.AddDate(1, 0, 0)
	}
}

// queueLines are what one request is, and below it who asked, when, and how long there
// is still time.
func queueLines(r approvals.Request, now time.Time) []chat.Text {
	head := chat.Join(chat.Bold(fmt.Sprintf("#%d ", r.Number)), requestSubject(r))
	facts := []chat.Text{
		sentence(chat.Plain("asked by"), outside(within(r.RequesterName, roomForName))),
		chat.Plain("just now"),
	}
	if d := now.Sub(r.Opened); d >= time.Minute {
		facts[1] = chat.Plain(age(d) + " ago")
	}
	if r.State != approvals.Pending {
		return []chat.Text{head, dotted(append(facts, chat.Plain(stateWord(r)))...)}
	}
	left := chat.Plain("no time left")
	if d := r.Expires.Sub(now); d >= time.Minute {
		left = chat.Plain(age(d) + " left")
	} else if d > 0 {
		left = chat.Plain("less than a minute left")
	}
	given := 0
	for _, v := range r.Votes {
		if !v.Deny && v.Digest == r.Digest {
			given++
		}
	}
	return []chat.Text{head, dotted(append(facts, left, chat.Plain(fmt.Sprintf("%d of %d approvals", given, r.Rule.Approvers)))...)}
}

func queueOption(r approvals.Request) chat.Option {
	return chat.Option{
		Label: fmt.Sprintf("#%d %s", r.Number, requestSubject(r)), Detail: r.RequesterName, Value: RequestValue(r.ID, r.Digest),
	}
}
