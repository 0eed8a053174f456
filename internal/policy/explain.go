package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mdebot/mdebot/internal/identity"
)

// Question is what somebody would ask for, on one machine.
type Question struct {
	Action Action
	// Role is what asking for the action needs; empty asks about the rule alone.
	Role identity.Role
	// Machine is nil when its facts could not be read.
	Machine *Machine
	// By is who would ask. Zero leaves the requester open: everybody entitled is
	// listed then.
	By identity.PersonID
}

// Explanation is what a policy answers to a [Question], and how it came to that.
// Limits are not counted: they depend on what was asked before.
type Explanation struct {
	PolicyHash string `json:"policy_hash"`
	// Rules are those that were looked at, in their order.
	Rules []RuleVerdict `json:"rules"`
	Rule  Applied       `json:"rule"`
	// Refused is why the request would not be opened: one of the Refused… words,
	// or empty; Why says it in a sentence.
	Refused string `json:"refused,omitempty"`
	Why     string `json:"why,omitempty"`
	// Approvers are the people whose approval would count.
	Approvers []EligiblePerson `json:"approvers"`
	// Later are those whose approval would count when the rule falls back to them.
	Later []LaterPerson `json:"later,omitempty"`
	// Short tells that they cannot complete the quorum.
	Short bool `json:"short,omitempty"`
	// Unread says which memberships could not be read or were not looked up; those
	// people are missing from Approvers.
	Unread []string `json:"unread,omitempty"`
}

// Why a request would be refused.
const (
	RefusedPerson    = "person"    // not under people
	RefusedRole      = "role"      // without the role to ask
	RefusedProtected = "protected" // never from chat
	RefusedNobody    = "nobody"    // nobody could approve
)

// RuleVerdict is what one rule says about the facts.
type RuleVerdict struct {
	Name    string `json:"name"`
	Line    int    `json:"line"`
	When    string `json:"when,omitempty"`
	Verdict string `json:"verdict"` // "matches", "does not match", "cannot be known"
}

// EligiblePerson is somebody whose approval would count.
type EligiblePerson struct {
	Person string   `json:"person"`
	Name   string   `json:"name"`
	For    []string `json:"for"` // groups the person could stand for
}

// LaterPerson is somebody whose approval would count after a while.
type LaterPerson struct {
	EligiblePerson
	AfterMinutes int `json:"after_minutes"`
}

// Explain answers q as a request at this moment would be answered. A nil source
// leaves directory groups empty and says so in Unread.
func (p *Policy) Explain(ctx context.Context, source GroupSource, q Question) Explanation {
	x := Explanation{PolicyHash: p.hash, Rules: p.trace(q), Rule: p.Decide(q.Action, []*Machine{q.Machine})}
	for _, person := range p.book.People() {
		if person.ID == q.By {
			continue
		}
		for step := range MaxThen + 1 {
			groups, ok, err := p.Entitled(ctx, source, person, x.Rule, step)
			if err != nil && (step == MaxThen || ok) {
				x.Unread = append(x.Unread, err.Error())
			}
			one := EligiblePerson{Person: person.ID.String(), Name: person.Name, For: groups}
			switch {
			case ok && step == 0:
				x.Approvers = append(x.Approvers, one)
			case ok:
				x.Later = append(x.Later, LaterPerson{one, int(AskedAfter(step).Minutes())})
			}
			if ok {
				break
			}
		}
	}
	if source == nil {
		if names := p.directoryGroups(Rule{From: append(slices.Clone(x.Rule.From), x.Rule.fallsBackTo()...)}); len(names) > 0 {
			x.Unread = append(x.Unread, "directory groups are not looked up here: "+strings.Join(names, ", "))
		}
	}
	enough, _ := p.Satisfiable(ctx, source, x.Rule, q.By, 0)
	x.Short = !enough
	x.Refused, x.Why = p.refusal(q, x)
	return x
}

// refusal is what stands in the way of q, in the order in which it is looked at.
func (p *Policy) refusal(q Question, x Explanation) (word, why string) {
	if !q.By.IsZero() {
		person, known := p.book.Person(q.By)
		switch {
		case !known:
			return RefusedPerson, fmt.Sprintf("%s is not under people", q.By)
		case q.Role != "" && !person.Has(q.Role):
			return RefusedRole, fmt.Sprintf("%s has not the role %s", person.Name, q.Role)
		}
	}
	if reason, yes := p.Protected(q.Action, q.Machine); yes {
		return RefusedProtected, reason
	}
	if len(x.Approvers)+len(x.Later) == 0 && !x.Rule.Alone {
		return RefusedNobody, "nobody could approve it: it needs " + need(x.Rule)
	}
	return "", ""
}

// trace says what each rule says about q, up to the one that decides.
func (p *Policy) trace(q Question) []RuleVerdict {
	facts := facts{action: &q.Action, machine: q.Machine}.activation()
	var all []RuleVerdict
	for _, r := range p.governing(q.Action) {
		v := RuleVerdict{Name: r.Name, Line: r.Line, When: r.When, Verdict: "does not match"}
		verdict := r.when.eval(facts)
		if q.Machine == nil && !q.Action.Alone {
			verdict = unknown // [Policy.Decide] does not look further either
		}
		switch verdict {
		case not:
			all = append(all, v)
			continue
		case matches:
			v.Verdict = "matches"
		case unknown:
			v.Verdict = "cannot be known"
		}
		return append(all, v)
	}
	return all
}

// Need says in words how many people the rule asks for, and from where.
func (a Applied) Need() string { return need(a) }

// FindPerson finds somebody by "<tenant>/<object>", by object ID, by Slack
// account or by a name that only one person has. It is for people who ask about
// a file; nothing that decides compares names.
func (p *Policy) FindPerson(s string) (identity.Person, error) {
	var found []identity.Person
	for _, person := range p.book.People() {
		hit := s == person.ID.String() || s == person.ID.Object || s == person.Name
		for _, a := range person.Accounts {
			hit = hit || a.Key() == s
		}
		if hit {
			found = append(found, person)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return identity.Person{}, fmt.Errorf("nobody under people is %q; give an object ID, a Slack account (T…/U…) or the name", s)
	}
	return identity.Person{}, fmt.Errorf("%d people are called %q; give the object ID", len(found), s)
}
