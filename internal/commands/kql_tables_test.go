package commands

import (
	"slices"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/policy"
)

func TestTablesOf_resolvesEveryTable(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		`DeviceInfo`: "DeviceInfo",
		`DeviceNetworkEvents | where RemoteIP == "203.0.113.9" and Timestamp > ago(7d) | take 20`:                                                                    "DeviceNetworkEvents",
		`DeviceProcessEvents | where FileName in~ ("powershell.exe", "pwsh.exe") | summarize n=count() by DeviceId, bin(Timestamp, 1h) | order by n desc nulls last`: "DeviceProcessEvents",
		`DeviceInfo | summarize arg_max(Timestamp, *) by DeviceId | project-away ReportId | project-rename Name = DeviceName`:                                        "DeviceInfo",
		`let since = 7d; let names = dynamic(["a", "b"]); DeviceFileEvents | where Timestamp > ago(since) and FileName has_any (names)`:                              "DeviceFileEvents",
		`DeviceLogonEvents | join kind=inner hint.strategy=shuffle (DeviceInfo | where OSPlatform == "Windows11") on DeviceId`:                                       "DeviceLogonEvents DeviceInfo",
		`DeviceLogonEvents | join DeviceInfo on $left.DeviceId == $right.DeviceId`:                                                                                   "DeviceLogonEvents DeviceInfo",
		`union withsource=Source kind=outer DeviceFileEvents, (DeviceProcessEvents | take 5), DeviceEvents | count`:                                                  "DeviceFileEvents DeviceProcessEvents DeviceEvents",
		`DeviceEvents | union DeviceFileEvents, EmailEvents | where isnotempty(SHA1)`:                                                                                "DeviceEvents DeviceFileEvents EmailEvents",
		`let bad = DeviceNetworkEvents | where RemotePort == 4444 | distinct DeviceId; DeviceInfo | where DeviceId in (bad)`:                                         "DeviceNetworkEvents DeviceInfo",
		`DeviceInfo | where DeviceId !in ((DeviceEvents | project DeviceId))`:                                                                                        "DeviceInfo DeviceEvents",
		`DeviceInfo | where DeviceId in (EmailEvents | project RecipientEmailAddress)`:                                                                               "DeviceInfo EmailEvents",
		`let last = toscalar(AlertInfo | summarize max(Timestamp)); DeviceInfo | where Timestamp > last`:                                                             "AlertInfo DeviceInfo",
		`let f = (ip: string, n: int) { DeviceNetworkEvents | where RemoteIP == ip | take n }; f("203.0.113.9", 5)`:                                                  "DeviceNetworkEvents",
		`let m = materialize(DeviceInfo | take 5); m | join (m) on DeviceId`:                                                                                         "DeviceInfo",
		`["DeviceInfo"] | take 5`: "DeviceInfo",
		`DeviceProcessEvents | invoke FileProfile(SHA1, 1000) | where GlobalPrevalence < 100`:                                                                      "DeviceProcessEvents",
		`DeviceProcessEvents | extend a = parse_json(AdditionalFields) | mv-expand x = a.list to typeof(string) | extend y = iff(isempty(x), "none", tostring(x))`: "DeviceProcessEvents",
		`DeviceNetworkEvents | parse RemoteUrl with * "://" host "/" * | make-series n = count() on Timestamp from ago(1d) to now() step 1h by host`:               "DeviceNetworkEvents",
		`DeviceEvents // EmailEvents
| where ActionType == "search" and AdditionalFields has "EmailEvents"`: "DeviceEvents",
		`print x = now(), y = 5`:                        "",
		`range x from 1 to 10 step 1 | take 5`:          "",
		`datatable(a:string)["x", "y"] | take 1`:        "",
		`Custom_CL | take 5`:                            "Custom_CL",
		`DeviceInfo | project EmailEvents`:              "DeviceInfo EmailEvents",
		`(DeviceInfo | take 5)`:                         "DeviceInfo",
		`let Secret_CL = Secret_CL | take 5; Secret_CL`: "Secret_CL",
		`let f = (Secret_CL: string) { DeviceInfo | where DeviceName == Secret_CL }; Secret_CL | take 5`: "DeviceInfo Secret_CL",
	} {
		got, err := tablesOf(kqlWords(query))
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("tablesOf(%s) = %q, %v; want %s", query, got, err, want)
		}
	}
}

