package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"github.com/mdebot/mdebot/internal/failpoint"
)

func (e *sqliteEngine) backup(ctx context.Context, path string) (err error) {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("back up to %s: the file exists; name a new one", path)
	}
	// An interrupted backup must not look like a good one, so the copy gets its
	// name when it is complete and on disk.
	partial := path + ".partial"
	f, err := os.OpenFile(partial, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("back up to %s: %w", path, err)
	}
	defer func() {
		if closeErr := f.Close(); err == nil && closeErr != nil {
			err = closeErr
		}
		if err != nil {
			_ = os.Remove(partial)
			err = fmt.Errorf("back up to %s: %w", path, err)
		}
	}()

	// Its own connection, so that commits go on meanwhile. It has to be a
	// writable one: SQLite refuses VACUUM INTO on a query_only connection.
	db, err := sql.Open("sqlite", sqliteDSN(e.path))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, `VACUUM INTO $1`, partial); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return failpoint.Around(failpoint.BackupWritten, func() error { return os.Rename(partial, path) })
}
