package approvals

import (
	"cmp"
	"slices"
	"time"

	"github.com/mdebot/mdebot/internal/fault"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
)

// Entitlement is whether one person may decide a request, at one moment.
type Entitlement struct {
	// Approve: an approval counts, for Groups.
	Approve bool
	Groups  []string
	// Deny: a denial counts. More people may deny than approve.
	Deny bool
	// From is when an approval begins to count that does not yet, or zero.
	From time.Time
	// Why is the reason for a no that is not about roles.
	Why string
}

// Decision is what the votes on a request amount to.
type Decision struct {
	Needed  int    // people besides the requester
	Counted []Vote // approvals that count, one per person, in order
	// Rejected are the votes that do not count, with the reason.
	Rejected []RejectedVote
	// Missing is how many more people must approve, at least, and MissingGroups
	// which groups of the rule nobody stands for yet.
	Missing       int
	MissingGroups []string
	Denied        *Vote // the denial that ends it
	Expired       bool

	alone bool // the rule asks for nobody else
}

// RejectedVote is a vote that does not count.
type RejectedVote struct {
	Vote Vote
	Why  string
}

// Approved reports whether the quorum is complete.
func (d Decision) Approved() bool {
	return d.Denied == nil && !d.Expired && d.Missing == 0 && (len(d.Counted) > 0 || d.alone)
}

// Evaluate decides r under rule from its votes alone: no clock, store or network
// of its own. One denial by an entitled person ends the request, also after that
// person's own approval.
//
// now matters only while r is pending: an approval that came in time holds until
// r.ExecuteBy, which is the claim's to judge.
func Evaluate(r Request, rule policy.Applied, entitled func(identity.PersonID) Entitlement, now time.Time) Decision {
	d := Decision{
		Needed:  max(rule.Approvers, len(rule.Groups())),
		Expired: r.State == Pending && !now.Before(r.Expires),
		alone:   rule.Alone && rule.Approvers == 0,
	}
	seen := make(map[identity.PersonID]bool)
	var represented [][]string
	for _, v := range r.Votes {
		may := entitled(v.By)
		switch {
		case own(r, v):
			d.reject(v, "requesters cannot decide their own request")
		case v.Digest != r.Digest:
			d.reject(v, "the vote was for something else than the stored request")
		case v.Deny && may.Deny && !fault.On(fault.Denial):
			if d.Denied == nil {
				d.Denied = &v
			}
		case v.Deny || !may.Approve:
			d.reject(v, cmp.Or(may.Why, "no longer allowed to decide this"))
		case seen[v.By]:
			d.reject(v, "this person has already voted")
		default:
			seen[v.By] = true
			d.Counted = append(d.Counted, v)
			represented = append(represented, may.Groups)
		}
	}
	d.Missing, d.MissingGroups = rule.Missing(represented)
	return d
}

// own reports whether v is no vote of somebody else.
func own(r Request, v Vote) bool {
	if fault.On(fault.OwnVote) || fault.On(fault.Accounts) {
		return fault.On(fault.Accounts) && v.As == r.RequesterAs
	}
	return v.By.IsZero() || v.By == r.Requester
}

func (d *Decision) reject(v Vote, why string) {
	d.Rejected = append(d.Rejected, RejectedVote{Vote: v, Why: why})
}

// summarize is the state of a whole request, from those of its targets.
func summarize(targets []Target) State {
	has := func(s State) bool {
		return slices.ContainsFunc(targets, func(t Target) bool { return t.State == s })
	}
	for _, s := range []State{Pending, Executing, Unknown} {
		if has(s) {
			return s
		}
	}
	switch {
	case has(Approved):
		// Some are already on their way: too late to say "approved, not started".
		if slices.ContainsFunc(targets, func(t Target) bool { return t.State != Approved && t.State != Void }) {
			return Executing
		}
		return Approved
	case has(Submitted):
		return Submitted
	}
	first := targets[0].State
	if slices.ContainsFunc(targets, func(t Target) bool { return t.State != first }) {
		return Failed
	}
	return first
}
