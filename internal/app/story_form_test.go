package app

import (
	"testing"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// A direct message brings nothing that could open a form in Slack.
func TestStory_directMessageOffersTheFormItLacks(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	on := s.slack()
	if err := s.world.Slack.Direct(s.Context(), sandbox.Riley.Slack, "isolate phone-01"); err != nil {
		t.Fatal(err)
	}
	offer := s.sees(on, sandbox.Riley, on.direct(sandbox.Riley), "Request isolation", "Open the form")
	f := on.open(sandbox.Riley, offer, "Open the form")
	on.fill(sandbox.Riley, f, map[string]string{"machine": "phone-01", "reason": "it was stolen"})
	s.sees(on, sandbox.Riley, on.direct(sandbox.Riley), "Asked: #1", "Beware: ", "does not list its OS")
	s.sees(on, sandbox.Avery, on.approvals(), "isolate phone-01", "waits for approval", "it was stolen", "Beware: ")
}
