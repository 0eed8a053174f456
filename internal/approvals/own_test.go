package approvals_test

import (
	"testing"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
)

func TestOwn_believesNoCommentAlone(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	r, refs := approved(t, w, approvalstest.Workstation("ws-1"), approvalstest.Workstation("ws-2"))
	waiting := mustOpen(t, w, approvalstest.Isolate(robin, approvalstest.Workstation("ws-3")))
	a, err := w.Claim(t.Context(), refs[0], facts(w, r, 0))
	if err != nil {
		t.Fatal(err)
	}
	own := func(action, request, kind, target string) bool {
		t.Helper()
		got, err := w.Own(t.Context(), approvalstest.Tenant, action, request, func(k string) bool { return k == kind }, target)
		if err != nil {
			t.Fatalf("Own() = %v", err)
		}
		return got
	}
	if !own("action-1", r.ID, approvals.Isolate, "ws-1") {
		t.Error("an attempt under way is not known as own")
	}
	for what, got := range map[string]bool{
		"the marker of a request on another machine": own("action-2", r.ID, approvals.Isolate, "ws-9"),
		"the marker of a target that was not sent":   own("action-2", r.ID, approvals.Isolate, "ws-2"),
		"the marker of a request that waits":         own("action-2", waiting.ID, approvals.Isolate, "ws-3"),
		"the marker of an isolation on a release":    own("action-2", r.ID, approvals.Release, "ws-1"),
		"the marker of no request":                   own("action-2", "019a0000-0000-7000-8000-000000000002", approvals.Isolate, "ws-1"),
		"no marker":                                  own("action-2", "", approvals.Isolate, "ws-1"),
		"no ID":                                      own("", "", approvals.Isolate, "ws-2"),
	} {
		if got {
			t.Errorf("%s counts as own", what)
		}
	}
	if err := w.Submitted(t.Context(), a, approvals.Started{ID: "action-1", Status: "Pending"}); err != nil {
		t.Fatal(err)
	}
	if !own("action-1", "", "", "") {
		t.Error("a recorded action is not known as own")
	}
	if own("action-2", r.ID, approvals.Isolate, "ws-1") {
		t.Error("a second action with the marker of a request that has its own counts as own")
	}
	if got, err := w.Own(t.Context(), "another tenant", "action-1", r.ID, func(string) bool { return true }, "ws-1"); err != nil || got {
		t.Errorf("in another tenant Own() = %v, %v", got, err)
	}
}
