package policy

import (
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/identity"
)

func TestScope(t *testing.T) {
	t.Parallel()
	const home = "11111111-1111-1111-1111-111111111111"
	const people = `
people:
  - {person: 22222222-2222-2222-2222-222222222201, name: One, roles: [viewer]}
  - {person: 22222222-2222-2222-2222-222222222202, name: Two, roles: [viewer]}
  - {person: 22222222-2222-2222-2222-222222222203, name: Three, roles: [viewer]}
groups:
  emea: [22222222-2222-2222-2222-222222222201, 22222222-2222-2222-2222-222222222202]
  finance: [22222222-2222-2222-2222-222222222202]
scopes:
  - {for: [emea], machines: machine.group == "EMEA"}
  - {for: [finance], machines: '"finance" in machine.tags'}
`
	p, err := Parse("mdebot.yaml", []byte(people), Options{HomeTenant: home})
	if err != nil {
		t.Fatal(err)
	}
	machines := map[string]*Machine{"emea": {Group: "EMEA"}, "finance": {Tags: []string{"finance"}}, "other": {Group: "APAC"}, "unread": nil}
	for object, sees := range map[string]string{
		"22222222-2222-2222-2222-222222222201": "emea",
		"22222222-2222-2222-2222-222222222202": "emea finance",
		"22222222-2222-2222-2222-222222222203": "emea finance other unread",
		"22222222-2222-2222-2222-222222222209": "", // nobody knows
	} {
		scope, err := p.Scope(t.Context(), nil, identity.PersonID{Tenant: home, Object: object})
		if err != nil {
			t.Fatal(err)
		}
		for name, m := range machines {
			if got, want := scope.Sees(m), strings.Contains(sees, name); got != want {
				t.Errorf("%s sees %s: %v, want %v", object, name, got, want)
			}
		}
	}
	for text, fault := range map[string]string{
		"scopes: [{machines: machine.name == \"a\"}]":                  `"for" is missing`,
		"scopes: [{for: [nowhere], machines: machine.name == \"a\"}]":  `group "nowhere"`,
		"groups: {a: []}\nscopes: [{for: [a]}]":                        `"machines" is missing`,
		"groups: {a: []}\nscopes: [{for: [a], machines: action.kind}]": "action",
		"groups: {a: []}\nscopes: [{for: [a], machines: \"\"}]":        "is empty",
	} {
		if _, err := Parse("mdebot.yaml", []byte(text), Options{HomeTenant: home}); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%s: %v, want %q", text, err, fault)
		}
	}
}
