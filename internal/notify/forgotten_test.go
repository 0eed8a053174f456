package notify

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

// isolate puts an isolation that was done in the portal into Defender.
func (f *fixture) isolate(machine string, at time.Time) {
	f.act(defender.MachineAction{
		ID: "p-" + machine, Type: defender.Isolate, Status: defender.ActionSucceeded, Scope: "Full", MachineID: machine, MachineName: "ws-" + machine,
		Requestor: "dana@contoso.com", Created: at, Updated: at,
	})
}

// lists are the weekly lists that were posted.
func (f *fixture) lists(to chat.Destination) (out []posted) {
	for _, p := range f.chat.at(to) {
		if strings.Contains(p.message.Title.String(), "been isolated for more than") {
			out = append(out, p)
		}
	}
	return out
}

func TestForgotten_isListedOnceAWeek(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		f := newFixture(t)
		f.db = open(t)
		f.n = f.replica()
		listsOnceAWeek(t, f)
	})
}

func listsOnceAWeek(t *testing.T, f *fixture) {
	t.Helper()
	began := f.clock.now() // a Saturday
	f.isolate("old", began.Add(-6*24*time.Hour))
	f.isolate("new", began.Add(-24*time.Hour))
	f.settle()
	f.timed("mine")
	if n := len(f.lists(soc)); n != 0 {
		t.Fatalf("%d lists at the start, want none before Monday", n)
	}
	monday := time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC)
	f.passes(monday.Sub(f.clock.now()) - time.Second)
	if n := len(f.lists(soc)); n != 0 {
		t.Fatalf("%d lists before Monday at seven", n)
	}
	other := f.replica()
	for range 3 {
		f.passes(time.Minute)
		if err := other.PollOnce(t.Context(), contoso); err != nil {
			t.Fatal(err)
		}
		f.n = f.replica() // after a restart
		f.deliver()
	}
	got := f.lists(soc)
	if len(got) != 1 || len(f.lists(fin))+len(f.lists(ops)) != 0 {
		t.Fatalf("%d lists in the first route's channel, and %d elsewhere, want one", len(got), len(f.lists(fin))+len(f.lists(ops)))
	}
	lines := got[0].message.Sections[0].Lines
	if text := lines[0].String(); len(lines) != 1 || !strings.Contains(text, "ws-old") || !strings.Contains(text, "dana@contoso.com") || !strings.Contains(text, "for 7 d") {
		t.Errorf("the list says %v, want the one machine of a week, with age and owner", lines)
	}

	f.passes(7 * 24 * time.Hour)
	f.passes(time.Minute)
	got = f.lists(soc)
	if len(got) != 2 || len(got[1].message.Sections[0].Lines) != 3 {
		t.Fatalf("%d lists after another week, want a second one with three machines", len(got))
	}
	if text := got[1].message.Sections[0].Lines[2].String(); !strings.Contains(text, "owner Riley Chen") || !strings.Contains(text, "planned until") {
		t.Errorf("of what was asked for here it says %q, want the requester and the planned end", text)
	}

	for _, m := range []string{"old", "new", "mine"} {
		f.act(defender.MachineAction{ID: "u-" + m, Type: defender.Unisolate, Status: defender.ActionSucceeded, MachineID: m, Created: f.clock.now()})
	}
	f.passes(7 * 24 * time.Hour)
	f.passes(time.Minute)
	if n := len(f.lists(soc)); n != 2 {
		t.Errorf("%d lists, want none when nothing is forgotten", n-2)
	}
}

// A Monday on which Defender cannot be read is made up for.
func TestForgotten_isMadeUpForAfterAnOutage(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.isolate("old", f.clock.now().Add(-30*24*time.Hour))
	f.settle()
	down := func(err error) {
		f.defender.mu.Lock()
		defer f.defender.mu.Unlock()
		f.defender.actionsDown = err
	}
	down(errors.New("not now"))
	f.passes(4 * 24 * time.Hour)
	if n := len(f.lists(soc)); n != 0 {
		t.Fatalf("%d lists although nothing could be read", n)
	}
	down(nil)
	f.passes(time.Minute)
	f.passes(turnRetry)
	if n := len(f.lists(soc)); n != 1 {
		t.Errorf("%d lists when it can be read again, want one", n)
	}
}
