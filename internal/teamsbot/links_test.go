package teamsbot

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

const portalLink = "https://portal.example/machines/1?a=b&c=d"

// linkWorld is a Teams whose app previews addresses of portal.example, with a handler
// that knows something about each.
func linkWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.sim.SetDomains("portal.example")
	w.handler.will(func(inv chat.Invocation) chat.Response {
		return chat.Response{Previews: func(context.Context) map[string]chat.Message {
			return map[string]chat.Message{inv.Text: withoutTable(full("web-01 <at>all</at>"))}
		}}
	})
	return w
}

func (w *world) paste(user, conversation, text string) string {
	w.t.Helper()
	card, err := w.sim.Paste(w.t.Context(), user, conversation, text)
	if err != nil {
		w.t.Fatalf("Paste(%q) = %v", text, err)
	}
	return string(card)
}

func TestLinks_arePreviewedWhereSomebodyWrites(t *testing.T) {
	t.Parallel()
	w := linkWorld(t)
	card := w.paste(riley, alerts, "look at "+portalLink+" and https://portal.example/2")
	if !strings.Contains(card, "web-01 <at>all</at>") {
		t.Fatalf("the preview is %s", card)
	}
	for _, never := range []string{"Action.Execute", "Action.Submit", "Input.", `"mention"`, "refresh"} {
		if strings.Contains(card, never) {
			t.Errorf("the preview has %s, but it stands in a message that is not the bot's", never)
		}
	}
	want := chat.Invocation{
		Kind: chat.Links, By: rileyAs(), Text: portalLink,
		In: chat.Conversation{Platform: identity.Teams, Workspace: home, ID: alerts},
	}
	if diff := cmp.Diff(want, w.handler.invocations()[0], cmpopts.IgnoreFields(chat.Invocation{}, "At", "Delivery")); diff != "" {
		t.Errorf("invocation (-want +got):\n%s", diff)
	}
	// Nothing is kept: what somebody may see is asked each time.
	w.handler.will(func(chat.Invocation) chat.Response {
		return chat.Response{Previews: func(context.Context) map[string]chat.Message { return nil }}
	})
	if card := w.paste(riley, alerts, portalLink); card != "" {
		t.Errorf("after the right is gone there is a preview: %s", card)
	}
	if n := len(w.sim.Effects()); n != 0 {
		t.Errorf("%d effects; previews post nothing by themselves", n)
	}
}

func TestLinks_whereNoneIsPreviewed(t *testing.T) {
	t.Parallel()
	w := linkWorld(t)
	w.sim.AddGroupChat(teamssim.GroupChat{Tenant: home, ID: "19:elsewhere@thread.v2", Name: "Without the bot", Members: []string{riley}})
	w.sim.AddGroupChat(teamssim.GroupChat{Tenant: home, ID: "19:guests@thread.v2", Name: "With a guest", Members: []string{riley, guest}, Installed: true})
	direct := w.sim.PersonalChat(riley)
	for name, place := range map[string]string{
		"a chat with the bot": direct, "a chat without the bot": "19:elsewhere@thread.v2", "a chat with a guest": "19:guests@thread.v2",
	} {
		if card := w.paste(riley, place, portalLink); card != "" {
			t.Errorf("%s: %s", name, card)
		}
	}
	w.handler.will(func(chat.Invocation) chat.Response { panic("boom") })
	if card := w.paste(riley, alerts, portalLink); card != "" {
		t.Errorf("after a panic: %s", card)
	}
	w.handler.will(func(chat.Invocation) chat.Response {
		return chat.Response{Message: titled("no"), Previews: func(context.Context) map[string]chat.Message { panic("boom") }}
	})
	if card := w.paste(riley, alerts, portalLink); card != "" {
		t.Errorf("after a panic while it is made: %s", card)
	}

	asked := len(w.handler.invocations())
	nothing := func(name string, value any, status int, change func(a map[string]any)) {
		t.Helper()
		a, err := w.sim.Activity(riley, alerts, "invoke")
		if err != nil {
			t.Fatal(err)
		}
		a["name"], a["value"] = "composeExtension/queryLink", value
		if change != nil {
			change(a)
		}
		reply, err := w.sim.Deliver(t.Context(), teamssim.Delivery{Activity: a})
		if err != nil || reply.Status != status || strings.Contains(string(reply.Body), "contentType") {
			t.Errorf("%s: %d %s, %v", name, reply.Status, reply.Body, err)
		}
	}
	nothing("two addresses in one", map[string]any{"url": portalLink + "\n" + portalLink}, 200, nil)
	nothing("far too long", map[string]any{"url": portalLink + strings.Repeat("x", maxLinkLength)}, 200, nil)
	nothing("no address", map[string]any{}, 200, nil)
	nothing("another shape", []any{portalLink}, 200, nil)
	nothing("another tenant", map[string]any{"url": portalLink}, 403, func(a map[string]any) {
		a["channelData"] = map[string]any{"tenant": map[string]any{"id": partner}}
	})
	nothing("nobody", map[string]any{"url": portalLink}, 403, func(a map[string]any) { delete(a["from"].(map[string]any), "aadObjectId") })
	nothing("somebody who has not installed the app", map[string]any{"url": portalLink}, 403, func(a map[string]any) {
		a["name"] = "composeExtension/anonymousQueryLink"
		a["from"] = map[string]any{"id": "redacted", "name": "redacted"}
	})
	if n := len(w.handler.invocations()); n != asked {
		t.Errorf("the handler was asked %d times about them", n-asked)
	}
}

