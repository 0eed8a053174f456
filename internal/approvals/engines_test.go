package approvals_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

// Every statement, on both engines, along one story: opened, joined, refused,
// approved by two at once, claimed, taken over, found, finished; a second request
// reminded and expired.
func TestService_onBothEngines(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		w := approvalstest.On(t, open)
		timed := func(in approvals.OpenInput) approvals.OpenInput {
			in.Params = map[string]string{"for": "4h"}
			return in
		}
		r := mustOpen(t, w, timed(approvalstest.Isolate(riley, approvalstest.Workstation("ws-1"), approvalstest.Workstation("ws-2"))))
		if out, err := w.Open(t.Context(), timed(approvalstest.Isolate(robin, approvalstest.Workstation("ws-1")))); err != nil || !out.Joined {
			t.Errorf("Open(same machine) = joined %t, %v", out.Joined, err)
		}
		_, err := w.Vote(t.Context(), approvalstest.Vote(r, riley, false))
		wantRefusal(t, w, err, approvals.ErrOwnRequest)

		var wg sync.WaitGroup
		for _, by := range []identity.Principal{avery, sam, jo, lou} {
			wg.Go(func() {
				if _, err := w.Vote(t.Context(), approvalstest.Vote(r, by, false)); err != nil && !errors.Is(err, approvals.ErrDecided) {
					t.Errorf("Vote: %v", err)
				}
			})
		}
		wg.Wait()
		jobs := w.DB.Due()
		if len(jobs) != 2 {
			t.Fatalf("%d jobs after the quorum, want one for each machine", len(jobs))
		}
		ref, err := approvals.ParseRef(jobs[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Claim(t.Context(), ref, facts(w, r, ref.Index)); err != nil {
			t.Fatalf("Claim: %v", err)
		}
		if got := mustVote(t, w, r, robin, true); got.State != approvals.Executing || got.Targets[1].State != approvals.Denied {
			t.Errorf("after a late denial: %s, second machine %s", got.State, got.Targets[1].State)
		}
		w.Clock.Pass(approvals.LeaseFor)
		sweep(t, w)
		ref.Generation++
		if err := w.Found(t.Context(), ref, approvals.Started{ID: "action-1", Status: "Pending"}); err != nil {
			t.Fatalf("Found: %v", err)
		}
		if err := w.Followed(t.Context(), ref, "InProgress", ""); err != nil {
			t.Fatalf("Followed: %v", err)
		}
		if err := w.Finished(t.Context(), ref, true, "Succeeded", ""); err != nil {
			t.Fatalf("Finished: %v", err)
		}
		if got, err := w.ByNumber(t.Context(), r.Tenant, r.Number); err != nil || got.State != approvals.Failed || got.Why != "1 succeeded, 1 denied" {
			t.Errorf("request is %s (%q), %v", got.State, got.Why, err)
		}
		if list, err := w.Timed(t.Context(), r.Tenant); err != nil || len(list) != 1 {
			t.Errorf("Timed() = %d requests, %v, want the one", len(list), err)
		}

		second := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-1")))
		for range 3 {
			w.Clock.Pass(15 * time.Minute)
			sweep(t, w)
		}
		if got := state(t, w, second); got != approvals.Expired {
			t.Errorf("second request is %s, want expired", got)
		}
		if live, err := w.Live(t.Context(), r.Tenant); err != nil || len(live) != 0 {
			t.Errorf("Live() = %v, %v, want nothing", live, err)
		}
		w.Kinds(t)
	})
}

func sweep(t testing.TB, w *approvalstest.World) {
	t.Helper()
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatalf("Sweep: %v", err)
	}
}
