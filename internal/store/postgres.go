package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"github.com/mdebot/mdebot/internal/durable"
)

const (
	// migrationLock keeps replicas that start together from migrating at the
	// same time. Any number will do that no other program of this database uses.
	migrationLock = 0x6d646562

	postgresConns = 16
	// idleInTx is when the server ends a transaction whose process has gone quiet
	// in the middle of it: stopped, or cut off. Until then the others wait for
	// its locks.
	idleInTx = 5 * time.Second
	// maxTries is far above what contention between a few replicas needs, and
	// keeps a transaction that can never succeed from going on.
	maxTries = 50
)

type postgresEngine struct {
	pool   *pgxpool.Pool
	client *river.Client[pgx.Tx]
}

func openPostgres(ctx context.Context, url string, config *river.Config) (engine, error) {
	pc, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err // pgx leaves the password out
	}
	if !strings.Contains(url, "pool_max_conns") {
		pc.MaxConns = postgresConns
	}
	if pc.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] == "" {
		pc.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = strconv.FormatInt(idleInTx.Milliseconds(), 10)
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, err
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	client, err := river.NewClient(riverpgxv5.New(pool), config)
	if err != nil {
		pool.Close()
		return nil, err
	}
	return &postgresEngine{pool: pool, client: client}, nil
}

func (e *postgresEngine) inTx(ctx context.Context, fn func(*tx) error) error {
	for try := 1; ; try++ {
		again, err := e.tryTx(ctx, fn)
		if !again || try == maxTries {
			return err
		}
		pause := time.Duration(rand.Int64N(int64(min(try, 20)) * int64(5*time.Millisecond))) //nolint:gosec // jitter
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// tryTx runs fn in a transaction. It asks to try again when nothing has been
// committed for a reason that is not fn's: another transaction, or a connection
// that was lost before the commit, of which the pool may hold several more.
func (e *postgresEngine) tryTx(ctx context.Context, fn func(*tx) error) (again bool, err error) {
	pt, err := e.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable})
	if err != nil {
		_, unreachable := errors.AsType[*pgconn.ConnectError](err)
		return !unreachable && !givenUp(err), fmt.Errorf("begin transaction: %w", err)
	}
	// After a commit it does nothing. A cancelled context must not keep the
	// connection from being given back clean.
	defer func() { _ = pt.Rollback(context.WithoutCancel(ctx)) }()
	t := &tx{
		strict: strict{db: pgDBTX{pt}},
		insert: func(ctx context.Context, jobs []river.InsertManyParams) ([]*rivertype.JobInsertResult, error) {
			return e.client.InsertManyTx(ctx, pt, jobs)
		},
		complete: func(ctx context.Context, rj *river.Job[jobArgs]) error {
			_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, pt, rj)
			return err
		},
		retry: func(ctx context.Context, job int64) error {
			_, err := e.client.JobRetryTx(ctx, pt, job)
			return err
		},
	}
	if err = fn(t); err == nil {
		err = t.flush(ctx)
	}
	if t.failed != nil {
		// fn may have put the failure into words of its own.
		return conflict(t.failed) || pt.Conn().IsClosed() && !givenUp(t.failed), err
	}
	if err != nil {
		return conflict(err), err
	}
	if err := pt.Commit(ctx); err != nil {
		return conflict(err), fmt.Errorf("commit: %w", err)
	}
	return false, nil
}

// givenUp tells whether the caller's context is why a statement failed.
func givenUp(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// conflict tells whether a transaction failed only because of another one.
func conflict(err error) bool {
	pe, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pe.Code == "40001" || pe.Code == "40P01") // serialisation failure, deadlock
}

func (e *postgresEngine) read() durable.DBTX { return readOnly{pgDBTX{e.pool}} }

func (e *postgresEngine) migrate(ctx context.Context) (err error) {
	conn, err := e.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock($1)`, migrationLock); err != nil {
		return err
	}
	defer func() {
		_, unlockErr := conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, migrationLock)
		err = errors.Join(err, unlockErr)
	}()
	db := stdlib.OpenDBFromPool(e.pool)
	defer func() { err = errors.Join(err, db.Close()) }()
	return migrate(ctx, goose.DialectPostgres, db, riverpgxv5.New(e.pool))
}

// reclaim frees nothing: other replicas may be at work. The reaper tells.
func (e *postgresEngine) reclaim(context.Context) (int64, error) { return 0, nil }

func (e *postgresEngine) runner(config *river.Config) (runner, error) {
	return river.NewClient(riverpgxv5.New(e.pool), config)
}

func (e *postgresEngine) dialect() dialect {
	return dialect{
		now:       `(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`,
		lastOwner: `attempted_by[array_upper(attempted_by, 1)]`,
		tables: `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'
			AND table_name NOT LIKE 'river!_%' ESCAPE '!' AND table_name <> 'goose_db_version' ORDER BY table_name`,
	}
}

func (e *postgresEngine) check(ctx context.Context) error { return e.pool.Ping(ctx) }

func (e *postgresEngine) backup(context.Context, string) error {
	return errors.New("PostgreSQL is backed up by its own tools: pg_dump for a copy, an archive of its log to go back to any moment")
}

func (e *postgresEngine) close(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.pool.Close() // waits for every connection to be given back
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close the connections: %w", ctx.Err())
	}
}

// pgDBTX is a DBTX over pgx.
type pgDBTX struct {
	db interface {
		Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error)
		Query(ctx context.Context, query string, args ...any) (pgx.Rows, error)
		QueryRow(ctx context.Context, query string, args ...any) pgx.Row
	}
}

func (d pgDBTX) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	tag, err := d.db.Exec(ctx, query, args...)
	return tag.RowsAffected(), err
}

func (d pgDBTX) Query(ctx context.Context, query string, args ...any) (durable.Rows, error) {
	rows, err := d.db.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgRows{rows}, nil
}

func (d pgDBTX) QueryRow(ctx context.Context, query string, args ...any) durable.Row {
	return pgRow{d.db.QueryRow(ctx, query, args...)}
}

type pgRow struct{ row pgx.Row }

func (r pgRow) Scan(dest ...any) error {
	err := r.row.Scan(dest...)
	if errors.Is(err, pgx.ErrNoRows) {
		return durable.ErrNoRows
	}
	return err
}

type pgRows struct{ pgx.Rows }

func (r pgRows) Close() error {
	r.Rows.Close()
	return nil
}
