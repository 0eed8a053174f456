package policy

import (
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// Digest is a message that sums a day up, once a day in each of its places.
type Digest struct {
	When Rhythm
	To   []string
	// WhenQuiet posts it also on days with nothing to tell.
	WhenQuiet bool `json:",omitempty"`
	Line      int  `json:"-"`
}

// Digests lists the daily digests; of the policy of one tenant, with the places that
// something of it is posted to.
func (p *Policy) Digests() []Digest { return slices.Clone(p.digests) }

func (f *fileReader) digestEntry(n ast.Node) {
	d := Digest{Line: lineOf(n)}
	f.object(n, "digest", keys{
		"to":         func(n ast.Node) { d.To = f.destinations(n, "digest: to", true) },
		"at":         f.timeOfDay(&d.When),
		"zone":       f.timeZone(&d.When),
		"when_quiet": func(n ast.Node) { d.WhenQuiet = f.boolean(n, "when_quiet") },
	})
	d.When.daily()
	for _, key := range []string{"to", "at"} {
		if !has(n, key) || empty(n, key) {
			f.fault(d.Line, "digest: %q is missing or empty", key)
		}
	}
	for _, other := range f.policy.digests {
		for _, place := range d.To {
			if slices.Contains(other.To, place) {
				f.fault(d.Line, "digest: %s has one already, on line %d", place, other.Line)
			}
		}
	}
	f.policy.digests = append(f.policy.digests, d)
}

// warnDigests finds places that nothing is posted to, whose digests would be empty.
func (f *fileReader) warnDigests() {
	for _, d := range f.policy.digests {
		for _, place := range d.To {
			used := f.policy.posts(place)
			for _, t := range f.policy.tenants {
				used = used || slices.Contains(t.places(), place)
			}
			if !used {
				f.warnAt(d.Line, "digest: no route and no post_to names %s, so its digest has no alerts and requests to sum up", place)
			}
		}
	}
}

// posts reports whether alerts or requests are posted to a place.
func (p *Policy) posts(place string) bool {
	return slices.Contains(p.postTo, place) || slices.ContainsFunc(p.routes, func(r Route) bool { return slices.Contains(r.To, place) })
}

// digestsOf keeps the places that something of a tenant is posted to.
func (p *Policy) digestsOf(t Tenant) []Digest {
	var own []Digest
	for _, d := range p.digests {
		d.To = slices.DeleteFunc(slices.Clone(d.To), func(place string) bool { return !p.posts(place) && !slices.Contains(t.places(), place) })
		if len(d.To) > 0 && t.ID != "" {
			own = append(own, d)
		}
	}
	return own
}
