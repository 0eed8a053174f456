package approvals

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/failpoint"
	"github.com/mdebot/mdebot/internal/fault"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
)

// LeaseFor is how long an [Attempt] may take from claim to record. The sweep
// takes over when it is past.
const LeaseFor = 20 * time.Second

// MaxFactsAge is how old facts may be when they are judged. A process may sleep
// between reading and judging.
const MaxFactsAge = time.Minute

// ErrStale reports that facts were read too long ago to be judged, or by a clock
// that was changed since. They are to be read again.
var ErrStale = errors.New("what was read before is too old to go by")

// ErrMoved reports that a target is no longer where a job expects it: somebody
// else has carried on. There is nothing to do.
var ErrMoved = errors.New("the target has moved on")

// Attempt is the right to send one target's action once. It was recorded before
// it was handed out, and is worthless when another process has taken over.
type Attempt struct {
	Request Request
	Target  Target
	// Approvers are the votes that counted at the claim.
	Approvers []Vote
}

// Claim judges a target again, with the facts of this moment, and hands out the
// right to send it: votes under the stricter of the rule stored and the rule in
// force, current roles, denial, expiry, the digest over the stored row. What does
// not pass becomes void and is returned as a *[Refusal] with [ErrVoid]. A target
// that is not to be claimed now is [ErrMoved], facts that are too old are
// [ErrStale].
//
// When Claim returns an Attempt, the intent and its audit record are committed.
func (s *Service) Claim(ctx context.Context, ref Ref, facts Facts) (Attempt, error) {
	var out Attempt
	no, err := s.judged(failpoint.Step(ctx, failpoint.ClaimCommitted), ref, facts, func(e *edit, d Decision) error {
		t := e.move(ref.Index, Executing, "")
		t.LeaseOwner, t.LeaseUntil = uuid.NewString(), e.at.Add(LeaseFor)
		t.IntentAt = e.at
		t.Attempts++
		out = Attempt{Target: *t, Approvers: d.Counted}
		if fault.On(fault.Unaudited) {
			return nil
		}
		return e.record(ctx, "action.intent", "ok", actor{}, intentDetail{
			Action: e.r.Action, Params: e.r.Params, Kind: t.Kind, Target: t.ID, Name: t.Name, Attempt: t.Attempts,
			Generation: t.Generation, Approvers: votersOf(d.Counted), Facts: facts.Detail, FactsAt: facts.At,
		})
	})
	switch {
	case err != nil:
		return Attempt{}, err
	case no != nil:
		return Attempt{}, no
	}
	out.Request, err = s.Request(ctx, ref.Tenant, ref.Request)
	return out, err
}

