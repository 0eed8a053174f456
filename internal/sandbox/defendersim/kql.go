package defendersim

import (
	"cmp"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Column is one column of a hunting table. Type is DateTime, String, Int64,
// Int32, Double or SByte, the last of which stands for bool.
type Column struct{ Name, Type string }

// Table is something that can be hunted in. Rows gives its rows, each with one
// cell per column: a string, int64, float64, bool, time.Time or nil. It may be
// ranged over several times and by several queries at once.
type Table struct {
	Columns []Column
	Rows    iter.Seq[[]any]
}

func (t Table) column(name string) int {
	return slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == name })
}

// runHunt evaluates a query. It knows the operators where, project, distinct,
// summarize, sort, order, top, take, limit and count; names of tables and columns
// are case-sensitive, as in Kusto.
func runHunt(query string, now time.Time, table func(string) (Table, bool)) (Table, error) {
	tokens, err := lexHunt(query)
	if err != nil {
		return Table{}, err
	}
	p := &huntParser{tokens: tokens, now: now}
	source := p.take()
	if source.kind != huntName {
		return Table{}, parseError(source)
	}
	t, ok := table(source.text)
	if !ok {
		return Table{}, semanticError("where", "Failed to resolve table or column expression named '%s'", source.text)
	}
	for p.sign("|") {
		if t, err = p.operator(t); err != nil {
			return Table{}, err
		}
	}
	p.sign(";")
	if end := p.peek(); end.kind != huntEnd {
		return Table{}, parseError(end)
	}
	return t, nil
}

type huntParser struct {
	tokens []huntToken
	next   int
	now    time.Time
}

func (p *huntParser) peek() huntToken { return p.tokens[p.next] }

func (p *huntParser) take() huntToken {
	t := p.tokens[p.next]
	if t.kind != huntEnd {
		p.next++
	}
	return t
}

func (p *huntParser) sign(s string) bool {
	if t := p.peek(); t.kind == huntSign && t.text == s {
		p.next++
		return true
	}
	return false
}

func (p *huntParser) word(w string) bool {
	if t := p.peek(); t.kind == huntName && t.text == w {
		p.next++
		return true
	}
	return false
}

func (p *huntParser) expect(ok bool) error {
	if ok {
		return nil
	}
	return parseError(p.peek())
}

func (p *huntParser) operator(t Table) (Table, error) {
	name := p.take()
	if name.kind != huntName {
		return Table{}, parseError(name)
	}
	switch name.text {
	case "where", "filter":
		return p.where(t)
	case "project":
		return p.project(t)
	case "distinct":
		return p.distinct(t)
	case "summarize":
		return p.summarize(t)
	case "sort", "order":
		return p.sort(t)
	case "top":
		return p.top(t)
	case "take", "limit":
		n, err := p.number()
		if err != nil {
			return Table{}, err
		}
		return Table{t.Columns, first(t.Rows, n)}, nil
	case "count":
		return Table{[]Column{{"Count", "Int64"}}, func(yield func([]any) bool) {
			n := int64(0)
			for range t.Rows {
				n++
			}
			yield([]any{n})
		}}, nil
	case "extend", "join", "union", "parse", "lookup", "render", "evaluate", "search", "mv-expand", "project-away",
		"project-keep", "project-rename", "project-reorder", "serialize", "sample":
		return Table{}, semanticError(name.text, "This operator is not available in the sandbox")
	}
	return Table{}, parseError(name)
}

func (p *huntParser) number() (int, error) {
	t := p.take()
	n, err := strconv.Atoi(t.text)
	if t.kind != huntNumber || err != nil {
		return 0, parseError(t)
	}
	return n, nil
}

func first(rows iter.Seq[[]any], n int) iter.Seq[[]any] {
	return func(yield func([]any) bool) {
		if n <= 0 {
			return
		}
		left := n
		for row := range rows {
			left--
			if !yield(row) || left == 0 {
				return
			}
		}
	}
}

