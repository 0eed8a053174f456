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

func TestQuarantine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mustSay(t, "quarantine", w.says(t, riley, "quarantine "+strings.ToUpper(evilFile)+" ws-042,ws-043 dropped by the loader"), "#1", ws042, ws043, "has not seen the file on this machine")
	r := w.live(t)[0]
	if r.Action != approvals.Quarantine || r.Params["file"] != evilFile || r.Reason != "dropped by the loader" || len(r.Targets) != 2 {
		t.Errorf("request = %s %v %q on %d", r.Action, r.Params, r.Reason, len(r.Targets))
	}
	card := cards.Request(cards.RequestView{Request: r})
	mustSay(t, "the card", card, evilFile, "evil.exe", "signed by <b>Evil</b> Inc., not validly", "Malware Trojan:Win32/X", "3 machines here", "seen within thirty days")
}

func TestQuarantine_badInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for text, wants := range map[string][]string{
		"quarantine": {"Which file? Give its SHA-1.", "Usage: /mde quarantine"},
		"quarantine " + evilSHA256 + " ws-042 because":            {"That is a SHA-256", "where SHA256 == \"" + evilSHA256 + "\"", "summarize by SHA1"},
		"quarantine d41d8cd98f00b204e9800998ecf8427e ws-042 why":  {"That is an MD5", "where MD5 == "},
		"quarantine 1234 ws-042 because":                          {"40 hexadecimal digits"},
		"quarantine " + evilFile + "0 ws-042 because":             {"40 hexadecimal digits"},
		"quarantine " + strings.Repeat("g", 40) + " ws-042 why":   {"40 hexadecimal digits"},
		"quarantine " + evilFile + " web-01 because":              {"quarantines files on Windows alone"},
		"quarantine " + evilFile + " nowhere because":             {"knows no machine nowhere"},
		"package ws-042,ws-043 because":                           {"package takes one machine, not 2."},
		"package printer-3 because":                               {"is not onboarded"},
		"quarantine \" | take 5 //" + evilFile[:25] + " ws-042 x": {"quotation mark"},
	} {
		mustSay(t, text, w.says(t, riley, text), wants...)
	}
	if n := len(w.live(t)); n != 0 {
		t.Errorf("%d requests were opened", n)
	}
}

func TestQuarantine_whatCannotBeReadIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.estate.faults["file"] = defender.ErrForbidden
	w.says(t, riley, "quarantine "+evilFile+" ws-042 because")
	mustSay(t, "the card", cards.Request(cards.RequestView{Request: w.live(t)[0]}), "could not be read", "not permitted: File.Read.All")
}

