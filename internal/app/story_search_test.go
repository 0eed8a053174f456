package app

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
)

// option is the value of the one option with the word in its name.
func option(t *testing.T, options map[string]string, word string) string {
	t.Helper()
	var values []string
	for name, value := range options {
		if strings.Contains(name, word) {
			values = append(values, value)
		}
	}
	if len(values) != 1 {
		t.Fatalf("%d options with %s among %q, want one", len(values), word, slices.Sorted(maps.Keys(options)))
	}
	return values[0]
}

// A responder who remembers part of a name finds the machine by it and asks for its
// isolation; the request is bound to the ID that was chosen.
func TestStory_machineIsFoundWhileOneTypes(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		on.write(sandbox.Riley, on.soc(), "isolate")
		f := on.asks(sandbox.Riley, on.soc(), "Request isolation")
		options := on.finds(sandbox.Riley, f, "machine", "ws-01")
		m := s.machine("ws-014")
		if got := option(t, options, "ws-014"); got != m.ID {
			t.Fatalf("ws-014 stands for %s, want %s", got, m.ID)
		}
		if got := option(t, options, "as typed"); got != "ws-01" || len(options) > 15 {
			t.Errorf("options = %q, want at most 15 and what was typed", options)
		}
		if faults := on.fill(sandbox.Riley, f, map[string]string{"machine": m.ID, "reason": "beaconing to a known bad address"}); faults != "" {
			t.Fatalf("the form is refused: %s", faults)
		}
		s.told(on, sandbox.Riley, on.soc(), "Asked: #1 isolate ws-014")
		card := s.sees(on, sandbox.Avery, on.approvals(), "isolate ws-014", m.ID, "waits for approval")
		on.click(sandbox.Avery, card, "Approve")
		s.eventually("ws-014 is isolated", func() string {
			for _, e := range s.isolations() {
				if e.MachineID == m.ID {
					return ""
				}
			}
			return "no isolation took effect"
		})
		s.wantIsolations(1)
	})
}

// On the day when Defender hardly answers, what was typed can be sent all the same.
func TestStory_searchWhileDefenderHangs(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		on.write(sandbox.Riley, on.soc(), "isolate")
		f := on.asks(sandbox.Riley, on.soc(), "Request isolation")
		s.world.Defender.Faults.Add(fault.Fault{Kind: fault.Hang, Route: "GET /api/machines"})
		began := time.Now()
		options := on.finds(sandbox.Riley, f, "machine", "ws-015")
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("the search was answered after %s", took)
		}
		typed := option(t, options, "The search did not answer")
		s.world.Defender.Faults.Clear()
		if faults := on.fill(sandbox.Riley, f, map[string]string{"machine": typed, "reason": "beaconing"}); faults != "" {
			t.Fatalf("the form is refused: %s", faults)
		}
		s.sees(on, sandbox.Avery, on.approvals(), "isolate ws-015", s.machine("ws-015").ID, "waits for approval")
	})
}

// Somebody who may not look at machines learns nothing by typing into a form that a
// colleague has opened.
func TestStory_searchTellsStrangersNothing(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	on := s.teams()
	on.write(sandbox.Riley, on.approvals(), "isolate")
	f := on.asks(sandbox.Riley, on.approvals(), "Request isolation")
	if options := on.finds(sandbox.Riley, f, "machine", "ws-014"); len(options) == 0 {
		t.Fatal("Riley is offered nothing")
	}
	if options := on.finds(sandbox.Noor, f, "machine", "ws-014"); len(options) != 0 {
		t.Errorf("Noor is offered %q", options)
	}
	if n := len(s.audited("command.refused")); n != 0 {
		t.Errorf("typing left %d records", n)
	}
}

// A form is about one tenant, and so is what it finds.
func TestStory_searchStaysInItsTenant(t *testing.T) {
	t.Parallel()
	s, _ := partner(t, 2, 0)
	for machine, on := range map[string]side{"ws-004": s.slack(), "ws-005": s.teams()} {
		on.write(sandbox.Riley, on.soc(), "isolate --tenant customer-1")
		f := on.asks(sandbox.Riley, on.soc(), "Request isolation", "customer-1")
		options := on.finds(sandbox.Riley, f, "machine", "ws-00")
		if len(options) < 2 {
			t.Fatalf("options = %q", options)
		}
		for name, value := range options {
			if value != "ws-00" && !strings.Contains(name, mark(1)) {
				t.Errorf("%s is offered, which is not customer-1's", name)
			}
		}
		id := option(t, options, machine+"."+mark(1))
		if faults := on.fill(sandbox.Riley, f, map[string]string{"machine": id, "reason": "beaconing"}); faults != "" {
			t.Fatalf("the form is refused: %s", faults)
		}
		s.told(on, sandbox.Riley, on.soc(), "Asked:", "isolate "+machine, "customer-1")
	}
}
