package slackbot

import (
	"sync"
	"time"
)

const (
	// keepDeliveries is at least how long a delivery is remembered; Slack's last
	// retry comes about five minutes after the first try.
	keepDeliveries = time.Hour
	// maxDeliveries bounds each of the two generations.
	maxDeliveries = 100_000
)

// deliveries remembers what was delivered lately, in two generations: a full or
// old one becomes the previous one. It is the cheap first look; the first
// transaction of a worker records a delivery for good.
type deliveries struct {
	now func() time.Time

	mu       sync.Mutex
	started  time.Time
	current  map[string]struct{}
	previous map[string]struct{}
}

// first reports whether id is new and remembers it.
func (d *deliveries) first(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := d.now(); d.current == nil || now.Sub(d.started) > keepDeliveries || len(d.current) >= maxDeliveries {
		d.previous, d.current, d.started = d.current, map[string]struct{}{}, now
	}
	if _, seen := d.current[id]; seen {
		return false
	}
	if _, seen := d.previous[id]; seen {
		return false
	}
	d.current[id] = struct{}{}
	return true
}

// forget makes id new again, because it was not accepted after all.
func (d *deliveries) forget(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.current, id)
	delete(d.previous, id)
}
