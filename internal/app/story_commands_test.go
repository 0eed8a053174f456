package app

import (
	"encoding/csv"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/commands"
	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/sandbox/entrasim"
	"github.com/mdebot/mdebot/internal/sandbox/estate"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
)

func onBothPlatforms(t *testing.T, story func(t *testing.T, s *story, on side)) {
	t.Helper()
	t.Parallel()
	for _, p := range platforms {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t, sandbox.Options{})
			story(t, s, p.on(s))
		})
	}
}

func TestStory_readsAboutMachines(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		m := s.machine("ws-014")
		user := m.Users[0].ID

		card := s.ask(on, sandbox.Riley, "machine ws-014", "Machine ws-014.corp.contoso.com", m.ID, user, m.LastIPAddress, "finance")
		if !card.has("Request isolation") {
			t.Error("the card of a machine has no button to ask for its isolation")
		}
		s.ask(on, sandbox.Riley, "machine "+m.ID, "Machine ws-014")
		s.ask(on, sandbox.Riley, "machine "+m.LastIPAddress, "Machine ws-014")
		s.ask(on, sandbox.Riley, "machine ws-999", "Defender knows no machine ws-999")
		s.ask(on, sandbox.Riley, "machine ws-04", "No machine is called ws-04", "begin with it")
		s.ask(on, sandbox.Riley, "machine", "Which machine?", "Usage")
		s.ask(on, sandbox.Riley, "machine ws-014 ws-015", "machine takes one machine")

		s.ask(on, sandbox.Riley, "machines --tag finance", "10 machines", "ws-011", "ws-020")
		s.ask(on, sandbox.Riley, "machines ws-01 --os Windows10", "ws-012")
		s.ask(on, sandbox.Riley, "machines --risk terrible", "--risk is none, low, medium or high")
		s.ask(on, sandbox.Riley, "machines --riks high", "machines has no flag --riks", "Did you mean --risk?")
		s.ask(on, sandbox.Riley, "isolated", "No machine is isolated")
		s.ask(on, sandbox.Riley, "action 5382f7ea-7557-4ab7-9782-d50480024a4e", "Defender does not know that ID")
	})
}

func TestStory_ambiguousNameOpensAChooser(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		twins := s.world.Tenant.Named("lt-007")
		chooser := s.ask(on, sandbox.Riley, "isolate lt-007 beaconing", "lt-007 matches 2 machines", twins[0].ID, twins[1].ID, "Nothing was asked for yet")
		if n := len(s.world.Tenant.Actions()); n != 0 {
			t.Fatalf("%d machine actions after an ambiguous name", n)
		}
		on.choose(sandbox.Riley, chooser, "lt-007 "+twins[1].ID, twins[1].ID)
		card := s.sees(on, sandbox.Avery, on.approvals(), "isolate lt-007", "waits for approval", "beaconing")
		if !strings.Contains(card.text, twins[1].ID) || strings.Contains(card.text, twins[0].ID) {
			t.Errorf("the request is not for the machine that was chosen: %s", card.text)
		}
	})
}

func TestStory_missingPermissionIsNamed(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		s.permit("Alert.Read.All", "Alert.ReadWrite.All", "Machine.Read.All")

		card := s.ask(on, sandbox.Riley, "machine ws-014", "Machine ws-014", "not permitted: User.Read.All")
		if card.has("Request isolation") {
			t.Error("the card offers an isolation that Defender will not permit")
		}
		s.ask(on, sandbox.Riley, "isolate ws-014 beaconing", "isolate needs Machine.Isolate on WindowsDefenderATP", "Cloud Application Administrator grants it in Entra", "Grant admin consent")
		s.ask(on, sandbox.Riley, "help isolate", "Not permitted here", "Machine.Isolate")
		s.ask(on, sandbox.Sam, "status", "isolate", "needs Machine.Isolate")
		s.wantIsolations(0)
	})
}

// permit leaves the bot with these permissions at Defender, as of its next start.
func (s *story) permit(roles ...string) {
	s.Helper()
	s.halt()
	for _, app := range []string{"MDE_CLIENT_ID", "MDE_ACTION_CLIENT_ID"} {
		id, _ := setting(s.env, app)
		s.world.Entra.SetRoles(sandbox.TenantID, id, entrasim.Defender, roles...)
	}
	s.start()
}

