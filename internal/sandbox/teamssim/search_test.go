package teamssim

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const searchCard = `{"type":"AdaptiveCard","version":"1.5","body":[
	{"type":"Input.ChoiceSet","id":"machine","style":"filtered","choices":[{"title":"web-01","value":"id1"}],"choices.data":{"type":"Data.Query","dataset":"machines of x"}},
	{"type":"Input.ChoiceSet","id":"scope","style":"compact","choices":[{"title":"Full","value":"full"}],"value":"full"},
	{"type":"Input.Text","id":"why"}],
	"actions":[{"type":"Action.Execute","title":"Ask","verb":"ask","data":{"action":"ask"}}]}`

func postedCard(t *testing.T, f *fixture, place, card string) string {
	t.Helper()
	_, posted := f.call("POST", "/conversations/"+place+"/activities", `{"type":"message","attachments":[{"contentType":"`+cardType+`","content":`+card+`}]}`)
	id, ok := posted["id"].(string)
	if !ok {
		t.Fatalf("the card was not posted: %v", posted)
	}
	return id
}

func results(options ...string) string {
	list := make([]map[string]string, len(options))
	for i, o := range options {
		list[i] = map[string]string{"title": "the " + o, "value": o}
	}
	body, err := json.Marshal(map[string]any{"type": "application/vnd.microsoft.search.searchResponse", "value": map[string]any{"results": list}})
	if err != nil {
		panic(err)
	}
	return string(body)
}

func TestSearch(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	if err := f.Install(t.Context(), team1); err != nil {
		t.Fatal(err)
	}
	id := postedCard(t, f, channel, searchCard)
	f.bot.answer = results("id2", "id3")
	options, err := f.Search(t.Context(), riley, id, "machine", "web")
	if err != nil || !slices.Equal(options, []Option{{"the id2", "id2"}, {"the id3", "id3"}}) {
		t.Fatalf("Search() = %v, %v", options, err)
	}
	got := f.bot.last()
	value, err := json.Marshal(got["value"])
	if err != nil || got["name"] != "application/search" || string(value) != `{"dataset":"machines of x","queryOptions":{"skip":0,"top":15},"queryText":"web"}` {
		t.Errorf("delivered %s %s, %v", got["name"], value, err)
	}

	f.bot.answer = `{"statusCode":200,"type":"application/vnd.microsoft.activity.message","value":"ok"}`
	for name, c := range map[string]struct {
		user   string
		inputs map[string]any
		taken  bool
	}{
		"an option that was offered":    {riley, map[string]any{"machine": "id3"}, true},
		"a choice of the card":          {riley, map[string]any{"machine": "id1"}, true},
		"nothing":                       {riley, map[string]any{"machine": ""}, true},
		"text that is no option":        {riley, map[string]any{"machine": "web"}, false},
		"what somebody else was given":  {avery, map[string]any{"machine": "id3"}, false},
		"something else than text":      {riley, map[string]any{"machine": []any{"id3"}}, false},
		"another value of a short list": {riley, map[string]any{"scope": "selective"}, false},
	} {
		_, err := f.Click(t.Context(), c.user, id, Choice{Title: "Ask"}, c.inputs)
		if (err == nil) != c.taken || err != nil && !errors.Is(err, ErrNoSuchChoice) {
			t.Errorf("%s: Click() = %v, taken %v", name, err, c.taken)
		}
	}

	for name, where := range map[string]struct {
		user, shown, input string
		want               error
	}{
		"an input without a search": {riley, id, "scope", ErrNoSuchInput},
		"a text":                    {riley, id, "why", ErrNoSuchInput},
		"no such input":             {riley, id, "nothing", ErrNoSuchInput},
		"no such message":           {riley, "1", "machine", ErrNoSuchMessage},
		"somebody outside":          {loner, id, "machine", ErrNoSuchMessage},
	} {
		if _, err := f.Search(t.Context(), where.user, where.shown, where.input, "web"); !errors.Is(err, where.want) {
			t.Errorf("%s: Search() = %v, want %v", name, err, where.want)
		}
	}
	if err := f.Uninstall(t.Context(), team1); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Search(t.Context(), riley, id, "machine", "web"); !errors.Is(err, ErrNoSuchInput) {
		t.Errorf("without the bot: Search() = %v", err)
	}
}

