package approvals

import (
	"encoding/json"
	"time"

	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Asked is where a request, vote or withdrawal came from, for the record. The
// account is what the adapter authenticated; the person behind it is looked up
// here, so that nothing can name somebody else.
type Asked struct {
	By           identity.Principal
	Conversation string // chat.Destination
	Thread       string
	Delivery     string
}

// OpenInput asks for a new request. Values are as people gave them.
type OpenInput struct {
	Asked
	Tenant  tenant.ID
	Action  string
	Params  map[string]string
	Targets []TargetInput
	Reason  string
}

// TargetInput is one target as shown to the requester, bound by ID.
type TargetInput struct {
	ID   string
	Name string
	// Facts are what the card will show, as JSON; frozen with the request.
	Facts json.RawMessage
	// Machine is what rules may ask; nil when it could not be read, and then the
	// strictest rule applies.
	Machine *policy.Machine
	// Own marks an indicator that is one of our machines.
	Own bool
}

// Opened is the answer to a request that was accepted.
type Opened struct {
	Request Request
	// Joined tells that the request was there already, by Request.RequesterName.
	Joined bool
	// Eligible are the people besides the requester whose approval would count now.
	Eligible []identity.Person
	// Shortfall says why these people cannot complete the quorum at the moment, or
	// is empty.
	Shortfall string
}

// VoteInput is one person's vote.
type VoteInput struct {
	Asked
	Tenant  tenant.ID
	Request string // ID
	Deny    bool
	Reason  string // the denier's words, optional
	Digest  string // of the request as the voter saw it
}

// VoteResult is the answer to a vote that was taken.
type VoteResult struct {
	Request  Request
	Decision Decision
}

// WithdrawInput takes the requester's own request back.
type WithdrawInput struct {
	Asked
	Tenant  tenant.ID
	Request string // ID
}

// SettleInput proposes what became of one unclear target of a request: each has
// an outcome of its own. It opens a request of its own, which needs a second
// person.
type SettleInput struct {
	Asked
	Tenant  tenant.ID
	Request string // ID of the request with unclear targets
	// Target is the ID or name of the one meant; it may be empty when only one is
	// unclear.
	Target  string
	Outcome string // SettleDone or SettleNotDone
	Reason  string // what was seen, and where
}

// Prefill is what a form is filled with to ask again for what has ended.
type Prefill struct {
	Action  string
	Params  map[string]string
	Targets []Target // Kind, ID and Name only
	Reason  string
}

// Facts is what was read just before a claim, outside its transaction.
type Facts struct {
	At time.Time
	// Machine is the target now; nil when it could not be read.
	Machine *policy.Machine
	// Problem says in a sentence what stands in the way (renamed, merged, already
	// in the wanted state, not readable …), or is empty. It makes the target void.
	Problem string
	// Barred are people whose chat accounts may not take part at the moment, with
	// the reason. Their votes do not count, and a barred requester makes the target
	// void.
	Barred map[identity.PersonID]string
	// Detail is kept in the audit record.
	Detail json.RawMessage
}
