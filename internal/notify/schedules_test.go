package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/store/storetest"
	"github.com/mdebot/mdebot/internal/tenant"
)

// fakeHunts has one table, and fails on demand.
type fakeHunts struct {
	mu      sync.Mutex
	columns []string
	rows    [][]string
	trouble *cards.HuntTrouble
	err     error
	took    time.Duration
	cut     string
	runs    int
	during  func() // while a hunt runs
}

func (f *fakeHunts) RunScheduled(context.Context, tenant.ID, policy.ScheduledHunt) (cards.HuntRun, error) {
	f.mu.Lock()
	f.runs++
	run := cards.HuntRun{Query: "DeviceInfo", Columns: f.columns, Rows: slices.Clone(f.rows), Took: f.took, Cut: f.cut, Trouble: f.trouble}
	err, during := f.err, f.during
	f.mu.Unlock()
	if during != nil {
		during()
	}
	return run, err
}

func (f *fakeHunts) set(change func(*fakeHunts)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// sees replaces the table: each row is a time, a machine and a user.
func (f *fakeHunts) sees(machines ...string) {
	f.set(func(f *fakeHunts) {
		f.columns, f.rows = []string{"Timestamp", "DeviceName", "Account"}, nil
		for i, m := range machines {
			f.rows = append(f.rows, []string{fmt.Sprintf("2026-11-21T10:00:%02dZ", i), m, "riley"})
		}
	})
}

const huntsYAML = routesYAML + `
schedules:
  - name: new-machines
    hunt: rare-parents
    every: 1h
    owner: 8a1f0000-0000-4000-8000-000000000001
    to: ['slack:C0SOC']
`

// scheduling is a fixture whose file has schedules.
type scheduling struct {
	*fixture
	hunts *fakeHunts
	yaml  string
}

func newScheduling(t *testing.T, open storetest.Opener, yaml string) *scheduling {
	t.Helper()
	s := &scheduling{fixture: newFixture(t), hunts: &fakeHunts{}, yaml: strings.ReplaceAll(yaml, "roles: [responder]", "roles: [responder, hunter]")}
	if open != nil {
		s.db = open(t)
	}
	s.n = s.restarted()
	return s
}

// restarted is the notifier of another process.
func (s *scheduling) restarted() *Notifier {
	s.Helper()
	n := s.replica()
	pol, err := policy.Parse("mdebot.yaml", []byte(s.yaml), policy.Options{HomeTenant: string(contoso)})
	if err != nil {
		s.Fatalf("parse policy: %v", err)
	}
	n.policy, n.hunts = policy.NewSource(pol), s.hunts
	return n
}

var job = durable.Job{Tenant: contoso, Kind: JobHunt, ID: "new-machines"}

// goOn plans, runs what is due as the job would, and posts.
func (s *scheduling) goOn() {
	s.Helper()
	if err := s.n.planHunts(s.Context()); err != nil {
		s.Fatalf("planHunts() = %v", err)
	}
	if err := s.n.RunHunt(s.Context(), job); err != nil {
		s.Fatalf("RunHunt() = %v", err)
	}
	s.deliver()
}

// told are the messages of scheduled hunts.
func (s *scheduling) told() (out []posted) {
	for _, p := range s.chat.at(soc) {
		if strings.HasPrefix(p.message.Title.String(), "Scheduled hunt") {
			out = append(out, p)
		}
	}
	return out
}

func (s *scheduling) wants(n int, what string, words ...string) chat.Message {
	s.Helper()
	all := s.told()
	if len(all) != n {
		s.Fatalf("%s: %d messages, want %d: %v", what, len(all), n, huntTitles(all))
	}
	if n == 0 {
		return chat.Message{}
	}
	m := all[n-1].message
	text := fmt.Sprint(m.Title, m.Facts, m.Sections, m.Table, m.Note)
	for _, w := range words {
		if !strings.Contains(text, w) {
			s.Errorf("%s: %s, want %q", what, text, w)
		}
	}
	return m
}

func huntTitles(all []posted) (out []string) {
	for _, p := range all {
		out = append(out, p.message.Title.String())
	}
	return out
}

func TestScheduledHunt_tellsOnlyWhatIsNew(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := newScheduling(t, open, huntsYAML)
		s.hunts.sees("ws-1", "ws-2")
		s.goOn()
		m := s.wants(1, "the first run", "has begun: 2 rows are there already", "only what is new is told", "ws-1")
		if len(m.Files) != 1 || !strings.Contains(string(m.Files[0].Content), `"ws-2"`) {
			t.Errorf("the first run has the files %v, want what is there", m.Files)
		}
		for range 3 {
			s.goOn()
		}
		if s.hunts.runs != 1 {
			t.Fatalf("%d runs within a minute, want one", s.hunts.runs)
		}
		s.clock.add(time.Hour)
		s.goOn()
		s.wants(1, "nothing new")

		s.hunts.set(func(f *fakeHunts) {
			f.rows = append(f.rows, []string{"2026-11-21T11:00:00Z", "ws-3", "riley"}, []string{"2026-11-21T11:00:00Z", "ws-3", "riley"})
		})
		s.clock.add(time.Hour)
		s.goOn()
		m = s.wants(2, "one new row", "new-machines: 1 new row", "ws-3", "4 rows in")
		if text := string(m.Files[0].Content); strings.Contains(text, "ws-1") || strings.Count(text, "ws-3") != 1 {
			t.Errorf("the file says %s, want what is new alone, once", text)
		}

		s.n = s.restarted()
		s.clock.add(time.Hour)
		s.goOn()
		s.wants(2, "known after a restart")

		views, err := s.n.Schedules(t.Context(), contoso)
		if err != nil || len(views) != 1 || views[0].Found != 4 || views[0].Fresh != 0 || views[0].FreshAt.IsZero() || !views[0].Next.After(views[0].Last) || views[0].Owner != "Riley Chen" {
			t.Errorf("Schedules() = %+v, %v", views, err)
		}
	})
}

