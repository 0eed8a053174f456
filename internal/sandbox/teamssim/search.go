package teamssim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// What a search asks and how it is answered stands in Microsoft's "Typeahead search
// in Adaptive Cards"
// (learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/dynamic-search).

// Option is one choice that the bot offered for what was typed.
type Option struct {
	Title string `json:"title"`
	Value string `json:"value"`
}

// search is an input that somebody types into.
type search struct {
	user  string
	shown string // the message or dialog that it stands in
	input string
}

// maxOptions is how many options fit into the list below an input.
const maxOptions = 15

// Search types text into an input that searches, on a card in the message or in the
// user's dialog with the ID shown, and returns what is offered for it. Only that, and
// the choices of the card, can be submitted.
func (s *Server) Search(ctx context.Context, user, shown, input, text string) ([]Option, error) {
	s.mu.Lock()
	message, card := shown, json.RawMessage(nil)
	d, isDialog := s.dialogs[shown]
	if isDialog && d.user == user {
		message, card = d.message, d.Card
	}
	c, m := s.visible(user, message)
	if m == nil {
		s.mu.Unlock()
		return nil, ErrNoSuchMessage
	}
	root := m.Thread
	if root == "" {
		root = m.ID
	}
	if card == nil {
		card = m.as(user).Card
	}
	dataset := ""
	walkCard(card, func(kind string, v object) {
		if query, ok := v["choices.data"].(object); ok && kind == "Input.ChoiceSet" && v["id"] == input {
			dataset, _ = query["dataset"].(string)
		}
	})
	if dataset == "" || !s.botIn(c) {
		s.mu.Unlock()
		return nil, fmt.Errorf("%w: %s", ErrNoSuchInput, input)
	}
	a := s.activity(c, s.users[user], root, "invoke")
	a["replyToId"] = m.ID
	a["name"] = "application/search"
	a["value"] = object{"queryText": text, "queryOptions": object{"skip": 0, "top": maxOptions}, "dataset": dataset}
	s.mu.Unlock()

	body, err := s.send(ctx, a)
	if err != nil {
		return nil, err
	}
	options, err := parseOptions(body)
	if err != nil {
		return nil, fmt.Errorf("answer to a search: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := search{user: user, shown: shown, input: input}
	// An answer may come after that to a later question, so a few are kept.
	all := append(s.offered[key], options...)
	s.offered[key] = all[max(0, len(all)-10*maxOptions):]
	return options, nil
}

func parseOptions(body []byte) ([]Option, error) {
	var answer struct {
		StatusCode *int   `json:"statusCode"`
		Type       string `json:"type"`
		Value      struct {
			Results *[]Option `json:"results"`
		} `json:"value"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	switch {
	case answer.StatusCode != nil && *answer.StatusCode != 200:
		return nil, fmt.Errorf("statusCode %d", *answer.StatusCode)
	case answer.Type != "application/vnd.microsoft.search.searchResponse":
		return nil, fmt.Errorf("unknown type %q", answer.Type)
	case answer.Value.Results == nil:
		return nil, errors.New("no results in it")
	case len(*answer.Value.Results) > maxOptions:
		return nil, fmt.Errorf("%d results; Teams shows %d", len(*answer.Value.Results), maxOptions)
	}
	for i, o := range *answer.Value.Results {
		if o.Title == "" || o.Value == "" {
			return nil, errors.New("a result without title or value")
		}
		if slices.ContainsFunc((*answer.Value.Results)[:i], func(other Option) bool { return other.Value == o.Value }) {
			return nil, fmt.Errorf("two results with the value %q", o.Value)
		}
	}
	return *answer.Value.Results, nil
}

// isChoice reports whether user can have chosen value in the Input.ChoiceSet f. It
// needs the lock.
func (s *Server) isChoice(user, shown string, f object, value any) bool {
	text, ok := value.(string)
	if !ok || text == "" {
		return ok
	}
	id, _ := f["id"].(string)
	offered := s.offered[search{user: user, shown: shown, input: id}]
	chosen := []string{text}
	if f["isMultiSelect"] == true {
		chosen = strings.Split(text, ",")
	}
	choices, _ := f["choices"].([]any)
	for _, one := range chosen {
		onCard := slices.ContainsFunc(choices, func(c any) bool {
			choice, _ := c.(object)
			return choice["value"] == one
		})
		if !onCard && !slices.ContainsFunc(offered, func(o Option) bool { return o.Value == one }) {
			return false
		}
	}
	return true
}

// checkSearches refuses inputs that ask for their choices in a way that Teams does
// not know.
func checkSearches(card json.RawMessage) error {
	var wrong error
	walkCard(card, func(kind string, v object) {
		data, asks := v["choices.data"]
		if !asks || wrong != nil {
			return
		}
		query, _ := data.(object)
		dataset, _ := query["dataset"].(string)
		inputs, set := query["associatedInputs"]
		if kind != "Input.ChoiceSet" || query["type"] != "Data.Query" || dataset == "" || set && inputs != "auto" && inputs != "none" {
			wrong = &apiError{status: 400, code: "BadArgument", message: "choices.data is no Data.Query of a ChoiceSet."}
		}
	})
	return wrong
}
