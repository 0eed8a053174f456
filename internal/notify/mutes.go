package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/policy"
)

// What a mute is measured by before it begins.
const (
	previewDays = 7
	previewMost = 5_000 // alerts, the newest
)

// PreviewMute counts what m would have kept back lately. Alerts whose machine may
// have been of tier 0 count, because that is not remembered.
func (n *Notifier) PreviewMute(ctx context.Context, t tenantID, m policy.Mute) (policy.MutePreview, error) {
	p := policy.MutePreview{Days: previewDays}
	since := n.now().AddDate(0, 0, -previewDays).UnixMicro()
	if err := n.db.Read().QueryRow(ctx, `SELECT COUNT(*) FROM alerts WHERE tenant = $1 AND created_at >= $2`, string(t), since).Scan(&p.Of); err != nil {
		return p, err
	}
	rows, err := n.db.Read().Query(ctx, `
		SELECT id, body FROM alerts WHERE tenant = $1 AND created_at >= $2 AND ($3 = '' OR machine = $3)
		ORDER BY created_at DESC LIMIT $4`, string(t), since, m.Machine, previewMost)
	if err != nil {
		return p, err
	}
	defer rows.Close()
	alerts, err := n.scanAlerts(rows, t)
	for _, a := range alerts {
		high := a.Severity == defender.High
		if m.Names(policyAlert(a), a.MachineID) && (m.High || !high) {
			p.Held++
			if high {
				p.High++
			}
		}
	}
	return p, err
}

// BeginMute begins a mute that needs nobody else, and says so in every place that
// alerts go to.
func (n *Notifier) BeginMute(ctx context.Context, t tenantID, o policy.MuteOrder) (v cards.MuteView, err error) {
	if o.Mute.High {
		return cards.MuteView{}, errors.New("this mute needs a second person")
	}
	err = n.db.InTx(ctx, func(tx durable.Tx) error {
		v, err = n.beginMute(ctx, tx, t, o)
		return err
	})
	return v, err
}

// muteApproved begins the mute that an approved request is about.
func (n *Notifier) muteApproved(ctx context.Context, tx durable.Tx, r approvals.Request) error {
	for _, target := range r.Targets {
		if target.State != approvals.Succeeded {
			continue
		}
		var o policy.MuteOrder
		if err := json.Unmarshal(target.Facts, &o); err != nil {
			return fmt.Errorf("read the mute of request %d: %w", r.Number, err)
		}
		if _, err := n.beginMute(ctx, tx, r.Tenant, o); err != nil {
			return err
		}
	}
	return nil
}

func (n *Notifier) beginMute(ctx context.Context, tx durable.Tx, t tenantID, o policy.MuteOrder) (cards.MuteView, error) {
	if err := o.Mute.Check(); err != nil {
		return cards.MuteView{}, err
	}
	if o.For < policy.MuteLeast || o.For > policy.MuteMost {
		return cards.MuteView{}, fmt.Errorf("a mute of %s is out of bounds", o.For)
	}
	v := cards.MuteView{MuteOrder: o, Began: n.now()}
	v.Until = v.Began.Add(o.For)
	body, err := n.sealJSON(muteBody, t, o.ID, o)
	if err != nil {
		return cards.MuteView{}, err
	}
	if err := tx.QueryRow(ctx, `
		INSERT INTO mutes (tenant, id, number, body, began_at, until_at, ended_at, ended_by)
		VALUES ($1, $2, (SELECT COALESCE(MAX(number), 0) + 1 FROM mutes WHERE tenant = $1), $3, $4, $5, 0, '')
		RETURNING number`, string(t), o.ID, body, durable.Micros(v.Began), durable.Micros(v.Until)).Scan(&v.Number); err != nil {
		return cards.MuteView{}, fmt.Errorf("store mute: %w", err)
	}
	return v, n.notice(ctx, tx, t, "mute "+o.ID, cards.MuteBegun(v), n.mutePlaces(t, o)...)
}

// mutePlaces are where people miss the alerts that are kept back.
func (n *Notifier) mutePlaces(t tenantID, o policy.MuteOrder) []chat.Destination {
	places := n.everyPlace(t)
	if asked := chat.Destination(o.Place); asked != "" {
		for _, d := range places {
			if d == asked {
				return places
			}
		}
		places = append(places, asked)
	}
	return places
}

// Mutes are those in force, the one that ends first before the others.
func (n *Notifier) Mutes(ctx context.Context, t tenantID) ([]cards.MuteView, error) {
	return n.mutes(ctx, n.db.Read(), t)
}

func (n *Notifier) mutes(ctx context.Context, db durable.DBTX, t tenantID) ([]cards.MuteView, error) {
	rows, err := db.Query(ctx, `
		SELECT m.id, m.number, m.body, m.began_at, m.until_at,
			(SELECT COUNT(*) FROM muted_alerts a WHERE a.tenant = m.tenant AND a.mute = m.id)
		FROM mutes m WHERE m.tenant = $1 AND m.ended_at = 0 ORDER BY m.until_at, m.number`, string(t))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []cards.MuteView
	for rows.Next() {
		var id, body string
		var v cards.MuteView
		var began, until int64
		if err := rows.Scan(&id, &v.Number, &body, &began, &until, &v.Held); err != nil {
			return nil, err
		}
		if err := n.openJSON(muteBody, t, id, body, &v.MuteOrder); err != nil {
			return nil, fmt.Errorf("read mute %d: %w", v.Number, err)
		}
		v.Began, v.Until = durable.Time(began), durable.Time(until)
		out = append(out, v)
	}
	return out, rows.Err()
}

