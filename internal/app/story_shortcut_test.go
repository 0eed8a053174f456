package app

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
)

// points uses the shortcut on a message in Slack.
func (s *story) points(who sandbox.Person, place, ts string) {
	s.Helper()
	if err := s.world.Slack.Shortcut(s.Context(), who.Slack, place, ts, sandbox.SlackShortcut); err != nil {
		s.Fatalf("%s uses the shortcut: %v", who.Name, err)
	}
}

// What the shortcut is called and sends is what the manifest says.
func TestStory_shortcutIsThatOfTheManifest(t *testing.T) {
	t.Parallel()
	m, err := slackManifest("")
	if err != nil {
		t.Fatal(err)
	}
	features, _ := m["features"].(object)
	shortcuts, _ := features["shortcuts"].([]object)
	if len(shortcuts) != 1 || shortcuts[0]["name"] != sandbox.SlackShortcut || shortcuts[0]["callback_id"] != "message.lookup" {
		t.Errorf("the manifest has %v", shortcuts)
	}
}

// Somebody pastes a report where the bot is not. Whoever may look things up uses the
// shortcut on the message, and alone sees what Defender knows of what it names.
func TestStory_lookupFromAMessage(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	const room = "C0ROOM" // the bot is not in it
	s.world.Slack.AddChannel(slacksim.Channel{ID: room, Name: "triage", Members: []string{sandbox.Riley.Slack, sandbox.Avery.Slack, sandbox.Noor.Slack}})
	machine := s.machine("ws-014")
	host := s.hostSeen()
	ts := s.world.Slack.AddMessage(slacksim.Message{
		Channel: room, User: sandbox.Avery.Slack, Text: "From the SIEM",
		Blocks: json.RawMessage(`[{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[
			{"type":"text","text":"ws-"},{"type":"text","text":"014","style":{"bold":true}},{"type":"text","text":" and "},{"type":"text","text":"lt-007"}]}]}]`),
		Attachments: json.RawMessage(`[{"title":"Beacon","fields":[{"title":"dest","value":"hxxps://` + strings.ReplaceAll(host, ".", "[.]") + `/x"}],"fallback":"x"}]`),
	})
	s.points(sandbox.Riley, room, ts)
	answer := s.sees(s.slack(), sandbox.Riley, room, "Looked up 4 things", machine.ID, host, "Seen here", s.world.Tenant.Named("lt-007")[0].ID, s.world.Tenant.Named("lt-007")[1].ID)
	if n := s.posted(s.slack(), sandbox.Avery, room, "Looked up"); n != 0 {
		t.Errorf("somebody else reads the answer")
	}
	s.slack().choose(sandbox.Riley, answer, "", machine.ID)
	s.sees(s.slack(), sandbox.Riley, room, "Machine ws-014", "Signed in")

	// One machine alone is answered as if it had been typed.
	ts = s.world.Slack.AddMessage(slacksim.Message{Channel: room, User: sandbox.Avery.Slack, Text: "is `ws-015` up? token xoxb-123456789012-abcdefABCDEF"})
	s.points(sandbox.Riley, room, ts)
	s.sees(s.slack(), sandbox.Riley, room, "Machine ws-015")

	ts = s.world.Slack.AddMessage(slacksim.Message{Channel: room, User: sandbox.Avery.Slack, Text: "good morning"})
	s.points(sandbox.Riley, room, ts)
	s.sees(s.slack(), sandbox.Riley, room, "names nothing that Defender could look up", "machine names and IDs", "[.] and hxxp")

	many := make([]string, 0, 14)
	for _, c := range "abcdefghijklmn" {
		many = append(many, string(c)+".evil.example")
	}
	ts = s.world.Slack.AddMessage(slacksim.Message{Channel: room, User: sandbox.Avery.Slack, Text: strings.Join(many, " ")})
	s.points(sandbox.Riley, room, ts)
	s.sees(s.slack(), sandbox.Riley, room, "Looked up 10 things", "4 more: one lookup takes no more", "k.evil.example")

	// A card of mdebot's own is a message too.
	s.watching()
	a := s.raise("ws-016", "High", "Seen by the shortcut")
	card := s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, a.Title)
	s.points(sandbox.Riley, card.place, card.id)
	s.sees(s.slack(), sandbox.Riley, card.place, "Machine ws-016")

	// In a chat of two people the answer goes to the one who asked.
	const pair = "D0PAIR"
	s.world.Slack.AddChannel(slacksim.Channel{ID: pair, Members: []string{sandbox.Riley.Slack, sandbox.Avery.Slack}})
	ts = s.world.Slack.AddMessage(slacksim.Message{Channel: pair, User: sandbox.Avery.Slack, Text: "and ws-017?"})
	s.points(sandbox.Riley, pair, ts)
	s.sees(s.slack(), sandbox.Riley, pair, "Machine ws-017")
	if n := s.posted(s.slack(), sandbox.Avery, pair, "Machine ws-017"); n != 0 {
		t.Errorf("the other of the two reads the answer")
	}
}

// hostSeen is a host that Defender knows of.
func (s *story) hostSeen() string {
	s.Helper()
	for _, a := range s.world.Tenant.Alerts() {
		for _, e := range a.Evidence {
			if e.URL != nil && *e.URL != "" && !strings.Contains(*e.URL, "/") {
				return *e.URL
			}
		}
	}
	return "evil.example"
}

func TestStory_shortcutIsHeldToTheSameRules(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	refused := func(who sandbox.Person, place, want string) {
		t.Helper()
		s.world.Slack.Join(who.Slack, place)
		ts := s.world.Slack.AddMessage(slacksim.Message{Channel: place, User: sandbox.Riley.Slack, Text: "ws-014 203.0.113.9"})
		s.points(who, place, ts)
		s.sees(s.slack(), who, place, want)
		if n := s.posted(s.slack(), who, place, "Signed in"); n != 0 {
			t.Errorf("%s reads about a machine", who.Name)
		}
	}
	refused(sandbox.Gale, sandbox.SlackLobby, "Only full members")
	refused(sandbox.Noor, "C0OPS", "not linked")
	if n := len(s.audited("command.refused")); n != 2 {
		t.Errorf("%d refusals are recorded, want 2", n)
	}
	s.permit("Alert.Read.All", "Machine.Read.All")
	refused(sandbox.Riley, sandbox.SlackSOC, "lookup needs File.Read.All")
}

func TestStory_shortcutNeedsATenant(t *testing.T) {
	t.Parallel()
	s, _ := partner(t, 2, 0)
	ts := s.world.Slack.AddMessage(slacksim.Message{Channel: sandbox.SlackSOC, User: sandbox.Avery.Slack, Text: customerID(1) + " ws-004"})
	s.points(sandbox.Riley, sandbox.SlackSOC, ts)
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "Which tenant?", "use the shortcut again")
	s.ask(s.slack(), sandbox.Riley, "tenant customer-0", "Chosen for reading")
	s.points(sandbox.Riley, sandbox.SlackSOC, ts)
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "Tenant: customer-0", "ws-004."+mark(0))
}
