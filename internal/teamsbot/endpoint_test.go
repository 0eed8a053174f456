package teamsbot

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

func TestMessage_inChannelThread(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.handler.will(func(chat.Invocation) chat.Response { return chat.Response{Message: titled("web-01 is healthy")} })
	root := w.message(riley, alerts, "lunch?", "")
	id := w.message(riley, alerts, "@mdebot /mde machine “web-01” <b>", root)

	seen := w.fromBot(riley, alerts, 1)
	if got := seen[0]; got.Thread != root || !strings.Contains(string(got.Card), "web-01 is healthy") || got.Summary != "web-01 is healthy" {
		t.Errorf("answer = %+v, want a card with summary in thread %s", got, root)
	}
	want := []chat.Invocation{{
		Kind: chat.Command, By: rileyAs(), Text: "/mde machine “web-01” <b>",
		Delivery: home + "/" + alerts + ";messageid=" + root + "/" + id,
		In:       chat.Conversation{Platform: identity.Teams, Workspace: home, ID: alerts, Thread: root},
	}}
	if diff := cmp.Diff(want, w.handler.invocations(), cmpopts.IgnoreFields(chat.Invocation{}, "At")); diff != "" {
		t.Errorf("invocations (-want +got):\n%s", diff)
	}
}

func TestMessage_addressing(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, conversation, text string
		asked                    bool
		want                     string
	}{
		{"channel without mention", alerts, "machine web-01", false, ""},
		{"mention at the end", alerts, "machine web-01 @mdebot", true, "machine web-01"},
		{"mention of a person as an argument", alerts, "@mdebot assign @Avery Diaz", true, "assign Avery Diaz"},
		{"group chat with mention", group, "@mdebot status", true, "status"},
		{"group chat without mention", group, "status", false, ""},
		{"name of the bot as plain text", alerts, "mdebot status", false, ""},
		{"mention alone", alerts, "@mdebot", true, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.message(riley, tc.conversation, tc.text, "")
			if !tc.asked {
				// What is not for the bot leaves no trace; a later command shows that
				// nothing was on its way.
				w.message(riley, w.sim.PersonalChat(riley), "done", "")
			}
			w.handlerAsked(1)
			got := w.handler.invocations()
			if tc.asked && got[0].Text != tc.want {
				t.Errorf("text = %q, want %q", got[0].Text, tc.want)
			}
			if !tc.asked && got[0].Text != "done" {
				t.Errorf("the bot took %q for a command", got[0].Text)
			}
		})
	}
}

// handlerAsked waits until the handler was asked n times.
func (w *world) handlerAsked(n int) {
	w.t.Helper()
	for range 1000 {
		if len(w.handler.invocations()) >= n {
			return
		}
		select {
		case <-w.t.Context().Done():
		case <-tick():
		}
	}
	w.t.Fatalf("handler was asked %d times, want %d", len(w.handler.invocations()), n)
}

func TestMessage_personalChat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.handler.will(func(chat.Invocation) chat.Response {
		return chat.Response{Audience: chat.Personal, Message: titled("you are Riley")}
	})
	room := w.sim.PersonalChat(riley)
	w.message(riley, room, "whoami", "")
	w.fromBot(riley, room, 1)
	if got := w.handler.invocations()[0]; !got.In.Direct || got.In.ID != room || got.In.Thread != "" {
		t.Errorf("In = %+v, want the personal chat", got.In)
	}
}

func TestMessage_personalAnswerFromChannel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sim.SetTargeted(false)
	w.handler.will(func(chat.Invocation) chat.Response {
		return chat.Response{Audience: chat.Personal, Message: titled("secret rows")}
	})
	id := w.message(riley, alerts, "@mdebot hunt x", "")
	inChannel := w.fromBot(avery, alerts, 1)
	if got := inChannel[0]; got.Thread != id || !strings.Contains(string(got.Card), wordPersonal) || strings.Contains(string(got.Card), "secret") {
		t.Errorf("channel shows %s, want only a pointer", got.Card)
	}
	if got := w.fromBot(riley, "a:1"+riley, 1); !strings.Contains(string(got[0].Card), "secret rows") {
		t.Errorf("personal chat shows %s, want the answer", got[0].Card)
	}
}

