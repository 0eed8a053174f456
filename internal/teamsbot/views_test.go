package teamsbot

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

func teamsAccount(object string) identity.Principal {
	return identity.Principal{Platform: identity.Teams, Workspace: home, Account: object}
}

// differing is the approval as it goes out when it looks different to those people.
func differing(people ...identity.Principal) chat.Message {
	m := approval()
	m.Views = &chat.Views{Action: "request.view", Value: "r1.d1", For: people}
	return m
}

// named are the people whose clients a card asks to come back.
func named(t *testing.T, card json.RawMessage) []string {
	t.Helper()
	var c struct {
		Refresh *struct {
			UserIDs []string `json:"userIds"`
		} `json:"refresh"`
	}
	if err := json.Unmarshal(card, &c); err != nil {
		t.Fatal(err)
	}
	if c.Refresh == nil {
		return nil
	}
	return c.Refresh.UserIDs
}

// show opens the channel in somebody's client.
func (w *world) show(user string, want int) {
	w.t.Helper()
	if asked, err := w.sim.Show(w.t.Context(), user, alerts); err != nil || asked != want {
		w.t.Errorf("a client of %s asked %d times, %v, want %d", user, asked, err, want)
	}
}

func TestViews_eachPersonSeesTheirOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.handler.will(func(inv chat.Invocation) chat.Response {
		mine := chat.Message{Title: chat.Untrusted("for " + inv.By.Name), Views: &chat.Views{Action: "request.view", Value: "r1.d1", For: []identity.Principal{inv.By}}}
		return chat.Response{Replace: &mine}
	})
	// Avery's account, a stranger's, and one of another platform. Nobody but members of
	// the conversation has an address, and nobody has written to the bot yet.
	ref, err := w.bot.Post(t.Context(), chat.Post{To: "teams:" + alerts, Message: differing(teamsAccount(avery), teamsAccount(loner), identity.Principal{Platform: identity.Slack, Workspace: "T", Account: "U"})})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"29:1" + avery}, named(t, w.sim.Messages(alerts, avery)[0].Card)); diff != "" {
		t.Errorf("named (-want +got):\n%s", diff)
	}
	w.show(riley, 0)
	w.show(avery, 1)
	if m := w.sim.Messages(alerts, avery)[0]; !strings.Contains(string(m.Card), "for Avery Diaz") || len(named(t, m.Card)) != 1 {
		t.Errorf("Avery sees %s, want her own view, which is asked for again", m.Card)
	}
	if m := w.sim.Messages(alerts, riley)[0]; m.Replaced || !strings.Contains(string(m.Card), "Approve") {
		t.Errorf("Riley sees %s, want the card as it is", m.Card)
	}
	want := chat.Invocation{
		Kind: chat.View, Action: "request.view", Value: "r1.d1",
		By: identity.Principal{Platform: identity.Teams, Workspace: home, Account: avery, Address: "29:1" + avery, Name: "Avery Diaz"},
		In: chat.Conversation{Platform: identity.Teams, Workspace: home, ID: alerts, Thread: ref.MessageID},
	}
	want.Source = chat.Ref{Conversation: want.In, MessageID: ref.MessageID}
	if diff := cmp.Diff(want, w.handler.invocations()[0], cmpopts.IgnoreFields(chat.Invocation{}, "At", "Delivery")); diff != "" {
		t.Errorf("invocation (-want +got):\n%s", diff)
	}

	// An edit makes it come anew, also in a bot that has forgotten everybody.
	w.bot.addresses = newAddressBook(w.now)
	if err := w.bot.Edit(t.Context(), ref, differing(teamsAccount(riley))); err != nil {
		t.Fatal(err)
	}
	w.show(avery, 0)
	w.show(riley, 1)
	if err := w.bot.Edit(t.Context(), ref, approval()); err != nil {
		t.Fatal(err)
	}
	w.show(riley, 0)
}

