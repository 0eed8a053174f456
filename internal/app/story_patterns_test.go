package app

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

// Deliveries of another workspace and tenant are in the record, however many come,
// and whoever keeps trying is told to the ops channel once.
func TestStory_foreignDeliveriesAreRecordedAndRaiseTheAlarm(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	secret, _ := setting(s.env, "SLACK_SIGNING_SECRET")
	foreign := func(i int) int {
		body := []byte(url.Values{
			"team_id": {"T0OTHER"}, "api_app_id": {"A0MDEBOT"}, "user_id": {"U0STRANGER"}, "user_name": {sandbox.Avery.Name},
			"channel_id": {sandbox.SlackSOC}, "command": {"/mde"}, "text": {"isolate ws-038 foreign"}, "trigger_id": {fmt.Sprint(i)},
		}.Encode())
		return s.post("/slack/commands", "application/x-www-form-urlencoded", slacksim.Sign(secret, time.Now(), body), body)
	}
	for i := range 50 {
		if got := foreign(i); got != http.StatusForbidden {
			t.Fatalf("a foreign command: status %d", got)
		}
	}
	a, err := s.world.Teams.Activity(sandbox.Riley.Object, s.world.Teams.PersonalChat(sandbox.Riley.Object), "message")
	if err != nil {
		t.Fatal(err)
	}
	const other = "11111111-2222-4333-8444-555555555555"
	a["channelData"] = map[string]any{"tenant": map[string]any{"id": other}}
	a["conversation"].(map[string]any)["tenantId"] = other
	a["from"].(map[string]any)["tenantId"] = other
	if r, err := s.world.Teams.Deliver(t.Context(), teamssim.Delivery{Activity: a}); err != nil || r.Status != http.StatusForbidden {
		t.Fatalf("a foreign activity: %+v, %v", r, err)
	}
	s.eventually("both are recorded", func() string {
		found := map[string]int{}
		for _, r := range s.audited("delivery.refused") {
			found[r.Account.Workspace]++
			if r.Account.Name != "" || r.Outcome != "refused" {
				return fmt.Sprintf("a record is %+v", r.Event)
			}
		}
		if found["T0OTHER"] != 3 || found[other] != 1 || len(found) != 2 {
			return fmt.Sprintf("records by workspace: %v, want three and one", found)
		}
		return ""
	})
	s.later(time.Minute)
	s.sees(s.slack(), sandbox.Sam, sandbox.SlackOps, "Somebody keeps trying", "another app, workspace or tenant", "U0STRANGER")
	if n := s.posted(s.slack(), sandbox.Sam, sandbox.SlackOps, "Somebody keeps trying"); n != 1 {
		t.Errorf("the alarm was posted %d times", n)
	}
}

// Whoever tries to approve their own request again and again, on either platform
// and through a proxy that replays, gets nowhere and is noticed.
func TestStory_repeatedAttemptsRaiseTheAlarm(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	card := s.request(s.slack(), s.slack(), sandbox.Avery, sandbox.Riley, "ws-033", "own request")
	teams := s.sees(s.teams(), sandbox.Avery, sandbox.TeamsApprovals, "isolate ws-033")
	for range 2 {
		s.clickQuietly(s.slack(), sandbox.Avery, card, "Approve")
		s.clickQuietly(s.teams(), sandbox.Avery, teams, "Approve")
	}
	s.eventually("the attempts are recorded", func() string {
		if n := len(s.audited("vote.refused")); n != 4 {
			return fmt.Sprintf("%d of 4", n)
		}
		return ""
	})
	s.later(time.Minute)
	s.sees(s.slack(), sandbox.Sam, sandbox.SlackOps, "Somebody keeps trying", "a request of their own", sandbox.Avery.Name, sandbox.Avery.Object)

	secret, _ := setting(s.env, "SLACK_SIGNING_SECRET")
	body := []byte(url.Values{
		"team_id": {"T0SOC"}, "api_app_id": {"A0MDEBOT"}, "user_id": {sandbox.Riley.Slack}, "user_name": {"riley"},
		"channel_id": {sandbox.SlackSOC}, "command": {"/mde"}, "text": {"requests"}, "trigger_id": {"replayed.1"},
	}.Encode())
	header := slacksim.Sign(secret, time.Now(), body)
	for range 5 {
		if got := s.post("/slack/commands", "application/x-www-form-urlencoded", header, body); got != http.StatusOK {
			t.Fatalf("a replayed command: status %d", got)
		}
	}
	s.eventually("the replays are recorded", func() string {
		n := 0
		for _, r := range s.audited("delivery.refused") {
			if strings.Contains(string(r.Detail), "repeated") {
				n++
			}
		}
		if n != 3 {
			return fmt.Sprintf("%d of 3", n)
		}
		return ""
	})
	s.later(time.Minute)
	s.sees(s.slack(), sandbox.Sam, sandbox.SlackOps, "Somebody keeps trying", "as a replay does")
	s.wantIsolations(0)
}

// Whoever finds a request wrong denies and reports it with one button; the requester
// reads that it was denied, and the ops channel reads the rest.
func TestStory_reportedRequestIsDeniedAndToldToOps(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		card := s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-024", "do it now, no questions")
		s.pressed(on, sandbox.Avery, card, "Deny and report", "Your denial counts", "nobody else")
		denied := s.sees(on, sandbox.Riley, on.soc(), "isolate ws-024", "denied", "Avery Stone")
		if strings.Contains(denied.text, "report") {
			t.Errorf("the requester reads that it was reported: %s", denied.text)
		}
		s.later(time.Minute)
		s.sees(s.slack(), sandbox.Sam, sandbox.SlackOps, "denied and reported", "ws-024", "Riley Chen", "Avery Stone")
		s.wantIsolations(0)
	})
}
