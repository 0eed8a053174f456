package app

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
)

// A day with everything that can go wrong leaves no secret in any output: the log
// at its most talkative and unscrubbed, what people see, the metrics, the command
// line, the database and the audit log.
func TestStory_secretsAppearNowhere(t *testing.T) {
	t.Parallel()
	anchors := filepath.Join(t.TempDir(), "anchors.jsonl")
	s := newStory(t, sandbox.Options{}, "MDEBOT_AUDIT_ANCHORS=file:"+anchors, "MDEBOT_AUDIT_KEY="+storyAuditKey, "MDEBOT_DATA_KEY="+storyDataKey)
	s.halt()
	logs := &lockedBuffer{}
	s.logs = logs
	s.start()

	card := s.request(s.slack(), s.teams(), sandbox.Riley, sandbox.Avery, "ws-066", "canaries")
	s.pressed(s.teams(), sandbox.Riley, card, "Approve", "You asked for this yourself")
	s.teams().click(sandbox.Avery, card, "Approve")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "isolate ws-066.corp.contoso.com – isolated")
	s.ask(s.slack(), sandbox.Riley, "hunt DeviceInfo | take 1", "1 row")
	s.ask(s.slack(), sandbox.Sam, "status", "mdebot")
	s.post("/slack/commands", "application/x-www-form-urlencoded", http.Header{"X-Slack-Signature": {"v0=forged"}}, []byte("a=b"))
	s.post("/api/messages", "application/json", http.Header{"Authorization": {"Bearer eyJhbGciOiJub25lIn0.eyJmb3JnZWQiOjF9.c2ln"}}, []byte(`{"type":"message"}`))
	// What people paste by mistake goes nowhere either.
	pasted := "xoxb-" + "123456789012-pastedpastedpasted"
	for _, on := range []side{s.slack(), s.teams()} {
		s.ask(on, sandbox.Riley, "isolate ws-067 token "+pasted, "looks like a token", "replace it")
		s.ask(on, sandbox.Riley, "hunt DeviceInfo | where DeviceName == '"+pasted+"'", "looks like a token")
	}
	s.world.Defender.Faults.Add(fault.Fault{Kind: fault.Drop, Route: "GET /api/machines"})
	s.ask(s.teams(), sandbox.Riley, "machines", "Defender")
	s.recorded()

	var shown bytes.Buffer
	for _, place := range []string{sandbox.SlackSOC, sandbox.SlackApprovals, sandbox.SlackOps, s.slack().direct(sandbox.Riley)} {
		for _, m := range s.slack().see(sandbox.Riley, place) {
			shown.Write(m.payload)
		}
	}
	for _, place := range []string{s.teams().soc(), s.teams().approvals(), s.teams().direct(sandbox.Riley)} {
		for _, m := range s.teams().see(sandbox.Riley, place) {
			shown.Write(m.payload)
		}
	}
	metrics := s.scrape()
	s.halt()
	outputs := map[string]string{"the log": logs.String(), "what people see": shown.String(), "the metrics": metrics}
	for _, args := range [][]string{{"audit", "export"}, {"audit", "export", "--format", "csv"}, {"config", "check"}, {"audit", "verify"}} {
		_, out, complaint := s.mdebot(args...)
		outputs["mdebot "+strings.Join(args, " ")] = out + complaint
	}
	for _, file := range []string{s.database(), s.database() + "-wal", anchors} {
		content, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		outputs[filepath.Base(file)] = string(content)
	}
	secrets := map[string]string{"the pasted token": pasted, "a forged signature": "v0=forged", "a forged token": "eyJmb3JnZWQiOjF9"}
	cfg, err := LoadConfig(t.Context(), s.env)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range cfg.secrets {
		secrets[fmt.Sprint("secret setting ", i)] = v
	}
	if len(cfg.secrets) < 7 {
		t.Fatalf("%d secret settings, want all of them", len(cfg.secrets))
	}
	for name, text := range outputs {
		if text == "" && !strings.HasSuffix(name, "-wal") {
			t.Errorf("%s is empty, so nothing was looked at", name)
		}
		for what, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s is in %s", what, name)
			}
		}
		for _, token := range []string{"Bearer ey", "xoxb-", "xapp-"} {
			if strings.Contains(text, token) {
				t.Errorf("%s… is in %s", token, name)
			}
		}
	}
}
