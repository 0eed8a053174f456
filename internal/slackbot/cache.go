package slackbot

import (
	"sync"
	"time"
)

// maxCached bounds a cache; a full one starts over.
const maxCached = 10_000

// cache keeps what Slack said for a while.
type cache[K comparable, V any] struct {
	now  func() time.Time
	keep time.Duration

	mu      sync.Mutex
	entries map[K]cached[V]
}

type cached[V any] struct {
	value V
	until time.Time
}

func newCache[K comparable, V any](now func() time.Time, keep time.Duration) *cache[K, V] {
	return &cache[K, V]{now: now, keep: keep, entries: map[K]cached[V]{}}
}

func (c *cache[K, V]) get(k K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[k]
	if !ok || c.now().After(e.until) {
		var none V
		return none, false
	}
	return e.value, true
}

func (c *cache[K, V]) put(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= maxCached {
		clear(c.entries)
	}
	c.entries[k] = cached[V]{value: v, until: c.now().Add(c.keep)}
}
