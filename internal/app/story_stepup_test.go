package app

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/sandbox"
)

// secureURL is the bot's address as people see it: Teams shows no others.
const secureURL = "https://127.0.0.1:9"

var approvalAddress = regexp.MustCompile(secureURL + `/link/approve\?t=[A-Z2-7]{52}`)

func newStepUpStory(t *testing.T) *story {
	t.Helper()
	return newStory(t, sandbox.Options{}, sandbox.SignInEnvironment(secureURL)...)
}

// endsTLS is what stands in front of the bot.
type endsTLS struct {
	bot  string
	next http.RoundTripper
}

func (p endsTLS) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "https" {
		r = r.Clone(r.Context())
		r.URL.Scheme, r.URL.Host = "http", p.bot
	}
	return p.next.RoundTrip(r)
}

func (s *story) secureVisitor() visitor {
	v := s.visitor()
	v.client.Transport = endsTLS{s.bot.Addr().String(), v.client.Transport}
	return v
}

// asksToSignIn presses Approve and returns the address that is offered, a new one
// each time.
func (s *story) asksToSignIn(on side, who sandbox.Person, card seen, before ...string) string {
	s.Helper()
	s.clickQuietly(on, who, card, "Approve")
	address := ""
	s.eventually(who.Name+" is asked to sign in", func() string {
		for _, place := range []string{card.place, on.direct(who)} {
			for _, m := range on.see(who, place) {
				for _, found := range approvalAddress.FindAllString(string(m.payload), -1) {
					if !strings.Contains(strings.Join(before, " "), found) {
						address = found
						return ""
					}
				}
			}
		}
		return "no new address"
	})
	return address
}

func (b visitor) proves(address string, who sandbox.Person) page {
	b.Helper()
	asks := b.open(address)
	asks.says(b.T, "Sign in to approve this?")
	token := regexp.MustCompile(`name="t" value="([A-Z2-7]+)"`).FindStringSubmatch(asks.body)
	if token == nil {
		b.Fatalf("the page asks nothing: %s", asks.body)
	}
	return b.signIn(b.do(http.MethodPost, secureURL+"/link/approve", map[string][]string{"t": {token[1]}}), who)
}

// A stolen chat session cannot finish a tier 0 vote: whoever has it cannot sign in
// as the person. The person can, for one request and for ten minutes.
func TestStory_tierZeroVoteTakesAFreshSignIn(t *testing.T) {
	t.Parallel()
	for _, p := range platforms {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := newStepUpStory(t)
			on := p.on(s)
			card := s.request(on, on, sandbox.Riley, sandbox.Sam, "dc-02", "golden ticket")

			// The thief of Sam's session presses Approve, is sent to sign in, and can do
			// that as themselves alone.
			stolen := s.asksToSignIn(on, sandbox.Sam, card)
			asks := s.secureVisitor().open(stolen)
			asks.says(t, "Sign in to approve this?", "isolate dc-02")
			s.secureVisitor().proves(stolen, sandbox.Riley).says(t, "You are not who wanted to approve this")
			again := s.asksToSignIn(on, sandbox.Sam, card, stolen)
			s.secureVisitor().open(stolen).says(t, "not good any more")
			// A session that the directory remembers is no proof either.
			s.world.Entra.SetStaleSessions(true)
			s.secureVisitor().proves(again, sandbox.Sam).says(t, "did not say that you have just signed in")
			s.world.Entra.SetStaleSessions(false)
			if n := len(s.audited("vote.approve")); n != 0 {
				t.Fatalf("%d votes count without a sign-in", n)
			}

			third := s.asksToSignIn(on, sandbox.Sam, card, stolen, again)
			// The browser that comes back is the one that left.
			thief, sam := s.secureVisitor(), s.secureVisitor()
			token := regexp.MustCompile(`name="t" value="([A-Z2-7]+)"`).FindStringSubmatch(thief.open(third).body)
			chooser := thief.do(http.MethodPost, secureURL+"/link/approve", map[string][]string{"t": {token[1]}})
			sam.signIn(chooser, sandbox.Sam).says(t, "did not begin in this browser")
			fourth := s.asksToSignIn(on, sandbox.Sam, card, stolen, again, third)
			sam.proves(fourth, sandbox.Sam).says(t, "Not approved yet", "press Approve once more")
			sam.open(fourth).says(t, "not good any more")
			s.clickQuietly(on, sandbox.Sam, card, "Approve")
			s.told(on, sandbox.Sam, card.place, "Your approval counts", "Still needed: 1 approval")

			card = s.sees(on, sandbox.Avery, on.approvals(), "isolate dc-02", "1 of 2")
			s.secureVisitor().proves(s.asksToSignIn(on, sandbox.Avery, card), sandbox.Avery).says(t, "Not approved yet")
			s.clickQuietly(on, sandbox.Avery, card, "Approve")
			s.sees(on, sandbox.Riley, on.soc(), "isolate dc-02.corp.contoso.com – isolated", "Sam Okafor", "Avery Stone")
			s.wantIsolations(1)

			// It is good for that request and no other, and for ten minutes.
			other := s.request(on, on, sandbox.Riley, sandbox.Sam, "dc-01", "another one")
			fifth := s.asksToSignIn(on, sandbox.Sam, other, stolen, again, third, fourth)
			sam.proves(fifth, sandbox.Sam).says(t, "Not approved yet")
			s.later(11 * time.Minute)
			s.asksToSignIn(on, sandbox.Sam, other, stolen, again, third, fourth, fifth)
			s.wantIsolations(1)

			refused := 0
			for _, r := range s.audited("vote.refused") {
				if strings.Contains(string(r.Detail), approvals.ErrStepUp.Error()) {
					refused++
				}
			}
			if proved := len(s.audited("stepup.done")); refused != 7 || proved != 3 || len(s.audited("stepup.refused")) != 2 {
				t.Errorf("%d refused votes and %d sign-ins are recorded, %d refused; want 7, 3 and 2", refused, proved, len(s.audited("stepup.refused")))
			}
		})
	}
}

