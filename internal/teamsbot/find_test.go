package teamsbot

import (
	"context"
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

// findWorld is a Teams with a handler that finds two machines for everything.
func findWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.handler.will(func(chat.Invocation) chat.Response {
		return chat.Response{Found: func(context.Context) ([]chat.Message, chat.Message) {
			return []chat.Message{withoutTable(full("web-01 <at>all</at>")), withoutTable(full("[web-02](https://evil.example)"))}, chat.Message{}
		}}
	})
	return w
}

func (w *world) query(user, conversation, text string) teamssim.Results {
	w.t.Helper()
	got, err := w.sim.Query(w.t.Context(), user, conversation, "machine", text)
	if err != nil {
		w.t.Fatalf("Query(%q) = %v", text, err)
	}
	return got
}

func TestFind_listsWhatCanBePutIntoAMessage(t *testing.T) {
	t.Parallel()
	w := findWorld(t)
	got := w.query(riley, alerts, "web")
	if len(got.List) != 2 {
		t.Fatalf("Query() = %+v, want two results", got)
	}
	for i, want := range []string{"web-01 ‹at›all‹/at›", `\[web-02\](https\[:\]//evil.example)`} {
		if line := got.List[i]; !strings.Contains(line.Title, want) || !strings.Contains(line.Text, "Machine ") || strings.ContainsAny(line.Title+line.Text, "<>") {
			t.Errorf("result %d is %q, %q, want %q in it and no markup", i, line.Title, line.Text, want)
		}
		for _, never := range []string{"Action.Execute", "Action.Submit", "Input.", `"mention"`, "refresh"} {
			if strings.Contains(string(got.List[i].Card), never) {
				t.Errorf("the card has %s, but it stands in a message that is not the bot's", never)
			}
		}
	}
	want := chat.Invocation{
		Kind: chat.Find, By: rileyAs(), Action: "machine", Text: "web",
		In: chat.Conversation{Platform: identity.Teams, Workspace: home, ID: alerts},
	}
	if diff := cmp.Diff(want, w.handler.invocations()[0], cmpopts.IgnoreFields(chat.Invocation{}, "At", "Delivery")); diff != "" {
		t.Errorf("invocation (-want +got):\n%s", diff)
	}
	w.query(riley, alerts, "")
	if got := w.handler.invocations()[1]; got.Kind != chat.Find || got.Text != "" {
		t.Errorf("before anything is typed the handler is asked %+v", got)
	}
	w.handler.will(func(chat.Invocation) chat.Response {
		return chat.Response{Message: &chat.Message{Title: chat.Join(chat.Plain("Not "), chat.Untrusted("<b>")), Note: chat.Plain("Do this.")}}
	})
	if got := w.query(riley, alerts, "web"); got.Note != "Not ‹b› Do this." || got.List != nil {
		t.Errorf("a refusal is shown as %+v", got)
	}
	if n := len(w.sim.Effects()); n != 0 {
		t.Errorf("%d effects; a search posts nothing by itself", n)
	}
}

func TestFind_onlyTheFirstFewAreListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.handler.will(func(chat.Invocation) chat.Response {
		return chat.Response{Found: func(context.Context) (found []chat.Message, _ chat.Message) {
			for i := range 40 {
				found = append(found, *titled(fmt.Sprint("web-", i)))
			}
			return found, chat.Message{}
		}}
	})
	if got := w.query(riley, alerts, "web"); len(got.List) != maxListed { // the simulator refuses more
		t.Errorf("%d results", len(got.List))
	}
}

