package policy

import (
	"slices"
	"strings"
	"testing"
)

func TestWarnings(t *testing.T) {
	t.Parallel()
	// complete is a file that nothing is to be said about; tests add to it.
	const complete = `notify:
  ops: slack:C0OPS
  fallback: slack:C0OPS
  routes:
    - name: all
      to: [slack:C0SOC]
`
	rules := func(rules string) string { return complete + "approvals:\n  rules:\n" + rules + somePeople }
	route := func(when string) string {
		return complete + "    - name: r\n      to: [slack:C0SOC]\n      when: " + when + somePeople
	}
	tests := []struct {
		name string
		text string
		want string // one warning without the file's name, or empty
	}{
		{"complete file", complete + somePeople, ""},
		{"empty file", "", " nobody is listed under people, so nobody may do anything"},
		{"nobody who could approve", complete + "people:\n  - { person: " + riley + ", name: Riley, roles: [responder] }\n", " nobody can approve anything: it needs 1 person besides the requester, with the role approver; the file has nobody who could vote"},
		{"nobody who could ask", complete + "people:\n  - { person: " + sam + ", name: Sam, roles: [approver] }\n", " nobody can approve anything: nobody has the role responder, so nobody could ask"},
		{"person without a role", complete + somePeople + "  - { person: " + entraGroup + ", name: Alex }\n", "14: Alex has no role and may do nothing"},
		{"no ops channel", strings.Replace(complete, "  ops: slack:C0OPS\n", "", 1) + somePeople, " notify.ops is not set: alarms about the bot itself go to the log alone"},
		{"no fallback", strings.Replace(complete, "  fallback: slack:C0OPS\n", "", 1) + somePeople, " notify.fallback is not set: alerts that no route takes, or whose channel cannot be reached, are posted nowhere"},
		{"no routes", "notify: { ops: \"slack:C0OPS\", fallback: \"slack:C0OPS\" }\n" + somePeople, " notify.routes is empty: no alert has a channel of its own"},
		{"rule of a directory group", rules("    - { name: r, from: [leads] }\n") + "groups:\n  leads: { entra_group: " + entraGroup + " }\n", `9: rule "r": whether enough people can approve is known only at run time, because it depends on the directory: leads`},
		{"rule below one that matches everything", rules("    - name: a\n    - name: b\n      when: machine.os == \"x\"\n"), `10: rule "b" is never reached: rule "a" above it matches everything`},
		{"responder whose own requests cannot pass", rules("    - { name: r, from: [soc] }\n") + "groups:\n  soc: [" + avery + "]\n", `9: rule "r": requests by Avery (` + avery + `) can never be approved, because too few others may vote`},
		{"rule that a limit makes impossible", rules("    - { name: r, from: [soc] }\n") + "groups:\n  soc: [" + sam + "]\n", `9: rule "r": a request above a limit could not be approved: it needs 2 people besides the requester, from soc; the file has 1 person who could vote`},
		{"protection by machine name", complete + "approvals:\n  protected:\n    - when: machine.name.startsWith(\"hv-\")\n" + somePeople, `9: protected: whoever controls a machine chooses machine.name and could protect it from being isolated; a tag is safer`},
		{"protection by tag", complete + "approvals:\n  protected:\n    - when: '\"x\" in machine.tags'\n" + somePeople, ""},
		{"route by title alone", route(`alert.title.contains("ransom")`), `7: route "r": whoever controls a machine chooses alert.title and could keep alerts from this route`},
		{"route that leaves out machines by name", route(`alert.severity == "High" && !machine.name.startsWith("test-")`), `7: route "r": whoever controls a machine chooses machine.name and could keep alerts from this route`},
		{"route that adds by title", route(`alert.severity == "High" || alert.title.contains("ransom")`), ""},
		{"route by title or name", route(`alert.title.contains("ransom") || machine.name == "x"`), `7: route "r": whoever controls a machine chooses alert.title and machine.name and could keep alerts from this route`},
		{"route by name in a macro", route(`'["a", "b"].exists(n, machine.name == n)'`), `7: route "r": whoever controls a machine chooses machine.name and could keep alerts from this route`},
		{"severity that is not documented", route(`alert.severity in ["High", "Critical"]`), `7: route "r": alert.severity is not known to be "Critical"; documented are UnSpecified, Informational, Low, Medium, High`},
		{"risk that is not documented in a rule", rules("    - name: r\n      when: machine.risk == \"Extreme\"\n"), `9: rule "r": machine.risk is not known to be "Extreme"; documented are None, Informational, Low, Medium, High`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := mustParse(t, tt.text).Warnings()
			if tt.want == "" {
				if len(got) > 0 {
					t.Errorf("Warnings() = %q, want none", got)
				}
				return
			}
			if !slices.Contains(got, "mdebot.yaml:"+tt.want) {
				t.Errorf("Warnings() = %q, want %q among them", got, "mdebot.yaml:"+tt.want)
			}
		})
	}
}

func TestRule_isAboutTierZero(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, rule string
		want       bool
	}{
		{"tag in the condition", `{ name: r, when: '"tier0" in machine.tags' }`, true},
		{"tag as an alternative", `{ name: r, when: 'machine.os == "x" || "Tier0" in machine.tags' }`, true},
		{"tag in a macro", `{ name: r, when: 'machine.tags.exists(t, t == "tier0")' }`, true},
		{"tag in a list", `{ name: r, when: 'machine.group in ["tier0", "dc"]' }`, true},
		{"tag in the name", `{ name: Tier 0 machines }`, true},
		{"tag ruled out", `{ name: r, when: '!("tier0" in machine.tags)' }`, false},
		{"another tag", `{ name: r, when: '"tier1" in machine.tags' }`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := mustParse(t, somePeople+"approvals:\n  rules:\n    - "+tt.rule+"\n")
			if got := p.Rules()[0].tierZero; got != tt.want {
				t.Errorf("rule %s is about tier 0: %t, want %t", tt.rule, got, tt.want)
			}
		})
	}
}
