package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/tenant"
)

const (
	hunterID = "8a1f0000-0000-4000-8000-000000000001"
	viewerID = "8a1f0000-0000-4000-8000-000000000002"

	scheduleFile = `
people:
  - { person: ` + hunterID + `, name: Riley Chen, roles: [responder, hunter] }
  - { person: ` + viewerID + `, name: Vic Lane, roles: [viewer] }
schedules:
  - %s
`
)

// scheduled is a schedule that works, with the given keys in place of its own.
func scheduled(keys map[string]string) string {
	all := map[string]string{"name": "new-roots", "hunt": "contacted-address", "with": "{ip: 203.0.113.9}", "every": "1h", "owner": hunterID, "to": "['slack:C0SOC']"}
	for k, v := range keys {
		all[k] = v
	}
	var b strings.Builder
	for k, v := range all {
		if v != "" {
			fmt.Fprintf(&b, "%s: %s, ", k, v)
		}
	}
	return "{" + strings.TrimSuffix(b.String(), ", ") + "}"
}

func TestSchedules_areRead(t *testing.T) {
	t.Parallel()
	text := fmt.Sprintf(scheduleFile, scheduled(map[string]string{"key": "[DeviceName]", "span": "2h"}))
	p, err := Parse("mdebot.yaml", []byte(text), Options{HomeTenant: testTenant})
	if err != nil {
		t.Fatal(err)
	}
	all := p.ScheduledHunts()
	if len(all) != 1 || all[0].Hunt.KQL == "" || all[0].Span != 2*time.Hour || all[0].When.Every != time.Hour || all[0].With["ip"] != "203.0.113.9" || all[0].Owner.Object != hunterID {
		t.Errorf("ScheduledHunts() = %+v", all)
	}
	other, err := Parse("mdebot.yaml", []byte(fmt.Sprintf(scheduleFile, scheduled(map[string]string{"every": "2h"}))), Options{HomeTenant: testTenant})
	if err != nil || other.Hash() == p.Hash() {
		t.Errorf("another rhythm, and the hash stays: %v", err)
	}
}

func TestSchedules_faults(t *testing.T) {
	t.Parallel()
	check := func(_, value string) string {
		if value == "nowhere" {
			return "is no IP address"
		}
		return ""
	}
	for name, c := range map[string]struct {
		keys map[string]string
		want string
	}{
		"a hunt that is not there":     {map[string]string{"hunt": "logon"}, `there is no saved hunt "logon"; write one under hunts`},
		"a parameter is missing":       {map[string]string{"with": ""}, "the hunt contacted-address needs ip: add it under with, an IP address"},
		"a parameter it does not take": {map[string]string{"with": "{ip: 203.0.113.9, host: x}"}, `takes no "host"`},
		"a value of another type":      {map[string]string{"with": "{ip: nowhere}"}, `the value of ip is no IP address: "nowhere"; write an IP address`},
		"no destination":               {map[string]string{"to": "[]"}, `"to" is missing or empty`},
		"a destination by its name":    {map[string]string{"to": "['slack:#soc']"}, "names do not work"},
		"too often":                    {map[string]string{"every": "5m"}, "write a time from 15m to 30d"},
		"both rhythms":                 {map[string]string{"at": `"07:30"`}, "write either every"},
		"no rhythm":                    {map[string]string{"every": ""}, "write either every"},
		"no time of day":               {map[string]string{"every": "", "at": `"7:30"`}, "is no time of day"},
		"no time zone":                 {map[string]string{"every": "", "at": `"07:30"`, "zone": "Berlin"}, "is no time zone"},
		"the machine's time zone":      {map[string]string{"every": "", "at": `"07:30"`, "zone": "Local"}, "is no time zone"},
		"a zone without a time of day": {map[string]string{"zone": "UTC"}, "zone belongs to at"},
		"no owner":                     {map[string]string{"owner": ""}, `"owner" is missing`},
		"an owner who is not listed":   {map[string]string{"owner": "8a1f0000-0000-4000-8000-000000000009"}, "is not under people"},
		"an owner without the role":    {map[string]string{"owner": viewerID}, "Vic Lane lacks the role"},
		"a key that is no column":      {map[string]string{"key": "['a | b']"}, "is no name of a column"},
		"an empty key":                 {map[string]string{"key": "[]"}, "name from 1 to 10 columns"},
		"a name with a blank":          {map[string]string{"name": "a b"}, "lower-case letters"},
		"tenants where there is one":   {map[string]string{"tenants": "[contoso]"}, "there is one tenant"},
	} {
		_, err := Parse("mdebot.yaml", []byte(fmt.Sprintf(scheduleFile, scheduled(c.keys))), Options{HomeTenant: testTenant, ParamProblem: check})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "mdebot.yaml:6:") {
			t.Errorf("%s: Parse() = %v, want %q with its line", name, err, c.want)
		}
	}
}

