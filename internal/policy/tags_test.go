package policy

import (
	"strings"
	"testing"
)

func TestReadsTag(t *testing.T) {
	t.Parallel()
	const file = `
approvals:
  rules:
    - { name: crown jewels, when: '"crown" in machine.tags || machine.name == "x"', approvers: 1 }
    - { name: everything, approvers: 1 }
  protected:
    - when: '"never-isolate" in machine.tags'
people:
  - { person: 11111111-1111-1111-1111-111111111111/22222222-2222-2222-2222-222222222201, name: A, roles: [responder, approver] }
  - { person: 11111111-1111-1111-1111-111111111111/22222222-2222-2222-2222-222222222202, name: B, roles: [approver] }
notify:
  routes:
    - { name: finance, when: '"finance" in machine.tags', to: ["slack:C0FIN"] }
`
	p, err := Parse("mdebot.yaml", []byte(file), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for tag, want := range map[string]string{
		"crown": "crown jewels", "CROWN": "crown jewels", " crown ": "crown jewels", "never-isolate": "protected", "finance": "finance",
		"tier0": "tier 0", "reimaged": "", "x": "", "crowns": "",
	} {
		if got := p.ReadsTag(tag); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("ReadsTag(%q) = %q, want %q", tag, got, want)
		}
	}
	for _, when := range []string{
		`machine.tags.exists(t, t.startsWith("dmz-"))`, `size(machine.tags) > 2`, `machine.name in machine.tags`,
		`"a" in machine.tags && machine.tags != []`,
	} {
		other, err := Parse("mdebot.yaml", []byte(strings.Replace(file, `"crown" in machine.tags || machine.name == "x"`, when, 1)), Options{})
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if got := other.ReadsTag("anything"); got == "" {
			t.Errorf("%s reads every tag, and ReadsTag says that nothing does", when)
		}
	}
}
