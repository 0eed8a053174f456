package notify

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/durable"
)

const (
	// leaseTime is how long work stays with a replica that is not heard of any
	// more. With the sweep it makes a take-over last less than 15 seconds.
	leaseTime  = 10 * time.Second
	renewEvery = 3 * time.Second

	// longestAhead is how far ahead anything is planned, passes apart. What lies
	// further ahead was written by a clock that has been set back since, and does not
	// count: otherwise alerts would stand still until that time has come.
	longestAhead = 15 * time.Minute
)

var errLeaseLost = errors.New("another replica has taken this over")

// lease is the right to do something that only one replica may do at a time. It
// is renewed while it is used. Each has an owner of its own, so that not even
// two runs in one process can mistake the other's lease for theirs.
type lease struct {
	owner string
	// extend makes the row belong to owner for another leaseTime, unless it
	// belongs to somebody else by now.
	extend func(ctx context.Context) (mine bool, err error)

	mu      sync.Mutex
	renewed time.Time
}

func newOwner() string { return uuid.NewString() }

// keep renews l until stop is called. The context it returns ends when l is lost.
func (l *lease) keep(ctx context.Context) (held context.Context, stop func()) {
	l.mark()
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(renewEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			mine, err := l.extend(ctx)
			switch {
			case err == nil && mine:
				l.mark()
			case err == nil, !l.valid():
				cancel(errLeaseLost)
			}
		}
	})
	return ctx, func() {
		cancel(nil)
		wg.Wait()
	}
}

func (l *lease) mark() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewed = time.Now()
}

// valid tells whether nobody else can have l. It asks this process's own clock,
// so that one that was paused for minutes knows before it acts; a clock that was
// set forward meanwhile only makes it careful.
func (l *lease) valid() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	return max(now.Sub(l.renewed), now.Round(0).Sub(l.renewed.Round(0))) < leaseTime
}

// lost is the reason why a context of keep has ended, or nil.
func lost(held context.Context) error {
	if errors.Is(context.Cause(held), errLeaseLost) {
		return errLeaseLost
	}
	return nil
}

// lease takes the right to send to a destination, so that its messages keep
// their order whatever the number of replicas. It returns nil when another one
// has it.
func (n *Notifier) lease(ctx context.Context, d chat.Destination) (*lease, error) {
	l := &lease{owner: newOwner()}
	l.extend = func(ctx context.Context) (mine bool, err error) {
		err = n.db.InTx(ctx, func(tx durable.Tx) error {
			mine, err = n.extend(ctx, tx, d, l)
			return err
		})
		return mine, err
	}
	mine := false
	err := n.db.InTx(ctx, func(tx durable.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO pace (key, arrival, lease_owner, lease_until) VALUES ($1, 0, '', 0) ON CONFLICT (key) DO NOTHING`, string(d)); err != nil {
			return err
		}
		now := n.now()
		rows, err := tx.Exec(ctx, `UPDATE pace SET lease_owner = $1, lease_until = $2 WHERE key = $3 AND (lease_until < $4 OR lease_until > $5)`,
			l.owner, now.Add(leaseTime).UnixMicro(), string(d), now.UnixMicro(), now.Add(longestAhead).UnixMicro())
		mine = rows == 1
		return err
	})
	if err != nil || !mine {
		return nil, err
	}
	return l, nil
}

// extend is the extension of a destination's lease inside a transaction.
func (n *Notifier) extend(ctx context.Context, tx durable.Tx, d chat.Destination, l *lease) (mine bool, err error) {
	rows, err := tx.Exec(ctx, `UPDATE pace SET lease_until = $1 WHERE key = $2 AND lease_owner = $3`,
		n.now().Add(leaseTime).UnixMicro(), string(d), l.owner)
	return rows == 1, err
}

// release gives the right back. The sweep leaves the destination alone for as long as
// its pace lets nothing out, or until something is tried again; what is new wakes it.
func (n *Notifier) release(ctx context.Context, d chat.Destination, l *lease, wait time.Duration) error {
	return n.db.InTx(ctx, func(tx durable.Tx) error {
		now := n.now().UnixMicro()
		asleep := n.now().Add(wait).UnixMicro()
		if wait > 0 {
			// A post has a pace of its own: it is not kept back by that of the edits.
			if err := tx.QueryRow(ctx, `SELECT COALESCE(MIN(next_at), $1) FROM cards
				WHERE destination = $2 AND wanted > shown AND held = '' AND next_at > $3 AND next_at < $1`,
				asleep, string(d), now).Scan(&asleep); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `UPDATE pace SET lease_until = 0, asleep_until = $1 WHERE key = $2 AND lease_owner = $3`, asleep, string(d), l.owner)
		return err
	})
}