func TestMessage_personalChatUnreachable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sim.SetTargeted(false)
	w.handler.will(func(chat.Invocation) chat.Response {
		return chat.Response{Audience: chat.Personal, Message: titled("secret rows")}
	})
	w.message(loner, group, "@mdebot hunt x", "")
	got := w.fromBot(riley, group, 1)
	if !strings.Contains(string(got[0].Card), "add me to your Teams apps") {
		t.Errorf("group shows %s, want the way to a private answer", got[0].Card)
	}
	for _, e := range w.sim.Effects() {
		if strings.Contains(string(e.Payload), "secret rows") {
			t.Errorf("private answer was posted to %s", e.Conversation)
		}
	}
}

func TestMessage_progressThenAnswerInPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	shown := make(chan struct{})
	w.handler.will(func(chat.Invocation) chat.Response {
		return chat.Response{Message: titled("Hunting…"), Later: func(ctx context.Context, out chat.Replier) {
			for range 50 {
				out.Progress(ctx, *titled("still hunting"))
			}
			<-shown
			if err := out.Answer(ctx, *titled("3 rows")); err != nil {
				t.Errorf("Answer() = %v", err)
			}
			if err := out.Answer(ctx, *titled("again")); err == nil {
				t.Error("second Answer() = nil, want a refusal")
			}
		}}
	})
	w.message(riley, alerts, "@mdebot hunt x", "")
	first := w.fromBot(riley, alerts, 1)[0]
	close(shown)
	w.until("the answer is shown", func() bool {
		return strings.Contains(string(w.sim.Messages(alerts, riley)[1].Card), "3 rows")
	})
	got := w.sim.Messages(alerts, riley)
	if len(got) != 2 || got[1].ID != first.ID {
		t.Errorf("conversation holds %d messages, want the question and one answer", len(got))
	}
	if got[1].Edits > 2 {
		t.Errorf("the answer was edited %d times, want progress coalesced", got[1].Edits)
	}
}

func TestMessage_repeatedDeliveryRunsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, err := w.sim.Activity(riley, w.sim.PersonalChat(riley), "message")
	if err != nil {
		t.Fatal(err)
	}
	a["text"] = "status"
	for range 3 {
		reply, err := w.sim.Deliver(t.Context(), teamssim.Delivery{Activity: a})
		if err != nil || reply.Status != 200 || len(reply.Body) != 0 {
			t.Fatalf("Deliver() = %+v, %v, want 200 and no body", reply, err)
		}
	}
	w.handlerAsked(1)
	w.bot.tasks.wg.Wait()
	if got := len(w.handler.invocations()); got != 1 {
		t.Errorf("handler ran %d times, want once", got)
	}
}

func TestActivity_ignoredKinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	room := w.sim.PersonalChat(riley)
	id := w.message(riley, room, "isolate web-01 test", "")
	w.handlerAsked(1)
	if err := w.sim.Edit(t.Context(), riley, id, "isolate web-02 test"); err != nil {
		t.Errorf("edited message: %v, want it taken and ignored", err)
	}
	for _, kind := range []string{"messageDelete", "messageReaction", "typing", "event", "somethingNew"} {
		a, err := w.sim.Activity(riley, room, kind)
		if err != nil {
			t.Fatal(err)
		}
		a["text"], a["value"] = "isolate web-03 test", []any{"odd"}
		if reply, err := w.sim.Deliver(t.Context(), teamssim.Delivery{Activity: a}); err != nil || reply.Status != 200 {
			t.Errorf("%s: %+v, %v, want 200", kind, reply, err)
		}
	}
	a, err := w.sim.Activity(riley, room, "message")
	if err != nil {
		t.Fatal(err)
	}
	a["from"], a["text"] = map[string]any{"id": "28:another-bot", "aadObjectId": riley}, "isolate web-04 test"
	if reply, err := w.sim.Deliver(t.Context(), teamssim.Delivery{Activity: a}); err != nil || reply.Status != 200 {
		t.Errorf("message of a bot: %+v, %v, want 200", reply, err)
	}
	w.bot.tasks.wg.Wait()
	if got := len(w.handler.invocations()); got != 1 {
		t.Errorf("handler was asked %d times, want once", got)
	}
}
