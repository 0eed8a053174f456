package teamssim

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// refreshing is a message whose card names those people, as JSON.
func refreshing(refresh string) string {
	return `{"type":"message","attachments":[{"contentType":"` + cardType + `","content":{"type":"AdaptiveCard","version":"1.5","body":[{"type":"TextBlock","text":"for all"}],"refresh":` + refresh + `}}]}`
}

func TestShow_clientsAskForThoseWhoAreNamed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := newFixture(t, Config{Now: func() time.Time { return now }})
	if err := f.Install(t.Context(), team1); err != nil {
		t.Fatal(err)
	}
	show := func(who string, want int) {
		t.Helper()
		if asked, err := f.Show(t.Context(), who, channel); err != nil || asked != want {
			t.Errorf("a client of %s asked %d times, %v, want %d", who, asked, err, want)
		}
	}
	const path = "/conversations/" + channel + "/activities"
	named := `{"action":{"type":"Action.Execute","verb":"v","data":{"k":1}},"userIds":["29:1` + riley + `"]}`
	_, made := f.call("POST", path, refreshing(named))
	id := made["id"].(string)

	f.bot.mu.Lock()
	f.bot.answer = `{"statusCode":200,"type":"` + cardType + `","value":{"type":"AdaptiveCard","version":"1.5","body":[{"type":"TextBlock","text":"for you"}],"refresh":` + named + `}}`
	f.bot.mu.Unlock()
	show(avery, 0)
	show(riley, 1)
	got := f.bot.last()
	value := got["value"].(map[string]any)
	if action := value["action"].(map[string]any); got["name"] != "adaptiveCard/action" || got["replyToId"] != id || value["trigger"] != "automatic" || action["verb"] != "v" {
		t.Errorf("delivered %v", got)
	}
	if mine, theirs := f.Messages(channel, riley)[0], f.Messages(channel, avery)[0]; !strings.Contains(string(mine.Card), "for you") || !strings.Contains(string(theirs.Card), "for all") {
		t.Errorf("Riley sees %s, Avery %s", mine.Card, theirs.Card)
	}
	show(riley, 0)
	now = now.Add(61 * time.Second)
	show(riley, 1)
	if status, _ := f.call("PUT", path+"/"+id, refreshing(named)); status != 200 {
		t.Fatal(status)
	}
	if m := f.Messages(channel, riley)[0]; m.Replaced {
		t.Error("an edited message still looks as before to one person")
	}
	show(riley, 1)

	// Without names the clients of all in a small conversation ask; an empty list asks
	// nobody and puts the choice into the menu.
	f.call("PUT", path+"/"+id, refreshing(`{"action":{"type":"Action.Execute","verb":"v"}}`))
	show(avery, 1)
	f.call("PUT", path+"/"+id, refreshing(`{"action":{"type":"Action.Execute","verb":"v"},"userIds":[]}`))
	show(riley, 0)
	if out, err := f.Refresh(t.Context(), avery, id); err != nil || out.Card == nil || f.bot.last()["value"].(map[string]any)["trigger"] != "manual" {
		t.Errorf("Refresh() = %+v, %v", out, err)
	}
	if _, err := f.Show(t.Context(), loner, channel); err == nil {
		t.Error("somebody who is not in the channel opened it")
	}
}

func TestRefresh_shapesThatTeamsRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	if err := f.Install(t.Context(), team1); err != nil {
		t.Fatal(err)
	}
	people := func(n int) string {
		ids := make([]string, n)
		for i := range ids {
			ids[i] = fmt.Sprintf(`"29:%d"`, i)
		}
		return `{"action":{"type":"Action.Execute","verb":"v"},"userIds":[` + strings.Join(ids, ",") + `]}`
	}
	for name, c := range map[string]struct {
		refresh string
		status  int
	}{
		"sixty people":           {people(60), 201},
		"more than sixty":        {people(61), 400},
		"no verb":                {`{"action":{"type":"Action.Execute"}}`, 400},
		"another kind of action": {`{"action":{"type":"Action.Submit","verb":"v"}}`, 400},
		"people by object ID":    {`{"action":{"type":"Action.Execute","verb":"v"},"userIds":["` + riley + `"]}`, 400},
		"somebody twice":         {`{"action":{"type":"Action.Execute","verb":"v"},"userIds":["29:1","29:1"]}`, 400},
		"no refresh":             {`"soon"`, 400},
	} {
		if status, answer := f.call("POST", "/conversations/"+channel+"/activities", refreshing(c.refresh)); status != c.status {
			t.Errorf("%s: %d %v, want %d", name, status, answer, c.status)
		}
	}
}
