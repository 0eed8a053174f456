package approvals_test

import (
	"testing"

	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
)

// Every step that people see of an open request makes another mark, and nothing else
// does.
func TestMark(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	last := ""
	marked := func(what string, changed bool) {
		t.Helper()
		for range 2 {
			got, err := w.Mark(t.Context(), approvalstest.Tenant)
			if err != nil {
				t.Fatalf("Mark() = %v", err)
			}
			if (got != last) != changed {
				t.Errorf("%s: Mark() has changed: %t, want %t", what, got != last, changed)
			}
			last, changed = got, false
		}
	}
	marked("at first", true)
	other, err := w.Mark(t.Context(), "another tenant")
	if err != nil {
		t.Fatal(err)
	}
	r := mustOpen(t, w, approvalstest.Isolate(robin, approvalstest.Workstation("ws-1")))
	marked("after a request", true)
	second := mustOpen(t, w, approvalstest.Isolate(robin, approvalstest.Workstation("ws-2")))
	marked("after another one", true)
	mustVote(t, w, second, jo, true)
	marked("after a denial", true)
	mustVote(t, w, r, jo, false)
	marked("after an approval", true)
	mustFreeze(t, w, sam)
	marked("after a freeze", true)
	if got, err := w.Mark(t.Context(), "another tenant"); err != nil || got != other {
		t.Errorf("the mark of another tenant has changed (%v)", err)
	}
}
