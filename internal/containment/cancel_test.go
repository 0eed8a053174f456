package containment

import (
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
	"github.com/mdebot/mdebot/internal/defender"
)

// cancels asks to cancel the only machine action there is.
func (s *site) cancels(t *testing.T, kind defender.MachineActionType) approvals.Request {
	t.Helper()
	s.defender.addMachine("ws-1")
	s.defender.add(defender.MachineAction{Type: kind, Status: defender.ActionPending, MachineID: "ws-1", Requestor: "dana@contoso.com"})
	in := approvalstest.Isolate(approvalstest.Riley, approvals.TargetInput{
		ID: "action-1", Name: string(kind) + " on ws-1", Machine: approvalstest.Workstation("ws-1").Machine,
	})
	in.Action, in.Params = approvals.Cancel, map[string]string{"type": string(kind)}
	if kind != defender.Scan {
		return s.approve(t, in)
	}
	out, err := s.Open(t.Context(), in)
	if err != nil || out.Request.State != approvals.Approved {
		t.Fatalf("Open() = %s, %v, want it approved: a scan needed nobody else either", out.Request.State, err)
	}
	return out.Request
}

func TestCancel_isSentOnceWithTheTypeAndFollowed(t *testing.T) {
	t.Parallel()
	for _, kind := range []defender.MachineActionType{defender.Isolate, defender.Scan} {
		s := newSite(t)
		r := s.cancels(t, kind)
		s.run(t, 10*time.Second)
		s.want(t, r, approvals.Succeeded, "")
		sent := s.defender.sent()
		if len(sent) != 1 || sent[0].cancels != "action-1" || sent[0].kind != kind || !strings.HasPrefix(sent[0].comment, "[mdebot:"+r.ID+"]") {
			t.Errorf("calls = %+v, want one cancellation", sent)
		}
	}
}

func TestCancel_answersThatAreNotClear(t *testing.T) {
	t.Parallel()
	t.Run("it took effect", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.defender.answers = []answer{actsSilently}
		r := s.cancels(t, defender.Isolate)
		s.run(t, 20*time.Second)
		s.want(t, r, approvals.Succeeded, "")
		s.wantPosts(t, 1)
	})
	t.Run("it took none, and is made again", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.defender.answers = []answer{onlySilent}
		r := s.cancels(t, defender.Isolate)
		s.run(t, time.Minute)
		s.want(t, r, approvals.Unknown, "the machine action is still Pending yet")
		s.wantPosts(t, 1)
		s.run(t, 2*time.Minute)
		s.want(t, r, approvals.Succeeded, "")
		s.wantPosts(t, 2)
	})
	t.Run("it never does", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.defender.answers = []answer{onlySilent, onlySilent, onlySilent, onlySilent}
		r := s.cancels(t, defender.Isolate)
		s.run(t, 15*time.Minute)
		s.want(t, r, approvals.Failed, "still Pending")
		s.wantPosts(t, 3)
	})
}

func TestCancel_isVoidWhenThereIsNothingToCancel(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		meanwhile func(*defender.MachineAction)
		why       string
	}{
		"it has ended":      {func(a *defender.MachineAction) { a.Status = defender.ActionSucceeded }, "nothing to cancel any more"},
		"it is another one": {func(a *defender.MachineAction) { a.Type = defender.Unisolate }, "not what people decided about"},
		"it is gone":        {func(a *defender.MachineAction) { a.ID = "another" }, "no longer knows this machine action"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			r := s.cancels(t, defender.Isolate)
			s.defender.mu.Lock()
			tc.meanwhile(&s.defender.actions[0])
			s.defender.mu.Unlock()
			s.work(t)
			s.want(t, r, approvals.Void, tc.why)
			s.wantPosts(t, 0)
		})
	}
}

func TestCancel_thatCameTooLateSaysSo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.defender.answers = []answer{onlySilent}
	r := s.cancels(t, defender.Isolate)
	s.work(t)
	s.defender.finish(defender.ActionSucceeded)
	s.run(t, 20*time.Second)
	s.want(t, r, approvals.Failed, "ended before the cancellation reached it")
}
