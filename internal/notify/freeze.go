package notify

import (
	"context"
	"fmt"
	"slices"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/tenant"
)

// FreezeChanged tells the ops channel and everywhere that requests are decided.
// It runs inside the transaction of the change.
func (n *Notifier) FreezeChanged(ctx context.Context, tx durable.Tx, f approvals.Freeze, endedBy *approvals.Request) error {
	about, m := fmt.Sprintf("freeze %d", durable.Micros(f.Since)), cards.Frozen(f)
	if endedBy != nil {
		about, m = "unfreeze "+endedBy.ID, cards.Unfrozen(f, *endedBy)
	}
	return n.notice(ctx, tx, f.Tenant, about, m, alarmPlaces(n.policy.Current())...)
}

// aboutForeign begins the IDs of notices that mention the approvers.
const aboutForeign = "foreign action "

// ForeignAction raises the alarm in the ops channel and everywhere that requests
// are decided. It runs inside the transaction that records the finding.
func (n *Notifier) ForeignAction(ctx context.Context, tx durable.Tx, t tenant.ID, a defender.MachineAction) error {
	return n.notice(ctx, tx, t, aboutForeign+a.ID, cards.ForeignAction(a, n.portal(t)), alarmPlaces(n.policy.Current())...)
}

// ForeignIndicator raises the same alarm about an indicator.
func (n *Notifier) ForeignIndicator(ctx context.Context, tx durable.Tx, t tenant.ID, i defender.Indicator) error {
	about := fmt.Sprintf("%sindicator %s %d", aboutForeign, i.ID, durable.Micros(i.Updated))
	return n.notice(ctx, tx, t, about, cards.ForeignIndicator(i), alarmPlaces(n.policy.Current())...)
}

// alarmPlaces are where what concerns everybody who decides is told.
func alarmPlaces(p *policy.Policy) []chat.Destination {
	var places []chat.Destination
	for _, d := range append([]string{p.Ops()}, p.PostTo()...) {
		if d != "" && !slices.Contains(places, chat.Destination(d)) {
			places = append(places, chat.Destination(d))
		}
	}
	return places
}
