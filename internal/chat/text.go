package chat

import (
	"strings"
	"time"
)

// Text is a line of typed spans. Only mdebot's own words can carry meaning to a
// renderer (bold, link, mention); text from outside enters through [Untrusted]
// or [Code] and can never become markup, a mention or a link (threat-model X-01,
// INV-9). The zero value is empty.
type Text []Span

// SpanKind says how a span is drawn.
type SpanKind int

// The kinds of span.
const (
	SpanPlain     SpanKind = iota // our words
	SpanBold                      // our words, emphasised
	SpanUntrusted                 // words from outside, drawn literally
	SpanCode                      // words from outside, drawn literally in fixed width
	SpanLink                      // our words, leading to URL
	SpanTime                      // At, in the reader's own time zone where the platform can
	SpanMention                   // Mention: notifies a person or group
)

// Span is one piece of a Text. Make spans with the functions below rather than
// by hand, so that it stays visible where outside text enters.
type Span struct {
	Kind    SpanKind
	Value   string
	URL     string
	At      time.Time
	Mention Mention
}

// Mention names whom to notify: a Slack user (U…), a Slack user group (S…), or
// a Teams account (object ID or MRI). Values come from configuration or from
// authenticated principals, never from text.
type Mention struct {
	ID    string
	Name  string // shown where the platform needs it
	Group bool
}

// Plain is mdebot's own words.
func Plain(s string) Text { return Text{{Kind: SpanPlain, Value: s}} }

// Bold is mdebot's own words, emphasised.
func Bold(s string) Text { return Text{{Kind: SpanBold, Value: s}} }

// Untrusted is text from Defender, a directory or a person. Renderers draw it
// literally, make control and direction characters visible and cut it at rune
// boundaries with a visible mark.
func Untrusted(s string) Text { return Text{{Kind: SpanUntrusted, Value: s}} }

// Code is like Untrusted, in fixed width: identifiers, paths, command lines, KQL.
func Code(s string) Text { return Text{{Kind: SpanCode, Value: s}} }

// Link is mdebot's own label on an address mdebot built from validated IDs and a
// configured https host. Addresses found in alerts are Untrusted, never links.
func Link(label, url string) Text { return Text{{Kind: SpanLink, Value: label, URL: url}} }

// At is a moment, drawn in the reader's time zone where the platform can and in
// UTC elsewhere.
func At(t time.Time) Text { return Text{{Kind: SpanTime, At: t}} }

// Notify mentions m.
func Notify(m Mention) Text { return Text{{Kind: SpanMention, Mention: m}} }

// Join puts texts one after the other, without anything between.
func Join(parts ...Text) Text {
	var out Text
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// oneLine is t with the line breaks of our own words as spaces. Those of outside text
// are drawn visibly anyway.
func (t Text) oneLine() Text {
	out := make(Text, len(t))
	for i, s := range t {
		if s.Kind != SpanUntrusted && s.Kind != SpanCode && strings.ContainsAny(s.Value, "\r\n") {
			s.Value = strings.Join(strings.FieldsFunc(s.Value, func(r rune) bool { return r == '\r' || r == '\n' }), " ")
		}
		out[i] = s
	}
	return out
}

// String is the text without any drawing, for logs of our own words, previews
// and tests. Outside text in it is still outside text.
func (t Text) String() string {
	var b strings.Builder
	for _, s := range t {
		switch s.Kind {
		case SpanTime:
			b.WriteString(s.At.UTC().Format("2006-01-02 15:04 UTC"))
		case SpanMention:
			b.WriteString("@" + s.Mention.Name)
		default:
			b.WriteString(s.Value)
		}
	}
	return b.String()
}

// Visible makes s safe to look at on one line: control characters, line breaks,
// zero-width and direction-changing characters become visible escapes such as
// "\u202e", and more than max runes are cut with "…" and the number left out
// (threat-model ). max 0 means no limit.
func Visible(s string, max int) string { return visible(s, max) }
