package policy

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/mdebot/mdebot/internal/identity"
)

// ScheduledHunt is a saved hunt that runs by itself and tells what is new. It runs
// with the rights that its owner has at that moment (threat-model H-07).
type ScheduledHunt struct {
	Name string
	// Saved names the hunt, and Hunt is what it was when the file was read.
	Saved string
	Hunt  Hunt `json:"-"`
	// With are the values of its parameters, and Span how far back it looks.
	With  map[string]string `json:",omitempty"`
	Span  time.Duration
	When  Rhythm
	Owner identity.PersonID
	// To are destinations, as of routes.
	To []string
	// Key names the columns that tell rows apart; none means all of them.
	Key []string `json:",omitempty"`
	// Tenants are names; none where there is one tenant.
	Tenants []string `json:",omitempty"`
	// AllowGuests lets guests read what goes to To.
	AllowGuests bool `json:",omitempty"`
	Line        int  `json:"-"`
}

// Bounds of scheduled hunts. Defender gives a tenant ten minutes of run time an
// hour, and people hunt out of the same.
const (
	leastEvery = 15 * time.Minute
	mostEvery  = 30 * day
	// mostHuntsPerHour is how many scheduled hunts an hour one tenant bears: at three
	// seconds each they take a fifth of its run time.
	mostHuntsPerHour = 40
	maxScheduled     = 50
	maxKeyColumns    = 10
)

// ScheduledHunts lists the hunts that run by themselves in the order of the file;
// of the policy of one tenant, those about it.
func (p *Policy) ScheduledHunts() []ScheduledHunt { return slices.Clone(p.scheduled) }

// HuntReaders says whether guests may read at a place what a scheduled hunt finds.
// Nobody of another organisation ever does.
func (p *Policy) HuntReaders(schedule, place string) (guests bool) {
	return slices.ContainsFunc(p.scheduled, func(s ScheduledHunt) bool {
		return s.Name == schedule && s.AllowGuests && slices.Contains(s.To, place)
	})
}

func (f *fileReader) schedule(n ast.Node) {
	s := ScheduledHunt{Line: lineOf(n)}
	f.object(n, "schedule", keys{
		"name": func(n ast.Node) { s.Name = f.label(n, "schedule: name") },
		"hunt": func(n ast.Node) { s.Saved, _ = f.text(n, "schedule: hunt") },
		"with": func(n ast.Node) {
			s.With = map[string]string{}
			f.entries(n, "with", func(name string, _ int, v ast.Node) { s.With[name] = f.paramValue(v, "with: "+name) })
		},
		"span": func(n ast.Node) { s.Span = f.span(n, "schedule: span", time.Minute, maxHuntSpan) },
		"every": func(n ast.Node) {
			s.When.Every = f.span(n, "schedule: every", leastEvery, mostEvery)
		},
		"at":   f.timeOfDay(&s.When),
		"zone": f.timeZone(&s.When),
		"owner": func(n ast.Node) {
			if tenant, object, ok := f.objectID(n, "schedule: owner"); ok {
				s.Owner = identity.PersonID{Tenant: tenant, Object: object}
			}
		},
		"to":           func(n ast.Node) { s.To = f.destinations(n, "schedule: to", true) },
		"key":          func(n ast.Node) { s.Key = f.keyColumns(n) },
		"tenants":      func(n ast.Node) { f.list(n, "schedule: tenants", func(item ast.Node) { f.scheduleTenant(item, &s) }) },
		"allow_guests": func(n ast.Node) { s.AllowGuests = f.boolean(n, "allow_guests") },
	})
	switch {
	case s.Name == "":
		f.missing(n, s.Line, "schedule", "name")
	case !huntName.MatchString(s.Name):
		f.fault(s.Line, "schedule: name: %q: write lower-case letters, digits and dashes", s.Name)
	case slices.ContainsFunc(f.policy.scheduled, func(other ScheduledHunt) bool { return other.Name == s.Name }):
		f.fault(s.Line, "schedule: another one is also named %q", s.Name)
	}
	switch daily := has(n, "at"); {
	case daily == has(n, "every"):
		f.fault(s.Line, "schedule %s: write either every, such as every: 1h, or at, such as at: \"07:30\"", s.Name)
	case !daily && has(n, "zone"):
		f.fault(s.Line, "schedule %s: zone belongs to at; every needs none", s.Name)
	case daily:
		s.When.daily()
	}
	for _, key := range []string{"hunt", "owner", "to"} {
		if !has(n, key) || empty(n, key) {
			f.fault(s.Line, "schedule %s: %q is missing or empty", s.Name, key)
		}
	}
	f.policy.scheduled = append(f.policy.scheduled, s)
}

// paramValue reads a value that may be written as a number.
func (f *fileReader) paramValue(n ast.Node, what string) string {
	if number, ok := n.(*ast.IntegerNode); ok {
		return number.Token.Value
	}
	s, _ := f.text(n, what)
	return s
}

func (f *fileReader) keyColumns(n ast.Node) []string {
	var all []string
	f.list(n, "schedule: key", func(item ast.Node) {
		column, ok := f.text(item, "schedule: key")
		switch {
		case !ok:
		case len(column) > maxTableName || !tableName.MatchString(column):
			f.fault(lineOf(item), "schedule: key: %q is no name of a column", column)
		case slices.Contains(all, column):
			f.fault(lineOf(item), "schedule: key: %s is named twice", column)
		default:
			all = append(all, column)
		}
	})
	if len(all) == 0 || len(all) > maxKeyColumns {
		f.fault(lineOf(n), "schedule: key: name from 1 to %d columns, or leave the key out to tell rows apart by all of theirs", maxKeyColumns)
	}
	return all
}

