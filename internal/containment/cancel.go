package containment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/policy"
)

// onAction is the course of a cancellation: what it acts on is a machine action,
// and whether it took effect is that action's own status.
type onAction struct{}

func (onAction) starts(defender.MachineActionType) bool { return false }

// cancelledBy reports whether it was r that cancelled a.
func cancelledBy(a defender.MachineAction, r approvals.Request) bool {
	return a.Status == defender.ActionCancelled && strings.HasPrefix(strings.TrimSpace(a.CancelComment), marker(r))
}

func (onAction) before(ctx context.Context, x *Runner, r approvals.Request, t approvals.Target, facts *approvals.Facts) (*approvals.Started, error) {
	a, err := x.reader.MachineAction(ctx, t.ID)
	switch {
	case errors.Is(err, defender.ErrNotFound):
		facts.Problem = "Defender no longer knows this machine action."
		return nil, nil
	case err != nil:
		return nil, err
	case cancelledBy(a, r):
		s := started(a, "")
		return &s, nil
	case string(a.Type) != r.Params["type"]:
		facts.Problem = fmt.Sprintf("The machine action is of type %s, and not what people decided about.", clean(string(a.Type), 60))
		return nil, nil
	case a.Status.Final():
		facts.Problem = "There is nothing to cancel any more: " + describe(a) + "."
	}
	m, err := x.reader.Machine(ctx, a.MachineID)
	if err != nil && !errors.Is(err, defender.ErrNotFound) {
		return nil, err
	}
	if err == nil {
		facts.Machine = machineFacts(m)
	}
	facts.Detail, err = json.Marshal(struct {
		Machine *policy.Machine `json:"machine"`
		State   string          `json:"state"`
	}{facts.Machine, string(a.Status)})
	return nil, err
}

func (onAction) look(ctx context.Context, x *Runner, r approvals.Request, t approvals.Target) (sighting, error) {
	a, err := x.reader.MachineAction(ctx, t.ID)
	switch {
	case err != nil:
		return sighting{}, err
	case cancelledBy(a, r):
		s := started(a, "")
		return sighting{own: &s}, nil
	case a.Status.Final():
		// Somebody else's cancellation is as good; following it says whose it is.
		s := started(a, "")
		return sighting{own: &s}, nil
	}
	return sighting{missing: "the machine action is still " + clean(string(a.Status), 40), absent: true}, nil
}

func (onAction) follow(ctx context.Context, x *Runner, r approvals.Request, t approvals.Target) (standing, error) {
	a, err := x.reader.MachineAction(ctx, t.ID)
	s := standing{status: string(a.Status)}
	switch {
	case err != nil:
		return s, err
	case a.Status == defender.ActionCancelled:
		s.phase = succeeded
		if !cancelledBy(a, r) {
			s.note = ending(a)
		}
	case a.Status.Final():
		s.phase, s.note = failed, "It ended before the cancellation reached it: "+describe(a)+"."
	}
	return s, nil
}
