package app

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

// calls has a chat administrator give an account another person's name and address.
func (s *story) calls(who, like sandbox.Person) {
	s.world.Slack.AddUser(slacksim.User{ID: who.Slack, Name: like.Key, RealName: like.Name, Email: like.Key + "@contoso.example", Workspace: "T0SOC"})
	s.world.Teams.AddUser(teamssim.User{Tenant: sandbox.TenantID, Object: who.Object, Name: like.Name, Email: like.Key + "@contoso.example", Role: "user", Installed: true})
}

// Whoever administers a chat workspace can call any account like an approver, and
// gets no approval out of it: neither through an account of nobody nor through the
// requester's own.
func TestStory_renamedAccountsApproveNothing(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		card := s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-023", "asked for by the administrator")
		s.calls(sandbox.Noor, sandbox.Avery)
		s.calls(sandbox.Riley, sandbox.Avery)
		s.pressed(on, sandbox.Noor, card, "Approve", "not linked to a person")
		s.pressed(on, sandbox.Riley, card, "Approve", "You asked for this yourself")
		waits := s.sees(on, sandbox.Sam, on.approvals(), "isolate ws-023", "waits for approval", "0 of 1")
		if !strings.Contains(waits.text, "asked for by Riley Chen") {
			t.Errorf("the card believes the chat about who asked: %s", waits.text)
		}
		s.wantIsolations(0)
	})
}

// An approver who is removed after the vote has not voted.
func TestStory_removedApproversVoteNoLongerCounts(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		card := s.request(on, on, sandbox.Riley, sandbox.Sam, "dc-02", "golden ticket")
		s.pressed(on, sandbox.Sam, card, "Approve", "Your approval counts")
		s.changePolicy(strings.Replace(sandbox.PolicyYAML(), "  soc-leads:\n    - "+sandbox.Sam.Object+"\n", "  soc-leads:\n", 1))
		card = s.sees(on, sandbox.Avery, on.approvals(), "isolate dc-02", "1 of 2")
		s.pressed(on, sandbox.Avery, card, "Approve", "Your approval counts", "Still needed: 1 approval")
		s.pressed(on, sandbox.Sam, card, "Approve", "Your approval would not count")
		s.wantIsolations(0)
	})
}

// recordingProxy stands between the platforms and the bot, and can send again what
// it has seen.
type recordingProxy struct {
	*httptest.Server
	to string

	mu   sync.Mutex
	seen []*http.Request
	body [][]byte
}

func newRecordingProxy(t *testing.T, to string) *recordingProxy {
	t.Helper()
	p := &recordingProxy{to: to}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		p.mu.Lock()
		p.seen, p.body = append(p.seen, r.Clone(r.Context())), append(p.body, body)
		p.mu.Unlock()
		resp, err := p.forward(r, body)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		for k, v := range resp.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body) // the platform has gone when this fails
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *recordingProxy) forward(r *http.Request, body []byte) (*http.Response, error) {
	again, err := http.NewRequestWithContext(r.Context(), r.Method, p.to+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	again.Header = r.Header.Clone()
	return (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(again)
}

// replay sends everything again that holds some words, and returns how much.
func (p *recordingProxy) replay(t *testing.T, words string) int {
	t.Helper()
	p.mu.Lock()
	seen, bodies := p.seen, p.body
	p.mu.Unlock()
	n := 0
	for i, r := range seen {
		if !bytes.Contains(bodies[i], []byte(words)) {
			continue
		}
		resp, err := p.forward(r.Clone(t.Context()), bodies[i])
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		n++
	}
	return n
}

// A proxy that keeps an approver's click and sends it again, many times, from after
// a restart and about a request that was denied meanwhile, gets nothing isolated.
func TestStory_replayingProxyGetsNothingIsolated(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		proxy := newRecordingProxy(t, "http://"+s.bot.Addr().String())
		if err := s.world.Connect(t.Context(), proxy.URL); err != nil {
			t.Fatal(err)
		}
		card := s.request(on, on, sandbox.Riley, sandbox.Sam, "dc-02", "golden ticket")
		s.pressed(on, sandbox.Sam, card, "Approve", "Your approval counts")
		for range 5 {
			if n := proxy.replay(t, "request.approve"); n == 0 {
				t.Fatal("the proxy has seen no approval")
			}
		}
		s.sees(on, sandbox.Riley, on.soc(), "isolate dc-02", "waits for approval", "1 of 2")

		s.recorded()
		s.halt() // forgets what it had in memory
		s.start()
		proxy.to = "http://" + s.bot.Addr().String()
		if err := s.world.Connect(t.Context(), proxy.URL); err != nil {
			t.Fatal(err)
		}
		proxy.replay(t, "request.approve")
		card = s.sees(on, sandbox.Avery, on.approvals(), "isolate dc-02", "1 of 2")
		s.pressed(on, sandbox.Avery, card, "Deny", "Denied")
		s.ask(on, sandbox.Riley, "isolate dc-02 once more", "Asked", "dc-02")
		proxy.replay(t, "request.approve")
		s.sees(on, sandbox.Avery, on.approvals(), "#2", "isolate dc-02", "0 of 2")
		s.wantIsolations(0)
		if n := len(s.audited("vote.approve")); n != 1 {
			t.Errorf("%d votes are recorded for one click", n)
		}
	})
}

