package slackbot

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
)

func homePage() chat.Page {
	return chat.Page{
		{Title: chat.Plain("1 request waits"), Tone: chat.Notice, Note: chat.Plain("Answered in Messages.")},
		{Title: chat.Plain("Request #1"), Buttons: []chat.Button{{Label: "Approve", Action: "request.approve", Value: "one"}, {Label: "Deny", Action: "request.deny", Value: "one"}}},
		{
			Title: chat.Plain("Machines"),
			Table: &chat.Table{Columns: []string{"Name"}, Rows: [][]string{{"ws-042"}}},
			Menu:  &chat.Menu{Label: "Show", Action: "machine.show", Options: []chat.Option{{Label: "ws-042", Value: "m1"}}},
		},
	}
}

// postSigned delivers a body as Slack would sign it.
func (w *world) postSigned(t *testing.T, path, contentType, body string) (int, string) {
	t.Helper()
	return w.post(t, path, contentType, body, func(*http.Request) {})
}

// interact delivers an interaction as Slack would sign it.
func (w *world) interact(t *testing.T, payload string) int {
	t.Helper()
	status, _ := w.postSigned(t, "/slack/interactions", formType, url.Values{"payload": {payload}}.Encode())
	return status
}

func homeText(t *testing.T, w *world, user string) string {
	t.Helper()
	h, _ := w.sim.Home(user)
	return string(h.View)
}

func TestHome_isShownToWhoeverOpensIt(t *testing.T) {
	t.Parallel()
	o := worldOptions{page: homePage()}
	overBothTransports(t, o, func(t *testing.T, w *world) {
		if err := w.sim.OpenMessages(t.Context(), "U0AVERY"); err != nil {
			t.Fatal(err)
		}
		if err := w.sim.OpenHome(t.Context(), "U0RILEY"); err != nil {
			t.Fatal(err)
		}
		if got := <-w.looked; got.Account != "U0RILEY" || got.Workspace != "T0SOC" || got.Platform != identity.Slack {
			t.Errorf("told of %+v, want the account that opened the Home tab", got)
		}
		text := homeText(t, w, "U0RILEY")
		for _, want := range []string{"🔔 1 request waits", "Answered in Messages.", `"divider"`, "ws-042", `"type":"home"`} {
			if !strings.Contains(text, want) {
				t.Errorf("the view lacks %q: %s", want, text)
			}
		}
		if strings.Contains(text, `"table"`) {
			t.Errorf("the view holds a table, which only messages have: %s", text)
		}
		if _, shown := w.sim.Home("U0AVERY"); shown || w.handler.count() > 0 {
			t.Error("something came of opening Messages, or a command of opening Home")
		}
	})
}

func TestHome_clickIsAnsweredInTheDirectChat(t *testing.T) {
	t.Parallel()
	o := worldOptions{
		page: homePage(),
		respond: func(inv chat.Invocation) chat.Response {
			if inv.Action == "request.deny" {
				return chat.Response{Form: &chat.Form{Action: "deny.submit", Value: inv.Value, Title: "Deny", Fields: []chat.Field{{ID: "reason", Label: "Why", Kind: chat.FieldLine}}}}
			}
			return chat.Response{Message: say("working"), Later: func(ctx context.Context, out chat.Replier) { _ = out.Answer(ctx, *say("Your approval counts")) }}
		},
	}
	overBothTransports(t, o, func(t *testing.T, w *world) {
		direct := w.sim.DirectChannel("U0RILEY")
		if err := w.sim.OpenHome(t.Context(), "U0RILEY"); err != nil {
			t.Fatal(err)
		}
		<-w.looked
		if err := w.sim.ClickHome(t.Context(), "U0RILEY", slacksim.Press{Label: "Approve"}); err != nil {
			t.Fatal(err)
		}
		by, in := riley(), channel(direct)
		by.Name, in.Direct = "riley", true
		want := chat.Invocation{Kind: chat.Click, By: by, In: in, Action: "request.approve", Value: "one"}
		got := w.handler.next(t)
		if diff := cmp.Diff(want, got, ignoreMoment); diff != "" || got.Delivery == "" {
			t.Errorf("invocation differs (-want +got), delivery %q:\n%s", got.Delivery, diff)
		}
		w.wait(t, "the answer", func() bool {
			all := w.sim.Messages(direct, "U0RILEY")
			return len(all) == 1 && strings.Contains(all[0].Text, "Your approval counts")
		})
		if who := <-w.looked; who.Account != "U0RILEY" {
			t.Errorf("the Home tab of %s is brought up to date after the click", who)
		}
		if h, _ := w.sim.Home("U0RILEY"); h.Published != 2 {
			t.Errorf("the Home tab was shown %d times, want once for the opening and once after the click", h.Published)
		}

		if err := w.sim.ChooseHome(t.Context(), "U0RILEY", "", "m1"); err != nil {
			t.Fatal(err)
		}
		if got := w.handler.next(t); got.Action != "machine.show" || got.Value != "m1" {
			t.Errorf("a choice came as %+v", got)
		}
		<-w.looked

		if err := w.sim.ClickHome(t.Context(), "U0RILEY", slacksim.Press{Label: "Deny"}); err != nil {
			t.Fatal(err)
		}
		w.handler.next(t)
		w.wait(t, "a form", func() bool { _, open := w.sim.Modal("U0RILEY"); return open })
		if err := w.sim.SubmitView(t.Context(), "U0RILEY", map[string]string{"reason": "no"}); err != nil {
			t.Fatal(err)
		}
		if got := w.handler.next(t); got.Kind != chat.Submit || got.Fields["reason"] != "no" || got.In.ID != direct || !got.In.Direct {
			t.Errorf("the form came as %+v, want it from the direct chat", got)
		}
	})
}

