package teamsbot

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

// posted posts the approval card to the channel.
func (w *world) posted() chat.Ref {
	w.t.Helper()
	ref, err := w.bot.Post(w.t.Context(), chat.Post{To: "teams:" + alerts, Message: approval()})
	if err != nil {
		w.t.Fatalf("Post() = %v", err)
	}
	return ref
}

func (w *world) click(user string, ref chat.Ref, choice teamssim.Choice, inputs map[string]any) teamssim.Outcome {
	w.t.Helper()
	out, err := w.sim.Click(w.t.Context(), user, ref.MessageID, choice, inputs)
	if err != nil {
		w.t.Fatalf("Click(%+v) = %v", choice, err)
	}
	return out
}

func TestClick_replacesCardForClickerAndEditsForAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ref := w.posted()
	decided := chat.Message{Title: chat.Plain("Approved by Avery Diaz")}
	w.handler.will(func(inv chat.Invocation) chat.Response {
		return chat.Response{Replace: &decided, Later: func(ctx context.Context, _ chat.Replier) {
			if err := w.bot.Edit(ctx, inv.Source, decided); err != nil {
				t.Errorf("Edit() = %v", err)
			}
		}}
	})
	out := w.click(avery, ref, teamssim.Choice{Title: "Isolate web-01"}, nil)
	if !strings.Contains(string(out.Card), "Approved by Avery Diaz") {
		t.Errorf("clicker got %s, want the new card", out.Card)
	}
	w.until("everybody sees the decision", func() bool {
		m := w.sim.Messages(alerts, riley)
		return len(m) == 1 && strings.Contains(string(m[0].Card), "Approved by Avery Diaz")
	})
	want := chat.Invocation{
		Kind: chat.Click, Action: "request.approve", Value: "r1.d1",
		By: identity.Principal{Platform: identity.Teams, Workspace: home, Account: avery, Address: "29:1" + avery, Name: "Avery Diaz"},
		In: chat.Conversation{Platform: identity.Teams, Workspace: home, ID: alerts, Thread: ref.MessageID},
	}
	want.Source = chat.Ref{Conversation: want.In, MessageID: ref.MessageID}
	if diff := cmp.Diff(want, w.handler.invocations()[0], cmpopts.IgnoreFields(chat.Invocation{}, "At", "Delivery")); diff != "" {
		t.Errorf("invocation (-want +got):\n%s", diff)
	}
}

func TestClick_answers(t *testing.T) {
	t.Parallel()
	long := chat.Message{Title: chat.Plain("Machine"), Facts: []chat.Fact{{Label: "Health", Value: chat.Plain("Active")}}}
	for _, tc := range []struct {
		name   string
		resp   chat.Response
		note   string
		posted string // what appears in the thread, or nothing
		direct string // what appears in the clicker's personal chat
	}{
		{"short refusal", chat.Response{Message: titled("You asked for this yourself.")}, "You asked for this yourself.", "", ""},
		{
			"outside text in a note",
			chat.Response{Message: &chat.Message{Title: chat.Untrusted("<at>all</at> [x](https://evil.example)")}},
			`‹at›all‹/at› \[x\](https\[:\]//evil.example)`, "", "",
		},
		{"large answer", chat.Response{Message: &long}, wordFollows, "Active", ""},
		{"large private answer", chat.Response{Audience: chat.Personal, Message: &long}, wordFollows, "", "Active"},
		{"nothing to say", chat.Response{}, wordReceived, "", ""},
		{"work that follows", chat.Response{Later: func(ctx context.Context, out chat.Replier) {
			_ = out.Answer(ctx, *titled("released"))
		}}, wordWorking, "released", ""},
		{"form from a button that did not announce one", chat.Response{Form: &reasonForm}, "Please fill in the form below.", "Isolate web-01", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.sim.SetTargeted(false) // so that what is private goes to the personal chat
			ref := w.posted()
			w.handler.will(func(inv chat.Invocation) chat.Response {
				return tc.resp
			})
			out := w.click(avery, ref, teamssim.Choice{Title: "Deny"}, nil)
			if out.Note != tc.note || out.Failed {
				t.Errorf("note = %q (failed %v), want %q", out.Note, out.Failed, tc.note)
			}
			if tc.posted != "" {
				if got := w.fromBot(riley, alerts, 2)[1]; got.Thread != ref.MessageID || !strings.Contains(string(got.Card), tc.posted) {
					t.Errorf("thread shows %+v, want %q", got, tc.posted)
				}
			}
			if tc.direct != "" {
				if got := w.fromBot(avery, "a:1"+avery, 1)[0]; !strings.Contains(string(got.Card), tc.direct) {
					t.Errorf("personal chat shows %s, want %q", got.Card, tc.direct)
				}
			}
			w.bot.tasks.wg.Wait()
			if got := len(w.fromBot(riley, alerts, 1)); tc.posted == "" && got != 1 {
				t.Errorf("channel holds %d messages of the bot, want only the card", got)
			}
		})
	}
}

func TestClick_slowHandlerIsAnsweredInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ref := w.posted()
	release := make(chan struct{})
	w.handler.will(func(chat.Invocation) chat.Response {
		<-release
		return chat.Response{Message: titled("late but here")}
	})
	out := w.click(avery, ref, teamssim.Choice{Title: "Deny"}, nil)
	close(release)
	if !strings.Contains(out.Note, "Still working") {
		t.Errorf("note = %q, want a word that it takes longer", out.Note)
	}
	if got := w.fromBot(avery, alerts, 2)[1]; !strings.Contains(string(got.Card), "late but here") {
		t.Errorf("thread shows %s, want the answer", got.Card)
	}
}

func TestClick_panicIsAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ref := w.posted()
	w.handler.will(func(chat.Invocation) chat.Response { panic("boom") })
	if out := w.click(avery, ref, teamssim.Choice{Title: "Deny"}, nil); !strings.HasPrefix(out.Note, "Something went wrong (ref ") {
		t.Errorf("note = %q, want an apology with a reference", out.Note)
	}
}

func TestClick_tamperedData(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ref := w.posted()
	for name, data := range map[string]map[string]any{
		"no action":            {"value": "r1.d1"},
		"action of another":    {"action": "request.approve", "value": "r1.d1"}, // verb says deny
		"value that is a list": {"action": "request.deny", "value": []any{"r1"}},
		"value too long":       {"action": "request.deny", "value": strings.Repeat("x", maxCardValue+1)},
		"menu without input":   {"action": "request.deny", "menu": "menu.0"},
		"menu of another key":  {"action": "request.deny", "menu": "action"},
		"field that is a map":  {"action": "request.deny", "form": "f", "field.reason": map[string]any{}},
	} {
		out := w.click(avery, ref, teamssim.Choice{Title: "Deny", Data: data}, nil)
		if !strings.Contains(out.Note, "older version") {
			t.Errorf("%s: note = %q, want the card refused", name, out.Note)
		}
	}
	if got := w.handler.invocations(); len(got) != 0 {
		t.Errorf("handler was asked %+v, want nothing", got)
	}
}

func TestInvoke_refreshAndReplayChangeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ref := w.posted()
	a, err := w.sim.Activity(avery, alerts, "invoke")
	if err != nil {
		t.Fatal(err)
	}
	action := map[string]any{"type": "Action.Execute", "verb": "request.deny", "data": map[string]any{"action": "request.deny", "value": "r1.d1"}}
	a["name"], a["replyToId"] = "adaptiveCard/action", ref.MessageID
	a["value"] = map[string]any{"action": action, "trigger": "automatic"}
	deliver := func() string {
		t.Helper()
		reply, err := w.sim.Deliver(t.Context(), teamssim.Delivery{Activity: a})
		if err != nil || reply.Status != 200 {
			t.Fatalf("Deliver() = %+v, %v", reply, err)
		}
		return string(reply.Body)
	}
	deliver()
	if got := len(w.handler.invocations()); got != 0 {
		t.Errorf("a refresh asked the handler %d times, want never", got)
	}
	a["value"] = map[string]any{"action": action, "trigger": "manual"}
	deliver()
	if got := deliver(); !strings.Contains(got, "received already") {
		t.Errorf("replayed click answered %s", got)
	}
	if got := len(w.handler.invocations()); got != 1 {
		t.Errorf("handler was asked %d times, want once", got)
	}
}

