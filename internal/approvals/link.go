package approvals

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/tenant"
)

// resolve finds the person behind an account.
func (s *Service) resolve(ctx context.Context, t tenant.ID, p *policy.Policy, account identity.Principal) (identity.Link, *Refusal, error) {
	link, err := s.links.Resolve(ctx, s.db.Read(), t, p.Book(), account)
	switch {
	case err == nil:
		return link, nil, nil
	case errors.Is(err, identity.ErrUnlinked), errors.Is(err, identity.ErrAmbiguous):
		return identity.Link{}, refuse(err, "This chat account is not linked to a person, so it can neither ask nor decide.",
			"whoami shows how to link it."), nil
	}
	return identity.Link{}, nil, err
}

// tooNew refuses an approval through a link of less than a day.
func tooNew(link identity.Link, now time.Time) *Refusal {
	return refuse(ErrLinkTooNew, fmt.Sprintf("This account was linked %s, and approvals through a new link do not count yet: they do from %s on.",
		ago(now.Sub(link.Since)), link.CountsFrom.UTC().Format("2006-01-02 15:04 UTC")),
		"Another approver can confirm the link, or approve instead. Your denial counts.")
}

// voidUnlinked takes the right to approve from everyone whose approval came
// through an account that stands for somebody else now, or for nobody, or was
// linked anew since (threat-model I-08). Denials stand: they only stop.
func (s *Service) voidUnlinked(ctx context.Context, db durable.DBTX, p *policy.Policy, r Request, rights map[identity.PersonID]Entitlement) error {
	for _, v := range r.Votes {
		if v.Deny {
			continue
		}
		link, why, err := s.changedHands(ctx, db, p, r.Tenant, v.As, v.By, v.At)
		if err != nil {
			return err
		}
		if why == "" && v.At.Before(link.CountsFrom) {
			why = fmt.Sprintf("the account %s was linked too recently", v.As)
		}
		if why != "" {
			rights[v.By] = Entitlement{Why: why, Deny: rights[v.By].Deny}
		}
	}
	return nil
}

// requesterUnlinked says in a sentence that the account which asked no longer
// stands for the requester, or "".
func (s *Service) requesterUnlinked(ctx context.Context, db durable.DBTX, p *policy.Policy, r Request) (string, error) {
	_, why, err := s.changedHands(ctx, db, p, r.Tenant, r.RequesterAs, r.Requester, r.Opened)
	if err != nil || why == "" {
		return "", err
	}
	return fmt.Sprintf("%s asked for this through an account that has changed: %s.", r.RequesterName, why), nil
}

// changedHands says why what account did at a time is not what person did, or "".
func (s *Service) changedHands(ctx context.Context, db durable.DBTX, p *policy.Policy, t tenant.ID, account identity.Principal, person identity.PersonID, at time.Time) (link identity.Link, why string, err error) {
	link, err = s.links.Resolve(ctx, db, t, p.Book(), account)
	switch {
	case errors.Is(err, identity.ErrUnlinked), errors.Is(err, identity.ErrAmbiguous):
		return link, fmt.Sprintf("the account %s is no longer linked", account), nil
	case err != nil:
		return link, "", err
	case link.Person.ID != person:
		return link, fmt.Sprintf("the account %s is now linked to somebody else", account), nil
	case link.Since.After(at):
		return link, fmt.Sprintf("the account %s was linked again afterwards", account), nil
	}
	return link, "", nil
}
