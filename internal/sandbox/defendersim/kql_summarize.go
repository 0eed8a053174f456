package defendersim

import "fmt"

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
