package approvals_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
)

var (
	riley, robin, lou = approvalstest.Riley, approvalstest.Robin, approvalstest.Lou
	avery, sam, jo    = approvalstest.Avery, approvalstest.Sam, approvalstest.Jo
	vic               = approvalstest.Vic
)

func mustOpen(t testing.TB, w *approvalstest.World, in approvals.OpenInput) approvals.Request {
	t.Helper()
	out, err := w.Open(t.Context(), in)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	if out.Joined {
		t.Fatalf("Open joined #%d", out.Request.Number)
	}
	return out.Request
}

func mustVote(t testing.TB, w *approvalstest.World, r approvals.Request, by identity.Principal, deny bool) approvals.Request {
	t.Helper()
	out, err := w.Vote(t.Context(), approvalstest.Vote(r, by, deny))
	if err != nil {
		t.Fatalf("Vote: %v", err)
	}
	return out.Request
}

func state(t testing.TB, w *approvalstest.World, r approvals.Request) approvals.State {
	t.Helper()
	now, err := w.Request(t.Context(), r.Tenant, r.ID)
	if err != nil {
		t.Fatalf("Request: %v", err)
	}
	return now.State
}

// wantRefusal checks that err is a refusal of that kind with words and, unless
// the request is not stored, a record.
func wantRefusal(t testing.TB, w *approvalstest.World, err, want error) *approvals.Refusal {
	t.Helper()
	var no *approvals.Refusal
	if !errors.As(err, &no) || !errors.Is(err, want) {
		t.Fatalf("error = %v, want a refusal because %v", err, want)
	}
	if no.Sentence == "" || strings.HasSuffix(no.Sentence, " ") {
		t.Errorf("refusal without words: %+v", no)
	}
	kinds := w.Kinds(t)
	if len(kinds) == 0 || !strings.HasSuffix(kinds[len(kinds)-1], ".refused") {
		t.Errorf("refusal was not recorded; records: %v", kinds)
	}
	return no
}

func TestOpen_freezesWhatWasAsked(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	target := approvalstest.Workstation("ws-1")
	target.Facts = []byte(`{"os":"Windows11"}`)
	out, err := w.Open(t.Context(), approvalstest.Isolate(riley, target))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	r := out.Request
	if r.Number != 1 || r.State != approvals.Pending || r.Params["scope"] != "full" || r.Rule.Name != "workstations" {
		t.Errorf("opened #%d %s %v under %q", r.Number, r.State, r.Params, r.Rule.Name)
	}
	if !r.Expires.Equal(w.Clock.Now().Add(30 * time.Minute)) {
		t.Errorf("Expires = %s", r.Expires)
	}
	var names []string
	for _, p := range out.Eligible {
		names = append(names, p.Name)
	}
	if diff := cmp.Diff([]string{"Lou Marsh", "Avery Kim", "Sam Okafor", "Jo Weiss"}, names); diff != "" {
		t.Errorf("eligible people (-want +got):\n%s", diff)
	}
	if out.Shortfall != "" {
		t.Errorf("Shortfall = %q", out.Shortfall)
	}
	stored, err := w.ByNumber(t.Context(), r.Tenant, 1)
	if err != nil {
		t.Fatalf("ByNumber: %v", err)
	}
	if diff := cmp.Diff(r, stored); diff != "" {
		t.Errorf("stored request differs (-opened +stored):\n%s", diff)
	}
	if diff := cmp.Diff([]approvals.Change{approvals.ChangeOpened}, w.Told.Changes()); diff != "" {
		t.Errorf("announced (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"request.opened"}, w.Kinds(t)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestOpen_refusals(t *testing.T) {
	t.Parallel()
	ws := approvalstest.Workstation("ws-1")
	many := make([]approvals.TargetInput, approvals.MaxTargets+1)
	for i := range many {
		many[i] = approvalstest.Workstation(fmt.Sprintf("ws-%d", i))
	}
	protected := approvalstest.Workstation("ws-2")
	protected.Machine.Tags = []string{"never-isolate"}
	unread := approvalstest.Workstation("ws-3")
	unread.Machine = nil
	tierZero := approvalstest.Workstation("ws-5")
	tierZero.Machine.Tags = []string{"tier0"}
	other := approvalstest.Workstation("ws-4")
	other.Machine = ws.Machine
	for name, tc := range map[string]struct {
		in    approvals.OpenInput
		spoil func(*approvals.OpenInput)
		want  error
	}{
		"an account linked to nobody":        {in: approvalstest.Isolate(approvalstest.Stranger, ws), want: identity.ErrUnlinked},
		"a person without the role":          {in: approvalstest.Isolate(vic, ws), want: approvals.ErrNotAllowed},
		"an approver who is no responder":    {in: approvalstest.Isolate(sam, ws), want: approvals.ErrNotAllowed},
		"an action there is not":             {in: approvalstest.Isolate(riley, ws), spoil: func(in *approvals.OpenInput) { in.Action = "offboard" }, want: approvals.ErrUnknownAction},
		"a settlement by the front door":     {in: approvalstest.Isolate(riley, ws), spoil: func(in *approvals.OpenInput) { in.Action = approvals.Settle }, want: approvals.ErrUnknownAction},
		"a parameter there is not":           {in: approvalstest.Isolate(riley, ws), spoil: func(in *approvals.OpenInput) { in.Params = map[string]string{"reboot": "yes"} }, want: approvals.ErrUnknownAction},
		"a value there is not":               {in: approvalstest.Isolate(riley, ws), spoil: func(in *approvals.OpenInput) { in.Params = map[string]string{"scope": "half"} }, want: approvals.ErrUnknownAction},
		"no reason":                          {in: approvalstest.Isolate(riley, ws), spoil: func(in *approvals.OpenInput) { in.Reason = " \n" }, want: approvals.ErrReason},
		"a reason too long":                  {in: approvalstest.Isolate(riley, ws), spoil: func(in *approvals.OpenInput) { in.Reason = strings.Repeat("é", approvals.MaxReason+1) }, want: approvals.ErrReason},
		"no machine":                         {in: approvalstest.Isolate(riley), want: approvals.ErrTargets},
		"too many machines":                  {in: approvalstest.Isolate(riley, many...), want: approvals.ErrTargets},
		"the same machine twice":             {in: approvalstest.Isolate(riley, ws, ws), want: approvals.ErrTargets},
		"a machine without ID":               {in: approvalstest.Isolate(riley, approvals.TargetInput{Name: "ws-1"}), want: approvals.ErrTargets},
		"facts of another machine":           {in: approvalstest.Isolate(riley, other), want: approvals.ErrTargets},
		"a protected machine":                {in: approvalstest.Isolate(riley, ws, protected), want: approvals.ErrProtected},
		"tier 0 among others":                {in: approvalstest.Isolate(riley, ws, tierZero), want: approvals.ErrTargets},
		"a machine whose tags are not known": {in: approvalstest.Isolate(riley, unread), want: approvals.ErrProtected},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := approvalstest.New(t)
			if tc.spoil != nil {
				tc.spoil(&tc.in)
			}
			_, err := w.Open(t.Context(), tc.in)
			wantRefusal(t, w, err, tc.want)
			if live, err := w.Live(t.Context(), approvalstest.Tenant); err != nil || len(live) != 0 {
				t.Errorf("Live() = %v, %v after a refusal, want nothing", live, err)
			}
			if told := w.Told.Changes(); len(told) != 0 {
				t.Errorf("a refusal was announced: %v", told)
			}
		})
	}
}

