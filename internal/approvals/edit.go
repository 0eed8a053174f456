package approvals

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/fault"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/tenant"
)

// moves are the edges of the state graph drawn in the package comment.
var moves = map[State][]State{
	Pending:   {Approved, Denied, Withdrawn, Expired, Void},
	Approved:  {Executing, Submitted, Succeeded, Denied, Withdrawn, Void},
	Executing: {Submitted, Failed, Unknown, Approved},
	Submitted: {Succeeded, Failed, Unknown},
	Unknown:   {Submitted, Succeeded, Failed, Approved},
}

// edit is one change of one request, inside a transaction that holds its lock.
// Fields of r are set freely; what differs from was is written, announced and
// checked against the state graph when the edit ends.
type edit struct {
	s      *Service
	tx     durable.Tx
	was, r Request
	at     time.Time
	// change is what to announce when something was changed; a request that
	// becomes resolved is announced as that.
	change Change
}

// unannounced marks a change that people do not see.
const unannounced Change = "unannounced"

// change runs fn on a request as it is now, locked against every other change
// until the transaction ends. fn may run more than once.
func (s *Service) change(ctx context.Context, id tenant.ID, request string, fn func(*edit) error) error {
	return s.db.InTx(ctx, func(tx durable.Tx) error { return s.changeIn(ctx, tx, id, request, fn) })
}

func (s *Service) changeIn(ctx context.Context, tx durable.Tx, id tenant.ID, request string, fn func(*edit) error) error {
	if _, err := tx.Exec(ctx, `UPDATE requests SET version = version WHERE tenant = $1 AND id = $2`, string(id), request); err != nil {
		return fmt.Errorf("lock request %s: %w", request, err)
	}
	r, err := load(ctx, tx, id, request)
	if err != nil {
		return err
	}
	e := &edit{s: s, tx: tx, was: r, r: r, at: s.now()}
	e.r.Targets = slices.Clone(r.Targets)
	e.r.Votes = slices.Clone(r.Votes)
	if err := fn(e); err != nil {
		return err
	}
	if err := e.end(ctx); err != nil {
		return fmt.Errorf("change request %s: %w", request, err)
	}
	return nil
}

func (e *edit) end(ctx context.Context) error {
	if e.change == "" {
		return nil // a refusal: recorded, and nothing moved
	}
	e.r.State = summarize(e.r.Targets)
	e.r.Version++
	if e.r.State.Resolved() && !e.was.State.Resolved() {
		e.r.Closed = e.at
		e.r.Why = whole(e.r)
		e.change = ChangeResolved
	}
	for i, t := range e.r.Targets {
		was := e.was.Targets[i]
		if t.State != was.State && !slices.Contains(moves[was.State], t.State) && !fault.On(fault.Twice) {
			return fmt.Errorf("target %d cannot go from %s to %s", i, was.State, t.State)
		}
		if !sameTarget(was, t) {
			if err := updateTarget(ctx, e.tx, e.r, was, t); err != nil {
				return err
			}
		}
	}
	if err := updateRequest(ctx, e.tx, e.was, e.r); err != nil {
		return err
	}
	if e.change == unannounced {
		return nil
	}
	return e.s.tell.RequestChanged(ctx, e.tx, e.r, e.change)
}

func sameTarget(a, b Target) bool {
	a.Facts, b.Facts = nil, nil // frozen
	return a.State == b.State && a.Generation == b.Generation && a.LeaseOwner == b.LeaseOwner &&
		a.LeaseUntil.Equal(b.LeaseUntil) && a.IntentAt.Equal(b.IntentAt) && a.UnclearAt.Equal(b.UnclearAt) &&
		a.Due.Equal(b.Due) && a.Attempts == b.Attempts && a.Settled == b.Settled &&
		a.MachineAction == b.MachineAction && a.ActionStatus == b.ActionStatus && a.Why == b.Why
}

// target is the target that ref means, if it is in one of these states and of the
// same generation; otherwise [ErrMoved].
func (e *edit) target(ref Ref, states ...State) (Target, error) {
	if ref.Index < 0 || ref.Index >= len(e.r.Targets) {
		return Target{}, ErrMoved
	}
	t := e.r.Targets[ref.Index]
	if (t.Generation != ref.Generation || !slices.Contains(states, t.State)) && !fault.On(fault.Twice) {
		return Target{}, ErrMoved
	}
	return t, nil
}

// move sets a target's state. A target that leaves executing gives its lease
// back.
func (e *edit) move(index int, to State, why string) *Target {
	t := &e.r.Targets[index]
	t.State, t.Why, t.Updated = to, storable(why), e.at
	t.LeaseOwner, t.LeaseUntil = "", time.Time{}
	if e.change == "" {
		e.change = ChangeTarget
	}
	return t
}

// stop ends every target that has not been claimed and returns how many were.
func (e *edit) stop(to State, why string) (claimed int) {
	for _, t := range e.r.Targets {
		if t.State == Pending || t.State == Approved {
			e.move(t.Index, to, why)
		} else {
			claimed++
		}
	}
	e.r.DecidedAt, e.r.Why = e.at, storable(why)
	return claimed
}

func (e *edit) enqueue(ctx context.Context, kind string, t Target, at time.Time) error {
	job := refOf(e.r, t).job(kind)
	job.RunAt = at
	return e.tx.Enqueue(ctx, job)
}

// actor is who does something; the zero value is mdebot itself.
type actor struct {
	person identity.Person
	asked  Asked
}

func (e *edit) record(ctx context.Context, kind, outcome string, by actor, detail any) error {
	return e.s.record(ctx, e.tx, e.r, e.at, kind, outcome, by, detail)
}

func (s *Service) record(ctx context.Context, tx durable.Tx, r Request, at time.Time, kind, outcome string, by actor, detail any) error {
	body, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("audit detail of %s: %w", kind, err)
	}
	_, err = s.audit.Append(ctx, tx, audit.Event{
		Tenant: r.Tenant, At: at, Kind: kind, Outcome: outcome,
		Person: by.person.ID, PersonName: by.person.Name, Account: by.asked.By,
		Conversation: by.asked.Conversation, Delivery: by.asked.Delivery,
		Request: r.ID, Digest: r.Digest, PolicyHash: s.policy.Current().Hash(), Detail: body,
	})
	return err
}

// refused records a refusal that is not about a stored request. An attempt that
// cannot be recorded is an error, not a refusal.
func (s *Service) refused(ctx context.Context, id tenant.ID, kind string, by actor, why *Refusal) error {
	err := s.db.InTx(ctx, func(tx durable.Tx) error {
		return s.record(ctx, tx, Request{Tenant: id, ID: why.Request.ID, Digest: why.Request.Digest}, s.now(), kind, "refused", by,
			refusedDetail{Why: why.Sentence, Reason: why.reason.Error()})
	})
	if err != nil {
		return err
	}
	return why
}

type refusedDetail struct {
	Why    string `json:"why"`
	Reason string `json:"reason"`
}

// whole says for people how a request ended, from what its targets say.
func whole(r Request) string {
	if r.Why != "" && !slices.ContainsFunc(r.Targets, func(t Target) bool { return t.State == Succeeded || t.State == Failed }) {
		return r.Why
	}
	if len(r.Targets) == 1 {
		return r.Targets[0].Why
	}
	counts := make(map[State]int)
	for _, t := range r.Targets {
		counts[t.State]++
	}
	var parts []string
	for _, state := range []State{Succeeded, Failed, Denied, Withdrawn, Void} {
		if n := counts[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	return storable(strings.Join(parts, ", "))
}
