package approvals

import (
	"context"
	"encoding/json"
	"time"

	"github.com/mdebot/mdebot/internal/failpoint"
)

// LookFor is how long an unknown target is looked for at Defender before people
// settle it. An action may take that long to appear in Defender's list.
const LookFor = 2 * time.Minute

// FirstLook is when the first look follows.
const FirstLook = 5 * time.Second

// Started is a machine action at Defender that carries out a target.
type Started struct {
	ID     string
	Status string // in Defender's words
	// Created is when Defender says it began.
	Created time.Time
	// Note is a sentence for people, or empty.
	Note   string
	Detail json.RawMessage // for the audit record
}

// Submitted records Defender's clear answer to an attempt and plans to follow
// the machine action. [ErrMoved] means that another process has taken over, and
// that it will find the action by itself.
func (s *Service) Submitted(ctx context.Context, a Attempt, started Started) error {
	return s.attempted(ctx, a, func(e *edit, ref Ref) error { return e.submitted(ctx, ref, "action.submitted", started) })
}

// Refused records that Defender refused an attempt for good, before any effect.
func (s *Service) Refused(ctx context.Context, a Attempt, why string, detail json.RawMessage) error {
	return s.attempted(ctx, a, func(e *edit, ref Ref) error {
		t := e.move(ref.Index, Failed, why)
		return e.record(ctx, "action.refused", "failed", actor{}, outcomeDetail{Target: t.ID, Why: why, At: detail})
	})
}

// Postponed records that Defender refused an attempt before any effect and may
// take it later. The target is approved again: it can be denied, becomes void
// when its time is over, and is judged again by the next claim.
func (s *Service) Postponed(ctx context.Context, a Attempt, after time.Duration, why string) error {
	return s.attempted(ctx, a, func(e *edit, ref Ref) error {
		t := e.move(ref.Index, Approved, why)
		t.Generation++
		t.Due = e.at.Add(after)
		if err := e.enqueue(ctx, KindExecute, *t, t.Due); err != nil {
			return err
		}
		return e.record(ctx, "action.postponed", "refused", actor{}, outcomeDetail{Target: t.ID, Why: why})
	})
}

// Unclear records that an attempt may or may not have taken effect, and plans
// the looks.
func (s *Service) Unclear(ctx context.Context, a Attempt, why string, detail json.RawMessage) error {
	return s.attempted(ctx, a, func(e *edit, ref Ref) error { return e.unclear(ctx, ref, why, detail) })
}

// attempted runs fn while a is still the attempt in charge of its target.
func (s *Service) attempted(ctx context.Context, a Attempt, fn func(*edit, Ref) error) error {
	ref := refOf(a.Request, a.Target)
	return s.change(failpoint.Step(ctx, failpoint.ResultSaved), ref.Tenant, ref.Request, func(e *edit) error {
		t, err := e.target(ref, Executing)
		if err != nil || t.LeaseOwner != a.Target.LeaseOwner {
			return ErrMoved
		}
		return fn(e, ref)
	})
}

// Found records a machine action that carries this request's marker: the answer
// to an attempt without one, also when the database no longer knows of it.
func (s *Service) Found(ctx context.Context, ref Ref, started Started) error {
	return s.change(failpoint.Step(ctx, failpoint.ResultSaved), ref.Tenant, ref.Request, func(e *edit) error {
		if _, err := e.target(ref, Unknown, Approved); err != nil {
			return err
		}
		return e.submitted(ctx, ref, "action.found", started)
	})
}

func (e *edit) submitted(ctx context.Context, ref Ref, kind string, started Started) error {
	t := e.move(ref.Index, Submitted, started.Note)
	t.Due = e.at
	t.MachineAction, t.ActionStatus = storable(started.ID), storable(started.Status)
	if t.IntentAt.IsZero() {
		t.IntentAt = started.Created
	}
	if err := e.enqueue(ctx, KindFollow, *t, time.Time{}); err != nil {
		return err
	}
	return e.record(ctx, kind, "ok", actor{}, outcomeDetail{
		Target: t.ID, MachineAction: t.MachineAction, Status: t.ActionStatus, Why: started.Note, At: started.Detail,
	})
}

// unclear makes a target unknown, fences out whoever held it and plans the looks.
func (e *edit) unclear(ctx context.Context, ref Ref, why string, detail json.RawMessage) error {
	t := e.move(ref.Index, Unknown, why)
	t.Generation++
	t.UnclearAt, t.Due = e.at, e.at
	if err := e.enqueue(ctx, KindExecute, *t, e.at.Add(FirstLook)); err != nil {
		return err
	}
	return e.record(ctx, "action.unclear", "unknown", actor{}, outcomeDetail{Target: t.ID, MachineAction: t.MachineAction, Why: why, At: detail})
}

