package app

import (
	"testing"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// In the demo there are two tenants, and who just tries a command is not asked
// which one is meant.
func TestStory_demoAnswersInDirectChats(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{Customer: true})
	s.halt()
	s.writePolicy(s.world.PolicyYAML())
	s.start()
	for _, on := range []side{s.slack(), s.teams()} {
		for _, who := range []sandbox.Person{sandbox.Riley, sandbox.Avery, sandbox.Sam, sandbox.Jordan} {
			on.write(who, on.direct(who), "machine ws-014")
			s.sees(on, who, on.direct(who), "Machine ws-014", "contoso", "not isolated")
		}
	}
	s.slack().write(sandbox.Riley, sandbox.SlackFabrikam, "tenant")
	s.told(s.slack(), sandbox.Riley, sandbox.SlackFabrikam, "fabrikam")
}
