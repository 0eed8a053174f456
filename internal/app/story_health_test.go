package app

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/sandbox"
)

// A secret that ends is told once, with what to do, and so is its recovery.
func TestStory_refusedSignInIsAnnouncedOnceAndSoIsRecovery(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.halt()
	id, _ := setting(s.env, "MDE_CLIENT_ID")
	secret, _ := setting(s.env, "MDE_CLIENT_SECRET")
	s.world.Entra.SetSecret(sandbox.TenantID, id, "another-secret-altogether")
	s.start()
	s.eventually("the refusal is noticed", func() string {
		if s.bot.permissions.problem() == nil {
			return "no problem yet"
		}
		return ""
	})
	s.later(2 * problemFor)
	s.sees(s.slack(), sandbox.Sam, sandbox.SlackOps, "Defender or Entra refuses mdebot", "secret")
	s.world.Entra.SetSecret(sandbox.TenantID, id, secret)
	s.sees(s.slack(), sandbox.Sam, sandbox.SlackOps, "Defender and Entra accept mdebot again")
	if n := s.posted(s.slack(), sandbox.Sam, sandbox.SlackOps, "Defender or Entra refuses mdebot"); n != 1 {
		t.Errorf("the refusal was announced %d times", n)
	}
}

// A service account under people is flagged, because it can never approve.
func TestStory_serviceAccountUnderPeopleIsFlagged(t *testing.T) {
	t.Parallel()
	const service = "9f000000-0000-4000-8000-00000000000a"
	s := newStoryUnder(t, strings.Replace(sandbox.PolicyYAML(), "people:\n", `people:
  - person: `+service+`
    name: Deploy Service
    roles: [approver]
`, 1), sandbox.Options{})
	s.later(2 * warnFirst)
	s.sees(s.slack(), sandbox.Sam, sandbox.SlackOps, "Allowed, but probably not meant", "Deploy Service", service, "no active person of the directory")
}

// Many small hunts add up.
func TestStory_muchReadByHuntingRaisesTheAlarm(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.ask(s.slack(), sandbox.Riley, "hunt DeviceInfo | take 1", "1 row")
	hunted := func(who sandbox.Person, rows int) {
		t.Helper()
		detail, err := json.Marshal(map[string]string{"rows": fmt.Sprint(rows)})
		if err != nil {
			t.Fatal(err)
		}
		err = s.bot.store.InTx(t.Context(), func(tx durable.Tx) error {
			_, err := s.bot.audit.Append(t.Context(), tx, audit.Event{
				Tenant: s.bot.tenant, At: s.now(), Kind: "hunt.ended", Outcome: "ok", Detail: detail,
				Person: identity.PersonID{Tenant: sandbox.TenantID, Object: who.Object}, PersonName: who.Name,
			})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	hunted(sandbox.Avery, rowsPerDay-1)
	for range 10 {
		hunted(sandbox.Riley, rowsPerDay/10)
	}
	s.later(time.Minute)
	s.sees(s.slack(), sandbox.Sam, sandbox.SlackOps, "read a lot by hunting", sandbox.Riley.Name, sandbox.Riley.Object)
	if n := s.posted(s.slack(), sandbox.Sam, sandbox.SlackOps, "read a lot by hunting", sandbox.Avery.Name); n != 0 {
		t.Errorf("%d alarms about somebody below the bound", n)
	}
}