// inForce are the mutes that may keep an alert back now. One whose time is over
// keeps nothing back, also before the sweep has ended it; nor does one that cannot
// be read.
func (n *Notifier) inForce(ctx context.Context, db durable.DBTX, t tenantID) []cards.MuteView {
	all, err := n.mutes(ctx, db, t)
	if err != nil {
		n.log.ErrorContext(ctx, "mutes not read, nothing is kept back", "tenant_id", t, "error", err)
		return nil
	}
	now := n.now()
	var out []cards.MuteView
	for _, v := range all {
		if now.Before(v.Until) {
			out = append(out, v)
		}
	}
	return out
}

// muted notes that a mute keeps the alert back, and reports whether one does.
func (n *Notifier) muted(ctx context.Context, tx *batch, t tenantID, in arrival) (bool, error) {
	for _, v := range tx.mutes {
		if !v.Mute.Holds(policyAlert(in.alert), in.alert.MachineID, in.machine) {
			continue
		}
		_, err := tx.Exec(ctx, `INSERT INTO muted_alerts (tenant, mute, alert, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
			string(t), v.ID, in.alert.ID, durable.Micros(n.now()))
		return true, err
	}
	return false, nil
}

// EndMute ends a mute before its time. ok is false when there is none of that
// number in force.
func (n *Notifier) EndMute(ctx context.Context, t tenantID, number int64, by string) (v cards.MuteView, ok bool, err error) {
	err = n.db.InTx(ctx, func(tx durable.Tx) error {
		ok = false
		all, err := n.mutes(ctx, tx, t)
		if err != nil {
			return err
		}
		for _, one := range all {
			if one.Number == number {
				v, ok = one, true
				return n.endMute(ctx, tx, t, &v, by)
			}
		}
		return nil
	})
	return v, ok, err
}

// endMute sums up what a mute kept back, where it was announced.
func (n *Notifier) endMute(ctx context.Context, tx durable.Tx, t tenantID, v *cards.MuteView, by string) error {
	v.Ended, v.EndedBy = n.now(), by
	rows, err := tx.Exec(ctx, `UPDATE mutes SET ended_at = $1, ended_by = $2 WHERE tenant = $3 AND id = $4 AND ended_at = 0`,
		durable.Micros(v.Ended), by, string(t), v.ID)
	if err != nil || rows == 0 {
		return err
	}
	held, err := n.mutedAlerts(ctx, tx, t, v.ID)
	if err != nil {
		return err
	}
	v.Held = len(held)
	if n.muteEnded != nil {
		if err := n.muteEnded(ctx, tx, t, *v); err != nil {
			return err
		}
	}
	return n.notice(ctx, tx, t, "mute "+v.ID+" over", cards.MuteEnded(*v, held, n.portal(t)), n.mutePlaces(t, v.MuteOrder)...)
}

func (n *Notifier) mutedAlerts(ctx context.Context, db durable.DBTX, t tenantID, mute string) ([]defender.Alert, error) {
	rows, err := db.Query(ctx, `
		SELECT a.id, a.body FROM muted_alerts m JOIN alerts a ON a.tenant = m.tenant AND a.id = m.alert
		WHERE m.tenant = $1 AND m.mute = $2 ORDER BY m.at, m.alert LIMIT 5000`, string(t), mute)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return n.scanAlerts(rows, t)
}

// endMutes ends the mutes whose time is over.
func (n *Notifier) endMutes(ctx context.Context) error {
	rows, err := n.db.Read().Query(ctx, `SELECT DISTINCT tenant FROM mutes WHERE ended_at = 0 AND until_at <= $1`, durable.Micros(n.now()))
	if err != nil {
		return err
	}
	var tenants []string
	for rows.Next() {
		var t string
		if err := rows.Scan(&t); err != nil {
			return errors.Join(err, rows.Close())
		}
		tenants = append(tenants, t)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	var errs []error
	for _, id := range tenants {
		t := tenantID(id)
		errs = append(errs, n.db.InTx(ctx, func(tx durable.Tx) error {
			all, err := n.mutes(ctx, tx, t)
			if err != nil {
				return err
			}
			for _, v := range all {
				if v.Until.After(n.now()) {
					continue
				}
				if err := n.endMute(ctx, tx, t, &v, ""); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	return errors.Join(errs...)
}

// forgetMutes removes mutes that ended long ago.
func forgetMutes(ctx context.Context, tx durable.Tx, t tenantID, before time.Time) error {
	for _, q := range []string{
		`DELETE FROM muted_alerts WHERE tenant = $1 AND mute IN (SELECT id FROM mutes WHERE tenant = $1 AND ended_at <> 0 AND ended_at < $2)`,
		`DELETE FROM mutes WHERE tenant = $1 AND ended_at <> 0 AND ended_at < $2`,
	} {
		if _, err := tx.Exec(ctx, q, string(t), durable.Micros(before)); err != nil {
			return err
		}
	}
	return nil
}
