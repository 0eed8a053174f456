package app

import (
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

// slash picks a command behind "/" in Teams.
func (s *story) slash(who sandbox.Person, place, text string) {
	s.Helper()
	if _, err := s.world.Teams.Slash(s.Context(), who.Object, place, text, ""); err != nil {
		s.Fatalf("%s picks /%s: %v", who.Name, text, err)
	}
}

// In a channel of Teams, what somebody asks behind the slash and what is for the asker
// alone is seen by nobody else there, and nothing of it is posted in the open.
func TestStory_targetedAnswersInTeams(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	on := s.teams()
	const place = sandbox.TeamsSOC

	s.slash(sandbox.Riley, place, "machine ws-014")
	card := s.sees(on, sandbox.Riley, place, "Machine ws-014", "Signed in")
	s.slash(sandbox.Riley, place, "/mde whoami")
	s.sees(on, sandbox.Riley, place, "Riley Chen", "responder")
	on.write(sandbox.Riley, place, "hunt DeviceNetworkEvents | take 3")
	s.sees(on, sandbox.Riley, place, "Hunt: 3 rows")
	s.slash(sandbox.Noor, place, "hunt DeviceInfo")
	s.sees(on, sandbox.Noor, place, "not linked")

	for _, words := range []string{"Machine ws-014", "Hunt: 3 rows", "not linked", "personal chat"} {
		if n := s.posted(on, sandbox.Avery, place, words); n != 0 {
			t.Errorf("somebody else reads %q in the channel", words)
		}
	}

	// A form behind a button of such a card, and the request that comes of it: the
	// request is for all to see, as always.
	f := on.open(sandbox.Riley, card, "Request isolation")
	on.fill(sandbox.Riley, f, map[string]string{"reason": "beaconing", "scope": "full"})
	s.sees(on, sandbox.Avery, on.approvals(), "isolate ws-014", "waits for approval", "beaconing")
	s.slash(sandbox.Riley, place, "machine ws-015 --public")
	s.sees(on, sandbox.Avery, place, "Machine ws-015")
}

func TestStory_targetedAnswersWhereATenantHasNone(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.world.Teams.SetTargeted(false)
	on := s.teams()
	for _, text := range []string{"hunt DeviceNetworkEvents | take 3", "whoami"} {
		on.write(sandbox.Riley, on.soc(), text)
		s.sees(on, sandbox.Riley, on.soc(), "The answer is in our personal chat.")
	}
	s.sees(on, sandbox.Riley, on.direct(sandbox.Riley), "Hunt: 3 rows")
	s.sees(on, sandbox.Riley, on.direct(sandbox.Riley), "Riley Chen", "responder")
	tried := 0
	for _, c := range s.world.Teams.Calls() {
		if c.Targeted {
			tried++
		}
	}
	if tried != 1 {
		t.Errorf("a targeted message was tried %d times, want once", tried)
	}
	for _, e := range s.world.Teams.Effects() {
		if e.Kind == teamssim.EffectPosted && e.Conversation == on.soc() && strings.Contains(string(e.Payload), "Hunt: 3 rows") {
			t.Error("the rows were posted in the channel")
		}
	}
}
