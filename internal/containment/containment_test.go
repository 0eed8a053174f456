package containment

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
)

func TestExecute_isolatesOnceAndFollowsToTheEnd(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	in := approvalstest.Isolate(approvalstest.Riley, s.target("ws-1"))
	in.Params = map[string]string{"scope": "selective"}
	r := s.approve(t, in)
	s.work(t)
	got := s.want(t, r, approvals.Submitted, "")
	if got.Targets[0].MachineAction != "action-1" || got.Targets[0].ActionStatus != "Pending" {
		t.Errorf("target follows %q (%s)", got.Targets[0].MachineAction, got.Targets[0].ActionStatus)
	}
	want := []post{{
		machine: "ws-1", kind: defender.Isolate, scope: "Selective", acted: true,
		comment: "[mdebot:" + r.ID + "] #1 asked by Riley Chen, approved by Avery Kim. Reason: beaconing",
	}}
	if diff := cmp.Diff(want, s.defender.sent(), cmp.AllowUnexported(post{})); diff != "" {
		t.Errorf("POSTs (-want +got):\n%s", diff)
	}
	s.run(t, 10*time.Second)
	s.want(t, r, approvals.Submitted, "")
	s.defender.finish(defender.ActionSucceeded)
	s.run(t, 10*time.Second)
	s.want(t, r, approvals.Succeeded, "")
	kinds := s.Kinds(t)
	if diff := cmp.Diff([]string{"request.opened", "vote.approve", "request.approved", "action.intent", "action.submitted", "action.finished"}, kinds); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestExecute_releases(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	in := approvalstest.Isolate(approvalstest.Riley, s.target("ws-1"))
	in.Action = approvals.Release
	s.defender.add(defender.MachineAction{Type: defender.Isolate, Status: defender.ActionSucceeded, MachineID: "ws-1"})
	s.Clock.Pass(time.Minute)
	r := s.approve(t, in)
	s.work(t)
	s.defender.finish(defender.ActionSucceeded)
	s.run(t, 10*time.Second)
	s.want(t, r, approvals.Succeeded, "")
	if sent := s.defender.sent(); len(sent) != 1 || sent[0].kind != defender.Unisolate {
		t.Errorf("POSTs = %+v, want one release", sent)
	}
}

func TestExecute_sortsTheAnswers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answers []answer
		state   approvals.State
		why     string
		posts   int
	}{
		"throttled, then taken":             {[]answer{throttles}, approvals.Submitted, "", 2},
		"unreachable, then taken":           {[]answer{unreachable, unreachable}, approvals.Submitted, "", 3},
		"token refused once":                {[]answer{unauthorized}, approvals.Submitted, "", 2},
		"token refused twice":               {[]answer{unauthorized, unauthorized}, approvals.Failed, "unauthorized", 2},
		"forbidden":                         {[]answer{forbids}, approvals.Failed, "forbidden: the application lacks Machine.Isolate(31m", 1},
		"acted without answer":              {[]answer{actsSilently}, approvals.Submitted, "", 1},
		"process died after the call":       {[]answer{dies}, approvals.Submitted, "", 1},
		"neither acted nor answered":        {[]answer{onlySilent}, approvals.Unknown, "settle 1 done or settle 1 not-done", 1},
		"process died before the call":      {[]answer{diesBefore}, approvals.Unknown, "settle 1 done or settle 1 not-done", 0},
		"answered success without acting":   {[]answer{answersLies}, approvals.Unknown, "settle 1 done or settle 1 not-done", 1},
		"already active and nothing to see": {[]answer{alreadyActive}, approvals.Unknown, "settle 1 done or settle 1 not-done", 1},
		"throttled for ever":                {slices.Repeat([]answer{throttles}, 100), approvals.Void, "quota is used up", 23},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.defender.answers = tc.answers
			r := s.isolate(t)
			s.run(t, 12*time.Minute)
			s.want(t, r, tc.state, tc.why)
			s.wantPosts(t, tc.posts)
		})
	}
}

