package policy

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// ReadsTag names what in the file decides by a tag: a rule, a protection or a
// route; "" when nothing does. A condition that looks at tags other than by their
// whole names reads every tag. The tag of tier 0 is always read.
func (p *Policy) ReadsTag(tag string) string {
	tag = strings.TrimSpace(tag)
	for _, r := range p.rules {
		if r.when.readsTag(tag) {
			return fmt.Sprintf("the approval rule %q", r.Name)
		}
	}
	for _, x := range p.protected {
		if x.when.readsTag(tag) {
			return "a condition under protected"
		}
	}
	for _, r := range p.routes {
		if r.when.readsTag(tag) {
			return fmt.Sprintf("the route %q", r.Name)
		}
	}
	if strings.EqualFold(tag, tierZeroTag) {
		return "mdebot itself, as the mark of tier 0"
	}
	return ""
}

// DecisiveTags are the tags that rules and protections look for by their names, and
// that of tier 0.
func (p *Policy) DecisiveTags() []string {
	tags := []string{tierZeroTag}
	for _, when := range p.decisive() {
		if when.ast == nil {
			continue
		}
		ast.PreOrderVisit(when.ast.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
			if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != operators.In {
				return
			}
			if args := e.AsCall().Args(); len(args) == 2 && factOf(args[1]) == "machine.tags" && args[0].Kind() == ast.LiteralKind {
				tags = append(tags, literals(args[0])...)
			}
		}))
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}

func (p *Policy) decisive() []condition {
	var all []condition
	for _, r := range p.rules {
		all = append(all, r.when)
	}
	for _, x := range p.protected {
		all = append(all, x.when)
	}
	return all
}

// readsTag reports whether the verdict of c may depend on a machine having tag.
func (c condition) readsTag(tag string) bool {
	if c.ast == nil {
		return false
	}
	all, byName, named := 0, 0, false
	ast.PreOrderVisit(c.ast.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if factOf(e) == "machine.tags" {
			all++
		}
		if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != operators.In {
			return
		}
		args := e.AsCall().Args()
		if len(args) != 2 || factOf(args[1]) != "machine.tags" || args[0].Kind() != ast.LiteralKind {
			return
		}
		byName++
		for _, literal := range literals(args[0]) {
			named = named || strings.EqualFold(literal, tag)
		}
	}))
	return named || all > byName
}