func TestScheduledHunt_keyLeavesOutWhatChanges(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := newScheduling(t, open, huntsYAML+"    key: [DeviceName, Account]\n")
		s.hunts.sees("ws-1", "ws-2")
		s.goOn()
		s.hunts.sees("ws-2", "ws-1") // at other times
		s.clock.add(time.Hour)
		s.goOn()
		s.wants(1, "the same machines at other times")
		s.hunts.sees("ws-1", "ws-2", "ws-9")
		s.clock.add(time.Hour)
		s.goOn()
		s.wants(2, "another machine", "1 new row", "ws-9")

		s.hunts.set(func(f *fakeHunts) { f.columns = []string{"Timestamp", "Machine", "Account"} })
		s.clock.add(time.Hour)
		s.goOn()
		s.wants(3, "a column is missing", "does not run", "no column", "DeviceName", "corrects key")
	})
}

func TestScheduledHunt_runsOnceAfterDowntime(t *testing.T) {
	t.Parallel()
	s := newScheduling(t, nil, huntsYAML)
	s.hunts.sees("ws-1")
	s.goOn()
	s.clock.add(49*time.Hour + 20*time.Minute)
	s.n = s.restarted()
	for range 5 {
		s.goOn()
	}
	if s.hunts.runs != 2 {
		t.Errorf("%d runs, want one for all that were missed", s.hunts.runs-1)
	}
	// The clock was two days ahead: it goes on within the hour.
	s.clock.add(-48 * time.Hour)
	s.clock.add(time.Hour)
	s.goOn()
	s.clock.add(time.Hour)
	s.goOn()
	if s.hunts.runs < 3 {
		t.Error("no run after the clock was set back")
	}
}

func TestScheduledHunt_dailyAtItsTime(t *testing.T) {
	t.Parallel()
	s := newScheduling(t, nil, strings.Replace(huntsYAML, "every: 1h", "at: \"07:30\"\n    zone: Europe/Berlin", 1))
	s.hunts.sees("ws-1")
	s.goOn()
	if s.hunts.runs != 0 {
		t.Fatal("it ran before its time of day")
	}
	due := time.Date(2026, 11, 22, 6, 30, 0, 0, time.UTC)
	s.clock.add(due.Sub(s.clock.now()) - time.Second)
	s.goOn()
	s.clock.add(2 * time.Second)
	for range 4 {
		s.goOn()
		s.clock.add(5 * time.Hour)
	}
	if s.hunts.runs != 1 {
		t.Errorf("%d runs on the first day, want one", s.hunts.runs)
	}
}

