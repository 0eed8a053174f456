package commands

import (
	"encoding/csv"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

func TestAlert(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mustSay(t, "alert", w.says(t, viewer, "alert "+alert1), "Suspicious <b>PowerShell</b>", "last seen", "ws-042.corp.example")
	mustSay(t, "unknown alert", w.says(t, viewer, "alert da000000000000_1"), "Defender does not know that ID.")
	mustSay(t, "no alert ID", w.says(t, viewer, "alert foo"), "foo is not an alert ID.")
	mustSay(t, "no alert", w.says(t, viewer, "alert"), "Which alert?", "Usage: /mde alert <id>")
	mustSay(t, "extra words", w.says(t, viewer, "alert "+alert1+" explode"), "takes ack, assign, resolve or comment")
	m, _ := w.inThread(t, viewer, Subject{Kind: SubjectAlert, ID: alert1}, "alert")
	mustSay(t, "in its thread", m, alert1)
}

func TestAlert_buttonsThatMustFailAreNotShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.estate.granted = defender.PermissionsOf([]string{"Alert.Read.All"}, nil)
	for _, b := range w.says(t, viewer, "alert "+alert1).Buttons {
		if b.Action == cards.ActionAlertAck || b.Action == cards.ActionRequestIsolation {
			t.Errorf("%s is shown", b.Label)
		}
	}
}

func TestAlerts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mustSay(t, "alerts", w.says(t, viewer, "alerts"), "2 alerts since 2026-11-20 12:00 UTC")
	mustSay(t, "a severity", w.says(t, viewer, "alerts MEDIUM"), "1 alert of severity Medium or higher")
	mustSay(t, "a longer time", w.says(t, viewer, "alerts --since 7d"), "3 alerts")
	mustSay(t, "a machine", w.says(t, viewer, "alerts --machine ws-043"), "1 alert", "on ws-043.corp.example", "Low one")
	mustSay(t, "an ambiguous machine", w.says(t, viewer, "alerts --machine twin"), "twin matches 2 machines")
	mustSay(t, "no severity", w.says(t, viewer, "alerts scary"), "scary is not a severity.")
	mustSay(t, "no time", w.says(t, viewer, "alerts --since ages"), "--since takes a time")
	mustSay(t, "too far back", w.says(t, viewer, "alerts --since 999d"), "--since takes a time")
	mustSay(t, "further back than can be counted", w.says(t, viewer, "alerts --since 107000d"), "--since takes a time")
	mustSay(t, "two severities", w.says(t, viewer, "alerts low high"), "one severity at most")
}

func TestAlertUpdates(t *testing.T) {
	t.Parallel()
	for text, check := range map[string]func(a defender.Alert) bool{
		"alert " + alert1 + " ack":                 func(a defender.Alert) bool { return a.Status == "InProgress" && a.AssignedTo == "Riley Chen" },
		"assign " + alert1 + " avery@corp.example": func(a defender.Alert) bool { return a.AssignedTo == "avery@corp.example" },
		"assign " + alert1 + " me":                 func(a defender.Alert) bool { return a.AssignedTo == "Riley Chen" },
		"resolve " + alert1 + " false-positive":    func(a defender.Alert) bool { return a.Status == "Resolved" && a.Classification == "FalsePositive" },
		"alert " + alert1 + " resolve TP":          func(a defender.Alert) bool { return a.Classification == "TruePositive" },
		"comment " + alert1 + " it is the backup":  func(a defender.Alert) bool { return strings.Contains(a.Comments[0].Text, "it is the backup") },
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.says(t, riley, text)
			a := w.estate.alerts[0]
			if !check(a) || len(a.Comments) != 1 || !strings.Contains(a.Comments[0].Text, "by Riley Chen from slack") {
				t.Errorf("alert = %+v", a)
			}
			if len(w.changed) != 1 || w.changed[0] != alert1 {
				t.Errorf("cards told of %v, want the alert", w.changed)
			}
			if w.kinds() != "alert.updating alert.updated" {
				t.Errorf("recorded %s", w.kinds())
			}
		})
	}
}

func TestAlertUpdate_withoutRecordDoesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.recordErr = errors.New("disk full")
	mustSay(t, "ack", w.says(t, riley, "ack "+alert1), "Something went wrong")
	if a := w.estate.alerts[0]; a.Status != "New" {
		t.Errorf("status = %s, want New", a.Status)
	}
}