func setting(env []string, name string) (string, bool) {
	for _, line := range env {
		if v, ok := strings.CutPrefix(line, name+"="); ok {
			return v, true
		}
	}
	return "", false
}

func TestStory_alertsAreReadAndUpdatedInThePersonsName(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		s.watching()
		a := s.raise("ws-013", "High", "Credential theft on a finance machine")
		s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, a.Title, a.ID)
		s.sees(s.teams(), sandbox.Riley, sandbox.TeamsSOC, a.Title, a.ID)

		s.ask(on, sandbox.Riley, "alert "+a.ID, a.Title, "ws-013", "New")
		s.ask(on, sandbox.Riley, "alerts high --since 1h", a.Title)
		s.ask(on, sandbox.Riley, "alerts --machine ws-013 --since 1h", a.Title, "on ws-013")
		s.ask(on, sandbox.Riley, "alerts catastrophic", "catastrophic is not a severity")
		s.ask(on, sandbox.Riley, "alert da637472900382838869_1364969609", "Defender does not know that ID")
		s.ask(on, sandbox.Riley, "alert nonsense", "nonsense is not an alert ID")

		s.ask(on, sandbox.Riley, "alert "+a.ID+" ack", "In progress", "assigned to Riley Chen")
		for _, there := range []side{s.slack(), s.teams()} {
			s.sees(there, sandbox.Riley, there.soc(), a.Title, "In progress", "assigned to Riley Chen", "High alert")
		}
		s.ask(on, sandbox.Avery, "ack "+a.ID, "in progress already, with Riley Chen")
		s.ask(on, sandbox.Avery, "alert "+a.ID+" assign me", "assigned to Avery Stone")
		s.ask(on, sandbox.Avery, "alert "+a.ID+" comment looks like the backup job", "looks like the backup job")
		s.ask(on, sandbox.Avery, "alert "+a.ID+" resolve false-positive", "Resolved", "FalsePositive")
		for _, there := range []side{s.slack(), s.teams()} {
			s.sees(there, sandbox.Riley, there.soc(), a.Title, "Resolved", "FalsePositive")
		}

		got, _ := s.world.Tenant.Alert(a.ID)
		if got.Status != "Resolved" || got.Classification == nil || *got.Classification != "FalsePositive" {
			t.Errorf("at Defender the alert is %s as %v", got.Status, got.Classification)
		}
		var said strings.Builder
		for _, c := range got.Comments {
			fmt.Fprintln(&said, c.Comment)
		}
		for _, want := range []string{"Acknowledged, by Riley Chen", "Assigned to Avery Stone, by Avery Stone", "looks like the backup job, by Avery Stone", "Resolved as FalsePositive, by Avery Stone"} {
			if !strings.Contains(said.String(), want) {
				t.Errorf("Defender's comments lack %q:\n%s", want, said.String())
			}
		}
		if n := s.posted(s.slack(), sandbox.Riley, sandbox.SlackFinance, a.Title); n != 1 {
			t.Errorf("the alert was posted %d times in the finance channel, want one card that follows it", n)
		}
	})
}

func TestStory_buttonsOfAnAlert(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		s.watching()
		a := s.raise("ws-015", "High", "Beacon to a known bad address")
		card := s.sees(on, sandbox.Riley, on.soc(), a.Title)

		s.pressed(on, sandbox.Riley, card, "Show machine", "Machine ws-015")
		s.pressed(on, sandbox.Riley, card, "Acknowledge", "assigned to Riley Chen")
		f := on.open(sandbox.Riley, card, "Request isolation")
		if !containsAll(f.text, []string{"ws-015", s.machine("ws-015").ID, a.ID}) {
			t.Errorf("the form is not filled from the alert: %s", f.text)
		}
		on.fill(sandbox.Riley, f, map[string]string{"reason": "alert says it beacons", "scope": "full"})
		s.sees(on, sandbox.Avery, on.approvals(), "isolate ws-015", "waits for approval", "alert says it beacons")
	})
}

