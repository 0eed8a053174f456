package policy

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Object IDs of the people the tests are about.
const (
	riley  = "8a1f0c52-6d3e-4b7a-9c41-2f5e8d7b6a10"
	avery  = "3c7e91d4-0b2a-4f68-8e15-a4d92c6f7b21"
	sam    = "d52b8f06-93c1-4ea7-b7d8-1c6e0f4a5932"
	jordan = "61e4a7b9-f8d0-4c35-a2e6-7b9d3f1c8e43"
	kim    = "f09c3d7e-5a18-4962-8b04-e7f1a6d2c954"
)

func mustParse(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := Parse("mdebot.yaml", []byte(text), Options{HomeTenant: testTenant})
	if err != nil {
		t.Fatalf("Parse() = %v", err)
	}
	return p
}

// aMachine is a workstation with every fact known, changed by edits.
func aMachine(edits ...func(*Machine)) *Machine {
	m := &Machine{
		ID: "1e5bc9d7e413ddd7902c2932e418702b84d0cc07", Name: "ws-0142", OS: "Windows11",
		Group: "Workstations", Risk: "Low", Exposure: "Low", Value: "Normal", Health: "Active",
	}
	for _, edit := range edits {
		edit(m)
	}
	return m
}

func tagged(tags ...string) func(*Machine) { return func(m *Machine) { m.Tags = tags } }
func named(name string) func(*Machine)     { return func(m *Machine) { m.Name = name } }
func running(os string) func(*Machine)     { return func(m *Machine) { m.OS = os } }

var isolate = Action{Kind: "isolate", Family: "isolation", Scope: "full"}