func TestFind_whereNothingIsListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var read atomic.Int64
	w.handler.will(func(chat.Invocation) chat.Response {
		return chat.Response{Found: func(context.Context) ([]chat.Message, chat.Message) {
			read.Add(1)
			return []chat.Message{*titled("web-01")}, chat.Message{}
		}}
	})
	w.sim.AddGroupChat(teamssim.GroupChat{Tenant: home, ID: "19:elsewhere@thread.v2", Name: "Without the bot", Members: []string{riley}})
	w.sim.AddGroupChat(teamssim.GroupChat{Tenant: home, ID: "19:guests@thread.v2", Name: "With a guest", Members: []string{riley, guest}, Installed: true})
	direct := w.sim.PersonalChat(riley)
	for name, place := range map[string]string{
		"a chat with the bot": direct, "a chat without the bot": "19:elsewhere@thread.v2", "a chat with a guest": "19:guests@thread.v2",
	} {
		if got := w.query(riley, place, "web"); got.List != nil || !strings.HasPrefix(got.Note, "Not ") || read.Load() != 0 {
			t.Errorf("%s: %+v after %d reads", name, got, read.Load())
		}
	}
	w.handler.will(func(chat.Invocation) chat.Response { panic("boom") })
	if got := w.query(riley, alerts, "web"); got.List != nil || !strings.Contains(got.Note, "Something went wrong") {
		t.Errorf("after a panic: %+v", got)
	}
	w.handler.will(func(chat.Invocation) chat.Response {
		return chat.Response{Found: func(context.Context) ([]chat.Message, chat.Message) { panic("boom") }}
	})
	if got := w.query(riley, alerts, "web"); got.List != nil || !strings.Contains(got.Note, "Something went wrong") {
		t.Errorf("after a panic while it is looked for: %+v", got)
	}
	w.handler.will(func(chat.Invocation) chat.Response { return chat.Response{} })
	if got := w.query(riley, alerts, "web"); got.List != nil || got.Note != "" {
		t.Errorf("nothing at all: %+v", got)
	}

	asked := len(w.handler.invocations())
	type object = map[string]any
	one := func(name string, value any) []object { return []object{{"name": name, "value": value}} }
	nothing := func(name string, value any, status int, change func(a map[string]any)) {
		t.Helper()
		a, err := w.sim.Activity(riley, alerts, "invoke")
		if err != nil {
			t.Fatal(err)
		}
		a["name"], a["value"] = "composeExtension/query", value
		if change != nil {
			change(a)
		}
		reply, err := w.sim.Deliver(t.Context(), teamssim.Delivery{Activity: a})
		if err != nil || reply.Status != status || strings.Contains(string(reply.Body), "contentType") {
			t.Errorf("%s: %d %s, %v", name, reply.Status, reply.Body, err)
		}
	}
	good := object{"commandId": "machine", "parameters": one("machine", "web")}
	nothing("no command", object{"parameters": one("machine", "web")}, 200, nil)
	nothing("no parameter", object{"commandId": "machine"}, 200, nil)
	nothing("two parameters", object{"commandId": "machine", "parameters": append(one("machine", "web"), one("all", "yes")...)}, 200, nil)
	nothing("a parameter of another type", object{"commandId": "machine", "parameters": one("machine", []string{"web"})}, 200, nil)
	nothing("far too long", object{"commandId": "machine", "parameters": one("machine", strings.Repeat("x", maxLinkLength+1))}, 200, nil)
	nothing("a command that is far too long", object{"commandId": strings.Repeat("x", maxCardValue+1), "parameters": one("machine", "web")}, 200, nil)
	nothing("another shape", []any{"machine"}, 200, nil)
	nothing("a second page", object{"commandId": "machine", "parameters": one("machine", "web"), "queryOptions": object{"skip": 25, "count": 25}}, 200, nil)
	nothing("another tenant", good, 403, func(a map[string]any) {
		a["channelData"] = object{"tenant": object{"id": partner}}
	})
	nothing("nobody", good, 403, func(a map[string]any) { delete(a["from"].(map[string]any), "aadObjectId") })
	nothing("something to press in a list", good, 501, func(a map[string]any) { a["name"] = "composeExtension/selectItem" })
	if n := len(w.handler.invocations()); n != asked {
		t.Errorf("the handler was asked %d times about them", n-asked)
	}
}

// What somebody looks for while they write to a colleague says nothing about where the
// bot reaches them.
func TestFind_leavesThePersonalChatWhereItIs(t *testing.T) {
	t.Parallel()
	findWorld(t).toAColleague("composeExtension/query", map[string]any{"commandId": "machine", "parameters": []any{map[string]any{"name": "machine", "value": "web"}}})
}

// Whoever types gets an answer before Teams gives up, and only so many at once are
// looked for.
func TestFind_costs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var reads, answered atomic.Int64
	release := make(chan struct{})
	w.handler.will(func(inv chat.Invocation) chat.Response {
		return chat.Response{Found: func(ctx context.Context) ([]chat.Message, chat.Message) {
			reads.Add(1)
			select {
			case <-release:
				if inv.Text == "slow" {
					<-ctx.Done()
				}
			case <-ctx.Done():
			}
			return nil, *titled("Not answered.")
		}}
	})
	var all sync.WaitGroup
	for range 2 * maxLinking {
		all.Go(func() {
			if _, err := w.sim.Query(context.WithoutCancel(t.Context()), riley, alerts, "machine", "web"); err != nil {
				t.Error(err)
			}
			answered.Add(1)
		})
	}
	w.until("there is no more room", func() bool { return answered.Load() == maxLinking })
	close(release)
	all.Wait()
	if n := reads.Load(); n != maxLinking {
		t.Errorf("%d searches, want %d at once and none for the others", n, maxLinking)
	}
	began := time.Now()
	if got := w.query(riley, alerts, "slow"); got.Note != "Not answered." || time.Since(began) > linkTime+900*time.Millisecond {
		t.Errorf("after %s: %+v", time.Since(began), got)
	}
}

// A client that sends the same again costs nothing and is told nothing.
func TestFind_twiceTheSame(t *testing.T) {
	t.Parallel()
	w := findWorld(t)
	a, err := w.sim.Activity(riley, alerts, "invoke")
	if err != nil {
		t.Fatal(err)
	}
	a["name"] = "composeExtension/query"
	a["value"] = map[string]any{"commandId": "machine", "parameters": []any{map[string]any{"name": "machine", "value": "web"}}}
	for i, want := range []bool{true, false} {
		reply, err := w.sim.Deliver(t.Context(), teamssim.Delivery{Activity: a})
		if err != nil || reply.Status != 200 || strings.Contains(string(reply.Body), "web-01") != want {
			t.Errorf("delivery %d: %d %s, %v", i+1, reply.Status, reply.Body, err)
		}
	}
	if n := len(w.handler.invocations()); n != 1 {
		t.Errorf("the handler was asked %d times", n)
	}
}
