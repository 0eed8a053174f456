package app

import (
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// medium posts every alert to the SOC channels, so that there is something to mute.
var medium = strings.Replace(sandbox.PolicyYAML(), `when: alert.severity == "High"`, `when: 'true'`, 1)

func TestStory_mutes(t *testing.T) {
	t.Parallel()
	for _, p := range platforms {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := newStoryUnder(t, medium, sandbox.Options{})
			on := p.on(s)
			s.watching()
			first := s.raise("ws-021", "Medium", "Noisy backup tool")
			card := s.sees(on, sandbox.Riley, on.soc(), first.Title)
			s.recorded()

			f := on.open(sandbox.Riley, card, "Mute")
			if !containsAll(f.text, []string{"This title on this machine", "7 days: 1 of ", "4 hours, the most"}) {
				t.Errorf("the form does not show what it would hide: %s", f.text)
			}
			on.fill(sandbox.Riley, f, map[string]string{"what": "title", "for": "1h", "reason": "rollout of the backup tool"})
			s.sees(s.slack(), sandbox.Avery, sandbox.SlackSOC, "Mute 1", "Riley Chen", "rollout of the backup tool")
			s.sees(s.teams(), sandbox.Avery, sandbox.TeamsSOC, "Mute 1", "Riley Chen")

			quiet := s.raise("ws-022", "Medium", "Noisy backup tool")
			loud := s.raise("ws-023", "High", "Noisy backup tool")
			controller := s.raise("dc-01", "Medium", "Noisy backup tool")
			s.later(16 * time.Second)
			s.sees(on, sandbox.Riley, on.soc(), loud.ID)
			s.sees(on, sandbox.Riley, on.soc(), controller.ID)
			if n := s.posted(on, sandbox.Riley, on.soc(), quiet.ID); n != 0 {
				t.Errorf("the muted alert was posted %d times", n)
			}
			s.ask(on, sandbox.Avery, "mutes", "Noisy backup tool", "Riley Chen", "rollout of the backup tool")

			s.later(time.Hour)
			s.sees(on, sandbox.Avery, on.soc(), "Mute 1 is over", "it kept back 1 alert", quiet.ID)
		})
	}
}

func TestStory_muteOfHighAlertsNeedsASecondPerson(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		s.watching()
		s.ask(on, sandbox.Riley, "mute --title Known beacon --for 6h --reason red team", "4 hours at most", "suppression rules")
		offer := s.ask(on, sandbox.Riley, "mute --title Known beacon --high --reason red team", "Mute these alerts?", "a second person", "would have hidden")
		s.pressed(on, sandbox.Riley, offer, "Ask for approval", "Asked")
		card := s.sees(on, sandbox.Sam, on.approvals(), "mute", "waits for approval", "Known beacon", "red team", "would have hidden")
		loud := s.raise("ws-024", "High", "Known beacon")
		s.sees(on, sandbox.Riley, on.soc(), loud.ID)

		on.click(sandbox.Sam, card, "Approve")
		s.sees(on, sandbox.Riley, on.soc(), "Mute 1", "Riley Chen")
		quiet := s.raise("ws-025", "High", "Known beacon")
		s.later(16 * time.Second)
		other := s.raise("ws-026", "High", "Something else")
		s.later(16 * time.Second)
		s.sees(on, sandbox.Riley, on.soc(), other.ID)
		if n := s.posted(on, sandbox.Riley, on.soc(), quiet.ID); n != 0 {
			t.Errorf("the muted alert was posted %d times", n)
		}
		s.ask(on, sandbox.Avery, "unmute 1", "Mute 1 is ended; it kept back 1")
		s.sees(on, sandbox.Riley, on.soc(), "Mute 1 is over", "Ended by", "Avery Stone", quiet.ID)
	})
}