func TestDecide(t *testing.T) {
	t.Parallel()
	p := mustParse(t, Example())
	const (
		controllers = "domain controllers"
		unread      = whyUnknown
	)
	tests := []struct {
		name     string
		machines []*Machine
		want     Applied
	}{
		{
			name:     "workstation falls through to the last rule",
			machines: []*Machine{aMachine()},
			want:     Applied{Name: "workstations", Approvers: 1, From: []string{"soc"}},
		},
		{
			name:     "server is decided by its own rule",
			machines: []*Machine{aMachine(running("WindowsServer2022"))},
			want:     Applied{Name: "servers", Approvers: 1, From: []string{"soc-leads"}},
		},
		{
			name:     "domain controller by tag is tier 0",
			machines: []*Machine{aMachine(tagged("tier0"))},
			want:     Applied{Name: controllers, Approvers: 2, From: []string{"soc-leads", "identity-team"}, TierZero: true},
		},
		{
			name:     "domain controller by name is tier 0, because the rule is about tier 0",
			machines: []*Machine{aMachine(named("dc-02"))},
			want:     Applied{Name: controllers, Approvers: 2, From: []string{"soc-leads", "identity-team"}, TierZero: true},
		},
		{
			name:     "unknown machine gets the strictest rule and counts as tier 0",
			machines: []*Machine{nil},
			want:     Applied{Name: controllers, Why: unread, Approvers: 2, From: []string{"soc-leads", "identity-team"}, TierZero: true},
		},
		{
			name:     "no machine at all is an unknown one",
			machines: nil,
			want:     Applied{Name: controllers, Why: unread, Approvers: 2, From: []string{"soc-leads", "identity-team"}, TierZero: true},
		},
		{
			name:     "machine without the fact that a rule reads is an unknown one",
			machines: []*Machine{aMachine(running(""))},
			want:     Applied{Name: controllers, Why: unread, Approvers: 2, From: []string{"soc-leads", "identity-team"}, TierZero: true},
		},
		{
			name:     "missing fact does not matter when the rest of the condition decides",
			machines: []*Machine{aMachine(named(""), tagged("tier0"))},
			want:     Applied{Name: controllers, Approvers: 2, From: []string{"soc-leads", "identity-team"}, TierZero: true},
		},
		{
			name:     "missing fact that no rule reads does not matter",
			machines: []*Machine{aMachine(func(m *Machine) { m.Risk, m.Exposure = "", "" })},
			want:     Applied{Name: "workstations", Approvers: 1, From: []string{"soc"}},
		},
		{
			name:     "server among workstations needs both groups",
			machines: []*Machine{aMachine(), aMachine(running("WindowsServer2019")), aMachine()},
			want: Applied{
				Name: "workstations + servers", Approvers: 2, From: []string{"soc", "soc-leads"},
				Each: []Demand{{1, []string{"soc"}}, {1, []string{"soc-leads"}}},
			},
		},
		{
			name:     "one unknown machine among known ones makes the request tier 0",
			machines: []*Machine{aMachine(), nil},
			want: Applied{
				Name: "workstations + " + controllers, Why: unread, Approvers: 3, From: []string{"identity-team", "soc", "soc-leads"}, TierZero: true,
				Each: []Demand{{2, []string{"identity-team", "soc-leads"}}, {1, []string{"soc"}}},
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := p.Decide(isolate, tt.machines)
			got.Text = ""
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Decide() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecide_withoutAMatchTheStrictestRuleApplies(t *testing.T) {
	t.Parallel()
	p := mustParse(t, somePeople+`
approvals:
  rules:
    - { name: linux, when: machine.os == "Ubuntu" }
    - { name: releases, when: action.kind == "release", approvers: 2 }
    - { name: macs, when: machine.os == "macOS" }
`)
	got := p.Decide(isolate, []*Machine{aMachine()})
	want := Applied{Name: "releases", Text: "name: releases\nwhen: action.kind == \"release\"\napprovers: 2\nfrom: holders of the role approver", Why: whyNoMatch, Approvers: 2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Decide() (-want +got):\n%s", diff)
	}
}

func TestDecide_withoutRulesOneApproverIsNeeded(t *testing.T) {
	t.Parallel()
	p := mustParse(t, somePeople)
	got := p.Decide(isolate, []*Machine{aMachine(tagged("Tier0"))})
	if got.Approvers != 1 || len(got.From) != 0 || !got.TierZero {
		t.Errorf("Decide() = %+v, want one approver by role, tier 0 by its tag", got)
	}
}

func TestDecide_conditionThatFailsIsUnknown(t *testing.T) {
	t.Parallel()
	p := mustParse(t, somePeople+`
approvals:
  rules:
    - { name: first tag, when: 'machine.tags[0] == "x"' }
    - { name: strict, approvers: 2 }
`)
	if got := p.Decide(isolate, []*Machine{aMachine(tagged("x"))}); got.Name != "first tag" || got.TierZero {
		t.Errorf("Decide(tagged) = %+v, want the rule of the first tag", got)
	}
	if got := p.Decide(isolate, []*Machine{aMachine()}); got.Name != "strict" || got.Why != whyUnknown || !got.TierZero {
		t.Errorf("Decide(no tags) = %+v, want the strictest rule and tier 0", got)
	}
}

func TestDecide_conditionThatCostsTooMuchIsUnknown(t *testing.T) {
	t.Parallel()
	p := mustParse(t, somePeople+`
approvals:
  rules:
    - { name: cheap, when: 'machine.tags.exists(a, machine.tags.exists(b, a != b && a + b == "never"))' }
    - { name: strict, approvers: 2 }
`)
	tags := make([]string, 2000)
	for i := range tags {
		tags[i] = fmt.Sprint("tag", i)
	}
	if got := p.Decide(isolate, []*Machine{aMachine(tagged(tags...))}); got.Name != "strict" || got.Why != whyUnknown {
		t.Errorf("Decide(2000 tags) = %+v, want the strictest rule because the condition is too costly", got)
	}
}

// genMachine draws machines around the borders of the example's rules.
var genMachine = rapid.Custom(func(t *rapid.T) *Machine {
	if rapid.IntRange(0, 5).Draw(t, "unknown") == 0 {
		return nil
	}
	return &Machine{
		Name: rapid.SampledFrom([]string{"", "dc-01", "ws-1", "srv-1"}).Draw(t, "name"),
		OS:   rapid.SampledFrom([]string{"", "Windows11", "WindowsServer2022", "Ubuntu"}).Draw(t, "os"),
		Tags: rapid.SliceOfN(rapid.SampledFrom([]string{"tier0", "finance", "roles"}), 0, 2).Draw(t, "tags"),
	}
})

const mixedRules = `
approvals:
  rules:
    - { name: controllers, when: '"tier0" in machine.tags', approvers: 2, from: [a, b] }
    - { name: servers, when: 'machine.os.startsWith("WindowsServer")', from: [c] }
    - { name: by role, when: '"roles" in machine.tags' }
    - { name: rest, when: 'machine.os == "Windows11"', from: [a] }
groups:
  a: [` + avery + `, ` + kim + `]
  b: [` + sam + `]
  c: [` + kim + `, ` + jordan + `]
`

func TestDecide_addingATargetNeverLoosens(t *testing.T) {
	t.Parallel()
	p := mustParse(t, somePeople+mixedRules)
	rapid.Check(t, func(t *rapid.T) {
		machines := rapid.SliceOfN(genMachine, 1, 5).Draw(t, "machines")
		before := p.Decide(isolate, machines)
		after := p.Decide(isolate, append(machines, genMachine.Draw(t, "one more")))
		mustMeet(t, after, before)
	})
}

var genPeople = rapid.SliceOfN(rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "x", "y", RoleApprovers}), 0, 3, rapid.ID), 0, 7)

// represented are the groups of a that people stand for, each given by the groups
// they belong to, when those up to the step asked are asked.
func represented(a Applied, people [][]string, asked int) [][]string {
	all := make([][]string, len(people))
	for i, groups := range people {
		all[i] = slices.Clone(groups)
		for _, s := range a.Then {
			if s.Step <= asked && slices.Contains(groups, s.Group) {
				all[i] = append(all[i], s.For)
			}
		}
	}
	return all
}

// mustMeet fails when people, each with their groups, satisfy whole and not part,
// which went into it.
func mustMeet(t *rapid.T, whole, part Applied) {
	if part.TierZero && !whole.TierZero || part.OverLimit != "" && whole.OverLimit == "" {
		t.Fatalf("%+v went into %+v, which is looser", part, whole)
	}
	people := genPeople.Draw(t, "people")
	asked := rapid.IntRange(0, MaxThen).Draw(t, "asked")
	if missing, _ := whole.Missing(represented(whole, people, asked)); missing > 0 {
		return
	}
	if missing, _ := part.Missing(represented(part, people, asked)); missing > 0 {
		t.Fatalf("%v satisfy %+v, and not %+v, which went into it", people, whole, part)
	}
}

func TestStricter_isNeverLooserThanEither(t *testing.T) {
	t.Parallel()
	genApplied := rapid.Custom(func(t *rapid.T) Applied {
		from := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 3, rapid.ID).Draw(t, "from")
		a := Applied{
			Name: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name"), Text: "text",
			Approvers: max(len(from), rapid.IntRange(1, 3).Draw(t, "approvers")),
			From:      from,
			TierZero:  rapid.Bool().Draw(t, "tier zero"),
		}
		if len(from) < 2 {
			for i, group := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "y", "b"}), 0, 3, rapid.ID).Draw(t, "then") {
				if !slices.Contains(from, group) {
					a.Then = append(a.Then, StandIn{Group: group, For: a.Groups()[0], Step: i + 1})
				}
			}
		}
		if rapid.Bool().Draw(t, "raised") {
			a = a.Raised("limit")
		}
		return a
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := genApplied.Draw(t, "a"), genApplied.Draw(t, "b"), genApplied.Draw(t, "c")
		s := Stricter(Stricter(a, b), c)
		for _, one := range []Applied{a, b, c} {
			mustMeet(t, s, one)
		}
		if again := Stricter(s, a); !cmp.Equal(again.Each, s.Each) || again.Approvers != s.Approvers {
			t.Fatalf("Stricter(%+v, %+v) = %+v, want no change", s, a, again)
		}
	})
}

