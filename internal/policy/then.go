package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// StandIn is a group that a rule falls back to: its members may approve in place
// of another group, once a request has waited for long enough.
type StandIn struct {
	Group string `json:"group"`
	// For is the group of [Applied.Groups] that they stand for.
	For string `json:"for"`
	// Step is the group's place in the order: 1 is asked first.
	Step int `json:"step"`
}

const (
	// MaxThen is how many groups a rule may fall back to.
	MaxThen = 3
	// NextAfter is how long a request waits for its own groups, and NextEvery how
	// much longer before each further group is asked.
	NextAfter = 15 * time.Minute
	NextEvery = 5 * time.Minute
)

// AskedAfter is how long a request waits before the groups of a step are asked.
func AskedAfter(step int) time.Duration { return NextAfter + time.Duration(step-1)*NextEvery }

// Asked is the last step that is asked of a request that has waited so long. Time
// alone decides it, so that it is the same whoever looks, and whenever.
func Asked(waited time.Duration) int {
	if waited < NextAfter {
		return 0
	}
	return min(MaxThen, 1+int((waited-NextAfter)/NextEvery))
}

// NextGroups are the groups that a falls back to in one step; none means that
// nobody else is asked then.
func (a Applied) NextGroups(step int) []string {
	var groups []string
	for _, s := range a.Then {
		if s.Step == step && !slices.Contains(groups, s.Group) {
			groups = append(groups, s.Group)
		}
	}
	return groups
}

// fallsBackTo are all of them.
func (a Applied) fallsBackTo() []string {
	var groups []string
	for step := range MaxThen {
		groups = append(groups, a.NextGroups(step+1)...)
	}
	return groups
}

// standIns are those of both rules that satisfy both: for a group that both ask
// for, the stand-ins of both alone, and not before each of them asks.
func standIns(a, b Applied) []StandIn {
	var both []StandIn
	of := func(one, other Applied) {
		for _, s := range one.Then {
			if !slices.Contains(other.Groups(), s.For) {
				both = append(both, s)
				continue
			}
			for _, o := range other.Then {
				if o.Group == s.Group && o.For == s.For {
					s.Step = max(s.Step, o.Step)
					both = append(both, s)
				}
			}
		}
	}
	of(a, b)
	of(b, a)
	slices.SortFunc(both, func(a, b StandIn) int {
		return cmp.Or(cmp.Compare(a.Step, b.Step), cmp.Compare(a.Group, b.Group), cmp.Compare(a.For, b.For))
	})
	return slices.Compact(both)
}

// checkThen refuses what a rule cannot fall back to.
func (f *fileReader) checkThen(r Rule) {
	switch {
	case len(r.Then) > MaxThen:
		f.fault(r.Line, "rule: then names %d groups; a request lives for an hour at most, so name at most %d", len(r.Then), MaxThen)
	case len(r.Then) > 0 && len(r.From) > 1:
		f.fault(r.Line, "rule: then cannot follow several groups of from, because each of those must be represented by its own people")
	}
	for _, group := range r.Then {
		if slices.Contains(r.From, group) {
			f.fault(r.Line, "rule: group %q is in from and in then; leave it out of then", group)
		}
	}
}

// warnThen warns about groups whose turn never comes.
func (f *fileReader) warnThen(r Rule) {
	for i, group := range r.Then {
		if after := AskedAfter(i + 1); after >= f.policy.expireAfter {
			f.warnAt(r.Line, "rule %q: %s would be asked after %d minutes, and expire_after ends the request before", r.Name, group, int(after.Minutes()))
		}
	}
}

// thenText is the fall-back in the words of the file.
func thenText(groups []string) string {
	if len(groups) == 0 {
		return ""
	}
	return fmt.Sprintf("\nthen: [%s]", strings.Join(groups, ", "))
}