// Whoever asked by choosing "Refresh card" in the menu gets the same, and no click.
func TestViews_askedForByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ref, err := w.bot.Post(t.Context(), chat.Post{To: "teams:" + alerts, Message: differing(teamsAccount(avery))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.sim.Refresh(t.Context(), riley, ref.MessageID); err != nil {
		t.Fatal(err)
	}
	if got := w.handler.invocations(); len(got) != 1 || got[0].Kind != chat.View || got[0].By.Account != riley {
		t.Errorf("the handler was asked %+v", got)
	}
}

// What a client sends by itself never becomes a click, whatever stands in it, and of the
// answer to it nothing but a card is shown.
func TestViews_nothingComesOfThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worked := make(chan struct{})
	w.handler.will(func(chat.Invocation) chat.Response {
		return chat.Response{Audience: chat.Everyone, Message: titled("said"), Form: &reasonForm, Later: func(context.Context, chat.Replier) { close(worked) }}
	})
	ref, err := w.bot.Post(t.Context(), chat.Post{To: "teams:" + alerts, Message: differing(teamsAccount(avery))})
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]map[string]any{
		"a vote by itself":              {"trigger": "automatic", "action": map[string]any{"type": "Action.Execute", "verb": "request.approve", "data": map[string]any{"action": "request.approve", "value": "r1.d1"}}},
		"a vote that says it is a view": {"trigger": "automatic", "action": map[string]any{"type": "Action.Execute", "verb": "request.approve", "data": map[string]any{"action": "request.approve", "value": "r1.d1", "view": true}}},
		"that, by hand":                 {"trigger": "manual", "action": map[string]any{"type": "Action.Execute", "verb": "request.approve", "data": map[string]any{"action": "request.approve", "value": "r1.d1", "view": true}}},
		"a form":                        {"trigger": "automatic", "action": map[string]any{"type": "Action.Execute", "verb": "isolate.submit", "data": map[string]any{"action": "isolate.submit", "form": "k", "field.reason": "x"}}},
		"a view":                        {"trigger": "automatic", "action": map[string]any{"type": "Action.Execute", "verb": "request.view", "data": map[string]any{"action": "request.view", "value": "r1.d1", "view": true, "form": "k"}}},
		"another verb":                  {"trigger": "automatic", "action": map[string]any{"type": "Action.Execute", "verb": "request.approve", "data": map[string]any{"action": "request.view", "view": true}}},
		"nothing at all":                {"trigger": "automatic", "action": map[string]any{"type": "Action.Execute"}},
	} {
		a, err := w.sim.Activity(avery, alerts, "invoke")
		if err != nil {
			t.Fatal(err)
		}
		a["name"], a["value"], a["replyToId"] = "adaptiveCard/action", value, ref.MessageID
		reply, err := w.sim.Deliver(t.Context(), teamssim.Delivery{Activity: a})
		if err != nil || reply.Status != 200 || string(reply.Body) != `{"statusCode":200,"type":"application/vnd.microsoft.activity.message","value":""}` {
			t.Errorf("%s: %d %s, %v, want that the card stays", name, reply.Status, reply.Body, err)
		}
	}
	for _, inv := range w.handler.invocations() {
		if inv.Kind != chat.View || inv.Fields != nil {
			t.Errorf("the handler was asked %+v, want views alone", inv)
		}
	}
	w.bot.tasks.wg.Wait()
	select {
	case <-worked:
		t.Error("work was done for a view")
	default:
	}
	if n := len(w.sim.Messages(alerts, riley)); n != 1 {
		t.Errorf("%d messages in the channel, want the card alone", n)
	}
}

