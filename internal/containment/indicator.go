package containment

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/defender"
)

// onIndicator is the course of setting an indicator, or of taking one away.
// Defender's list shows whether it is there, and doing either twice does what
// doing it once does.
type onIndicator struct{ wanted bool }

func (onIndicator) starts(defender.MachineActionType) bool { return false }

var indicatorActions = map[string]defender.IndicatorAction{
	"block": defender.IndicatorBlock, "warn": defender.IndicatorWarn, "audit": defender.IndicatorAudit,
}

// expiry is when the indicator of a request ends; zero: never.
func expiry(r approvals.Request) time.Time {
	at, err := time.Parse(time.RFC3339, r.Params["expires"])
	if err != nil {
		return time.Time{}
	}
	return at
}

// of reads the indicator of a target, or nil. What has expired is not there.
func (x *Runner) of(ctx context.Context, t approvals.Target) (*defender.Indicator, error) {
	kind, value := approvals.ParseIndicatorID(t.ID)
	for i, err := range x.indicators.Indicators(ctx, value) {
		if err != nil {
			return nil, err
		}
		// An answer that ignores the filter must not pass for this one.
		if string(i.Type) == kind && strings.EqualFold(i.Value, value) && (i.Expires.IsZero() || i.Expires.After(x.now())) {
			return &i, nil
		}
	}
	return nil, nil
}

func (c onIndicator) before(ctx context.Context, x *Runner, r approvals.Request, t approvals.Target, facts *approvals.Facts) (*approvals.Started, error) {
	there, err := x.of(ctx, t)
	if err != nil {
		return nil, err
	}
	facts.Detail = encoded(struct {
		There *defender.Indicator `json:"there"`
	}{there})
	if own := c.own(r, there); own != nil {
		return own, nil
	}
	if c.wanted {
		if at := expiry(r); !at.IsZero() && !at.After(x.now()) {
			facts.Problem = "It would have expired by now."
		}
		return nil, nil
	}
	switch {
	case there == nil:
		facts.Problem = "There is no such indicator any more."
	case there.ID != r.Params["indicator"]:
		facts.Problem = "There is another indicator of that value now, and not the one that people decided about."
	}
	return nil, nil
}

// own is the indicator that there is, if r has set it.
func (c onIndicator) own(r approvals.Request, there *defender.Indicator) *approvals.Started {
	if !c.wanted || there == nil || !strings.HasPrefix(strings.TrimSpace(there.Description), marker(r)) {
		return nil
	}
	return &approvals.Started{ID: there.ID, Status: string(there.Action), Created: there.Created, Detail: indicatorDetail(*there, nil)}
}

func (c onIndicator) look(ctx context.Context, x *Runner, r approvals.Request, t approvals.Target) (sighting, error) {
	there, err := x.of(ctx, t)
	switch {
	case err != nil:
		return sighting{}, err
	case c.wanted:
		return sighting{own: c.own(r, there), missing: "its list does not show the indicator", absent: true}, nil
	case there == nil || there.ID != r.Params["indicator"]:
		return sighting{own: &approvals.Started{ID: r.Params["indicator"], Status: "deleted"}}, nil
	}
	return sighting{missing: "the indicator is still there", absent: true}, nil
}

// settledAfter is how long Defender's list may take to show a change.
const settledAfter = 2 * time.Minute

func (c onIndicator) follow(ctx context.Context, x *Runner, r approvals.Request, t approvals.Target) (standing, error) {
	there, err := x.of(ctx, t)
	if err != nil {
		return standing{}, err
	}
	done := there != nil && there.ID == t.MachineAction
	s := standing{status: "set"}
	if c.wanted {
		done = done && there.Action == indicatorActions[r.Params["effect"]]
	} else {
		done, s.status = !done, "deleted"
	}
	switch late := x.now().Sub(t.IntentAt) >= settledAfter; {
	case done:
		s.phase = succeeded
	case late && c.wanted && there == nil:
		s.phase, s.note = failed, "Defender took it, and its list does not show it."
	case late && c.wanted:
		s.phase, s.note = failed, fmt.Sprintf("Somebody else has changed it since: Defender's list shows %s, set by %s.", clean(string(there.Action), 40), clean(there.CreatedBy, maxName))
	case late:
		s.phase, s.note = failed, "Defender took it, and the indicator is still there."
	}
	return s, nil
}

// indicatorDetail is what Defender said, for the audit record.
func indicatorDetail(i defender.Indicator, err error) json.RawMessage {
	d := struct {
		ID      string    `json:"id,omitempty"`
		Type    string    `json:"type,omitempty"`
		Value   string    `json:"value,omitempty"`
		Action  string    `json:"action,omitempty"`
		Expires time.Time `json:"expires,omitzero"`
		Error   string    `json:"error,omitempty"`
	}{ID: i.ID, Type: string(i.Type), Value: i.Value, Action: string(i.Action), Expires: i.Expires}
	if err != nil {
		d.Error = words(err)
	}
	return encoded(d)
}
