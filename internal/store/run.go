package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
)

const (
	// tickEvery is how often a replica shows that it lives and looks for work
	// that nobody does. A replica silent for replicaTTL is dead: three beats.
	tickEvery  = 2 * time.Second
	replicaTTL = 3 * tickEvery
	// tickTimeout bounds one call of a tick function.
	tickTimeout = time.Minute
	// hardStop is what a Stop that ran out of time still gives workers whose
	// context it has cancelled.
	hardStop = 3 * time.Second
	// inboxMemory is how long a repeated delivery is recognised.
	inboxMemory = 24 * time.Hour
)

// runner is a River client without its type parameter.
type runner interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
	StopAndCancel(ctx context.Context) error
}

type tick struct {
	name string
	fn   func(context.Context) error
}

// running is what Start has set going.
type running struct {
	runner     runner // nil without handlers
	cancelTick context.CancelFunc
	ticks      sync.WaitGroup
	cancelBeat context.CancelFunc
	beat       sync.WaitGroup

	// stopping lets one Stop through at a time; stopped is what it left behind.
	stopping chan struct{}
	stopped  bool
}

// Tick registers fn to be called at start and every two seconds on every
// replica, until [Store.Stop]. It is for sweeps: claims of due work, expiry,
// look-outs for what a dead process left. Calls of one fn never overlap in one
// process, those of different ones and different replicas do. Call it before
// [Store.Start]; name is for the log.
func (s *Store) Tick(name string, fn func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		panic("store: Tick after Start")
	}
	s.ticks = append(s.ticks, tick{name, fn})
}

// Start runs jobs and ticks until [Store.Stop]; the end of ctx does not stop
// them. A Store starts once.
func (s *Store) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started || s.closed {
		return errors.New("start jobs: the store has been started or closed before")
	}
	freed, err := s.engine.reclaim(ctx)
	if err != nil {
		return fmt.Errorf("free the jobs of the last process: %w", err)
	}
	if freed > 0 {
		s.logger.InfoContext(ctx, "freed the jobs of the last process", slog.Int64("jobs", freed))
	}
	// Other replicas take the jobs of a replica that is not in the table, so the
	// first beat comes before the first job.
	if err := s.beat(ctx); err != nil {
		return fmt.Errorf("announce this replica: %w", err)
	}

	ctx = context.WithoutCancel(ctx)
	r := &running{stopping: make(chan struct{}, 1)}
	if len(s.handlers) > 0 {
		if r.runner, err = s.engine.runner(s.workingConfig()); err != nil {
			return fmt.Errorf("start jobs: %w", err)
		}
		if err := r.runner.Start(ctx); err != nil {
			return fmt.Errorf("start jobs: %w", err)
		}
	}
	var beatCtx, tickCtx context.Context
	beatCtx, r.cancelBeat = context.WithCancel(ctx)
	tickCtx, r.cancelTick = context.WithCancel(ctx)
	r.beat.Go(func() { s.every(beatCtx, tick{"heartbeat", s.beat}) })
	for _, t := range s.ticks {
		r.ticks.Go(func() { s.every(tickCtx, t) })
	}
	s.running, s.started = r, true
	return nil
}

// Stop takes no new jobs, waits for those that run until ctx is done, then
// cancels their contexts and waits a moment longer. What did not finish runs
// again, here after the next start or on another replica at once. An error says
// that something did not stop, and Stop may be called again; a Store that is not
// running stops without one.
func (s *Store) Stop(ctx context.Context) error {
	s.mu.Lock()
	r := s.running
	s.mu.Unlock()
	if r == nil {
		return nil
	}
	select {
	case r.stopping <- struct{}{}:
	default: // with a ctx that is done, a single select would choose either
		select {
		case r.stopping <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("stop jobs: another call is at it: %w", ctx.Err())
		}
	}
	defer func() { <-r.stopping }()
	if r.stopped {
		return nil
	}
	r.cancelTick()
	if r.runner != nil {
		if err := stopRunner(ctx, r.runner); err != nil {
			return fmt.Errorf("stop jobs: %w", err)
		}
	}
	r.ticks.Wait()
	r.cancelBeat()
	r.beat.Wait()
	r.stopped = true

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hardStop)
	defer cancel()
	err := s.engine.inTx(ctx, func(t *tx) error {
		_, err := t.Exec(ctx, `DELETE FROM replicas WHERE replica_id = $1`, s.replica)
		return err
	})
	if err != nil {
		return fmt.Errorf("sign off this replica: %w", err)
	}
	return nil
}

