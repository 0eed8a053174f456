package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/tenant"
)

const (
	// jobTimeout bounds one run of a worker; workers wait for HTTP.
	jobTimeout = time.Minute
	// rescueAfter is the back-stop behind the reaper: a job that neither ended
	// nor lost its process.
	rescueAfter = 5 * time.Minute
	// patience is the number of failures after which a job is called failing in
	// the log and retried at slowRetry. It is never given up: a job is a
	// reminder, and only the tables know whether it is still needed.
	patience  = 10
	slowRetry = 5 * time.Minute
	// maxAttempts only has to be out of reach, because River discards beyond it.
	maxAttempts = 10_000

	fetchCooldown     = 20 * time.Millisecond
	fetchPollInterval = time.Second
)

// unfinished are the states in which a unique job keeps out another one.
var unfinished = []rivertype.JobState{
	rivertype.JobStateAvailable,
	rivertype.JobStatePending,
	rivertype.JobStateRetryable,
	rivertype.JobStateRunning,
	rivertype.JobStateScheduled,
}

// Workers is how many jobs of one kind run at the same time in this process.
type Workers int

type handler struct {
	work    durable.Worker
	workers Workers
}

// Handle makes w run the jobs of kind, which is lower-case letters, digits and
// single dashes or underscores. Call it before [Store.Start]; a kind has one
// worker. Jobs of a kind that no replica handles wait.
//
// One run may take a minute. A worker that fails runs again after one second,
// then two, four and so on; from the tenth failure on every five minutes, each
// time with an error in the log.
func (s *Store) Handle(kind string, w durable.Worker, n Workers) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		panic("store: Handle after Start")
	}
	if _, dup := s.handlers[kind]; dup {
		panic("store: two workers for jobs of kind " + kind)
	}
	s.handlers[kind] = handler{work: w, workers: n}
}

// jobArgs is the payload of every River job. All kinds share one River kind and
// differ by queue, so a kind needs no Go type of its own.
type jobArgs struct {
	Tenant     tenant.ID `json:"tenant"`
	Worker     string    `json:"kind"`
	ID         string    `json:"id"`
	Generation int64     `json:"generation"`
}

func (jobArgs) Kind() string { return "mdebot" }

// riverConfig is the part of River's configuration that inserting and working
// share.
func (s *Store) riverConfig() *river.Config {
	c := &river.Config{
		ID:                          s.replica,
		CompletedJobRetentionPeriod: time.Hour,
		// Only the inserting client uses this value: it is also the time in which
		// River sends no second notification to a queue.
		FetchCooldown: river.FetchCooldownMin,
		Logger:        slog.New(atLeast{s.logger.Handler(), slog.LevelWarn}),
	}
	if s.now != nil {
		c.Test.Time = clock(s.now)
	}
	return c
}

func (s *Store) workingConfig() *river.Config {
	c := s.riverConfig()
	c.FetchCooldown = fetchCooldown
	c.FetchPollInterval = fetchPollInterval
	c.JobTimeout = jobTimeout
	c.RescueStuckJobsAfter = rescueAfter
	c.RetryPolicy = backOff(s.clock)
	c.Workers = river.NewWorkers()
	river.AddWorker(c.Workers, &dispatcher{store: s})
	c.Queues = make(map[string]river.QueueConfig, len(s.handlers))
	for kind, h := range s.handlers {
		c.Queues[kind] = river.QueueConfig{MaxWorkers: int(h.workers)}
	}
	return c
}

// dispatcher hands River's jobs to the workers.
type dispatcher struct {
	river.WorkerDefaults[jobArgs]
	store *Store
}

func (d *dispatcher) Work(ctx context.Context, rj *river.Job[jobArgs]) error {
	started := time.Now()
	for {
		err := d.run(ctx, rj)
		if err != nil {
			return d.failed(ctx, rj, err)
		}
		if len(rj.UniqueKey) == 0 {
			return nil
		}
		again, err := d.completeUnique(ctx, rj)
		switch {
		case err != nil:
			return d.failed(ctx, rj, err)
		case !again:
			return nil
		case time.Since(started) > jobTimeout/2:
			return river.JobSnooze(0)
		}
	}
}

func (d *dispatcher) run(ctx context.Context, rj *river.Job[jobArgs]) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return d.store.handlers[rj.Args.Worker].work(ctx, durable.Job{
		Tenant:     rj.Args.Tenant,
		Kind:       rj.Args.Worker,
		ID:         rj.Args.ID,
		Generation: rj.Args.Generation,
		RunAt:      rj.ScheduledAt,
		Unique:     len(rj.UniqueKey) > 0,
	})
}

// completeUnique completes the job unless somebody asked for it while it ran.
// Both happen in one transaction: between a look and a completion apart from it,
// a wake-up would be dropped in favour of a job that no longer looks.
func (d *dispatcher) completeUnique(ctx context.Context, rj *river.Job[jobArgs]) (again bool, err error) {
	err = d.store.engine.inTx(ctx, func(t *tx) error {
		n, err := t.Exec(ctx, `
			DELETE FROM wakeups WHERE tenant = $1 AND kind = $2 AND job_id = $3 AND generation = $4`,
			rj.Args.Tenant, rj.Args.Worker, rj.Args.ID, rj.Args.Generation)
		if err != nil {
			return err
		}
		if again = n > 0; again {
			return nil
		}
		err = t.complete(ctx, rj)
		if errors.Is(err, rivertype.ErrNotFound) {
			return nil // no longer ours: another replica has taken it over
		}
		return err
	})
	return again, err
}

func (d *dispatcher) failed(ctx context.Context, rj *river.Job[jobArgs], err error) error {
	if snooze, ok := errors.AsType[*durable.SnoozeError](err); ok {
		return river.JobSnooze(max(0, snooze.After))
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err() // stopping: River puts the job back as it was
	}
	d.store.metrics.JobFailed(rj.Args.Worker)
	attrs := []any{
		slog.String("kind", rj.Args.Worker), slog.String("tenant_id", string(rj.Args.Tenant)),
		slog.String("job_id", rj.Args.ID), slog.Int("attempt", rj.Attempt), slog.Any("error", err),
	}
	if rj.Attempt < patience {
		d.store.logger.WarnContext(ctx, "job failed; it runs again", attrs...)
		return err
	}
	// A snooze keeps the attempt and does not add to the row's list of errors.
	d.store.logger.ErrorContext(ctx, "job keeps failing; it runs again later", append(attrs, slog.Duration("retry_after", slowRetry))...)
	return river.JobSnooze(slowRetry)
}

// backOff doubles from one second to one minute, give or take a tenth.
type backOff func() time.Time

func (now backOff) NextRetry(job *rivertype.JobRow) time.Time {
	wait := min(time.Second<<min(max(job.Attempt-1, 0), 6), time.Minute)
	return now().Add(time.Duration(float64(wait) * (0.9 + 0.2*rand.Float64()))) //nolint:gosec // jitter
}

// clock lets the domain's clock decide when a job is due.
type clock func() time.Time

func (c clock) Now() time.Time       { return c() }
func (c clock) NowOrNil() *time.Time { now := c().UTC(); return &now }

// atLeast drops records below a level: River tells every step at Info.
type atLeast struct {
	slog.Handler
	level slog.Level
}

func (h atLeast) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level && h.Handler.Enabled(ctx, l)
}

func (h atLeast) WithAttrs(a []slog.Attr) slog.Handler {
	return atLeast{h.Handler.WithAttrs(a), h.level}
}

func (h atLeast) WithGroup(n string) slog.Handler { return atLeast{h.Handler.WithGroup(n), h.level} }
