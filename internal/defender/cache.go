package defender

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	defaultKeep  = 20 * time.Second
	maxKept      = 8 << 20
	maxKeptEntry = 1 << 20
	// maxFlight ends a shared read that nobody waits for any more.
	maxFlight = 3 * readTimeout
)

// cache merges identical reads and keeps their bodies for a while. Bodies, not
// values, so that no two callers share what one of them may change.
type cache struct {
	keep   time.Duration
	now    func() time.Time
	flight singleflight.Group

	mu         sync.Mutex
	entries    map[string]kept
	size       int
	generation int // counts forget; a read that began before it is not kept
}

type kept struct {
	body  []byte
	until time.Time
}

func newCache(keep time.Duration, now func() time.Time) *cache {
	return &cache{keep: keep, now: now, entries: make(map[string]kept)}
}

// read returns what is kept under key or fetches it. Callers share one fetch,
// which goes on when one of them stops waiting, as each does with its own
// context.
func (c *cache) read(ctx context.Context, lane Lane, key string, fetch func(context.Context) ([]byte, error)) ([]byte, error) {
	body, generation, ok := c.lookup(key)
	if ok {
		return body, nil
	}
	// Lanes do not share a fetch: a refusal of one lane is not another's.
	shared := fmt.Sprintf("%d %d %s", generation, lane, key)
	result := c.flight.DoChan(shared, func() (any, error) {
		// Another fetch may have ended between the look and this flight.
		if body, _, ok := c.lookup(key); ok {
			return body, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxFlight)
		defer cancel()
		body, err := fetch(ctx)
		if err == nil {
			c.store(key, body, generation)
		}
		return body, err
	})
	select {
	case r := <-result:
		body, _ := r.Val.([]byte)
		return body, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *cache) lookup(key string) (body []byte, generation int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.entries[key]
	return k.body, c.generation, ok && c.now().Before(k.until)
}

func (c *cache) store(key string, body []byte, generation int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keep <= 0 || generation != c.generation || len(body) > maxKeptEntry {
		return
	}
	now := c.now()
	// Most keys hold a time and are never asked for again, and every tenant has a
	// cache: what is over goes with the next that comes.
	maps.DeleteFunc(c.entries, func(_ string, k kept) bool { return !now.Before(k.until) })
	c.measure()
	if c.size+len(body) > maxKept {
		clear(c.entries)
	}
	c.entries[key] = kept{body: body, until: now.Add(c.keep)}
	c.measure()
}

func (c *cache) measure() {
	c.size = 0
	for key, k := range c.entries {
		c.size += len(key) + len(k.body)
	}
}

// forget drops everything, because something was changed.
func (c *cache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
	c.size = 0
	c.generation++
}