// A rule for two of one group is not met by one of them and one of the group that
// another machine of the request asks for.
func TestStricter_groupsDoNotMakeUpForEachOther(t *testing.T) {
	t.Parallel()
	servers := Applied{Name: "servers", Approvers: 2, From: []string{"soc"}}
	desks := Applied{Name: "desks", Approvers: 1, From: []string{"helpdesk"}}
	both := Stricter(servers, desks)
	for name, tc := range map[string]struct {
		approvers [][]string
		people    int
		groups    []string
	}{
		"one of each":          {[][]string{{"soc"}, {"helpdesk"}}, 1, nil},
		"two of the SOC":       {[][]string{{"soc"}, {"soc"}}, 1, []string{"helpdesk"}},
		"two and one":          {[][]string{{"soc"}, {"helpdesk"}, {"soc"}}, 0, nil},
		"two, one of whom may": {[][]string{{"soc"}, {"soc", "helpdesk"}}, 0, nil},
	} {
		if people, groups := both.Missing(tc.approvers); people != tc.people || !cmp.Equal(groups, tc.groups) {
			t.Errorf("%s: Missing() = %d, %v, want %d, %v", name, people, groups, tc.people, tc.groups)
		}
	}
	if people, _ := both.Raised("a limit").Missing([][]string{{"soc"}, {"helpdesk"}, {"soc"}}); people != 1 {
		t.Errorf("over a limit %d more are needed, want 1", people)
	}
}

