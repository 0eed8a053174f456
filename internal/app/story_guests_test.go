package app

import (
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// fromBot is everything that who reads of the bot in a place, but for the word where
// an answer is.
func (s *story) fromBot(on side, who sandbox.Person, place string) string {
	s.Helper()
	var b strings.Builder
	for _, m := range on.see(who, place) {
		if m.payload != nil && !strings.Contains(m.text, "The answer is in our personal chat.") { // people's have none
			b.WriteString(strings.TrimSpace(m.text) + "\n")
		}
	}
	return b.String()
}

// A guest joins a channel between two posts. From then on nothing of the tenant is
// posted there: alerts go to the fallback, requests to people, answers to whoever
// asked, and the ops channel is told once. When the guest has left, and wherever
// mdebot.yaml allows guests by name, all is as before (threat-model S-14).
func TestStory_guestInTheChannel(t *testing.T) {
	t.Parallel()
	for _, p := range platforms {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			// On Teams the guest is in the whole team, so the fallback is elsewhere.
			fallback := map[string]string{"Slack": sandbox.TeamsOps, "Teams": sandbox.SlackFinance}[p.name]
			written := map[string]string{"Slack": `"teams:` + fallback + `"`, "Teams": "slack:" + fallback}[p.name]
			yaml := strings.Replace(sandbox.PolicyYAML(), `fallback: "teams:19:ops@thread.tacv2"`, "fallback: "+written, 1)
			s := newStoryUnder(t, yaml, sandbox.Options{})
			on := p.on(s)
			other := map[string]side{"Slack": s.teams(), "Teams": s.slack()}[p.name]
			s.watching()
			s.raise("ws-020", "High", "Before the guest")
			s.sees(on, sandbox.Riley, on.soc(), "Before the guest")

			s.halt() // what is known of channels is forgotten sooner than in five minutes
			s.world.Join(sandbox.Gale, on.soc())
			s.world.Join(sandbox.Gale, on.approvals())
			before := s.fromBot(on, sandbox.Gale, on.soc()) + s.fromBot(on, sandbox.Gale, on.approvals())
			s.start()
			s.raise("ws-021", "High", "While the guest reads")
			s.sees(other, sandbox.Riley, fallback, "While the guest reads")
			s.sees(s.slack(), sandbox.Sam, sandbox.SlackOps, "Alerts are not posted", on.soc(), "Guests read it", "allow_guests: true")

			on.write(sandbox.Riley, on.soc(), "machine ws-022")
			s.told(on, sandbox.Riley, on.soc(), "Machine ws-022")
			on.write(sandbox.Riley, on.soc(), "isolate ws-022 beaconing where a guest reads")
			s.sees(on, sandbox.Riley, on.direct(sandbox.Riley), "isolate ws-022", "waits for approval")
			card := s.sees(on, sandbox.Avery, on.direct(sandbox.Avery), "isolate ws-022", "waits for approval")
			s.sees(s.slack(), sandbox.Sam, sandbox.SlackOps, "Requests for approval are not posted", on.approvals(), "direct chats")
			s.pressed(on, sandbox.Avery, card, "Approve", "Your approval counts")
			s.sees(on, sandbox.Riley, on.direct(sandbox.Riley), "isolate ws-022.corp.contoso.com – isolated")
			s.wantIsolations(1)
			after := s.fromBot(on, sandbox.Gale, on.soc()) + s.fromBot(on, sandbox.Gale, on.approvals())
			if strings.TrimSpace(after) != strings.TrimSpace(before) {
				t.Errorf("the guest reads\n%s\nwant no more than before:\n%s", after, before)
			}

			// Named in the file, the route's channel gets its alerts again, and requests
			// still do not go there.
			s.halt()
			s.writePolicy(strings.NewReplacer("      mention: [slack:S0ONCALL]\n", "      mention: [slack:S0ONCALL]\n      allow_guests: true\n").Replace(yaml))
			s.start()
			s.raise("ws-023", "High", "The route allows guests")
			s.sees(on, sandbox.Gale, on.soc(), "The route allows guests")
			if got := s.fromBot(on, sandbox.Gale, on.approvals()); strings.Contains(got, "ws-022") {
				t.Errorf("a guest reads of a request: %s", got)
			}
		})
	}
}
