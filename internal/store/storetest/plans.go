package storetest

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/durable"
)

// Planned is a database that looks at how SQLite is going to answer each query, and
// fails the test for one that reads a whole table, or all of a tenant's rows. PostgreSQL
// chooses anew as tables grow, by the same indexes and under the same conditions.
type Planned struct {
	durable.Tx
	t testing.TB
}

var _ durable.DB = Planned{}

// Plans runs fn on a Planned in a transaction of a new database.
func Plans(t testing.TB, fn func(Planned)) {
	t.Helper()
	if err := New(t).InTx(t.Context(), func(tx durable.Tx) error {
		fn(Planned{tx, t})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// InTx implements durable.DB.
func (p Planned) InTx(_ context.Context, fn func(durable.Tx) error) error { return fn(p) }

// Read implements durable.DB.
func (p Planned) Read() durable.DBTX { return p }

// Query implements durable.DBTX.
func (p Planned) Query(ctx context.Context, query string, args ...any) (durable.Rows, error) {
	p.explain(query, args)
	return p.Tx.Query(ctx, query, args...)
}

// QueryRow implements durable.DBTX.
func (p Planned) QueryRow(ctx context.Context, query string, args ...any) durable.Row {
	p.explain(query, args)
	return p.Tx.QueryRow(ctx, query, args...)
}

// indexUsed finds the index in a step of a plan.
var indexUsed = regexp.MustCompile(` INDEX (\w+)`)

func (p Planned) explain(query string, args []any) {
	p.t.Helper()
	rows, err := p.Tx.Query(p.t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		p.t.Fatalf("explain %s: %v", query, err)
	}
	var steps []string
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			p.t.Fatal(err)
		}
		steps = append(steps, step)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		p.t.Fatal(err)
	}
	for _, step := range steps {
		all := strings.HasPrefix(step, "SCAN ") && !strings.Contains(step, "CONSTANT ROW") || strings.HasSuffix(step, "(tenant=?)")
		if all && !p.fits(step) {
			p.t.Errorf("%s of\n%s", step, query)
		}
	}
}

// fits reports whether a step of a plan reads a partial index, all of which may be what
// the query is about, or what there is one of for each tenant.
func (p Planned) fits(step string) bool {
	index := indexUsed.FindStringSubmatch(step)
	if index == nil {
		return false
	}
	var partial, columns int
	if err := p.Tx.QueryRow(p.t.Context(), `
		SELECT (SELECT COUNT(*) FROM sqlite_master WHERE name = $1 AND sql LIKE '%WHERE%'), (SELECT COUNT(*) FROM pragma_index_info($1))`, index[1]).
		Scan(&partial, &columns); err != nil {
		p.t.Fatal(err)
	}
	return partial > 0 || columns == 1
}
