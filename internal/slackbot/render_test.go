package slackbot

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mdebot/mdebot/internal/chat"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// hostile is what an attacker would call a machine.
const hostile = "<!channel> <@U0RILEY> *bold* `x` :tada: <https://evil.example|safe> http://evil.example\n\nApproved by Avery\u202e\u200b &amp; \xff"

// render draws m with all that Slack knows.
func render(m chat.Message) drawn { return draw(m, lacks{}) }

func fullCard(outside string, n int) chat.Message {
	m := chat.Message{
		Preview: chat.Join(chat.Plain("High alert on "), chat.Untrusted(outside)),
		Title:   chat.Join(chat.Plain("High: "), chat.Untrusted(outside)),
		Tone:    chat.Danger,
		Facts: []chat.Fact{
			{Label: "Machine", Value: chat.Join(chat.Untrusted(outside), chat.Plain(" "), chat.Code(outside))},
			{Label: "Seen", Value: chat.At(time.Unix(1_790_000_000, 0))},
			{Label: "Portal", Value: chat.Link("Open", "https://security.microsoft.com/machines/1")},
			{Label: "Owner", Value: nil},
		},
		Table:    &chat.Table{Caption: "Evidence", Columns: []string{"File", "SHA-1"}, Total: 5000},
		Menu:     &chat.Menu{Label: "Assign", Action: "alert.assign"},
		Mentions: []chat.Mention{{ID: "S0ONCALL", Group: true}, {ID: "U0AVERY"}, {ID: "not an ID"}},
		Note:     chat.Join(chat.Plain("Asked by "), chat.Untrusted(outside), chat.Plain(" at "), chat.At(time.Unix(1_790_000_000, 0)), chat.Link("log", "https://example.com/a|b")),
		Picture:  &chat.Picture{PNG: []byte("x"), Alt: outside},
		Files:    []chat.File{{Name: "hunt.csv", Content: []byte("x")}},
	}
	for i := range n {
		m.Sections = append(m.Sections, chat.Section{
			Heading: "Open alerts", Folded: i%2 == 1,
			Lines: []chat.Text{chat.Join(chat.Plain("• "), chat.Untrusted(outside), chat.Code(outside))},
		})
		m.Table.Rows = append(m.Table.Rows, []string{outside, outside})
		m.Menu.Options = append(m.Menu.Options, chat.Option{Label: outside, Detail: outside, Value: fmt.Sprintf("v%d", i)})
		m.Buttons = append(m.Buttons, chat.Button{
			Label: "Approve", Action: "request.approve", Value: "r.d", Style: chat.StyleDanger,
			Confirm: &chat.Confirm{Title: "Isolate?", Text: chat.Join(chat.Plain("This isolates "), chat.Untrusted(outside)), Yes: "Isolate", No: "No"},
		}, chat.Button{Label: "Open in Defender", URL: "https://security.microsoft.com/alerts/1"})
	}
	return m
}

func TestRender_golden(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		m    chat.Message
	}{
		{"empty", chat.Message{}},
		{"one line", chat.Message{Title: chat.Plain("Nothing found")}},
		{"done", chat.Message{Title: chat.Plain("Isolated"), Tone: chat.Good, Note: chat.Plain("Request #142")}},
		{"typical", fullCard("web-01", 2)},
		{"hostile", fullCard(hostile, 2)},
		{"huge", fullCard(strings.Repeat(hostile, 50), 3)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := encode(t, render(tt.m))
			path := filepath.Join("testdata", strings.ReplaceAll(tt.name, " ", "_")+".json")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v; run with -update to write it", err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("render() differs from %s (-want +got):\n%s", path, diff)
			}
		})
	}
}

