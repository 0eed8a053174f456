package approvals

import (
	"context"
	"fmt"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
)

// proven reports whether person had just signed in for r at a time, where rule and
// policy ask for that. A chat session is not enough for a tier 0 vote: whoever took
// it over is not the person (threat-model I-13).
func (s *Service) proven(ctx context.Context, db durable.DBTX, p *policy.Policy, r Request, rule policy.Applied, person identity.PersonID, at time.Time) (bool, error) {
	if !rule.TierZero || !p.StepUp() {
		return true, nil
	}
	if s.stepUps == nil {
		return false, nil
	}
	return s.stepUps.SteppedUp(ctx, db, r.Tenant, person, r.Digest, at)
}

// unproven refuses an approval by somebody who has to sign in first, or is nil.
func (s *Service) unproven(ctx context.Context, e *edit, p *policy.Policy, person identity.PersonID) (*Refusal, error) {
	ok, err := s.proven(ctx, e.tx, p, e.r, e.r.Rule, person, e.at)
	if err != nil || ok {
		return nil, err
	}
	return refuse(ErrStepUp, fmt.Sprintf("Request #%d is about tier 0, so it takes more than your chat account to approve it: sign in once more.", e.r.Number),
		"Then press Approve again within ten minutes. You can deny it at once.").about(e.r), nil
}

// voidUnproven takes the right to approve from everyone who had not just signed in
// when they did: rules may have become stricter since.
func (s *Service) voidUnproven(ctx context.Context, db durable.DBTX, p *policy.Policy, r Request, rule policy.Applied, rights map[identity.PersonID]Entitlement) error {
	for _, v := range r.Votes {
		if v.Deny {
			continue
		}
		ok, err := s.proven(ctx, db, p, r, rule, v.By, v.At)
		if err != nil {
			return err
		}
		if !ok {
			rights[v.By] = Entitlement{Why: "had not signed in afresh for tier 0", Deny: rights[v.By].Deny}
		}
	}
	return nil
}
