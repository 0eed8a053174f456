package app

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

// opens shows a place of Teams in somebody's client, which asks for their views.
func (s *story) opens(who sandbox.Person, place string) {
	s.Helper()
	if _, err := s.world.Teams.Show(s.Context(), who.Object, place); err != nil {
		s.Fatalf("%s opens %s: %v", who.Name, place, err)
	}
}

// finds waits until who, in a client that shows the place, sees a message with all the
// words and without the others.
func (s *story) finds(who sandbox.Person, place string, words []string, not ...string) seen {
	s.Helper()
	var found seen
	s.eventually(fmt.Sprintf("%s looks for %q without %q in %s", who.Name, words, not, place), func() string {
		s.opens(who, place)
		var all strings.Builder
		for _, m := range s.teams().see(who, place) {
			lacks := func(w string) bool { return !strings.Contains(m.text, w) }
			ok := containsAll(m.text, words)
			for _, w := range not {
				ok = ok && lacks(w)
			}
			if ok {
				found = m
				return ""
			}
			all.WriteString("\n--- " + m.text)
		}
		return "not among" + all.String()
	})
	return found
}

func TestStory_requestCardPerPersonInTeams(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	on, place := s.teams(), sandbox.TeamsApprovals
	on.write(sandbox.Riley, on.soc(), "isolate dc-01 ransomware note on the console")
	base := s.sees(on, sandbox.Avery, place, "isolate dc-01", "waits for approval", "0 of 2")
	if !containsAll(base.text, []string{"Approve", "Deny", "Withdraw", "Digest of what is voted on"}) {
		t.Fatalf("the card itself is %s", base.text)
	}

	const digest = "Digest of what is voted on"
	s.finds(sandbox.Riley, place, []string{"isolate dc-01", "You asked for this", "Withdraw", digest}, "Approve #", "\nDeny")
	s.finds(sandbox.Riley, on.soc(), []string{"isolate dc-01", "You asked for this", "Withdraw"}, "Approve #", "\nDeny")
	mine := s.finds(sandbox.Avery, place, []string{"isolate dc-01", "It waits for your decision", "Approve #", "\nDeny", digest}, "Withdraw")
	s.finds(sandbox.Avery, on.direct(sandbox.Avery), []string{"isolate dc-01", "It waits for your decision", "Approve #"}, "Withdraw")
	s.finds(sandbox.Sam, place, []string{"isolate dc-01", "It waits for your decision", "Approve #", "\nDeny"}, "Withdraw")
	// To everybody else it is what it was.
	s.opens(sandbox.Noor, place)
	if m := s.sees(on, sandbox.Noor, place, "isolate dc-01"); strings.Contains(m.text, "\nYou\n") || m.text != base.text {
		t.Errorf("a stranger sees %s, want the card itself", m.text)
	}

	// After a vote each card turns, and what is pressed on one's own view counts.
	s.pressed(on, sandbox.Avery, mine, "Approve", "Your approval counts")
	s.sees(on, sandbox.Noor, place, "isolate dc-01", "1 of 2")
	s.finds(sandbox.Avery, place, []string{"1 of 2", "You approved this", "\nDeny"}, "Approve #", "Withdraw")
	s.finds(sandbox.Riley, place, []string{"1 of 2", "You asked for this", "Withdraw"}, "Approve #", "\nDeny")
	theirs := s.finds(sandbox.Sam, place, []string{"1 of 2", "It waits for your decision", "Approve #"}, "Withdraw")
	s.pressed(on, sandbox.Sam, theirs, "Approve", "Your approval counts")
	s.sees(on, sandbox.Noor, place, "isolate dc-01.corp.contoso.com – isolated")
	s.finds(sandbox.Riley, place, []string{"isolate dc-01.corp.contoso.com – isolated"}, "You asked for this")
	s.wantIsolations(1)
}