// Holds reports whether a is still the attempt in charge of its target. Its holder
// asks just before it sends: it may have slept, and by a clock that was put back
// a lease that others have ended seems to last.
func (s *Service) Holds(ctx context.Context, a Attempt) (bool, error) {
	var one int64
	err := s.db.Read().QueryRow(ctx, `SELECT 1 FROM request_targets
		WHERE tenant = $1 AND request = $2 AND idx = $3 AND state = 'executing' AND lease_owner = $4`,
		string(a.Request.Tenant), a.Request.ID, int64(a.Target.Index), a.Target.LeaseOwner).Scan(&one)
	if errors.Is(err, durable.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

type intentDetail struct {
	Action     string            `json:"action"`
	Params     map[string]string `json:"params"`
	Kind       TargetKind        `json:"kind"`
	Target     string            `json:"target"`
	Name       string            `json:"name"`
	Attempt    int               `json:"attempt"`
	Generation int64             `json:"generation"`
	Approvers  []voter           `json:"approvers"`
	Facts      json.RawMessage   `json:"facts,omitempty"`
	FactsAt    time.Time         `json:"facts_at,omitzero"`
}

// judged runs pass on an approved target that may be carried out now, and makes
// any other void.
func (s *Service) judged(ctx context.Context, ref Ref, facts Facts, pass func(*edit, Decision) error) (*Refusal, error) {
	for {
		p := s.policyOf(ref.Tenant)
		r, err := s.Request(ctx, ref.Tenant, ref.Request)
		if err != nil {
			return nil, err
		}
		// A settlement sends nothing: it keeps the rule of the request it settles,
		// and an attempt it allows is judged by its own claim.
		rule := r.Rule
		if a, ok := s.actions[r.Action]; ok && a.Kind != Settle && ref.Index < len(r.Targets) && !fault.On(fault.Rules) {
			now, protected, err := s.ruled(ctx, p, r.Tenant, a, r.Params, TargetInput{ID: r.Targets[ref.Index].ID, Machine: facts.Machine})
			if err != nil {
				return nil, err
			}
			switch {
			case protected == "" || facts.Problem != "":
			case a.Target == TargetIndicator:
				facts.Problem = "No rule in force allows it: " + protected + "."
			case facts.Machine != nil:
				facts.Problem = fmt.Sprintf("The machine cannot be changed from chat: %s.", protected)
			}
			rule = policy.Stricter(r.Rule, now)
		}
		rights := s.rights(ctx, p, r, rule)
		for person, why := range facts.Barred {
			rights[person] = Entitlement{Why: why}
		}
		var no *Refusal
		err = s.change(ctx, ref.Tenant, ref.Request, func(e *edit) error {
			no = nil
			t, err := e.target(ref, Approved)
			if err != nil || e.at.Before(t.Due) {
				return ErrMoved
			}
			if e.at.Sub(facts.At).Abs() > MaxFactsAge && !fault.On(fault.Facts) {
				return ErrStale
			}
			if s.policyOf(ref.Tenant) != p {
				return errMeanwhile
			}
			for _, v := range e.r.Votes {
				if _, known := rights[v.By]; !known {
					return errMeanwhile
				}
			}
			frozen, err := s.frozenFor(ctx, e.tx, s.actions[e.r.Action], ref.Tenant)
			if err != nil {
				return err
			}
			if err := errors.Join(s.voidUnlinked(ctx, e.tx, p, e.r, rights), s.voidUnproven(ctx, e.tx, p, e.r, rule, rights)); err != nil {
				return err
			}
			unlinked, err := s.requesterUnlinked(ctx, e.tx, p, e.r)
			if err != nil {
				return err
			}
			d := Evaluate(e.r, rule, func(id identity.PersonID) Entitlement { return rights[id] }, e.at)
			why, kind := s.obstacle(e, p, t, d, rule, facts)
			if why == "" && unlinked != "" {
				why, kind = unlinked, "target.void"
			}
			if frozen != nil && why == "" {
				why, kind = frozen.Sentence, "target.void"
			}
			if off := s.clockProblem(s.actions[e.r.Action]); off != "" && why == "" {
				why, kind = off, "target.void"
			}
			if why == "" {
				return pass(e, d)
			}
			e.move(ref.Index, Void, why)
			no = refuse(ErrVoid, why, "Ask again.").about(e.r)
			return e.record(ctx, kind, "refused", actor{}, voidDetail{Target: t.ID, Why: why, Rejected: rejectedOf(d), Facts: facts.Detail, FactsAt: facts.At})
		})
		if errors.Is(err, errMeanwhile) {
			continue
		}
		if no != nil && err == nil {
			s.logger.WarnContext(ctx, "approved target is void", slog.String("tenant_id", string(ref.Tenant)),
				slog.String("approval_id", ref.Request), slog.Int("target", ref.Index))
		}
		return no, err
	}
}

type voidDetail struct {
	Target   string          `json:"target"`
	Why      string          `json:"why"`
	Rejected []string        `json:"rejected_votes,omitempty"`
	Facts    json.RawMessage `json:"facts,omitempty"`
	FactsAt  time.Time       `json:"facts_at,omitzero"`
}

func rejectedOf(d Decision) []string {
	var list []string
	for _, v := range d.Rejected {
		list = append(list, fmt.Sprintf("%s %s: %s", v.Vote.Name, v.Vote.By, v.Why))
	}
	return list
}

// obstacle says in a sentence why a target must not be carried out, and the kind
// of the audit record for that; both empty when nothing is in the way.
func (s *Service) obstacle(e *edit, p *policy.Policy, t Target, d Decision, rule policy.Applied, facts Facts) (why, kind string) {
	action, known := s.actions[e.r.Action]
	requester, listed := p.Book().Person(e.r.Requester)
	bound, rebound := s.policy.Current().TenantOf(e.r.Origin)
	protected, isProtected := "", false
	if action.Target.onMachine() {
		protected, isProtected = p.Protected(action.AsRuled(e.r.Params), facts.Machine)
	}
	kind = "target.void"
	switch {
	case digestOf(e.r) != e.r.Digest && !fault.On(fault.Digest):
		return "The stored request is not the one that was approved. Nothing was sent; look at the audit record.", "request.tampered"
	case !known:
		return fmt.Sprintf("This version has no action %q.", e.r.Action), kind
	case !e.at.Before(e.r.ExecuteBy) && !fault.On(fault.Expiry):
		return "It was not started in time after the approval.", kind
	case e.r.withdrawn():
		return fmt.Sprintf("%s withdrew the request.", e.r.RequesterName), kind
	case d.Denied != nil:
		return fmt.Sprintf("%s denied it.", d.Denied.Name), kind
	case !listed || !requester.Has(action.Role):
		return fmt.Sprintf("%s may no longer ask for this.", e.r.RequesterName), kind
	case rebound && bound.ID != e.r.Tenant:
		return fmt.Sprintf("The channel where it was asked for is bound to another Defender tenant now, %s.", bound.Name), kind
	case facts.Barred[e.r.Requester] != "":
		return fmt.Sprintf("%s may not take part now: %s.", e.r.RequesterName, facts.Barred[e.r.Requester]), kind
	case facts.Problem != "":
		return facts.Problem, kind
	case action.Target.onMachine() && facts.Machine == nil || action.Target == TargetMachine && facts.Machine.ID != t.ID:
		return "The machine could not be looked at again.", kind
	case isProtected:
		return fmt.Sprintf("The machine cannot be changed from chat: %s.", protected), kind
	case !d.Approved():
		return fmt.Sprintf("The approvals no longer suffice under %s: %s%s.", rule.Name, needs(rule), rejections(d)), kind
	}
	return "", ""
}

func rejections(d Decision) string {
	var list []string
	for _, v := range d.Rejected {
		list = append(list, fmt.Sprintf("%s: %s", v.Vote.Name, v.Why))
	}
	if len(list) == 0 {
		return ""
	}
	return " (" + strings.Join(list, "; ") + ")"
}
