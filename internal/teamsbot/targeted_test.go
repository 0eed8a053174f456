package teamsbot

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

// slash picks a command behind "/" as a person.
func (w *world) slash(user, conversation, text, thread string) string {
	w.t.Helper()
	id, err := w.sim.Slash(w.t.Context(), user, conversation, text, thread)
	if err != nil {
		w.t.Fatalf("Slash(%q) = %v", text, err)
	}
	return id
}

// targetedCalls counts the calls about targeted messages and those that were refused.
func (w *world) targetedCalls() (all, refused int) {
	for _, c := range w.sim.Calls() {
		if c.Targeted {
			all++
			if c.Status >= 400 {
				refused++
			}
		}
	}
	return all, refused
}

// wantUnseen fails when anybody but user saw what holds any of the words, or when it
// ever was posted for all.
func (w *world) wantUnseen(user string, words ...string) {
	w.t.Helper()
	w.bot.tasks.wg.Wait()
	for _, e := range w.sim.Effects() {
		for _, word := range words {
			if strings.Contains(string(e.Payload), word) && e.OnlyFor != user && e.Kind == teamssim.EffectPosted && !strings.HasPrefix(e.Conversation, "a:1"+user) {
				w.t.Errorf("%q was posted in %s for everybody", word, e.Conversation)
			}
		}
	}
	for _, place := range []string{alerts, soc, group} {
		for _, m := range w.sim.Messages(place, avery) {
			for _, word := range words {
				if user != avery && strings.Contains(string(m.Card)+m.Note, word) {
					w.t.Errorf("somebody else reads %q in %s", word, place)
				}
			}
		}
	}
}

func TestTargeted_privateAnswerStandsWhereItWasAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.handler.will(func(chat.Invocation) chat.Response {
		return chat.Response{Audience: chat.Personal, Message: titled("secret work"), Later: func(ctx context.Context, out chat.Replier) {
			m := *titled("secret rows")
			m.Buttons = []chat.Button{{Label: "Run again", Action: "hunt.again", Value: "1"}}
			m.Files = []chat.File{{Name: "hunt.csv", Type: "text/csv", Content: []byte("a,b\r\n")}}
			if err := out.Answer(ctx, m); err != nil {
				t.Errorf("Answer() = %v", err)
			}
		}}
	})
	id := w.message(riley, alerts, "@mdebot hunt x", "")
	w.until("the answer is there", func() bool {
		got := w.fromBot(riley, alerts, 1)
		return len(got) == 1 && strings.Contains(string(got[0].Card), "secret rows")
	})
	got := w.fromBot(riley, alerts, 1)[0]
	if got.OnlyFor != riley || got.Thread != id || got.Edits != 1 || !strings.Contains(string(got.Card), "hunt.csv (5 bytes) waits for you in our personal chat") {
		t.Errorf("the asker sees %+v, want one targeted message that was edited", got)
	}
	if direct := w.fromBot(riley, "a:1"+riley, 1); len(direct) != 1 || len(direct[0].Attachments) != 1 {
		t.Errorf("the personal chat holds %+v, want the offer of the file alone", direct)
	}
	w.wantUnseen(riley, "secret")
	if all, refused := w.targetedCalls(); all != 2 || refused != 0 {
		t.Errorf("%d calls about targeted messages, %d refused, want a post and an edit", all, refused)
	}
}

func TestTargeted_questionIsAnsweredToTheAskerAlone(t *testing.T) {
	t.Parallel()
	for name, targeted := range map[string]bool{"in place": true, "in the personal chat": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if !targeted {
				w.sim.Fail(teamssim.Fault{Method: "POST", Path: alerts, Status: 400, Code: "BadArgument", Times: 1})
			}
			w.handler.will(func(chat.Invocation) chat.Response { return chat.Response{Message: titled("web-01 is healthy")} })
			id := w.slash(riley, alerts, "machine web-01", "")
			place := map[bool]string{true: alerts, false: "a:1" + riley}[targeted]
			if got := w.fromBot(riley, place, 1)[0]; !strings.Contains(string(got.Card), "web-01 is healthy") {
				t.Errorf("the asker sees %s", got.Card)
			}
			got := w.handler.invocations()[0]
			if got.Text != "machine web-01" || got.Kind != chat.Command || got.In.Thread != id || got.In.ID != alerts {
				t.Errorf("invocation = %+v", got)
			}
			w.wantUnseen(riley, "web-01", wordPersonal, "private")
		})
	}
}

