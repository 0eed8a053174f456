package audit

import (
	"encoding/json"
	"time"

	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Event is what happened, before it has a place in the chain.
type Event struct {
	Tenant tenant.ID
	At     time.Time
	// Kind is a fixed word such as "request.opened", "vote.approve",
	// "vote.refused", "action.intent", "config.changed".
	Kind string
	// Person and PersonName are the actor as known then; zero for mdebot itself.
	Person     identity.PersonID
	PersonName string
	// Account is the chat account used, with its platform.
	Account identity.Principal
	// Conversation and Delivery say where it came from.
	Conversation string
	Delivery     string
	// Request and Digest bind the record to an approval request.
	Request string
	Digest  string
	// PolicyHash is the configuration in force.
	PolicyHash string
	// Outcome is a short fixed word: "ok", "refused", "failed", "unknown".
	Outcome string
	// Detail is everything else worth reading in a year: rule text, card facts as
	// shown, the words of the requester, IDs at Defender. It is hashed as the
	// exact bytes stored.
	Detail json.RawMessage
}

// Record is an event in its chain: one chain per tenant, Seq from 1 without gaps.
type Record struct {
	Event
	Seq  int64
	Prev string // hex SHA-256 of the record before; "" for the first
	Hash string // hex SHA-256 over the canonical encoding, which includes Prev

	stored row
}
