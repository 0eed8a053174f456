package approvals

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Own reports whether a machine action is one that this service handed out: its
// ID is recorded, or request, which its comment names, has sent an action of which
// such come to that target and knows no ID of it yet. What a comment says is not believed
// alone, because whoever has the credential can write it.
func (s *Service) Own(ctx context.Context, id tenant.ID, machineAction, request string, starts func(kind string) bool, target string) (bool, error) {
	var one int64
	err := s.db.Read().QueryRow(ctx, `SELECT 1 FROM request_targets
		WHERE tenant = $1 AND machine_action = $2 AND machine_action <> '' AND kind = 'machine' LIMIT 1`, string(id), machineAction).Scan(&one)
	switch {
	case err == nil:
		return true, nil
	case !errors.Is(err, durable.ErrNoRows):
		return false, fmt.Errorf("look for machine action %s: %w", machineAction, err)
	}
	r, err := s.Request(ctx, id, request)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil && starts(r.Action) && slices.ContainsFunc(r.Targets, func(t Target) bool {
		return t.ID == target && t.MachineAction == "" && !t.IntentAt.IsZero()
	}), err
}
