package notify

import (
	"context"
	"errors"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/durable"
)

const (
	// expiryWarning is how long before its end a block is announced at the earliest.
	expiryWarning = 24 * time.Hour
	// expiryEvery is how often what ends is looked for.
	expiryEvery = time.Minute
)

// tellEnding tells of what ends: blocks, and the planned time of isolations.
func (n *Notifier) tellEnding(ctx context.Context) error {
	now := n.now()
	n.expiryMu.Lock()
	due := !now.Before(n.expiryNext)
	if due {
		n.expiryNext = now.Add(expiryEvery)
	}
	n.expiryMu.Unlock()
	if !due {
		return nil
	}
	var errs []error
	for t := range n.tenants {
		errs = append(errs, n.tellExpiring(ctx, t), n.tellTimed(ctx, t))
	}
	return errors.Join(errs...)
}

// tellExpiring announces blocks before Defender takes them away: whoever relies on
// one must not learn of its end from what it kept out.
func (n *Notifier) tellExpiring(ctx context.Context, t tenantID) error {
	ending, err := n.requests.Expiring(ctx, t)
	errs := []error{err}
	for _, r := range ending {
		if n.now().Before(warnAt(r)) {
			continue
		}
		errs = append(errs, n.db.InTx(ctx, func(tx durable.Tx) error {
			to := []chat.Destination{chat.DirectTo(r.RequesterAs)}
			for _, d := range n.askedIn(r) {
				if d != to[0] {
					to = append(to, d)
				}
			}
			return n.notice(ctx, tx, t, "expires "+r.ID, cards.IndicatorExpires(r, r.Ends()), to...)
		}))
	}
	return errors.Join(errs...)
}

// warnAt is when the end of a request's effect is announced: a day before, or for
// what holds shorter than four days when a quarter of its time is left.
func warnAt(r approvals.Request) time.Time {
	return r.Ends().Add(-min(expiryWarning, r.Ends().Sub(r.Opened)/4))
}
