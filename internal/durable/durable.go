// Package durable is what the rest of mdebot knows about storage: a database, a
// transaction in which state, audit record, cards and jobs commit together, and
// jobs that run later, at least once.
//
// State lives in tables and moves by compare-and-set; a job only says "look at
// this again", so a job that runs twice, or for a state that has moved on, finds
// nothing to do. One SQL text serves SQLite and PostgreSQL:
//
//   - placeholders are $1, $2, … numbered in the order of first use;
//   - columns are TEXT or BIGINT; times are microseconds UTC ([Micros]), set by
//     Go; identifiers are UUIDv7 text; JSON is TEXT;
//   - ON CONFLICT, RETURNING and partial indexes work on both; SELECT … FOR UPDATE
//     does not: lock by updating the parent row.
//
// Inside [DB.InTx] the Tx is the only handle that may be used (another one waits
// for the same connection on SQLite and deadlocks), and no network call is made.
package durable

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mdebot/mdebot/internal/tenant"
)

// ErrNoRows is what Row.Scan returns when the query found nothing, on every engine.
var ErrNoRows = errors.New("no rows in result set")

// Row is one row, to be scanned once.
type Row interface {
	Scan(dest ...any) error
}

// Rows is a result set. Close it; read Err after Next has returned false.
type Rows interface {
	Next() bool
	Scan(dest ...any) error
	Close() error
	Err() error
}

// DBTX runs statements.
type DBTX interface {
	// Exec returns the number of rows changed.
	Exec(ctx context.Context, query string, args ...any) (int64, error)
	Query(ctx context.Context, query string, args ...any) (Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) Row
}

// Tx is a read-write transaction. It is not safe for concurrent use.
type Tx interface {
	DBTX
	// Enqueue plans a job that becomes visible when the transaction commits.
	Enqueue(ctx context.Context, job Job) error
}

// DB is a database. It is safe for concurrent use.
type DB interface {
	// InTx runs fn in a transaction and commits when fn returns nil. A
	// serialisation failure on PostgreSQL is retried, so fn may run more than
	// once and must not have effects outside its Tx.
	InTx(ctx context.Context, fn func(Tx) error) error
	// Read runs statements outside a transaction, on read-only connections where
	// the engine has them.
	Read() DBTX
}

// Job says that something wants another look, at RunAt or as soon as possible.
type Job struct {
	Tenant tenant.ID
	// Kind chooses the worker, such as "execute".
	Kind string
	// ID is what to look at. Together with Tenant, Kind and Generation it is the
	// job's identity.
	ID string
	// Generation fences a job against an earlier attempt on the same ID.
	Generation int64
	// RunAt is the earliest time; zero means now.
	RunAt time.Time
	// Unique drops the job when the same (Tenant, Kind, ID, Generation) is
	// already waiting or running, so that workers of one ID do not meet. One that
	// runs is run once more when it ends: its look may have come too early.
	Unique bool
}

// Worker looks at one job. An error is retried with back-off; [Snooze] asks to
// run again later without counting as a failure.
type Worker func(ctx context.Context, job Job) error

// SnoozeError asks that a job runs again after a while.
type SnoozeError struct{ After time.Duration }

func (e *SnoozeError) Error() string { return fmt.Sprintf("run again in %s", e.After) }

// Snooze returns a *SnoozeError for a Worker to return.
func Snooze(after time.Duration) error { return &SnoozeError{After: after} }

// Micros is a time as stored: microseconds since 1970 UTC; the zero time is 0.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Time is the inverse of Micros.
func Time(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
