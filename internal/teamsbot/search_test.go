package teamsbot

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

// machineForm is a form that searches, with a value that its submission needs.
var machineForm = chat.Form{
	Action: "isolate.submit", Value: "of customer 7", Title: "Request isolation", Submit: "Ask",
	Fields: []chat.Field{{ID: "machine", Label: "Machine", Kind: chat.FieldSearch, Search: "machine.search", Placeholder: "Type a name"}},
}

// searching is a world whose forms find machines.
func searching(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.handler.will(func(inv chat.Invocation) chat.Response {
		switch inv.Kind {
		case chat.Suggest:
			return chat.Response{Options: []chat.Option{{Label: "ws-014 id14", Detail: "Windows11", Value: "id14"}, {Label: `Use "` + inv.Text + `" as typed`, Value: inv.Text}}}
		case chat.Submit:
			return chat.Response{Message: titled("Asked: isolate " + inv.Fields["machine"])}
		}
		return chat.Response{Form: &machineForm}
	})
	return w
}

func TestSearch_findsWhileOneTypes(t *testing.T) {
	t.Parallel()
	w := searching(t)
	ref := w.posted()
	dialog, err := w.sim.OpenDialog(t.Context(), riley, ref.MessageID, teamssim.Choice{Title: "Request release"})
	if err != nil {
		t.Fatal(err)
	}
	w.message(riley, group, "@mdebot isolate", "")
	w.message(riley, w.sim.PersonalChat(riley), "isolate", "")
	for place, shown := range map[string]string{
		alerts:                    dialog.ID,
		group:                     w.fromBot(riley, group, 1)[0].ID,
		w.sim.PersonalChat(riley): w.fromBot(riley, w.sim.PersonalChat(riley), 1)[0].ID,
	} {
		options, err := w.sim.Search(t.Context(), riley, shown, "field.machine", "ws-01")
		want := []teamssim.Option{{Title: "ws-014 id14 · Windows11", Value: "id14"}, {Title: `Use "ws-01" as typed`, Value: "ws-01"}}
		if err != nil || !cmp.Equal(want, options) {
			t.Errorf("in %s: Search() = %v, %v, want %v", place, options, err, want)
		}
		got := w.handler.invocations()
		asked := chat.Invocation{
			Kind: chat.Suggest, By: rileyAs(), Action: "machine.search", Value: "of customer 7", Text: "ws-01",
			In: chat.Conversation{Platform: identity.Teams, Workspace: home, ID: place, Direct: strings.HasPrefix(place, "a:")},
		}
		if diff := cmp.Diff(asked, got[len(got)-1], cmpopts.IgnoreFields(chat.Invocation{}, "At", "Delivery", "In.Thread")); diff != "" {
			t.Errorf("in %s: invocation (-want +got):\n%s", place, diff)
		}
	}
	out, err := w.sim.SubmitDialog(t.Context(), riley, dialog.ID, map[string]any{"field.machine": "id14"})
	if err != nil || out.Note != "Asked: isolate id14" {
		t.Errorf("SubmitDialog() = %+v, %v", out, err)
	}
}

