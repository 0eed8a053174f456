package commands

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
)

func TestIsolate_opensARequestBoundToIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.says(t, riley, "isolate ws-042 ws-043 beaconing to evil --selective")
	mustSay(t, "isolate", m, "#1", "isolate (selective) 2 machines", ws042, ws043, "Avery Novak")
	live := w.live(t)
	if len(live) != 1 {
		t.Fatalf("open requests = %d, want 1", len(live))
	}
	r := live[0]
	if r.Targets[0].ID != ws042 || r.Targets[1].ID != ws043 || r.Reason != "beaconing to evil" || r.Params["scope"] != "selective" {
		t.Errorf("request = %+v", r)
	}
	var facts cards.TargetFacts
	if err := json.Unmarshal(r.Targets[0].Facts, &facts); err != nil || facts.OpenAlerts != 1 || facts.Users[0] != `CORP\sam` || facts.Isolation != defender.NotIsolated {
		t.Errorf("facts on the card = %+v, %v", facts, err)
	}
}

func TestIsolate_factsThatCannotBeReadAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.estate.faults["users"] = defender.ErrForbidden
	w.estate.faults["actions"] = &defender.ThrottledError{RetryAfter: time.Minute}
	w.says(t, riley, "isolate ws-042 because")
	card := cards.Request(cards.RequestView{Request: w.live(t)[0]})
	mustSay(t, "the card", card, "not permitted: User.Read.All", "Defender's quota is used up")
}

func TestIsolate_warnsOfWhatTheFactsSayAgainstIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.estate.machines[0].LastSeen, w.estate.machines[0].Health = noon.Add(-10*24*time.Hour), "Inactive"
	m := w.says(t, riley, "isolate ws-042 because")
	mustSay(t, "isolate", m, "#1", "Beware: It is probably offline", "sensor is inactive")
	mustSay(t, "the card", cards.Request(cards.RequestView{Request: w.live(t)[0]}), "Beware: It is probably offline")
	if text := textOf(w.says(t, riley, "isolate ws-043 because")); strings.Contains(text, "Beware") {
		t.Errorf("a healthy machine is answered with %s", text)
	}
}

func TestIsolate_refusals(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text  string
		setup func(w *world)
		want  []string
	}{
		"unknown machine":                     {text: "isolate nowhere because", want: []string{"Defender knows no machine nowhere."}},
		"second word unknown":                 {text: "isolate ws-042 pc-17 because", want: []string{"no machine pc-17", "put the reason in quotes"}},
		"ambiguous":                           {text: "isolate twin because", want: []string{"twin matches 2 machines", twinA, twinB}},
		"ambiguous among several":             {text: "isolate ws-042,twin because", want: []string{"twin matches 2 machines", "Type the command again"}},
		"only the beginning of a name":        {text: "isolate ws-04 because", want: []string{"No machine is called ws-04; 2 machines begin with it"}},
		"only the beginning of a single name": {text: "isolate dc because", want: []string{"No machine is called dc; 1 machine begins with it"}},
		"protected":                           {text: "isolate dc-01 because", want: []string{"never-isolate"}},
		"isolated already":                    {text: "isolate ws-099 because", want: []string{"is isolated already", action1}},
		"Defender down":                       {text: "isolate ws-042 because", setup: func(w *world) { w.estate.faults["find"] = defender.ErrUnavailable }, want: []string{"Defender cannot be reached."}},
		"throttled":                           {text: "isolate ws-042 because", setup: func(w *world) { w.estate.faults["find"] = &defender.ThrottledError{RetryAfter: 30 * time.Second} }, want: []string{"Try again in 30 seconds."}},
		"forbidden":                           {text: "isolate ws-042 because", setup: func(w *world) { w.estate.faults["find"] = defender.ErrForbidden }, want: []string{"isolate needs Machine.Isolate"}},
		"too many machines":                   {text: "isolate " + strings.Repeat("ws-042,", 25) + "ws-042 because", want: []string{"26 machines; one request takes 25"}},
		"being isolated": {text: "isolate ws-042 because", setup: func(w *world) {
			w.estate.actions = append(w.estate.actions, defender.MachineAction{ID: "a", Type: defender.Isolate, Status: defender.ActionPending, MachineID: ws042, Created: noon})
		}, want: []string{"is being isolated at the moment"}},
		"unexpected fault": {text: "isolate ws-042 because", setup: func(w *world) { w.estate.faults["find"] = errors.New("secret detail") }, want: []string{"Something went wrong (ref "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if tc.setup != nil {
				tc.setup(w)
			}
			m := w.says(t, riley, tc.text)
			mustSay(t, tc.text, m, tc.want...)
			if strings.Contains(textOf(m), "secret detail") {
				t.Error("the answer holds the detail of a fault")
			}
			if n := len(w.live(t)); n != 0 {
				t.Errorf("open requests = %d, want none", n)
			}
		})
	}
}

