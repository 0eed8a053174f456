package approvals

import (
	"slices"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/tenant"
)

// State of a request or of one of its targets. See the package comment for who
// may move it.
type State string

// The states.
const (
	Pending   State = "pending"
	Approved  State = "approved"
	Executing State = "executing"
	Submitted State = "submitted" // Defender has taken the action; it is being followed
	Unknown   State = "unknown"   // no clear answer; looked up, then settled by people
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Denied    State = "denied"
	Withdrawn State = "withdrawn"
	Expired   State = "expired"
	Void      State = "void" // something changed between the votes and the claim
)

// Resolved reports whether the state is final.
func (s State) Resolved() bool {
	switch s {
	case Succeeded, Failed, Denied, Withdrawn, Expired, Void:
		return true
	case Pending, Approved, Executing, Submitted, Unknown:
	}
	return false
}

// TargetKind is what an action acts on.
type TargetKind string

// The target kinds.
const (
	TargetMachine   TargetKind = "machine"
	TargetIndicator TargetKind = "indicator"
	// TargetMachineAction is one of Defender's machine actions: the target of a
	// cancellation. Rules ask about its machine.
	TargetMachineAction TargetKind = "machine-action"
	// TargetRequest is another request: the target of a settlement.
	TargetRequest TargetKind = "request"
	// TargetTenant is the whole tenant: the target of an unfreeze.
	TargetTenant TargetKind = "tenant"
	// TargetMute is a mute that does not exist before it is approved.
	TargetMute TargetKind = "mute"
)

// IndicatorID is the ID of a target that is an indicator: its type as Defender
// writes it and its value.
func IndicatorID(kind, value string) string { return kind + ":" + value }

// ParseIndicatorID is the inverse of [IndicatorID].
func ParseIndicatorID(id string) (kind, value string) {
	kind, value, _ = strings.Cut(id, ":")
	return kind, value
}

// onMachine reports whether there is a machine that rules can ask about.
func (k TargetKind) onMachine() bool { return k == TargetMachine || k == TargetMachineAction }

// Request is a proposed action that waits for votes. Everything that voters see
// and that is executed is frozen when it is opened and covered by Digest.
type Request struct {
	ID     string // UUIDv7
	Number int64  // short number people use, per tenant
	Tenant tenant.ID
	Action string            // Action.Kind, such as "isolate"
	Params map[string]string // canonical parameters, such as scope=full
	// Targets in the order they are executed and shown; at most 25.
	Targets       []Target
	Requester     identity.PersonID
	RequesterName string
	RequesterAs   identity.Principal // the account the request came from
	Origin        string             // chat.Destination of the asking conversation
	OriginThread  string
	Reason        string // the requester's words
	// Rule is the rule that applied at opening, with its text; the stricter of
	// this and the rule in force at execution decides (threat-model A-09).
	Rule       policy.Applied
	PolicyHash string
	Nonce      string
	Digest     string // hex SHA-256 over the canonical encoding
	State      State
	Version    int64
	Opened     time.Time
	Expires    time.Time // undecided then = expired
	DecidedAt  time.Time // quorum, denial, withdrawal, expiry or void
	ExecuteBy  time.Time // approved but not claimed by then = void
	Closed     time.Time
	// Why says in a sentence for people what ended it: the denier's words, what
	// changed, what Defender said.
	Why   string
	Votes []Vote
	// Reminders counts those sent while pending; after the second one, each tells
	// the groups of a further step of the rule.
	Reminders int64
}

// secondReminderSent is Reminders when the next one is for the rule's first step.
const secondReminderSent = 2

// Asked is the last step of the rule whose groups were told that they are asked.
func (r Request) Asked() int { return max(0, int(r.Reminders)-secondReminderSent) }

// withdrawn tells whether the requester took the request back. What had been sent
// by then goes on; nothing of it is sent again (threat-model INV-5).
func (r Request) withdrawn() bool {
	return slices.ContainsFunc(r.Targets, func(t Target) bool { return t.State == Withdrawn })
}

// stopped tells whether a denial or a withdrawal ended the request.
func (r Request) stopped() bool {
	return r.withdrawn() || slices.ContainsFunc(r.Votes, func(v Vote) bool { return v.Deny })
}

// Target is one thing the request acts on, as shown to voters and as it went.
type Target struct {
	Index int
	Kind  TargetKind
	ID    string // at Defender
	Name  string // as shown at opening; outside text
	// Facts are what the card showed, as JSON; kept for the record.
	Facts []byte

	State      State
	Generation int64 // fences an execution against an earlier one
	LeaseOwner string
	LeaseUntil time.Time
	IntentAt   time.Time // when the latest call may have left
	// UnclearAt is when the target last became unknown.
	UnclearAt time.Time
	// Due is when an approved target may be claimed; later than the approval when
	// Defender asked to wait. Afterwards it is when the target's job was last made
	// sure of, and zero when people were asked to settle it.
	Due      time.Time
	Attempts int // calls that may have left
	// Settled counts settlements as not done; the first allows one more attempt.
	Settled int
	// MachineAction is Defender's ID of what was started, and ActionStatus where
	// it stands in Defender's words.
	MachineAction string
	ActionStatus  string
	Why           string
	Updated       time.Time
}

// Vote is one person's vote. There is at most one per person and request.
type Vote struct {
	By     identity.PersonID
	Name   string
	As     identity.Principal
	Deny   bool
	Reason string
	Digest string // of the request as the voter saw it
	At     time.Time
}
