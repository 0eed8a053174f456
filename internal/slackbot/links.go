package slackbot

import (
	"context"
	"html"
	"log/slog"
	"strings"

	"github.com/slack-go/slack"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

const (
	// maxLinks of one message are looked at, and of each so many characters.
	maxLinks      = 3
	maxLinkLength = 2_000
)

// takeLinks takes the news that a message with addresses of the Defender portal was
// posted in a channel. Drafts, direct chats, channels that the bot is not in and
// channels with people of other companies get no previews.
func (b *Bot) takeLinks(me installation, e eventEnvelope, ev event) error {
	switch {
	case ev.Source != "" && ev.Source != "conversations_history", !ev.BotIn, e.External,
		ev.User == "", ev.User == me.botUser, ev.MessageTS == "", !strings.HasPrefix(ev.Channel, "C") && !strings.HasPrefix(ev.Channel, "G"):
		return nil
	}
	// Slack takes previews back by the address as it wrote it, escaped or not.
	posted := map[string]string{}
	var all []string
	for _, l := range ev.Links {
		address := html.UnescapeString(l.URL)
		if _, twice := posted[address]; twice || len(all) == maxLinks || len(address) > maxLinkLength || strings.ContainsAny(address, "\r\n") {
			continue
		}
		posted[address] = l.URL
		all = append(all, address)
	}
	if len(all) == 0 || !b.seen.first(e.EventID) {
		return nil
	}
	workspace := e.TeamID
	if workspace == "" {
		workspace = me.workspace
	}
	inv := chat.Invocation{
		Kind: chat.Links, Delivery: e.EventID, By: principal(workspace, ev.User, ""), Text: strings.Join(all, "\n"), At: b.now(),
		In: chat.Conversation{Platform: identity.Slack, Workspace: me.workspace, ID: ev.Channel},
	}
	if !b.enqueue(func(ctx context.Context) { b.serveLinks(ctx, inv, ev.MessageTS, posted) }) {
		b.seen.forget(e.EventID)
		return errBusy
	}
	return nil
}

// serveLinks shows what the handler knows of the addresses, where everybody who reads
// the channel may read answers.
func (b *Bot) serveLinks(ctx context.Context, inv chat.Invocation, ts string, posted map[string]string) {
	resp := b.handle(ctx, inv)
	if resp.Previews == nil {
		return
	}
	b.runLater(ctx, func(ctx context.Context) {
		if err := b.checkPlace(ctx, inv.In.ID, b.admitted(inv.In.ID)); err != nil {
			b.logger.DebugContext(ctx, "no preview here", slog.Any("error", err))
			return
		}
		unfurls := map[string]slack.Attachment{}
		for address, m := range resp.Previews(ctx) {
			unfurls[posted[address]] = preview(m)
		}
		if len(unfurls) == 0 {
			return
		}
		if _, _, _, err := b.client.Load().UnfurlMessageContext(ctx, inv.In.ID, ts, unfurls); err != nil {
			b.logger.InfoContext(ctx, "preview not shown", slog.Any("error", refusal("show a preview", err)))
		}
	})
}

// preview draws m below an address. A click there would have no message of the bot's,
// so nothing in it can be pressed.
func preview(m chat.Message) slack.Attachment {
	m.Buttons, m.Menu = nil, nil
	d := draw(m, homeLacks)
	return slack.Attachment{Fallback: d.text, Blocks: slack.Blocks{BlockSet: d.blocks}}
}