func stopRunner(ctx context.Context, r runner) error {
	if err := r.Stop(ctx); err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hardStop)
	defer cancel()
	return r.StopAndCancel(ctx)
}

// every calls t now and every tickEvery until ctx is done.
func (s *Store) every(ctx context.Context, t tick) {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		if err := guarded(ctx, t.fn); err != nil && ctx.Err() == nil {
			s.logger.WarnContext(ctx, "tick failed; the next one tries again",
				slog.String("tick", t.name), slog.Any("error", err))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func guarded(ctx context.Context, fn func(context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, tickTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(ctx)
}

// Health is why the database cannot be used right now, or nil. A running Store
// writes to it every two seconds.
func (s *Store) Health(ctx context.Context) error {
	var one int
	if err := s.Read().QueryRow(ctx, `SELECT 1`).Scan(&one); err != nil {
		return errors.New("it cannot be read")
	}
	s.beatMu.Lock()
	defer s.beatMu.Unlock()
	switch silent := time.Since(s.lastBeat); {
	case s.lastBeat.IsZero(): // not started
		return nil
	case silent > replicaTTL:
		return fmt.Errorf("nothing could be written for %s", silent.Round(time.Second))
	}
	return nil
}

// Replicas is how many processes share the database right now, as far as it knows.
func (s *Store) Replicas(ctx context.Context) (n int, err error) {
	err = s.Read().QueryRow(ctx, `SELECT COUNT(*) FROM replicas`).Scan(&n)
	return n, err
}

// OtherVersion is the version of a replica that is not of this one's, or "" when all
// are of one (threat-model O-07).
func (s *Store) OtherVersion(ctx context.Context) (string, error) {
	var other string
	err := s.Read().QueryRow(ctx, `SELECT version FROM replicas WHERE version <> $1 ORDER BY version LIMIT 1`, s.version).Scan(&other)
	if errors.Is(err, durable.ErrNoRows) {
		return "", nil
	}
	return other, err
}

// beat shows that this replica lives, frees the running jobs of those that do
// not, and forgets old deliveries. Done by every replica and in one transaction,
// so that it does not matter how many do it. Times are the database's: replicas
// need not agree on theirs.
func (s *Store) beat(ctx context.Context) error {
	d := s.engine.dialect()
	var freed int64
	err := s.engine.inTx(ctx, func(t *tx) error {
		_, err := t.Exec(ctx, `
			INSERT INTO replicas (replica_id, started_at, beat_at, version) VALUES ($1, `+d.now+`, `+d.now+`, $2)
			ON CONFLICT (replica_id) DO UPDATE SET beat_at = excluded.beat_at`, s.replica, s.version)
		if err != nil {
			return err
		}
		_, err = t.Exec(ctx, `DELETE FROM replicas WHERE beat_at < `+d.now+` - $1`, replicaTTL.Microseconds())
		if err != nil {
			return err
		}
		freed, err = t.Exec(ctx, `
			UPDATE river_job SET state = 'available'
			WHERE state = 'running' AND `+d.lastOwner+` NOT IN (SELECT replica_id FROM replicas)`)
		if err != nil {
			return err
		}
		_, err = t.Exec(ctx, `DELETE FROM inbox WHERE received_at < $1`, s.clock().Add(-inboxMemory).UnixMicro())
		return err
	})
	if err == nil {
		s.beaten()
	}
	if err == nil && freed > 0 {
		s.logger.WarnContext(ctx, "freed the jobs of a dead replica", slog.Int64("jobs", freed))
	}
	return err
}

func (s *Store) beaten() {
	s.beatMu.Lock()
	defer s.beatMu.Unlock()
	s.lastBeat = time.Now()
}