// Defender may permit the application less on one machine than on another; each
// target says what became of it.
func TestExecute_permissionMissingForOneOfTwoMachines(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.defender.answers = []answer{acts, forbids}
	r := s.approve(t, approvalstest.Isolate(approvalstest.Riley, s.target("ws-1"), s.target("ws-2")))
	s.work(t)
	s.defender.finish(defender.ActionSucceeded)
	s.run(t, 10*time.Second)
	r = s.now(t, r)
	var states []string
	for _, target := range r.Targets {
		states = append(states, string(target.State)+" "+target.Why)
	}
	slices.Sort(states)
	if r.State != approvals.Failed || len(states) != 2 || !strings.Contains(states[0], "the application lacks Machine.Isolate") || states[1] != "succeeded " {
		t.Errorf("the request is %s, its machines are %q", r.State, states)
	}
	s.wantPosts(t, 2)
}

// The list may show an action only after 90 seconds; the looks wait for it.
func TestLook_findsALateAction(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.defender.answers = []answer{actsSilently}
	s.defender.hideFor = 90 * time.Second
	r := s.isolate(t)
	s.run(t, time.Minute)
	s.want(t, r, approvals.Unknown, "does not show the action yet")
	s.run(t, 70*time.Second)
	s.want(t, r, approvals.Submitted, "")
	s.wantPosts(t, 1)
}

func TestLook_goesOnWhileDefenderCannotBeRead(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.defender.answers = []answer{actsSilently}
	r := s.isolate(t)
	s.work(t)
	s.defender.readErr = defender.ErrUnavailable
	s.run(t, 10*time.Minute)
	s.want(t, r, approvals.Unknown, "still looking")
	s.defender.readErr = nil
	s.run(t, time.Minute)
	s.want(t, r, approvals.Submitted, "")
	s.wantPosts(t, 1)
}

func TestLook_reportsSomebodyElsesAction(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.defender.answers = []answer{onlySilent}
	r := s.isolate(t)
	s.work(t)
	s.defender.add(defender.MachineAction{Type: defender.Isolate, Status: defender.ActionPending, MachineID: "ws-1", Requestor: "dana@contoso.com"})
	s.run(t, 3*time.Minute)
	s.want(t, r, approvals.Unknown, "by dana@contoso.com")
	s.wantPosts(t, 1)
}

func TestExecute_alreadyActive(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.defender.answers = []answer{alreadyActive}
	s.defender.onPost = func(post) {
		s.defender.add(defender.MachineAction{Type: defender.Isolate, Status: defender.ActionPending, MachineID: "ws-1", Requestor: "dana@contoso.com"})
	}
	r := s.isolate(t)
	s.work(t)
	s.want(t, r, approvals.Failed, "Not sent: an action of type Isolate by dana@contoso.com")
	s.wantPosts(t, 1)
}

func TestExecute_saysWhenDefenderReturnsAnOlderAction(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.defender.answers = []answer{returnsOther}
	s.defender.onPost = func(post) {
		s.defender.add(defender.MachineAction{Type: defender.Isolate, Status: defender.ActionPending, MachineID: "ws-1", Requestor: "dana@contoso.com", Comment: "by hand"})
	}
	r := s.isolate(t)
	s.work(t)
	s.want(t, r, approvals.Submitted, "Defender started no other action, because an action of type Isolate by dana@contoso.com")
	s.defender.finish(defender.ActionSucceeded)
	s.run(t, 10*time.Second)
	s.want(t, r, approvals.Succeeded, "by dana@contoso.com")
}

// A database restored to before an execution finds its action instead of sending
// another.
func TestExecute_adoptsWhatWasSentBefore(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.isolate(t)
	s.defender.add(defender.MachineAction{Type: defender.Isolate, Status: defender.ActionPending, MachineID: "ws-1", Comment: marker(r) + " #1 …"})
	s.work(t)
	got := s.want(t, r, approvals.Submitted, "")
	if got.Targets[0].MachineAction != "action-1" {
		t.Errorf("follows %q", got.Targets[0].MachineAction)
	}
	s.wantPosts(t, 0)
}

