package teamsbot

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

// crowded is a pending request for n machines whose facts, all of them chosen by
// whoever holds the machines, are as long as Defender passes on.
func crowded(t *testing.T, n, length int) approvals.Request {
	t.Helper()
	long := strings.Repeat("x", length)
	os, health := long, long
	if length > 1_000 { // the longest warnings instead, of a machine never seen
		os, health = "WindowsServer2008R2", "NoSensorData"
	}
	facts, err := json.Marshal(cards.TargetFacts{
		OS: os, Health: health, Group: long, Tags: []string{long, long, long, long}, Users: []string{long, long, long},
		Pending: []string{long}, OpenAlerts: 3, WorstTitle: long, WorstID: "da1_2", ReadAt: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	r := approvals.Request{
		ID: "019a0000-0000-7000-8000-000000000001", Number: 7, Tenant: "t", Action: approvals.Isolate,
		Params: map[string]string{"scope": "full"}, State: approvals.Pending, Digest: strings.Repeat("d", 64),
		Requester: identity.PersonID{Tenant: "t", Object: "o"}, RequesterName: strings.Repeat("R", 80),
		Reason: strings.Repeat("w", approvals.MaxReason), Opened: time.Now(), Expires: time.Now().Add(time.Hour),
		Rule: policy.Applied{Name: "servers", Text: strings.Repeat("t", 600), Approvers: 1, From: []string{"soc-leads"}},
	}
	for i := range n {
		r.Targets = append(r.Targets, approvals.Target{
			Index: i, Kind: approvals.TargetMachine, ID: fmt.Sprintf("%040x", i+1), Name: fmt.Sprintf("m%02d-%s", i, long), Facts: facts, State: approvals.Pending,
		})
	}
	return r
}

// A request is approved by its card alone, so every machine stands on it by its
// whole ID, however much text came with the others (threat-model ).
func TestAttack_longFactsHideNoMachineOfAnApproval(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 5, approvals.MaxTargets} {
		for _, length := range []int{10, 200, 5_000} {
			t.Run(fmt.Sprintf("%d machines, facts of %d characters", n, length), func(t *testing.T) {
				t.Parallel()
				r := crowded(t, n, length)
				drawn := encode(card(cards.Request(cards.RequestView{Request: r})))
				if !strings.Contains(string(drawn), cards.ActionApprove) {
					t.Fatal("the card has no Approve button, so nobody could approve it")
				}
				for _, target := range r.Targets {
					if !strings.Contains(string(drawn), target.ID) || !strings.Contains(string(drawn), target.Name[:4]) {
						t.Errorf("the card can be approved and does not show machine %s", target.ID)
					}
				}
				for _, want := range []string{"Defender's isolate, type Full", strings.Repeat("w", 400), strings.Repeat("R", 80)} {
					if !strings.Contains(string(drawn), want) {
						t.Errorf("the card can be approved and does not show %.30q", want)
					}
				}
			})
		}
	}
}

// The client names the message that a form stood in. It may name any, such as
// the approval card, which would then vanish for everybody (threat-model T-16).
func TestAttack_submittedFormReplacesAnotherMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	approval := w.posted()
	w.handler.will(func(inv chat.Invocation) chat.Response {
		if inv.Kind == chat.Command {
			return chat.Response{Form: &reasonForm}
		}
		return chat.Response{Message: titled("Nothing waits for approval."), Later: func(ctx context.Context, out chat.Replier) {
			if err := out.Answer(ctx, *titled("Nothing waits for approval.")); err != nil {
				t.Errorf("Answer() = %v", err)
			}
		}}
	})
	w.message(riley, alerts, "@mdebot isolate web-01", "")
	w.fromBot(riley, alerts, 2)
	w.bot.tasks.wg.Wait()
	for name, form := range map[string]string{"no form of ours": "x", "a form of another message": w.bot.forms.order[0]} {
		a, err := w.sim.Activity(riley, alerts, "invoke")
		if err != nil {
			t.Fatal(err)
		}
		a["name"], a["replyToId"] = "adaptiveCard/action", approval.MessageID
		a["value"] = map[string]any{"action": map[string]any{"type": "Action.Execute", "verb": "request.deny", "data": map[string]any{
			"action": "request.deny", "value": "r1.d1", "form": form,
		}}}
		if reply, err := w.sim.Deliver(t.Context(), teamssim.Delivery{Activity: a}); err != nil || reply.Status != 200 {
			t.Errorf("%s: Deliver() = %+v, %v, want an answer to the one who clicked", name, reply, err)
		}
	}
	w.bot.tasks.wg.Wait()
	for _, m := range w.sim.Messages(alerts, avery) {
		if m.ID == approval.MessageID && !strings.Contains(string(m.Card), "request.approve") {
			t.Errorf("the approval card shows %s to everybody", m.Card)
		}
	}
}

func TestAttack_panicInAnAnswerEndsNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if !w.bot.tasks.start(func(context.Context) { panic("boom") }) {
		t.Fatal("start() refused the work")
	}
	w.bot.tasks.wg.Wait()
	w.message(riley, alerts, "@mdebot help", "")
	w.until("the next message is answered", func() bool { return len(w.handler.invocations()) == 1 })
}

// Where a file was saved comes back from the client and becomes a link.
func TestAttack_savedFileLinksElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	room := w.sim.PersonalChat(riley)
	key, _ := w.bot.files.put(keptFile{file: chat.File{Name: "x.csv", Content: []byte("x")}, owner: rileyAs().Key()}, 1)
	a, err := w.sim.Activity(riley, room, "invoke")
	if err != nil {
		t.Fatal(err)
	}
	a["name"] = "fileConsent/invoke"
	a["value"] = map[string]any{"action": "accept", "context": map[string]any{"file": key}, "uploadInfo": map[string]any{
		"uploadUrl": "http://" + w.sim.Host() + "/files/upload/1", "contentUrl": "https://evil.example/x.csv",
	}}
	if reply, err := w.sim.Deliver(t.Context(), teamssim.Delivery{Activity: a}); err != nil || reply.Status != 200 {
		t.Fatalf("Deliver() = %+v, %v", reply, err)
	}
	w.bot.tasks.wg.Wait()
	for _, m := range w.sim.Messages(room, riley) {
		if strings.Contains(fmt.Sprintf("%+v %s", m, m.Card), "evil.example") {
			t.Errorf("message = %+v, want no link of the client's", m)
		}
	}
}

// Whoever sends a card of the bot's to a colleague sends it themselves, and can put
// buttons into it. A chat of two people is called personal as well: what is pressed
// there is not answered there, and nothing for the one who pressed goes there later.
func TestAttack_buttonInAChatOfTwoPeople(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	direct := w.sim.PersonalChat(riley)
	w.message(riley, direct, "help", "")
	w.handlerAsked(1)
	answer := chat.Message{Title: chat.Plain("canary"), Facts: []chat.Fact{{Label: "Users", Value: chat.Plain("Riley")}}}
	w.handler.will(func(chat.Invocation) chat.Response { return chat.Response{Message: &answer} })
	const ofTwo = "19:" + riley + "_" + guest + "@unq.gbl.spaces"
	for name, change := range map[string]func(map[string]any){
		"a button": func(a map[string]any) {
			a["type"], a["name"] = "invoke", "adaptiveCard/action"
			a["value"] = map[string]any{"action": map[string]any{"type": "Action.Execute", "verb": "machine.show", "data": map[string]any{"action": "machine.show", "value": "web-01"}}}
		},
		"a client that asks by itself": func(a map[string]any) { // as soon as the card is seen
			a["type"], a["name"] = "invoke", "adaptiveCard/action"
			a["value"] = map[string]any{"trigger": "automatic", "action": map[string]any{"type": "Action.Execute", "verb": "x", "data": map[string]any{"action": "x", "view": true}}}
		},
		"a button of an old client": func(a map[string]any) {
			a["type"], a["value"] = "message", map[string]any{"action": "machine.show", "value": "web-01"}
		},
		"a dialog": func(a map[string]any) {
			a["type"], a["name"] = "invoke", "task/fetch"
			a["value"] = map[string]any{"data": map[string]any{"action": "machine.show", "value": "web-01"}}
		},
	} {
		a, err := w.sim.Activity(riley, direct, "invoke")
		if err != nil {
			t.Fatal(err)
		}
		a["conversation"] = map[string]any{"id": ofTwo, "conversationType": "personal", "tenantId": home}
		a["replyToId"] = "1700000000000"
		change(a)
		if reply, err := w.sim.Deliver(t.Context(), teamssim.Delivery{Activity: a}); err != nil || reply.Status != 200 {
			t.Errorf("%s: Deliver() = %+v, %v", name, reply, err)
		}
		w.bot.tasks.wg.Wait()
		if to, err := w.bot.personalChat(t.Context(), rileyAs()); err != nil || to.ID != direct {
			t.Errorf("%s: what is for Riley goes to %s, %v, want their chat with the bot", name, to.ID, err)
		}
	}
	for _, inv := range w.handler.invocations() {
		if inv.In.ID == ofTwo && inv.In.Direct {
			t.Errorf("%s %q in a chat of two counts as said to the bot alone", inv.Kind, inv.Action)
		}
	}
	for _, c := range w.sim.Calls() {
		if c.Method == "POST" && !c.Targeted && strings.Contains(c.Path, "unq.gbl.spaces") {
			t.Errorf("%s %s: the bot writes where the other one reads", c.Method, c.Path)
		}
	}
}

