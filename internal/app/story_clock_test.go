package app

import (
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// The clock was wrong by an hour, in either direction, and is set right: alerts and
// cards go on at once, and nothing that is over comes back.
func TestStory_clockThatIsSet(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour, "back by a year": -365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t, sandbox.Options{})
			s.watching()
			card := s.request(s.slack(), s.slack(), sandbox.Riley, sandbox.Avery, "ws-070", "before the clock is set")
			s.raise("ws-071", "High", "Before the clock was set")
			s.later(16 * time.Second)
			s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "Before the clock was set")
			s.later(step)
			s.raise("ws-072", "High", "After the clock was set")
			s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "After the clock was set")
			s.sees(s.teams(), sandbox.Riley, sandbox.TeamsSOC, "After the clock was set")
			if step > 0 {
				s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "isolate ws-070", "expired")
				s.later(-step)
				s.clickQuietly(s.slack(), sandbox.Avery, card, "Approve")
				s.clickQuietly(s.teams(), sandbox.Avery, s.sees(s.teams(), sandbox.Avery, sandbox.TeamsApprovals, "isolate ws-070"), "Approve")
			}
			s.wantIsolations(0)
		})
	}
}