func TestExecute_voidsWhatHasChanged(t *testing.T) {
	t.Parallel()
	action := func(a defender.MachineAction) func(*site) {
		return func(s *site) {
			a.MachineID, a.Requestor = "ws-1", "dana@contoso.com"
			s.defender.add(a)
			s.Clock.Pass(time.Second)
		}
	}
	machine := func(fn func(*defender.Machine)) func(*site) {
		return func(s *site) { s.defender.change("ws-1", fn) }
	}
	for name, tc := range map[string]struct {
		release bool
		change  func(*site)
		why     string
	}{
		"renamed":           {change: machine(func(m *defender.Machine) { m.Name = "dc-01.contoso.com" }), why: "was called ws-1.contoso.com"},
		"installed anew":    {change: machine(func(m *defender.Machine) { m.FirstSeen = m.FirstSeen.Add(time.Hour) }), why: "set up anew"},
		"joined anew":       {change: machine(func(m *defender.Machine) { m.EntraDeviceID = "another" }), why: "set up anew"},
		"another system":    {change: machine(func(m *defender.Machine) { m.OS = "Ubuntu" }), why: "set up anew"},
		"merged":            {change: machine(func(m *defender.Machine) { m.MergedInto = "ws-2" }), why: "merged this machine record into ws-2"},
		"excluded":          {change: machine(func(m *defender.Machine) { m.Excluded = true }), why: "excludes"},
		"of another tenant": {change: machine(func(m *defender.Machine) { m.Tenant = "fabrikam" }), why: "another Defender tenant"},
		"protected now":     {change: machine(func(m *defender.Machine) { m.Tags = []string{"never-isolate"} }), why: "cannot be changed from chat"},
		"tier zero now":     {change: machine(func(m *defender.Machine) { m.Tags = []string{"tier0"} }), why: "no longer suffice"},
		"gone":              {change: func(s *site) { delete(s.defender.machines, "ws-1") }, why: "no longer knows this machine"},
		"isolated already":  {change: action(defender.MachineAction{Type: defender.Isolate, Status: defender.ActionSucceeded}), why: "isolated already"},
		"being isolated":    {change: action(defender.MachineAction{Type: defender.Isolate, Status: defender.ActionPending}), why: "Nothing was added"},
		"being released":    {change: action(defender.MachineAction{Type: defender.Unisolate, Status: defender.ActionInProgress}), why: "Nothing was added"},
		"released already":  {release: true, change: action(defender.MachineAction{Type: defender.Unisolate, Status: defender.ActionSucceeded}), why: "released already"},
		"being isolated while a release was decided": {release: true, change: action(defender.MachineAction{Type: defender.Isolate, Status: defender.ActionPending}), why: "Nothing was added"},
		"approver became a guest":                    {change: func(s *site) { s.directory.standings[approvalstest.Avery.Key()] = identity.Guest }, why: "no longer suffice"},
		"requester was disabled":                     {change: func(s *site) { s.directory.standings[approvalstest.Riley.Key()] = identity.Inactive }, why: "may not take part"},
		"standing is not known":                      {change: func(s *site) { s.directory.standings[approvalstest.Avery.Key()] = identity.Unknown }, why: "no longer suffice"},
		"directory is down":                          {change: func(s *site) { s.directory.err = errors.New("no answer") }, why: "could not be read"},
		"defender is down":                           {change: func(s *site) { s.defender.readErr = defender.ErrUnavailable }, why: "could not be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			target := s.target("ws-1")
			s.defender.change("ws-1", func(m *defender.Machine) { m.FirstSeen, m.EntraDeviceID = s.Clock.Now().Add(-time.Hour), "device" })
			facts, err := json.Marshal(cards.FactsOf(cards.MachineView{Machine: s.defender.machines["ws-1"]}, s.Clock.Now()))
			if err != nil {
				t.Fatal(err)
			}
			target.Facts = facts
			in := approvalstest.Isolate(approvalstest.Riley, target)
			if tc.release {
				in.Action = approvals.Release
			}
			r := s.approve(t, in)
			tc.change(s)
			s.run(t, 2*time.Minute)
			s.want(t, r, approvals.Void, tc.why)
			s.wantPosts(t, 0)
		})
	}
}