func TestScheduledHunt_oneReplicaRunsIt(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := newScheduling(t, open, huntsYAML)
		s.hunts.sees("ws-1")
		other := s.restarted()
		s.hunts.set(func(f *fakeHunts) {
			f.during = func() {
				f.set(func(f *fakeHunts) { f.during = nil })
				for range 2 { // while the first one hunts
					if err := errors.Join(other.planHunts(t.Context()), other.RunHunt(t.Context(), job)); err != nil {
						t.Error(err)
					}
				}
			}
		})
		s.goOn()
		if s.hunts.runs != 1 {
			t.Errorf("%d runs by two replicas, want one", s.hunts.runs)
		}
		s.wants(1, "two replicas")

		// One that is held up for longer than its lease says nothing any more, whatever
		// came of it.
		s.hunts.sees("ws-1", "ws-2")
		s.clock.add(time.Hour)
		s.hunts.set(func(f *fakeHunts) {
			f.trouble = &cards.HuntTrouble{Sentence: chat.Plain("Defender refused the query.")}
			f.during = func() {
				f.set(func(f *fakeHunts) { f.during, f.trouble = nil, nil })
				s.clock.add(huntLease + time.Second)
				if err := errors.Join(other.planHunts(t.Context()), other.RunHunt(t.Context(), job)); err != nil {
					t.Error(err)
				}
			}
		})
		s.goOn()
		if s.hunts.runs != 3 {
			t.Errorf("%d runs, want that of the other replica, too", s.hunts.runs)
		}
		s.wants(2, "the lease was lost", "1 new row", "ws-2")
	})
}

func TestScheduledHunt_stoppedProcessGivesItBack(t *testing.T) {
	t.Parallel()
	s := newScheduling(t, nil, huntsYAML)
	s.hunts.sees("ws-1")
	s.hunts.set(func(f *fakeHunts) { f.err = context.Canceled })
	if err := s.n.planHunts(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.n.RunHunt(t.Context(), job); !errors.Is(err, context.Canceled) {
		t.Fatalf("RunHunt() = %v, want the job to come again", err)
	}
	s.hunts.set(func(f *fakeHunts) { f.err = nil })
	s.n = s.restarted()
	s.goOn()
	s.wants(1, "another process", "has begun")
}

func TestScheduledHunt_troubleIsToldOnce(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := newScheduling(t, open, huntsYAML)
		s.hunts.sees("ws-1")
		s.goOn()
		s.hunts.set(func(f *fakeHunts) {
			f.trouble = &cards.HuntTrouble{Sentence: chat.Plain("Defender refused the query."), Next: chat.Plain("It says: Line 1"), Lines: []chat.Text{chat.Code("--^")}}
		})
		for range 4 {
			s.clock.add(time.Hour)
			s.goOn()
			s.n = s.restarted()
		}
		s.wants(2, "a query that is refused four times", "does not run", "Defender refused the query.", "--^", "It says: Line 1")
		if v, _ := s.n.Schedules(t.Context(), contoso); !v[0].FailingTold || v[0].Problem != "Defender refused the query." {
			t.Errorf("Schedules() = %+v, want its trouble", v)
		}
		s.hunts.set(func(f *fakeHunts) { f.trouble = nil })
		s.hunts.sees("ws-1", "ws-2")
		s.clock.add(time.Hour)
		s.goOn()
		all := s.told()
		if len(all) != 4 || !strings.Contains(strings.Join(huntTitles(all), "\n"), "runs again") || !strings.Contains(strings.Join(huntTitles(all), "\n"), "1 new row") {
			t.Errorf("%v, want that it runs again, and what came up meanwhile", huntTitles(all))
		}
		s.clock.add(time.Hour)
		s.goOn()
		if n := len(s.told()); n != 4 {
			t.Errorf("%d messages, want none more", n)
		}
	})
}

func TestScheduledHunt_troubleThatMayPass(t *testing.T) {
	t.Parallel()
	s := newScheduling(t, nil, huntsYAML)
	s.hunts.sees("ws-1")
	s.goOn()
	s.hunts.set(func(f *fakeHunts) {
		f.trouble = &cards.HuntTrouble{Sentence: chat.Plain("Defender cannot be reached."), Passing: true}
	})
	s.clock.add(time.Hour)
	s.goOn()
	s.clock.add(huntRetry)
	s.goOn()
	if s.hunts.runs != 3 {
		t.Fatalf("%d runs, want another try after five minutes", s.hunts.runs)
	}
	s.wants(1, "trouble of five minutes")
	s.hunts.set(func(f *fakeHunts) { f.trouble = nil })
	s.clock.add(huntRetry)
	s.goOn()
	s.wants(1, "trouble that has passed")

	s.hunts.set(func(f *fakeHunts) {
		f.trouble = &cards.HuntTrouble{Sentence: chat.Plain("Defender cannot be reached."), Passing: true}
	})
	s.clock.add(time.Hour)
	for range 6 {
		s.goOn()
		s.clock.add(huntRetry)
	}
	s.wants(2, "trouble that stays", "does not run", "Defender cannot be reached.")
}

