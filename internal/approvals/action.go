package approvals

import (
	"context"
	"maps"
	"slices"

	"github.com/mdebot/mdebot/internal/identity"
)

// Action is a kind of thing people can ask for. A new one is an entry in
// [Actions], an effect in containment and words on the card.
type Action struct {
	// Kind names it in rows, rules and commands, such as "isolate".
	Kind string
	// Family groups actions of which a target takes one at a time.
	Family string
	// Opposite is the kind that undoes it, or "".
	Opposite string
	// Role is what a person needs to ask for it.
	Role identity.Role
	// Permission is the Defender application permission it runs with, or "" when
	// nothing is called.
	Permission string
	// Target is what it acts on.
	Target TargetKind
	// Params lists the allowed values of each parameter; the first is the default.
	Params map[string][]string
	// Undo marks actions whose limits are counted apart, so that a day of many
	// isolations leaves room for the releases.
	Undo bool
	// Verb and Done are how it is said: "isolate", "isolated".
	Verb, Done string

	// apply is the effect of an action that calls nobody; judging and effect are
	// one transaction then.
	apply func(ctx context.Context, e *edit, ref Ref, d Decision) error
}

// local reports whether the action is carried out here and calls nobody. Limits
// and freezes are about the others, and local ones are asked for by methods of
// their own.
func (a Action) local() bool { return a.apply != nil }

// Local reports whether kind is an action that is carried out here, by
// [Service.Apply].
func (s *Service) Local(kind string) bool { return s.actions[kind].local() }

// The kinds of action.
const (
	Isolate = "isolate"
	Release = "release"
	Settle  = "settle"
	// Unfreeze ends a freeze; its target is the tenant.
	Unfreeze = "unfreeze"
)

// Outcomes of a settlement, the values of its parameter "outcome".
const (
	SettleDone    = "done"
	SettleNotDone = "not-done"
)

// Registry holds the actions by kind. It is not changed after start.
type Registry map[string]Action

// Actions returns the actions of this version.
func Actions() Registry {
	return registry(
		Action{
			Kind: Isolate, Family: "isolation", Opposite: Release,
			Role: identity.Responder, Permission: "Machine.Isolate", Target: TargetMachine,
			Params: map[string][]string{"scope": {"full", "selective"}},
			Verb:   "isolate", Done: "isolated",
		},
		Action{
			Kind: Release, Family: "isolation", Opposite: Isolate,
			Role: identity.Responder, Permission: "Machine.Isolate", Target: TargetMachine,
			Undo: true, Verb: "release", Done: "released",
		},
		Action{
			Kind: Settle, Family: "settlement", Role: identity.Responder, Target: TargetRequest,
			Params: map[string][]string{"outcome": {SettleNotDone, SettleDone}},
			Verb:   "settle", Done: "settled", apply: applySettlement,
		},
		Action{
			Kind: Unfreeze, Family: "freeze", Role: identity.Responder, Target: TargetTenant,
			Verb: "end", Done: "ended", apply: endFreeze,
		},
	)
}

func registry(actions ...Action) Registry {
	r := make(Registry, len(actions))
	for _, a := range actions {
		r[a.Kind] = a
	}
	return r
}

// canonical returns params with every parameter of a present, or the name of one
// that a does not have or whose value it does not allow.
func (a Action) canonical(params map[string]string) (all map[string]string, bad string) {
	all = make(map[string]string, len(a.Params))
	for name, allowed := range a.Params {
		all[name] = allowed[0]
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if !slices.Contains(a.Params[name], params[name]) {
			return nil, name
		}
		all[name] = params[name]
	}
	return all, ""
}
