package approvals

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/fault"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Freeze is one person's stop of everything that would change something at
// Defender, in one tenant. One approver begins it; a request of the action
// unfreeze ends it.
type Freeze struct {
	Tenant tenant.ID
	By     identity.PersonID // zero: mdebot itself, on a database that was restored
	ByName string
	As     identity.Principal
	Reason string
	Since  time.Time // zero: not frozen
}

// On reports whether the freeze is in force.
func (f Freeze) On() bool { return !f.Since.IsZero() }

// FreezeInput stops everything.
type FreezeInput struct {
	Asked
	Tenant tenant.ID
	Reason string
}

// Frozen is the answer to a freeze that was begun.
type Frozen struct {
	Freeze Freeze
	// Stopped are the approved requests that it made void, as a whole or in part.
	Stopped []Request
}

// Freeze stops every action of the tenant that calls Defender, from the commit
// on: what is approved and not claimed becomes void, nothing is claimed, opened
// or approved until two people end it. What is claimed already goes on, and can
// be denied as far as it is not.
//
// Requests that wait stay open, so that they can be denied and nobody has to ask
// again; new ones are refused, because facts and reasons of before the freeze are
// not what should be approved after it.
func (s *Service) Freeze(ctx context.Context, in FreezeInput) (Frozen, error) {
	p := s.policyOf(in.Tenant)
	link, no, err := s.resolve(ctx, in.Tenant, p, in.By)
	if err != nil {
		return Frozen{}, err
	}
	person := link.Person
	by := actor{person: person, asked: in.Asked}
	if no != nil {
		return Frozen{}, s.refused(ctx, in.Tenant, "freeze.refused", by, no)
	}
	reason, no := reasonOf(in.Reason)
	if no == nil {
		no = s.mayFreeze(ctx, p, person)
	}
	if no != nil {
		return Frozen{}, s.refused(ctx, in.Tenant, "freeze.refused", by, no)
	}
	f := Freeze{
		Tenant: in.Tenant, By: person.ID, ByName: storable(person.Name), As: storableAccount(in.By), Reason: reason,
	}
	var out Frozen
	err = s.db.InTx(ctx, func(tx durable.Tx) error {
		no = nil
		f.Since = s.now()
		began, err := beginFreeze(ctx, tx, f)
		if err != nil {
			return err
		}
		if !began {
			earlier, err := freezeOf(ctx, tx, in.Tenant)
			no = refuse(ErrFrozen, frozenWords(earlier), "Unfreeze ends it, with a second person.")
			return errors.Join(err, s.record(ctx, tx, Request{Tenant: in.Tenant}, f.Since, "freeze.refused", "refused", by, refusedDetail{no.Sentence, no.reason.Error()}))
		}
		if out, err = s.stopAll(ctx, tx, f); err != nil {
			return err
		}
		detail := freezeDetail{Reason: reason}
		for _, r := range out.Stopped {
			detail.Stopped = append(detail.Stopped, r.ID)
		}
		if err := s.record(ctx, tx, Request{Tenant: in.Tenant}, f.Since, "freeze.on", "ok", by, detail); err != nil {
			return err
		}
		return s.tell.FreezeChanged(ctx, tx, f, nil)
	})
	switch {
	case err != nil:
		return Frozen{}, fmt.Errorf("freeze: %w", err)
	case no != nil:
		return Frozen{}, no
	}
	return out, nil
}

type freezeDetail struct {
	Reason  string   `json:"reason"`
	Stopped []string `json:"stopped,omitempty"`
}

// mayFreeze refuses people whose approval would count for no rule.
func (s *Service) mayFreeze(ctx context.Context, p *policy.Policy, person identity.Person) *Refusal {
	approver, err := p.Approver(ctx, s.groups, person)
	switch {
	case approver:
		return nil
	case err != nil:
		return refuse(ErrNotAllowed, "Whether you are an approver could not be read.", "Try again in a moment, or have an approver with that role freeze.")
	}
	return refuse(ErrNotAllowed, "Only people who approve under some rule can freeze.", "Ask an approver. You can deny single requests if you are a responder.")
}