func TestStory_alertIsWorkedOffFromItsCard(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		s.watching()
		a := s.raise("ws-018", "High", "Worked off without typing")
		card := s.sees(on, sandbox.Riley, on.soc(), a.Title, "High alert", "not isolated", "What happened", "When")
		s.recorded()

		f := on.open(sandbox.Riley, card, "Assign")
		if !containsAll(f.text, []string{"Riley Chen", "Avery Stone", "Sam Okafor"}) || strings.Contains(f.text, sandbox.Noor.Name) {
			t.Errorf("the form offers others than those who may work on alerts: %s", f.text)
		}
		on.fill(sandbox.Riley, f, map[string]string{"person": sandbox.TenantID + "/" + sandbox.Avery.Object})
		s.sees(on, sandbox.Riley, on.soc(), a.Title, "assigned to Avery Stone")

		f = on.open(sandbox.Avery, card, "Comment")
		on.fill(sandbox.Avery, f, map[string]string{"comment": "looks like a test"})
		s.sees(on, sandbox.Riley, on.soc(), a.Title, "looks like a test, by Avery Stone")

		if err := s.world.Tenant.EditAlert(a.ID, func(a *estate.Alert) { a.Severity = "Medium" }); err != nil {
			t.Fatal(err)
		}
		s.later(16 * time.Second) // one poll
		s.sees(on, sandbox.Riley, on.soc(), a.Title, "Medium alert")

		f = on.open(sandbox.Avery, card, "Resolve")
		if !containsAll(f.text, []string{"True positive: malware", "Expected: security test", "False positive: not malicious"}) {
			t.Errorf("the form lacks Defender's determinations: %s", f.text)
		}
		on.fill(sandbox.Avery, f, map[string]string{"classification": "InformationalExpectedActivity/SecurityTesting", "comment": "red team"})
		quiet := s.turns(on, sandbox.Riley, card, "Resolved: Medium alert", a.Title, "InformationalExpectedActivity", "SecurityTesting")
		for _, gone := range []string{"Acknowledge", "Request isolation", "Show machine", "Evidence"} {
			if strings.Contains(string(quiet.payload), gone) {
				t.Errorf("the card of the resolved alert still has %q", gone)
			}
		}
		got, _ := s.world.Tenant.Alert(a.ID)
		if got.Determination == nil || *got.Determination != "SecurityTesting" || !strings.Contains(fmt.Sprint(got.Comments), "red team, by Avery Stone") {
			t.Errorf("at Defender: %v, %v", got.Determination, got.Comments)
		}
	})
}

func TestStory_threadSaysWhichOneIsMeant(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		s.watching()
		a := s.raise("ws-016", "High", "Thread of its own")
		card := s.sees(on, sandbox.Riley, on.soc(), a.Title)
		s.recorded()

		on.reply(sandbox.Riley, card, "machine")
		s.told(on, sandbox.Riley, on.soc(), "Machine ws-016")
		on.reply(sandbox.Riley, card, "ack")
		s.told(on, sandbox.Riley, on.soc(), a.Title, "assigned to Riley Chen")
		on.reply(sandbox.Riley, card, "isolate --reason the thread says which")
		s.sees(on, sandbox.Avery, on.approvals(), "isolate ws-016", "waits for approval", "the thread says which")
	})
}

func TestStory_missingReasonOpensAForm(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		on.write(sandbox.Riley, on.soc(), "isolate ws-017")
		f := on.asks(sandbox.Riley, on.soc(), "Request isolation", "ws-017")
		if faults := on.fill(sandbox.Riley, f, map[string]string{"machine": "ws-017", "reason": "  "}); !strings.Contains(faults, "This is needed.") {
			t.Errorf("an empty reason is answered with %q", faults)
		}
		if faults := on.fill(sandbox.Riley, f, map[string]string{"machine": "ws-017", "reason": "typed into the form"}); faults != "" {
			t.Fatalf("the filled form is refused: %s", faults)
		}
		s.sees(on, sandbox.Avery, on.approvals(), "isolate ws-017", "waits for approval", "typed into the form")
	})
}