func TestSchedules_leaveTheQuotaToPeople(t *testing.T) {
	t.Parallel()
	file := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, scheduled(map[string]string{"name": fmt.Sprintf("s%d", i), "every": "15m"}))
		}
		return fmt.Sprintf(scheduleFile, strings.Join(all, "\n  - "))
	}
	if _, err := Parse("mdebot.yaml", []byte(file(10)), Options{HomeTenant: testTenant}); err != nil {
		t.Errorf("40 hunts an hour: %v", err)
	}
	_, err := Parse("mdebot.yaml", []byte(file(12)), Options{HomeTenant: testTenant})
	if err == nil || strings.Count(err.Error(), "more than 40 hunts an hour") != 1 || !strings.Contains(err.Error(), ":16: schedule s10:") {
		t.Errorf("48 hunts an hour: %v, want the line of the first one too many", err)
	}
}

func TestSchedules_areAboutTheirTenants(t *testing.T) {
	t.Parallel()
	const tenants = `
groups: { soc: [` + hunterID + `] }
tenants:
  - { id: 6f0d2c51-7a3e-4b7c-9d14-0c5a3be1f001, name: contoso, people: [soc] }
  - { id: 6f0d2c51-7a3e-4b7c-9d14-0c5a3be1f002, name: fabrikam, people: [soc], channels: ['slack:C0FAB'] }
  - { id: 6f0d2c51-7a3e-4b7c-9d14-0c5a3be1f003, name: adatum, people: [] }
`
	parse := func(keys map[string]string) (*Policy, error) {
		return Parse("mdebot.yaml", []byte(fmt.Sprintf(scheduleFile, scheduled(keys))+tenants), Options{HomeTenant: testTenant})
	}
	p, err := parse(map[string]string{"tenants": "[fabrikam]", "to": "['slack:C0FAB']"})
	if err != nil {
		t.Fatal(err)
	}
	if n, m := len(p.For("6f0d2c51-7a3e-4b7c-9d14-0c5a3be1f002").ScheduledHunts()), len(p.For("6f0d2c51-7a3e-4b7c-9d14-0c5a3be1f001").ScheduledHunts()); n != 1 || m != 0 {
		t.Errorf("%d schedules in fabrikam and %d in contoso, want 1 and 0", n, m)
	}
	for want, keys := range map[string]map[string]string{
		"name those it runs in under tenants":                    {},
		`there is no tenant "northwind"`:                         {"tenants": "[northwind]"},
		"in no group that may work on the tenant adatum":         {"tenants": "[adatum]"},
		"slack:C0FAB is a place of the tenant fabrikam, and may": {"tenants": "[contoso]", "to": "['slack:C0FAB']"},
	} {
		if _, err := parse(keys); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%v) = %v, want %q", keys, err, want)
		}
	}
}

func TestSchedules_whoReadsAlong(t *testing.T) {
	t.Parallel()
	p, err := Parse("mdebot.yaml", []byte(fmt.Sprintf(scheduleFile, scheduled(map[string]string{"allow_guests": "true"}))), Options{HomeTenant: testTenant})
	if err != nil {
		t.Fatal(err)
	}
	if !p.HuntReaders("new-roots", "slack:C0SOC") || p.HuntReaders("new-roots", "slack:C0OTHER") || p.HuntReaders("another", "slack:C0SOC") || p.NoticeReaders("slack:C0SOC") {
		t.Error("allow_guests of a schedule opens its places for what it finds, and for nothing else")
	}
}

// Over two years every zone has each time of day once a day, also where clocks are
// set, and nothing comes closer than 22 hours or later than 26.
func TestRhythm_oncePerDayWhateverTheClocksDo(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/New_York", "Africa/Cairo", "Australia/Lord_Howe", "Asia/Kathmandu"} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range [][2]int{{0, 0}, {0, 30}, {1, 45}, {2, 30}, {7, 30}, {23, 59}} {
			r := Rhythm{At: "x", Zone: zone, hour: at[0], minute: at[1], zone: loc}
			begin := time.Date(2026, 1, 1, 12, 0, 0, 0, loc)
			last := r.Next(begin)
			for days := 1; days < 730; days++ {
				next := r.Next(last)
				if gap := next.Sub(last); gap < 22*time.Hour || gap > 26*time.Hour {
					t.Fatalf("%s %v: %s comes %s after %s", zone, at, next, gap, last)
				}
				if again := r.Next(next.Add(-time.Microsecond)); !again.Equal(next) {
					t.Fatalf("%s %v: Next(just before %s) = %s", zone, at, next, again)
				}
				if before := r.Last(next.Add(time.Hour)); !before.Equal(next) {
					t.Fatalf("%s %v: Last(an hour after %s) = %s", zone, at, next, before)
				}
				last = next
			}
			if want := begin.AddDate(0, 0, 730); last.Before(want.Add(-25*time.Hour)) || last.After(want.Add(25*time.Hour)) {
				t.Errorf("%s %v: 730 days end at %s, want about %s", zone, at, last, want)
			}
		}
	}
}

