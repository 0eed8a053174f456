package defender

import (
	"context"
	"iter"
	"time"
)

// ActionFilter selects machine actions. The zero value selects all of them.
type ActionFilter struct {
	MachineID    string
	Types        []MachineActionType
	Statuses     []MachineActionStatus
	CreatedSince time.Time // inclusive
	// Limit ends the iteration after that many actions; 0 means no limit.
	Limit int
}

func (f ActionFilter) expr() expr {
	var es []expr
	if f.MachineID != "" {
		es = append(es, eq(actionMachine, textLiteral(f.MachineID)))
	}
	es = append(es, oneOf(actionType, f.Types), oneOf(actionStatus, f.Statuses))
	if !f.CreatedSince.IsZero() {
		es = append(es, atOrAfter(actionCreated, f.CreatedSince))
	}
	return allOf(es...)
}

// MachineActions lists machine actions, the newest first. An action may be
// missing for about two minutes after it was accepted. Errors are as with
// [Client.Alerts].
func (c *Client) MachineActions(ctx context.Context, f ActionFilter) iter.Seq2[MachineAction, error] {
	return list(ctx, c, listCall{
		op: "list machine actions", family: familyMachineActions, path: "/api/machineactions",
		filter: f.expr(), order: string(actionCreated) + " desc", limit: f.Limit,
	}, c.machineAction)
}

// MachineAction reads one machine action. ErrNotFound within about two minutes
// of its creation only means "not yet".
func (c *Client) MachineAction(ctx context.Context, id string) (MachineAction, error) {
	const op = "get machine action"
	if err := checkActionID(op, id); err != nil {
		return MachineAction{}, err
	}
	return get(ctx, c, call{op: op, family: familyMachineActions, path: "/api/machineactions/" + id, id: id}, c.machineAction)
}
