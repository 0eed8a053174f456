package commands

import (
	"context"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

func (w *world) lastQuery(t *testing.T) string {
	t.Helper()
	w.estate.mu.Lock()
	defer w.estate.mu.Unlock()
	if len(w.estate.queries) == 0 {
		t.Fatal("nothing was hunted")
	}
	return w.estate.queries[len(w.estate.queries)-1]
}

func TestSavedHunt_runsWithLiteralsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.estate.hunt = [][]string{{"riley", "3"}, {"sam", "1"}}
	m := w.says(t, riley, "hunt run logons machine=ws-042 --span 6h")
	mustSay(t, "run", m, "Hunt: 2 rows", "Saved hunt: logons", "1 of your 10 hunts of this hour are used", `DeviceId == "`+ws042+`"`, "ago(360m)")
	if q := w.lastQuery(t); !strings.Contains(q, `DeviceId == "`+ws042+`"`) {
		t.Errorf("query = %s", q)
	}
	w.says(t, riley, "hunt run logons ws-042")
	w.submits(t, riley, cards.ActionHuntRun, "process-tree", map[string]string{"param.machine": ws042, "param.file": `x" or 1==1 //`})
	if q := w.lastQuery(t); strings.Contains(q, `"x" or`) || !strings.Contains(q, `1==1 //"`) {
		t.Errorf("what was typed became part of the query: %s", q)
	}
	for text, wants := range map[string][]string{
		"hunt run contacted-address ip=nowhere":      {"The value of ip is no IP address: nowhere", "Nothing was run"},
		"hunt run logon machine=ws-042":              {"There is no saved hunt logon", "Did you mean logons"},
		"hunt run logons machine=twin":               {"Nothing was run"},
		"hunt run logons host=ws-042":                {"does not take host=ws-042", "hunt run logons machine=<machine>"},
		"hunt run logons machine=ws-042 --span 365d": {"up to 30d"},
		"hunt run link-clicks domain=evil.example":   {"You may not read the table UrlClickEvents"},
	} {
		mustSay(t, text, w.says(t, riley, text), wants...)
	}
}

func TestSavedHunt_rolesOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mustSay(t, "a viewer", w.says(t, viewer, "hunt run logons machine=ws-042"), "needs the role responder")
	mustSay(t, "a viewer's query", w.says(t, viewer, "hunt DeviceInfo"), "needs the role hunter")
	if len(w.estate.queries) != 0 {
		t.Errorf("hunted %v", w.estate.queries)
	}
	mustSay(t, "hunt list", w.says(t, viewer, "hunt list"), "rare-parents", "usb", "link-clicks", "machine=<machine>")
}

func TestSavedHunt_formsAskForWhatIsMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	inv := w.invocation(chat.Command, riley)
	inv.Text = "hunt"
	_, resp := w.ask(t, inv)
	if resp.Form == nil || len(resp.Form.Fields) != 2 {
		t.Fatalf("hunt opens %+v", resp.Form)
	}
	pick := resp.Form.Action
	if m, _ := w.submits(t, riley, pick, "", map[string]string{}); !strings.Contains(textOf(m), "Nothing was chosen") {
		t.Errorf("an empty form says %s", textOf(m))
	}
	_, resp = w.submits(t, riley, pick, "", map[string]string{cards.FieldHunt: "logons"})
	if resp.Form == nil || resp.Form.Action != cards.ActionHuntRun || resp.Form.Fields[0].Kind != chat.FieldSearch || resp.Form.Fields[1].Initial != "1d" {
		t.Fatalf("the hunt's form = %+v", resp.Form)
	}
	m, _ := w.submits(t, riley, resp.Form.Action, resp.Form.Value, map[string]string{"param.machine": ws042, cards.FieldSpan: "2h"})
	mustSay(t, "the form", m, "Hunt: nothing found", "ago(120m)")
	m, _ = w.submits(t, riley, pick, "", map[string]string{cards.FieldQuery: "DeviceInfo | take 3"})
	mustSay(t, "a query of one's own", m, "Hunt: nothing found")
	m, _ = w.submits(t, viewer, pick, "", map[string]string{cards.FieldQuery: "DeviceInfo | take 3"})
	mustSay(t, "a viewer's query", m, "need the role hunter")

	_, resp = w.clicks(t, riley, cards.ActionHuntAround, alert1)
	if resp.Form == nil || resp.Form.Value != ws042 {
		t.Fatalf("around the alert: %+v", resp.Form)
	}
	for _, o := range resp.Form.Fields[0].Options {
		if o.Value == "process-tree" || o.Value == "link-clicks" {
			t.Errorf("around a machine %s is offered, which takes something else", o.Value)
		}
	}
	m, _ = w.submits(t, riley, resp.Form.Action, resp.Form.Value, map[string]string{cards.FieldHunt: "network", cards.FieldSpan: "1d"})
	mustSay(t, "around the alert", m, "Saved hunt: network", ws042)
	m, _ = w.submits(t, riley, resp.Form.Action, resp.Form.Value, map[string]string{cards.FieldHunt: "link-clicks"})
	mustSay(t, "a hunt of no machine", m, "another version")
}

