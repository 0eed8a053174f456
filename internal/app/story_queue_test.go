package app

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/sandbox"
)

func TestStory_requestIsPostedBeforeTheAlertsThatWait(t *testing.T) {
	t.Parallel()
	const flood = 400
	// Alerts and requests share a channel, which takes one message a second, and
	// no storm folds the alerts.
	yaml := strings.NewReplacer("post_to: [slack:C0APPROVE,", "post_to: [slack:C0SOC,", "more_than: 20", "more_than: 10000").Replace(sandbox.PolicyYAML())
	s := newStoryUnder(t, yaml, sandbox.Options{Pace: true})
	s.watching()
	machine := s.machine("ws-013.corp.contoso.com")
	for i := range flood {
		if _, err := s.world.Tenant.RaiseAlert(machine.ID, "High", fmt.Sprintf("Flood %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	queued := func() (n int) {
		row := s.bot.store.Read().QueryRow(t.Context(), `SELECT COUNT(*) FROM cards WHERE subject = 'alert' AND destination = 'slack:C0SOC' AND wanted > shown`)
		if err := row.Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	s.eventually("alerts queue up", func() string {
		if n := queued(); n < flood/2 {
			return fmt.Sprintf("%d of %d wait", n, flood)
		}
		return ""
	})

	s.slack().write(sandbox.Riley, sandbox.SlackOps, "isolate ws-011 beaconing to a known bad address")
	s.sees(s.slack(), sandbox.Avery, sandbox.SlackSOC, "isolate ws-011", "waits for approval")
	if n := queued(); n < flood/4 {
		t.Errorf("only %d alerts wait behind the request, want it to go before them", n)
	}
}
