package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/mdebot/mdebot/internal/durable"
)

// View is a database opened beside the process that owns it: for a look, a check
// or a backup while mdebot serves. It migrates nothing, writes nothing and takes
// no lock.
type View struct {
	engine  viewEngine
	dialect dialect
	name    string
}

// viewEngine is the part of an engine that needs no ownership.
type viewEngine interface {
	read() durable.DBTX
	dialect() dialect
	check(ctx context.Context) error
	backup(ctx context.Context, path string) error
	close(ctx context.Context) error
}

// OpenView opens the database at url, which has to exist.
func OpenView(ctx context.Context, url string) (*View, error) {
	var e viewEngine
	var err error
	name := "PostgreSQL"
	switch scheme, rest, _ := strings.Cut(url, ":"); scheme {
	case "sqlite":
		name = "SQLite"
		e, err = viewSQLite(ctx, rest)
	case "postgres", "postgresql":
		e, err = viewPostgres(ctx, url)
	default:
		return nil, errBadURL
	}
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return &View{engine: e, dialect: e.dialect(), name: name}, nil
}

// sqliteView is a sqliteEngine without the writer and the lock.
type sqliteView struct{ *sqliteEngine }

func viewSQLite(ctx context.Context, rest string) (viewEngine, error) {
	path, _, _ := strings.Cut(rest, "?")
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	// SQLite would create a file that is missing.
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	e := &sqliteEngine{path: path}
	if e.reader, err = sql.Open("sqlite", sqliteDSN(path, "query_only(1)")); err != nil {
		return nil, err
	}
	e.reader.SetMaxOpenConns(sqliteReaders)
	var id int64
	if err = e.reader.QueryRowContext(ctx, `PRAGMA application_id`).Scan(&id); err == nil && id != applicationID {
		err = fmt.Errorf("%s is not a database of mdebot", path)
	}
	if err != nil {
		return nil, errors.Join(e.explain(err), e.closePools())
	}
	return sqliteView{e}, nil
}

func (v sqliteView) check(ctx context.Context) error {
	return v.explain(v.verify(ctx, v.reader, `PRAGMA integrity_check(1)`))
}

func (v sqliteView) close(context.Context) error { return v.closePools() }

func viewPostgres(ctx context.Context, url string) (viewEngine, error) {
	pc, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err // pgx leaves the password out
	}
	// Not as a parameter of the connection: with target_session_attrs=read-write in the
	// address it would be refused as one to a standby.
	pc.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `SET default_transaction_read_only = on`)
		return err
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, err
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return &postgresEngine{pool: pool}, nil
}

// Read runs statements that only read.
func (v *View) Read() durable.DBTX { return v.engine.read() }

// Check verifies every page and index of a SQLite file, also while it is being
// written. Of PostgreSQL, which checks itself, it verifies that it answers.
func (v *View) Check(ctx context.Context) error { return v.engine.check(ctx) }

// Backup is [Store.Backup], beside the process that owns the database.
func (v *View) Backup(ctx context.Context, path string) error { return v.engine.backup(ctx, path) }

// Close releases the database.
func (v *View) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), hardStop)
	defer cancel()
	return v.engine.close(ctx)
}

// Status is what a database holds.
type Status struct {
	Engine string // "SQLite" or "PostgreSQL"
	// Missing are the migrations that this program knows and the database has
	// not had; Schema is the newest it has had, 0 for none.
	Schema  int64
	Missing []int64
	Tables  []TableRows
}

// TableRows is how many rows a table has.
type TableRows struct {
	Table string
	Rows  int64
}

// Status counts.
func (v *View) Status(ctx context.Context) (Status, error) {
	st := Status{Engine: v.name}
	tables, err := queryStrings(ctx, v.Read(), v.dialect.tables)
	if err != nil {
		return Status{}, fmt.Errorf("list tables: %w", err)
	}
	for _, t := range tables {
		n, err := countRows(ctx, v.Read(), t)
		if err != nil {
			return Status{}, err
		}
		st.Tables = append(st.Tables, TableRows{Table: t, Rows: n})
	}
	known, err := knownMigrations()
	if err != nil || len(tables) == 0 {
		st.Missing = known
		return st, err
	}
	applied, err := queryStrings(ctx, v.Read(), `SELECT CAST(version_id AS TEXT) FROM goose_db_version WHERE is_applied`)
	if err != nil {
		return Status{}, fmt.Errorf("read schema version: %w", err)
	}
	had := map[int64]bool{}
	for _, text := range applied {
		version, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return Status{}, fmt.Errorf("read schema version: %w", err)
		}
		had[version] = true
		st.Schema = max(st.Schema, version)
	}
	for _, version := range known {
		if !had[version] {
			st.Missing = append(st.Missing, version)
		}
	}
	return st, nil
}

// knownMigrations are the numbers of this program's migrations, in order.
func knownMigrations() ([]int64, error) {
	files, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var known []int64
	for _, f := range files {
		number, _, _ := strings.Cut(filepath.Base(f), "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", f, err)
		}
		known = append(known, version)
	}
	return known, nil
}

func countRows(ctx context.Context, db durable.DBTX, table string) (n int64, err error) {
	// The name comes from the database's own catalogue or from this package.
	err = db.QueryRow(ctx, `SELECT COUNT(*) FROM `+table).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", table, err)
	}
	return n, nil
}

func queryStrings(ctx context.Context, db durable.DBTX, query string) ([]string, error) {
	rows, err := db.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}
