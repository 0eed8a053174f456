package notify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
)

// unlookedAfter is how long a reminder waits for a look at what has become of the
// machines: after an outage, somebody may have released them.
const unlookedAfter = 10 * time.Minute

// tellTimed reminds of isolations whose planned time is over, with a prepared
// release. Nothing is released by itself, and a machine that somebody has released
// meanwhile, by whatever way, is not named.
func (n *Notifier) tellTimed(ctx context.Context, t tenantID) error {
	planned, err := n.requests.Timed(ctx, t)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range planned {
		over, err := n.overdue(ctx, r)
		if err == nil && len(over) > 0 {
			err = n.tellOver(ctx, r, over)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// overdue are the targets of r that are isolated for longer than was planned.
func (n *Notifier) overdue(ctx context.Context, r approvals.Request) ([]approvals.Target, error) {
	var over []approvals.Target
	for _, target := range r.Targets {
		until := r.Until(target)
		if until.IsZero() || until.After(n.now()) {
			continue
		}
		still, err := n.stillIsolated(ctx, r.Tenant, target, until)
		if err != nil {
			return nil, err
		}
		if still {
			over = append(over, target)
		}
	}
	return over, nil
}

// tellOver tells of those machines of r of which nobody was told yet.
func (n *Notifier) tellOver(ctx context.Context, r approvals.Request, over []approvals.Target) error {
	w := n.tenants[r.Tenant]
	to := []chat.Destination{chat.DirectTo(r.RequesterAs)}
	if asked := chat.Destination(r.Origin); asked != "" && asked != to[0] {
		to = append(to, asked)
	}
	return n.db.InTx(ctx, func(tx durable.Tx) error {
		var fresh []approvals.Target
		for _, target := range over {
			rows, err := tx.Exec(ctx, `INSERT INTO isolation_ends (tenant, request, idx, told_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
				string(r.Tenant), r.ID, int64(target.Index), n.now().UnixMicro())
			if err != nil {
				return err
			}
			if rows == 1 {
				fresh = append(fresh, target)
			}
		}
		if len(fresh) == 0 {
			return nil
		}
		m := cards.IsolationOver(r, fresh, w != nil && w.MayIsolate())
		m.Mentions = []chat.Mention{{ID: r.RequesterAs.Account, Name: r.RequesterName}}
		return n.notice(ctx, tx, r.Tenant, fmt.Sprintf("isolation over %s/%d", r.ID, fresh[0].Index), m, to...)
	})
}

// stillIsolated reports whether nobody has released a machine since target was
// isolated. A release that is under way is waited for, and so is a look that is as
// new as the end of the planned time, for a while: one reminder too many is better
// than none.
func (n *Notifier) stillIsolated(ctx context.Context, t tenantID, target approvals.Target, until time.Time) (bool, error) {
	looked, err := n.lookedAtIsolations(ctx, n.db.Read(), t)
	if err != nil || looked.Before(until) {
		return n.now().After(until.Add(unlookedAfter)), err
	}
	now, err := isolationOf(ctx, n.db.Read(), t, target.ID)
	if err != nil || now.State != defender.Isolated {
		return false, err
	}
	var released int64
	err = n.db.Read().QueryRow(ctx, `SELECT COUNT(*) FROM isolations WHERE tenant = $1 AND machine = $2 AND type = $3 AND status = $4 AND created_at > $5`,
		string(t), target.ID, string(defender.Unisolate), string(defender.ActionSucceeded), target.IntentAt.UnixMicro()).Scan(&released)
	return released == 0, err
}
