package policy

import (
	"fmt"
	"reflect"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
)

// Bounds of one condition. The cost is CEL's own measure; a condition of a few
// comparisons costs a few dozen.
const (
	maxConditionCost  = 20_000
	maxConditionBytes = 4_096
	maxConditionDepth = 32
)

// verdict is what a condition says about facts.
type verdict int

const (
	not     verdict = iota
	matches         // also for an absent condition
	unknown         // a fact it depends on is missing, or it could not be evaluated
)

// condition is a compiled `when`. The zero value matches everything.
type condition struct {
	program cel.Program
	ast     *ast.AST
}

// environment is a set of facts that conditions of one kind may read.
type environment func() (*cel.Env, error)

// The environments. Approval rules and protections ask about the action, the
// machine and the indicator, routes about the alert and the machine.
var (
	ruleFacts environment = sync.OnceValues(func() (*cel.Env, error) { return newEnvironment("action", "machine", "indicator") })
	// machineFacts are what a scope asks about.
	machineFacts environment = sync.OnceValues(func() (*cel.Env, error) { return newEnvironment("machine") })
	routeFacts   environment = sync.OnceValues(func() (*cel.Env, error) { return newEnvironment("alert", "machine") })
)

func newEnvironment(names ...string) (*cel.Env, error) {
	opts := []cel.EnvOption{
		cel.ParserExpressionSizeLimit(maxConditionBytes),
		cel.ParserRecursionLimit(maxConditionDepth),
		ext.NativeTypes(ext.ParseStructTags(true), reflect.TypeFor[Action](), reflect.TypeFor[Machine](), reflect.TypeFor[Alert](), reflect.TypeFor[Indicator]()),
	}
	typeOf := map[string]string{"action": "policy.Action", "machine": "policy.Machine", "alert": "policy.Alert", "indicator": "policy.Indicator"}
	for _, name := range names {
		opts = append(opts, cel.Variable(name, cel.ObjectType(typeOf[name])))
	}
	return cel.NewEnv(opts...)
}

// compile reads a condition. The faults say where in the text they are.
func compile(environment environment, text string) (condition, []error) {
	env, err := environment()
	if err != nil {
		return condition{}, []error{err}
	}
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		var faults []error
		for _, e := range issues.Errors() {
			// The parser goes on to list every token it could have taken.
			message, _, _ := strings.Cut(e.Message, " expecting {")
			faults = append(faults, fmt.Errorf("%s (%s)", message, place(text, e.Location.Line(), e.Location.Column())))
		}
		return condition{}, faults
	}
	if checked.OutputType() != cel.BoolType {
		return condition{}, []error{fmt.Errorf("is %s, but a condition must be true or false", checked.OutputType())}
	}
	program, err := env.Program(checked,
		cel.EvalOptions(cel.OptOptimize, cel.OptPartialEval),
		cel.CostLimit(maxConditionCost))
	if err != nil {
		return condition{}, []error{err}
	}
	return condition{program: program, ast: checked.NativeRep()}, nil
}

// place names a position of text for people; CEL counts columns from 0.
func place(text string, line, column int) string {
	if strings.Contains(text, "\n") {
		return fmt.Sprintf("line %d, character %d of the condition", line, column+1)
	}
	return fmt.Sprintf("character %d of the condition", column+1)
}

func (c condition) eval(facts cel.Activation) verdict {
	if c.program == nil {
		return matches
	}
	out, _, err := c.program.Eval(facts)
	switch {
	case err != nil:
		return unknown
	case out == types.True:
		return matches
	case out == types.False:
		return not
	default:
		return unknown
	}
}

// facts are the values of one evaluation. It implements cel.Activation.
type facts struct {
	action  *Action
	machine *Machine
	alert   *Alert
	// indicator is nil for actions on something else: no question about it is met
	// then.
	indicator *Indicator
}

func (f facts) ResolveName(name string) (any, bool) {
	switch {
	case name == "machine" && f.machine != nil:
		return f.machine, true
	case name == "alert" && f.alert != nil:
		return f.alert, true
	case name == "action" && f.action != nil:
		return f.action, true
	case name == "indicator" && f.indicator != nil:
		return f.indicator, true
	case name == "indicator":
		return &Indicator{}, true
	}
	return nil, false
}

func (f facts) Parent() cel.Activation { return nil }

// activation is what conditions are evaluated over: the facts, with those that
// are missing marked as unknown.
func (f facts) activation() cel.Activation {
	missing := f.missing()
	if len(missing) == 0 {
		return f
	}
	partial, err := cel.PartialVars(f, missing...)
	if err != nil {
		// Not for an Activation; without it, conditions on missing facts fail and
		// are unknown as well.
		return f
	}
	return partial
}

// Patterns of facts that can be missing.
var (
	anyMachine     = cel.AttributePattern("machine")
	machineName    = cel.AttributePattern("machine").QualString("name")
	machineOS      = cel.AttributePattern("machine").QualString("os")
	machineRisk    = cel.AttributePattern("machine").QualString("risk")
	machineExpose  = cel.AttributePattern("machine").QualString("exposure")
	machineValue   = cel.AttributePattern("machine").QualString("value")
	machineHealth  = cel.AttributePattern("machine").QualString("health")
	alertSeverity  = cel.AttributePattern("alert").QualString("severity")
	alertCreatedAt = cel.AttributePattern("alert").QualString("created")
)

// missing names the facts that are not known. Every machine has these; only tags
// and the group can truly be empty.
func (f facts) missing() []*cel.AttributePatternType {
	var patterns []*cel.AttributePatternType
	missing := func(is bool, pattern *cel.AttributePatternType) {
		if is {
			patterns = append(patterns, pattern)
		}
	}
	if m := f.machine; m == nil {
		patterns = append(patterns, anyMachine)
	} else {
		missing(m.Name == "", machineName)
		missing(m.OS == "", machineOS)
		missing(m.Risk == "", machineRisk)
		missing(m.Exposure == "", machineExpose)
		missing(m.Value == "", machineValue)
		missing(m.Health == "", machineHealth)
	}
	if a := f.alert; a != nil {
		missing(a.Severity == "", alertSeverity)
		missing(a.Created.IsZero(), alertCreatedAt)
	}
	return patterns
}
