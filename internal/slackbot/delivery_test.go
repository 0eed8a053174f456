package slackbot

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
)

var ignoreMoment = cmpopts.IgnoreFields(chat.Invocation{}, "At", "Delivery")

func riley() identity.Principal {
	return identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: "U0RILEY", Address: "U0RILEY"}
}

func channel(id string) chat.Conversation {
	return chat.Conversation{Platform: identity.Slack, Workspace: "T0SOC", ID: id}
}

// overBothTransports runs a test over HTTP and over Socket Mode (threat-model
// S-16).
func overBothTransports(t *testing.T, o worldOptions, test func(*testing.T, *world)) {
	t.Helper()
	for name, socket := range map[string]bool{"http": false, "socket mode": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := o
			o.socket = socket
			test(t, newWorld(t, o))
		})
	}
}

func TestSlashCommand(t *testing.T) {
	t.Parallel()
	o := worldOptions{respond: func(chat.Invocation) chat.Response { return chat.Response{Message: say("web-01 is healthy")} }}
	overBothTransports(t, o, func(t *testing.T, w *world) {
		if err := w.sim.Slash(t.Context(), "U0RILEY", "C0OUT", "machine &lt;web-01&gt;"); err != nil {
			t.Fatalf("Slash() = %v", err)
		}
		by := riley()
		by.Name = "riley"
		want := chat.Invocation{Kind: chat.Command, By: by, In: channel("C0OUT"), Text: "machine <web-01>", Slash: true}
		got := w.handler.next(t)
		if diff := cmp.Diff(want, got, ignoreMoment); diff != "" {
			t.Errorf("invocation differs (-want +got):\n%s", diff)
		}
		if got.Delivery == "" {
			t.Error("no delivery ID")
		}
		m := w.message(t, "C0OUT", "U0RILEY", 1)
		if m.OnlyFor != "U0RILEY" || !strings.Contains(m.Text, "web-01 is healthy") {
			t.Errorf("answer = %+v, want it ephemeral for the asker, although the bot is not in the channel", m)
		}
	})
}

func TestSlashCommand_everyone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{respond: func(chat.Invocation) chat.Response {
		return chat.Response{Audience: chat.Everyone, Message: say("for all")}
	}})
	if err := w.sim.Slash(t.Context(), "U0RILEY", "C0SOC", "status"); err != nil {
		t.Fatal(err)
	}
	if m := w.message(t, "C0SOC", "U0AVERY", 1); m.OnlyFor != "" {
		t.Errorf("answer is only for %s, want it for everyone", m.OnlyFor)
	}
	if err := w.sim.Slash(t.Context(), "U0RILEY", "C0SHARED", "status"); err != nil {
		t.Fatal(err)
	}
	if m := w.message(t, "C0SHARED", "U0RILEY", 1); m.OnlyFor != "U0RILEY" {
		t.Error("an answer for everyone was posted in a channel shared with outsiders")
	}
}

func TestMention(t *testing.T) {
	t.Parallel()
	o := worldOptions{respond: func(chat.Invocation) chat.Response { return chat.Response{Message: say("here")} }}
	overBothTransports(t, o, func(t *testing.T, w *world) {
		ref, err := w.bot.Post(t.Context(), chat.Post{To: "slack:C0SOC", Message: *say("alert")})
		if err != nil {
			t.Fatalf("Post() = %v", err)
		}
		if err := w.sim.Mention(t.Context(), "U0RILEY", "C0SOC", ref.MessageID, "machine <http://web-01.corp.example|web-01.corp.example>"); err != nil {
			t.Fatalf("Mention() = %v", err)
		}
		in := channel("C0SOC")
		in.Thread = ref.MessageID
		want := chat.Invocation{Kind: chat.Command, By: riley(), In: in, Text: "machine web-01.corp.example"}
		if diff := cmp.Diff(want, w.handler.next(t), ignoreMoment); diff != "" {
			t.Errorf("invocation differs (-want +got):\n%s", diff)
		}
		m := w.message(t, "C0SOC", "U0RILEY", 3)
		if m.OnlyFor != "U0RILEY" || m.ThreadTS != ref.MessageID {
			t.Errorf("answer = %+v, want it ephemeral in the thread", m)
		}
	})
}