func TestHome_clickBelievesNothingButTheButton(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	payload := func(container, view, action string) string {
		return `{"type":"block_actions","api_app_id":"A0MDEBOT","team":{"id":"T0SOC"},"user":{"id":"U0RILEY","team_id":"T0SOC"},"trigger_id":"t1",` +
			`"container":` + container + `,"view":` + view + `,"response_url":"https://evil.example/x","channel":{"id":"C0SOC"},` +
			`"actions":[{"type":"button","action_id":"` + action + `#0","value":"one","action_ts":"1.1"}]}`
	}
	home := `{"id":"V1","type":"home","hash":"made.up","private_metadata":"{\"v\":\"two\",\"c\":\"C0SHARED\",\"s\":\"1.1\"}"}`
	for name, body := range map[string]string{
		"a view that is no home tab": payload(`{"type":"view","view_id":"V1"}`, strings.Replace(home, "home", "workflow_step", 1), "request.approve"),
		"no view":                    payload(`{"type":"view","view_id":"V1"}`, `null`, "request.approve"),
		"a link":                     payload(`{"type":"view","view_id":"V1"}`, home, "link"),
	} {
		if got := w.interact(t, body); got != 200 {
			t.Errorf("%s: status %d, want it acknowledged", name, got)
		}
	}
	if got := w.interact(t, payload(`{"type":"view","view_id":"V1"}`, home, "request.approve")); got != 200 {
		t.Fatalf("status %d", got)
	}
	inv := w.handler.next(t)
	if inv.Value != "one" || inv.In.ID != w.sim.DirectChannel("U0RILEY") || !inv.In.Direct || inv.Source.MessageID != "" {
		t.Errorf("invocation %+v takes something from the view or the channel", inv)
	}
	// The same click again is no second one.
	if got := w.interact(t, payload(`{"type":"view","view_id":"V1"}`, home, "request.approve")); got != 200 {
		t.Fatalf("status %d", got)
	}
	if n := w.handler.count(); n != 1 {
		t.Errorf("%d clicks reached the handler, want 1: no view, a link, another view and a replay do not count", n)
	}
}

func TestPublish_refusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{sim: func(o *slacksim.Options) { o.NoHome = true }})
	if err := w.bot.Publish(t.Context(), riley(), homePage()); !errors.Is(err, chat.ErrNotThere) {
		t.Errorf("Publish() without a Home tab = %v, want %v", err, chat.ErrNotThere)
	}
	other := riley()
	other.Workspace = "T0EVIL"
	if err := w.bot.Publish(t.Context(), other, homePage()); !errors.Is(err, chat.ErrNotThere) {
		t.Errorf("Publish() to another workspace = %v, want %v", err, chat.ErrNotThere)
	}
	if n := w.sim.Calls("views.publish"); n != 1 {
		t.Errorf("%d calls, want none for another workspace", n)
	}
}

func TestPage_fitsWhateverIsOnIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	huge := strings.Repeat("🔥", 3_000)
	for name, page := range map[string]chat.Page{
		"nothing":       {},
		"many messages": make(chat.Page, 300),
		"long messages": func() chat.Page {
			var p chat.Page
			for range 60 {
				m := chat.Message{Title: chat.Untrusted(huge)}
				for range 40 {
					m.Facts = append(m.Facts, chat.Fact{Label: "x", Value: chat.Code(huge)})
				}
				m.Buttons = []chat.Button{{Label: "Approve", Action: "a", Value: "v", Whole: true}, {Label: "Deny", Action: "d", Value: "v"}}
				p = append(p, m)
			}
			return p
		}(),
	} {
		if err := w.bot.Publish(t.Context(), riley(), page); err != nil {
			t.Errorf("%s: Publish() = %v", name, err)
			continue
		}
		h, _ := w.sim.Home("U0RILEY")
		var view struct{ Blocks []json.RawMessage }
		if err := json.Unmarshal(h.View, &view); err != nil {
			t.Fatal(err)
		}
		if len(view.Blocks) > 100 || len(h.View) > 250_000 {
			t.Errorf("%s: %d blocks, %d bytes", name, len(view.Blocks), len(h.View))
		}
		if name == "long messages" {
			if text := string(h.View); strings.Contains(text, "Approve") || !strings.Contains(text, "Deny") || !strings.Contains(text, "left out: Slack limits") {
				t.Errorf("%s: a decision is offered about what was cut, or nothing says that parts are left out", name)
			}
		}
	}
}