func TestStory_hunts(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		s.world.Tenant.AddTable("DeviceRegistryEvents", defendersim.Table{
			Columns: []defendersim.Column{{Name: "N", Type: "Int64"}, {Name: "Name", Type: "String"}},
			Rows: func(yield func([]any) bool) {
				for n := range int64(11_000) {
					name := "row"
					if n == 0 {
						name = "=cmd|' /C calc'!A0 <!channel> *bold*"
					}
					if !yield([]any{9007199254740993 + n, name}) {
						return
					}
				}
			},
		})
		on.write(sandbox.Riley, on.soc(), "hunt DeviceRegistryEvents | take 12")
		s.told(on, sandbox.Riley, on.soc(), "Hunt: 12 rows", "9007199254740993", "10", "of 12")
		var file string
		s.eventually("the file of the hunt", func() string {
			for name, content := range on.files(sandbox.Riley) {
				if strings.HasPrefix(name, "hunt-") && strings.HasSuffix(name, ".csv") {
					file = content
					return ""
				}
			}
			return "no file"
		})
		rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(file, "\ufeff"))).ReadAll()
		if err != nil {
			t.Fatalf("the file is no CSV: %v", err)
		}
		if len(rows) != 13 || rows[0][0] != "N" || rows[1][0] != "9007199254740993" {
			t.Errorf("the file has %d lines and begins %v", len(rows), rows[:min(2, len(rows))])
		}
		if len(rows) > 1 && strings.HasPrefix(rows[1][1], "=") {
			t.Errorf("a spreadsheet would run the cell %q", rows[1][1])
		}
		if n := s.posted(on, sandbox.Avery, on.soc(), "9007199254740993"); n != 0 {
			t.Error("others in the channel see what the hunt found")
		}

		s.ask(on, sandbox.Riley, "hunt DeviceRegistryEvents | where Name == 'nobody'", "Hunt: nothing found")
		s.ask(on, sandbox.Riley, "hunt DeviceRegistryEvents | where N == == 1", "Defender refused the query.")
		s.ask(on, sandbox.Riley, "hunt DeviceRegistryEvents | wher N == 1", "The operator wher is not run from chat")
		s.ask(on, sandbox.Riley, "hunt EmailEvents | take 1", "You may not read the table EmailEvents")
		s.ask(on, sandbox.Riley, "hunt DeviceRegistryEvents | take 10500", "10000 rows that mdebot reads")
		s.world.Defender.Faults.Add(defendersim.HuntQuota("POST /v1.0/security/runHuntingQuery", 0))
		s.ask(on, sandbox.Riley, "hunt DeviceRegistryEvents | take 1", "hunting quota is used up")
		s.ask(on, sandbox.Avery, "hunt DeviceRegistryEvents | take 1", "hunt needs the role hunter")
	})
}

func TestStory_savedHunts(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		s.watching()
		s.ask(on, sandbox.Riley, "hunt run logons machine=ws-014 --span 30d", "Hunt: ", "Saved hunt", "logons", "DeviceLogonEvents", "of your 10 hunts")
		s.ask(on, sandbox.Avery, "hunt run failed-logons machine=ws-014", "Hunt: ")
		s.ask(on, sandbox.Avery, "hunt run rare-parents", "needs the role hunter")
		s.ask(on, sandbox.Riley, "hunt list", "lateral-movement", "Your last hunts", "Run 1 again")

		s.world.Tenant.AddTable("DeviceNetworkEvents", defendersim.Table{
			Columns: []defendersim.Column{{Name: "RemoteIP", Type: "String"}, {Name: "Connections", Type: "Int64"}},
			Rows: func(yield func([]any) bool) {
				_ = yield([]any{"203.0.113.66", int64(500)}) && yield([]any{"198.51.100.7", int64(20)})
			},
		})
		ranking := s.ask(on, sandbox.Riley, "hunt DeviceNetworkEvents | take 5", "Hunt: 2 rows", "Bar chart of Connections by RemoteIP: 203.0.113.66 500, 198.51.100.7 20")
		if _, inTeams := on.(teamsSide); inTeams && !containsAll(string(ranking.payload), []string{`"Chart.HorizontalBar"`, `"fallback":{"altText":"Bar chart`}) {
			t.Error("Teams gets no chart of its own with the picture behind it")
		}
		s.ask(on, sandbox.Riley, "hunt DeviceNetworkEvents | where RemoteIP == == 1", "Defender refused the query.", "Line 1, character ", "-^")

		a := s.raise("ws-014", "High", "Something to hunt around")
		card := s.sees(on, sandbox.Riley, on.soc(), a.Title)
		f := on.open(sandbox.Riley, card, "Hunt around it")
		if !containsAll(f.text, []string{"ws-014", "logons", "persistence-registry"}) {
			t.Errorf("the form is not filled from the alert: %s", f.text)
		}
		on.fill(sandbox.Riley, f, map[string]string{"hunt": "logons", "span": "7d"})
		s.told(on, sandbox.Riley, on.soc(), "Saved hunt", "logons", s.machine("ws-014").ID)
	})
}

