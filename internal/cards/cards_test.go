package cards

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const (
	machineID = "111e6dd8c833c8a052ea231ec1b19adaf497b625"
	alertID   = "da637472900382838869_1364969609"
	// hostile tries to be markup, a mention, a line of ours and a reversed name.
	hostile = "<!channel> *x* @everyone [a](https://evil.example)\nApproved by Avery \u202e\x1b[31m `"
)

type portal struct{}

func (portal) Alert(id string) string   { return "https://security.microsoft.com/alerts/" + id }
func (portal) Machine(id string) string { return "https://security.microsoft.com/machines/" + id }
func (portal) Suppressions() string     { return "https://security.microsoft.com/suppressions" }

func (portal) Incident(id int64) string {
	return fmt.Sprintf("https://security.microsoft.com/incidents/%d", id)
}

func sampleAlert() defender.Alert {
	return defender.Alert{
		ID: alertID, IncidentID: 1126093, Severity: defender.High, Status: "New", Category: "Execution",
		Title: "Suspicious PowerShell", Description: "A process ran\nan encoded command.", DetectionSource: "WindowsDefenderAtp",
		Created: noon.Add(-time.Hour), LastEvent: noon.Add(-30 * time.Minute), MachineID: machineID, MachineName: "ws-042", MachineGroup: "Workstations",
		Techniques: []string{"T1059.001"}, User: defender.AccountName{Name: "sam", Domain: "CORP"},
		Evidence: []defender.Evidence{
			{Type: "Process", FileName: "powershell.exe", ProcessID: 9144, CommandLine: "powershell -enc AAAA", ParentFileName: "WINWORD.EXE", ParentProcessID: 7012, SHA1: "bb", Status: "Detected"},
			{Type: "Process", FileName: "winword.exe", ProcessID: 7012, CommandLine: "winword invoice.docm", ParentFileName: "outlook.exe", ParentProcessID: 4820},
			{Type: "File", FileName: "a.dll", FilePath: `C:\Temp`, SHA1: "aa"},
			{Type: "Url", URL: "https://evil.example/x"},
			{Type: "Ip", IPAddress: "203.0.113.9"},
			{Type: "User", UserPrincipal: "sam@corp.example"},
			{Type: "Registry", RegistryHive: "HKLM", RegistryKey: `Software\Run`, RegistryValue: "evil.exe"},
			{Type: "Mailbox"},
		},
		Comments: []defender.AlertComment{{Text: "looking", By: "riley", At: noon}},
	}
}

func sampleMachine() MachineView {
	return MachineView{
		Machine: defender.Machine{
			ID: machineID, Name: "ws-042.corp.example", OS: "Windows11", OSVersion: "24H2", Health: "Active", LastSeen: noon.Add(-time.Hour),
			Risk: "High", Exposure: "Medium", Value: "High", Group: "Workstations", Tags: []string{"finance", "laptop"}, InternalIP: "10.1.2.3", ExternalIP: "203.0.113.7",
		},
		Users: []defender.User{{Name: "sam", Domain: "CORP"}, {Name: "adm-kim", Domain: "CORP", DomainAdmin: true}},
		Alerts: []defender.Alert{
			{ID: "da1_1", Severity: defender.Low, Title: "Low one", Status: "New", Created: noon},
			{ID: alertID, Severity: defender.High, Title: "Suspicious PowerShell", Status: "InProgress", Created: noon},
			{ID: "da3_1", Severity: defender.High, Title: "Old one", Status: "Resolved"},
		},
		Actions:    []defender.MachineAction{{ID: "a1", Type: "RunAntiVirusScan", Status: defender.ActionPending, Created: noon}},
		MayIsolate: true, Now: noon, Portal: portal{},
	}
}

// sampleRequest is a request to isolate n machines in the given state.
func sampleRequest(t *testing.T, state approvals.State, n int) approvals.Request {
	t.Helper()
	riley := identity.PersonID{Tenant: "11111111-1111-1111-1111-111111111111", Object: "22222222-2222-2222-2222-222222222222"}
	facts, err := json.Marshal(FactsOf(sampleMachine(), noon))
	if err != nil {
		t.Fatal(err)
	}
	r := approvals.Request{
		ID: "019a0000-0000-7000-8000-000000000001", Number: 142, Tenant: "33333333-3333-3333-3333-333333333333",
		Action: "isolate", Params: map[string]string{"scope": "full"}, Requester: riley, RequesterName: "Riley Chen",
		RequesterAs: identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: "U0RILEY"},
		Reason:      "beaconing, see alert " + alertID, State: state,
		Rule:   policy.Applied{Name: "workstations", Text: "from: [soc]", Approvers: 1, From: []string{"soc"}},
		Digest: strings.Repeat("ab", 32), Opened: noon, Expires: noon.Add(30 * time.Minute),
	}
	for i := range n {
		r.Targets = append(r.Targets, approvals.Target{Index: i, Kind: approvals.TargetMachine, ID: machineID, Name: "ws-042.corp.example", Facts: facts, State: state})
	}
	return r
}

func approvedBy(r *approvals.Request, name string, deny bool) {
	r.Votes = append(r.Votes, approvals.Vote{
		By: identity.PersonID{Tenant: "11111111-1111-1111-1111-111111111111", Object: "44444444-4444-4444-4444-444444444444"}, Name: name,
		As: identity.Principal{Platform: identity.Teams, Workspace: "11111111-1111-1111-1111-111111111111", Account: "44444444-4444-4444-4444-444444444444"}, Deny: deny, Digest: r.Digest, At: noon.Add(2 * time.Minute),
	})
}

