package defendersim

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
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
