package app

import (
	"bytes"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/anchor"
	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/seal"
)

const (
	storyAuditKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	storyDataKey  = "IAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

// mdebot runs the command line beside the bot.
func (s *story) mdebot(args ...string) (code int, out, complaint string) {
	s.Helper()
	var stdout, stderr bytes.Buffer
	code = Main(s.Context(), args, s.env, &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func (s *story) sql(query string, args ...any) {
	s.Helper()
	err := s.bot.store.InTx(s.Context(), func(tx durable.Tx) error {
		_, err := tx.Exec(s.Context(), query, args...)
		return err
	})
	if err != nil {
		s.Fatalf("%s: %v", query, err)
	}
}

func (s *story) database() string { return filepath.Join(s.dir, "mdebot.db") }

func (s *story) copyFile(from, to string) {
	s.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o600); err != nil {
		s.Fatal(err)
	}
}

func TestStory_databaseFromBeforeADenialStartsSafe(t *testing.T) {
	t.Parallel()
	anchors := filepath.Join(t.TempDir(), "anchors.jsonl")
	s := newStory(t, sandbox.Options{}, "MDEBOT_AUDIT_ANCHORS=file:"+anchors, "MDEBOT_AUDIT_KEY="+storyAuditKey)
	on := s.slack()
	card := s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-021", "beaconing")
	s.halt()
	backup := filepath.Join(s.dir, "backup.db")
	s.copyFile(s.database(), backup)

	s.start()
	s.pressed(on, sandbox.Avery, card, "Deny", "Denied")
	s.eventually("an anchor that knows the denial", func() string {
		var denied int64
		if err := s.bot.store.Read().QueryRow(t.Context(), `SELECT seq FROM audit WHERE kind = 'vote.deny'`).Scan(&denied); err != nil {
			return err.Error()
		}
		file, err := os.Open(anchors)
		if err != nil {
			return err.Error()
		}
		defer file.Close()
		newest, _, err := anchor.Newest(file, "")
		if err != nil || newest[s.bot.tenant].Seq < denied {
			return fmt.Sprintf("the newest is %d, %v", newest[s.bot.tenant].Seq, err)
		}
		return ""
	})
	s.halt()
	if code, out, complaint := s.mdebot("audit", "verify", "--anchor", anchors); code != 0 || !strings.Contains(out, "contains the anchor") {
		t.Fatalf("audit verify = %d\n%s%s", code, out, complaint)
	}

	s.copyFile(backup, s.database())
	if code, out, _ := s.mdebot("audit", "verify"); code != 0 {
		t.Errorf("audit verify = %d for a consistent copy\n%s", code, out)
	}
	if code, _, complaint := s.mdebot("audit", "verify", "--anchor", anchors); code != 1 || !strings.Contains(complaint, "are missing") {
		t.Errorf("audit verify --anchor = %d: %s, want the missing records named", code, complaint)
	}

	s.start()
	s.sees(on, sandbox.Sam, sandbox.SlackOps, "All actions are frozen", "mdebot itself", "not the one anchored")
	s.sees(on, sandbox.Avery, on.approvals(), "isolate ws-021", "not the one anchored")
	s.ask(on, sandbox.Riley, "isolate ws-022 beaconing", "mdebot has frozen all actions")
	s.watching()
	s.raise("ws-023.corp.contoso.com", "High", "Alerts go on")
	s.sees(on, sandbox.Riley, sandbox.SlackSOC, "Alerts go on")
	s.wantIsolations(0)

	s.ask(on, sandbox.Avery, "unfreeze restored after the disk failed", "Asked")
	end := s.sees(on, sandbox.Sam, on.approvals(), "end the freeze by mdebot", "waits for approval")
	s.pressed(on, sandbox.Sam, end, "Approve", "Your approval counts")
	s.sees(on, sandbox.Sam, sandbox.SlackOps, "Actions are no longer frozen")

	s.halt()
	s.start()
	if f, err := s.bot.approvals.Frozen(t.Context(), s.bot.tenant); err != nil || f.On() {
		t.Errorf("Frozen() = %+v, %v after people accepted the restore and the bot was started again", f, err)
	}
	if code, out, complaint := s.mdebot("audit", "verify", "--anchor", anchors); code != 0 || !strings.Contains(out, "accepted a restored database") {
		t.Errorf("audit verify --anchor = %d\n%s%s", code, out, complaint)
	}
}

func TestStory_nothingRunsWithoutItsAuditRecord(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	on := s.slack()
	s.watching()
	card := s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-024", "beaconing")
	s.sql(`CREATE TRIGGER full_disk BEFORE INSERT ON audit WHEN NEW.kind = 'action.intent'
		BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END`)
	s.pressed(on, sandbox.Avery, card, "Approve", "Your approval counts")
	s.eventually("a claim that fails", func() string {
		var failed int64
		err := s.bot.store.Read().QueryRow(t.Context(), `SELECT COUNT(*) FROM river_job WHERE queue = $1 AND errors IS NOT NULL`, approvals.KindExecute).Scan(&failed)
		if err != nil || failed == 0 {
			return "no failed attempt"
		}
		return ""
	})
	s.raise("ws-025.corp.contoso.com", "High", "Alerts go on")
	s.sees(on, sandbox.Riley, sandbox.SlackSOC, "Alerts go on")
	s.wantIsolations(0)
	s.sql(`DROP TRIGGER full_disk`)
	s.sees(on, sandbox.Riley, on.soc(), "isolate ws-024.corp.contoso.com – isolated")
	s.wantIsolations(1)
}

func TestStory_nothingRunsOnAFullDisk(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	on := s.slack()
	card := s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-026", "beaconing")
	// Every audit record needs room, and the file may not grow: SQLite's own error.
	s.sql(`CREATE TABLE room (b BLOB)`)
	s.sql(`CREATE TRIGGER full_disk AFTER INSERT ON audit BEGIN INSERT INTO room VALUES (zeroblob(1000000)); END`)
	s.sql(`PRAGMA max_page_count = 1`)
	on.click(sandbox.Avery, card, "Approve")
	s.eventually("an error for the approver", func() string {
		for _, m := range on.see(sandbox.Avery, on.approvals()) {
			if strings.Contains(m.text, "Something went wrong") {
				return ""
			}
		}
		return "none"
	})
	s.wantIsolations(0)
	s.sql(`PRAGMA max_page_count = 1000000`)
	s.pressed(on, sandbox.Avery, card, "Approve", "Your approval counts")
	s.sees(on, sandbox.Riley, on.soc(), "isolate ws-026.corp.contoso.com – isolated")
}

func TestStory_auditCommandsBesideTheBot(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	on := s.slack()
	card := s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-027", "=cmd beaconing")
	s.pressed(on, sandbox.Riley, card, "Approve", "You asked for this yourself")
	s.pressed(on, sandbox.Avery, card, "Approve", "Your approval counts")
	s.sees(on, sandbox.Riley, on.soc(), "isolate ws-027.corp.contoso.com – isolated")

	if code, out, complaint := s.mdebot("audit", "verify"); code != 0 || !strings.Contains(out, ": ok, ") {
		t.Errorf("audit verify = %d\n%s%s", code, out, complaint)
	}
	code, out, complaint := s.mdebot("audit", "request", "1")
	var d approvals.DecisionRecord
	if err := json.Unmarshal([]byte(out), &d); code != 0 || err != nil {
		t.Fatalf("audit request = %d, %v\n%s%s", code, err, out, complaint)
	}
	if d.AskedBy.Name != "Riley Chen" || d.Reason != "=cmd beaconing" || d.Rule.Text == "" || d.Digest == "" ||
		len(d.Targets) != 1 || len(d.Targets[0].Facts) == 0 || len(d.Claims) != 1 {
		t.Errorf("decision record %+v, want who, why, rule, facts and claim", d)
	}
	var votes, course []string
	for _, e := range d.Votes {
		votes = append(votes, e.Kind+" "+e.By.Name)
	}
	for _, e := range d.Course {
		course = append(course, e.Kind)
	}
	if !slices.Equal(votes, []string{"vote.refused Riley Chen", "vote.approve Avery Stone"}) {
		t.Errorf("votes %q", votes)
	}
	if !slices.Contains(course, "action.submitted") || !slices.Contains(course, "action.finished") || !strings.Contains(out, `"machine_action"`) {
		t.Errorf("course %q, want the machine action and its end", course)
	}

	if code, out, complaint = s.mdebot("audit", "export", "--format", "csv"); code != 0 {
		t.Fatalf("audit export = %d %s", code, complaint)
	}
	table, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(table) < 6 || table[0][0] != "tenant" {
		t.Errorf("audit export wrote %d rows, %v", len(table), err)
	}
	if code, out, complaint = s.mdebot("audit", "export", "--requests"); code != 0 || strings.Count(out, "\n") != 1 || !strings.Contains(out, d.Digest) {
		t.Errorf("audit export --requests = %d\n%s%s", code, out, complaint)
	}
	if code, out, complaint = s.mdebot("audit", "export", "--since", "2199-01-01"); code != 0 || out != "" {
		t.Errorf("audit export of the future = %d\n%s%s", code, out, complaint)
	}
	code, out, complaint = s.mdebot("audit", "report", "--month", s.now().UTC().Format("2006-01"))
	for _, line := range []string{"requests opened 1", "refused self-approvals 1", "targets done 1", "denied 0"} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), line) {
			t.Errorf("audit report = %d, without %q:\n%s%s", code, line, out, complaint)
		}
	}
	for _, wrong := range [][]string{{"request", "99"}, {"request", "x"}, {"report", "--month", "May"}, {"export", "--since", "yesterday"}, {"export", "--requests", "--format", "csv"}, {"verify", "--anchor", "nowhere"}} {
		if code, _, _ := s.mdebot(append([]string{"audit"}, wrong...)...); code == 0 {
			t.Errorf("audit %q succeeded", wrong)
		}
	}
}

