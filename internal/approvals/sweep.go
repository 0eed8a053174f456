package approvals

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/failpoint"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/tenant"
)

const (
	firstReminder  = 5 * time.Minute
	secondReminder = 15 * time.Minute
	// redriveAfter is when an approved target that nobody has claimed gets
	// another job.
	redriveAfter = 30 * time.Second
	// recallAfter is how often a sent or unclear target gets its job again, in
	// case the one it had is lost, as in a database that was moved.
	recallAfter = time.Minute
	// longestAhead is how far ahead a lease or a due time can lie. One that lies
	// further ahead was written by a clock that has been set back since.
	longestAhead = 15 * time.Minute
	// sweepBatch bounds how much one sweep does of each kind.
	sweepBatch = 200
)

// Sweep does what time alone decides: it expires undecided requests, voids
// approved ones that were not started in time, sends reminders, takes targets
// from processes whose lease has ended and plans another look at those that were
// forgotten. Every process calls it every few seconds; what one has
// done, another finds done.
func (s *Service) Sweep(ctx context.Context) error {
	now := durable.Micros(s.now())
	old := func(d time.Duration) int64 { return now - d.Microseconds() }
	ahead := now + longestAhead.Microseconds()
	return errors.Join(
		s.sweep(ctx, "expire requests", s.expire,
			`SELECT tenant, id, 0, 0 FROM requests WHERE `+unfinished+` AND state = 'pending' AND expires <= $1 ORDER BY expires LIMIT $2`, now, sweepBatch),
		s.sweep(ctx, "send reminders", s.remind,
			`SELECT tenant, id, 0, 0 FROM requests WHERE `+unfinished+` AND state = 'pending' AND (reminded < 1 AND opened <= $1 OR reminded < 2 AND opened <= $2
				OR reminded >= 2 AND reminded < $3 AND opened <= $4 - (reminded - 2) * $5)
			ORDER BY opened LIMIT $6`, old(firstReminder), old(secondReminder),
			secondReminderSent+policy.MaxThen, old(policy.NextAfter), policy.NextEvery.Microseconds(), sweepBatch),
		s.sweep(ctx, "take over", s.takeOver,
			`SELECT tenant, request, idx, generation FROM request_targets WHERE `+driven+` AND state = 'executing' AND (lease_until <= $1 OR lease_until > $2)
			ORDER BY lease_until LIMIT $3`, now, ahead, sweepBatch),
		s.sweep(ctx, "void late targets", s.late,
			`SELECT t.tenant, t.request, t.idx, t.generation FROM request_targets t
			JOIN requests r ON r.tenant = t.tenant AND r.id = t.request
			WHERE t.`+driven+` AND t.state = 'approved' AND r.execute_by <= $1 ORDER BY r.execute_by LIMIT $2`, now, sweepBatch),
		s.sweep(ctx, "drive again", s.driveAgain,
			`SELECT tenant, request, idx, generation FROM request_targets WHERE `+driven+` AND state = 'approved' AND (due <= $1 OR due > $2)
			ORDER BY due LIMIT $3`, old(redriveAfter), ahead, sweepBatch),
		// An unclear target is left alone once people were asked to settle it.
		s.sweep(ctx, "recall", s.recall,
			`SELECT tenant, request, idx, generation FROM request_targets
			WHERE state IN ('submitted', 'unknown') AND due > 0 AND (due <= $1 OR due > $2)
			ORDER BY due LIMIT $3`, old(recallAfter), ahead, sweepBatch),
	)
}

