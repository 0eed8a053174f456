package commands

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// permit gives the estate's token these roles of Defender.
func permit(w *world, roles ...string) { w.estate.granted = defender.PermissionsOf(roles, nil) }

func TestObservables_asPeoplePasteThem(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"203.0.113.9":                             "ips 203.0.113.9",
		"1.2.3[.]4":                               "ips 1.2.3.4",
		"203.0.113.9:8443":                        "ips 203.0.113.9",
		"[2001:db8::1]:443":                       "ips 2001:db8::1",
		"[2001:DB8::1]":                           "ips 2001:db8::1",
		"::ffff:1.2.3.4":                          "ips 1.2.3.4",
		"evil[.]example":                          "domains evil.example",
		"EVIL(.)Example.":                         "domains evil.example",
		"evil[dot]example":                        "domains evil.example",
		"hxxps://evil[.]example:8443/a?b=c#d":     "domains evil.example",
		"hxxp[:]//1.2.3[.]4/x":                    "ips 1.2.3.4",
		"https://user:pass@evil.example/":         "domains evil.example",
		"<https://evil.example/a>,":               "domains evil.example",
		"evil.example/path/a.exe":                 "domains evil.example",
		"bücher.example":                          "domains xn--bcher-kva.example",
		evilFile:                                  "files " + evilFile,
		strings.ToUpper(evilSHA256):               "files " + evilSHA256,
		"1.2.3.4,evil.example;" + evilFile:        "ips 1.2.3.4 domains evil.example files " + evilFile,
		"Beacons to evil[.]example and 1.2.3[.]4": "domains evil.example ips 1.2.3.4",
		"1.2.3.4 1.2.3[.]4":                       "ips 1.2.3.4",
		"just some words":                         "",
		"d41d8cd98f00b204e9800998ecf8427e":        "MD5",
		"10.0.0.0/8":                              "range",
		"someone@evil.example":                    "e-mail",
		"invoice.docm":                            "file name",
		"http://":                                 "not an address",
		"http://exa mple":                         "host is not a name",
	} {
		found, cannot := observablesIn(strings.Fields(text))
		var got []string
		for _, o := range found {
			got = append(got, string(o.Kind)+" "+o.Value)
		}
		for _, c := range cannot {
			got = append(got, c.Why)
		}
		if joined := strings.Join(got, " "); (want == "" && joined != "") || !strings.Contains(joined, want) {
			t.Errorf("%q is read as %q, want %q", text, joined, want)
		}
	}
}

func FuzzObservable(f *testing.F) {
	for _, s := range []string{"1.2.3[.]4", "hxxp[:]//evil[.]example/%2f", "..", "a..b", "[::]", "http://[::1", evilFile, "\\.", "é.example", "a.b.c/../d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		found, _ := observablesIn([]string{s})
		for _, o := range found {
			if strings.ContainsAny(o.Value, "/\\?# %") || o.Value == "" || strings.Contains(o.Value, "..") {
				t.Errorf("%q is looked up as %q, which leads elsewhere in a path", s, o.Value)
			}
		}
	})
}

func TestLookup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	permit(w, "File.Read.All", "Ip.Read.All", "URL.Read.All", "Alert.Read.All", "Machine.Read.All")
	mustSay(t, "a file", w.says(t, viewer, "lookup "+evilSHA256), "on 3 machines", "Malware", "Trojan:Win32/X", "Evil", "not valid", "Suspicious", "ws-042", "SHA-1", evilFile)
	mustSay(t, "an address", w.says(t, viewer, "lookup 203.0.113[.]9"), "203.0.113.9", "on 3 machines", "Suspicious")
	mustSay(t, "an address never seen", w.says(t, viewer, "lookup 192.0.2.1"), "not at all")
	mustSay(t, "several", w.says(t, viewer, "lookup see hxxp://evil[.]example/x and 203.0.113.9, also d41d8cd98f00b204e9800998ecf8427e"),
		"Looked up 2 things", "no statistics by URL", "evil.example", "Not looked up", "MD5")
	mustSay(t, "a file nobody knows", w.says(t, viewer, "lookup "+strings.Repeat("ab", 20)), "never seen this file")
	mustSay(t, "nothing", w.says(t, viewer, "lookup"), "What should be looked up?")
	mustSay(t, "an MD5 alone", w.says(t, viewer, "lookup d41d8cd98f00b204e9800998ecf8427e"), "cannot be looked up", "MD5", "SHA-1 or SHA-256")
	many := "lookup"
	for _, c := range "abcdefghijk" {
		many += " " + string(c) + ".evil.example"
	}
	mustSay(t, "too many", w.says(t, viewer, many), "takes 10 at most")
	w.estate.faults["sightings"] = defender.ErrUnavailable
	mustSay(t, "an outage", w.says(t, viewer, "lookup 203.0.113.9"), "could not be read", "Suspicious")
}

