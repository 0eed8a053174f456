package defendersim

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

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
