package app

import (
	"context"
	"errors"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/tenant"
)

// huntsRunFor is far longer than any hunt: a row of before was left by a process that
// died.
const huntsRunFor = 15 * time.Minute

// HuntBegan implements commands.History.
func (s huntHistory) HuntBegan(ctx context.Context, t tenant.ID, id, who string) error {
	now := s.now()
	return s.db.InTx(ctx, func(tx durable.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM running_hunts WHERE began_at < $1`, durable.Micros(now.Add(-huntsRunFor))); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO running_hunts (tenant, id, who, began_at, cancelled) VALUES ($1, $2, $3, $4, 0)`, string(t), id, who, durable.Micros(now))
		return err
	})
}

// HuntEnded implements commands.History.
func (s huntHistory) HuntEnded(ctx context.Context, t tenant.ID, id string) error {
	return s.db.InTx(ctx, func(tx durable.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM running_hunts WHERE tenant = $1 AND id = $2`, string(t), id)
		return err
	})
}

// CancelHunt implements commands.History.
func (s huntHistory) CancelHunt(ctx context.Context, id, who string) (runs bool, err error) {
	err = s.db.InTx(ctx, func(tx durable.Tx) error {
		rows, err := tx.Exec(ctx, `UPDATE running_hunts SET cancelled = 1 WHERE id = $1 AND who = $2 AND began_at >= $3`,
			id, who, durable.Micros(s.now().Add(-huntsRunFor)))
		runs = rows == 1
		return err
	})
	return runs, err
}

// HuntCancelled implements commands.History.
func (s huntHistory) HuntCancelled(ctx context.Context, t tenant.ID, id string) (bool, error) {
	var cancelled int64
	err := s.db.Read().QueryRow(ctx, `SELECT cancelled FROM running_hunts WHERE tenant = $1 AND id = $2`, string(t), id).Scan(&cancelled)
	if errors.Is(err, durable.ErrNoRows) {
		return false, nil
	}
	return cancelled != 0, err
}