func (p *huntParser) col(t Table, operator string) (int, error) {
	name := p.take()
	if name.kind != huntName {
		return 0, parseError(name)
	}
	i := t.column(name.text)
	if i < 0 {
		return 0, semanticError(operator, "Failed to resolve scalar expression named '%s'", name.text)
	}
	return i, nil
}

func (p *huntParser) where(t Table) (Table, error) {
	match, err := p.or(t)
	if err != nil {
		return Table{}, err
	}
	return Table{t.Columns, func(yield func([]any) bool) {
		for row := range t.Rows {
			if match(row) && !yield(row) {
				return
			}
		}
	}}, nil
}

// predicate judges one row.
type predicate func(row []any) bool

func (p *huntParser) or(t Table) (predicate, error) {
	left, err := p.and(t)
	for err == nil && p.word("or") {
		l, r := left, predicate(nil)
		if r, err = p.and(t); err == nil {
			left = func(row []any) bool { return l(row) || r(row) }
		}
	}
	return left, err
}

func (p *huntParser) and(t Table) (predicate, error) {
	left, err := p.condition(t)
	for err == nil && p.word("and") {
		l, r := left, predicate(nil)
		if r, err = p.condition(t); err == nil {
			left = func(row []any) bool { return l(row) && r(row) }
		}
	}
	return left, err
}

func (p *huntParser) condition(t Table) (predicate, error) {
	if p.sign("(") {
		inner, err := p.or(t)
		if err != nil {
			return nil, err
		}
		return inner, p.expect(p.sign(")"))
	}
	if p.word("not") {
		if err := p.expect(p.sign("(")); err != nil {
			return nil, err
		}
		inner, err := p.or(t)
		if err != nil {
			return nil, err
		}
		return negated(inner, true), p.expect(p.sign(")"))
	}
	for _, name := range []string{"isempty", "isnotempty"} {
		if p.word(name) {
			return p.emptiness(t, name == "isnotempty")
		}
	}
	return p.comparison(t)
}

// comparison reads column operator value.
func (p *huntParser) comparison(t Table) (predicate, error) {
	column, err := p.col(t, "where")
	if err != nil {
		return nil, err
	}
	at := p.peek()
	negate := p.sign("!")
	op := p.take()
	if op.kind != huntSign && op.kind != huntName {
		return nil, parseError(op)
	}
	if op.text == "in" || op.text == "in~" || op.text == "has_any" {
		match, err := p.oneOf(column, op.text)
		return negated(match, negate), err
	}
	if compare, ok := textOperators[op.text]; ok {
		want, err := p.value()
		if err != nil {
			return nil, err
		}
		text, ok := want.(string)
		if !ok {
			return nil, semanticError("where", "The operator '%s' needs a string", op.text)
		}
		return negated(func(row []any) bool { return compare(asText(row[column]), text) }, negate), nil
	}
	holds, ok := orderOperators[op.text]
	if !ok || negate {
		return nil, parseError(at)
	}
	want, err := p.value()
	if err != nil {
		return nil, err
	}
	if !comparableTo(t.Columns[column].Type, want) {
		return nil, semanticError("where", "Cannot compare values of types %s and %s. Try adding explicit casts", strings.ToLower(t.Columns[column].Type), scalarName(want))
	}
	return func(row []any) bool {
		return row[column] != nil && holds(compareCells(row[column], want))
	}, nil
}

func negated(match predicate, negate bool) predicate {
	if !negate || match == nil {
		return match
	}
	return func(row []any) bool { return !match(row) }
}

var textOperators = map[string]func(cell, want string) bool{
	"=~":         strings.EqualFold,
	"!~":         func(c, w string) bool { return !strings.EqualFold(c, w) },
	"has":        hasTerm,
	"contains":   func(c, w string) bool { return strings.Contains(strings.ToLower(c), strings.ToLower(w)) },
	"startswith": func(c, w string) bool { return strings.HasPrefix(strings.ToLower(c), strings.ToLower(w)) },
	"endswith":   func(c, w string) bool { return strings.HasSuffix(strings.ToLower(c), strings.ToLower(w)) },
}

