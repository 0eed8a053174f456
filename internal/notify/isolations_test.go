package notify

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
)

func isolationFact(m chat.Message) string {
	for _, f := range m.Facts {
		if f.Label == "Isolation" {
			return f.Value.String()
		}
	}
	return ""
}

// act puts a machine action into Defender, or changes the one with its ID.
func (f *fixture) act(a defender.MachineAction) {
	f.defender.mu.Lock()
	defer f.defender.mu.Unlock()
	for i, old := range f.defender.actions {
		if old.ID == a.ID {
			f.defender.actions[i] = a
			return
		}
	}
	f.defender.actions = append(f.defender.actions, a)
}

func TestAlert_cardFollowsTheIsolationOfItsMachine(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	// A month ago in the portal: older than any later look reaches.
	f.act(defender.MachineAction{ID: "old", Type: defender.Isolate, Status: defender.ActionSucceeded, MachineID: "m-old", Created: f.clock.now().Add(-30 * 24 * time.Hour)})
	f.settle()
	f.alert("a1", func(a *defender.Alert) { a.MachineID = "m1" })
	f.alert("a2", func(a *defender.Alert) { a.MachineID, a.Title = "m-old", "On a machine that is cut off" })
	f.clock.add(31 * time.Second)
	f.settle()
	card := func(i int) string { return isolationFact(f.chat.at(soc)[i].message) }
	if got := card(0); !strings.HasPrefix(got, "not isolated") {
		t.Errorf("the card says %q of a machine that nobody isolated", got)
	}
	if got := card(1); !strings.HasPrefix(got, "isolated") {
		t.Errorf("the card says %q of a machine that was isolated a month ago", got)
	}

	action := defender.MachineAction{ID: "x1", Type: defender.Isolate, Status: defender.ActionPending, MachineID: "m1", Created: f.clock.now()}
	for _, step := range []struct {
		status defender.MachineActionStatus
		want   string
	}{{defender.ActionPending, "isolating"}, {defender.ActionSucceeded, "isolated"}} {
		action.Status = step.status
		f.act(action)
		f.clock.add(31 * time.Second)
		f.settle()
		if got := card(0); !strings.HasPrefix(got, step.want) {
			t.Errorf("after %s the card says %q, want %s", step.status, got, step.want)
		}
	}
	if n := f.chat.at(soc)[0].edits; n != 2 {
		t.Errorf("the card was edited %d times, want once per change", n)
	}
}

// What is posted before anybody could look says so later.
func TestAlert_cardOfBeforeTheFirstLookIsCompleted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.defender.mu.Lock()
	f.defender.actionsDown = errors.New("not now")
	f.defender.mu.Unlock()
	f.settle()
	f.alert("a1", func(a *defender.Alert) { a.MachineID = "m1" })
	f.clock.add(31 * time.Second)
	f.settle()
	if got := isolationFact(f.chat.at(soc)[0].message); got != "" {
		t.Fatalf("the card says %q though nobody could look", got)
	}
	f.defender.mu.Lock()
	f.defender.actionsDown = nil
	f.defender.mu.Unlock()
	f.clock.add(5 * time.Minute)
	f.settle()
	if got := isolationFact(f.chat.at(soc)[0].message); !strings.HasPrefix(got, "not isolated") {
		t.Errorf("the card says %q, want that the machine is not isolated", got)
	}
}

func TestAlert_isolationThroughMdebotShowsAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	f.alert("a1", func(a *defender.Alert) { a.MachineID = "m1" })
	f.clock.add(31 * time.Second)
	f.settle()
	f.act(defender.MachineAction{ID: "x1", Type: defender.Isolate, Status: defender.ActionSucceeded, MachineID: "m1", Created: f.clock.now()})
	f.poll()
	r := approvals.Request{ID: "r1", Tenant: contoso, State: approvals.Succeeded, Action: approvals.Isolate}
	f.requests.all["r1"] = r
	if err := f.db.InTx(t.Context(), func(tx durable.Tx) error {
		return f.n.RequestChanged(t.Context(), tx, r, approvals.ChangeResolved)
	}); err != nil {
		t.Fatal(err)
	}
	f.poll() // not due by its own beat yet
	f.deliver()
	if got := isolationFact(f.chat.at(soc)[0].message); !strings.HasPrefix(got, "isolated") {
		t.Errorf("the card says %q", got)
	}
}

func TestAlert_unreadableActionsHideNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.defender.actionsDown = defender.ErrForbidden
	f.settle()
	f.alert("a1", func(a *defender.Alert) { a.MachineID = "m1" })
	f.clock.add(31 * time.Second)
	f.settle()
	got := f.chat.at(soc)
	wantPosts(t, got, 1)
	if s := isolationFact(got[0].message); s != "" {
		t.Errorf("the card says %q of what nobody could read", s)
	}
	f.clock.add(10 * time.Minute)
	f.settle()
	if blind := f.chat.at(ops); len(blind) != 0 {
		t.Errorf("alerts are read, and the ops channel is told: %s", titles(blind))
	}
}
