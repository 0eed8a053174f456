package slackbot

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
)

func TestLinks_previews(t *testing.T) {
	t.Parallel()
	o := worldOptions{
		sim: func(o *slacksim.Options) { o.Domains = []string{"portal.example"} },
		respond: func(inv chat.Invocation) chat.Response {
			return chat.Response{Previews: func(context.Context) map[string]chat.Message {
				first, _, _ := strings.Cut(inv.Text, "\n")
				return map[string]chat.Message{first: {
					Title: chat.Untrusted("<!channel> ws-042"), Tone: chat.Danger, Buttons: []chat.Button{{Label: "Isolate", Action: "isolate", Value: "x"}},
					Menu: &chat.Menu{Label: "Show", Action: "show", Options: []chat.Option{{Label: "one", Value: "1"}}},
				}}
			}}
		},
	}
	overBothTransports(t, o, func(t *testing.T, w *world) {
		const text = "see <https://portal.example/machines/1?a=b&amp;c=d> https://portal.example/2 https://portal.example/2 https://portal.example/3 https://portal.example/4"
		if err := w.sim.Write(t.Context(), "U0RILEY", "C0SOC", "", text, ""); err != nil {
			t.Fatal(err)
		}
		want := chat.Invocation{
			Kind: chat.Links, By: riley(), In: channel("C0SOC"),
			Text: "https://portal.example/machines/1?a=b&c=d\nhttps://portal.example/2\nhttps://portal.example/3",
		}
		if diff := cmp.Diff(want, w.handler.next(t), ignoreMoment); diff != "" {
			t.Errorf("invocation differs (-want +got):\n%s", diff)
		}
		var shown string
		w.wait(t, "a preview", func() bool {
			all := w.sim.Messages("C0SOC", "U0RILEY")
			shown = string(all[0].Attachments)
			return len(shown) > 0
		})
		if !strings.Contains(shown, "ws-042") || strings.Contains(shown, `"actions"`) || strings.Contains(shown, "Isolate") {
			t.Errorf("the preview is %s, want it without anything to press", shown)
		}
	})
}

func TestLinks_whereNoneIsPreviewed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	event := func(id, fields string) string {
		return `{"type":"event_callback","team_id":"T0SOC","api_app_id":"A0MDEBOT","event_id":"` + id + `","event":{"type":"link_shared","message_ts":"1.1","links":[{"url":"https://portal.example/1"}],` + fields + `}}`
	}
	for name, fields := range map[string]string{
		"a draft":                     `"user":"U0RILEY","channel":"C0SOC","is_bot_user_member":true,"source":"composer"`,
		"a channel without the bot":   `"user":"U0RILEY","channel":"C0OUT","is_bot_user_member":false,"source":"conversations_history"`,
		"a direct chat of two others": `"user":"U0RILEY","channel":"D0OTHERS","is_bot_user_member":true`,
		"the bot's own message":       `"user":"U0MDEBOT","channel":"C0SOC","is_bot_user_member":true`,
		"nobody's message":            `"channel":"C0SOC","is_bot_user_member":true`,
	} {
		if status, _ := w.postSigned(t, "/slack/events", jsonType, event("Ev"+name, fields)); status != 200 {
			t.Errorf("%s: status %d, want it acknowledged", name, status)
		}
	}
	shared := strings.Replace(event("EvShared", `"user":"U0RILEY","channel":"C0SHARED","is_bot_user_member":true`), `"event_id"`, `"is_ext_shared_channel":true,"event_id"`, 1)
	if status, _ := w.postSigned(t, "/slack/events", jsonType, shared); status != 200 {
		t.Errorf("a shared channel: status %d", status)
	}
	good := event("EvGood", `"user":"U0RILEY","channel":"C0SOC","is_bot_user_member":true,"source":"conversations_history"`)
	for range 2 { // Slack repeats events
		if status, _ := w.postSigned(t, "/slack/events", jsonType, good); status != 200 {
			t.Errorf("status %d", status)
		}
	}
	if got := w.handler.next(t); got.In.ID != "C0SOC" || got.Delivery != "EvGood" {
		t.Errorf("the handler was asked %+v", got)
	}
	if n := w.handler.count(); n != 1 {
		t.Errorf("the handler was asked %d times, want once", n)
	}
	if n := w.sim.Calls("chat.unfurl"); n != 0 {
		t.Errorf("%d previews without anything to show", n)
	}
}

// What the handler knows is not even read where people from outside would see it.
func TestLinks_guestsKeepPreviewsAway(t *testing.T) {
	t.Parallel()
	var reads atomic.Int64
	t.Cleanup(func() { // after the bot has finished all that it accepted
		if n := reads.Load(); n != 1 {
			t.Errorf("previews were made for %d messages, want one: not where guests read", n)
		}
	})
	w := newWorld(t, worldOptions{
		sim: func(o *slacksim.Options) { o.Domains = []string{"portal.example"} },
		respond: func(chat.Invocation) chat.Response {
			return chat.Response{Previews: func(context.Context) map[string]chat.Message { reads.Add(1); return nil }}
		},
	})
	w.sim.AddChannel(slacksim.Channel{ID: "C0GUESTS", Name: "guests", BotIn: true, Members: []string{"U0RILEY", "U0GUEST"}})
	for _, place := range []string{"C0GUESTS", "C0SOC"} {
		if err := w.sim.Write(t.Context(), "U0RILEY", place, "", "https://portal.example/1", ""); err != nil {
			t.Fatal(err)
		}
		w.handler.next(t)
	}
}
