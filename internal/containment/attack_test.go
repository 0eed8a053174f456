package containment

import (
	"testing"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
	"github.com/mdebot/mdebot/internal/defender"
)

// The machines of one request share its marker, so an answer about another
// machine would count as this one's action, and the machine would stay connected
// (threat-model D-08).
func TestAttack_actionOfAnotherMachineIsTakenForThisOnes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.defender.ignoresFilter = true
	r := s.approve(t, approvalstest.Isolate(approvalstest.Riley, s.target("ws-1"), s.target("ws-2")))
	s.work(t)
	s.wantPosts(t, 2)
	s.defender.finish(defender.ActionSucceeded)
	s.run(t, looks[len(looks)-1])
	got := s.want(t, r, approvals.Succeeded, "")
	if got.Targets[0].MachineAction == got.Targets[1].MachineAction {
		t.Errorf("both machines follow %s", got.Targets[0].MachineAction)
	}
}

// Somebody else's action on another machine is no reason to leave this one alone.
func TestAttack_actionOfAnotherMachineStopsThisOnes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.defender.ignoresFilter = true
	s.defender.add(defender.MachineAction{Type: defender.Isolate, Status: defender.ActionPending, MachineID: "ws-9", Requestor: "dana@contoso.com"})
	s.isolate(t)
	s.work(t)
	s.wantPosts(t, 1)
}
