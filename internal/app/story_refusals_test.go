package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

func TestStory_strangersAreRefused(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		s.ask(on, sandbox.Noor, "isolate ws-030 because", "not linked to a person", "- person:", "roles: [viewer]")
		if on == s.teams() {
			s.told(on, sandbox.Noor, on.soc(), "- person: "+sandbox.TenantID+"/"+sandbox.Noor.Object)
		}
		// mdebot.yaml lists the channel under readers.
		s.ask(on, sandbox.Noor, "alerts", "since 2")
		s.ask(on, sandbox.Noor, "hunt DeviceInfo", "not linked to a person")
		on.write(sandbox.Gale, on.lobby(), "machine ws-030")
		s.sees(on, sandbox.Gale, on.lobby(), "Only full members", "guest")

		card := s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-030", "stranger clicks")
		s.pressed(on, sandbox.Noor, card, "Approve", "not linked to a person")
		s.pressed(on, sandbox.Noor, card, "Deny", "not linked to a person")
		s.world.Join(sandbox.Gale, on.approvals()) // just after the card was posted
		on.click(sandbox.Gale, card, "Approve")
		s.sees(on, sandbox.Avery, on.approvals(), "isolate ws-030", "waits for approval", "0 of 1")
		s.wantIsolations(0)
	})
}

func TestStory_viewerMayReadAndNotAsk(t *testing.T) {
	t.Parallel()
	yaml := strings.Replace(sandbox.PolicyYAML(), "groups:\n", "  - person: "+sandbox.Noor.Object+`
    name: Noor Haddad
    slack: [T0SOC/U0NOOR]
    roles: [viewer]
groups:
`, 1)
	for _, p := range platforms {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := newStoryUnder(t, yaml, sandbox.Options{})
			on := p.on(s)
			s.ask(on, sandbox.Noor, "machine ws-031", "Machine ws-031")
			s.ask(on, sandbox.Noor, "isolate ws-031 because", "isolate needs the role responder")
			s.ask(on, sandbox.Noor, "hunt DeviceInfo", "hunt needs the role hunter")
			card := s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-031", "viewer clicks")
			s.pressed(on, sandbox.Noor, card, "Approve", "Your approval would not count")
			s.pressed(on, sandbox.Noor, card, "Deny", "You may not decide requests here")
			s.sees(on, sandbox.Avery, on.approvals(), "isolate ws-031", "waits for approval", "0 of 1")
			s.wantIsolations(0)
		})
	}
}

func TestStory_outsiderInASharedChannel(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.world.Slack.AddUser(slacksim.User{ID: "U0OUTSIDE", Name: "outside", RealName: "Pat Outside", Workspace: "T0PARTNER"})
	for _, c := range s.world.Slack.Channels("") {
		if c.ID == sandbox.SlackPartner {
			c.Members = append(c.Members, "U0OUTSIDE")
			s.world.Slack.AddChannel(c)
		}
	}
	if err := s.world.Slack.Mention(t.Context(), "U0OUTSIDE", sandbox.SlackPartner, "", "machine ws-032"); err != nil {
		t.Fatalf("the mention is not acknowledged: %v", err)
	}
	outsider := sandbox.Person{Name: "Pat Outside", Slack: "U0OUTSIDE"}
	s.sees(s.slack(), outsider, sandbox.SlackPartner, "Only full members")

	s.slack().write(sandbox.Riley, sandbox.SlackPartner, "isolate ws-032 asked where outsiders read")
	s.sees(s.slack(), sandbox.Avery, sandbox.SlackApprovals, "isolate ws-032", "waits for approval")
	for _, m := range s.world.Slack.Messages(sandbox.SlackPartner, "U0OUTSIDE") {
		if strings.Contains(readable(m.Blocks)+m.Text, "ws-032.corp") {
			t.Errorf("an outsider reads %s", readable(m.Blocks))
		}
	}
}

