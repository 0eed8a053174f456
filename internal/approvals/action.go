package approvals

import (
	"context"
	"maps"
	"regexp"
	"slices"

	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
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
	// nothing is called or the target decides.
	Permission string
	// Target is what it acts on.
	Target TargetKind
	// Params are what it takes besides its targets.
	Params map[string]Param
	// Repeat says what an attempt without a clear answer allows.
	Repeat Repeat
	// Undo marks actions whose limits are counted apart, so that a day of many
	// isolations leaves room for the releases.
	Undo bool
	// Verb and Done are how it is said: "isolate", "isolated".
	Verb, Done string

	// alone reports whether nobody else is needed unless a rule that asks about the
	// action says so; nil means never. Limits count those apart.
	alone func(params map[string]string) bool
	// doubts is what Defender's documentation says against the action on a system;
	// nil says nothing.
	doubts func(params map[string]string, system string) []Doubt
	// apply is the effect of an action that calls nobody; judging and effect are
	// one transaction then.
	apply func(ctx context.Context, e *edit, ref Ref, d Decision) error
}

// Param is one parameter of an action.
type Param struct {
	// Values are those allowed, the first is the default.
	Values []string
	// Form is what an acceptable value looks like when they cannot be listed. There
	// is no default then but the empty text, where Form admits it.
	Form *regexp.Regexp
	// Example is a value that Form admits.
	Example string
	// Says is the form in words for people.
	Says string
}

// Default is the value of a parameter that was not given.
func (p Param) Default() string {
	if len(p.Values) > 0 {
		return p.Values[0]
	}
	return ""
}

func (p Param) allows(value string) bool {
	if p.Form != nil {
		return p.Form.MatchString(value)
	}
	return slices.Contains(p.Values, value)
}

// Repeat says whether an attempt whose outcome is unclear may be made again.
type Repeat int

// The policies.
const (
	// RepeatNever: a second call may have a second effect, and what is read
	// afterwards proves no absence. People settle it.
	RepeatNever Repeat = iota
	// RepeatWhenAbsent: what is read afterwards shows whether it took effect, and
	// calling twice does what calling once does.
	RepeatWhenAbsent
)

// Local reports whether the action is carried out here and calls nobody. Limits
// and freezes are about the others, and local ones are asked for by methods of
// their own.
func (a Action) Local() bool { return a.apply != nil }

// Alone reports whether the action needs nobody but the requester, unless a rule
// that asks about the action says so. Params must be canonical.
func (a Action) Alone(params map[string]string) bool { return a.alone != nil && a.alone(params) }

// Doubts is what Defender's documentation says against the action on a system,
// named as Defender does.
func (a Action) Doubts(params map[string]string, system string) []Doubt {
	if a.doubts == nil {
		return nil
	}
	return a.doubts(params, system)
}

// AsRuled is the action as rules see it.
func (a Action) AsRuled(params map[string]string) policy.Action {
	return policy.Action{Kind: a.Kind, Family: a.Family, Scope: params["scope"], Alone: a.Alone(params)}
}

// Local reports whether kind is an action that is carried out here, by
// [Service.Apply].
func (s *Service) Local(kind string) bool { return s.actions[kind].Local() }

