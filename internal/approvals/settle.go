package approvals

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
)

// Settle proposes what became of the unclear targets of a request. It opens a
// request of the action settle under the rule of the request it settles, which
// somebody else must approve.
func (s *Service) Settle(ctx context.Context, in SettleInput) (Opened, error) {
	p := s.policyOf(in.Tenant)
	link, no, err := s.resolve(ctx, in.Tenant, p, in.By)
	if err != nil {
		return Opened{}, err
	}
	person := link.Person
	by := actor{person: person, asked: in.Asked}
	if no != nil {
		no.Request.ID = in.Request
		return Opened{}, s.refused(ctx, in.Tenant, "request.refused", by, no)
	}
	unclear, err := s.Request(ctx, in.Tenant, in.Request)
	if err != nil {
		return Opened{}, err
	}
	r, no := s.draftSettlement(person, unclear, in)
	if no != nil {
		return Opened{}, s.refused(ctx, in.Tenant, "request.refused", by, no.about(unclear))
	}
	r.Rule = s.asked(link, r.Rule)
	return s.open(ctx, p, s.actions[Settle], r, by)
}

func (s *Service) draftSettlement(person identity.Person, unclear Request, in SettleInput) (Request, *Refusal) {
	action := s.actions[Settle]
	if !person.Has(action.Role) {
		return Request{}, refuse(ErrNotAllowed, fmt.Sprintf("To ask for this you need the role %s.", action.Role), "An administrator gives it in mdebot.yaml.")
	}
	params, bad := action.canonical(map[string]string{"outcome": in.Outcome})
	if bad != "" {
		return Request{}, refuse(ErrUnknownAction, fmt.Sprintf("%q is no outcome.", in.Outcome), fmt.Sprintf("Write done or not-done: settle %d done, settle %d not-done.", unclear.Number, unclear.Number))
	}
	reason, no := reasonOf(in.Reason)
	if no != nil {
		return Request{}, no
	}
	target, no := s.unclearTarget(unclear, in.Target)
	if no != nil {
		return Request{}, no
	}
	return Request{
		Tenant: in.Tenant, Action: Settle, Params: params, Targets: []Target{target},
		Requester: person.ID, RequesterName: storable(person.Name), RequesterAs: storableAccount(in.By),
		Origin: storable(in.Conversation), OriginThread: storable(in.Thread), Reason: reason,
		Rule: unclear.Rule,
	}, nil
}

// unclearTarget is the target that is settled. Several unclear ones may have gone
// different ways, so each is named and settled by itself (threat-model A-29).
func (s *Service) unclearTarget(unclear Request, named string) (Target, *Refusal) {
	var open, meant []Target
	for _, t := range unclear.Targets {
		if t.State != Unknown {
			continue
		}
		open = append(open, t)
		if strings.EqualFold(t.ID, named) || strings.EqualFold(t.Name, named) {
			meant = append(meant, t)
		}
	}
	switch {
	case len(open) == 0:
		return Target{}, refuse(ErrNotUnclear, fmt.Sprintf("Nothing about request #%d is unclear: it is %s.", unclear.Number, unclear.State), "Only what is unclear is settled; its card says what became of it.")
	case named == "" && len(open) == 1:
		meant = open
	case len(meant) != 1:
		labels := make([]string, len(open))
		for i, t := range open {
			labels[i] = t.label()
		}
		return Target{}, refuse(ErrTargets, fmt.Sprintf("%d machines of #%d are unclear: %s.", len(open), unclear.Number, strings.Join(labels, ", ")),
			fmt.Sprintf("Settle each by itself, such as: settle %d done %s seen in the portal.", unclear.Number, open[0].ID))
	}
	t := meant[0]
	if wait := t.UnclearAt.Add(LookFor).Sub(s.now()); wait > 0 {
		return Target{}, refuse(ErrNotUnclear, fmt.Sprintf("mdebot is still looking at Defender for what became of #%d.", unclear.Number),
			fmt.Sprintf("Settle it in %s if it is still unknown then.", wait.Round(time.Second)))
	}
	return Target{
		Kind: TargetRequest, ID: refOf(unclear, t).String(),
		Name: fmt.Sprintf("#%d: %s %s", unclear.Number, s.actions[unclear.Action].Verb, t.label()), State: Pending,
	}, nil
}