func TestHunt_againIsOnesOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.says(t, riley, "hunt DeviceInfo | take 7")
	w.says(t, riley, "hunt run logons machine=ws-042")
	m := w.says(t, riley, "hunt list")
	mustSay(t, "hunt list", m, "1. ", "logons: DeviceLogonEvents", "2. ", "DeviceInfo | take 7")
	m, _ = w.clicks(t, riley, cards.ActionHuntAgain, "h1")
	mustSay(t, "again", m, "Hunt: ")
	if q := w.lastQuery(t); q != "DeviceInfo | take 7" {
		t.Errorf("query = %s", q)
	}
	m, _ = w.clicks(t, viewer, cards.ActionHuntAgain, "h1")
	mustSay(t, "somebody else's", m, "not among your last ones")
}

// waiting is a Hunter that goes on until it is cancelled.
type waiting struct{ began chan struct{} }

func (h waiting) Hunt(ctx context.Context, _ defender.HuntQuery, _ defender.HuntSink) (defender.HuntStats, error) {
	close(h.began)
	<-ctx.Done()
	return defender.HuntStats{}, ctx.Err()
}

// hunts begins a hunt of Riley's that goes on until it is cancelled.
func (w *world) hunts(t *testing.T) (key string, answer <-chan chat.Message) {
	t.Helper()
	h := waiting{make(chan struct{})}
	w.Hunter = h
	said := make(chan chat.Message, 1)
	go func() { said <- w.says(t, riley, "hunt DeviceInfo | take 7") }()
	<-h.began
	w.running.mu.Lock()
	defer w.running.mu.Unlock()
	for k := range w.running.of {
		key = k
	}
	return key, said
}

// cancelsHunt lets somebody else try first.
func (w *world) cancelsHunt(t *testing.T, key string, answer <-chan chat.Message) {
	t.Helper()
	m, _ := w.clicks(t, viewer, cards.ActionHuntCancel, key)
	mustSay(t, "somebody else", m, "not yours")
	m, _ = w.clicks(t, riley, cards.ActionHuntCancel, key)
	mustSay(t, "the one who asked", m, "is being cancelled")
	mustSay(t, "the hunt", <-answer, "The hunt was cancelled.")
	m, _ = w.clicks(t, riley, cards.ActionHuntCancel, key)
	mustSay(t, "once more", m, "not running any more")
}

func TestHunt_cancelledByWhoRunsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, answer := w.hunts(t)
	w.cancelsHunt(t, key, answer)
}

// The click may reach another replica than the one that runs the hunt.
func TestHunt_cancelledThroughAnotherReplica(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, answer := w.hunts(t)
	here := w.Router
	w.Router = New(here.Config)
	w.cancelsHunt(t, key, answer)
}

func TestHunt_faultIsShownInItsLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.estate.faults["hunt"] = &defender.APIError{Message: "Query could not be parsed at 'N' on line [2,9]. Token: N, Line: 2, Position: 9."}
	for name, c := range map[string]struct{ query, message, want string }{
		"brackets":         {"A\n| where N == == 1", "parsed at '==' on line [2,14]", "Line 2, character 14:\n| where N == == 1\n-------------^"},
		"words":            {"A | x", "Token: x, Line: 1, Position: 5.", "Line 1, character 5:\nA | x\n----^"},
		"no place":         {"A", "it is wrong", ""},
		"a line too many":  {"A", "on line [7,1]", ""},
		"far to the right": {"A | where " + strings.Repeat("x", 200) + " ==", "on line [1,212]", "Line 1, character 212:\n" + strings.Repeat("x", 59) + " ==\n" + strings.Repeat("-", 60) + "^"},
	} {
		var got []string
		for _, l := range faultLines(c.query, c.message) {
			got = append(got, l.String())
		}
		if s := strings.Join(got, "\n"); s != c.want {
			t.Errorf("%s: faultLines() =\n%s\nwant\n%s", name, s, c.want)
		}
	}
}
