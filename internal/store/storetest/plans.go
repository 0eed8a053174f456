package storetest

import (
	"context"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/durable"
)

// Planned is a database that looks at how SQLite is going to answer each query, and
// fails the test for one that reads a whole table. PostgreSQL chooses anew as tables
// grow, by the same indexes and under the same conditions.
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

func (p Planned) explain(query string, args []any) {
	p.t.Helper()
	rows, err := p.Tx.Query(p.t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		p.t.Fatalf("explain %s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			p.t.Fatal(err)
		}
		if strings.HasPrefix(step, "SCAN") && !strings.Contains(step, "USING") && !strings.Contains(step, "CONSTANT ROW") {
			p.t.Errorf("%s of\n%s", step, query)
		}
	}
	if err := rows.Err(); err != nil {
		p.t.Fatal(err)
	}
}