func TestDirectMessage_editsItsAnswer(t *testing.T) {
	t.Parallel()
	o := worldOptions{respond: func(chat.Invocation) chat.Response {
		return chat.Response{Message: say("looking"), Later: func(ctx context.Context, out chat.Replier) {
			if err := out.Answer(ctx, *say("found")); err != nil {
				t.Errorf("Answer() = %v", err)
			}
			if out.Answer(ctx, *say("again")) == nil {
				t.Error("a second Answer() was taken")
			}
		}}
	}}
	overBothTransports(t, o, func(t *testing.T, w *world) {
		if err := w.sim.Direct(t.Context(), "U0RILEY", "machine web-01"); err != nil {
			t.Fatalf("Direct() = %v", err)
		}
		inv := w.handler.next(t)
		if !inv.In.Direct || inv.Slash || inv.Text != "machine web-01" {
			t.Errorf("invocation = %+v, want a direct one", inv)
		}
		direct := w.sim.DirectChannel("U0RILEY")
		w.wait(t, "the edited answer", func() bool {
			list := w.sim.Messages(direct, "U0RILEY")
			return len(list) == 2 && list[1].Text == "found" && list[1].Edits == 1
		})
	})
}

func TestClickAndChoose(t *testing.T) {
	t.Parallel()
	o := worldOptions{respond: func(chat.Invocation) chat.Response { return chat.Response{Message: say("noted")} }}
	overBothTransports(t, o, func(t *testing.T, w *world) {
		card := chat.Message{
			Title:   chat.Plain("Request"),
			Buttons: []chat.Button{{Label: "Approve", Action: "request.approve", Value: "r1.digest"}, {Label: "Deny", Action: "request.deny", Value: "r1.digest"}, {Label: "Open", URL: "https://security.microsoft.com/alerts"}},
			Menu:    &chat.Menu{Label: "Which one", Action: "machine.show", Options: []chat.Option{{Label: "web-01", Value: "id1"}, {Label: "web-01", Value: "id2"}}},
		}
		ref, err := w.bot.Post(t.Context(), chat.Post{To: "slack:C0SOC", Message: card})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.sim.Click(t.Context(), "U0AVERY", "C0SOC", ref.MessageID, slacksim.Press{Label: "Deny"}); err != nil {
			t.Fatalf("Click() = %v", err)
		}
		got := w.handler.next(t)
		if got.Kind != chat.Click || got.Action != "request.deny" || got.Value != "r1.digest" || got.By.Account != "U0AVERY" || got.Source.MessageID != ref.MessageID {
			t.Errorf("invocation = %+v, want the click", got)
		}
		if m := w.message(t, "C0SOC", "U0AVERY", 2); m.OnlyFor != "U0AVERY" {
			t.Errorf("answer = %+v, want it ephemeral", m)
		}
		if err := w.sim.Choose(t.Context(), "U0AVERY", "C0SOC", ref.MessageID, "", "id2"); err != nil {
			t.Fatalf("Choose() = %v", err)
		}
		if got := w.handler.next(t); got.Action != "machine.show" || got.Value != "id2" {
			t.Errorf("invocation = %+v, want the choice", got)
		}
		if err := w.sim.Click(t.Context(), "U0AVERY", "C0SOC", ref.MessageID, slacksim.Press{Label: "Open"}); err != nil {
			t.Fatalf("Click(Open) = %v", err)
		}
		if n := w.handler.count(); n != 2 {
			t.Errorf("handler was asked %d times, want 2: a link is no command", n)
		}
	})
}

