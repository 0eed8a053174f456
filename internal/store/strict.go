package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
)

// strict is the DBTX inside a transaction. It refuses on both engines what only
// one of them would refuse, so that code tested on SQLite runs on PostgreSQL:
// arguments that are neither text nor integer, a statement while rows are being
// read, and going on after a statement has failed.
type strict struct {
	db     durable.DBTX
	rows   int
	failed error
}

func (s *strict) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	if err := s.ready(args); err != nil {
		return 0, err
	}
	n, err := s.db.Exec(ctx, query, args...)
	return n, s.note(err)
}

func (s *strict) Query(ctx context.Context, query string, args ...any) (durable.Rows, error) {
	if err := s.ready(args); err != nil {
		return nil, err
	}
	rows, err := s.db.Query(ctx, query, args...)
	if err != nil {
		return nil, s.note(err)
	}
	s.rows++
	return &strictRows{Rows: rows, tx: s}, nil
}

func (s *strict) QueryRow(ctx context.Context, query string, args ...any) durable.Row {
	if err := s.ready(args); err != nil {
		return errRow{err}
	}
	return &strictRow{Row: s.db.QueryRow(ctx, query, args...), tx: s}
}

func (s *strict) ready(args []any) error {
	if s.failed != nil {
		return fmt.Errorf("transaction has failed before: %w", s.failed)
	}
	if s.rows > 0 {
		return errors.New("close the rows before the next statement: a PostgreSQL connection does one thing at a time")
	}
	return checkArgs(args)
}

func (s *strict) note(err error) error {
	if err != nil && s.failed == nil && !errors.Is(err, durable.ErrNoRows) {
		s.failed = err
	}
	return err
}

type strictRow struct {
	durable.Row
	tx *strict
}

func (r *strictRow) Scan(dest ...any) error { return r.tx.note(r.Row.Scan(dest...)) }

type strictRows struct {
	durable.Rows
	tx     *strict
	closed bool
}

func (r *strictRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	r.release()
	_ = r.tx.note(r.Err())
	return false
}

func (r *strictRows) Scan(dest ...any) error { return r.tx.note(r.Rows.Scan(dest...)) }

func (r *strictRows) Close() error {
	r.release()
	return r.tx.note(r.Rows.Close())
}

func (r *strictRows) release() {
	if !r.closed {
		r.closed = true
		r.tx.rows--
	}
}

// readOnly is the DBTX outside transactions.
type readOnly struct{ db durable.DBTX }

func (r readOnly) Exec(context.Context, string, ...any) (int64, error) {
	return 0, errors.New("write outside a transaction: use InTx")
}

func (r readOnly) Query(ctx context.Context, query string, args ...any) (durable.Rows, error) {
	if err := checkArgs(args); err != nil {
		return nil, err
	}
	return r.db.Query(ctx, query, args...)
}

func (r readOnly) QueryRow(ctx context.Context, query string, args ...any) durable.Row {
	if err := checkArgs(args); err != nil {
		return errRow{err}
	}
	return r.db.QueryRow(ctx, query, args...)
}

type errRow struct{ err error }

func (r errRow) Scan(...any) error { return r.err }

// checkArgs refuses what the engines would store differently: SQLite takes
// anything into any column.
func checkArgs(args []any) error {
	for i, arg := range args {
		switch arg.(type) {
		case bool:
			return fmt.Errorf("argument $%d is a bool: columns are TEXT or BIGINT, pass 0 or 1", i+1)
		case []byte:
			return fmt.Errorf("argument $%d is []byte: columns are TEXT or BIGINT, pass a string", i+1)
		case float32, float64:
			return fmt.Errorf("argument $%d is a float: columns are TEXT or BIGINT", i+1)
		case time.Time:
			return fmt.Errorf("argument $%d is a time.Time: pass durable.Micros", i+1)
		}
	}
	return nil
}
