package app

import (
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// nightShift leaves workstations to Avery, and after a while to the leads.
var nightShift = strings.NewReplacer(
	"    - name: workstations\n      from: [soc]\n", "    - name: workstations\n      from: [night]\n      then: [soc-leads]\n",
	"groups:\n", "groups:\n  night: [8a1f0000-0000-4000-8000-000000000002]\n",
).Replace(sandbox.PolicyYAML())

// Who may approve is told in person and reminded by name; then the next group is
// asked, and only then may it approve.
func TestStory_theNextGroupIsAskedWhenNobodyDecides(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]func(*story) side{"Slack": (*story).slack, "Teams": (*story).teams} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStoryUnder(t, nightShift, sandbox.Options{})
			on := by(s)
			on.write(sandbox.Riley, on.soc(), "isolate ws-011 beaconing to a known bad address")
			s.sees(on, sandbox.Riley, on.soc(), "Asked: #1", "Asked next", "soc-leads")
			for _, direct := range []side{s.slack(), s.teams()} {
				s.sees(direct, sandbox.Avery, direct.direct(sandbox.Avery), "isolate ws-011", "waits for approval", "night; asked next: soc-leads")
				if told := direct.see(sandbox.Sam, direct.direct(sandbox.Sam)); len(told) > 0 {
					t.Fatalf("Sam, who is not asked yet, is told in person: %s", told[0].text)
				}
			}
			card := s.sees(on, sandbox.Sam, on.approvals(), "isolate ws-011", "waits for approval")
			s.pressed(on, sandbox.Sam, card, "Approve", "Your approval counts in 15 minutes")

			s.later(5 * time.Minute)
			s.mentioned(on, "#1 still waits after 5 minutes", sandbox.Avery)
			s.later(10 * time.Minute)
			s.mentioned(on, "#1 still waits after 15 minutes", sandbox.Avery)
			s.mentioned(on, "soc-leads can approve it now, too", sandbox.Sam, sandbox.Jordan)
			s.sees(on, sandbox.Avery, on.approvals(), "isolate ws-011", "waits for approval", "also soc-leads")
			for _, who := range []sandbox.Person{sandbox.Sam, sandbox.Jordan} {
				s.sees(on, who, on.direct(who), "isolate ws-011", "waits for approval")
			}
			if n := len(s.isolations()); n != 0 {
				t.Fatalf("%d isolations before anybody approved", n)
			}
			card = s.sees(on, sandbox.Sam, on.direct(sandbox.Sam), "isolate ws-011", "waits for approval")
			on.click(sandbox.Sam, card, "Approve")
			s.sees(on, sandbox.Riley, on.soc(), "isolate ws-011.corp.contoso.com – isolated", "Sam Okafor")
		})
	}
}

// mentioned waits for a message in the approvers' channel that notifies all of
// the people, and nobody who asked.
func (s *story) mentioned(on side, words string, all ...sandbox.Person) {
	s.Helper()
	m := s.sees(on, sandbox.Avery, on.approvals(), words)
	for _, p := range all {
		if payload := string(m.payload); !strings.Contains(payload, `"`+p.Slack+`"`) && !strings.Contains(payload, `"`+p.Object+`"`) {
			s.Errorf("%q mentions not %s: %s", words, p.Name, payload)
		}
	}
	if strings.Contains(string(m.payload), sandbox.Riley.Slack) || strings.Contains(string(m.payload), sandbox.Riley.Object) {
		s.Errorf("%q mentions the requester", words)
	}
}
