package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
)

func TestStory_dailyDigest(t *testing.T) {
	t.Parallel()
	for _, p := range platforms {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			// In an hour, so that whatever day it is the first one is soon.
			at := time.Now().UTC().Add(time.Hour).Truncate(time.Minute)
			yaml := strings.Replace(sandbox.PolicyYAML(), "  storm: {", fmt.Sprintf("  digests: [{ to: ['slack:C0SOC', 'teams:19:soc@thread.tacv2'], at: %q }]\n  storm: {", at.Format("15:04")), 1)
			s := newStoryUnder(t, yaml, sandbox.Options{})
			on := p.on(s)
			s.watching()
			a := s.raise("ws-021", "High", "Something to sum up")
			s.sees(on, sandbox.Avery, on.soc(), a.ID)
			card := s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-040", "beaconing")
			on.click(sandbox.Avery, card, "Approve")
			s.sees(on, sandbox.Avery, on.approvals(), "isolate ws-040.corp.contoso.com – isolated")
			on.write(sandbox.Riley, on.soc(), "isolate ws-041 beaconing, too")
			denied := s.sees(on, sandbox.Avery, on.approvals(), "isolate ws-041", "waits for approval")
			on.click(sandbox.Avery, denied, "Deny")
			s.sees(on, sandbox.Avery, on.soc(), "isolate ws-041", "denied")
			s.recorded()
			if n := s.posted(on, sandbox.Avery, on.soc(), "The day: "); n != 0 {
				t.Fatalf("%d digests before their time", n)
			}

			s.halt()
			s.later(at.Sub(s.now()) + 5*time.Minute) // it is down when the time comes
			s.start()
			m := s.sees(on, sandbox.Avery, on.soc(), "The day: 1 alert, 1 still open", "1 machine isolated", "Something to sum up", "1 done, 1 denied", "ws-040")
			s.recorded()
			s.halt()
			s.later(10 * time.Minute)
			s.start()
			s.watching()
			s.recorded()
			if n := s.posted(on, sandbox.Avery, on.soc(), "The day: "); n != 1 {
				t.Errorf("%d digests, want one", n)
			}
			if strings.Contains(m.text, "Already open") {
				t.Errorf("the digest names what never stood here: %s", m.text)
			}
			s.later(24 * time.Hour)
			s.sees(on, sandbox.Avery, on.soc(), "The day: 0 alerts, 1 still open", "Something to sum up")
		})
	}
}