// The kinds of action.
const (
	Isolate    = "isolate"
	Release    = "release"
	Contain    = "contain"
	Restrict   = "restrict"
	Unrestrict = "unrestrict"
	Scan       = "scan"
	Quarantine = "quarantine"
	Package    = "package"
	Cancel     = "cancel"
	Block      = "block"
	Unblock    = "unblock"
	Tag        = "tag"
	Settle     = "settle"
	// Unfreeze ends a freeze; its target is the tenant.
	Unfreeze = "unfreeze"
	// Mute keeps alerts out of chat for a while; its target is the mute.
	Mute = "mute"
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
			Params: map[string]Param{
				"scope": {Values: []string{"full", "selective"}},
				"for":   {Form: timedForm, Example: "4h", Says: "Give a time from 15m to 7d, such as 90m, 4h or 2d, or leave it out."},
			},
			Verb: "isolate", Done: "isolated", doubts: isolationDoubts,
		},
		Action{
			Kind: Release, Family: "isolation", Opposite: Isolate,
			Role: identity.Responder, Permission: "Machine.Isolate", Target: TargetMachine,
			Undo: true, Verb: "release", Done: "released",
		},
		Action{
			// It has no opposite: the API does not say how a containment ends.
			Kind: Contain, Family: "isolation",
			Role: identity.Responder, Permission: "Machine.Isolate", Target: TargetMachine,
			Verb: "contain", Done: "contained",
		},
		Action{
			Kind: Restrict, Family: "restriction", Opposite: Unrestrict,
			Role: identity.Responder, Permission: "Machine.RestrictExecution", Target: TargetMachine,
			Verb: "restrict", Done: "restricted", doubts: restrictionDoubts,
		},
		Action{
			Kind: Unrestrict, Family: "restriction", Opposite: Restrict,
			Role: identity.Responder, Permission: "Machine.RestrictExecution", Target: TargetMachine,
			Undo: true, Verb: "unrestrict", Done: "unrestricted", doubts: restrictionDoubts,
		},
		Action{
			Kind: Scan, Family: "scan",
			Role: identity.Responder, Permission: "Machine.Scan", Target: TargetMachine,
			Params: map[string]Param{"scope": {Values: []string{"quick", "full"}}},
			Verb:   "scan", Done: "scanned", doubts: scanDoubts,
			alone: func(map[string]string) bool { return true },
		},
		Action{
			Kind: Quarantine, Family: "quarantine",
			Role: identity.Responder, Permission: "Machine.StopAndQuarantine", Target: TargetMachine,
			Params: map[string]Param{"file": {
				Form: sha1Form, Example: "87662bc3d60e4200ceaf7aae249d1c343f4b83c9", Says: "Give the file's SHA-1, 40 hexadecimal digits.",
			}},
			Verb: "quarantine a file on", Done: "quarantined", doubts: quarantineDoubts,
		},
		Action{
			Kind: Package, Family: "package",
			Role: identity.Responder, Permission: "Machine.CollectForensics", Target: TargetMachine,
			Verb: "collect the investigation package of", Done: "collected", doubts: packageDoubts,
		},
		Action{
			// What it takes depends on what is cancelled, and so does who decides: as
			// many as the action itself needs.
			Kind: Cancel, Family: "cancellation",
			Role: identity.Responder, Target: TargetMachineAction,
			Params: map[string]Param{"type": {Values: cancellable}},
			Repeat: RepeatWhenAbsent,
			Verb:   "cancel", Done: "cancelled",
			alone: func(params map[string]string) bool { return params["type"] == "RunAntiVirusScan" },
		},
		Action{
			Kind: Block, Family: "indicator", Opposite: Unblock,
			Role: identity.Responder, Permission: "Ti.ReadWrite.All", Target: TargetIndicator,
			Params: map[string]Param{
				"effect": {Values: []string{"block", "warn", "audit"}},
				"expires": {
					Form: expiryForm, Example: "2031-01-31T12:00:00Z", Says: "Give a time such as 7d, or leave it out.",
				},
			},
			Repeat: RepeatWhenAbsent,
			Verb:   "block", Done: "in force",
		},
		Action{
			Kind: Unblock, Family: "indicator", Opposite: Block,
			Role: identity.Responder, Permission: "Ti.ReadWrite.All", Target: TargetIndicator,
			// The indicator that people decided about, and no later one of that value.
			Params: map[string]Param{"indicator": {Form: indicatorForm, Example: "995", Says: "Name the indicator by its value."}},
			Repeat: RepeatWhenAbsent,
			Undo:   true, Verb: "unblock", Done: "removed",
		},
		Action{
			// It is asked for where a rule reads the tag; others change without it.
			Kind: Tag, Family: "tags",
			Role: identity.Responder, Permission: "Machine.ReadWrite.All", Target: TargetMachine,
			Params: map[string]Param{"tag": {Form: tagForm, Example: "+tier0", Says: "Write +tag to add one and -tag to remove one."}},
			Repeat: RepeatWhenAbsent,
			Verb:   "tag", Done: "tagged",
		},
		Action{
			Kind: Settle, Family: "settlement", Role: identity.Responder, Target: TargetRequest,
			Params: map[string]Param{"outcome": {Values: []string{SettleNotDone, SettleDone}}},
			Verb:   "settle", Done: "settled", apply: applySettlement,
		},
		Action{
			Kind: Unfreeze, Family: "freeze", Role: identity.Responder, Target: TargetTenant,
			Verb: "end", Done: "ended", apply: endFreeze,
		},
		Action{
			Kind: Mute, Family: "mute", Role: identity.Responder, Target: TargetMute,
			Verb: "mute", Done: "muted", apply: applyMute,
		},
	)
}

// expiryForm is a moment in UTC, or nothing.
var expiryForm = regexp.MustCompile(`^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?$`)

var indicatorForm = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

var tagForm = regexp.MustCompile(`^[+-]\S(.{0,198}\S)?$`)

var sha1Form = regexp.MustCompile(`^[0-9a-f]{40}$`)

// cancellable are the types of machine action that can be cancelled from chat, as
// Defender writes them. The first stands for a type that was not given: it needs a
// second person.
var cancellable = []string{
	"Isolate", "Unisolate", "RestrictCodeExecution", "UnrestrictCodeExecution", "StopAndQuarantineFile",
	"CollectInvestigationPackage", "RunAntiVirusScan",
}

func registry(actions ...Action) Registry {
	r := make(Registry, len(actions))
	for _, a := range actions {
		r[a.Kind] = a
	}
	return r
}

// Defaults are the parameters of a request that gives none.
func (a Action) Defaults() map[string]string { return a.With(nil) }

// With is params with the defaults of those that are missing. It checks nothing.
func (a Action) With(params map[string]string) map[string]string {
	all := make(map[string]string, len(a.Params))
	for name, p := range a.Params {
		all[name] = p.Default()
	}
	maps.Copy(all, params)
	return all
}

// canonical returns params with every parameter of a present, or the name of one
// that a does not have or whose value it does not allow.
func (a Action) canonical(params map[string]string) (all map[string]string, bad string) {
	all = a.Defaults()
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if _, known := a.Params[name]; !known {
			return nil, name
		}
		all[name] = storable(params[name])
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !a.Params[name].allows(all[name]) {
			return nil, name
		}
	}
	return all, ""
}
