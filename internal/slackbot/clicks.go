package slackbot

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
)

// Slack takes about fifty edits a minute from an app, for a whole workspace. What a
// click brought about is shown on the clicked message through the response address of
// the click, which has a limit of its own. Slack:
// https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
const (
	// clickEdits of a message go through the address of a click, within clickLife: what
	// the click did, and what follows at once. An answer through the address need not say
	// that the message was deleted, so what comes later is for chat.update.
	clickEdits = 2
	clickLife  = 2 * time.Minute
	// clickKeep uses of the address are left for the answers to the click.
	clickKeep = 2
	// clickWithin is how long an edit that would be on time the usual way may hang.
	clickWithin = 3 * time.Second
	// maxClicks bounds how many messages are remembered.
	maxClicks = 1_000
)

// clicks remembers the response address of the newest click on a message.
type clicks struct {
	now func() time.Time

	mu     sync.Mutex
	latest map[message]*click
}

type message struct{ channel, ts string }

type click struct {
	response *response
	until    time.Time
	edits    int
}

func newClicks(now func() time.Time) *clicks { return &clicks{now: now, latest: map[message]*click{}} }

// remember notes that a click on ref brought r, and returns what r is known as: a form
// brings the address of the click that asked for it once more. In a thread Slack does
// not document what an answer replaces, so clicks there are left out.
func (c *clicks) remember(ref chat.Ref, r *response) *response {
	if t := ref.Conversation.Thread; t != "" && t != ref.MessageID {
		return r
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for m, k := range c.latest {
		if !now.Before(k.until) {
			delete(c.latest, m)
		}
	}
	m := message{ref.Conversation.ID, ref.MessageID}
	k := c.latest[m]
	switch {
	case k != nil && k.response.address == r.address:
		r = k.response
		k.until = now.Add(clickLife)
	case k != nil || len(c.latest) < maxClicks:
		c.latest[m] = &click{response: r, until: now.Add(clickLife)}
	}
	return r
}

// usable is the click that an edit of ref can use.
func (c *clicks) usable(ref chat.Ref) (*click, bool) {
	now := c.now()
	k := c.latest[message{ref.Conversation.ID, ref.MessageID}]
	return k, k != nil && now.Before(k.until) && k.edits < clickEdits && k.response.left(now) > clickKeep
}

// take counts an edit of ref, or forgets a click that allows none.
func (c *clicks) take(ref chat.Ref) (*response, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.usable(ref)
	if !ok || !k.response.take(c.now(), clickKeep) {
		delete(c.latest, message{ref.Conversation.ID, ref.MessageID})
		return nil, false
	}
	k.edits++
	return k.response, true
}

// forget drops the click that brought r, unless there has been another one since.
func (c *clicks) forget(ref chat.Ref, r *response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := message{ref.Conversation.ID, ref.MessageID}
	if k := c.latest[m]; k != nil && k.response == r {
		delete(c.latest, m)
	}
}

// Clicked implements [chat.ClickEditor].
func (b *Bot) Clicked(ref chat.Ref) bool {
	b.clicks.mu.Lock()
	defer b.clicks.mu.Unlock()
	_, ok := b.clicks.usable(ref)
	return ok
}

// EditClicked implements [chat.ClickEditor]. Without a response type, Slack leaves the
// message to everyone who sees it; it keeps the message's thread, too.
func (b *Bot) EditClicked(ctx context.Context, ref chat.Ref, m chat.Message) error {
	r, ok := b.clicks.take(ref)
	if !ok {
		return errResponseUsed
	}
	ctx, cancel := context.WithTimeout(ctx, clickWithin)
	defer cancel()
	d := draw(m.ForAll(), lacks{folds: b.noFolds.Load(), tables: b.noTables.Load()})
	confirmed, err := b.postResponse(ctx, r.address, responseBody{
		ReplaceOriginal: true, Text: d.text, Blocks: d.blocks, Attachments: d.attachments,
	})
	if err == nil && !confirmed {
		err = fmt.Errorf("edit a clicked message: %w: the answer is not Slack's; is a proxy answering?", chat.ErrUnclear)
	}
	if err != nil {
		b.clicks.forget(ref, r)
	}
	return err
}
