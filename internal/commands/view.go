package commands

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

// view is how a message looks to one person, or nil when it is to stay as everybody
// sees it. A client asks by itself, again and again, so nothing is written, recorded
// or refused in words: whoever may not look, whatever cannot be found out, and
// everything but the actions below gets nil.
func (r *Router) view(ctx context.Context, inv chat.Invocation) (m *chat.Message) {
	ctx, cancel := context.WithTimeout(ctx, nowBudget)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			r.Logger.ErrorContext(ctx, "view failed", "error", fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			m = nil
		}
	}()
	look, ok := looks[inv.Action]
	if !ok {
		return nil
	}
	if _, ok := r.redraws.allow(inv.By.Key()); !ok {
		return nil
	}
	c := &call{spec: r.byName[look.spec], inv: inv, flags: map[string]string{}, who: caller{Account: inv.By}}
	value := inv.Value
	if r.several() {
		c.boundTo, c.inv.Value = cards.TenantOfValue(inv.Value)
		if c.boundTo == "" {
			return nil
		}
	}
	of, err := r.tenantOf(c)
	if err != nil {
		return nil
	}
	drawn, err := look.draw(of, ctx, c)
	if err != nil {
		r.Logger.DebugContext(ctx, "no view", "action", inv.Action, "error", err)
		return nil
	}
	drawn = of.marked(drawn)
	drawn.Views = &chat.Views{Action: inv.Action, Value: value, For: []identity.Principal{inv.By}}
	return &drawn
}

// look is a view: the command whose rights it needs, and how it is drawn.
type look struct {
	spec string
	draw func(r *Router, ctx context.Context, c *call) (chat.Message, error)
}

var looks = map[string]look{
	cards.ActionViewReq:   {"approve", (*Router).viewRequest},
	cards.ActionViewQueue: {"requests", (*Router).viewQueue},
}

var errNoView = errors.New("this is not shown here")

// viewRequest draws the card of a request in the message that shows it, and in no
// other: the client says which request it is, and could name any.
func (r *Router) viewRequest(ctx context.Context, c *call) (chat.Message, error) {
	id, _, ok := cards.ParseRequestValue(c.inv.Value)
	if !ok || c.inv.Source.IsZero() {
		return chat.Message{}, errNoView
	}
	if err := r.standsIn(ctx, id, c.inv.Source); err != nil {
		return chat.Message{}, err
	}
	if err := r.mayUse(ctx, c); err != nil {
		return chat.Message{}, err
	}
	q, err := r.Approvals.Request(ctx, r.Tenant, id)
	if err != nil {
		return chat.Message{}, err
	}
	freeze, err := r.Approvals.Frozen(ctx, r.Tenant)
	if err != nil {
		return chat.Message{}, err
	}
	person := c.who.Person.ID
	return cards.RequestFor(
		cards.RequestView{Request: q, Portal: r.Portal, Freeze: freeze},
		cards.Viewer{Person: person, Waits: r.Approvals.NeedsVote(ctx, q, person)},
	), nil
}

const (
	// placeLooks is how often it is looked up what a message shows: clients ask as
	// soon as it stands, and it is noted a moment later.
	placeLooks = 6
	placePause = 150 * time.Millisecond
)

// standsIn makes sure that a message shows that request.
func (r *Router) standsIn(ctx context.Context, request string, message chat.Ref) error {
	at := message.Conversation
	at.Thread = message.MessageID
	for range placeLooks {
		s, ok, err := r.Subjects.SubjectOf(ctx, at)
		switch {
		case err != nil:
			return err
		case ok && s.Kind == SubjectRequest && s.ID == request && s.Tenant == r.Tenant:
			return nil
		case ok:
			return errNoView
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(placePause):
		}
	}
	return errNoView
}

// viewQueue is the answer to requests as it is now, where nobody else reads it.
func (r *Router) viewQueue(ctx context.Context, c *call) (chat.Message, error) {
	if !c.inv.In.Direct {
		return chat.Message{}, errNoView
	}
	if err := r.mayUse(ctx, c); err != nil {
		return chat.Message{}, err
	}
	return r.requests(ctx, c)
}
