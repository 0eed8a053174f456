package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
)

// keptOf counts what the pool's only connection keeps.
func keptOf(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(c.Raw(func(c any) error { n = len(c.(*preparedConn).kept); return nil }), c.Close())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func onePool(t *testing.T) *sql.DB {
	t.Helper()
	db, err := openSQLitePool(sqliteDSN(filepath.Join(t.TempDir(), "mdebot.db")))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	do(t, db, `CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)`)
	for i := range 3 {
		do(t, db, `INSERT INTO things (id, name) VALUES ($1, $2)`, i, fmt.Sprint("thing ", i))
	}
	return db
}

func do(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func TestStatements_areKeptAndBounded(t *testing.T) {
	t.Parallel()
	db := onePool(t)
	if n := keptOf(t, db); n != 1 {
		t.Errorf("%d statements are kept after three inserts, want 1 and not the one that made the table", n)
	}
	for i := range 2*maxStatements + 10 {
		do(t, db, fmt.Sprintf(`UPDATE things SET name = name WHERE id = %d`, i))
	}
	if n := keptOf(t, db); n == 0 || n > maxStatements {
		t.Errorf("%d statements are kept, want up to %d", n, maxStatements)
	}
}

// A result may be read while the same statement runs again.
func TestStatements_openResultIsNotDisturbed(t *testing.T) {
	t.Parallel()
	db := onePool(t)
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	const all = `SELECT id FROM things ORDER BY id`
	outer, err := tx.QueryContext(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = outer.Close() }()
	pairs := ""
	for outer.Next() {
		var a int
		if err := outer.Scan(&a); err != nil {
			t.Fatal(err)
		}
		for _, b := range numbers(t, tx, all) {
			pairs += fmt.Sprint(a, b, " ")
		}
	}
	if err := outer.Err(); err != nil || pairs != "0 0 0 1 0 2 1 0 1 1 1 2 2 0 2 1 2 2 " {
		t.Errorf("read %q, %v", pairs, err)
	}
}

func numbers(t *testing.T, tx *sql.Tx, query string) (all []int) {
	t.Helper()
	rows, err := tx.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// A statement that failed or was given up leaves nothing behind for the next run.
func TestStatements_failuresLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	db := onePool(t)
	const insert = `INSERT INTO things (id, name) VALUES ($1, $2)`
	if _, err := db.ExecContext(t.Context(), insert, 9, "thing 1"); err == nil {
		t.Error("a name that is taken is accepted")
	}
	if _, err := db.ExecContext(t.Context(), insert, 9); err == nil {
		t.Error("a missing argument is accepted")
	}
	do(t, db, insert, 9, "thing 9")

	const slow = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) SELECT COUNT(*) FROM n`
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error)
	go func() {
		var n int
		stopped <- db.QueryRowContext(ctx, slow, int64(1)<<40).Scan(&n)
	}()
	cancel()
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Errorf("a query that was given up: %v", err)
	}
	var n int
	if err := db.QueryRowContext(t.Context(), slow, 10).Scan(&n); err != nil || n != 10 {
		t.Errorf("the same query after that: %d, %v", n, err)
	}
}

func TestStatements_followTheSchema(t *testing.T) {
	t.Parallel()
	db := onePool(t)
	const query = `SELECT * FROM things WHERE id = $1`
	columns := func() int {
		t.Helper()
		rows, err := db.QueryContext(t.Context(), query, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		names, err := rows.Columns()
		if err := errors.Join(err, rows.Err()); err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	if got := columns(); got != 2 {
		t.Fatalf("%d columns", got)
	}
	do(t, db, `ALTER TABLE things ADD COLUMN note TEXT NOT NULL DEFAULT ''`)
	if got := columns(); got != 3 {
		t.Errorf("%d columns after one was added", got)
	}
}

func TestComesAgain(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]bool{
		"SELECT 1":                                true,
		"\n\t\tUPDATE cards\n SET wanted = 1":     true,
		"-- name: JobGet :one\nselect * FROM job": true,
		"WITH x AS (SELECT 1) SELECT * FROM x":    true,
		"PRAGMA quick_check(1)":                   false,
		"CREATE TABLE t (id TEXT)":                false,
		"BEGIN":                                   false,
		"-- nothing":                              false,
		"":                                        false,
	} {
		if got := comesAgain(query); got != want {
			t.Errorf("comesAgain(%q) = %t", query, got)
		}
	}
}
