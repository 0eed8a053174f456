package notify

import (
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/seal"
)

func (f *fixture) count(query string) (n int64) {
	f.Helper()
	if err := f.db.Read().QueryRow(f.Context(), query).Scan(&n); err != nil {
		f.Fatalf("%s: %v", query, err)
	}
	return n
}

func TestPurge_forgetsOldAlertsAndDoesNotPostThemAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	old := f.alert("old", nil)
	f.clock.add(16 * time.Second)
	f.settle()
	wantPosts(t, f.chat.at(soc), 1)

	f.clock.add(91 * 24 * time.Hour)
	f.settle()
	f.alert("fresh", nil)
	f.clock.add(16 * time.Second)
	f.settle()
	if err := f.n.Purge(t.Context(), old.Tenant, policy.Retention{Alerts: 90 * 24 * time.Hour, Hunts: 7 * 24 * time.Hour}); err != nil {
		t.Fatalf("Purge() = %v", err)
	}
	if alerts, cards := f.count(`SELECT COUNT(*) FROM alerts`), f.count(`SELECT COUNT(*) FROM cards WHERE subject_id = 'old'`); alerts != 1 || cards != 0 {
		t.Errorf("%d alerts and %d cards of the old one are left, want the fresh alert alone", alerts, cards)
	}

	before := len(f.chat.at(soc))
	old.Status, old.Updated = "Resolved", f.clock.now()
	f.defender.put(old)
	f.clock.add(16 * time.Second)
	f.settle()
	wantPosts(t, f.chat.at(soc), before)
}

func TestPostDelays_areFromCreationToTheFirstPost(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	began := f.clock.now()
	a := f.alert("a1", nil)
	f.clock.add(16 * time.Second)
	f.settle()
	got, err := PostDelays(t.Context(), f.db.Read(), a.Tenant, began, began.Add(time.Hour))
	if err != nil || len(got) != 1 || got[0] < 16*time.Second || got[0] > time.Minute {
		t.Errorf("PostDelays() = %v, %v, want one of about 16 s", got, err)
	}
	if got, err := PostDelays(t.Context(), f.db.Read(), a.Tenant, began.Add(time.Hour), began.Add(2*time.Hour)); err != nil || len(got) != 0 {
		t.Errorf("PostDelays() = %v, %v for a later span, want none", got, err)
	}
}

// A row that holds another alert's text is not shown as if it were its own.
func TestStoredAlert_refusesTheTextOfAnotherRow(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	keys, err := seal.ParseKeys("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	if err != nil {
		t.Fatal(err)
	}
	f.n.keys = keys
	f.settle()
	a := f.alert("a1", nil)
	f.alert("a2", nil)
	f.clock.add(16 * time.Second)
	f.settle()
	if got, err := f.n.storedAlert(t.Context(), a.Tenant, "a1"); err != nil || got.ID != "a1" {
		t.Fatalf("storedAlert() = %+v, %v", got, err)
	}
	f.inTx(func(tx durable.Tx) error {
		_, err := tx.Exec(t.Context(), `UPDATE alerts SET body = (SELECT body FROM alerts WHERE id = 'a2') WHERE id = 'a1'`)
		if err != nil {
			t.Error(err)
		}
		return err
	})
	if got, err := f.n.storedAlert(t.Context(), a.Tenant, "a1"); err == nil || !strings.Contains(err.Error(), seal.ErrSealed.Error()) {
		t.Errorf("storedAlert() = %+v, %v after the swap, want %v", got, err, seal.ErrSealed)
	}
}
