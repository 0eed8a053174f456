package slackbot

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
)

// votable posts a card with a button.
func (w *world) votable(t *testing.T, p chat.Post) chat.Ref {
	t.Helper()
	p.To = "slack:C0SOC"
	p.Message = chat.Message{Title: chat.Plain("Waits"), Tone: chat.Notice, Buttons: []chat.Button{{Label: "Approve", Action: "request.approve", Value: "r1"}}}
	ref, err := w.bot.Post(t.Context(), p)
	if err != nil {
		t.Fatalf("Post() = %v", err)
	}
	return ref
}

// press clicks on a card's button and waits until the bot has asked what to do.
func (w *world) press(t *testing.T, ref chat.Ref) {
	t.Helper()
	if err := w.sim.Click(t.Context(), "U0AVERY", ref.Conversation.ID, ref.MessageID, slacksim.Press{Label: "Approve"}); err != nil {
		t.Fatalf("Click() = %v", err)
	}
	w.handler.next(t)
}

// stands is a message as everyone sees it.
func (w *world) stands(t *testing.T, ref chat.Ref) slacksim.Message {
	t.Helper()
	for _, m := range w.sim.Messages(ref.Conversation.ID, "U0RILEY") {
		if m.TS == ref.MessageID {
			return m
		}
	}
	t.Fatalf("the card is gone; ledger: %+v", w.sim.Ledger())
	return slacksim.Message{}
}

func TestEditClicked_isForEveryoneAndNoEditOfSlacksCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	since := time.Now().Add(-time.Minute)
	ref := w.votable(t, chat.Post{Delivery: "d1"})
	if w.bot.Clicked(ref) {
		t.Error("Clicked() = true before anybody clicked")
	}
	w.press(t, ref)
	for _, title := range []string{"Approved", "Running"} {
		if !w.bot.Clicked(ref) {
			t.Fatalf("Clicked() = false, want one more edit: %q", title)
		}
		if err := w.bot.EditClicked(t.Context(), ref, *say(title)); err != nil {
			t.Fatalf("EditClicked(%q) = %v", title, err)
		}
		if m := w.stands(t, ref); m.Text != title || m.OnlyFor != "" || strings.Contains(string(m.Payload), "request.approve") {
			t.Errorf("card = %q, only for %q, button: %v; want %q for everyone, without the button",
				m.Text, m.OnlyFor, strings.Contains(string(m.Payload), "request.approve"), title)
		}
	}
	if n := w.sim.Calls("chat.update"); n != 0 {
		t.Errorf("chat.update was called %d times, want none", n)
	}
	if got, found, err := w.bot.Find(t.Context(), chat.Post{To: "slack:C0SOC", Delivery: "d1"}, since); err != nil || !found || got.MessageID != ref.MessageID {
		t.Errorf("Find() = %v, %v, %v, want the card still marked", got, found, err)
	}
	// What comes later goes by the method that tells whether the message is there.
	if w.bot.Clicked(ref) {
		t.Error("Clicked() = true after two edits, want the others left to chat.update")
	}
	if err := w.bot.EditClicked(t.Context(), ref, *say("Done")); !errors.Is(err, errResponseUsed) {
		t.Errorf("EditClicked() once more = %v, want %v", err, errResponseUsed)
	}
	w.press(t, w.votable(t, chat.Post{}))
	if w.bot.Clicked(ref) {
		t.Error("a click on another card is taken for one on this")
	}
}

func TestEditClicked_isOverSoonAfterTheClick(t *testing.T) {
	t.Parallel()
	clock := &clock{at: time.Now()}
	w := newWorld(t, worldOptions{now: clock.now})
	ref := w.votable(t, chat.Post{})
	w.press(t, ref)
	clock.advance(clickLife)
	if w.bot.Clicked(ref) {
		t.Error("Clicked() = true minutes after the click")
	}
	if err := w.bot.EditClicked(t.Context(), ref, *say("late")); !errors.Is(err, errResponseUsed) {
		t.Errorf("EditClicked() = %v, want %v", err, errResponseUsed)
	}
	w.press(t, ref)
	if !w.bot.Clicked(ref) {
		t.Error("Clicked() = false after another click")
	}
}

