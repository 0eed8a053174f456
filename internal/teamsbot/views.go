package teamsbot

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

// Views of a card for single people are Microsoft's "User Specific Views"
// (learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/universal-actions-for-adaptive-cards/user-specific-views):
// the clients of the people whom a card names ask for theirs when they show it and when
// it has been edited. Old clients show the card as it is.

const (
	// maxViewers is how many people Teams lets a card name.
	maxViewers = 60
	// maxViewing is how many clients are answered at once. All who have a channel open
	// ask at the same moment; what is too much keeps the card as it is.
	maxViewing = 64
	// maxAddress is the longest address of a person that is put into a card.
	maxAddress   = 200
	maxAddresses = 50_000
	// meetTime is how long a post or an edit waits for the addresses of those it names.
	meetTime = 2 * time.Second
	// meetPages is how much of a list of members is read for that.
	meetPages = 4
)

// addressBook holds by which address the bot knows people: one for each, whatever the
// conversation. Those of a card are no secret and decide nothing.
type addressBook struct {
	now func() time.Time

	mu  sync.Mutex
	of  map[string]string    // principal key → address
	met map[string]time.Time // conversation ID → when its members were looked at
}

func newAddressBook(now func() time.Time) *addressBook {
	return &addressBook{now: now, of: map[string]string{}, met: map[string]time.Time{}}
}

func (a *addressBook) put(p identity.Principal) {
	if !strings.HasPrefix(p.Address, "29:") || len(p.Address) > maxAddress {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.of) >= maxAddresses {
		clear(a.of)
	}
	a.of[p.Key()] = p.Address
}

// find lists the addresses of people that are known, in their order, and tells whether
// some are not.
func (a *addressBook) find(tenant string, people []identity.Principal) (known []string, missing bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range people {
		if p.Platform != identity.Teams || p.Workspace != tenant {
			continue
		}
		switch address, ok := a.of[p.Key()]; {
		case !ok:
			missing = true
		case len(known) < maxViewers && !slices.Contains(known, address):
			known = append(known, address)
		}
	}
	return known, missing
}

// meets reports whether the members of a conversation have not been looked at lately,
// and notes that they are.
func (a *addressBook) meets(conversation string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if at, ok := a.met[conversation]; ok && now.Sub(at) < readersAge {
		return false
	}
	if len(a.met) >= maxPlaces {
		clear(a.met)
	}
	a.met[conversation] = now
	return true
}

// drawnIn draws m for all in a conversation, with the people for whom it differs.
func (b *Bot) drawnIn(ctx context.Context, in chat.Conversation, m chat.Message, extra ...object) object {
	c := card(m, extra...)
	if m.Views != nil {
		withViews(c, m.Views, b.viewers(ctx, in, m.Views.For))
	}
	return c
}

// viewers are the addresses of people. Who is not known yet is looked for among the
// members of the conversation; without, they see the card as it is.
func (b *Bot) viewers(ctx context.Context, in chat.Conversation, people []identity.Principal) []string {
	if in.Workspace == "" {
		located, err := b.locate(ctx, in.ID)
		if err != nil {
			return nil
		}
		in.Workspace = located.Workspace
	}
	if strings.HasPrefix(in.ID, personalPrefix) {
		people = b.whoseChat(ctx, in, people)
	}
	known, missing := b.addresses.find(in.Workspace, people)
	if !missing || !b.addresses.meets(in.ID) {
		return known
	}
	ctx, cancel := context.WithTimeout(ctx, meetTime)
	defer cancel()
	if err := b.meet(ctx, in); err != nil {
		b.log.DebugContext(ctx, "members not looked at", "conversation_id", in.ID, "error", err)
	}
	known, _ = b.addresses.find(in.Workspace, people)
	return known
}

// whoseChat is the one among people whose personal chat that is: it names nobody else.
func (b *Bot) whoseChat(ctx context.Context, chatWith chat.Conversation, people []identity.Principal) []identity.Principal {
	for i, p := range people {
		if p.Platform != identity.Teams || p.Workspace != chatWith.Workspace {
			continue
		}
		if r, ok, err := b.reference(ctx, p.Workspace, personalKey(p.Account)); err == nil && ok && r.ConversationID == chatWith.ID {
			return people[i : i+1]
		}
	}
	return nil
}

// meet learns the addresses of the members of a conversation.
func (b *Bot) meet(ctx context.Context, in chat.Conversation) error {
	serviceURL, err := b.serviceURL(ctx, in.Workspace, in.ID)
	if err != nil {
		return err
	}
	token := ""
	for range meetPages {
		page, err := b.members(ctx, in, serviceURL, token)
		if err != nil || page.Next == "" {
			return err
		}
		token = page.Next
	}
	return nil
}

// withViews makes the clients of those people ask for their view of the card. An empty
// list is left out: it would put a button for it into everybody's menu.
func withViews(c object, v *chat.Views, addresses []string) {
	if len(addresses) == 0 {
		return
	}
	c["refresh"] = object{
		"action": object{
			"type": "Action.Execute", "title": "Refresh", "verb": v.Action,
			"data": object{keyAction: v.Action, keyValue: v.Value, keyView: true},
		},
		"userIds": addresses,
	}
}

// onView answers a client that asks how a card looks to its user, mostly by itself.
// Nothing comes of it: it is no delivery, takes no place among the work of others, and
// of the handler's answer only the card counts.
func (b *Bot) onView(w http.ResponseWriter, r *http.Request, h chat.Handler, a activity, d cardData, by identity.Principal) {
	asItIs := cardNote("")
	select {
	case b.viewing <- struct{}{}:
		defer func() { <-b.viewing }()
	default:
		respond(w, asItIs)
		return
	}
	inv := a.invocation(d, by)
	inv.Kind, inv.Fields, inv.At = chat.View, nil, b.now()
	b.standings.saw(by, inv.In.ID)
	ctx, cancel := context.WithTimeout(r.Context(), invokeTime)
	defer cancel()
	m := b.handle(ctx, h, inv).Replace
	if m == nil {
		respond(w, asItIs)
		return
	}
	c := card(*m)
	if m.Views != nil {
		own, _ := b.addresses.find(a.tenant, []identity.Principal{by})
		withViews(c, m.Views, own)
	}
	respond(w, cardReplacement(c))
}
