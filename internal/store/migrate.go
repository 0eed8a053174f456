package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"

	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/mdebot/mdebot/internal/failpoint"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrate brings River's tables and ours up to date. Migrations only go
// forward; each runs in a transaction of its own.
func migrate[T any](ctx context.Context, d goose.Dialect, db *sql.DB, driver riverdriver.Driver[T]) error {
	provider, err := migrations(d, db)
	if err != nil {
		return err
	}
	river, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	have, newest, err := provider.GetVersions(ctx)
	if err != nil {
		return err
	}
	if have > newest {
		return newerSchema("schema", have, newest)
	}
	if err := refuseUnknown(ctx, db, have, newest, provider.ListSources()); err != nil {
		return err
	}
	// River applies what it knows and is missing, which is nothing when the
	// schema is newer, so looking afterwards is soon enough.
	if _, err := river.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("job tables: %w", err)
	}
	known := river.AllVersions()
	newest = int64(known[len(known)-1].Version)
	if err := db.QueryRowContext(ctx, `SELECT max(version) FROM river_migration`).Scan(&have); err != nil {
		return fmt.Errorf("job tables: %w", err)
	}
	if have > newest {
		return newerSchema("job schema", have, newest)
	}
	for {
		_, err := provider.UpByOne(ctx)
		if errors.Is(err, goose.ErrNoNextVersion) {
			return nil
		}
		if err == nil {
			err = failpoint.After(failpoint.Migrated)
		}
		if err != nil {
			return err
		}
	}
}

// migrations are ours. Each file is run whole, as both databases take it: goose
// would cut it into statements, at a cost that a start and every test notices.
func migrations(d goose.Dialect, db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var all []*goose.Migration
	for _, name := range files {
		version, err := goose.NumericComponent(name)
		if err != nil {
			return nil, err
		}
		file, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		all = append(all, goose.NewGoMigration(version, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, string(file)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		}}, nil))
	}
	// Numbers are handed out to the owners of tables in advance, so a lower one
	// may arrive after a higher one.
	return goose.NewProvider(d, db, nil, goose.WithGoMigrations(all...), goose.WithAllowOutofOrder(true), goose.WithDisableGlobalRegistry(true))
}

// refuseUnknown finds migrations of a later mdebot below our newest one: numbers
// do not arrive in their order.
func refuseUnknown(ctx context.Context, db *sql.DB, have, newest int64, known []*goose.Source) error {
	if have <= 0 {
		return nil // nothing was ever applied
	}
	rows, err := db.QueryContext(ctx, `SELECT DISTINCT version_id FROM goose_db_version ORDER BY version_id`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var v int64
		if err := rows.Scan(&v); err != nil {
			return err
		}
		if v > 0 && !slices.ContainsFunc(known, func(s *goose.Source) bool { return s.Version == v }) {
			return newerSchema(fmt.Sprintf("schema has the migration %d that this mdebot lacks; it", v), have, newest)
		}
	}
	return rows.Err()
}

// newerSchema protects a database that a later mdebot has migrated: this one
// would write rows that the later one's rules forbid.
func newerSchema(what string, have, known int64) error {
	return fmt.Errorf("the database's %s has version %d and this mdebot knows %d: run the newer mdebot, or restore a backup from before its upgrade",
		what, have, known)
}
