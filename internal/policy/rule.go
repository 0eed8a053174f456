package policy

import (
	"cmp"
	"slices"
	"strings"
)

// Applied is the rule that decides a request: the strictest of the rules of its
// targets, with limits already added. It is stored with the request and readable
// without the mdebot.yaml of the day.
type Applied struct {
	Name string `json:"name"`
	// Text is the rule as written, for the record.
	Text string `json:"text"`
	// Why says why this rule applies when its condition does not say it: facts
	// that could not be read, or no rule that matched.
	Why string `json:"why,omitempty"`
	// Approvers is the number of people needed besides the requester: at least 1, and
	// 0 only with Alone.
	Approvers int `json:"approvers"`
	// Alone marks an action for which no rule asks for anybody else. What raises it
	// or is stricter ends that.
	Alone bool `json:"alone,omitempty"`
	// From names groups; an approver belongs to at least one, and with several
	// every group must be represented, each by another person. Empty means holders
	// of the role approver; beside groups, they are the group [RoleApprovers].
	From []string `json:"from,omitempty"`
	// Then are the groups that the rule falls back to, in their order.
	Then []StandIn `json:"then,omitempty"`
	// OverLimit says which limit added an approver, or is empty.
	OverLimit string `json:"over_limit,omitempty"`
	// TierZero marks requests that count against the tier 0 limit.
	TierZero bool `json:"tier_zero,omitempty"`
	// Each is what several rules ask for that were combined and draw on different
	// groups. Every one has to be met by itself: somebody who approves for one
	// group must not make up for somebody missing from another.
	Each []Demand `json:"each,omitempty"`
}

// Demand is what one of several combined rules asks for.
type Demand struct {
	Approvers int      `json:"approvers"`
	From      []string `json:"from"` // as [Applied.Groups] lists them
}

// RoleApprovers stands in [Applied.From] for the holders of the role approver,
// when another target of the same request needs a named group. No group of the
// file can have this name.
const RoleApprovers = "role:approver"

// Groups are the groups to be represented: From, or the holders of the role
// approver when it is empty.
func (a Applied) Groups() []string {
	if a.Alone {
		return nil
	}
	if len(a.From) == 0 {
		return []string{RoleApprovers}
	}
	return slices.Clone(a.From)
}

// Raised is a with one more approver because limit was reached. However many
// limits are over, there is one more approver (threat-model A-25).
func (a Applied) Raised(limit string) Applied {
	a.Alone = false
	if a.OverLimit == "" {
		a.Approvers++
		a.Each = raised(a.Each, 1)
		a.OverLimit = limit
		return a
	}
	a.OverLimit = joinDistinct(a.OverLimit, limit, ", ")
	return a
}

// Missing says what an approval still needs when these people have approved,
// each given as the groups that [Policy.Entitled] found for them: how many more
// people, at least, and which groups nobody stands for yet. One person stands
// for one group, so two groups need two people even if one belongs to both; who
// belongs to none does not count.
func (a Applied) Missing(approvers [][]string) (people int, groups []string) {
	people, groups = missing(a.Approvers, a.Groups(), approvers)
	for _, d := range a.Each {
		more, left := missing(d.Approvers, d.From, approvers)
		people = max(people, more)
		for _, g := range left {
			if !slices.Contains(groups, g) {
				groups = append(groups, g)
			}
		}
	}
	return max(people, len(groups)), groups
}

func missing(needed int, wanted []string, approvers [][]string) (people int, groups []string) {
	counted := 0
	for _, theirs := range approvers {
		if slices.ContainsFunc(wanted, func(g string) bool { return slices.Contains(theirs, g) }) {
			counted++
		}
	}
	groups = unrepresented(wanted, approvers)
	return max(needed-counted, len(groups), 0), groups
}

// Stricter combines two rules so that whatever satisfies the result satisfies
// both: each by itself, and the groups of both by different people; tier 0 if
// either is. It is how a request of several machines gets its rule and how an
// open request follows a policy that changed (threat-model A-09).
func Stricter(a, b Applied) Applied {
	s := Applied{
		Name:      joinDistinct(a.Name, b.Name, " + "),
		Text:      joinDistinct(a.Text, b.Text, "\n---\n"),
		Why:       joinDistinct(a.Why, b.Why, "; "),
		Approvers: max(a.withoutLimit(), b.withoutLimit()),
		OverLimit: joinDistinct(a.OverLimit, b.OverLimit, ", "),
		TierZero:  a.TierZero || b.TierZero,
		Then:      standIns(a, b),
		Each:      distinct(append(a.demands(), b.demands()...)),
		Alone:     a.Alone && b.Alone,
	}
	if len(a.From) > 0 || len(b.From) > 0 {
		s.From = slices.Compact(slices.Sorted(slices.Values(append(a.Groups(), b.Groups()...))))
	}
	s.Approvers = max(s.Approvers, len(s.From))
	if s.OverLimit != "" {
		s.Approvers++
		s.Each = raised(s.Each, 1)
	}
	return s
}

// demands are what a asks for without the approver of a limit, rule by rule.
func (a Applied) demands() []Demand {
	if a.Alone {
		return nil
	}
	if len(a.Each) == 0 {
		return []Demand{{Approvers: a.withoutLimit(), From: slices.Sorted(slices.Values(a.Groups()))}}
	}
	if a.OverLimit != "" {
		return raised(a.Each, -1)
	}
	return slices.Clone(a.Each)
}

// distinct keeps the largest of the demands on the same groups; demands on the
// same groups alone need no list.
func distinct(all []Demand) []Demand {
	slices.SortFunc(all, func(a, b Demand) int {
		return cmp.Or(slices.Compare(a.From, b.From), b.Approvers-a.Approvers)
	})
	all = slices.CompactFunc(all, func(a, b Demand) bool { return slices.Equal(a.From, b.From) })
	if len(all) == 1 {
		return nil
	}
	return all
}

func raised(all []Demand, by int) []Demand {
	all = slices.Clone(all)
	for i := range all {
		all[i].Approvers += by
	}
	return all
}

// withoutLimit is the number of approvers before Raised.
func (a Applied) withoutLimit() int {
	if a.OverLimit != "" {
		return a.Approvers - 1
	}
	return a.Approvers
}

// joinDistinct joins two lists that are already joined by sep, each part once.
func joinDistinct(a, b, sep string) string {
	switch {
	case a == "":
		return b
	case b == "":
		return a
	}
	parts := strings.Split(a, sep)
	for _, part := range strings.Split(b, sep) {
		if !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, sep)
}

// unrepresented says which groups are left without a person when everybody
// stands for at most one of theirs and as many groups as possible are covered.
func unrepresented(groups []string, people [][]string) []string {
	standsFor := make([]int, len(people)) // index into groups, or -1
	for i := range standsFor {
		standsFor[i] = -1
	}
	// A group takes a free person of its own, or one whose present group can be
	// moved to somebody else (augmenting paths).
	var find func(group int, asked []bool) bool
	find = func(group int, asked []bool) bool {
		for i, theirs := range people {
			if asked[i] || !slices.Contains(theirs, groups[group]) {
				continue
			}
			asked[i] = true
			if standsFor[i] < 0 || find(standsFor[i], asked) {
				standsFor[i] = group
				return true
			}
		}
		return false
	}
	var left []string
	for g := range groups {
		if !find(g, make([]bool, len(people))) {
			left = append(left, groups[g])
		}
	}
	return left
}