// Apply carries out an approved target of a [Service.Local] action. It calls
// nobody, so judging and effect are one transaction.
func (s *Service) Apply(ctx context.Context, ref Ref, facts Facts) error {
	_, err := s.judged(ctx, ref, facts, func(e *edit, d Decision) error {
		a := s.actions[e.r.Action]
		if !a.Local() {
			return fmt.Errorf("%s is not carried out here", e.r.Action)
		}
		return a.apply(ctx, e, ref, d)
	})
	return err
}

// applySettlement carries out an approved settlement: the unclear target becomes
// succeeded, or failed, or, when it is still in time and was never settled
// before, approved for one more attempt.
func applySettlement(ctx context.Context, e *edit, ref Ref, d Decision) error {
	of, err := ParseRef(durable.Job{Tenant: ref.Tenant, ID: e.r.Targets[ref.Index].ID})
	if err != nil {
		return err
	}
	settled := false
	err = e.s.changeIn(ctx, e.tx, of.Tenant, of.Request, func(o *edit) error {
		t := o.r.Targets[of.Index]
		// People settled what they saw; a target that was found meanwhile and is
		// lost again is another matter.
		if t.State != Unknown || t.UnclearAt.Add(LookFor).After(e.r.Opened) {
			return nil
		}
		settled = true
		return o.settle(ctx, of, e.r, d)
	})
	if err != nil {
		return err
	}
	if !settled {
		why := "mdebot has found out by itself what became of it."
		e.move(ref.Index, Void, why)
		return e.record(ctx, "target.void", "refused", actor{}, voidDetail{Target: of.String(), Why: why})
	}
	e.move(ref.Index, Succeeded, "")
	return e.record(ctx, "settlement.applied", "ok", actor{}, settledDetail{Target: of.String(), Outcome: e.r.Params["outcome"], Approvers: votersOf(d.Counted)})
}

// settle moves an unknown target as the settlement by says.
func (e *edit) settle(ctx context.Context, of Ref, by Request, d Decision) error {
	t := e.r.Targets[of.Index]
	why := fmt.Sprintf("Settled as %s by %s and %s in #%d: %s", by.Params["outcome"], by.RequesterName, namesOf(d.Counted), by.Number, by.Reason)
	detail := settledDetail{Target: of.String(), Outcome: by.Params["outcome"], Settlement: by.ID, Approvers: votersOf(d.Counted)}
	again := e.at.Before(e.r.ExecuteBy) && t.Settled == 0 && !e.r.stopped()
	switch {
	case by.Params["outcome"] == SettleDone:
		e.move(of.Index, Succeeded, why)
	case again:
		next := e.move(of.Index, Approved, why)
		next.Settled++
		next.Generation++
		next.Due = e.at
		detail.Again = true
		if err := e.enqueue(ctx, KindExecute, *next, time.Time{}); err != nil {
			return err
		}
	default:
		e.move(of.Index, Failed, why)
	}
	return e.record(ctx, "action.settled", "ok", actor{}, detail)
}

type settledDetail struct {
	Target     string  `json:"target"`
	Outcome    string  `json:"outcome"`
	Settlement string  `json:"settlement,omitempty"`
	Again      bool    `json:"one_more_attempt,omitempty"`
	Approvers  []voter `json:"approvers"`
}

func namesOf(votes []Vote) string {
	var names []string
	for _, v := range votes {
		names = append(names, v.Name)
	}
	return strings.Join(names, " and ")
}
