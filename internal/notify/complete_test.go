package notify

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
)

// sql runs a statement behind the notifier's back.
func (f *fixture) sql(query string) {
	f.Helper()
	f.inTx(func(tx durable.Tx) error {
		_, err := tx.Exec(f.Context(), query)
		return err
	})
}

func TestPoison_alertThatCannotBeRecordedIsNamedOnceAndDelaysNoOther(t *testing.T) {
	t.Parallel()
	for _, alone := range []bool{true, false} {
		t.Run(fmt.Sprintf("alone %t", alone), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.settle()
			f.sql(`CREATE TRIGGER poison BEFORE INSERT ON alerts WHEN NEW.id = 'poison' BEGIN SELECT RAISE(ABORT, 'no'); END`)
			f.alert("poison", func(a *defender.Alert) { a.Title = "Title of the poisoned one" })
			good := 0
			if !alone {
				f.alert("good", nil)
				good = 1
			}
			for range 3 {
				f.clock.add(16 * time.Second)
				f.settle()
			}
			got := f.chat.at(soc)
			wantPosts(t, got, 1+good)
			if text := fmt.Sprint(got); !strings.Contains(text, "Title of the poisoned one") || !strings.Contains(text, "poison") {
				t.Errorf("posted:\n%swant the poisoned one named", titles(got))
			}
		})
	}
}

// While the database is away, nothing is called poison.
func TestPoison_databaseThatFailsIsNoFaultOfTheAlert(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	f.alert("a1", nil)
	f.clock.add(16 * time.Second)
	f.sql(`CREATE TRIGGER gone1 BEFORE INSERT ON alerts BEGIN SELECT RAISE(ABORT, 'disk full'); END`)
	f.sql(`CREATE TRIGGER gone2 BEFORE INSERT ON notices BEGIN SELECT RAISE(ABORT, 'disk full'); END`)
	if err := f.n.PollOnce(t.Context(), contoso); err == nil {
		t.Error("PollOnce() = nil, want the failure of the database")
	}
	f.sql(`DROP TRIGGER gone1`)
	f.sql(`DROP TRIGGER gone2`)
	f.clock.add(31 * time.Second)
	f.settle()
	got := f.chat.at(soc)
	wantPosts(t, got, 1)
	if all := titles(got); !strings.Contains(all, "a1") || strings.Contains(all, "could not be recorded") {
		t.Errorf("posted:\n%swant the alert alone", all)
	}
}

func TestPoison_storedAlertThatCannotBeReadHidesNoOther(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	for i := range 20 {
		f.alert(fmt.Sprintf("s%02d", i), nil)
	}
	f.clock.add(16 * time.Second)
	f.poll()
	f.sql(`UPDATE alerts SET body = 'rubbish' WHERE id IN ('s01', 's15')`) // one alone, one in a storm
	f.clock.add(2 * time.Minute)
	if err := f.n.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range reducedAfter + 1 {
		f.deliver()
		f.clock.add(10 * time.Second)
	}
	text := fmt.Sprint(f.chat.at(soc))
	for i := range 20 {
		if id := fmt.Sprintf("s%02d", i); !strings.Contains(text, id) {
			t.Errorf("alert %s is named nowhere", id)
		}
	}
}

// After a week away everything is caught up, and the most severe first.
func TestDowntime_ofAWeekIsCaughtUpMostSevereFirst(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.defender.machines["m1"] = defender.Machine{ID: "m1", Name: "ws-042", Tags: []string{"finance"}}
	f.settle()
	severities := []defender.Severity{defender.Informational, defender.Low, defender.Medium, defender.High}
	const n = 700
	for i := range n { // one every quarter of an hour, the least severe first
		f.clock.add(14 * time.Minute)
		f.alert(fmt.Sprintf("w%03d", i), func(a *defender.Alert) {
			a.Severity = severities[i*len(severities)/n]
			a.Title = string(a.Severity) + " of the week"
		})
	}
	f.clock.add(3 * time.Hour)
	f.n = f.replica()
	f.poll()
	f.clock.add(2 * time.Minute)
	if err := f.n.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.deliver()
	got := f.chat.at(fin)
	text := fmt.Sprint(got)
	for i := range n {
		if id := fmt.Sprintf("w%03d", i); !strings.Contains(text, id) {
			t.Fatalf("alert %s is named nowhere", id)
		}
	}
	// What storms hold comes in pages, each of one severity.
	last := defender.High.Rank()
	pages := 0
	for _, m := range got {
		if !strings.Contains(fmt.Sprint(m.message.Title), "of this storm") {
			continue
		}
		pages++
		body := fmt.Sprint(m.message.Sections)
		rank := slices.IndexFunc(severities, func(s defender.Severity) bool { return strings.Contains(body, string(s)+" of the week") }) + 1
		if rank > last {
			t.Errorf("a page of %s comes after a less severe one", severities[rank-1])
		}
		last = rank
	}
	if pages < n/cards.StormPageSize {
		t.Errorf("%d pages, want at least %d", pages, n/cards.StormPageSize)
	}
	before := len(got)
	f.clock.add(7 * time.Hour)
	f.settle()
	if after := len(f.chat.at(fin)); after != before {
		t.Errorf("%d more messages after the next sweep, want none", after-before)
	}
}

