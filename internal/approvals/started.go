package approvals

import (
	"context"
	"fmt"
	"strings"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Started finds the requests that machine actions came from, by the actions' IDs.
// Those that are not in the answer were started by somebody else.
func (s *Service) Started(ctx context.Context, id tenant.ID, machineActions []string) (map[string]Request, error) {
	if len(machineActions) == 0 {
		return nil, nil
	}
	args := []any{string(id)}
	places := make([]string, len(machineActions))
	for i, a := range machineActions {
		args = append(args, a)
		places[i] = fmt.Sprintf("$%d", i+2)
	}
	of := map[string]string{} // action ID: request ID
	err := each(ctx, s.db.Read(), `SELECT machine_action, request FROM request_targets
		WHERE tenant = $1 AND kind = 'machine' AND machine_action <> '' AND machine_action IN (`+strings.Join(places, ", ")+`)`, args, func(row durable.Row) error {
		var action, request string
		err := row.Scan(&action, &request)
		of[action] = request
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find the requests of machine actions: %w", err)
	}
	started := make(map[string]Request, len(of))
	for action, request := range of {
		if started[action], err = s.Request(ctx, id, request); err != nil {
			return nil, err
		}
	}
	return started, nil
}