// stopAll makes void what is approved and not claimed, and shows the freeze on
// every open request.
func (s *Service) stopAll(ctx context.Context, tx durable.Tx, f Freeze) (Frozen, error) {
	out := Frozen{Freeze: f}
	why := frozenWords(f)
	err := s.eachStoppable(ctx, tx, f.Tenant, func(e *edit) error {
		e.change = ChangeFreeze
		stopped := false
		for _, t := range e.r.Targets {
			if t.State != Approved {
				continue
			}
			stopped = true
			e.move(t.Index, Void, why)
			if err := e.record(ctx, "target.void", "refused", actor{}, voidDetail{Target: t.ID, Why: why}); err != nil {
				return err
			}
		}
		if stopped {
			out.Stopped = append(out.Stopped, e.r)
		}
		return nil
	})
	return out, err
}

// eachStoppable changes every unfinished request that a freeze is about.
func (s *Service) eachStoppable(ctx context.Context, tx durable.Tx, id tenant.ID, fn func(*edit) error) error {
	live, err := find(ctx, tx, id, unfinished)
	if err != nil {
		return err
	}
	for _, r := range live {
		if s.actions[r.Action].Local() {
			continue
		}
		if err := s.changeIn(ctx, tx, id, r.ID, fn); err != nil {
			return err
		}
	}
	return nil
}

// Frozen returns the freeze of a tenant; the zero Freeze when there is none.
func (s *Service) Frozen(ctx context.Context, id tenant.ID) (Freeze, error) {
	return freezeOf(ctx, s.db.Read(), id)
}

// frozenFor refuses an action that a freeze of the tenant is about.
func (s *Service) frozenFor(ctx context.Context, tx durable.Tx, action Action, id tenant.ID) (*Refusal, error) {
	if action.Local() || fault.On(fault.Freeze) {
		return nil, nil
	}
	f, err := freezeOf(ctx, tx, id)
	if err != nil || !f.On() {
		return nil, err
	}
	return refuse(ErrFrozen, frozenWords(f), "Two people end it: unfreeze <reason>. What cannot wait is done in the Defender portal."), nil
}

// frozenWords is why nothing runs.
func frozenWords(f Freeze) string {
	return fmt.Sprintf("%s has frozen all actions since %s: %s", f.ByName, f.Since.UTC().Format("2006-01-02 15:04 UTC"), f.Reason)
}

// Unfreeze asks to end the freeze in force. Like every request it needs others;
// the rule is the first whose condition the action alone meets, such as
// `action.kind == "unfreeze"`, and otherwise the strictest of the file.
func (s *Service) Unfreeze(ctx context.Context, in FreezeInput) (Opened, error) {
	p := s.policyOf(in.Tenant)
	link, no, err := s.resolve(ctx, in.Tenant, p, in.By)
	if err != nil {
		return Opened{}, err
	}
	person := link.Person
	by := actor{person: person, asked: in.Asked}
	if no != nil {
		return Opened{}, s.refused(ctx, in.Tenant, "request.refused", by, no)
	}
	f, err := s.Frozen(ctx, in.Tenant)
	if err != nil {
		return Opened{}, err
	}
	if !f.On() {
		return Opened{}, s.refused(ctx, in.Tenant, "request.refused", by, refuse(ErrNotFrozen, "Nothing is frozen.", "There is nothing to end; freeze stops all changes at once."))
	}
	facts, err := json.Marshal(frozenFacts{By: f.By.String(), Name: f.ByName, Reason: f.Reason, Since: f.Since})
	if err != nil {
		return Opened{}, err
	}
	action, r, no := s.draft(p, person, OpenInput{
		Asked: in.Asked, Tenant: in.Tenant, Action: Unfreeze, Reason: in.Reason,
		Targets: []TargetInput{{ID: string(in.Tenant), Name: "the freeze by " + f.ByName, Facts: facts}},
	})
	if no != nil {
		return Opened{}, s.refused(ctx, in.Tenant, "request.refused", by, no)
	}
	r.Rule = s.asked(link, decide(p, action, r.Params, nil))
	return s.open(ctx, p, action, r, by)
}

