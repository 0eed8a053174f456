package slackbot

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
)

func withShortcut(o *slacksim.Options) { o.Shortcuts = map[string]string{"Look up": "message.lookup"} }

func TestShortcut(t *testing.T) {
	t.Parallel()
	o := worldOptions{sim: withShortcut, respond: func(chat.Invocation) chat.Response { return chat.Response{Message: say("seen on web-01")} }}
	overBothTransports(t, o, func(t *testing.T, w *world) {
		for _, place := range []string{"C0SOC", "C0OUT"} { // the bot is not in the second
			ts := w.sim.AddMessage(slacksim.Message{
				Channel: place, User: "U0AVERY", ThreadTS: "1790000000.000100",
				Text: "see <http://web-01.corp.example|web-01.corp.example> &amp; <@U0MDEBOT>", Blocks: json.RawMessage(`[{"type":"hologram"}]`),
			})
			if err := w.sim.Shortcut(t.Context(), "U0RILEY", place, ts, "Look up"); err != nil {
				t.Fatalf("Shortcut() = %v", err)
			}
			by, in := riley(), channel(place)
			by.Name, in.Thread = "riley", "1790000000.000100"
			want := chat.Invocation{Kind: chat.Shortcut, By: by, In: in, Action: "message.lookup", Text: "see web-01.corp.example &"}
			got := w.handler.next(t)
			if diff := cmp.Diff(want, got, ignoreMoment); diff != "" {
				t.Errorf("invocation differs (-want +got):\n%s", diff)
			}
			if got.Delivery == "" {
				t.Error("no delivery ID")
			}
			m := w.message(t, place, "U0RILEY", 2)
			if m.OnlyFor != "U0RILEY" || m.ThreadTS != "1790000000.000100" || !strings.Contains(m.Text, "seen on web-01") {
				t.Errorf("answer = %+v, want it for the asker alone, in the thread of the message", m)
			}
		}
	})
}

func TestMessageText(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ raw, want string }{
		"text":                       {`{"text":"a &lt;b&gt; <https://evil.example|https://bank.example>"}`, "a <b> https://evil.example"},
		"runs of one line together":  {`{"blocks":[{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"203.0."},{"type":"text","text":"113.9","style":{"bold":true}}]}]}]}`, "203.0.113.9"},
		"a link and what it claims":  {`{"blocks":[{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"go to"},{"type":"link","url":"https://evil.example","text":"bank.example"}]}]}]}`, "go to https://evil.example\nbank.example"},
		"a list":                     {`{"blocks":[{"type":"rich_text","elements":[{"type":"rich_text_list","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"one"}]},{"type":"rich_text_section","elements":[{"type":"text","text":"two"}]}]}]}]}`, "one\ntwo"},
		"a table":                    {`{"blocks":[{"type":"table","rows":[[{"type":"raw_text","text":"host"},{"type":"raw_text","text":"ws-042"}]]}]}`, "host\nws-042"},
		"fields of a section":        {`{"blocks":[{"type":"section","text":{"type":"mrkdwn","text":"Host"},"fields":[{"type":"mrkdwn","text":"*ip* 203.0.113.9"}]}]}`, "Host\n*ip* 203.0.113.9"},
		"attachments of an old app":  {`{"attachments":[{"title":"Alert","title_link":"https://siem.example/1","text":"on ws-042","fields":[{"title":"SHA1","value":"abc"}],"fallback":"alert"}]}`, "Alert\nhttps://siem.example/1\non ws-042\nalert\nSHA1\nabc"},
		"a shared message":           {`{"attachments":[{"from_url":"https://x.example","blocks":[{"type":"section","text":{"type":"mrkdwn","text":"quoted"}}]}]}`, "https://x.example\nquoted"},
		"the name of a file":         {`{"files":[{"name":"evil.example.txt"}]}`, "evil.example.txt"},
		"what is folded":             {`{"blocks":[{"type":"container","title":{"type":"plain_text","text":"More"},"child_blocks":[{"type":"context","elements":[{"type":"plain_text","text":"ws-042"}]}]}]}`, "More\nws-042"},
		"no buttons":                 {`{"blocks":[{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"ws-042"},"value":"ws-043"}]}]}`, ""},
		"a kind that is not known":   {`{"blocks":[{"type":"hologram","body":{"text":"ws-042"}}]}`, "ws-042"},
		"another type than expected": {`{"text":7}`, ""},
		"too deep":                   {`{"blocks":` + strings.Repeat(`[`, 60) + `"x"` + strings.Repeat(`]`, 60) + `}`, ""},
	} {
		if got := messageText(json.RawMessage(c.raw), "U0MDEBOT"); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	long := messageText(json.RawMessage(`{"text":"`+strings.Repeat("x", 60_000)+`","blocks":[`+strings.Repeat(`{"type":"section","text":{"text":"`+strings.Repeat("y", 1000)+`"}},`, 400)+`{"type":"divider"}]}`), "")
	if len(long) > 2*maxMessageText {
		t.Errorf("%d bytes are read of one message", len(long))
	}
}

func TestShortcut_malformed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{sim: withShortcut})
	for name, payload := range map[string]string{
		"no channel":        `{"type":"message_action","team":{"id":"T0SOC"},"user":{"id":"U0RILEY","team_id":"T0SOC"},"callback_id":"message.lookup","trigger_id":"1","message":{}}`,
		"no message":        `{"type":"message_action","team":{"id":"T0SOC"},"user":{"id":"U0RILEY","team_id":"T0SOC"},"callback_id":"message.lookup","trigger_id":"1","channel":{"id":"C0SOC"}}`,
		"another app":       `{"type":"message_action","api_app_id":"A0OTHER","team":{"id":"T0SOC"},"user":{"id":"U0RILEY","team_id":"T0SOC"},"callback_id":"message.lookup","trigger_id":"1","channel":{"id":"C0SOC"},"message":{}}`,
		"another workspace": `{"type":"message_action","team":{"id":"T0EVIL"},"user":{"id":"U0RILEY","team_id":"T0EVIL"},"callback_id":"message.lookup","trigger_id":"1","channel":{"id":"C0SOC"},"message":{}}`,
		"nobody":            `{"type":"message_action","team":{"id":"T0SOC"},"user":{},"callback_id":"message.lookup","trigger_id":"1","channel":{"id":"C0SOC"},"message":{}}`,
	} {
		if _, err := w.bot.takeInteraction(t.Context(), []byte(payload)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if n := w.handler.count(); n > 0 {
		t.Errorf("%d of them reached the handler", n)
	}
}