func TestOpen_reasonNamesATicketWhereThatIsAsked(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	w.Use(t, strings.Replace(approvalstest.Config, "  expire_after: 30m\n", "  expire_after: 30m\n  ticket: 'INC[0-9]{7}'\n", 1))
	in := approvalstest.Isolate(riley, approvalstest.Workstation("ws-1"))
	for reason, taken := range map[string]bool{"beaconing": false, "INC12: beaconing": false, "beaconing, see INC0012345": true} {
		in.Reason = reason
		_, err := w.Open(t.Context(), in)
		if taken != (err == nil) || err != nil && !errors.Is(err, approvals.ErrReason) {
			t.Errorf("%q: %v, want taken: %v", reason, err, taken)
		}
	}
}

func TestOpen_withFactsThatCannotBeReadTakesTheStrictestRule(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	w.Use(t, strings.Replace(approvalstest.Config, "  protected:\n    - when: '\"never-isolate\" in machine.tags'\n", "", 1))
	unread := approvalstest.Workstation("ws-1")
	unread.Machine = nil
	r := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-2"), unread))
	if r.Rule.Approvers != 3 && r.Rule.Approvers != 2 || !r.Rule.TierZero || !slices.Contains(r.Rule.From, "leads") {
		t.Errorf("rule = %+v, want the strictest", r.Rule)
	}
}

func TestOpen_besideOtherRequests(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	first := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-1"), approvalstest.Workstation("ws-2")))

	out, err := w.Open(t.Context(), approvalstest.Isolate(robin, approvalstest.Workstation("ws-2")))
	if err != nil || !out.Joined || out.Request.ID != first.ID {
		t.Errorf("Open(same machine) = joined %t #%d, %v; want #%d joined", out.Joined, out.Request.Number, err, first.Number)
	}

	release := approvalstest.Isolate(robin, approvalstest.Workstation("ws-1"))
	release.Action = approvals.Release
	_, err = w.Open(t.Context(), release)
	no := wantRefusal(t, w, err, approvals.ErrBusy)
	if !strings.Contains(no.Error(), "#1") || no.Request.ID != first.ID {
		t.Errorf("refusal %q does not name #1", no)
	}

	selective := approvalstest.Isolate(robin, approvalstest.Workstation("ws-1"))
	selective.Params = map[string]string{"scope": "selective"}
	_, err = w.Open(t.Context(), selective)
	wantRefusal(t, w, err, approvals.ErrBusy)

	_, err = w.Open(t.Context(), approvalstest.Isolate(robin, approvalstest.Workstation("ws-2"), approvalstest.Workstation("ws-3")))
	wantRefusal(t, w, err, approvals.ErrBusy)

	mustVote(t, w, first, avery, true)
	again := mustOpen(t, w, release)
	if again.Number != 2 {
		t.Errorf("Number = %d, want 2: refusals and joins use none", again.Number)
	}
}

func TestOpen_atMostThreeUndecidedPerPerson(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	for i := range approvals.MaxPending {
		mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation(fmt.Sprintf("ws-%d", i))))
	}
	_, err := w.Open(t.Context(), approvalstest.Isolate(approvalstest.OnTeams(riley), approvalstest.Workstation("ws-9")))
	no := wantRefusal(t, w, err, approvals.ErrTooManyOpen)
	if !strings.Contains(no.Sentence, "#1, #2, #3") {
		t.Errorf("refusal %q does not name the requests", no.Sentence)
	}
	mustOpen(t, w, approvalstest.Isolate(robin, approvalstest.Workstation("ws-9")))
}

func TestOpen_limitsAddOneApproverAndNeverRefuse(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	five := make([]approvals.TargetInput, 5)
	for i := range five {
		five[i] = approvalstest.Workstation(fmt.Sprintf("ws-%d", i))
	}
	first := mustOpen(t, w, approvalstest.Isolate(riley, five...))
	if first.Rule.Approvers != 1 || first.Rule.OverLimit != "" {
		t.Fatalf("five machines: %+v, want one approver", first.Rule)
	}
	over := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-6")))
	if over.Rule.Approvers != 2 || over.Rule.OverLimit == "" {
		t.Errorf("sixth machine: %+v, want two approvers and the limit named", over.Rule)
	}
	release := approvalstest.Isolate(riley, approvalstest.Workstation("ws-7"))
	release.Action = approvals.Release
	if r := mustOpen(t, w, release); r.Rule.Approvers != 1 {
		t.Errorf("release: %+v, want it counted apart", r.Rule)
	}
	mustVote(t, w, first, avery, true)
	if r := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-8"))); r.Rule.Approvers != 1 {
		t.Errorf("after a denial: %+v, want what was denied not counted", r.Rule)
	}
}

