package containment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
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
	age := x.now().Sub(t.IntentAt)
	reading, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	a, err := x.reader.MachineAction(reading, t.MachineAction)
	switch {
	case errors.Is(err, defender.ErrNotFound) && age < appearWithin:
		return durable.Snooze(pace(age))
	case errors.Is(err, defender.ErrNotFound):
		return x.approvals.Lost(ctx, ref, "Defender no longer knows the machine action it had answered with; looking for it.")
	case err != nil && age >= followFor:
		return x.approvals.Finished(ctx, ref, false, t.ActionStatus, "Defender could not be read for the outcome: "+words(err))
	case err != nil:
		x.logger.WarnContext(ctx, "machine action could not be read; reading again", slog.String("tenant_id", string(ref.Tenant)),
			slog.String("approval_id", ref.Request), slog.String("machine_action_id", t.MachineAction), slog.Any("error", err))
		var throttled *defender.ThrottledError
		if errors.As(err, &throttled) {
			return durable.Snooze(max(throttled.RetryAfter, pace(age)))
		}
		return durable.Snooze(pace(age))
	case a.MachineID != "" && !strings.EqualFold(a.MachineID, t.ID):
		x.logger.ErrorContext(ctx, "machine action belongs to another machine", slog.String("tenant_id", string(ref.Tenant)),
			slog.String("approval_id", ref.Request), slog.String("machine_action_id", a.ID), slog.String("machine_id", t.ID))
		return x.approvals.Lost(ctx, ref, "The machine action Defender answered with belongs to another machine; looking for the right one.")
	case a.Status == defender.ActionSucceeded:
		return x.approvals.Finished(ctx, ref, true, string(a.Status), elsewhere(r, t, a))
	case a.Status.Final():
		return x.approvals.Finished(ctx, ref, false, string(a.Status), ending(a))
	case age >= followFor:
		return x.approvals.Finished(ctx, ref, false, string(a.Status),
			fmt.Sprintf("Defender still says %s after three days, so it is no longer followed; it may yet take effect.", clean(string(a.Status), 40)))
	}
	if err := x.approvals.Followed(ctx, ref, string(a.Status), x.meanwhile(reading, r, t, a, age)); err != nil {
		return err
	}
	return durable.Snooze(pace(age))
}

// meanwhile says what a machine does that has not taken its action yet.
func (x *Runner) meanwhile(ctx context.Context, r approvals.Request, t approvals.Target, a defender.MachineAction, age time.Duration) string {
	note := elsewhere(r, t, a)
	if a.Status != defender.ActionPending || age < offlineAfter {
		return note
	}
	m, err := x.reader.Machine(ctx, t.ID)
	if err != nil || m.Health == "" || m.Health == "Active" {
		return note
	}
	return strings.TrimSpace(fmt.Sprintf("%s The machine is %s, last seen %s; Defender waits for it up to three days.",
		note, clean(m.Health, 40), m.LastSeen.UTC().Format("2006-01-02 15:04 UTC")))
}

// ending says why an action did not succeed.
func ending(a defender.MachineAction) string {
	text := "Defender ended it as " + string(a.Status)
	switch a.Status {
	case defender.ActionTimeOut:
		text = "The machine did not take it in time (TimeOut)"
	case defender.ActionCancelled:
		text = "It was cancelled"
		if a.CancelledBy != "" {
			text += " by " + clean(a.CancelledBy, maxName)
		}
		if a.CancelComment != "" {
			text += ": " + clean(a.CancelComment, 200)
		}
	default: // its name says it all
	}
	if a.HResult != 0 {
		text += fmt.Sprintf(" (error 0x%08X)", uint32(a.HResult))
	}
	return text + "."
}
