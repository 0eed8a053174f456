package containment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
)

const (
	// appearWithin is how long Defender may not know an action it has just
	// answered with.
	appearWithin = 2 * time.Minute
	// followFor is a little longer than Defender tries to reach an offline machine.
	followFor = 3*24*time.Hour + time.Hour
	// offlineAfter is when a pending action makes people ask what the machine does.
	offlineAfter = time.Minute
)

// pace is how long to wait before the next poll of an action that began that
// long ago.
func pace(age time.Duration) time.Duration {
	switch {
	case age < time.Minute:
		return 5 * time.Second
	case age < 15*time.Minute:
		return 30 * time.Second
	}
	return 5 * time.Minute
}

// Follow looks at a submitted target's machine action once and comes back until
// its end. It is a [durable.Worker].
func (x *Runner) Follow(ctx context.Context, job durable.Job) error {
	ref, r, t, err := x.target(ctx, job)
	if err != nil || r.ID == "" || t.State != approvals.Submitted {
		return err
	}
	return x.ended(ctx, ref, x.follow(ctx, ref, r, t))
}

func (x *Runner) follow(ctx context.Context, ref approvals.Ref, r approvals.Request, t approvals.Target) error {
	effect, known := effects[r.Action]
	if !known {
		return fmt.Errorf("follow %s: this version does not know the action %q", ref, r.Action)
	}
	age := x.now().Sub(t.IntentAt)
	reading, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	s, err := effect.follow(reading, x, r, t)
	switch {
	case errors.Is(err, defender.ErrNotFound) && age < appearWithin:
		return durable.Snooze(pace(age))
	case errors.Is(err, defender.ErrNotFound):
		return x.approvals.Lost(ctx, ref, "Defender no longer knows what it had answered with; looking for it.")
	case err != nil && age >= followFor:
		return x.approvals.Finished(ctx, ref, false, t.ActionStatus, "Defender could not be read for the outcome: "+words(err))
	case err != nil:
		x.logger.WarnContext(ctx, "what was started could not be read; reading again", slog.String("tenant_id", string(ref.Tenant)),
			slog.String("approval_id", ref.Request), slog.String("machine_action_id", t.MachineAction), slog.Any("error", err))
		var throttled *defender.ThrottledError
		if errors.As(err, &throttled) {
			return durable.Snooze(max(throttled.RetryAfter, pace(age)))
		}
		return durable.Snooze(pace(age))
	}
	switch s.phase {
	case succeeded, failed:
		return x.approvals.Finished(ctx, ref, s.phase == succeeded, s.status, s.note)
	case lost:
		x.logger.ErrorContext(ctx, "what was started is something else", slog.String("tenant_id", string(ref.Tenant)),
			slog.String("approval_id", ref.Request), slog.String("machine_action_id", t.MachineAction), slog.String("target", t.ID))
		return x.approvals.Lost(ctx, ref, s.note)
	case running:
	}
	if age >= followFor {
		return x.approvals.Finished(ctx, ref, false, s.status,
			fmt.Sprintf("Defender still says %s after three days, so it is no longer followed; it may yet take effect.", clean(s.status, 40)))
	}
	if err := x.approvals.Followed(ctx, ref, s.status, s.note); err != nil {
		return err
	}
	return durable.Snooze(pace(age))
}
