package approvals

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/fault"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/tenant"
)

// resolve finds the person behind an account.
func (s *Service) resolve(ctx context.Context, t tenant.ID, p *policy.Policy, account identity.Principal) (identity.Link, *Refusal, error) {
	link, err := s.linkOf(ctx, s.db.Read(), t, p, account)
	switch {
	case err == nil:
		return link, nil, nil
	case errors.Is(err, identity.ErrUnlinked), errors.Is(err, identity.ErrAmbiguous):
		return identity.Link{}, refuse(err, "This chat account is not linked to a person, so it can neither ask nor decide.",
			"whoami shows how to link it."), nil
	}
	return identity.Link{}, nil, err
}

// linkOf is who is behind an account now, by everything that may say so.
func (s *Service) linkOf(ctx context.Context, db durable.DBTX, t tenant.ID, p *policy.Policy, account identity.Principal) (identity.Link, error) {
	link, err := s.links.Resolve(ctx, db, t, p.Book(), account)
	if fault.On(fault.CoolDown) {
		link.CountsFrom = time.Time{}
	}
	return link, err
}

// tooNew refuses an approval through a link of less than a day.
func tooNew(link identity.Link, now time.Time) *Refusal {
	return refuse(ErrLinkTooNew, fmt.Sprintf("This account was linked %s, and approvals through a new link do not count yet: they do from %s on.",
		ago(now.Sub(link.Since)), link.CountsFrom.UTC().Format("2006-01-02 15:04 UTC")),
		"Another approver can confirm the link, or approve instead. Your denial counts.")
}

// newLink is how long a link is new: whoever was led to make it, or sees it made,
// has that long to notice.
const newLink = 24 * time.Hour

// asked is rule for a request through link. One person who got hold of another's
// link could ask through it and approve as themselves, so a link whose approvals
// do not count yet costs one more approver.
func (s *Service) asked(link identity.Link, rule policy.Applied) policy.Applied {
	if s.now().Before(link.CountsFrom) {
		return rule.Raised("asked through a new link")
	}
	return rule
}

// tied says why requester and voter may be one person, or "": one of them has
// made the other's new link count.
func tied(r Request, asker identity.Link, voter identity.PersonID, through identity.Link, at time.Time) string {
	switch {
	case through.ConfirmedBy == r.Requester && at.Before(through.Since.Add(newLink)):
		return "the requester confirmed the link of that account less than a day after it was made"
	case asker.ConfirmedBy == voter && r.Opened.Before(asker.Since.Add(newLink)):
		return "they confirmed the link that the request came through less than a day after it was made"
	}
	return ""
}

// tiedVote refuses an approval between people of whom one made the other's new
// link count.
func (s *Service) tiedVote(ctx context.Context, e *edit, p *policy.Policy, link identity.Link) (*Refusal, error) {
	asker, _, err := s.changedHands(ctx, e.tx, p, e.r.Tenant, e.r.RequesterAs, e.r.Requester, e.r.Opened)
	if err != nil {
		return nil, err
	}
	if why := tied(e.r, asker, link.Person.ID, link, e.at); why != "" {
		return refuse(ErrLinkTooNew, "Your approval would not count for this request: "+why+".", "Another approver must approve it. Your denial counts.").about(e.r), nil
	}
	return nil, nil
}

// voidUnlinked takes the right to approve from everyone whose approval came
// through an account that stands for somebody else now, or for nobody, or was
// linked anew since (threat-model I-08). Denials stand: they only stop.
func (s *Service) voidUnlinked(ctx context.Context, db durable.DBTX, p *policy.Policy, r Request, rights map[identity.PersonID]Entitlement) error {
	asker, _, err := s.changedHands(ctx, db, p, r.Tenant, r.RequesterAs, r.Requester, r.Opened)
	if err != nil {
		return err
	}
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
		if why == "" {
			why = tied(r, asker, v.By, link, v.At)
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
	link, err = s.linkOf(ctx, db, t, p, account)
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