var orderOperators = map[string]func(d int) bool{
	"==": func(d int) bool { return d == 0 },
	"!=": func(d int) bool { return d != 0 },
	">":  func(d int) bool { return d > 0 },
	">=": func(d int) bool { return d >= 0 },
	"<":  func(d int) bool { return d < 0 },
	"<=": func(d int) bool { return d <= 0 },
}

// hasTerm reports whether want stands in text as whole words.
func hasTerm(text, want string) bool {
	text, want = strings.ToLower(text), strings.ToLower(want)
	for from := 0; ; {
		i := strings.Index(text[from:], want)
		if i < 0 || want == "" {
			return false
		}
		start, end := from+i, from+i+len(want)
		before := start == 0 || !isNamePart(rune(text[start-1])) || !isNamePart(rune(want[0]))
		after := end == len(text) || !isNamePart(rune(text[end])) || !isNamePart(rune(want[len(want)-1]))
		if before && after {
			return true
		}
		from = start + 1
	}
}

func (p *huntParser) oneOf(column int, op string) (predicate, error) {
	if err := p.expect(p.sign("(")); err != nil {
		return nil, err
	}
	var want []any
	for {
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		want = append(want, v)
		if p.sign(")") {
			break
		}
		if err := p.expect(p.sign(",")); err != nil {
			return nil, err
		}
	}
	return func(row []any) bool {
		return slices.ContainsFunc(want, func(w any) bool {
			switch op {
			case "in~":
				return strings.EqualFold(asText(row[column]), asText(w))
			case "has_any":
				return hasTerm(asText(row[column]), asText(w))
			}
			return asText(row[column]) == asText(w)
		})
	}, nil
}

func (p *huntParser) emptiness(t Table, negate bool) (predicate, error) {
	if err := p.expect(p.sign("(")); err != nil {
		return nil, err
	}
	column, err := p.col(t, "where")
	if err != nil {
		return nil, err
	}
	return negated(func(row []any) bool { return asText(row[column]) == "" }, negate), p.expect(p.sign(")"))
}

var span = regexp.MustCompile(`^(\d+)(d|h|m|s|ms)$`)

// value reads a literal, now(), ago(span) or datetime(moment).
func (p *huntParser) value() (any, error) {
	t := p.take()
	switch t.kind {
	case huntString:
		return t.text, nil
	case huntNumber:
		if n, err := strconv.ParseInt(t.text, 10, 64); err == nil {
			return n, nil
		}
	case huntName:
		switch t.text {
		case "true", "false":
			return t.text == "true", nil
		case "now":
			if p.sign("(") && p.sign(")") {
				return p.now, nil
			}
		case "ago":
			return p.ago(t)
		case "datetime":
			return p.datetime(t)
		}
	}
	return nil, parseError(t)
}

func (p *huntParser) ago(at huntToken) (any, error) {
	if !p.sign("(") {
		return nil, parseError(at)
	}
	t := p.take()
	parts := span.FindStringSubmatch(t.text)
	if t.kind != huntNumber || parts == nil || !p.sign(")") {
		return nil, parseError(t)
	}
	n, err := strconv.Atoi(parts[1])
	if err != nil {
		return nil, parseError(t)
	}
	unit := map[string]time.Duration{"d": 24 * time.Hour, "h": time.Hour, "m": time.Minute, "s": time.Second, "ms": time.Millisecond}[parts[2]]
	return p.now.Add(-time.Duration(n) * unit), nil
}