func TestUnexpectedFault_detailIsInTheLogUnderItsRef(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.estate.faults["find"] = errors.New("secret detail")
	title := w.says(t, riley, "machine ws-042").Title.String()
	ref := strings.TrimSuffix(strings.TrimPrefix(title, "Something went wrong (ref "), ")")
	if log := w.log.String(); len(ref) != 4 || !strings.Contains(log, `"ref":"`+ref+`"`) || !strings.Contains(log, "secret detail") {
		t.Errorf("title %q; log %s", title, log)
	}
}

func TestRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mustSay(t, "release", w.says(t, riley, "release ws-099 cleaned"), "release ws-099", "#1")
	if r := w.live(t)[0]; r.Action != approvals.Release || r.Targets[0].ID != cutOff {
		t.Errorf("request = %+v", r)
	}
	// A machine of which no isolation was ever seen may still be cut off.
	mustSay(t, "release of a machine never isolated", w.says(t, riley, "release ws-042 cleaned"), "#2")
	w.estate.actions = append(w.estate.actions, defender.MachineAction{ID: "b", Type: defender.Unisolate, Status: defender.ActionSucceeded, MachineID: ws043, Created: noon})
	mustSay(t, "release of a released machine", w.says(t, riley, "release ws-043 cleaned"), "is released already")
}

func TestIsolate_repeatedDeliveryOpensOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	inv := w.invocation(chat.Command, riley)
	inv.Text = "isolate ws-042 because"
	w.ask(t, inv)
	m, _ := w.ask(t, inv)
	mustSay(t, "the second delivery", m, "delivered twice")
	if n := len(w.live(t)); n != 1 {
		t.Errorf("open requests = %d, want 1", n)
	}
}

func TestIsolate_secondRequestJoinsTheFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.says(t, riley, "isolate ws-042 because")
	mustSay(t, "the second", w.says(t, rileyInTeams, "isolate ws-042 because of that"), "Already asked by Riley Chen")
}

func TestIsolate_chooserGoesOnWithTheWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.says(t, riley, "isolate twin beaconing --selective")
	if m.Menu == nil || m.Menu.Action != cards.ActionChoose(approvals.Isolate) || len(m.Menu.Options) != 2 {
		t.Fatalf("chooser = %+v", m.Menu)
	}
	if m, _ := w.clicks(t, riley, m.Menu.Action, ws042); !strings.Contains(textOf(m), "no longer known") {
		t.Errorf("a machine that was not offered was taken: %s", textOf(m))
	}
	w.says(t, riley, "isolate twin beaconing --selective")
	m, _ = w.clicks(t, riley, m.Menu.Action, twinB)
	mustSay(t, "the choice", m, "#1", twinB)
	if r := w.live(t)[0]; r.Reason != "beaconing" || r.Params["scope"] != "selective" || len(r.Targets) != 1 || r.Targets[0].ID != twinB {
		t.Errorf("request = %+v", r)
	}
	m, _ = w.clicks(t, riley, cards.ActionChoose(approvals.Isolate), twinA)
	mustSay(t, "an old chooser", m, "no longer known", "/mde isolate "+twinA+" <reason>")
}

func TestIsolate_chooserOfSomebodyElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.says(t, riley, "isolate twin beaconing")
	m, _ := w.clicks(t, viewer, cards.ActionChoose(approvals.Isolate), twinB)
	mustSay(t, "a viewer's choice", m, "needs the role responder")
	if len(w.live(t)) != 0 {
		t.Error("a request was opened")
	}
}

