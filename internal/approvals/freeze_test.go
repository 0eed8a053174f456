package approvals_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
	"github.com/mdebot/mdebot/internal/identity"
)

func freezeBy(by identity.Principal, reason string) approvals.FreezeInput {
	return approvals.FreezeInput{
		Asked:  approvals.Asked{By: by, Conversation: "slack:C0SOC", Delivery: "delivery"},
		Tenant: approvalstest.Tenant, Reason: reason,
	}
}

func mustFreeze(t *testing.T, w *approvalstest.World, by identity.Principal) approvals.Frozen {
	t.Helper()
	out, err := w.Freeze(t.Context(), freezeBy(by, "strange approvals"))
	if err != nil {
		t.Fatalf("Freeze: %v", err)
	}
	return out
}

// unfrozen opens the request that ends the freeze in force and has it approved,
// without carrying it out.
func unfrozen(t *testing.T, w *approvalstest.World) (approvals.Request, approvals.Ref) {
	t.Helper()
	out, err := w.Unfreeze(t.Context(), freezeBy(riley, "the account is locked"))
	if err != nil {
		t.Fatalf("Unfreeze: %v", err)
	}
	r := mustVote(t, w, out.Request, jo, false)
	if r.State != approvals.Pending {
		t.Fatalf("one approval made it %s; the strictest rule needs two", r.State)
	}
	r = mustVote(t, w, out.Request, avery, false)
	return r, approvals.Ref{Tenant: r.Tenant, Request: r.ID, Generation: r.Targets[0].Generation}
}

