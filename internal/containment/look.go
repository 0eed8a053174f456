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

// looks are when an unknown target is looked for, counted from when it became
// unknown: an action may take that long to appear in Defender's list.
var looks = []time.Duration{approvals.FirstLook, 15 * time.Second, 45 * time.Second, approvals.LookFor}

// lookAgain is when to look once more after a look that failed.
const lookAgain = 15 * time.Second

// look searches for the action of an unknown target. Found, it is adopted; after
// the last look people must settle it, because a list without it proves nothing.
func (x *Runner) look(ctx context.Context, ref approvals.Ref, r approvals.Request, t approvals.Target) error {
	since := x.now().Sub(t.UnclearAt)
	if since < looks[0] {
		return durable.Snooze(looks[0] - since)
	}
	last := since >= looks[len(looks)-1]
	reading, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	effect, known := effects[r.Action]
	if !known {
		return fmt.Errorf("look for %s: this version does not know the action %q", ref, r.Action)
	}
	found, err := effect.look(reading, x, r, t)
	if err != nil {
		return x.blindLook(ctx, ref, err, last)
	}
	if found.own != nil {
		return x.approvals.Found(ctx, ref, *found.own)
	}
	note := "Defender gave no clear answer, and " + found.missing
	if found.other != "" {
		note += "; " + found.other + ", and no other was added"
	}
	if last && found.absent {
		return x.approvals.Absent(ctx, ref, note+".")
	}
	if last {
		return x.approvals.Noted(ctx, ref, fmt.Sprintf("%s. Needs people: look in the Defender portal, then settle %d done or settle %d not-done.", note, r.Number, r.Number), true)
	}
	if err := x.approvals.Noted(ctx, ref, note+" yet.", false); err != nil {
		return err
	}
	for _, at := range looks {
		if at > since {
			return durable.Snooze(at - since)
		}
	}
	return nil
}

// blindLook goes on looking while Defender cannot be read: only a look that
// worked may be the last.
func (x *Runner) blindLook(ctx context.Context, ref approvals.Ref, err error, last bool) error {
	wait := lookAgain
	var throttled *defender.ThrottledError
	if errors.As(err, &throttled) {
		wait = max(throttled.RetryAfter, time.Second)
	}
	x.logger.WarnContext(ctx, "look for an unclear action failed; looking again", slog.String("tenant_id", string(ref.Tenant)),
		slog.String("approval_id", ref.Request), slog.Int("target", ref.Index), slog.Any("error", err))
	if last {
		if err := x.approvals.Noted(ctx, ref, "Defender gave no clear answer and cannot be read now; still looking.", false); err != nil {
			return err
		}
	}
	return durable.Snooze(wait)
}
