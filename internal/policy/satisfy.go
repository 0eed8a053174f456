package policy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mdebot/mdebot/internal/identity"
)

// checkSatisfiable refuses rules that the file alone proves impossible: with
// every person of the file willing, no responder's request could be approved.
// Rules that hang on a directory group are only warned about, because the file
// does not say who is in it (threat-model A-16).
func (f *fileReader) checkSatisfiable() {
	p := f.policy
	rules := p.rules
	if len(rules) == 0 {
		rules = []Rule{noRules}
	}
	for _, r := range rules {
		if groups := p.directoryGroups(r); len(groups) > 0 {
			f.warnAt(r.Line, "rule %q: whether enough people can approve is known only at run time, because it depends on the directory: %s",
				r.Name, strings.Join(groups, ", "))
			continue
		}
		a := r.applied("")
		if why, ok := p.satisfiable(a); !ok {
			if r.Line == 0 {
				f.warnAt(0, "nobody can approve anything: %s", why)
				continue
			}
			f.fault(r.Line, "rule %q cannot be satisfied: %s", r.Name, why)
			continue
		}
		if len(p.directoryGroups(Rule{From: r.Then})) == 0 {
			for _, requester := range p.stuck(a, MaxThen) {
				f.warnAt(r.Line, "rule %q: requests by %s (%s) can never be approved, because too few others may vote", r.Name, requester.Name, requester.ID.Object)
			}
		}
		raised := a.Raised("a limit")
		if why, ok := p.satisfiable(raised); !ok {
			f.warnAt(r.Line, "rule %q: a request above a limit could not be approved: %s", r.Name, why)
		}
	}
}

// Unsatisfiable lists the rules that nobody's request could pass right now, with
// the reason, for the daily check. The error is as in [Policy.Eligible].
func (p *Policy) Unsatisfiable(ctx context.Context, source GroupSource) ([]string, error) {
	var out []string
	var first error
	for _, r := range p.rules {
		a := r.applied("")
		possible := slices.ContainsFunc(p.responders(), func(requester identity.Person) bool {
			ok, err := p.Satisfiable(ctx, source, a, requester.ID, 0)
			first = cmp.Or(first, err)
			return ok
		})
		if !possible {
			out = append(out, fmt.Sprintf("rule %q (line %d) cannot be satisfied: it needs %s", r.Name, r.Line, need(a)))
		}
	}
	return out, first
}

// satisfiable reports whether some responder's request could be approved by the
// people of the file, and why not. What a rule falls back to is for the absence of
// people, and does not make up for a rule that nobody could meet.
func (p *Policy) satisfiable(a Applied) (why string, ok bool) {
	responders := p.responders()
	if len(responders) == 0 {
		return "nobody has the role responder, so nobody could ask", false
	}
	if len(p.stuck(a, 0)) < len(responders) {
		return "", true
	}
	// Told for the requester whose request comes closest.
	least, able := maxApprovers+1, 0
	var nobodyFor []string
	for _, requester := range responders {
		voters, represent, _ := p.eligible(context.Background(), nil, a, requester.ID, 0)
		if missing, groups := a.Missing(represent); missing < least {
			least, able, nobodyFor = missing, len(voters), groups
		}
	}
	why = fmt.Sprintf("it needs %s; the file has %s who could vote", need(a), count(able))
	if len(a.From) > 1 && len(nobodyFor) > 0 {
		why += ", which leaves nobody for " + strings.Join(nobodyFor, ", ")
	}
	return why, false
}

// stuck lists the responders whose requests too few others could approve, with the
// groups up to the step asked.
func (p *Policy) stuck(a Applied, asked int) []identity.Person {
	var stuck []identity.Person
	for _, requester := range p.responders() {
		if ok, _ := p.Satisfiable(context.Background(), nil, a, requester.ID, asked); !ok {
			stuck = append(stuck, requester)
		}
	}
	return stuck
}

func (p *Policy) responders() []identity.Person {
	return slices.DeleteFunc(p.book.People(), func(p identity.Person) bool { return !p.Has(identity.Responder) })
}

// directoryGroups names the directory groups that r draws on.
func (p *Policy) directoryGroups(r Rule) []string {
	var names []string
	for _, g := range p.groups {
		if g.Directory != nil && slices.Contains(r.From, g.Name) {
			names = append(names, g.Name)
		}
	}
	return names
}

// need says in words what a asks for.
func need(a Applied) string {
	if a.Alone {
		return "nobody besides the requester"
	}
	words := fmt.Sprintf("%s besides the requester, %s", count(a.Approvers), from(a.Groups()))
	for i, d := range a.Each {
		join := ", and "
		if i == 0 {
			join = "; of them "
		}
		words += join + count(d.Approvers) + " " + from(d.From)
	}
	return words
}

func from(groups []string) string {
	switch {
	case len(groups) > 1:
		return "one of them for each of " + strings.Join(groups, ", ")
	case groups[0] == RoleApprovers:
		return "with the role approver"
	}
	return "from " + groups[0]
}

func count(n int) string {
	switch n {
	case 0:
		return "nobody"
	case 1:
		return "1 person"
	default:
		return fmt.Sprintf("%d people", n)
	}
}