// Scheduled hunts have a fifth of the run time that Defender gives a tenant.
func TestScheduledHunt_leavesRunTimeToPeople(t *testing.T) {
	t.Parallel()
	s := newScheduling(t, nil, strings.Replace(huntsYAML, "every: 1h", "every: 15m", 1))
	s.hunts.sees("ws-1")
	s.hunts.set(func(f *fakeHunts) { f.took = 45 * time.Second })
	for range 12 {
		s.goOn()
		s.clock.add(5 * time.Minute)
	}
	if s.hunts.runs != 3 {
		t.Errorf("%d runs of 45 s in an hour, want 3", s.hunts.runs)
	}
	if v, _ := s.n.Schedules(t.Context(), contoso); !strings.Contains(v[0].Problem, "their share") || v[0].FailingTold {
		t.Errorf("Schedules() = %+v, want why it waits", v[0])
	}
	for range 12 {
		s.goOn()
		s.clock.add(5 * time.Minute)
	}
	if s.hunts.runs < 5 {
		t.Errorf("%d runs in two hours, want it to go on", s.hunts.runs)
	}
}

// One that never gets to run, because another takes all of the share, is not silent:
// whoever makes that one slow would keep the other from telling anything.
func TestScheduledHunt_thatNeverGetsItsShareSaysSo(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := newScheduling(t, open, huntsYAML+`
  - name: heavy
    hunt: quiet-machines
    every: 15m
    owner: 8a1f0000-0000-4000-8000-000000000001
    to: ['slack:C0FIN']
`)
		s.hunts.sees("ws-1")
		s.goOn()
		s.wants(1, "the first run")
		s.hunts.set(func(f *fakeHunts) { f.took = 50 * time.Second })
		s.clock.add(time.Second)
		for range 36 { // three hours
			if err := s.n.planHunts(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.n.RunHunt(t.Context(), durable.Job{Tenant: contoso, Kind: JobHunt, ID: "heavy"}); err != nil {
				t.Fatal(err)
			}
			s.goOn()
			s.clock.add(5 * time.Minute)
		}
		s.wants(2, "three hours without a run", "new-machines does not run", "their share")
		s.hunts.set(func(f *fakeHunts) { f.took = time.Second })
		s.clock.add(time.Hour)
		s.goOn()
		s.wants(3, "there is room again", "runs again")
	})
}

func TestScheduledHunt_anotherQueryBeginsAnew(t *testing.T) {
	t.Parallel()
	s := newScheduling(t, nil, huntsYAML)
	s.hunts.sees("ws-1")
	s.goOn()
	s.yaml = strings.Replace(s.yaml, "every: 1h", "every: 2h", 1)
	s.n = s.restarted()
	s.clock.add(2 * time.Hour)
	s.goOn()
	s.wants(1, "another rhythm alone")
	s.yaml = strings.Replace(s.yaml, "every: 2h", "every: 2h\n    span: 12h", 1)
	s.n = s.restarted()
	s.clock.add(2 * time.Hour)
	s.goOn()
	s.wants(2, "another query", "has begun: 1 row is there already")
}

func TestScheduledHunt_memoryIsBounded(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := newScheduling(t, open, huntsYAML)
		many := func(from, n int) {
			s.hunts.set(func(f *fakeHunts) {
				f.columns, f.rows = []string{"DeviceName"}, nil
				for i := range n {
					f.rows = append(f.rows, []string{fmt.Sprintf("ws-%d", from+i)})
				}
			})
		}
		for i := range 4 {
			many(i*10_000, 10_000)
			s.goOn()
			s.clock.add(time.Hour)
		}
		if n := s.count(`SELECT COUNT(*) FROM hunt_rows`); n != rowsKnown {
			t.Errorf("%d rows are known, want %d", n, rowsKnown)
		}
		m := s.wants(4, "ten thousand new rows", "10000 new rows")
		if size := len(m.Files[0].Content); size > foundBytes+1000 || len(m.Table.Rows) > 10 {
			t.Errorf("a file of %d bytes and %d rows in the message", size, len(m.Table.Rows))
		}
		many(30_000, 1) // is still there
		s.clock.add(40 * 24 * time.Hour)
		s.goOn()
		if n := s.count(`SELECT COUNT(*) FROM hunt_rows`); n != 1 {
			t.Errorf("%d rows are known after 40 days, want the one that is still there", n)
		}
		s.wants(4, "a row that was there all the time")

		s.yaml = strings.ReplaceAll(routesYAML, "roles: [responder]", "roles: [responder, hunter]")
		s.n = s.restarted()
		if err := s.n.Purge(t.Context(), contoso, policy.Retention{Alerts: 90 * 24 * time.Hour, Hunts: 7 * 24 * time.Hour}); err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{"scheduled_hunts", "hunt_rows", "hunt_runs", "notices WHERE id LIKE 'hunt %'", "cards WHERE subject = 'hunt'"} {
			if n := s.count(`SELECT COUNT(*) FROM ` + table); n != 0 {
				t.Errorf("%d rows in %s after its schedule has left the file, want none", n, table)
			}
		}
	})
}