func TestIsolate_missingReasonOpensAForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	inv := w.invocation(chat.Command, riley)
	inv.Text = "isolate ws-042 ws-043 --selective"
	_, resp := w.ask(t, inv)
	f := resp.Form
	if f == nil || f.Action != cards.ActionSubmit(approvals.Isolate) || f.Fields[0].Initial != "ws-042, ws-043" {
		t.Fatalf("form = %+v", f)
	}
	_, resp = w.submits(t, riley, f.Action, f.Value, map[string]string{cards.FieldMachine: "ws-042, ws-043", cards.FieldReason: "  "})
	if resp.Errors[cards.FieldReason] == "" {
		t.Errorf("errors = %v, want one beside the reason", resp.Errors)
	}
	m, _ := w.submits(t, riley, f.Action, f.Value, map[string]string{cards.FieldMachine: "ws-042, ws-043", cards.FieldReason: "because"})
	mustSay(t, "the form", m, "#1", ws042, ws043)
	if r := w.live(t)[0]; r.Params["scope"] != "selective" {
		t.Errorf("scope = %v, want selective", r.Params)
	}
}

func TestIsolate_forATime(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		want string // in the answer
		time string // of the request, when one is opened
	}{
		"hours":                        {"isolate ws-042 beaconing --for 4h", "Asked: ", "4h"},
		"minutes that are hours":       {"isolate ws-042 --for=240m beaconing", "Asked: ", "4h"},
		"days, in capitals":            {"isolate ws-042 beaconing --for 7D", "Asked: ", "7d"},
		"none":                         {"isolate ws-042 beaconing", "Asked: ", ""},
		"shorter than it takes":        {"isolate ws-042 beaconing --for 5m", "--for is at least 15m", ""},
		"longer than a week":           {"isolate ws-042 beaconing --for 8d", "--for is at most 7d", ""},
		"a unit there is not":          {"isolate ws-042 beaconing --for 4w", "such as 90m, 4h or 2d", ""},
		"no unit":                      {"isolate ws-042 beaconing --for 4", "such as 90m, 4h or 2d", ""},
		"nothing that is a number":     {"isolate ws-042 beaconing --for ever", "such as 90m, 4h or 2d", ""},
		"negative":                     {"isolate ws-042 beaconing --for -4h", "such as 90m, 4h or 2d", ""},
		"without a value":              {"isolate ws-042 beaconing --for", "--for needs a value", ""},
		"of something that has no end": {"release ws-099 cleaned --for 4h", "--for", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			mustSay(t, tc.text, w.says(t, riley, tc.text), tc.want)
			live := w.live(t)
			if asked := strings.HasPrefix(tc.want, "Asked"); asked != (len(live) == 1) {
				t.Fatalf("%d requests are open", len(live))
			} else if asked && live[0].Params["for"] != tc.time {
				t.Errorf("the request is for %q, want %q", live[0].Params["for"], tc.time)
			}
		})
	}
}

// The form asks for the time, too, and what was typed is its first choice.
func TestIsolate_formAsksForTheTime(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ typed, initial, chosen, want string }{
		{"isolate ws-042", "open", "open", ""},
		{"isolate ws-042", "open", "8h", "8h"},
		{"isolate ws-042 --for 90m", "90m", "90m", "90m"},
		{"isolate ws-042 --for 4h", "4h", "open", ""},
	} {
		w := newWorld(t)
		inv := w.invocation(chat.Command, riley)
		inv.Text = tc.typed
		_, resp := w.ask(t, inv)
		i := slices.IndexFunc(resp.Form.Fields, func(f chat.Field) bool { return f.ID == cards.FieldFor })
		if i < 0 || resp.Form.Fields[i].Initial != tc.initial {
			t.Fatalf("%s: form = %+v, want a field for the time that begins with %s", tc.typed, resp.Form, tc.initial)
		}
		w.submits(t, riley, resp.Form.Action, resp.Form.Value, map[string]string{
			cards.FieldMachine: "ws-042", cards.FieldReason: "because", cards.FieldScope: "selective", cards.FieldFor: tc.chosen,
		})
		live := w.live(t)
		if len(live) != 1 || live[0].Params["for"] != tc.want || live[0].Params["scope"] != "selective" {
			t.Errorf("%s, then %s: requests = %+v, want one for %q", tc.typed, tc.chosen, live, tc.want)
		}
	}
	w := newWorld(t)
	w.submits(t, riley, cards.ActionSubmit(approvals.Isolate), ws042, map[string]string{cards.FieldReason: "because", cards.FieldFor: "1000d"})
	if len(w.live(t)) != 0 {
		t.Error("a request with a time that no form offers was opened")
	}
}

