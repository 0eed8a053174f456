package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mdebot/mdebot/internal/identity"
)

const thenText3 = somePeople + `
groups:
  soc: [` + avery + `]
  leads: [` + sam + `, ` + avery + `]
  managers: [` + jordan + `]
approvals:
  rules:
    - { name: desks, from: [soc], then: [leads, managers] }
`

// Time alone says who may approve in place of others, and nobody before.
func TestThen_standInsCountFromTheirStepOn(t *testing.T) {
	t.Parallel()
	p := mustParse(t, thenText3)
	a := p.Decide(isolate, []*Machine{aMachine()})
	if !strings.Contains(a.Text, "then: [leads, managers]") {
		t.Errorf("the rule for the record is %q, which does not say what it falls back to", a.Text)
	}
	for _, tt := range []struct {
		waited time.Duration
		want   []string
	}{
		{0, []string{"Avery"}},
		{-time.Hour, []string{"Avery"}},
		{15*time.Minute - 1, []string{"Avery"}},
		{15 * time.Minute, []string{"Avery", "Sam"}},
		{20*time.Minute - 1, []string{"Avery", "Sam"}},
		{20 * time.Minute, []string{"Avery", "Sam", "Jordan"}},
		{24 * time.Hour, []string{"Avery", "Sam", "Jordan"}},
	} {
		people, err := p.Eligible(t.Context(), nil, a, person(riley), Asked(tt.waited))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, who := range people {
			names = append(names, who.Name)
		}
		if diff := cmp.Diff(tt.want, names); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", tt.waited, diff)
		}
	}
	groups, ok, err := p.Entitled(t.Context(), nil, identity.Person{ID: person(avery)}, a, MaxThen)
	if want := []string{"soc"}; !ok || err != nil || !cmp.Equal(groups, want) {
		t.Errorf("Entitled(member of both groups) = %v, %t, %v, want one place: %v", groups, ok, err, want)
	}
}

// A stand-in is one person more to ask, and never one person fewer to need.
func TestThen_lowersNoQuorum(t *testing.T) {
	t.Parallel()
	two := Applied{Approvers: 2, From: []string{"soc"}, Then: []StandIn{{"leads", "soc", 1}}}
	alone := Applied{Approvers: 1, From: []string{"soc"}}
	elsewhere := Applied{Approvers: 1, From: []string{"identity"}, Then: []StandIn{{"managers", "identity", 1}}}
	for name, tt := range map[string]struct {
		rule   Applied
		people [][]string
		want   int
	}{
		"one stand-in of two": {two, [][]string{{"leads"}}, 1},
		"two stand-ins":       {two, [][]string{{"leads"}, {"leads"}}, 0},
		"over a limit":        {two.Raised("a limit"), [][]string{{"leads"}, {"leads"}}, 1},
		"combined with a rule that names no stand-in":  {Stricter(two, alone), [][]string{{"leads"}, {"leads"}}, 2},
		"combined with one about others":               {Stricter(two, elsewhere), [][]string{{"leads"}, {"leads"}, {"leads"}}, 1},
		"combined, and each group by its own":          {Stricter(two, elsewhere), [][]string{{"leads"}, {"soc"}, {"managers"}}, 0},
		"combined, and one person for both its groups": {Stricter(two, elsewhere), [][]string{{"leads"}, {"leads", "managers"}}, 0},
	} {
		if got, _ := tt.rule.Missing(represented(tt.rule, tt.people, MaxThen)); got != tt.want {
			t.Errorf("%s: %d people are missing, want %d", name, got, tt.want)
		}
	}
	later := Stricter(two, Applied{Approvers: 1, From: []string{"soc"}, Then: []StandIn{{"managers", "soc", 1}, {"leads", "soc", 2}}})
	if want := []StandIn{{"leads", "soc", 2}}; !cmp.Equal(later.Then, want) {
		t.Errorf("two orders combine to %v, want the later turn of whom both name: %v", later.Then, want)
	}
}

func TestThen_faults(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]string{
		`{ name: r, from: [soc], then: [] }`:                                           "then is empty",
		`{ name: r, from: [soc], then: [nobody-knows] }`:                               `group "nobody-knows" is not under groups`,
		`{ name: r, from: [soc], then: [leads, leads] }`:                               `then: group "leads" is named twice`,
		`{ name: r, from: [soc], then: [soc] }`:                                        `group "soc" is in from and in then`,
		`{ name: r, approvers: 2, from: [soc, leads], then: [managers] }`:              "then cannot follow several groups",
		`{ name: r, then: [soc, leads, managers, more] }`:                              "name at most 3",
		`{ name: r, approvers: 2, from: [soc], then: [leads, managers] }`:              "cannot be satisfied",
		`{ name: r, approvers: 1, from: [soc], then: [leads], expire_after: 10m }`:     "unknown key",
		`{ name: r, approvers: 1, from: [soc], then: leads }`:                          "then",
		`{ name: r, approvers: 1, from: [soc], then: [leads], when: machine.os == 3 }`: "when",
	} {
		text := somePeople + "\ngroups:\n  soc: [" + avery + "]\n  leads: [" + sam + "]\n  managers: [" + jordan + "]\n  more: [" + kim + "]\napprovals:\n  rules:\n    - " + rule + "\n"
		if _, err := Parse("mdebot.yaml", []byte(text), Options{HomeTenant: testTenant}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%s) = %v, want %q", rule, err, want)
		}
	}
}

func TestThen_warnsOfATurnThatNeverComes(t *testing.T) {
	t.Parallel()
	p := mustParse(t, strings.Replace(thenText3, "approvals:\n", "approvals:\n  expire_after: 20m\n", 1))
	warnings := strings.Join(p.Warnings(), "\n")
	if !strings.Contains(warnings, "managers would be asked after 20 minutes") || strings.Contains(warnings, "leads would") {
		t.Errorf("Warnings() = %s, want one about managers alone", warnings)
	}
	if a, b := mustParse(t, thenText3).Hash(), mustParse(t, strings.Replace(thenText3, "[leads, managers]", "[managers, leads]", 1)).Hash(); a == b {
		t.Error("the order of then does not change the hash")
	}
}

func TestExplain_listsWhoIsAskedLater(t *testing.T) {
	t.Parallel()
	x := mustParse(t, thenText3).Explain(t.Context(), nil, Question{Action: isolate, Machine: aMachine(), By: person(riley)})
	got := map[string]int{}
	for _, l := range x.Later {
		got[l.Name] = l.AfterMinutes
	}
	if want := map[string]int{"Sam": 15, "Jordan": 20}; !cmp.Equal(got, want) || len(x.Approvers) != 1 {
		t.Errorf("Explain() = %v now and %v later, want Avery now and %v later", x.Approvers, got, want)
	}
	// Avery asks, so that nobody is left in the group itself.
	if x := mustParse(t, thenText3).Explain(t.Context(), nil, Question{Action: isolate, Machine: aMachine(), By: person(avery)}); x.Refused != "" || !x.Short {
		t.Errorf("Explain(by the only member) = refused %q, short %t, want a request that waits for others", x.Refused, x.Short)
	}
}
