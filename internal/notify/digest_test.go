package notify

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

const digestYAML = `  digests:
    - to: ['slack:C0SOC']
      at: "08:00"
      zone: Europe/Berlin
`

// digesting is a fixture whose file has digests.
func digesting(t *testing.T, open storetest.Opener, more string) *scheduling {
	t.Helper()
	return newScheduling(t, open, routesYAML+digestYAML+more)
}

// digests are those that were posted.
func (f *fixture) digests() (out []posted) {
	for _, p := range f.chat.at(soc) {
		if strings.HasPrefix(p.message.Title.String(), "The day: ") {
			out = append(out, p)
		}
	}
	return out
}

// until lets the time come and goes on.
func (s *scheduling) until(at time.Time) {
	s.Helper()
	s.clock.add(at.Sub(s.clock.now()))
	s.poll()
	s.deliver()
}

// sunday is the first time of day of the digests: eight in Berlin.
var sunday = time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)

func TestDigest_sumsUpWhatStoodThere(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := digesting(t, open, "")
		s.settle()
		s.until(s.clock.now().Add(time.Minute))
		began := s.clock.now()
		s.alert("old", func(a *defender.Alert) { a.Title = "Still open" })
		s.alert("done", func(a *defender.Alert) { a.Title, a.Created = "Was resolved", began.Add(time.Second) })
		s.alert("elsewhere", func(a *defender.Alert) { a.Severity, a.Title = defender.Low, "Goes to the fallback" })
		s.isolate("cut-off", began)
		s.poll()
		s.deliver()
		s.alert("done", func(a *defender.Alert) {
			a.Title, a.Status, a.Created, a.Updated = "Was resolved", "Resolved", began.Add(time.Second), s.clock.now()
		})
		for id, state := range map[string]approvals.State{"r1": approvals.Denied, "r2": approvals.Pending, "r3": approvals.Succeeded} {
			r := approvals.Request{ID: id, Number: 7, Tenant: contoso, Action: "isolate", State: state, Opened: began, RequesterName: "Riley Chen", Targets: []approvals.Target{{Name: "ws-" + id}}}
			if state.Resolved() {
				r.DecidedAt = began
			}
			s.requests.all[id] = r
			if id == "r3" {
				continue // it was never posted here
			}
			s.inTx(func(tx durable.Tx) error {
				return s.n.want(t.Context(), tx, want{tenant: contoso, subject: SubjectRequest, subjectID: id, destination: soc})
			})
		}
		s.inTx(func(tx durable.Tx) error {
			return s.n.notice(t.Context(), tx, contoso, "trouble", cards.Notice(chat.Warning, "Messages cannot be delivered"), ops)
		})
		s.inTx(func(tx durable.Tx) error {
			return s.n.notice(t.Context(), tx, contoso, "fine", cards.Notice(chat.Good, "mdebot has started"), ops)
		})
		if _, err := s.n.BeginMute(t.Context(), contoso, policy.MuteOrder{ID: "m1", Mute: policy.Mute{Title: "Noise"}, For: time.Hour, By: "Avery Stone"}); err != nil {
			t.Fatal(err)
		}
		s.until(sunday.Add(-time.Minute))
		if n := len(s.digests()); n != 0 {
			t.Fatalf("%d digests before their time", n)
		}
		if _, err := s.n.BeginMute(t.Context(), contoso, policy.MuteOrder{ID: "m2", Mute: policy.Mute{Title: "Noise"}, For: time.Hour, By: "Avery Stone"}); err != nil {
			t.Fatal(err)
		}
		s.until(sunday.Add(time.Second))
		all := s.digests()
		if len(all) != 1 {
			t.Fatalf("%d digests, want one", len(all))
		}
		m := all[0].message
		text := fmt.Sprint(m.Title, m.Facts, m.Sections)
		for _, want := range []string{"2 alerts", "1 still open", "1 request waits", "1 machine isolated", "2 High", "1 waiting, 1 denied", "Still open", "ws-r2", "ws-cut-off", "Avery Stone", "Messages cannot be delivered"} {
			if !strings.Contains(text, want) {
				t.Errorf("the digest lacks %q: %s", want, text)
			}
		}
		for _, not := range []string{"Was resolved", "fallback", "ws-r3", "has started"} {
			if strings.Contains(text, not) {
				t.Errorf("the digest holds %q: %s", not, text)
			}
		}
	})
}