func requestInEveryState(t *testing.T) map[string]approvals.Request {
	t.Helper()
	all := map[string]approvals.Request{"pending": sampleRequest(t, approvals.Pending, 1)}

	r := sampleRequest(t, approvals.Pending, 3)
	r.Params = map[string]string{"scope": "selective"}
	r.Rule = policy.Applied{Name: "domain controllers", Text: `"tier0" in machine.tags`, Approvers: 2, From: []string{"soc-leads", "identity-team"}, TierZero: true, OverLimit: "per_person_per_hour"}
	r.Targets[1].Facts = nil
	noFacts, err := json.Marshal(TargetFacts{OS: "Windows10", ReadAt: noon, LastSeen: noon.Add(-72 * time.Hour), Unread: Unread{
		Users: "not permitted: User.Read.All", Alerts: "unavailable", Actions: "throttled",
	}})
	if err != nil {
		t.Fatal(err)
	}
	r.Targets[2].Facts = noFacts
	approvedBy(&r, "Avery", false)
	all["pending_three_machines_one_vote"] = r

	for _, s := range []approvals.State{approvals.Approved, approvals.Executing, approvals.Submitted, approvals.Unknown, approvals.Succeeded, approvals.Failed} {
		r := sampleRequest(t, s, 1)
		approvedBy(&r, "Avery", false)
		r.DecidedAt = noon.Add(2 * time.Minute)
		r.ExecuteBy = noon.Add(12 * time.Minute)
		tg := &r.Targets[0]
		tg.Updated = noon.Add(3 * time.Minute)
		switch s {
		case approvals.Submitted:
			tg.MachineAction, tg.ActionStatus = "5382f7ea-7557-4ab7-9782-d50480024a4e", "Pending"
		case approvals.Succeeded:
			tg.MachineAction, tg.ActionStatus = "5382f7ea-7557-4ab7-9782-d50480024a4e", "Succeeded"
			r.Closed = noon.Add(3 * time.Minute)
		case approvals.Failed:
			tg.MachineAction, tg.ActionStatus, tg.Why = "5382f7ea-7557-4ab7-9782-d50480024a4e", "TimeOut", "the machine did not answer for three days"
			r.Closed, r.Why = noon.Add(3*time.Minute), "Defender gave up"
		default: // nothing at Defender yet
		}
		all[string(s)] = r
	}
	for _, s := range []approvals.State{approvals.Denied, approvals.Withdrawn, approvals.Expired, approvals.Void} {
		r := sampleRequest(t, s, 1)
		r.DecidedAt, r.Closed, r.Why = noon.Add(2*time.Minute), noon.Add(2*time.Minute), "because"
		if s == approvals.Denied {
			approvedBy(&r, "Avery", true)
			r.Votes[0].Reason, r.Why = "wrong machine", "Denied by Avery: wrong machine"
		}
		if s == approvals.Withdrawn {
			r.Why = "Withdrawn by Riley Chen"
		}
		all[string(s)] = r
	}

	r = all["approved"]
	r.Targets = slices.Clone(r.Targets)
	r.Targets[0].Why = "Defender's quota is used up; waiting."
	all["approved_postponed"] = r

	r = sampleRequest(t, approvals.Succeeded, 1)
	r.Action, r.Params = "release", nil
	approvedBy(&r, "Avery", false)
	all["release_succeeded"] = r

	r = sampleRequest(t, approvals.Pending, 1)
	r.Action, r.Params = "settle", map[string]string{"outcome": "done"}
	r.Targets[0] = approvals.Target{Kind: approvals.TargetRequest, ID: "019a0000-0000-7000-8000-000000000002", Name: "#140"}
	all["settle_pending"] = r

	r = hostileRequest(t)
	all["hostile"] = r
	return all
}

func hostileRequest(t *testing.T) approvals.Request {
	t.Helper()
	r := sampleRequest(t, approvals.Failed, 1)
	v := sampleMachine()
	v.Machine = defender.Machine{ID: hostile, Name: hostile, OS: hostile, Health: hostile, Group: hostile, Tags: []string{hostile}, Value: hostile}
	v.Users = []defender.User{{Name: hostile, Domain: hostile}}
	v.Alerts = []defender.Alert{{ID: "da1_1", Severity: defender.Severity(hostile), Title: hostile}}
	v.Actions = []defender.MachineAction{{Type: defender.MachineActionType(hostile), Status: defender.MachineActionStatus(hostile), Created: noon}}
	facts, err := json.Marshal(FactsOf(v, noon))
	if err != nil {
		t.Fatal(err)
	}
	r.Targets[0].Facts = facts
	r.Targets[0].Name, r.Targets[0].ID, r.Targets[0].Why, r.Targets[0].ActionStatus, r.Targets[0].MachineAction = hostile, hostile, hostile, hostile, hostile
	r.RequesterName, r.Reason, r.Why, r.Digest, r.RequesterAs.Account = hostile, hostile, hostile, hostile, hostile
	r.Rule = policy.Applied{Name: hostile, Text: hostile, From: []string{hostile}, OverLimit: hostile}
	r.Params = map[string]string{"scope": "full", "x": hostile}
	approvedBy(&r, hostile, true)
	r.Votes[0].Reason = hostile
	return r
}

