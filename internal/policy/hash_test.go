package policy

import (
	"strings"
	"testing"
)

func TestHash_isOfWhatTheFileSays(t *testing.T) {
	t.Parallel()
	hash := mustParse(t, Example()).Hash()
	if len(hash) != 64 {
		t.Fatalf("Hash() = %q, want 64 hex digits", hash)
	}

	var bare []string
	for _, line := range strings.Split(Example(), "\n") {
		if trimmed := strings.TrimSpace(line); trimmed != "" && !strings.HasPrefix(trimmed, "#") {
			bare = append(bare, line)
		}
	}
	same := map[string]string{
		"without comments":        strings.Join(bare, "\n"),
		"with defaults left out":  strings.NewReplacer("  expire_after: 30m", "", "  execute_within: 10m", "", "    per_person_per_hour: 5\n", "").Replace(Example()),
		"with durations reworded": strings.Replace(Example(), "expire_after: 30m", "expire_after: 1800s", 1),
		"with the tenant written": strings.Replace(Example(), "person: "+riley, "person: "+testTenant+"/"+riley, 1),
	}
	for name, text := range same {
		if text == Example() {
			t.Errorf("example %s: nothing was changed", name)
		}
		if got := mustParse(t, text).Hash(); got != hash {
			t.Errorf("Hash() of the example %s = %s, want %s", name, got, hash)
		}
	}

	other := map[string][2]string{
		"another role":                     {"roles: [viewer, approver]", "roles: [viewer]"},
		"another name":                     {"Kim Laurent", "Kim L"},
		"another link":                     {"T0SOC/U0SAM", "T0SOC/U0SAM2"},
		"another condition":                {`startsWith("dc-")`, `startsWith("d")`},
		"another number":                   {"approvers: 2 ", "approvers: 3 "},
		"another limit":                    {"tier0_per_day: 3", "tier0_per_day: 4"},
		"another protection":               {`"never-isolate"`, `"never"`},
		"another route":                    {"to: [slack:C0FIN]", "to: [slack:C0OTHER]"},
		"another mention":                  {"slack:S0ONCALL", "slack:S0OTHER"},
		"another time":                     {"look_back: 10m", "look_back: 11m"},
		"another place of requests":        {"slack:C0APPROVE", "slack:C0OTHER"},
		"another reader":                   {"readers: [slack:C0SOC]", "readers: []"},
		"another patience with isolations": {"blind_after: 5m", "blind_after: 5m\n  forgotten_after: 8d"},
		"another storm":                    {"more_than: 20", "more_than: 21"},
		"guests of a route":                {"to: [slack:C0FIN]", "to: [slack:C0FIN]\n      allow_guests: true"},
		"guests of requests":               {"approvals:\n", "approvals:\n  allow_guests: true\n"},
		"guests of alarms":                 {"notify:\n", "notify:\n  allow_guests: true\n"},
		"another ops channel":              {"ops: slack:C0OPS", "ops: slack:C0SOC"},
	}
	seen := map[string]string{hash: "the example"}
	for name, change := range other {
		text := strings.Replace(Example(), change[0], change[1], 1)
		got := mustParse(t, text).Hash()
		if as, ok := seen[got]; ok {
			t.Errorf("Hash() with %s is that of %s", name, as)
		}
		seen[got] = name
	}
}

func TestHash_followsTheOrderOfRulesAndNotOfPeople(t *testing.T) {
	t.Parallel()
	const (
		first  = "    - { name: a, when: machine.os == \"x\" }\n"
		second = "    - { name: b, when: machine.os == \"y\" }\n"
		rules  = "approvals:\n  rules:\n"
	)
	lines := strings.SplitAfter(strings.TrimPrefix(somePeople, "\npeople:\n"), "\n")
	reversed := "people:\n" + lines[1] + lines[0] + strings.Join(lines[2:], "")
	hash := mustParse(t, somePeople+rules+first+second).Hash()
	if got := mustParse(t, reversed+rules+first+second).Hash(); got != hash {
		t.Error("Hash() changes with the order of people")
	}
	if got := mustParse(t, somePeople+rules+second+first).Hash(); got == hash {
		t.Error("Hash() does not change with the order of rules")
	}
}
