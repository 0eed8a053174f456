package cards

import (
	"slices"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

// Viewer is somebody who looks at the card of a request.
type Viewer struct {
	Person identity.PersonID
	// Waits is whether the request waits for their vote.
	Waits bool
}

// RequestDiffers reports whether the card of r looks different to some people: as
// long as somebody can decide.
func RequestDiffers(r approvals.Request) bool {
	return r.State == approvals.Pending || r.State == approvals.Approved
}

// RequestFor is [Request] as one person sees it: what they have to do with it, and
// without the buttons that would refuse them. It leaves out nothing else, so that
// nobody decides on less, and without certainty it is Request itself.
func RequestFor(v RequestView, who Viewer) chat.Message {
	m := Request(v)
	r := v.Request
	if !RequestDiffers(r) || who.Person.IsZero() {
		return m
	}
	voted := slices.IndexFunc(r.Votes, func(o approvals.Vote) bool { return o.By == who.Person && !o.Deny && o.Digest == r.Digest })
	var is chat.Text
	var not []string // actions
	switch {
	case who.Person == r.Requester:
		is = chat.Plain("You asked for this. Somebody else decides; you can withdraw it.")
		not = []string{ActionApprove, ActionDeny, ActionDenyForm, ActionReport}
	case voted >= 0:
		is = chat.Join(chat.Plain("You approved this: "), chat.At(r.Votes[voted].At), chat.Plain(". You can still deny it."))
		not = []string{ActionApprove, ActionWithdraw}
	case who.Waits:
		is = chat.Plain("It waits for your decision.")
		not = []string{ActionWithdraw}
	default:
		return m
	}
	m.Facts = append([]chat.Fact{{Label: "You", Value: is}}, m.Facts...)
	m.Buttons = slices.DeleteFunc(m.Buttons, func(b chat.Button) bool { return slices.Contains(not, b.Action) })
	m.Mentions = nil // nobody is notified by what one person sees
	return m
}

// RequestViews says for whom the card of r looks different.
func RequestViews(r approvals.Request, who []identity.Principal) *chat.Views {
	if !RequestDiffers(r) || len(who) == 0 {
		return nil
	}
	return &chat.Views{Action: ActionViewReq, Value: RequestValue(r.ID, r.Digest), For: who}
}