func TestLookup_withWhatIsPermitted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	permit(w, "ip.read.all")
	w.estate.faults["alerts"] = defender.ErrForbidden // asking would be a mistake
	mustSay(t, "an address", w.says(t, viewer, "lookup 203.0.113.9"), "on 3 machines", "not permitted: Alert.Read.All")
	mustSay(t, "a file", w.says(t, viewer, "lookup "+evilFile), "not permitted: File.Read.All", "not permitted: Machine.Read.All")
	permit(w, "Alert.Read.All")
	mustSay(t, "without any", w.says(t, viewer, "lookup 203.0.113.9"), "lookup needs File.Read.All", "Ip.Read.All", "Url.Read.All")
}

func TestIncidents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mustSay(t, "without the permission", w.says(t, viewer, "incidents"), "incidents needs Incident.Read.All on Microsoft Threat Protection",
		"Nothing at all is granted on Microsoft Threat Protection yet", "Cloud Application Administrator")
	w.estate.granted = defender.PermissionsOf(nil, nil).With(nil, []string{"Incident.Read.All"})
	m := w.says(t, viewer, "incidents")
	mustSay(t, "incidents", m, "2 incidents changed since", "theft", "Odd sign-in")
	if len(m.Table.Rows) != 2 {
		t.Errorf("%d incidents are listed, want the merged one left out: %v", len(m.Table.Rows), m.Table.Rows)
	}
	mustSay(t, "high ones", w.says(t, viewer, "incidents high --since 7d"), "1 incident of severity High")
	mustSay(t, "an incident", w.says(t, viewer, "incident #7"), "Incident 7: Credential <i>theft</i>", alert1)
	mustSay(t, "a merged one", w.says(t, viewer, "incident 5"), "Incident 7", "incident 5 is part of this one now")
	mustSay(t, "an unknown one", w.says(t, viewer, "incident 99"), "Defender does not know that ID.")
	mustSay(t, "no number", w.says(t, viewer, "incident abc"), "Give the number of one incident")
}

func TestIncidentUpdates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	permit(w, "Incident.ReadWrite.All")
	w.estate.granted = defender.PermissionsOf(nil, nil).With(nil, []string{"Incident.Read.All"})
	mustSay(t, "without the permission", w.says(t, riley, "incident 7 assign me"), "needs Incident.ReadWrite.All on Microsoft Threat Protection")
	w.estate.granted = defender.PermissionsOf(nil, nil).With(nil, []string{"Incident.ReadWrite.All"})
	for text, want := range map[string]defender.IncidentUpdate{
		"incident 7 assign me":                                 {AssignedTo: "Riley Chen", Comment: "Assigned to Riley Chen"},
		"incident #7 ASSIGN dana@corp.example":                 {AssignedTo: "dana@corp.example", Comment: "Assigned to dana@corp.example"},
		"incident 7 resolve fp not-malicious":                  {Status: "Resolved", Classification: "FalsePositive", Determination: "Clean", Comment: "Resolved as FalsePositive/Clean"},
		"incident 7 resolve true-positive compromised-account": {Status: "Resolved", Classification: "TruePositive", Determination: "CompromisedAccount", Comment: "Resolved as TruePositive/CompromisedAccount"},
		"incident 7 comment both hosts are reimaged":           {Comment: "Comment: both hosts are reimaged"},
	} {
		w.estate.incidentUpdates = nil
		mustSay(t, text, w.says(t, riley, text), "Incident 7", "sam@corp.example")
		want.Comment += ", by Riley Chen from slack through mdebot"
		if got := w.estate.incidentUpdates; len(got) != 1 || got[0] != want {
			t.Errorf("%s changes %+v, want %+v", text, got, want)
		}
	}
	if kinds := w.kinds(); !strings.Contains(kinds, "incident.updating") || !strings.Contains(kinds, "incident.updated") {
		t.Errorf("recorded %s", kinds)
	}
	w.estate.incidentUpdates = nil
	for text, wants := range map[string][]string{
		"incident 5 resolve fp":      {"Incident 5 is part of incident 7 now, so nothing was changed.", "incident 7"},
		"incident 99 assign me":      {"Defender does not know that ID."},
		"incident 7 assign":          {"Assign it to whom?", "incident <id> assign"},
		"incident 7 resolve":         {"Say how: true-positive"},
		"incident 7 resolve fp what": {"After false-positive say one of"},
		"incident 7 comment":         {"The comment is missing."},
		"incident 7 close":           {"After the number, incident takes assign, resolve or comment."},
		"incident x comment seen":    {"Give the number of one incident"},
	} {
		mustSay(t, text, w.says(t, riley, text), wants...)
	}
	mustSay(t, "by a viewer", w.says(t, viewer, "incident 7 resolve fp"), "needs the role responder")
	w.recordErr = errors.New("disk full")
	mustSay(t, "without a record", w.says(t, riley, "incident 7 comment seen"), "Something went wrong")
	if len(w.estate.incidentUpdates) != 0 {
		t.Errorf("changed %+v", w.estate.incidentUpdates)
	}
}

