package teamsbot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/mdebot/mdebot/internal/chat"
)

// hostile is text that tries to be structure on Teams.
var hostile = []string{
	"<at>everyone</at>", "[click](https://evil.example)", "**bold** _it_ `code`", "{{DATE(2026-11-21T10:00:00Z)}}",
	"line\none", "\u202egnp.exe", "zero\u200bwidth", "\x00\x1b[31m", "a\xffb", `"},{"type":"Action.OpenUrl"`,
	"<script>alert(1)</script>", "![x](http://evil.example/x.png)", strings.Repeat("é", 3000), "\U000e0041tag",
}

func full(text string) chat.Message {
	at := time.Date(2026, 11, 21, 10, 30, 0, 0, time.UTC)
	return chat.Message{
		Preview: chat.Join(chat.Plain("High: "), chat.Untrusted(text)),
		Title:   chat.Join(chat.Plain("High alert: "), chat.Untrusted(text)),
		Tone:    chat.Danger,
		Facts: []chat.Fact{
			{Label: "Machine", Value: chat.Code(text)},
			{Label: "User", Value: chat.Untrusted(text)},
			{Label: "First seen", Value: chat.At(at)},
			{Label: "Seen by", Value: chat.Join(chat.Untrusted(text), chat.Plain(" at "), chat.At(at))},
			{Label: "Portal", Value: chat.Link("Open in Defender", "https://security.microsoft.com/alerts/1")},
			{Label: "Status", Value: nil},
		},
		Sections: []chat.Section{
			{Heading: "Evidence", Lines: []chat.Text{chat.Code(text), chat.Join(chat.Bold("Process "), chat.Untrusted(text))}},
			{Heading: "History", Folded: true, Lines: []chat.Text{chat.Plain("Nothing before."), chat.Untrusted(text)}},
		},
		Table: &chat.Table{
			Caption: "Logons", Columns: []string{"Time", "Account", "Machine", "Type", "Result", "Port"},
			Rows:  [][]string{{"10:00", text, text, "Network", "ok", "445"}, {"10:01"}},
			Total: 200,
		},
		Picture: &chat.Picture{PNG: []byte("\x89PNG"), Alt: "Alerts by severity: " + text},
		Menu: &chat.Menu{Label: "Which machine?", Action: "machine.show", Options: []chat.Option{
			{Label: text, Detail: text, Value: "m1"}, {Label: "web-02", Value: "m2"},
		}},
		Buttons: append(approval().Buttons,
			chat.Button{Label: "Assign to me", Action: "alert.assign", Value: "a1"},
			chat.Button{Label: "Comment", Action: "alert.comment", Value: "a1"},
			chat.Button{Label: "Resolve", Action: "alert.resolve", Value: "a1"},
			chat.Button{Label: "Bad link", URL: "javascript:alert(1)"},
		),
		Mentions: []chat.Mention{{ID: riley, Name: "Riley Chen"}, {ID: "29:1avery", Name: "Avery Diaz"}, {ID: "S0GROUP", Name: "on call", Group: true}},
		Note:     chat.Plain("Shown as Defender knew it at 10:31."),
	}
}

// barred is a ranking in which text has the highest value.
func barred(text string) chat.Message {
	return chat.Message{Title: chat.Plain("Hunt: 2 rows"), Picture: &chat.Picture{
		PNG: []byte("\x89PNG"), Alt: "Bar chart of Count by " + text,
		Chart: &chat.Chart{Title: "Count by " + text, Points: []string{text, "web-02"}, Series: []chat.Series{{Name: "Count", Values: []float64{7, 3}}}},
	}}
}

