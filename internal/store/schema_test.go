package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

// released are the schemas that a release has had. A release adds its own.
var released = []int64{9}

// old is what a database of an earlier release holds: rows by table.
type old map[string]oldTable

type oldTable struct {
	columns []string
	rows    [][]any
}

// allowed are values of columns that take no others.
var allowed = map[string]string{"state": "pending", "stage": "offered"}

// fill puts two rows into every table, each different in every column that takes
// any value.
func (o old) fill(db *sql.DB, tables []string) error {
	ctx := context.Background()
	for _, table := range tables {
		types, err := columnsOf(ctx, db, table)
		if err != nil {
			return err
		}
		t := oldTable{}
		var places []string
		for i, c := range types {
			t.columns = append(t.columns, c.Name())
			places = append(places, fmt.Sprintf("$%d", i+1))
		}
		for n := range 2 {
			var values []any
			for _, c := range types {
				switch {
				case allowed[c.Name()] != "":
					values = append(values, allowed[c.Name()])
				case c.DatabaseTypeName() == "TEXT":
					values = append(values, fmt.Sprintf("%s %s %d – Grüße", table, c.Name(), n))
				default:
					values = append(values, int64(n+7))
				}
			}
			q := `INSERT INTO ` + table + ` (` + strings.Join(t.columns, ", ") + `) VALUES (` + strings.Join(places, ", ") + `)`
			if _, err := db.ExecContext(ctx, q, values...); err != nil {
				return fmt.Errorf("%s: %w", table, err)
			}
			t.rows = append(t.rows, values)
		}
		o[table] = t
	}
	return nil
}

func columnsOf(ctx context.Context, db *sql.DB, table string) ([]*sql.ColumnType, error) {
	rows, err := db.QueryContext(ctx, `SELECT * FROM `+table+` LIMIT 0`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	return types, errors.Join(err, rows.Err())
}

// wantIn checks that a database has the rows as they were.
func (o old) wantIn(t *testing.T, s *store.Store) {
	t.Helper()
	for name, table := range o {
		rows, err := s.Read().Query(t.Context(), `SELECT `+strings.Join(table.columns, ", ")+` FROM `+name+` ORDER BY `+strings.Join(table.columns, ", "))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got [][]string
		for rows.Next() {
			row, dest := make([]string, len(table.columns)), make([]any, len(table.columns))
			for i := range row {
				dest[i] = &row[i]
			}
			if err := rows.Scan(dest...); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got = append(got, row)
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
		var want [][]string
		for _, r := range table.rows {
			var row []string
			for _, v := range r {
				row = append(row, fmt.Sprint(v))
			}
			want = append(want, row)
		}
		if !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%s holds\n%v, want\n%v", name, got, want)
		}
	}
}

// emptyDatabases make databases that nothing was done with.
var emptyDatabases = map[string]func(testing.TB) string{
	"sqlite": func(t testing.TB) string {
		return "sqlite:" + filepath.Join(t.TempDir(), "mdebot.db") + "?synchronous=off"
	},
	"postgres": storetest.EmptyPostgresURL,
}

// Every schema that there has been, released or between releases, comes up to
// this one with everything in it.
func TestMigrate_fromEverySchemaForward(t *testing.T) {
	t.Parallel()
	for _, r := range released {
		if !slices.Contains(store.Schemas(), r) {
			t.Errorf("the migrations up to %d of a release are not here any more", r)
		}
	}
	for engine, newURL := range emptyDatabases {
		for _, version := range store.Schemas() {
			t.Run(fmt.Sprintf("%s/%d", engine, version), func(t *testing.T) {
				t.Parallel()
				url := newURL(t)
				before := old{}
				if err := store.MakeOld(t.Context(), url, version, before.fill); err != nil {
					t.Fatal(err)
				}
				if len(before) < 3 {
					t.Fatalf("the old database has only the tables %v", before)
				}
				s := storetest.Open(t, url)
				before.wantIn(t, s)
				if first, err := s.FirstDelivery(t.Context(), "tenant", "after the upgrade"); err != nil || !first {
					t.Errorf("FirstDelivery() after the upgrade = %t, %v", first, err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				storetest.Open(t, url) // and a second start finds nothing to do
			})
		}
	}
}

// Replicas that start together bring an old database up to date once.
func TestMigrate_replicasStartTogether(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]int64{"an empty database": 0, "one of an earlier release": released[0]} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := storetest.EmptyPostgresURL(t)
			before := old{}
			if version > 0 {
				if err := store.MakeOld(t.Context(), url, version, before.fill); err != nil {
					t.Fatal(err)
				}
			}
			const replicas = 6
			all := make([]*store.Store, replicas)
			errs := make([]error, replicas)
			var wg sync.WaitGroup
			for i := range replicas {
				wg.Go(func() { all[i], errs[i] = store.Open(t.Context(), url, store.Options{}) })
			}
			wg.Wait()
			for i, s := range all {
				if errs[i] != nil {
					t.Errorf("replica %d: %v", i, errs[i])
					continue
				}
				if i == 0 {
					before.wantIn(t, s)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A migration of a later release is noticed also when its number is below our
// newest.
func TestMigrate_refusesAMigrationItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for engine, newURL := range emptyDatabases {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			url := newURL(t)
			s := storetest.Open(t, url)
			unknown := int64(2)
			for slices.Contains(store.Schemas(), unknown) {
				unknown++
			}
			if unknown >= slices.Max(store.Schemas()) {
				t.Skip("the numbers have no gap")
			}
			exec(t, s, fmt.Sprintf(`INSERT INTO goose_db_version (version_id, is_applied) SELECT %d, is_applied FROM goose_db_version WHERE version_id = 1`, unknown))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			again, err := store.Open(t.Context(), url, store.Options{})
			if err == nil {
				_ = again.Close()
			}
			if err == nil || !strings.Contains(err.Error(), "newer mdebot") || !strings.Contains(err.Error(), fmt.Sprint(unknown)) {
				t.Errorf("Open = %v, want a refusal that names %d", err, unknown)
			}
		})
	}
}
