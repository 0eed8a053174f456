package commands

import (
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// Every command on machines opens a request of its kind for the machine named, with
// the parameters typed.
func TestAct_opensWhatWasTyped(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		kind, target, scope, reason string
		state                       approvals.State
	}{
		"restrict ws-042 loader comes back":     {approvals.Restrict, ws042, "", "loader comes back", approvals.Pending},
		"unrestrict ws-042 cleaned":             {approvals.Unrestrict, ws042, "", "cleaned", approvals.Pending},
		"contain printer-3 odd port":            {approvals.Contain, printer3, "", "odd port", approvals.Pending},
		"isolate ws-042 because --selective":    {approvals.Isolate, ws042, "selective", "because", approvals.Pending},
		"scan ws-042":                           {approvals.Scan, ws042, "quick", "Scan asked for without further words.", approvals.Approved},
		"scan ws-042 full odd file":             {approvals.Scan, ws042, "full", "odd file", approvals.Approved},
		"scan ws-042 Quick":                     {approvals.Scan, ws042, "quick", "Scan asked for without further words.", approvals.Approved},
		`scan ws-042 "full of odd files"`:       {approvals.Scan, ws042, "quick", "full of odd files", approvals.Approved},
		"scan ws-042 full --reason an odd file": {approvals.Scan, ws042, "full", "an odd file", approvals.Approved},
		"scan web-01 full because":              {approvals.Scan, linux1, "full", "because", approvals.Approved},
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := w.says(t, riley, text)
			mustSay(t, text, m, "#1")
			r := w.live(t)[0]
			if r.Action != want.kind || r.Targets[0].ID != want.target || r.Params["scope"] != want.scope || r.Reason != want.reason || r.State != want.state {
				t.Errorf("%s opens %s of %s with %v because %q, %s; answer %s", text, r.Action, r.Targets[0].ID, r.Params, r.Reason, r.State, textOf(m))
			}
		})
	}
}

// What Defender's documentation rules out is refused before anybody is asked.
func TestAct_refusesWhatTheSystemDoesNotSupport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for text, wants := range map[string][]string{
		"isolate web-01 because --selective": {"web-01", "Ubuntu", "does not offer selective isolation on Linux", "Full isolation works there"},
		"restrict web-01 because":            {"on Windows alone", "Isolating it works."},
		"unrestrict web-01 because":          {"on Windows alone"},
		"isolate printer-3 because":          {"printer-3 is not onboarded", "contain <device>"},
		"scan printer-3":                     {"is not onboarded"},
		"contain ws-042,web-01 because":      {"web-01 is onboarded", "isolate <machine>"},
	} {
		mustSay(t, text, w.says(t, riley, text), wants...)
	}
	if n := len(w.live(t)); n != 0 {
		t.Errorf("%d requests were opened", n)
	}
	mustSay(t, "full isolation of Linux", w.says(t, riley, "isolate web-01 because"), "#1")
}

func TestAct_refusesWhatIsSoAlready(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.estate.actions = append(w.estate.actions,
		defender.MachineAction{ID: "r1", Type: defender.Restrict, Status: defender.ActionSucceeded, MachineID: ws042, Created: noon},
		defender.MachineAction{ID: "u1", Type: defender.Unrestrict, Status: defender.ActionSucceeded, MachineID: ws043, Created: noon},
		defender.MachineAction{ID: "s1", Type: defender.Scan, Status: defender.ActionPending, MachineID: ws042, Created: noon},
		defender.MachineAction{ID: "t1", Type: defender.Restrict, Status: defender.ActionInProgress, MachineID: twinA, Created: noon},
		defender.MachineAction{ID: "t2", Type: defender.Unrestrict, Status: defender.ActionPending, MachineID: twinB, Created: noon},
	)
	for text, wants := range map[string][]string{
		"restrict ws-042 because":                {"is restricted already", "action r1"},
		"unrestrict ws-043 because":              {"is unrestricted already", "action u1"},
		"scan ws-042":                            {"is being scanned at the moment", "action s1"},
		"restrict " + twinA + " because":         {"is being restricted at the moment", "action t1"},
		"unrestrict " + twinB + " because":       {"is being unrestricted at the moment", "action t2"},
		"isolate " + cutOff + " why --selective": {"is isolated already"},
	} {
		mustSay(t, text, w.says(t, riley, text), wants...)
	}
	if n := len(w.live(t)); n != 0 {
		t.Errorf("%d requests were opened", n)
	}
}

// The form of a command keeps what was typed, and offers what can be chosen.
func TestAct_formsOfOtherActions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, resp := w.clicks(t, riley, cards.ActionForm(approvals.Scan), ws042)
	f := resp.Form
	if f == nil || f.Action != cards.ActionSubmit(approvals.Scan) || len(f.Fields) != 2 || f.Fields[1].ID != cards.FieldScope || f.Fields[1].Initial != "quick" {
		t.Fatalf("form = %+v", f)
	}
	m, _ := w.submits(t, riley, f.Action, f.Value, map[string]string{cards.FieldReason: "because", cards.FieldScope: "full"})
	mustSay(t, "the scan's form", m, ws042)
	if r := w.live(t)[0]; r.Action != approvals.Scan || r.Params["scope"] != "full" {
		t.Errorf("request = %s %v", r.Action, r.Params)
	}
	inv := w.invocation(chat.Command, riley)
	inv.Text = "restrict twin because"
	chooser, _ := w.ask(t, inv)
	m, _ = w.clicks(t, riley, chooser.Menu.Action, twinB)
	mustSay(t, "the chooser", m, twinB, "restrict")
}

// "Ask again" is for whoever may use the command it repeats, with that command's
// permissions and no others.
func TestAskAgain_ofAnotherAction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.estate.granted = defender.PermissionsOf([]string{"Machine.Read.All", "Machine.RestrictExecution"}, nil)
	w.says(t, riley, "restrict ws-042 because")
	r := w.live(t)[0]
	value := cards.RequestValue(r.ID, r.Digest)
	w.clock = w.clock.Add(time.Hour)
	if err := w.service.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	m, resp := w.clicks(t, viewer, cards.ActionAskAgain, value)
	if resp.Form != nil || !strings.Contains(textOf(m), "restrict needs the role responder") {
		t.Errorf("a viewer asking again: %s", textOf(m))
	}
	_, resp = w.clicks(t, riley, cards.ActionAskAgain, value)
	if resp.Form == nil {
		t.Fatal("no form")
	}
	m, _ = w.submits(t, riley, resp.Form.Action, resp.Form.Value, map[string]string{cards.FieldReason: "again"})
	mustSay(t, "asking again", m, "#2", "restrict")
}