func TestRender_golden(t *testing.T) {
	t.Parallel()
	form := formCard{
		form: reasonForm, key: "KEY",
		values: map[string]string{"reason": "<b>x</b>"}, errors: map[string]string{"reason": "Say a little more."},
	}
	dialog := form
	dialog.dialog = true
	lines := chat.Message{Title: chat.Plain("Hunt: 3 rows"), Picture: &chat.Picture{PNG: []byte("\x89PNG"), Alt: "Line chart of 3 points", Chart: &chat.Chart{
		Title: "Logons, Failures (UTC)", Lines: true, Points: []string{"20 Nov 10:00", "20 Nov 11:00", "20 Nov 12:00"},
		Series: []chat.Series{{Name: "Logons", Values: []float64{1, 2.5, 9007199254740993}}, {Name: "Failures", Values: []float64{0, 0, 1}}},
	}}}
	many := chat.Message{Title: chat.Plain("Which one?"), Menu: &chat.Menu{Action: "machine.show"}}
	for i := range 70 {
		many.Menu.Options = append(many.Menu.Options, chat.Option{Label: fmt.Sprintf("web-%02d", i), Detail: "active", Value: fmt.Sprint(i)})
	}
	views := card(approval())
	withViews(views, differing().Views, []string{"29:1" + avery, "29:1" + riley})
	for name, got := range map[string]object{
		"answer_preview": linkAnswer(new(withoutTable(full(strings.Join(hostile[:12], " "))))),
		"answer_find":    findAnswer([]chat.Message{withoutTable(full(strings.Join(hostile[:12], " ")))}),
		"approval_views": views,
		"minimum":        card(*titled("pong")),
		"approval":       card(approval()),
		"alert":          card(full("web-01")),
		"hostile":        card(full(strings.Join(hostile[:12], " "))),
		"menu_of_many":   card(many),
		"chart_lines":    card(lines),
		"chart_bars":     card(barred("web-01")),
		"chart_hostile":  card(barred(strings.Join(hostile[:12], " "))),
		"file_note":      card(*titled("2 rows"), fileNotes([]chat.File{{Name: "hunt.csv", Content: make([]byte, 4096)}}, "You can save %s from the message below.")...),
		"form":           form.card(),
		"dialog":         taskCard(reasonForm.Title, dialog.card()),
		"answer_note":    cardNote("You asked for this yourself."),
		"answer_error":   cardError("Reason is needed"),
		"activity_post":  message(summary(approval()), object{"contentType": cardContentType, "content": card(approval())}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			if err := json.Indent(&b, encode(got), "", "  "); err != nil {
				t.Fatal(err)
			}
			b.WriteByte('\n')
			path := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v; run go test with -update", err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("card differs from %s (-want +got):\n%s", path, diff)
			}
		})
	}
}

// withoutTable is m as far as a preview goes.
func withoutTable(m chat.Message) chat.Message {
	m.Table, m.Picture = nil, nil
	return m
}

// cardSchema is Microsoft's own schema of Adaptive Cards 1.5, when it is at hand.
func cardSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	contracts := os.Getenv("MDEBOT_CONTRACTS")
	if contracts == "" {
		contracts = filepath.Join("..", "..", "..", "shared")
	}
	path := filepath.Join(contracts, "reference", "adaptive-card.schema.json")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no contract at %s; set MDEBOT_CONTRACTS to check cards against Microsoft's schema", path)
	}
	s, err := jsonschema.NewCompiler().Compile(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRender_cardsAreValid(t *testing.T) {
	t.Parallel()
	s := cardSchema(t)
	messages := map[string]chat.Message{"minimum": *titled("pong"), "empty": {}, "approval": approval(), "full": full("web-01")}
	for i, h := range hostile {
		messages[fmt.Sprintf("hostile %d", i)] = full(h)
		messages[fmt.Sprintf("hostile chart %d", i)] = barred(h)
	}
	cards := map[string]object{}
	for name, m := range messages {
		cards[name] = card(m)
	}
	cards["preview"] = previewCard(withoutTable(full("web-01")))["content"].(object)
	cards["views"] = card(approval())
	withViews(cards["views"], differing().Views, []string{"29:1" + avery})
	cards["form"] = formCard{form: reasonForm, key: "k", errors: map[string]string{"reason": "x", "": "y"}}.card()
	cards["dialog"] = formCard{form: reasonForm, key: "k", dialog: true}.card()
	for name, c := range cards {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(encode(c)))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(withoutTeams(v)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := card(approval())
	broken["body"] = []object{{"type": "TextBlok"}}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(encode(broken)))
	if err != nil {
		t.Fatal(err)
	}
	if s.Validate(withoutTeams(v)) == nil {
		t.Error("the schema takes anything")
	}
}

// withoutTeams removes what only Teams knows, which the schema counts as errors: of
// newer elements what stands in for them is left.
func withoutTeams(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if kind, _ := v["type"].(string); strings.HasPrefix(kind, "Chart.") {
			return withoutTeams(v["fallback"])
		}
		out := map[string]any{}
		for k, e := range v {
			if k != "msteams" {
				out[k] = withoutTeams(e)
			}
		}
		// Teams searches in cards of 1.5, which the schema knows since 1.6.
		if _, searches := out["choices.data"]; searches {
			delete(out, "choices.data")
			delete(out, "style")
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = withoutTeams(e)
		}
		return out
	}
	return v
}