func TestInvoke_unknownName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, err := w.sim.Activity(avery, alerts, "invoke")
	if err != nil {
		t.Fatal(err)
	}
	a["name"] = "composeExtension/submitAction"
	if reply, err := w.sim.Deliver(t.Context(), teamssim.Delivery{Activity: a}); err != nil || reply.Status != 501 || len(reply.Body) != 0 {
		t.Errorf("Deliver() = %+v, %v, want 501 and no body", reply, err)
	}
}

func TestDialog_errorsKeepValues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ref := w.posted()
	w.handler.will(func(inv chat.Invocation) chat.Response {
		switch {
		case inv.Kind == chat.Suggest && inv.Action == "people" && inv.Value == "k1" && inv.Text == "ave":
			return chat.Response{Options: []chat.Option{{Label: "Avery Diaz", Detail: "on call", Value: "p1"}}}
		case inv.Kind == chat.Click:
			return chat.Response{Form: &reasonForm}
		case inv.Fields["reason"] == "x":
			return chat.Response{Errors: map[string]string{"reason": "Say a little more."}}
		default:
			return chat.Response{Message: titled("Request #142 opened.")}
		}
	})
	dialog, err := w.sim.OpenDialog(t.Context(), riley, ref.MessageID, teamssim.Choice{Title: "Request release"})
	if err != nil {
		t.Fatalf("OpenDialog() = %v", err)
	}
	if dialog.Title != "Isolate web-01" || !strings.Contains(string(dialog.Card), `"filtered"`) {
		t.Errorf("dialog = %s, want the form with a search", dialog.Card)
	}
	if options, err := w.sim.Search(t.Context(), riley, dialog.ID, "field.who", "ave"); err != nil || len(options) != 1 || options[0].Title != "Avery Diaz · on call" {
		t.Errorf("Search() = %v, %v, want one option", options, err)
	}
	out, err := w.sim.SubmitDialog(t.Context(), riley, dialog.ID, map[string]any{"field.reason": "x", "field.who": "p1"})
	if err != nil || out.Dialog == nil {
		t.Fatalf("SubmitDialog() = %+v, %v, want the dialog to stay", out, err)
	}
	if got := string(out.Dialog.Card); !strings.Contains(got, "Say a little more.") || !strings.Contains(got, `"value":"x"`) || !strings.Contains(got, `"value":"p1"`) {
		t.Errorf("dialog = %s, want the error and what was typed", got)
	}
	out, err = w.sim.SubmitDialog(t.Context(), riley, out.Dialog.ID, map[string]any{"field.reason": "beaconing"})
	if err != nil || out.Note != "Request #142 opened." {
		t.Errorf("SubmitDialog() = %+v, %v, want the answer", out, err)
	}
	got := w.handler.invocations()
	last := got[len(got)-1]
	if last.Kind != chat.Submit || last.Action != "isolate.submit" || last.Value != "k1" {
		t.Errorf("last invocation = %+v, want the form's", last)
	}
	if diff := cmp.Diff(map[string]string{"reason": "beaconing", "type": "full", "who": "p1"}, last.Fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestDialog_endsWithWhatCameOfIt(t *testing.T) {
	t.Parallel()
	long := chat.Message{Title: chat.Plain("Asked: #142"), Facts: []chat.Fact{{Label: "Needs", Value: chat.Plain("1 approval")}}}
	for _, tc := range []struct {
		name   string
		later  func(ctx context.Context, out chat.Replier)
		note   string
		posted string
	}{
		{"in a sentence", func(ctx context.Context, out chat.Replier) {
			out.Progress(ctx, *titled("halfway"))
			if err := out.Answer(ctx, *titled("Your denial counts.")); err != nil {
				t.Errorf("Answer() = %v", err)
			}
			if out.Answer(ctx, *titled("again")) == nil {
				t.Error("a second Answer() was taken")
			}
		}, "Your denial counts.", ""},
		{"in more than a sentence", func(ctx context.Context, out chat.Replier) { _ = out.Answer(ctx, long) }, wordFollows, "Asked: #142"},
		{"after a panic", func(context.Context, chat.Replier) { panic("boom") }, "Something went wrong (ref ", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ref := w.posted()
			w.handler.will(func(inv chat.Invocation) chat.Response {
				switch inv.Kind {
				case chat.Click:
					return chat.Response{Form: &reasonForm}
				case chat.Submit:
					return chat.Response{Message: titled("Working on it …"), Later: tc.later}
				}
				return chat.Response{}
			})
			dialog, err := w.sim.OpenDialog(t.Context(), riley, ref.MessageID, teamssim.Choice{Title: "Request release"})
			if err != nil {
				t.Fatalf("OpenDialog() = %v", err)
			}
			out, err := w.sim.SubmitDialog(t.Context(), riley, dialog.ID, map[string]any{"field.reason": "wrong machine"})
			if err != nil || !strings.HasPrefix(out.Note, tc.note) {
				t.Errorf("SubmitDialog() = %+v, %v, want %q", out, err, tc.note)
			}
			if tc.posted != "" {
				if got := w.fromBot(riley, alerts, 2)[1]; !strings.Contains(string(got.Card), tc.posted) {
					t.Errorf("thread shows %s, want %q", got.Card, tc.posted)
				}
			}
			w.bot.tasks.wg.Wait()
			if got := len(w.fromBot(riley, alerts, 1)); tc.posted == "" && got != 1 {
				t.Errorf("channel holds %d messages of the bot, want only the card", got)
			}
		})
	}
}