// asks makes a client of who's ask how the card in a message looks, as any client could.
func (s *story) asksAs(who sandbox.Person, place, message string, data map[string]any) (status int, card string) {
	s.Helper()
	a, err := s.world.Teams.Activity(who.Object, place, "invoke")
	if err != nil {
		s.Fatal(err)
	}
	a["name"], a["replyToId"] = "adaptiveCard/action", message
	a["value"] = map[string]any{"trigger": "automatic", "action": map[string]any{"type": "Action.Execute", "verb": data["action"], "data": data}}
	reply, err := s.world.Teams.Deliver(s.Context(), teamssim.Delivery{Activity: a})
	if err != nil {
		s.Fatal(err)
	}
	var answer struct{ Value json.RawMessage }
	if err := json.Unmarshal(reply.Body, &answer); err != nil && reply.Status == 200 {
		s.Fatal(err)
	}
	if text := readable(answer.Value); strings.HasPrefix(string(answer.Value), "{") {
		return reply.Status, text
	}
	return reply.Status, ""
}

// refreshData is what a client sends back for a card.
func refreshData(t *testing.T, m seen, card json.RawMessage) map[string]any {
	t.Helper()
	var c struct {
		Refresh struct {
			Action struct {
				Data map[string]any `json:"data"`
			} `json:"action"`
		} `json:"refresh"`
	}
	if err := json.Unmarshal(card, &c); err != nil || c.Refresh.Action.Data == nil {
		t.Fatalf("%s asks nobody to come back", m.text)
	}
	return c.Refresh.Action.Data
}

func TestStory_viewsShowNobodyAnotherCard(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	on, place := s.teams(), sandbox.TeamsApprovals
	card := func(words string) (seen, map[string]any) {
		on.write(sandbox.Riley, on.soc(), "isolate "+words)
		m := s.sees(on, sandbox.Avery, place, "isolate "+words[:6], "waits for approval")
		for _, one := range s.world.Teams.Messages(place, sandbox.Avery.Object) {
			if one.ID == m.id {
				return m, refreshData(t, m, one.Card)
			}
		}
		t.Fatal("no card")
		return m, nil
	}
	one, data := card("ws-011 beaconing")
	other, otherData := card("ws-013 also beaconing")
	if _, text := s.asksAs(sandbox.Avery, place, one.id, data); !containsAll(text, []string{"isolate ws-011", "It waits for your decision"}) {
		t.Fatalf("Avery's view is %q", text)
	}
	changed := func(key string, value any) map[string]any {
		out := map[string]any{}
		for k, v := range data {
			out[k] = v
		}
		out[key] = value
		return out
	}
	said := s.sees(on, sandbox.Riley, on.soc(), "@mdebot isolate ws-011")
	for name, c := range map[string]struct {
		who     sandbox.Person
		message string
		data    map[string]any
	}{
		"another request's card in this message": {sandbox.Avery, one.id, otherData},
		"this request in another's message":      {sandbox.Avery, other.id, data},
		"a message that shows no request":        {sandbox.Avery, said.id, data},
		"no message":                             {sandbox.Avery, "", data},
		"a value that is none":                   {sandbox.Avery, one.id, changed("value", "x")},
		"another action":                         {sandbox.Avery, one.id, changed("action", "requests.view")},
		"a vote":                                 {sandbox.Avery, one.id, changed("action", "request.approve")},
		"a vote without disguise":                {sandbox.Avery, one.id, map[string]any{"action": "request.approve", "value": data["value"]}},
		"somebody who is not linked":             {sandbox.Noor, one.id, data},
	} {
		if status, text := s.asksAs(c.who, place, c.message, c.data); status != 200 || text != "" {
			t.Errorf("%s: %d %s, want that the card stays", name, status, text)
		}
	}
	for _, kind := range []string{"command.refused", "vote.approve", "vote.refused"} {
		if n := len(s.audited(kind)); n != 0 {
			t.Errorf("%d records of %s for what nobody did", n, kind)
		}
	}
	s.wantIsolations(0)
}