func TestOpen_whenNobodyOrTooFewCouldApprove(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	server := approvalstest.Workstation("srv-1")
	server.Machine.OS = "WindowsServer2022"
	// Directory groups are empty without a directory.
	empty := strings.Replace(approvalstest.Config, "    - name: workstations\n      from: [soc]", "    - name: workstations\n      from: [directory]", 1) +
		"  directory: { entra_group: 5c2e7d90-41fb-4a8c-96e3-0d8b5f7a1e65 }\n"
	w.Use(t, empty)
	_, err := w.Open(t.Context(), approvalstest.Isolate(riley, approvalstest.Workstation("ws-1")))
	wantRefusal(t, w, err, approvals.ErrNobody)

	w.Use(t, strings.Replace(empty, "    - name: servers\n      when: machine.os.startsWith(\"WindowsServer\")\n      approvers: 2\n      from: [soc]",
		"    - name: servers\n      when: machine.os.startsWith(\"WindowsServer\")\n      approvers: 2\n      from: [leads, directory]", 1))
	out, err := w.Open(t.Context(), approvalstest.Isolate(riley, server))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	if !strings.Contains(out.Shortfall, "Only Jo Weiss can approve this now") {
		t.Errorf("Shortfall = %q, want it to say who can approve", out.Shortfall)
	}
}

func TestOpen_isUndoneWhenItCannotBeAnnounced(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	w.Told.Err = errors.New("no card row")
	if _, err := w.Open(t.Context(), approvalstest.Isolate(riley, approvalstest.Workstation("ws-1"))); !errors.Is(err, w.Told.Err) {
		t.Fatalf("Open() = %v, want %v", err, w.Told.Err)
	}
	if kinds := w.Kinds(t); len(kinds) != 0 {
		t.Errorf("records %v of a request that does not exist", kinds)
	}
}

func TestVote_completesTheQuorum(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	r := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-1"), approvalstest.Workstation("ws-2")))
	w.Told.Changes()
	r = mustVote(t, w, r, avery, false)
	if r.State != approvals.Approved || !r.ExecuteBy.Equal(w.Clock.Now().Add(10*time.Minute)) {
		t.Errorf("state %s, execute by %s", r.State, r.ExecuteBy)
	}
	if diff := cmp.Diff([]approvals.Change{approvals.ChangeApproved}, w.Told.Changes()); diff != "" {
		t.Errorf("announced (-want +got):\n%s", diff)
	}
	want := []durable.Job{
		{Tenant: r.Tenant, Kind: approvals.KindExecute, ID: r.ID + "/0", Generation: 1, Unique: true},
		{Tenant: r.Tenant, Kind: approvals.KindExecute, ID: r.ID + "/1", Generation: 1, Unique: true},
	}
	if diff := cmp.Diff(want, w.DB.Due()); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"request.opened", "vote.approve", "request.approved"}, w.Kinds(t)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestVote_twoPeopleAreNeeded(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	server := approvalstest.Workstation("srv-1")
	server.Machine.OS = "WindowsServer2022"
	r := mustOpen(t, w, approvalstest.Isolate(riley, server))
	if got := mustVote(t, w, r, avery, false).State; got != approvals.Pending {
		t.Fatalf("after one approval: %s, want pending", got)
	}
	// The same person, from the other platform.
	_, err := w.Vote(t.Context(), approvalstest.Vote(r, approvalstest.OnTeams(avery), false))
	wantRefusal(t, w, err, approvals.ErrAlreadyVoted)
	if got := mustVote(t, w, r, approvalstest.OnTeams(sam), false).State; got != approvals.Approved {
		t.Errorf("after two approvals: %s, want approved", got)
	}
}

func TestVote_refusals(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		by    identity.Principal
		deny  bool
		spoil func(t *testing.T, w *approvalstest.World, in *approvals.VoteInput)
		want  error
	}{
		"the requester":               {by: lou, want: approvals.ErrOwnRequest},
		"the requester on Teams":      {by: approvalstest.OnTeams(lou), want: approvals.ErrOwnRequest},
		"the requester denies":        {by: lou, deny: true, want: approvals.ErrOwnRequest},
		"an account linked to nobody": {by: approvalstest.Stranger, want: identity.ErrUnlinked},
		"a responder approves":        {by: robin, want: approvals.ErrNotEntitled},
		"a viewer approves":           {by: vic, want: approvals.ErrNotEntitled},
		"a viewer denies":             {by: vic, deny: true, want: approvals.ErrNotEntitled},
		"an approver after losing the group": {by: sam, want: approvals.ErrNotEntitled, spoil: func(t *testing.T, w *approvalstest.World, _ *approvals.VoteInput) {
			w.Use(t, strings.Replace(approvalstest.Config, "    - 00000000-0000-4000-8000-000000000005\n", "", 1))
		}},
		"a card of another request": {by: avery, want: approvals.ErrStaleDigest, spoil: func(_ *testing.T, _ *approvalstest.World, in *approvals.VoteInput) {
			in.Digest = strings.Repeat("0", 64)
		}},
		"no digest": {by: avery, want: approvals.ErrStaleDigest, spoil: func(_ *testing.T, _ *approvalstest.World, in *approvals.VoteInput) { in.Digest = "" }},
		"at the moment it expires": {by: avery, want: approvals.ErrExpired, spoil: func(_ *testing.T, w *approvalstest.World, _ *approvals.VoteInput) {
			w.Clock.Pass(30 * time.Minute)
		}},
		"after it was swept away": {by: avery, deny: true, want: approvals.ErrExpired, spoil: func(t *testing.T, w *approvalstest.World, _ *approvals.VoteInput) {
			w.Clock.Pass(31 * time.Minute)
			if err := w.Sweep(t.Context()); err != nil {
				t.Fatalf("Sweep: %v", err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := approvalstest.New(t)
			r := mustOpen(t, w, approvalstest.Isolate(lou, approvalstest.Workstation("ws-1")))
			in := approvalstest.Vote(r, tc.by, tc.deny)
			if tc.spoil != nil {
				tc.spoil(t, w, &in)
			}
			before := state(t, w, r)
			_, err := w.Vote(t.Context(), in)
			wantRefusal(t, w, err, tc.want)
			if now := state(t, w, r); now != before {
				t.Errorf("refused vote moved the request from %s to %s", before, now)
			}
			if jobs := w.DB.Due(); len(jobs) != 0 {
				t.Errorf("refused vote planned %v", jobs)
			}
		})
	}
}

func TestVote_unknownRequest(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	r := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-1")))
	in := approvalstest.Vote(r, avery, false)
	in.Tenant = "another tenant"
	if _, err := w.Vote(t.Context(), in); !errors.Is(err, approvals.ErrNotFound) {
		t.Errorf("Vote in another tenant = %v, want %v", err, approvals.ErrNotFound)
	}
}

func TestVote_denialWins(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		first []identity.Principal
		by    identity.Principal
	}{
		"before any approval":          {by: avery},
		"by a responder":               {by: robin},
		"after own approval":           {first: []identity.Principal{avery}, by: avery},
		"after approval, before claim": {first: []identity.Principal{avery}, by: robin},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := approvalstest.New(t)
			r := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-1")))
			for _, by := range tc.first {
				mustVote(t, w, r, by, false)
			}
			in := approvalstest.Vote(r, tc.by, true)
			in.Reason = "scheduled test"
			out, err := w.Vote(t.Context(), in)
			if err != nil {
				t.Fatalf("Vote: %v", err)
			}
			if out.Request.State != approvals.Denied || !strings.HasSuffix(out.Request.Why, ": scheduled test") || out.Request.Closed.IsZero() {
				t.Errorf("request is %s (%q)", out.Request.State, out.Request.Why)
			}
			for _, job := range w.DB.Due() {
				ref, err := approvals.ParseRef(job)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.Claim(t.Context(), ref, facts(w, r, 0)); !errors.Is(err, approvals.ErrMoved) {
					t.Errorf("Claim after a denial = %v, want %v", err, approvals.ErrMoved)
				}
			}
			w.Clock.Pass(2 * time.Minute)
			_, err = w.Vote(t.Context(), approvalstest.Vote(r, sam, false))
			no := wantRefusal(t, w, err, approvals.ErrDecided)
			if !strings.HasPrefix(no.Sentence, "Denied 2 minutes ago by ") {
				t.Errorf("late answer %q", no.Sentence)
			}
		})
	}
}