func TestIsolate_withoutAnythingOpensASearch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	inv := w.invocation(chat.Command, riley)
	inv.Text = "isolate"
	_, resp := w.ask(t, inv)
	if resp.Form == nil || resp.Form.Fields[0].Kind != chat.FieldSearch || resp.Form.Fields[0].Search != cards.ActionMachineSearch {
		t.Fatalf("form = %+v", resp.Form)
	}
	slices.Reverse(w.estate.machines) // they come in no order of use
	suggest := w.invocation(chat.Suggest, riley)
	suggest.Action, suggest.Text = cards.ActionMachineSearch, "ws-04"
	options := w.Handle(t.Context(), suggest).Options
	if len(options) != 3 || options[0].Value != ws042 || options[2] != (chat.Option{Label: `Use "ws-04" as typed`, Value: "ws-04"}) {
		t.Fatalf("options = %+v, want two machines and what was typed", options)
	}
	if _, resp := w.submits(t, riley, resp.Form.Action, resp.Form.Value, map[string]string{cards.FieldMachine: " ", cards.FieldReason: "because"}); resp.Errors[cards.FieldMachine] == "" {
		t.Errorf("a form without a machine is answered with %+v, want a fault of the field", resp)
	}
	m, _ := w.submits(t, riley, resp.Form.Action, resp.Form.Value, map[string]string{cards.FieldMachine: options[0].Value, cards.FieldReason: "because"})
	mustSay(t, "the search", m, ws042)

	// Whoever may list machines may search them; nobody else.
	for _, by := range []identity.Principal{stranger, guest} {
		suggest.By = by
		if options := w.Handle(t.Context(), suggest).Options; len(options) != 0 {
			t.Errorf("%s is offered %v", by.Account, options)
		}
	}
}

// Defender as it is on a bad day.
type slowDefender struct{ Defender }

func (slowDefender) FindMachines(ctx context.Context, _ string) (defender.Found, error) {
	<-ctx.Done()
	return defender.Found{}, ctx.Err()
}

// Only what was offered can be submitted, so what was typed is offered when the
// search finds nothing, fails, hangs or was asked too often.
func TestSuggest_whatWasTypedCanBeUsed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		trouble func(*world)
		typed   string
		said    bool // why there is nothing else
	}{
		"nothing is found": {func(*world) {}, "new-laptop-7", false},
		"several names":    {func(*world) {}, "ws-042, ws-043", false},
		"Defender fails":   {func(w *world) { w.estate.faults["find"] = errors.New("no") }, "ws-042", true},
		"Defender hangs":   {func(w *world) { w.Defender = slowDefender{w.Defender} }, "ws-042", true},
		"the limit is reached": {func(w *world) {
			w.reads = newLimiter(1, time.Hour, w.Now)
			first := w.invocation(chat.Suggest, riley)
			first.Action, first.Text = cards.ActionMachineSearch, "ws-043"
			w.Handle(t.Context(), first)
		}, "ws-042", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tc.trouble(w)
			inv := w.invocation(chat.Suggest, riley)
			inv.Action, inv.Text = cards.ActionMachineSearch, " "+tc.typed+" "
			began := time.Now()
			options := w.Handle(t.Context(), inv).Options
			if len(options) != 1 || options[0].Value != tc.typed || !strings.Contains(options[0].Label, tc.typed) || (options[0].Detail != "") != tc.said {
				t.Errorf("options = %+v, want what was typed alone", options)
			}
			if took := time.Since(began); took > nowBudget {
				t.Errorf("the answer took %s", took)
			}
		})
	}
}