// frozenFacts binds a request to the freeze that its voters saw.
type frozenFacts struct {
	By     string    `json:"by"`
	Name   string    `json:"name"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// endFreeze carries out an approved unfreeze: the freeze that people saw ends,
// and no later one.
func endFreeze(ctx context.Context, e *edit, ref Ref, d Decision) error {
	var seen frozenFacts
	if err := json.Unmarshal(e.r.Targets[ref.Index].Facts, &seen); err != nil {
		return fmt.Errorf("read which freeze it is about: %w", err)
	}
	f, err := freezeOf(ctx, e.tx, ref.Tenant)
	if err != nil {
		return err
	}
	if !f.On() || !f.Since.Equal(seen.Since) {
		why := "The freeze it was about is over."
		e.move(ref.Index, Void, why)
		return e.record(ctx, "target.void", "refused", actor{}, voidDetail{Target: string(ref.Tenant), Why: why})
	}
	n, err := e.tx.Exec(ctx, `UPDATE freezes SET since = 0 WHERE tenant = $1 AND since = $2`, string(ref.Tenant), durable.Micros(f.Since))
	if err := oneRow(n, err); err != nil {
		return err
	}
	e.move(ref.Index, Succeeded, "")
	if err := e.record(ctx, "freeze.off", "ok", actor{}, unfrozenDetail{Froze: seen, Approvers: votersOf(d.Counted)}); err != nil {
		return err
	}
	err = e.s.eachStoppable(ctx, e.tx, ref.Tenant, func(o *edit) error {
		o.change = ChangeFreeze
		return nil
	})
	if err != nil {
		return err
	}
	return e.s.tell.FreezeChanged(ctx, e.tx, f, &e.r)
}

type unfrozenDetail struct {
	Froze     frozenFacts `json:"froze"`
	Approvers []voter     `json:"approvers"`
}

// beginFreeze stores f unless a freeze is in force.
func beginFreeze(ctx context.Context, tx durable.Tx, f Freeze) (began bool, err error) {
	account, err := json.Marshal(f.As)
	if err != nil {
		return false, err
	}
	n, err := tx.Exec(ctx, `INSERT INTO freezes (tenant, person, person_name, account, reason, since)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (tenant) DO UPDATE SET person = excluded.person, person_name = excluded.person_name,
			account = excluded.account, reason = excluded.reason, since = excluded.since
		WHERE freezes.since = 0`,
		string(f.Tenant), f.By.String(), f.ByName, string(account), f.Reason, durable.Micros(f.Since))
	return n == 1, err
}

func freezeOf(ctx context.Context, db durable.DBTX, id tenant.ID) (Freeze, error) {
	f := Freeze{Tenant: id}
	var person, account string
	var since int64
	err := db.QueryRow(ctx, `SELECT person, person_name, account, reason, since FROM freezes WHERE tenant = $1 AND since <> 0`, string(id)).
		Scan(&person, &f.ByName, &account, &f.Reason, &since)
	if errors.Is(err, durable.ErrNoRows) {
		return Freeze{}, nil
	}
	if err == nil && person != "" {
		f.By, err = identity.ParsePersonID(person)
	}
	if err == nil {
		err = json.Unmarshal([]byte(account), &f.As)
	}
	if err != nil {
		return Freeze{}, fmt.Errorf("read freeze: %w", err)
	}
	f.Since = durable.Time(since)
	return f, nil
}
