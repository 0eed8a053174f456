package containment

import (
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
	"github.com/mdebot/mdebot/internal/defender"
)

// onMachines are the actions on machines, with what Defender is told for each.
var onMachines = map[string]struct {
	params map[string]string
	kind   defender.MachineActionType
	scope  string
}{
	approvals.Isolate:    {map[string]string{"scope": "selective"}, defender.Isolate, "Selective"},
	approvals.Release:    {nil, defender.Unisolate, ""},
	approvals.Contain:    {nil, defender.Isolate, "UnManagedDevice"},
	approvals.Restrict:   {nil, defender.Restrict, ""},
	approvals.Unrestrict: {nil, defender.Unrestrict, ""},
	approvals.Quarantine: {map[string]string{"file": aHash}, defender.Quarantine, ""},
	approvals.Package:    {nil, defender.CollectPackage, ""},
	approvals.Scan:       {map[string]string{"scope": "full"}, defender.Scan, "Full"},
}

const aHash = "87662bc3d60e4200ceaf7aae249d1c343f4b83c9"

// asked has an action approved, by its own opening or by Avery.
func (s *site) asked(t *testing.T, kind string, params map[string]string) approvals.Request {
	t.Helper()
	in := approvalstest.Isolate(approvalstest.Riley, s.target("ws-1"))
	in.Action, in.Params = kind, params
	if !approvals.Actions()[kind].Alone(approvals.Actions()[kind].With(params)) {
		return s.approve(t, in)
	}
	out, err := s.Open(t.Context(), in)
	if err != nil || out.Request.State != approvals.Approved {
		t.Fatalf("Open() = %s, %v, want it approved", out.Request.State, err)
	}
	return out.Request
}

func TestMachineActions_coverTheRegistry(t *testing.T) {
	t.Parallel()
	for kind, a := range approvals.Actions() {
		_, course := effects[kind].course.(onMachine)
		if _, ok := onMachines[kind]; ok != course || course && a.Target != approvals.TargetMachine {
			t.Errorf("%s: is in the table of these tests: %t", kind, ok)
		}
	}
}

// Each is sent once, with what was asked, and followed to its end.
func TestMachineActions_areSentOnceAndFollowed(t *testing.T) {
	t.Parallel()
	for kind, tc := range onMachines {
		for status, want := range map[defender.MachineActionStatus]approvals.State{
			defender.ActionSucceeded: approvals.Succeeded, defender.ActionFailed: approvals.Failed,
			defender.ActionTimeOut: approvals.Failed, defender.ActionCancelled: approvals.Failed,
		} {
			t.Run(kind+" "+string(status), func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				r := s.asked(t, kind, tc.params)
				s.work(t)
				s.want(t, r, approvals.Submitted, "")
				sent := s.defender.sent()
				if len(sent) != 1 || sent[0].kind != tc.kind || sent[0].scope != tc.scope || sent[0].machine != "ws-1" || sent[0].file != tc.params["file"] {
					t.Fatalf("POSTs = %+v, want one of %s %s", sent, tc.kind, tc.scope)
				}
				if !strings.HasPrefix(sent[0].comment, "[mdebot:"+r.ID+"] #1 asked by Riley Chen, ") {
					t.Errorf("comment = %q", sent[0].comment)
				}
				s.defender.finish(status)
				s.run(t, 10*time.Second)
				s.want(t, r, want, "")
			})
		}
	}
}

// An answer that was lost is looked for by the marker; without one people settle.
func TestMachineActions_unclearAnswers(t *testing.T) {
	t.Parallel()
	for kind, tc := range onMachines {
		for how, want := range map[answer]approvals.State{actsSilently: approvals.Submitted, onlySilent: approvals.Unknown} {
			t.Run(kind+" "+string(how), func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				s.defender.answers = []answer{how}
				r := s.asked(t, kind, tc.params)
				s.run(t, 3*time.Minute)
				s.want(t, r, want, "")
				s.wantPosts(t, 1)
			})
		}
	}
}

// One that somebody else has started is reported and none is added.
func TestMachineActions_runningAlreadyBySomebodyElse(t *testing.T) {
	t.Parallel()
	for kind, tc := range onMachines {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.defender.add(defender.MachineAction{
				Type: tc.kind, Scope: tc.scope, Status: defender.ActionInProgress, MachineID: "ws-1", Requestor: "dana@contoso.com",
			})
			r := s.asked(t, kind, tc.params)
			s.work(t)
			s.want(t, r, approvals.Void, "Nothing was added, because an action of type "+string(tc.kind)+" by dana@contoso.com")
			s.wantPosts(t, 0)
		})
	}
}

func TestContain_isVoidForAMachineThatIsOnboarded(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.asked(t, approvals.Contain, nil)
	s.defender.change("ws-1", func(m *defender.Machine) { m.Onboarding = "Onboarded" })
	s.work(t)
	s.want(t, r, approvals.Void, "onboarded now")
	s.wantPosts(t, 0)
}

func TestScan_needsNobodyElse(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.asked(t, approvals.Scan, nil)
	s.work(t)
	if sent := s.defender.sent(); len(sent) != 1 || !strings.Contains(sent[0].comment, "asked by Riley Chen, no second person needed. Reason: beaconing") {
		t.Errorf("POSTs = %+v", sent)
	}
}