func TestVote_lateApprovalIsToldWhoDecided(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	r := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-1")))
	mustVote(t, w, r, avery, false)
	w.Clock.Pass(2 * time.Minute)
	_, err := w.Vote(t.Context(), approvalstest.Vote(r, sam, false))
	if no := wantRefusal(t, w, err, approvals.ErrDecided); no.Sentence != "Approved 2 minutes ago by Avery Kim." {
		t.Errorf("late answer %q", no.Sentence)
	}
}

// Two of one group are not made up for by one of them and somebody whom only the
// rule of another machine of the request asks for.
func TestVote_groupsOfSeveralRulesDoNotMakeUpForEachOther(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	w.Use(t, strings.NewReplacer(
		"    - name: workstations\n      from: [soc]", "    - name: workstations\n      from: [desk]",
		"groups:\n", "groups:\n  desk: [00000000-0000-4000-8000-000000000005]\n",
		"    - 00000000-0000-4000-8000-000000000005\n", "",
	).Replace(approvalstest.Config))
	server := approvalstest.Workstation("srv-1")
	server.Machine.OS = "WindowsServer2022"
	r := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-1"), server))
	mustVote(t, w, r, avery, false)
	out, err := w.Vote(t.Context(), approvalstest.Vote(r, sam, false))
	if err != nil || out.Request.State != approvals.Pending || out.Decision.Missing != 1 {
		t.Fatalf("with one of the SOC and one of the desk it is %s with %d missing, %v; the server needs two of the SOC",
			out.Request.State, out.Decision.Missing, err)
	}
	if got := mustVote(t, w, r, lou, false); got.State != approvals.Approved {
		t.Errorf("with two of the SOC and one of the desk it is %s", got.State)
	}
}

// facts are those of a workstation that has not changed.
func facts(w *approvalstest.World, r approvals.Request, index int) approvals.Facts {
	t := r.Targets[index]
	return approvals.Facts{At: w.Clock.Now(), Machine: &policy.Machine{ID: t.ID, Name: t.Name, OS: "Windows11"}}
}

func approved(t *testing.T, w *approvalstest.World, targets ...approvals.TargetInput) (approvals.Request, []approvals.Ref) {
	t.Helper()
	return approvedAs(t, w, approvalstest.Isolate(riley, targets...))
}