// What is pressed in a message that somebody else has sent asks the handler nothing,
// and whoever pressed it is told. The words of such a card are not the bot's.
func TestAttack_buttonInSomebodyElsesMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ref := w.posted()
	for name, c := range map[string]struct {
		kind, call, message string
		value               map[string]any
	}{
		"a button":              {"invoke", "adaptiveCard/action", "1", map[string]any{"action": map[string]any{"type": "Action.Execute", "verb": "request.approve", "data": map[string]any{"action": "request.approve", "value": "r1.d1"}}}},
		"no message":            {"invoke", "adaptiveCard/action", "", map[string]any{"action": map[string]any{"type": "Action.Execute", "verb": "request.approve", "data": map[string]any{"action": "request.approve", "value": "r1.d1"}}}},
		"a button for a dialog": {"invoke", "task/fetch", "1", map[string]any{"data": map[string]any{"action": "request.approve", "value": "r1.d1"}}},
		"an old client":         {"message", "", "1", map[string]any{"action": "request.approve", "value": "r1.d1"}},
	} {
		a, err := w.sim.Activity(avery, alerts, c.kind)
		if err != nil {
			t.Fatal(err)
		}
		if c.call != "" {
			a["name"] = c.call
		}
		a["value"], a["replyToId"] = c.value, c.message
		reply, err := w.sim.Deliver(t.Context(), teamssim.Delivery{Activity: a})
		if err != nil || reply.Status != 200 || c.kind == "invoke" && !strings.Contains(string(reply.Body), "not mdebot's own card") {
			t.Errorf("%s: Deliver() = %d %s, %v, want a refusal", name, reply.Status, reply.Body, err)
		}
	}
	w.bot.tasks.wg.Wait()
	if asked := w.handler.invocations(); len(asked) != 0 {
		t.Errorf("the handler was asked %+v", asked)
	}
	if got := w.fromBot(avery, alerts, 2)[1]; !strings.Contains(string(got.Card), "not mdebot's own card") {
		t.Errorf("the old client shows %s", got.Card)
	}
	// The same button in the message of another conversation is none of the bot's either.
	a, err := w.sim.Activity(avery, soc, "invoke")
	if err != nil {
		t.Fatal(err)
	}
	a["name"], a["replyToId"] = "adaptiveCard/action", ref.MessageID
	a["value"] = map[string]any{"action": map[string]any{"type": "Action.Execute", "verb": "request.approve", "data": map[string]any{"action": "request.approve", "value": "r1.d1"}}}
	if _, err := w.sim.Deliver(t.Context(), teamssim.Delivery{Activity: a}); err != nil || len(w.handler.invocations()) != 0 {
		t.Errorf("a card of another conversation: %v, the handler was asked %d times", err, len(w.handler.invocations()))
	}
}
