package approvals

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/failpoint"
	"github.com/mdebot/mdebot/internal/fault"
	"github.com/mdebot/mdebot/internal/identity"
)

// errMeanwhile says that what was looked up before a transaction is no longer all
// that counts in it: somebody else has voted, or another mdebot.yaml is in force.
// It is looked up again.
var errMeanwhile = errors.New("something has changed meanwhile")

// Vote takes one person's vote. An approval that completes the quorum approves
// the request and plans its execution; a denial ends whatever has not been
// claimed. Every refused attempt is recorded.
func (s *Service) Vote(ctx context.Context, in VoteInput) (VoteResult, error) {
	for {
		out, err := s.vote(ctx, in)
		if !errors.Is(err, errMeanwhile) {
			return out, err
		}
	}
}

func (s *Service) vote(ctx context.Context, in VoteInput) (VoteResult, error) {
	p := s.policyOf(in.Tenant)
	link, no, err := s.resolve(ctx, in.Tenant, p, in.By)
	if err != nil {
		return VoteResult{}, err
	}
	person := link.Person
	by := actor{person: person, asked: in.Asked}
	if no != nil {
		no.Request.ID = in.Request
		return VoteResult{}, s.refused(ctx, in.Tenant, "vote.refused", by, no)
	}
	vote := Vote{
		By: person.ID, Name: storable(person.Name), As: storableAccount(in.By),
		Deny: in.Deny, Reason: clip(in.Reason), Digest: storable(in.Digest),
	}
	r, err := s.Request(ctx, in.Tenant, in.Request)
	if err != nil {
		return VoteResult{}, err
	}
	rights := s.rights(ctx, p, r, r.Rule, person.ID)
	var out VoteResult
	err = s.change(failpoint.Step(ctx, failpoint.VoteSaved), in.Tenant, in.Request, func(e *edit) error {
		no, out = nil, VoteResult{}
		if s.policyOf(in.Tenant) != p || slices.ContainsFunc(e.r.Votes, func(v Vote) bool { _, known := rights[v.By]; return !known }) {
			return errMeanwhile
		}
		frozen, err := s.frozenFor(ctx, e.tx, s.actions[e.r.Action], in.Tenant)
		if err != nil {
			return err
		}
		if err := errors.Join(s.voidUnlinked(ctx, e.tx, p, e.r, rights), s.voidUnproven(ctx, e.tx, p, e.r, e.r.Rule, rights)); err != nil {
			return err
		}
		if fault.On(fault.Payload) {
			vote.Digest = e.r.Digest
		}
		if no = votable(e, vote, rights[person.ID]); no == nil && !vote.Deny && e.at.Before(link.CountsFrom) {
			no = tooNew(link, e.at).about(e.r)
		}
		if no == nil && !vote.Deny {
			if no, err = s.tiedVote(ctx, e, p, link); err != nil {
				return err
			}
		}
		if no == nil && !vote.Deny {
			if no, err = s.unproven(ctx, e, p, person.ID); err != nil {
				return err
			}
		}
		if no == nil && frozen != nil && !vote.Deny {
			no = frozen.about(e.r)
		}
		if no != nil {
			return e.record(ctx, "vote.refused", "refused", by, refusedVote{refusedDetail{no.Sentence, no.reason.Error()}, vote.Deny, vote.Digest})
		}
		vote.At = e.at
		if err := e.vote(ctx, vote, rights, p.ExecuteWithin(), by); err != nil {
			return err
		}
		out.Decision = e.decide(rights)
		return nil
	})
	switch {
	case err != nil:
		return VoteResult{}, err
	case no != nil:
		return VoteResult{}, no
	}
	out.Request, err = s.Request(ctx, in.Tenant, in.Request)
	return out, err
}

type refusedVote struct {
	refusedDetail
	Deny   bool   `json:"deny"`
	Digest string `json:"voted_on"`
}

func clip(words string) string {
	runes := []rune(strings.TrimSpace(storable(words)))
	if len(runes) > MaxReason {
		runes = append(runes[:MaxReason-1], '…')
	}
	return string(runes)
}