func TestAlertUpdate_refusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.estate.faults["update"] = &defender.ThrottledError{RetryAfter: 5 * time.Second}
	mustSay(t, "throttled", w.says(t, riley, "ack "+alert1), "Try again in 5 seconds.")
	if w.kinds() != "alert.updating alert.updated" || w.recorded[1].Outcome != "failed" || len(w.changed) != 0 {
		t.Errorf("recorded %s, told of %v", w.kinds(), w.changed)
	}
	mustSay(t, "too many words", w.says(t, riley, "comment "+alert1+" "+strings.Repeat("x", 801)), "Keep it to 800.")
	mustSay(t, "no such class", w.says(t, riley, "resolve "+alert1+" meh"), "true-positive, false-positive")
	w.estate.alerts[0].Status, w.estate.alerts[0].AssignedTo = "InProgress", "avery"
	mustSay(t, "taken", w.says(t, riley, "ack "+alert1), "in progress already, with avery")
	w.estate.alerts[0].Status = "Resolved"
	mustSay(t, "resolved", w.says(t, riley, "ack "+alert1), "resolved already")
}

func TestAlertClicks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m, _ := w.clicks(t, riley, cards.ActionAlertAck, alert1)
	mustSay(t, "Acknowledge", m, "In progress, assigned to Riley Chen")
	m, _ = w.clicks(t, viewer, cards.ActionAlertAck, alert1)
	mustSay(t, "Acknowledge by a viewer", m, "needs the role responder")
	m, _ = w.clicks(t, viewer, cards.ActionAlertShow, alert1)
	mustSay(t, "a choice from the list", m, alert1)
	_, resp := w.clicks(t, riley, cards.ActionAlertResolve, alert1)
	if resp.Form == nil || len(resp.Form.Fields[0].Options) != 14 {
		t.Fatalf("form = %+v", resp.Form)
	}
	_, resp2 := w.submits(t, riley, resp.Form.Action, resp.Form.Value, map[string]string{})
	if resp2.Errors[cards.FieldClassification] == "" {
		t.Errorf("errors = %v", resp2.Errors)
	}
	w.submits(t, riley, resp.Form.Action, resp.Form.Value, map[string]string{cards.FieldClassification: "FalsePositive/NotMalicious", cards.FieldComment: "known tool"})
	if a := w.estate.alerts[0]; a.Status != "Resolved" || a.Determination != "NotMalicious" || !strings.Contains(a.Comments[1].Text, "known tool") {
		t.Errorf("alert = %+v", a)
	}
	m, _ = w.submits(t, riley, resp.Form.Action, resp.Form.Value, map[string]string{cards.FieldClassification: "FalsePositive/Malware"})
	mustSay(t, "a choice that no form offers", m, "another version")
	m, _ = w.clicks(t, riley, "no.such.action", "x")
	mustSay(t, "an unknown button", m, "another version")
}

func TestAlertForms_assignAndComment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, action := range map[string]string{"Assign": cards.ActionAlertAssign, "Comment": cards.ActionAlertComment, "Resolve": cards.ActionAlertResolve} {
		if m, resp := w.clicks(t, viewer, action, alert1); resp.Form != nil || !strings.Contains(textOf(m), "needs the role responder") {
			t.Errorf("%s by a viewer: form %v, %s", name, resp.Form, textOf(m))
		}
	}
	_, resp := w.clicks(t, riley, cards.ActionAlertAssign, alert1)
	if resp.Form == nil || resp.Form.Fields[0].Options[0].Detail != "Riley Chen" {
		t.Fatalf("form = %+v", resp.Form)
	}
	for _, one := range []struct {
		name   string
		fields map[string]string
		want   string
	}{
		{"me", map[string]string{cards.FieldPerson: "me"}, "Riley Chen"},
		{"somebody typed", map[string]string{cards.FieldPerson: "me", cards.FieldOther: " kim@corp.example "}, "kim@corp.example"},
	} {
		w.submits(t, riley, resp.Form.Action, resp.Form.Value, one.fields)
		if got := w.estate.alerts[0].AssignedTo; got != one.want {
			t.Errorf("%s: assigned to %q, want %q", one.name, got, one.want)
		}
	}
	m, _ := w.submits(t, riley, resp.Form.Action, resp.Form.Value, map[string]string{cards.FieldPerson: "t/nobody"})
	mustSay(t, "nobody we know", m, "no longer in mdebot.yaml")

	_, resp = w.clicks(t, riley, cards.ActionAlertComment, alert1)
	if _, empty := w.submits(t, riley, resp.Form.Action, resp.Form.Value, map[string]string{cards.FieldComment: " "}); empty.Errors[cards.FieldComment] == "" {
		t.Errorf("an empty comment is answered with %+v", empty)
	}
	w.submits(t, riley, resp.Form.Action, resp.Form.Value, map[string]string{cards.FieldComment: "the backup job"})
	if c := w.estate.alerts[0].Comments; !strings.Contains(c[len(c)-1].Text, "the backup job, by Riley Chen") {
		t.Errorf("comments = %+v", c)
	}
}

