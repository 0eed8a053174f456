package teamsbot

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

// Looking for what to put into a message is Microsoft's "Respond to search command"
// (learn.microsoft.com/microsoftteams/platform/messaging-extensions/how-to/search-commands/respond-to-search):
// Teams asks while somebody types into the search box of the app at a message that they
// write, wherever that is, and puts the card that they choose into the message. There,
// unlike at an address, the preview is a Hero or Thumbnail card, and an Adaptive Card
// without one is not listed.

const (
	thumbnailContentType = "application/vnd.microsoft.card.thumbnail"
	// maxListed is how many results are listed; Teams asks for 25.
	maxListed = 25
	// firstRun names the parameter of a search for which nothing was typed yet.
	firstRun = "initialRun"
)

// query is the value of a composeExtension/query.
type query struct {
	Command    string `json:"commandId"`
	Parameters []struct {
		Name  string `json:"name"`
		Value any    `json:"value"`
	} `json:"parameters"`
	Options struct {
		Skip int `json:"skip"`
	} `json:"queryOptions"`
}

// decodeQuery returns what is looked for and what was typed so far. The manifest names
// one parameter, so there is one.
func decodeQuery(raw json.RawMessage) (q query, typed string, ok bool) {
	if json.Unmarshal(raw, &q) != nil || q.Command == "" || len(q.Command) > maxCardValue || len(q.Parameters) != 1 {
		return query{}, "", false
	}
	one := q.Parameters[0]
	if one.Name == firstRun {
		return q, "", true
	}
	typed, ok = one.Value.(string)
	return q, typed, ok && len(typed) <= maxLinkLength
}

// onFind answers what a person has typed so far with what they can put into their
// message. Whatever goes wrong is a sentence in place of the list.
func (b *Bot) onFind(w http.ResponseWriter, r *http.Request, h chat.Handler, a activity, by identity.Principal) {
	q, typed, ok := decodeQuery(a.Value)
	if !ok {
		b.log.InfoContext(r.Context(), "search not understood", "tenant_id", a.tenant, "conversation_id", a.Conversation.ID)
		respond(w, findNote(*notUnderstood))
		return
	}
	inv := chat.Invocation{Kind: chat.Find, Delivery: a.delivery(), By: by, In: a.in(), Action: q.Command, Text: typed, At: b.now()}
	if !b.seen.first(inv.Delivery) {
		b.refused.Tell(r.Context(), by, chat.RefusedRepeated)
		respond(w, findAnswer(nil))
		return
	}
	if q.Options.Skip > 0 { // there is no second page
		respond(w, findAnswer(nil))
		return
	}
	select {
	case b.linking <- struct{}{}:
		defer func() { <-b.linking }()
	default:
		respond(w, findNote(*tooMany))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), linkTime)
	defer cancel()
	respond(w, b.find(ctx, h, inv))
}

var (
	notUnderstood = sentence("This search is not understood.", "Type the beginning of a name, or ask with a command.")
	tooMany       = sentence("Too many people are searching at once.", "Type on in a moment.")
	notAmongUs    = sentence("Not here: people from outside may read this, or who reads it could not be found out.", "Ask mdebot in your chat with it.")
	notWithBot    = sentence("Not in a chat with mdebot.", "Ask it with a command.")
)

func sentence(title, next string) *chat.Message {
	return &chat.Message{Title: chat.Plain(title), Note: chat.Plain(next)}
}

// find is the answer to inv, in the places where preview has one: everybody there reads
// what is put into the message.
func (b *Bot) find(ctx context.Context, h chat.Handler, inv chat.Invocation) (answer object) {
	defer func() {
		if p := recover(); p != nil {
			answer = findNote(*b.failed(ctx, p))
		}
	}()
	if inv.In.Direct {
		return findNote(*notWithBot)
	}
	resp := b.handle(ctx, h, inv)
	switch {
	case resp.Found != nil:
	case resp.Message != nil:
		return findNote(*resp.Message)
	default:
		return findAnswer(nil)
	}
	if err := b.checkPlace(ctx, inv.In, b.admitted(inv.In)); err != nil {
		b.log.DebugContext(ctx, "nothing is found here", "conversation_id", inv.In.ID, "error", err)
		return findNote(*notAmongUs)
	}
	b.standings.saw(inv.By, inv.In.ID)
	found, why := resp.Found(ctx)
	if len(found) == 0 {
		return findNote(why)
	}
	return findAnswer(found)
}

// findAnswer lists messages to choose from.
func findAnswer(found []chat.Message) object {
	list := []object{}
	for _, m := range found[:min(len(found), maxListed)] {
		full := previewCard(m)
		full["preview"] = thumbnail(m)
		list = append(list, full)
	}
	return object{"composeExtension": resultList(list)}
}

// thumbnail is m in a list. Clients differ in what they draw of markup there.
func thumbnail(m chat.Message) object {
	facts := make([]string, 0, len(m.Facts))
	for _, f := range m.Facts {
		if value := note(f.Value); value != "" {
			facts = append(facts, f.Label+" "+value)
		}
	}
	return object{"contentType": thumbnailContentType, "content": object{
		"title": note(m.FirstLine()), "text": strings.Join(facts, " · "),
	}}
}

// findNote says why there is nothing to choose, to whoever types. Such an answer is not
// drawn with any markup.
func findNote(m chat.Message) object {
	words := note(m.FirstLine())
	if next := note(m.Note); next != "" {
		words += " " + next
	}
	return object{"composeExtension": object{"type": "message", "text": words}}
}
