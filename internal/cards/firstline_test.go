package cards

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// longestFirstLine is what phones show of a notification, and some more.
const longestFirstLine = 180

// Every card tells in one line of plain words what it is about, for a lock screen and
// a screen reader, and every picture has a text alternative.
func TestCards_firstLine(t *testing.T) {
	t.Parallel()
	all := otherCards(t)
	for name, r := range requestInEveryState(t) {
		all["request_"+name], all["request_reply_"+name] = Request(RequestView{Request: r, Portal: portal{}}), RequestReply(r)
	}
	all["request of many"] = Request(RequestView{Request: sampleRequest(t, approvals.Pending, 25), Portal: portal{}})
	looked := LookupResult{Observable: Observable{Kind: ObservableIP, Value: "203.0.113.9"}}
	mv := sampleMachine()
	all["lookup"] = Lookup(LookupView{Results: []LookupResult{looked}})
	all["lookup of several"] = Lookup(LookupView{Results: []LookupResult{looked, looked}, Machines: []defender.Machine{mv.Machine}, Left: []string{"a.example"}})
	all["user"] = User(UserView{Account: "sam"})
	all["hunt with a picture"] = Hunt(HuntView{
		Query: "DeviceInfo", Columns: []string{"A", "B"}, Rows: [][]string{{"x", "1"}, {"y", "2"}}, Total: 2,
		Picture: ChartOf([]string{"A", "B"}, []string{"String", "Int64"}, [][]string{{"x", "1"}, {"y", "2"}}),
	})
	if all["hunt with a picture"].Picture == nil {
		t.Fatal("a ranking has no picture")
	}
	for name, m := range all {
		line := drawnLine(m.FirstLine())
		switch {
		case len(m.Title) == 0:
			t.Errorf("%s has no title", name)
		case strings.TrimSpace(line) == "" || line == "mdebot":
			t.Errorf("%s says nothing in one line", name)
		case strings.ContainsAny(line, "\r\n") || strings.Contains(line, "**") || strings.HasPrefix(line, "*"):
			t.Errorf("%s begins with %q, want one line without markup", name, line)
		case utf8.RuneCountInString(line) > longestFirstLine && !strings.HasSuffix(name, "hostile"):
			t.Errorf("%s begins with %d characters, want at most %d: %q", name, utf8.RuneCountInString(line), longestFirstLine, line)
		}
		for _, s := range m.FirstLine() {
			if s.Kind == chat.SpanLink || s.Kind == chat.SpanMention {
				t.Errorf("%s: a link or a mention is in the first line: %q", name, line)
			}
		}
		if m.Picture != nil && len(m.Picture.Alt) < 20 {
			t.Errorf("%s: the picture's alternative is %q", name, m.Picture.Alt)
		}
	}
}

// drawnLine is t as renderers draw it: what is hidden in outside text becomes visible.
func drawnLine(t chat.Text) string {
	var b strings.Builder
	for _, s := range t {
		if s.Kind == chat.SpanUntrusted || s.Kind == chat.SpanCode {
			s.Value = chat.Visible(s.Value, 0)
		}
		b.WriteString(chat.Text{s}.String())
	}
	return b.String()
}
