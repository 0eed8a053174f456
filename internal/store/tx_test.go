package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

func TestInTx_stateAndJobsCommitTogether(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := open(t)
		ctx := t.Context()
		exec(t, s, `CREATE TABLE notes (id TEXT NOT NULL PRIMARY KEY)`)
		write := func(id string, end error) error {
			return s.InTx(ctx, func(tx durable.Tx) error {
				if _, err := tx.Exec(ctx, `INSERT INTO notes (id) VALUES ($1)`, id); err != nil {
					return err
				}
				if err := tx.Enqueue(ctx, durable.Job{Tenant: contoso, Kind: "look", ID: id}); err != nil {
					return err
				}
				return end
			})
		}
		if err := write("rolled back", errBroken); !errors.Is(err, errBroken) {
			t.Errorf("InTx = %v, want the error of its function", err)
		}
		if err := write("committed", nil); err != nil {
			t.Errorf("InTx = %v, want nil", err)
		}
		func() {
			defer func() { _ = recover() }()
			_ = s.InTx(ctx, func(tx durable.Tx) error {
				if err := tx.Enqueue(ctx, durable.Job{Kind: "look", ID: "panicked"}); err != nil {
					t.Error(err)
				}
				panic("in the middle")
			})
		}()

		if n := number(t, s, `SELECT count(*) FROM notes`); n != 1 {
			t.Errorf("%d notes, want 1", n)
		}
		runs := make(chan durable.Job, 10)
		s.Handle("look", record(runs, always(nil)), 1)
		start(t, s)
		if job := next(t, runs); job.ID != "committed" || job.Tenant != contoso {
			t.Errorf("job %+v ran, want the committed one", job)
		}
		if n := number(t, s, `SELECT count(*) FROM river_job`); n != 1 {
			t.Errorf("%d jobs, want 1", n)
		}
	})
}

func TestSQL_sameOnBothEngines(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := open(t)
		ctx := t.Context()
		exec(t, s, `CREATE TABLE things (tenant TEXT NOT NULL, id TEXT NOT NULL, state TEXT NOT NULL CHECK (state IN ('live','done')), n BIGINT NOT NULL, body TEXT, PRIMARY KEY (tenant, id))`)
		exec(t, s, `CREATE UNIQUE INDEX things_live ON things (tenant, n) WHERE state = 'live'`)
		insert := `INSERT INTO things (tenant, id, state, n) VALUES ($1, $2, 'live', $3)`
		exec(t, s, insert, contoso, "a", 1)

		if n := exec(t, s, insert+` ON CONFLICT DO NOTHING`, contoso, "a", 1); n != 0 {
			t.Errorf("second insert changed %d rows, want 0", n)
		}
		if n := exec(t, s, insert+` ON CONFLICT (tenant, id) DO UPDATE SET n = excluded.n + things.n`, contoso, "a", 4); n != 1 {
			t.Errorf("upsert changed %d rows, want 1", n)
		}
		err := s.InTx(ctx, func(tx durable.Tx) error {
			_, err := tx.Exec(ctx, insert, contoso, "b", 5)
			return err
		})
		if err == nil {
			t.Error("a second live row entered the partial unique index")
		}
		exec(t, s, `UPDATE things SET state = 'done' WHERE tenant = $1`, contoso)
		exec(t, s, insert, contoso, "b", 5)

		err = s.InTx(ctx, func(tx durable.Tx) error {
			var id string
			var n int64
			// Placeholders count by number, not by appearance.
			row := tx.QueryRow(ctx, `UPDATE things SET n = n + $2 WHERE tenant = $1 AND n = $3 AND state = 'live' RETURNING id, n`, contoso, 10, 5)
			if err := row.Scan(&id, &n); err != nil {
				return err
			}
			if id != "b" || n != 15 {
				t.Errorf("UPDATE … RETURNING = %s, %d; want b, 15", id, n)
			}
			err := tx.QueryRow(ctx, `SELECT id FROM things WHERE id = $1`, "none").Scan(&id)
			if !errors.Is(err, durable.ErrNoRows) {
				t.Errorf("Scan of nothing = %v, want ErrNoRows", err)
			}
			_, err = tx.Exec(ctx, `UPDATE things SET body = $1 WHERE id = $2`, `{"k":"v"}`, "b")
			return err
		})
		if err != nil {
			t.Errorf("a missing row must not end the transaction: %v", err)
		}

		rows, err := s.Read().Query(ctx, `SELECT id, coalesce(body, '') FROM things WHERE tenant = $1 ORDER BY id`, contoso)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var got [][2]string
		for rows.Next() {
			var r [2]string
			if err := rows.Scan(&r[0], &r[1]); err != nil {
				t.Fatal(err)
			}
			got = append(got, r)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([][2]string{{"a", ""}, {"b", `{"k":"v"}`}}, got); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
	})
}

