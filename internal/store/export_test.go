package store

import (
	"context"
	"time"
)

// BeatAs is the heartbeat of another replica on the same database.
func (s *Store) BeatAs(ctx context.Context, replica string) error {
	other := &Store{engine: s.engine, replica: replica, logger: s.logger, now: s.now}
	return other.beat(ctx)
}

// ReplicaID is the name under which s takes jobs.
func (s *Store) ReplicaID() string { return s.replica }

// StopWaits tells whether a Stop is under way.
func (s *Store) StopWaits() bool { return len(s.running.stopping) > 0 }

// SetLongTx sets after which time a transaction is logged.
func (s *Store) SetLongTx(d time.Duration) { s.longTx = d }

const (
	Patience  = patience
	SlowRetry = slowRetry
)
