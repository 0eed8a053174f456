package seal_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/seal"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

const (
	first  = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	second = "IAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

var (
	column = seal.Column{Table: "alerts", Name: "body", Row: "id"}
	place  = column.Place("contoso", "alert-1")
)

func mustKeys(t testing.TB, text string) seal.Keys {
	t.Helper()
	k, err := seal.ParseKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustSeal(t testing.TB, k seal.Keys, p seal.Place, text string) string {
	t.Helper()
	s, err := k.Seal(p, text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestKeys_openOnlyWhereItWasSealed(t *testing.T) {
	t.Parallel()
	k := mustKeys(t, first)
	stored := mustSeal(t, k, place, "beaconing on web-01")
	if strings.Contains(stored, "beaconing") {
		t.Fatalf("the text can be read: %s", stored)
	}
	if again := mustSeal(t, k, place, "beaconing on web-01"); again == stored {
		t.Error("the same text looks the same twice")
	}
	if text, err := k.Open(place, stored); err != nil || text != "beaconing on web-01" {
		t.Errorf("Open() = %q, %v", text, err)
	}
	for name, other := range map[string]seal.Place{
		"another row":    column.Place("contoso", "alert-2"),
		"another tenant": column.Place("fabrikam", "alert-1"),
		"another column": seal.Column{Table: "notices", Name: "body", Row: "id"}.Place("contoso", "alert-1"),
		"shifted border": column.Place("contosoa", "lert-1"),
	} {
		if text, err := k.Open(other, stored); !errors.Is(err, seal.ErrSealed) {
			t.Errorf("%s: Open() = %q, %v, want %v", name, text, err, seal.ErrSealed)
		}
	}
	for name, changed := range map[string]string{
		"plain text":     "beaconing on web-01",
		"cut":            stored[:len(stored)-4],
		"changed":        stored[:len(stored)-8] + "AAAA" + stored[len(stored)-4:],
		"nothing inside": stored[:strings.LastIndex(stored, ":")+1],
		"empty":          "",
	} {
		if text, err := k.Open(place, changed); !errors.Is(err, seal.ErrSealed) {
			t.Errorf("%s: Open() = %q, %v, want %v", name, text, err, seal.ErrSealed)
		}
	}
}

func TestKeys_without(t *testing.T) {
	t.Parallel()
	none := mustKeys(t, "")
	if s := mustSeal(t, none, place, "text"); s != "text" {
		t.Errorf("Seal() = %q without a key", s)
	}
	if text, err := none.Open(place, "text"); err != nil || text != "text" {
		t.Errorf("Open() = %q, %v without a key", text, err)
	}
	var missing *seal.MissingKeyError
	if _, err := none.Open(place, mustSeal(t, mustKeys(t, first), place, "text")); !errors.As(err, &missing) {
		t.Errorf("Open() = %v without the key, want a missing key", err)
	}
	if got := fmt.Sprint(mustKeys(t, first)); got != "hidden" {
		t.Errorf("keys print as %s", got)
	}
	for _, bad := range []string{"short", "c2hvcnQ=", first + ",", "," + first} {
		if _, err := seal.ParseKeys(bad); err == nil {
			t.Errorf("ParseKeys(%q) accepted it", bad)
		}
	}
}

func put(t testing.TB, db durable.DB, id, body string) {
	t.Helper()
	err := db.InTx(t.Context(), func(tx durable.Tx) error {
		_, err := tx.Exec(t.Context(), `
			INSERT INTO alerts (tenant, id, fingerprint, severity, peak, status, incident, machine, body, created_at, seen_at, changed_at)
			VALUES ('contoso', $1, '', '', 0, '', 0, '', $2, 0, 0, 0) ON CONFLICT (tenant, id) DO UPDATE SET body = $2`, id, body)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func body(t testing.TB, db durable.DB, id string) string {
	t.Helper()
	var s string
	if err := db.Read().QueryRow(t.Context(), `SELECT body FROM alerts WHERE id = $1`, id).Scan(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPrepare_encryptsRotatesAndRefuses(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		db := open(t)
		prepare := func(text string) error {
			return seal.Prepare(t.Context(), db, mustKeys(t, text), []seal.Column{column})
		}
		reads := func(text string) {
			t.Helper()
			for i := range 450 { // more than two steps
				id := fmt.Sprintf("alert-%03d", i)
				got, err := mustKeys(t, text).Open(column.Place("contoso", id), body(t, db, id))
				if err != nil || got != "body of "+id {
					t.Fatalf("alert %s reads as %q, %v", id, got, err)
				}
			}
		}
		for i := range 450 {
			id := fmt.Sprintf("alert-%03d", i)
			put(t, db, id, "body of "+id)
		}
		if err := prepare(""); err != nil {
			t.Fatalf("Prepare() = %v without a key", err)
		}
		if err := prepare(first); err != nil {
			t.Fatalf("Prepare() = %v with the first key", err)
		}
		if strings.Contains(body(t, db, "alert-449"), "body of") {
			t.Error("what was there before is still plain")
		}
		reads(first)

		var missing *seal.MissingKeyError
		for _, without := range []string{"", second} {
			if err := prepare(without); !errors.As(err, &missing) {
				t.Errorf("Prepare(%q) = %v, want the missing key named", without, err)
			}
		}
		if err := prepare(second + "," + first); err != nil {
			t.Fatalf("Prepare() = %v with both keys", err)
		}
		reads(second)
		if err := prepare(second); err != nil {
			t.Errorf("Prepare() = %v after the rotation, without the old key", err)
		}
		if err := prepare(first); !errors.As(err, &missing) {
			t.Errorf("Prepare() = %v with the old key alone, want the missing key named", err)
		}
	})
}

func TestPrepare_takesUpWhatWasInterrupted(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	k := mustKeys(t, first)
	put(t, db, "a", mustSeal(t, k, column.Place("contoso", "a"), "done"))
	put(t, db, "b", "not done")
	err := db.InTx(t.Context(), func(tx durable.Tx) error {
		id := strings.Split(body(t, db, "a"), ":")[2]
		_, err := tx.Exec(t.Context(), `INSERT INTO data_keys (id, done) VALUES ($1, 0)`, id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := seal.Prepare(t.Context(), db, k, []seal.Column{column}); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{"a": "done", "b": "not done"} {
		if got, err := k.Open(column.Place("contoso", id), body(t, db, id)); err != nil || got != want {
			t.Errorf("%s reads as %q, %v, want %q", id, got, err, want)
		}
	}
}

// A plain text that appears after everything was encrypted was put there by
// somebody else, and a rotation does not make it look genuine.
func TestPrepare_rotationRefusesPlainText(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	if err := seal.Prepare(t.Context(), db, mustKeys(t, first), []seal.Column{column}); err != nil {
		t.Fatal(err)
	}
	put(t, db, "a", "planted")
	err := seal.Prepare(t.Context(), db, mustKeys(t, second+","+first), []seal.Column{column})
	if !errors.Is(err, seal.ErrSealed) {
		t.Errorf("Prepare() = %v, want %v", err, seal.ErrSealed)
	}
}