func approvedAs(t *testing.T, w *approvalstest.World, in approvals.OpenInput) (approvals.Request, []approvals.Ref) {
	t.Helper()
	r := mustVote(t, w, mustOpen(t, w, in), avery, false)
	var refs []approvals.Ref
	for _, job := range w.DB.Due() {
		ref, err := approvals.ParseRef(job)
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	return r, refs
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	in := func(r approvals.Request, by identity.Principal) approvals.WithdrawInput {
		return approvals.WithdrawInput{Asked: approvals.Asked{By: by}, Tenant: r.Tenant, Request: r.ID}
	}
	r, refs := approved(t, w, approvalstest.Workstation("ws-1"), approvalstest.Workstation("ws-2"))

	_, err := w.Withdraw(t.Context(), in(r, avery))
	wantRefusal(t, w, err, approvals.ErrNotRequester)

	if _, err := w.Claim(t.Context(), refs[0], facts(w, r, 0)); err != nil {
		t.Fatalf("Claim: %v", err)
	}
	got, err := w.Withdraw(t.Context(), in(r, approvalstest.OnTeams(riley)))
	if err != nil {
		t.Fatalf("Withdraw: %v", err)
	}
	if got.Targets[0].State != approvals.Executing || got.Targets[1].State != approvals.Withdrawn || !strings.Contains(got.Why, "1 of 2 had already been sent") {
		t.Errorf("targets %s and %s, %q", got.Targets[0].State, got.Targets[1].State, got.Why)
	}
	if _, err := w.Claim(t.Context(), refs[1], facts(w, r, 1)); !errors.Is(err, approvals.ErrMoved) {
		t.Errorf("Claim of a withdrawn target = %v, want %v", err, approvals.ErrMoved)
	}
	_, err = w.Withdraw(t.Context(), in(r, riley))
	wantRefusal(t, w, err, approvals.ErrClaimed)

	fresh := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-3")))
	if got, err := w.Withdraw(t.Context(), in(fresh, riley)); err != nil || got.State != approvals.Withdrawn {
		t.Errorf("Withdraw() = %s, %v", got.State, err)
	}
	_, err = w.Withdraw(t.Context(), in(fresh, riley))
	wantRefusal(t, w, err, approvals.ErrDecided)
}

// What had been claimed when the requester withdrew goes on, and nothing of it is
// sent a second time: neither when Defender refused for now, nor when the outcome
// turns out to be absent.
func TestWithdraw_allowsNoFurtherAttempt(t *testing.T) {
	t.Parallel()
	withdrawnAfterClaim := func(t *testing.T, in approvals.OpenInput, claim func(*approvalstest.World, approvals.Request) approvals.Facts) (*approvalstest.World, approvals.Ref, approvals.Attempt, approvals.Facts) {
		t.Helper()
		w := approvalstest.New(t)
		r, refs := approvedAs(t, w, in)
		f := claim(w, r)
		a, err := w.Claim(t.Context(), refs[0], f)
		if err != nil {
			t.Fatalf("Claim: %v", err)
		}
		if _, err := w.Withdraw(t.Context(), approvals.WithdrawInput{Asked: approvals.Asked{By: riley}, Tenant: r.Tenant, Request: r.ID}); err != nil {
			t.Fatalf("Withdraw: %v", err)
		}
		ref := refs[0]
		ref.Generation++
		return w, ref, a, f
	}
	machines := func(w *approvalstest.World, r approvals.Request) approvals.Facts { return facts(w, r, 0) }
	two := approvalstest.Isolate(riley, approvalstest.Workstation("ws-1"), approvalstest.Workstation("ws-2"))
	t.Run("refused for now", func(t *testing.T) {
		t.Parallel()
		w, ref, a, f := withdrawnAfterClaim(t, two, machines)
		if err := w.Postponed(t.Context(), a, 0, "Defender's quota is used up."); err != nil {
			t.Fatal(err)
		}
		f.At = w.Clock.Now()
		if _, err := w.Claim(t.Context(), ref, f); !errors.Is(err, approvals.ErrVoid) || !strings.Contains(err.Error(), "withdrew") {
			t.Errorf("Claim() after a withdrawal = %v, want void because of it", err)
		}
	})
	t.Run("known to be absent", func(t *testing.T) {
		t.Parallel()
		w, ref, a, _ := withdrawnAfterClaim(t, block("evil.example", "worse.example"), func(w *approvalstest.World, _ approvals.Request) approvals.Facts {
			return approvals.Facts{At: w.Clock.Now()}
		})
		if err := w.Unclear(t.Context(), a, "?", nil); err != nil {
			t.Fatal(err)
		}
		if err := w.Absent(t.Context(), ref, "It is not there."); err != nil {
			t.Fatal(err)
		}
		r, err := w.Request(t.Context(), ref.Tenant, ref.Request)
		if err != nil || r.Targets[0].State != approvals.Failed {
			t.Errorf("the absent target is %s (%v), want failed: it was withdrawn", r.Targets[0].State, err)
		}
	})
}

func TestClaim_judgesEverythingAgain(t *testing.T) {
	t.Parallel()
	type change func(t *testing.T, w *approvalstest.World, r approvals.Request, f *approvals.Facts)
	config := func(old, new string) change {
		return func(t *testing.T, w *approvalstest.World, _ approvals.Request, _ *approvals.Facts) {
			if !strings.Contains(approvalstest.Config, old) {
				t.Fatalf("%q is not in the configuration", old)
			}
			w.Use(t, strings.Replace(approvalstest.Config, old, new, 1))
		}
	}
	sql := func(query string) change {
		return func(t *testing.T, w *approvalstest.World, _ approvals.Request, _ *approvals.Facts) {
			err := w.DB.InTx(t.Context(), func(tx durable.Tx) error {
				n, err := tx.Exec(t.Context(), query)
				if err == nil && n == 0 {
					err = errors.New("no row")
				}
				return err
			})
			if err != nil {
				t.Fatalf("%s: %v", query, err)
			}
		}
	}
	// bind makes two tenants, the second of which has the given channel.
	bind := func(channel string) change {
		return config("\ngroups:\n", `
tenants:
  - { id: 4f6c2a1e-0000-4000-8000-000000000001, name: contoso, people: [all] }
  - { id: 4f6c2a1e-0000-4000-8000-000000000002, name: fabrikam, people: [all], channels: ["`+channel+`"] }
groups:
  all:
    - 00000000-0000-4000-8000-000000000001
    - 00000000-0000-4000-8000-000000000003
    - 00000000-0000-4000-8000-000000000004
    - 00000000-0000-4000-8000-000000000005
    - 00000000-0000-4000-8000-000000000006
`)
	}
	for name, tc := range map[string]struct {
		change change
		why    string
		kind   string
	}{
		"another channel was bound to another tenant":    {bind("slack:C0FAB"), "", ""},
		"the channel was bound to another tenant":        {bind("slack:C0SOC"), "bound to another Defender tenant now, fabrikam", "target.void"},
		"approver left the group":                        {config("    - 00000000-0000-4000-8000-000000000004\n", ""), "no longer suffice", "target.void"},
		"approver lost a role the rule does not ask for": {config("name: Avery Kim, slack: [T0SOC/U0AVERY], roles: [responder, approver]", "name: Avery Kim, slack: [T0SOC/U0AVERY], roles: []"), "", ""},
		"requester lost the role":                        {config("slack: [T0SOC/U0RILEY], roles: [responder]", "slack: [T0SOC/U0RILEY], roles: [viewer]"), "may no longer ask", "target.void"},
		"the rule became stricter":                       {config("    - name: workstations\n", "    - name: workstations\n      approvers: 2\n"), "no longer suffice", "target.void"},
		"the machine became tier zero": {func(_ *testing.T, _ *approvalstest.World, _ approvals.Request, f *approvals.Facts) {
			f.Machine.Tags = []string{"tier0"}
		}, "no longer suffice", "target.void"},
		"the machine became protected": {func(_ *testing.T, _ *approvalstest.World, _ approvals.Request, f *approvals.Facts) {
			f.Machine.Tags = []string{"never-isolate"}
		}, "cannot be changed from chat", "target.void"},
		"facts could not be read": {func(_ *testing.T, _ *approvalstest.World, _ approvals.Request, f *approvals.Facts) {
			f.Machine = nil
		}, "could not be looked at", "target.void"},
		"facts of another machine": {func(_ *testing.T, _ *approvalstest.World, _ approvals.Request, f *approvals.Facts) {
			f.Machine.ID = "ws-9"
		}, "could not be looked at", "target.void"},
		"something is in the way": {func(_ *testing.T, _ *approvalstest.World, _ approvals.Request, f *approvals.Facts) {
			f.Problem = "The machine was renamed."
		}, "renamed", "target.void"},
		"the approver's account is a guest now": {func(_ *testing.T, _ *approvalstest.World, _ approvals.Request, f *approvals.Facts) {
			f.Barred = map[identity.PersonID]string{approvalstest.ID(avery): "the account is a guest"}
		}, "no longer suffice", "target.void"},
		"the requester's account is gone": {func(_ *testing.T, _ *approvalstest.World, _ approvals.Request, f *approvals.Facts) {
			f.Barred = map[identity.PersonID]string{approvalstest.ID(riley): "the account is inactive"}
		}, "may not take part", "target.void"},
		"it was not started in time": {func(_ *testing.T, w *approvalstest.World, _ approvals.Request, f *approvals.Facts) {
			w.Clock.Pass(10 * time.Minute)
			f.At = w.Clock.Now()
		}, "not started in time", "target.void"},
		"the stored target was changed":      {sql(`UPDATE request_targets SET target = 'ws-9'`), "not the one that was approved", "request.tampered"},
		"the stored parameters were changed": {sql(`UPDATE requests SET params = '{"scope":"selective"}'`), "not the one that was approved", "request.tampered"},
		"the stored rule was loosened":       {sql(`UPDATE requests SET rule = '{"name":"x","text":"","approvers":1}'`), "not the one that was approved", "request.tampered"},
		"the stored requester was changed":   {sql(`UPDATE requests SET requester = '4f6c2a1e-0000-4000-8000-0000000000aa/00000000-0000-4000-8000-000000000002'`), "not the one that was approved", "request.tampered"},
		"the stored digest was changed":      {sql(`UPDATE requests SET digest = 'x'`), "not the one that was approved", "request.tampered"},
		"the vote was for something else":    {sql(`UPDATE votes SET digest = 'x'`), "no longer suffice", "target.void"},
		"a denial was written to the store":  {sql(`UPDATE votes SET deny = 1`), "denied it", "target.void"},
		"a looser rule does not matter":      {config("approvers: 2\n      from: [soc]", "approvers: 1\n      from: [soc]"), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := approvalstest.New(t)
			r, refs := approved(t, w, approvalstest.Workstation("ws-1"))
			f := facts(w, r, 0)
			tc.change(t, w, r, &f)
			_, err := w.Claim(t.Context(), refs[0], f)
			if tc.why == "" {
				if err != nil {
					t.Errorf("Claim() = %v, want it to pass", err)
				}
				return
			}
			if !errors.Is(err, approvals.ErrVoid) || !strings.Contains(err.Error(), tc.why) {
				t.Fatalf("Claim() = %v, want void because it %s", err, tc.why)
			}
			now, err := w.Request(t.Context(), r.Tenant, r.ID)
			if err != nil || now.State != approvals.Void || now.Why == "" || now.Targets[0].Attempts != 0 {
				t.Errorf("request is %s (%q), %v; want void", now.State, now.Why, err)
			}
			if kinds := w.Kinds(t); kinds[len(kinds)-1] != tc.kind {
				t.Errorf("last record is %s, want %s", kinds[len(kinds)-1], tc.kind)
			}
			if _, err := w.Claim(t.Context(), refs[0], facts(w, r, 0)); !errors.Is(err, approvals.ErrMoved) {
				t.Errorf("second Claim() = %v, want %v: void is final", err, approvals.ErrMoved)
			}
		})
	}
}

