package notify

import (
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

// timed is a request whose machines were isolated for 4 hours now, with their
// machine actions at Defender.
func (f *fixture) timed(machines ...string) {
	f.Helper()
	r := pending("r1")
	r.Params, r.State, r.Targets = map[string]string{"scope": "full", "for": "4h"}, approvals.Succeeded, nil
	for i, m := range machines {
		r.Targets = append(r.Targets, approvals.Target{
			Index: i, Kind: approvals.TargetMachine, ID: m, Name: "ws-" + m, State: approvals.Succeeded,
			IntentAt: f.clock.now().Add(-time.Minute), Updated: f.clock.now(), MachineAction: "x-" + m,
		})
		f.act(defender.MachineAction{ID: "x-" + m, Type: defender.Isolate, Status: defender.ActionSucceeded, MachineID: m, Created: f.clock.now().Add(-30 * time.Second)})
	}
	f.requests.mu.Lock()
	f.requests.all[r.ID] = r
	f.requests.mu.Unlock()
}

// passes lets time go by, as every replica sees it.
func (f *fixture) passes(d time.Duration, replicas ...*Notifier) {
	f.Helper()
	f.clock.add(d)
	f.poll()
	for _, n := range append(replicas, f.n) {
		if err := n.Sweep(f.Context()); err != nil {
			f.Fatalf("Sweep() = %v", err)
		}
	}
	f.deliver()
}

func TestTimed_remindsOnceWhenTheTimeIsOver(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		f := newFixture(t)
		f.db = open(t)
		f.n = f.replica()
		remindsOnce(t, f)
	})
}

func remindsOnce(t *testing.T, f *fixture) {
	t.Helper()
	f.settle()
	f.timed("m1", "m2")
	f.passes(4*time.Hour - time.Minute)
	wantPosts(t, f.chat.at(soc), 0)

	f.passes(time.Minute+time.Second, f.replica(), f.replica())
	for range 3 { // also after a restart
		f.n = f.replica()
		f.passes(2 * time.Minute)
	}
	for _, to := range []chat.Destination{soc, "slack:@T0SOC/U0RILEY"} {
		got := f.chat.at(to)
		wantPosts(t, got, 1)
		if title := got[0].message.Title.String(); !strings.Contains(title, "2 machines are still isolated, and the 4 hours of #7 are over") {
			t.Errorf("told %q", title)
		}
		if b := got[0].message.Buttons[0]; b.Action != "release.form" || !strings.Contains(b.Value, ".of=r1") || !b.OpensForm {
			t.Errorf("the first button is %+v, want one that prepares the release", b)
		}
		if m := got[0].message.Mentions; len(m) != 1 || m[0].ID != "U0RILEY" {
			t.Errorf("mentions %+v, want the requester", m)
		}
	}
}

func TestTimed_releasedMachinesAreNotNamed(t *testing.T) {
	t.Parallel()
	release := func(f *fixture, status defender.MachineActionStatus) {
		f.act(defender.MachineAction{ID: "u1", Type: defender.Unisolate, Status: status, MachineID: "m1", Created: f.clock.now()})
	}
	for name, tt := range map[string]struct {
		before, after func(f *fixture)
		want          int // reminders at the end, then later
		later         int
	}{
		"released in the portal": {before: func(f *fixture) { release(f, defender.ActionSucceeded) }},
		"released and isolated again by somebody": {before: func(f *fixture) {
			release(f, defender.ActionSucceeded)
			f.clock.add(time.Minute)
			f.act(defender.MachineAction{ID: "x9", Type: defender.Isolate, Status: defender.ActionSucceeded, MachineID: "m1", Created: f.clock.now()})
		}},
		"a release is under way and fails": {
			before: func(f *fixture) { release(f, defender.ActionPending) },
			after:  func(f *fixture) { release(f, defender.ActionFailed) }, later: 1,
		},
		"a release has failed":      {before: func(f *fixture) { release(f, defender.ActionFailed) }, want: 1, later: 1},
		"released after the notice": {before: func(*fixture) {}, after: func(f *fixture) { release(f, defender.ActionSucceeded) }, want: 1, later: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.settle()
			f.timed("m1")
			f.passes(2 * time.Hour)
			tt.before(f)
			f.passes(3 * time.Hour)
			wantPosts(t, f.chat.at(soc), tt.want)
			if tt.after != nil {
				tt.after(f)
			}
			f.passes(10 * time.Minute)
			wantPosts(t, f.chat.at(soc), tt.later)
		})
	}
}

// After an outage nobody knows what somebody has released meanwhile.
func TestTimed_waitsForALookAtTheMachines(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	f.timed("m1")
	f.clock.add(30 * time.Second)
	f.poll()
	f.clock.add(5 * time.Hour)
	f.act(defender.MachineAction{ID: "u1", Type: defender.Unisolate, Status: defender.ActionSucceeded, MachineID: "m1", Created: f.clock.now().Add(-2 * time.Hour)})
	f.clock.add(-time.Hour + time.Minute) // a minute after the end
	if err := f.n.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.passes(2 * time.Minute)
	wantPosts(t, f.chat.at(soc), 0)
}

func TestTimed_withoutThePermissionThereIsNoButton(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	no := func() bool { return false }
	f.n.tenants[contoso].MayIsolate = no
	f.settle()
	f.timed("m1")
	f.passes(4*time.Hour + time.Second)
	got := f.chat.at(soc)
	wantPosts(t, got, 1)
	for _, b := range got[0].message.Buttons {
		if b.Action == "release.form" {
			t.Errorf("there is a button %q that must fail", b.Label)
		}
	}
}
