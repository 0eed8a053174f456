package commands

import (
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

// shareValue is the value of the button that shows m to everyone, or "".
func shareValue(m chat.Message) string {
	for _, b := range m.Buttons {
		if b.Action == cards.ActionShare {
			return b.Value
		}
	}
	return ""
}

// shares presses the button and returns the response at once.
func (w *world) shares(t *testing.T, by identity.Principal, value string) chat.Response {
	t.Helper()
	inv := w.invocation(chat.Click, by)
	inv.Action, inv.Value = cards.ActionShare, value
	return w.Handle(t.Context(), inv)
}

func TestShare(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.says(t, viewer, "machine ws-042")
	value := shareValue(m)
	if value == "" || !m.Buttons[len(m.Buttons)-1].Alone {
		t.Fatalf("the answer has the buttons %+v, want one for the asker alone that shows it to everyone", m.Buttons)
	}
	if shareValue(m.ForAll()) != "" {
		t.Error("what everyone sees has the button too")
	}
	if resp := w.shares(t, riley, value); resp.Audience == chat.Everyone || !strings.Contains(textOf(*resp.Message), "not made to you") {
		t.Errorf("somebody else's click is answered %+v", resp)
	}
	w.estate.machines = nil // what is shown is the answer as it was
	resp := w.shares(t, viewer, value)
	if resp.Audience != chat.Everyone || resp.Message == nil || resp.Otherwise == nil {
		t.Fatalf("response = %+v, want the answer for everyone", resp)
	}
	mustSay(t, "the shown answer", *resp.Message, "Shown by", "Machine ws-042.corp.example", ws042)
	if shareValue(*resp.Message) != "" {
		t.Error("what everyone sees can be shown to everyone once more")
	}
	if resp := w.shares(t, viewer, value); resp.Audience == chat.Everyone || !strings.Contains(textOf(*resp.Message), "shown this already") {
		t.Errorf("a second click is answered %+v", resp)
	}
}

func TestShare_whatStaysPrivate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, text := range []string{
		"whoami", "hunt DeviceInfo | take 1", "hunt list", "user sam", "help", "machine ws-042 --public", "machine nobody-1", "isolate ws-042 because", "ack " + alert1,
	} {
		if m := w.says(t, riley, text); shareValue(m) != "" {
			t.Errorf("%s: the answer can be shown to everyone", text)
		}
	}
	inv := w.invocation(chat.Command, viewer)
	inv.Text, inv.In.Direct = "machine ws-042", true
	if m, _ := w.ask(t, inv); shareValue(m) != "" {
		t.Error("in a direct chat there is nobody to show it to")
	}
	// Whatever a click says, it runs nothing that --public cannot be said to.
	for _, text := range []string{"", "whoami", "hunt DeviceInfo | take 1", "user sam", "isolate ws-042 because", "isolate", "ack " + alert1, "nonsense", "machine \""} {
		resp := w.shares(t, riley, "forged "+text)
		if resp.Audience == chat.Everyone || resp.Later != nil || !strings.Contains(textOf(*resp.Message), "no longer kept") {
			t.Errorf("a forged click with %q is answered %+v", text, resp)
		}
	}
	if n := len(w.live(t)); n != 1 {
		t.Errorf("%d requests are open, want the one that was asked for", n)
	}
}

// An answer that is not kept any more, as after a restart or on another replica, is
// read anew.
func TestShare_notKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	value := shareValue(w.says(t, viewer, "machine ws-042"))
	w.clock = w.clock.Add(sharedAge + time.Minute)
	resp := w.shares(t, viewer, value)
	if resp.Audience != chat.Everyone || resp.Later == nil {
		t.Fatalf("response = %+v, want the answer read anew", resp)
	}
	var out answers
	resp.Later(t.Context(), &out)
	mustSay(t, "the answer", out.final[0], "Shown by", "Machine ws-042.corp.example")
	if resp := w.shares(t, viewer, value); resp.Audience == chat.Everyone {
		t.Error("a second click shows it again")
	}
	_, shown := w.clicks(t, viewer, cards.ActionShowMachine, ws042)
	if shown.Audience == chat.Everyone {
		t.Error("a click is answered to everyone")
	}
}

func TestShare_rightLostMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kept := shareValue(w.says(t, viewer, "machine ws-042"))
	w.standing[viewer.Account] = identity.Guest
	resp := w.shares(t, viewer, kept)
	if resp.Audience == chat.Everyone || !strings.Contains(textOf(*resp.Message), "Only full members") {
		t.Errorf("response = %+v, want a refusal for the asker alone", resp)
	}
	w.standing[viewer.Account] = identity.Member
	permit(w, "Alert.Read.All")
	if resp := w.shares(t, viewer, kept); resp.Audience == chat.Everyone {
		t.Errorf("response = %+v, want a refusal for the asker alone", resp)
	}
}