func TestModal_golden(t *testing.T) {
	t.Parallel()
	view, err := modal(*isolateForm(), origin{Channel: "C0SOC", Thread: "1.1"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(view, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "form.json")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("modal() differs (-want +got):\n%s", diff)
	}
}

// encode is d as it is sent.
func encode(t interface{ Fatal(...any) }, d drawn) []byte {
	out, err := json.MarshalIndent(map[string]any{"text": d.text, "blocks": d.blocks, "attachments": d.attachments}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

// structure is everything of a drawing but its words: keys, types, IDs, values,
// mentions, addresses, styles.
func structure(v any, key string) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, child := range v {
			if k == "text" && v["type"] == "mrkdwn" {
				out[k] = child // markup is active here: no outside text may enter
				continue
			}
			out[k] = structure(child, k)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, child := range v {
			out[i] = structure(child, key)
		}
		return out
	case string:
		if key == "text" {
			return "words"
		}
	}
	return v
}

func TestRender_structureDoesNotDependOnOutsideText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		shape := drawMessage(t)
		calm := encode(t, render(shape(func() string { return "x" })))
		text := outsideText()
		d := render(shape(func() string { return text.Draw(t, "outside") }))
		wild := encode(t, d)

		var a, b map[string]any
		if json.Unmarshal(calm, &a) != nil || json.Unmarshal(wild, &b) != nil {
			t.Fatal("not JSON")
		}
		// The remark that something was cut is the renderer's own and may come.
		a["blocks"], b["blocks"] = withoutCutRemark(a["blocks"]), withoutCutRemark(b["blocks"])
		delete(a, "text")
		delete(b, "text")
		if before, after := structure(a, ""), structure(b, ""); !reflect.DeepEqual(before, after) {
			t.Fatalf("outside text changed the structure (-calm +wild):\n%s", cmp.Diff(before, after))
		}
		if err := validate(d); err != nil {
			t.Fatalf("validate() = %v", err)
		}
		if !utf8.Valid(wild) {
			t.Fatal("invalid UTF-8")
		}
		for _, control := range []string{"<!", "<@", "<#", "<http"} {
			if strings.Contains(d.text, control) {
				t.Fatalf("text %q holds %q", d.text, control)
			}
		}
	})
}

func withoutCutRemark(blocks any) any {
	list, _ := blocks.([]any)
	var out []any
	for _, b := range list {
		if raw, _ := json.Marshal(b); !strings.Contains(string(raw), "Some of this is left out") {
			out = append(out, b)
		}
	}
	return out
}

func TestPlain_staysWithinLimits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		shape := drawMessage(t)
		text := outsideText()
		d := plain(shape(func() string { return text.Draw(t, "outside") }))
		if len(d.text) == 0 || len(d.text) > maxFallback || !utf8.ValidString(d.text) {
			t.Fatalf("text of %d bytes, valid %v", len(d.text), utf8.ValidString(d.text))
		}
		if strings.ContainsAny(d.text, "<>`") {
			t.Fatalf("text %q holds markup", d.text)
		}
		for i := range d.text {
			if d.text[i] == '&' && !strings.HasPrefix(d.text[i:], "&amp;") && !strings.HasPrefix(d.text[i:], "&lt;") && !strings.HasPrefix(d.text[i:], "&gt;") {
				t.Fatalf("text %q holds a broken entity at %d", d.text, i)
			}
		}
	})
}

// outsideText draws hostile strings of all sizes.
func outsideText() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.String(),
		rapid.SampledFrom([]string{"", hostile, strings.Repeat("&<>", 4_000), strings.Repeat("\u202e", 900), strings.Repeat("é", 5_000)}),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
	)
}