func TestSuggest_nothingForWhatCannotBeAMachine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	inv := w.invocation(chat.Suggest, riley)
	for name, typed := range map[string]string{
		"nothing": "", "a blank": "  ", "one letter": "w", "10 kB": strings.Repeat("w", 10<<10), "more than an option holds": strings.Repeat("é", maxTyped+1),
		"a line break": "ws-042\nws-043", "a control character": "ws\x1b[31m", "no UTF-8": "ws\xff", "a secret": "xoxb-" + "1234567890-abcdefghijklmnop",
	} {
		inv.Action, inv.Text = cards.ActionMachineSearch, typed
		if options := w.Handle(t.Context(), inv).Options; len(options) != 0 {
			t.Errorf("%s: offered %+v", name, options)
		}
	}
	for _, action := range []string{"", "people.search", cards.ActionShowMachine} {
		inv.Action, inv.Text = action, "ws-042"
		if options := w.Handle(t.Context(), inv).Options; len(options) != 0 {
			t.Errorf("the search %q offers %+v", action, options)
		}
	}
}

func TestIsolate_buttonOfAnAlertIsPreFilledAndBoundToTheID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, resp := w.clicks(t, riley, cards.ActionRequestIsolation, cards.IsolationValue(ws042, alert1))
	f := resp.Form
	if f == nil || !strings.Contains(f.Fields[0].Initial, alert1) || !strings.Contains(f.Intro.String(), ws042) {
		t.Fatalf("form = %+v", f)
	}
	m, _ := w.submits(t, riley, f.Action, f.Value, map[string]string{
		cards.FieldReason: "because", cards.FieldScope: "full", cards.FieldMachine: "ws-043",
	})
	mustSay(t, "the form", m, ws042)
	if r := w.live(t)[0]; len(r.Targets) != 1 || r.Targets[0].ID != ws042 {
		t.Errorf("targets = %+v, want the machine of the button alone", r.Targets)
	}
}

func TestIsolate_forgedScopeIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.submits(t, riley, cards.ActionSubmit(approvals.Isolate), ws042, map[string]string{cards.FieldReason: "because", cards.FieldScope: "everything"})
	if len(w.live(t)) != 0 {
		t.Error("a request with a scope that does not exist was opened")
	}
}

func TestIsolate_inTheThreadOfAnAlert(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := Subject{Kind: SubjectAlert, ID: alert1}
	_, resp := w.inThread(t, riley, s, "isolate")
	if resp.Form == nil || resp.Form.Value != cards.IsolationValue(ws042, alert1) {
		t.Fatalf("form = %+v, want one for the alert's machine", resp.Form)
	}
	m, _ := w.inThread(t, riley, s, "isolate --reason it beacons")
	mustSay(t, "isolate with a reason", m, ws042)

	// A first word is a machine and never a reason for the thread's one.
	m, _ = w.inThread(t, riley, s, "isolate fileserver is infected")
	mustSay(t, "isolate of another machine", m, "no machine fileserver")
	if n := len(w.live(t)); n != 1 {
		t.Errorf("open requests = %d, want 1", n)
	}
}

func TestVote_acrossPlatformsAndPeople(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.says(t, riley, "isolate ws-042 because")
	r := w.live(t)[0]
	value := cards.RequestValue(r.ID, r.Digest)

	for _, by := range []identity.Principal{riley, rileyInTeams} {
		m, _ := w.clicks(t, by, cards.ActionApprove, value)
		mustSay(t, "self-approval as "+by.String(), m, "You asked for this yourself")
		if got := w.live(t)[0]; got.State != approvals.Pending || len(got.Votes) != 0 {
			t.Fatalf("%s voted on their own request: %+v", by, got.Votes)
		}
	}
	m, _ := w.clicks(t, viewer, cards.ActionApprove, value)
	if m.Tone != chat.Warning || w.live(t)[0].State != approvals.Pending {
		t.Errorf("a viewer's approval answers %s", textOf(m))
	}
	m, _ = w.clicks(t, avery, cards.ActionApprove, cards.RequestValue(r.ID, strings.Repeat("0", 64)))
	if m.Tone != chat.Warning || w.live(t)[0].State != approvals.Pending {
		t.Errorf("an approval of something else answers %s", textOf(m))
	}
	m, _ = w.clicks(t, avery, cards.ActionApprove, "garbage")
	mustSay(t, "a garbled button", m, "another version")

	m, _ = w.clicks(t, avery, cards.ActionApprove, value)
	mustSay(t, "the approver", m, "Your approval counts.")
	if got := w.live(t)[0].State; got != approvals.Approved {
		t.Errorf("state = %s, want approved", got)
	}
	m, _ = w.clicks(t, avery, cards.ActionApprove, value)
	if m.Tone != chat.Warning {
		t.Errorf("a late click answers %s", textOf(m))
	}
}