func TestStory_aboutTheBotAndThePerson(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		s.ask(on, sandbox.Riley, "whoami", "You are Riley Chen", "responder", sandbox.Riley.Object)
		s.ask(on, sandbox.Noor, "whoami", "You are not linked to a person", "- person:", "name:", "roles: [viewer]")
		s.ask(on, sandbox.Riley, "help", "isolate", "machine", "hunt", "wait for a second person")
		s.ask(on, sandbox.Riley, "help isolate", "--selective")
		s.ask(on, sandbox.Riley, "status", "status needs the role admin")
		s.ask(on, sandbox.Sam, "status", "Defender")
		s.ask(on, sandbox.Riley, "isolaet ws-001 because", "There is no command isolaet", "Did you mean", "isolate <machine>")
		s.ask(on, sandbox.Riley, "frobnicate", "There is no command frobnicate", "help")
		s.ask(on, sandbox.Riley, `machine "ws-001`, "quot")
		s.ask(on, sandbox.Riley, "MACHINE “ws-001”", "Machine ws-001")
	})
}

func TestStory_severalMachinesInOneRequest(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		on.write(sandbox.Riley, on.soc(), "isolate ws-021,ws-022 ws-023 ransom note seen")
		card := s.sees(on, sandbox.Avery, on.approvals(), "isolate 3 machines", "waits for approval",
			s.machine("ws-021").ID, s.machine("ws-022").ID, s.machine("ws-023").ID, "ransom note seen")
		s.pressed(on, sandbox.Avery, card, "Approve", "Your approval counts")
		s.sees(on, sandbox.Riley, on.soc(), "isolate 3 machines – isolated", "Avery Stone", "So far")
		s.wantIsolations(3)
		s.ask(on, sandbox.Riley, "isolated", "3 machines", "ws-021", "ws-022", "ws-023")
	})
}

func TestStory_releaseAfterIsolation(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		card := s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-024", "beaconing")
		s.ask(on, sandbox.Sam, "requests", "isolate", "ws-024", "#1")
		s.ask(on, sandbox.Riley, "isolate ws-024 again", "Already asked by Riley Chen")
		s.pressed(on, sandbox.Avery, card, "Approve", "Your approval counts")
		done := s.sees(on, sandbox.Riley, on.soc(), "isolate ws-024.corp.contoso.com – isolated")
		action := s.world.Tenant.Actions()[0].ID
		s.ask(on, sandbox.Riley, "action "+action, "Isolate on ws-024", "Succeeded")
		s.ask(on, sandbox.Riley, "machine ws-024", "Machine ws-024", "isolated, as last known since")
		s.ask(on, sandbox.Riley, "isolate ws-024 again", "is isolated already")

		f := on.open(sandbox.Riley, done, "Request release")
		on.fill(sandbox.Riley, f, map[string]string{"reason": "cleaned and patched"})
		card = s.sees(on, sandbox.Avery, on.approvals(), "release ws-024", "waits for approval", "cleaned and patched")
		s.pressed(on, sandbox.Avery, card, "Approve", "Your approval counts")
		s.sees(on, sandbox.Riley, on.soc(), "release ws-024.corp.contoso.com – released")
		if m := s.machine("ws-024"); m.Isolated {
			t.Error("the machine is still isolated after the release")
		}
		s.ask(on, sandbox.Riley, "isolated", "No machine is isolated")
		s.ask(on, sandbox.Riley, "release ws-024 again", "is released already")
	})
}

