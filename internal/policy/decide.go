package policy

import (
	"slices"
	"strings"
)

// Rule is one entry of approvals.rules.
type Rule struct {
	Name string
	// When is the condition as written; empty matches everything.
	When string
	// Approvers is the number of people needed besides the requester.
	Approvers int
	// From names groups as in [Applied].
	From []string
	// Then names the groups that stand in for it, in the order in which they are
	// asked.
	Then []string
	// Line is where the rule starts in the file.
	Line int

	text     string // as written, for the record
	when     condition
	tierZero bool // the rule is about tier 0
}

func (r Rule) applied(why string) Applied {
	a := Applied{
		Name:      r.Name,
		Text:      r.text,
		Why:       why,
		Approvers: r.Approvers,
		From:      slices.Clone(r.From),
		TierZero:  r.tierZero,
	}
	for i, group := range r.Then {
		a.Then = append(a.Then, StandIn{Group: group, For: a.Groups()[0], Step: i + 1})
	}
	return a
}

// Why a rule applies that did not match.
const (
	whyUnknown   = "facts about the machine that the rules read could not be read, so the strictest rule applies"
	whyNoMachine = "no rule is about this action alone, so the strictest rule applies"
	whyNoMatch   = "no rule matches, so the strictest rule applies"
)

// Decide says which rule governs an action on these machines, one entry for each
// target. An action that needs nobody else by default is governed only by the
// rules that ask about the action, and by none when none of them matches. Any other: the first rule that matches a machine, and for several machines the
// strictest combination. A nil machine, or a rule that needs a fact that is
// missing, gets the strictest rule of the file and counts as tier 0; so does an
// empty list, because nothing is known about it.
func (p *Policy) Decide(action Action, machines []*Machine) Applied {
	if len(machines) == 0 {
		return p.decide(action, nil)
	}
	a := p.decide(action, machines[0])
	for _, m := range machines[1:] {
		a = Stricter(a, p.decide(action, m))
	}
	return a
}

// DecideWithoutMachine says which rule governs an action that is about no
// machine, such as unfreeze: the first rule that the action alone meets. A rule
// before it that would have to know a machine, or no rule that is met, means the
// strictest rule of the file.
func (p *Policy) DecideWithoutMachine(action Action) Applied {
	facts := facts{action: &action}.activation()
	for _, r := range p.rules {
		verdict := r.when.eval(facts)
		if verdict == matches {
			return r.applied("")
		}
		if verdict == unknown {
			break
		}
	}
	return p.strictest().applied(whyNoMachine)
}

// alone is the answer for an action that needs nobody else, and about which no
// rule says otherwise.
var alone = Applied{
	Name:  "no second person",
	Text:  "no rule of mdebot.yaml asks for a second person for this action",
	Alone: true,
}

// governing are the rules that can decide an action, in their order. Those about
// machines alone were written for what needs a second person anyway.
func (p *Policy) governing(action Action) []Rule {
	if !action.Alone {
		return p.rules
	}
	return slices.DeleteFunc(slices.Clone(p.rules), func(r Rule) bool { return !r.when.reads("action") })
}

func (p *Policy) decideAlone(action Action, m *Machine) Applied {
	facts := facts{action: &action, machine: m}.activation()
	for _, r := range p.governing(action) {
		switch r.when.eval(facts) {
		case not:
		case matches:
			a := r.applied("")
			a.TierZero = a.TierZero || m == nil || m.TierZero()
			return a
		case unknown:
			return p.closed(whyUnknown)
		}
	}
	a := alone
	a.TierZero = m == nil || m.TierZero()
	return a
}

func (p *Policy) decide(action Action, m *Machine) Applied {
	if action.Alone {
		return p.decideAlone(action, m)
	}
	if m == nil {
		return p.closed(whyUnknown)
	}
	facts := facts{action: &action, machine: m}.activation()
	for _, r := range p.rules {
		switch r.when.eval(facts) {
		case not:
		case matches:
			a := r.applied("")
			a.TierZero = a.TierZero || m.TierZero()
			return a
		case unknown:
			return p.closed(whyUnknown)
		}
	}
	a := p.strictest().applied(whyNoMatch)
	a.TierZero = a.TierZero || m.TierZero()
	return a
}

// closed is the answer when it is not known which rule applies.
func (p *Policy) closed(why string) Applied {
	a := p.strictest().applied(why)
	a.TierZero = true
	return a
}

// noRules decides in a file without rules.
var noRules = Rule{
	Name:      "default",
	Approvers: 1,
	text:      "mdebot.yaml has no rules: one person with the role approver, besides the requester",
}

// strictest is the rule that asks for the most people, then for the most groups;
// among equals the first one written.
func (p *Policy) strictest() Rule {
	if len(p.rules) == 0 {
		r := noRules
		r.Approvers = max(r.Approvers, p.leastApprovers)
		return r
	}
	strictest := p.rules[0]
	for _, r := range p.rules[1:] {
		if r.Approvers > strictest.Approvers ||
			r.Approvers == strictest.Approvers && len(r.From) > len(strictest.From) {
			strictest = r
		}
	}
	return strictest
}

// TierZero reports whether the machine is one that decides about the whole company.
func (m *Machine) TierZero() bool {
	return slices.ContainsFunc(m.Tags, func(tag string) bool { return strings.EqualFold(tag, tierZeroTag) })
}

// Critical reports whether the machine is of tier 0 or, as Defender is told, of high
// value.
func (m *Machine) Critical() bool { return m.TierZero() || m.Value == "High" }

// protection is one entry of approvals.protected.
type protection struct {
	written string
	line    int
	when    condition
}

// Protected reports whether the action must never be done to the machine from
// chat, and by which condition. A machine whose facts could not be read is
// protected when a condition depends on them.
func (p *Policy) Protected(action Action, m *Machine) (reason string, yes bool) {
	facts := facts{action: &action, machine: m}.activation()
	for _, pr := range p.protected {
		switch pr.when.eval(facts) {
		case not:
		case matches:
			return "mdebot.yaml protects it: " + pr.written, true
		case unknown:
			return "its facts could not be read, and mdebot.yaml protects machines by them: " + pr.written, true
		}
	}
	return "", false
}