func TestExecute_releaseAfterAFailedIsolation(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	in := approvalstest.Isolate(approvalstest.Riley, s.target("ws-1"))
	in.Action = approvals.Release
	s.defender.add(defender.MachineAction{Type: defender.Isolate, Status: defender.ActionFailed, MachineID: "ws-1"})
	r := s.approve(t, in)
	s.work(t)
	s.want(t, r, approvals.Submitted, "")
}

func TestExecute_shortReadFailureDoesNotVoid(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.defender.readErr = defender.ErrUnavailable
	r := s.isolate(t)
	s.run(t, 40*time.Second)
	s.want(t, r, approvals.Approved, "")
	s.defender.readErr = nil
	s.run(t, 40*time.Second)
	s.want(t, r, approvals.Submitted, "")
}

// The answer arrives and cannot be recorded: the next look finds the action.
func TestExecute_answerThatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.isolate(t)
	s.defender.onPost = func(post) { s.Told.Err = errors.New("disk full") }
	s.work(t)
	s.Told.Err = nil
	s.want(t, r, approvals.Executing, "")
	s.run(t, time.Minute)
	s.want(t, r, approvals.Submitted, "")
	s.wantPosts(t, 1)
}

// A holder that sleeps past its lease finds it gone and sends nothing, also when
// the clock was put back meanwhile and the lease seems to last.
func TestExecute_slowHolderSendsNothing(t *testing.T) {
	t.Parallel()
	for name, back := range map[string]time.Duration{"the clock goes on": 0, "the clock is put back": approvals.LeaseFor} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			r := s.isolate(t)
			ref := approvals.Ref{Tenant: r.Tenant, Request: r.ID, Generation: 1}
			attempt, err := s.Claim(t.Context(), ref, approvals.Facts{At: s.Clock.Now(), Machine: machineFacts(s.defender.machines["ws-1"])})
			if err != nil {
				t.Fatalf("Claim: %v", err)
			}
			s.Clock.Pass(approvals.LeaseFor)
			if err := s.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.Clock.Pass(-back)
			if err := s.runner.send(t.Context(), effects[approvals.Isolate], attempt); !errors.Is(err, approvals.ErrMoved) {
				t.Errorf("send with a lost lease = %v, want %v", err, approvals.ErrMoved)
			}
			s.wantPosts(t, 0)
		})
	}
}

// A process that sleeps between reading the machine and claiming it goes by what
// the machine is when it wakes.
func TestExecute_readsAgainAfterASleep(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.isolate(t)
	s.defender.onRead = func() {
		s.defender.change("ws-1", func(m *defender.Machine) { m.Name = "dc-01.contoso.com" })
		s.Clock.Pass(5 * time.Minute)
	}
	s.run(t, time.Second)
	s.want(t, r, approvals.Void, "is called dc-01.contoso.com now")
	s.wantPosts(t, 0)
}