// A form that comes back with a fault still shows what was chosen, as the one choice
// that the client knows without asking.
func TestSearch_choiceStaysInAFormThatComesBack(t *testing.T) {
	t.Parallel()
	w := searching(t)
	ref := w.posted()
	dialog, err := w.sim.OpenDialog(t.Context(), riley, ref.MessageID, teamssim.Choice{Title: "Request release"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.sim.Search(t.Context(), riley, dialog.ID, "field.machine", "ws-014, ws-015"); err != nil {
		t.Fatal(err)
	}
	w.handler.will(func(chat.Invocation) chat.Response {
		return chat.Response{Errors: map[string]string{"machine": "ws-015 is isolated already."}}
	})
	for range 2 {
		out, err := w.sim.SubmitDialog(t.Context(), riley, dialog.ID, map[string]any{"field.machine": "ws-014, ws-015"})
		if err != nil || out.Dialog == nil || !strings.Contains(string(out.Dialog.Card), `"choices":[{"title":"ws-014, ws-015","value":"ws-014, ws-015"}]`) {
			t.Fatalf("SubmitDialog() = %+v, %v, want the form with the choice", out, err)
		}
		dialog = *out.Dialog // what it shows can be sent again
	}
}

func (w *world) search(value any, change ...func(map[string]any)) (teamssim.Reply, map[string]any) {
	w.t.Helper()
	a, err := w.sim.Activity(riley, alerts, "invoke")
	if err != nil {
		w.t.Fatal(err)
	}
	a["name"], a["value"] = "application/search", value
	for _, c := range change {
		c(a)
	}
	reply, err := w.sim.Deliver(w.t.Context(), teamssim.Delivery{Activity: a})
	if err != nil {
		w.t.Fatal(err)
	}
	return reply, a
}

const nothingFound = `{"statusCode":200,"type":"application/vnd.microsoft.search.searchResponse","value":{"results":[]}}`

func TestSearch_answers(t *testing.T) {
	t.Parallel()
	type object = map[string]any
	const found = `{"statusCode":200,"type":"application/vnd.microsoft.search.searchResponse","value":{"results":[` +
		`{"title":"ws-014 id14 · Windows11","value":"id14"},{"title":"Use \"ws-01\" as typed","value":"ws-01"}]}}`
	for name, tc := range map[string]struct {
		value  any
		status int
		body   string
		asked  int
	}{
		"as the documentation has it": {object{"queryText": "ws-01", "queryOptions": object{"skip": 0, "top": 15}, "dataset": "machine.search"}, 200, found, 1},
		"with a kind":                 {object{"kind": "typeahead", "queryText": "ws-01", "queryOptions": object{"skip": 0, "top": 25}, "context": nil, "dataset": "machine.search x"}, 200, found, 1},
		"without options":             {object{"queryText": "ws-01", "dataset": "machine.search"}, 200, found, 1},
		"with inputs of the card":     {object{"queryText": "ws-01", "dataset": "machine.search", "data": object{"field.reason": "x"}}, 200, found, 1},
		"nothing typed yet":           {object{"queryText": "", "dataset": "machine.search"}, 200, nothingFound, 0},
		"no text":                     {object{"dataset": "machine.search"}, 200, nothingFound, 0},
		"blanks":                      {object{"queryText": " \t", "dataset": "machine.search"}, 200, nothingFound, 0},
		"a second page":               {object{"queryText": "ws-01", "queryOptions": object{"skip": 15, "top": 15}, "dataset": "machine.search"}, 200, nothingFound, 0},
		"no dataset":                  {object{"queryText": "ws-01"}, 400, "older version", 0},
		"a dataset too long":          {object{"queryText": "ws-01", "dataset": strings.Repeat("x", maxCardValue+1)}, 400, "older version", 0},
		"text that is a list":         {object{"queryText": []any{"ws"}, "dataset": "machine.search"}, 400, "older version", 0},
		"a dataset that is a map":     {object{"queryText": "ws", "dataset": object{}}, 400, "older version", 0},
		"options that are text":       {object{"queryText": "ws", "queryOptions": "all", "dataset": "machine.search"}, 400, "older version", 0},
		"null":                        {nil, 400, "older version", 0},
		"a list":                      {[]any{1}, 400, "older version", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := searching(t)
			reply, _ := w.search(tc.value)
			body := string(reply.Body)
			if reply.Status != tc.status || tc.status == 200 && body != tc.body || !strings.Contains(body, tc.body) {
				t.Errorf("answer = %d %s, want %d %s", reply.Status, body, tc.status, tc.body)
			}
			if got := len(w.handler.invocations()); got != tc.asked {
				t.Errorf("the handler was asked %d times, want %d", got, tc.asked)
			}
		})
	}
}

func TestSearch_isVerifiedLikeEverything(t *testing.T) {
	t.Parallel()
	query := map[string]any{"queryText": "ws-01", "dataset": "machine.search"}
	for name, tc := range map[string]struct {
		change func(w *world, d *teamssim.Delivery)
		status int
	}{
		"no token":           {func(_ *world, d *teamssim.Delivery) { d.Authorization = []string{} }, 401},
		"a token of another": {func(_ *world, d *teamssim.Delivery) { d.Authorization = []string{"Bearer a.b.c"} }, 401},
		"a tenant not served": {func(_ *world, d *teamssim.Delivery) {
			d.Activity["channelData"] = map[string]any{"tenant": map[string]any{"id": partner}}
		}, 403},
		"nobody in the directory": {func(_ *world, d *teamssim.Delivery) {
			d.Activity["from"] = map[string]any{"id": "29:1", "name": "Riley Chen"}
		}, 403},
		"a bot": {func(_ *world, d *teamssim.Delivery) {
			d.Activity["from"] = map[string]any{"id": "28:1", "name": "bot", "aadObjectId": riley}
		}, 200},
		"another door": {func(_ *world, d *teamssim.Delivery) { d.Activity["name"] = "application/searches" }, 501},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := searching(t)
			a, err := w.sim.Activity(riley, alerts, "invoke")
			if err != nil {
				t.Fatal(err)
			}
			a["name"], a["value"] = "application/search", query
			d := teamssim.Delivery{Activity: a}
			tc.change(w, &d)
			reply, err := w.sim.Deliver(t.Context(), d)
			if err != nil || reply.Status != tc.status || len(reply.Body) != 0 {
				t.Errorf("Deliver() = %d %q, %v, want %d and no body", reply.Status, reply.Body, err, tc.status)
			}
			if got := w.handler.invocations(); len(got) != 0 {
				t.Errorf("the handler was asked %+v", got)
			}
		})
	}
}