// The address of a package goes to whoever asked for it, alone, and is recorded
// without the address.
func TestDownload_isForTheRequesterAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.says(t, riley, "package ws-042 traces")
	r := w.live(t)[0]
	mustSay(t, "before it is there", w.says(t, riley, "download 1"), "The package of #1 is not there")
	w.finish(t, r, "5382f7ea-7557-4ab7-9782-d50480024a4f")

	for _, by := range []struct {
		name string
		m    chat.Message
	}{
		{"an approver", w.says(t, avery, "download 1")},
		{"a viewer", w.says(t, viewer, "download 1")},
		{"an admin", w.says(t, admin, "download 1")},
	} {
		if !strings.Contains(textOf(by.m), "needs the role responder") && !strings.Contains(textOf(by.m), "Only Riley Chen") || strings.Contains(textOf(by.m), "CANARY") {
			t.Errorf("%s is answered %s", by.name, textOf(by.m))
		}
	}
	if len(w.estate.packages) != 0 {
		t.Fatalf("the address was asked for: %v", w.estate.packages)
	}
	value := cards.RequestValue(r.ID, r.Digest)
	for what, ask := range map[string]func() (chat.Message, chat.Response){
		"the command": func() (chat.Message, chat.Response) {
			inv := w.invocation(chat.Command, riley)
			inv.Text = "download 1"
			return w.ask(t, inv)
		},
		"the button":                func() (chat.Message, chat.Response) { return w.clicks(t, riley, cards.ActionDownload, value) },
		"the other account of hers": func() (chat.Message, chat.Response) { return w.clicks(t, rileyInTeams, cards.ActionDownload, value) },
	} {
		m, resp := ask()
		url := ""
		for _, f := range m.Facts {
			for _, span := range f.Value {
				if span.URL != "" {
					url = span.URL
				}
			}
		}
		if url != packageAddress || resp.Audience != chat.Personal {
			t.Errorf("%s answers %q for audience %v: %s", what, url, resp.Audience, textOf(m))
		}
	}
	if got := w.estate.packages; len(got) != 3 || got[0] != "5382f7ea-7557-4ab7-9782-d50480024a4f" {
		t.Errorf("asked for %v, want it each time", got)
	}
	if log := w.log.String(); strings.Contains(log, "CANARY") {
		t.Error("the log holds the address")
	}
	recorded := 0
	for _, e := range w.recorded {
		if strings.Contains(string(e.Detail), "CANARY") {
			t.Error("the record holds the address")
		}
		if e.Kind == "package.link" {
			recorded++
		}
	}
	if recorded != 3 {
		t.Errorf("%d records of the link, want 3", recorded)
	}
	w.estate.faults["package"] = defender.ErrNotFound
	mustSay(t, "a package that is gone", w.says(t, riley, "download 1"), "no package there any more")
	w.estate.faults["package"] = &defender.ThrottledError{RetryAfter: 30 * time.Second}
	mustSay(t, "a third one within a minute", w.says(t, riley, "download 1"), "Try again in 30 seconds.")
	w.says(t, riley, "isolate ws-043 because")
	mustSay(t, "another request", w.says(t, riley, "download 2"), "#2 is not about a package")
}

func TestCancel(t *testing.T) {
	t.Parallel()
	const waiting, scanning, live = "11111111-7557-4ab7-9782-d50480024a4e", "22222222-7557-4ab7-9782-d50480024a4e", "33333333-7557-4ab7-9782-d50480024a4e"
	w := newWorld(t)
	w.estate.actions = append(w.estate.actions,
		defender.MachineAction{ID: waiting, Type: defender.Isolate, Scope: "Full", Status: defender.ActionPending, MachineID: ws042, Requestor: "dana@contoso.com", Source: "Portal", Comment: "<b>x</b>", Created: noon},
		defender.MachineAction{ID: scanning, Type: defender.Scan, Status: defender.ActionPending, MachineID: ws043, Created: noon},
		defender.MachineAction{ID: live, Type: defender.LiveResponse, Status: defender.ActionPending, MachineID: ws043, Created: noon},
	)
	for text, wants := range map[string][]string{
		"cancel":                       {"Which action?", "Usage: /mde cancel"},
		"cancel " + waiting:            {"A reason is needed"},
		"cancel " + action1 + " why":   {"nothing to cancel", "ended as Succeeded"},
		"cancel " + live + " because":  {"LiveResponse are left to the Defender portal"},
		"cancel 99999999-7557 because": {"Defender does not"},
	} {
		mustSay(t, text, w.says(t, riley, text), wants...)
	}
	mustSay(t, "an isolation", w.says(t, riley, "cancel "+waiting+" wrong machine"), "#1", "waits for approval", "Needs: 1 approval")
	r := w.live(t)[0]
	if r.Action != approvals.Cancel || r.Params["type"] != "Isolate" || r.Targets[0].ID != waiting || r.Targets[0].Kind != approvals.TargetMachineAction {
		t.Errorf("request = %+v", r)
	}
	mustSay(t, "the card", cards.Request(cards.RequestView{Request: r}), "Isolate on ws-042.corp.example", "Isolate · Full", "Pending", "dana@contoso.com", "Portal", "<b>x</b>", ws042)
	mustSay(t, "a scan", w.says(t, riley, "cancel "+scanning+" not needed"), "#2", "about to run")
	w.estate.granted = defender.PermissionsOf([]string{"Machine.Read.All"}, nil)
	mustSay(t, "without the permission", w.says(t, riley, "cancel "+scanning+" again"), "cancel needs Machine.Scan")
}