// sweep calls fn for every row that query selects. A row that somebody else has
// moved meanwhile is left to them.
func (s *Service) sweep(ctx context.Context, what string, fn func(context.Context, Ref) error, query string, args ...int64) error {
	values := make([]any, len(args))
	for i, arg := range args {
		values[i] = arg
	}
	var refs []Ref
	err := each(ctx, s.db.Read(), query, values, func(row durable.Row) error {
		var ref Ref
		var id string
		var index int64
		err := row.Scan(&id, &ref.Request, &index, &ref.Generation)
		ref.Tenant, ref.Index = tenant.ID(id), int(index)
		refs = append(refs, ref)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	ctx = failpoint.Step(ctx, failpoint.SweepDone)
	var errs []error
	for _, ref := range refs {
		if err := fn(ctx, ref); err != nil && !errors.Is(err, ErrMoved) {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	return errors.Join(errs...)
}

func (s *Service) expire(ctx context.Context, ref Ref) error {
	return s.change(ctx, ref.Tenant, ref.Request, func(e *edit) error {
		if e.r.State != Pending || e.at.Before(e.r.Expires) {
			return ErrMoved
		}
		e.stop(Expired, "Nobody completed the approvals in time.")
		return e.record(ctx, "request.expired", "refused", actor{}, struct{}{})
	})
}

func (s *Service) remind(ctx context.Context, ref Ref) error {
	return s.change(ctx, ref.Tenant, ref.Request, func(e *edit) error {
		open := e.at.Sub(e.r.Opened)
		step := e.r.Asked() + 1
		switch {
		case e.r.State != Pending || !e.at.Before(e.r.Expires):
			return ErrMoved
		case e.r.Reminders >= secondReminderSent && step <= policy.Asked(open):
			e.r.Reminders++
			next := e.r.Rule.NextGroups(step)
			if len(next) == 0 {
				e.change = unannounced
				return nil
			}
			e.change = ChangeAskedNext
			return e.record(ctx, "request.asked_next", "ok", actor{}, askedDetail{Step: step, Groups: next})
		case open >= secondReminder && e.r.Reminders < 2:
			e.r.Reminders, e.change = 2, ChangeReminder15
		case open >= firstReminder && e.r.Reminders < 1:
			e.r.Reminders, e.change = 1, ChangeReminder5
		default:
			return ErrMoved
		}
		return nil
	})
}

type askedDetail struct {
	Step   int      `json:"step"`
	Groups []string `json:"groups"`
}

// over tells that a moment has come, or never will by a clock that has been set back.
func over(at, now time.Time) bool { return !now.Before(at) || at.Sub(now) > longestAhead }

// takeOver treats an attempt whose lease has ended as one without an answer: its
// process may have died before or after the call.
func (s *Service) takeOver(ctx context.Context, ref Ref) error {
	return s.change(ctx, ref.Tenant, ref.Request, func(e *edit) error {
		t, err := e.target(ref, Executing)
		if err != nil || !over(t.LeaseUntil, e.at) {
			return ErrMoved
		}
		return e.unclear(ctx, ref, "mdebot was interrupted while sending it; looking at Defender for what became of it.", nil)
	})
}

func (s *Service) late(ctx context.Context, ref Ref) error {
	return s.change(ctx, ref.Tenant, ref.Request, func(e *edit) error {
		t, err := e.target(ref, Approved)
		if err != nil || e.at.Before(e.r.ExecuteBy) {
			return ErrMoved
		}
		why := "It was not started in time after the approval."
		if t.Why != "" {
			why += " " + t.Why
		}
		e.move(ref.Index, Void, why)
		return e.record(ctx, "target.void", "refused", actor{}, voidDetail{Target: t.ID, Why: why})
	})
}

func (s *Service) driveAgain(ctx context.Context, ref Ref) error {
	return s.change(ctx, ref.Tenant, ref.Request, func(e *edit) error {
		t, err := e.target(ref, Approved)
		if err != nil || !over(t.Due.Add(redriveAfter), e.at) {
			return ErrMoved
		}
		next := &e.r.Targets[ref.Index]
		next.Generation++
		next.Due = e.at
		e.change = unannounced
		return e.enqueue(ctx, KindExecute, *next, time.Time{})
	})
}

// recall plans the job of a target that is followed or looked for. A job that is
// there already makes it superfluous, so nothing happens twice.
func (s *Service) recall(ctx context.Context, ref Ref) error {
	return s.change(ctx, ref.Tenant, ref.Request, func(e *edit) error {
		t, err := e.target(ref, Submitted, Unknown)
		if err != nil || t.Due.IsZero() || !over(t.Due.Add(recallAfter), e.at) {
			return ErrMoved
		}
		next := &e.r.Targets[ref.Index]
		next.Due = e.at
		e.change = unannounced
		kind := KindFollow
		if t.State == Unknown {
			kind = KindExecute
		}
		return e.enqueue(ctx, kind, *next, time.Time{})
	})
}
