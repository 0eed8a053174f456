package chat

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks is how many marks may stand on one letter: no script needs more, and
// a pile of them covers the lines around it.
const maxMarks = 3

func visible(s string, max int) string {
	if plain(s) && (max <= 0 || len(s) <= max) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	n, marks := 0, 0
	alike, word := false, 0 // whether the letters up to word are of scripts that look alike
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if max > 0 && n >= max {
			fmt.Fprintf(&b, "… (+%d)", utf8.RuneCountInString(s[i:]))
			return b.String()
		}
		if unicode.In(r, unicode.Mn, unicode.Me) {
			marks++
		} else {
			marks = 0
		}
		if i >= word {
			alike, word = false, i+size
			if unicode.IsLetter(r) {
				alike, word = looksAlike(s, i)
			}
		}
		escaped := hidden(r) || marks > maxMarks || alike && unicode.In(r, likeLatin...)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case escaped && r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		case escaped:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
		i += size
		n++
	}
	return b.String()
}

// likeLatin are the scripts whose letters pass for Latin ones.
var likeLatin = []*unicode.RangeTable{unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Cherokee, unicode.Coptic, unicode.Lisu, unicode.Osage, unicode.Deseret}

// looksAlike reports whether the word at i mixes Latin letters with some that look
// like them, which no language does and no reader sees, and where it ends
// (threat-model X-05).
func looksAlike(s string, i int) (mixed bool, end int) {
	latin, other := false, false
	for end = i; end < len(s); {
		r, size := utf8.DecodeRuneInString(s[end:])
		if !unicode.IsLetter(r) && !unicode.IsMark(r) {
			break
		}
		latin = latin || unicode.Is(unicode.Latin, r)
		other = other || unicode.In(r, likeLatin...)
		end += size
	}
	return latin && other, end
}

// plain reports text of printable ASCII alone, which is most of what there is and
// shows as it is.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// hidden reports runes that a reader cannot see or that move what is around
// them: controls, formats (bidi, zero-width, tags), what no font has, private
// use, separators, selectors of variants, joiners and fillers that draw nothing,
// and every space but the ordinary one.
func hidden(r rune) bool {
	return r != ' ' && (r == '\u2800' || unicode.In(r, unicode.C, unicode.Z, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector))
}
