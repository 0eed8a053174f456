package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/failpoint"
	"github.com/mdebot/mdebot/internal/tenant"
)

// retainEvery is how often what is too old is removed.
const retainEvery = time.Hour

// retain removes what is too old until ctx ends.
func (a *App) retain(ctx context.Context) {
	tick := time.NewTicker(retainEvery)
	defer tick.Stop()
	for {
		if err := a.purge(ctx); err != nil && ctx.Err() == nil {
			a.log.ErrorContext(ctx, "old records not removed; it is tried again in an hour", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// purge removes what is older than mdebot.yaml keeps. A log that differs from its
// anchor is evidence, and stays whole.
func (a *App) purge(ctx context.Context) error {
	keep := a.policy.Current().Retention()
	var errs []error
	for _, t := range a.tenantIDs() {
		if !a.anchors.Differs(t) {
			errs = append(errs, a.purgeAudit(ctx, t, keep.Audit))
		}
		errs = append(errs, a.notify.Purge(ctx, t, keep))
	}
	old := a.now().Add(-keep.Hunts)
	return errors.Join(append(errs, huntHistory{db: a.store}.Purge(ctx, old), a.files.purge(ctx, old),
		ownMessages{db: a.store}.purge(ctx, a.now().Add(-keep.Alerts)))...)
}

func (a *App) purgeAudit(ctx context.Context, t tenant.ID, keep time.Duration) error {
	key, err := a.cfg.auditKey()
	if err != nil {
		return err
	}
	for {
		var removed int64
		err := a.store.InTx(failpoint.Step(ctx, failpoint.CheckpointSaved), func(tx durable.Tx) (err error) {
			removed, err = a.audit.Purge(ctx, tx, t, keep, key)
			return err
		})
		if err != nil {
			return fmt.Errorf("remove old audit records: %w", err)
		}
		if removed == 0 {
			return nil
		}
		a.log.InfoContext(ctx, "removed old audit records", "tenant_id", t, "records", removed)
	}
}
