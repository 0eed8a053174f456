package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/sandbox"
)

// audited lists the records of a kind.
func (s *story) audited(kind string) []audit.Record {
	s.Helper()
	var found []audit.Record
	for r, err := range audit.Records(s.Context(), s.bot.store.Read(), s.bot.tenant, 1) {
		if err != nil {
			s.Fatal(err)
		}
		if r.Kind == kind {
			found = append(found, r)
		}
	}
	return found
}

func TestStory_startAndStopAreToldAndRecorded(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.sees(s.slack(), sandbox.Sam, sandbox.SlackOps, "mdebot has started", Version(), s.bot.policy.Current().Hash())
	s.recorded()
	s.halt()
	s.start()
	started, stopped := s.audited("started"), s.audited("stopped")
	if len(started) != 2 || len(stopped) != 1 {
		t.Fatalf("%d starts and %d stops are recorded, want 2 and 1", len(started), len(stopped))
	}
	if r := started[1]; r.PolicyHash != s.bot.policy.Current().Hash() || !strings.Contains(string(r.Detail), Version()) {
		t.Errorf("the start is recorded as %+v, want the version and the configuration in force", r.Event)
	}
}

// What is allowed and probably not meant is not said once and forgotten.
func TestStory_warningsAreRepeatedDaily(t *testing.T) {
	t.Parallel()
	s := newStoryUnder(t, strings.Replace(sandbox.PolicyYAML(), "  fallback: \"teams:19:ops@thread.tacv2\"\n", "", 1), sandbox.Options{})
	warned := []string{"Allowed, but probably not meant", "notify.fallback is not set"}
	s.later(2 * warnFirst)
	s.sees(s.slack(), sandbox.Sam, sandbox.SlackOps, warned...)
	s.later(time.Hour)
	s.later(warnEvery)
	s.eventually("the warning comes again", func() string {
		if n := s.posted(s.slack(), sandbox.Sam, sandbox.SlackOps, warned...); n != 2 {
			return fmt.Sprintf("posted %d times", n)
		}
		return ""
	})
}

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
	changed := s.audited("config.changed")
	if now := s.bot.policy.Current().Hash(); len(changed) != 1 || changed[0].PolicyHash != now || !strings.Contains(string(changed[0].Detail), now) {
		t.Errorf("the change is recorded as %+v, want once and with the hash in force", changed)
	}
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
	if refused := s.audited("config.refused"); len(refused) != 1 || refused[0].PolicyHash != before {
		t.Errorf("the refusal is recorded as %+v, want once and with the hash in force", refused)
	}
	// The rule that the typing mistake would have dropped still holds.
	s.slack().write(sandbox.Riley, sandbox.SlackSOC, "isolate dc-01 test")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "isolate dc-01", "0 of 2")
}