func TestVerdictOf(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"true-positive": "TruePositive", "TP malware": "TruePositive/Malware", "fp": "FalsePositive", "False Positive not malicious": "FalsePositive/NotMalicious",
		"informational security-test": "InformationalExpectedActivity/SecurityTesting", "expected": "InformationalExpectedActivity",
		"true-positive multi-stage-attack": "TruePositive/MultiStagedAttack", "true-positive other": "TruePositive/Other",
	} {
		if v, problem := verdictOf(typed); v.String() != want || problem != "" {
			t.Errorf("verdictOf(%q) = %s, %q, want %s", typed, v, problem, want)
		}
	}
	for typed, want := range map[string]string{"meh": "Say how", "": "Say how", "fp malware": "not-malicious, not-enough-data, other"} {
		if _, problem := verdictOf(typed); !strings.Contains(problem, want) {
			t.Errorf("verdictOf(%q) says %q, want %q", typed, problem, want)
		}
	}
}

func TestAlertUpdates_withoutTheirWordsOpenAForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, command := range []string{"resolve", "assign", "comment"} {
		inv := w.invocation(chat.Command, riley)
		inv.Text = "alert " + alert1 + " " + command
		if _, resp := w.ask(t, inv); resp.Form == nil || resp.Form.Value != alert1 {
			t.Errorf("%s opens %+v", command, resp.Form)
		}
		if _, resp := w.inThread(t, riley, Subject{Kind: SubjectAlert, ID: alert1}, command); resp.Form == nil || resp.Form.Value != alert1 {
			t.Errorf("%s in the alert's thread opens %+v", command, resp.Form)
		}
	}
}

func TestMachine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, query := range []string{"ws-042", "WS-042", "ws-042.corp.example", ws042} {
		mustSay(t, query, w.says(t, viewer, "machine "+query), ws042, `CORP\sam`, "not isolated", "1, worst High")
	}
	mustSay(t, "isolated machine", w.says(t, viewer, "machine ws-099"), "Isolation: isolated, as last known since")
	mustSay(t, "unknown", w.says(t, viewer, "machine nowhere"), "Defender knows no machine nowhere.")
	m := w.says(t, viewer, "machine twin")
	mustSay(t, "ambiguous", m, "twin matches 2 machines", "Last seen", "Signed in", "Group: Workstations", "Health: Active")
	m, _ = w.clicks(t, viewer, m.Menu.Action, m.Menu.Options[1].Value)
	mustSay(t, "the choice", m, "Machine ")
	mustSay(t, "prefix", w.says(t, viewer, "machine ws-04"), "No machine is called ws-04; 2 machines begin with it")
	mustSay(t, "none", w.says(t, viewer, "machine"), "Which machine?")
	mustSay(t, "two", w.says(t, viewer, "machine a b"), "machines lists several")
	m, _ = w.inThread(t, viewer, Subject{Kind: SubjectAlert, ID: alert1}, "machine")
	mustSay(t, "in an alert's thread", m, ws042)
}

func TestMachine_missingFactsAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.estate.faults["users"], w.estate.faults["actions"], w.estate.faults["alerts"] = defender.ErrForbidden, defender.ErrUnavailable, defender.ErrForbidden
	mustSay(t, "machine", w.says(t, viewer, "machine ws-042"), "not permitted: User.Read.All", "not permitted: Alert.Read.All", "Isolation: could not be read (Defender cannot be reached)")
}

func TestMachines(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mustSay(t, "machines", w.says(t, viewer, "machines ws-04"), "2 machines")
	mustSay(t, "a tag", w.says(t, viewer, "machines --tag never-isolate"), "1 machine", "dc-01")
	mustSay(t, "nothing", w.says(t, viewer, "machines --risk high"), "No machines")
	mustSay(t, "no such risk", w.says(t, viewer, "machines --risk scary"), "--risk is none")
	mustSay(t, "no such health", w.says(t, viewer, "machines --health ill"), "--health is active")
	mustSay(t, "no such time", w.says(t, viewer, "machines --seen soon"), "--seen takes a time")
	mustSay(t, "two words", w.says(t, viewer, "machines a b"), "one beginning of a name")
}