// datetime reads datetime("…"); the bare form has signs that the lexer splits,
// so they are put together again.
func (p *huntParser) datetime(at huntToken) (any, error) {
	if !p.sign("(") {
		return nil, parseError(at)
	}
	var b strings.Builder
	for !p.sign(")") {
		t := p.take()
		if t.kind == huntEnd {
			return nil, parseError(t)
		}
		b.WriteString(t.text)
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02"} {
		if moment, err := time.Parse(layout, b.String()); err == nil {
			return moment, nil
		}
	}
	return nil, parseError(at)
}

func (p *huntParser) project(t Table) (Table, error) {
	var columns []Column
	var from []int
	for {
		name := p.peek()
		alias := ""
		if p.next+1 < len(p.tokens) && p.tokens[p.next+1].text == "=" && p.tokens[p.next+1].kind == huntSign {
			alias = name.text
			p.next += 2
		}
		i, err := p.col(t, "project")
		if err != nil {
			return Table{}, err
		}
		column := t.Columns[i]
		if alias != "" {
			column.Name = alias
		}
		columns, from = append(columns, column), append(from, i)
		if !p.sign(",") {
			break
		}
	}
	return Table{columns, func(yield func([]any) bool) {
		for row := range t.Rows {
			if !yield(cells(row, from)) {
				return
			}
		}
	}}, nil
}

func cells(row []any, from []int) []any {
	out := make([]any, len(from))
	for i, j := range from {
		out[i] = row[j]
	}
	return out
}

func (p *huntParser) distinct(t Table) (Table, error) {
	projected, err := p.project(t)
	if err != nil {
		return Table{}, err
	}
	return Table{projected.Columns, func(yield func([]any) bool) {
		seen := map[string]bool{}
		for row := range projected.Rows {
			key := fmt.Sprintf("%q", row)
			if seen[key] {
				continue
			}
			seen[key] = true
			if !yield(row) {
				return
			}
		}
	}}, nil
}

// aggregate is one result of summarize: what to keep of the rows of a group.
type aggregate struct {
	column Column
	of     int // the column it looks at, -1 for count()
	fold   string
}

func (p *huntParser) summarize(t Table) (Table, error) {
	var aggregates []aggregate
	for !p.word("by") {
		a, err := p.aggregate(t)
		if err != nil {
			return Table{}, err
		}
		aggregates = append(aggregates, a)
		if p.sign(",") {
			continue
		}
		if p.word("by") {
			break
		}
		return summary(t, nil, aggregates), nil
	}
	var by []int
	for {
		i, err := p.col(t, "summarize")
		if err != nil {
			return Table{}, err
		}
		by = append(by, i)
		if !p.sign(",") {
			return summary(t, by, aggregates), nil
		}
	}
}

func (p *huntParser) aggregate(t Table) (aggregate, error) {
	name := p.take()
	alias := ""
	if name.kind == huntName && p.sign("=") {
		alias, name = name.text, p.take()
	}
	if name.kind != huntName || !p.sign("(") {
		return aggregate{}, parseError(name)
	}
	a := aggregate{of: -1, fold: name.text}
	switch name.text {
	case "count":
		a.column = Column{"count_", "Int64"}
	case "dcount", "min", "max":
		i, err := p.col(t, "summarize")
		if err != nil {
			return aggregate{}, err
		}
		a.of, a.column = i, Column{name.text + "_" + t.Columns[i].Name, t.Columns[i].Type}
		if name.text == "dcount" {
			a.column.Type = "Int64"
		}
	default:
		return aggregate{}, semanticError("summarize", "Unknown function: '%s'", name.text)
	}
	if alias != "" {
		a.column.Name = alias
	}
	return a, p.expect(p.sign(")"))
}

func summary(t Table, by []int, aggregates []aggregate) Table {
	var columns []Column
	for _, i := range by {
		columns = append(columns, t.Columns[i])
	}
	for _, a := range aggregates {
		columns = append(columns, a.column)
	}
	return Table{columns, func(yield func([]any) bool) {
		groups := map[string][][]any{}
		var order []string
		for row := range t.Rows {
			key := fmt.Sprintf("%q", cells(row, by))
			if groups[key] == nil {
				order = append(order, key)
			}
			groups[key] = append(groups[key], row)
		}
		if len(by) == 0 && len(order) == 0 {
			order = []string{""}
		}
		for _, key := range order {
			rows := groups[key]
			var out []any
			if len(rows) > 0 {
				out = cells(rows[0], by)
			}
			for _, a := range aggregates {
				out = append(out, a.over(rows))
			}
			if !yield(out) {
				return
			}
		}
	}}
}

