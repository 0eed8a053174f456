package notify

import (
	"context"
	"fmt"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/policy"
)

// purgeStep is how many alerts go in one transaction.
const purgeStep = 500

// Purge forgets the alerts of a tenant that have not changed for so long, what was
// posted about them, notices of that age, and what scheduled hunts found. Messages in
// chat stay. An old alert that changes afterwards is remembered again and not posted.
func (n *Notifier) Purge(ctx context.Context, t tenantID, retention policy.Retention) error {
	keep := retention.Alerts
	old := n.now().Add(-keep).UnixMicro()
	for {
		var gone int64
		err := n.db.InTx(ctx, func(tx durable.Tx) (err error) {
			gone, err = n.purgeAlerts(ctx, tx, t, old)
			return err
		})
		if err != nil {
			return fmt.Errorf("forget old alerts: %w", err)
		}
		if gone < purgeStep {
			break
		}
	}
	err := n.db.InTx(ctx, func(tx durable.Tx) error {
		for _, q := range []string{
			`DELETE FROM cards WHERE tenant = $1 AND created_at < $2 AND wanted <= shown AND subject IN ('notice', 'storm', 'page', 'raised', 'paging')`,
			`DELETE FROM pagings WHERE tenant = $1 AND ended_at <> 0 AND ended_at < $2`,
			// The newest of each machine says what it is now, however old it is.
			`DELETE FROM isolations WHERE tenant = $1 AND created_at < $2 AND EXISTS (
				SELECT 1 FROM isolations n WHERE n.tenant = isolations.tenant AND n.machine = isolations.machine
				AND n.status = 'Succeeded' AND n.created_at > isolations.created_at)`,
			`DELETE FROM storms WHERE tenant = $1 AND ended_at <> 0 AND ended_at < $2`,
			`DELETE FROM notices WHERE tenant = $1 AND created_at < $2
				AND NOT EXISTS (SELECT 1 FROM cards c WHERE c.tenant = notices.tenant AND c.subject IN ('notice', 'hunt') AND c.subject_id = notices.id)`,
		} {
			if _, err := tx.Exec(ctx, q, string(t), old); err != nil {
				return err
			}
		}
		// As long as they are looked at, they must not be told again.
		if _, err := tx.Exec(ctx, `DELETE FROM isolation_ends WHERE tenant = $1 AND told_at < $2`,
			string(t), n.now().Add(-max(keep, approvals.TimedKept)).UnixMicro()); err != nil {
			return err
		}
		for _, q := range []string{
			`DELETE FROM cards WHERE tenant = $1 AND created_at < $2 AND wanted <= shown AND subject = 'hunt'`,
			`DELETE FROM notices WHERE tenant = $1 AND created_at < $2 AND id LIKE 'hunt %'
				AND NOT EXISTS (SELECT 1 FROM cards c WHERE c.tenant = notices.tenant AND c.subject = 'hunt' AND c.subject_id = notices.id)`,
		} {
			if _, err := tx.Exec(ctx, q, string(t), n.now().Add(-retention.Hunts).UnixMicro()); err != nil {
				return err
			}
		}
		if err := n.forgetSchedules(ctx, tx, t); err != nil {
			return err
		}
		return forgetMutes(ctx, tx, t, n.now().Add(-keep))
	})
	if err != nil {
		return fmt.Errorf("forget old notices: %w", err)
	}
	return nil
}

// purgeAlerts removes one step of alerts, their cards first.
func (n *Notifier) purgeAlerts(ctx context.Context, tx durable.Tx, t tenantID, old int64) (int64, error) {
	var last string
	// The step is a range of IDs among those that are old enough.
	err := tx.QueryRow(ctx, `SELECT COALESCE(MAX(id), '') FROM (
		SELECT id FROM alerts WHERE tenant = $1 AND changed_at < $2 ORDER BY id LIMIT $3) AS step`, string(t), old, purgeStep).Scan(&last)
	if err != nil || last == "" {
		return 0, err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM cards WHERE tenant = $1 AND subject = 'alert' AND subject_id IN (
		SELECT id FROM alerts WHERE tenant = $1 AND changed_at < $2 AND id <= $3)`, string(t), old, last); err != nil {
		return 0, err
	}
	return tx.Exec(ctx, `DELETE FROM alerts WHERE tenant = $1 AND changed_at < $2 AND id <= $3`, string(t), old, last)
}