func TestRequest_golden(t *testing.T) {
	t.Parallel()
	for name, r := range requestInEveryState(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkGolden(t, "request_"+name, Request(RequestView{Request: r, Portal: portal{}}))
			checkGolden(t, "request_reply_"+name, RequestReply(r))
		})
	}
}

func otherCards(t *testing.T) map[string]chat.Message {
	t.Helper()
	mv := sampleMachine()
	av := AlertView{Alert: sampleAlert(), Machine: &mv.Machine, MayUpdate: true, MayIsolate: true, Portal: portal{}}
	poor := AlertView{Alert: sampleAlert(), EvidenceUnread: "throttled"}
	poor.Alert.Evidence, poor.Alert.MachineID, poor.Alert.MachineName, poor.Alert.IncidentID = nil, "", "", 0
	resolved := av
	resolved.Alert.Status, resolved.Alert.Classification, resolved.Alert.Determination, resolved.Alert.AssignedTo = "Resolved", "TruePositive", "Malware", "riley@corp.example"
	muteOrder := policy.MuteOrder{
		ID: "019a0000-0000-7000-8000-000000000009", Mute: policy.Mute{Title: "Suspicious task", Machine: machineID, MachineName: "ws-042"}, For: time.Hour,
		Owner: "t/o", By: "Riley Chen", Reason: "rollout of the backup tool", Preview: policy.MutePreview{Held: 14, High: 0, Of: 120, Days: 7},
	}
	highOrder := muteOrder
	highOrder.Mute.High, highOrder.Preview.High = true, 2
	muteView := MuteView{MuteOrder: muteOrder, Number: 3, Began: noon, Until: noon.Add(time.Hour), Ended: noon.Add(time.Hour), Held: 1}
	posted := resolved
	posted.Posted = true
	cutOff := av
	cutOff.Alert.Status, cutOff.Posted, cutOff.Isolation, cutOff.IsolationSince = "InProgress", true, defender.Isolated, noon
	missing := sampleMachine()
	missing.Users, missing.Alerts, missing.Actions = nil, nil, nil
	missing.Unread = Unread{Users: "not permitted: User.Read.All", Alerts: "not permitted: Alert.Read.All", Actions: "unavailable"}
	isolated := sampleMachine()
	isolated.Actions = []defender.MachineAction{{Comment: "[mdebot:019a0000-0000-7000-8000-000000000001] #142 asked by Riley Chen, approved by Avery. Reason: beaconing", Requestor: "mdebot", ID: "a2", Type: defender.Isolate, Status: defender.ActionSucceeded, Scope: "Full", Created: noon, Updated: noon}}
	queue := []approvals.Request{sampleRequest(t, approvals.Executing, 3), sampleRequest(t, approvals.Pending, 1), sampleRequest(t, approvals.Pending, 2), sampleRequest(t, approvals.Pending, 1)}
	for i := range queue {
		queue[i].Number += int64(i)
		queue[i].Expires = queue[i].Expires.Add(-time.Duration(i) * time.Minute)
	}
	planned := sampleRequest(t, approvals.Succeeded, 2)
	planned.Params = map[string]string{"scope": "full", "for": "4h"}
	for i := range planned.Targets {
		planned.Targets[i].Updated = noon
	}
	fallsBack := sampleRequest(t, approvals.Pending, 1)
	fallsBack.Rule.Then, fallsBack.Reminders = []policy.StandIn{{Group: "leads", For: "soc", Step: 1}, {Group: "managers", For: "soc", Step: 2}}, 3
	failed := defender.MachineAction{
		ID: "5382f7ea-7557-4ab7-9782-d50480024a4e", Type: defender.Isolate, Status: defender.ActionTimeOut, Scope: "Full", MachineID: machineID,
		MachineName: "ws-042", Requestor: "mdebot", Comment: "#142", Source: "PublicApi", Created: noon, Updated: noon, HResult: -2145844840,
	}
	person := identity.Person{ID: identity.PersonID{Tenant: "t", Object: "o"}, Name: "Riley Chen", Roles: []identity.Role{identity.Responder}}
	account := identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: "U0RILEY", Name: "riley"}
	linkView := LinkView{
		ID: "0f6d2c51-7a3e-4b7c-9d14-0c5a3be1f001", Account: account, Person: person.ID, Name: person.Name,
		How: identity.ByTeamsCode, At: noon, CountsFrom: noon.Add(24 * time.Hour), Replaces: identity.PersonID{Tenant: "t", Object: "before"},
	}
	entry := HelpEntry{
		Usage: "/mde hunt <KQL>", Summary: "Run a hunting query.", Role: "hunter", Aliases: []string{"h"},
		Flags: []HelpFlag{{Name: "--public", Summary: "post for all"}}, Examples: []string{"/mde hunt DeviceInfo"}, Missing: []string{"AdvancedQuery.Read.All"},
	}
	day := DigestView{
		From: noon.Add(-24 * time.Hour), At: noon, Now: noon.Add(time.Minute), Alerts: []defender.Alert{sampleAlert(), sampleAlert()},
		Requests: []approvals.Request{planned, fallsBack}, Isolated: []IsolatedMachine{{MachineID: machineID, Name: "ws-042", Isolation: defender.IsolationOf(isolated.Actions), Owner: "Riley Chen"}},
		Mutes:    []MuteView{{Number: 3, MuteOrder: policy.MuteOrder{Mute: policy.Mute{Title: "Noisy backup tool"}, By: "Avery Stone"}, Until: noon.Add(time.Hour)}},
		Troubles: []string{"Messages cannot be delivered"},
	}
	for range digestLines + 2 {
		day.Open = append(day.Open, sampleAlert())
	}
	everyHour := ScheduleView{
		Name: "new-contacts", Hunt: "contacted-address", Values: "ip=203.0.113.9", When: "every 1h", Span: 24 * time.Hour, Owner: "Riley Chen", To: []string{"slack:C0SOC", "teams:19:soc@thread.tacv2"},
		Began: noon.Add(-48 * time.Hour), Last: noon.Add(-time.Hour), Next: noon, Found: 14, Fresh: 2, FreshAt: noon.Add(-time.Hour),
	}
	ran := HuntRun{
		Query: "DeviceNetworkEvents\n| where RemoteIP == \"203.0.113.9\"", Columns: []string{"DeviceName", "Connections"}, Rows: [][]string{{"ws-042", "3"}, {"ws-043", "1"}},
		Took: 1234 * time.Millisecond, Cut: "at the 10000 rows that mdebot reads; there may be more, which are not compared. Narrow the hunt.",
		Retires: time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC),
	}
	return map[string]chat.Message{
		"alert":                  Alert(av),
		"alert_little_known":     Alert(poor),
		"alert_resolved":         Alert(resolved),
		"mute_offer":             MuteOffer(muteOrder, "key"),
		"mute_offer_high":        MuteOffer(highOrder, "key"),
		"mute_begun":             MuteBegun(muteView),
		"mute_ended":             MuteEnded(muteView, []defender.Alert{sampleAlert()}, portal{}),
		"mute_ended_empty":       MuteEnded(muteView, nil, nil),
		"mute_list":              MuteList([]MuteView{muteView}),
		"mute_list_empty":        MuteList(nil),
		"alert_resolved_posted":  Alert(posted),
		"alert_isolated":         Alert(cutOff),
		"alert_list":             AlertList([]defender.Alert{sampleAlert()}, chat.Plain("of severity High"), true),
		"alert_list_empty":       AlertList(nil, chat.Plain("since yesterday"), false),
		"machine":                Machine(mv),
		"machine_facts_missing":  Machine(missing),
		"machine_isolated":       Machine(isolated),
		"machine_list":           MachineList([]defender.Machine{mv.Machine}, nil, true),
		"machine_list_empty":     MachineList(nil, chat.Plain("with that tag"), false),
		"machine_chooser":        MachineChooser(ChooserView{Typed: "ws-042", Candidates: []Candidate{{Machine: mv.Machine, Users: mv.Users}, {Machine: mv.Machine, UsersUnread: "not permitted: User.Read.All"}}, Action: ActionShowMachine, Next: "Choose one."}),
		"machine_chooser_prefix": MachineChooser(ChooserView{Typed: "ws-04", Prefix: true, Candidates: []Candidate{{Machine: mv.Machine}}, Next: "Type the command again with an ID."}),
		"request_list":           RequestList(RequestQueue{Requests: queue, Mine: func(r approvals.Request) bool { return r.Number%2 == 0 }, Now: noon.Add(12 * time.Minute)}),
		"request_list_empty":     RequestList(RequestQueue{}),
		"isolated_list":          IsolatedList([]IsolatedMachine{{MachineID: machineID, Name: "ws-042", Isolation: defender.IsolationOf(isolated.Actions)}}, false, noon.Add(76*time.Hour)),
		"isolated_list_timed": IsolatedList([]IsolatedMachine{
			{MachineID: machineID, Name: "ws-042", Isolation: defender.IsolationOf(isolated.Actions), Owner: "Riley Chen", Until: noon.Add(2 * time.Hour)},
			{MachineID: machineID, Name: "ws-043", Isolation: defender.IsolationOf(isolated.Actions), Owner: "Riley Chen", Until: noon.Add(-2 * time.Hour)},
		}, true, noon),
		"isolations_forgotten": ForgottenIsolations([]IsolatedMachine{
			{MachineID: machineID, Name: "ws-042", Isolation: defender.IsolationOf(isolated.Actions), Owner: "Riley Chen", Until: noon.Add(2 * time.Hour)},
			{MachineID: machineID, Name: "ws-043", Isolation: defender.IsolationOf(isolated.Actions)},
		}, 7*24*time.Hour, noon.Add(200*time.Hour)),
		"isolation_over":         IsolationOver(planned, planned.Targets[:1], true),
		"isolation_over_several": IsolationOver(planned, planned.Targets, true),
		"request_asked_next":     AskedNext(fallsBack, 1),
		"request_timed":          Request(RequestView{Request: planned, Portal: portal{}}),
		"request_falls_back":     Request(RequestView{Request: fallsBack, Portal: portal{}}),
		"isolated_list_empty":    IsolatedList(nil, true, noon),
		"action_timed_out":       Action(ActionOrigin{Action: failed}, portal{}),
		"hunt":                   Hunt(HuntView{Query: "DeviceInfo", Columns: []string{"A"}, Rows: [][]string{{"1"}}, Total: 10000, Limit: 10000, Took: 1234 * time.Millisecond, Retires: time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC), CSV: &chat.File{Name: "hunt.csv", Type: "text/csv", Content: []byte("A\r\n1\r\n")}}),
		"hunt_nothing":           Hunt(HuntView{Query: "DeviceInfo", Took: time.Second}),
		"hunt_running":           HuntRunning(120, 12*time.Second, "key"),
		"hunt_scheduled_began":   ScheduledHunt(HuntFound{ScheduleView: everyHour, HuntRun: ran, First: true, New: ran.Rows, CSV: &chat.File{Name: "hunt.csv", Type: "text/csv", Content: []byte("A\r\n")}}),
		"hunt_scheduled_empty":   ScheduledHunt(HuntFound{ScheduleView: everyHour, HuntRun: HuntRun{Query: "DeviceInfo", Took: time.Second}, First: true}),
		"hunt_scheduled_new":     ScheduledHunt(HuntFound{ScheduleView: everyHour, HuntRun: ran, New: ran.Rows[1:]}),
		"hunt_scheduled_cut":     ScheduledHunt(HuntFound{ScheduleView: everyHour, HuntRun: HuntRun{Query: "DeviceInfo", Rows: ran.Rows, Took: time.Second, Cut: "at 10 MiB; there is more, which is not compared. Ask for fewer columns or rows."}}),
		"hunt_scheduled_fails":   ScheduledHuntFails(everyHour, HuntTrouble{Sentence: chat.Plain("Defender refused the query."), Lines: []chat.Text{chat.Code("--^")}, Next: chat.Plain("Correct it.")}),
		"hunt_scheduled_well":    ScheduledHuntWell(everyHour, noon),
		"hunt_list": HuntList([]SavedHunt{{Name: "logons", Description: "Who logged on.", Params: "machine=<machine>", May: true}}, []ScheduleView{
			everyHour,
			{Name: "broken", Hunt: "usb", When: "daily at 07:30 Europe/Berlin", To: []string{"slack:C0SOC"}, Failing: noon, Problem: "Defender refused the query.", Next: noon.Add(time.Hour)},
			{Name: "later", Hunt: "usb", When: "every 1d", To: []string{"slack:C0SOC"}, Next: noon.Add(time.Hour)},
		}, []PastHunt{{ID: "1", What: "DeviceInfo", At: noon}}),
		"digest":          Digest(day),
		"digest_quiet":    Digest(DigestView{From: noon.Add(-24 * time.Hour), At: noon, Now: noon}),
		"help":            Help([]HelpTopic{{Name: "Acting on machines", Entries: []HelpEntry{entry}}}, "/mde help <command>"),
		"help_command":    HelpCommand(entry),
		"whoami":          Whoami(WhoamiView{Account: account, Standing: identity.Member, Person: &person, Groups: []string{"soc"}, ReadsHere: true}),
		"whoami_unlinked": Whoami(WhoamiView{Account: account, StandingUnread: "timeout", Problem: "no entry of mdebot.yaml names this account", Lines: "people:\n  - slack: [T0SOC/U0RILEY]"}),
		"whoami_linked":   Whoami(WhoamiView{Account: account, Standing: identity.Member, Person: &person, Link: &identity.Link{How: identity.BySignIn, Since: noon, CountsFrom: noon.Add(24 * time.Hour)}}),
		"link_offer":      LinkOffer(account, "https://mdebot.example.com/link?t=K7QM", "link K7QM-2XHD", noon),
		"link_proposal":   LinkProposal(account),
		"link_made":       LinkMade(linkView),
		"link_announced":  LinkAnnounced(linkView, true),
		"link_confirmed":  LinkConfirmed(linkView),
		"link_ended":      LinkEnded(linkView),
		"unlinked":        Unlinked(account, "  - person: <object ID>\n    slack: [T0SOC/U0RILEY]\n", "/mde whoami"),
		"home_head":       HomeHead(HomeView{Waiting: 2, Name: person.Name, Now: noon}),
		"home_elsewhere":  HomeHead(HomeView{Elsewhere: 2, Name: person.Name, Now: noon}),
		"home_quiet":      HomeHead(HomeView{Now: noon}),
		"home_live":       HomeHead(HomeView{Waiting: 1, Name: person.Name, Now: noon, Live: true}),
		"home_refused":    HomeRefused(Unlinked(account, "  - person: <object ID>\n", "whoami"), HomeView{Now: noon}),
		"home_request":    HomeRequest(RequestView{Request: planned, Portal: portal{}}),
		"home_alerts":     HomeAlerts(slices.Repeat([]defender.Alert{sampleAlert()}, 7), true),
		"home_no_alerts":  HomeAlerts(nil, false),
		"home_isolations": HomeIsolations([]IsolatedMachine{{MachineID: machineID, Name: "ws-042", Isolation: defender.IsolationOf(isolated.Actions), Owner: "Riley Chen", Until: noon.Add(2 * time.Hour)}}, true, noon),
		"home_queue": func() chat.Message {
			m, _ := HomeQueue(RequestQueue{
				Requests: queue, Now: noon.Add(12 * time.Minute),
				Mine: func(r approvals.Request) bool { return r.Number%2 == 0 }, Own: func(r approvals.Request) bool { return r.Number%3 == 0 },
			}, 3)
			return m
		}(),
		"preview_alert":    AlertPreview(sampleAlert()),
		"preview_machine":  MachinePreview(sampleMachine().Machine),
		"preview_incident": IncidentPreview(defender.Incident{ID: 42, Name: "Multi-stage incident", Severity: "High", Status: "Active", Updated: noon}),
		"status":           Status([]StatusLine{{Part: "Defender", Good: true}, {Part: "Alert poller", Detail: "no good poll for 6 minutes"}}, []StatusLine{{Part: "isolate", Detail: "needs Machine.Isolate"}}),
		"status_good":      Status([]StatusLine{{Part: "Defender", Good: true}}, nil),
	}
}

