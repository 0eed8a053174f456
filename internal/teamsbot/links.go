package teamsbot

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

// Previews of addresses are Microsoft's "Link unfurling"
// (learn.microsoft.com/microsoftteams/platform/messaging-extensions/how-to/link-unfurling):
// Teams asks while somebody writes a message, wherever that is, and puts the answer into
// their message.

const (
	// linkTime is how long whoever writes waits; Teams gives up after five seconds.
	linkTime = 4 * time.Second
	// maxLinking is how many of them, and of searches, are answered at once.
	maxLinking = 16
	// maxLinkLength is the longest address that is looked at.
	maxLinkLength = 2_000
	// previewVersion is the newest version of cards that Teams takes for a preview.
	previewVersion = "1.3"
)

// composing tells an activity of somebody who is writing a message. The bot need not be
// where it is written: such an activity says nothing about where the bot can post.
func (a activity) composing() bool { return strings.HasPrefix(a.Name, "composeExtension") }

// onLink answers an address that somebody has pasted with what is known of it. Whatever
// goes wrong is no preview.
func (b *Bot) onLink(w http.ResponseWriter, r *http.Request, h chat.Handler, a activity, by identity.Principal) {
	var value struct {
		URL string `json:"url"`
	}
	if json.Unmarshal(a.Value, &value) != nil || value.URL == "" || len(value.URL) > maxLinkLength || strings.ContainsAny(value.URL, "\r\n") {
		respond(w, linkAnswer(nil))
		return
	}
	inv := chat.Invocation{Kind: chat.Links, Delivery: a.delivery(), By: by, In: a.in(), Text: value.URL, At: b.now()}
	if !b.seen.first(inv.Delivery) {
		b.refused.Tell(r.Context(), by, chat.RefusedRepeated)
		respond(w, linkAnswer(nil))
		return
	}
	select {
	case b.linking <- struct{}{}:
		defer func() { <-b.linking }()
	default:
		respond(w, linkAnswer(nil))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), linkTime)
	defer cancel()
	respond(w, linkAnswer(b.preview(ctx, h, inv)))
}

// preview is what is known of the address in inv, where everybody who reads the
// conversation may read answers; nil where not. In the chat with the bot nobody needs a
// preview.
func (b *Bot) preview(ctx context.Context, h chat.Handler, inv chat.Invocation) (found *chat.Message) {
	defer func() {
		if p := recover(); p != nil {
			b.failed(ctx, p)
			found = nil
		}
	}()
	if inv.In.Direct {
		return nil
	}
	previews := b.handle(ctx, h, inv).Previews
	if previews == nil {
		return nil
	}
	if err := b.checkPlace(ctx, inv.In, b.admitted(inv.In)); err != nil {
		b.log.DebugContext(ctx, "no preview here", "conversation_id", inv.In.ID, "error", err)
		return nil
	}
	b.standings.saw(inv.By, inv.In.ID)
	m, ok := previews(ctx)[inv.Text]
	if !ok {
		return nil
	}
	return &m
}

// linkAnswer shows m, or nothing. Teams would keep an answer for half an hour and for
// others, so it is told not to: rights and alerts change.
func linkAnswer(m *chat.Message) object {
	list := []object{}
	if m != nil {
		full := previewCard(*m)
		full["preview"] = previewCard(chat.Message{Title: m.Title, Tone: m.Tone, Note: m.Note})
		list = append(list, full)
	}
	result := resultList(list)
	result["suggestedActions"] = object{"actions": []object{{"type": "setCachePolicy", "value": `{"type":"no-cache"}`}}}
	return object{"composeExtension": result}
}

// resultList is a list of cards that somebody can put into the message they write.
func resultList(cards []object) object {
	return object{"type": "result", "attachmentLayout": "list", "attachments": cards}
}

// previewCard draws m in a message that is not the bot's, so nothing in it can be
// pressed and nobody is notified.
func previewCard(m chat.Message) object {
	m.Buttons, m.Menu, m.Mentions, m.Views = nil, nil, nil, nil
	c := card(m)
	c["version"] = previewVersion
	return object{"contentType": cardContentType, "content": c}
}
