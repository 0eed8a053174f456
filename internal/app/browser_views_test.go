package app

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// Each person at the page sees their own view of a request's card, which follows the
// decision, and presses what is on it.
func TestBrowserViews(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	b := openPage(t, s.world, false)
	b.open("teams-channel-" + sandbox.TeamsApprovals)
	s.teams().write(sandbox.Riley, sandbox.TeamsSOC, "isolate ws-014 beaconing")
	// holds waits for the card with the words and exactly those buttons.
	holds := func(words []string, buttons ...string) {
		t.Helper()
		want, err := json.Marshal(buttons)
		if err != nil {
			t.Fatal(err)
		}
		b.until(fmt.Sprintf("see %q with %q", words, buttons), fmt.Sprintf(
			`(m => m && %s && JSON.stringify(%s.filter(l => [...m.querySelectorAll('button, [role=menuitem]')].some(e => e.textContent === l))) === JSON.stringify(%s))([...document.querySelectorAll('[data-testid="teams-message"]')].find(m => m.innerText.includes('isolate ws-014')))`,
			hasAll("m", words), `["Approve","Deny","Withdraw"]`, want))
	}
	b.become(sandbox.Riley)
	holds([]string{"You asked for this"}, "Withdraw")
	b.become(sandbox.Avery)
	holds([]string{"It waits for your decision"}, "Approve", "Deny")
	b.become(sandbox.Noor)
	holds([]string{"waits for approval"}, "Approve", "Deny", "Withdraw")
	b.become(sandbox.Riley)
	holds([]string{"You asked for this"}, "Withdraw")
	b.press("teams-message", "Withdraw")
	b.sees("teams-message", "isolate ws-014", "withdrawn")
}
