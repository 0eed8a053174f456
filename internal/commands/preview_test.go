package commands

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
)

// Whether people from outside read a channel is found out by looking up every member.
// Nobody makes mdebot do that by posting an address where nothing is shown anyway.
func TestPreviews_nothingIsLookedUpWhereThereAreNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Pages = func(address string) (defender.PortalPage, bool) {
		return defender.PortalPage{Kind: defender.PortalMachine, ID: ws042}, address == "https://portal.example/ws-042"
	}
	for name, c := range map[string]struct {
		channel, text string
		want          bool
	}{
		"a channel for readers":           {"C0READ", "https://portal.example/1\nhttps://portal.example/ws-042", true},
		"a channel that is not":           {"C0SOC", "https://portal.example/ws-042", false},
		"an address of nothing in there":  {"C0READ", "https://portal.example/hunting", false},
		"a channel of which nobody knows": {"", "https://portal.example/ws-042", false},
	} {
		inv := w.invocation(chat.Links, riley)
		inv.In.ID, inv.Text = c.channel, c.text
		resp := w.Handle(t.Context(), inv)
		if (resp.Previews != nil) != c.want {
			t.Errorf("%s: previews are looked for: %t, want %t", name, resp.Previews != nil, c.want)
		}
		if c.want {
			if shown := resp.Previews(t.Context()); len(shown) != 1 {
				t.Errorf("%s: %d previews, want one", name, len(shown))
			}
		}
	}
	// Nor by posting one all the time where there is one, whoever they are.
	looks := func(by identity.Principal, n int) (looked int) {
		for range n {
			inv := w.invocation(chat.Links, by)
			inv.In.ID, inv.Text = "C0READ", "https://portal.example/ws-042"
			if w.Handle(t.Context(), inv).Previews != nil {
				looked++
			}
		}
		return looked
	}
	if n := looks(guest, 100); n > 10 {
		t.Errorf("the channel was looked at for %d of the addresses that a guest posted in a minute", n)
	}
	if n := looks(avery, 1); n != 1 {
		t.Error("Avery gets no preview because a guest posted a lot")
	}
}

// What is found while somebody writes is put where others read it, so it is found where
// previews are, by whoever could have one, and whoever gets none is told why.
func TestFind_whereAndForWhom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	find := func(by identity.Principal, channel, typed string, change ...func(*chat.Invocation)) ([]chat.Message, chat.Message) {
		t.Helper()
		inv := w.invocation(chat.Find, by)
		inv.Action, inv.In.ID, inv.Text = FindMachine, channel, typed
		for _, c := range change {
			c(&inv)
		}
		resp := w.Handle(t.Context(), inv)
		if (resp.Found == nil) == (resp.Message == nil) {
			t.Fatalf("%q in %s: %+v, want either results or a reason", typed, channel, resp)
		}
		if resp.Found == nil {
			return nil, *resp.Message
		}
		return resp.Found(t.Context())
	}
	if found, _ := find(riley, "C0READ", " ws-04 "); len(found) == 0 || !strings.HasPrefix(found[0].Title.String(), "Machine ws-04") || len(found[0].Buttons) > 0 {
		t.Errorf("found %v", found)
	}
	for name, c := range map[string]struct {
		by             identity.Principal
		channel, typed string
		change         func(*chat.Invocation)
		want           string
	}{
		"a channel that is not for readers": {riley, "C0SOC", "ws-04", nil, "only in channels that mdebot.yaml names under readers"},
		"a direct chat":                     {riley, "C0READ", "ws-04", func(i *chat.Invocation) { i.In.Direct = true }, "only in channels"},
		"somebody who is not linked":        {stranger, "C0READ", "ws-04", nil, "read by others"},
		"a guest":                           {guest, "C0READ", "ws-04", nil, "Only full members"},
		"no such machine":                   {riley, "C0READ", "nothing-like-it", nil, "You see no machine"},
		"nothing typed":                     {riley, "C0READ", "", nil, "Type the beginning"},
		"far too much":                      {riley, "C0READ", strings.Repeat("x", maxTyped+1), nil, "Type the beginning"},
		"a control character":               {riley, "C0READ", "ws\x00", nil, "Type the beginning"},
		"another kind of thing":             {riley, "C0READ", "ws-04", func(i *chat.Invocation) { i.Action = "isolate" }, "another version"},
	} {
		args := []func(*chat.Invocation){}
		if c.change != nil {
			args = append(args, c.change)
		}
		if found, why := find(c.by, c.channel, c.typed, args...); len(found) > 0 || !strings.Contains(textOf(why), c.want) || why.Note.String() == "" {
			t.Errorf("%s: %d results, told %q, want %q and a next step", name, len(found), textOf(why), c.want)
		}
	}
	if n := len(w.recorded); n != 0 {
		t.Errorf("%d records; every letter would be one", n)
	}

	// By far more than one can choose from, the first by name.
	for i := range 30 {
		w.estate.machines = append(w.estate.machines, defender.Machine{ID: strings.Repeat("e", 38) + fmt.Sprintf("%02d", i), Name: fmt.Sprintf("many-%02d.corp", 29-i)})
	}
	if found, _ := find(riley, "C0READ", "many"); len(found) != mostFound || !strings.HasPrefix(found[0].Title.String(), "Machine many-00") {
		t.Errorf("%d results, want the first %d", len(found), mostFound)
	}
	for range 60 {
		find(riley, "C0READ", "many")
	}
	if found, why := find(riley, "C0READ", "many"); len(found) != 0 || !strings.Contains(textOf(why), "a lot of questions in a minute") {
		t.Errorf("after a minute of typing: %d results, told %q", len(found), textOf(why))
	}
	if found, _ := find(avery, "C0READ", "many"); len(found) == 0 {
		t.Error("Avery finds nothing because Riley asked a lot")
	}
}
