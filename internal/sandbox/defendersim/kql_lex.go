package defendersim

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// huntToken is a word, literal or sign of a hunting query.
type huntToken struct {
	kind      huntKind
	text      string // of a string literal: its value
	line, col int
}

type huntKind int

const (
	huntEnd huntKind = iota
	huntName
	huntString
	huntNumber // also time spans, such as 7d
	huntSign
)

// signs are tried in order, the longer before the shorter.
var signs = []string{"==", "!=", "=~", "!~", ">=", "<=", "..", "|", "(", ")", ",", ">", "<", "=", ";", "*", "!"}

// lexHunt splits a query. Comments run from // to the end of the line.
func lexHunt(query string) ([]huntToken, error) {
	var tokens []huntToken
	line, lineStart := 1, 0
	for i := 0; i < len(query); {
		r, size := utf8.DecodeRuneInString(query[i:])
		at := huntToken{line: line, col: i - lineStart + 1}
		switch {
		case r == '\n':
			line, lineStart = line+1, i+1
			i++
		case unicode.IsSpace(r):
			i += size
		case strings.HasPrefix(query[i:], "//"):
			if end := strings.IndexByte(query[i:], '\n'); end >= 0 {
				i += end
			} else {
				i = len(query)
			}
		case r == '"' || r == '\'' || r == '@' && i+1 < len(query) && (query[i+1] == '"' || query[i+1] == '\''):
			value, next, ok := huntLiteral(query, i)
			if !ok {
				at.text = query[i:]
				return nil, parseError(at)
			}
			at.kind, at.text = huntString, value
			tokens = append(tokens, at)
			i = next
		case r >= '0' && r <= '9':
			end := i
			for end < len(query) && isNamePart(rune(query[end])) {
				end++
			}
			at.kind, at.text = huntNumber, query[i:end]
			tokens = append(tokens, at)
			i = end
		case isNamePart(r):
			end := i
			for end < len(query) && (isNamePart(rune(query[end])) || query[end] == '-' && hyphenated(query[i:end])) {
				end++
			}
			if end < len(query) && query[end] == '~' && strings.EqualFold(query[i:end], "in") {
				end++
			}
			at.kind, at.text = huntName, query[i:end]
			tokens = append(tokens, at)
			i = end
		default:
			sign := query[i : i+size]
			for _, s := range signs {
				if strings.HasPrefix(query[i:], s) {
					sign = s
					break
				}
			}
			at.kind, at.text = huntSign, sign
			tokens = append(tokens, at)
			i += len(sign)
		}
	}
	return append(tokens, huntToken{line: line, col: len(query) - lineStart + 1, text: "<end>"}), nil
}

func isNamePart(r rune) bool {
	return r == '_' || r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r))
}

// hyphenated reports whether a name goes on after a hyphen; only operators do.
func hyphenated(name string) bool { return name == "project" || name == "mv" }

// huntLiteral reads the string literal at i: with backslash escapes, or verbatim
// after an @, where a doubled quote stands for one.
func huntLiteral(query string, i int) (value string, next int, ok bool) {
	verbatim := query[i] == '@'
	if verbatim {
		i++
	}
	quote := query[i]
	var b strings.Builder
	for i++; i < len(query); i++ {
		c := query[i]
		switch {
		case c == '\n':
			return "", i, false
		case c == quote && verbatim && i+1 < len(query) && query[i+1] == quote:
			b.WriteByte(quote)
			i++
		case c == quote:
			return b.String(), i + 1, true
		case c == '\\' && !verbatim && i+1 < len(query):
			i++
			b.WriteString(unescaped(query[i]))
		default:
			b.WriteByte(c)
		}
	}
	return "", i, false
}

func unescaped(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case 'r':
		return "\r"
	}
	return string(c)
}

func parseError(t huntToken) error {
	return badRequest("BadRequest", "Query could not be parsed at '%s' on line [%d,%d]. Token: %s, Line: %d, Position: %d. Fix syntax errors in your query.",
		t.text, t.line, t.col, t.text, t.line, t.col)
}

func semanticError(operator, format string, args ...any) error {
	return badRequest("BadRequest", "'%s' operator: %s. Fix semantic errors in your query.", operator, fmt.Sprintf(format, args...))
}
