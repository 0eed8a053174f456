package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivertype"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/mdebot/mdebot/internal/durable"
)

const (
	// applicationID marks a SQLite file as mdebot's ("mdeb").
	applicationID = 0x6d646562
	sqliteReaders = 4
)

// sqliteEngine keeps one connection for everything that writes, the program's
// and River's, because two would fight through SQLite's busy handler for seconds
// where database/sql lets them take turns.
type sqliteEngine struct {
	path   string
	lock   *fileLock
	writer *sql.DB
	reader *sql.DB
	client *river.Client[*sql.Tx]
	// turn queues transactions first in, first out. The pool wakes its waiters
	// in random order, and River is one of them: this way it competes with one
	// transaction and not with all.
	turn chan struct{}
}

// openSQLite opens rest, which is "path" or "path?synchronous=off"; the latter
// gives up the safety of every commit for speed and is meant for tests.
func openSQLite(ctx context.Context, rest string, config *river.Config) (engine, error) {
	name, query, _ := strings.Cut(rest, "?")
	synchronous := "FULL"
	switch query {
	case "":
	case "synchronous=off":
		synchronous = "OFF"
	default:
		return nil, fmt.Errorf("unknown setting %q in the database URL", query)
	}
	if name == "" {
		return nil, errors.New(`database URL names no file: use "sqlite:mdebot.db"`)
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if err := errors.Join(refuseNetworkFS(filepath.Dir(path)), refuseOpenDir(filepath.Dir(path))); err != nil {
		return nil, err
	}
	lock, err := acquireLock(ctx, path+".lock")
	if err != nil {
		return nil, err
	}
	e := &sqliteEngine{path: path, lock: lock, turn: make(chan struct{}, 1)}
	if err := e.open(ctx, synchronous, config); err != nil {
		return nil, errors.Join(err, e.abandon())
	}
	return e, nil
}

func (e *sqliteEngine) open(ctx context.Context, synchronous string, config *river.Config) error {
	if err := prepareFile(e.path); err != nil {
		return err
	}
	var err error
	e.writer, err = openSQLitePool(sqliteDSN(e.path, "synchronous("+synchronous+")"))
	if err != nil {
		return err
	}
	e.writer.SetMaxOpenConns(1)
	e.reader, err = openSQLitePool(sqliteDSN(e.path, "query_only(1)"))
	if err != nil {
		return err
	}
	e.reader.SetMaxOpenConns(sqliteReaders)
	e.reader.SetMaxIdleConns(sqliteReaders)
	if err := e.examine(ctx); err != nil {
		return e.explain(err)
	}
	// The mode stays in the file. It is set only now because it changes the file,
	// which might not have been ours.
	if _, err := e.writer.ExecContext(ctx, `PRAGMA journal_mode = WAL`); err != nil {
		return e.explain(err)
	}
	e.client, err = river.NewClient(riversqlite.New(e.writer), config)
	return err
}

// refuseOpenDir refuses a directory in which everybody could replace the database,
// however private the file is.
func refuseOpenDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o002 != 0 && info.Mode()&os.ModeSticky == 0 {
		return fmt.Errorf("everybody can write to %s (mode %04o) and replace the database: run chmod o-w %s", dir, info.Mode().Perm(), dir)
	}
	return nil
}

// prepareFile creates the file and takes others' rights away. The files that
// SQLite puts beside it follow its mode.
func prepareFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o600), f.Close())
}