func TestFreeze_stopsWhatIsNotClaimed(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	r, refs := approved(t, w, approvalstest.Workstation("ws-1"), approvalstest.Workstation("ws-2"))
	if _, err := w.Claim(t.Context(), refs[0], facts(w, r, 0)); err != nil {
		t.Fatalf("Claim: %v", err)
	}
	waiting := mustOpen(t, w, approvalstest.Isolate(robin, approvalstest.Workstation("ws-3")))
	w.Told.Changes()

	out := mustFreeze(t, w, sam)
	if len(out.Stopped) != 1 || out.Stopped[0].ID != r.ID {
		t.Errorf("stopped %d requests, want the approved one", len(out.Stopped))
	}
	now, err := w.Request(t.Context(), r.Tenant, r.ID)
	if err != nil {
		t.Fatal(err)
	}
	if now.Targets[0].State != approvals.Executing || now.Targets[1].State != approvals.Void {
		t.Errorf("targets are %s and %s, want executing and void", now.Targets[0].State, now.Targets[1].State)
	}
	if !strings.Contains(now.Targets[1].Why, "Sam Okafor") || !strings.Contains(now.Targets[1].Why, "strange approvals") {
		t.Errorf("the void target says %q, want who froze and why", now.Targets[1].Why)
	}
	if got := state(t, w, waiting); got != approvals.Pending {
		t.Errorf("the undecided request is %s, want pending", got)
	}
	if diff := cmp.Diff([]approvals.Change{approvals.ChangeFreeze, approvals.ChangeFreeze}, w.Told.Changes()); diff != "" {
		t.Errorf("announced on cards (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"frozen by Sam Okafor: strange approvals"}, w.Told.Freezes()); diff != "" {
		t.Errorf("announced (-want +got):\n%s", diff)
	}
	if kinds := w.Kinds(t); kinds[len(kinds)-1] != "freeze.on" {
		t.Errorf("the last record is %s, want freeze.on", kinds[len(kinds)-1])
	}
}

func TestFreeze_refusesEverythingButEndingIt(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	waiting := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-1")))
	mustFreeze(t, w, avery)

	_, err := w.Open(t.Context(), approvalstest.Isolate(robin, approvalstest.Workstation("ws-2")))
	no := wantRefusal(t, w, err, approvals.ErrFrozen)
	if !strings.Contains(no.Sentence, "Avery Kim") || !strings.Contains(no.Next, "unfreeze") || !strings.Contains(no.Next, "portal") {
		t.Errorf("the refusal says %q, want who froze, how it ends and where to go", no.Error())
	}
	release := approvalstest.Isolate(robin, approvalstest.Workstation("ws-2"))
	release.Action = approvals.Release
	_, err = w.Open(t.Context(), release)
	wantRefusal(t, w, err, approvals.ErrFrozen)
	_, err = w.Vote(t.Context(), approvalstest.Vote(waiting, sam, false))
	wantRefusal(t, w, err, approvals.ErrFrozen)
	_, err = w.Freeze(t.Context(), freezeBy(jo, "me too"))
	wantRefusal(t, w, err, approvals.ErrFrozen)
	if denied := mustVote(t, w, waiting, sam, true); denied.State != approvals.Denied {
		t.Errorf("a denial while frozen leaves it %s", denied.State)
	}
}

func TestFreeze_whoMay(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		by   identity.Principal
		want error
	}{
		"a holder of the role approver":          {by: avery},
		"a member of a group that a rule names":  {by: lou},
		"a responder who approves nothing":       {by: riley, want: approvals.ErrNotAllowed},
		"a viewer":                               {by: vic, want: approvals.ErrNotAllowed},
		"an account that is linked to nobody":    {by: approvalstest.Stranger, want: identity.ErrUnlinked},
		"an approver's account on the other app": {by: approvalstest.OnTeams(sam)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := approvalstest.New(t)
			w.Use(t, strings.Replace(approvalstest.Config, "name: Lou Marsh, slack: [T0SOC/U0LOU], roles: [responder, approver]", "name: Lou Marsh, slack: [T0SOC/U0LOU], roles: [responder]", 1))
			_, err := w.Freeze(t.Context(), freezeBy(tc.by, "stop"))
			if tc.want == nil {
				if err != nil {
					t.Errorf("Freeze() = %v, want it frozen", err)
				}
				return
			}
			wantRefusal(t, w, err, tc.want)
			if f, err := w.Frozen(t.Context(), approvalstest.Tenant); err != nil || f.On() {
				t.Errorf("Frozen() = %+v, %v, want no freeze", f, err)
			}
		})
	}
	t.Run("without a reason", func(t *testing.T) {
		t.Parallel()
		w := approvalstest.New(t)
		_, err := w.Freeze(t.Context(), freezeBy(avery, "  "))
		wantRefusal(t, w, err, approvals.ErrReason)
	})
}

func TestFreeze_isReadByTheClaimItself(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	r, refs := approved(t, w, approvalstest.Workstation("ws-1"))
	a, err := w.Claim(t.Context(), refs[0], facts(w, r, 0))
	if err != nil {
		t.Fatal(err)
	}
	mustFreeze(t, w, sam)
	// Defender refused the attempt for now: it waits for another claim.
	if err := w.Postponed(t.Context(), a, 0, "Defender's quota is used up."); err != nil {
		t.Fatal(err)
	}
	refs[0].Generation++
	_, err = w.Claim(t.Context(), refs[0], facts(w, r, 0))
	if !errors.Is(err, approvals.ErrVoid) || !strings.Contains(err.Error(), "frozen") {
		t.Errorf("Claim() while frozen = %v, want void because of the freeze", err)
	}
}

