package app

import (
	"context"
	"net/http"
	"strings"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/commands"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/directory"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/links"
	"github.com/mdebot/mdebot/internal/notify"
	"github.com/mdebot/mdebot/internal/policy"
)

// newDirectory is the directory of the tenant whose Graph mdebot may read.
func (a *App) newDirectory() *directory.Directory {
	return directory.New(a.defender.For(defender.LaneAction).Fresh(), strings.ToLower(string(a.tenant)), a.now)
}

func (a *App) newLinks(transport *http.Transport, people identity.People) (*links.Service, error) {
	c := links.Config{
		Tenant: a.tenant, DB: a.store, Audit: a.audit, Policy: a.policy, People: people,
		Announcer: linkAnnouncer{a.notify, a.policy}, Teams: a.cfg.Teams.Enabled(), Keys: a.keys, Now: a.now, Logger: a.log,
	}
	if a.cfg.SignIn.Enabled() {
		signIn, err := links.NewSignIn(a.cfg.SignIn, a.cfg.Defender.AuthorityURL, a.cfg.policyOptions().HomeTenant, transport, a.now)
		if err != nil {
			return nil, err
		}
		c.SignIn, a.signIn = signIn, signIn
	}
	return links.New(c), nil
}

// linkAnnouncer tells people about links: the person on every account known, and
// the ops channel.
type linkAnnouncer struct {
	notify *notify.Notifier
	policy *policy.Source
}

// LinkChanged implements links.Announcer.
func (n linkAnnouncer) LinkChanged(ctx context.Context, tx durable.Tx, c links.Change) error {
	v := commands.LinkView(c.Link)
	if c.Before != nil {
		v.Replaces = c.Before.Person
	}
	var mine, ops chat.Message
	switch c.What {
	case links.Made:
		mine, ops = cards.LinkAnnounced(v, false), cards.LinkAnnounced(v, true)
	case links.Confirmed:
		mine = cards.LinkConfirmed(v)
		ops = mine
	case links.Ended:
		mine = cards.LinkEnded(v)
		ops = mine
	}
	places := n.places(c)
	about := "link " + c.Link.ID + " " + string(c.What)
	if err := n.notify.Tell(ctx, tx, c.Link.Tenant, about, mine, places...); err != nil {
		return err
	}
	return n.notify.Tell(ctx, tx, c.Link.Tenant, about+" ops", ops, chat.Destination(n.policy.Current().Ops()))
}

// places are the direct chats of everybody whom c is about.
func (n linkAnnouncer) places(c links.Change) []chat.Destination {
	people := []identity.PersonID{c.Link.Person}
	if c.Before != nil {
		people = append(people, c.Before.Person)
	}
	places := []chat.Destination{chat.DirectTo(c.Link.Account)}
	for _, account := range c.Others {
		places = append(places, chat.DirectTo(account))
	}
	for _, id := range people {
		p, listed := n.policy.Current().Book().Person(id)
		if !listed {
			p = identity.Person{ID: id} // still has a personal Teams chat
		}
		places = append(places, n.notify.DirectChats(p)...)
	}
	return places
}
