package store

import (
	"context"
	"fmt"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/failpoint"
	"github.com/mdebot/mdebot/internal/tenant"
)

// FirstDelivery records that a chat platform has delivered id and tells whether
// it did so for the first time in the last 24 hours. Of several callers at once,
// also on different replicas, one gets true.
func (s *Store) FirstDelivery(ctx context.Context, of tenant.ID, id string) (bool, error) {
	var n int64
	err := s.InTx(failpoint.Step(ctx, failpoint.CommandAccepted), func(tx durable.Tx) (err error) {
		n, err = tx.Exec(ctx, `
			INSERT INTO inbox (tenant, delivery_id, received_at) VALUES ($1, $2, $3)
			ON CONFLICT DO NOTHING`, of, id, durable.Micros(s.clock()))
		return err
	})
	if err != nil {
		return false, fmt.Errorf("record delivery: %w", err)
	}
	return n == 1, nil
}
