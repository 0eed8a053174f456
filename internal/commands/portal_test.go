package commands

import (
	"fmt"
	"strings"
	"testing"
)

// portalStub links to a portal.
type portalStub struct{}

func (portalStub) Alert(id string) string { return "https://security.microsoft.com/alerts/" + id }

func (portalStub) Machine(id string) string { return "https://security.microsoft.com/machines/" + id }

func (portalStub) Incident(id int64) string {
	return fmt.Sprint("https://security.microsoft.com/incidents/", id)
}

func (portalStub) Suppressions() string { return "https://security.microsoft.com/suppressions" }

func TestPortal_refusalsSayWhyAndLeadThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Portal = portalStub{}
	for text, why := range map[string]string{"live ws-042": "runs any command on the machine", "offboard ws-042": "leaves Defender"} {
		m := w.says(t, riley, text)
		mustSay(t, text, m, "left to the Defender portal", why, ws042)
		if len(m.Buttons) != 1 || !strings.HasPrefix(m.Buttons[0].URL, "https://") || !strings.Contains(m.Buttons[0].URL, ws042) {
			t.Errorf("%s has buttons %+v, want the machine's page", text, m.Buttons)
		}
	}
	mustSay(t, "live", w.says(t, riley, "live"), "Open the machine's page")
	mustSay(t, "an unknown machine", w.says(t, riley, "offboard nowhere"), "knows no machine nowhere")
	mustSay(t, "several machines", w.says(t, riley, "live twin"), "matches 2 machines")
	if len(w.live(t)) != 0 {
		t.Error("a request was opened")
	}
}