func TestStory_doubleClickIsOneVoteAndOneIsolation(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		card := s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-033", "clicked twice")
		var clicks sync.WaitGroup
		for range 2 {
			clicks.Go(func() { s.clickQuietly(on, sandbox.Avery, card, "Approve") })
		}
		clicks.Go(func() { s.clickQuietly(on, sandbox.Sam, card, "Approve") })
		clicks.Wait()
		done := s.sees(on, sandbox.Riley, on.soc(), "isolate ws-033.corp.contoso.com – isolated", "So far")
		if n := strings.Count(done.text, "approved by"); n != 1 {
			t.Errorf("the card tells of %d approvals, want one:\n%s", n, done.text)
		}
		s.wantIsolations(1)
	})
}

// clickQuietly presses a button that may be gone by now.
func (s *story) clickQuietly(on side, who sandbox.Person, m seen, label string) {
	switch on.(type) {
	case slackSide:
		_ = s.world.Slack.Click(s.Context(), who.Slack, m.place, m.id, slacksim.Press{Label: label})
	case teamsSide:
		_, _ = s.world.Teams.Click(s.Context(), who.Object, m.id, teamssim.Choice{Title: label}, nil)
	}
}

func TestStory_lateClicksSayWhatHappenedMeanwhile(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		// A card shown to one person alone is not redrawn, so it is stale soon.
		stale := func(who sandbox.Person, n int) seen {
			t.Helper()
			on.write(who, on.soc(), fmt.Sprintf("approve %d", n))
			return s.told(on, who, on.soc(), fmt.Sprintf("Request #%d:", n), "waits for approval", "Nothing is decided yet")
		}

		s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-034", "will expire")
		late := stale(sandbox.Avery, 1)
		s.later(31 * time.Minute)
		expired := s.sees(on, sandbox.Riley, on.soc(), "isolate ws-034.corp.contoso.com – expired")
		s.pressed(on, sandbox.Avery, late, "Approve", "Request #1 has expired", "Ask again")
		f := on.open(sandbox.Riley, expired, "Ask again")
		on.fill(sandbox.Riley, f, map[string]string{"reason": "asked once more"})
		s.sees(on, sandbox.Avery, on.approvals(), "Request #2", "isolate ws-034", "waits for approval", "asked once more")

		mine, sams, jordans := stale(sandbox.Avery, 2), stale(sandbox.Sam, 2), stale(sandbox.Jordan, 2)
		s.pressed(on, sandbox.Sam, sams, "Approve", "Your approval counts")
		s.pressed(on, sandbox.Avery, mine, "Approve", "Approved", "by Sam Okafor")
		s.sees(on, sandbox.Riley, on.soc(), "isolate ws-034.corp.contoso.com – isolated")
		s.pressed(on, sandbox.Jordan, jordans, "Deny", "Approved", "by Sam Okafor", "succeeded")

		s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-035", "will be denied")
		mine, sams = stale(sandbox.Avery, 3), stale(sandbox.Sam, 3)
		s.pressed(on, sandbox.Sam, sams, "Deny", "Your denial counts")
		s.pressed(on, sandbox.Avery, mine, "Approve", "Denied", "by Sam Okafor")
		s.wantIsolations(1)
	})
}

func TestStory_denyBeforeTheClaimStopsAnApprovedRequest(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	card := s.request(s.slack(), s.slack(), sandbox.Riley, sandbox.Avery, "dc-01", "first yes, then no")
	s.pressed(s.slack(), sandbox.Avery, card, "Approve", "Your approval counts", "Still needed: 1 approval")
	s.pressed(s.slack(), sandbox.Avery, card, "Approve", "You approved this already")
	s.pressed(s.slack(), sandbox.Avery, card, "Deny", "Your denial counts")
	s.sees(s.teams(), sandbox.Riley, sandbox.TeamsApprovals, "isolate dc-01", "denied", "Avery Stone")
	s.wantIsolations(0)
}

