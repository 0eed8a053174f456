package slackbot

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mdebot/mdebot/internal/chat"
)

// nothingShown stands for an outside value that is empty: Slack refuses empty
// text, and dropping the element would let a value change a card's structure.
const nothingShown = "–"

// literal makes an outside value fit to be shown on one line of at most max
// characters. Slack reads no markup in rich_text, raw_text and plain_text, so
// nothing is escaped here; addresses are defanged because clients may link them.
func literal(s string, max int) string {
	return shorten(defang(chat.Visible(s, max)), max)
}

// literalCode is literal for fixed width, where nothing is ever linked.
func literalCode(s string, max int) string {
	return shorten(chat.Visible(s, max), max)
}

// shorten cuts s to max characters with a visible mark. An empty s becomes a
// dash.
func shorten(s string, max int) string {
	if s == "" {
		return nothingShown
	}
	if utf8.RuneCountInString(s) <= max {
		return s
	}
	n := 0
	for i := range s {
		if n == max-1 {
			return s[:i] + "…"
		}
		n++
	}
	return s
}

func defang(s string) string {
	s = strings.ReplaceAll(s, "://", "[:]//")
	return strings.ReplaceAll(s, "mailto:", "mailto[:]")
}

var mrkdwnEntities = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// escape makes our own words safe in mrkdwn.
func escape(s string) string { return mrkdwnEntities.Replace(s) }

// escapeOutside makes an outside value safe in mrkdwn, which only notifications
// and the plain fallback need: no control character, formatting mark, emoji or
// link survives. Marks inside words stay, so that web_01 can still be read.
func escapeOutside(s string, max int) string {
	return escape(neutral(literal(s, max)))
}

var marks = map[rune]rune{'*': '∗', '_': 'ˍ', '~': '∼', '`': 'ˋ'}

func neutral(s string) string {
	runes := []rune(s)
	for i, r := range runes {
		inWord := i > 0 && wordRune(runes[i-1]) && i+1 < len(runes) && wordRune(runes[i+1])
		switch {
		case r == '`', marks[r] != 0 && !inWord:
			runes[i] = marks[r]
		case r == ':' && i+1 < len(runes) && emojiRune(runes[i+1]):
			runes[i] = '∶'
		}
	}
	return string(runes)
}

func wordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

func emojiRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || r == '+' || r == '-' || r == '\''
}

// mrkdwn writes t for Slack's top-level text, in at most max bytes and never
// cutting an entity. Mentions become names: a notification must not notify
// twice.
func mrkdwn(t chat.Text, max int) string {
	var out strings.Builder
	for _, span := range t {
		var s string
		switch span.Kind {
		case chat.SpanUntrusted, chat.SpanCode:
			s = escapeOutside(span.Value, 600)
		default:
			s = escape(strings.ToValidUTF8(chat.Text{span}.String(), "\ufffd"))
		}
		if !appendWithin(&out, s, max) {
			break
		}
	}
	return out.String()
}

// appendWithin appends escaped text while it fits into max bytes, and a mark
// where it was cut. It reports whether all of it fitted.
func appendWithin(out *strings.Builder, s string, max int) bool {
	const mark = "…"
	if out.Len()+len(s)+len(mark) <= max {
		out.WriteString(s)
		return true
	}
	for len(s) > 0 {
		_, size := utf8.DecodeRuneInString(s)
		if s[0] == '&' {
			size = strings.IndexByte(s, ';') + 1 // everything is escaped, so there is one
		}
		if out.Len()+size+len(mark) > max {
			break
		}
		out.WriteString(s[:size])
		s = s[size:]
	}
	if out.Len()+len(mark) <= max {
		out.WriteString(mark)
	}
	return false
}