// votable says why a vote is not taken, or nil.
func votable(e *edit, v Vote, may Entitlement) *Refusal {
	stoppable := slices.ContainsFunc(e.r.Targets, func(t Target) bool { return t.State == Pending || t.State == Approved })
	earlier := slices.IndexFunc(e.r.Votes, func(o Vote) bool { return o.By == v.By })
	var no *Refusal
	switch {
	case own(e.r, v):
		no = refuse(ErrOwnRequest, "You asked for this yourself, so somebody else must decide.", "You can withdraw it.")
	case e.r.State == Pending && !e.at.Before(e.r.Expires):
		no = refuse(ErrExpired, fmt.Sprintf("Request #%d has expired %s.", e.r.Number, ago(e.at.Sub(e.r.Expires))), "Ask again.")
	case e.r.State != Pending && (!v.Deny || !stoppable):
		no = decided(e.r, e.at)
	case v.Digest != e.r.Digest:
		no = refuse(ErrStaleDigest, "That card does not show the request as it is stored.", "Look at the card as it is now and decide again.")
	case v.Deny && !may.Deny:
		no = refuse(ErrNotEntitled, "You may not decide requests here.", "Responders and approvers of this tenant can deny; "+needs(e.r.Rule)+" to approve.")
	case !v.Deny && !may.Approve && may.From.After(e.at):
		no = refuse(ErrNotEntitled, fmt.Sprintf("Your approval counts in %s, when others have not completed the approvals by then.", inMinutes(may.From.Sub(e.at))),
			"The rule "+e.r.Rule.Name+" applies: "+needs(e.r.Rule)+". You can deny it now.")
	case !v.Deny && !may.Approve:
		no = refuse(ErrNotEntitled, "Your approval would not count for this request.", "The rule "+e.r.Rule.Name+" applies: "+needs(e.r.Rule)+".")
	case earlier >= 0 && (!v.Deny || e.r.Votes[earlier].Deny):
		no = refuse(ErrAlreadyVoted, fmt.Sprintf("You approved this already, %s.", ago(e.at.Sub(e.r.Votes[earlier].At))), "It waits for somebody else; you can still deny it.")
	default:
		return nil
	}
	return no.about(e.r)
}

// vote stores v and draws the consequence.
func (e *edit) vote(ctx context.Context, v Vote, rights map[identity.PersonID]Entitlement, within time.Duration, by actor) error {
	if err := putVote(ctx, e.tx, e.r, v); err != nil {
		return err
	}
	e.r.Votes = append(slices.DeleteFunc(e.r.Votes, func(o Vote) bool { return o.By == v.By }), v)
	if v.Deny {
		return e.deny(ctx, v, by)
	}
	d := e.decide(rights)
	e.change = ChangeVote
	if err := e.record(ctx, "vote.approve", "ok", by, voteDetail{Counted: len(d.Counted), Needed: d.Needed, Missing: d.Missing, MissingGroups: d.MissingGroups}); err != nil {
		return err
	}
	if !d.Approved() {
		return nil
	}
	return e.approve(ctx, d, within)
}

// approve plans the execution of every target.
func (e *edit) approve(ctx context.Context, d Decision, within time.Duration) error {
	e.change = ChangeApproved
	e.r.DecidedAt, e.r.ExecuteBy = e.at, e.at.Add(within)
	for _, t := range e.r.Targets {
		approved := e.move(t.Index, Approved, "")
		approved.Generation++
		approved.Due = e.at
		if err := e.enqueue(ctx, KindExecute, *approved, time.Time{}); err != nil {
			return err
		}
	}
	return e.record(ctx, "request.approved", "ok", actor{}, approvedDetail{Approvers: votersOf(d.Counted), Rule: e.r.Rule.Name, ExecuteBy: e.r.ExecuteBy})
}

func (e *edit) decide(rights map[identity.PersonID]Entitlement) Decision {
	return Evaluate(e.r, e.r.Rule, func(id identity.PersonID) Entitlement { return rights[id] }, e.at)
}

func (e *edit) deny(ctx context.Context, v Vote, by actor) error {
	why := "Denied by " + v.Name
	if v.Reason != "" {
		why += ": " + v.Reason
	}
	if fault.On(fault.Denial) {
		e.change = ChangeVote
		return e.record(ctx, "vote.deny", "ok", by, denyDetail{Reason: v.Reason})
	}
	claimed := e.stop(Denied, why)
	if claimed > 0 {
		e.r.Why = fmt.Sprintf("%s. %d of %d had already been sent.", why, claimed, len(e.r.Targets))
	}
	return e.record(ctx, "vote.deny", "ok", by, denyDetail{Reason: v.Reason, AlreadyClaimed: claimed})
}

type voteDetail struct {
	Counted       int      `json:"counted"`
	Needed        int      `json:"needed"`
	Missing       int      `json:"missing"`
	MissingGroups []string `json:"missing_groups,omitempty"`
}

type denyDetail struct {
	Reason         string `json:"reason,omitempty"`
	AlreadyClaimed int    `json:"already_claimed"`
}

type approvedDetail struct {
	Approvers []voter   `json:"approvers"`
	Rule      string    `json:"rule"`
	ExecuteBy time.Time `json:"execute_by"`
}

type voter struct {
	Person string `json:"person"`
	Name   string `json:"name"`
	As     string `json:"as"`
}

func votersOf(votes []Vote) []voter {
	voters := make([]voter, len(votes))
	for i, v := range votes {
		voters[i] = voter{Person: v.By.String(), Name: v.Name, As: v.As.String()}
	}
	return voters
}

