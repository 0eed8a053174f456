package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

func TestOpen_refusesBadURL(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{
		"nothing":          "",
		"no scheme":        "mdebot.db",
		"another database": "mysql://mdebot:hunter2@db/mdebot",
		"no file":          "sqlite:",
		"unknown setting":  "sqlite:mdebot.db?synchronous=normal",
		"broken port":      "postgres://mdebot:hunter2@db:port/mdebot",
		"nobody there":     "postgres://mdebot:hunter2@127.0.0.1:1/mdebot",
	} {
		s, err := store.Open(t.Context(), url, store.Options{})
		if err == nil {
			t.Errorf("%s: Open succeeded", name)
			_ = s.Close()
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error tells the password: %v", name, err)
		}
	}
}

func TestOpen_newFileIsPrivate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s := storetest.Open(t, "sqlite:"+filepath.Join(dir, "100% #1.db"))
	enqueue(t, s, durable.Job{Kind: "look", ID: "a"})
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory has mode %v (%v), want 0700", info.Mode(), err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 3 {
		t.Fatalf("directory holds %v (%v), want the database, its log and its lock", files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v (%v), want 0600", f.Name(), info.Mode(), err)
		}
	}
}

func TestOpen_refusesADirectoryThatAllMayWriteTo(t *testing.T) {
	t.Parallel()
	for mode, refused := range map[os.FileMode]bool{0o700: false, 0o775: false, 0o777: true, 0o777 | os.ModeSticky: false} {
		dir := filepath.Join(t.TempDir(), "data")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, mode)); err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(t.Context(), "sqlite:"+filepath.Join(dir, "mdebot.db"), store.Options{Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			err = s.Close()
		}
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), "chmod o-w") {
			t.Errorf("mode %v: %v, want refused: %v", mode, err, refused)
		}
	}
}

// SQLite before 3.51.3 has a race that damages files when several connections
// write and checkpoint.
func TestSQLite_version(t *testing.T) {
	t.Parallel()
	var version string
	err := storetest.New(t).Read().QueryRow(t.Context(), `SELECT sqlite_version()`).Scan(&version)
	if err != nil || strings.Compare(version, "3.51.3") < 0 || len(version) != len("3.51.3") {
		t.Errorf("SQLite %s (%v), want at least 3.51.3", version, err)
	}
}

