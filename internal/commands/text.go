package commands

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// withoutPrefix removes blanks, a code fence around everything, and a leading
// "/mde", "mde" or "mdebot".
func withoutPrefix(text string) string {
	text = unfenced(strings.TrimSpace(strings.TrimPrefix(text, "\ufeff")))
	for _, p := range []string{"/mde", "@mdebot", "mdebot", "mde"} {
		if len(text) >= len(p) && strings.EqualFold(text[:len(p)], p) {
			rest := text[len(p):]
			if trimmed := strings.TrimSpace(rest); rest == "" || !strings.HasPrefix(rest, trimmed) {
				return trimmed
			}
		}
	}
	return text
}

// unfenced removes a code fence (``` or `) that surrounds all of s, also with a
// language word after the opening one.
func unfenced(s string) string {
	for _, fence := range []string{"```", "`"} {
		inner, ok := strings.CutPrefix(s, fence)
		if !ok || len(inner) < len(fence) {
			continue
		}
		inner, ok = strings.CutSuffix(inner, fence)
		if !ok || strings.Contains(inner, fence) {
			continue
		}
		if first, rest, many := strings.Cut(inner, "\n"); many && fence == "```" && isLanguage(first) {
			inner = rest
		}
		return strings.TrimSpace(inner)
	}
	return s
}

// isLanguage reports the word that may follow an opening fence.
func isLanguage(s string) bool {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "kql", "kusto", "text", "sql":
		return true
	}
	return false
}

// token is one word of a command. Text is a literal part of what was typed:
// nothing is unescaped, joined or replaced in it.
type token struct {
	text   string
	start  int // in the text that was split
	end    int
	quoted bool
	// flag is the name after the dashes, in lower case; hasValue tells that text
	// is the value that followed "=".
	flag     string
	hasValue bool
}

// errUnterminated reports a quotation mark without its partner.
type errUnterminated struct{ rest string }

func (e *errUnterminated) Error() string { return fmt.Sprintf("no closing quote after %q", e.rest) }

// split cuts s into tokens. A quotation mark, straight or curly, counts at the
// beginning of a word or after a flag's "="; inside a word it is a letter.
func split(s string) ([]token, error) {
	var tokens []token
	for i := skipSpace(s, 0); i < len(s); {
		t, err := nextToken(s, i)
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, t)
		i = skipSpace(s, t.end)
	}
	return tokens, nil
}

// skipSpace returns where the next word begins. Hard and wide spaces, which
// phones and rich editors insert, are spaces.
func skipSpace(s string, from int) int {
	n := strings.IndexFunc(s[from:], func(r rune) bool { return !unicode.IsSpace(r) })
	if n < 0 {
		return len(s)
	}
	return from + n
}

func nextToken(s string, start int) (token, error) {
	if _, ok := quoteAt(s[start:]); ok {
		text, end, err := quotedAt(s, start)
		return token{text: text, start: start, end: end, quoted: true}, err
	}
	end := len(s)
	if n := strings.IndexFunc(s[start:], unicode.IsSpace); n >= 0 {
		end = start + n
	}
	word := s[start:end]
	name, isFlag := flagName(word)
	if !isFlag {
		return token{text: word, start: start, end: end}, nil
	}
	name, value, hasValue := strings.Cut(name, "=")
	t := token{start: start, end: end, flag: strings.ToLower(name), text: value, hasValue: hasValue}
	if hasValue {
		if _, ok := quoteAt(value); ok {
			text, end, err := quotedAt(s, start+strings.IndexByte(word, '=')+1)
			t.text, t.end = text, end
			return t, err
		}
	}
	return t, nil
}

// flagName returns what follows the dashes of a flag. Phones turn two hyphens
// into one long dash.
func flagName(word string) (string, bool) {
	for _, dashes := range []string{"--", "—", "––", "–"} {
		if name, ok := strings.CutPrefix(word, dashes); ok && name != "" && isLetter(name[0]) {
			return name, true
		}
	}
	return "", false
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

// closers are the marks that may end what each opening mark began.
var closers = map[rune]string{
	'"': `"”“`, '“': `”"“`, '”': `”"`, '„': `“”"`, '«': `»`,
	'\'': "'’", '‘': "’'", '’': "’'",
}

func quoteAt(s string) (closing string, ok bool) {
	r, _ := utf8.DecodeRuneInString(s)
	closing, ok = closers[r]
	return closing, ok
}

// quotedAt reads the quoted text that begins at start. The closing mark is the
// first one that ends a word, so that an apostrophe inside does not.
func quotedAt(s string, start int) (text string, end int, err error) {
	closing, _ := quoteAt(s[start:])
	_, width := utf8.DecodeRuneInString(s[start:])
	from := start + width
	for i := from; i < len(s); {
		r, width := utf8.DecodeRuneInString(s[i:])
		after := i + width
		if strings.ContainsRune(closing, r) && (after == len(s) || skipSpace(s, after) > after) {
			return s[from:i], after, nil
		}
		i = after
	}
	return "", 0, &errUnterminated{rest: s[from:]}
}
