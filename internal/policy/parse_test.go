package policy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mdebot/mdebot/internal/identity"
)

const entraGroup = "5c2e7d90-41fb-4a8c-96e3-0d8b5f7a1e65"

func TestParse_refusesWithTheLine(t *testing.T) {
	t.Parallel()
	// rule puts a condition on line 4 of a file whose people are elsewhere.
	rule := func(when string) string {
		return "approvals:\n  rules:\n    - name: r\n      when: " + when + "\n" + somePeople
	}
	route := func(when string) string {
		return "notify:\n  routes:\n    - name: r\n      to: [slack:C0SOC]\n      when: " + when + "\n"
	}
	tests := []struct {
		name string
		text string
		want string
	}{
		// The form of the file.
		{"broken YAML", "people: [\nreaders: []\n", "mdebot.yaml:1: not YAML: sequence end token ']' not found"},
		{"tab as indentation", "notify:\n\tops: slack:C0OPS\n", "mdebot.yaml:2: not YAML: found character '\t' that cannot start any token"},
		{"text that is not UTF-8", "readers: [\"\xff\"]\n", "mdebot.yaml: not UTF-8"},
		{"file larger than the limit", strings.Repeat("#", maxFile+1), "mdebot.yaml: larger than 1048576 bytes"},
		{"second document", "readers: []\n---\nreaders: []\n", "mdebot.yaml:3: a second document; the file is one"},
		{"list instead of sections", "- people\n", "mdebot.yaml:1: the file must be keys with values, not a list"},
		{"text instead of sections", "people\n", "mdebot.yaml:1: the file must be keys with values, not text"},
		{"alias", "readers: &r [slack:C0SOC]\napprovals:\n  post_to: *r\n", "mdebot.yaml:1: readers: anchors, aliases and tags are not read; write the value out\nmdebot.yaml:3: post_to: anchors, aliases and tags are not read; write the value out"},
		{"tag", "approvals:\n  expire_after: !!str 30m\n", "mdebot.yaml:2: expire_after: anchors, aliases and tags are not read; write the value out"},
		{"merge key", "approvals:\n  <<: {}\n", "mdebot.yaml:2: approvals: a key must be plain text"},
		{"key that is not text", "1: x\n", "mdebot.yaml:1: the file: a key must be plain text"},

		// Keys.
		{"unknown section", "approval: {}\n", "mdebot.yaml:1: the file: unknown key \"approval\"; known: all_tenants, approvals, groups, hunting, hunts, notify, people, readers, retention, schedules, scopes, tenants"},
		{"unknown key in approvals", "approvals:\n  rules: []\n  break_glass: true\n", "mdebot.yaml:3: approvals: unknown key \"break_glass\"; known: allow_guests, execute_within, expire_after, limits, mention, own, post_to, protected, rules, step_up, ticket"},
		{"unknown key in a rule", rule("'true'\n      approver: 2"), "mdebot.yaml:5: rule: unknown key \"approver\"; known: approvers, from, name, then, when"},
		{"unknown key in limits", "approvals:\n  limits:\n    per_day: 1\n", "mdebot.yaml:3: limits: unknown key \"per_day\"; known: per_person_per_hour, per_tenant_per_hour, tier0_per_day"},
		{"unknown key in a person", "people:\n  - person: " + riley + "\n    name: Riley\n    email: r@example.com\n", "mdebot.yaml:4: person: unknown key \"email\"; known: name, person, roles, slack"},
		{"unknown key in a group", "groups:\n  soc: { entra_group: " + entraGroup + ", roles: [admin] }\n", "mdebot.yaml:2: group soc: unknown key \"roles\"; known: entra_group"},
		{"unknown key in notify", "notify:\n  opps: slack:C0OPS\n", "mdebot.yaml:2: notify: unknown key \"opps\"; known: allow_guests, blind_after, digests, fallback, forgotten_after, look_back, ops, page, routes, storm"},
		{"unknown key in a route", route("'true'\n      from: [soc]"), "mdebot.yaml:6: route: unknown key \"from\"; known: allow_guests, mention, name, to, when"},
		{"unknown key in storm", "notify:\n  storm: { after: 20 }\n", "mdebot.yaml:2: storm: unknown key \"after\"; known: more_than, within"},
		{"unknown key in a protection", "approvals:\n  protected:\n    - name: x\n      when: 'true'\n", "mdebot.yaml:3: protected: unknown key \"name\"; known: when"},
		{"key in another case", "approvals:\n  Rules: []\n", "mdebot.yaml:2: approvals: unknown key \"Rules\"; known: allow_guests, execute_within, expire_after, limits, mention, own, post_to, protected, rules, step_up, ticket"},
		{"section twice", "readers: []\nnotify: {}\nreaders: []\n", "mdebot.yaml:3: the file: \"readers\" is already set on line 1"},
		{"key twice in a person", "people:\n  - person: " + riley + "\n    name: Riley\n    name: Avery\n", "mdebot.yaml:4: person: \"name\" is already set on line 3"},
		{"group twice", "groups:\n  soc: []\n  soc: []\n", "mdebot.yaml:3: groups: \"soc\" is already set on line 2"},
		{"person without ID and name", "people:\n  - roles: [viewer]\n", "mdebot.yaml:2: person: \"person\" is missing\nmdebot.yaml:2: person: \"name\" is missing"},
		{"rule without a name", "approvals:\n  rules:\n    - approvers: 1\n" + somePeople, "mdebot.yaml:3: rule: \"name\" is missing"},
		{"protection without a condition", "approvals:\n  protected:\n    - {}\n", "mdebot.yaml:3: protected: \"when\" is missing"},
		{"route without name and destination", "notify:\n  routes:\n    - when: 'true'\n", "mdebot.yaml:3: route: \"name\" is missing\nmdebot.yaml:3: route: to is empty, so its alerts would go nowhere; name a destination"},
		{"empty rule", "approvals:\n  rules:\n    -\n" + somePeople, "mdebot.yaml:3: rule: \"name\" is missing"},

		// Types and values.
		{"guests allowed by a word", "approvals:\n  allow_guests: yes please\n", "mdebot.yaml:2: allow_guests must be true or false, not text"},
		{"guests allowed by a number", "notify:\n  allow_guests: 1\n", "mdebot.yaml:2: allow_guests must be true or false, not a number"},
		{"guests allowed by one route of a place", "notify:\n  routes:\n    - { name: a, to: [\"slack:C0SOC\"], allow_guests: true }\n    - { name: b, to: [\"slack:C0FIN\", \"slack:C0SOC\"] }\n", "mdebot.yaml:4: route \"b\": another route allows guests in slack:C0SOC and this one does not; say allow_guests in both or in neither"},
		{"duration without a unit", "approvals:\n  expire_after: 30\n", "mdebot.yaml:2: expire_after must be a duration with its unit, such as 30m, not a number"},
		{"duration that is none", "approvals:\n  expire_after: half an hour\n", "mdebot.yaml:2: expire_after: \"half an hour\" is not a duration; write a number with its unit, such as 90s, 30m or 2h"},
		{"request that lives too long", "approvals:\n  expire_after: 61m\n", "mdebot.yaml:2: expire_after: 61m is not between 1s and 1h"},
		{"request that lives for no time", "approvals:\n  expire_after: 0s\n", "mdebot.yaml:2: expire_after: 0s is not between 1s and 1h"},
		{"approval that lasts too long", "approvals:\n  execute_within: 16m\n", "mdebot.yaml:2: execute_within: 16m is not between 1s and 15m"},
		{"audit kept too short", "retention:\n  audit: 30d\n", "mdebot.yaml:2: audit: 30d is not between 90d and 3650d"},
		{"hunts kept for ever", "retention:\n  hunts: 9999d\n", "mdebot.yaml:2: hunts: 9999d is not between 1d and 3650d"},
		{"retention in hours", "retention:\n  alerts: 90h\n", "mdebot.yaml:2: alerts: \"90h\" is not a number of days, such as 90d"},
		{"retention as a number", "retention:\n  alerts: 90\n", "mdebot.yaml:2: alerts must be a number of days, such as 90d, not a number"},
		{"negative look back", "notify:\n  look_back: -1m\n", "mdebot.yaml:2: look_back: -1m is not between 0s and 168h"},
		{"page that is no address", "notify:\n  page: pagerduty\n", "mdebot.yaml:2: page: write the https address that takes events, such as https://events.pagerduty.com/v2/enqueue"},
		{"page without TLS", "notify:\n  page: http://events.example.com/v2/enqueue\n", "mdebot.yaml:2: page: write the https address that takes events, such as https://events.pagerduty.com/v2/enqueue"},
		{"page with a secret in it", "notify:\n  page: https://events.example.com/enqueue?key=s3cret\n", "mdebot.yaml:2: page: write the address without password, query or fragment; the routing key comes from MDEBOT_PAGE_KEY"},
		{"page with a password", "notify:\n  page: https://u:s3cret@events.example.com/\n", "mdebot.yaml:2: page: write the address without password, query or fragment; the routing key comes from MDEBOT_PAGE_KEY"},
		{"isolations that nobody calls forgotten", "notify:\n  forgotten_after: 400d\n", "mdebot.yaml:2: forgotten_after: 400d is not between 1d and 365d"},
		{"silence that is announced too late", "notify:\n  blind_after: 2h\n", "mdebot.yaml:2: blind_after: 2h is not between 1s and 1h"},
		{"limit of zero", "approvals:\n  limits: { per_person_per_hour: 0 }\n", "mdebot.yaml:2: per_person_per_hour: 0 is not between 1 and 10000"},
		{"negative limit", "approvals:\n  limits: { tier0_per_day: -1 }\n", "mdebot.yaml:2: tier0_per_day: -1 is not between 1 and 10000"},
		{"limit as text", "approvals:\n  limits: { per_tenant_per_hour: many }\n", "mdebot.yaml:2: per_tenant_per_hour must be a whole number such as 2, not text"},
		{"fraction of an approver", rule("'true'\n      approvers: 1.5"), "mdebot.yaml:5: approvers must be a whole number such as 2, not a number"},
		{"rule that needs nobody", rule("'true'\n      approvers: 0"), "mdebot.yaml:5: approvers: 0 is not between 1 and 20"},
		{"more than a number can hold", rule("'true'\n      approvers: 99999999999999999999999"), "mdebot.yaml:5: approvers must be a whole number such as 2, not text"},
		{"storm of nothing", "notify:\n  storm: { more_than: 0, within: 0s }\n", "mdebot.yaml:2: more_than: 0 is not between 1 and 10000\nmdebot.yaml:2: within: 0s is not between 1s and 1h"},
		{"yes as text for a list", "approvals:\n  rules: yes\n", "mdebot.yaml:2: rules must be a list, not text"},
		{"mapping for a list", "people:\n  riley: " + riley + "\n", "mdebot.yaml:2: people must be a list, not keys with values"},
		{"number for a name", "people:\n  - person: " + riley + "\n    name: 7\n", "mdebot.yaml:3: person: name must be text (put it in quotes), not a number"},
		{"name with a line break", "people:\n  - person: " + riley + "\n    name: \"Riley\\nadmin\"\n", "mdebot.yaml:3: person: name \"Riley\\nadmin\" contains line breaks or characters that cannot be seen"},
		{"name that reads backwards", "people:\n  - person: " + riley + "\n    name: \"Riley\\u202e\"\n", "mdebot.yaml:3: person: name \"Riley\\u202e\" contains line breaks or characters that cannot be seen"},
		{"empty name", "people:\n  - person: " + riley + "\n    name: ''\n", "mdebot.yaml:3: person: name is empty"},
		{"very long name", "people:\n  - person: " + riley + "\n    name: " + strings.Repeat("a", 101) + "\n", "mdebot.yaml:3: person: name is longer than 100 characters"},

		// People and groups.
		{"person in upper case", "people:\n  - person: " + strings.ToUpper(riley) + "\n    name: Riley\n", "mdebot.yaml:2: person: \"8A1F0C52-6D3E-4B7A-9C41-2F5E8D7B6A10\" is no object ID; write it as Entra shows it, in lower case (8a1f0c52-….-…), with <tenant ID>/ before it for another home tenant"},
		{"person by e-mail", "people:\n  - person: riley@example.com\n    name: Riley\n", "mdebot.yaml:2: person: \"riley@example.com\" is no object ID; write it as Entra shows it, in lower case (8a1f0c52-….-…), with <tenant ID>/ before it for another home tenant"},
		{"everybody as a person", "people:\n  - person: '*'\n    name: All\n", "mdebot.yaml:2: person: \"*\" is no object ID; write it as Entra shows it, in lower case (8a1f0c52-….-…), with <tenant ID>/ before it for another home tenant"},
		{"person twice", "people:\n  - { person: " + riley + ", name: Riley }\n  - { person: " + testTenant + "/" + riley + ", name: Other }\n", "mdebot.yaml:3: 72f988bf-86f1-41af-91ab-2d7cd011db47/8a1f0c52-6d3e-4b7a-9c41-2f5e8d7b6a10 is already listed on line 2; one person has one entry, with all accounts"},
		{"Slack account twice", "people:\n  - { person: " + riley + ", name: Riley, slack: [T0SOC/U0RILEY] }\n  - { person: " + avery + ", name: Avery,\n      slack: [T0SOC/U0RILEY] }\n", "mdebot.yaml:4: Slack account T0SOC/U0RILEY is already linked on line 2; an account belongs to one person"},
		{"Slack account without its workspace", "people:\n  - { person: " + riley + ", name: Riley, slack: [U0RILEY] }\n", "mdebot.yaml:2: \"U0RILEY\" is no Slack account; write <workspace ID>/<user ID>, such as T0SOC/U0RILEY (copy it from the answer of /mde whoami)"},
		{"Slack account by handle", "people:\n  - { person: " + riley + ", name: Riley, slack: ['@riley'] }\n", "mdebot.yaml:2: \"@riley\" is no Slack account; write <workspace ID>/<user ID>, such as T0SOC/U0RILEY (copy it from the answer of /mde whoami)"},
		{"unknown role", "people:\n  - { person: " + riley + ", name: Riley, roles: [root] }\n", "mdebot.yaml:2: unknown role \"root\"; the roles are viewer, responder, hunter, approver and admin"},
		{"role in another case", "people:\n  - { person: " + riley + ", name: Riley, roles: [Admin] }\n", "mdebot.yaml:2: unknown role \"Admin\"; the roles are viewer, responder, hunter, approver and admin"},
		{"role twice", "people:\n  - { person: " + riley + ", name: Riley, roles: [viewer, viewer] }\n", "mdebot.yaml:2: role viewer is named twice"},
		{"group of somebody unknown", "groups:\n  soc:\n    - " + riley + "\n", "mdebot.yaml:3: group soc: 72f988bf-86f1-41af-91ab-2d7cd011db47/8a1f0c52-6d3e-4b7a-9c41-2f5e8d7b6a10 is not under people"},
		{"group of everybody", "groups:\n  soc: ['*']\n", "mdebot.yaml:2: group soc: \"*\" is no object ID; write it as Entra shows it, in lower case (8a1f0c52-….-…), with <tenant ID>/ before it for another home tenant"},
		{"group with a person twice", somePeople + "groups:\n  soc: [" + riley + ", " + riley + "]\n", "mdebot.yaml:9: group soc: 72f988bf-86f1-41af-91ab-2d7cd011db47/8a1f0c52-6d3e-4b7a-9c41-2f5e8d7b6a10 is named twice"},
		{"group with a name that could be a role", "groups:\n  'role:approver': []\n", "mdebot.yaml:2: group name \"role:approver\": use letters, digits, dots, dashes and underscores"},
		{"directory group by name", "groups:\n  soc: { entra_group: SOC Team }\n", "mdebot.yaml:2: entra_group: \"SOC Team\" is no object ID; write it as Entra shows it, in lower case (8a1f0c52-….-…), with <tenant ID>/ before it for another home tenant"},
		{"group as text", "groups:\n  soc: " + riley + "\n", "mdebot.yaml:2: group soc must be a list, not text"},
		{"directory group without its ID", "groups:\n  soc: {}\n", "mdebot.yaml:2: group soc: \"entra_group\" is missing"},
		{"rule from a group that is not there", rule("'true'\n      from: [soc]"), "mdebot.yaml:5: group \"soc\" is not under groups"},
		{"rule from a group twice", rule("'true'\n      from: [soc, soc]\ngroups: { soc: [" + avery + "] }"), "mdebot.yaml:5: from: group \"soc\" is named twice"},
		{"rule from an empty list", rule("'true'\n      from: []"), "mdebot.yaml:3: rule: from is empty, so nobody could approve; name a group, or leave the key out for holders of the role approver"},
		{"rule from nothing", rule("'true'\n      from:"), "mdebot.yaml:3: rule: from is empty, so nobody could approve; name a group, or leave the key out for holders of the role approver"},
		{"two rules of one name", "approvals:\n  rules:\n    - name: r\n      when: 'true'\n    - name: r\n" + somePeople, "mdebot.yaml:5: rule: another rule is also named \"r\""},
		{"fewer approvers than groups", rule("'true'\n      approvers: 1\n      from: [a, b]\ngroups: { a: [" + avery + "], b: [" + sam + "] }"), "mdebot.yaml:3: rule: 1 person cannot stand for 2 groups, because one person stands for one group; write approvers: 2 or leave the key out"},

		// Destinations.
		{"channel by name", "notify:\n  ops: slack:#soc-ops\n", "mdebot.yaml:2: ops: destination \"slack:#soc-ops\": a Slack destination is slack:C0123456789, with the channel ID from the channel's details; names do not work"},
		{"channel without a platform", "notify:\n  ops: C0OPS\n", "mdebot.yaml:2: ops: destination \"C0OPS\": write slack:C… or teams:19:…@thread.tacv2"},
		{"channel of another platform", "notify:\n  ops: discord:123\n", "mdebot.yaml:2: ops: destination \"discord:123\": write slack:C… or teams:19:…@thread.tacv2"},
		{"Slack user as a channel", "notify:\n  ops: slack:U0RILEY\n", "mdebot.yaml:2: ops: destination \"slack:U0RILEY\": a Slack destination is slack:C0123456789, with the channel ID from the channel's details; names do not work"},
		{"Teams channel by name", "notify:\n  fallback: teams:General\n", "mdebot.yaml:2: fallback: destination \"teams:General\": a Teams destination is teams:19:…@thread.tacv2, copied from the channel's link"},
		{"Teams channel with a space", "notify:\n  fallback: 'teams:19:a b@thread.tacv2'\n", "mdebot.yaml:2: fallback: destination \"teams:19:a b@thread.tacv2\": a Teams destination is teams:19:…@thread.tacv2, copied from the channel's link"},
		{"direct chat without a workspace", "approvals:\n  post_to: ['slack:@U0RILEY']\n", "mdebot.yaml:2: post_to: destination \"slack:@U0RILEY\": a Slack direct chat is slack:@T0SOC/U0RILEY"},
		{"direct chat among readers", "readers: ['slack:@T0SOC/U0RILEY']\n", "mdebot.yaml:1: readers: slack:@T0SOC/U0RILEY is a direct chat; name a channel"},
		{"destination twice", "approvals:\n  post_to: [slack:C0A, slack:C0A]\n", "mdebot.yaml:2: post_to: slack:C0A is named twice"},
		{"mention by name", "approvals:\n  mention: ['@leads']\n", "mdebot.yaml:2: mention: \"@leads\": write slack:S… for a user group, slack:U… for a person, or teams:<object ID> for a person"},
		{"mention of a channel", "approvals:\n  mention: [slack:C0SOC]\n", "mdebot.yaml:2: mention: \"slack:C0SOC\": write slack:S… for a user group, slack:U… for a person, or teams:<object ID> for a person"},
		{"mention twice", "approvals:\n  mention: [slack:S0A, slack:S0A]\n", "mdebot.yaml:2: mention: slack:S0A is named twice"},
		{"mention of a Teams person by name", "approvals:\n  mention: ['teams:Riley']\n", "mdebot.yaml:2: mention: \"teams:Riley\": write slack:S… for a user group, slack:U… for a person, or teams:<object ID> for a person"},
		{"route to nowhere", "notify:\n  routes:\n    - { name: r, to: [] }\n", "mdebot.yaml:3: route: to is empty, so its alerts would go nowhere; name a destination"},
		{"destination without quotes inside braces", "notify:\n  routes:\n    - { name: r, to: [slack:C0A] }\n", "mdebot.yaml:3: to must be text (put it in quotes), not keys with values"},
		{"two routes of one name", "notify:\n  routes:\n    - name: r\n      to: [slack:C0A]\n    - name: r\n      to: [slack:C0B]\n", "mdebot.yaml:5: route: another route is also named \"r\""},

		// Conditions.
		{"condition that does not parse", rule("'machine.os =='"), "mdebot.yaml:4: when: Syntax error: mismatched input '<EOF>' (character 14 of the condition)"},
		{"condition over several lines", rule("|\n        machine.os == \"Ubuntu\" ||\n        machine.kernel == \"6\""), "mdebot.yaml:4: when: undefined field 'kernel' (line 2, character 8 of the condition)"},
		{"unknown fact", rule(`machine.tier == "0"`), "mdebot.yaml:4: when: undefined field 'tier' (character 8 of the condition)"},
		{"unknown subject", rule(`host.os == "Ubuntu"`), "mdebot.yaml:4: when: undeclared reference to 'host' (character 1 of the condition)"},
		{"alert in an approval rule", rule(`alert.severity == "High"`), "mdebot.yaml:4: when: undeclared reference to 'alert' (character 1 of the condition)"},
		{"action in a route", route(`action.kind == "isolate"`), "mdebot.yaml:5: when: undeclared reference to 'action' (character 1 of the condition)"},
		{"unknown function", rule(`machine.os.looksLike("x")`), "mdebot.yaml:4: when: undeclared reference to 'looksLike' (character 21 of the condition)"},
		{"text against a number", route(`alert.severity > 3`), "mdebot.yaml:5: when: found no matching overload for '_>_' applied to '(string, int)' (character 16 of the condition)"},
		{"condition that is text", rule(`machine.os`), "mdebot.yaml:4: when: is string, but a condition must be true or false"},
		{"condition that is a number", rule(`'1 + 1'`), "mdebot.yaml:4: when: is int, but a condition must be true or false"},
		{"condition that is a YAML truth value", rule(`true`), "mdebot.yaml:4: when must be text (put it in quotes), not true or false"},
		{"empty condition", rule(`''`), "mdebot.yaml:4: when is empty; leave the key out to match everything"},
		{"condition without a value", rule(``), "mdebot.yaml:4: when must be text (put it in quotes), not nothing"},
		{"broken regular expression", rule(`machine.os.matches("(")`), "mdebot.yaml:4: when: error parsing regexp: missing closing ): `(`"},
		{"condition nested beyond reason", rule("'" + strings.Repeat("!(", 60) + "true" + strings.Repeat(")", 60) + "'"), "mdebot.yaml:4: when: expression recursion limit exceeded: 32 (character 0 of the condition)"},
		{"condition of many pages", rule("'" + strings.Repeat(`machine.os == "Ubuntu" || `, 400) + "true'"), "mdebot.yaml:4: when: expression code point size exceeds limit: size: 10404, limit 4096 (character 0 of the condition)"},
		{"severity in another case", route(`alert.severity == "high"`), "mdebot.yaml:5: when: alert.severity is never \"high\"; write \"High\""},
		{"severity in another case in a list", route(`alert.severity in ["High", "medium"]`), "mdebot.yaml:5: when: alert.severity is never \"medium\"; write \"Medium\""},
		{"machine name in upper case", rule(`machine.name.startsWith("DC-")`), "mdebot.yaml:4: when: machine.name is lower case here; write \"dc-\" instead of \"DC-\""},

		// Rules that nobody could satisfy.
		{"rule with nobody to ask", "approvals:\n  rules:\n    - name: r\npeople:\n  - { person: " + sam + ", name: Sam, roles: [approver] }\n", "mdebot.yaml:3: rule \"r\" cannot be satisfied: nobody has the role responder, so nobody could ask"},
		{"rule for the only approver's own requests", "approvals:\n  rules:\n    - name: r\npeople:\n  - { person: " + avery + ", name: Avery, roles: [responder, approver] }\n", "mdebot.yaml:3: rule \"r\" cannot be satisfied: it needs 1 person besides the requester, with the role approver; the file has nobody who could vote"},
		{"rule from a group of nobody", rule("'true'\n      from: [soc]\ngroups: { soc: [] }"), "mdebot.yaml:3: rule \"r\" cannot be satisfied: it needs 1 person besides the requester, from soc; the file has nobody who could vote"},
		{"rule that needs more people than there are", rule("'true'\n      approvers: 5"), "mdebot.yaml:3: rule \"r\" cannot be satisfied: it needs 5 people besides the requester, with the role approver; the file has 4 people who could vote"},
		{"two groups with one and the same person", rule("'true'\n      from: [a, b]\ngroups: { a: [" + sam + "], b: [" + sam + "] }"), "mdebot.yaml:3: rule \"r\" cannot be satisfied: it needs 2 people besides the requester, one of them for each of a, b; the file has 1 person who could vote, which leaves nobody for b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("mdebot.yaml", []byte(tt.text), Options{HomeTenant: testTenant})
			var refused *FileError
			if !errors.As(err, &refused) {
				t.Fatalf("Parse() = %v, want a *FileError", err)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("Parse() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParse_reportsEveryFaultAtOnceInTheOrderOfLines(t *testing.T) {
	t.Parallel()
	const text = `notify:
  ops: C0OPS
  routes:
    - name: high
      when: alert.severity == "high"
      to: [slack:C0SOC]
people:
  - person: riley
    name: Riley
    roles: [root]
approvals:
  expire_after: 2h
  rules:
    - name: servers
      when: machine.kernel == "6" || host.os == "x"
      from: [soc]
`
	_, err := Parse("mdebot.yaml", []byte(text), Options{HomeTenant: testTenant})
	var refused *FileError
	if !errors.As(err, &refused) {
		t.Fatalf("Parse() = %v, want a *FileError", err)
	}
	var lines []int
	for _, f := range refused.Faults {
		lines = append(lines, f.Line)
	}
	if want := []int{2, 5, 8, 10, 12, 15, 15, 16}; !cmp.Equal(lines, want) {
		t.Errorf("Parse() found faults on lines %v, want %v:\n%v", lines, want, err)
	}
}

func TestParse_objectIDsWithoutAHomeTenant(t *testing.T) {
	t.Parallel()
	bare := "people:\n  - { person: " + riley + ", name: Riley }\n"
	full := "people:\n  - { person: " + testTenant + "/" + riley + ", name: Riley }\n"
	if _, err := Parse("mdebot.yaml", []byte(full), Options{}); err != nil {
		t.Errorf("Parse(with tenant) = %v, want success", err)
	}
	_, err := Parse("mdebot.yaml", []byte(bare), Options{})
	if err == nil || !strings.HasPrefix(err.Error(), "mdebot.yaml:2: person: "+riley+" has no tenant") {
		t.Errorf("Parse(without tenant) = %v, want a fault on line 2", err)
	}
	if _, err := Parse("mdebot.yaml", []byte(full), Options{HomeTenant: "contoso.onmicrosoft.com"}); err != nil {
		t.Errorf("Parse(with tenant) = %v, want success whatever the home tenant", err)
	}
	_, err = Parse("mdebot.yaml", []byte(bare), Options{HomeTenant: "contoso.onmicrosoft.com"})
	if err == nil || !strings.HasPrefix(err.Error(), "mdebot.yaml:2: person: "+riley+` would belong to the tenant "contoso.onmicrosoft.com"`) {
		t.Errorf("Parse(home tenant by name) = %v, want a fault about the home tenant", err)
	}
}

func TestParse_readsWhatIsWritten(t *testing.T) {
	t.Parallel()
	p := mustParse(t, `
approvals:
  post_to: [slack:C0APPROVE, "teams:19:abc@thread.tacv2", "slack:@T0SOC/U0RILEY", "teams:@`+testTenant+"/"+avery+`"]
  mention: [slack:S0LEADS, slack:U0RILEY, "teams:`+avery+`"]
  expire_after: 60m
  execute_within: 15m
  limits: { per_person_per_hour: 1, tier0_per_day: 2 }
  rules:
    - name: servers
      when: >-
        machine.os.startsWith("WindowsServer") &&
        action.scope == "full"
      from: [soc, leads]
readers: [slack:C0SOC, slack:G0OLD]
groups:
  soc: [`+sam+`]
  leads: [`+testTenant+"/"+kim+`]
  nobody: []
  none:
  directory: { entra_group: `+entraGroup+` }
notify:
  ops: slack:C0OPS
  fallback: "teams:19:ops@thread.tacv2"
  look_back: 0s
  blind_after: 90s
  storm: { more_than: 5 }
  routes:
    - name: all
      to: [slack:C0SOC]
      mention: [slack:S0ONCALL]
`+somePeople)

	type settings struct {
		PostTo, Mention, Readers      []string
		ExpireAfter, ExecuteWithin    time.Duration
		Limits                        Limits
		Ops, Fallback                 string
		LookBack, BlindAfter          time.Duration
		Storm                         Storm
		Groups                        []Group
		RuleApprovers, RuleLine       int
		RuleFrom, RouteTo, RouteAlert []string
	}
	id := func(object string) identity.PersonID {
		return identity.PersonID{Tenant: testTenant, Object: object}
	}
	rule, route := p.Rules()[0], p.AllRoutes()[0]
	got := settings{
		p.PostTo(), p.Mention(), p.Readers(), p.ExpireAfter(), p.ExecuteWithin(), p.Limits(),
		p.Ops(), p.Fallback(), p.LookBack(), p.BlindAfter(), p.Storm(), p.Groups(),
		rule.Approvers, rule.Line, rule.From, route.To, route.Mention,
	}
	want := settings{
		PostTo:        []string{"slack:C0APPROVE", "teams:19:abc@thread.tacv2", "slack:@T0SOC/U0RILEY", "teams:@" + testTenant + "/" + avery},
		Mention:       []string{"slack:S0LEADS", "slack:U0RILEY", "teams:" + avery},
		Readers:       []string{"slack:C0SOC", "slack:G0OLD"},
		ExpireAfter:   time.Hour,
		ExecuteWithin: 15 * time.Minute,
		Limits:        Limits{PerPersonPerHour: 1, PerTenantPerHour: 20, TierZeroPerDay: 2},
		Ops:           "slack:C0OPS",
		Fallback:      "teams:19:ops@thread.tacv2",
		BlindAfter:    90 * time.Second,
		Storm:         Storm{MoreThan: 5, Within: time.Minute},
		Groups: []Group{
			{Name: "directory", Directory: &DirectoryGroup{Tenant: testTenant, Object: entraGroup}},
			{Name: "leads", Members: []identity.PersonID{id(kim)}},
			{Name: "nobody"},
			{Name: "none"},
			{Name: "soc", Members: []identity.PersonID{id(sam)}},
		},
		RuleApprovers: 2,
		RuleLine:      9,
		RuleFrom:      []string{"soc", "leads"},
		RouteTo:       []string{"slack:C0SOC"},
		RouteAlert:    []string{"slack:S0ONCALL"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Parse() (-want +got):\n%s", diff)
	}
	riley, err := p.Book().Resolve(identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: "U0RILEY"})
	if err != nil || riley.Name != "Riley" || !riley.Has(identity.Responder) {
		t.Errorf("Resolve(Slack account) = %+v, %v, want Riley as a responder", riley, err)
	}
}

func TestParse_emptyFileTrustsNobody(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "# nothing yet\n", "people:\ngroups:\nreaders: []\napprovals:\nnotify:\n"} {
		p := mustParse(t, text)
		if n := len(p.Book().People()); n != 0 {
			t.Errorf("Parse(%q): %d people, want none", text, n)
		}
		if p.ExpireAfter() != 30*time.Minute || p.ExecuteWithin() != 10*time.Minute || p.Limits() != (Limits{5, 20, 3}) ||
			p.BlindAfter() != 5*time.Minute || p.LookBack() != 10*time.Minute || p.Storm() != (Storm{20, time.Minute}) {
			t.Errorf("Parse(%q) = %+v, want the defaults", text, p)
		}
	}
}

func TestParse_unknownKeysAreAlwaysRefused(t *testing.T) {
	t.Parallel()
	lines := strings.Split(Example(), "\n")
	var places []int // lines that are a key of a block mapping
	for i, line := range lines {
		if key, _, ok := strings.Cut(strings.TrimLeft(line, " -"), ":"); ok && !strings.ContainsAny(key, "#'\"[{ ") && key != "" {
			places = append(places, i)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.SampledFrom(places).Draw(t, "line")
		key := "x_" + rapid.StringMatching(`[a-z_]{1,12}`).Draw(t, "key")
		// A sibling of the key on that line, above it.
		indent := lines[at][:len(lines[at])-len(strings.TrimLeft(lines[at], " -"))]
		changed := append([]string{}, lines[:at]...)
		changed = append(changed, indent+key+": 1", strings.Repeat(" ", len(indent))+strings.TrimLeft(lines[at], " -"))
		changed = append(changed, lines[at+1:]...)
		_, err := Parse("mdebot.yaml", []byte(strings.Join(changed, "\n")), Options{HomeTenant: testTenant})
		var refused *FileError
		if !errors.As(err, &refused) {
			t.Fatalf("Parse() with %q on line %d = %v, want a *FileError", key, at+1, err)
		}
		if !strings.Contains(err.Error(), fmt.Sprintf("mdebot.yaml:%d: ", at+1)) {
			t.Fatalf("Parse() with %q on line %d = %v, want a fault on that line", key, at+1, err)
		}
	})
}

func TestLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "mdebot.yaml")
	_, err := Load(path, Options{})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "mdebot config example") {
		t.Errorf("Load(no file) = %v, want the next step", err)
	}
	if err := os.WriteFile(path, []byte("readers: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = Load(path, Options{}); err == nil || !strings.HasPrefix(err.Error(), path+":1: ") {
		t.Errorf("Load(faulty file) = %v, want the path and the line", err)
	}
	if err := os.WriteFile(path, []byte(Example()), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = Load(path, Options{HomeTenant: testTenant}); err != nil {
		t.Errorf("Load(example) = %v, want success", err)
	}
}

// FuzzParse holds the parser to two outcomes: a policy that answers, or faults.
func FuzzParse(f *testing.F) {
	f.Add([]byte(Example()))
	f.Add([]byte(somePeople + mixedRules))
	f.Add([]byte("approvals: {rules: [{name: a, when: \"machine.tags.exists(t, t == 'x')\"}]}"))
	f.Add([]byte("people: &a [*a]\n<<: *a\n"))
	f.Add([]byte("a: |\n  b\n? [c]\n: - - - d\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse("mdebot.yaml", text, Options{HomeTenant: testTenant})
		if err != nil {
			var refused *FileError
			if !errors.As(err, &refused) || len(refused.Faults) == 0 {
				t.Fatalf("Parse() = %v, want a *FileError with faults", err)
			}
			return
		}
		again, err := Parse("mdebot.yaml", text, Options{HomeTenant: testTenant})
		if err != nil || again.Hash() != p.Hash() {
			t.Fatalf("Parse() again = %v, hash %s, want %s", err, again.Hash(), p.Hash())
		}
		if a := p.Decide(isolate, []*Machine{aMachine(), nil}); a.Approvers < 1 || !a.TierZero {
			t.Fatalf("Decide() = %+v, want at least one approver, tier 0", a)
		}
		p.Routes(Alert{Severity: "High"}, nil)
	})
}

func TestParse_stepUp(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		yaml   string
		signIn bool
		want   bool
		fault  string
	}{
		"people can sign in":                      {signIn: true, want: true},
		"nobody can":                              {},
		"asked for":                               {yaml: "  step_up: tier0\n", signIn: true, want: true},
		"asked for where nobody can sign in":      {yaml: "  step_up: tier0\n", fault: "nobody can sign in"},
		"left out":                                {yaml: "  step_up: never\n", signIn: true},
		"left out where nobody can sign in":       {yaml: "  step_up: never\n"},
		"another word, which must not mean never": {yaml: "  step_up: \"off\"\n", signIn: true, fault: "write tier0 or never"},
	} {
		p, err := Parse("mdebot.yaml", []byte("approvals:\n  rules: []\n"+tc.yaml), Options{SignIn: tc.signIn})
		if (err != nil) != (tc.fault != "") || err != nil && !strings.Contains(err.Error(), tc.fault) {
			t.Errorf("%s: Parse() = %v, want %q", name, err, tc.fault)
		}
		if err == nil && p.StepUp() != tc.want {
			t.Errorf("%s: StepUp() = %v", name, p.StepUp())
		}
	}
}

func TestParse_ticket(t *testing.T) {
	t.Parallel()
	for text, fault := range map[string]string{"'INC[0-9]{7}'": "", "'['": "missing closing", "'.*'": "asks for nothing", "'[0-9]*'": "asks for nothing"} {
		p, err := Parse("mdebot.yaml", []byte("approvals:\n  rules: []\n  ticket: "+text+"\n"), Options{})
		if (err != nil) != (fault != "") || err != nil && !strings.Contains(err.Error(), fault) {
			t.Errorf("ticket %s: %v, want %q", text, err, fault)
		}
		if err == nil && (p.Ticket() == nil || p.Ticket().MatchString("beaconing") || !p.Ticket().MatchString("INC0012345: beaconing")) {
			t.Errorf("ticket %s reads as %v", text, p.Ticket())
		}
	}
}

func TestParse_retention(t *testing.T) {
	t.Parallel()
	if got := mustParse(t, "").Retention(); got != (Retention{400 * 24 * time.Hour, 90 * 24 * time.Hour, 7 * 24 * time.Hour}) {
		t.Errorf("Retention() = %v without the key", got)
	}
	if got := mustParse(t, "retention: { audit: 100d, alerts: 8d, hunts: 1d }").Retention(); got != (Retention{100 * 24 * time.Hour, 8 * 24 * time.Hour, 24 * time.Hour}) {
		t.Errorf("Retention() = %v, want what the file says", got)
	}
}
