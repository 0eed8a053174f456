package commands

import (
	"context"
	"strings"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

func freezeSpecs() []Spec {
	return []Spec{
		{
			Name: "freeze", Usage: "freeze <reason>",
			Summary: "Stop everything that changes something at Defender, at once; anyone may whose approval counts under some rule.",
			Changes: true, Examples: []string{"freeze somebody approves what nobody asked for"},
			run: (*Router).freeze,
		},
		{
			Name: "unfreeze", Usage: "unfreeze <reason>", Summary: "Ask to end a freeze; a second person must approve.",
			Role: identity.Responder, Changes: true, SecondPerson: true,
			Examples: []string{"unfreeze the account is locked and its requests are denied"},
			run:      (*Router).unfreeze,
		},
	}
}

func (r *Router) freeze(ctx context.Context, c *call) (chat.Message, error) {
	in, err := r.freezeInput(c)
	if err != nil {
		return chat.Message{}, err
	}
	frozen, err := r.Approvals.Freeze(ctx, in)
	if err != nil {
		return chat.Message{}, err
	}
	return cards.FrozenAnswer(frozen), nil
}

func (r *Router) unfreeze(ctx context.Context, c *call) (chat.Message, error) {
	in, err := r.freezeInput(c)
	if err != nil {
		return chat.Message{}, err
	}
	opened, err := r.Approvals.Unfreeze(ctx, in)
	if err != nil {
		return chat.Message{}, err
	}
	return openedMessage(opened), nil
}

func (r *Router) freezeInput(c *call) (approvals.FreezeInput, error) {
	reason := strings.TrimSpace(c.words(0))
	if reason == "" {
		return approvals.FreezeInput{}, usageError(c, "A reason is needed: it is what everybody reads.")
	}
	return approvals.FreezeInput{Asked: c.asked(), Tenant: r.Tenant, Reason: reason}, nil
}

// requestCard is a request's card as it is now.
func (r *Router) requestCard(ctx context.Context, q approvals.Request) (chat.Message, error) {
	freeze, err := r.Approvals.Frozen(ctx, r.Tenant)
	if err != nil {
		return chat.Message{}, err
	}
	return cards.Request(cards.RequestView{Request: q, Portal: r.Portal, Freeze: freeze}), nil
}