func TestActionAndIsolated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mustSay(t, "action", w.says(t, viewer, "action "+action1), "Isolate on ws-099: Succeeded")
	mustSay(t, "unknown action", w.says(t, viewer, "action x"), "does not know that ID")
	mustSay(t, "no action", w.says(t, viewer, "action"), "ID of one machine action")
	mustSay(t, "isolated", w.says(t, viewer, "isolated"), "1 machine is isolated", "ws-099", "2026-11-20 13:00 UTC")
	w.estate.actions = append(w.estate.actions, defender.MachineAction{ID: "b", Type: defender.Unisolate, Status: defender.ActionSucceeded, MachineID: cutOff, Created: noon})
	mustSay(t, "isolated after the release", w.says(t, viewer, "isolated"), "No machine is isolated")
	mustSay(t, "extra word", w.says(t, viewer, "isolated ws-042"), "takes no machine")
}

func TestHunt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 20 {
		w.estate.hunt = append(w.estate.hunt, []string{`=cmd|' /C calc'!A0`, "9223372036854775807"})
	}
	w.estate.stats = defender.HuntStats{Rows: 20, Duration: 2 * time.Second, RetiresAt: time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)}
	inv := w.invocation(chat.Command, riley)
	inv.Text = "/mde hunt DeviceInfo\n| where DeviceName == \"a  b\u00a0c\""
	m, resp := w.ask(t, inv)
	mustSay(t, "hunt", m, "Hunt: 20 rows in 2s", "1 February 2027")
	if resp.Audience != chat.Personal || len(m.Table.Rows) != rowsShown || len(m.Files) != 1 {
		t.Fatalf("audience %v, %d rows, %d files", resp.Audience, len(m.Table.Rows), len(m.Files))
	}
	if got, want := w.estate.queries[0], "DeviceInfo\n| where DeviceName == \"a  b\u00a0c\"\n| limit 10000"; got != want {
		t.Errorf("query = %q, want %q", got, want)
	}
	records, err := csv.NewReader(strings.NewReader(string(m.Files[0].Content))).ReadAll()
	if err != nil || len(records) != 21 || records[0][0] != "Name" || !strings.HasPrefix(records[1][0], "'=") || records[1][1] != "9223372036854775807" {
		t.Errorf("file = %q, %v", records[:2], err)
	}
	if w.kinds() != "hunt.run hunt.ended" || !strings.Contains(string(w.recorded[0].Detail), "DeviceInfo") {
		t.Errorf("recorded %s", w.kinds())
	}
}

func TestHunt_oneSentencePerFault(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"Defender refused the query.":          defender.ErrQuerySyntax,
		"larger than Defender returns":         defender.ErrResultTooLarge,
		"ran too long":                         defender.ErrQueryTimedOut,
		"The tenant's hunting quota":           defender.ErrQueryQuota,
		"Defender cannot be reached.":          defender.ErrUnavailable,
		"hunt needs ThreatHunting.Read.All on": defender.ErrForbidden,
		"Something went wrong (ref ":           errors.New("surprise"),
	} {
		w := newWorld(t)
		w.estate.faults["hunt"] = err
		m := w.says(t, riley, "hunt DeviceInfo | where a == “b”")
		mustSay(t, want, m, want)
		if errors.Is(err, defender.ErrQuerySyntax) {
			mustSay(t, "a phone's quotes", m, "curly quotation marks")
		}
	}
}

func TestHunt_nothingFoundAndLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.says(t, riley, "hunt DeviceInfo")
	mustSay(t, "hunt", m, "nothing found")
	if len(m.Files) != 0 || m.Table != nil {
		t.Error("a hunt without rows has a table or a file")
	}
	for range 9 {
		w.says(t, riley, "hunt DeviceInfo")
	}
	mustSay(t, "the 11th in an hour", w.says(t, riley, "hunt DeviceInfo"), "ten per person")
	w.clock = w.clock.Add(7 * time.Minute)
	mustSay(t, "some minutes later", w.says(t, riley, "hunt DeviceInfo"), "nothing found")
}

func TestHunt_truncation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.estate.hunt = [][]string{{"a", "1"}}
	w.estate.stats = defender.HuntStats{Rows: 1, Truncated: defender.TruncatedByRows}
	mustSay(t, "rows", w.says(t, riley, "hunt DeviceInfo | take 50000"), "at the 10000 rows that mdebot reads")
	w.estate.stats.Truncated = defender.TruncatedByBytes
	mustSay(t, "bytes", w.says(t, riley, "hunt DeviceInfo"), "at 10 MiB")
	big := strings.Repeat("x", 1<<20)
	w.estate.hunt = nil
	for range 15 {
		w.estate.hunt = append(w.estate.hunt, []string{big, "1"})
	}
	m := w.says(t, riley, "hunt DeviceInfo")
	mustSay(t, "a large file", m, "at 10 MiB")
	if n := len(m.Files[0].Content); n > huntBytes+2<<20 {
		t.Errorf("file of %d bytes", n)
	}
}