// All clients of a channel come back at once, again and again, and each tries to vote
// that way: nothing is decided, nothing recorded, and a click still counts.
func TestStory_stormOfViewsDecidesNothing(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	on, place := s.teams(), sandbox.TeamsApprovals
	on.write(sandbox.Riley, on.soc(), "isolate ws-011 beaconing")
	m := s.finds(sandbox.Avery, place, []string{"isolate ws-011", "It waits for your decision"})
	var value any
	for _, one := range s.world.Teams.Messages(place, sandbox.Avery.Object) {
		if one.ID == m.id {
			value = refreshData(t, m, one.Card)["value"]
		}
	}
	var all sync.WaitGroup
	for _, who := range []sandbox.Person{sandbox.Avery, sandbox.Sam, sandbox.Jordan, sandbox.Riley} {
		for range 30 {
			all.Go(func() {
				for _, action := range []string{"request.view", "request.approve", "request.deny"} {
					s.asksAs(who, place, m.id, map[string]any{"action": action, "value": value, "view": true})
					s.asksAs(who, place, m.id, map[string]any{"action": action, "value": value})
				}
			})
		}
	}
	all.Wait()
	s.sees(on, sandbox.Noor, place, "isolate ws-011", "waits for approval", "0 of 1")
	s.wantIsolations(0)
	if n := len(s.audited("vote.approve")) + len(s.audited("vote.deny")) + len(s.audited("vote.refused")) + len(s.audited("command.refused")); n != 0 {
		t.Errorf("%d records of what nobody did", n)
	}
	s.pressed(on, sandbox.Avery, m, "Approve", "Your approval counts")
	s.sees(on, sandbox.Noor, place, "isolate ws-011.corp.contoso.com – isolated")
}

// The queue in somebody's personal chat is of the moment at which they look.
func TestStory_queueInThePersonalChatIsLive(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	on := s.teams()
	direct := on.direct(sandbox.Avery)
	on.write(sandbox.Avery, direct, "requests")
	s.sees(on, sandbox.Avery, direct, "No requests are open")
	on.write(sandbox.Riley, on.soc(), "isolate ws-011 beaconing")
	s.sees(on, sandbox.Avery, on.approvals(), "isolate ws-011", "waits for approval")
	s.finds(sandbox.Avery, direct, []string{"1 open request, 1 for you to decide", "isolate ws-011"}, "No requests")

	// In a channel it is an answer like others: it would be somebody else's queue.
	on.write(sandbox.Sam, on.soc(), "requests")
	m := s.sees(on, sandbox.Sam, on.soc(), "1 open request")
	if strings.Contains(string(m.payload), `"refresh"`) {
		t.Errorf("an answer in a channel asks clients to come back: %s", m.payload)
	}
	if status, text := s.asksAs(sandbox.Sam, on.soc(), m.id, map[string]any{"action": "requests.view", "value": "", "view": true}); status != 200 || text != "" {
		t.Errorf("there, a client is answered %d %s", status, text)
	}
}

// With several tenants a view is of the tenant whose request it is, and of no other,
// although each has a machine and could have a request of the same name.
func TestStory_viewsStayInTheirTenant(t *testing.T) {
	t.Parallel()
	s, _ := partner(t, 2, 0)
	on, place := s.teams(), sandbox.TeamsApprovals
	on.write(sandbox.Riley, on.soc(), "isolate ws-005 --tenant customer-1 --reason beaconing")
	m := s.finds(sandbox.Avery, place, []string{"isolate ws-005." + mark(1), "customer-1", "It waits for your decision", "Approve #"}, "Withdraw")
	s.finds(sandbox.Riley, place, []string{"isolate ws-005." + mark(1), "customer-1", "You asked for this"}, "Approve #")
	var data map[string]any
	for _, one := range s.world.Teams.Messages(place, sandbox.Avery.Object) {
		if one.ID == m.id {
			data = refreshData(t, m, one.Card)
		}
	}
	value := data["value"].(string)
	if _, text := s.asksAs(sandbox.Avery, place, m.id, data); !containsAll(text, []string{"customer-1", "It waits for your decision"}) {
		t.Fatalf("Avery's view is %q", text)
	}
	for name, other := range map[string]string{
		"another tenant": strings.Replace(value, customerID(1), customerID(0), 1),
		"no tenant":      value[strings.Index(value, "|")+1:],
		"none of ours":   strings.Replace(value, customerID(1), sandbox.TenantID, 1),
	} {
		data["value"] = other
		if status, text := s.asksAs(sandbox.Avery, place, m.id, data); other == value || status != 200 || text != "" {
			t.Errorf("%s (%s): %d %s, want that the card stays", name, other, status, text)
		}
	}
	direct := on.direct(sandbox.Avery)
	on.write(sandbox.Avery, direct, "requests --tenant customer-1")
	s.finds(sandbox.Avery, direct, []string{"1 open request, 1 for you to decide", "customer-1"})
	s.pressed(on, sandbox.Riley, m, "Withdraw")
	s.sees(on, sandbox.Noor, place, "isolate ws-005."+mark(1), "withdrawn")
}
