package slackbot

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

// takeShortcut takes what somebody asks about a message. The message may be in a
// channel that the bot is not in, or in a chat of two people: the response address
// answers there all the same, and only the one who asked sees it.
func (b *Bot) takeShortcut(me installation, by identity.Principal, p interaction) error {
	if p.CallbackID == "" || p.TriggerID == "" || p.Channel.ID == "" {
		return fmt.Errorf("%w: not a shortcut", errMalformed)
	}
	var about struct {
		ThreadTS string `json:"thread_ts"`
	}
	if err := json.Unmarshal(p.Message, &about); err != nil {
		return fmt.Errorf("%w: no message", errMalformed)
	}
	inv := chat.Invocation{
		Kind: chat.Shortcut, Delivery: p.TriggerID + "." + p.ActionTS, By: by, Action: p.CallbackID, At: b.now(),
		In:   chat.Conversation{Platform: identity.Slack, Workspace: me.workspace, ID: p.Channel.ID, Thread: about.ThreadTS},
		Text: messageText(p.Message, me.botUser), Slash: about.ThreadTS == "",
	}
	d := delivery{inv: inv, trigger: p.TriggerID, at: b.responsePlace(p.ResponseURL, inv)}
	// The message is somebody else's: nothing may take its place, so there is one
	// answer beside it and no progress.
	d.at.clicked = true
	return b.take(d)
}

// What is read of a message, far more than Slack lets people write.
const (
	maxMessageText  = 64 << 10
	maxMessageDepth = 24
)

// messageText is all that a message says, a line for each part of it, in whatever
// form it says it: text, blocks of any kind, and attachments with their titles,
// fields and addresses. Kinds of blocks that Slack adds tomorrow are read as well,
// because their text stands under the same few keys.
func messageText(raw json.RawMessage, bot string) string {
	var m struct {
		Text        string `json:"text"`
		Blocks      any    `json:"blocks"`
		Attachments any    `json:"attachments"`
		Files       any    `json:"files"`
	}
	if json.Unmarshal(raw, &m) != nil {
		return ""
	}
	r := messageReader{bot: bot}
	r.line(m.Text)
	for _, part := range []any{m.Blocks, m.Attachments, m.Files} {
		r.read(part, 0)
	}
	return strings.TrimSpace(r.out.String())
}

// readKeys are the keys under which blocks, attachments and files carry what people
// read, in the order they read it.
var readKeys = []string{
	"pretext", "author_name", "title", "subtitle", "title_link", "from_url", "text", "value", "fallback", "url", "image_url", "alt_text", "name", "footer",
	"fields", "elements", "accessory", "rows", "child_blocks", "blocks", "body", "label", "description",
}

type messageReader struct {
	bot string
	out strings.Builder
}

func (r *messageReader) line(s string) {
	if s == "" || r.out.Len() > maxMessageText {
		return
	}
	r.out.WriteString(plainText(s, r.bot))
	r.out.WriteByte('\n')
}

func (r *messageReader) read(v any, depth int) {
	if depth > maxMessageDepth || r.out.Len() > maxMessageText {
		return
	}
	switch v := v.(type) {
	case string:
		r.line(v)
	case []any:
		for _, e := range v {
			r.read(e, depth+1)
		}
	case map[string]any:
		if kind, _ := v["type"].(string); kind == "button" || strings.HasSuffix(kind, "_select") || kind == "overflow" {
			return // what can be pressed is no part of what it says
		}
		if runs, isLine := v["elements"].([]any); isLine && isRichLine(v["type"]) {
			r.runs(runs)
			return
		}
		for _, key := range readKeys {
			r.read(v[key], depth+1)
		}
	}
}

// isRichLine reports the parts of rich text whose elements make up one line.
func isRichLine(kind any) bool {
	switch kind {
	case "rich_text_section", "rich_text_preformatted", "rich_text_quote":
		return true
	}
	return false
}

// runs reads the runs of one line together: half of an address may be in bold. The
// text of a link follows on a line of its own, where it is another than the address.
func (r *messageReader) runs(elements []any) {
	var line strings.Builder
	var labels []string
	for _, e := range elements {
		run, _ := e.(map[string]any)
		text, _ := run["text"].(string)
		if address, isLink := run["url"].(string); isLink {
			line.WriteString(" " + address + " ")
			if text != "" && text != address {
				labels = append(labels, text)
			}
			continue
		}
		line.WriteString(text)
	}
	for _, s := range append([]string{line.String()}, labels...) {
		if s = strings.TrimSpace(s); s != "" && r.out.Len() <= maxMessageText {
			r.out.WriteString(s + "\n")
		}
	}
}