// Answers to the click itself use the same address, and come first.
func TestEditClicked_leavesUsesForTheAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{respond: func(chat.Invocation) chat.Response { return chat.Response{Message: say("counted")} }})
	ref := w.votable(t, chat.Post{})
	w.press(t, ref)
	w.wait(t, "the answer", func() bool { return len(w.sim.Messages("C0SOC", "U0AVERY")) == 2 })
	k := w.bot.clicks.latest[message{"C0SOC", ref.MessageID}]
	if left := k.response.left(time.Now()); left != responseUses-1 {
		t.Fatalf("%d uses left after the answer, want %d", left, responseUses-1)
	}
	for k.response.left(time.Now()) > clickKeep {
		k.response.take(time.Now(), 0)
	}
	if w.bot.Clicked(ref) {
		t.Error("Clicked() = true although the rest is for answers")
	}
	if err := w.bot.EditClicked(t.Context(), ref, *say("x")); !errors.Is(err, errResponseUsed) {
		t.Errorf("EditClicked() = %v, want %v", err, errResponseUsed)
	}
	if k.response.left(time.Now()) != clickKeep {
		t.Error("an edit took a use that was left for the answers")
	}
}

func TestEditClicked_failsOnceAndLeavesTheCardToEdit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		fault   slacksim.Fault
		unclear bool
	}{
		{"a proxy answers", slacksim.Fault{Kind: slacksim.FaultHTML}, true},
		{"an empty answer", slacksim.Fault{Kind: slacksim.FaultEmpty}, true},
		{"a refusal with 200", slacksim.Fault{Kind: slacksim.FaultError, Code: "message_not_found"}, true},
		{"an error of the server", slacksim.Fault{Kind: slacksim.FaultServerError}, true},
		{"the answer is lost", slacksim.Fault{Kind: slacksim.FaultDropAfter}, true},
		{"a rate limit", slacksim.Fault{Kind: slacksim.FaultThrottle, RetryAfter: "30"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{})
			ref := w.votable(t, chat.Post{})
			w.press(t, ref)
			tt.fault.Method = "response_url"
			w.sim.Inject(tt.fault)
			err := w.bot.EditClicked(t.Context(), ref, *say("Approved"))
			if err == nil || errors.Is(err, chat.ErrUnclear) != tt.unclear {
				t.Errorf("EditClicked() = %v, want an error, unclear: %v", err, tt.unclear)
			}
			if err != nil && strings.Contains(err.Error(), "/response/") {
				t.Errorf("the error holds the address: %v", err)
			}
			if w.bot.Clicked(ref) {
				t.Error("Clicked() = true after an error")
			}
			if err := w.bot.Edit(t.Context(), ref, *say("Approved")); err != nil || w.stands(t, ref).Text != "Approved" {
				t.Errorf("Edit() = %v, card %q", err, w.stands(t, ref).Text)
			}
		})
	}
}

// An edit through the address need not tell that the card was deleted, and shows it to
// nobody but who clicked. The next edit tells.
func TestEditClicked_deletedCard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	ref := w.votable(t, chat.Post{})
	w.press(t, ref)
	w.sim.DeleteMessage("C0SOC", ref.MessageID)
	for w.bot.Clicked(ref) {
		_ = w.bot.EditClicked(t.Context(), ref, *say("Approved"))
	}
	for _, m := range w.sim.Messages("C0SOC", "U0RILEY") {
		t.Errorf("a message for everyone: %q", m.Text)
	}
	if err := w.bot.Edit(t.Context(), ref, *say("Done")); !errors.Is(err, chat.ErrGone) {
		t.Errorf("Edit() = %v, want %v", err, chat.ErrGone)
	}
}

