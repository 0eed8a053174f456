package app

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf16"

	"github.com/mdebot/mdebot/internal/chat"
)

// scrubber is the last line before a log or a terminal: what is configured as a
// secret or has the shape of one is masked, and what would move a cursor or the
// direction of writing becomes visible (threat-model C-03, X-08). No part counts
// on it.
type scrubber struct {
	to   io.Writer
	mask *masks // nil masks nothing by its value
}

func newScrubber(to io.Writer, m *masks) scrubber { return scrubber{to: to, mask: m} }

// masks are the values to be hidden. They grow when secrets are replaced: the old
// one may still be on its way into a log.
type masks struct {
	mu       sync.Mutex
	values   []string
	replacer atomic.Pointer[strings.Replacer]
}

func newMasks(secrets []string) *masks {
	m := &masks{}
	m.add(secrets)
	return m
}

func (m *masks) add(secrets []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range secrets {
		if len(s) >= 8 && !slices.Contains(m.values, s) { // a shorter one would mask words
			m.values = append(m.values, s)
		}
	}
	// The longest first: a secret may begin with another one.
	slices.SortFunc(m.values, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, s := range m.values {
		pairs = append(pairs, s, "[secret]", quoted(s, true), "[secret]", quoted(s, false), "[secret]")
	}
	m.replacer.Store(strings.NewReplacer(pairs...))
}

func (m *masks) in(text string) string {
	if m == nil {
		return text
	}
	return m.replacer.Load().Replace(text)
}

// quoted is s as it stands inside a string of JSON.
func quoted(s string, html bool) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(html)
	_ = enc.Encode(s) // a string always encodes
	return strings.Trim(b.String(), "\n")[1 : b.Len()-2]
}

// Write takes whole lines, as slog and fmt write them.
func (s scrubber) Write(p []byte) (int, error) {
	text := chat.WithoutSecrets(s.mask.in(string(p)))
	if i := strings.IndexFunc(text, moves); i >= 0 {
		var b strings.Builder
		for _, r := range text {
			switch {
			case !moves(r):
				b.WriteRune(r)
			case r > 0xffff: // JSON writes these as two
				high, low := utf16.EncodeRune(r)
				fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
			default:
				fmt.Fprintf(&b, `\u%04x`, r)
			}
		}
		text = b.String()
	}
	if _, err := io.WriteString(s.to, text); err != nil {
		return 0, err
	}
	return len(p), nil
}

// moves reports controls and formats: all but the ends of lines and columns.
func moves(r rune) bool {
	return r != '\n' && r != '\t' && r != '\r' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}
