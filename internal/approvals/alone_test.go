package approvals_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
)

func scan(machines ...string) approvals.OpenInput {
	in := approvalstest.Isolate(riley)
	in.Action = approvals.Scan
	for _, id := range machines {
		in.Targets = append(in.Targets, approvalstest.Workstation(id))
	}
	return in
}

func ref(r approvals.Request) approvals.Ref {
	return approvals.Ref{Tenant: r.Tenant, Request: r.ID, Generation: r.Targets[0].Generation}
}

// A scan needs nobody else, and is a request like any other: frozen, recorded,
// claimed under the facts of the moment.
func TestAlone_isApprovedByItsOwnOpening(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	out, err := w.Open(t.Context(), scan("ws-1"))
	if err != nil || out.Request.State != approvals.Approved || !out.Request.Rule.Alone || out.Shortfall != "" {
		t.Fatalf("Open() = %s, rule %+v, %q, %v", out.Request.State, out.Request.Rule, out.Shortfall, err)
	}
	if jobs := w.DB.Due(); len(jobs) != 1 || jobs[0].Kind != approvals.KindExecute {
		t.Errorf("jobs = %+v, want one to execute it", jobs)
	}
	a, err := w.Claim(t.Context(), ref(out.Request), facts(w, out.Request, 0))
	if err != nil || len(a.Approvers) != 0 || a.Request.Digest != out.Request.Digest {
		t.Fatalf("Claim() = %+v, %v", a, err)
	}
	if diff := cmp.Diff([]string{"request.opened", "request.approved", "action.intent"}, w.Kinds(t)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestAlone_neverForWhatIsDestructive(t *testing.T) {
	t.Parallel()
	reg := approvals.Actions()
	for kind, a := range reg {
		if a.Alone(a.Defaults()) != (kind == approvals.Scan) {
			t.Errorf("%s needs nobody else: %t", kind, a.Alone(a.Defaults()))
		}
	}
}

// A rule about the action asks for somebody after all, also when it came into
// force after the opening.
func TestAlone_endsWithARuleAboutIt(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	out, err := w.Open(t.Context(), scan("ws-1"))
	if err != nil {
		t.Fatal(err)
	}
	strict := strings.Replace(approvalstest.Config, "  rules:", "  rules:\n    - { name: scans, when: 'action.kind == \"scan\"', from: [soc] }", 1)
	w.Use(t, strict)
	_, err = w.Claim(t.Context(), ref(out.Request), facts(w, out.Request, 0))
	if !errors.Is(err, approvals.ErrVoid) || !strings.Contains(err.Error(), "no longer suffice") {
		t.Errorf("Claim() under the stricter rule = %v, want it void", err)
	}
	out, err = w.Open(t.Context(), scan("ws-2"))
	if err != nil || out.Request.State != approvals.Pending || out.Request.Rule.Name != "scans" {
		t.Errorf("Open() under the rule = %s by %q, %v", out.Request.State, out.Request.Rule.Name, err)
	}
}

// Limits count scans apart, and one above a limit waits for somebody.
func TestAlone_limitsAreCountedApart(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	for _, ids := range [][]string{{"a1", "a2", "a3", "a4", "a5"}, {"b1"}} {
		out, err := w.Open(t.Context(), scan(ids...))
		if err != nil {
			t.Fatal(err)
		}
		over := ids[0] == "b1"
		if (out.Request.State == approvals.Pending) != over || (out.Request.Rule.OverLimit != "") != over || over && len(out.Eligible) == 0 {
			t.Errorf("%d scans: %s, over %q, eligible %d", len(ids), out.Request.State, out.Request.Rule.OverLimit, len(out.Eligible))
		}
	}
	out, err := w.Open(t.Context(), approvalstest.Isolate(riley, approvalstest.Workstation("c1")))
	if err != nil || out.Request.Rule.OverLimit != "" {
		t.Errorf("an isolation after many scans = %+v, %v", out.Request.Rule, err)
	}
}

func TestAlone_canStillBeDeniedAndFrozen(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	out, err := w.Open(t.Context(), scan("ws-1"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := w.Vote(t.Context(), approvalstest.Vote(out.Request, approvalstest.Robin, true)); err != nil || got.Request.State != approvals.Denied {
		t.Errorf("a denial before the claim = %s, %v", got.Request.State, err)
	}
	if _, err := w.Freeze(t.Context(), approvals.FreezeInput{Asked: approvals.Asked{By: approvalstest.Avery}, Tenant: approvalstest.Tenant, Reason: "stop"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Open(t.Context(), scan("ws-2")); !errors.Is(err, approvals.ErrFrozen) {
		t.Errorf("Open() while frozen = %v", err)
	}
}
