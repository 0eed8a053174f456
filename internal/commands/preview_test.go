package commands

import (
	"testing"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
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
}