func TestStricter_keepsTheApproverThatALimitAdded(t *testing.T) {
	t.Parallel()
	opened := Applied{Name: "workstations", Approvers: 1, From: []string{"soc"}}.Raised("per person")
	now := Applied{Name: "workstations", Approvers: 2, From: []string{"soc"}}
	if got := Stricter(opened, now); got.Approvers != 3 || got.OverLimit != "per person" {
		t.Errorf("Stricter() = %+v, want 2 approvers of the new rule and one for the limit", got)
	}
}

func TestRaised_addsOneApproverForAnyNumberOfLimits(t *testing.T) {
	t.Parallel()
	got := Applied{Approvers: 1}.Raised("per person").Raised("per tenant").Raised("per person")
	if got.Approvers != 2 || got.OverLimit != "per person, per tenant" {
		t.Errorf("Raised() = %+v, want 2 approvers over both limits", got)
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	two := Applied{Approvers: 2, From: []string{"leads", "identity"}}
	tests := []struct {
		name       string
		rule       Applied
		approvers  [][]string
		wantPeople int
		wantGroups []string
	}{
		{"nobody has approved by role", Applied{Approvers: 1}, nil, 1, []string{RoleApprovers}},
		{"one holder of the role", Applied{Approvers: 1}, [][]string{{RoleApprovers}}, 0, nil},
		{"one from each group", two, [][]string{{"leads"}, {"identity"}}, 0, nil},
		{"two from the same group leave the other out", two, [][]string{{"leads"}, {"leads"}}, 1, []string{"identity"}},
		{"one person of both groups stands for one", two, [][]string{{"leads", "identity"}}, 1, []string{"identity"}},
		{"person of both groups makes room for the other", two, [][]string{{"leads", "identity"}, {"leads"}}, 0, nil},
		{"person of no group of the rule counts for none", Applied{Approvers: 2, From: []string{"leads"}}, [][]string{{"leads"}, {"soc"}, nil}, 1, nil},
		{"groups are represented but people are too few", Applied{Approvers: 3, From: []string{"leads"}}, [][]string{{"leads"}}, 2, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			people, groups := tt.rule.Missing(tt.approvers)
			if people != tt.wantPeople || !cmp.Equal(groups, tt.wantGroups) {
				t.Errorf("Missing(%v) = %d, %v, want %d, %v", tt.approvers, people, groups, tt.wantPeople, tt.wantGroups)
			}
		})
	}
}