// The work was begun before the response was found to be too late: it is not done
// twice, and its answer still arrives.
func TestLastWord_thatNobodySawIsAMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	inv := chat.Invocation{Kind: chat.Submit, By: rileyAs(), In: chat.Conversation{Platform: identity.Teams, Workspace: home, ID: alerts}}
	runs := 0
	resp := chat.Response{Later: func(ctx context.Context, out chat.Replier) {
		runs++
		_ = out.Answer(ctx, *titled("Your denial counts."))
	}}
	rep := w.bot.replies(inv, chat.Response{}, false).lastWord(t.Context(), time.Now().Add(time.Minute), resp)
	rep.late(t.Context())
	if got := w.fromBot(riley, alerts, 1)[0]; runs != 1 || !strings.Contains(string(got.Card), "Your denial counts.") {
		t.Errorf("after %d runs the channel shows %s, want the answer of one", runs, got.Card)
	}
}

func TestLastWord_thatIsTooLateForTheDialogIsAMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	inv := chat.Invocation{Kind: chat.Submit, By: rileyAs(), In: chat.Conversation{Platform: identity.Teams, Workspace: home, ID: alerts}}
	closed := make(chan struct{})
	resp := chat.Response{Later: func(ctx context.Context, out chat.Replier) {
		<-closed
		_ = out.Answer(ctx, *titled("Your denial counts."))
	}}
	rep := w.bot.replies(inv, chat.Response{}, false).lastWord(t.Context(), time.Now(), resp)
	close(closed)
	rep.then(t.Context())
	if !strings.Contains(string(encode(rep.body)), wordStill) {
		t.Errorf("dialog ends with %s, want %q", encode(rep.body), wordStill)
	}
	if got := w.fromBot(riley, alerts, 1)[0]; !strings.Contains(string(got.Card), "Your denial counts.") {
		t.Errorf("channel shows %s, want the answer", got.Card)
	}
}

func TestForm_typedCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.handler.will(func(inv chat.Invocation) chat.Response {
		switch {
		case inv.Kind == chat.Command:
			return chat.Response{Form: &reasonForm}
		case inv.Fields["reason"] == "x":
			return chat.Response{Errors: map[string]string{"reason": "Say a little more."}}
		default:
			return chat.Response{Message: titled("Request #142 opened.")}
		}
	})
	w.message(riley, alerts, "@mdebot isolate web-01", "")
	form := w.fromBot(riley, alerts, 1)[0]
	ref := chat.Ref{MessageID: form.ID}
	out := w.click(riley, ref, teamssim.Choice{Title: "Ask"}, map[string]any{"field.reason": "x"})
	if got := string(out.Card); !strings.Contains(got, "Say a little more.") || !strings.Contains(got, `"value":"x"`) {
		t.Errorf("card = %s, want the form with the error", got)
	}
	out = w.click(riley, ref, teamssim.Choice{Title: "Ask"}, map[string]any{"field.reason": "beaconing"})
	if !strings.Contains(string(out.Card), "Request #142 opened.") {
		t.Errorf("card = %s, want the answer in place of the form", out.Card)
	}
	w.until("everybody sees the answer", func() bool {
		m := w.sim.Messages(alerts, avery)
		return strings.Contains(string(m[1].Card), "Request #142 opened.")
	})
}

