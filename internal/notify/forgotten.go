package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
)

const (
	// forgottenPass names the weekly look in pollers. Whether the bot is blind does
	// not depend on it, so it leaves the other columns of its row alone.
	forgottenPass = "forgotten"
	// turnRetry is when somebody else looks, if whoever began has not ended.
	turnRetry = 10 * time.Minute
)

// tellForgotten lists, once a week and tenant, the machines that have been isolated
// for so long that somebody may have forgotten them. Nothing is said when there is
// none.
func (n *Notifier) tellForgotten(ctx context.Context, w *watch) error {
	now := n.now()
	due, err := n.turn(ctx, w.Tenant, forgottenPass, nextMonday(now))
	if err != nil || !due {
		return err
	}
	all, err := n.isolatedFor(ctx, w, n.policy.Current().ForgottenAfter(), now)
	if err != nil {
		// Nothing hangs on it, so this is no reason for alarm.
		n.log.WarnContext(ctx, "isolations not read for the weekly list", "tenant_id", w.Tenant, "error", err)
		return nil
	}
	return n.db.InTx(ctx, func(tx durable.Tx) error {
		if len(all) > 0 {
			year, number := now.UTC().ISOWeek()
			m := cards.ForgottenIsolations(all, n.policy.Current().ForgottenAfter(), now)
			if err := n.notice(ctx, tx, w.Tenant, fmt.Sprintf("forgotten isolations %d-W%02d", year, number), m, n.forgottenPlaces(w.Tenant)...); err != nil {
				return err
			}
		}
		return nextTurn(ctx, tx, w.Tenant, forgottenPass, nextMonday(now))
	})
}

// turn takes something that one replica says now and then, if it is due. next is when
// it would be due from now; what lies further ahead was planned by a clock that has been
// set back since. Until [nextTurn] it comes again by itself.
func (n *Notifier) turn(ctx context.Context, t tenantID, pass string, next time.Time) (due bool, err error) {
	now := n.now()
	var planned int64
	err = n.db.Read().QueryRow(ctx, `SELECT next_at FROM pollers WHERE tenant = $1 AND pass = $2`, string(t), pass).Scan(&planned)
	if err != nil && !errors.Is(err, durable.ErrNoRows) {
		return false, err
	}
	if err == nil && planned > now.UnixMicro() && planned <= next.UnixMicro() {
		return false, nil
	}
	err = n.db.InTx(ctx, func(tx durable.Tx) error {
		if _, err := tx.Exec(ctx, `
			INSERT INTO pollers (tenant, pass, next_at, last_ok, lease_owner, lease_until, problem) VALUES ($1, $2, $3, 0, '', 0, '')
			ON CONFLICT (tenant, pass) DO NOTHING`, string(t), pass, next.UnixMicro()); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE pollers SET next_at = $1 WHERE tenant = $2 AND pass = $3 AND next_at > $1`, next.UnixMicro(), string(t), pass); err != nil {
			return err
		}
		rows, err := tx.Exec(ctx, `UPDATE pollers SET next_at = $1 WHERE tenant = $2 AND pass = $3 AND next_at <= $4`,
			now.Add(turnRetry).UnixMicro(), string(t), pass, now.UnixMicro())
		due = rows == 1
		return err
	})
	return due, err
}

func nextTurn(ctx context.Context, tx durable.Tx, t tenantID, pass string, next time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE pollers SET next_at = $1 WHERE tenant = $2 AND pass = $3`, next.UnixMicro(), string(t), pass)
	return err
}

// nextMonday is when the next list is due: Monday at seven, UTC.
func nextMonday(now time.Time) time.Time {
	now = now.UTC()
	day := time.Date(now.Year(), now.Month(), now.Day(), 7, 0, 0, 0, time.UTC)
	for day.Weekday() != time.Monday || !day.After(now) {
		day = day.AddDate(0, 0, 1)
	}
	return day
}

// forgottenPlaces is where those read who answer for a tenant's alerts: the places
// of its first route, or the ops channel.
func (n *Notifier) forgottenPlaces(t tenantID) []chat.Destination {
	var out []chat.Destination
	if routes := n.policyOf(t).AllRoutes(); len(routes) > 0 {
		for _, to := range routes[0].To {
			out = append(out, chat.Destination(to))
		}
		return out
	}
	if ops := chat.Destination(n.policy.Current().Ops()); ops != "" {
		out = append(out, ops)
	}
	return out
}

// isolatedFor reads at Defender which machines have been isolated for longer than a
// while, the longest first.
func (n *Notifier) isolatedFor(ctx context.Context, w *watch, longer time.Duration, now time.Time) ([]cards.IsolatedMachine, error) {
	actions, err := readActions(ctx, w, defender.ActionFilter{Types: []defender.MachineActionType{defender.Isolate, defender.Unisolate}})
	if err != nil {
		return nil, err
	}
	of := map[string][]defender.MachineAction{}
	for _, a := range actions {
		of[a.MachineID] = append(of[a.MachineID], a)
	}
	var all []cards.IsolatedMachine
	var ids []string
	for machine, theirs := range of {
		i := defender.IsolationOf(theirs)
		if i.State == defender.Isolated && now.Sub(i.Since) > longer {
			all = append(all, cards.IsolatedMachine{MachineID: machine, Name: i.Action.MachineName, Isolation: i})
			ids = append(ids, i.Action.ID)
		}
	}
	started, err := n.requests.Started(ctx, w.Tenant, ids)
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i] = all[i].Of(started[all[i].Isolation.Action.ID])
	}
	slices.SortFunc(all, func(a, b cards.IsolatedMachine) int { return a.Isolation.Since.Compare(b.Isolation.Since) })
	return all, nil
}