func TestBoundKQL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"T":                              "T\n| limit 10000",
		"T | where a == 1;":              "T | where a == 1\n| limit 10000",
		"T // all of it":                 "T\n| limit 10000",
		"T | take 5":                     "T | take 5",
		"T | LIMIT 5 // few":             "T | LIMIT 5 // few",
		"T | top 5 by a":                 "T | top 5 by a",
		"T | count":                      "T | count",
		"T | summarize count() by a":     "T | summarize count() by a\n| limit 10000",
		"T | where a == \"| take 5\"":    "T | where a == \"| take 5\"\n| limit 10000",
		"T | where a == @\"\\\" | x":     "T | where a == @\"\\\" | x\n| limit 10000",
		"T | join (U | take 5) on a":     "T | join (U | take 5) on a\n| limit 10000",
		"let x = 5; T | where a == x":    "let x = 5; T | where a == x\n| limit 10000",
		"let x = U | take 5; T":          "let x = U | take 5; T\n| limit 10000",
		"T | render timechart":           "T | render timechart",
		"T | where a == 'search' | take": "T | where a == 'search' | take",
	} {
		got, _, err := boundKQL(in)
		if err != nil || got != want {
			t.Errorf("boundKQL(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", " // only a comment", ".show tables", " .drop table T", "externaldata (a:string) ['https://evil.example/x']",
		"T | union (cluster('other').database('x').U)", "search \"x\"", "union *", "T | union withsource=s *", "find where a == 1", "T | where a in (database('x').U)",
		"let x = externaldata(a:string)['h']; T",
	} {
		if got, _, err := boundKQL(in); err == nil {
			t.Errorf("boundKQL(%q) = %q, want a refusal", in, got)
		}
	}
}

func FuzzBoundKQL(f *testing.F) {
	for _, s := range []string{"T | take 5", "T // x", "'", "\"\\", "@'", "```a", "let a = 1;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, limit, err := boundKQL(s)
		switch {
		case err != nil:
		case limit == 0 && got != s:
			t.Errorf("boundKQL(%q) = %q, which is another query", s, got)
		case limit > 0:
			head, ok := strings.CutSuffix(got, "\n| limit 10000")
			if !ok || !strings.HasPrefix(s, head) {
				t.Errorf("boundKQL(%q) = %q, which is another query", s, got)
			}
		}
	})
}

func TestHelp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.says(t, stranger, "help")
	for _, s := range Specs() {
		mustSay(t, "help", m, "/mde "+s.Usage)
	}
	mustSay(t, "one command", w.says(t, riley, "help ISOLATE"), "Usage: /mde isolate", "--selective", "Examples")
	mustSay(t, "a typo", w.says(t, riley, "help isolat"), "Did you mean /mde isolate")
	mustSay(t, "two commands", w.says(t, riley, "help a b"), "help takes one command")
	w.estate.granted = defender.PermissionsOf(nil, nil)
	mustSay(t, "without permissions", w.says(t, riley, "help"), "Not permitted here: needs Machine.Isolate on WindowsDefenderATP")
}

func TestStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mustSay(t, "status", w.says(t, admin, "status"), "Everything works", "Store: works")
	w.estate.faults["permissions"] = defender.ErrUnauthorized
	mustSay(t, "status without a token", w.says(t, admin, "status"), "needs attention", "refuses mdebot itself")
}

func TestPublic_postsForAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	inv := w.invocation(chat.Command, viewer)
	inv.Text = "machine ws-042 --public"
	if _, resp := w.ask(t, inv); resp.Audience != chat.Everyone {
		t.Errorf("audience = %v, want everyone", resp.Audience)
	}
	mustSay(t, "a hunt", w.says(t, riley, "whoami --public"), "no flag --public")
}

func TestHandle_answersInTimeWhileDefenderHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, text := range []string{"machine ws-042", "isolate ws-042 because", "hunt DeviceInfo", "alert " + alert1 + " ack"} {
		inv := w.invocation(chat.Command, riley)
		inv.Text = text
		w.standing = nil // the first answer asks nobody
		if resp := w.Handle(t.Context(), inv); resp.Message == nil || resp.Later == nil {
			t.Errorf("%s: first answer %+v", text, resp.Message)
		}
	}
}