func TestSettle(t *testing.T) {
	t.Parallel()
	settle := func(t *testing.T, s *site, r approvals.Request, outcome string) approvals.Request {
		t.Helper()
		out, err := s.Settle(t.Context(), approvals.SettleInput{
			Asked: approvals.Asked{By: approvalstest.Riley}, Tenant: r.Tenant, Request: r.ID, Outcome: outcome, Reason: "seen in the portal",
		})
		if err != nil {
			t.Fatalf("Settle: %v", err)
		}
		_, err = s.Vote(t.Context(), approvalstest.Vote(out.Request, approvalstest.Riley, false))
		if !errors.Is(err, approvals.ErrOwnRequest) {
			t.Errorf("own vote on a settlement = %v, want %v", err, approvals.ErrOwnRequest)
		}
		if _, err := s.Vote(t.Context(), approvalstest.Vote(out.Request, approvalstest.Sam, false)); err != nil {
			t.Fatalf("Vote: %v", err)
		}
		s.work(t)
		return out.Request
	}
	unclear := func(t *testing.T) (*site, approvals.Request) {
		t.Helper()
		s := newSite(t)
		s.defender.answers = []answer{onlySilent, onlySilent}
		r := s.isolate(t)
		s.run(t, 3*time.Minute)
		s.want(t, r, approvals.Unknown, "Needs people")
		if !slices.Contains(s.Told.Changes(), approvals.ChangeNeedsPeople) {
			t.Error("nobody was told that people are needed")
		}
		return s, r
	}

	t.Run("each of several unclear machines by itself", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.defender.answers = []answer{onlySilent, onlySilent}
		r := s.approve(t, approvalstest.Isolate(approvalstest.Riley, s.target("ws-1"), s.target("ws-2")))
		s.run(t, 3*time.Minute)
		in := approvals.SettleInput{
			Asked: approvals.Asked{By: approvalstest.Riley}, Tenant: r.Tenant, Request: r.ID, Outcome: approvals.SettleDone, Reason: "seen",
		}
		if _, err := s.Settle(t.Context(), in); !errors.Is(err, approvals.ErrTargets) {
			t.Errorf("Settle() of two machines at once = %v, want %v", err, approvals.ErrTargets)
		}
		in.Target = "ws-2"
		out, err := s.Settle(t.Context(), in)
		if err != nil {
			t.Fatalf("Settle(ws-2) = %v", err)
		}
		if _, err := s.Vote(t.Context(), approvalstest.Vote(out.Request, approvalstest.Sam, false)); err != nil {
			t.Fatalf("Vote: %v", err)
		}
		s.work(t)
		r = s.now(t, r)
		if r.Targets[0].State != approvals.Unknown || r.Targets[1].State != approvals.Succeeded {
			t.Errorf("states are %s and %s, want the first still unknown and the second settled", r.Targets[0].State, r.Targets[1].State)
		}
	})
	t.Run("done", func(t *testing.T) {
		t.Parallel()
		s, r := unclear(t)
		by := settle(t, s, r, approvals.SettleDone)
		s.want(t, by, approvals.Succeeded, "")
		s.want(t, r, approvals.Succeeded, "Settled as done by Riley Chen and Sam Okafor in #2: seen in the portal")
		s.wantPosts(t, 1)
	})
	t.Run("not done allows one more attempt", func(t *testing.T) {
		t.Parallel()
		s, r := unclear(t)
		settle(t, s, r, approvals.SettleNotDone)
		s.wantPosts(t, 2)
		s.run(t, 3*time.Minute)
		s.want(t, r, approvals.Unknown, "Needs people")
		settle(t, s, r, approvals.SettleNotDone)
		s.run(t, time.Minute)
		s.want(t, r, approvals.Failed, "Settled as not-done")
		s.wantPosts(t, 2)
	})
	t.Run("not done after its time", func(t *testing.T) {
		t.Parallel()
		s, r := unclear(t)
		s.run(t, 10*time.Minute)
		settle(t, s, r, approvals.SettleNotDone)
		s.run(t, time.Minute)
		s.want(t, r, approvals.Failed, "Settled as not-done")
		s.wantPosts(t, 1)
	})
	t.Run("found before the settlement was approved", func(t *testing.T) {
		t.Parallel()
		s, r := unclear(t)
		out, err := s.Settle(t.Context(), approvals.SettleInput{
			Asked: approvals.Asked{By: approvalstest.Riley}, Tenant: r.Tenant, Request: r.ID, Outcome: approvals.SettleNotDone, Reason: "not there",
		})
		if err != nil {
			t.Fatalf("Settle: %v", err)
		}
		now := s.now(t, r)
		ref := approvals.Ref{Tenant: r.Tenant, Request: r.ID, Generation: now.Targets[0].Generation}
		if err := s.Found(t.Context(), ref, approvals.Started{ID: "action-9", Status: "Pending"}); err != nil {
			t.Fatalf("Found: %v", err)
		}
		if _, err := s.Vote(t.Context(), approvalstest.Vote(out.Request, approvalstest.Sam, false)); err != nil {
			t.Fatalf("Vote: %v", err)
		}
		s.work(t)
		s.want(t, out.Request, approvals.Void, "by itself")
		s.wantPosts(t, 1)
	})
	t.Run("while mdebot is still looking", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.defender.answers = []answer{onlySilent}
		r := s.isolate(t)
		s.run(t, time.Minute)
		_, err := s.Settle(t.Context(), approvals.SettleInput{
			Asked: approvals.Asked{By: approvalstest.Riley}, Tenant: r.Tenant, Request: r.ID, Outcome: approvals.SettleNotDone, Reason: "no",
		})
		if !errors.Is(err, approvals.ErrNotUnclear) {
			t.Errorf("Settle() = %v, want %v", err, approvals.ErrNotUnclear)
		}
	})
	t.Run("what is not unclear", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		r := s.isolate(t)
		for outcome, want := range map[string]error{approvals.SettleDone: approvals.ErrNotUnclear, "maybe": approvals.ErrUnknownAction} {
			_, err := s.Settle(t.Context(), approvals.SettleInput{
				Asked: approvals.Asked{By: approvalstest.Riley}, Tenant: r.Tenant, Request: r.ID, Outcome: outcome, Reason: "no",
			})
			if !errors.Is(err, want) {
				t.Errorf("Settle(%s) = %v, want %v", outcome, err, want)
			}
		}
	})
}

