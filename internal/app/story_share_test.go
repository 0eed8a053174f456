package app

import (
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// asksUnseen asks so that nobody else sees the answer: by Slack's slash command, and
// by the command behind the slash in Teams.
func (s *story) asksUnseen(on side, who sandbox.Person, place, text string) {
	s.Helper()
	if _, slack := on.(slackSide); slack {
		on.write(who, place, text)
		return
	}
	s.slash(who, place, text)
}

func TestStory_answerIsShownToEveryone(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		s.asksUnseen(on, sandbox.Riley, on.soc(), "machine ws-014")
		card := s.sees(on, sandbox.Riley, on.soc(), "Machine ws-014", "Signed in")
		if n := s.posted(on, sandbox.Avery, on.soc(), "Machine ws-014"); n != 0 {
			t.Fatal("somebody else reads the answer before it is shown")
		}
		s.asksUnseen(on, sandbox.Riley, on.soc(), "lookup 203.0.113.9")
		looked := s.sees(on, sandbox.Riley, on.soc(), "Address 203.0.113.9")
		s.asksUnseen(on, sandbox.Riley, on.soc(), "hunt DeviceNetworkEvents | take 3")
		hunt := s.sees(on, sandbox.Riley, on.soc(), "Hunt: 3 rows")
		s.asksUnseen(on, sandbox.Riley, on.soc(), "whoami")
		who := s.sees(on, sandbox.Riley, on.soc(), "Riley Chen", "responder")
		for what, m := range map[string]seen{"a hunt": hunt, "whoami": who} {
			if m.has("Show to everyone") {
				t.Errorf("%s can be shown to everyone", what)
			}
		}

		on.click(sandbox.Riley, card, "Show to everyone")
		shown := s.sees(on, sandbox.Avery, on.soc(), "Shown by", "Machine ws-014", "Signed in")
		if shown.has("Show to everyone") {
			t.Error("what everyone sees has the button")
		}
		on.click(sandbox.Riley, looked, "Show to everyone")
		s.sees(on, sandbox.Avery, on.soc(), "Shown by", "Address 203.0.113.9")
		s.pressed(on, sandbox.Riley, card, "Show to everyone", "shown this already")
		if n := s.posted(on, sandbox.Avery, on.soc(), "Machine ws-014"); n != 1 {
			t.Errorf("everyone sees it %d times, want once", n)
		}

		// After a restart the answer is read anew.
		s.asksUnseen(on, sandbox.Riley, on.soc(), "machine ws-015")
		card = s.sees(on, sandbox.Riley, on.soc(), "Machine ws-015", "Signed in")
		s.halt()
		s.start()
		on.click(sandbox.Riley, card, "Show to everyone")
		s.sees(on, sandbox.Avery, on.soc(), "Shown by", "Machine ws-015")
	})
}

func TestStory_answerIsNotShownToEveryone(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		// Guests have come to read along.
		s.asksUnseen(on, sandbox.Riley, on.soc(), "machine ws-014")
		card := s.sees(on, sandbox.Riley, on.soc(), "Machine ws-014", "Signed in")
		s.halt() // what is known of channels is forgotten sooner than in five minutes
		s.world.Join(sandbox.Gale, on.soc())
		s.start()
		s.pressed(on, sandbox.Riley, card, "Show to everyone", "People from outside read here")
		for _, other := range []sandbox.Person{sandbox.Gale, sandbox.Avery} {
			if n := s.posted(on, other, on.soc(), "ws-014"); n != 0 {
				t.Errorf("%s reads of the machine", other.Name)
			}
		}

		// The right is gone.
		s.asksUnseen(on, sandbox.Riley, on.approvals(), "machine ws-015")
		card = s.sees(on, sandbox.Riley, on.approvals(), "Machine ws-015", "Signed in")
		yaml := sandbox.PolicyYAML()
		s.writePolicy(strings.Replace(yaml, "roles: [responder, hunter]", "roles: []", 1))
		hash := s.bot.policy.Current().Hash()
		s.eventually("the new rules are in force", func() string {
			if s.bot.policy.Current().Hash() == hash {
				return "the old ones are"
			}
			return ""
		})
		s.pressed(on, sandbox.Riley, card, "Show to everyone", "needs the role viewer")
		if n := s.posted(on, sandbox.Avery, on.approvals(), "Machine ws-015"); n != 0 {
			t.Error("an answer is shown by somebody who may not read it any more")
		}
	})
}