func TestEditClicked_addressesThatAreNotSlacks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	ref := w.votable(t, chat.Post{})
	for i, address := range []string{"https://evil.example/response/1", "http://169.254.169.254/latest", ""} {
		payload := fmt.Sprintf(`{"type":"block_actions","api_app_id":"A0MDEBOT","team":{"id":"T0SOC"},"user":{"id":"U0RILEY","team_id":"T0SOC"},"trigger_id":"1.%d","response_url":%q,`+
			`"container":{"type":"message","message_ts":%q,"channel_id":"C0SOC"},"actions":[{"type":"button","action_id":"a#0","value":"v","action_ts":"1.1"}]}`, i, address, ref.MessageID)
		if status, _ := w.send(t, "/slack/interactions", formType, asForm(payload)); status != 200 {
			t.Fatalf("answered %d", status)
		}
		w.handler.next(t)
		if w.bot.Clicked(ref) {
			t.Errorf("Clicked() = true with the address %q", address)
		}
	}
}

func TestEditClicked_inThreads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	head := w.votable(t, chat.Post{})
	reply := w.votable(t, chat.Post{Thread: head.MessageID})
	w.press(t, reply)
	if w.bot.Clicked(reply) {
		t.Error("Clicked() = true for a message in a thread")
	}
	w.press(t, head)
	if !w.bot.Clicked(head) {
		t.Error("Clicked() = false for a message that a thread hangs under")
	}
}

// A form that a button opened brings the address along, also to another replica.
func TestEditClicked_afterAForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{respond: func(inv chat.Invocation) chat.Response {
		if inv.Kind == chat.Click {
			return chat.Response{Form: isolateForm()}
		}
		return chat.Response{}
	}})
	ref := w.votable(t, chat.Post{})
	submit := func() {
		t.Helper()
		w.wait(t, "a dialog", func() bool { _, open := w.sim.Modal("U0AVERY"); return open })
		if err := w.sim.SubmitView(t.Context(), "U0AVERY", map[string]string{"reason": "not today", "kind": "full"}); err != nil {
			t.Fatalf("SubmitView() = %v", err)
		}
		w.handler.next(t)
	}
	w.press(t, ref)
	clicked := w.bot.clicks.latest[message{"C0SOC", ref.MessageID}].response
	submit()
	if got := w.bot.clicks.latest[message{"C0SOC", ref.MessageID}].response; got != clicked {
		t.Error("the uses of the address are counted anew after the form")
	}
	w.press(t, ref)
	w.bot.clicks.mu.Lock()
	clear(w.bot.clicks.latest) // as on the replica that gets the form alone
	w.bot.clicks.mu.Unlock()
	submit()
	if err := w.bot.EditClicked(t.Context(), ref, *say("Denied")); err != nil || w.stands(t, ref).Text != "Denied" {
		t.Errorf("EditClicked() = %v, card %q", err, w.stands(t, ref).Text)
	}
}

func TestClicks_areBounded(t *testing.T) {
	t.Parallel()
	clock := &clock{at: time.Now()}
	c := newClicks(clock.now)
	at := func(i int) chat.Ref {
		return chat.Ref{Conversation: chat.Conversation{ID: "C0SOC"}, MessageID: fmt.Sprint(i)}
	}
	for i := range maxClicks + 100 {
		c.remember(at(i), &response{address: fmt.Sprint(i), until: clock.now().Add(time.Hour)})
	}
	if n := len(c.latest); n != maxClicks {
		t.Errorf("%d clicks remembered, want %d", n, maxClicks)
	}
	newer := &response{address: "newer", until: clock.now().Add(time.Hour)}
	c.remember(at(7), newer)
	if k, ok := c.usable(at(7)); !ok || k.response != newer {
		t.Error("the newest click on a message is not the one remembered")
	}
	c.forget(at(7), &response{address: "older"})
	if _, ok := c.usable(at(7)); !ok {
		t.Error("the failure of an older click forgets the newer one")
	}
	clock.advance(clickLife)
	c.remember(at(-1), newer)
	if n := len(c.latest); n != 1 {
		t.Errorf("%d clicks remembered when all but one are over, want 1", n)
	}
}
