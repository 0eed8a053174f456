package store_test

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ = store.Open
var _ durable.Job

func TestSmoke(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := open(t)
		done := make(chan durable.Job, 1)
		s.Handle("look", func(ctx context.Context, j durable.Job) error { done <- j; return nil }, 2)
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, u := range []bool{false, true} {
			err := s.InTx(t.Context(), func(tx durable.Tx) error {
				return tx.Enqueue(t.Context(), durable.Job{Tenant: "t", Kind: "look", ID: "1", Unique: u})
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Log(<-done)
		}
	})
}