func TestCards_golden(t *testing.T) {
	t.Parallel()
	for name, m := range otherCards(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkGolden(t, name, m)
		})
	}
}

// Outside text reaches a message only in spans that are drawn literally.
func TestCards_keepHostileTextLiteral(t *testing.T) {
	t.Parallel()
	a := sampleAlert()
	a.Title, a.MachineName, a.Status, a.Category, a.AssignedTo, a.Classification, a.Determination = hostile, hostile, hostile, hostile, hostile, hostile, hostile
	a.Severity, a.Description, a.ThreatName, a.MachineGroup, a.DetectionSource = hostile, hostile, hostile, hostile, hostile
	a.User = defender.AccountName{Name: hostile, Domain: hostile}
	a.Techniques = []string{hostile}
	a.Comments = []defender.AlertComment{{Text: hostile, By: hostile}}
	for i := range a.Evidence {
		e := &a.Evidence[i]
		e.FileName, e.FilePath, e.CommandLine, e.ParentFileName, e.URL, e.IPAddress, e.UserPrincipal, e.RegistryKey, e.Status = hostile, hostile, hostile, hostile, hostile, hostile, hostile, hostile, hostile
	}
	a.Evidence[6].Type = hostile
	mv := sampleMachine()
	mv.Machine = defender.Machine{ID: hostile, Name: hostile, OS: hostile, OSVersion: hostile, Health: hostile, Risk: hostile, Exposure: hostile, Group: hostile, Tags: []string{hostile}, InternalIP: hostile, ExternalIP: hostile, MergedInto: hostile}
	mv.Users = []defender.User{{Name: hostile, DomainAdmin: true}}
	mv.Alerts = []defender.Alert{a}
	mv.Unread = Unread{Users: hostile}
	mv.ShowOwners, mv.Owners = true, []defender.Owner{{ID: hostile}, {ID: hostile, Name: hostile, Principal: hostile}}
	looked := LookupResult{
		Observable: Observable{Kind: ObservableFile, Value: hostile, FromURL: true}, Alerts: []defender.Alert{a}, Machines: []defender.Machine{mv.Machine},
		Sightings: defender.Sightings{Prevalence: 1, FileNames: []string{hostile}},
		File:      &defender.File{SHA1: hostile, SHA256: hostile, Signer: hostile, Determination: hostile, DeterminationName: hostile, Product: hostile, Publisher: hostile},
	}
	there := []defender.MachineReference{{ID: hostile, Name: hostile}}
	act := defender.MachineAction{ID: hostile, Type: hostile, Status: hostile, Scope: hostile, Requestor: hostile, Comment: hostile, Source: hostile, MachineName: hostile, MachineID: hostile}
	r := hostileRequest(t)
	for name, m := range map[string]chat.Message{
		"mute":    MuteOffer(policy.MuteOrder{ID: hostile, Mute: policy.Mute{Title: hostile, Machine: hostile, MachineName: hostile}, By: hostile, Reason: hostile}, "key"),
		"muted":   MuteBegun(MuteView{MuteOrder: policy.MuteOrder{Mute: policy.Mute{Title: hostile}, By: hostile, Reason: hostile}}),
		"mutes":   MuteList([]MuteView{{MuteOrder: policy.MuteOrder{Mute: policy.Mute{Title: hostile}, By: hostile, Reason: hostile}}}),
		"unmuted": MuteEnded(MuteView{EndedBy: hostile, MuteOrder: policy.MuteOrder{Mute: policy.Mute{Title: hostile}, By: hostile}}, []defender.Alert{a}, portal{}),
		"alert":   Alert(AlertView{Alert: a, Machine: &mv.Machine, MayUpdate: true, MayIsolate: true, EvidenceUnread: hostile}),
		"machine": Machine(mv), "action": Action(ActionOrigin{Action: act}, nil),
		"chooser": MachineChooser(ChooserView{Typed: hostile, Candidates: []Candidate{{Machine: mv.Machine, Users: mv.Users, UsersUnread: hostile}}}),
		"request": Request(RequestView{Request: r}), "reply": RequestReply(r),
		"scheduled":       ScheduledHunt(HuntFound{ScheduleView: ScheduleView{Name: hostile, Hunt: hostile, Values: hostile, Owner: hostile, When: "every 1h"}, HuntRun: HuntRun{Query: hostile, Columns: []string{hostile}, Rows: [][]string{{hostile}}}, New: [][]string{{hostile}}}),
		"scheduled fails": ScheduledHuntFails(ScheduleView{Name: hostile, Hunt: hostile, Values: hostile}, HuntTrouble{Sentence: chat.Untrusted(hostile)}),
		"hunt list":       {Sections: []chat.Section{{Lines: scheduleLines([]ScheduleView{{Name: hostile, Hunt: hostile, Values: hostile, When: "every 1h", Problem: hostile, Failing: noon}})}}},
		"digest": Digest(DigestView{
			Open: []defender.Alert{a}, Alerts: []defender.Alert{a}, Requests: []approvals.Request{r}, Isolated: []IsolatedMachine{{Name: hostile, Owner: hostile}},
			Mutes: []MuteView{{MuteOrder: policy.MuteOrder{Mute: policy.Mute{Title: hostile}, By: hostile}}}, Troubles: []string{hostile},
		}),
		"hunt":   Hunt(HuntView{Query: hostile, Columns: []string{hostile}, Rows: [][]string{{hostile}}, Total: 1}),
		"whoami": Whoami(WhoamiView{Account: identity.Principal{Account: hostile, Name: hostile}, StandingUnread: hostile, Person: &identity.Person{Name: hostile}, Groups: []string{hostile}, Lines: hostile}),
		"status": Status([]StatusLine{{Part: "Defender", Detail: hostile}}, nil),
		"link":   LinkAnnounced(LinkView{Account: identity.Principal{Account: hostile, Name: hostile}, Name: hostile, How: identity.BySignIn}, true),
		"lookup": Lookup(LookupView{Results: []LookupResult{looked}, Machines: []defender.Machine{mv.Machine}, MachinesUnread: hostile, Left: []string{hostile}, Cannot: []NotLookedUp{{Text: hostile, Why: "it is odd"}}}),
		"user":   User(UserView{Account: hostile, Alerts: []defender.Alert{a}, Machines: []defender.Machine{mv.Machine}, AlertsUnread: hostile}),
		"incident": Incident(defender.Incident{
			ID: 1, Name: hostile, Severity: hostile, Status: hostile, AssignedTo: hostile, Classification: hostile, Determination: hostile, Tags: []string{hostile}, Machines: there,
			Alerts: []defender.IncidentAlert{{ID: hostile, Title: hostile, Severity: hostile, Status: hostile, Source: hostile}},
		}, 2, portal{}),
		"cve":      Vulnerability(VulnerabilityView{Vulnerability: defender.Vulnerability{ID: hostile, Description: hostile, Severity: hostile, Vector: hostile}, Machines: there}),
		"software": SoftwareList([]defender.Software{{Name: hostile, Vendor: hostile}}, hostile, true),
		"tagged":   Tagged([]TaggedMachine{{Machine: mv.Machine, Before: []string{hostile}}}),
		"both":     Tagged([]TaggedMachine{{Machine: mv.Machine, Before: []string{hostile}}, {Machine: mv.Machine}}),
		"yours?":   LinkProposal(identity.Principal{Account: hostile, Name: hostile}),
	} {
		for _, text := range textsOf(m) {
			for _, s := range text {
				if s.Kind != chat.SpanUntrusted && s.Kind != chat.SpanCode && strings.ContainsAny(s.Value+s.URL, "<\u202e\x1b\n") {
					t.Errorf("%s: span %q of kind %d holds outside text", name, s.Value, s.Kind)
				}
			}
		}
		for _, s := range m.Sections {
			if strings.Contains(s.Heading, "channel") {
				t.Errorf("%s: heading %q holds outside text", name, s.Heading)
			}
		}
	}
}