func (a aggregate) over(rows [][]any) any {
	switch a.fold {
	case "count":
		return int64(len(rows))
	case "dcount":
		seen := map[string]bool{}
		for _, row := range rows {
			seen[asText(row[a.of])] = true
		}
		return int64(len(seen))
	}
	var best any
	for _, row := range rows {
		v := row[a.of]
		if best == nil || v != nil && (compareCells(v, best) > 0) == (a.fold == "max") {
			best = v
		}
	}
	return best
}

func (p *huntParser) sort(t Table) (Table, error) {
	if err := p.expect(p.word("by")); err != nil {
		return Table{}, err
	}
	order, err := p.orderings(t, "sort")
	if err != nil {
		return Table{}, err
	}
	return sorted(t, order), nil
}

func (p *huntParser) top(t Table) (Table, error) {
	n, err := p.number()
	if err != nil {
		return Table{}, err
	}
	if err := p.expect(p.word("by")); err != nil {
		return Table{}, err
	}
	order, err := p.orderings(t, "top")
	if err != nil {
		return Table{}, err
	}
	return Table{t.Columns, first(sorted(t, order).Rows, n)}, nil
}

// orderings reads column [asc|desc], …; without a word the order is descending.
func (p *huntParser) orderings(t Table, operator string) (func(a, b []any) int, error) {
	var by []func(a, b []any) int
	for {
		i, err := p.col(t, operator)
		if err != nil {
			return nil, err
		}
		sign := -1
		if p.word("asc") {
			sign = 1
		} else {
			p.word("desc")
		}
		by = append(by, func(a, b []any) int { return sign * compareCells(a[i], b[i]) })
		if !p.sign(",") {
			break
		}
	}
	return func(a, b []any) int {
		for _, c := range by {
			if d := c(a, b); d != 0 {
				return d
			}
		}
		return 0
	}, nil
}

func sorted(t Table, order func(a, b []any) int) Table {
	return Table{t.Columns, func(yield func([]any) bool) {
		for _, row := range slices.SortedStableFunc(t.Rows, order) {
			if !yield(row) {
				return
			}
		}
	}}
}

func comparableTo(columnType string, v any) bool {
	switch v.(type) {
	case string:
		return columnType == "String"
	case int64:
		return columnType == "Int64" || columnType == "Int32" || columnType == "Double" || columnType == "SByte"
	case bool:
		return columnType == "SByte"
	case time.Time:
		return columnType == "DateTime"
	}
	return false
}

func scalarName(v any) string {
	switch v.(type) {
	case int64:
		return "long"
	case bool:
		return "bool"
	case time.Time:
		return "datetime"
	default:
		return "string"
	}
}

func compareCells(a, b any) int {
	switch x := a.(type) {
	case nil:
		if b == nil {
			return 0
		}
		return -1
	case string:
		if y, ok := b.(string); ok {
			return cmp.Compare(x, y)
		}
	case time.Time:
		if y, ok := b.(time.Time); ok {
			return x.Compare(y)
		}
	case int64:
		if y, ok := b.(int64); ok {
			return cmp.Compare(x, y)
		}
		return cmp.Compare(asNumber(x), asNumber(b))
	case float64, bool:
		if b != nil {
			return cmp.Compare(asNumber(x), asNumber(b))
		}
	}
	return 1
}

func asNumber(v any) float64 {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case float64:
		return v
	case bool:
		if v {
			return 1
		}
	}
	return 0
}

func asText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	return fmt.Sprint(v)
}
