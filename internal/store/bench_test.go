package store_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

// onEngines runs a benchmark on a SQLite file whose commits reach the disk and on
// a PostgreSQL server whose commits do not (see storetest).
func onEngines(b *testing.B, fn func(b *testing.B, s *store.Store)) {
	b.Run("sqlite", func(b *testing.B) {
		fn(b, storetest.Open(b, "sqlite:"+filepath.Join(b.TempDir(), "mdebot.db")))
	})
	b.Run("postgres", func(b *testing.B) { fn(b, storetest.Postgres(b)) })
}

// BenchmarkFlow is the life of an approved action without the outside: a
// transaction that changes state and enqueues a job, and the job's transaction
// that changes it again. Eight people ask at the same time.
func BenchmarkFlow(b *testing.B) {
	onEngines(b, func(b *testing.B, s *store.Store) {
		ctx := b.Context()
		exec(b, s, `CREATE TABLE flows (id TEXT NOT NULL PRIMARY KEY, state TEXT NOT NULL)`)
		done := make(chan bool, b.N)
		s.Handle("execute", func(ctx context.Context, job durable.Job) error {
			err := s.InTx(ctx, func(tx durable.Tx) error {
				_, err := tx.Exec(ctx, `UPDATE flows SET state = 'done' WHERE id = $1 AND state = 'approved'`, job.ID)
				return err
			})
			done <- true
			return err
		}, 8)
		start(b, s)
		var ids atomic.Int64
		b.SetParallelism(8)
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				id := fmt.Sprint(ids.Add(1))
				err := s.InTx(ctx, func(tx durable.Tx) error {
					if _, err := tx.Exec(ctx, `INSERT INTO flows (id, state) VALUES ($1, 'approved')`, id); err != nil {
						return err
					}
					return tx.Enqueue(ctx, durable.Job{Tenant: contoso, Kind: "execute", ID: id, Generation: 1, Unique: true})
				})
				if err != nil {
					b.Error(err)
				}
			}
		})
		for range b.N {
			next(b, done)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "flows/s")
	})
}

// BenchmarkLatency is the time from the beginning of the transaction that
// enqueues a job to the job's run, on an idle store.
func BenchmarkLatency(b *testing.B) {
	onEngines(b, func(b *testing.B, s *store.Store) {
		ran := make(chan time.Time, 1)
		s.Handle("execute", func(context.Context, durable.Job) error {
			ran <- time.Now()
			return nil
		}, 8)
		start(b, s)
		var took []time.Duration
		for range b.N {
			began := time.Now()
			enqueue(b, s, durable.Job{Tenant: contoso, Kind: "execute", ID: "a"})
			took = append(took, next(b, ran).Sub(began))
			time.Sleep(20 * time.Millisecond) // idle again
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	})
}

// BenchmarkOpen is what every test that asks for a store waits for.
func BenchmarkOpen(b *testing.B) {
	for range b.N {
		if err := storetest.New(b).Close(); err != nil {
			b.Fatal(err)
		}
	}
}
