package app

import (
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/sandbox"
)

func TestStory_changedConfigurationIsAnnouncedAndInForce(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.slack().write(sandbox.Noor, sandbox.SlackSOC, "isolate ws-014 test")
	s.sees(s.slack(), sandbox.Noor, sandbox.SlackSOC, "not linked to a person")

	s.writePolicy(strings.Replace(sandbox.PolicyYAML(), "people:\n", `people:
  - person: `+sandbox.Noor.Object+`
    name: Noor Haddad
    slack: [T0SOC/`+sandbox.Noor.Slack+`]
    roles: [responder]
`, 1))
	s.sees(s.slack(), sandbox.Sam, sandbox.SlackOps, "People, rules or routes have changed", s.bot.policy.Current().Hash()[:12])
	s.slack().write(sandbox.Noor, sandbox.SlackSOC, "isolate ws-014 test")
	s.sees(s.slack(), sandbox.Noor, sandbox.SlackSOC, "Request #1", "waits for approval")
}

func TestStory_faultyConfigurationKeepsTheOldOneAndSaysWhy(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	before := s.bot.policy.Current().Hash()
	s.writePolicy(strings.Replace(sandbox.PolicyYAML(), "approvers: 2", "aprovers: 2", 1))
	s.sees(s.slack(), sandbox.Sam, sandbox.SlackOps, "mdebot.yaml has faults", "aprovers", "mdebot.yaml:", before)
	if now := s.bot.policy.Current().Hash(); now != before {
		t.Errorf("hash in force changed from %s to %s", before, now)
	}
	// The rule that the typing mistake would have dropped still holds.
	s.slack().write(sandbox.Riley, sandbox.SlackSOC, "isolate dc-01 test")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "isolate dc-01", "0 of 2")
}
