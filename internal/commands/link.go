package commands

import (
	"context"
	"errors"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/links"
)

func linkSpecs() []Spec {
	return []Spec{
		{
			Name: "link", Usage: "link [code]", Summary: "Link your Slack account to you, by signing in or by a code in Teams.",
			Access: AnyMember, Audience: chat.Personal, Changes: true, Examples: []string{"link", "link K7QM-2XHD"},
			run: (*Router).link,
		},
		{
			Name: "unlink", Usage: "unlink", Summary: "End the link of your Slack account.",
			Access: AnyMember, Audience: chat.Personal, Changes: true, Examples: []string{"unlink"},
			run: (*Router).unlink,
		},
		{
			Name: "confirm-link", Usage: "confirm-link <link>", Summary: "Let somebody else's new link count at once.",
			Role: identity.Approver, Audience: chat.Personal, Changes: true,
			Examples: []string{"confirm-link 0f6d2c51-7a3e-4b7c-9d14-0c5a3be1f001"},
			run:      (*Router).confirmLink,
		},
	}
}

func (c *call) linkAsked() links.Asked {
	return links.Asked{By: c.inv.By, Conversation: c.inv.In.String(), Delivery: c.inv.Delivery}
}

// link offers the ways, or takes the code of one of them.
func (r *Router) link(ctx context.Context, c *call) (chat.Message, error) {
	switch {
	case len(c.args) > 1:
		return chat.Message{}, usageError(c, "link takes one code.")
	case len(c.args) == 0:
		o, err := r.Links.Offer(ctx, c.linkAsked())
		if err != nil {
			return chat.Message{}, err
		}
		command := ""
		if o.TeamsCode != "" {
			command = "link " + o.TeamsCode
		}
		return cards.LinkOffer(c.inv.By, o.URL, command, o.Expires), nil
	case c.inv.By.Platform != identity.Teams:
		made, err := r.Links.Complete(ctx, c.linkAsked(), c.arg(0))
		if err != nil {
			return chat.Message{}, err
		}
		return cards.LinkMade(LinkView(made)), nil
	case !c.inv.In.Direct:
		// A code in a channel is a code that others have read.
		return chat.Message{}, say("Codes are typed in the personal chat with mdebot.", "Open it and type the code there.")
	}
	p, err := r.Links.Propose(ctx, c.linkAsked(), c.arg(0))
	if err != nil {
		return chat.Message{}, err
	}
	return cards.LinkProposal(p.Account), nil
}

func (r *Router) acceptLink(ctx context.Context, c *call) (chat.Message, error) {
	made, err := r.Links.Accept(ctx, c.linkAsked(), c.inv.Value)
	if err != nil {
		return chat.Message{}, err
	}
	return cards.LinkMade(LinkView(made)), nil
}

func (r *Router) declineLink(ctx context.Context, c *call) (chat.Message, error) {
	if err := r.Links.Decline(ctx, c.linkAsked(), c.inv.Value); err != nil {
		return chat.Message{}, err
	}
	return chat.Message{Title: chat.Plain("Nothing was linked."), Note: chat.Plain("If you did not type link in Slack yourself, tell your security team: somebody may have wanted to pass for you.")}, nil
}

func (r *Router) unlink(ctx context.Context, c *call) (chat.Message, error) {
	if len(c.args) > 0 {
		return chat.Message{}, usageError(c, "unlink is about the account you type it in.")
	}
	ended, err := r.Links.Unlink(ctx, c.linkAsked())
	if err != nil {
		return chat.Message{}, err
	}
	return cards.LinkEnded(LinkView(ended)), nil
}

func (r *Router) confirmLink(ctx context.Context, c *call) (chat.Message, error) {
	if len(c.args) != 1 {
		return chat.Message{}, usageError(c, "Which link? Its message in the ops channel has a button.")
	}
	link, err := r.Links.Confirm(ctx, c.linkAsked(), c.arg(0))
	if err != nil {
		return chat.Message{}, err
	}
	return cards.LinkConfirmed(LinkView(link)), nil
}

// LinkView is what cards show of a stored link.
func LinkView(l links.Stored) cards.LinkView {
	return cards.LinkView{
		ID: l.ID, Account: l.Account, Person: l.Person, Name: l.Name, How: l.How,
		At: l.At, CountsFrom: l.CountsFrom, ConfirmedBy: l.ConfirmedBy,
	}
}

// whyNobody says in whoami why an account is no person, with the lines that an
// admin would add.
func whyNobody(inv chat.Invocation, link identity.Link, err error) (problem string, account identity.Principal) {
	how := withPrefix(prefix(inv), "link")
	switch {
	case errors.Is(err, identity.ErrUnlisted):
		p := link.Person.ID
		return "The account is linked to a person whom no entry of mdebot.yaml names, and a link gives no role.",
			identity.Principal{Platform: identity.Teams, Workspace: p.Tenant, Account: p.Object, Name: inv.By.Name}
	case inv.By.Platform == identity.Slack:
		return "No entry of mdebot.yaml names this account, and it is not linked. If mdebot.yaml names you, type " + how + " to link it yourself.", inv.By
	}
	return "No entry of mdebot.yaml names this account.", inv.By
}
