package commands

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
)

const logonsOfWS042 = `
schedules:
  - name: logons-of-ws-042
    hunt: logons
    with: { machine: ws-042 }
    span: 6h
    every: 1h
    owner: 22222222-2222-2222-2222-222222222201
    to: ['slack:C0SOC']
`

func (w *world) schedules(t *testing.T, yaml string) policy.ScheduledHunt {
	t.Helper()
	p, err := policy.Parse("mdebot.yaml", []byte(testPolicy+yaml), policy.Options{HomeTenant: home, ParamProblem: ParamProblem})
	if err != nil {
		t.Fatal(err)
	}
	w.Policy.Set(p)
	return p.ScheduledHunts()[0]
}

func (w *world) runs(t *testing.T, s policy.ScheduledHunt) cards.HuntRun {
	t.Helper()
	run, err := w.RunScheduled(t.Context(), thisTenant, s)
	if err != nil {
		t.Fatalf("RunScheduled() = %v", err)
	}
	return run
}

func troubleText(t *cards.HuntTrouble) string {
	if t == nil {
		return ""
	}
	return fmt.Sprint(t.Sentence, t.Lines, t.Next)
}

func TestScheduled_runsAsItsOwnerMay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.schedules(t, logonsOfWS042)
	w.estate.hunt = [][]string{{"riley", "3"}, {"sam", "1"}}
	w.estate.stats = defender.HuntStats{Rows: 2, Bytes: 40, Duration: time.Second}
	run := w.runs(t, s)
	if run.Trouble != nil || len(run.Rows) != 2 || run.Columns[1] != "Count" || run.Took != time.Second || run.Cut != "" {
		t.Fatalf("RunScheduled() = %+v, trouble %s", run, troubleText(run.Trouble))
	}
	if q := w.lastQuery(t); !strings.Contains(q, `DeviceId == "`+ws042+`"`) || !strings.Contains(q, "ago(360m)") {
		t.Errorf("query = %s", q)
	}
	var kinds []string
	for _, e := range w.recorded {
		if e.Person.Object != "22222222-2222-2222-2222-222222222201" || !strings.Contains(string(e.Detail), "logons-of-ws-042") {
			t.Errorf("recorded %+v, want the owner and the schedule's name", e)
		}
		kinds = append(kinds, e.Kind)
	}
	if strings.Join(kinds, " ") != "schedule.run schedule.ended" {
		t.Errorf("recorded %v", kinds)
	}
	// Nobody's ten hunts of this hour are used.
	mustSay(t, "the owner's own hunt", w.says(t, riley, "hunt DeviceInfo | take 1"), "1 of your 10 hunts")

	w.estate.stats.Truncated = defender.TruncatedByRows
	if run := w.runs(t, s); !strings.Contains(run.Cut, "not compared") {
		t.Errorf("Cut = %q, want it to say that there is more", run.Cut)
	}
}

func TestScheduled_stopsWhenItsOwnerMayNot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		yaml string // of the policy afterwards
		want []string
	}{
		"left the file": {strings.Replace(testPolicy, "222222222201\n", "222222222299\n", 1), []string{"owner is not under people", "names another owner"}},
		"lost the role": {strings.NewReplacer("[responder, hunter]", "[viewer]", "[approver]", "[responder, approver]", "[admin]", "[admin, approver]").Replace(testPolicy), []string{"Riley Chen", "lacks the role responder"}},
		"has a scope": {testPolicy + `
groups: { emea: [22222222-2222-2222-2222-222222222201] }
scopes: [{ for: [emea], machines: 'machine.group == "EMEA"' }]
`, []string{"Riley Chen", "may see some machines only"}},
	} {
		w := newWorld(t)
		s := w.schedules(t, logonsOfWS042)
		p, err := policy.Parse("mdebot.yaml", []byte(c.yaml), policy.Options{HomeTenant: home})
		if err != nil {
			t.Fatal(err)
		}
		w.Policy.Set(p)
		run := w.runs(t, s)
		for _, want := range c.want {
			if !strings.Contains(troubleText(run.Trouble), want) {
				t.Errorf("%s: trouble %s, want %q", name, troubleText(run.Trouble), want)
			}
		}
		if len(w.estate.queries) != 0 || run.Trouble != nil && run.Trouble.Passing {
			t.Errorf("%s: hunted %v; passing = %v", name, w.estate.queries, run.Trouble.Passing)
		}
	}
}

// directoryOf says the same of everybody.
type directoryOf struct {
	standing identity.Standing
	err      error
}

func (d directoryOf) Standing(context.Context, identity.PersonID) (identity.Standing, error) {
	return d.standing, d.err
}