func TestTargeted_everybodyOnlyWhenTheCommandSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.handler.will(func(chat.Invocation) chat.Response {
		return chat.Response{Audience: chat.Everyone, Message: titled("web-01 is healthy")}
	})
	w.slash(riley, alerts, "machine web-01 --public", "")
	if got := w.fromBot(avery, alerts, 1)[0]; got.OnlyFor != "" {
		t.Errorf("the answer is only for %s", got.OnlyFor)
	}
}

// A tenant without targeted messages costs one failed call, and is asked again later.
func TestTargeted_refusalIsRemembered(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]teamssim.Fault{
		"not enabled":       {Status: 400, Code: "BadArgument"},
		"not in the roster": {Status: 404, Code: "BotNotInConversationRoster"},
		"no such activity":  {Status: 404, Code: "ActivityNotFoundInConversation"},
		"forbidden":         {Status: 403, Code: "Forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			fault.Method, fault.Path, fault.Times = "POST", alerts, 1
			w.sim.Fail(fault)
			w.handler.will(func(chat.Invocation) chat.Response {
				return chat.Response{Audience: chat.Personal, Message: titled("secret rows")}
			})
			for n := 1; n <= 3; n++ {
				w.message(riley, alerts, "@mdebot hunt x", "")
				w.fromBot(riley, "a:1"+riley, n)
				w.fromBot(riley, alerts, n) // the pointers
			}
			if all, refused := w.targetedCalls(); all != 1 || refused != 1 {
				t.Errorf("%d calls about targeted messages, %d refused, want one", all, refused)
			}
			w.wantUnseen(riley, "secret")
			w.skew.Store(int64(targetedOff + time.Minute))
			w.message(riley, alerts, "@mdebot hunt x", "")
			w.until("it is tried again", func() bool {
				for _, m := range w.fromBot(riley, alerts, 4) {
					if m.OnlyFor == riley && strings.Contains(string(m.Card), "secret rows") {
						return true
					}
				}
				return false
			})
		})
	}
}

// One conversation that refuses is no word about the others of its tenant.
func TestTargeted_refusalOfOneConversation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sim.Fail(teamssim.Fault{Method: "POST", Path: alerts, Status: 404, Code: "BotNotInConversationRoster", Times: 1})
	w.handler.will(func(chat.Invocation) chat.Response {
		return chat.Response{Audience: chat.Personal, Message: titled("secret rows")}
	})
	w.message(riley, alerts, "@mdebot hunt x", "")
	w.fromBot(riley, "a:1"+riley, 1)
	w.message(riley, group, "@mdebot hunt x", "")
	if got := w.fromBot(riley, group, 1)[0]; got.OnlyFor != riley {
		t.Errorf("the group shows %+v, want a targeted message", got)
	}
}

// Where Microsoft documents no targeted messages, a service that takes one for an
// ordinary message would show it to everybody. So none is sent until one came in.
func TestTargeted_otherClouds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bot.targeting.documented = false
	w.handler.will(func(chat.Invocation) chat.Response {
		return chat.Response{Audience: chat.Personal, Message: titled("secret rows")}
	})
	w.message(riley, alerts, "@mdebot hunt x", "")
	w.fromBot(riley, "a:1"+riley, 1)
	if all, _ := w.targetedCalls(); all != 0 {
		t.Fatalf("%d targeted messages were sent", all)
	}
	w.slash(riley, alerts, "hunt x", "")
	w.until("the answer stands in the channel", func() bool {
		all, refused := w.targetedCalls()
		return all == 1 && refused == 0
	})
	w.wantUnseen(riley, "secret")
	for cloud, want := range map[string]bool{"login.botframework.com": true, "login.botframework.azure.us": false, "login.botframework.azure.cn": false} {
		if clouds[cloud].targeted != want {
			t.Errorf("%s: targeted messages %v, want %v", cloud, clouds[cloud].targeted, want)
		}
	}
}