func TestFollow(t *testing.T) {
	t.Parallel()
	t.Run("missing for two minutes at first", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.defender.hideFor = 100 * time.Second
		r := s.isolate(t)
		s.run(t, 110*time.Second)
		s.want(t, r, approvals.Submitted, "")
	})
	t.Run("offline machine", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		r := s.isolate(t)
		s.defender.change("ws-1", func(m *defender.Machine) { m.Health = "Inactive" })
		s.run(t, 5*time.Minute)
		s.want(t, r, approvals.Submitted, "The machine is Inactive, last seen 2026-11-21 12:00 UTC")
		s.run(t, 70*time.Hour)
		s.want(t, r, approvals.Submitted, "up to three days")
		s.defender.finish(defender.ActionTimeOut)
		s.run(t, time.Hour)
		s.want(t, r, approvals.Failed, "TimeOut")
	})
	t.Run("no end in three days", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		r := s.isolate(t)
		s.run(t, 73*time.Hour+10*time.Minute)
		s.want(t, r, approvals.Failed, "Defender still says Pending after three days")
	})
	t.Run("unknown status is not final", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		r := s.isolate(t)
		s.work(t)
		s.defender.finish("Dreaming")
		s.run(t, time.Minute)
		if got := s.want(t, r, approvals.Submitted, ""); got.Targets[0].ActionStatus != "Dreaming" {
			t.Errorf("status = %q", got.Targets[0].ActionStatus)
		}
	})
	t.Run("another machine's action", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		r := s.isolate(t)
		s.work(t)
		s.defender.actions[0].MachineID = "ws-2"
		s.run(t, 3*time.Minute)
		s.want(t, r, approvals.Unknown, "Needs people")
	})
}