func TestClaim_isHandedOutOnce(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	r, refs := approved(t, w, approvalstest.Workstation("ws-1"))
	var wg sync.WaitGroup
	results := make(chan error, 8)
	for range cap(results) {
		wg.Go(func() {
			_, err := w.Claim(t.Context(), refs[0], facts(w, r, 0))
			results <- err
		})
	}
	wg.Wait()
	close(results)
	won := 0
	for err := range results {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, approvals.ErrMoved):
			t.Errorf("Claim() = %v, want %v", err, approvals.ErrMoved)
		}
	}
	if won != 1 {
		t.Errorf("%d claims were handed out, want 1", won)
	}
}

// A process may sleep between reading what it goes by and judging it.
func TestClaim_readsAgainWhatIsTooOld(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	r, refs := approved(t, w, approvalstest.Workstation("ws-1"))
	f := facts(w, r, 0)
	w.Clock.Pass(approvals.MaxFactsAge + time.Second)
	for name, at := range map[string]time.Time{"slept": f.At, "clock put back": w.Clock.Now().Add(time.Hour), "never": {}} {
		f.At = at
		if _, err := w.Claim(t.Context(), refs[0], f); !errors.Is(err, approvals.ErrStale) {
			t.Errorf("%s: Claim() = %v, want %v", name, err, approvals.ErrStale)
		}
	}
	if got := state(t, w, r); got != approvals.Approved {
		t.Errorf("the request is %s, want it still approved", got)
	}
	if _, err := w.Claim(t.Context(), refs[0], facts(w, r, 0)); err != nil {
		t.Errorf("Claim() with what was read again = %v", err)
	}
}

// duringLookUp is a directory in which something happens while it is asked.
type duringLookUp func()

func (f duringLookUp) Member(context.Context, policy.DirectoryGroup, identity.PersonID) (bool, error) {
	f()
	return true, nil
}

// Another mdebot.yaml comes into force while the directory is asked about the one
// before it.
func TestService_judgesByTheRulesThatAreInForceThen(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	config := strings.Replace(approvalstest.Config, "      from: [soc]\n  protected", "      from: [staff]\n  protected", 1) +
		"  staff: { entra_group: 5c2e0000-0000-4000-8000-000000000001 }\n"
	w.Use(t, config)
	var asked func()
	s := approvals.New(approvals.Config{
		DB: w.DB, Audit: audit.NewLog(w.Clock.Now), Announcer: w.Told, Policy: w.Policy, Actions: approvals.Actions(),
		Groups: duringLookUp(func() {
			if then := asked; then != nil {
				asked = nil
				then()
			}
		}), Now: w.Clock.Now, Logger: w.Logger,
	})
	open := func(id string) approvals.Request {
		out, err := s.Open(t.Context(), approvalstest.Isolate(riley, approvalstest.Workstation(id)))
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		return out.Request
	}
	withoutAvery := strings.Replace(config, "  - { person: 00000000-0000-4000-8000-000000000004, name: Avery Kim, slack: [T0SOC/U0AVERY], roles: [responder, approver] }\n", "", 1)
	withoutAvery = strings.Replace(withoutAvery, "    - 00000000-0000-4000-8000-000000000004\n", "", 1)

	r := open("ws-1")
	asked = func() { w.Use(t, withoutAvery) }
	if _, err := s.Vote(t.Context(), approvalstest.Vote(r, avery, false)); !errors.Is(err, identity.ErrUnlinked) {
		t.Errorf("Vote() of somebody who was removed meanwhile = %v, want %v", err, identity.ErrUnlinked)
	}

	w.Use(t, config)
	r = open("ws-2")
	got, err := s.Vote(t.Context(), approvalstest.Vote(r, avery, false))
	if err != nil || got.Request.State != approvals.Approved {
		t.Fatalf("Vote() = %s, %v", got.Request.State, err)
	}
	asked = func() { w.Use(t, withoutAvery) }
	ref := approvals.Ref{Tenant: r.Tenant, Request: r.ID, Generation: 1}
	if _, err := s.Claim(t.Context(), ref, facts(w, r, 0)); !errors.Is(err, approvals.ErrVoid) {
		t.Errorf("Claim() on the vote of somebody who was removed meanwhile = %v, want %v", err, approvals.ErrVoid)
	}
}

