package notify

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
)

// admits says who besides members may read a card where it goes, because
// mdebot.yaml says so by name (threat-model S-14).
func (n *Notifier) admits(c card) chat.Readers {
	p, place := n.policyOf(c.tenant), string(c.destination)
	switch c.subject {
	case SubjectAlert, subjectRaised, subjectStorm, subjectPage:
		guests, strangers := p.AlertReaders(place)
		return chat.Readers{Guests: guests, Strangers: strangers}
	case SubjectRequest, subjectReply:
		return chat.Readers{Guests: p.RequestReaders(place)}
	case subjectHunt:
		return chat.Readers{Guests: p.HuntReaders(scheduleAbout(c.subjectID), place)}
	case subjectNotice, subjectPaging:
	}
	return chat.Readers{Guests: p.NoticeReaders(place)}
}

// divert shows what a card has to say at other places too, once, and tells the ops
// channel why, once a day (threat-model N-08, S-14).
func (n *Notifier) divert(ctx context.Context, tx durable.Tx, c card, cause error) error {
	for _, to := range n.otherPlaces(ctx, c, cause) {
		if to == "" || to == c.destination {
			continue
		}
		if err := n.wantOnce(ctx, tx, want{tenant: c.tenant, subject: c.subject, subjectID: c.subjectID, destination: to, class: c.class}); err != nil {
			return err
		}
	}
	switch {
	case c.subject == subjectNotice:
		return nil // an alarm about this very thing
	case errors.Is(cause, chat.ErrNotThere):
		return n.alarm(ctx, tx, c.tenant, daily, "undeliverable "+string(c.destination), undeliverable(c.destination, cause))
	}
	v := cards.ReadersView{Place: string(c.destination), Requests: c.subject == SubjectRequest || c.subject == subjectReply, Hunts: c.subject == subjectHunt}
	if forbidden := (*chat.ForbiddenError)(nil); errors.As(cause, &forbidden) {
		v.Found = forbidden.Found
	} else {
		v.Unknown = cause.Error()
	}
	about := "alerts"
	switch {
	case v.Requests:
		about = "requests"
	case v.Hunts:
		about = "scheduled hunts"
	}
	return n.alarm(ctx, tx, c.tenant, daily, "readers of "+about+" in "+string(c.destination), cards.Readers(v))
}

// otherPlaces are where a card goes that its own destination does not take.
func (n *Notifier) otherPlaces(ctx context.Context, c card, cause error) []chat.Destination {
	p := n.policy.Current()
	ops, fallback := chat.Destination(p.Ops()), chat.Destination(p.Fallback())
	unreachable := errors.Is(cause, chat.ErrNotThere)
	switch c.subject {
	case SubjectAlert, subjectRaised, subjectStorm, subjectPage:
		return []chat.Destination{fallback}
	case SubjectRequest, subjectReply:
		if !unreachable {
			return n.deciders(ctx, c)
		}
	case subjectNotice:
		// What the ops channel may not show goes on until somebody may see it.
		switch {
		case unreachable:
		case c.destination == ops && fallback != "" && fallback != ops:
			return []chat.Destination{fallback}
		case c.destination == ops, c.destination == fallback:
			return n.admins()
		}
	case subjectHunt, subjectPaging: // what was hunted goes where the file says, or nowhere
	}
	return nil
}

// deciders are the direct chats of those whom a card of a request was for: of who
// asked, in the asking conversation, and of everybody who may approve, in the
// configured places. Replies to the latter stand in their direct chats anyway.
func (n *Notifier) deciders(ctx context.Context, c card) []chat.Destination {
	id, _, _ := strings.Cut(c.subjectID, "/")
	r, err := n.requests.Request(ctx, c.tenant, id)
	if err != nil {
		n.log.ErrorContext(ctx, "nobody else is shown a request that its place may not show", "approval_id", id, "error", err)
		return nil
	}
	var to []chat.Destination
	if string(c.destination) == r.Origin {
		to = append(to, chat.DirectTo(r.RequesterAs))
	}
	if c.subject == SubjectRequest && slices.Contains(n.policyOf(c.tenant).PostTo(), string(c.destination)) {
		to = append(to, n.approverChats(ctx, r)...)
	}
	return to
}

// admins are the direct chats of the people who look after the bot.
func (n *Notifier) admins() []chat.Destination {
	var to []chat.Destination
	for _, person := range n.policy.Current().Book().People() {
		if person.Has(identity.Admin) {
			to = append(to, n.directChats(person)...)
		}
	}
	return to
}