// The checks of a click hold, and a panic shows nobody anything.
func TestViews_refusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.handler.will(func(chat.Invocation) chat.Response { panic("boom") })
	ref, err := w.bot.Post(t.Context(), chat.Post{To: "teams:" + alerts, Message: differing(teamsAccount(avery))})
	if err != nil {
		t.Fatal(err)
	}
	w.show(avery, 1)
	if m := w.sim.Messages(alerts, avery)[0]; m.Replaced || m.Note != "" {
		t.Errorf("after a panic Avery sees %s %q", m.Card, m.Note)
	}
	asked := len(w.handler.invocations())
	for name, change := range map[string]func(a map[string]any){
		"of nobody":         func(a map[string]any) { delete(a["from"].(map[string]any), "aadObjectId") },
		"of another tenant": func(a map[string]any) { a["channelData"] = map[string]any{"tenant": map[string]any{"id": partner}} },
	} {
		a, err := w.sim.Activity(avery, alerts, "invoke")
		if err != nil {
			t.Fatal(err)
		}
		a["name"], a["replyToId"] = "adaptiveCard/action", ref.MessageID
		a["value"] = map[string]any{"trigger": "automatic", "action": map[string]any{"type": "Action.Execute", "verb": "request.view", "data": map[string]any{"action": "request.view", "view": true}}}
		change(a)
		if reply, err := w.sim.Deliver(t.Context(), teamssim.Delivery{Activity: a}); err != nil || reply.Status != 403 {
			t.Errorf("%s: %d, %v, want 403", name, reply.Status, err)
		}
	}
	if n := len(w.handler.invocations()); n != asked {
		t.Errorf("the handler was asked %d times more", n-asked)
	}
}

// When all clients ask at once, those for whom there is no room keep the card, and
// clicks are answered as ever.
func TestViews_stormLeavesRoomForClicks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := make(chan struct{})
	w.handler.will(func(inv chat.Invocation) chat.Response {
		if inv.Kind == chat.View {
			<-release
			return chat.Response{Replace: titled("yours")}
		}
		return chat.Response{Message: titled("Your denial counts.")}
	})
	ref, err := w.bot.Post(t.Context(), chat.Post{To: "teams:" + alerts, Message: differing(teamsAccount(avery))})
	if err != nil {
		t.Fatal(err)
	}
	a, err := w.sim.Activity(avery, alerts, "invoke")
	if err != nil {
		t.Fatal(err)
	}
	a["name"], a["replyToId"] = "adaptiveCard/action", ref.MessageID
	a["value"] = map[string]any{"trigger": "automatic", "action": map[string]any{"type": "Action.Execute", "verb": "request.view", "data": map[string]any{"action": "request.view", "view": true}}}
	const clients = 2 * maxViewing
	bodies := make([]string, clients)
	var all sync.WaitGroup
	var answered atomic.Int64
	for i := range clients {
		all.Go(func() {
			reply, err := w.sim.Deliver(context.WithoutCancel(t.Context()), teamssim.Delivery{Activity: a})
			if err != nil {
				t.Error(err)
			}
			bodies[i] = string(reply.Body)
			answered.Add(1)
		})
	}
	w.until("there is no more room", func() bool { return answered.Load() == clients-maxViewing })
	if out := w.click(avery, ref, teamssim.Choice{Title: "Deny"}, nil); out.Note != "Your denial counts." {
		t.Errorf("a click is answered %+v", out)
	}
	if n := len(w.bot.seen.order); n != 1 {
		t.Errorf("%d deliveries are remembered, want that of the click", n)
	}
	close(release)
	all.Wait()
	own := 0
	for _, body := range bodies {
		if strings.Contains(body, "yours") {
			own++
		}
	}
	if own != maxViewing {
		t.Errorf("%d of %d clients were shown their own view, want %d", own, clients, maxViewing)
	}
}

