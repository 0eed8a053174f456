// Package storetest gives tests a database of their own: a temporary SQLite file,
// or one in a real PostgreSQL server where its programs are installed.
//
//	db := storetest.New(t)
//
// The store comes migrated and not started; Handle and Tick first, then Start.
// It is stopped and closed at the end of the test. Tests whose SQL must hold on
// both engines say
//
//	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
//		db := open(t)
//		…
//	})
package storetest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/store"
)

// Opener opens the database of one test. A second call opens it once more, as
// another replica would, which a SQLite file refuses.
type Opener func(t testing.TB, opts ...func(*store.Options)) *store.Store

// New opens a temporary SQLite database with commits that are not synchronised
// to disk. The log goes to the test's output from Warn on; opts may change that
// and set the clock.
func New(t testing.TB, opts ...func(*store.Options)) *store.Store {
	t.Helper()
	return Open(t, SQLiteURL(t), opts...)
}

// Engines runs fn as a subtest on each engine, with a database of its own.
// PostgreSQL is skipped where it is not installed.
func Engines(t *testing.T, fn func(t *testing.T, open Opener)) {
	t.Helper()
	for name, newURL := range map[string]func(testing.TB) string{"sqlite": SQLiteURL, "postgres": PostgresURL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := newURL(t)
			fn(t, func(t testing.TB, opts ...func(*store.Options)) *store.Store {
				t.Helper()
				return Open(t, url, opts...)
			})
		})
	}
}

// Open opens url and closes it at the end of the test.
func Open(t testing.TB, url string, opts ...func(*store.Options)) *store.Store {
	t.Helper()
	o := store.Options{Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))}
	for _, opt := range opts {
		opt(&o)
	}
	s, err := store.Open(t.Context(), url, o)
	if err != nil {
		t.Fatalf("store.Open: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("store.Stop: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("store.Close: %v", err)
		}
	})
	return s
}

// Clock sets the clock of a store.
func Clock(now func() time.Time) func(*store.Options) {
	return func(o *store.Options) { o.Now = now }
}

// template is a migrated database file: copying it is faster than migrating.
var template = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "mdebot-storetest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "template.db")
	s, err := store.Open(context.Background(), "sqlite:"+path+"?synchronous=off", store.Options{})
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// SQLiteURL names a new migrated SQLite file in the test's directory.
func SQLiteURL(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("sqlite:%s?synchronous=off", SQLitePath(t))
}

// SQLitePath is a new migrated SQLite file in the test's directory.
func SQLitePath(t testing.TB) string {
	t.Helper()
	file, err := template()
	if err != nil {
		t.Fatalf("make a migrated SQLite file: %v", err)
	}
	path := filepath.Join(t.TempDir(), "mdebot.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
