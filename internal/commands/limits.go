package commands

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxLimited bounds how many people a limiter remembers. Those whose budget is
// full again are forgotten first.
const maxLimited = 10_000

// limiter grants each person a number of calls per period.
type limiter struct {
	per    rate.Limit
	burst  int
	now    func() time.Time
	mu     sync.Mutex
	people map[string]*rate.Limiter
}

func newLimiter(n int, per time.Duration, now func() time.Time) *limiter {
	return &limiter{per: rate.Every(per / time.Duration(n)), burst: n, now: now, people: map[string]*rate.Limiter{}}
}

// allow takes one call from key's budget, or says how long to wait for it.
func (l *limiter) allow(key string) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	one := l.people[key]
	if one == nil {
		l.forget(now)
		one = rate.NewLimiter(l.per, l.burst)
		l.people[key] = one
	}
	if one.AllowN(now, 1) {
		return 0, true
	}
	missing := 1 - one.TokensAt(now)
	return time.Duration(missing/float64(l.per)*float64(time.Second)).Truncate(time.Second) + time.Second, false
}

// left is how many calls key has at the moment.
func (l *limiter) left(key string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one := l.people[key]; one != nil {
		return int(one.TokensAt(l.now()))
	}
	return l.burst
}

func (l *limiter) forget(now time.Time) {
	if len(l.people) < maxLimited {
		return
	}
	for key, one := range l.people {
		if one.TokensAt(now) >= float64(l.burst) {
			delete(l.people, key)
		}
	}
}

// draftAge is how long the words of a command are kept for the choice of a
// machine.
const draftAge = 10 * time.Minute

// maxDrafts bounds how many are kept; people who lose theirs are asked for a
// reason again.
const maxDrafts = 1_000

// draft is an action that waits for the choice of a machine.
type draft struct {
	reason string
	params map[string]string
	// among are the IDs that were offered; no other choice is taken.
	among []string
	at    time.Time
}

// drafts keeps the last draft of each person.
type drafts struct {
	now func() time.Time
	mu  sync.Mutex
	of  map[string]draft
}

func newDrafts(now func() time.Time) *drafts { return &drafts{now: now, of: map[string]draft{}} }

func (d *drafts) keep(key string, one draft) {
	d.mu.Lock()
	defer d.mu.Unlock()
	one.at = d.now()
	for k, old := range d.of {
		if one.at.Sub(old.at) > draftAge {
			delete(d.of, k)
		}
	}
	if len(d.of) < maxDrafts {
		d.of[key] = one
	}
}

func (d *drafts) take(key string) (draft, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	one, ok := d.of[key]
	delete(d.of, key)
	return one, ok && d.now().Sub(one.at) <= draftAge
}
