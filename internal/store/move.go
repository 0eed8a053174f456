package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/mdebot/mdebot/internal/durable"
)

// MoveInput is a move of a SQLite database to PostgreSQL.
type MoveInput struct {
	From, To string // database URLs
	// Verify looks at the copy before it is committed. An error undoes the move.
	Verify func(ctx context.Context, copied durable.DBTX) error
	Options
}

// notMoved are tables about processes and jobs that end with the move.
var notMoved = []string{"replicas", "wakeups"}

// moveLockWait is how long a move waits for the owner of the file to leave.
const moveLockWait = time.Second

// Move copies all state of a SQLite database that no process uses to an empty
// PostgreSQL database, in one transaction, and returns what it copied. The file
// is brought to this program's schema and otherwise left as it is.
//
// Jobs are not copied: they are reminders, and the sweeps registered with
// [Store.Tick] find everything that is left to do.
func Move(ctx context.Context, in MoveInput) (moved []TableRows, err error) {
	path, found := strings.CutPrefix(in.From, "sqlite:")
	if !found || !strings.HasPrefix(in.To, "postgres://") && !strings.HasPrefix(in.To, "postgresql://") {
		return nil, errors.New("move: only from sqlite:FILE to postgres://…")
	}
	path, _, _ = strings.Cut(path, "?")
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("move: %w", err) // Open would create it
	}
	if err := refuseInUse(ctx, path); err != nil {
		return nil, err
	}
	source, err := Open(ctx, in.From, in.Options)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := Open(ctx, in.To, in.Options)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, target.Close()) }()

	// The two schemes above make these types certain.
	from, to := source.engine.(*sqliteEngine), target.engine.(*postgresEngine)
	err = pgx.BeginTxFunc(ctx, to.pool, pgx.TxOptions{IsoLevel: pgx.Serializable}, func(tx pgx.Tx) error {
		moved, err = copyAll(ctx, from, tx)
		if err == nil && in.Verify != nil {
			err = in.Verify(ctx, pgDBTX{tx})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("move: nothing was moved: %w", err)
	}
	return moved, nil
}

// refuseInUse says soon who owns the file. Somebody who takes it right
// afterwards makes Open wait.
func refuseInUse(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, moveLockWait)
	defer cancel()
	f, err := os.OpenFile(path+".lock", os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		return nil // it was never opened here
	}
	if err != nil {
		return err
	}
	return errors.Join(waitLock(ctx, f), f.Close())
}

func copyAll(ctx context.Context, from *sqliteEngine, tx pgx.Tx) ([]TableRows, error) {
	// A replica that starts now waits for the end of the move with its first beat.
	if _, err := tx.Exec(ctx, `LOCK TABLE replicas IN ACCESS EXCLUSIVE MODE`); err != nil {
		return nil, err
	}
	copied := pgDBTX{tx}
	tables, err := queryStrings(ctx, from.read(), from.dialect().tables)
	if err != nil {
		return nil, err
	}
	for _, table := range append(slices.Clone(tables), "river_job") {
		n, err := countRows(ctx, copied, table)
		switch {
		case err != nil:
			return nil, err
		case n > 0 && table == "replicas":
			return nil, errors.New("the PostgreSQL database is in use by a running mdebot, or was until a moment ago: stop it")
		case n > 0:
			return nil, fmt.Errorf("the PostgreSQL database is not empty: %s has %d rows; name an empty one", table, n)
		}
	}
	var moved []TableRows
	for _, table := range tables {
		if slices.Contains(notMoved, table) {
			continue
		}
		if err := copyTable(ctx, from.reader, tx, table); err != nil {
			return nil, fmt.Errorf("copy %s: %w", table, err)
		}
		had, err := countRows(ctx, from.read(), table)
		if err != nil {
			return nil, err
		}
		has, err := countRows(ctx, copied, table)
		if err != nil {
			return nil, err
		}
		if had != has {
			return nil, fmt.Errorf("%s has %d rows and %d arrived", table, had, has)
		}
		moved = append(moved, TableRows{Table: table, Rows: has})
	}
	return moved, nil
}

// copyTable streams the rows: a table may be larger than memory.
func copyTable(ctx context.Context, from *sql.DB, tx pgx.Tx, table string) error {
	rows, err := from.QueryContext(ctx, `SELECT * FROM `+table) //nolint:gosec,sqlclosecheck // a name from the catalogue; closed below
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, dest := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		dest[i] = &values[i]
	}
	_, err = tx.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromFunc(func() ([]any, error) {
		if !rows.Next() {
			return nil, rows.Err()
		}
		return values, rows.Scan(dest...)
	}))
	return errors.Join(err, rows.Err())
}