func TestStory_auditVerifyNamesEveryKindOfDamage(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.request(s.slack(), s.slack(), sandbox.Riley, sandbox.Avery, "ws-028", "beaconing")
	s.halt()
	whole := filepath.Join(s.dir, "whole.db")
	s.copyFile(s.database(), whole)
	for name, damage := range map[string]string{
		"edit":    `UPDATE audit SET outcome = 'ok ' WHERE seq = 2`,
		"delete":  `DELETE FROM audit WHERE seq = 2`,
		"insert":  `INSERT INTO audit SELECT tenant, 0, at, kind, person, person_name, account, conversation, delivery, request, digest, policy_hash, outcome, detail, prev, hash FROM audit WHERE seq = 1`,
		"reorder": `UPDATE audit SET seq = CASE seq WHEN 1 THEN -2 ELSE -1 END WHERE seq IN (1, 2); UPDATE audit SET seq = -seq WHERE seq < 0`,
		"cut":     `DELETE FROM audit WHERE seq = (SELECT MAX(seq) FROM audit)`,
		"all":     `DELETE FROM audit`,
	} {
		s.copyFile(whole, s.database())
		s.damage(damage)
		if code, out, complaint := s.mdebot("audit", "verify"); code != 1 || !strings.Contains(complaint, "is broken at sequence") {
			t.Errorf("%s: audit verify = %d\n%s%s", name, code, out, complaint)
		}
	}
	s.copyFile(whole, s.database())
	if code, out, complaint := s.mdebot("audit", "verify"); code != 0 {
		t.Errorf("audit verify = %d for the whole log\n%s%s", code, out, complaint)
	}
}