func TestSQLite_commitsReachTheDisk(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t, "sqlite:"+filepath.Join(t.TempDir(), "mdebot.db"))
	err := s.InTx(t.Context(), func(tx durable.Tx) error {
		for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1"} {
			var got string
			if err := tx.QueryRow(t.Context(), `PRAGMA `+pragma).Scan(&got); err != nil {
				return err
			}
			if got != want {
				t.Errorf("%s is %s, want %s", pragma, got, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestOpen_refusesForeignAndDamagedFiles(t *testing.T) {
	t.Parallel()
	healthy := func(t *testing.T, path string) {
		t.Helper()
		s := storetest.Open(t, "sqlite:"+path+"?synchronous=off")
		for _, kind := range []string{"a", "b"} {
			for i := range 200 {
				enqueue(t, s, durable.Job{Kind: kind, ID: strings.Repeat("x", i)})
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	patch := func(t *testing.T, path string, change func([]byte) []byte) {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, change(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name string
		make func(t *testing.T, path string)
		want string
	}{
		{"a text file", func(t *testing.T, path string) {
			if err := os.WriteFile(path, bytes.Repeat([]byte("people:\n  - riley\n"), 100), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a database"},
		{"another program's database", func(t *testing.T, path string) {
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.Exec(`CREATE TABLE bookmarks (id INTEGER)`); err != nil {
				t.Fatal(err)
			}
		}, "another program"},
		{"half a file", func(t *testing.T, path string) {
			healthy(t, path)
			patch(t, path, func(b []byte) []byte { return b[:len(b)/2] })
		}, "damaged"},
		{"a page of noise", func(t *testing.T, path string) {
			healthy(t, path)
			patch(t, path, func(b []byte) []byte {
				copy(b[len(b)/4096/2*4096:], bytes.Repeat([]byte{0xa5}, 4096))
				return b
			})
		}, "damaged"},
		{"an index that does not match, after an unclean stop", func(t *testing.T, path string) {
			healthy(t, path)
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			// The index of one kind of rows is made to be one of all rows: pages are
			// whole, and rows are missing from it.
			for _, q := range []string{
				`CREATE INDEX half ON river_job (queue) WHERE queue = 'a'`,
				`PRAGMA writable_schema = 1`,
				`UPDATE sqlite_schema SET sql = 'CREATE INDEX half ON river_job (queue)' WHERE name = 'half'`,
			} {
				if _, err := db.Exec(q); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(path+".lock", []byte("process 1\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "damaged"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "mdebot.db")
			tt.make(t, path)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // a refusal must not make the next start believe
				s, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
				if err == nil {
					t.Error("Open succeeded")
					_ = s.Close()
				} else if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
					t.Errorf("Open = %v, want %q and the path", err, tt.want)
				}
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

func TestOpen_refusesNewerSchema(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{
		"ours":  `INSERT INTO goose_db_version (version_id, is_applied) SELECT 99999, is_applied FROM goose_db_version WHERE version_id = 1`,
		"River": `INSERT INTO river_migration (line, version) VALUES ('main', 99999)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for engine, newURL := range map[string]func(testing.TB) string{"sqlite": storetest.SQLiteURL, "postgres": storetest.PostgresURL} {
				t.Run(engine, func(t *testing.T) {
					t.Parallel()
					url := newURL(t)
					s := storetest.Open(t, url)
					exec(t, s, query)
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					again, err := store.Open(t.Context(), url, store.Options{})
					if err == nil {
						_ = again.Close()
					}
					if err == nil || !strings.Contains(err.Error(), "newer mdebot") {
						t.Errorf("Open = %v, want a refusal", err)
					}
				})
			}
		})
	}
}

func TestOpen_waitsForTheOwnerToLeave(t *testing.T) {
	t.Parallel()
	url := storetest.SQLiteURL(t)
	first := storetest.Open(t, url)
	opened := make(chan error)
	go func() {
		second, err := store.Open(t.Context(), url, store.Options{})
		if err == nil {
			err = second.Close()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		t.Fatalf("Open = %v while the file had an owner", err)
	case <-time.After(250 * time.Millisecond):
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := next(t, opened); err != nil {
		t.Errorf("Open = %v after the owner had left", err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		if err := open(t).Check(t.Context()); err != nil {
			t.Errorf("Check = %v, want nil", err)
		}
	})
}

func TestBackup(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	exec(t, s, `CREATE TABLE notes (id TEXT NOT NULL PRIMARY KEY)`)
	ctx, cancel := context.WithCancel(t.Context())
	wrote := make(chan int, 1)
	go func() {
		n := 0
		defer func() { wrote <- n }()
		for ctx.Err() == nil {
			n++
			_ = s.InTx(ctx, func(tx durable.Tx) error {
				id := strings.Repeat("x", n)
				if _, err := tx.Exec(ctx, `INSERT INTO notes (id) VALUES ($1)`, id); err != nil {
					return err
				}
				return tx.Enqueue(ctx, durable.Job{Kind: "look", ID: id})
			})
		}
	}()
	waitFor(t, "some writes", func() bool { return number(t, s, `SELECT count(*) FROM notes`) > 10 })

	path := filepath.Join(t.TempDir(), "copy.db")
	if err := s.Backup(ctx, path); err != nil {
		t.Fatalf("Backup: %v", err)
	}
	if err := s.Backup(ctx, path); err == nil {
		t.Error("Backup replaced a file")
	}
	cancel()
	next(t, wrote)

	if left, err := filepath.Glob(path + "*"); err != nil || len(left) != 1 {
		t.Errorf("backup left %v (%v), want one file", left, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("backup has mode %v (%v), want 0600", info.Mode(), err)
	}
	copied := storetest.Open(t, "sqlite:"+path)
	notes, jobs := number(t, copied, `SELECT count(*) FROM notes`), number(t, copied, `SELECT count(*) FROM river_job`)
	if notes <= 10 || notes != jobs {
		t.Errorf("the copy holds %d notes and %d jobs, want as many and more than 10", notes, jobs)
	}
}

func TestBackup_failureLeavesNothing(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Backup(ctx, filepath.Join(dir, "copy.db")); err == nil {
		t.Error("a cancelled Backup succeeded")
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("a cancelled Backup left %v", files)
	}
	if err := s.Backup(t.Context(), filepath.Join(dir, "no", "copy.db")); err == nil {
		t.Error("a Backup into no directory succeeded")
	}
}

func TestBackup_postgres(t *testing.T) {
	t.Parallel()
	err := storetest.Postgres(t).Backup(t.Context(), filepath.Join(t.TempDir(), "copy"))
	if err == nil || !strings.Contains(err.Error(), "pg_dump") {
		t.Errorf("Backup = %v, want an error that names pg_dump", err)
	}
}
