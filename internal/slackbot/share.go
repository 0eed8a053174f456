package slackbot

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/mdebot/mdebot/internal/chat"
)

// shareAction is the button that shows everybody what only the asker sees. Its
// value is the key of an answer that is kept for as long as Slack lets the message
// be answered; what Slack sends back with the click is not believed.
const shareAction = "share"

// shared is an answer that its asker may show to everybody.
type shared struct {
	to      string // account
	message chat.Message
}

// sharable reports whether an answer is worth showing to others and may be: not what
// is for the asker alone, and no card with a decision on it, which would stand still
// while the real one goes on.
func (r *replier) sharable(m chat.Message) bool {
	decides := slices.ContainsFunc(m.Buttons, func(b chat.Button) bool { return b.Whole || strings.HasPrefix(b.Action, "request.") })
	return r.private == chat.Asker && !r.everyone && !r.at.direct && r.at.responseURL != "" && !decides &&
		(len(m.Facts) > 0 || m.Table != nil) && len(m.Files) == 0 && m.Picture == nil
}

// withShare adds the button to an answer.
func (r *replier) withShare(m chat.Message) chat.Message {
	if !r.sharable(m) {
		return m
	}
	key := uuid.NewString()
	r.b.shares.put(key, shared{to: r.at.user, message: m})
	m.Buttons = append(slices.Clone(m.Buttons), chat.Button{Label: "Show to everyone", Action: shareAction, Value: key})
	return m
}

// share shows everybody the answer that the click is about.
func (b *Bot) share(ctx context.Context, d delivery) {
	out := &replier{b: b, at: d.at}
	kept, ok := b.shares.get(d.inv.Value)
	if !ok || kept.to != d.inv.By.Account {
		out.say(ctx, chat.Message{
			Tone: chat.Warning, Title: chat.Plain("That answer is no longer kept, or was not made to you"),
			Note: chat.Plain("Ask again, with --public to show it to everyone."),
		})
		return
	}
	m := kept.message
	m.Facts = append([]chat.Fact{{Label: "Shown by", Value: chat.Notify(chat.Mention{ID: d.inv.By.Account, Name: d.inv.By.Name})}}, m.Facts...)
	out.everyone = true
	if err := out.Answer(ctx, m); err != nil {
		b.logger.WarnContext(ctx, "answer not shown to everyone", slog.Any("error", err))
	}
}