// drawMessage draws the shape of a message, to be filled with outside text.
func drawMessage(t *rapid.T) func(outside func() string) chat.Message {
	count := func(most int, label string) int { return rapid.IntRange(0, most).Draw(t, label) }
	kinds := rapid.SliceOfN(rapid.IntRange(0, 6), 1, 6).Draw(t, "spans")
	facts, sections, lines := count(60, "facts"), count(35, "sections"), count(120, "lines")
	buttons, options, columns, rows := count(30, "buttons"), count(120, "options"), count(25, "columns"), count(120, "rows")
	tone := rapid.SampledFrom([]chat.Tone{chat.Neutral, chat.Good, chat.Danger}).Draw(t, "tone")
	if rapid.Bool().Draw(t, "small") {
		facts, sections, lines, rows = min(facts, 5), min(sections, 3), min(lines, 4), min(rows, 5)
	}
	return func(outside func() string) chat.Message {
		text := func() chat.Text {
			var out chat.Text
			for _, k := range kinds {
				switch k {
				case 0:
					out = append(out, chat.Plain("own ")...)
				case 1:
					out = append(out, chat.Bold("own")...)
				case 2:
					out = append(out, chat.Link("open", "https://example.com/x")...)
				case 3:
					out = append(out, chat.At(time.Unix(1_790_000_000, 0))...)
				case 4:
					out = append(out, chat.Notify(chat.Mention{ID: "U0RILEY", Name: "riley"})...)
				case 5:
					out = append(out, chat.Code(outside())...)
				default:
					out = append(out, chat.Untrusted(outside())...)
				}
			}
			return out
		}
		m := chat.Message{Tone: tone, Title: text(), Note: text(), Mentions: []chat.Mention{{ID: "U0AVERY"}}}
		for range facts {
			m.Facts = append(m.Facts, chat.Fact{Label: "Label", Value: text()})
		}
		for i := range sections {
			s := chat.Section{Heading: "Heading", Folded: i%3 == 0}
			for range lines {
				s.Lines = append(s.Lines, text())
			}
			m.Sections = append(m.Sections, s)
		}
		if columns > 0 {
			m.Table = &chat.Table{Caption: "Rows"}
			for range columns {
				m.Table.Columns = append(m.Table.Columns, "Column")
			}
			value := outside()
			for range rows {
				m.Table.Rows = append(m.Table.Rows, []string{value, value, value})
			}
		}
		if options > 0 {
			m.Menu = &chat.Menu{Label: "Choose", Action: "choose"}
			label, detail := outside(), "d"+outside()
			for i := range options {
				m.Menu.Options = append(m.Menu.Options, chat.Option{Label: label, Detail: detail, Value: fmt.Sprint("v", i)})
			}
		}
		for range buttons {
			m.Buttons = append(m.Buttons, chat.Button{
				Label: "Approve", Action: "approve", Value: "v",
				Confirm: &chat.Confirm{Title: "Sure?", Text: text(), Yes: "Yes", No: "No"},
			})
		}
		return m
	}
}

func TestPlainText(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"entities", "a &amp; b &lt;c&gt; &amp;lt;", "a & b <c> &lt;"},
		{"the bot's mention", "<@U0BOT> machine web-01", "machine web-01"},
		{"the bot's mention with name", "<@U0BOT|mdebot>  help", "help"},
		{"another mention", "assign <@U0AVERY|avery>", "assign @U0AVERY"},
		{"a channel", "post <#C0SOC|soc>", "post #soc"},
		{"a broadcast", "<!here> help", "@here help"},
		{"a user group", "<!subteam^S1|@oncall>", "@oncall"},
		{"a linked host name", "machine <http://web-01.corp.example|web-01.corp.example>", "machine web-01.corp.example"},
		{"a bare link", "lookup <https://evil.example/x?a=1&amp;b=2>", "lookup https://evil.example/x?a=1&b=2"},
		{"a decorated link", "lookup <https://evil.example|good.example>", "lookup https://evil.example"},
		{"a linked address", "user <mailto:a@b.example|a@b.example>", "user a@b.example"},
		{"raw comparison", "hunt T | where x < 5 and y > 3", "hunt T | where x < 5 and y > 3"},
		{"an open bracket", "hunt x < 5", "hunt x < 5"},
		{"code fences stay", "hunt ```T | take 1```", "hunt ```T | take 1```"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := plainText(tt.in, "U0BOT"); got != tt.want {
				t.Errorf("plainText(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestEscape(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"control characters", "a & b <c>", "a &amp; b &lt;c&gt;"},
		{"an entity", "&lt;", "&amp;lt;"},
		{"a broadcast", "<!channel>", "&lt;!channel&gt;"},
		{"a name with underscores", "web_01_x", "web_01_x"},
		{"emphasis", "*x* _y_ ~z~ `c`", "∗x∗ ˍyˍ ∼z∼ ˋcˋ"},
		{"an emoji", ":tada:", "∶tada:"},
		{"an address", "http://evil.example", "http[:]//evil.example"},
		{"nothing", "", "–"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := escapeOutside(tt.in, 100); got != tt.want {
				t.Errorf("escapeOutside(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestRender_withoutNoteHasNoSmallPrint(t *testing.T) {
	t.Parallel()
	m := chat.Message{Title: chat.Plain("#142 isolate ws-042: isolated"), Tone: chat.Good}
	if d := render(m); len(d.attachments) != 0 || !strings.Contains(string(encode(t, d)), "✅") {
		t.Errorf("render() = %s with %d attachments, want the sign in the title and nothing else", encode(t, d), len(d.attachments))
	}
	m.Note = chat.Plain("Machine action 1")
	if d := render(m); len(d.attachments) != 1 || d.attachments[0].Color == "" {
		t.Errorf("a note has %d attachments, want one with the tone's colour", len(d.attachments))
	}
}