// A card with as many people as there may be, by the longest addresses, still fits.
func TestViews_manyPeople(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var people []identity.Principal
	for i := range maxViewers + 20 {
		p := teamsAccount(fmt.Sprintf("%08d-0000-4000-8000-000000000001", i+1))
		p.Address = "29:" + strings.Repeat("a", maxAddress-11) + fmt.Sprintf("%08d", i+1)
		w.bot.addresses.put(p)
		people = append(people, p)
	}
	m := full(strings.Join(hostile[:12], " "))
	m.Views = &chat.Views{Action: "request.view", Value: strings.Repeat("v", 110), For: people}
	if _, err := w.bot.Post(t.Context(), chat.Post{To: "teams:" + alerts, Message: m}); err != nil {
		t.Fatalf("Post() = %v", err)
	}
	if got := named(t, w.sim.Messages(alerts, riley)[0].Card); len(got) != maxViewers || got[0] != people[0].Address {
		t.Errorf("%d people are named, want the first %d", len(got), maxViewers)
	}
	long := teamsAccount(loner)
	long.Address = "29:" + strings.Repeat("a", maxAddress)
	w.bot.addresses.put(long)
	if got, missing := w.bot.addresses.find(home, []identity.Principal{long}); len(got) != 0 || !missing {
		t.Errorf("an address of %d characters is put into cards", len(long.Address))
	}
}

// The members of a conversation are looked at once for all who are named and then asked
// about, not once for each.
func TestViews_costOneListOfMembers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.handler.will(func(inv chat.Invocation) chat.Response {
		if st, err := w.bot.Standing(t.Context(), inv.By); err != nil || st != identity.Member {
			t.Errorf("Standing(%s) = %v, %v", inv.By.Name, st, err)
		}
		return chat.Response{}
	})
	ref, err := w.bot.Post(t.Context(), chat.Post{To: "teams:" + alerts, Message: differing(teamsAccount(avery), teamsAccount(riley), teamsAccount(loner))})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := w.bot.Edit(t.Context(), ref, differing(teamsAccount(avery), teamsAccount(riley), teamsAccount(loner))); err != nil {
			t.Fatal(err)
		}
		w.show(avery, 1)
		w.show(riley, 1)
	}
	lists, lookups := 0, 0
	for _, c := range w.sim.Calls() {
		switch {
		case strings.HasSuffix(c.Path, "/pagedmembers"):
			lists++
		case strings.Contains(c.Path, "/members/"):
			lookups++
		}
	}
	if lists != 2 || lookups != 0 { // one for who reads there, one for Lee, who does not
		t.Errorf("%d lists of members and %d look-ups, want 2 and none", lists, lookups)
	}
	w.skew.Store(int64(2 * readersAge))
	w.sim.Fail(teamssim.Fault{Path: "/pagedmembers", Status: 503})
	began := time.Now()
	if err := w.bot.Edit(t.Context(), ref, differing(teamsAccount(avery), teamsAccount(loner))); err != nil || time.Since(began) > 2*meetTime {
		t.Errorf("Edit() without a list of members = %v after %s", err, time.Since(began))
	}
}

// A card in somebody's personal chat names nobody else, also when it is edited by a bot
// that has forgotten everybody.
func TestViews_personalChatIsOfOnePerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	everybody := differing(teamsAccount(riley), teamsAccount(avery))
	ref, err := w.bot.Post(t.Context(), chat.Post{To: chat.DirectTo(teamsAccount(avery)), Message: everybody})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"29:1" + avery}
	direct := w.sim.PersonalChat(avery)
	if diff := cmp.Diff(want, named(t, w.sim.Messages(direct, avery)[0].Card)); diff != "" {
		t.Errorf("named (-want +got):\n%s", diff)
	}
	w.bot.addresses = newAddressBook(w.now)
	ref.Conversation.Direct = false // as it is stored
	if err := w.bot.Edit(t.Context(), ref, everybody); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, named(t, w.sim.Messages(direct, avery)[0].Card)); diff != "" {
		t.Errorf("named after an edit (-want +got):\n%s", diff)
	}
	if err := w.bot.Edit(t.Context(), ref, differing(teamsAccount(riley))); err != nil {
		t.Fatal(err)
	}
	if got := named(t, w.sim.Messages(direct, avery)[0].Card); got != nil {
		t.Errorf("the card names %q in a chat that is none of theirs", got)
	}
}