// A protected machine's actions are not cancelled from chat either.
func TestCancel_rulesAskAboutTheMachine(t *testing.T) {
	t.Parallel()
	const waiting = "11111111-7557-4ab7-9782-d50480024a4e"
	w := newWorld(t)
	w.estate.actions = append(w.estate.actions, defender.MachineAction{ID: waiting, Type: defender.Scan, Status: defender.ActionPending, MachineID: guarded, Created: noon})
	mustSay(t, "cancel", w.says(t, riley, "cancel "+waiting+" because"), "never-isolate")
}

// The list tells apart what was asked for here, in the portal and through the API.
func TestActions_tellsWhereTheyCameFrom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.says(t, riley, "package ws-042 traces")
	own := "5382f7ea-7557-4ab7-9782-d50480024a4f"
	w.finish(t, w.live(t)[0], own)
	w.estate.actions = append(w.estate.actions,
		defender.MachineAction{ID: own, Type: defender.CollectPackage, Status: defender.ActionSucceeded, MachineID: ws042, MachineName: "ws-042", Requestor: "mdebot-app", Source: "PublicApi", Created: noon},
		defender.MachineAction{ID: "portal", Type: defender.Isolate, Scope: "Full", Status: defender.ActionPending, MachineID: ws043, MachineName: "ws-043", Requestor: "dana@contoso.com", Source: "Portal", Created: noon.Add(-time.Hour)},
		defender.MachineAction{ID: "api", Type: defender.Scan, Status: defender.ActionPending, MachineID: ws042, MachineName: "ws-042", Requestor: "other-app", Source: "PublicApi", Created: noon.Add(-2 * time.Hour)},
	)
	rows := func(text string) string {
		t.Helper()
		m := w.says(t, viewer, text)
		var b strings.Builder
		b.WriteString(m.Title.String())
		if m.Table != nil {
			for _, row := range m.Table.Rows {
				b.WriteString("\n" + strings.Join(row, " | "))
			}
		}
		return b.String()
	}
	all := rows("actions all --since 23h")
	for _, want := range []string{
		"3 machine actions in the last 23 hours", "CollectInvestigationPackage | ws-042 | Succeeded | Riley Chen | mdebot #1 | " + own,
		"Isolate (Full) | ws-043 | Pending | dana@contoso.com | in the portal | portal", "RunAntiVirusScan | ws-042 | Pending | other-app | through the API, not by mdebot | api",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("actions all lacks %q:\n%s", want, all)
		}
	}
	for text, want := range map[string]string{
		"actions":                  "4 machine actions in the last 24 hours",
		"actions ws-043":           "1 machine action of ws-043.corp.example in the last 7 days",
		"actions dana":             "1 machine action by dana",
		"actions chen":             "1 machine action by chen",
		"actions all --since 30m":  "1 machine action in the last 30 minutes",
		"actions all --since 7d":   "4 machine actions in the last 7 days",
		"actions nobody":           "No machine actions by nobody",
		"actions all --since ever": "--since takes a time",
		"actions a b":              "takes one machine or one person",
	} {
		if got := rows(text); !strings.Contains(got, want) {
			t.Errorf("%s answers %q, want %q", text, got, want)
		}
	}
	mustSay(t, "actions me", w.says(t, riley, "actions me"), "1 machine action that you asked for")
	mustSay(t, "one of ours", w.says(t, viewer, "action "+own), "mdebot #1, asked by Riley Chen")
	mustSay(t, "in a thread", func() chat.Message {
		m, _ := w.inThread(t, viewer, Subject{Kind: SubjectMachine, ID: ws043}, "actions")
		return m
	}(), "1 machine action of this machine")
}