func TestMenu_fewAndMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	menu := func(n int) chat.Message {
		m := chat.Message{Title: chat.Plain("Which one?"), Menu: &chat.Menu{Action: "machine.show"}}
		for i := range n {
			id := string(rune('a' + i))
			m.Menu.Options = append(m.Menu.Options, chat.Option{Label: "web-" + id, Detail: "last seen today", Value: "id-" + id})
		}
		return m
	}
	few, err := w.bot.Post(t.Context(), chat.Post{To: "teams:" + alerts, Message: menu(3)})
	if err != nil {
		t.Fatal(err)
	}
	many, err := w.bot.Post(t.Context(), chat.Post{To: "teams:" + alerts, Message: menu(12)})
	if err != nil {
		t.Fatal(err)
	}
	w.click(riley, few, teamssim.Choice{Title: "web-b"}, nil)
	w.click(riley, many, teamssim.Choice{Title: "Choose"}, map[string]any{"menu.0": "id-k"})
	got := w.handler.invocations()
	if len(got) != 2 || got[0].Value != "id-b" || got[1].Value != "id-k" || got[1].Kind != chat.Click {
		t.Errorf("invocations = %+v, want the chosen values", got)
	}
}

func TestFile_consent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.handler.will(func(chat.Invocation) chat.Response {
		return chat.Response{Later: func(ctx context.Context, out chat.Replier) {
			m := *titled("2 rows")
			m.Files = []chat.File{{Name: "hunt.csv", Type: "text/csv", Content: []byte("a,b\r\n1,2\r\n")}}
			if err := out.Answer(ctx, m); err != nil {
				t.Errorf("Answer() = %v", err)
			}
		}}
	})
	w.message(riley, alerts, "@mdebot hunt x", "")
	if got := w.fromBot(riley, alerts, 1)[0]; !strings.Contains(string(got.Card), "hunt.csv (10 bytes) waits for you in our personal chat") {
		t.Errorf("channel shows %s, want where the file is", got.Card)
	}
	offer := w.fromBot(riley, "a:1"+riley, 1)[0]
	if err := w.sim.AnswerFile(t.Context(), avery, offer.ID, true); !errors.Is(err, teamssim.ErrNoSuchMessage) {
		t.Errorf("somebody else's AnswerFile() = %v", err)
	}
	if err := w.sim.AnswerFile(t.Context(), riley, offer.ID, true); err != nil {
		t.Fatalf("AnswerFile() = %v", err)
	}
	w.until("the file is announced", func() bool {
		m := w.sim.Messages("a:1"+riley, riley)
		return len(m) == 1 && len(m[0].Attachments) == 1 && m[0].Attachments[0].ContentType == infoContentType
	})
	want := []teamssim.File{{Name: "hunt.csv", Content: []byte("a,b\r\n1,2\r\n"), User: riley}}
	if diff := cmp.Diff(want, w.sim.Files()); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestFile_consentRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	room := w.sim.PersonalChat(riley)
	key, _ := w.bot.files.put(keptFile{file: chat.File{Name: "x.csv", Content: []byte("x")}, owner: rileyAs().Key()}, 1)
	for _, tc := range []struct{ name, user, key, url string }{
		{"somebody else", avery, key, w.sim.Host()},
		{"unknown key", riley, "guess", w.sim.Host()},
		{"foreign host", riley, key, "evil.example"},
		{"look-alike host", riley, key, "sharepoint.com.evil.example"},
	} {
		place := room
		if tc.user == avery {
			place = w.sim.PersonalChat(avery)
		}
		a, err := w.sim.Activity(tc.user, place, "invoke")
		if err != nil {
			t.Fatal(err)
		}
		a["name"] = "fileConsent/invoke"
		a["value"] = map[string]any{
			"action": "accept", "context": map[string]any{"file": tc.key},
			"uploadInfo": map[string]any{"uploadUrl": "http://" + tc.url + "/files/upload/1"},
		}
		if reply, err := w.sim.Deliver(t.Context(), teamssim.Delivery{Activity: a}); err != nil || reply.Status != 200 {
			t.Errorf("%s: %+v, %v, want the invoke answered", tc.name, reply, err)
		}
	}
	w.bot.tasks.wg.Wait()
	if got := w.sim.Files(); len(got) != 0 {
		t.Errorf("files = %+v, want none", got)
	}
}
