package app

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

// A tenant whose Defender hangs holds its share of the workers and no more: jobs of
// another run meanwhile, and its own when it is over.
func TestShares_hangingTenantLeavesWorkersToOthers(t *testing.T) {
	t.Parallel()
	const workers, noisy = 4, 12
	for name, tenants := range map[string]int{"several tenants": 2, "one tenant": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			hang, quiet := make(chan struct{}), make(chan struct{})
			var held, most, done atomic.Int64
			db.Handle("work", newShares(workers, tenants).around(func(_ context.Context, job durable.Job) error {
				if job.Tenant == "quiet" {
					close(quiet)
					return nil
				}
				now := held.Add(1)
				for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
				}
				<-hang
				held.Add(-1)
				done.Add(1)
				return nil
			}), store.Workers(workers))
			if err := db.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := db.Stop(context.Background()); err != nil {
					t.Errorf("Stop() = %v", err)
				}
			})
			letGo := sync.OnceFunc(func() { close(hang) })
			t.Cleanup(letGo) // before Stop, also when the test has failed
			until := func(what string, ok func() bool) {
				t.Helper()
				for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) { // jobs tell nobody
					if time.Now().After(end) {
						t.Fatalf("waited in vain until %s", what)
					}
				}
			}
			enqueue := func(jobs ...durable.Job) {
				t.Helper()
				if err := db.InTx(t.Context(), func(tx durable.Tx) error {
					for _, job := range jobs {
						if err := tx.Enqueue(t.Context(), job); err != nil {
							return err
						}
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
			var all []durable.Job
			for i := range noisy {
				all = append(all, durable.Job{Tenant: "noisy", Kind: "work", ID: fmt.Sprint(i)})
			}
			enqueue(all...)
			share := int64(workers)
			if tenants > 1 {
				share = workers / 2
			}
			until("the noisy tenant has its share", func() bool { return held.Load() == share })
			if tenants > 1 {
				enqueue(durable.Job{Tenant: "quiet", Kind: "work", ID: "1"})
				select {
				case <-quiet:
				case <-time.After(patience):
					t.Fatal("the quiet tenant's job does not run while the noisy one hangs")
				}
			}
			letGo()
			until("the noisy tenant's jobs are done", func() bool { return done.Load() == noisy })
			if most.Load() > share {
				t.Errorf("%d jobs of one tenant ran at once, want at most %d", most.Load(), share)
			}
		})
	}
}
