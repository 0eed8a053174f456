package policy

import (
	"context"
	"errors"

	"github.com/goccy/go-yaml/ast"

	"github.com/mdebot/mdebot/internal/identity"
)

// scopeGrant is one entry of scopes: what the people of some groups see.
type scopeGrant struct {
	groups  []string
	written string
	when    condition
}

// Scope is which machines one person sees and may ask for. The zero value is none.
type Scope struct {
	all   bool
	whens []condition
}

// All reports whether nothing is kept from the person.
func (s Scope) All() bool { return s.all }

// Sees reports whether a machine is in the scope. One whose facts could not be read
// is in nobody's but of those who see all.
func (s Scope) Sees(m *Machine) bool {
	if s.all {
		return true
	}
	if m == nil {
		return false
	}
	f := facts{machine: m}.activation()
	for _, when := range s.whens {
		if when.eval(f) == matches {
			return true
		}
	}
	return false
}

// Scope is what person sees. People whom no entry of scopes is about see every
// machine; those of several entries see what one of them shows. A membership that
// cannot be read is an error: without it, somebody could see too much
// (threat-model D-03).
func (p *Policy) Scope(ctx context.Context, source GroupSource, person identity.PersonID) (Scope, error) {
	current, known := p.book.Person(person)
	if !known {
		return Scope{all: len(p.scopes) == 0}, nil
	}
	var s Scope
	var faults []error
	limited := false
	for _, g := range p.scopes {
		for _, name := range g.groups {
			in, err := p.inGroup(ctx, source, name, current)
			if err != nil {
				faults = append(faults, err)
			}
			if in {
				limited = true
				s.whens = append(s.whens, g.when)
				break
			}
		}
	}
	s.all = !limited
	if err := errors.Join(faults...); err != nil {
		return Scope{}, err
	}
	return s, nil
}

func (f *fileReader) scope(n ast.Node) {
	g := scopeGrant{}
	line := lineOf(n)
	f.object(n, "scope", keys{
		"for": func(n ast.Node) {
			f.list(n, "for", func(item ast.Node) {
				if group, ok := f.text(item, "for"); ok {
					g.groups = append(g.groups, group)
					f.groupUses = append(f.groupUses, f.use(group, item))
				}
			})
		},
		"machines": func(n ast.Node) { g.written, g.when = f.condition(n, machineFacts) },
	})
	if !has(n, "for") || empty(n, "for") {
		f.fault(line, "scope: %q is missing or empty", "for")
	}
	if !has(n, "machines") {
		f.missing(n, line, "scope", "machines")
	}
	f.policy.scopes = append(f.policy.scopes, g)
}