// What somebody writes to a colleague says nothing about where the bot reaches them.
func TestLinks_leaveThePersonalChatWhereItIs(t *testing.T) {
	t.Parallel()
	linkWorld(t).toAColleague("composeExtension/queryLink", map[string]any{"url": portalLink})
}

// toAColleague lets Riley ask in a message to somebody else: nothing comes of it, and
// the bot reaches them where it did.
func (w *world) toAColleague(name string, value map[string]any) {
	w.t.Helper()
	direct := w.sim.PersonalChat(riley)
	w.message(riley, direct, "help", "")
	a, err := w.sim.Activity(riley, direct, "invoke")
	if err != nil {
		w.t.Fatal(err)
	}
	a["name"], a["value"] = name, value
	a["conversation"] = map[string]any{"id": "19:riley_avery@unq.gbl.spaces", "conversationType": "personal", "tenantId": home}
	if reply, err := w.sim.Deliver(w.t.Context(), teamssim.Delivery{Activity: a}); err != nil || reply.Status != 200 || strings.Contains(string(reply.Body), "contentType") {
		w.t.Errorf("answered %d %s, %v, want nothing", reply.Status, reply.Body, err)
	}
	w.bot.tasks.wg.Wait()
	if to, err := w.bot.personalChat(w.t.Context(), rileyAs()); err != nil || to.ID != direct {
		w.t.Errorf("Riley is reached in %s, %v, want the chat with the bot", to.ID, err)
	}
}

// What is known is not even read where people from outside would see it, nor for an
// address that comes twice, and only so much at once.
func TestLinks_costs(t *testing.T) {
	t.Parallel()
	w := linkWorld(t)
	var reads atomic.Int64
	release := make(chan struct{})
	w.handler.will(func(chat.Invocation) chat.Response {
		return chat.Response{Previews: func(ctx context.Context) map[string]chat.Message {
			reads.Add(1)
			select {
			case <-release:
			case <-ctx.Done(): // somebody waits, but not for ever
			}
			return nil
		}}
	})
	w.sim.AddGroupChat(teamssim.GroupChat{Tenant: home, ID: "19:guests@thread.v2", Name: "With a guest", Members: []string{riley, guest}, Installed: true})
	w.paste(riley, "19:guests@thread.v2", portalLink)
	if n := reads.Load(); n != 0 {
		t.Fatalf("%d reads where a guest would see it", n)
	}
	a, err := w.sim.Activity(riley, alerts, "invoke")
	if err != nil {
		t.Fatal(err)
	}
	a["name"], a["value"] = "composeExtension/queryLink", map[string]any{"url": portalLink}
	var all sync.WaitGroup
	var answered atomic.Int64
	deliver := func(id string) {
		one := map[string]any{}
		for k, v := range a {
			one[k] = v
		}
		one["id"] = id
		all.Go(func() {
			if _, err := w.sim.Deliver(context.WithoutCancel(t.Context()), teamssim.Delivery{Activity: one}); err != nil {
				t.Error(err)
			}
			answered.Add(1)
		})
	}
	for range 2 {
		deliver("f:twice")
	}
	for i := range 2 * maxLinking {
		deliver(fmt.Sprintf("f:%d", i))
	}
	w.until("there is no more room", func() bool { return answered.Load() == maxLinking+2 })
	close(release)
	all.Wait()
	if n := reads.Load(); n != maxLinking {
		t.Errorf("%d reads, want %d at once and none for the others", n, maxLinking)
	}
}