func TestReplace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{respond: func(inv chat.Invocation) chat.Response {
		if inv.Kind == chat.Command {
			return chat.Response{Message: &chat.Message{Title: chat.Plain("Which?"), Buttons: []chat.Button{{Label: "Pick", Action: "pick", Value: "1"}}}}
		}
		return chat.Response{Replace: say("picked")}
	}})
	if err := w.sim.Slash(t.Context(), "U0RILEY", "C0SOC", "machine web"); err != nil {
		t.Fatal(err)
	}
	asked := w.message(t, "C0SOC", "U0RILEY", 1)
	if err := w.sim.Click(t.Context(), "U0RILEY", "C0SOC", asked.TS, slacksim.Press{Label: "Pick"}); err != nil {
		t.Fatal(err)
	}
	w.wait(t, "the replaced message", func() bool { return w.sim.Messages("C0SOC", "U0RILEY")[0].Text == "picked" })

	shared, err := w.bot.Post(t.Context(), chat.Post{To: "slack:C0SOC", Message: chat.Message{Title: chat.Plain("Card"), Buttons: []chat.Button{{Label: "Pick", Action: "pick"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.sim.Click(t.Context(), "U0RILEY", "C0SOC", shared.MessageID, slacksim.Press{Label: "Pick"}); err != nil {
		t.Fatal(err)
	}
	if m := w.message(t, "C0SOC", "U0RILEY", 3); m.OnlyFor != "U0RILEY" || m.Text != "picked" {
		t.Errorf("answer = %+v, want an ephemeral one", m)
	}
	if m := w.sim.Messages("C0SOC", "")[1]; m.Text != "Card" {
		t.Errorf("the shared card became %q by one person's click", m.Text)
	}
}

func isolateForm() *chat.Form {
	return &chat.Form{
		Action: "isolate.submit", Value: "m1", Title: "Isolate web-01", Submit: "Ask",
		Intro: chat.Join(chat.Plain("Why isolate "), chat.Untrusted("web-01"), chat.Plain("?")),
		Fields: []chat.Field{
			{ID: "reason", Label: "Reason", Kind: chat.FieldArea, Initial: "from alert"},
			{ID: "kind", Label: "Kind", Kind: chat.FieldSelect, Options: []chat.Option{{Label: "Full", Value: "full"}, {Label: "Selective", Value: "selective"}}, Initial: "full"},
			{ID: "who", Label: "Who", Kind: chat.FieldSearch, Search: "people.search", Optional: true},
		},
	}
}

func TestForm(t *testing.T) {
	t.Parallel()
	o := worldOptions{respond: func(inv chat.Invocation) chat.Response {
		switch inv.Kind {
		case chat.Suggest:
			return chat.Response{Options: []chat.Option{{Label: "Avery " + inv.Text, Value: "a"}}}
		case chat.Submit:
			if inv.Fields["reason"] == "bad" {
				return chat.Response{Errors: map[string]string{"reason": "Say why.", "unknown": "Somewhere else."}}
			}
			return chat.Response{Message: say("asked")}
		}
		return chat.Response{Form: isolateForm()}
	}}
	overBothTransports(t, o, func(t *testing.T, w *world) {
		if err := w.sim.Slash(t.Context(), "U0RILEY", "C0OUT", "isolate web-01"); err != nil {
			t.Fatal(err)
		}
		w.handler.next(t)
		w.wait(t, "a dialog", func() bool { _, open := w.sim.Modal("U0RILEY"); return open })

		options, err := w.sim.Suggest(t.Context(), "U0RILEY", "who", "ave")
		if err != nil || len(options) != 1 || options[0].Label != "Avery ave" {
			t.Errorf("Suggest() = %v, %v, want one option", options, err)
		}
		if inv := w.handler.next(t); inv.Action != "people.search" || inv.Text != "ave" || inv.In.ID != "C0OUT" {
			t.Errorf("invocation = %+v, want the search", inv)
		}
		for range 2 { // the same wrong form twice: both are answered
			if err := w.sim.SubmitView(t.Context(), "U0RILEY", map[string]string{"reason": "bad"}); err != nil {
				t.Fatalf("SubmitView() = %v", err)
			}
			w.handler.next(t)
			modal, open := w.sim.Modal("U0RILEY")
			if !open || modal.Errors["reason"] == "" {
				t.Fatalf("dialog = %+v, open %v, want it open with an error", modal, open)
			}
		}
		if err := w.sim.SubmitView(t.Context(), "U0RILEY", map[string]string{"reason": "beacon", "kind": "selective"}); err != nil {
			t.Fatalf("SubmitView() = %v", err)
		}
		got := w.handler.next(t)
		by := riley()
		by.Name = "riley"
		want := chat.Invocation{
			Kind: chat.Submit, By: by, In: channel("C0OUT"), Action: "isolate.submit", Value: "m1",
			Fields: map[string]string{"reason": "beacon", "kind": "selective", "who": ""},
		}
		if diff := cmp.Diff(want, got, ignoreMoment); diff != "" {
			t.Errorf("invocation differs (-want +got):\n%s", diff)
		}
		if m := w.message(t, "C0OUT", "U0RILEY", 1); m.Text != "asked" || m.OnlyFor != "U0RILEY" {
			t.Errorf("answer = %+v, want it where the form was asked for", m)
		}
		if _, open := w.sim.Modal("U0RILEY"); open {
			t.Error("the dialog is still open")
		}
	})
}

func TestForm_tooLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{respond: func(chat.Invocation) chat.Response { return chat.Response{Form: isolateForm()} }})
	w.sim.Inject(slacksim.Fault{Method: "views.open", Kind: slacksim.FaultError, Code: "expired_trigger_id"})
	if err := w.sim.Slash(t.Context(), "U0RILEY", "C0SOC", "isolate web-01"); err != nil {
		t.Fatal(err)
	}
	if m := w.message(t, "C0SOC", "U0RILEY", 1); !strings.Contains(m.Text, "did not open") {
		t.Errorf("answer = %q, want to hear that the form did not open", m.Text)
	}
}

// Events bring nothing that opens a form.
func TestForm_afterAnEventIsOffered(t *testing.T) {
	t.Parallel()
	o := worldOptions{respond: func(inv chat.Invocation) chat.Response {
		if inv.Kind == chat.Submit {
			return chat.Response{Message: say("asking"), Later: func(ctx context.Context, out chat.Replier) {
				_ = out.Answer(ctx, *say("asked"))
			}}
		}
		return chat.Response{Form: isolateForm()}
	}}
	for _, tt := range []struct {
		name string
		in   func(*world) string
		ask  func(*world) error
	}{
		{"direct message", func(w *world) string { return w.sim.DirectChannel("U0RILEY") }, func(w *world) error { return w.sim.Direct(t.Context(), "U0RILEY", "isolate web-01") }},
		{"mention", func(*world) string { return "C0SOC" }, func(w *world) error { return w.sim.Mention(t.Context(), "U0RILEY", "C0SOC", "", "isolate web-01") }},
	} {
		overBothTransports(t, o, func(t *testing.T, w *world) {
			if err := tt.ask(w); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			w.handler.next(t)
			place := tt.in(w)
			offer := w.message(t, place, "U0RILEY", 2)
			if !strings.Contains(string(offer.Blocks), "Open the form") {
				t.Fatalf("%s: answer = %s, want a button for the form", tt.name, offer.Blocks)
			}
			if err := w.sim.Click(t.Context(), "U0RILEY", place, offer.TS, slacksim.Press{Label: "Open the form"}); err != nil {
				t.Fatalf("%s: Click() = %v", tt.name, err)
			}
			again := w.handler.next(t)
			if again.Kind != chat.Command || again.Text != "isolate web-01" || again.Action != "" {
				t.Errorf("%s: the click asks %+v, want the command once more", tt.name, again)
			}
			w.wait(t, "a dialog", func() bool { _, open := w.sim.Modal("U0RILEY"); return open })
			if err := w.sim.SubmitView(t.Context(), "U0RILEY", map[string]string{"reason": "beacon", "kind": "full"}); err != nil {
				t.Fatalf("%s: SubmitView() = %v", tt.name, err)
			}
			w.wait(t, "the answer in place of the button", func() bool {
				list := w.sim.Messages(place, "U0RILEY")
				return len(list) == 2 && list[1].Text == "asked"
			})
		})
	}
}

// The value of the button comes back from Slack: an edited one may ask for a
// form and for nothing else (threat-model S-17).
func TestAttack_formOfferRunsNoCommand(t *testing.T) {
	t.Parallel()
	ran := make(chan struct{}, 1)
	w := newWorld(t, worldOptions{respond: func(inv chat.Invocation) chat.Response {
		if inv.Text == "isolate web-01" {
			return chat.Response{Form: isolateForm()}
		}
		return chat.Response{Message: say("working"), Later: func(context.Context, chat.Replier) { ran <- struct{}{} }}
	}})
	card := chat.Message{Title: chat.Plain("x"), Buttons: []chat.Button{{Label: "Open the form", Action: formAction, Value: "isolate web-01 because"}}}
	ref, err := w.bot.Post(t.Context(), chat.Post{To: "slack:C0SOC", Message: card})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.sim.Click(t.Context(), "U0RILEY", "C0SOC", ref.MessageID, slacksim.Press{}); err != nil {
		t.Fatal(err)
	}
	if m := w.message(t, "C0SOC", "U0RILEY", 2); !strings.Contains(m.Text, "no form") {
		t.Errorf("answer = %q, want to hear that there is no form", m.Text)
	}
	select {
	case <-ran:
		t.Error("the button ran a command")
	default:
	}
}

func TestFormOffer_withoutButtonWhenTheWordsDoNotFit(t *testing.T) {
	t.Parallel()
	if m := formOffer(strings.Repeat("x", maxFormText+1), *isolateForm()); len(m.Buttons) != 0 || len(m.Note) == 0 {
		t.Errorf("formOffer() = %+v, want words alone", m)
	}
}

// Slack shows by itself that a click is being worked on, and nothing could take
// the sentence away afterwards.
func TestClick_hasOneAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{respond: func(chat.Invocation) chat.Response {
		return chat.Response{Message: say("looking"), Later: func(ctx context.Context, out chat.Replier) {
			_ = out.Answer(ctx, *say("found"))
		}}
	}})
	ref, err := w.bot.Post(t.Context(), chat.Post{To: "slack:C0SOC", Message: chat.Message{Title: chat.Plain("Card"), Buttons: []chat.Button{{Label: "Show", Action: "machine.show", Value: "1"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.sim.Click(t.Context(), "U0RILEY", "C0SOC", ref.MessageID, slacksim.Press{}); err != nil {
		t.Fatal(err)
	}
	if m := w.message(t, "C0SOC", "U0RILEY", 2); m.Text != "found" || m.OnlyFor != "U0RILEY" {
		t.Errorf("answer = %+v, want the result alone", m)
	}
}

func TestEventsThatAreNoCommands(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		event string
	}{
		{"a channel message", `{"type":"message","channel_type":"channel","user":"U0RILEY","text":"isolate web-01","channel":"C0SOC","ts":"1.1"}`},
		{"a direct message of a bot", `{"type":"message","channel_type":"im","user":"U0RILEY","bot_id":"B1","text":"approve 1","channel":"D0RILEY","ts":"1.1"}`},
		{"an app acting as a person", `{"type":"app_mention","user":"U0RILEY","app_id":"A0OTHER","text":"approve 1","channel":"C0SOC","ts":"1.1"}`},
		{"the bot itself", `{"type":"message","channel_type":"im","user":"U0MDEBOT","text":"approve 1","channel":"D0RILEY","ts":"1.1"}`},
		{"an edited mention", `{"type":"app_mention","user":"U0RILEY","edited":{"user":"U0RILEY","ts":"1.2"},"text":"approve 1","channel":"C0SOC","ts":"1.1"}`},
		{"a changed direct message", `{"type":"message","subtype":"message_changed","channel_type":"im","user":"U0RILEY","text":"approve 1","channel":"D0RILEY","ts":"1.1"}`},
		{"a bot message", `{"type":"app_mention","subtype":"bot_message","user":"U0RILEY","text":"approve 1","channel":"C0SOC","ts":"1.1"}`},
		{"nobody's message", `{"type":"message","channel_type":"im","text":"approve 1","channel":"D0RILEY","ts":"1.1"}`},
		{"a reaction", `{"type":"reaction_added","user":"U0RILEY","reaction":"+1"}`},
		{"an opened home tab", `{"type":"app_home_opened","user":"U0RILEY"}`},
	}
	w := newWorld(t, worldOptions{})
	for i, tt := range tests {
		body := `{"type":"event_callback","team_id":"T0SOC","api_app_id":"A0MDEBOT","event_id":"Ev` + string(rune('a'+i)) + `","event":` + tt.event + `}`
		if status, answer := w.send(t, "/slack/events", jsonType, body); status != 200 || answer != "" {
			t.Errorf("%s: answered %d %q, want an empty 200", tt.name, status, answer)
		}
	}
	// A command behind them shows that the queue has run dry.
	if err := w.sim.Direct(t.Context(), "U0RILEY", "help"); err != nil {
		t.Fatal(err)
	}
	if inv := w.handler.next(t); inv.Text != "help" || w.handler.count() != 1 {
		t.Errorf("handler got %+v after %d invocations, want only the real command", inv, w.handler.count())
	}
}

func TestSharedChannelMention_withoutTeamIsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	body := `{"type":"event_callback","team_id":"T0SOC","api_app_id":"A0MDEBOT","event_id":"Ev1","is_ext_shared_channel":true,` +
		`"event":{"type":"app_mention","user":"U0RILEY","team":"T0SOC","text":"help","channel":"C0SHARED","ts":"1.1"}}`
	if status, _ := w.send(t, "/slack/events", jsonType, body); status != 200 {
		t.Fatalf("answered %d, want 200", status)
	}
	by := w.handler.next(t).By
	if by.Workspace != "" {
		t.Errorf("workspace = %q, want none: Slack did not say whose account this is", by.Workspace)
	}
	if s, err := w.bot.Standing(t.Context(), by); err == nil || s != identity.Unknown {
		t.Errorf("Standing() = %v, %v, want unknown and an error", s, err)
	}
}

func TestEventRetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.sim.Inject(slacksim.Fault{Method: "auth.test", Kind: slacksim.FaultServerError, Times: 2})
	// The first deliveries may find the installation unknown; Slack repeats them.
	if err := w.sim.Direct(t.Context(), "U0RILEY", "help"); err != nil {
		var failed *slacksim.DeliveryError
		if !errors.As(err, &failed) || failed.Status != 503 {
			t.Fatalf("Direct() = %v, want acknowledged or 503", err)
		}
	}
	if inv := w.handler.next(t); inv.Text != "help" {
		t.Errorf("text = %q, want help", inv.Text)
	}
}

func TestDoubleClick_isTwoDeliveries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	ref, err := w.bot.Post(t.Context(), chat.Post{To: "slack:C0SOC", Message: chat.Message{Title: chat.Plain("x"), Buttons: []chat.Button{{Label: "Go", Action: "go"}}}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.sim.Click(t.Context(), "U0RILEY", "C0SOC", ref.MessageID, slacksim.Press{}); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := w.handler.next(t), w.handler.next(t); a.Delivery == b.Delivery {
		t.Errorf("both clicks have delivery ID %q", a.Delivery)
	}
}

func TestProgress_keepsTheLastUseForTheAnswer(t *testing.T) {
	t.Parallel()
	clock := newClock()
	w := newWorld(t, worldOptions{now: clock.now, respond: func(chat.Invocation) chat.Response {
		return chat.Response{Message: say("step 0"), Later: func(ctx context.Context, out chat.Replier) {
			for range 20 {
				clock.advance(progressEvery + time.Millisecond)
				out.Progress(ctx, *say("step"))
			}
			if err := out.Answer(ctx, *say("done")); err != nil {
				t.Errorf("Answer() = %v", err)
			}
		}}
	}})
	if err := w.sim.Slash(t.Context(), "U0RILEY", "C0SOC", "hunt"); err != nil {
		t.Fatal(err)
	}
	w.wait(t, "the answer", func() bool {
		list := w.sim.Messages("C0SOC", "U0RILEY")
		return len(list) == 1 && list[0].Text == "done"
	})
	if m := w.sim.Messages("C0SOC", "U0RILEY")[0]; m.Edits > 4 {
		t.Errorf("%d edits, want at most four", m.Edits)
	}
}

func TestLateAnswer_goesToTheDirectChat(t *testing.T) {
	t.Parallel()
	clock := newClock()
	w := newWorld(t, worldOptions{now: clock.now, respond: func(chat.Invocation) chat.Response {
		return chat.Response{Message: say("hunting"), Later: func(ctx context.Context, out chat.Replier) {
			clock.advance(31 * time.Minute)
			m := *say("10 rows")
			m.Files = []chat.File{{Name: "hunt.csv", Type: "text/csv", Content: []byte("a,b\n")}}
			if err := out.Answer(ctx, m); err != nil {
				t.Errorf("Answer() = %v", err)
			}
		}}
	}})
	if err := w.sim.Slash(t.Context(), "U0RILEY", "C0SOC", "hunt"); err != nil {
		t.Fatal(err)
	}
	direct := w.sim.DirectChannel("U0RILEY")
	if m := w.message(t, direct, "U0RILEY", 1); m.Text != "10 rows" {
		t.Errorf("direct chat says %q, want the late answer", m.Text)
	}
	file := w.message(t, direct, "U0RILEY", 2)
	if len(file.Files) != 1 || string(file.Files[0].Content) != "a,b\n" || file.Files[0].Name != "hunt.csv" {
		t.Errorf("file message = %+v, want hunt.csv", file)
	}
}

func TestAnswer_saysHowToInvite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{respond: func(chat.Invocation) chat.Response {
		return chat.Response{Message: say("result")}
	}})
	// The mention comes from a channel that the bot has just been removed from.
	if err := w.sim.Write(t.Context(), "U0RILEY", "C0OUT", "", "<@U0MDEBOT> status", "app_mention"); err != nil {
		t.Fatal(err)
	}
	m := w.message(t, w.sim.DirectChannel("U0RILEY"), "U0RILEY", 1)
	if !strings.Contains(string(m.Blocks), "/invite @mdebot") {
		t.Errorf("direct message %s does not say how to invite", m.Blocks)
	}
}

func TestHandlerPanic_stopsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{respond: func(inv chat.Invocation) chat.Response {
		if inv.Text == "panic" {
			panic("secret words")
		}
		return chat.Response{Message: say("alive")}
	}})
	for range workers + 1 {
		if err := w.sim.Slash(t.Context(), "U0RILEY", "C0SOC", "panic"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.sim.Slash(t.Context(), "U0RILEY", "C0SOC", "status"); err != nil {
		t.Fatal(err)
	}
	if m := w.message(t, "C0SOC", "U0RILEY", 1); m.Text != "alive" {
		t.Errorf("answer = %q, want alive", m.Text)
	}
}

func TestSocketMode_reconnects(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{socket: true})
	w.wait(t, "both connections", func() bool { return w.sim.Connections() == sockets })
	w.sim.Disconnect()
	w.wait(t, "new connections", func() bool { return w.sim.Connections() == sockets })
	if err := w.sim.Slash(t.Context(), "U0RILEY", "C0SOC", "help"); err != nil {
		t.Fatalf("Slash() = %v", err)
	}
	w.handler.next(t)
	if status, _ := w.send(t, "/slack/commands", formType, "command=%2Fmde"); status != 404 {
		t.Errorf("the HTTP route answers %d in Socket Mode, want 404", status)
	}
}