// decided is the answer to whoever comes too late.
func decided(r Request, now time.Time) *Refusal {
	when := ago(now.Sub(r.DecidedAt))
	switch r.State {
	case Denied:
		for _, v := range r.Votes {
			if v.Deny {
				return refuse(ErrDecided, fmt.Sprintf("Denied %s by %s.", when, v.Name), askAgain).about(r)
			}
		}
		return refuse(ErrDecided, fmt.Sprintf("Denied %s.", when), askAgain).about(r)
	case Withdrawn:
		return refuse(ErrDecided, fmt.Sprintf("Withdrawn %s by %s.", when, r.RequesterName), askAgain).about(r)
	case Expired:
		return refuse(ErrExpired, fmt.Sprintf("Request #%d has expired %s.", r.Number, when), "Ask again.").about(r)
	case Void:
		return refuse(ErrDecided, fmt.Sprintf("Request #%d is void: %s", r.Number, r.Why), "Ask again.").about(r)
	case Pending, Approved, Executing, Submitted, Unknown, Succeeded, Failed:
	}
	var names []string
	for _, v := range r.Votes {
		if !v.Deny {
			names = append(names, v.Name)
		}
	}
	sentence := fmt.Sprintf("Approved %s by %s", when, strings.Join(names, " and "))
	if r.State == Approved {
		return refuse(ErrDecided, sentence+".", "Nothing is left to decide; its card says how it goes on.").about(r)
	}
	return refuse(ErrDecided, fmt.Sprintf("%s; it is now %s.", sentence, r.State), "Nothing is left to decide; its card says how it goes on.").about(r)
}

// inMinutes says how long something is ahead.
func inMinutes(d time.Duration) string {
	if minutes := int((d + time.Minute - 1) / time.Minute); minutes != 1 {
		return fmt.Sprintf("%d minutes", minutes)
	}
	return "a minute"
}

// ago says how long something is past.
func ago(d time.Duration) string {
	unit := func(n int, name string) string {
		if n == 1 {
			return "1 " + name + " ago"
		}
		return fmt.Sprintf("%d %ss ago", n, name)
	}
	switch {
	case d < time.Second:
		return "just now"
	case d < time.Minute:
		return unit(int(d.Seconds()), "second")
	case d < time.Hour:
		return unit(int(d.Minutes()), "minute")
	case d < 48*time.Hour:
		return unit(int(d.Hours()), "hour")
	}
	return unit(int(d.Hours()/24), "day")
}

// Withdraw takes the requester's own request back, as far as it has not been
// claimed. The result says what had been sent already.
func (s *Service) Withdraw(ctx context.Context, in WithdrawInput) (Request, error) {
	link, no, err := s.resolve(ctx, in.Tenant, s.policyOf(in.Tenant), in.By)
	if err != nil {
		return Request{}, err
	}
	person := link.Person
	by := actor{person: person, asked: in.Asked}
	if no != nil {
		no.Request.ID = in.Request
		return Request{}, s.refused(ctx, in.Tenant, "withdraw.refused", by, no)
	}
	err = s.change(ctx, in.Tenant, in.Request, func(e *edit) error {
		if no = withdrawable(e, person.ID); no != nil {
			return e.record(ctx, "withdraw.refused", "refused", by, refusedDetail{no.Sentence, no.reason.Error()})
		}
		why := "Withdrawn by " + e.r.RequesterName
		claimed := e.stop(Withdrawn, why)
		if claimed > 0 {
			e.r.Why = fmt.Sprintf("%s. %d of %d had already been sent.", why, claimed, len(e.r.Targets))
		}
		return e.record(ctx, "request.withdrawn", "ok", by, denyDetail{AlreadyClaimed: claimed})
	})
	switch {
	case err != nil:
		return Request{}, err
	case no != nil:
		return Request{}, no
	}
	return s.Request(ctx, in.Tenant, in.Request)
}

func withdrawable(e *edit, person identity.PersonID) *Refusal {
	switch {
	case person != e.r.Requester:
		return refuse(ErrNotRequester, fmt.Sprintf("Only %s, who asked, can withdraw request #%d.", e.r.RequesterName, e.r.Number), "You can deny it.").about(e.r)
	case e.r.State.Resolved():
		return decided(e.r, e.at)
	case !slices.ContainsFunc(e.r.Targets, func(t Target) bool { return t.State == Pending || t.State == Approved }):
		next := "Its outcome will be shown here."
		if a, ok := e.s.actions[e.r.Action]; ok && a.Opposite != "" {
			next = fmt.Sprintf("To undo it, ask to %s when it has ended.", e.s.actions[a.Opposite].Verb)
		}
		return refuse(ErrClaimed, fmt.Sprintf("Too late to withdraw: request #%d is already being carried out.", e.r.Number), next).about(e.r)
	}
	return nil
}