func TestPosture(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	permit(w, "Score.Read.All", "Software.Read.All", "Vulnerability.Read.All")
	mustSay(t, "score", w.says(t, viewer, "score"), "33.5 of 100, lower is better", "340, higher is better")
	w.estate.faults["score"] = &defender.ThrottledError{}
	mustSay(t, "half a score", w.says(t, viewer, "score"), "quota is used up", "340")
	mustSay(t, "software", w.says(t, viewer, "software log4j"), "1 product like log4j", "apache")
	mustSay(t, "no software", w.says(t, viewer, "software nothing"), "No product like nothing")
	mustSay(t, "a CVE", w.says(t, viewer, "cve cve-2021-44228"), "CVE-2021-44228: 1 exposed machine", "Critical", "public and verified", "ws-042.corp.example", "97 %")
	mustSay(t, "an unknown CVE", w.says(t, viewer, "cve CVE-1999-0001"), "Defender does not know that ID.")
	mustSay(t, "no CVE", w.says(t, viewer, "cve log4j"), "Give one ID such as")
}

func TestUser_comesToTheAskerAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	permit(w, "Alert.Read.All")
	inv := w.invocation(chat.Command, viewer)
	inv.Text = `user CORP\sam`
	m, resp := w.ask(t, inv)
	mustSay(t, "a user", m, "Account sam", "Suspicious", "not permitted: Machine.ReadWrite.All")
	if resp.Audience != chat.Personal {
		t.Errorf("the answer goes to %v, want the asker alone", resp.Audience)
	}
	permit(w, "Machine.ReadWrite.All")
	mustSay(t, "by principal", w.says(t, viewer, "user sam@corp.example"), "Account sam", "ws-042.corp.example", "not permitted: Alert.Read.All")
	if !strings.Contains(w.kinds(), "user.read") {
		t.Errorf("recorded %s, want who looked up whom", w.kinds())
	}
}