func TestScheduledHunt_whoReadsAlong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		yaml   string
		found  chat.Readers
		posted int
	}{
		"guests":                      {huntsYAML, chat.Readers{Guests: true}, 0},
		"guests that are allowed":     {huntsYAML + "    allow_guests: true\n", chat.Readers{Guests: true}, 1},
		"guests allowed for alerts":   {strings.Replace(huntsYAML, "to: [slack:C0SOC]", "to: [slack:C0SOC]\n      allow_guests: true", 1), chat.Readers{Guests: true}, 0},
		"strangers, whatever is said": {huntsYAML + "    allow_guests: true\n", chat.Readers{Strangers: true}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScheduling(t, nil, c.yaml)
			s.chat.readers = map[chat.Destination]chat.Readers{soc: c.found}
			s.hunts.sees("ws-1")
			s.goOn()
			s.wants(c.posted, name)
			if n := len(s.chat.at(back)); n != 0 {
				t.Errorf("%d messages in the fallback: what was hunted goes where the file says, or nowhere", n)
			}
			var alarms int
			for _, p := range s.chat.at(ops) {
				if strings.Contains(p.message.Title.String(), "Scheduled hunts are not posted") {
					alarms++
				}
			}
			if alarms != 1-c.posted {
				t.Errorf("%d alarms in the ops channel, want %d", alarms, 1-c.posted)
			}
		})
	}
}

// What one schedule says about guests says nothing about what another one finds.
func TestScheduledHunt_guestsOfAnotherSchedule(t *testing.T) {
	t.Parallel()
	s := newScheduling(t, nil, huntsYAML+`
  - name: for-guests
    hunt: rare-parents
    every: 1h
    owner: 8a1f0000-0000-4000-8000-000000000001
    to: ['slack:C0SOC']
    allow_guests: true
`)
	s.chat.readers = map[chat.Destination]chat.Readers{soc: {Guests: true}}
	s.hunts.sees("ws-1")
	s.goOn()
	s.wants(0, "a schedule that says nothing of guests")
	if err := s.n.RunHunt(t.Context(), durable.Job{Tenant: contoso, Kind: JobHunt, ID: "for-guests"}); err != nil {
		t.Fatal(err)
	}
	s.deliver()
	s.wants(1, "the one for guests", "for-guests")
}

// Rows beyond the cut are not compared, so that whoever fills a result hides what
// comes after: that is told although nothing is new.
func TestScheduledHunt_cutResultIsTold(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := newScheduling(t, open, huntsYAML)
		s.hunts.sees("ws-1", "ws-2")
		s.goOn()
		s.wants(1, "the first run")
		s.hunts.set(func(f *fakeHunts) { f.cut = "at the 10000 rows that mdebot reads" })
		for range 3 {
			s.clock.add(time.Hour)
			s.goOn()
		}
		s.wants(2, "a cut result with nothing new", "at the 10000 rows", "its result is cut")
		s.hunts.set(func(f *fakeHunts) { f.cut = "" })
		s.clock.add(time.Hour)
		s.goOn()
		s.wants(2, "whole again")
		s.hunts.set(func(f *fakeHunts) { f.cut = "at 10 MiB" })
		s.clock.add(time.Hour)
		s.goOn()
		s.wants(3, "cut once more", "at 10 MiB")
	})
}

func TestRowHash_tellsRowsApart(t *testing.T) {
	t.Parallel()
	columns := []string{"A", "B"}
	hashes := map[string][]string{}
	for _, row := range [][]string{{"x", "y"}, {"xy", ""}, {"", "xy"}, {"y", "x"}, {"x", "y "}} {
		h := rowHash(nil, columns, row)
		if other, dup := hashes[h]; dup {
			t.Errorf("%q and %q are one row", other, row)
		}
		hashes[h] = row
	}
	if rowHash([]string{"A"}, columns, []string{"x", "1"}) != rowHash([]string{"A"}, columns, []string{"x", "2"}) {
		t.Error("what key leaves out tells rows apart")
	}
	if rowHash([]string{"A"}, columns, []string{"x", "1"}) == rowHash([]string{"A"}, columns, []string{"y", "1"}) {
		t.Error("what key names does not tell rows apart")
	}
}
