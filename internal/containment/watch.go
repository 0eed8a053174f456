package containment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/tenant"
)

const (
	// watchEvery keeps a foreign action from being unnoticed for five minutes,
	// also when Defender shows it two minutes late.
	watchEvery = time.Minute
	// watchAgain is when a look that failed is repeated.
	watchAgain = 15 * time.Second
	// watchOverlap is how far before the last good look the next one begins.
	watchOverlap = 15 * time.Minute
	watchLease   = time.Minute
	// watchIndicatorsEvery is longer, because only the whole list of them tells who
	// has changed one: up to 15,000.
	watchIndicatorsEvery = 4 * time.Minute
)

// Alarm tells people about what carries the bot's identity and is not its own. It
// is called once for each, in the transaction that records it.
type Alarm interface {
	ForeignAction(ctx context.Context, tx durable.Tx, t tenant.ID, a defender.MachineAction) error
	ForeignIndicator(ctx context.Context, tx durable.Tx, t tenant.ID, i defender.Indicator) error
}

// WatchConfig is what a Watch works with. Everything is required.
type WatchConfig struct {
	DB        durable.DB
	Approvals *approvals.Service
	Audit     *audit.Log
	Alarm     Alarm
	Tenant    tenant.ID
	// Actions lists machine actions.
	Actions interface {
		MachineActions(ctx context.Context, f defender.ActionFilter) iter.Seq2[defender.MachineAction, error]
	}
	// Indicators lists all indicators, with the acting application.
	Indicators IndicatorReader
	// Applications are the client IDs of the bot: the requestor of what it starts.
	Applications []string
	// Off says why machine actions cannot be read at all, or ""; nil means that they
	// can.
	Off    func() string
	Now    func() time.Time
	Logger *slog.Logger
}

// Watch looks for machine actions that somebody else starts in the bot's name, and
// for indicators that somebody else sets in it: its credential is the side door to
// the two-person rule, and Defender records whose it was (threat-model D-12).
// Several processes may run one on the same database; one of them looks at a time.
//
// An indicator that was taken away leaves nothing behind that could be compared.
type Watch struct {
	WatchConfig
	next           time.Time // this process need not ask before
	nextIndicators time.Time
}

// NewWatch returns a Watch. Call Look every few seconds.
func NewWatch(c WatchConfig) *Watch { return &Watch{WatchConfig: c} }