// A button for the asker alone is drawn on what nobody else sees, and on nothing else;
// what it shows everyone goes to nobody where people from outside read along.
func TestAnswer_isShownToEveryoneByOneClick(t *testing.T) {
	t.Parallel()
	m := *say("web-01 is healthy")
	m.Buttons = []chat.Button{{Label: "Show to everyone", Action: "answer.share", Value: "k", Alone: true}}
	instead := say("people from outside read here")
	w := newWorld(t, worldOptions{respond: func(inv chat.Invocation) chat.Response {
		if inv.Kind == chat.Click {
			return chat.Response{Audience: chat.Everyone, Message: &m, Otherwise: instead}
		}
		return chat.Response{Later: func(ctx context.Context, out chat.Replier) { _ = out.Answer(ctx, m) }}
	}})
	for _, place := range []string{"C0SOC", "C0SHARED"} {
		if err := w.sim.Slash(t.Context(), "U0RILEY", place, "machine web-01"); err != nil {
			t.Fatal(err)
		}
		only := w.message(t, place, "U0RILEY", 1)
		if only.OnlyFor != "U0RILEY" || !strings.Contains(string(only.Blocks), "Show to everyone") {
			t.Fatalf("the asker sees %s, want the button", only.Blocks)
		}
		if err := w.sim.Click(t.Context(), "U0RILEY", place, only.TS, slacksim.Press{Label: "Show to everyone"}); err != nil {
			t.Fatal(err)
		}
	}
	all := w.message(t, "C0SOC", "U0AVERY", 1)
	if all.OnlyFor != "" || !strings.Contains(all.Text, "web-01 is healthy") || strings.Contains(string(all.Blocks), "Show to everyone") {
		t.Errorf("everyone sees (only for %q) %s, want the answer without the button", all.OnlyFor, all.Blocks)
	}
	if told := w.message(t, "C0SHARED", "U0RILEY", 2); told.OnlyFor != "U0RILEY" || !strings.Contains(told.Text, "people from outside") {
		t.Errorf("where outsiders read the asker is told %+v", told)
	}
	if seen := w.sim.Messages("C0SHARED", "U0EVE"); len(seen) != 0 {
		t.Errorf("somebody from outside reads %+v", seen)
	}
	if err := w.sim.Direct(t.Context(), "U0RILEY", "machine web-01"); err != nil {
		t.Fatal(err)
	}
	direct := w.message(t, w.sim.DirectChannel("U0RILEY"), "U0RILEY", 2)
	if strings.Contains(string(direct.Blocks), "Show to everyone") {
		t.Error("in a direct chat there is nobody to show it to")
	}
	ref, err := w.bot.Post(t.Context(), chat.Post{To: "slack:C0SOC", Message: m})
	if err == nil {
		err = w.bot.Edit(t.Context(), ref, m)
	}
	if posted := w.message(t, "C0SOC", "U0AVERY", 2); err != nil || strings.Contains(string(posted.Payload), "Show to everyone") {
		t.Errorf("a post has the button: %s, %v", posted.Payload, err)
	}
}