func TestStory_typedApproveDenyAndWithdraw(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-025", "first")
		on.write(sandbox.Avery, on.soc(), "approve 1")
		mine := s.told(on, sandbox.Avery, on.soc(), "Request #1", "Nothing is decided yet")
		s.wantIsolations(0)
		s.pressed(on, sandbox.Avery, mine, "Approve", "Your approval counts")
		s.sees(on, sandbox.Riley, on.soc(), "isolate ws-025.corp.contoso.com – isolated")

		s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-026", "second")
		s.ask(on, sandbox.Riley, "withdraw 2", "#2 isolate ws-026", "withdrawn")
		s.sees(on, sandbox.Avery, on.approvals(), "Request #2", "withdrawn")
		s.ask(on, sandbox.Avery, "withdraw 2", "#2")

		s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-027", "third")
		on.write(sandbox.Avery, on.soc(), "deny #3 it is the CFO's")
		f := on.asks(sandbox.Avery, on.soc(), "#3", "ws-027", "Riley Chen", "it is the CFO's", "Wrong machine")
		f.submit = "Deny"
		on.fill(sandbox.Avery, f, map[string]string{"what": "machine", "reason": "it is the CFO's"})
		s.sees(on, sandbox.Riley, on.soc(), "Request #3", "denied", "Wrong machine. it is the CFO's", "Avery Stone")
		s.ask(on, sandbox.Riley, "approve 99", "99")
		s.wantIsolations(1)
	})
}

// Approvers work the queue off: what they can decide comes first, each with a button
// that shows its card to them.
func TestStory_queueOfRequests(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-024", "first")
		s.request(on, on, sandbox.Avery, sandbox.Sam, "ws-025", "second")
		queue := s.ask(on, sandbox.Avery, "requests", "2 open requests, 1 for you to decide", "asked by Riley Chen", "29 minutes left", "0 of 1 approvals")
		mine, others := strings.Index(queue.text, "#1 isolate ws-024"), strings.Index(queue.text, "#2 isolate ws-025")
		if mine < 0 || others < mine || !strings.Contains(queue.text[:mine], "For you to decide") || !strings.Contains(queue.text[mine:others], "Wait for others") {
			t.Errorf("the queue is not in the order in which Avery can decide: %s", queue.text)
		}
		cards := func(who sandbox.Person, places ...string) (all []seen) {
			for _, place := range places {
				for _, m := range on.see(who, place) {
					if containsAll(m.text, []string{"Request #1", "waits for approval", "Deny with a reason"}) {
						all = append(all, m)
					}
				}
			}
			return all
		}
		before, foreign := len(cards(sandbox.Avery, on.soc(), on.direct(sandbox.Avery))), len(cards(sandbox.Riley, on.soc()))
		on.click(sandbox.Avery, queue, "Show #1")
		var card seen
		s.eventually("Avery gets the card", func() string {
			all := cards(sandbox.Avery, on.soc(), on.direct(sandbox.Avery))
			if len(all) == before {
				return "no card more than before"
			}
			card = all[len(all)-1]
			return ""
		})
		if n := len(cards(sandbox.Riley, on.soc())); n != foreign {
			t.Errorf("the card that Avery asked for is shown to others: they see %d, and %d before", n, foreign)
		}
		s.pressed(on, sandbox.Avery, card, "Approve", "Your approval counts")
		s.sees(on, sandbox.Riley, on.soc(), "isolate ws-024.corp.contoso.com – isolated")
		s.ask(on, sandbox.Avery, "requests", "1 open request", "#2 isolate ws-025")
	})
}

// The button asks for the reason as the typed command does: chosen or written.
func TestStory_denyWithAReason(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		card := s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-027", "third")
		f := on.open(sandbox.Avery, card, "Deny with a reason")
		if !containsAll(f.text, []string{"#1", "ws-027", "third", "Wrong machine", "Known and harmless"}) {
			t.Errorf("the form does not say what is denied, or why one might: %s", f.text)
		}
		if faults := on.fill(sandbox.Avery, f, nil); !strings.Contains(faults, "Choose a reason or write one") {
			t.Errorf("without a reason the form says %q", faults)
		}
		s.sees(on, sandbox.Riley, on.approvals(), "Request #1", "waits for approval")
		if f.dialog != "" { // of which Teams makes another one
			f = on.open(sandbox.Avery, card, "Deny with a reason")
		}
		on.fill(sandbox.Avery, f, map[string]string{"what": "harmless"})
		s.sees(on, sandbox.Riley, on.soc(), "Request #1", "denied", "Known and harmless", "Avery Stone")
		s.wantIsolations(0)
	})
}

// Whoever tries a command in the demo is not told to ask an admin.
func TestStory_demoPermitsEveryCommand(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	granted, err := s.bot.permissions.client.Permissions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, need := range commands.Needs(granted) {
		if !need.Granted {
			t.Errorf("%s needs %s", need.Command, need.Permissions)
		}
	}
}