func (f *fileReader) scheduleTenant(n ast.Node, s *ScheduledHunt) {
	name, ok := f.text(n, "schedule: tenants")
	switch {
	case !ok:
	case slices.Contains(s.Tenants, name):
		f.fault(lineOf(n), "schedule: tenants: %s is named twice", name)
	default:
		s.Tenants = append(s.Tenants, name)
	}
}

// checkSchedules holds the schedules to what stands elsewhere in the file.
func (f *fileReader) checkSchedules() {
	if len(f.policy.scheduled) > maxScheduled {
		f.fault(f.policy.scheduled[maxScheduled].Line, "schedules: more than %d", maxScheduled)
	}
	hunts := f.policy.Hunts()
	for i := range f.policy.scheduled {
		s := &f.policy.scheduled[i]
		h := slices.IndexFunc(hunts, func(h Hunt) bool { return h.Name == s.Saved })
		switch {
		case s.Saved == "":
		case h < 0:
			f.fault(s.Line, "schedule %s: there is no saved hunt %q; write one under hunts, or take one that `hunt list` shows", s.Name, s.Saved)
		default:
			s.Hunt = hunts[h]
			f.checkFilled(s)
		}
		f.checkTenants(*s)
	}
	f.checkLoad()
}

// checkFilled holds the values of a schedule to the parameters of its hunt, and its
// owner to the hunt's role.
func (f *fileReader) checkFilled(s *ScheduledHunt) {
	if s.Span == 0 {
		s.Span = s.Hunt.Span
	}
	for _, p := range s.Hunt.Params {
		value, given := s.With[p.Name]
		switch {
		case !given:
			f.fault(s.Line, "schedule %s: the hunt %s needs %s: add it under with, %s", s.Name, s.Hunt.Name, p.Name, ParamTypes[p.Type])
		case f.opts.ParamProblem != nil:
			if problem := f.opts.ParamProblem(p.Type, value); problem != "" {
				f.fault(s.Line, "schedule %s: with: the value of %s %s: %q; write %s", s.Name, p.Name, problem, value, ParamTypes[p.Type])
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.With)) {
		if !slices.ContainsFunc(s.Hunt.Params, func(p HuntParam) bool { return p.Name == name }) {
			f.fault(s.Line, "schedule %s: with: the hunt %s takes no %q", s.Name, s.Hunt.Name, name)
		}
	}
	if s.Owner.IsZero() {
		return
	}
	i := slices.IndexFunc(f.people, func(p identity.Person) bool { return p.ID == s.Owner })
	switch {
	case i < 0:
		f.fault(s.Line, "schedule %s: owner: %s is not under people", s.Name, s.Owner)
	case !f.people[i].Has(s.Hunt.Role):
		f.fault(s.Line, "schedule %s: owner: %s lacks the role %s, which the hunt %s needs", s.Name, f.people[i].Name, s.Hunt.Role, s.Hunt.Name)
	}
}

// checkTenants refuses tenants that are not there, owners who may not work on them,
// and places that belong to others.
func (f *fileReader) checkTenants(s ScheduledHunt) {
	listed := f.policy.tenants
	switch {
	case len(listed) == 0 && len(s.Tenants) > 0:
		f.fault(s.Line, "schedule %s: tenants: there is one tenant; leave the key out", s.Name)
		return
	case len(listed) > 0 && len(s.Tenants) == 0:
		f.fault(s.Line, "schedule %s: there are several tenants; name those it runs in under tenants", s.Name)
	}
	for _, name := range s.Tenants {
		t, ok := f.policy.TenantNamed(name)
		if !ok {
			f.fault(s.Line, "schedule %s: there is no tenant %q under tenants", s.Name, name)
			continue
		}
		if !s.Owner.IsZero() && !f.policy.inListed(t.Groups, s.Owner) {
			f.fault(s.Line, "schedule %s: its owner is in no group that may work on the tenant %s", s.Name, t.Name)
		}
		for _, place := range s.To {
			for _, other := range listed {
				if other.ID != t.ID && slices.Contains(other.places(), place) && !slices.Contains(t.places(), place) {
					f.fault(s.Line, "schedule %s: %s is a place of the tenant %s, and may not get what is found in %s", s.Name, place, other.Name, t.Name)
				}
			}
		}
	}
}

// checkLoad refuses more hunts than a tenant bears beside those of people.
func (f *fileReader) checkLoad() {
	load := map[string]float64{}
	for _, s := range f.policy.scheduled {
		of := s.Tenants
		if len(of) == 0 {
			of = []string{""}
		}
		for _, name := range of {
			before := load[strings.ToLower(name)]
			after := before + s.When.perHour()
			load[strings.ToLower(name)] = after
			if before <= mostHuntsPerHour && after > mostHuntsPerHour {
				f.fault(s.Line, "schedule %s: from here on they make more than %d hunts an hour in one tenant, and Defender's quota is there for people first; run some less often", s.Name, mostHuntsPerHour)
			}
		}
	}
}

// about keeps the schedules of one tenant.
func about(all []ScheduledHunt, t Tenant) []ScheduledHunt {
	return slices.DeleteFunc(slices.Clone(all), func(s ScheduledHunt) bool {
		return !slices.ContainsFunc(s.Tenants, func(name string) bool {
			return strings.EqualFold(name, t.Name) || strings.EqualFold(name, string(t.ID))
		})
	})
}
