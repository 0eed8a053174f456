package slackbot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slack-go/slack"
	"golang.org/x/sync/errgroup"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

const (
	// readersAge is how old an answer about a channel may be, and again how old one
	// about an account that went into it: ten minutes in all (threat-model S-14).
	readersAge = 5 * time.Minute
	// maxReaders bounds the members that are looked at: users.info allows about a
	// hundred calls a minute, and mdebot is not their only use.
	maxReaders = 300
	readerPage = 200
	// readersAtOnce is how many accounts are looked up together.
	readersAtOnce = 8
)

// checkPlace refuses channels that people from outside read, unless they are
// admitted. Who reads a channel is asked anew after five minutes; what cannot be
// found out is a refusal too.
func (b *Bot) checkPlace(ctx context.Context, channel string, admits chat.Readers) error {
	if channel[0] == 'D' {
		return nil
	}
	found, err := b.readers(ctx, channel, admits)
	if err != nil {
		return err
	}
	if !admits.Admit(found) {
		return &chat.ForbiddenError{Place: chat.Destination("slack:" + channel), Found: found}
	}
	return nil
}

// admitted are who besides members may read answers to commands in a channel.
func (b *Bot) admitted(channel string) chat.Readers {
	return chat.Readers{Guests: b.cfg.Guests(chat.Destination("slack:" + channel))}
}

// readers are the people from outside in a channel. Those who are admitted anyway
// are not looked for.
func (b *Bot) readers(ctx context.Context, channel string, admits chat.Readers) (chat.Readers, error) {
	shared, err := b.shared(ctx, channel)
	if err != nil || shared || admits.Guests || admits.Strangers {
		return chat.Readers{Strangers: shared}, err
	}
	if found, ok := b.holds.get(channel); ok {
		return found, nil
	}
	found, err := b.outsidersIn(ctx, channel)
	if err != nil {
		return chat.Readers{}, err
	}
	b.holds.put(channel, found)
	return found, nil
}

// shared reports whether a channel is open to other workspaces, or about to be.
func (b *Bot) shared(ctx context.Context, channel string) (bool, error) {
	if shared, ok := b.places.get(channel); ok {
		return shared, nil
	}
	info, err := b.client.Load().GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: channel})
	if err != nil {
		return false, refusal("look at a channel", err)
	}
	if info.ID == "" {
		return false, errors.New("look at a channel: the answer names none; is a proxy answering?")
	}
	shared := info.IsExtShared || info.IsPendingExtShared
	b.places.put(channel, shared)
	return shared, nil
}

// outsidersIn looks at the members of a channel up to the first from outside.
func (b *Bot) outsidersIn(ctx context.Context, channel string) (chat.Readers, error) {
	me, err := b.self.get(ctx)
	if err != nil {
		return chat.Readers{}, err
	}
	cursor := ""
	for seen := 0; ; {
		members, next, err := b.client.Load().GetUsersInConversationContext(ctx, &slack.GetUsersInConversationParameters{
			ChannelID: channel, Cursor: cursor, Limit: readerPage,
		})
		if err == nil && seen == 0 && len(members) == 0 {
			err = errEmptyAnswer // the bot itself is a member
		}
		if err != nil {
			return chat.Readers{}, unknownReaders(refusal("list the members of a channel", err))
		}
		if seen += len(members); seen > maxReaders || next != "" && seen == maxReaders {
			return chat.Readers{}, unknownReaders(fmt.Errorf("slack:%s has more than %d members, too many to look at", channel, maxReaders))
		}
		found, err := b.firstOutsider(ctx, me, members)
		if err != nil || found != (chat.Readers{}) {
			return found, err
		}
		if next == "" {
			return chat.Readers{}, nil
		}
		cursor = next
	}
}

// firstOutsider looks accounts up, several at once, until one is from outside. What
// was learnt before an error is kept for the next try.
func (b *Bot) firstOutsider(ctx context.Context, me installation, accounts []string) (chat.Readers, error) {
	looking, ctx := errgroup.WithContext(ctx)
	looking.SetLimit(readersAtOnce)
	for _, account := range accounts {
		if account == me.botUser {
			continue
		}
		looking.Go(func() error {
			found, err := b.reader(ctx, me, account)
			if err == nil && found != (chat.Readers{}) {
				err = &chat.ForbiddenError{Found: found} // ends the others
			}
			return err
		})
	}
	err := looking.Wait()
	if first := (*chat.ForbiddenError)(nil); errors.As(err, &first) {
		return first.Found, nil
	}
	return chat.Readers{}, err
}

// reader is what an account in a channel is to it.
func (b *Bot) reader(ctx context.Context, me installation, account string) (chat.Readers, error) {
	if found, ok := b.outside.get(account); ok {
		return found, nil
	}
	standing, err := b.lookUp(ctx, me, identity.Principal{Platform: identity.Slack, Workspace: me.workspace, Account: account})
	if err != nil {
		return chat.Readers{}, unknownReaders(err)
	}
	var found chat.Readers
	switch standing {
	case identity.Guest:
		found.Guests = true
	case identity.Outsider, identity.Unknown:
		found.Strangers = true
	case identity.Member, identity.Inactive, identity.Automaton:
	}
	b.outside.put(account, found)
	return found, nil
}

// unknownReaders marks an error that leaves open who reads a channel. What passes
// by itself within seconds is no reason to post elsewhere.
func unknownReaders(err error) error {
	var throttled *chat.ThrottledError
	if errors.As(err, &throttled) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %v", chat.ErrReadersUnknown, err) //nolint:errorlint // what the call meant means nothing for the post
}