func TestPace(t *testing.T) {
	t.Parallel()
	for age, want := range map[time.Duration]time.Duration{
		0: 5 * time.Second, 59 * time.Second: 5 * time.Second, time.Minute: 30 * time.Second,
		14 * time.Minute: 30 * time.Second, 15 * time.Minute: 5 * time.Minute, 70 * time.Hour: 5 * time.Minute,
	} {
		if got := pace(age); got != want {
			t.Errorf("pace(%s) = %s, want %s", age, got, want)
		}
	}
}

func TestEnding(t *testing.T) {
	t.Parallel()
	for want, a := range map[string]defender.MachineAction{
		"Defender ended it as Failed (error 0x80004005).":                       {Status: defender.ActionFailed, HResult: -2147467259},
		"The machine did not take it in time (TimeOut) (error 0x80190198).":     {Status: defender.ActionTimeOut, HResult: -2145844840},
		"It was cancelled by dana@contoso.com: wrong (one) (error 0x80004004).": {Status: defender.ActionCancelled, CancelledBy: "dana@contoso.com", CancelComment: "wrong\n[one]", HResult: -2147467260},
	} {
		if got := ending(a); got != want {
			t.Errorf("ending() = %q, want %q", got, want)
		}
	}
}

func TestComment_cannotBeImitated(t *testing.T) {
	t.Parallel()
	victim := approvals.Request{ID: "0193512e-0000-7000-8000-000000000001"}
	forged := marker(victim)
	for name, a := range map[string]approvals.Attempt{
		"in the reason":    {Request: approvals.Request{ID: "own", Reason: forged + " nothing to see"}},
		"in a name":        {Request: approvals.Request{ID: "own", RequesterName: forged, Reason: "x"}, Approvers: []approvals.Vote{{Name: forged}}},
		"after line break": {Request: approvals.Request{ID: "own", Reason: "x\r\n" + forged}},
	} {
		text := comment(a)
		if hasMarker(defender.MachineAction{Comment: text}, victim) || strings.Contains(text, forged) || strings.ContainsAny(text, "\r\n") {
			t.Errorf("%s: comment %q", name, text)
		}
		if !hasMarker(defender.MachineAction{Comment: text}, a.Request) {
			t.Errorf("%s: comment %q lacks its own marker", name, text)
		}
	}
}

func TestComment_staysShort(t *testing.T) {
	t.Parallel()
	a := approvals.Attempt{Request: approvals.Request{
		ID: "0193512e-0000-7000-8000-000000000001", Number: 1 << 40,
		RequesterName: strings.Repeat("𝓡", 500), Reason: strings.Repeat("𝓡", approvals.MaxReason),
	}}
	for range 10 {
		a.Approvers = append(a.Approvers, approvals.Vote{Name: strings.Repeat("𝓐", 200)})
	}
	text := comment(a)
	if n := len(utf16.Encode([]rune(text))); n >= 1000 || !utf8.ValidString(text) {
		t.Errorf("comment has %d UTF-16 units, valid %t", n, utf8.ValidString(text))
	}
	if !strings.Contains(text, "Reason: 𝓡") {
		t.Errorf("no room for the reason in %q", text)
	}
}

func TestWords_showWhatTheServiceSaid(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("isolate machine: %w", &defender.APIError{
		StatusCode: 400, Code: "OsPlatformNotSupported", Message: "not\u202efor\x00 this\nOS", RequestID: "abc",
	})
	if got, want := words(err), "Defender refused it (HTTP 400 OsPlatformNotSupported): notfor this OS. Request ID abc."; got != want {
		t.Errorf("words() = %q, want %q", got, want)
	}
}

// A new action is an entry in the registry and an effect here.
func TestEffects_coverTheRegistry(t *testing.T) {
	t.Parallel()
	for kind, action := range approvals.Actions() {
		if _, ok := effects[kind]; ok == action.Local() {
			t.Errorf("action %s: effect present %t, carried out here %t", kind, ok, action.Local())
		}
	}
}