func TestTypedVotes_showTheCardAndDecideNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.says(t, riley, "isolate ws-042 because")
	for _, text := range []string{"approve 1", "approve #1"} {
		inv := w.invocation(chat.Command, avery)
		inv.Text = text
		m, resp := w.ask(t, inv)
		mustSay(t, text, m, "Request #1", "because")
		if resp.Audience != chat.Personal || len(m.Buttons) < 3 || m.Buttons[0].Action != cards.ActionApprove {
			t.Errorf("%s: audience %v, buttons %v", text, resp.Audience, m.Buttons)
		}
	}
	if got := w.live(t)[0]; got.State != approvals.Pending || len(got.Votes) != 0 {
		t.Errorf("request = %s with %d votes, want pending without", got.State, len(got.Votes))
	}
	mustSay(t, "no number", w.says(t, avery, "approve"), "Which request?")
	mustSay(t, "no such request", w.says(t, avery, "approve 99"), "99")
	m, _ := w.inThread(t, avery, Subject{Kind: SubjectRequest, ID: w.live(t)[0].ID}, "approve")
	mustSay(t, "in the thread", m, "Request #1")
}

// Whoever works the queue finds first what they can decide, and gets its card alone.
func TestRequests_putsFirstWhatOneCanDecide(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.says(t, riley, "isolate ws-042 first")
	w.clock = w.clock.Add(12 * time.Minute)
	w.says(t, riley, "isolate ws-043 second")
	for _, tc := range []struct {
		by     identity.Principal
		want   []string // headings and lines that tell the order
		button string
	}{
		{riley, []string{"Wait for others", "#1 isolate ws-042", "12 minutes ago · 18 minutes left", "#2 isolate ws-043", "just now · 30 minutes left"}, ""},
		{viewer, []string{"Wait for others", "#1 isolate ws-042", "12 minutes ago · 18 minutes left", "#2 isolate ws-043", "just now · 30 minutes left"}, ""},
		{avery, []string{"For you to decide", "#1 isolate ws-042", "12 minutes ago · 18 minutes left", "#2 isolate ws-043", "just now · 30 minutes left"}, "Show #1"},
	} {
		m := w.says(t, tc.by, "requests").ForAll()
		var lines []string
		for _, s := range m.Sections {
			lines = append(lines, s.Heading)
			for _, l := range s.Lines {
				lines = append(lines, strings.TrimPrefix(l.String(), "asked by Riley Chen · "))
			}
		}
		if len(lines) != len(tc.want) {
			t.Fatalf("%s sees %q, want %q", tc.by.Account, lines, tc.want)
		}
		for i, want := range tc.want {
			if !strings.HasPrefix(lines[i], want) {
				t.Errorf("%s sees %q, want %q", tc.by.Account, lines, tc.want)
			}
		}
		if m.Table != nil {
			t.Error("the queue is a table, which a phone cuts")
		}
		m = m.ForAll()
		if tc.button == "" {
			if len(m.Buttons) > 0 {
				t.Errorf("%s has buttons for what others decide: %+v", tc.by.Account, m.Buttons)
			}
			continue
		}
		if len(m.Buttons) != 2 || m.Buttons[0].Label != tc.button {
			t.Fatalf("buttons = %+v, want %s", m.Buttons, tc.button)
		}
		card, resp := w.clicks(t, tc.by, m.Buttons[0].Action, m.Buttons[0].Value)
		mustSay(t, tc.button, card, "Request #1", "first")
		if resp.Audience != chat.Personal || card.Buttons[0].Action != cards.ActionApprove || card.Buttons[1].Action != cards.ActionDeny {
			t.Errorf("%s answers to %v with %+v, want the card with its buttons for one person", tc.button, resp.Audience, card.Buttons)
		}
		w.clicks(t, tc.by, cards.ActionDeny, m.Buttons[0].Value)
		mustSay(t, "the queue afterwards", w.says(t, tc.by, "requests"), "1 open request", "#2 isolate ws-043")
	}
}

