package cards

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// Portal builds addresses of the Defender portal from IDs it has validated. It
// returns "" for an ID that does not have the form of one.
type Portal interface {
	Alert(id string) string
	Machine(id string) string
	Incident(id int64) string
	// Suppressions is where Defender itself is told to keep alerts quiet.
	Suppressions() string
}

func alertURL(p Portal, id string) string {
	if p == nil || id == "" {
		return ""
	}
	return p.Alert(id)
}

func machineURL(p Portal, id string) string {
	if p == nil || id == "" {
		return ""
	}
	return p.Machine(id)
}

// OpenInDefender is the button that leads to a machine's page, or nothing without
// an address.
func OpenInDefender(p Portal, machineID string) []chat.Button {
	return openInDefender(machineURL(p, machineID))
}

// openInDefender is a link button, or nothing without an address.
func openInDefender(url string) []chat.Button {
	if !strings.HasPrefix(url, "https://") {
		return nil
	}
	return []chat.Button{{Label: "Open in Defender", URL: url}}
}

// labelled is one value on one line: our label, then the value.
func labelled(label string, value chat.Text) chat.Text {
	return chat.Join(chat.Bold(label+": "), value)
}

// sentence puts a space between parts and leaves out empty ones.
func sentence(parts ...chat.Text) chat.Text { return separated(" ", parts) }

// dotted puts " · " between parts and leaves out empty ones.
func dotted(parts ...chat.Text) chat.Text { return separated(" · ", parts) }

func separated(by string, parts []chat.Text) chat.Text {
	var out chat.Text
	for _, p := range parts {
		if len(p) == 0 {
			continue
		}
		if len(out) > 0 {
			out = append(out, chat.Plain(by)...)
		}
		out = append(out, p...)
	}
	return out
}

// outside is s drawn literally, or a dash when there is nothing.
func outside(s string) chat.Text {
	if s == "" {
		return chat.Plain("–")
	}
	return chat.Untrusted(s)
}

// code is s drawn literally in fixed width, or a dash when there is nothing.
func code(s string) chat.Text {
	if s == "" {
		return chat.Plain("–")
	}
	return chat.Code(s)
}

// codeLines is text of several lines that has to keep them, such as a query or a
// piece of YAML: each is a line of its own in fixed width.
func codeLines(s string) []chat.Text {
	var lines []chat.Text
	for line := range strings.Lines(s) {
		lines = append(lines, chat.Code(strings.TrimRight(line, "\r\n")))
	}
	return lines
}

// list is outside values with commas between, or a dash.
func list(values []string) chat.Text {
	if len(values) == 0 {
		return chat.Plain("–")
	}
	parts := make([]chat.Text, len(values))
	for i, v := range values {
		parts[i] = chat.Untrusted(v)
	}
	return separated(", ", parts)
}

// listWithin is list with at most room characters of values; what does not fit is
// counted.
func listWithin(values []string, room int) chat.Text {
	for i, v := range values {
		v = chat.Visible(v, 0)
		if n := utf8.RuneCountInString(v); n <= room {
			room -= n
			continue
		}
		shown := values[:i:i]
		if i == 0 {
			shown, i = []string{within(v, room)}, 1
		}
		if i < len(values) {
			return chat.Join(list(shown), chat.Plain(" and "+plural(len(values)-i, "more", "more")))
		}
		return list(shown)
	}
	return list(values)
}

// within is s made visible in at most n characters; a cut is marked.
func within(s string, n int) string {
	v := chat.Visible(s, 0)
	if utf8.RuneCountInString(v) <= n {
		return s
	}
	return string([]rune(v)[:n-1]) + "…"
}

// when is a moment, or "unknown".
func when(t time.Time) chat.Text {
	if t.IsZero() {
		return chat.Plain("unknown")
	}
	return chat.At(t)
}

// notRead says that a fact is missing and why.
func notRead(why string) chat.Text {
	return chat.Join(chat.Plain("could not be read ("), chat.Untrusted(why), chat.Plain(")"))
}

// plural is "1 machine" or "3 machines".
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// severityTone says how an alert of severity s feels.
func severityTone(s defender.Severity) chat.Tone {
	switch s {
	case defender.High:
		return chat.Danger
	case defender.Medium:
		return chat.Warning
	case defender.Low:
		return chat.Notice
	default:
		return chat.Neutral
	}
}

// severityWord is how severity s is said.
func severityWord(s defender.Severity) chat.Text {
	switch s {
	case defender.High, defender.Medium, defender.Low, defender.Informational:
		return chat.Plain(string(s))
	case defender.UnSpecified, "":
		return chat.Plain("No severity")
	default:
		return chat.Untrusted(string(s))
	}
}
