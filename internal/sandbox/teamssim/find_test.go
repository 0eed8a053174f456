package teamssim

import (
	"strings"
	"testing"
)

func TestQuery_listsWhatTeamsWould(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	if err := f.Install(t.Context(), team1); err != nil {
		t.Fatal(err)
	}
	answer := func(body string) {
		f.bot.mu.Lock()
		defer f.bot.mu.Unlock()
		f.bot.answer = body
	}
	card := func(version, element string) string {
		return `{"contentType":"` + cardType + `","content":{"type":"AdaptiveCard","version":"` + version + `","body":[{"type":"` + element + `","text":"known"}]}`
	}
	const line = `,"preview":{"contentType":"application/vnd.microsoft.card.thumbnail","content":{"title":"ws-1","text":"Windows11"}}}`
	result := func(attachments string) string {
		return `{"composeExtension":{"type":"result","attachmentLayout":"list","attachments":[` + attachments + `]}}`
	}
	good := card("1.3", "TextBlock") + line

	answer(result(good + "," + good))
	got, err := f.Query(t.Context(), riley, channel, "machine", "ws")
	if err != nil || len(got.List) != 2 || got.List[0].Title != "ws-1" || got.List[0].Text != "Windows11" || !strings.Contains(string(got.List[0].Card), "known") {
		t.Fatalf("Query() = %+v, %v", got, err)
	}
	sent := f.bot.last()
	value := sent["value"].(map[string]any)
	parameter := value["parameters"].([]any)[0].(map[string]any)
	if sent["name"] != "composeExtension/query" || value["commandId"] != "machine" || parameter["name"] != "machine" || parameter["value"] != "ws" ||
		value["queryOptions"].(map[string]any)["count"] != 25.0 {
		t.Errorf("the bot got %v", sent)
	}
	id, err := f.Insert(t.Context(), riley, channel, "look", "", got.List[0])
	if err != nil {
		t.Fatal(err)
	}
	if all := f.Messages(channel, avery); len(all) == 0 || all[len(all)-1].ID != id || !strings.Contains(string(all[len(all)-1].Card), "known") {
		t.Errorf("Avery reads %+v", all)
	}

	if _, err := f.Insert(t.Context(), riley, channel, "", id, got.List[0]); err != nil {
		t.Fatal(err)
	}
	if all := f.Messages(channel, avery); all[len(all)-1].Thread != id || all[len(all)-1].Summary != "Sent a card" {
		t.Errorf("a card alone is %+v", all[len(all)-1])
	}

	answer(`{"composeExtension":{"type":"message","text":"Not here."}}`)
	if got, err := f.Query(t.Context(), riley, channel, "machine", ""); err != nil || got.Note != "Not here." || got.List != nil {
		t.Errorf("Query() = %+v, %v", got, err)
	}
	if p := f.bot.last()["value"].(map[string]any)["parameters"].([]any)[0].(map[string]any); p["name"] != "initialRun" || p["value"] != "true" {
		t.Errorf("the first run asks for %v", p)
	}
	if _, err := f.Query(t.Context(), loner, channel, "machine", "ws"); err == nil {
		t.Error("somebody who is not in the channel searched there")
	}

	for name, body := range map[string]string{
		"a card without a preview":    result(card("1.3", "TextBlock") + `}`),
		"an Adaptive Card as preview": result(card("1.3", "TextBlock") + `,"preview":` + card("1.3", "TextBlock") + `}}`),
		"a preview without a title":   result(card("1.3", "TextBlock") + `,"preview":{"contentType":"application/vnd.microsoft.card.hero","content":{"text":"x"}}}`),
		"a preview with a button":     result(card("1.3", "TextBlock") + `,"preview":{"contentType":"application/vnd.microsoft.card.hero","content":{"title":"x","buttons":[{}]}}}`),
		"a newer card":                result(card("1.5", "TextBlock") + line),
		"a newer element":             result(card("1.3", "Table") + line),
		"26 results":                  result(strings.Repeat(good+",", 25) + good),
		"a message without words":     `{"composeExtension":{"type":"message"}}`,
		"no list":                     `{"composeExtension":{"type":"result","attachmentLayout":"list"}}`,
		"another answer":              `{"task":{}}`,
		"no answer":                   ``,
	} {
		answer(body)
		if got, err := f.Query(t.Context(), riley, channel, "machine", "ws"); err == nil {
			t.Errorf("%s: listed %+v", name, got)
		}
	}
}
