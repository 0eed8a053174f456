package app

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// shows waits until the Defender panel says all the words.
func (b *browser) shows(words ...string) {
	b.Helper()
	b.until(fmt.Sprintf("the panel says %q", words), fmt.Sprintf(`(p => %s)(document.querySelector('[data-testid=defender]'))`, hasAll("p", words)))
}

// goesOn lets the next step of the attack happen, and the bot look at Defender.
func (s *story) goesOn() {
	s.Helper()
	s.world.Tenant.NextStep()
	s.later(20 * time.Second)
}

// tries takes what the page proposes at the latest step of the attack.
func (b *browser) tries() {
	b.Helper()
	b.until("try what is proposed", `(b => { b?.click(); return !!b && document.activeElement.dataset.testid === 'slack-composer'; })(document.querySelector('[data-testid=defender] [aria-current=step] .try'))`)
	b.keys(kb.Enter)
}

// The story plays an attack: at each step the page says what happens and what to
// try, what it proposes works, and Defender, the cards and the page agree.
func TestBrowserAttack_unfolds(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{AttackInterval: time.Hour})
	s.watching()
	b := openPage(t, s.world, false)
	b.open("story")
	for i, step := range []struct {
		page  string // what the page says
		card  string // the card that is posted in Slack, or "" when none is
		place string
		tried []string // what comes of the proposal
	}{
		{"A phishing document is opened", "Medium alert: Suspicious behavior by Microsoft Word", sandbox.SlackFinance, []string{"Machine ws-014", "Suspicious behavior by Microsoft Word"}},
		{"An encoded PowerShell command runs", "High alert: Suspicious PowerShell command line", sandbox.SlackSOC, []string{"Hunt: ", "203.0.113.66"}},
		{"Passwords are read from memory", "High alert: Sensitive credential memory read", sandbox.SlackSOC, []string{"Asked: #1 isolate ws-014"}},
		{"The stolen account moves to a file server", "High alert: Suspicious remote service", sandbox.SlackSOC, []string{"Asked: #2 isolate srv-fs-02"}},
		{"The domain controller's passwords are copied", "High alert: Suspected theft of the domain", sandbox.SlackSOC, []string{"Asked: #3 isolate dc-01"}},
		{"The first alert is resolved in the portal", "", sandbox.SlackSOC, []string{"Incident ", "dc-01", "Resolved"}},
		{"Shadow copies are deleted", "High alert: Possible ransomware", sandbox.SlackSOC, []string{"No machine is isolated"}},
	} {
		if i > 0 {
			s.goesOn()
		} else {
			s.later(20 * time.Second)
		}
		b.shows(step.page, "What to try")
		if i < 6 {
			b.shows(fmt.Sprintf("Step %d of 7", i+1))
		}
		if step.card != "" {
			s.sees(s.slack(), sandbox.Riley, step.place, step.card)
		}
		b.tries()
		s.told(s.slack(), sandbox.Riley, sandbox.SlackSOC, step.tried...)
	}
	b.shows("Over: nobody stopped it", "Play it again")

	// The first alert rose to High, so it came to the SOC as well, and turned quiet
	// when it was resolved.
	for _, channel := range []string{sandbox.SlackFinance, sandbox.SlackSOC} {
		b.open("slack-channel-" + channel)
		b.sees("slack-message", "Suspicious behavior by Microsoft Word", "Resolved", "dana@contoso.example")
		b.until("drop its buttons", `![...document.querySelectorAll('[data-testid=slack-message]')].some(m => m.innerText.includes('alert: Suspicious behavior by Microsoft Word') && [...m.querySelectorAll('button')].some(b => b.textContent === 'Acknowledge'))`)
	}
	attack := s.world.Tenant.Attacks()[0]
	for _, id := range attack.AlertIDs {
		if a, ok := s.world.Tenant.Alert(id); !ok || a.IncidentID != attack.IncidentID || a.Severity != "High" || len(a.Evidence) == 0 {
			t.Errorf("alert %s of the attack is %+v", id, a)
		}
	}
	for _, name := range []string{"ws-014", "srv-fs-02", "dc-01"} {
		if m := s.machine(name); m.RiskScore != "High" {
			t.Errorf("the risk of %s is %s, want High", name, m.RiskScore)
		}
	}
	s.wantIsolations(0)
}

func TestBrowserAttack_isStoppedAndContained(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{AttackInterval: time.Hour})
	s.watching()
	b := openPage(t, s.world, false)
	b.open("story")
	b.shows("Step 1 of 7", "Stop the story")
	s.goesOn()
	b.shows("Step 2 of 7")
	b.open("story")
	b.shows("Stopped at step 2 of 7", "Play it again")
	s.goesOn()
	b.shows("Stopped at step 2 of 7")

	b.open("story")
	b.shows("Step 1 of 7", "Stop the story")
	s.goesOn()
	s.goesOn()
	b.shows("Step 3 of 7", "isolate ws-014")
	b.tries()
	card := s.sees(s.slack(), sandbox.Avery, sandbox.SlackApprovals, "isolate ws-014", "waits for approval")
	s.slack().click(sandbox.Avery, card, "Approve")
	s.sees(s.slack(), sandbox.Avery, sandbox.SlackApprovals, "ws-014.corp.contoso.com – isolated", "approved by Avery Stone")
	s.goesOn()
	b.shows("Contained: the attacker cannot go on", "Play it again")
	if n := is[int](b, `document.querySelectorAll('[data-testid=defender] .attack > li').length`); n != 3 {
		t.Errorf("the story has %d steps after it was contained, want 3", n)
	}

	// ws-014 has no network, so the attacker takes another machine.
	b.open("story")
	b.shows("Step 1 of 7", "/mde machine ws-015")
}