func TestScheduled_asksTheDirectoryAboutItsOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.schedules(t, logonsOfWS042)
	w.People = directoryOf{standing: identity.Guest}
	if run := w.runs(t, s); !strings.Contains(troubleText(run.Trouble), "does not know its owner, Riley Chen") || run.Trouble.Passing {
		t.Errorf("an owner who is no member: %s", troubleText(run.Trouble))
	}
	w.People = directoryOf{err: errors.New("the directory's own words")}
	run := w.runs(t, s)
	if text := troubleText(run.Trouble); run.Trouble == nil || !run.Trouble.Passing || strings.Contains(text, "own words") || !strings.Contains(text, "ref ") {
		t.Errorf("a directory that is away: %s, want a reference and another try", text)
	}
	if len(w.estate.queries) != 0 {
		t.Errorf("hunted %v", w.estate.queries)
	}
}

func TestScheduled_tablesOfItsOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.schedules(t, strings.NewReplacer("hunt: logons", "hunt: alerts-per-day", "    with: { machine: ws-042 }\n", "").Replace(logonsOfWS042))
	if run := w.runs(t, s); !strings.Contains(troubleText(run.Trouble), "Riley Chen, may not read the table AlertInfo") || len(w.estate.queries) != 0 {
		t.Errorf("trouble %s, want the table that was not granted", troubleText(run.Trouble))
	}
}

func TestScheduled_troubleInWords(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		op      string
		err     error
		want    []string
		passing bool
	}{
		"a query that is refused": {"hunt", errors.Join(defender.ErrQuerySyntax, &defender.APIError{Message: "Syntax error on line [1,3]"}), []string{"Defender refused the query.", "Line 1, character 3:", "--^", "Syntax error"}, false},
		"the quota":               {"hunt", errors.Join(defender.ErrQueryQuota, &defender.ThrottledError{RetryAfter: 90 * time.Second}), []string{"hunting quota is used up", "Try again in 2 minutes"}, true},
		"its own share":           {"hunt", &defender.ThrottledError{RetryAfter: 90 * time.Second}, []string{"quota for this is used up"}, true},
		"it takes too long":       {"hunt", defender.ErrQueryTimedOut, []string{"ran too long"}, false},
		"Defender is away":        {"hunt", defender.ErrUnavailable, []string{"Defender cannot be reached."}, true},
		"a permission is gone":    {"hunt", errors.Join(defender.ErrForbidden, &defender.APIError{Permission: "ThreatHunting.Read.All"}), []string{"it needs ThreatHunting.Read.All"}, false},
		"the machine is gone":     {"find", defender.ErrUnavailable, []string{"Defender cannot be reached."}, true},
	} {
		w := newWorld(t)
		s := w.schedules(t, logonsOfWS042)
		w.estate.faults = map[string]error{c.op: c.err}
		run := w.runs(t, s)
		for _, want := range c.want {
			if !strings.Contains(troubleText(run.Trouble), want) {
				t.Errorf("%s: %s, want %q", name, troubleText(run.Trouble), want)
			}
		}
		if run.Trouble == nil || run.Trouble.Passing != c.passing {
			t.Errorf("%s: %+v, want passing = %v", name, run.Trouble, c.passing)
		}
	}
}

func TestScheduled_stoppedProcessTellsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.schedules(t, logonsOfWS042)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.estate.faults = map[string]error{"hunt": context.Canceled}
	if run, err := w.RunScheduled(ctx, thisTenant, s); !errors.Is(err, context.Canceled) {
		t.Errorf("RunScheduled() = %+v, %v, want the job to come again", run, err)
	}
}

func TestHuntList_showsWhatRunsByItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.scheduled.all = []cards.ScheduleView{{
		Name: "new-logons", Hunt: "logons", Values: "machine=ws-042", When: "every 1h", To: []string{"slack:C0SOC"}, Last: noon.Add(-time.Hour), Next: noon, Found: 14, Fresh: 2, FreshAt: noon.Add(-time.Hour),
	}, {Name: "broken", Hunt: "usb", When: "daily at 07:30 UTC", Failing: noon, Problem: "Defender refused the query."}}
	m := w.says(t, viewer, "hunt list")
	mustSay(t, "hunt list", m, "new-logons", "logons machine=ws-042", "every 1h", "14 rows, 2 new", "slack:C0SOC", "next run", "broken", "daily at 07:30 UTC", "fails since", "Defender refused the query.")
	if m.Tone != chat.Neutral {
		t.Errorf("tone %q", m.Tone)
	}
}
