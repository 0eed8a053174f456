package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Fault is one thing wrong in a file.
type Fault struct {
	Line int // 0 when it concerns the whole file
	Text string
}

// FileError reports why a file was refused: every fault that was found, in the
// order of the lines.
type FileError struct {
	File   string
	Faults []Fault
}

// Error has a line for each fault.
func (e *FileError) Error() string { return strings.Join(render(e.File, e.Faults), "\n") }

func render(file string, faults []Fault) []string {
	lines := make([]string, len(faults))
	for i, f := range faults {
		lines[i] = fmt.Sprintf("%s:%d: %s", file, f.Line, f.Text)
		if f.Line == 0 {
			lines[i] = fmt.Sprintf("%s: %s", file, f.Text)
		}
	}
	return lines
}

// reader walks a YAML tree and collects faults instead of stopping at the first.
// Its methods return zero values for what they refused.
type reader struct {
	faults []Fault
}

func (r *reader) fault(line int, format string, args ...any) {
	r.faults = append(r.faults, Fault{Line: line, Text: fmt.Sprintf(format, args...)})
}

func sortFaults(faults []Fault) {
	slices.SortStableFunc(faults, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
}

// document parses text, which must be one YAML document, or nil when it is empty.
func (r *reader) document(text []byte) ast.Node {
	if len(text) > maxFile {
		r.fault(0, "larger than %d bytes", maxFile)
		return nil
	}
	if !utf8.Valid(text) {
		r.fault(0, "not UTF-8")
		return nil
	}
	file, err := parse(text)
	if err != nil {
		line, message := 0, err.Error()
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) {
			message = syntax.Message
			if syntax.Token != nil {
				line = syntax.Token.Position.Line
			}
		}
		r.fault(line, "not YAML: %s", message)
		return nil
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			r.fault(lineOf(doc.Body), "a second document; the file is one")
			return nil
		}
		body = doc.Body
	}
	return body
}

// parse never panics: a reload of a broken file must not take the bot down.
func parse(text []byte) (file *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			file, err = nil, fmt.Errorf("the YAML parser gave up: %v", p)
		}
	}()
	return parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
}

func lineOf(n ast.Node) int {
	if n == nil {
		return 0
	}
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return lineOf(m.Values[0].Key)
	}
	token := n.GetToken()
	if token == nil || token.Position == nil {
		return 0
	}
	return token.Position.Line
}

func isNull(n ast.Node) bool {
	_, null := n.(*ast.NullNode)
	return n == nil || null
}

// keys maps the keys an object may have to what reads their values.
type keys map[string]func(value ast.Node)

// object reads a mapping. An empty value is a mapping without keys. Every key is
// read once; others are faults.
func (r *reader) object(n ast.Node, what string, known keys) {
	if isNull(n) {
		return
	}
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		r.wrongType(n, what, "keys with values")
		return
	}
	first := make(map[string]int, len(values))
	for _, v := range values {
		line := lineOf(v.Key)
		name, ok := v.Key.(*ast.StringNode)
		if !ok {
			r.fault(line, "%s: a key must be plain text", what)
			continue
		}
		if earlier, ok := first[name.Value]; ok {
			r.fault(line, "%s: %q is already set on line %d", what, name.Value, earlier)
			continue
		}
		first[name.Value] = line
		read, ok := known[name.Value]
		if !ok {
			r.fault(line, "%s: unknown key %q; known: %s", what, name.Value, strings.Join(sortedKeys(known), ", "))
			continue
		}
		read(v.Value)
	}
}

// entries reads a mapping whose keys are names chosen in the file.
func (r *reader) entries(n ast.Node, what string, read func(name string, line int, value ast.Node)) {
	if isNull(n) {
		return
	}
	mapping, ok := n.(*ast.MappingNode)
	if !ok {
		r.wrongType(n, what, "names with values")
		return
	}
	first := make(map[string]int, len(mapping.Values))
	for _, v := range mapping.Values {
		line := lineOf(v.Key)
		name, ok := v.Key.(*ast.StringNode)
		if !ok {
			r.fault(line, "%s: a name must be plain text; put it in quotes", what)
			continue
		}
		if earlier, ok := first[name.Value]; ok {
			r.fault(line, "%s: %q is already set on line %d", what, name.Value, earlier)
			continue
		}
		first[name.Value] = line
		read(name.Value, line, v.Value)
	}
}

