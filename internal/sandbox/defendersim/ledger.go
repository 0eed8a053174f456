package defendersim

import (
	"slices"
	"strings"
	"time"
)

// EffectKind is what changed.
type EffectKind string

// The kinds of effects. Those of machine actions are the action's type.
const (
	EffectIsolate     EffectKind = "Isolate"
	EffectUnisolate   EffectKind = "Unisolate"
	EffectRestrict    EffectKind = "RestrictCodeExecution"
	EffectUnrestrict  EffectKind = "UnrestrictCodeExecution"
	EffectScan        EffectKind = "RunAntiVirusScan"
	EffectQuarantine  EffectKind = "StopAndQuarantineFile"
	EffectPackage     EffectKind = "CollectInvestigationPackage"
	EffectIndicator   EffectKind = "SetIndicator"
	EffectUnindicator EffectKind = "DeleteIndicator"
	EffectCancel      EffectKind = "Cancel"
	EffectAlertUpdate EffectKind = "UpdateAlert"
	// EffectIncidentUpdate is a change of an incident.
	EffectIncidentUpdate EffectKind = "UpdateIncident"
	EffectTag            EffectKind = "Tag"
)

// Effect is one change that somebody brought about: a machine action that was
// accepted, whether or not the caller was told, a cancellation, an alert update.
// Refused calls leave none.
type Effect struct {
	At        time.Time
	Kind      EffectKind
	App       string // client ID of the token, or the person for the portal
	Portal    bool
	MachineID string
	AlertID   string
	ActionID  string
	Comment   string
	Detail    string // scope, file, or the fields that were set
}

// Effects returns the ledger, oldest first. Filters are ANDed; none returns all.
func (t *Tenant) Effects(filters ...func(Effect) bool) []Effect {
	_, unlock := t.lock()
	defer unlock()
	return slices.DeleteFunc(slices.Clone(t.effects), func(e Effect) bool {
		return slices.ContainsFunc(filters, func(keep func(Effect) bool) bool { return !keep(e) })
	})
}

// OfKind, OnMachine and CommentHas are filters for [Tenant.Effects].
func OfKind(k EffectKind) func(Effect) bool { return func(e Effect) bool { return e.Kind == k } }

// OnMachine keeps the effects on one machine.
func OnMachine(id string) func(Effect) bool { return func(e Effect) bool { return e.MachineID == id } }

// CommentHas keeps the effects whose comment contains a marker.
func CommentHas(marker string) func(Effect) bool {
	return func(e Effect) bool { return strings.Contains(e.Comment, marker) }
}
