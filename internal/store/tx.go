package store

import (
	"context"
	"fmt"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/mdebot/mdebot/internal/durable"
)

// tx is the [durable.Tx] of both engines. The two functions are what needs the
// engine's own transaction.
type tx struct {
	strict
	now      func() time.Time
	insert   func(context.Context, jobArgs, *river.InsertOpts) (*rivertype.JobInsertResult, error)
	complete func(context.Context, *river.Job[jobArgs]) error
}

// schedulerInterval is how often River looks for scheduled jobs.
const schedulerInterval = 5 * time.Second

// Enqueue implements [durable.Tx].
func (t *tx) Enqueue(ctx context.Context, job durable.Job) error {
	if err := t.ready(nil); err != nil {
		return err
	}
	opts := &river.InsertOpts{Queue: job.Kind, MaxAttempts: maxAttempts}
	// River's scheduled state would keep a job that is due waiting for the
	// scheduler. Its SQLite driver cuts times to milliseconds; rounding up keeps
	// the promise that RunAt is the earliest time.
	delay := job.RunAt.Sub(t.now())
	if !job.RunAt.IsZero() && delay > 0 {
		opts.ScheduledAt = job.RunAt.Add(time.Millisecond - 1).Truncate(time.Millisecond).UTC()
	}
	if job.Unique {
		opts.UniqueOpts = river.UniqueOpts{ByArgs: true, ByState: unfinished}
	}
	args := jobArgs{Tenant: job.Tenant, Worker: job.Kind, ID: job.ID, Generation: job.Generation}
	res, err := t.insert(ctx, args, opts)
	if err != nil {
		return t.note(fmt.Errorf("enqueue %s job: %w", job.Kind, err))
	}
	switch {
	case res.UniqueSkippedAsDuplicate && res.Job.State == rivertype.JobStateRunning:
		// The running one may have looked already and not see what this
		// transaction changes; it looks again before it completes.
		_, err = t.Exec(ctx, `
			INSERT INTO wakeups (tenant, kind, job_id, generation) VALUES ($1, $2, $3, $4)
			ON CONFLICT DO NOTHING`, job.Tenant, job.Kind, job.ID, job.Generation)
	case res.Job.State == rivertype.JobStateScheduled && !res.UniqueSkippedAsDuplicate && delay < schedulerInterval:
		// Made available now, it is fetched when its time has come; the
		// scheduler might pick it up only at its next turn.
		_, err = t.Exec(ctx, `UPDATE river_job SET state = 'available' WHERE id = $1`, res.Job.ID)
	}
	if err != nil {
		return fmt.Errorf("enqueue %s job: %w", job.Kind, err)
	}
	return nil
}
