package notify

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/failpoint"
	"github.com/mdebot/mdebot/internal/policy"
)

// AlertSource is the part of the Defender client that watching needs.
type AlertSource interface {
	Alerts(ctx context.Context, f defender.AlertFilter) iter.Seq2[defender.Alert, error]
	AlertsWithEvidence(ctx context.Context, ids []string) ([]defender.Alert, error)
	Machine(ctx context.Context, id string) (defender.Machine, error)
	Machines(ctx context.Context, f defender.MachineFilter) iter.Seq2[defender.Machine, error]
	MachineActions(ctx context.Context, f defender.ActionFilter) iter.Seq2[defender.MachineAction, error]
}

// pass is one way of looking at the alerts: how often, and how far back beyond
// the last good look. Alerts may become visible hours after their times say
// (threat-model N-01), so the rarer passes look further back.
type pass struct {
	name    string
	every   time.Duration
	overlap time.Duration
}

var passes = []pass{
	{"recent", 15 * time.Second, 15 * time.Minute},
	{"late", 5 * time.Minute, 6 * time.Hour},
	{"sweep", 6 * time.Hour, 7 * 24 * time.Hour},
}

const (
	batchSize = 250
	factsLife = 10 * time.Minute // of machine facts that routes ask for
	factsMiss = time.Minute      // of the knowledge that they could not be read
	factsMost = 50_000           // machines kept in memory
)

// watch is one tenant being watched.
type watch struct {
	Watched

	mu    sync.Mutex
	facts map[string]machineFact
}

type machineFact struct {
	machine *policy.Machine // nil: could not be read
	until   time.Time
}

func newWatch(w Watched) *watch {
	return &watch{Watched: w, facts: map[string]machineFact{}}
}

// machineFacts are the facts that routes may ask for, as far as they have been
// learnt. nil means unknown, which counts as matching.
func (w *watch) machineFacts(id string, now time.Time) *policy.Machine {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f := w.facts[id]; now.Before(f.until) {
		return f.machine
	}
	return nil
}

// askOneByOne is up to how many machines are read by a call each. More come from
// the list of all machines, which is one call for ten thousand.
const askOneByOne = 10

