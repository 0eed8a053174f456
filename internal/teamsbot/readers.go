package teamsbot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

const (
	// readersAge is how old an answer about a conversation may be (threat-model S-14
	// allows ten minutes).
	readersAge = 5 * time.Minute
	// readerPage is the most that Teams gives at once, readerPages what is read.
	readerPage  = 500
	readerPages = 20
	maxPlaces   = 10_000
)

// readers caches who from outside is in a conversation.
type readers struct {
	now func() time.Time

	mu    sync.Mutex
	known map[string]knownReaders
}

type knownReaders struct {
	found chat.Readers
	// whole is set when every member was looked at.
	whole bool
	at    time.Time
}

func newReaders(now func() time.Time) *readers {
	return &readers{now: now, known: map[string]knownReaders{}}
}

func (r *readers) get(conversation string) (knownReaders, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.known[conversation]
	return k, ok && r.now().Sub(k.at) < readersAge
}

func (r *readers) put(conversation string, found chat.Readers, whole bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) >= maxPlaces {
		clear(r.known)
	}
	r.known[conversation] = knownReaders{found, whole, r.now()}
}

// checkPlace refuses conversations that people from outside read, unless they are
// admitted (threat-model S-14). Members are asked for anew after five minutes; what
// cannot be found out is a refusal too. It catches channels that are shared across
// tenants as well: their members say whose they are.
func (b *Bot) checkPlace(ctx context.Context, in chat.Conversation, admits chat.Readers) error {
	if in.Direct || admits.Strangers {
		return nil
	}
	k, ok := b.readers.get(in.ID)
	if !ok || !k.whole && admits.Admit(k.found) {
		found, whole, err := b.outsidersIn(ctx, in, admits)
		if err != nil {
			return err
		}
		b.readers.put(in.ID, found, whole)
		k.found = found
	}
	if !admits.Admit(k.found) {
		return &chat.ForbiddenError{Place: chat.To(in), Found: k.found}
	}
	return nil
}

// admitted are who besides members may read answers in a conversation.
func (b *Bot) admitted(in chat.Conversation) chat.Readers {
	return chat.Readers{Guests: b.guests != nil && b.guests(chat.To(in))}
}

// outsidersIn reads the members of a conversation up to the first who is not
// admitted; whole tells that all were read.
func (b *Bot) outsidersIn(ctx context.Context, in chat.Conversation, admits chat.Readers) (found chat.Readers, whole bool, err error) {
	const op = "list the members of a conversation"
	serviceURL, err := b.serviceURL(ctx, in.Workspace, in.ID)
	if err != nil {
		return found, false, fmt.Errorf("%s: %w", op, err)
	}
	token := ""
	for page := range readerPages {
		list, err := b.members(ctx, in, serviceURL, token)
		if err == nil && page == 0 && len(list.Members) == 0 {
			err = fmt.Errorf("%s: the list is empty; is a proxy answering?", op)
		}
		if err != nil {
			return found, false, unknownReaders(err)
		}
		for _, m := range list.Members {
			one, err := m.reads(b.tenants)
			if err != nil {
				return found, false, unknownReaders(fmt.Errorf("%s: %w", op, err))
			}
			found.Guests, found.Strangers = found.Guests || one.Guests, found.Strangers || one.Strangers
			if !admits.Admit(found) {
				return found, false, nil
			}
		}
		if list.Next == "" {
			return found, true, nil
		}
		token = list.Next
	}
	return found, false, unknownReaders(fmt.Errorf("%s: it has more than %d members, too many to look at", op, readerPage*readerPages))
}

// memberPage is a part of a conversation's members.
type memberPage struct {
	Members []member `json:"members"`
	Next    string   `json:"continuationToken"`
}

// members reads a page of the members of a conversation. What Teams tells there of
// somebody is what a look-up of theirs would tell, so that it is kept: all of them may
// ask at once how a card looks.
func (b *Bot) members(ctx context.Context, in chat.Conversation, serviceURL, token string) (memberPage, error) {
	query := url.Values{"pageSize": {strconv.Itoa(readerPage)}}
	if token != "" {
		query.Set("continuationToken", token)
	}
	var page memberPage
	err := b.connector.do(ctx, request{
		op: "list the members of a conversation", method: http.MethodGet, serviceURL: serviceURL,
		path: []string{"conversations", in.ID, "pagedmembers"}, query: query,
	}, &page)
	for _, m := range page.Members {
		p := identity.Principal{Platform: identity.Teams, Workspace: in.Workspace, Account: strings.ToLower(m.object()), Address: m.ID}
		if !isGUID(p.Account) {
			continue
		}
		b.addresses.put(p)
		few := token == "" && page.Next == "" // or they would push out all others
		if st, err := m.standing(p); err == nil && few {
			b.standings.put(p, st)
		}
	}
	return page, err
}

// reads is what a member of a conversation is to it.
func (m member) reads(ours []string) (chat.Readers, error) {
	switch {
	case m.UserRole == "anonymous":
		return chat.Readers{Strangers: true}, nil
	case m.TenantID == "":
		return chat.Readers{}, errors.New("a member of no tenant")
	case !slices.Contains(ours, strings.ToLower(m.TenantID)):
		return chat.Readers{Strangers: true}, nil
	case m.guest():
		return chat.Readers{Guests: true}, nil
	case m.UserRole == "user":
		return chat.Readers{}, nil
	}
	return chat.Readers{}, errors.New("a member without a role")
}

// unknownReaders marks an error that leaves open who reads a conversation. What
// passes by itself within seconds, and what a post would meet too, stays as it is.
func unknownReaders(err error) error {
	var throttled *chat.ThrottledError
	for _, other := range []error{chat.ErrNotThere, chat.ErrCredentials, errForeignHost, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, other) {
			return err
		}
	}
	if errors.As(err, &throttled) {
		return err
	}
	return fmt.Errorf("%w: %v", chat.ErrReadersUnknown, err) //nolint:errorlint // what the call meant means nothing for the post
}

// guarded tells that an answer must not stand where it was asked for, because
// people from outside read along. Those who are from outside themselves are told
// nothing of a tenant, so they are answered in place.
func (r *replies) guarded(ctx context.Context) bool {
	if r.inv.In.Direct {
		return false
	}
	err := r.bot.checkPlace(ctx, r.inv.In, r.bot.admitted(r.inv.In))
	if err == nil {
		return false
	}
	if st, err := r.bot.Standing(ctx, r.inv.By); err == nil && st != identity.Member {
		return false
	}
	r.bot.log.InfoContext(ctx, "answer is given in private", "conversation_id", r.inv.In.ID, "error", err)
	return true
}