func TestRhythm_timeOfDayOfItsZone(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	r := Rhythm{At: "07:30", Zone: "Europe/Berlin", hour: 7, minute: 30, zone: berlin}
	for after, want := range map[string]string{
		"2026-03-28T07:00:00Z": "2026-03-29T05:30:00Z", // summer time has begun
		"2026-10-24T12:00:00Z": "2026-10-25T06:30:00Z", // and is over
		"2026-10-25T06:30:00Z": "2026-10-26T06:30:00Z",
		"2026-10-25T06:29:59Z": "2026-10-25T06:30:00Z",
	} {
		at, err := time.Parse(time.RFC3339, after)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Next(at).Format(time.RFC3339); got != want {
			t.Errorf("Next(%s) = %s, want %s", after, got, want)
		}
	}
	hourly := Rhythm{Every: 90 * time.Minute}
	at := time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)
	if got := hourly.Next(at); got.Sub(at) != 90*time.Minute || hourly.String() != "every 1h30m" || !hourly.First(at).Equal(at) {
		t.Errorf("every 90m: Next = %s, String = %s", got, hourly)
	}
}

func TestDigests(t *testing.T) {
	t.Parallel()
	parse := func(digests string) (*Policy, error) {
		return Parse("mdebot.yaml", []byte("notify:\n  routes: [{ name: all, to: ['slack:C0SOC'] }]\n  digests:\n"+digests), Options{})
	}
	p, err := parse("    - { to: ['slack:C0SOC'], at: \"08:00\" }\n    - { to: ['slack:C0LEAD'], at: \"17:30\", zone: Europe/Berlin, when_quiet: true }\n")
	if err != nil {
		t.Fatal(err)
	}
	all := p.Digests()
	if len(all) != 2 || all[0].When.String() != "daily at 08:00 UTC" || all[1].When.String() != "daily at 17:30 Europe/Berlin" || !all[1].WhenQuiet {
		t.Errorf("Digests() = %+v", all)
	}
	if w := strings.Join(p.Warnings(), "\n"); !strings.Contains(w, ":5: digest: no route and no post_to names slack:C0LEAD") || strings.Contains(w, "names slack:C0SOC") {
		t.Errorf("Warnings() = %s, want the place that nothing is posted to", w)
	}
	for entry, want := range map[string]string{
		`{ to: ['slack:C0SOC'] }`:                               `"at" is missing`,
		`{ at: "08:00" }`:                                       `"to" is missing`,
		`{ to: ['slack:C0SOC'], at: "24:00" }`:                  "is no time of day",
		`{ to: ['slack:C0SOC'], at: "08:00", zone: Mars/Base }`: "is no time zone",
		`{ to: ['slack:C0SOC'], at: "08:00", every: 1h }`:       "unknown key",
	} {
		if _, err := parse("    - " + entry + "\n"); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "mdebot.yaml:4:") {
			t.Errorf("%s: Parse() = %v, want %q with its line", entry, err, want)
		}
	}
	if _, err := parse("    - { to: ['slack:C0SOC'], at: \"08:00\" }\n    - { to: ['slack:C0SOC'], at: \"09:00\" }\n"); err == nil || !strings.Contains(err.Error(), "has one already, on line 4") {
		t.Errorf("two digests in one place: %v", err)
	}
}

func TestDigests_areAboutTheTenantsOfTheirPlace(t *testing.T) {
	t.Parallel()
	p, err := Parse("mdebot.yaml", []byte(`
people: [{ person: `+hunterID+`, name: Riley Chen, roles: [responder] }]
groups: { soc: [`+hunterID+`] }
notify:
  digests: [{ to: ['slack:C0FAB'], at: "08:00" }]
tenants:
  - { id: 6f0d2c51-7a3e-4b7c-9d14-0c5a3be1f001, name: contoso, people: [soc] }
  - { id: 6f0d2c51-7a3e-4b7c-9d14-0c5a3be1f002, name: fabrikam, people: [soc], channels: ['slack:C0FAB'] }
`), Options{HomeTenant: testTenant})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]int{"6f0d2c51-7a3e-4b7c-9d14-0c5a3be1f001": 0, "6f0d2c51-7a3e-4b7c-9d14-0c5a3be1f002": 1} {
		if n := len(p.For(tenant.ID(id)).Digests()); n != want {
			t.Errorf("%d digests of %s, want %d", n, id, want)
		}
	}
}