// What is pressed on a card that one person sees is answered to that person alone,
// whatever the door: a button, an old client, a form, a dialog, work that is late.
func TestTargeted_actionsOnSuchACard(t *testing.T) {
	t.Parallel()
	long := chat.Message{Title: chat.Plain("secret machine"), Facts: []chat.Fact{{Label: "Health", Value: chat.Plain("Active")}}}
	for name, resp := range map[string]chat.Response{
		"a large answer":      {Message: &long},
		"work that follows":   {Later: func(ctx context.Context, out chat.Replier) { _ = out.Answer(ctx, long) }},
		"a form":              {Form: &reasonForm},
		"a card in its place": {Replace: &long, Later: func(ctx context.Context, out chat.Replier) { _ = out.Answer(ctx, long) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.handler.will(func(inv chat.Invocation) chat.Response {
				switch inv.Kind {
				case chat.Command:
					m := approval()
					m.Title = chat.Plain("secret card")
					return chat.Response{Audience: chat.Personal, Message: &m}
				}
				return resp
			})
			w.message(riley, alerts, "@mdebot x", "")
			card := w.fromBot(riley, alerts, 1)[0]
			if _, err := w.sim.Click(t.Context(), avery, card.ID, teamssim.Choice{Title: "Deny"}, nil); err == nil {
				t.Error("somebody else clicked on a card that only Riley sees")
			}
			for range 2 { // what comes of a click may be clicked as well
				if _, err := w.sim.Click(t.Context(), riley, card.ID, teamssim.Choice{Title: "Deny"}, nil); err != nil {
					break // the card was replaced by one without the button
				}
			}
			w.wantUnseen(riley, "secret", "Isolate web-01")
		})
	}
}

func TestTargeted_formInPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.handler.will(func(inv chat.Invocation) chat.Response {
		switch inv.Kind {
		case chat.Submit:
			if inv.Fields["reason"] == "no" {
				return chat.Response{Errors: map[string]string{"reason": "secret: too short"}}
			}
			return chat.Response{Message: titled("secret request 7"), Later: func(ctx context.Context, out chat.Replier) { _ = out.Answer(ctx, *titled("secret outcome")) }}
		}
		return chat.Response{Form: &reasonForm}
	})
	w.slash(riley, alerts, "isolate web-01", "")
	form := w.fromBot(riley, alerts, 1)[0]
	if _, err := w.sim.Click(t.Context(), riley, form.ID, teamssim.Choice{Title: "Ask"}, map[string]any{"field.reason": "no", "field.type": "full"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.sim.Click(t.Context(), riley, form.ID, teamssim.Choice{Title: "Ask"}, map[string]any{"field.reason": "beaconing", "field.type": "full"}); err != nil {
		t.Fatal(err)
	}
	w.until("the form has become the answer", func() bool {
		all := w.fromBot(riley, alerts, 1)
		return len(all) == 1 && strings.Contains(string(all[0].Payload), "secret outcome")
	})
	w.wantUnseen(riley, "secret", "Isolate web-01")
	if _, refused := w.targetedCalls(); refused != 0 {
		t.Errorf("%d calls about targeted messages were refused", refused)
	}
}

func TestTargeted_outageIsNoReasonToGoElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sim.Fail(teamssim.Fault{Method: "POST", Path: alerts, Status: 502, Times: 1})
	w.handler.will(func(chat.Invocation) chat.Response {
		return chat.Response{Audience: chat.Personal, Message: titled("secret rows")}
	})
	w.message(riley, alerts, "@mdebot hunt x", "")
	if got := w.fromBot(riley, alerts, 1)[0]; got.OnlyFor != riley {
		t.Errorf("the channel shows %+v", got)
	}
	w.wantUnseen(riley, "secret")
}