func TestUnfreeze_needsOthersUnderTheRule(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	waiting := mustOpen(t, w, approvalstest.Isolate(robin, approvalstest.Workstation("ws-1")))
	mustFreeze(t, w, sam)
	w.Told.Freezes()
	r, ref := unfrozen(t, w)
	if f, err := w.Frozen(t.Context(), r.Tenant); err != nil || !f.On() {
		t.Fatalf("Frozen() = %+v, %v before it was carried out", f, err)
	}
	w.Told.Changes()
	if err := w.Apply(t.Context(), ref, approvals.Facts{At: w.Clock.Now()}); err != nil {
		t.Fatalf("Apply: %v", err)
	}
	if f, err := w.Frozen(t.Context(), r.Tenant); err != nil || f.On() {
		t.Errorf("Frozen() = %+v, %v, want no freeze", f, err)
	}
	if got := state(t, w, r); got != approvals.Succeeded {
		t.Errorf("the request is %s, want succeeded", got)
	}
	if diff := cmp.Diff([]string{"unfrozen from Sam Okafor: strange approvals"}, w.Told.Freezes()); diff != "" {
		t.Errorf("announced (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]approvals.Change{approvals.ChangeFreeze, approvals.ChangeResolved}, w.Told.Changes()); diff != "" {
		t.Errorf("announced on cards (-want +got):\n%s", diff)
	}
	if got := mustVote(t, w, waiting, sam, false); got.State != approvals.Approved {
		t.Errorf("what waited is %s after the freeze, want approved by a vote of now", got.State)
	}
}

func TestUnfreeze_refusals(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	_, err := w.Unfreeze(t.Context(), freezeBy(riley, "nothing to end"))
	wantRefusal(t, w, err, approvals.ErrNotFrozen)
	mustFreeze(t, w, sam)
	_, err = w.Unfreeze(t.Context(), freezeBy(vic, "let it go"))
	wantRefusal(t, w, err, approvals.ErrNotAllowed)
	out, err := w.Unfreeze(t.Context(), freezeBy(avery, "over"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Vote(t.Context(), approvalstest.Vote(out.Request, approvalstest.OnTeams(avery), false))
	wantRefusal(t, w, err, approvals.ErrOwnRequest)
	if joined, err := w.Unfreeze(t.Context(), freezeBy(riley, "over")); err != nil || !joined.Joined {
		t.Errorf("a second unfreeze: joined = %v, %v, want it to join the first", joined.Joined, err)
	}
	in := approvalstest.Isolate(riley, approvals.TargetInput{ID: string(approvalstest.Tenant)})
	in.Action = approvals.Unfreeze
	_, err = w.Open(t.Context(), in)
	wantRefusal(t, w, err, approvals.ErrUnknownAction)
}

func TestUnfreeze_endsNoLaterFreeze(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	mustFreeze(t, w, sam)
	first, ref := unfrozen(t, w)
	if err := w.Apply(t.Context(), ref, approvals.Facts{At: w.Clock.Now()}); err != nil {
		t.Fatal(err)
	}
	w.Clock.Pass(time.Second)
	mustFreeze(t, w, avery)
	if err := w.Apply(t.Context(), ref, approvals.Facts{At: w.Clock.Now()}); !errors.Is(err, approvals.ErrMoved) {
		t.Errorf("a repeated Apply() = %v, want ErrMoved", err)
	}
	if f, err := w.Frozen(t.Context(), first.Tenant); err != nil || !f.On() || f.ByName != "Avery Kim" {
		t.Errorf("Frozen() = %+v, %v, want the later freeze in force", f, err)
	}
}

func TestUnfreeze_ruleThatTheActionAloneMeets(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	w.Use(t, strings.Replace(approvalstest.Config, "  rules:\n", "  rules:\n    - { name: end of a freeze, when: 'action.kind == \"unfreeze\"', from: [leads] }\n", 1))
	mustFreeze(t, w, sam)
	out, err := w.Unfreeze(t.Context(), freezeBy(riley, "over"))
	if err != nil {
		t.Fatal(err)
	}
	if out.Request.Rule.Name != "end of a freeze" || out.Request.Rule.Approvers != 1 || out.Request.Rule.TierZero {
		t.Errorf("the rule is %+v, want the one about unfreeze", out.Request.Rule)
	}
	_, err = w.Vote(t.Context(), approvalstest.Vote(out.Request, avery, false))
	wantRefusal(t, w, err, approvals.ErrNotEntitled)
	if got := mustVote(t, w, out.Request, jo, false); got.State != approvals.Approved {
		t.Errorf("after a lead approved it is %s", got.State)
	}
}