// structure is a card without the words that draw outside text literally: what
// is left must not depend on that text.
func structure(t *testing.T, c object) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(encode(c), &v); err != nil {
		t.Fatal(err)
	}
	var strip func(v any) any
	strip = func(v any) any {
		switch v := v.(type) {
		case []any:
			for i := range v {
				v[i] = strip(v[i])
			}
		case map[string]any:
			literalText := v["type"] == "TextRun" || v["type"] == "Action.Execute" || v["type"] == "Action.Submit"
			for _, k := range slices.Sorted(maps.Keys(v)) {
				if literalText && (k == "text" || k == "title") || k == "altText" {
					v[k] = "words"
					continue
				}
				v[k] = strip(v[k])
			}
		}
		return v
	}
	return strip(v)
}

func TestRender_structureIsIndependentOfOutsideText(t *testing.T) {
	t.Parallel()
	want := structure(t, card(full("web-01")))
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.OneOf(rapid.SampledFrom(hostile[:12]), rapid.StringN(1, 60, -1)).Draw(rt, "text")
		got := card(full(text))
		if s := structure(t, got); !reflect.DeepEqual(want, s) {
			rt.Fatalf("text %q changes the structure:\n%s", text, cmp.Diff(want, s))
		}
		if data := encode(got); !utf8.Valid(data) || len(data) > maxCard {
			rt.Fatalf("text %q: %d bytes, valid %v", text, len(data), utf8.Valid(data))
		}
	})
}

func TestRender_outsideTextIsNeverMarkdown(t *testing.T) {
	t.Parallel()
	for _, h := range hostile {
		var walk func(v reflect.Value)
		walk = func(v reflect.Value) {
			switch v.Kind() {
			case reflect.Interface:
				walk(v.Elem())
			case reflect.Slice:
				for i := range v.Len() {
					walk(v.Index(i))
				}
			case reflect.Map:
				o := v.Interface().(object)
				if text, _ := o["text"].(string); o["type"] == "TextBlock" && strings.Contains(text, h) {
					t.Errorf("outside text %q stands in a TextBlock", h)
				}
				for _, e := range o {
					walk(reflect.ValueOf(e))
				}
			}
		}
		walk(reflect.ValueOf(card(full(h))))
	}
}

func TestRender_cutsAreVisibleAndFit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := func(name string, most int) int { return rapid.IntRange(0, most).Draw(rt, name) }
		text := strings.Repeat(rapid.SampledFrom([]string{"a", "é", "\u202e", "\x00", "\xff", "\U000e0041", `"`, "<"}).Draw(rt, "rune"), max(1, n("length", 600)))
		m := chat.Message{Title: chat.Untrusted(text), Note: chat.Untrusted(text)}
		facts, lines, rows, options := n("facts", 50), n("lines", 130), n("rows", 25), n("options", 65)
		for range facts {
			m.Facts = append(m.Facts, chat.Fact{Label: "Label", Value: chat.Untrusted(text)})
		}
		s := chat.Section{Heading: "Lines", Folded: rapid.Bool().Draw(rt, "folded")}
		for range lines {
			s.Lines = append(s.Lines, chat.Code(text))
		}
		m.Sections = []chat.Section{s}
		m.Table = &chat.Table{Columns: []string{text, "b", "c", "d", "e"}}
		for range rows {
			m.Table.Rows = append(m.Table.Rows, []string{text, text, text, text})
		}
		m.Menu = &chat.Menu{Action: "a"}
		for range options {
			m.Menu.Options = append(m.Menu.Options, chat.Option{Label: text, Detail: text, Value: "v"})
		}
		for range n("buttons", 20) {
			m.Buttons = append(m.Buttons, chat.Button{Label: text, Action: "a", Value: strings.Repeat("v", 80)})
		}
		data := encode(card(m))
		if len(data) > maxCard || !utf8.Valid(data) {
			rt.Fatalf("%d bytes, valid %v", len(data), utf8.Valid(data))
		}
		drawn := string(data)
		if strings.Contains(drawn, "too large to show") {
			return
		}
		for part, cut := range map[string]bool{
			`more values? left out`:       strings.Count(drawn, `"text":"Label"`) < facts,
			`more lines? left out`:        !s.Folded && strings.Count(drawn, "Monospace") < lines,
			fmt.Sprintf(" of %d\"", rows): strings.Count(drawn, `"TableRow"`)-1 < rows,
		} {
			if cut && !regexp.MustCompile(part).MatchString(drawn) {
				rt.Fatalf("something was left out without %q", part)
			}
		}
	})
}

func TestRender_largePictureDoesNotCountButIsBounded(t *testing.T) {
	t.Parallel()
	m := *titled("chart")
	m.Picture = &chat.Picture{PNG: make([]byte, maxPicture), Alt: "alerts by day"}
	if got := string(encode(card(m))); !strings.Contains(got, "data:image/png;base64,") {
		t.Error("a picture of the largest size is not drawn")
	}
	m.Picture.PNG = make([]byte, maxPicture+1)
	if got := string(encode(card(m))); strings.Contains(got, "base64") || !strings.Contains(got, "Picture left out, it is too large: alerts by day") {
		t.Errorf("card = %.200s, want the alternative text", got)
	}
}