// textsOf is every Text of m.
func textsOf(m chat.Message) []chat.Text {
	all := []chat.Text{m.Preview, m.Title, m.Note}
	for _, f := range m.Facts {
		all = append(all, f.Value)
	}
	for _, s := range m.Sections {
		all = append(all, s.Lines...)
	}
	for _, b := range m.Buttons {
		if b.Confirm != nil {
			all = append(all, b.Confirm.Text)
		}
	}
	return all
}

func TestRequest_nothingFoldedAndAllTargetsShown(t *testing.T) {
	t.Parallel()
	r := sampleRequest(t, approvals.Pending, 25)
	m := Request(RequestView{Request: r, Portal: portal{}})
	var shown strings.Builder
	for _, s := range m.Sections {
		if s.Folded {
			t.Errorf("section %q is folded", s.Heading)
		}
		for _, line := range s.Lines {
			shown.WriteString(line.String() + "\n")
		}
	}
	for _, target := range r.Targets {
		if !strings.Contains(shown.String(), target.Name+" "+target.ID) {
			t.Errorf("card does not show %s %s", target.Name, target.ID)
		}
	}
}

// A refusal or an outcome names a request in few words. Whoever decides has to
// see the card (threat-model A-03).
func TestAttack_shortReplyOffersNoDecision(t *testing.T) {
	t.Parallel()
	for name, r := range requestInEveryState(t) {
		for _, b := range RequestReply(r).Buttons {
			switch b.Action {
			case ActionApprove, ActionDeny, ActionDenyForm:
				t.Errorf("%s: the short reply has the button %s", name, b.Label)
			}
		}
	}
}