func TestSearch_inADialog(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	if err := f.Install(t.Context(), team1); err != nil {
		t.Fatal(err)
	}
	id := postedCard(t, f, channel, `{"type":"AdaptiveCard","version":"1.5","body":[],"actions":[{"type":"Action.Submit","title":"Form","data":{"msteams":{"type":"task/fetch"}}}]}`)
	f.bot.answer = `{"task":{"type":"continue","value":{"title":"Why","card":{"contentType":"` + cardType + `","content":` + strings.ReplaceAll(searchCard, "Action.Execute", "Action.Submit") + `}}}}`
	d, err := f.OpenDialog(t.Context(), riley, id, Choice{Title: "Form"})
	if err != nil {
		t.Fatal(err)
	}
	f.bot.answer = results("id2")
	if _, err := f.Search(t.Context(), avery, d.ID, "machine", "web"); !errors.Is(err, ErrNoSuchMessage) {
		t.Errorf("in somebody else's dialog: Search() = %v", err)
	}
	if options, err := f.Search(t.Context(), riley, d.ID, "machine", "web"); err != nil || len(options) != 1 {
		t.Errorf("Search() = %v, %v", options, err)
	}
	f.bot.answer = ""
	if _, err := f.SubmitDialog(t.Context(), riley, d.ID, map[string]any{"machine": "id9"}); !errors.Is(err, ErrNoSuchChoice) {
		t.Errorf("SubmitDialog() with another machine = %v", err)
	}
	if _, err := f.SubmitDialog(t.Context(), riley, d.ID, map[string]any{"machine": "id2"}); err != nil {
		t.Errorf("SubmitDialog() = %v", err)
	}
}

func TestSearch_answersThatTeamsDoesNotTake(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	if err := f.Install(t.Context(), team1); err != nil {
		t.Fatal(err)
	}
	id := postedCard(t, f, channel, searchCard)
	many := make([]string, maxOptions+1)
	for i := range many {
		many[i] = fmt.Sprint("id", i)
	}
	const kind = `"type":"application/vnd.microsoft.search.searchResponse"`
	for name, answer := range map[string]string{
		"nothing at all":   "",
		"no JSON":          "no",
		"another type":     `{"type":"application/vnd.microsoft.activity.message","value":{"results":[]}}`,
		"an error":         `{"statusCode":400,` + kind + `,"value":{"results":[]}}`,
		"no results":       `{` + kind + `,"value":{}}`,
		"a bare list":      `{` + kind + `,"value":[]}`,
		"without a title":  `{` + kind + `,"value":{"results":[{"value":"x"}]}}`,
		"without a value":  `{` + kind + `,"value":{"results":[{"title":"x"}]}}`,
		"more than it has": results(many...),
		"one value twice":  results("a", "b", "a"),
	} {
		f.bot.mu.Lock()
		f.bot.answer = answer
		f.bot.mu.Unlock()
		if options, err := f.Search(t.Context(), riley, id, "machine", "web"); err == nil {
			t.Errorf("%s: Search() = %v", name, options)
		}
	}
}

func TestConnector_searchesOfCards(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	if err := f.Install(t.Context(), team1); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		input  string
		status int
	}{
		"as documented":         {`{"type":"Input.ChoiceSet","id":"a","choices.data":{"type":"Data.Query","dataset":"x","associatedInputs":"auto"}}`, 201},
		"without a dataset":     {`{"type":"Input.ChoiceSet","id":"a","choices.data":{"type":"Data.Query"}}`, 400},
		"of another type":       {`{"type":"Input.ChoiceSet","id":"a","choices.data":{"type":"Data","dataset":"x"}}`, 400},
		"in a text":             {`{"type":"Input.Text","id":"a","choices.data":{"type":"Data.Query","dataset":"x"}}`, 400},
		"no object":             {`{"type":"Input.ChoiceSet","id":"a","choices.data":"x"}`, 400},
		"other inputs than are": {`{"type":"Input.ChoiceSet","id":"a","choices.data":{"type":"Data.Query","dataset":"x","associatedInputs":"all"}}`, 400},
	} {
		body := `{"type":"message","attachments":[{"contentType":"` + cardType + `","content":{"type":"AdaptiveCard","version":"1.5","body":[` + c.input + `]}}]}`
		if status, answer := f.call("POST", "/conversations/"+channel+"/activities", body); status != c.status {
			t.Errorf("%s: %d %v, want %d", name, status, answer, c.status)
		}
	}
}
