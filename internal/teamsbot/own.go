package teamsbot

import (
	"context"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
)

// Cards of the app stand in messages of people, too: whoever writes a message can put
// one there that a search or an address brought, and what their client sends is up to
// them. Teams brings what is pressed there as if it stood in a message of the bot's
// (learn.microsoft.com/microsoftteams/platform/messaging-extensions/how-to/search-commands/universal-actions-for-search-based-message-extensions).
// Whoever presses has read other words than mdebot's, so nothing may come of it.

// Messages keeps which messages the bot has sent into conversations of people.
type Messages interface {
	// Sent notes one. What [chat.Poster] posts is noted by whoever posts it.
	Sent(ctx context.Context, message chat.Ref) error
	// Ours reports whether the bot has sent it, whoever noted that.
	Ours(ctx context.Context, message chat.Ref) (bool, error)
}

// unkept keeps nothing beside what the process knows.
type unkept struct{}

func (unkept) Sent(context.Context, chat.Ref) error         { return nil }
func (unkept) Ours(context.Context, chat.Ref) (bool, error) { return false, nil }

const (
	// maxOwn is how many messages of its own a process knows without looking.
	maxOwn = 20_000
	// ownLooks is how often it is looked up whose a message is, ownPause apart: it may
	// have been sent a moment ago, also by another replica.
	ownLooks = 3
	ownPause = 200 * time.Millisecond
	// keepTime is how long an answer that has been sent may take to be noted.
	keepTime = 5 * time.Second
)

// own holds the messages that this process has sent.
type own struct {
	mu  sync.Mutex
	ids map[[2]string]bool // conversation and message
}

func (o *own) add(message chat.Ref) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ids == nil || len(o.ids) >= maxOwn {
		o.ids = map[[2]string]bool{}
	}
	o.ids[[2]string{message.Conversation.ID, message.MessageID}] = true
}

func (o *own) has(message chat.Ref) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ids[[2]string{message.Conversation.ID, message.MessageID}]
}

// keepOwn keeps that an answer in a conversation of people is the bot's. A failure costs
// its buttons after a restart, and whoever presses one is told what to do.
func (b *Bot) keepOwn(ctx context.Context, message chat.Ref) {
	if message.Conversation.Direct {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	if err := b.messages.Sent(ctx, message); err != nil {
		b.log.WarnContext(ctx, "message not noted", "conversation_id", message.Conversation.ID, "error", err)
	}
}

// onOurs reports whether what was pressed stands in a message of the bot's. In the chat
// with the bot nobody else writes, and nobody else can send a targeted message.
func (b *Bot) onOurs(ctx context.Context, a activity) bool {
	message := a.source()
	switch {
	case a.in().Direct, a.Recipient.IsTargeted:
		return true
	case message.IsZero():
		return false
	}
	for look := range ownLooks {
		if look > 0 {
			select {
			case <-ctx.Done():
				return false
			case <-time.After(ownPause):
			}
		}
		if b.own.has(message) {
			return true
		}
		ours, err := b.messages.Ours(ctx, message)
		if err != nil {
			b.log.WarnContext(ctx, "not found out whose a message is", "conversation_id", message.Conversation.ID, "error", err)
			return false
		}
		if ours {
			return true
		}
	}
	if b.refusals.AllowN(b.now(), 1) {
		b.log.WarnContext(ctx, "pressed in a message that is not the bot's", "tenant_id", a.tenant, "conversation_id", message.Conversation.ID, "message_id", message.MessageID)
	}
	return false
}

// wordNotOurs answers what was pressed in such a message.
const wordNotOurs = "This is not mdebot's own card, as far as it knows, so nothing was done. If it has just appeared, press again in a moment; otherwise type the command: help lists them, requests shows what waits for you."
