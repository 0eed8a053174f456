package app

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

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
	// holds waits until the person's card has the words and exactly those buttons. A
	// client asks how a card looks at most once a minute, also when it got no answer.
	holds := func(p sandbox.Person, words []string, buttons ...string) {
		t.Helper()
		want, err := json.Marshal(buttons)
		if err != nil {
			t.Fatal(err)
		}
		expression := fmt.Sprintf(
			`(m => m && %s && JSON.stringify(%s.filter(l => [...m.querySelectorAll('button, [role=menuitem]')].some(e => e.textContent === l))) === JSON.stringify(%s))([...document.querySelectorAll('[data-testid="teams-message"]')].find(m => m.innerText.includes('isolate ws-014')))`,
			hasAll("m", words), `["Approve","Deny","Withdraw"]`, want)
		for range 4 {
			b.become(p)
			if err = b.comes(expression, patience/6); err == nil {
				return
			}
			s.later(time.Minute)
			b.become(sandbox.Jordan)
		}
		t.Fatalf("%s does not see %q with %q: %v", p.Name, words, buttons, err)
	}
	holds(sandbox.Riley, []string{"You asked for this"}, "Withdraw")
	holds(sandbox.Avery, []string{"It waits for your decision"}, "Approve", "Deny")
	holds(sandbox.Noor, []string{"waits for approval"}, "Approve", "Deny", "Withdraw")
	holds(sandbox.Riley, []string{"You asked for this"}, "Withdraw")
	b.press("teams-message", "Withdraw")
	b.sees("teams-message", "isolate ws-014", "withdrawn")
}