// What a hunt found does not lie about for ever.
func TestStory_filesOfHuntsAreDeletedInTime(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.world.Tenant.AddTable("DeviceRegistryEvents", defendersim.Table{
		Columns: []defendersim.Column{{Name: "N", Type: "Int64"}},
		Rows: func(yield func([]any) bool) {
			for n := range int64(12) {
				if !yield([]any{n}) {
					return
				}
			}
		},
	})
	sent := func() int { return len(s.slack().files(sandbox.Riley)) }
	s.slack().write(sandbox.Riley, sandbox.SlackSOC, "hunt DeviceRegistryEvents | take 12")
	s.eventually("the file of the hunt", func() string {
		var kept int
		if err := s.bot.store.Read().QueryRow(s.Context(), `SELECT COUNT(*) FROM sent_files`).Scan(&kept); err != nil || kept != 1 || sent() != 1 {
			return fmt.Sprintf("%d files, %d of them remembered, %v", sent(), kept, err)
		}
		return ""
	})
	s.later(6 * 24 * time.Hour)
	if err := s.bot.purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if sent() != 1 {
		t.Error("a file of the week is gone")
	}
	s.later(2 * 24 * time.Hour)
	s.world.Slack.Inject(slacksim.Fault{Method: "files.delete", Kind: slacksim.FaultServerError, Times: 1})
	if err := s.bot.purge(t.Context()); err == nil {
		t.Error("a file that Slack did not delete is no fault")
	}
	for range 2 { // a second purge finds nothing to do
		if err := s.bot.purge(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if sent() != 0 {
		t.Error("a file is still there after its time")
	}
	var hunts int
	if err := s.bot.store.Read().QueryRow(t.Context(), `SELECT COUNT(*) FROM hunts`).Scan(&hunts); err != nil || hunts != 0 {
		t.Errorf("%d hunts are still known, %v", hunts, err)
	}
}

// Somebody works on an incident that Defender makes part of another meanwhile: it is
// read where it went, and nothing is written into what nobody has looked at.
func TestStory_incidentMergedWhileOpen(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		one, err := s.world.Tenant.RaiseAlert(s.machine("ws-014").ID, "High", "Loader on a finance machine")
		if err != nil {
			t.Fatal(err)
		}
		two, err := s.world.Tenant.RaiseAlert(s.machine("ws-015").ID, "High", "The same loader again")
		if err != nil {
			t.Fatal(err)
		}
		changes := func() (all []string) {
			for _, e := range s.world.Tenant.Effects(defendersim.OfKind(defendersim.EffectIncidentUpdate)) {
				all = append(all, e.Detail+" "+e.Comment)
			}
			return all
		}
		first := fmt.Sprintf("incident %d", one.IncidentID)
		s.ask(on, sandbox.Riley, first, fmt.Sprintf("Incident %d", one.IncidentID), "Loader on a finance machine", "ws-014")
		s.ask(on, sandbox.Riley, first+" assign me", "Assigned to", "Riley Chen")
		on.write(sandbox.Riley, on.direct(sandbox.Riley), first+" comment we look at it")
		s.eventually("two changes", func() string {
			if got := changes(); len(got) != 2 || !strings.Contains(got[0], "assignedTo=Riley Chen") || !strings.Contains(got[1], "we look at it, by Riley Chen") {
				return fmt.Sprintf("%q", got)
			}
			return ""
		})

		s.world.Tenant.MergeIncidents(one.IncidentID, two.IncidentID)
		s.later(time.Minute)
		s.ask(on, sandbox.Riley, first+" resolve true-positive malware", fmt.Sprintf("Incident %d is part of incident %d now, so nothing was changed.", one.IncidentID, two.IncidentID))
		s.ask(on, sandbox.Riley, first, fmt.Sprintf("incident %d is part of this one now", one.IncidentID), "The same loader again")
		s.ask(on, sandbox.Riley, fmt.Sprintf("incident %d resolve true-positive malware", two.IncidentID), "Resolved", "TruePositive")
		if got := changes(); len(got) != 3 || !strings.Contains(got[2], fmt.Sprintf("incident=%d status=Resolved", two.IncidentID)) {
			t.Errorf("changes are %q", got)
		}
	})
}