// A typed denial opens the form with what was typed, for what was stored then.
func TestDeny_typed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text, initial string
		fields        map[string]string
		want          string
	}{
		{"deny 1", "", map[string]string{cards.FieldWhat: "machine"}, "Wrong machine"},
		{"deny #1 it is the CFO's", "it is the CFO's", map[string]string{cards.FieldWhat: "machine", cards.FieldReason: "it is the CFO's"}, "Wrong machine. it is the CFO's"},
		{"deny 1", "", map[string]string{cards.FieldReason: " not now "}, "not now"},
	} {
		w := newWorld(t)
		w.says(t, riley, "isolate ws-042 because")
		inv := w.invocation(chat.Command, avery)
		inv.Text = tc.text
		_, resp := w.ask(t, inv)
		if resp.Form == nil || resp.Form.Fields[1].Initial != tc.initial || len(w.live(t)[0].Votes) != 0 {
			t.Fatalf("%s: form = %+v, want one with %q and no vote yet", tc.text, resp.Form, tc.initial)
		}
		m, _ := w.submits(t, avery, resp.Form.Action, resp.Form.Value, tc.fields)
		mustSay(t, tc.text, m, "Your denial counts.", "denied")
		got, err := w.service.ByNumber(t.Context(), thisTenant, 1)
		if err != nil || got.State != approvals.Denied || got.Votes[0].Reason != tc.want {
			t.Errorf("%s: request = %s with %+v, %v, want it denied because %q", tc.text, got.State, got.Votes, err, tc.want)
		}
		// What has ended is shown and not asked about.
		m, resp = w.ask(t, inv)
		if mustSay(t, "deny again", m, "Request #1", "denied"); resp.Form != nil {
			t.Errorf("a form asks why a request is denied that has ended")
		}
	}
	w := newWorld(t)
	w.says(t, riley, "isolate ws-042 because")
	own := w.invocation(chat.Command, riley)
	own.Text = "deny 1"
	if m, resp := w.ask(t, own); resp.Form != nil {
		t.Errorf("the requester gets a form that must fail: %s", textOf(m))
	}
	mustSay(t, "no number", w.says(t, avery, "deny"), "Which request?")
	mustSay(t, "no such request", w.says(t, avery, "deny 99 because"), "99")
}

func TestDeny_withAReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.says(t, riley, "isolate ws-042 because")
	r := w.live(t)[0]
	_, resp := w.clicks(t, avery, cards.ActionDenyForm, cards.RequestValue(r.ID, r.Digest))
	if resp.Form == nil || resp.Form.Action != cards.ActionDenySubmit {
		t.Fatalf("form = %+v", resp.Form)
	}
	if !strings.Contains(resp.Form.Intro.String(), "#1 isolate ws-042") || !strings.Contains(resp.Form.Intro.String(), "because") {
		t.Errorf("the form says %q, not what is denied", resp.Form.Intro)
	}
	for name, fields := range map[string]map[string]string{
		"nothing":                    {},
		"spaces":                     {cards.FieldReason: " \n"},
		"a choice that is none":      {cards.FieldWhat: "because I say so"},
		"more than the card can say": {cards.FieldWhat: "machine", cards.FieldReason: strings.Repeat("é", maxDenial+1)},
	} {
		if _, again := w.submits(t, avery, resp.Form.Action, resp.Form.Value, fields); again.Errors[cards.FieldReason] == "" {
			t.Errorf("%s: errors = %v, want one beside the reason", name, again.Errors)
		}
	}
	if n := len(w.live(t)); n != 1 {
		t.Fatalf("open requests = %d after forms without a reason, want 1", n)
	}
	m, _ := w.submits(t, avery, resp.Form.Action, resp.Form.Value, map[string]string{cards.FieldReason: "wrong machine"})
	mustSay(t, "deny", m, "Your denial counts.", "denied")
	if len(m.Facts) != 0 {
		t.Errorf("facts = %v, want a sentence alone: the card has the rest", m.Facts)
	}
	got, err := w.service.Request(t.Context(), thisTenant, r.ID)
	if err != nil || got.State != approvals.Denied || got.Votes[0].Reason != "wrong machine" {
		t.Errorf("request = %+v, %v", got, err)
	}
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.says(t, riley, "isolate ws-042 because")
	if m := w.says(t, avery, "withdraw 1"); m.Tone != chat.Warning || len(w.live(t)) != 1 {
		t.Errorf("somebody else's withdrawal answers %s", textOf(m))
	}
	mustSay(t, "withdraw", w.says(t, rileyInTeams, "withdraw 1"), "withdrawn")
	if len(w.live(t)) != 0 {
		t.Error("the request is still open")
	}
}

func TestAskAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.says(t, riley, "isolate ws-042 because --selective")
	r := w.live(t)[0]
	value := cards.RequestValue(r.ID, r.Digest)
	if m, resp := w.clicks(t, riley, cards.ActionAskAgain, value); resp.Form != nil || m.Tone != chat.Warning {
		t.Errorf("asking a pending request again answers %s", textOf(m))
	}
	w.clock = w.clock.Add(time.Hour)
	if err := w.service.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, resp := w.clicks(t, riley, cards.ActionAskAgain, value)
	if resp.Form == nil || resp.Form.Fields[0].Initial != "because" {
		t.Fatalf("form = %+v, want one with the reason", resp.Form)
	}
	m, _ := w.submits(t, riley, resp.Form.Action, resp.Form.Value, map[string]string{cards.FieldReason: "still because"})
	mustSay(t, "ask again", m, "#2", ws042)
	if got := w.live(t)[0]; got.Number != 2 || got.Params["scope"] != "selective" || got.Reason != "still because" {
		t.Errorf("request = %+v", got)
	}
}

func TestRequests_listsWhatIsOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mustSay(t, "requests", w.says(t, viewer, "requests"), "No requests are open")
	w.says(t, riley, "isolate ws-042 because")
	m := w.says(t, viewer, "requests")
	mustSay(t, "requests", m, "1 open request", "ws-042.corp.example")
	shown, _ := w.clicks(t, viewer, m.Menu.Action, m.Menu.Options[0].Value)
	mustSay(t, "the choice", shown, "Request #1")
}

func TestSettle_faults(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.says(t, riley, "isolate ws-042 because")
	mustSay(t, "no outcome", w.says(t, riley, "settle 1"), "done or not-done")
	mustSay(t, "no words", w.says(t, riley, "settle 1 done"), "what you saw")
	if m := w.says(t, riley, "settle 1 done seen in the portal"); m.Tone != chat.Warning || len(w.live(t)) != 1 {
		t.Errorf("settling what is not unclear answers %s", textOf(m))
	}
}

// What speaks against an action is said before anybody sends the form.
func TestIsolate_formSaysWhatSpeaksAgainstIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range w.estate.machines {
		if w.estate.machines[i].ID == ws043 {
			w.estate.machines[i].LastSeen = noon.Add(-72 * time.Hour)
		}
	}
	intro := func(machine string) string {
		t.Helper()
		_, resp := w.clicks(t, riley, cards.ActionRequestIsolation, machine)
		if resp.Form == nil {
			t.Fatalf("no form for %s", machine)
		}
		return resp.Form.Intro.String()
	}
	if got := intro(cutOff); !strings.Contains(got, "is isolated already") {
		t.Errorf("an isolated machine: %s", got)
	}
	if got := intro(ws043); !strings.Contains(got, "Beware: ") || !strings.Contains(got, "offline") {
		t.Errorf("an offline machine: %s", got)
	}
	if got := intro(ws042); strings.Contains(got, "Beware") {
		t.Errorf("a machine that nothing speaks against: %s", got)
	}
}
