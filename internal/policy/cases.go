package policy

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/mdebot/mdebot/internal/identity"
)

// Case is one line of a table that a policy is held to: who asks for what on
// which machine, and what must come of it.
type Case struct {
	Name   string `yaml:"name"`
	Action string `yaml:"action"` // default isolate
	Scope  string `yaml:"scope"`
	By     string `yaml:"by"` // as in [Policy.FindPerson]; empty leaves it open
	// Machine is absent for one whose facts cannot be read.
	Machine *CaseMachine `yaml:"machine"`
	Want    Want         `yaml:"want"`
}

// CaseMachine are the facts of a case. What is left out is a fact that Defender
// did not give.
type CaseMachine struct {
	Name     string   `yaml:"name"`
	OS       string   `yaml:"os"`
	Tags     []string `yaml:"tags"`
	Group    string   `yaml:"group"`
	Risk     string   `yaml:"risk"`
	Exposure string   `yaml:"exposure"`
	Value    string   `yaml:"value"`
	Health   string   `yaml:"health"`
}

// Want is what must come of a case. What is left out is not compared, but for
// refused: left out, the request must not be refused.
type Want struct {
	Rule      string   `yaml:"rule"`
	Approvers int      `yaml:"approvers"`
	From      []string `yaml:"from"`
	TierZero  *bool    `yaml:"tier0"`
	// CanApprove are exactly the people whose approval would count, by name or ID.
	CanApprove []string `yaml:"can_approve"`
	// Refused is person, role, protected or nobody.
	Refused string `yaml:"refused"`
}

// Facts is m as rules see it.
func (m *CaseMachine) Facts() *Machine {
	if m == nil {
		return nil
	}
	return &Machine{
		Name: strings.ToLower(m.Name), OS: m.OS, Tags: m.Tags, Group: m.Group,
		Risk: m.Risk, Exposure: m.Exposure, Value: m.Value, Health: m.Health,
	}
}

// ParseCases reads a table of cases. It is as strict as mdebot.yaml: unknown and
// repeated keys are refused, and so is a case that expects nothing.
func ParseCases(name string, text []byte) ([]Case, error) {
	var file struct {
		Cases []Case `yaml:"cases"`
	}
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %s", name, yaml.FormatError(err, false, false))
	}
	if len(file.Cases) == 0 {
		return nil, fmt.Errorf("%s: cases is empty; nothing would be tested", name)
	}
	var faults []error
	for i := range file.Cases {
		c := &file.Cases[i]
		c.Action = cmp.Or(c.Action, "isolate")
		if c.Name == "" {
			faults = append(faults, fmt.Errorf("%s: case %d has no name", name, i+1))
		}
		if c.Want.empty() {
			faults = append(faults, fmt.Errorf("%s: case %q expects nothing; fill in want", name, c.Name))
		}
		switch c.Want.Refused {
		case "", RefusedPerson, RefusedRole, RefusedProtected, RefusedNobody:
		default:
			faults = append(faults, fmt.Errorf("%s: case %q: refused is person, role, protected or nobody, not %q", name, c.Name, c.Want.Refused))
		}
	}
	return file.Cases, errors.Join(faults...)
}

func (w Want) empty() bool {
	return w.Rule == "" && w.Approvers == 0 && w.From == nil && w.TierZero == nil && w.CanApprove == nil && w.Refused == ""
}

// Question is what c asks of p; role is what asking for its action needs.
func (c Case) Question(p *Policy, action Action, role identity.Role) (Question, error) {
	q := Question{Action: action, Role: role, Machine: c.Machine.Facts()}
	if c.By == "" {
		return q, nil
	}
	person, err := p.FindPerson(c.By)
	if err == nil {
		q.By = person.ID
		return q, nil
	}
	if c.Want.Refused != RefusedPerson {
		return Question{}, err
	}
	q.By = identity.PersonID{Object: c.By} // nobody
	return q, nil
}

// Differences compares what came of q with what c expects, a line for each.
func (c Case) Differences(ctx context.Context, p *Policy, source GroupSource, q Question) []string {
	x := p.Explain(ctx, source, q)
	var diff []string
	differ := func(what string, want, got any) {
		diff = append(diff, fmt.Sprintf("%s: want %v, got %v", what, want, got))
	}
	w := c.Want
	if x.Refused != w.Refused {
		got := cmp.Or(x.Refused, "not refused")
		if x.Why != "" {
			got += " (" + x.Why + ")"
		}
		differ("refused", cmp.Or(w.Refused, "not refused"), got)
	}
	if w.Rule != "" && w.Rule != x.Rule.Name {
		differ("rule", fmt.Sprintf("%q", w.Rule), fmt.Sprintf("%q", x.Rule.Name))
	}
	if w.Approvers != 0 && w.Approvers != x.Rule.Approvers {
		differ("approvers", w.Approvers, x.Rule.Approvers)
	}
	if w.From != nil && !slices.Equal(slices.Sorted(slices.Values(w.From)), slices.Sorted(slices.Values(x.Rule.From))) {
		differ("from", w.From, x.Rule.From)
	}
	if w.TierZero != nil && *w.TierZero != x.Rule.TierZero {
		differ("tier0", *w.TierZero, x.Rule.TierZero)
	}
	if w.CanApprove != nil {
		diff = append(diff, approverDifferences(p, w.CanApprove, x.Approvers)...)
	}
	return diff
}

func approverDifferences(p *Policy, want []string, got []EligiblePerson) []string {
	var diff []string
	expected := map[string]bool{}
	for _, s := range want {
		person, err := p.FindPerson(s)
		if err != nil {
			diff = append(diff, "can_approve: "+err.Error())
			continue
		}
		expected[person.ID.String()] = true
		if !slices.ContainsFunc(got, func(e EligiblePerson) bool { return e.Person == person.ID.String() }) {
			diff = append(diff, "can_approve: "+person.Name+" cannot")
		}
	}
	for _, e := range got {
		if !expected[e.Person] {
			diff = append(diff, "can_approve: "+e.Name+" can, too")
		}
	}
	return diff
}
