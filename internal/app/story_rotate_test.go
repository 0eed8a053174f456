package app

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
)

// Every secret is replaced under a bot that works: nothing restarts, the old
// signing secret is good until its end, and what is refused leaves the one before
// in force.
func TestStory_secretsAreReplacedWithoutARestart(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.halt()
	s.world.Entra.SetTokenLife(8 * time.Second) // less than is left when a token is replaced: the next call needs another one
	old := map[string]string{}
	put := func(name, value string) {
		t.Helper()
		partial := filepath.Join(s.dir, name+".new")
		if err := os.WriteFile(partial, []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(partial, filepath.Join(s.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	apps := map[string]string{"MDE_CLIENT_SECRET": "MDE_CLIENT_ID", "MDE_ACTION_CLIENT_SECRET": "MDE_ACTION_CLIENT_ID", "TEAMS_APP_SECRET": "TEAMS_APP_ID"}
	for i, line := range s.env {
		name, value, _ := strings.Cut(line, "=")
		if _, ofEntra := apps[name]; ofEntra || name == "SLACK_SIGNING_SECRET" {
			old[name] = value
			put(name, value)
			s.env[i] = name + "_FILE=" + filepath.Join(s.dir, name)
		}
	}
	s.start()
	card := s.request(s.slack(), s.teams(), sandbox.Riley, sandbox.Avery, "ws-044", "across the change")

	for name, app := range apps {
		id, _ := setting(s.env, app)
		fresh := "fresh-secret-of-" + strings.ToLower(app)
		s.world.Entra.SetSecret(sandbox.TenantID, id, fresh)
		put(name, fresh)
	}
	const fresh = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
	secret := old["SLACK_SIGNING_SECRET"]
	put("SLACK_SIGNING_SECRET", fresh+","+secret+"@"+time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	signed := func(with, trigger string) int {
		body := []byte(url.Values{
			"team_id": {"T0SOC"}, "api_app_id": {"A0MDEBOT"}, "user_id": {sandbox.Riley.Slack}, "channel_id": {sandbox.SlackSOC},
			"command": {"/mde"}, "text": {"requests"}, "trigger_id": {trigger},
		}.Encode())
		return s.post("/slack/commands", "application/x-www-form-urlencoded", slacksim.Sign(with, time.Now(), body), body)
	}
	s.eventually("the new signing secret counts", func() string {
		if got := signed(fresh, "fresh"); got != http.StatusOK {
			return http.StatusText(got)
		}
		return ""
	})
	if got := signed(secret, "old"); got != http.StatusOK {
		t.Errorf("the old signing secret before its end: status %d", got)
	}
	s.sees(s.slack(), sandbox.Sam, sandbox.SlackOps, "Secrets have been replaced", "SLACK_SIGNING_SECRET")
	s.eventually("all changes are recorded", func() string {
		told := ""
		for _, r := range s.audited("secrets.replaced") {
			told += string(r.Detail)
		}
		for name := range apps {
			if !strings.Contains(told, name) {
				return "no " + name + " in " + told
			}
		}
		return ""
	})
	// What began before goes on, with new tokens: a vote, a claim, an isolation.
	s.pressed(s.teams(), sandbox.Avery, card, "Approve", "Your approval counts")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "isolate ws-044.corp.contoso.com – isolated")
	s.sees(s.teams(), sandbox.Avery, sandbox.TeamsApprovals, "isolate ws-044.corp.contoso.com – isolated")
	s.wantIsolations(1)

	put("SLACK_SIGNING_SECRET", fresh+","+secret) // no end
	s.sees(s.slack(), sandbox.Sam, sandbox.SlackOps, "has faults", "without an end")
	if got := signed(fresh, "kept"); got != http.StatusOK {
		t.Errorf("after a faulty file: status %d", got)
	}
	put("SLACK_SIGNING_SECRET", fresh)
	s.eventually("the old signing secret has ended", func() string {
		if got := signed(secret, "late"); got != http.StatusUnauthorized {
			return http.StatusText(got)
		}
		return ""
	})
}
