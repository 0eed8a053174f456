package app

import (
	"testing"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// Without a public address Slack's deliveries come through the socket: commands,
// mentions, buttons and forms, and what must be refused is refused as well.
func TestStory_socketMode(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{SocketMode: true})
	on := s.slack()
	for _, path := range []string{"/slack/commands", "/slack/interactions", "/slack/events"} {
		if got := s.post(path, "application/json", nil, []byte("{}")); got != 404 {
			t.Errorf("%s answers %d with Socket Mode, want 404", path, got)
		}
	}

	s.ask(on, sandbox.Riley, "machine ws-014", "Machine ws-014.corp.contoso.com")
	on.write(sandbox.Gale, sandbox.SlackLobby, "machine ws-014")
	s.told(on, sandbox.Gale, sandbox.SlackLobby, "full members")
	on.write(sandbox.Riley, on.soc(), "isolate ws-015")
	form := on.asks(sandbox.Riley, on.soc(), "ws-015")
	if faults := on.fill(sandbox.Riley, form, map[string]string{"machine": "ws-015", "reason": "beaconing over the socket"}); faults != "" {
		t.Fatalf("the form is refused: %s", faults)
	}
	card := s.sees(on, sandbox.Avery, on.approvals(), "isolate ws-015", "waits for approval", "beaconing over the socket")
	s.pressed(on, sandbox.Riley, card, "Approve", "You asked for this yourself")
	s.wantIsolations(0)
	on.click(sandbox.Avery, card, "Approve")
	on.click(sandbox.Avery, card, "Approve")
	s.becomes("ws-015", "isolated", "Avery Stone")
	s.wantIsolations(1)
	on.reply(sandbox.Riley, card, "requests")
	s.told(on, sandbox.Riley, on.approvals(), "No requests")
}
