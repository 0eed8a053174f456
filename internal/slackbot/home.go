package slackbot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/slack-go/slack"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

const (
	// maxHomeBlocks is what a Home tab holds, and maxHomeBytes is below the size at
	// which Slack refuses a view.
	maxHomeBlocks = 100
	maxHomeBytes  = 200_000
)

// homeLacks is what a Home tab cannot show: tables and colours are for messages, and
// blocks that collapse are not documented for it.
var homeLacks = lacks{folds: true, tables: true, colours: true}

// takeHome takes the news that somebody looks at their Home tab.
func (b *Bot) takeHome(me installation, e eventEnvelope, ev event) error {
	if ev.Tab != "home" || ev.User == "" || ev.User == me.botUser {
		return nil
	}
	workspace := e.TeamID
	if workspace == "" {
		workspace = me.workspace // of an app that is installed for an enterprise
	}
	by := principal(workspace, ev.User, "")
	if !b.seen.first(e.EventID) {
		return nil
	}
	// It is drawn beside the workers: nobody's click waits for it.
	if !b.enqueue(func(ctx context.Context) { b.runLater(ctx, func(ctx context.Context) { b.cfg.OnHome(ctx, by) }) }) {
		b.seen.forget(e.EventID)
		return errBusy
	}
	return nil
}

// homeClick is a click in the Home tab. It has no conversation and no response
// address; nothing that the view brings along but the button is looked at.
func homeClick(me installation, by identity.Principal, trigger, actionTS, action, value string, now time.Time) delivery {
	return delivery{
		trigger: trigger,
		inv: chat.Invocation{
			Kind: chat.Click, Delivery: trigger + "." + actionTS, By: by, Action: action, Value: value, At: now,
			In: chat.Conversation{Platform: identity.Slack, Workspace: me.workspace, Direct: true},
		},
		at: place{user: by.Account, home: true},
	}
}

// serveHome asks the handler about a click in the Home tab, answers in the direct chat
// and then brings the tab up to date: it is what the person looks at.
func (b *Bot) serveHome(ctx context.Context, d delivery) {
	looking, cancel := context.WithTimeout(ctx, time.Second)
	channel, err := b.directChannel(looking, d.inv.By.Account)
	cancel()
	if err == nil { // otherwise it is looked up again for the answer
		d.inv.In.ID, d.at.channel, d.at.direct = channel, channel, true
	}
	resp := b.handle(ctx, d.inv)
	if later := resp.Later; later != nil {
		resp.Later = func(ctx context.Context, out chat.Replier) {
			later(ctx, out)
			b.cfg.OnHome(ctx, d.inv.By)
		}
	}
	b.answer(ctx, d, resp)
}

// Publish implements [chat.Publisher] with the Home tab.
// Slack: https://docs.slack.dev/reference/methods/views.publish
func (b *Bot) Publish(ctx context.Context, to identity.Principal, p chat.Page) error {
	me, err := b.self.get(ctx)
	if err != nil {
		return err
	}
	if to.Platform != identity.Slack || to.Workspace != me.workspace && me.enterprise == "" {
		return fmt.Errorf("%s has no Home tab here: %w", to, chat.ErrNotThere)
	}
	err = b.publish(ctx, to.Account, drawPage(p))
	if errors.Is(err, chat.ErrTooBig) {
		return b.publish(ctx, to.Account, plainPage(p))
	}
	return err
}

func (b *Bot) publish(ctx context.Context, user string, blocks []slack.Block) error {
	_, err := b.client.Load().PublishViewContext(ctx, slack.PublishViewContextRequest{
		UserID: user, View: slack.HomeTabViewRequest{Type: slack.VTHomeTab, Blocks: slack.Blocks{BlockSet: blocks}},
	})
	return wrapRefusal("show the Home tab", err)
}

// drawPage draws as many of a page's messages as fit, from the first on: none in
// part, so that no button stands below less than it is about.
func drawPage(p chat.Page) []slack.Block {
	var out []slack.Block
	size := 0
	for i, m := range p {
		part := drawPart(m)
		if i > 0 {
			part = append([]slack.Block{slack.NewDividerBlock()}, part...)
		}
		text, err := json.Marshal(part)
		if err != nil || len(out)+len(part) >= maxHomeBlocks || size+len(text) > maxHomeBytes {
			words := fmt.Sprintf("%s left out: Slack limits how long this page can be. Type requests in Messages.", more(len(p)-i, "part"))
			return append(out, slack.NewRichTextBlock("", slack.NewRichTextSection(own(words, nil))))
		}
		out, size = append(out, part...), size+len(text)
	}
	return out
}

func drawPart(m chat.Message) []slack.Block {
	blocks := draw(m, homeLacks).blocks
	if len(blocks) == 0 || validateBlocks(blocks, maxHomeBlocks, true) != nil {
		return plainPart(m)
	}
	return blocks
}

// plainPage is p in its shortest form, for when Slack refuses the other one.
func plainPage(p chat.Page) []slack.Block {
	var out []slack.Block
	for _, m := range p[:min(len(p), maxHomeBlocks)] {
		out = append(out, plainPart(m)...)
	}
	return out
}

func plainPart(m chat.Message) []slack.Block {
	return []slack.Block{slack.NewRichTextBlock("", slack.NewRichTextSection(own(words(plainSpans(m.FirstLine())), nil)))}
}
