package teamsbot

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

// Search as one types is Microsoft's "Typeahead search in Adaptive Cards"
// (learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/dynamic-search).
// It works in dialogs and in cards alike, wherever the bot is installed; in group
// chats by the scope groupChat of the manifest.

const (
	answerSearch = "application/vnd.microsoft.search.searchResponse"
	// maxFound is how many options the page says that Teams shows.
	maxFound = 15
)

// searchInput makes in an input that asks the bot while a person types. Clients
// submit nothing when the text is no option, and draw a value by its choice alone.
func searchInput(in object, dataset string) {
	in["type"], in["style"] = "Input.ChoiceSet", "filtered"
	in["choices.data"] = object{"type": "Data.Query", "dataset": dataset}
	in["choices"] = []object{}
	if value, ok := in["value"].(string); ok {
		in["choices"] = []object{choice(chat.Option{Label: value, Value: value}, maxCell)}
	}
}

// dataset names what a field searches, and the form's value, which nothing else
// brings back. The client may send any other: nothing is decided by it.
func dataset(search, value string) string {
	if value == "" {
		return search
	}
	return search + " " + value
}

// searched is the value of an application/search. Whether there is a kind differs
// between clients, so it is not looked at.
type searched struct {
	Query   string `json:"queryText"`
	Dataset string `json:"dataset"`
	Options struct {
		Skip int `json:"skip"`
	} `json:"queryOptions"`
}

func decodeSearch(raw json.RawMessage) (searched, error) {
	var q *searched
	if json.Unmarshal(raw, &q) != nil || q == nil || q.Dataset == "" || len(q.Dataset) > maxCardValue {
		return searched{}, errCardData
	}
	return *q, nil
}

// onSearch answers what a person has typed so far with options.
func (b *Bot) onSearch(w http.ResponseWriter, r *http.Request, h chat.Handler, a activity, by identity.Principal) {
	q, err := decodeSearch(a.Value)
	if err != nil {
		b.log.InfoContext(r.Context(), "search not understood", "tenant_id", a.tenant, "conversation_id", a.Conversation.ID)
		// As Bot Framework's own handler answers it.
		respondWith(w, http.StatusBadRequest, cardError("This search is of an older version; ask again to get a new form."))
		return
	}
	inv := chat.Invocation{Kind: chat.Suggest, Delivery: a.delivery(), By: by, In: a.in(), Text: q.Query, At: b.now()}
	inv.Action, inv.Value, _ = strings.Cut(q.Dataset, " ")
	if !b.seen.first(inv.Delivery) {
		b.refused.Tell(r.Context(), by, chat.RefusedRepeated)
		respond(w, searchAnswer(nil))
		return
	}
	b.standings.saw(by, inv.In.ID)
	if strings.TrimSpace(q.Query) == "" || q.Options.Skip > 0 { // there is no second page
		respond(w, searchAnswer(nil))
		return
	}
	nothing := func(string) object { return searchAnswer(nil) }
	respond(w, b.withinTime(h, inv, false, nothing, func(_ context.Context, resp chat.Response) reply {
		return reply{body: searchAnswer(resp.Options), late: func(context.Context) {}}
	}))
}

func searchAnswer(options []chat.Option) object {
	results := make([]object, min(len(options), maxFound))
	for i := range results {
		results[i] = choice(options[i], maxCell)
	}
	return object{"statusCode": http.StatusOK, "type": answerSearch, "value": object{"results": results}}
}
