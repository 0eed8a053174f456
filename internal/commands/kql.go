package commands

import (
	"fmt"
	"strings"
)

// maxKQL is more than people write and far less than takes time to check.
const maxKQL = 16 << 10

// huntRows is how many rows a hunt asks for when the query sets no bound.
const huntRows = 10_000

// outside are operators and functions that read from elsewhere than Defender's
// tables, or from all of them at once (threat-model H-02).
var outside = map[string]bool{
	"externaldata": true, "external_table": true, "cluster": true, "database": true, "workspace": true, "app": true,
	"adx": true, "arg": true, "http_request_post": true, "search": true, "find": true,
}

// boundKQL checks a query and adds a limit when it has none at its end. Up to
// there the query stays as it was typed.
func boundKQL(query string) (bounded string, limit int, err error) {
	if len(query) > maxKQL {
		return "", 0, say(fmt.Sprintf("The query has %d characters.", len(query)), fmt.Sprintf("Keep it to %d.", maxKQL))
	}
	words := kqlWords(query)
	if len(words) == 0 {
		return "", 0, say("The query is empty.", "Ask one over a table, such as DeviceInfo | take 10.")
	}
	if words[0].text == "." {
		return "", 0, say("Management commands, which begin with a dot, are not run from chat.", "Ask a query over a table, such as DeviceInfo | take 10.")
	}
	for i, w := range words {
		called := i+1 < len(words) && words[i+1].text == "("
		name := strings.ToLower(w.text)
		if outside[name] && (called || i == 0 || beginsQuery(words[i-1].text)) || strings.HasSuffix(name, "_request") && called {
			return "", 0, sayOf("Queries with ", w.text, " are not run from chat: it reads from elsewhere or from all tables.", "Name the tables you want to read.")
		}
		if name == "union" && hasWildcard(words[i+1:]) {
			return "", 0, say("Queries over all tables are not run from chat.", "Name the tables you want to read.")
		}
	}
	if isBounded(words) {
		return query, 0, nil
	}
	// What follows the last word is blank or a comment and is left out.
	end := words[len(words)-1].end
	if words[len(words)-1].text == ";" {
		end--
	}
	return fmt.Sprintf("%s\n| limit %d", query[:end], huntRows), huntRows, nil
}

// beginsQuery reports marks after which an operator can stand; queries also begin
// inside the brackets of join, union and fork.
func beginsQuery(mark string) bool {
	switch mark {
	case "|", "=", ";", "(", ",":
		return true
	}
	return false
}

// hasWildcard reports a "*" among the tables of a union, whose operands words
// begin with.
func hasWildcard(words []kqlWord) bool {
	depth := 0
	for _, w := range words {
		switch w.text {
		case "(":
			depth++
		case ")":
			depth--
		case "*":
			if depth == 0 {
				return true
			}
		case "|", ";":
			if depth == 0 {
				return false
			}
		}
		if depth < 0 {
			return false
		}
	}
	return false
}

// isBounded reports whether the last operator bounds the rows, or cannot be
// followed by another.
func isBounded(words []kqlWord) bool {
	depth := 0
	last := ""
	for i, w := range words {
		switch w.text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth--
		case "|":
			if depth == 0 && i+1 < len(words) {
				last = strings.ToLower(words[i+1].text)
			}
		case ";":
			if depth == 0 && i+1 < len(words) {
				last = ""
			}
		}
	}
	switch last {
	case "take", "limit", "top", "count", "render":
		return true
	}
	return false
}

// kqlWord is a word or a mark of a query, outside strings and comments. A string
// is one word of its kind.
type kqlWord struct {
	text string
	end  int
	raw  string // of a string, as written
}

// stringWord is the text of every string.
const stringWord = `""`

// quoted is what a string says, as far as a name can be meant by it.
func (w kqlWord) quoted() string { return strings.Trim(w.raw, "\"'`~@") }

// kqlWords splits a query as far as its strings, comments and words go.
func kqlWords(q string) []kqlWord {
	var words []kqlWord
	for i := 0; i < len(q); {
		switch c := q[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case strings.HasPrefix(q[i:], "//"):
			end := strings.IndexByte(q[i:], '\n')
			if end < 0 {
				return words
			}
			i += end
		case strings.HasPrefix(q[i:], "```"), strings.HasPrefix(q[i:], "~~~"):
			start := i
			i = endOf(q, i+3, q[i:i+3])
			words = append(words, kqlWord{text: stringWord, end: i, raw: q[start:i]})
		case c == '"' || c == '\'':
			start := i
			i = endOfString(q, i, len(words) > 0 && words[len(words)-1].end == i && words[len(words)-1].text == "@")
			words = append(words, kqlWord{text: stringWord, end: i, raw: q[start:i]})
		case isWordByte(c):
			start := i
			for i < len(q) && isWordByte(q[i]) {
				i++
			}
			words = append(words, kqlWord{text: q[start:i], end: i})
		default:
			i++
			words = append(words, kqlWord{text: string(c), end: i})
		}
	}
	return words
}

func isWordByte(c byte) bool {
	return isLetter(c) || '0' <= c && c <= '9' || c == '_' || c >= 0x80
}

func endOf(q string, from int, mark string) int {
	if n := strings.Index(q[from:], mark); n >= 0 {
		return from + n + len(mark)
	}
	return len(q)
}

// endOfString returns where the string that starts at i ends. In a verbatim
// string a backslash is a letter and a doubled quote stands for one.
func endOfString(q string, i int, verbatim bool) int {
	quote := q[i]
	for i++; i < len(q); i++ {
		switch {
		case q[i] == '\\' && !verbatim:
			i++
		case verbatim && q[i] == quote && i+1 < len(q) && q[i+1] == quote:
			i++
		case q[i] == quote:
			return i + 1
		}
	}
	return len(q)
}