func TestProtected(t *testing.T) {
	t.Parallel()
	p := mustParse(t, somePeople+`
approvals:
  protected:
    - when: '"never-isolate" in machine.tags && action.kind == "isolate"'
`)
	tests := []struct {
		name    string
		action  Action
		machine *Machine
		want    string
	}{
		{"tagged machine", isolate, aMachine(tagged("never-isolate")), `mdebot.yaml protects it: "never-isolate" in machine.tags && action.kind == "isolate"`},
		{"other machine", isolate, aMachine(tagged("finance")), ""},
		{"other action", Action{Kind: "release"}, aMachine(tagged("never-isolate")), ""},
		{"machine that could not be read", isolate, nil, `its facts could not be read, and mdebot.yaml protects machines by them: "never-isolate" in machine.tags && action.kind == "isolate"`},
		{"machine that could not be read, with an action that nothing protects from", Action{Kind: "release"}, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			reason, yes := p.Protected(tt.action, tt.machine)
			if reason != tt.want || yes != (tt.want != "") {
				t.Errorf("Protected() = %q, %t, want %q", reason, yes, tt.want)
			}
		})
	}
}

// An action that needs nobody else by default is decided only by rules that ask
// about the action; a rule about machines was written for the others.
func TestDecide_alone(t *testing.T) {
	t.Parallel()
	p := mustParse(t, somePeople+`
approvals:
  rules:
    - { name: no scans of controllers alone, when: 'action.kind == "scan" && "tier0" in machine.tags', approvers: 2 }
    - { name: full scans of servers, when: 'action.scope == "full" && machine.os.startsWith("WindowsServer")' }
    - { name: servers, when: 'machine.os.startsWith("WindowsServer")', approvers: 2 }
    - { name: rest }
`)
	scan := func(scope string) Action { return Action{Kind: "scan", Family: "scan", Scope: scope, Alone: true} }
	for name, tc := range map[string]struct {
		action   Action
		machines []*Machine
		want     Applied
	}{
		"workstation":                         {scan("quick"), []*Machine{aMachine()}, Applied{Name: "no second person", Alone: true}},
		"rule about machines alone":           {scan("quick"), []*Machine{aMachine(running("WindowsServer2022"))}, Applied{Name: "no second person", Alone: true}},
		"rule about the scope":                {scan("full"), []*Machine{aMachine(running("WindowsServer2022"))}, Applied{Name: "full scans of servers", Approvers: 1}},
		"rule about the action and a machine": {scan("quick"), []*Machine{aMachine(tagged("tier0"))}, Applied{Name: "no scans of controllers alone", Approvers: 2, TierZero: true}},
		"one of several":                      {scan("quick"), []*Machine{aMachine(), aMachine(tagged("tier0"))}, Applied{Name: "no second person + no scans of controllers alone", Approvers: 2, TierZero: true}},
		"facts that such a rule needs are missing": {scan("quick"), []*Machine{nil}, Applied{
			Name: "no scans of controllers alone", Approvers: 2, Why: whyUnknown, TierZero: true,
		}},
		"another action": {isolate, []*Machine{aMachine()}, Applied{Name: "rest", Approvers: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := p.Decide(tc.action, tc.machines)
			got.Text = ""
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Decide() (-want +got):\n%s", diff)
			}
		})
	}
}

// What asks for somebody ends being alone, and being alone loosens nothing.
func TestApplied_aloneEndsWithWhatRaisesIt(t *testing.T) {
	t.Parallel()
	if got := alone.Raised("a limit"); got.Alone || got.Approvers != 1 {
		t.Errorf("Raised() = %+v, want one approver", got)
	}
	rule := Applied{Name: "rest", Approvers: 1, From: []string{"soc"}}
	for _, got := range []Applied{Stricter(alone, rule), Stricter(rule, alone)} {
		if got.Alone || got.Approvers != 1 || !cmp.Equal(got.From, rule.From) {
			t.Errorf("Stricter() = %+v, want what the rule asks for", got)
		}
	}
	if missing, groups := alone.Missing(nil); missing != 0 || groups != nil {
		t.Errorf("Missing() = %d %v, want nobody", missing, groups)
	}
	if missing, _ := (Applied{}).Missing(nil); missing != 1 {
		t.Errorf("an empty rule misses %d people, want 1", missing)
	}
}