// Look compares what Defender lists with what was handed out, when that is due
// and no other replica does it.
func (w *Watch) Look(ctx context.Context) error {
	now := w.Now()
	if now.Before(w.next) || (w.Off != nil && w.Off() != "") {
		return nil
	}
	since, mine, err := w.claim(ctx, now)
	if err != nil || !mine {
		return err
	}
	found := w.compare(ctx, since)
	if found == nil && !now.Before(w.nextIndicators) {
		if found = w.compareIndicators(ctx, since); found == nil {
			w.nextIndicators = now.Add(watchIndicatorsEvery)
		}
	}
	next, good := now.Add(watchEvery), now
	if found != nil {
		next, good = now.Add(watchAgain), time.Time{}
	}
	w.next = next
	err = w.DB.InTx(context.WithoutCancel(ctx), func(tx durable.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE action_watches SET next_at = $1, lease_until = 0,
			last_ok = CASE WHEN $2 > last_ok THEN $2 ELSE last_ok END WHERE tenant = $3`,
			durable.Micros(next), durable.Micros(good), string(w.Tenant))
		return err
	})
	if found != nil {
		found = fmt.Errorf("compare what Defender lists with what was handed out: %w", found)
	}
	return errors.Join(found, err)
}

// claim takes the watch over until its lease ends, and says from when on to look.
func (w *Watch) claim(ctx context.Context, now time.Time) (since time.Time, mine bool, err error) {
	at := durable.Micros(now)
	err = w.DB.InTx(ctx, func(tx durable.Tx) error {
		mine = false
		if _, err := tx.Exec(ctx, `INSERT INTO action_watches (tenant, next_at, last_ok, lease_until) VALUES ($1, 0, $2, 0)
			ON CONFLICT (tenant) DO NOTHING`, string(w.Tenant), at); err != nil {
			return err
		}
		var lastOK int64
		err := tx.QueryRow(ctx, `UPDATE action_watches SET lease_until = $1
			WHERE tenant = $2 AND next_at <= $3 AND lease_until <= $3 RETURNING last_ok`,
			durable.Micros(now.Add(watchLease)), string(w.Tenant), at).Scan(&lastOK)
		if errors.Is(err, durable.ErrNoRows) {
			return nil
		}
		mine = err == nil
		since = durable.Time(lastOK).Add(-watchOverlap)
		return err
	})
	return since, mine, err
}

// LastLook is when everything was compared last; zero before the first time.
func (w *Watch) LastLook(ctx context.Context) (time.Time, error) {
	var lastOK int64
	err := w.DB.Read().QueryRow(ctx, `SELECT last_ok FROM action_watches WHERE tenant = $1`, string(w.Tenant)).Scan(&lastOK)
	if errors.Is(err, durable.ErrNoRows) {
		return time.Time{}, nil
	}
	return durable.Time(lastOK), err
}

// compare raises the alarm for every foreign action created since then.
func (w *Watch) compare(ctx context.Context, since time.Time) error {
	for a, err := range w.Actions.MachineActions(ctx, defender.ActionFilter{CreatedSince: since}) {
		if err != nil {
			return err
		}
		if !w.ours(a.Requestor) {
			continue
		}
		own, err := w.own(ctx, a)
		if err == nil && !own {
			err = w.raise(ctx, a.ID, detail(a, nil), func(tx durable.Tx) error {
				return w.Alarm.ForeignAction(ctx, tx, w.Tenant, a)
			}, slog.String("machine_action_id", a.ID), slog.String("machine_id", a.MachineID))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *Watch) ours(id string) bool {
	return slices.ContainsFunc(w.Applications, func(app string) bool { return strings.EqualFold(app, id) })
}

// compareIndicators raises the alarm for every foreign indicator that was set or
// changed since then. An application that may not list them may not set them.
func (w *Watch) compareIndicators(ctx context.Context, since time.Time) error {
	for i, err := range w.Indicators.Indicators(ctx, "") {
		var record *defender.RecordError
		switch {
		case errors.Is(err, defender.ErrForbidden):
			return nil
		case errors.As(err, &record):
			continue // one that cannot be read hides no other
		case err != nil:
			return err
		}
		changed, by := i.Updated, i.UpdatedBy
		if changed.IsZero() {
			changed = i.Created
		}
		if by == "" {
			by = i.CreatorID
		}
		if changed.Before(since) || !w.ours(by) {
			continue
		}
		own, err := w.ownIndicator(ctx, i)
		if err == nil && !own {
			err = w.raise(ctx, fmt.Sprintf("indicator %s %d", i.ID, durable.Micros(changed)), indicatorDetail(i, nil), func(tx durable.Tx) error {
				return w.Alarm.ForeignIndicator(ctx, tx, w.Tenant, i)
			}, slog.String("indicator_id", i.ID))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ownIndicator reports whether i is what a request has set: of its target, and
// with the effect and the end that people decided about. Where Defender does not
// say who changed it last, a person may have done so in the portal, and only what
// it is about counts.
func (w *Watch) ownIndicator(ctx context.Context, i defender.Indicator) (bool, error) {
	m := named.FindStringSubmatch(i.Description)
	if m == nil {
		return false, nil
	}
	r, err := w.Approvals.Request(ctx, w.Tenant, m[1])
	if errors.Is(err, approvals.ErrNotFound) {
		return false, nil
	}
	if err != nil || r.Action != approvals.Block {
		return false, err
	}
	id := approvals.IndicatorID(string(i.Type), i.Value)
	sent := slices.ContainsFunc(r.Targets, func(t approvals.Target) bool {
		return strings.EqualFold(t.ID, id) && !t.IntentAt.IsZero() && (t.MachineAction == "" || t.MachineAction == i.ID)
	})
	asShown := i.Action == indicatorActions[r.Params["effect"]] && i.Expires.Equal(expiry(r))
	return sent && (asShown || i.UpdatedBy == ""), nil
}

// named finds the request in a comment that begins with a [marker].
var named = regexp.MustCompile(`^\s*\[mdebot:([0-9a-f-]{36})\]`)

func (w *Watch) own(ctx context.Context, a defender.MachineAction) (bool, error) {
	request := ""
	if m := named.FindStringSubmatch(a.Comment); m != nil {
		request = m[1]
	}
	return w.Approvals.Own(ctx, w.Tenant, a.ID, request, func(kind string) bool {
		e, known := effects[kind]
		return known && e.starts(a.Type)
	}, a.MachineID)
}

// raise records what is foreign and tells people, once for each id.
func (w *Watch) raise(ctx context.Context, id string, detail json.RawMessage, tell func(durable.Tx) error, what ...slog.Attr) error {
	return w.DB.InTx(ctx, func(tx durable.Tx) error {
		n, err := tx.Exec(ctx, `INSERT INTO foreign_actions (tenant, id, found_at) VALUES ($1, $2, $3) ON CONFLICT (tenant, id) DO NOTHING`,
			string(w.Tenant), id, durable.Micros(w.Now()))
		if err != nil || n == 0 {
			return err
		}
		if _, err := w.Audit.Append(ctx, tx, audit.Event{
			Tenant: w.Tenant, At: w.Now(), Kind: "action.foreign", Outcome: "failed", Detail: detail,
		}); err != nil {
			return err
		}
		w.Logger.LogAttrs(ctx, slog.LevelError, "something at Defender carries this bot's identity and is not its own",
			append(what, slog.String("tenant_id", string(w.Tenant)))...)
		return tell(tx)
	})
}