func TestStory_protectedMachineIsNeverIsolatedFromChat(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		s.ask(on, sandbox.Riley, "isolate srv-hmi-01 it beacons", "srv-hmi-01", "cannot be changed from chat")
		s.ask(on, sandbox.Riley, "isolate ws-036,srv-hmi-01 they beacon", "srv-hmi-01", "cannot be changed from chat")
		s.ask(on, sandbox.Riley, "requests", "No requests are open")

		// Protected after people have approved: judged again before the call.
		card := s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-036", "tagged meanwhile")
		m := s.machine("ws-036")
		m.MachineTags = []string{"never-isolate"}
		s.world.Tenant.PutMachine(m.Machine)
		on.click(sandbox.Avery, card, "Approve")
		s.sees(on, sandbox.Riley, on.soc(), "isolate ws-036", "void", "cannot be changed from chat")
		s.wantIsolations(0)
	})
}

func TestStory_domainControllerNeedsTwoGroups(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		card := s.request(on, on, sandbox.Riley, sandbox.Sam, "dc-02", "golden ticket")
		if !containsAll(card.text, []string{"domain controllers", "0 of 2", "soc-leads", "identity-team"}) {
			t.Errorf("the card does not say which rule applies: %s", card.text)
		}
		s.pressed(on, sandbox.Sam, card, "Approve", "Your approval counts", "Still needed: 1 approval")
		s.sees(on, sandbox.Riley, on.soc(), "isolate dc-02", "waits for approval", "1 of 2")
		s.wantIsolations(0)
		card = s.sees(on, sandbox.Avery, on.approvals(), "isolate dc-02", "1 of 2")
		s.pressed(on, sandbox.Avery, card, "Approve", "Your approval counts")
		s.sees(on, sandbox.Riley, on.soc(), "isolate dc-02.corp.contoso.com – isolated", "Sam Okafor", "Avery Stone")
		s.wantIsolations(1)
	})
}

func TestStory_approverLosesTheRightBetweenRequestAndClick(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	card := s.request(s.slack(), s.teams(), sandbox.Riley, sandbox.Avery, "ws-037", "group changes")
	s.changePolicy(strings.Replace(sandbox.PolicyYAML(), "  soc:\n    - 8a1f0000-0000-4000-8000-000000000001\n    - "+sandbox.Avery.Object+"\n", "  soc:\n    - 8a1f0000-0000-4000-8000-000000000001\n", 1))
	s.pressed(s.teams(), sandbox.Avery, card, "Approve", "Your approval would not count", "workstations")
	s.wantIsolations(0)

	s.writePolicy("approvals: {expire_after: never}")
	s.sees(s.slack(), sandbox.Sam, sandbox.SlackOps, "mdebot.yaml")
	s.pressed(s.teams(), sandbox.Sam, card, "Approve", "Your approval counts")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "isolate ws-037.corp.contoso.com – isolated")
	s.wantIsolations(1)
}

// post sends a request to the bot's listener.
func (s *story) post(path, contentType string, header http.Header, body []byte) int {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), http.MethodPost, "http://"+s.bot.Addr().String()+path, bytes.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // only the status counts
	return resp.StatusCode
}