// A digest goes where its place lets guests read anything, so it holds nothing that
// the place was not shown because of them.
func TestDigest_holdsNothingThatGuestsKeptOut(t *testing.T) {
	t.Parallel()
	guests := map[chat.Destination]chat.Readers{soc: {Guests: true}}
	for name, c := range map[string]struct {
		open   [2]string
		hidden string
	}{
		"requests where alerts are for guests": {[2]string{"to: [slack:C0SOC]\n", "to: [slack:C0SOC]\n      allow_guests: true\n"}, "ws-secret"},
		"alerts where requests are for guests": {[2]string{"approvals:\n  post_to: [slack:C0APPROVE]", "approvals:\n  allow_guests: true\n  post_to: [slack:C0SOC]"}, "Suspicious thing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScheduling(t, nil, strings.Replace(routesYAML, c.open[0], c.open[1], 1)+digestYAML+"      when_quiet: true\n")
			s.chat.readers = guests
			s.settle()
			s.until(s.clock.now().Add(time.Minute))
			s.alert("a1", nil)
			r := pending("r1")
			r.Rule.Alone = true
			r.Targets = []approvals.Target{{Kind: approvals.TargetMachine, ID: "m9", Name: "ws-secret"}}
			s.changed(r, approvals.ChangeOpened)
			s.until(s.clock.now().Add(time.Minute))
			s.until(sunday.Add(time.Second))
			all := s.digests()
			if len(all) != 1 {
				t.Fatalf("%d digests, want one", len(all))
			}
			for _, p := range s.chat.at(soc) {
				if text := fmt.Sprint(p.message); strings.Contains(text, c.hidden) {
					t.Errorf("guests read %q: %s", c.hidden, text)
				}
			}
			if text := fmt.Sprint(all[0].message); strings.Contains(text, "ws-secret") == strings.Contains(text, "Suspicious thing") {
				t.Errorf("the digest holds both or neither: %s", text)
			}
		})
	}
}

// Each time of day has one digest, whatever restarts, replicas and clocks do.
func TestDigest_oncePerDay(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := digesting(t, open, "      when_quiet: true\n")
		s.settle()
		s.until(sunday.Add(time.Second))
		for range 3 {
			s.n = s.restarted()
			s.poll()
			if err := s.replica().PollOnce(t.Context(), contoso); err != nil {
				t.Fatal(err)
			}
			s.until(s.clock.now().Add(turnRetry))
		}
		if n := len(s.digests()); n != 1 {
			t.Fatalf("%d digests on the first day, want one", n)
		}
		s.until(sunday.Add(-20 * time.Minute)) // the clock is set back
		s.alert("meanwhile", nil)              // the same digest would be another one by now
		s.until(sunday.Add(time.Minute))
		s.until(sunday.Add(time.Hour))
		if n := len(s.digests()); n != 1 || s.digests()[0].edits != 0 {
			t.Errorf("%d digests, edited %d times, when the time of day came again", n, s.digests()[0].edits)
		}
		s.until(sunday.Add(24*time.Hour + time.Second))
		if n := len(s.digests()); n != 2 {
			t.Errorf("%d digests on two days", n)
		}
		// It is down for three days and a half.
		s.n = s.restarted()
		s.until(sunday.Add((24*4 + 12) * time.Hour))
		s.until(s.clock.now().Add(turnRetry))
		if n := len(s.digests()); n != 3 {
			t.Errorf("%d digests, want one for the days that were missed", n-2)
		}
		s.until(sunday.Add(24*5*time.Hour + time.Second))
		if n := len(s.digests()); n != 4 {
			t.Errorf("%d digests on the day after, want one more", n-3)
		}
	})
}

func TestDigest_quietDays(t *testing.T) {
	t.Parallel()
	s := digesting(t, nil, "")
	s.settle()
	s.until(sunday.Add(time.Second))
	if n := len(s.digests()); n != 0 {
		t.Errorf("%d digests of a day with nothing to tell", n)
	}
	// A look that failed is something to tell.
	s.defender.mu.Lock()
	s.defender.actionsDown = errors.New("not now")
	s.defender.mu.Unlock()
	s.until(sunday.Add(24*time.Hour + time.Second))
	all := s.digests()
	if len(all) != 1 || !strings.Contains(fmt.Sprint(all[0].message.Facts), "could not be read") {
		t.Errorf("%d digests when isolations cannot be read, want one that says so", len(all))
	}
}

// Berlin has eight o'clock an hour earlier in summer.
func TestDigest_followsItsZone(t *testing.T) {
	t.Parallel()
	s := digesting(t, nil, "      when_quiet: true\n")
	s.clock.t = time.Date(2027, 3, 26, 12, 0, 0, 0, time.UTC)
	s.settle()
	for i, at := range []time.Time{
		time.Date(2027, 3, 27, 7, 0, 1, 0, time.UTC), time.Date(2027, 3, 28, 6, 0, 1, 0, time.UTC), time.Date(2027, 3, 29, 6, 0, 1, 0, time.UTC),
	} {
		s.until(at.Add(-time.Minute))
		if n := len(s.digests()); n != i {
			t.Fatalf("%d digests before %s, want %d", n, at, i)
		}
		s.until(at)
		if n := len(s.digests()); n != i+1 {
			t.Fatalf("%d digests at %s, want %d", n, at, i+1)
		}
	}
}