// Approve, deny and withdraw at once: one consistent outcome, and no claim after
// a denial or withdrawal.
func TestVote_races(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	for round := range 30 {
		r := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation(fmt.Sprintf("ws-%d", round))))
		var wg sync.WaitGroup
		var denied, withdrawn, claimed error
		for _, by := range []identity.Principal{avery, avery, sam, jo, lou} {
			wg.Go(func() {
				if _, err := w.Vote(t.Context(), approvalstest.Vote(r, by, false)); err != nil && !isRefusal(err) {
					t.Errorf("Vote: %v", err)
				}
			})
		}
		wg.Go(func() { _, denied = w.Vote(t.Context(), approvalstest.Vote(r, robin, true)) })
		wg.Go(func() {
			_, withdrawn = w.Withdraw(t.Context(), approvals.WithdrawInput{Asked: approvals.Asked{By: riley}, Tenant: r.Tenant, Request: r.ID})
		})
		wg.Go(func() {
			ref := approvals.Ref{Tenant: r.Tenant, Request: r.ID, Generation: 1}
			_, claimed = w.Claim(t.Context(), ref, facts(w, r, 0))
		})
		wg.Wait()
		outcomes := 0
		for _, err := range []error{denied, withdrawn, claimed} {
			if err == nil {
				outcomes++
			} else if !isRefusal(err) && !errors.Is(err, approvals.ErrMoved) {
				t.Errorf("round %d: %v", round, err)
			}
		}
		if outcomes != 1 {
			t.Errorf("round %d: denied %v, withdrawn %v, claimed %v; want exactly one to win", round, denied, withdrawn, claimed)
		}
	}
	if n := slices.Index(w.Kinds(t), ""); n >= 0 {
		t.Errorf("record %d has no kind", n)
	}
}

func isRefusal(err error) bool {
	var no *approvals.Refusal
	return errors.As(err, &no)
}

func TestSweep_expiresAndReminds(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	r := mustOpen(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-1")))
	w.Told.Changes()
	sweep := func(after time.Duration, want ...approvals.Change) {
		t.Helper()
		w.Clock.Pass(after)
		for range 2 { // another replica finds nothing left to do
			if err := w.Sweep(t.Context()); err != nil {
				t.Fatalf("Sweep: %v", err)
			}
		}
		if diff := cmp.Diff(want, w.Told.Changes()); diff != "" {
			t.Errorf("announced %s later (-want +got):\n%s", after, diff)
		}
	}
	sweep(5*time.Minute - time.Microsecond)
	sweep(time.Microsecond, approvals.ChangeReminder5)
	sweep(10*time.Minute - time.Microsecond)
	sweep(time.Microsecond, approvals.ChangeReminder15)
	sweep(15*time.Minute - time.Microsecond)
	sweep(time.Microsecond, approvals.ChangeResolved)
	if got := w.Told.Last(); got.State != approvals.Expired || got.Why == "" || got.ID != r.ID {
		t.Errorf("announced #%d as %s (%q)", got.Number, got.State, got.Why)
	}
	sweep(time.Hour)
}

func TestSweep_voidsWhatWasNotStarted(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	r, _ := approved(t, w, approvalstest.Workstation("ws-1"))
	w.Clock.Pass(10 * time.Minute)
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatalf("Sweep: %v", err)
	}
	if got := state(t, w, r); got != approvals.Void {
		t.Errorf("state = %s, want void", got)
	}
}

func TestSweep_drivesForgottenTargetsAgain(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	r, lost := approved(t, w, approvalstest.Workstation("ws-1"))
	w.Told.Changes()
	w.Clock.Pass(30 * time.Second)
	for range 2 {
		if err := w.Sweep(t.Context()); err != nil {
			t.Fatalf("Sweep: %v", err)
		}
	}
	jobs := w.DB.Due()
	if len(jobs) != 1 || jobs[0].Generation != 2 {
		t.Fatalf("jobs = %+v, want one of generation 2", jobs)
	}
	if told := w.Told.Changes(); len(told) != 0 {
		t.Errorf("announced %v, want nothing", told)
	}
	if _, err := w.Claim(t.Context(), lost[0], facts(w, r, 0)); !errors.Is(err, approvals.ErrMoved) {
		t.Errorf("Claim with the old generation = %v, want %v", err, approvals.ErrMoved)
	}
}

func TestSweep_takesOverAndFencesTheOldHolder(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	r, refs := approved(t, w, approvalstest.Workstation("ws-1"))
	attempt, err := w.Claim(t.Context(), refs[0], facts(w, r, 0))
	if err != nil {
		t.Fatalf("Claim: %v", err)
	}
	w.Clock.Pass(approvals.LeaseFor - time.Microsecond)
	if err := w.Sweep(t.Context()); err != nil || state(t, w, r) != approvals.Executing {
		t.Fatalf("Sweep before the lease ends: %v, %s", err, state(t, w, r))
	}
	w.Clock.Pass(time.Microsecond)
	if err := w.Sweep(t.Context()); err != nil || state(t, w, r) != approvals.Unknown {
		t.Fatalf("Sweep when the lease has ended: %v, %s", err, state(t, w, r))
	}
	for name, err := range map[string]error{
		"Submitted": w.Submitted(t.Context(), attempt, approvals.Started{ID: "action"}),
		"Refused":   w.Refused(t.Context(), attempt, "no", nil),
		"Postponed": w.Postponed(t.Context(), attempt, 0, "later"),
		"Unclear":   w.Unclear(t.Context(), attempt, "?", nil),
	} {
		if !errors.Is(err, approvals.ErrMoved) {
			t.Errorf("%s with a lost lease = %v, want %v", name, err, approvals.ErrMoved)
		}
	}
	if got := state(t, w, r); got != approvals.Unknown {
		t.Errorf("a lost lease moved the request to %s", got)
	}
}

