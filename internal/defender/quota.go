package defender

import (
	"slices"
	"sync"
	"time"
)

// family is a group of calls that Defender throttles together as far as the
// client knows: one that is throttled says nothing about the others.
type family string

const (
	familyAlerts         family = "alerts"
	familyAlertUpdates   family = "alert updates"
	familyMachines       family = "machines"
	familyUsers          family = "users"
	familyMachineActions family = "machine actions"
	familyActions        family = "response actions"
	familyHunting        family = "hunting"
	familyEnrichment     family = "enrichment"
	familyPosture        family = "vulnerabilities and scores"
	familyIncidents      family = "incidents"
	familyIndicators     family = "indicators"
	familyPackages       family = "package links" // 2 a minute, 120 an hour
	familyDirectory      family = "directory"     // of Graph
)

// Defender's documented limits per tenant. Hunting is counted apart.
const (
	callsPerMinute = 100
	huntsPerMinute = 45
	callsPerHour   = 1500
)

// share is the part of the quota, in percent of all calls counted, up to which a
// lane may still call. What is above a lane's share is reserved for the lanes
// with a larger one.
func (l Lane) share() int {
	switch l {
	case LaneAction:
		return 100
	case LaneAlerts:
		return 90
	case LaneHunt:
		return 50
	case LaneScheduled:
		return 20
	default:
		return 70
	}
}

// reads reports whether people's questions go through the lane. Those reach every
// replica, while actions and alerts are worked on by one at a time.
func (l Lane) reads() bool { return l != LaneAction && l != LaneAlerts }

// quota counts the calls of a tenant and remembers what was throttled.
type quota struct {
	mu       sync.Mutex
	replicas int
	general  window
	hunting  window
	blocks   map[family]block
}

type block struct {
	until   time.Time
	strikes int // refusals in a row that did not say how long
}

func newQuota() *quota {
	return &quota{
		replicas: 1,
		general:  window{perMinute: callsPerMinute, perHour: callsPerHour},
		hunting:  window{perMinute: huntsPerMinute, perHour: callsPerHour},
		blocks:   make(map[family]block),
	}
}

// admit counts a call, or refuses it with a *ThrottledError.
func (q *quota) admit(now time.Time, lane Lane, op string, f family) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if wait := q.blocks[f].until.Sub(now); wait > 0 {
		return &ThrottledError{Op: op, RetryAfter: wait}
	}
	if f == familyDirectory {
		return nil // Graph counts by itself, and far more
	}
	w, share := &q.general, q.share(lane)
	if f == familyHunting {
		w = &q.hunting
	}
	if wait := w.wait(now, share); wait > 0 {
		return &ThrottledError{Op: op, RetryAfter: wait}
	}
	w.calls = append(w.calls, now)
	return nil
}

// share is a lane's in this process.
func (q *quota) share(lane Lane) int {
	if lane.reads() {
		return max(lane.share()/q.replicas, 1)
	}
	return lane.share()
}

// SetReplicas tells c how many processes read the tenant, so that people's questions
// of all of them together leave what is reserved.
func (c *Client) SetReplicas(n int) {
	c.quota.mu.Lock()
	defer c.quota.mu.Unlock()
	c.quota.replicas = max(n, 1)
}

// QuotaLeft is how many calls c's lane may still make in this hour.
func (c *Client) QuotaLeft() int {
	q := c.quota
	q.mu.Lock()
	defer q.mu.Unlock()
	w, share := &q.general, q.share(c.lane)
	if c.lane == LaneHunt {
		share = max(100/q.replicas, 1)
	}
	if c.lane == LaneHunt || c.lane == LaneScheduled {
		w = &q.hunting
	}
	w.forget(c.now())
	return max(w.perHour*share/100-len(w.calls), 0)
}

// block refuses further calls of a family for a while and returns how long. A
// wait of 0 means that Defender did not say: then it grows with every refusal in
// a row.
func (q *quota) block(now time.Time, f family, wait time.Duration) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.blocks[f]
	if wait == 0 {
		wait = min(firstBlock<<min(b.strikes, 10), maxUnsaidBlock)
		wait += jitter(wait / 4)
		b.strikes++
	}
	wait = min(max(wait, minBlock), maxBlock)
	b.until = now.Add(wait)
	q.blocks[f] = b
	return wait
}

const (
	minBlock       = time.Second
	firstBlock     = 2 * time.Second
	maxUnsaidBlock = 5 * time.Minute
	// maxBlock keeps an absurd Retry-After from stopping the bot for good.
	maxBlock = 10 * time.Minute
)

// relax forgets earlier refusals of a family after a success.
func (q *quota) relax(f family) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if b, ok := q.blocks[f]; ok && b.strikes > 0 {
		b.strikes = 0
		q.blocks[f] = b
	}
}

// window holds the calls of the last hour, the oldest first.
type window struct {
	perMinute, perHour int
	calls              []time.Time
}

// wait is how long it takes until a call keeps within share percent of both
// limits, 0 when it does so now.
func (w *window) wait(now time.Time, share int) time.Duration {
	w.forget(now)
	return max(
		w.waitFor(now, max(w.perMinute*share/100, 1), time.Minute),
		w.waitFor(now, max(w.perHour*share/100, 1), time.Hour),
	)
}

// forget drops the calls that no limit counts any more.
func (w *window) forget(now time.Time) {
	hourAgo := now.Add(-time.Hour)
	old, _ := slices.BinarySearchFunc(w.calls, hourAgo, func(t, target time.Time) int {
		if t.After(target) {
			return 1
		}
		return -1
	})
	w.calls = slices.Delete(w.calls, 0, old)
}

// waitFor is when the call that is limit calls back leaves the span.
func (w *window) waitFor(now time.Time, limit int, span time.Duration) time.Duration {
	if len(w.calls) < limit {
		return 0
	}
	return max(w.calls[len(w.calls)-limit].Add(span).Sub(now), 0)
}
