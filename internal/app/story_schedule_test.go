package app

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
)

// scheduling runs a hunt by itself every hour, for Riley.
func scheduling(more string) string {
	return sandbox.PolicyYAML() + `
hunts:
  - name: startup-programs
    description: Programs that start with a machine.
    kql: DeviceRegistryEvents | project Machine, Program, Seen
schedules:
  - name: new-startup-programs
    hunt: startup-programs
    every: 1h
    owner: ` + sandbox.Riley.Object + `
    to: [slack:C0SOC, "teams:19:soc@thread.tacv2"]
    key: [Machine, Program]
` + more
}

// programs are what the hunt of scheduling finds. When they were seen last changes with
// every look.
type programs struct {
	mu    sync.Mutex
	all   [][2]string
	looks int
}

func (p *programs) add(machine, program string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, [2]string{machine, program})
}

func (p *programs) hunted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.looks
}

func (p *programs) table() defendersim.Table {
	return defendersim.Table{
		Columns: []defendersim.Column{{Name: "Machine", Type: "String"}, {Name: "Program", Type: "String"}, {Name: "Seen", Type: "String"}},
		Rows: func(yield func([]any) bool) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.looks++
			for _, one := range p.all {
				if !yield([]any{one[0], one[1], time.Now().Format(time.RFC3339Nano)}) {
					return
				}
			}
		},
	}
}

// newScheduled starts the bot in a world with two programs.
func newScheduled(t *testing.T, more string) (*story, *programs) {
	t.Helper()
	found := &programs{}
	found.add("ws-014", "updater.exe")
	found.add("ws-015", "agent.exe")
	return newStoryIn(t, scheduling(more), sandbox.Options{}, func(s *story) []string {
		s.world.Tenant.AddTable("DeviceRegistryEvents", found.table())
		return nil
	}), found
}

// looksAgain lets an hour pass and waits until the hunt has run.
func (s *story) looksAgain(found *programs) {
	s.Helper()
	before := found.hunted()
	s.later(time.Hour + time.Second)
	s.eventually("the hunt runs", func() string {
		if found.hunted() == before {
			return "not yet"
		}
		return ""
	})
}

func TestStory_scheduledHuntTellsOnlyWhatIsNew(t *testing.T) {
	t.Parallel()
	for _, p := range platforms {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s, found := newScheduled(t, "")
			on := p.on(s)
			s.sees(on, sandbox.Avery, on.soc(), "Scheduled hunt new-startup-programs has begun: 2 rows are there already", "only what is new is told", "updater.exe", "every 1h, for Riley Chen")
			s.looksAgain(found) // at the same programs
			found.add("ws-020", "evil.exe <!channel>")
			s.looksAgain(found)
			m := s.sees(on, sandbox.Avery, on.soc(), "new-startup-programs: 1 new row", "ws-020", "evil.exe", "3 rows in")
			if strings.Contains(m.text, "updater.exe") {
				t.Errorf("what is known is told again: %s", m.text)
			}
			s.ask(on, sandbox.Riley, "hunt list", "Scheduled", "new-startup-programs", "every 1h", "3 rows, 1 new", "next run")
			s.ask(on, sandbox.Sam, "status", "Scheduled hunts", "1, none fails")

			// It is down for two days, and looks once when it is back.
			s.recorded()
			before := len(s.audited("schedule.run"))
			s.halt()
			found.add("ws-021", "late.exe")
			s.later(49 * time.Hour)
			s.start()
			s.sees(on, sandbox.Avery, on.soc(), "new-startup-programs: 1 new row", "late.exe")
			s.recorded()
			if n := len(s.audited("schedule.run")) - before; n != 1 {
				t.Errorf("%d hunts after two days, want one", n)
			}
			if n := s.posted(on, sandbox.Avery, on.soc(), "new-startup-programs"); n != 3 {
				t.Errorf("%d messages, want three: the beginning and two finds", n)
			}
		})
	}
}

func TestStory_scheduledHuntThatFails(t *testing.T) {
	t.Parallel()
	for _, p := range platforms {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s, found := newScheduled(t, "")
			on := p.on(s)
			s.sees(on, sandbox.Avery, on.soc(), "has begun")

			// Its owner may not run it any more.
			yaml := scheduling("")
			s.halt()
			s.writePolicy(strings.Replace(yaml, "groups:\n", "groups:\n  riley: ["+sandbox.Riley.Object+"]\n", 1) + "scopes: [{ for: [riley], machines: 'machine.name == \"ws-014\"' }]\n")
			s.start()
			found.add("ws-030", "meanwhile.exe")
			for range 3 {
				s.later(time.Hour + time.Second)
				s.sees(on, sandbox.Avery, on.soc(), "Scheduled hunt new-startup-programs does not run", "Riley Chen", "may see some machines only")
			}
			s.ask(on, sandbox.Sam, "status", "Scheduled hunts", "may see some machines only")
			s.ask(on, sandbox.Sam, "hunt list", "fails since", "may see some machines only")
			s.recorded()
			if n := s.posted(on, sandbox.Avery, on.soc(), "does not run"); n != 1 {
				t.Errorf("it is told %d times that it fails, want once", n)
			}

			s.halt()
			s.writePolicy(yaml)
			s.later(time.Hour + time.Second)
			s.start()
			s.sees(on, sandbox.Avery, on.soc(), "new-startup-programs runs again")
			s.sees(on, sandbox.Avery, on.soc(), "new-startup-programs: 1 new row", "meanwhile.exe")
		})
	}
}

// Defender's own words about a query come with the place of the fault.
func TestStory_scheduledHuntWithAFaultInItsQuery(t *testing.T) {
	t.Parallel()
	yaml := strings.Replace(scheduling(""), "| project Machine, Program, Seen", "| where Machine == == 1", 1)
	s := newStoryIn(t, yaml, sandbox.Options{}, func(s *story) []string {
		s.world.Tenant.AddTable("DeviceRegistryEvents", (&programs{}).table())
		return nil
	})
	s.sees(s.slack(), sandbox.Avery, sandbox.SlackSOC, "does not run", "Defender refused the query.", "Line 1, character ", "-^")
	s.sees(s.teams(), sandbox.Avery, sandbox.TeamsSOC, "does not run", "Defender refused the query.", "Line 1, character ", "-^")
}
