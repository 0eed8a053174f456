package app

import (
	"context"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/tenant"
)

// shareWait is when a job looks again whether its tenant has a worker to spare.
const shareWait = time.Second

// shares keeps one tenant's jobs from holding all workers of a kind: with one whose
// Defender hangs, the others still have theirs (threat-model M-05).
type shares struct {
	most int // jobs of one tenant at a time

	mu      sync.Mutex
	running map[tenant.ID]int
}

// newShares gives each tenant half of the workers, and the only one all of them.
func newShares(workers, tenants int) *shares {
	s := &shares{most: workers, running: map[tenant.ID]int{}}
	if tenants > 1 {
		s.most = max(1, workers/2)
	}
	return s
}

// around runs the job of a tenant that has its share already a little later.
func (s *shares) around(next durable.Worker) durable.Worker {
	return func(ctx context.Context, job durable.Job) error {
		if !s.take(job.Tenant) {
			return durable.Snooze(shareWait)
		}
		defer s.give(job.Tenant)
		return next(ctx, job)
	}
}

func (s *shares) take(t tenant.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running[t] >= s.most {
		return false
	}
	s.running[t]++
	return true
}

func (s *shares) give(t tenant.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running[t]--; s.running[t] == 0 {
		delete(s.running, t)
	}
}
