package approvals_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
	"github.com/mdebot/mdebot/internal/policy"
)

// fallsBack has the rule for workstations fall back to Vic's group and then to
// Robin's.
var fallsBack = strings.NewReplacer(
	"    - name: workstations\n      from: [soc]\n", "    - name: workstations\n      from: [soc]\n      then: [night, last]\n",
	"  leads:\n", "  night: [00000000-0000-4000-8000-000000000007]\n  last: [00000000-0000-4000-8000-000000000002]\n  leads:\n",
).Replace(approvalstest.Config)

func TestThen_standInApprovesFromItsTurnOn(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	w.Use(t, fallsBack)
	r := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-1")))

	w.Clock.Pass(policy.NextAfter - time.Microsecond)
	_, err := w.Vote(t.Context(), approvalstest.Vote(r, vic, false))
	var no *approvals.Refusal
	if !errors.As(err, &no) || !errors.Is(err, approvals.ErrNotEntitled) || !strings.Contains(no.Sentence, "counts in a minute") {
		t.Fatalf("Vote(before the turn) = %v, want a refusal that says when", err)
	}
	w.Clock.Pass(time.Microsecond)
	if _, err := w.Vote(t.Context(), approvalstest.Vote(r, robin, false)); !errors.Is(err, approvals.ErrNotEntitled) {
		t.Fatalf("Vote(by the group after that) = %v, want a refusal", err)
	}
	out, err := w.Vote(t.Context(), approvalstest.Vote(r, vic, false))
	if err != nil || out.Request.State != approvals.Approved {
		t.Fatalf("Vote(at the turn) = %s, %v, want the request approved", out.Request.State, err)
	}
}

// An approval in somebody's place is judged again at the claim, by the file of then.
func TestThen_claimJudgesStandInsAgain(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change *strings.Replacer
		fails  bool
	}{
		"as it was": {strings.NewReplacer(), false},
		"the file no longer falls back to the group": {strings.NewReplacer("then: [night, last]", "then: [last]"), true},
		"the group lost its member":                  {strings.NewReplacer("night: [00000000-0000-4000-8000-000000000007]", "night: [00000000-0000-4000-8000-000000000002]"), true},
		"the group's turn comes later now":           {strings.NewReplacer("then: [night, last]", "then: [last, night]"), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := approvalstest.New(t)
			w.Use(t, fallsBack)
			r := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-1")))
			w.Clock.Pass(policy.NextAfter)
			if _, err := w.Vote(t.Context(), approvalstest.Vote(r, vic, false)); err != nil {
				t.Fatal(err)
			}
			w.Use(t, tt.change.Replace(fallsBack))
			w.Clock.Pass(policy.NextEvery) // being late now makes up for nothing
			ref, err := approvals.ParseRef(w.DB.Due()[0])
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.Claim(t.Context(), ref, facts(w, r, 0))
			if got := errors.Is(err, approvals.ErrVoid); got != tt.fails || !tt.fails && err != nil {
				t.Errorf("Claim() = %v, want it void: %t", err, tt.fails)
			}
		})
	}
}

func TestSweep_asksTheNextGroups(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	w.Use(t, fallsBack)
	mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-1")))
	w.Told.Changes()
	sweep := func(after time.Duration, asked int, want ...approvals.Change) {
		t.Helper()
		w.Clock.Pass(after)
		for range 3 { // another replica finds nothing left to do
			if err := w.Sweep(t.Context()); err != nil {
				t.Fatalf("Sweep: %v", err)
			}
		}
		if diff := cmp.Diff(want, w.Told.Changes()); diff != "" {
			t.Errorf("announced %s later (-want +got):\n%s", after, diff)
		}
		if got := w.Told.Last().Asked(); got != asked {
			t.Errorf("%s later %d groups are asked, want %d", after, got, asked)
		}
	}
	sweep(5*time.Minute, 0, approvals.ChangeReminder5)
	sweep(10*time.Minute, 1, approvals.ChangeReminder15, approvals.ChangeAskedNext)
	sweep(5*time.Minute-time.Microsecond, 1)
	sweep(time.Microsecond, 2, approvals.ChangeAskedNext)
	sweep(9*time.Minute, 2)
	if n := len(slices.DeleteFunc(w.Kinds(t), func(kind string) bool { return kind != "request.asked_next" })); n != 2 {
		t.Errorf("%d records say that a group was asked, want 2", n)
	}
}

// The only member of the group asks: the request waits for others instead of being
// refused.
func TestOpen_withNobodyButStandIns(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	alone := strings.NewReplacer("from: [soc]\n      then:", "from: [mine]\n      then:", "  night:", "  mine: [00000000-0000-4000-8000-000000000003]\n  night:")
	w.Use(t, alone.Replace(fallsBack))
	in := approvalstest.Isolate(lou, approvalstest.Workstation("ws-1"))
	opened, err := w.Open(t.Context(), in)
	if err != nil || len(opened.Eligible) != 0 || !strings.Contains(opened.Shortfall, "In 15 minutes night can, too") {
		t.Fatalf("Open() = %v, %q, %v, want a request that waits for night", opened.Eligible, opened.Shortfall, err)
	}
	w.Clock.Pass(policy.NextAfter)
	if _, err := w.Vote(t.Context(), approvalstest.Vote(opened.Request, vic, false)); err != nil {
		t.Errorf("Vote(by night) = %v", err)
	}
}