// In a storm of everything, what is High is named within seconds and not when the
// storm is over.
func TestStorm_namesWhatIsHighAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.defender.machines["m1"] = defender.Machine{ID: "m1", Name: "ws-042", Tags: []string{"finance"}}
	f.settle()
	for i := range 60 {
		f.alert(fmt.Sprintf("n%02d", i), func(a *defender.Alert) { a.Severity = defender.Low })
	}
	f.clock.add(16 * time.Second)
	f.settle()
	for round := range 3 { // the storm goes on
		for i := range 40 {
			f.alert(fmt.Sprintf("h%d-%02d", round, i), nil)
		}
		f.clock.add(16 * time.Second)
		f.poll()
		f.deliver()
		text := fmt.Sprint(f.chat.at(fin))
		for i := range 40 {
			if id := fmt.Sprintf("h%d-%02d", round, i); !strings.Contains(text, id) {
				t.Fatalf("alert %s is named nowhere yet", id)
			}
		}
	}
}

func TestAlert_changesBeforeAndAfterThePostMakeNoSecondCard(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		change  func(*defender.Alert)
		replies int
	}{
		{"severity up", func(a *defender.Alert) { a.Severity = defender.High }, 1},
		{"resolved and open again", func(a *defender.Alert) { a.Status = "InProgress" }, 0},
		{"merged into another incident", func(a *defender.Alert) { a.IncidentID = 77 }, 0},
	} {
		for _, posted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, posted %t", c.name, posted), func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.defender.machines["m1"] = defender.Machine{ID: "m1", Name: "ws-042", Tags: []string{"finance"}}
				f.settle()
				f.alert("head", func(a *defender.Alert) { a.IncidentID, a.Severity = 77, defender.Low })
				a := f.alert("a1", func(a *defender.Alert) { a.IncidentID, a.Severity, a.Status = 5, defender.Medium, "Resolved" })
				f.clock.add(16 * time.Second)
				f.poll()
				if posted {
					f.deliver()
				}
				c.change(&a)
				a.Updated = f.clock.now()
				f.defender.put(a)
				f.clock.add(16 * time.Second)
				f.poll()
				f.deliver()
				got := f.chat.at(fin)
				if n := strings.Count(titles(got), "Suspicious thing a1"); n != 1+c.replies {
					t.Errorf("posted:\n%swant one card and %d replies", titles(got), c.replies)
				}
			})
		}
	}
}

// A reply whose card could not be posted goes out alone. When its answer is lost and
// the card stands by the next try, it is found all the same.
func TestReply_postedBeforeItsThreadIsFound(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	f.requests.all["r1"] = approvals.Request{ID: "r1", Number: 1, Tenant: contoso, State: approvals.Denied, Action: approvals.Isolate}
	f.inTx(func(tx durable.Tx) error {
		err := f.n.want(t.Context(), tx, want{tenant: contoso, subject: SubjectRequest, subjectID: "r1", destination: soc, class: classDecision})
		if err != nil {
			return err
		}
		head, _, err := cardOf(t.Context(), tx, contoso, SubjectRequest, "r1", soc)
		if err != nil {
			return err
		}
		return f.n.want(t.Context(), tx, want{tenant: contoso, subject: subjectReply, subjectID: "r1/resolved", destination: soc, class: classDecision, parent: head.id})
	})
	refused := false
	f.chat.fail = func(chat.Destination, bool) error {
		if !refused {
			refused = true
			return errors.New("the platform answered status 503") // to the card
		}
		return nil
	}
	lost := false
	f.chat.lose = func(chat.Destination) error {
		if !lost {
			lost = true
			return fmt.Errorf("post: %w", chat.ErrUnclear) // of the reply
		}
		return nil
	}
	for range 10 {
		f.deliver()
		f.clock.add(5 * time.Second)
	}
	wantPosts(t, f.chat.at(soc), 2)
}

