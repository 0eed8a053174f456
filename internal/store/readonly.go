package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/mdebot/mdebot/internal/durable"
)

// Reader is a database opened for looking only, beside the process that owns it.
type Reader struct {
	durable.DBTX
	close func() error
}

// Close releases the database.
func (r *Reader) Close() error { return r.close() }

// OpenReader opens the database at url without owning or migrating it: a SQLite
// file is read while another process works on it, a PostgreSQL session refuses
// to write. Tables of a later migration may be missing.
func OpenReader(ctx context.Context, url string) (*Reader, error) {
	var r *Reader
	var err error
	switch scheme, rest, _ := strings.Cut(url, ":"); scheme {
	case "sqlite":
		r, err = readSQLite(ctx, rest)
	case "postgres", "postgresql":
		r, err = readPostgres(ctx, url)
	default:
		err = errors.New(`database URL must start with "sqlite:" or "postgres://"`)
	}
	if err != nil {
		return nil, fmt.Errorf("open database to read: %w", err)
	}
	return r, nil
}

func readSQLite(ctx context.Context, rest string) (*Reader, error) {
	name, _, _ := strings.Cut(rest, "?")
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	// Not mode=ro: without another process, SQLite must be able to make the files
	// beside the log. Nothing is written into the database.
	db, err := sql.Open("sqlite", sqliteDSN(path, "query_only(1)")+"&mode=rw")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	var id int64
	if err := db.QueryRowContext(ctx, `PRAGMA application_id`).Scan(&id); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	if id != applicationID {
		return nil, errors.Join(fmt.Errorf("%s is not a database of mdebot", path), db.Close())
	}
	return &Reader{readOnly{sqlDBTX{db}}, db.Close}, nil
}

func readPostgres(ctx context.Context, url string) (*Reader, error) {
	pc, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err // pgx leaves the password out
	}
	pc.MaxConns = 1
	pc.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on"
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, err
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return &Reader{readOnly{pgDBTX{pool}}, func() error { pool.Close(); return nil }}, nil
}