func TestStory_dataKeyHidesWhatIsStored(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{}, "MDEBOT_DATA_KEY="+storyDataKey)
	s.watching()
	s.raise("ws-029.corp.contoso.com", "High", "A title nobody should find in a backup")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "A title nobody should find in a backup")
	s.sees(s.teams(), sandbox.Riley, sandbox.TeamsSOC, "A title nobody should find in a backup")
	s.halt()
	file, err := os.ReadFile(s.database())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(file, []byte("A title nobody should find")) {
		t.Error("the title of the alert can be read in the file")
	}
	env := s.env
	s.env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return strings.HasPrefix(kv, "MDEBOT_DATA_KEY=") })
	cfg, err := LoadConfig(t.Context(), s.env)
	if err != nil {
		t.Fatal(err)
	}
	var missing *seal.MissingKeyError
	if bot, err := New(t.Context(), cfg, newLogger(cfg, logTo(t))); !errors.As(err, &missing) {
		t.Errorf("New() = %v, %v without the key, want it to be missing", bot, err)
	}
	s.env = env
	s.start()
	s.watching()
}

// damage changes the database while no bot runs.
func (s *story) damage(statements string) {
	s.Helper()
	db, err := sql.Open("sqlite", "file:"+s.database())
	if err != nil {
		s.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(s.Context(), statements); err != nil {
		s.Fatalf("%s: %v", statements, err)
	}
}