// Whatever the weather, every alert stands once: late by up to two days, with equal
// stamps, changing, moving between pages while they are read, with Defender empty
// for hours, the bot killed and answers of the chat lost.
func TestAlerts_areCompleteInAnyWeather(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			draw := rand.New(rand.NewPCG(seed, 1))
			f.settle()
			f.clock.add(72 * time.Hour)
			f.settle()

			delays := []time.Duration{0, 0, 30 * time.Second, 5 * time.Minute, time.Hour, 6 * time.Hour, 47 * time.Hour}
			type pending struct {
				visible time.Time
				alert   defender.Alert
			}
			var waiting []pending
			var want []string
			lastStamp := f.clock.now()
			f.defender.hides = func(defender.Alert) bool { return draw.IntN(10) == 0 }
			f.chat.lose = func(chat.Destination) error {
				if draw.IntN(12) == 0 {
					return fmt.Errorf("post: %w", chat.ErrUnclear)
				}
				return nil
			}
			f.chat.fail = func(chat.Destination, bool) error {
				if draw.IntN(8) == 0 {
					return errors.New("the platform answered status 503")
				}
				return nil
			}
			for step := range 160 {
				if draw.IntN(3) == 0 && step < 130 {
					id := fmt.Sprintf("z%03d", step)
					stamp := lastStamp
					if draw.IntN(3) > 0 { // otherwise equal to the one before
						stamp = f.clock.now()
						lastStamp = stamp
					}
					a := defender.Alert{
						ID: id, Tenant: contoso, Severity: defender.High, Status: "New", Title: "Suspicious thing " + id,
						Created: stamp, Updated: stamp, MachineID: "m1", MachineName: "ws-042", IncidentID: int64(draw.IntN(40)),
					}
					waiting = append(waiting, pending{f.clock.now().Add(delays[draw.IntN(len(delays))]), a})
					want = append(want, id)
				}
				waiting = slices.DeleteFunc(waiting, func(p pending) bool {
					if p.visible.After(f.clock.now()) {
						return false
					}
					f.defender.put(p.alert)
					return true
				})
				switch draw.IntN(12) {
				case 0:
					f.n = f.replica() // killed and started
				case 1: // hours of a list that is empty
					hides := f.defender.hides
					f.defender.hides = func(defender.Alert) bool { return true }
					f.clock.add(time.Duration(draw.IntN(4)) * time.Hour)
					_ = f.n.PollOnce(t.Context(), contoso) // doubted where alerts are known
					f.defender.hides = hides
				case 2:
					f.defender.down = errors.New("Defender is down")
					_ = f.n.PollOnce(t.Context(), contoso)
					f.defender.down = nil
				case 3:
					if known := f.defender.alerts; len(known) > 0 {
						a := known[draw.IntN(len(known))]
						a.Status, a.Updated = []string{"InProgress", "Resolved", "New"}[draw.IntN(3)], f.clock.now()
						f.defender.put(a)
					}
				}
				_ = f.n.PollOnce(t.Context(), contoso)
				for range draw.IntN(4) {
					if _, err := f.n.step(t.Context(), soc); err != nil {
						t.Fatal(err)
					}
				}
				_ = f.n.Sweep(t.Context())
				f.clock.add(time.Duration(draw.IntN(1200)) * time.Second)
			}
			f.chat.lose, f.chat.fail, f.defender.hides = nil, nil, nil
			for range 12 { // two days and more, so that what is late has come
				for _, p := range waiting {
					f.defender.put(p.alert)
				}
				waiting = nil
				f.clock.add(7 * time.Hour)
				f.poll()
				if err := f.n.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
				f.deliver()
			}
			cards, text := map[string]int{}, ""
			for _, m := range f.chat.at(soc) {
				text += fmt.Sprint(m.message)
				if title := fmt.Sprint(m.message.Title); strings.Contains(title, "Suspicious thing") {
					cards[title]++
				}
			}
			for _, id := range want {
				if !strings.Contains(text, id) {
					t.Errorf("missing: %s", id)
				}
			}
			for title, n := range cards {
				if n > 1 {
					t.Errorf("twice: %s stands %d times", title, n)
				}
			}
			if len(want) < 20 {
				t.Errorf("only %d alerts: the test shows little", len(want))
			}
		})
	}
}