// learn reads the machines of the arrivals that are not known yet.
func (n *Notifier) learn(ctx context.Context, w *watch, arrivals []arrival, now time.Time) {
	missing := map[string]bool{}
	w.mu.Lock()
	for _, in := range arrivals {
		if id := in.alert.MachineID; id != "" && !in.quiet && !now.Before(w.facts[id].until) {
			missing[id] = true
		}
	}
	w.mu.Unlock()
	learnt := map[string]machineFact{}
	for id := range missing {
		learnt[id] = machineFact{until: now.Add(factsMiss)}
	}
	if len(missing) > askOneByOne {
		for m, err := range w.Source.Machines(ctx, defender.MachineFilter{}) {
			var unreadable *defender.RecordError
			if errors.As(err, &unreadable) {
				continue
			}
			if err != nil {
				n.log.WarnContext(ctx, "machines of alerts not read", "tenant_id", w.Tenant, "error", err)
				break // what was not reached stays unknown for a minute
			}
			learnt[m.ID] = machineFact{machine: cards.PolicyMachine(m), until: now.Add(factsLife)}
		}
	} else {
		for id := range missing {
			m, err := w.Source.Machine(ctx, id)
			if err != nil {
				n.log.WarnContext(ctx, "machine of an alert not read", "tenant_id", w.Tenant, "machine_id", id, "error", err)
				continue
			}
			learnt[id] = machineFact{machine: cards.PolicyMachine(m), until: now.Add(factsLife)}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.facts)+len(learnt) > factsMost {
		clear(w.facts)
	}
	maps.Copy(w.facts, learnt)
}

// Poll runs the passes that are due for every tenant, until ctx ends. Each
// tenant has a goroutine of its own: one that is slow or down delays no other.
func (n *Notifier) Poll(ctx context.Context) {
	var wg sync.WaitGroup
	every := beat(len(n.tenants))
	place := 0
	for _, w := range n.tenants {
		// The tenants begin one after another, so that their polls stay spread.
		begin := time.Duration(place) * every / time.Duration(len(n.tenants))
		place++
		wg.Go(func() {
			if sleep(ctx, begin) != nil {
				return
			}
			for ctx.Err() == nil {
				if err := n.PollOnce(ctx, w.Tenant); err != nil && ctx.Err() == nil {
					n.log.WarnContext(ctx, "alerts not read", "tenant_id", w.Tenant, "error", err)
				}
				if sleep(ctx, every) != nil {
					return
				}
			}
		})
	}
	wg.Wait()
}

// beat is how often a tenant's passes are looked at: every look writes to the
// database, so many tenants are looked at less often each, up to the time of the
// most frequent pass.
func beat(tenants int) time.Duration {
	return min(max(time.Duration(tenants)*15*time.Millisecond, time.Second), passes[0].every)
}

// PollOnce runs the passes of a tenant that are due now and not in the hands of
// another replica, then says so when the tenant has become blind or sees again.
func (n *Notifier) PollOnce(ctx context.Context, t tenantID) error {
	w, ok := n.tenants[t]
	if !ok {
		return fmt.Errorf("tenant %s is not watched", t)
	}
	if w.Off != nil && w.Off() != "" {
		return n.tellDigests(ctx, w) // nothing is promised, so nobody is told of blindness
	}
	state, err := n.watchState(ctx, t)
	if err != nil {
		return err
	}
	todo := passes
	if !state.settled {
		todo = passes[len(passes)-1:] // what is open already is remembered first, all of it
	}
	var errs []error
	for _, p := range todo {
		if err := n.runPass(ctx, w, p, state); err != nil {
			errs = append(errs, fmt.Errorf("%s pass: %w", p.name, err))
			break // the same fault would meet the next pass
		}
	}
	errs = append(errs, n.watchBlindness(ctx, w), n.lookAtIsolations(ctx, w), n.tellForgotten(ctx, w), n.tellDigests(ctx, w))
	return errors.Join(errs...)
}

// watchState is when watching began and whether the past has been taken in.
type watchState struct {
	began   time.Time
	settled bool
}

func (n *Notifier) watchState(ctx context.Context, t tenantID) (watchState, error) {
	var began, settled int64
	err := n.db.InTx(ctx, func(tx durable.Tx) error {
		from := n.now().Add(-n.policy.Current().LookBack())
		if _, err := tx.Exec(ctx, `INSERT INTO watches (tenant, began_at, settled_at, blind_since) VALUES ($1, $2, 0, 0) ON CONFLICT (tenant) DO NOTHING`,
			string(t), from.UnixMicro()); err != nil {
			return err
		}
		for _, p := range passes {
			// last_ok begins as "now": a tenant that cannot be read from the start
			// is announced as blind like any other.
			if _, err := tx.Exec(ctx, `
				INSERT INTO pollers (tenant, pass, next_at, last_ok, lease_owner, lease_until, problem) VALUES ($1, $2, 0, $3, '', 0, '')
				ON CONFLICT (tenant, pass) DO NOTHING`, string(t), p.name, n.now().UnixMicro()); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO pollers (tenant, pass, next_at, last_ok, lease_owner, lease_until, problem) VALUES ($1, $2, 0, 0, '', 0, '')
			ON CONFLICT (tenant, pass) DO NOTHING`, string(t), isolationPass.name); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT began_at, settled_at FROM watches WHERE tenant = $1`, string(t)).Scan(&began, &settled)
	})
	return watchState{began: durable.Time(began), settled: settled != 0}, err
}

// runPass reads and records everything a pass covers, if it is due.
func (n *Notifier) runPass(ctx context.Context, w *watch, p pass, state watchState) error {
	now := n.now()
	lastOK, l, err := n.claimPass(ctx, w.Tenant, p, now)
	if err != nil || l == nil {
		return err
	}
	from := now.Add(-p.overlap)
	if since := lastOK.Add(-p.overlap); since.Before(from) {
		from = since // the bot or Defender was away: close the gap
	}
	held, stop := l.keep(ctx)
	open, err := n.readSince(held, w, from, state)
	stop()
	if err := lost(held); err != nil {
		return err
	}
	done := context.WithoutCancel(ctx)
	if err != nil {
		return errors.Join(err, n.passFailed(done, w.Tenant, p, l, err))
	}
	return n.passDone(done, w, p, l, now, state, open)
}

// claimPass takes a pass that is due. It returns no lease when it is not, or
// another replica has it.
func (n *Notifier) claimPass(ctx context.Context, t tenantID, p pass, now time.Time) (lastOK time.Time, _ *lease, err error) {
	l := &lease{owner: newOwner()}
	l.extend = func(ctx context.Context) (mine bool, err error) {
		err = n.db.InTx(ctx, func(tx durable.Tx) error {
			rows, err := tx.Exec(ctx, `UPDATE pollers SET lease_until = $1 WHERE tenant = $2 AND pass = $3 AND lease_owner = $4`,
				n.now().Add(leaseTime).UnixMicro(), string(t), p.name, l.owner)
			mine = rows == 1
			return err
		})
		return mine, err
	}
	var micros int64
	mine := false
	err = n.db.InTx(ctx, func(tx durable.Tx) error {
		err := tx.QueryRow(ctx, `
			UPDATE pollers SET lease_owner = $1, lease_until = $2
			WHERE tenant = $3 AND pass = $4 AND (next_at <= $5 OR next_at > $6) AND (lease_until < $5 OR lease_until > $7)
			RETURNING last_ok`, l.owner, now.Add(leaseTime).UnixMicro(), string(t), p.name, now.UnixMicro(),
			now.Add(p.every+longestAhead).UnixMicro(), now.Add(longestAhead).UnixMicro()).Scan(&micros)
		mine = err == nil
		if errors.Is(err, durable.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil || !mine {
		return time.Time{}, nil, err
	}
	return durable.Time(micros), l, nil
}

// readSince takes in everything updated since from and returns what is open, for
// the summary of a first start.
func (n *Notifier) readSince(ctx context.Context, w *watch, from time.Time, state watchState) (open []defender.Alert, err error) {
	began := state.began
	if state.settled {
		began = time.Time{} // whatever was not seen by now has arrived since
	}
	left := reading{evidence: evidenceMost}
	listed := 0
	batch := make([]defender.Alert, 0, batchSize)
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := failpoint.After(failpoint.AlertsRead); err != nil {
			return err
		}
		if err := n.takeIn(ctx, w, n.prepare(ctx, w, began, batch, &left)); err != nil {
			return err
		}
		batch = batch[:0]
		return nil
	}
	for a, err := range w.Source.Alerts(ctx, defender.AlertFilter{UpdatedSince: from, OldestFirst: true}) {
		listed++
		var unreadable *defender.RecordError
		if errors.As(err, &unreadable) {
			// One alert that cannot be read delays no other and is not hidden.
			if err := n.tellUnreadable(ctx, w.Tenant, unreadable); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if !state.settled && a.Status != "Resolved" {
			open = append(open, a)
		}
		if batch = append(batch, a); len(batch) == batchSize {
			if err := flush(); err != nil {
				return nil, err
			}
		}
	}
	if err := flush(); err != nil || listed > 0 {
		return open, err
	}
	return open, n.believeEmpty(ctx, w.Tenant, from)
}

// errEmptied is an answer that a quiet tenant would give, too.
var errEmptied = errors.New("no alerts are listed, not even those that were listed before")

// emptyDoubt is how old an alert is that must be in Defender's list: a younger
// one may be missing while Defender's index follows.
const emptyDoubt = 15 * time.Minute

// believeEmpty doubts an empty list that lacks an alert known to be in it: an
// import that is broken looks like a quiet tenant (threat-model N-06). Whatever was
// created since from has been updated since from.
func (n *Notifier) believeEmpty(ctx context.Context, t tenantID, from time.Time) error {
	var known int
	if err := n.db.Read().QueryRow(ctx, `SELECT COUNT(*) FROM alerts WHERE tenant = $1 AND created_at >= $2 AND created_at <= $3`,
		string(t), from.UnixMicro(), n.now().Add(-emptyDoubt).UnixMicro()).Scan(&known); err != nil {
		return err
	}
	if known > 0 {
		return errEmptied
	}
	return nil
}

// tellUnreadable names an alert that Defender sent in a form nobody can read.
func (n *Notifier) tellUnreadable(ctx context.Context, t tenantID, cause *defender.RecordError) error {
	n.metrics.AlertUnreadable()
	n.log.ErrorContext(ctx, "alert cannot be read", "tenant_id", t, "error", cause)
	return n.db.InTx(ctx, func(tx durable.Tx) error {
		return n.notice(ctx, tx, t, "unreadable "+cause.Error(), cards.Notice(chat.Warning, "An alert from Defender cannot be read",
			chat.Untrusted(cause.Error()), chat.Plain("Look for it in the Defender portal. All others are posted.")), n.everyPlace(t)...)
	})
}

// takeIn records a batch, and when that fails, its alerts one by one: a poison
// alert delays no other (reliability P-8).
func (n *Notifier) takeIn(ctx context.Context, w *watch, arrivals []arrival) error {
	err := n.take(ctx, w.Tenant, arrivals)
	if err == nil || ctx.Err() != nil {
		return err
	}
	for _, in := range arrivals {
		if err := n.take(ctx, w.Tenant, []arrival{in}); err != nil {
			if err := n.setAside(ctx, w.Tenant, in.alert, err); err != nil {
				return err // it is the database, and all of them come again
			}
		}
	}
	return nil
}

// setAside names an alert that cannot be recorded wherever alerts are posted, once.
func (n *Notifier) setAside(ctx context.Context, t tenantID, a defender.Alert, cause error) error {
	n.log.ErrorContext(ctx, "alert not recorded", "tenant_id", t, "alert_id", a.ID, "error", cause)
	id := storable(a.ID)
	err := n.db.InTx(ctx, func(tx durable.Tx) error {
		return n.notice(ctx, tx, t, "set aside "+id, cards.SetAside(id, storable(a.Title)), n.everyPlace(t)...)
	})
	if err != nil {
		return fmt.Errorf("record alert %s: %w", a.ID, errors.Join(cause, err))
	}
	return nil
}

// storable is outside text without what PostgreSQL refuses.
func storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}

// passFailed gives the pass back for a try on a slower beat.
func (n *Notifier) passFailed(ctx context.Context, t tenantID, p pass, l *lease, cause error) error {
	next := n.now().Add(min(p.every, 30*time.Second))
	var throttled *defender.ThrottledError
	if errors.As(cause, &throttled) {
		next = n.now().Add(max(throttled.RetryAfter, 5*time.Second))
	}
	return n.db.InTx(ctx, func(tx durable.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE pollers SET next_at = $1, lease_until = 0, problem = $2 WHERE tenant = $3 AND pass = $4 AND lease_owner = $5`,
			next.UnixMicro(), defender.Reason(cause), string(t), p.name, l.owner)
		return err
	})
}

// passDone notes a good look that began at start, and ends a first start.
func (n *Notifier) passDone(ctx context.Context, w *watch, p pass, l *lease, start time.Time, state watchState, open []defender.Alert) error {
	return n.db.InTx(failpoint.Step(ctx, failpoint.WatermarkMoved), func(tx durable.Tx) error {
		if _, err := tx.Exec(ctx, `
			UPDATE pollers SET next_at = $1, last_ok = $2, lease_until = 0, problem = ''
			WHERE tenant = $3 AND pass = $4 AND lease_owner = $5`,
			start.Add(p.every).UnixMicro(), start.UnixMicro(), string(w.Tenant), p.name, l.owner); err != nil {
			return err
		}
		if state.settled {
			return nil
		}
		rows, err := tx.Exec(ctx, `UPDATE watches SET settled_at = $1 WHERE tenant = $2 AND settled_at = 0`, n.now().UnixMicro(), string(w.Tenant))
		if err != nil || rows == 0 || len(open) == 0 {
			return err
		}
		return n.notice(ctx, tx, w.Tenant, "open at first start", cards.OpenAlerts(open), n.routeDestinations(w.Tenant)...)
	})
}

// watchBlindness tells every routed destination when the tenant has not been
// read for too long, and again when it is (threat-model N-06).
func (n *Notifier) watchBlindness(ctx context.Context, w *watch) error {
	return n.db.InTx(ctx, func(tx durable.Tx) error {
		var lastOK, emptySince, blindSince int64
		var problem string
		if err := tx.QueryRow(ctx, `
			SELECT MAX(last_ok), COALESCE(MAX(problem), ''), COALESCE(MIN(CASE WHEN problem = $1 THEN last_ok END), 0)
			FROM pollers WHERE tenant = $2 AND pass <> $3`, errEmptied.Error(), string(w.Tenant), isolationPass.name).Scan(&lastOK, &problem, &emptySince); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `SELECT blind_since FROM watches WHERE tenant = $1`, string(w.Tenant)).Scan(&blindSince); err != nil {
			return err
		}
		now, last := n.now(), durable.Time(lastOK)
		if emptySince != 0 {
			last = durable.Time(emptySince) // shorter looks see nothing amiss in an empty answer
		}
		switch blind := emptySince != 0 || now.Sub(last) > n.policy.Current().BlindAfter(); {
		case blind && blindSince == 0:
			return n.becomeBlind(ctx, tx, w, last, problem)
		case !blind && blindSince != 0:
			return n.seeAgain(ctx, tx, w, durable.Time(blindSince), now)
		}
		return nil
	})
}

func (n *Notifier) becomeBlind(ctx context.Context, tx durable.Tx, w *watch, last time.Time, problem string) error {
	if _, err := tx.Exec(ctx, `UPDATE watches SET blind_since = $1 WHERE tenant = $2`, last.UnixMicro(), string(w.Tenant)); err != nil {
		return err
	}
	n.log.WarnContext(ctx, "blind", "tenant_id", w.Tenant, "since", last, "problem", problem)
	if err := n.page(ctx, tx, w.Tenant, aboutBlind); err != nil {
		return err
	}
	return n.notice(ctx, tx, w.Tenant, blindID(last), cards.Blind(w.Tenant, last, problem), n.everyPlace(w.Tenant)...)
}

func (n *Notifier) seeAgain(ctx context.Context, tx durable.Tx, w *watch, since, now time.Time) error {
	if _, err := tx.Exec(ctx, `UPDATE watches SET blind_since = 0 WHERE tenant = $1`, string(w.Tenant)); err != nil {
		return err
	}
	n.log.InfoContext(ctx, "seeing again", "tenant_id", w.Tenant, "since", since)
	if err := n.unpage(ctx, tx, w.Tenant, aboutBlind); err != nil {
		return err
	}
	return n.notice(ctx, tx, w.Tenant, blindID(since)+" over", cards.SeesAgain(w.Tenant, since, now), n.everyPlace(w.Tenant)...)
}

func blindID(since time.Time) string { return fmt.Sprintf("blind since %d", since.UnixMicro()) }

// policyOf is the policy in force for one tenant: its routes beside those of all.
func (n *Notifier) policyOf(t tenantID) *policy.Policy { return n.policy.Current().For(t) }

// routeDestinations are all places that any route of a tenant names, each once.
func (n *Notifier) routeDestinations(t tenantID) []chat.Destination {
	var out []chat.Destination
	for _, r := range n.policyOf(t).AllRoutes() {
		for _, to := range r.To {
			if d := chat.Destination(to); !slices.Contains(out, d) {
				out = append(out, d)
			}
		}
	}
	return out
}

// everyPlace is routeDestinations and the ops channel.
func (n *Notifier) everyPlace(t tenantID) []chat.Destination {
	out := n.routeDestinations(t)
	if ops := chat.Destination(n.policy.Current().Ops()); ops != "" && !slices.Contains(out, ops) {
		out = append(out, ops)
	}
	return out
}

// Health is how watching a tenant goes, for status.
type Health struct {
	LastGood time.Time
	// LastAlert is when the newest alert that is known was raised: long ago in a
	// tenant that is quiet, or that nobody can see.
	LastAlert time.Time
	Blind     bool
	Problem   string
}

// Health tells how watching t goes.
func (n *Notifier) Health(ctx context.Context, t tenantID) (Health, error) {
	var lastOK, blindSince, lastAlert int64
	var h Health
	err := n.db.Read().QueryRow(ctx, `
		SELECT COALESCE(MAX(p.last_ok), 0), COALESCE(MAX(p.problem), ''), COALESCE(MAX(w.blind_since), 0),
			(SELECT COALESCE(MAX(created_at), 0) FROM alerts WHERE tenant = $1)
		FROM pollers p JOIN watches w ON w.tenant = p.tenant WHERE p.tenant = $1 AND p.pass <> $2`, string(t), isolationPass.name).Scan(
		&lastOK, &h.Problem, &blindSince, &lastAlert)
	if errors.Is(err, durable.ErrNoRows) {
		return Health{}, nil
	}
	h.LastGood, h.LastAlert, h.Blind = durable.Time(lastOK), durable.Time(lastAlert), blindSince != 0
	return h, err
}

// PendingMessages are messages that are wanted and not shown yet.
type PendingMessages struct {
	Count   int
	Oldest  time.Time
	Problem string // why one of them is not delivered
}

// Pending tells what waits to be posted or edited.
func (n *Notifier) Pending(ctx context.Context) (PendingMessages, error) {
	return Waiting(ctx, n.db.Read())
}

// WaitingMessages are the messages of one class that wait.
type WaitingMessages struct {
	Count int
	// Oldest is since when one of them is to be posted; zero for edits, which
	// stand in chat already.
	Oldest time.Time
}

// WaitingByClass tells what waits: "decision", "notice" and "alert" are to be
// posted, "edit" stand and are to be redrawn, "page" are events for notify.page.
func WaitingByClass(ctx context.Context, db durable.DBTX) (map[string]WaitingMessages, error) {
	rows, err := db.Query(ctx, `
		SELECT CASE WHEN subject = 'paging' THEN 'page' WHEN message <> '' THEN 'edit' WHEN class = $1 THEN 'decision' WHEN class = $2 THEN 'notice' ELSE 'alert' END AS kind,
			COUNT(*), MIN(CASE WHEN message <> '' THEN 0 ELSE created_at END)
		FROM cards WHERE wanted > shown AND held = '' GROUP BY kind`, classDecision, classNotice)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]WaitingMessages{"decision": {}, "notice": {}, "alert": {}, "edit": {}, "page": {}}
	for rows.Next() {
		var kind string
		var oldest int64
		var w WaitingMessages
		if err := rows.Scan(&kind, &w.Count, &oldest); err != nil {
			return nil, err
		}
		w.Oldest = durable.Time(oldest)
		out[kind] = w
	}
	return out, rows.Err()
}

// Waiting is [Notifier.Pending] of any database.
func Waiting(ctx context.Context, db durable.DBTX) (PendingMessages, error) {
	var p PendingMessages
	var oldest int64
	err := db.QueryRow(ctx, `
		SELECT COUNT(*), COALESCE(MIN(created_at), 0), COALESCE(MAX(problem), '') FROM cards
		WHERE wanted > shown AND held = '' AND message = ''`).Scan(&p.Count, &oldest, &p.Problem)
	p.Oldest = durable.Time(oldest)
	return p, err
}
