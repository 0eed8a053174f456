package policy

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

const tierZeroTag = "tier0"

// vocabulary is what Defender documents for facts with a fixed set of values.
var vocabulary = map[string][]string{
	"alert.severity":   {"UnSpecified", "Informational", "Low", "Medium", "High"},
	"alert.status":     {"Unknown", "New", "InProgress", "Resolved"},
	"machine.risk":     {"None", "Informational", "Low", "Medium", "High"},
	"machine.exposure": {"None", "Low", "Medium", "High"},
	"machine.value":    {"Low", "Normal", "High"},
	"machine.health":   {"Active", "Inactive", "ImpairedCommunication", "NoSensorData", "NoSensorDataImpairedCommunication", "Unknown"},
	"action.scope":     {"", "full", "selective", "quick"},
}

// comparison is a fact held against a literal text.
type comparison struct {
	fact    string // "machine.name"
	literal string
}

// comparisons lists what the condition compares: with ==, !=, in a list, and by
// the beginning, end or middle of a text.
func (c condition) comparisons() []comparison {
	var found []comparison
	ast.PreOrderVisit(c.ast.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind {
			return
		}
		call := e.AsCall()
		operands := call.Args()
		if call.IsMemberFunction() {
			operands = append([]ast.Expr{call.Target()}, operands...)
		}
		switch call.FunctionName() {
		case operators.Equals, operators.NotEquals, operators.In, "startsWith", "endsWith", "contains":
		default:
			return
		}
		if len(operands) != 2 {
			return
		}
		for i, operand := range operands {
			if fact := factOf(operand); fact != "" {
				for _, literal := range literals(operands[1-i]) {
					found = append(found, comparison{fact: fact, literal: literal})
				}
			}
		}
	}))
	return found
}

// neverTrue finds comparisons that cannot hold because of letter case, each said
// in words. A domain controller rule that looks for "DC-" would otherwise
// quietly leave its machines to the next rule.
func (c condition) neverTrue() []string {
	var texts []string
	for _, cmp := range c.comparisons() {
		if cmp.fact == "machine.name" && strings.ToLower(cmp.literal) != cmp.literal {
			texts = append(texts, fmt.Sprintf("machine.name is lower case here; write %q instead of %q", strings.ToLower(cmp.literal), cmp.literal))
		}
		for _, value := range vocabulary[cmp.fact] {
			if value != cmp.literal && strings.EqualFold(value, cmp.literal) {
				texts = append(texts, fmt.Sprintf("%s is never %q; write %q", cmp.fact, cmp.literal, value))
			}
		}
	}
	return texts
}

// undocumented finds literals that no documented value equals. They are only
// worth a warning: Defender adds values without notice.
func (c condition) undocumented() []string {
	var texts []string
	for _, cmp := range c.comparisons() {
		if values := vocabulary[cmp.fact]; values != nil && !slices.Contains(values, cmp.literal) {
			texts = append(texts, fmt.Sprintf("%s is not known to be %q; documented are %s", cmp.fact, cmp.literal, strings.Join(values, ", ")))
		}
	}
	return texts
}

// attackerChosen are the facts that whoever controls a machine can set.
var attackerChosen = []string{"alert.title", "machine.name"}

// readsOutsideText names the attacker-chosen facts that the condition reads.
func (c condition) readsOutsideText() []string { return outsideText(c.ast.Expr()) }

func outsideText(e ast.Expr) []string {
	var found []string
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		if fact := factOf(e); slices.Contains(attackerChosen, fact) && !slices.Contains(found, fact) {
			found = append(found, fact)
		}
	}))
	return found
}

// textCanHide reports whether attacker-chosen text alone can keep the condition
// from holding: it is read, and no alternative (`||`) is free of it.
func (c condition) textCanHide() bool { return textCanHide(c.ast.Expr()) }

func textCanHide(e ast.Expr) bool {
	if len(outsideText(e)) == 0 {
		return false
	}
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.LogicalOr {
		return !slices.ContainsFunc(e.AsCall().Args(), func(e ast.Expr) bool { return !textCanHide(e) })
	}
	return true
}

// reads reports whether the condition asks about a subject, such as "machine".
func (c condition) reads(subject string) bool {
	if c.ast == nil {
		return false
	}
	reads := false
	ast.PreOrderVisit(c.ast.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		reads = reads || e.Kind() == ast.IdentKind && e.AsIdent() == subject
	}))
	return reads
}

// aboutTierZero reports whether a rule is for tier 0: by its name, or because its
// condition looks for the tag other than to exclude it.
func aboutTierZero(r Rule) bool {
	name := strings.NewReplacer(" ", "", "-", "", "_", "").Replace(strings.ToLower(r.Name))
	return strings.Contains(name, tierZeroTag) || r.when.ast != nil && mentionsTierZero(r.when.ast.Expr())
}

func mentionsTierZero(e ast.Expr) bool {
	switch e.Kind() {
	case ast.LiteralKind:
		s, ok := e.AsLiteral().Value().(string)
		return ok && strings.EqualFold(s, tierZeroTag)
	case ast.ListKind:
		return slices.ContainsFunc(e.AsList().Elements(), mentionsTierZero)
	case ast.ComprehensionKind:
		return mentionsTierZero(e.AsComprehension().LoopStep())
	case ast.CallKind:
		call := e.AsCall()
		if name := call.FunctionName(); name == operators.LogicalNot || name == operators.NotEquals {
			return false
		}
		return slices.ContainsFunc(call.Args(), mentionsTierZero)
	default:
		return false
	}
}

// factOf is "machine.name" for that selection, and empty for other expressions.
func factOf(e ast.Expr) string {
	if e.Kind() != ast.SelectKind {
		return ""
	}
	operand := e.AsSelect().Operand()
	if operand.Kind() != ast.IdentKind {
		return ""
	}
	return operand.AsIdent() + "." + e.AsSelect().FieldName()
}

// literals are the texts that e is made of, when it is a literal or a list.
func literals(e ast.Expr) []string {
	switch e.Kind() {
	case ast.LiteralKind:
		if s, ok := e.AsLiteral().Value().(string); ok {
			return []string{s}
		}
	case ast.ListKind:
		var all []string
		for _, element := range e.AsList().Elements() {
			all = append(all, literals(element)...)
		}
		return all
	default:
	}
	return nil
}