func TestSearch_repeatedDeliveryAsksNobody(t *testing.T) {
	t.Parallel()
	w := searching(t)
	query := map[string]any{"queryText": "ws-01", "dataset": "machine.search"}
	_, first := w.search(query)
	reply, _ := w.search(query, func(a map[string]any) { a["id"] = first["id"] })
	if reply.Status != 200 || string(reply.Body) != nothingFound {
		t.Errorf("the second time: %d %s", reply.Status, reply.Body)
	}
	if got := len(w.handler.invocations()); got != 1 {
		t.Errorf("the handler was asked %d times, want once", got)
	}
}

func TestSearch_thatHangsOrBreaksFindsNothing(t *testing.T) {
	t.Parallel()
	query := map[string]any{"queryText": "ws-01", "dataset": "machine.search"}
	for name, answer := range map[string]func(release chan struct{}) chat.Response{
		"hangs": func(release chan struct{}) chat.Response {
			<-release
			return chat.Response{Message: titled("late"), Options: []chat.Option{{Label: "late", Value: "late"}}}
		},
		"panics":              func(chan struct{}) chat.Response { panic("boom") },
		"says something else": func(chan struct{}) chat.Response { return chat.Response{Message: titled("no"), Form: &machineForm} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			release := make(chan struct{})
			w.handler.will(func(chat.Invocation) chat.Response { return answer(release) })
			began := time.Now()
			reply, _ := w.search(query)
			if reply.Status != 200 || string(reply.Body) != nothingFound {
				t.Errorf("answer = %d %s, want an empty list", reply.Status, reply.Body)
			}
			if took := time.Since(began); took > invokeTime+2*time.Second { // the machine may be busy
				t.Errorf("the answer took %s", took)
			}
			close(release)
			w.bot.tasks.wg.Wait()
			if all := w.sim.Messages(alerts, riley); len(all) != 0 {
				t.Errorf("the channel shows %+v, want nothing of a search", all)
			}
		})
	}
}

func TestSearch_busy(t *testing.T) {
	t.Parallel()
	w := searching(t)
	w.bot.tasks.drain(0)
	reply, _ := w.search(map[string]any{"queryText": "ws-01", "dataset": "machine.search"})
	if reply.Status != 200 || string(reply.Body) != nothingFound {
		t.Errorf("answer = %d %s, want an empty list", reply.Status, reply.Body)
	}
}

// Names of machines are an attacker's to choose.
func TestSearch_hostileAndMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.handler.will(func(inv chat.Invocation) chat.Response {
		if inv.Kind != chat.Suggest {
			return chat.Response{Form: &machineForm}
		}
		var options []chat.Option
		for i, h := range append(hostile, hostile...) {
			options = append(options, chat.Option{Label: h, Detail: h, Value: fmt.Sprint("id", i)})
		}
		return chat.Response{Options: options}
	})
	w.message(riley, alerts, "@mdebot isolate", "")
	shown := w.fromBot(riley, alerts, 1)
	options, err := w.sim.Search(t.Context(), riley, shown[len(shown)-1].ID, "field.machine", "ws")
	if err != nil || len(options) != maxFound {
		t.Fatalf("Search() = %d options, %v, want %d", len(options), err, maxFound)
	}
	for _, o := range options {
		if len([]rune(o.Title)) > maxCell+20 || strings.Contains(o.Title, "://") || strings.Contains(o.Title, "{{DATE(") || strings.ContainsAny(o.Title, "\n\x00\x1b\u202e\u200b") {
			t.Errorf("an option is called %q", o.Title)
		}
	}
}