func TestTag(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mustSay(t, "without the permission", w.says(t, riley, "tag ws-042 +reimaged"), "tag needs Machine.ReadWrite.All")
	permit(w, "Machine.ReadWrite.All")
	mustSay(t, "a rule's tag", w.says(t, riley, "tag ws-042 +never-isolate"), "never-isolate", "read by a condition under protected", "A second person must approve that", "--reason <why>")
	mustSay(t, "the mark of tier 0", w.says(t, riley, "tag ws-042 -tier0"), "tier0", "tier 0")
	mustSay(t, "one rule's tag among others", w.says(t, riley, "tag ws-042 +reimaged -never-isolate --reason odd"), "read by", "Ask for that tag alone")
	mustSay(t, "one that is gone", w.says(t, riley, "tag ws-042 -never-isolate --reason odd"), "The tags of ws-042.corp.example are so already.")
	if n := len(w.live(t)); n != 0 {
		t.Fatalf("%d requests are open", n)
	}
	mustSay(t, "asked for", w.says(t, riley, "tag ws-042 ws-043 +never-isolate --reason it holds the keys"), "Asked:", ws042, ws043)
	q := w.live(t)[0]
	if q.Action != approvals.Tag || q.Params["tag"] != "+never-isolate" || q.Reason != "it holds the keys" || len(q.Targets) != 2 || q.State != approvals.Pending {
		t.Errorf("request = %s %v %q of %d, %s", q.Action, q.Params, q.Reason, len(q.Targets), q.State)
	}
	mustSay(t, "its card", cards.Request(cards.RequestView{Request: q}), "tag (+never-isolate) 2 machines", "addition of the tag never-isolate", "who must approve")
	if got := w.estate.machines[0].Tags; len(got) != 0 {
		t.Fatalf("tags are %v, want none", got)
	}
	mustSay(t, "two", w.says(t, riley, `tag ws-042 "+legal hold" +reimaged`), "Tags of ws-042.corp.example changed", "legal hold, reimaged")
	mustSay(t, "one off", w.says(t, riley, "tag ws-042 −reimaged"), "Now: legal hold", "Before: legal hold, reimaged")
	mustSay(t, "no sign", w.says(t, riley, "tag ws-042 reimaged"), "reimaged is no change of a tag")
	mustSay(t, "what nobody can see", w.says(t, riley, "tag ws-042 +re\u200bimaged"), "cannot be a tag", "all of which can be seen")
	mustSay(t, "too long", w.says(t, riley, "tag ws-042 +"+strings.Repeat("x", 201)), "cannot be a tag", "at most 200 characters")
	w.estate.faults["tag a;b"] = fmt.Errorf("tag machine: %w", defender.ErrInvalid)
	mustSay(t, "characters that Defender refuses", w.says(t, riley, `tag ws-042 +c;d +a;b`), "Only 1 of 2 changes were made, those before +a;b on ws-042.corp.example", "Defender does not accept that")
	mustSay(t, "what was made", w.says(t, riley, "tag ws-042 -c;d"), "Now: legal hold")
	several := w.says(t, riley, "tag ws-042,ws-043 +seen")
	mustSay(t, "two machines", several, "Tags of 2 machines changed")
	if len(several.Table.Rows) != 2 || several.Table.Rows[0][1] != "legal hold, seen" || !strings.Contains(several.Table.Rows[1][1], "seen") {
		t.Errorf("the table says %v", several.Table.Rows)
	}
	mustSay(t, "one of two is not known", w.says(t, riley, "tag ws-042 ws-999 -seen"), "Defender knows no machine ws-999")
	mustSay(t, "nothing was changed then", w.says(t, riley, "tag ws-042 -seen"), "Now: legal hold", "Before: legal hold, seen")
	mustSay(t, "too many", w.says(t, riley, "tag ws-042,ws-043 +1 +2 +3 +4 +5 +6 +7 +8 +9 +10 +11 +12 +13"), "That is 26 changes; one command makes 25 at most.")
	mustSay(t, "a name of several", w.says(t, riley, "tag twin +reimaged"), "twin matches 2 machines")
	mustSay(t, "by a viewer", w.says(t, viewer, "tag ws-042 +reimaged"), "needs the role responder")
	w.recordErr = errors.New("disk full")
	mustSay(t, "without a record", w.says(t, riley, "tag ws-042 +secret"), "Something went wrong")
	if got := w.estate.machines[0].Tags; strings.Join(got, ",") != "legal hold" {
		t.Errorf("tags are %v", got)
	}
}

func TestMachine_ownerFromTheDirectory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.estate.machines[0].EntraDeviceID = "44444444-4444-4444-4444-444444444444"
	if m := w.says(t, viewer, "machine ws-042"); strings.Contains(textOf(m), "Owner") {
		t.Errorf("an owner is shown without the permission: %s", textOf(m))
	}
	w.estate.granted = defender.PermissionsOf([]string{"Machine.Read.All"}, []string{"Device.Read.All"})
	mustSay(t, "with the permission", w.says(t, viewer, "machine ws-042"), "Owner: Sam")
	w.estate.faults["owners"] = defender.ErrUnavailable
	mustSay(t, "in an outage", w.says(t, viewer, "machine ws-042"), "Owner: could not be read")
	if m := w.says(t, viewer, "machine ws-042"); len(m.Buttons) > 0 && m.Buttons[0].Action == cards.ActionRequestIsolation {
		t.Error("isolation is offered without the permission")
	}
}