// maxAttempts is how often a call that had no effect is made for one target.
const maxAttempts = 3

// Absent records that what an unknown target was to bring about is known not to be
// there. Where the action may be repeated then, it is approved for one more attempt
// as long as it is in time; otherwise it has failed.
func (s *Service) Absent(ctx context.Context, ref Ref, why string) error {
	return s.change(ctx, ref.Tenant, ref.Request, func(e *edit) error {
		t, err := e.target(ref, Unknown)
		if err != nil {
			return err
		}
		again := s.actions[e.r.Action].Repeat == RepeatWhenAbsent && e.at.Before(e.r.ExecuteBy) && t.Attempts < maxAttempts && !e.r.stopped()
		if !again {
			e.move(ref.Index, Failed, why)
			return e.record(ctx, "action.absent", "failed", actor{}, outcomeDetail{Target: t.ID, Why: why})
		}
		next := e.move(ref.Index, Approved, why)
		next.Generation++
		next.Due = e.at
		if err := e.enqueue(ctx, KindExecute, *next, time.Time{}); err != nil {
			return err
		}
		return e.record(ctx, "action.absent", "ok", actor{}, outcomeDetail{Target: t.ID, Why: why})
	})
}

// Noted shows what a look has found out about a target that stays unknown. With
// last, no look follows and people are asked to settle it. Saying the same again
// changes nothing.
func (s *Service) Noted(ctx context.Context, ref Ref, why string, last bool) error {
	return s.change(failpoint.Step(ctx, failpoint.ResultSaved), ref.Tenant, ref.Request, func(e *edit) error {
		t, err := e.target(ref, Unknown)
		same := t.Why == storable(why)
		if err != nil || same && (!last || t.Due.IsZero()) {
			return err
		}
		if last {
			e.r.Targets[ref.Index].Due = time.Time{} // the sweep leaves it to people
		}
		if same {
			e.change = unannounced
			return nil
		}
		e.change = ChangeTarget
		kind := "action.looked"
		if last {
			e.change, kind = ChangeNeedsPeople, "action.needs_people"
		}
		e.move(ref.Index, Unknown, why)
		return e.record(ctx, kind, "unknown", actor{}, outcomeDetail{Target: t.ID, Why: why})
	})
}

// Followed records a status of the machine action that is not final, and a note
// on what the machine is doing meanwhile. Saying the same again changes nothing.
func (s *Service) Followed(ctx context.Context, ref Ref, status, note string) error {
	return s.change(failpoint.Step(ctx, failpoint.ResultSaved), ref.Tenant, ref.Request, func(e *edit) error {
		t, err := e.target(ref, Submitted)
		if err != nil || t.ActionStatus == storable(status) && t.Why == storable(note) {
			return err
		}
		e.move(ref.Index, Submitted, note).ActionStatus = storable(status)
		return e.record(ctx, "action.status", "ok", actor{}, outcomeDetail{Target: t.ID, MachineAction: t.MachineAction, Status: status, Why: note})
	})
}

// Finished records the end of the machine action: Succeeded, or anything else
// with what Defender said.
func (s *Service) Finished(ctx context.Context, ref Ref, success bool, status, why string) error {
	return s.change(failpoint.Step(ctx, failpoint.ResultSaved), ref.Tenant, ref.Request, func(e *edit) error {
		if _, err := e.target(ref, Submitted); err != nil {
			return err
		}
		state, outcome := Failed, "failed"
		if success {
			state, outcome = Succeeded, "ok"
		}
		t := e.move(ref.Index, state, why)
		t.ActionStatus = storable(status)
		return e.record(ctx, "action.finished", outcome, actor{}, outcomeDetail{Target: t.ID, MachineAction: t.MachineAction, Status: status, Why: why})
	})
}

// Lost records that Defender no longer knows the machine action it had answered
// with. The target is unknown again.
func (s *Service) Lost(ctx context.Context, ref Ref, why string) error {
	return s.change(failpoint.Step(ctx, failpoint.ResultSaved), ref.Tenant, ref.Request, func(e *edit) error {
		if _, err := e.target(ref, Submitted); err != nil {
			return err
		}
		return e.unclear(ctx, ref, why, nil)
	})
}

type outcomeDetail struct {
	Target        string          `json:"target"`
	MachineAction string          `json:"machine_action,omitempty"`
	Status        string          `json:"status,omitempty"`
	Why           string          `json:"why,omitempty"`
	At            json.RawMessage `json:"at_defender,omitempty"`
}