// A process died with a claim while the clock was an hour ahead. When it has been set
// right, nobody waits for that hour.
func TestSweep_goesOnWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	claimed, refs := approved(t, w, approvalstest.Workstation("ws-1"))
	if _, err := w.Claim(t.Context(), refs[0], facts(w, claimed, 0)); err != nil {
		t.Fatalf("Claim: %v", err)
	}
	forgotten, _ := approved(t, w, approvalstest.Workstation("ws-2"))
	w.DB.Due() // its job is lost
	w.Clock.Pass(-time.Hour)
	if err := w.Sweep(t.Context()); err != nil || state(t, w, claimed) != approvals.Unknown {
		t.Errorf("Sweep after the clock was set back: %v, %s, want unknown", err, state(t, w, claimed))
	}
	driven := false
	for _, job := range w.DB.Due() {
		driven = driven || strings.Contains(job.ID, forgotten.ID)
	}
	if !driven {
		t.Error("the approved request is not driven again")
	}
}

func TestPostponed_canStillBeDenied(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	r, refs := approved(t, w, approvalstest.Workstation("ws-1"))
	attempt, err := w.Claim(t.Context(), refs[0], facts(w, r, 0))
	if err != nil {
		t.Fatalf("Claim: %v", err)
	}
	if err := w.Postponed(t.Context(), attempt, time.Minute, "throttled"); err != nil {
		t.Fatalf("Postponed: %v", err)
	}
	next := refs[0]
	next.Generation++
	if _, err := w.Claim(t.Context(), next, facts(w, r, 0)); !errors.Is(err, approvals.ErrMoved) {
		t.Errorf("Claim before its time = %v, want %v", err, approvals.ErrMoved)
	}
	if got := mustVote(t, w, r, robin, true).State; got != approvals.Denied {
		t.Errorf("state = %s, want denied", got)
	}
}

func TestAskAgain(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	in := approvalstest.Isolate(riley, approvalstest.Workstation("ws-1"))
	in.Params = map[string]string{"scope": "selective"}
	r := mustOpen(t, w, in)
	_, err := w.AskAgain(t.Context(), r.Tenant, r.ID)
	if !errors.Is(err, approvals.ErrNotRepeatable) {
		t.Errorf("AskAgain while pending = %v, want %v", err, approvals.ErrNotRepeatable)
	}
	w.Clock.Pass(30 * time.Minute)
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := w.AskAgain(t.Context(), r.Tenant, r.ID)
	if err != nil {
		t.Fatalf("AskAgain: %v", err)
	}
	want := approvals.Prefill{
		Action: approvals.Isolate, Params: map[string]string{"scope": "selective", "for": ""}, Reason: "beaconing",
		Targets: []approvals.Target{{Kind: approvals.TargetMachine, ID: "ws-1", Name: "ws-1.contoso.com"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("AskAgain (-want +got):\n%s", diff)
	}
}

func TestOpen_besideAnUnclearRequest(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	r, refs := approved(t, w, approvalstest.Workstation("ws-1"))
	attempt, err := w.Claim(t.Context(), refs[0], facts(w, r, 0))
	if err != nil {
		t.Fatalf("Claim: %v", err)
	}
	if err := w.Unclear(t.Context(), attempt, "?", nil); err != nil {
		t.Fatalf("Unclear: %v", err)
	}
	_, err = w.Open(t.Context(), approvalstest.Isolate(robin, approvalstest.Workstation("ws-1")))
	no := wantRefusal(t, w, err, approvals.ErrBusy)
	if !strings.Contains(no.Next, "settle 1 done") {
		t.Errorf("the refusal's next step is %q, want how to settle", no.Next)
	}
}

func TestSweep_recallsSentAndUnclearTargets(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	r, refs := approved(t, w, approvalstest.Workstation("ws-1"))
	attempt, err := w.Claim(t.Context(), refs[0], facts(w, r, 0))
	if err != nil {
		t.Fatalf("Claim: %v", err)
	}
	if err := w.Unclear(t.Context(), attempt, "?", nil); err != nil {
		t.Fatalf("Unclear: %v", err)
	}
	ref := refs[0]
	ref.Generation++
	w.DB.Due()
	w.Told.Changes()
	recalled := func(after time.Duration, kind string, want int) {
		t.Helper()
		w.DB.Due() // what was planned before is lost
		w.Clock.Pass(after)
		w.DB.Due()
		for range 2 {
			if err := w.Sweep(t.Context()); err != nil {
				t.Fatalf("Sweep: %v", err)
			}
		}
		jobs := w.DB.Due()
		if len(jobs) != want || want > 0 && (jobs[0].Kind != kind || jobs[0].Generation != ref.Generation || !jobs[0].Unique) {
			t.Errorf("%s later: planned %+v, want %d of kind %s and generation %d", after, jobs, want, kind, ref.Generation)
		}
		if told := w.Told.Changes(); len(told) != 0 {
			t.Errorf("announced %v, want nothing", told)
		}
	}
	recalled(time.Minute, approvals.KindExecute, 1)
	recalled(59*time.Second, approvals.KindExecute, 0)
	recalled(time.Hour, approvals.KindExecute, 1)
	recalled(time.Hour, approvals.KindExecute, 1) // the last look is lost as well
	for _, last := range []bool{false, true, true} {
		if err := w.Noted(t.Context(), ref, "nothing is shown", last); err != nil {
			t.Fatalf("Noted: %v", err)
		}
	}
	w.Told.Changes()
	recalled(time.Hour, approvals.KindExecute, 0) // people settle it now
	if err := w.Found(t.Context(), ref, approvals.Started{ID: "action-1", Status: "Pending"}); err != nil {
		t.Fatalf("Found: %v", err)
	}
	w.Told.Changes()
	recalled(time.Minute, approvals.KindFollow, 1)
	recalled(24*time.Hour, approvals.KindFollow, 1)
	if err := w.Finished(t.Context(), ref, true, "Succeeded", ""); err != nil {
		t.Fatalf("Finished: %v", err)
	}
	w.Told.Changes()
	recalled(time.Hour, approvals.KindFollow, 0)
}