func TestTablesOf_refusesWhatItCannotResolve(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{
		"a saved function":                         `MyFunction() | take 5`,
		"a saved function in small letters":        `my_function() | take 5`,
		"a saved function of an argument":          `DeviceInfo | extend x = readAll(DeviceId)`,
		"a saved function that is invoked":         `DeviceInfo | invoke MyFunction()`,
		"a table by a computed name":               `table(strcat("Email", "Events")) | take 5`,
		"a table by name":                          `table("EmailEvents")`,
		"a plugin":                                 `DeviceInfo | evaluate bag_unpack(x)`,
		"an operator with subqueries of its own":   `DeviceInfo | fork (take 5) (count)`,
		"partition":                                `DeviceInfo | partition by DeviceId (take 5)`,
		"mv-apply":                                 `DeviceInfo | mv-apply x = y on (take 1)`,
		"search as an operator":                    `DeviceInfo | search "x"`,
		"all tables":                               `union *`,
		"tables by their beginning":                `union Email*`,
		"tables by their beginning, as an operand": `DeviceInfo | union Device*`,
		"several statements":                       `DeviceInfo; EmailEvents`,
		"several statements after let":             `let x = 5; DeviceInfo | take 5; EmailEvents | take 5`,
		"a statement that declares":                `declare query_parameters(x:string); DeviceInfo`,
		"an alias of a database":                   `alias database d = cluster("x").database("y"); DeviceInfo`,
		"a set statement":                          `set query_take_max_records=5; DeviceInfo`,
		"a let that shadows a table":               `let EmailEvents = DeviceInfo; EmailEvents`,
		"a let that shadows a table in other case": `let emailevents = 5; DeviceInfo`,
		"a parameter that shadows a table":         `let f = (EmailEvents: string) { DeviceInfo }; EmailEvents`,
		"a let that shadows a function":            `let count = 5; DeviceInfo`,
		"a query where none is expected":           `DeviceInfo | extend x = strcat(Secret_CL | project a)`,
		"a bracket too few":                        `DeviceInfo | where (a == 1`,
		"a bracket too many":                       `DeviceInfo) | take 5`,
	} {
		if got, err := tablesOf(kqlWords(query)); err == nil {
			t.Errorf("%s: tablesOf(%s) = %q, want a refusal", name, query, got)
		}
	}
}

// A catalogued table that is named outside strings and comments is in the list,
// wherever it stands, or the query is refused.
func FuzzTablesOf(f *testing.F) {
	for _, s := range []string{"DeviceInfo | take 5", "let x = EmailEvents; x", "union (T), [\"EmailEvents\"]", "a in (EmailEvents)", "let f = (a:string) { T }; f('x')", "] ) }", "let a = a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		words := kqlWords(s)
		got, err := tablesOf(words)
		if err != nil {
			return
		}
		for _, w := range words {
			if table := policy.KnownTable(w.text); table != "" && w.text == table && !slices.Contains(got, table) {
				t.Errorf("tablesOf(%q) = %q, without %s", s, got, table)
			}
		}
	})
}

const huntGrant = `
groups:
  mail: [22222222-2222-2222-2222-222222222201]
hunting:
  - for: [mail]
    tables: [email, Custom_CL]
`

func TestHunt_tablesByGrant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mustSay(t, "a device table", w.says(t, riley, "hunt DeviceInfo | take 1"), "Hunt")
	for query, table := range map[string]string{
		"EmailEvents | take 1":                                "EmailEvents",
		"DeviceInfo | join (IdentityLogonEvents) on DeviceId": "IdentityLogonEvents",
		"Custom_CL | take 1":                                  "Custom_CL",
		"deviceinfo | take 1":                                 "deviceinfo",
	} {
		mustSay(t, query, w.says(t, riley, "hunt "+query), "You may not read the table "+table)
	}
	if n := len(w.estate.queries); n != 1 {
		t.Errorf("%d queries reached Defender, want the first: %q", n, w.estate.queries)
	}
	if kinds := w.kinds(); strings.Count(kinds, "hunt.refused") != 4 {
		t.Errorf("recorded %s, want four refused hunts", kinds)
	}
	for _, e := range w.recorded {
		if e.Kind == "hunt.run" && !strings.Contains(string(e.Detail), `"tables":"DeviceInfo"`) {
			t.Errorf("the record of a hunt says %s, want its tables", e.Detail)
		}
	}

	granted, err := policy.Parse("mdebot.yaml", []byte(testPolicy+huntGrant), policy.Options{HomeTenant: home})
	if err != nil {
		t.Fatal(err)
	}
	w.Policy.Set(granted)
	mustSay(t, "a granted family", w.says(t, riley, "hunt EmailEvents | take 1"), "Hunt")
	mustSay(t, "a granted table", w.says(t, riley, "hunt Custom_CL | take 1"), "Hunt")
	mustSay(t, "a family that is not", w.says(t, riley, "hunt CloudAppEvents | take 1"), "You may not read the table CloudAppEvents")
	mustSay(t, "somebody who hunts not", w.says(t, viewer, "hunt DeviceInfo | take 1"), "hunt needs the role hunter")
}
