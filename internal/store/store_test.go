package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/tenant"
)

const contoso tenant.ID = "11111111-1111-1111-1111-111111111111"

func TestMain(m *testing.M) {
	// Nothing stored may depend on the machine's zone.
	time.Local = time.FixedZone("far from UTC", -11*60*60)
	if lives := childProcess(); lives {
		return
	}
	goleak.VerifyTestMain(m)
}

// exec runs one statement in a transaction of its own.
func exec(t testing.TB, s *store.Store, query string, args ...any) int64 {
	t.Helper()
	var n int64
	err := s.InTx(t.Context(), func(tx durable.Tx) (err error) {
		n, err = tx.Exec(t.Context(), query, args...)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// number reads one integer.
func number(t testing.TB, s *store.Store, query string, args ...any) int64 {
	t.Helper()
	var n int64
	if err := s.Read().QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func enqueue(t testing.TB, s *store.Store, jobs ...durable.Job) {
	t.Helper()
	err := s.InTx(t.Context(), func(tx durable.Tx) error {
		for _, job := range jobs {
			if err := tx.Enqueue(t.Context(), job); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("enqueue: %v", err)
	}
}

func start(t testing.TB, s *store.Store) {
	t.Helper()
	if err := s.Start(t.Context()); err != nil {
		t.Fatalf("Start: %v", err)
	}
}

// next is the next value from ch, which has to come soon.
func next[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing happened for 20 s")
		panic("unreachable")
	}
}

// record is a worker that tells of its runs and answers with what reply returns.
func record(runs chan<- durable.Job, reply func(run int) error) durable.Worker {
	n := 0
	return func(_ context.Context, job durable.Job) error {
		n++
		err := reply(n)
		runs <- job
		return err
	}
}

func always(err error) func(int) error { return func(int) error { return err } }

var errBroken = errors.New("broken")

// waitFor polls until ok, for what a worker's return only starts.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("waited 20 s for %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
