package approvals

import "errors"

// Why something was refused; what a *[Refusal] unwraps to.
var (
	ErrNotFound      = errors.New("no such request")
	ErrUnknownAction = errors.New("unknown action or parameter")
	ErrTargets       = errors.New("targets not acceptable")
	ErrReason        = errors.New("reason missing or too long")
	ErrNotAllowed    = errors.New("role missing") // to ask
	ErrUnsupported   = errors.New("not for the machine's system")
	ErrProtected     = errors.New("target is protected")
	ErrBusy          = errors.New("another request covers the target")
	ErrTooManyOpen   = errors.New("too many open requests")
	ErrNobody        = errors.New("nobody could approve")
	ErrOwnRequest    = errors.New("requesters cannot decide their own request")
	ErrNotEntitled   = errors.New("not entitled to decide this request")
	ErrStaleDigest   = errors.New("vote on something other than the stored request")
	ErrAlreadyVoted  = errors.New("this person has already voted")
	ErrDecided       = errors.New("request is already decided")
	ErrExpired       = errors.New("request has expired")
	ErrNotRequester  = errors.New("only the requester may do this")
	ErrClaimed       = errors.New("already being carried out")
	ErrNotUnclear    = errors.New("outcome is not unclear")
	ErrNotRepeatable = errors.New("request cannot be asked again")
	ErrFrozen        = errors.New("all actions are frozen")
	ErrLinkTooNew    = errors.New("the account was linked too recently")
	ErrStepUp        = errors.New("not signed in afresh for a tier 0 request")
	ErrNotFrozen     = errors.New("nothing is frozen")
	ErrVoid          = errors.New("no longer what was approved")
)

// Refusal is a no, in words for the person who asked. It is an ordinary answer
// and not a fault: show Sentence and Next, and refresh the card of Request.
// Both may quote names from outside and must be drawn literally.
type Refusal struct {
	// Sentence says what is refused and why.
	Sentence string
	// Next says what to do instead.
	Next string
	// Request is the request meant, as it is now, or zero.
	Request Request
	reason  error
}

func (r *Refusal) Error() string {
	if r.Next == "" {
		return r.Sentence
	}
	return r.Sentence + " " + r.Next
}

// Unwrap gives the sentinel that callers branch on, such as [ErrExpired].
func (r *Refusal) Unwrap() error { return r.reason }

// askAgain is the next step where a request came to nothing.
const askAgain = "Ask again if it is still needed."

func refuse(reason error, sentence, next string) *Refusal {
	return &Refusal{Sentence: sentence, Next: next, reason: reason}
}

// about attaches the request that is meant.
func (r *Refusal) about(req Request) *Refusal {
	r.Request = req
	return r
}