func TestInTx_refusesWhatOneEngineWould(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		fn   func(ctx context.Context, tx durable.Tx) error
		want string
	}{
		{"going on after a failed statement", func(ctx context.Context, tx durable.Tx) error {
			_, _ = tx.Exec(ctx, `INSERT INTO nowhere (a) VALUES (1)`)
			_, err := tx.Exec(ctx, `INSERT INTO notes (id) VALUES ('x')`)
			return err
		}, "failed before"},
		{"committing past a failed statement", func(ctx context.Context, tx durable.Tx) error {
			if _, err := tx.Exec(ctx, `INSERT INTO notes (id) VALUES ('x')`); err != nil {
				return err
			}
			_, _ = tx.Exec(ctx, `INSERT INTO nowhere (a) VALUES (1)`)
			return nil
		}, "nowhere"},
		{"committing past a failed read", func(ctx context.Context, tx durable.Tx) error {
			_ = tx.QueryRow(ctx, `SELECT a FROM nowhere`).Scan(new(string))
			return nil
		}, "nowhere"},
		{"enqueueing after a failed statement", func(ctx context.Context, tx durable.Tx) error {
			_, _ = tx.Exec(ctx, `INSERT INTO nowhere (a) VALUES (1)`)
			return tx.Enqueue(ctx, durable.Job{Kind: "look", ID: "x"})
		}, "failed before"},
		{"a statement between rows", func(ctx context.Context, tx durable.Tx) error {
			rows, err := tx.Query(ctx, `SELECT id FROM notes`)
			if err != nil {
				return err
			}
			defer rows.Close()
			_, err = tx.Exec(ctx, `INSERT INTO notes (id) VALUES ('x')`)
			return err
		}, "close the rows"},
		{"a time", func(ctx context.Context, tx durable.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO notes (id) VALUES ($1)`, time.Now())
			return err
		}, "durable.Micros"},
		{"a bool", func(ctx context.Context, tx durable.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO notes (id) VALUES ($1)`, true)
			return err
		}, "pass 0 or 1"},
		{"bytes", func(ctx context.Context, tx durable.Tx) error {
			return tx.QueryRow(ctx, `SELECT id FROM notes WHERE id = $1`, []byte("x")).Scan(new(string))
		}, "pass a string"},
		{"a float", func(ctx context.Context, tx durable.Tx) error {
			_, err := tx.Query(ctx, `SELECT id FROM notes WHERE id = $1`, 1.5)
			return err
		}, "float"},
		{"a kind that is no queue name", func(ctx context.Context, tx durable.Tx) error {
			return tx.Enqueue(ctx, durable.Job{Kind: "Not A Queue", ID: "x"})
		}, "enqueue"},
	}
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := open(t)
		exec(t, s, `CREATE TABLE notes (id TEXT NOT NULL PRIMARY KEY)`)
		for _, tt := range tests {
			err := s.InTx(t.Context(), func(tx durable.Tx) error { return tt.fn(t.Context(), tx) })
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: InTx = %v, want an error with %q", tt.name, err, tt.want)
			}
		}
		if n := number(t, s, `SELECT (SELECT count(*) FROM notes) + (SELECT count(*) FROM river_job)`); n != 0 {
			t.Errorf("%d rows were committed, want 0", n)
		}
	})
}

