package slackbot

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/slack-go/slack/socketmode"
)

func envelope(kind, payload string) socketmode.Request {
	return socketmode.Request{Type: kind, EnvelopeID: "e", Payload: json.RawMessage(payload)}
}

func slashPayload(change string) string {
	p := `{"command":"/mde","text":"help","user_id":"U0RILEY","user_name":"riley","team_id":"T0SOC","channel_id":"C0SOC","trigger_id":"1.2.3","api_app_id":"A0MDEBOT"}`
	was, now, _ := strings.Cut(change, " -> ")
	return strings.Replace(p, was, now, 1)
}

// What the HTTP routes refuse is refused over Socket Mode, too: another app or
// workspace, the wrong kind, a payload with two readings, and what came before.
func TestSocketMode_refusesWhatTheRoutesRefuse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{socket: true})
	if _, err := w.bot.self.get(t.Context()); err != nil {
		t.Fatal(err)
	}
	deep := strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)
	const slash, click, event = socketmode.RequestTypeSlashCommands, socketmode.RequestTypeInteractive, socketmode.RequestTypeEventsAPI
	for name, tc := range map[string]struct {
		request socketmode.Request
		want    error
	}{
		"a command of another app":       {envelope(slash, slashPayload("A0MDEBOT -> A0OTHER")), errForeign},
		"a command of another workspace": {envelope(slash, slashPayload("T0SOC -> T0OTHER")), errForeign},
		"a command that names no app":    {envelope(slash, slashPayload(`,"api_app_id":"A0MDEBOT" -> `)), errForeign},
		"a click of another app":         {envelope(click, clickPayload("A0OTHER", "T0SOC")), errForeign},
		"a click of another workspace":   {envelope(click, clickPayload("A0MDEBOT", "T0OTHER")), errForeign},
		"an event of another workspace":  {envelope(event, strings.Replace(goodEvent, `"team_id":"T0SOC"`, `"team_id":"T0OTHER"`, 1)), errForeign},
		"an event of another app":        {envelope(event, strings.Replace(goodEvent, "A0MDEBOT", "A0OTHER", 1)), errForeign},
		"a click among the commands":     {envelope(slash, clickPayload("A0MDEBOT", "T0SOC")), errWrongRoute},
		"a command among the clicks":     {envelope(click, slashPayload("")), errWrongRoute},
		"an event among the clicks":      {envelope(click, goodEvent), errWrongRoute},
		"a click among the events":       {envelope(event, clickPayload("A0MDEBOT", "T0SOC")), errWrongRoute},
		"a kind there is not":            {envelope("workflow_step", slashPayload("")), errWrongRoute},
		"a key twice":                    {envelope(slash, slashPayload(`"user_id":"U0RILEY" -> "user_id":"U0RILEY","user_id":"U0AVERY"`)), errMalformed},
		"a key in another case":          {envelope(slash, slashPayload(`"user_id":"U0RILEY" -> "user_id":"U0RILEY","USER_ID":"U0AVERY"`)), errMalformed},
		"nesting without end":            {envelope(slash, slashPayload(`"text":"help" -> "text":`+deep)), errMalformed},
		"something behind the document":  {envelope(slash, slashPayload("")+"{}"), errMalformed},
		"no document":                    {envelope(slash, "null,"), errMalformed},
		"a click by nobody":              {envelope(click, strings.Replace(clickPayload("A0MDEBOT", "T0SOC"), `"id":"U0RILEY",`, "", 1)), errMalformed},
	} {
		if _, err := w.bot.acceptEnvelope(t.Context(), tc.request); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	for i := range 2 { // the second is a replay
		if _, err := w.bot.acceptEnvelope(t.Context(), envelope(slash, slashPayload(""))); err != nil {
			t.Errorf("good command %d: %v", i+1, err)
		}
	}
	w.handler.next(t)
	if _, err := w.bot.acceptEnvelope(t.Context(), envelope(slash, slashPayload(fmt.Sprintf("1.2.3 -> %s", "4.5.6")))); err != nil {
		t.Error(err)
	}
	if inv := w.handler.next(t); inv.Delivery != "4.5.6" {
		t.Errorf("the next invocation is %s: the replayed or a refused one reached the handler", inv.Delivery)
	}
}