func sqliteDSN(path string, pragmas ...string) string {
	q := url.Values{"_txlock": {"immediate"}}
	q["_pragma"] = append([]string{"busy_timeout(10000)", "foreign_keys(1)"}, pragmas...)
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// examine refuses a file that is not ours or not whole. After an unclean stop
// indexes are compared with their tables too, which takes longer.
func (e *sqliteEngine) examine(ctx context.Context) error {
	var id, objects int64
	if err := e.writer.QueryRowContext(ctx, `PRAGMA application_id`).Scan(&id); err != nil {
		return err
	}
	if err := e.writer.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema`).Scan(&objects); err != nil {
		return err
	}
	if id != applicationID {
		if objects > 0 || id != 0 {
			return fmt.Errorf("%s is a SQLite database of another program; name another file", e.path)
		}
		_, err := e.writer.ExecContext(ctx, fmt.Sprintf(`PRAGMA application_id = %d`, applicationID))
		return err
	}
	if e.lock.clean {
		return e.verify(ctx, e.writer, `PRAGMA quick_check(1)`)
	}
	return e.verify(ctx, e.writer, `PRAGMA integrity_check(1)`)
}

func (e *sqliteEngine) verify(ctx context.Context, db *sql.DB, pragma string) error {
	var result string
	if err := db.QueryRowContext(ctx, pragma).Scan(&result); err != nil {
		return err
	}
	if result != "ok" {
		return e.damaged(result)
	}
	return nil
}

// explain turns SQLite's words for a broken file into what to do about it.
func (e *sqliteEngine) explain(err error) error {
	if se, ok := errors.AsType[*sqlite.Error](err); ok {
		switch se.Code() & 0xff {
		case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
			return e.damaged(se.Error())
		}
	}
	return err
}

func (e *sqliteEngine) damaged(what string) error {
	return fmt.Errorf("%s is damaged or not a database (%s); it was left as it is: restore a backup or move it away", e.path, what)
}

func (e *sqliteEngine) inTx(ctx context.Context, fn func(*tx) error) error {
	select {
	case e.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait for the database: %w", ctx.Err())
	}
	defer func() { <-e.turn }()

	st, err := e.writer.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer func() { _ = st.Rollback() }() // after a commit it does nothing
	t := &tx{
		strict: strict{db: sqlDBTX{st}},
		insert: func(ctx context.Context, jobs []river.InsertManyParams) ([]*rivertype.JobInsertResult, error) {
			return e.client.InsertManyTx(ctx, st, jobs)
		},
		complete: func(ctx context.Context, rj *river.Job[jobArgs]) error {
			_, err := river.JobCompleteTx[*riversqlite.Driver](ctx, st, rj)
			return err
		},
		retry: func(ctx context.Context, job int64) error {
			_, err := e.client.JobRetryTx(ctx, st, job)
			return err
		},
	}
	if err := fn(t); err != nil {
		return err
	}
	if err := t.flush(ctx); err != nil {
		return err
	}
	if err := st.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

func (e *sqliteEngine) read() durable.DBTX { return readOnly{sqlDBTX{e.reader}} }

func (e *sqliteEngine) migrate(ctx context.Context) error {
	return migrate(ctx, goose.DialectSQLite3, e.writer, riversqlite.New(e.writer))
}

// reclaim may free every job and the leadership, because the lock says that no
// other process has them.
func (e *sqliteEngine) reclaim(ctx context.Context) (int64, error) {
	var freed int64
	err := e.inTx(ctx, func(t *tx) error {
		for _, q := range []string{`DELETE FROM replicas`, `DELETE FROM river_leader`} {
			if _, err := t.Exec(ctx, q); err != nil {
				return err
			}
		}
		var err error
		freed, err = t.Exec(ctx, `UPDATE river_job SET state = 'available' WHERE state = 'running'`)
		return err
	})
	return freed, err
}

func (e *sqliteEngine) runner(config *river.Config) (runner, error) {
	return river.NewClient(riversqlite.New(e.writer), config)
}

func (e *sqliteEngine) dialect() dialect {
	return dialect{
		now:       `CAST(unixepoch('subsec') * 1000000 AS INTEGER)`,
		lastOwner: `attempted_by ->> '$[#-1]'`,
		tables: `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'
			AND name NOT LIKE 'river!_%' ESCAPE '!' AND name <> 'goose_db_version' ORDER BY name`,
	}
}

func (e *sqliteEngine) check(ctx context.Context) error {
	return e.explain(e.verify(ctx, e.writer, `PRAGMA integrity_check(1)`))
}

func (e *sqliteEngine) close(context.Context) error {
	return errors.Join(e.closePools(), e.lock.release(true))
}

// abandon closes without calling the file well.
func (e *sqliteEngine) abandon() error {
	return errors.Join(e.closePools(), e.lock.release(e.lock.clean))
}

// closePools closes the writer last: the last connection folds the log into the
// file.
func (e *sqliteEngine) closePools() error {
	var errs []error
	for _, db := range []*sql.DB{e.reader, e.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// sqlDBTX is a DBTX over database/sql.
type sqlDBTX struct {
	db interface {
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
		QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
		QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	}
}

func (d sqlDBTX) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	res, err := d.db.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (d sqlDBTX) Query(ctx context.Context, query string, args ...any) (durable.Rows, error) {
	rows, err := d.db.QueryContext(ctx, query, args...) //nolint:rowserrcheck // by the caller
	if err != nil {
		return nil, err
	}
	return rows, nil
}

func (d sqlDBTX) QueryRow(ctx context.Context, query string, args ...any) durable.Row {
	return sqlRow{d.db.QueryRowContext(ctx, query, args...)}
}

type sqlRow struct{ row *sql.Row }

func (r sqlRow) Scan(dest ...any) error {
	err := r.row.Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return durable.ErrNoRows
	}
	return err
}