// lures sends a card in the name of the app in a message of who's own, with one button
// of who's choice, and has the victim press it.
func (s *story) lures(who, victim sandbox.Person, place string, button map[string]any) (told string) {
	s.Helper()
	button["title"] = "Show"
	card, err := json.Marshal(map[string]any{
		"type": "AdaptiveCard", "version": "1.5", "actions": []any{button},
		"body": []any{map[string]any{"type": "TextBlock", "text": "The menu of the canteen"}},
	})
	if err != nil {
		s.Fatal(err)
	}
	id, err := s.world.Teams.Insert(s.Context(), who.Object, place, "hungry?", "", teamssim.Result{Card: card})
	if err != nil {
		s.Fatal(err)
	}
	out, err := s.world.Teams.Click(s.Context(), victim.Object, id, teamssim.Choice{Title: "Show"}, nil)
	if err != nil {
		s.Fatal(err)
	}
	return out.Note + readable(out.Card)
}

// Cards of the app stand in messages of people since they can put one there, and what
// such a message holds is up to whoever sends it. A button in one votes for nothing and
// asks for nothing in the name of whoever presses it: they have not seen what it is.
func TestStory_buttonsInMessagesOfOthersDoNothing(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	on, place := s.teams(), sandbox.TeamsApprovals
	card := s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-014", "beaconing")
	var value any
	for _, m := range s.world.Teams.Messages(place, sandbox.Riley.Object) {
		if m.ID == card.id {
			value = refreshData(t, card, m.Card)["value"] // the requester's client has it as well
		}
	}
	data := func(more map[string]any) map[string]any {
		d := map[string]any{"action": "request.approve", "value": value}
		for k, v := range more {
			d[k] = v
		}
		return d
	}
	ask := map[string]any{"action": "isolate.submit", "value": "", "form": "x", "field.machine": "ws-023", "field.reason": "beaconing"}
	for name, c := range map[string]struct {
		who, victim sandbox.Person
		button      map[string]any
	}{
		"an approval": {sandbox.Riley, sandbox.Avery, map[string]any{"type": "Action.Execute", "verb": "request.approve", "data": data(nil)}},
		"an approval that says it is for one person": {sandbox.Riley, sandbox.Avery, map[string]any{
			"type": "Action.Execute", "verb": "request.approve", "data": data(map[string]any{"aside": true}),
		}},
		"an approval as old clients send it": {sandbox.Riley, sandbox.Avery, map[string]any{"type": "Action.Submit", "data": data(nil)}},
		"an approval in place of a dialog": {sandbox.Riley, sandbox.Avery, map[string]any{
			"type": "Action.Submit", "data": data(map[string]any{"msteams": map[string]any{"type": "task/fetch"}}),
		}},
		"a request": {sandbox.Avery, sandbox.Riley, map[string]any{"type": "Action.Execute", "verb": "isolate.submit", "data": ask}},
	} {
		if said := s.lures(c.who, c.victim, place, c.button); !strings.Contains(said, "not mdebot's own card") {
			s.told(on, c.victim, place, "not mdebot's own card")
		}
		if n := len(s.audited("vote.approve")); n != 0 {
			t.Fatalf("%s: %d votes are recorded for what nobody saw", name, n)
		}
	}
	s.sees(on, sandbox.Noor, place, "isolate ws-014", "waits for approval", "0 of 1")
	if n := len(s.audited("request.opened")); n != 1 {
		t.Errorf("%d requests were opened, want the one that was asked for", n)
	}
	s.wantIsolations(0)

	// What the bot has sent itself still counts, also after a restart.
	on.write(sandbox.Avery, place, "approve 1")
	mine := s.told(on, sandbox.Avery, place, "Nothing is decided yet")
	on.write(sandbox.Riley, place, "isolate ws-023")
	open := teamsSide{s}.asks(sandbox.Riley, place, "The approver reads this")
	s.recorded()
	s.halt() // forgets what it had in memory
	s.start()
	s.pressed(on, sandbox.Avery, mine, "Approve", "Your approval counts")
	s.sees(on, sandbox.Noor, place, "isolate ws-014.corp.contoso.com – isolated")
	s.wantIsolations(1)
	teamsSide{s}.fill(sandbox.Riley, open, map[string]string{"reason": "beaconing"})
	s.sees(on, sandbox.Noor, place, "isolate ws-023", "waits for approval")
}
