package notify

import (
	"testing"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

// What clients ask by themselves, and what every post asks, costs the same however many
// cards there are.
func TestQueries_readNoWholeTable(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	storetest.Plans(t, func(db storetest.Planned) {
		f.n.db = db
		for name, ask := range map[string]func() error{
			"the sweep": func() error { return f.n.Sweep(t.Context()) },
			"what a message shows": func() error {
				_, _, _, _, err := f.n.SubjectOf(t.Context(), chat.Conversation{Platform: identity.Slack, ID: "C0SOC", Thread: "1.1"})
				return err
			},
			"what a storm holds": func() error {
				_, err := heldBy(t.Context(), db, "s1", classNotice)
				return err
			},
			"the alerts of a storm": func() error {
				_, err := f.n.heldAlerts(t.Context(), contoso, "s1", -1, 10, 0)
				return err
			},
			"the budget of a storm": func() error {
				_, err := overBudget(t.Context(), db, soc, f.clock.now())
				return err
			},
			"the requests of a place": func() error {
				_, err := f.n.requestsAt(t.Context(), contoso, soc, f.clock.now())
				return err
			},
		} {
			if err := ask(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
