package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/mdebot/mdebot/internal/durable"
)

// schedulerInterval is how often River looks for scheduled jobs.
const schedulerInterval = 5 * time.Second

const longestWait = 15 * time.Minute

// tx is the [durable.Tx] of both engines. The functions but now are what needs the
// engine's own transaction.
type tx struct {
	strict
	now      func() time.Time
	insert   func(context.Context, []river.InsertManyParams) ([]*rivertype.JobInsertResult, error)
	complete func(context.Context, *river.Job[jobArgs]) error
	retry    func(ctx context.Context, job int64) error

	// jobs are inserted together before the commit: one statement and one
	// notification per queue, however many there are.
	jobs   []river.InsertManyParams
	unique map[jobArgs]bool
}

// Enqueue implements [durable.Tx].
func (t *tx) Enqueue(_ context.Context, job durable.Job) error {
	if err := t.ready(nil); err != nil {
		return err
	}
	args := jobArgs{Tenant: job.Tenant, Worker: job.Kind, ID: job.ID, Generation: job.Generation}
	opts := &river.InsertOpts{Queue: job.Kind, MaxAttempts: maxAttempts}
	// River's scheduled state would keep a job that is due waiting for the
	// scheduler. Its SQLite driver cuts times to milliseconds; rounding up keeps
	// the promise that RunAt is the earliest time.
	if job.RunAt.After(t.now()) {
		opts.ScheduledAt = job.RunAt.Add(time.Millisecond - 1).Truncate(time.Millisecond).UTC()
	}
	if job.Unique {
		if t.unique[args] {
			return nil
		}
		if t.unique == nil {
			t.unique = make(map[jobArgs]bool)
		}
		t.unique[args] = true
		opts.UniqueOpts = river.UniqueOpts{ByArgs: true, ByState: unfinished}
	}
	t.jobs = append(t.jobs, river.InsertManyParams{Args: args, InsertOpts: opts})
	return nil
}

// flush writes the jobs. It is the last thing before the commit.
func (t *tx) flush(ctx context.Context) error {
	if t.failed != nil || len(t.jobs) == 0 {
		return t.failed
	}
	results, err := t.insert(ctx, t.jobs)
	if err != nil {
		return t.note(fmt.Errorf("enqueue jobs: %w", err))
	}
	soon := t.now().Add(schedulerInterval)
	for _, res := range results {
		switch {
		case res.UniqueSkippedAsDuplicate && res.Job.State == rivertype.JobStateRunning:
			err = t.wake(ctx, res.Job)
		case res.UniqueSkippedAsDuplicate && overdue(res.Job, t.now()):
			err = t.retry(ctx, res.Job.ID)
		case !res.UniqueSkippedAsDuplicate && res.Job.State == rivertype.JobStateScheduled && res.Job.ScheduledAt.Before(soon):
			// Made available now, it is fetched when its time has come; the
			// scheduler might pick it up only at its next turn.
			_, err = t.Exec(ctx, `UPDATE river_job SET state = 'available' WHERE id = $1`, res.Job.ID)
		}
		if err != nil {
			return fmt.Errorf("enqueue jobs: %w", err)
		}
	}
	return nil
}

// overdue tells that a job waits although its time has come, because the scheduler is
// one replica's and its successor may be a while away; or for a time that a clock wrote
// which has been set back since: nothing waits for longer than longestWait and is asked
// for again, and what is available is due by then or within the scheduler's next turn.
func overdue(job *rivertype.JobRow, now time.Time) bool {
	switch job.State {
	case rivertype.JobStateScheduled, rivertype.JobStateRetryable:
		return !job.ScheduledAt.After(now) || job.ScheduledAt.After(now.Add(longestWait))
	case rivertype.JobStateAvailable:
		return job.ScheduledAt.After(now.Add(schedulerInterval))
	default:
		return false
	}
}

// wake makes a unique job that runs look again before it completes: it may have
// looked already and not see what this transaction changes.
func (t *tx) wake(ctx context.Context, job *rivertype.JobRow) error {
	var args jobArgs
	if err := json.Unmarshal(job.EncodedArgs, &args); err != nil {
		return t.note(err)
	}
	_, err := t.Exec(ctx, `
		INSERT INTO wakeups (tenant, kind, job_id, generation) VALUES ($1, $2, $3, $4)
		ON CONFLICT DO NOTHING`, args.Tenant, args.Worker, args.ID, args.Generation)
	return err
}