// list reads a sequence. An empty value is an empty list, which means nobody and
// nothing, never everybody (threat-model I-14).
func (r *reader) list(n ast.Node, what string, read func(item ast.Node)) {
	if isNull(n) {
		return
	}
	sequence, ok := n.(*ast.SequenceNode)
	if !ok {
		r.wrongType(n, what, "a list")
		return
	}
	for _, item := range sequence.Values {
		read(item)
	}
}

// text reads a string.
func (r *reader) text(n ast.Node, what string) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	}
	r.wrongType(n, what, "text (put it in quotes)")
	return "", false
}

// label reads a name that is shown to people.
func (r *reader) label(n ast.Node, what string) string {
	s, ok := r.text(n, what)
	switch {
	case !ok:
		return ""
	case strings.TrimSpace(s) == "":
		r.fault(lineOf(n), "%s is empty", what)
		return ""
	case utf8.RuneCountInString(s) > 100:
		r.fault(lineOf(n), "%s is longer than 100 characters", what)
		return ""
	case strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }):
		r.fault(lineOf(n), "%s %q contains line breaks or characters that cannot be seen", what, s)
		return ""
	}
	return s
}

// boolean reads true or false.
func (r *reader) boolean(n ast.Node, what string) bool {
	b, ok := n.(*ast.BoolNode)
	if !ok {
		r.wrongType(n, what, "true or false")
		return false
	}
	return b.Value
}

// number reads a whole number of at least 1.
func (r *reader) number(n ast.Node, what string, most int) int {
	integer, ok := n.(*ast.IntegerNode)
	if !ok {
		r.wrongType(n, what, "a whole number such as 2")
		return 0
	}
	if v, ok := integer.Value.(uint64); ok && v >= 1 && v <= uint64(most) {
		return int(v)
	}
	r.fault(lineOf(n), "%s: %s is not between 1 and %d", what, integer.Token.Value, most)
	return 0
}

// duration reads a time span within bounds.
func (r *reader) duration(n ast.Node, what string, least, most time.Duration) time.Duration {
	s, ok := n.(*ast.StringNode)
	if !ok {
		r.wrongType(n, what, "a duration with its unit, such as 30m")
		return 0
	}
	d, err := time.ParseDuration(s.Value)
	if err != nil {
		r.fault(lineOf(n), "%s: %q is not a duration; write a number with its unit, such as 90s, 30m or 2h", what, s.Value)
		return 0
	}
	if d < least || d > most {
		r.fault(lineOf(n), "%s: %s is not between %s and %s", what, s.Value, short(least), short(most))
		return 0
	}
	return d
}

// days reads a number of days within bounds, such as 90d.
func (r *reader) days(n ast.Node, what string, least, most time.Duration) time.Duration {
	s, ok := n.(*ast.StringNode)
	if !ok {
		r.wrongType(n, what, "a number of days, such as 90d")
		return 0
	}
	number, isDays := strings.CutSuffix(s.Value, "d")
	count, err := strconv.ParseUint(number, 10, 16)
	if err != nil || !isDays {
		r.fault(lineOf(n), "%s: %q is not a number of days, such as 90d", what, s.Value)
		return 0
	}
	d := time.Duration(count) * day
	if d < least || d > most {
		r.fault(lineOf(n), "%s: %s is not between %dd and %dd", what, s.Value, least/day, most/day)
		return 0
	}
	return d
}

// short writes a duration without zero units: 1h, not 1h0m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (r *reader) wrongType(n ast.Node, what, want string) {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode, *ast.TagNode:
		r.fault(lineOf(n), "%s: anchors, aliases and tags are not read; write the value out", what)
	default:
		r.fault(lineOf(n), "%s must be %s, not %s", what, want, kindOf(n))
	}
}

// kindOf names what n is, in words for people.
func kindOf(n ast.Node) string {
	switch n.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys with values"
	default:
		return n.Type().YAMLName()
	}
}

func sortedKeys(known keys) []string {
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
