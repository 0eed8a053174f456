package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mdebot/mdebot/internal/identity"
)

// DirectoryGroup is a group of the directory, named by `entra_group`.
type DirectoryGroup struct {
	Tenant string // Entra tenant ID in lower case
	Object string // group object ID in lower case
}

// String is "tenant/object".
func (g DirectoryGroup) String() string { return g.Tenant + "/" + g.Object }

// GroupSource tells who is in directory groups. Answers are at most five minutes
// old. What it could not find out is an error and counts as no (threat-model
// I-09).
type GroupSource interface {
	// Member reports whether p is in the group, also through nested groups.
	Member(ctx context.Context, group DirectoryGroup, p identity.PersonID) (bool, error)
}

// Entitled reports whether p may vote under a, and which of a's groups p could
// stand for: those it belongs to, and those that it stands in for when the groups
// up to the step asked are asked. It goes by p's entry in this policy, whatever roles the value
// carries. A nil source leaves directory groups empty. The error says which
// memberships could not be read; the answer stands without them.
func (p *Policy) Entitled(ctx context.Context, source GroupSource, person identity.Person, a Applied, asked int) (represents []string, ok bool, err error) {
	current, known := p.book.Person(person.ID)
	if !known {
		return nil, false, nil
	}
	var faults []error
	for _, name := range a.Groups() {
		in, err := p.inGroup(ctx, source, name, current)
		if err != nil {
			faults = append(faults, err)
		}
		if in {
			represents = append(represents, name)
		}
	}
	for _, s := range a.Then {
		if s.Step > asked || slices.Contains(represents, s.For) {
			continue
		}
		in, err := p.inGroup(ctx, source, s.Group, current)
		if err != nil {
			faults = append(faults, err)
		}
		if in {
			represents = append(represents, s.For)
		}
	}
	return represents, len(represents) > 0, errors.Join(faults...)
}

// Eligible lists who may vote under a on a request of requester when the groups up
// to the step asked are asked, in the order of the file. The error is the first membership that could not be read; the list
// stands without it.
func (p *Policy) Eligible(ctx context.Context, source GroupSource, a Applied, requester identity.PersonID, asked int) ([]identity.Person, error) {
	people, _, err := p.eligible(ctx, source, a, requester, asked)
	return people, err
}

// Satisfiable reports whether enough people, standing for every group, could
// approve a request of requester under a when the groups up to the step asked are
// asked. The error is as in [Policy.Eligible].
func (p *Policy) Satisfiable(ctx context.Context, source GroupSource, a Applied, requester identity.PersonID, asked int) (bool, error) {
	_, represent, err := p.eligible(ctx, source, a, requester, asked)
	missing, _ := a.Missing(represent)
	return missing == 0, err
}

func (p *Policy) eligible(ctx context.Context, source GroupSource, a Applied, requester identity.PersonID, asked int) (people []identity.Person, represent [][]string, err error) {
	for _, person := range p.book.People() {
		if person.ID == requester {
			continue
		}
		groups, ok, fault := p.Entitled(ctx, source, person, a, asked)
		err = cmp.Or(err, fault)
		if ok {
			people = append(people, person)
			represent = append(represent, groups)
		}
	}
	return people, represent, err
}

// Approver reports whether the approval of person counts under some rule: it
// holds the role approver or belongs to a group that a rule names. The error says
// which memberships could not be read; the answer stands without them.
func (p *Policy) Approver(ctx context.Context, source GroupSource, person identity.Person) (bool, error) {
	current, known := p.book.Person(person.ID)
	if !known {
		return false, nil
	}
	if current.Has(identity.Approver) {
		return true, nil
	}
	var faults []error
	for _, r := range p.rules {
		for _, name := range slices.Concat(r.From, r.Then) {
			in, err := p.inGroup(ctx, source, name, current)
			if in {
				return true, nil
			}
			if err != nil {
				faults = append(faults, err)
			}
		}
	}
	return false, errors.Join(faults...)
}

// Memberships lists the groups of the file that person belongs to, for whoever
// asks why they may or may not vote.
func (p *Policy) Memberships(ctx context.Context, source GroupSource, person identity.Person) ([]string, error) {
	var names []string
	var faults []error
	for _, g := range p.groups {
		in, err := p.inGroup(ctx, source, g.Name, person)
		if err != nil {
			faults = append(faults, err)
		}
		if in {
			names = append(names, g.Name)
		}
	}
	return names, errors.Join(faults...)
}

func (p *Policy) inGroup(ctx context.Context, source GroupSource, name string, person identity.Person) (bool, error) {
	if name == RoleApprovers {
		return person.Has(identity.Approver), nil
	}
	i := slices.IndexFunc(p.groups, func(g Group) bool { return g.Name == name })
	if i < 0 {
		// The file of the day no longer has the group: nobody is in it.
		return false, nil
	}
	g := p.groups[i]
	if g.Directory == nil {
		return slices.Contains(g.Members, person.ID), nil
	}
	if source == nil {
		return false, nil
	}
	in, err := source.Member(ctx, *g.Directory, person.ID)
	if err != nil {
		return false, fmt.Errorf("read whether %s is in group %s (%s): %w", person.ID, name, g.Directory, err)
	}
	return in, nil
}
