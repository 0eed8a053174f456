package notify

import (
	"context"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
)

// planned is a database that tells how SQLite is going to answer each query.
type planned struct {
	durable.Tx
	*testing.T
}

// InTx implements durable.DB.
func (p planned) InTx(_ context.Context, fn func(durable.Tx) error) error { return fn(p) }

// Read implements durable.DB.
func (p planned) Read() durable.DBTX { return p }

func (p planned) Query(ctx context.Context, query string, args ...any) (durable.Rows, error) {
	p.explain(query, args)
	return p.Tx.Query(ctx, query, args...)
}

func (p planned) QueryRow(ctx context.Context, query string, args ...any) durable.Row {
	p.explain(query, args)
	return p.Tx.QueryRow(ctx, query, args...)
}

// explain fails for a query that reads a whole table. PostgreSQL chooses anew as tables
// grow, by the same indexes and under the same conditions.
func (p planned) explain(query string, args []any) {
	p.Helper()
	rows, err := p.Tx.Query(p.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		p.Fatalf("explain %s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			p.Fatal(err)
		}
		if strings.HasPrefix(step, "SCAN") && !strings.Contains(step, "USING") && !strings.Contains(step, "CONSTANT ROW") {
			p.Errorf("%s of\n%s", step, query)
		}
	}
	if err := rows.Err(); err != nil {
		p.Fatal(err)
	}
}

// What clients ask by themselves, and what every post asks, costs the same however many
// cards there are.
func TestQueries_readNoWholeTable(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if err := f.db.InTx(t.Context(), func(tx durable.Tx) error {
		db := planned{tx, t}
		f.n.db = db
		for name, ask := range map[string]func() error{
			"what a message shows": func() error {
				_, _, _, _, err := f.n.SubjectOf(t.Context(), chat.Conversation{Platform: identity.Slack, ID: "C0SOC", Thread: "1.1"})
				return err
			},
			"what a storm holds": func() error {
				_, err := heldBy(t.Context(), db, "s1", classNotice)
				return err
			},
			"the alerts of a storm": func() error {
				_, err := f.n.heldAlerts(t.Context(), contoso, "s1", -1, 10, 0)
				return err
			},
			"the budget of a storm": func() error {
				_, err := overBudget(t.Context(), db, soc, f.clock.now())
				return err
			},
			"the requests of a place": func() error {
				_, err := f.n.requestsAt(t.Context(), contoso, soc, f.clock.now())
				return err
			},
		} {
			if err := ask(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