// A denial stops, so it asks for nothing; other machines need no sign-in, and an
// administrator can leave it out.
func TestStory_freshSignInIsForTierZeroApprovalsAlone(t *testing.T) {
	t.Parallel()
	s := newStepUpStory(t)
	card := s.request(s.slack(), s.teams(), sandbox.Riley, sandbox.Avery, "ws-022", "a workstation")
	s.pressed(s.teams(), sandbox.Avery, card, "Approve", "Your approval counts")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "isolate ws-022.corp.contoso.com – isolated")
	card = s.request(s.slack(), s.teams(), sandbox.Riley, sandbox.Sam, "dc-02", "denied")
	s.pressed(s.teams(), sandbox.Sam, card, "Deny", "Your denial counts")

	before := s.bot.policy.Current().Hash()
	s.writePolicy(strings.Replace(sandbox.PolicyYAML(), "  expire_after: 30m\n", "  expire_after: 30m\n  step_up: never\n", 1))
	s.eventually("the new mdebot.yaml", func() string {
		if s.bot.policy.Current().Hash() == before {
			return "the old one is still in force"
		}
		return ""
	})
	card = s.request(s.slack(), s.slack(), sandbox.Riley, sandbox.Sam, "dc-02", "without")
	s.pressed(s.slack(), sandbox.Sam, card, "Approve", "Your approval counts")

	// Back in force, it is asked of what was voted without it, too.
	s.writePolicy(sandbox.PolicyYAML())
	s.eventually("the old mdebot.yaml", func() string {
		if now := s.bot.policy.Current().Hash(); now != before {
			return fmt.Sprintf("hash %s", now)
		}
		return ""
	})
	card = s.sees(s.slack(), sandbox.Avery, sandbox.SlackApprovals, "isolate dc-02", "1 of 2")
	s.secureVisitor().proves(s.asksToSignIn(s.slack(), sandbox.Avery, card), sandbox.Avery).says(t, "Not approved yet")
	s.clickQuietly(s.slack(), sandbox.Avery, card, "Approve")
	s.told(s.slack(), sandbox.Avery, card.place, "Your approval counts")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "isolate dc-02", "1 of 2")
	s.wantIsolations(1)
}
