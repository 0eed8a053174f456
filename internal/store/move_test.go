package store_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

// filled is a SQLite database with a delivery and a job, closed.
func filled(t *testing.T) string {
	t.Helper()
	url := storetest.SQLiteURL(t)
	s, err := store.Open(t.Context(), url, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"first", "Grüße – 猫", ""} {
		if _, err := s.FirstDelivery(t.Context(), "tenant", id); err != nil {
			t.Fatal(err)
		}
	}
	enqueue(t, s, durable.Job{Kind: "look", ID: "a"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return url
}

func TestMove_copiesEveryTable(t *testing.T) {
	t.Parallel()
	from, to := filled(t), storetest.PostgresURL(t)
	verified := false
	moved, err := store.Move(t.Context(), store.MoveInput{From: from, To: to, Verify: func(ctx context.Context, copied durable.DBTX) error {
		verified = true
		var n int
		if err := copied.QueryRow(ctx, `SELECT COUNT(*) FROM inbox WHERE delivery_id = $1`, "Grüße – 猫").Scan(&n); err != nil || n != 1 {
			t.Errorf("the copy has %d of the delivery (%v), want 1", n, err)
		}
		return nil
	}})
	if err != nil || !verified {
		t.Fatalf("Move() = %v, verified %t", err, verified)
	}
	rows := map[string]int64{}
	for _, m := range moved {
		rows[m.Table] = m.Rows
	}
	if rows["inbox"] != 3 {
		t.Errorf("moved %v, want three rows of inbox", rows)
	}
	for _, table := range []string{"requests", "request_targets", "votes", "audit", "audit_heads", "alerts", "cards", "notices"} {
		if _, ok := rows[table]; !ok {
			t.Errorf("moved %v, want %s among them", rows, table)
		}
	}
	s := storetest.Open(t, to)
	if first, err := s.FirstDelivery(t.Context(), "tenant", "first"); err != nil || first {
		t.Errorf("FirstDelivery() after the move = %t, %v, want a repeat", first, err)
	}
	if _, err := store.Move(t.Context(), store.MoveInput{From: from, To: to}); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("second Move() = %v, want a refusal: not empty", err)
	}
}

func TestMove_isUndoneWhenTheCopyIsNotGood(t *testing.T) {
	t.Parallel()
	from, to := filled(t), storetest.PostgresURL(t)
	bad := errors.New("chain broken")
	_, err := store.Move(t.Context(), store.MoveInput{From: from, To: to, Verify: func(context.Context, durable.DBTX) error { return bad }})
	if !errors.Is(err, bad) {
		t.Fatalf("Move() = %v, want %v", err, bad)
	}
	if _, err := store.Move(t.Context(), store.MoveInput{From: from, To: to}); err != nil {
		t.Errorf("Move() after an undone one = %v", err)
	}
}

func TestMove_refusals(t *testing.T) {
	t.Parallel()
	to := storetest.PostgresURL(t)
	inUse := storetest.SQLiteURL(t)
	storetest.Open(t, inUse)
	running := storetest.PostgresURL(t)
	replica := storetest.Open(t, running)
	if err := replica.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ from, to, want string }{
		"the file is in use":              {inUse, to, "in use by process"},
		"the file does not exist":         {"sqlite:" + filepath.Join(t.TempDir(), "nothing.db"), to, "no such file"},
		"the target has a running mdebot": {filled(t), running, "in use by a running mdebot"},
		"the other way round":             {to, inUse, "only from sqlite"},
		"to another file":                 {inUse, "sqlite:other.db", "only from sqlite"},
	} {
		if _, err := store.Move(t.Context(), store.MoveInput{From: c.from, To: c.to}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Move() = %v, want an error that says %q", name, err, c.want)
		}
	}
}

func TestView_besideTheOwner(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{"sqlite": storetest.SQLiteURL(t), "postgres": storetest.PostgresURL(t)} {
		t.Run(name, func(t *testing.T) {
			s := storetest.Open(t, url)
			v, err := store.OpenView(t.Context(), url)
			if err != nil {
				t.Fatalf("OpenView: %v", err)
			}
			defer func() {
				if err := v.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}()
			if _, err := s.FirstDelivery(t.Context(), "tenant", "while it is viewed"); err != nil {
				t.Fatal(err)
			}
			st, err := v.Status(t.Context())
			if err != nil || len(st.Missing) > 0 || st.Schema < 9 {
				t.Errorf("Status() = %+v, %v", st, err)
			}
			for _, table := range st.Tables {
				if table.Table == "inbox" && table.Rows != 1 {
					t.Errorf("inbox has %d rows, want 1", table.Rows)
				}
			}
			if err := v.Check(t.Context()); err != nil {
				t.Errorf("Check() = %v", err)
			}
			if _, err := v.Read().Exec(t.Context(), `DELETE FROM inbox`); err == nil {
				t.Error("a view wrote")
			}
			copied := filepath.Join(t.TempDir(), "copy.db")
			err = v.Backup(t.Context(), copied)
			if name == "postgres" {
				if err == nil || !strings.Contains(err.Error(), "pg_dump") {
					t.Errorf("Backup() = %v, want an error that names pg_dump", err)
				}
				return
			}
			if err != nil {
				t.Fatalf("Backup() = %v", err)
			}
			if first, err := storetest.Open(t, "sqlite:"+copied).FirstDelivery(t.Context(), "tenant", "while it is viewed"); err != nil || first {
				t.Errorf("FirstDelivery() in the copy = %t, %v, want a repeat", first, err)
			}
		})
	}
}

func TestOpenView_refusals(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "nothing.db")
	for _, url := range []string{"sqlite:" + missing, "mysql://db", "postgres://mdebot:hunter2@127.0.0.1:1/mdebot"} {
		v, err := store.OpenView(t.Context(), url)
		if err == nil {
			t.Errorf("OpenView(%s) succeeded", url)
			_ = v.Close()
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
	if matches, _ := filepath.Glob(missing + "*"); len(matches) > 0 {
		t.Errorf("OpenView created %v", matches)
	}
}
