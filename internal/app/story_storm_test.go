package app

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// On the worst day the channel stays readable, and what is on a domain controller
// still stands there by itself, with its buttons.
func TestStory_criticalAlertsStandOutOfAStorm(t *testing.T) {
	t.Parallel()
	// The storm outlasts the story on a busy machine.
	s := newStoryUnder(t, strings.Replace(sandbox.PolicyYAML(), "within: 1m }", "within: 10m }", 1), sandbox.Options{})
	s.watching()
	for i := range 60 {
		s.raise("ws-033.corp.contoso.com", "High", fmt.Sprintf("Flood %d", i))
	}
	for _, on := range []side{s.slack(), s.teams()} {
		s.sees(on, sandbox.Riley, on.soc(), "Alert storm: ", "ws-033")
	}
	s.raise("dc-01.corp.contoso.com", "High", "Credentials of the domain are read")
	s.raise("ws-033.corp.contoso.com", "High", "One more of the flood")
	for _, on := range []side{s.slack(), s.teams()} {
		card := s.sees(on, sandbox.Riley, on.soc(), "Credentials of the domain are read", "dc-01", "What happened", "Acknowledge")
		s.pressed(on, sandbox.Riley, card, "Show machine", "Machine dc-01")
		page := s.sees(on, sandbox.Riley, on.soc(), "One more of the flood", "of this storm")
		if containsAll(page.text, []string{"Acknowledge"}) {
			t.Errorf("an alert of the flood has a card of its own: %s", page.text)
		}
	}
}
