package approvals_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
	"github.com/mdebot/mdebot/internal/audit"
)

const cutLog = "The audit log is not the one anchored."

func restored(t *testing.T, w *approvalstest.World, known audit.Head) (accepted bool) {
	t.Helper()
	accepted, err := w.Restored(t.Context(), known, cutLog)
	if err != nil {
		t.Fatalf("Restored: %v", err)
	}
	return accepted
}

func TestRestored_voidsAndFreezesUntilTwoPeopleEndIt(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	pending := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("m1")))
	approved := mustVote(t, w, mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("m2"))), avery, false)
	known := audit.Head{Tenant: pending.Tenant, Seq: 900, Hash: "abc"}

	if restored(t, w, known) {
		t.Error("a restored database counts as accepted before anybody has seen it")
	}
	for _, r := range []approvals.Request{pending, approved} {
		now, err := w.Request(t.Context(), r.Tenant, r.ID)
		if err != nil || now.State != approvals.Void || !strings.Contains(now.Why, cutLog) {
			t.Errorf("request #%d is %s: %q, %v, want void with the reason", r.Number, now.State, now.Why, err)
		}
	}
	f, err := w.Frozen(t.Context(), known.Tenant)
	if err != nil || !f.On() || !f.By.IsZero() {
		t.Fatalf("Frozen() = %+v, %v, want a freeze by mdebot", f, err)
	}
	_, err = w.Open(t.Context(), approvalstest.Isolate(riley, approvalstest.Workstation("m3")))
	wantRefusal(t, w, err, approvals.ErrFrozen)

	before := len(w.Kinds(t))
	if restored(t, w, known) {
		t.Error("accepted while frozen")
	}
	if after := len(w.Kinds(t)); after != before {
		t.Errorf("the second look wrote %d records, want none", after-before)
	}

	_, ref := unfrozen(t, w)
	if restored(t, w, known) {
		t.Error("accepted before the approved end was carried out")
	}
	if err := w.Apply(t.Context(), ref, approvals.Facts{At: w.Clock.Now()}); err != nil {
		t.Fatalf("Apply: %v", err)
	}
	if !restored(t, w, known) {
		t.Error("not accepted after two people ended the freeze")
	}
	// Another anchor that is not on the chain is another restore.
	w.Clock.Pass(time.Minute)
	if restored(t, w, audit.Head{Tenant: known.Tenant, Seq: 950, Hash: "def"}) {
		t.Error("the second restore counts as accepted")
	}
}
