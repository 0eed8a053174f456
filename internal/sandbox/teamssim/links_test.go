package teamssim

import (
	"strings"
	"testing"
	"time"
)

func TestPaste_previewsWhatTeamsWouldShow(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := newFixture(t, Config{Domains: []string{"portal.example"}, Now: func() time.Time { return now }})
	if err := f.Install(t.Context(), team1); err != nil {
		t.Fatal(err)
	}
	answer := func(body string) {
		f.bot.mu.Lock()
		defer f.bot.mu.Unlock()
		f.bot.answer = body
	}
	asked := func() (n int) {
		f.bot.mu.Lock()
		defer f.bot.mu.Unlock()
		for _, a := range f.bot.received {
			if a["name"] == "composeExtension/queryLink" {
				n++
			}
		}
		return n
	}
	card := func(version, element string) string {
		return `{"contentType":"` + cardType + `","content":{"type":"AdaptiveCard","version":"` + version + `","body":[{"type":"` + element + `","text":"known"}]}`
	}
	result := func(attachments, policy string) string {
		return `{"composeExtension":{"type":"result","attachmentLayout":"list","attachments":[` + attachments + `]` + policy + `}}`
	}
	const never = `,"suggestedActions":{"actions":[{"type":"setCachePolicy","value":"{\"type\":\"no-cache\"}"}]}`
	good := card("1.3", "TextBlock") + `,"preview":` + card("1.3", "TextBlock") + `}}`

	answer(result(good, never))
	for range 2 {
		if got, err := f.Paste(t.Context(), riley, channel, "see https://portal.example/1 and https://portal.example/2"); err != nil || !strings.Contains(string(got), "known") {
			t.Errorf("Paste() = %s, %v", got, err)
		}
	}
	got := f.bot.last()
	if value := got["value"].(map[string]any); asked() != 2 || value["url"] != "https://portal.example/1" || got["channelData"].(map[string]any)["source"].(map[string]any)["name"] != "compose" {
		t.Errorf("asked %d times, last %v", asked(), got)
	}
	for _, text := range []string{"https://elsewhere.example/1", "https://sub.portal.example/1", "portal.example", "nothing"} {
		if got, err := f.Paste(t.Context(), riley, channel, text); err != nil || got != nil || asked() != 2 {
			t.Errorf("%q: %s, %v, asked %d times", text, got, err, asked())
		}
	}

	// Without a policy Teams keeps the answer for half an hour.
	answer(result(good, ""))
	for range 2 {
		if _, err := f.Paste(t.Context(), avery, channel, "https://portal.example/1"); err != nil {
			t.Fatal(err)
		}
	}
	if asked() != 3 {
		t.Errorf("asked %d times about an answer that may be kept", asked())
	}
	now = now.Add(31 * time.Minute)
	answer(result("", ""))
	if got, err := f.Paste(t.Context(), avery, channel, "https://portal.example/1"); err != nil || got != nil || asked() != 4 {
		t.Errorf("half an hour later %s, %v, asked %d times", got, err, asked())
	}

	for name, body := range map[string]string{
		"a card without a preview": result(card("1.3", "TextBlock")+`}`, never),
		"a newer card":             result(card("1.5", "TextBlock")+`,"preview":`+card("1.3", "TextBlock")+`}}`, never),
		"a newer element":          result(card("1.3", "Table")+`,"preview":`+card("1.3", "TextBlock")+`}}`, never),
		"another answer":           `{"task":{}}`,
		"no answer":                ``,
	} {
		answer(body)
		if got, err := f.Paste(t.Context(), riley, channel, "https://portal.example/"+name); err == nil {
			t.Errorf("%s: shown %s", name, got)
		}
	}
}
