package notify

import (
	"context"
	"errors"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
)

// limit is a steady rate with a burst, kept as the time at which the next send
// would be due if sends were spread evenly. Limits of one key that differ in their
// burst share the rate: what has the smaller burst leaves the rest to the other.
type limit struct {
	key   string
	every time.Duration
	burst int64
}

// limits names what a send counts against. Slack: about one message a second per
// channel with short bursts, several hundred a minute per workspace, fifty edits
// a minute. Teams: 60 sends or edits in 30 s per conversation and 30 a second
// per tenant. PagerDuty: 120 events a minute.
//
// A request has many cards in Slack, and its decision and each step of the action edit
// all of them, so edits are scarce. The burst is for those that are hurried, because
// they show what somebody did. The others take what the steady rate leaves, with as
// many at once as it leaves between two sweeps; that is a fifth of it, when somebody
// goes on for longer than a run of decisions.
func limits(d chat.Destination, edit, hurried bool) []limit {
	key := string(d)
	if d.Platform() == platformPager {
		return []limit{{key, 500 * time.Millisecond, 20}}
	}
	if d.Platform() == identity.Teams {
		return []limit{{key, 500 * time.Millisecond, 7}, {"teams", 35 * time.Millisecond, 20}}
	}
	switch {
	case edit && hurried:
		return []limit{{"slack edits", 1200 * time.Millisecond, 30}, {"slack hurried edits", 1500 * time.Millisecond, 40}, {key + " edits", 500 * time.Millisecond, 5}}
	case edit:
		return []limit{{"slack edits", 1200 * time.Millisecond, 3}, {key + " edits", 500 * time.Millisecond, 3}}
	}
	return []limit{{key, time.Second, 3}, {"slack posts", 200 * time.Millisecond, 20}}
}

// editEvery spaces the edits of one card in Slack that nobody waits for: the steps of an
// action can follow each other within a second, and are one edit then.
const editEvery = 2 * time.Second

// spaced is when c may be edited again, having been edited now, or zero.
func spaced(c card, now time.Time) int64 {
	if c.ref.IsZero() || c.destination.Platform() != identity.Slack {
		return 0
	}
	return now.Add(editEvery).UnixMicro()
}

const (
	// stormBudget is how many posts a place has in a stormBudgetPer while a storm
	// names its alerts there. What people decide about and alarms are not kept back
	// by it, and count.
	stormBudget    = 30
	stormBudgetPer = time.Minute
	// pageEvery spaces the pages of a storm within the budget.
	pageEvery = 2 * time.Second
)

// pageLimit is the pace of pages in one place.
func pageLimit(d chat.Destination) limit { return limit{string(d) + " pages", pageEvery, 1} }

// criticalLimit is how many critical alerts have a post of their own in a storm: ten
// in its first minute and then five. More of them are named in its pages at once. Those
// on machines of tier 0 have posts that no others use up.
func criticalLimit(d chat.Destination, tierZero bool) limit {
	l := limit{string(d) + " critical", 12 * time.Second, 5}
	if tierZero {
		l.key = string(d) + " tier 0"
	}
	return l
}

// overBudget is how long a post of a storm has to wait, or zero.
func overBudget(ctx context.Context, tx durable.Tx, d chat.Destination, now time.Time) (time.Duration, error) {
	var oldest int64
	err := tx.QueryRow(ctx, `SELECT posted_at FROM cards WHERE destination = $1 AND posted_at > 0 AND posted_at > $2 AND posted_at <= $3
		ORDER BY posted_at DESC LIMIT 1 OFFSET $4`,
		string(d), now.Add(-stormBudgetPer).UnixMicro(), now.UnixMicro(), stormBudget-1).Scan(&oldest)
	if errors.Is(err, durable.ErrNoRows) {
		return 0, nil
	}
	return durable.Time(oldest).Add(stormBudgetPer).Sub(now), err
}

// reserve takes a place in every limit, or none and says how long to wait. The
// rows are shared, so all replicas together keep the pace.
func reserve(ctx context.Context, tx durable.Tx, ls []limit, now time.Time) (wait time.Duration, err error) {
	arrivals := make([]int64, len(ls))
	for i, l := range ls {
		// The insert-or-touch takes the row's lock on both engines.
		if err := tx.QueryRow(ctx, `
			INSERT INTO pace (key, arrival, lease_owner, lease_until) VALUES ($1, 0, '', 0)
			ON CONFLICT (key) DO UPDATE SET arrival = pace.arrival
			RETURNING arrival`, l.key).Scan(&arrivals[i]); err != nil {
			return 0, err
		}
		if arrivals[i] = max(arrivals[i], now.UnixMicro()); arrivals[i] > now.Add(longestAhead).UnixMicro() {
			arrivals[i] = now.UnixMicro()
		}
		early := time.Duration(arrivals[i]-now.UnixMicro())*time.Microsecond - l.every*time.Duration(l.burst-1)
		wait = max(wait, early)
	}
	if wait > 0 {
		return wait, nil
	}
	for i, l := range ls {
		if _, err := tx.Exec(ctx, `UPDATE pace SET arrival = $1 WHERE key = $2`, arrivals[i]+l.every.Microseconds(), l.key); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// throttle remembers that the platform asked to wait: nothing leaves under l
// before.
func throttle(ctx context.Context, tx durable.Tx, l limit, until time.Time) error {
	arrival := until.UnixMicro() + l.every.Microseconds()*(l.burst-1)
	_, err := tx.Exec(ctx, `UPDATE pace SET arrival = $1 WHERE key = $2 AND arrival < $1`, arrival, l.key)
	return err
}

// doze waits for the pace of d, or for somebody to click on one of its cards, whose edit
// needs not wait.
func (n *Notifier) doze(ctx context.Context, d chat.Destination, wait time.Duration) error {
	const glance = 200 * time.Millisecond
	for ; wait > glance; wait -= glance {
		if err := sleep(ctx, glance); err != nil {
			return err
		}
		if _, found, err := n.nextClicked(ctx, d); err != nil || found {
			return err
		}
	}
	return sleep(ctx, wait)
}

// sleep waits or returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return errors.Join(ctx.Err())
	case <-t.C:
		return nil
	}
}
