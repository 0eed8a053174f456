package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

// firstLines looks at everything that the bot has said in a story: each message tells
// in one line of plain words what it is about, for the lock screen and the screen
// reader, and each picture has a text alternative. Every story ends with it.
func (s *story) firstLines() {
	s.Helper()
	for _, c := range s.world.Slack.Channels("") {
		for _, m := range s.world.Slack.Messages(c.ID, "") {
			if fault := slackFirstLine(m); fault != "" {
				s.Errorf("in Slack's %s: %s", c.ID, fault)
			}
		}
	}
	for _, e := range s.world.Teams.Effects() {
		if e.Kind != teamssim.EffectPosted && e.Kind != teamssim.EffectUpdated {
			continue
		}
		if fault := teamsFirstLine(e.Payload); fault != "" {
			s.Errorf("in Teams' %s: %s", e.Conversation, fault)
		}
	}
}

func slackFirstLine(m slacksim.Message) string {
	if !m.FromBot {
		return ""
	}
	for _, f := range m.Files {
		if strings.HasSuffix(f.Name, ".png") && f.AltText == "" {
			return "the picture " + f.Name + " has no text alternative"
		}
	}
	blocks := len(m.Blocks) > 0 && !bytes.Equal(m.Blocks, []byte("[]"))
	if !blocks && m.Text == "" {
		return "" // a file, which is told by its name, or was until it was deleted
	}
	return badLine(m.Text, blocks)
}

func teamsFirstLine(payload json.RawMessage) string {
	var a struct {
		Summary     string `json:"summary"`
		Attachments []struct {
			Content any `json:"content"`
		} `json:"attachments"`
	}
	if err := json.Unmarshal(payload, &a); err != nil {
		return err.Error()
	}
	for _, attached := range a.Attachments {
		if fault := picturesWithout(attached.Content); fault != "" {
			return fault
		}
	}
	return badLine(a.Summary, true)
}

// badLine says what is wrong with the line of a notification. A message without
// blocks is its own text and may have more lines.
func badLine(line string, one bool) string {
	switch {
	case strings.TrimSpace(line) == "":
		return "a message says nothing in one line"
	case one && strings.ContainsAny(line, "\r\n"):
		return fmt.Sprintf("a message begins with more than one line: %q", line)
	case one && (strings.Contains(line, "**") || strings.HasPrefix(line, "<")):
		return fmt.Sprintf("a message begins with markup: %q", line)
	}
	return ""
}

// picturesWithout names a picture without a text alternative.
func picturesWithout(v any) string {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if fault := picturesWithout(e); fault != "" {
				return fault
			}
		}
	case map[string]any:
		if alt, _ := v["altText"].(string); v["type"] == "Image" && strings.TrimSpace(alt) == "" {
			return "a picture has no text alternative"
		}
		if kind, _ := v["type"].(string); strings.HasPrefix(kind, "Chart.") && (v["fallback"] == nil || v["title"] == nil) {
			return "a chart has no picture to fall back to, or no title"
		}
		for _, e := range v {
			if fault := picturesWithout(e); fault != "" {
				return fault
			}
		}
	}
	return ""
}