func TestStory_forgedSlackDeliveriesDoNothing(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	secret, _ := setting(s.env, "SLACK_SIGNING_SECRET")
	const form, document = "application/x-www-form-urlencoded", "application/json"
	command := func(change ...string) []byte {
		v := url.Values{
			"team_id": {"T0SOC"}, "api_app_id": {"A0MDEBOT"}, "user_id": {sandbox.Riley.Slack}, "user_name": {"riley"},
			"channel_id": {sandbox.SlackSOC}, "command": {"/mde"}, "text": {"isolate ws-038 forged"}, "trigger_id": {"1.2.3"},
		}
		for i := 0; i < len(change); i += 2 {
			v.Set(change[i], change[i+1])
		}
		return []byte(v.Encode())
	}
	vote := func(team string) []byte {
		p, err := json.Marshal(map[string]any{
			"type": "block_actions", "api_app_id": "A0MDEBOT", "trigger_id": "4.5.6", "team": map[string]any{"id": team},
			"user":      map[string]any{"id": sandbox.Avery.Slack, "team_id": team},
			"container": map[string]any{"type": "message", "channel_id": sandbox.SlackApprovals, "message_ts": "1.1"},
			"actions":   []any{map[string]any{"action_id": "request.approve", "value": "x.y", "action_ts": "1.2"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return []byte(url.Values{"payload": {string(p)}}.Encode())
	}
	now := time.Now()
	// One byte over the limit: of a much larger body the client may see its own
	// failing write instead of the answer.
	large := bytes.Repeat([]byte("a"), 1<<20+1)
	for _, c := range []struct {
		name, path, kind string
		header           http.Header
		body             []byte
		want             []int
	}{
		{"unsigned", "/slack/commands", form, nil, command(), []int{401}},
		{"signed by somebody else", "/slack/commands", form, slacksim.Sign("other", now, command()), command(), []int{401}},
		{"signature of another body", "/slack/commands", form, slacksim.Sign(secret, now, command("text", "help")), command(), []int{401}},
		{"replayed after ten minutes", "/slack/commands", form, slacksim.Sign(secret, now.Add(-10*time.Minute), command()), command(), []int{401}},
		{"signed for the future", "/slack/commands", form, slacksim.Sign(secret, now.Add(10*time.Minute), command()), command(), []int{401}},
		{"wrong media type", "/slack/commands", "text/plain", slacksim.Sign(secret, now, command()), command(), []int{415}},
		{"event as form", "/slack/events", form, slacksim.Sign(secret, now, command()), command(), []int{415}},
		{"oversized", "/slack/commands", form, slacksim.Sign(secret, now, large), large, []int{413}},
		{"malformed event", "/slack/events", document, slacksim.Sign(secret, now, []byte("{")), []byte("{"), []int{400}},
		{"another workspace", "/slack/commands", form, slacksim.Sign(secret, now, command("team_id", "T0OTHER")), command("team_id", "T0OTHER"), []int{403}},
		{"another app", "/slack/commands", form, slacksim.Sign(secret, now, command("api_app_id", "A0OTHER")), command("api_app_id", "A0OTHER"), []int{403}},
		{"vote from another workspace", "/slack/interactions", form, slacksim.Sign(secret, now, vote("T0OTHER")), vote("T0OTHER"), []int{403}},
		{"route that does not exist", "/slack/other", form, slacksim.Sign(secret, now, command()), command(), []int{404}},
	} {
		if got := s.post(c.path, c.kind, c.header, c.body); !slices.Contains(c.want, got) {
			t.Errorf("%s: status %d, want %v", c.name, got, c.want)
		}
	}

	// Not forged but delivered twice: accepted both times and done once.
	for range 2 {
		if got := s.post("/slack/commands", form, slacksim.Sign(secret, time.Now(), command("text", "isolate ws-038 genuine")), command("text", "isolate ws-038 genuine")); got != http.StatusOK {
			t.Errorf("a genuine command: status %d, want 200", got)
		}
	}
	s.sees(s.slack(), sandbox.Avery, sandbox.SlackApprovals, "Request #1", "genuine")
	s.ask(s.slack(), sandbox.Riley, "requests", "#1")
	if n := s.posted(s.slack(), sandbox.Avery, sandbox.SlackApprovals, "isolate ws-038"); n != 1 {
		t.Errorf("%d cards for one command, want 1", n)
	}
	if n := s.posted(s.slack(), sandbox.Avery, sandbox.SlackApprovals, "forged"); n != 0 {
		t.Errorf("%d forged requests were opened", n)
	}
}

func TestStory_forgedTeamsActivitiesDoNothing(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	genuine := func() map[string]any {
		a, err := s.world.Teams.Activity(sandbox.Riley.Object, s.world.Teams.PersonalChat(sandbox.Riley.Object), "message")
		if err != nil {
			t.Fatal(err)
		}
		a["text"] = "isolate ws-039 forged"
		return a
	}
	send := func(d teamssim.Delivery) int {
		t.Helper()
		r, err := s.world.Teams.Deliver(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		return r.Status
	}
	a := genuine()
	for _, bad := range s.world.Teams.BadTokens(a["serviceUrl"].(string)) {
		header := append([]string{}, bad.Authorization...) // nil would mean a good one
		if got := send(teamssim.Delivery{Activity: genuine(), Authorization: header}); got != http.StatusUnauthorized && got != http.StatusForbidden {
			t.Errorf("token %s: status %d, want 401 or 403", bad.Name, got)
		}
	}
	foreign := genuine()
	foreign["channelData"] = map[string]any{"tenant": map[string]any{"id": "11111111-2222-4333-8444-555555555555"}}
	foreign["conversation"].(map[string]any)["tenantId"] = "11111111-2222-4333-8444-555555555555"
	elsewhere := genuine()
	elsewhere["channelId"] = "webchat"
	for name, d := range map[string]teamssim.Delivery{
		"another tenant":   {Activity: foreign},
		"another channel":  {Activity: elsewhere},
		"wrong media type": {Activity: genuine(), ContentType: "text/plain"},
		"GET":              {Activity: genuine(), Method: http.MethodGet},
		"oversized":        {Body: append([]byte(`{"text":"`), bytes.Repeat([]byte("a"), 256<<10)...), Authorization: []string{"Bearer " + s.world.Teams.Token(a["serviceUrl"].(string))}},
		"no JSON":          {Body: []byte("{"), Authorization: []string{"Bearer " + s.world.Teams.Token(a["serviceUrl"].(string))}},
	} {
		if got := send(d); got/100 != 4 {
			t.Errorf("%s: status %d, want a refusal", name, got)
		}
	}
	// The same activity twice is one request.
	twice := genuine()
	twice["text"] = "isolate ws-039 genuine"
	for range 2 {
		if got := send(teamssim.Delivery{Activity: twice}); got/100 != 2 {
			t.Errorf("a genuine activity: status %d", got)
		}
	}
	s.sees(s.teams(), sandbox.Avery, sandbox.TeamsApprovals, "Request #1", "genuine")
	s.ask(s.slack(), sandbox.Riley, "requests", "#1")
	if n := s.posted(s.teams(), sandbox.Avery, sandbox.TeamsApprovals, "isolate ws-039"); n != 1 {
		t.Errorf("%d cards for one activity, want 1", n)
	}
}

// Taking the tag off a machine just before asking loosens nothing: the stricter of
// now and of the last day decides, at the request and at the claim.
func TestStory_tagTakenOffJustBeforeStillCounts(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		retag := func(machine string, tags ...string) {
			t.Helper()
			m := s.machine(machine)
			m.MachineTags = tags
			s.world.Tenant.PutMachine(m.Machine)
		}
		tier0, untouchable := s.machine("ws-025").ID, s.machine("ws-026").ID
		looked := func(want int) {
			t.Helper()
			s.later(tagsEvery)
			s.eventually("the tags are remembered", func() string {
				var n int
				err := s.bot.store.Read().QueryRow(t.Context(), `SELECT COUNT(*) FROM machine_tags WHERE machine IN ($1, $2)`, tier0, untouchable).Scan(&n)
				if err != nil || n != want {
					return fmt.Sprint(n, err)
				}
				return ""
			})
		}
		retag("ws-025", "tier0")
		retag("ws-026", "never-isolate")
		looked(2)
		retag("ws-025")
		retag("ws-026")
		card := s.request(on, on, sandbox.Riley, sandbox.Sam, "ws-025", "its tag is gone")
		if !containsAll(card.text, []string{"domain controllers", "0 of 2", "still counts", "tier0"}) {
			t.Errorf("the rule of the tag does not apply: %s", card.text)
		}
		s.ask(on, sandbox.Riley, "isolate ws-026 its tag is gone", "cannot be changed from chat", "within a day")
		s.later(25 * time.Hour)
		looked(0)
		s.sees(on, sandbox.Riley, on.soc(), "isolate ws-025", "expired")
		card = s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-025", "a day later")
		s.pressed(on, sandbox.Avery, card, "Approve", "Your approval counts")
		s.sees(on, sandbox.Riley, on.soc(), "isolate ws-025.corp.contoso.com – isolated")
	})
}