// A machine's own text can hold the mark between a line's parts, and a name can
// be as long as its owner likes.
func TestAttack_factsOfOneMachineCannotImitateAnother(t *testing.T) {
	t.Parallel()
	r := sampleRequest(t, approvals.Pending, fewTargets+1)
	facts, err := json.Marshal(TargetFacts{OS: "x · not isolated · 2. dc-01", Tags: []string{"a · b"}, ReadAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Targets {
		r.Targets[i].Name, r.Targets[i].Facts = strings.Repeat("n", 5_000), facts
	}
	for _, line := range targetSections(r, nil)[0].Lines {
		for _, s := range line {
			if s.Kind == chat.SpanUntrusted && (strings.Contains(s.Value, "x · not") || strings.Contains(s.Value, "a · b") || len(s.Value) > 200) {
				t.Errorf("outside text in a line = %q", s.Value)
			}
		}
	}
}

func TestRequest_saysEachThingOnce(t *testing.T) {
	t.Parallel()
	all := requestInEveryState(t)
	partly := all["denied"]
	partly.Why = "Denied by Avery: wrong machine. 1 of 3 had already been sent."
	for name, tc := range map[string]struct {
		r    approvals.Request
		once []string
	}{
		"denied":        {all["denied"], []string{"wrong machine", "44444444-4444-4444-4444-444444444444", "from Teams"}},
		"denied partly": {partly, []string{"wrong machine", "1 of 3 had already been sent."}},
		"withdrawn":     {all["withdrawn"], []string{"withdrawn by Riley Chen"}},
	} {
		var lines []string
		m := Request(RequestView{Request: tc.r})
		for _, s := range m.Sections {
			for _, line := range s.Lines {
				lines = append(lines, line.String())
			}
		}
		for _, words := range tc.once {
			if n := strings.Count(strings.Join(lines, "\n"), words); n != 1 {
				t.Errorf("%s: the card says %q %d times, want once:\n%s", name, words, n, strings.Join(lines, "\n"))
			}
		}
	}
	for _, f := range RequestReply(all["denied"]).Facts {
		if f.Label == "Why" {
			t.Errorf("the reply repeats the denial: %s", f.Value)
		}
	}
}

// An account of another tenant, or of another platform, is another thing than the
// person behind it (threat-model A-03).
func TestPerson_showsAnAccountThatIsNotThePerson(t *testing.T) {
	t.Parallel()
	id := identity.PersonID{Tenant: "11111111-1111-1111-1111-111111111111", Object: "44444444-4444-4444-4444-444444444444"}
	for _, account := range []identity.Principal{
		{Platform: identity.Slack, Workspace: id.Tenant, Account: id.Object},
		{Platform: identity.Teams, Workspace: "99999999-1111-1111-1111-111111111111", Account: id.Object},
	} {
		if got := person("Avery", id, account).String(); !strings.Contains(got, account.String()) || !strings.Contains(got, id.String()) {
			t.Errorf("person() = %q, want %s and %s", got, id, account)
		}
	}
}

func TestRequest_buttonsPerState(t *testing.T) {
	t.Parallel()
	for state, want := range map[approvals.State]string{
		approvals.Pending:   "Approve,Deny,Deny with a reason,Deny and report,Withdraw",
		approvals.Approved:  "Deny,Deny with a reason,Deny and report,Withdraw",
		approvals.Executing: "", approvals.Submitted: "", approvals.Unknown: "",
		approvals.Succeeded: "Request release", approvals.Denied: "", approvals.Withdrawn: "",
		approvals.Failed: "Ask again", approvals.Expired: "Ask again", approvals.Void: "Ask again",
	} {
		var got []string
		for _, b := range Request(RequestView{Request: sampleRequest(t, state, 1)}).Buttons {
			got = append(got, b.Label)
			if b.Action == ActionApprove && (b.Style == chat.StylePrimary || b.Confirm == nil) {
				t.Errorf("Approve has style %q and confirm %v, want no emphasis and a question", b.Style, b.Confirm)
			}
			if b.Action == ActionDeny && b.Confirm != nil {
				t.Error("Deny asks once more, want one tap")
			}
		}
		if strings.Join(got, ",") != want {
			t.Errorf("buttons in state %s = %v, want %s", state, got, want)
		}
	}
}

func TestValues_roundTrip(t *testing.T) {
	t.Parallel()
	if id, digest, ok := ParseRequestValue(RequestValue("r", "d")); id != "r" || digest != "d" || !ok {
		t.Errorf("ParseRequestValue(RequestValue()) = %q, %q, %v", id, digest, ok)
	}
	for _, bad := range []string{"", "r", ".", "r.", ".d"} {
		if _, _, ok := ParseRequestValue(bad); ok {
			t.Errorf("ParseRequestValue(%q) accepted", bad)
		}
	}
	for _, v := range []AskValue{
		{Machine: machineID, Alert: alertID},
		{Machine: machineID},
		{Params: map[string]string{"scope": "selective"}},
		{Machine: machineID, Alert: alertID, Params: map[string]string{"file": "a=b&c?d.e", "scope": "full"}},
	} {
		if got := ParseAskValue(v.String()); !reflect.DeepEqual(got, v) {
			t.Errorf("ParseAskValue(%q) = %+v, want %+v", v.String(), got, v)
		}
	}
}

func TestActionTable_hasWordsForEveryAction(t *testing.T) {
	t.Parallel()
	for kind := range approvals.Actions() {
		if _, ok := actionTable[kind]; !ok {
			t.Errorf("no words for the action %s", kind)
		}
	}
}

func TestRequest_saysWhatEachOfSeveralRulesNeeds(t *testing.T) {
	t.Parallel()
	r := sampleRequest(t, approvals.Pending, 2)
	r.Rule = policy.Stricter(policy.Applied{Approvers: 2, From: []string{"soc"}}, policy.Applied{Approvers: 1})
	for _, f := range Request(RequestView{Request: r}).Facts {
		if want := "0 of 2, besides the requester, of them 1 from holders of the role approver, and 2 from soc"; f.Label == "Approvals" && f.Value.String() != want {
			t.Errorf("Approvals: %s, want %s", f.Value, want)
		}
	}
}
