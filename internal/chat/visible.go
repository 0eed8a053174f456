package chat

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

func visible(s string, max int) string {
	var b strings.Builder
	n := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if max > 0 && n >= max {
			fmt.Fprintf(&b, "… (+%d)", utf8.RuneCountInString(s[i:]))
			return b.String()
		}
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case hidden(r) && r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		case hidden(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
		i += size
		n++
	}
	return b.String()
}

// hidden reports runes that a reader cannot see or that move what is around
// them: controls, formats (bidi, zero-width, tags), line separators, private use
// and every space but the ordinary one.
func hidden(r rune) bool {
	switch {
	case r == ' ':
		return false
	case r == '\u115f', r == '\u1160', r == '\u3164', r == '\uffa0', r == '\u2800':
		return true // letters and symbols that draw nothing
	case r >= 0xfe00 && r <= 0xfe0f, r >= 0xe0100 && r <= 0xe01ef:
		return true // variation selectors
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp, unicode.Zs)
}
