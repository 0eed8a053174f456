package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/sandbox"
)

// thief holds the acting application's credential.
func (s *story) thief() *defender.Actor {
	s.Helper()
	cfg, err := LoadConfig(s.Context(), s.env)
	if err != nil {
		s.Fatal(err)
	}
	client, err := defender.New(cfg.Defender)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(client.Close)
	actor, err := defender.NewActor(cfg.Defender, client)
	if err != nil {
		s.Fatal(err)
	}
	return actor
}

// compared waits until the bot has compared Defender's actions again.
func (s *story) compared() {
	s.Helper()
	before, err := s.bot.misuse.LastLook(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	s.later(2 * time.Minute)
	s.eventually("another look at Defender's machine actions", func() string {
		last, err := s.bot.misuse.LastLook(s.Context())
		if err != nil || !last.After(before) {
			return fmt.Sprint(last, err)
		}
		return ""
	})
}

func (s *story) foreignRecords() int {
	s.Helper()
	n := 0
	for r, err := range audit.Records(s.Context(), s.bot.store.Read(), s.bot.tenant, 1) {
		if err != nil {
			s.Fatal(err)
		}
		if r.Kind == "action.foreign" {
			n++
		}
	}
	return n
}

func TestStory_actionsWithTheBotsIdentityRaiseTheAlarm(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	const alarm = "Somebody acts in Defender with mdebot's identity"
	on := s.slack()

	card := s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-033", "beaconing")
	s.pressed(on, sandbox.Avery, card, "Approve", "Your approval counts")
	s.sees(on, sandbox.Riley, on.soc(), "isolate ws-033.corp.contoso.com – isolated")
	if _, err := s.world.Tenant.PortalAction(s.machine("ws-034").ID, "Isolate", "analyst@contoso.example", "by hand"); err != nil {
		t.Fatal(err)
	}
	s.compared()
	if n := s.foreignRecords(); n != 0 {
		t.Errorf("an approved isolation and one of the portal raised %d alarms", n)
	}

	// The thief even knows a request that waits, and writes its marker.
	s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-035", "waits")
	waiting, err := s.bot.approvals.ByNumber(t.Context(), s.bot.tenant, 2)
	if err != nil {
		t.Fatal(err)
	}
	thief := s.thief()
	for machine, comment := range map[string]string{"ws-035": "[mdebot:" + waiting.ID + "] #2", "ws-036": "mine now"} {
		if _, err := thief.IsolateMachine(t.Context(), s.machine(machine).ID, defender.IsolateInput{Comment: comment, Type: defender.FullIsolation}); err != nil {
			t.Fatal(err)
		}
	}
	s.compared()
	s.sees(on, sandbox.Sam, sandbox.SlackOps, alarm, "ws-035", "[mdebot:"+waiting.ID)
	s.sees(on, sandbox.Sam, sandbox.SlackOps, alarm, "ws-036", "mine now")
	s.sees(on, sandbox.Avery, sandbox.SlackApprovals, alarm, "ws-036")
	s.sees(s.teams(), sandbox.Avery, sandbox.TeamsApprovals, alarm, "ws-036")
	s.compared()
	if n := s.foreignRecords(); n != 2 {
		t.Errorf("%d records of foreign actions, want one for each", n)
	}
	if n := s.posted(on, sandbox.Sam, sandbox.SlackOps, alarm); n != 2 {
		t.Errorf("%d alarms in the ops channel, want one for each action", n)
	}
}

func TestStory_indicatorsWithTheBotsIdentityRaiseTheAlarm(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	const alarm = "Somebody acts in Defender with mdebot's identity"
	on := s.slack()

	on.write(sandbox.Riley, on.soc(), "block evil.example,worse.example beacon --warn --expires 7d")
	card := s.sees(on, sandbox.Avery, on.approvals(), "evil.example", "Approve")
	s.pressed(on, sandbox.Avery, card, "Approve", "Your approval counts")
	s.eventually("both indicators", func() string {
		if n := len(s.world.Tenant.Indicators()); n != 2 {
			return fmt.Sprint(n)
		}
		return ""
	})
	for value, person := range map[string]string{"portal.example": "analyst@contoso.example", "worse.example": "analyst@contoso.example"} {
		if _, err := s.world.Tenant.PortalIndicator("DomainName", value, "Block", person, "by hand"); err != nil {
			t.Fatal(err)
		}
	}
	s.compared()
	if n := s.foreignRecords(); n != 0 {
		t.Errorf("approved indicators and those of the portal raised %d alarms", n)
	}

	// The thief turns what was approved into its opposite and keeps its marker, and
	// lets a domain of their own pass.
	var marker string
	for _, i := range s.world.Tenant.Indicators() {
		if i.Value == "evil.example" {
			marker = i.Description
		}
	}
	thief := s.thief()
	for value, comment := range map[string]string{"evil.example": marker, "thief.example": strings.Replace(marker, "[", "", 1), "portal.example": "mine now"} {
		if _, err := thief.SetIndicator(t.Context(), defender.IndicatorInput{
			Type: defender.IndicatorDomain, Value: value, Action: "Allowed", Title: "t", Description: comment,
		}); err != nil {
			t.Fatal(err)
		}
	}
	s.compared()
	s.compared()
	s.compared()
	for _, value := range []string{"evil.example", "thief.example", "portal.example"} {
		s.sees(on, sandbox.Sam, sandbox.SlackOps, alarm, "Allowed", value)
	}
	s.sees(s.teams(), sandbox.Avery, sandbox.TeamsApprovals, alarm, "thief.example")
	if n := s.foreignRecords(); n != 3 {
		t.Errorf("%d records of foreign indicators, want one for each", n)
	}
}