// After a day Teams has taken the message away; what comes then is a new one.
func TestTargeted_gone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	proceed := make(chan struct{})
	w.handler.will(func(chat.Invocation) chat.Response {
		return chat.Response{Audience: chat.Personal, Message: titled("secret work"), Later: func(ctx context.Context, out chat.Replier) {
			<-proceed
			if err := out.Answer(ctx, *titled("secret rows")); err != nil {
				t.Errorf("Answer() = %v", err)
			}
		}}
	})
	w.message(riley, alerts, "@mdebot hunt x", "")
	w.fromBot(riley, alerts, 1)
	w.skew.Store(int64(25 * time.Hour))
	close(proceed)
	w.until("the answer is there", func() bool {
		for _, m := range w.sim.Messages(alerts, riley) {
			if m.OnlyFor == riley && strings.Contains(string(m.Card), "secret rows") {
				return true
			}
		}
		return false
	})
	w.wantUnseen(riley, "secret")
}

// A button for the asker alone is drawn on what nobody else sees, and on nothing else.
func TestTargeted_shownToEveryone(t *testing.T) {
	t.Parallel()
	for name, outside := range map[string]bool{"members alone": false, "guests read along": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := *titled("web-01 is healthy")
			m.Buttons = []chat.Button{{Label: "Show to everyone", Action: "answer.share", Value: "k", Alone: true}}
			w.handler.will(func(inv chat.Invocation) chat.Response {
				if inv.Kind == chat.Click {
					return chat.Response{Audience: chat.Everyone, Message: &m, Otherwise: titled("people from outside read here")}
				}
				return chat.Response{Later: func(ctx context.Context, out chat.Replier) { _ = out.Answer(ctx, m) }}
			})
			id := w.slash(riley, alerts, "machine web-01", "")
			only := w.fromBot(riley, alerts, 1)[0]
			if outside {
				w.sim.Join(guest, soc)
				w.skew.Store(int64(readersAge + time.Minute))
			}
			out, err := w.sim.Click(t.Context(), riley, only.ID, teamssim.Choice{Title: "Show to everyone"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			w.bot.tasks.wg.Wait()
			var all []teamssim.Message
			for _, m := range w.sim.Messages(alerts, avery) {
				if m.FromBot {
					all = append(all, m)
				}
			}
			switch {
			case outside && (len(all) != 0 || out.Note != "people from outside read here"):
				t.Errorf("everyone sees %+v, and the note is %q", all, out.Note)
			case !outside && (len(all) != 1 || out.Note != wordEveryone || all[0].Thread != id || !strings.Contains(string(all[0].Card), "web-01 is healthy") || strings.Contains(string(all[0].Card), "Show to everyone")):
				t.Errorf("everyone sees %+v, and the note is %q", all, out.Note)
			}
		})
	}
	w := newWorld(t)
	m := *titled("web-01 is healthy")
	m.Buttons = []chat.Button{{Label: "Show to everyone", Action: "answer.share", Value: "k", Alone: true}}
	w.handler.will(func(chat.Invocation) chat.Response { return chat.Response{Message: &m} })
	w.message(riley, alerts, "@mdebot machine web-01", "")
	w.message(riley, w.sim.PersonalChat(riley), "machine web-01", "")
	if _, err := w.bot.Post(t.Context(), chat.Post{To: "teams:" + soc, Message: m}); err != nil {
		t.Fatal(err)
	}
	for place, got := range map[string]teamssim.Message{
		"a reply for all": w.fromBot(riley, alerts, 1)[0], "the personal chat": w.fromBot(riley, "a:1"+riley, 1)[0], "a post": w.fromBot(riley, soc, 1)[0],
	} {
		if strings.Contains(string(got.Payload), "Show to everyone") {
			t.Errorf("%s has the button: %s", place, got.Payload)
		}
	}
}
