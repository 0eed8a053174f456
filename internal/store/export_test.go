package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// BeatAs is the heartbeat of another replica on the same database.
func (s *Store) BeatAs(ctx context.Context, replica string) error {
	other := &Store{engine: s.engine, replica: replica, logger: s.logger, now: s.now}
	return other.beat(ctx)
}

// ReplicaID is the name under which s takes jobs.
func (s *Store) ReplicaID() string { return s.replica }

// StopWaits tells whether a Stop is under way.
func (s *Store) StopWaits() bool { return len(s.running.stopping) > 0 }

// SetLongTx sets after which time a transaction is logged.
func (s *Store) SetLongTx(d time.Duration) { s.longTx = d }

const (
	Patience  = patience
	SlowRetry = slowRetry
)

// Schemas are the numbers of our migrations, in their order.
func Schemas() []int64 {
	files, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		panic(err)
	}
	var all []int64
	for _, f := range files {
		v, err := goose.NumericComponent(f)
		if err != nil {
			panic(err)
		}
		all = append(all, v)
	}
	return all
}

// MakeOld makes an empty database at url one of an earlier release: with our
// migrations up to version and what fill puts into its tables.
func MakeOld(ctx context.Context, url string, version int64, fill func(db *sql.DB, tables []string) error) (err error) {
	s := &Store{replica: "old", logger: slog.New(slog.DiscardHandler), metrics: noMetrics{}, handlers: map[string]handler{}}
	dialect := goose.DialectPostgres
	var db *sql.DB
	if path, isFile := strings.CutPrefix(url, "sqlite:"); isFile {
		e, err := openSQLite(ctx, path, s.riverConfig())
		if err != nil {
			return err
		}
		s.engine, dialect, db = e, goose.DialectSQLite3, e.(*sqliteEngine).writer
	} else {
		e, err := openPostgres(ctx, url, s.riverConfig())
		if err != nil {
			return err
		}
		s.engine, db = e, stdlib.OpenDBFromPool(e.(*postgresEngine).pool)
		defer func() { err = errors.Join(err, db.Close()) }()
	}
	defer func() { err = errors.Join(err, s.engine.close(ctx)) }()
	provider, err := migrations(dialect, db)
	if err != nil {
		return err
	}
	if _, err := provider.UpTo(ctx, version); err != nil {
		return fmt.Errorf("migrate to %d: %w", version, err)
	}
	if now, err := provider.GetDBVersion(ctx); err != nil || now != version {
		return errors.Join(err, fmt.Errorf("the database was not empty: it has version %d", now))
	}
	tables, err := queryStrings(ctx, s.engine.read(), s.engine.dialect().tables)
	if err != nil {
		return err
	}
	return fill(db, tables)
}