func TestRender_mentionsOfEqualNames(t *testing.T) {
	t.Parallel()
	m := *titled("x")
	m.Mentions = []chat.Mention{{ID: riley, Name: "Sam"}, {ID: avery, Name: "Sam"}, {ID: riley, Name: "Sam"}}
	c := card(m)
	entities := c["msteams"].(object)["entities"].([]object)
	if len(entities) != 2 || entities[0]["text"] == entities[1]["text"] {
		t.Errorf("entities = %v, want two that can be told apart", entities)
	}
}

func TestNote_isPlain(t *testing.T) {
	t.Parallel()
	for _, h := range hostile {
		got := note(chat.Join(chat.Plain("by "), chat.Untrusted(h)))
		if strings.ContainsAny(got, "<>\n\x00\x1b") || strings.Contains(strings.ReplaceAll(got, `\[`, ""), "[") || !utf8.ValidString(got) {
			t.Errorf("note(%q) = %q, want no markup", h, got)
		}
	}
}

func TestLine_showsMomentsAsItsNeighboursDo(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	const local = "{{DATE(2026-11-21T12:00:00Z, SHORT)}} {{TIME(2026-11-21T12:00:00Z)}}"
	for name, tc := range map[string]struct {
		line chat.Text
		want []string
	}{
		"our own words":         {chat.Join(chat.Plain("Decide by "), chat.At(at)), []string{`"text":"Decide by ` + local}},
		"before outside text":   {chat.Join(chat.At(at), chat.Plain(" approved by "), chat.Untrusted("**Avery** {{DATE(x)}}")), []string{`"text":"` + local + `"`, `"text":"approved by "`, `"text":"**Avery** { {DATE(x)}}"`}},
		"behind outside text":   {chat.Join(chat.Untrusted("ws-042"), chat.Plain(" last seen "), chat.At(at)), []string{`"text":"2026-11-21 12:00 UTC"`}},
		"outside text, no time": {chat.Untrusted("ws-042"), []string{`{"inlines":[{"text":"ws-042","type":"TextRun"}],"type":"RichTextBlock"}`}},
	} {
		got := string(encode(newDrawing(steps[0]).line(tc.line, look{})))
		for _, want := range tc.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: line = %s, want %s", name, got, want)
			}
		}
		if strings.Contains(got, "{{DATE(x)}}") {
			t.Errorf("%s: line = %s expands outside text", name, got)
		}
	}
}

// No address from outside is left for a client to make a link of; those that
// mdebot builds itself stay whole.
func TestRender_addressesFromOutsideAreDefanged(t *testing.T) {
	t.Parallel()
	const outside = "see https://evil.example/a, ftp://evil.example and mailto:x@evil.example"
	drawn := string(encode(card(full(outside))))
	for _, address := range []string{"https://evil", "ftp://evil", "mailto:x"} {
		if strings.Contains(drawn, address) {
			t.Errorf("%s is in the card: %s", address, drawn)
		}
	}
	if !strings.Contains(drawn, "https[:]//evil.example") || !strings.Contains(drawn, `"url":"https://`) {
		t.Errorf("the address cannot be read, or our own link is gone: %s", drawn)
	}
	if got := note(chat.Untrusted(outside)); strings.Contains(got, "://") {
		t.Errorf("note() = %q", got)
	}
}

// A client's own chart always has the picture to fall back to, and a message with many
// points has the picture alone.
func TestRender_charts(t *testing.T) {
	t.Parallel()
	m := barred("web-01")
	first := func() object { return card(m)["body"].([]object)[1] }
	if e := first(); e["type"] != "Chart.HorizontalBar" || e["fallback"].(object)["type"] != "Image" || e["fallback"].(object)["altText"] == "" {
		t.Errorf("drawn as %v, want a chart with the picture behind it", e)
	}
	m.Picture.PNG = make([]byte, 500<<10)
	if e := first(); e["type"] != "Chart.HorizontalBar" {
		t.Errorf("the picture behind the chart counts: %v", e["type"])
	}
	for range maxChartPoints {
		m.Picture.Chart.Points = append(m.Picture.Chart.Points, "x")
		m.Picture.Chart.Series[0].Values = append(m.Picture.Chart.Series[0].Values, 1)
	}
	if e := first(); e["type"] != "Image" {
		t.Errorf("%d points are drawn as %v, want the picture", len(m.Picture.Chart.Points), e["type"])
	}
}