func TestRead_refusesWrites(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := open(t)
		if _, err := s.Read().Exec(t.Context(), `DELETE FROM inbox`); err == nil {
			t.Error("Read().Exec wrote")
		}
	})
	s := storetest.New(t)
	err := s.Read().QueryRow(t.Context(), `INSERT INTO inbox (tenant, delivery_id, received_at) VALUES ('a','b',1) RETURNING tenant`).Scan(new(string))
	if err == nil {
		t.Error("the reading connections of SQLite wrote")
	}
}

// Each transaction reads and writes back what it has read: under anything less
// than serialisable transactions with retries, increments are lost.
func TestInTx_concurrentTransactionsLoseNothing(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := open(t)
		ctx := t.Context()
		exec(t, s, `CREATE TABLE counter (id TEXT NOT NULL PRIMARY KEY, n BIGINT NOT NULL)`)
		exec(t, s, `INSERT INTO counter (id, n) VALUES ('x', 0)`)
		const people, times = 8, 20
		var wg sync.WaitGroup
		for range people {
			wg.Go(func() {
				for range times {
					err := s.InTx(ctx, func(tx durable.Tx) error {
						var n int64
						if err := tx.QueryRow(ctx, `SELECT n FROM counter WHERE id = 'x'`).Scan(&n); err != nil {
							return err
						}
						if _, err := tx.Exec(ctx, `UPDATE counter SET n = $1 WHERE id = 'x'`, n+1); err != nil {
							// An error in other words must not hide the conflict.
							return fmt.Errorf("count: %v", err) //nolint:errorlint // on purpose
						}
						return tx.Enqueue(ctx, durable.Job{Kind: "look", ID: "x", Unique: true})
					})
					if err != nil {
						t.Errorf("InTx: %v", err)
					}
				}
			})
		}
		wg.Wait()
		if n := number(t, s, `SELECT n FROM counter`); n != people*times {
			t.Errorf("counted to %d, want %d", n, people*times)
		}
		if n := number(t, s, `SELECT count(*) FROM river_job`); n != 1 {
			t.Errorf("%d jobs, want the one unique", n)
		}
	})
}

// Contexts end at any moment of a transaction; what is committed stays whole and
// the connections stay usable.
func TestInTx_cancelledAtRandom(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := open(t)
		exec(t, s, `CREATE TABLE notes (id TEXT NOT NULL PRIMARY KEY)`)
		var wg sync.WaitGroup
		var committed sync.Map
		var cancelled atomic.Int64
		for person := range 8 {
			wg.Go(func() {
				for i := range 60 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(8_000))*time.Microsecond)
					id := fmt.Sprintf("%d-%d", person, i)
					err := s.InTx(ctx, func(tx durable.Tx) error {
						if _, err := tx.Exec(ctx, `INSERT INTO notes (id) VALUES ($1)`, id); err != nil {
							return err
						}
						return tx.Enqueue(ctx, durable.Job{Kind: "look", ID: id})
					})
					cancel()
					if err == nil {
						committed.Store(id, true)
					} else {
						cancelled.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if cancelled.Load() == 0 {
			t.Error("no transaction was cancelled: the test shows nothing")
		}
		notes, jobs := number(t, s, `SELECT count(*) FROM notes`), number(t, s, `SELECT count(*) FROM river_job`)
		if notes != jobs {
			t.Errorf("%d notes and %d jobs, want as many", notes, jobs)
		}
		for id := range committed.Range {
			if n := number(t, s, `SELECT count(*) FROM notes WHERE id = $1`, id); n != 1 {
				t.Errorf("committed note %v is missing", id)
			}
		}
		exec(t, s, `INSERT INTO notes (id) VALUES ('after the storm')`)
	})
}

// A second handle inside a transaction waits for the connection that the
// transaction holds. It ends with its context, and the log names the caller.
func TestInTx_nestedIsFoundOut(t *testing.T) {
	t.Parallel()
	log := new(syncBuffer)
	s := storetest.New(t, func(o *store.Options) { o.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	s.SetLongTx(50 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	err := s.InTx(ctx, func(durable.Tx) error {
		return s.InTx(ctx, func(durable.Tx) error { return nil })
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nested InTx = %v, want the end of its context", err)
	}
	if got := log.String(); !strings.Contains(got, "tx_test.go") {
		t.Errorf("log %q does not name the caller", got)
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
