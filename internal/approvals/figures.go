package approvals

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Figures sums up what happened to requests in a span of time, from the audit
// log alone. Times are medians; they are zero when there was nothing to measure.
type Figures struct {
	Opened       int
	Denied       int
	Withdrawn    int
	Expired      int
	SelfApproved int // refused attempts to approve one's own request
	OverLimit    int // opened with one more approver because of a limit
	Succeeded    int // targets that Defender reported done
	// AskToApprove is from opening to quorum; ApproveToDone and AskToDone end with
	// Defender's word that a machine was isolated.
	AskToApprove, ApproveToDone, AskToDone time.Duration
}

// ReadFigures reads the records dated from since until before until. Requests
// opened before since are counted by what happened to them, and not timed.
func ReadFigures(ctx context.Context, db durable.DBTX, id tenant.ID, since, until time.Time) (Figures, error) {
	var f Figures
	type course struct {
		action           string
		opened, approved time.Time
	}
	courses := map[string]course{}
	var toApprove, toDone, whole []time.Duration
	for r, err := range audit.Between(ctx, db, id, since, until) {
		if err != nil {
			return Figures{}, err
		}
		c := courses[r.Request]
		switch r.Kind {
		case "request.opened":
			var o openedDetail
			if err := json.Unmarshal(r.Detail, &o); err != nil {
				return Figures{}, fmt.Errorf("audit record %d: %w", r.Seq, err)
			}
			f.Opened++
			if o.Rule.OverLimit != "" {
				f.OverLimit++
			}
			c.action, c.opened = o.Action, r.At
		case "request.approved":
			c.approved = r.At
			if !c.opened.IsZero() {
				toApprove = append(toApprove, r.At.Sub(c.opened))
			}
		case "action.finished":
			if r.Outcome != "ok" {
				break
			}
			f.Succeeded++
			if c.action == Isolate && !c.approved.IsZero() {
				toDone = append(toDone, r.At.Sub(c.approved))
				whole = append(whole, r.At.Sub(c.opened))
			}
		case "vote.refused":
			var no refusedDetail
			if json.Unmarshal(r.Detail, &no) == nil && no.Reason == ErrOwnRequest.Error() {
				f.SelfApproved++
			}
		case "vote.deny":
			f.Denied++
		case "request.withdrawn":
			f.Withdrawn++
		case "request.expired":
			f.Expired++
		}
		if r.Request != "" {
			courses[r.Request] = c
		}
	}
	f.AskToApprove, f.ApproveToDone, f.AskToDone = Median(toApprove), Median(toDone), Median(whole)
	return f, nil
}

// Median is the middle of spans, the lower one of two; 0 for none.
func Median(spans []time.Duration) time.Duration {
	if len(spans) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(spans))
	return sorted[(len(sorted)-1)/2]
}
