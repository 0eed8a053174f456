package store_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/store/storetest"
	"github.com/mdebot/mdebot/internal/tenant"
)

func TestWorker_getsWhatWasEnqueued(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := open(t)
		runs := make(chan durable.Job, 10)
		s.Handle("look", record(runs, always(nil)), 1)
		start(t, s)
		want := durable.Job{Tenant: contoso, Kind: "look", ID: "a/1", Generation: 7, Unique: true}
		enqueue(t, s, want)
		got := next(t, runs)
		if d := time.Since(got.RunAt); d < 0 || d > time.Minute {
			t.Errorf("RunAt = %s, want about now", got.RunAt)
		}
		got.RunAt = time.Time{}
		if got != want {
			t.Errorf("worker got %+v, want %+v", got, want)
		}
	})
}

func TestEnqueue_unique(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := open(t)
		job := durable.Job{Tenant: contoso, Kind: "look", ID: "a", Unique: true}
		other := []durable.Job{job, job, job, job}
		other[0].Tenant = "another tenant"
		other[1].ID = "b"
		other[2].Generation = 1
		other[3].Unique = false
		enqueue(t, s, job, job)
		enqueue(t, s, job)
		enqueue(t, s, other...)
		later := job
		later.RunAt = time.Now().Add(time.Hour)
		enqueue(t, s, later)
		if n := number(t, s, `SELECT count(*) FROM river_job`); n != int64(1+len(other)) {
			t.Errorf("%d jobs wait, want %d", n, 1+len(other))
		}

		runs := make(chan durable.Job, 10)
		s.Handle("look", record(runs, always(nil)), 1)
		start(t, s)
		for range 1 + len(other) {
			next(t, runs)
		}
		// A completed one does not keep out the next.
		enqueue(t, s, job)
		if got := next(t, runs); got.ID != "a" {
			t.Errorf("%+v ran, want the job once more", got)
		}
	})
}

// What asks for a look during a look must be seen by a later one, and there is
// never more than one at a time.
func TestEnqueue_uniqueWhileRunning(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := open(t)
		ctx := t.Context()
		exec(t, s, `CREATE TABLE mail (id TEXT NOT NULL PRIMARY KEY, seen BIGINT NOT NULL)`)
		exec(t, s, `INSERT INTO mail (id, seen) VALUES ('first', 0)`)
		job := durable.Job{Tenant: contoso, Kind: "drain", ID: "box", Unique: true}
		looked, goOn, seen := make(chan int64), make(chan bool), make(chan bool, 10)
		var inside, most atomic.Int64
		s.Handle("drain", func(ctx context.Context, _ durable.Job) error {
			most.Store(max(most.Load(), inside.Add(1)))
			defer inside.Add(-1)
			var n int64
			err := s.InTx(ctx, func(tx durable.Tx) (err error) {
				n, err = tx.Exec(ctx, `UPDATE mail SET seen = 1 WHERE seen = 0`)
				return err
			})
			looked <- n
			<-goOn
			return err
		}, 4)
		start(t, s)
		enqueue(t, s, job)
		if n := next(t, looked); n != 1 {
			t.Fatalf("first run saw %d letters, want 1", n)
		}
		for _, id := range []string{"second", "third"} {
			err := s.InTx(ctx, func(tx durable.Tx) error {
				if _, err := tx.Exec(ctx, `INSERT INTO mail (id, seen) VALUES ($1, 0)`, id); err != nil {
					return err
				}
				return tx.Enqueue(ctx, job)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		goOn <- true
		if n := next(t, looked); n != 2 {
			t.Errorf("second run saw %d letters, want the 2 that came during the first", n)
		}
		goOn <- true
		close(seen)
		waitFor(t, "the job to complete", func() bool {
			return number(t, s, `SELECT count(*) FROM river_job WHERE state = 'completed'`) == 1
		})
		if n := number(t, s, `SELECT count(*) FROM wakeups`); n != 0 {
			t.Errorf("%d wake-ups are left, want 0", n)
		}
		if most.Load() != 1 {
			t.Errorf("%d ran at the same time, want 1", most.Load())
		}
	})
}

func TestEnqueue_runAt(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := open(t)
		runs := make(chan durable.Job, 10)
		s.Handle("look", record(runs, always(nil)), 1)
		start(t, s)
		at := time.Now().Add(1500 * time.Millisecond)
		enqueue(t, s,
			durable.Job{Kind: "look", ID: "later", RunAt: at},
			durable.Job{Kind: "look", ID: "overdue", RunAt: at.Add(-time.Hour)})
		if got := next(t, runs); got.ID != "overdue" {
			t.Errorf("%s ran first, want the overdue one", got.ID)
		}
		next(t, runs)
		if late := time.Since(at); late < 0 || late > 3*time.Second {
			t.Errorf("job ran %s after its time, want 0 to 3s", late)
		}
	})
}

// The clock of the tests decides when a job is due.
func TestEnqueue_runAtOnTheGivenClock(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		var ahead atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		s := open(t, storetest.Clock(now))
		runs := make(chan durable.Job, 10)
		s.Handle("look", record(runs, always(nil)), 1)
		start(t, s)
		enqueue(t, s, durable.Job{Kind: "look", ID: "tomorrow", RunAt: now().Add(24 * time.Hour)}, durable.Job{Kind: "look", ID: "now"})
		if got := next(t, runs); got.ID != "now" {
			t.Errorf("%s ran, want the one that is due", got.ID)
		}
		ahead.Store(int64(24 * time.Hour))
		if got := next(t, runs); got.ID != "tomorrow" {
			t.Errorf("%s ran, want tomorrow's", got.ID)
		}
	})
}

func TestWorker_runsAgain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		first  func() error
		after  time.Duration
		failed int64
	}{
		{"after a snooze, which is no failure", func() error { return durable.Snooze(time.Second) }, time.Second, 0},
		{"after a snooze in other words", func() error { return errors.Join(errBroken, durable.Snooze(time.Second)) }, time.Second, 0},
		{"after an error", func() error { return errBroken }, 900 * time.Millisecond, 1},
		{"after a panic", func() error { panic("oh") }, 900 * time.Millisecond, 1},
	}
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := open(t)
		type run struct {
			id string
			at time.Time
		}
		runs := make(chan run, 10)
		began := make(map[string]time.Time)
		for i, tt := range tests {
			first := true
			s.Handle("kind-"+string(rune('a'+i)), func(context.Context, durable.Job) error {
				if first {
					first = false
					runs <- run{tt.name, time.Now()}
					return tt.first()
				}
				runs <- run{tt.name, time.Now()}
				return nil
			}, 1)
		}
		start(t, s)
		for i, tt := range tests {
			enqueue(t, s, durable.Job{Kind: "kind-" + string(rune('a'+i)), ID: tt.name, Unique: i%2 == 0})
		}
		for range 2 * len(tests) {
			r := next(t, runs)
			if _, again := began[r.id]; !again {
				began[r.id] = r.at
				continue
			}
			began[r.id+" again"] = r.at
		}
		waitFor(t, "the jobs to complete", func() bool {
			return number(t, s, `SELECT count(*) FROM river_job WHERE state = 'completed'`) == int64(len(tests))
		})
		for i, tt := range tests {
			if gap := began[tt.name+" again"].Sub(began[tt.name]); gap < tt.after || gap > tt.after+4*time.Second {
				t.Errorf("%s: second run %s later, want %s or a little more", tt.name, gap, tt.after)
			}
			attempt := number(t, s, `SELECT attempt FROM river_job WHERE queue = $1`, "kind-"+string(rune('a'+i)))
			if attempt != 1+tt.failed {
				t.Errorf("%s: attempt %d, want %d", tt.name, attempt, 1+tt.failed)
			}
		}
	})
}

// A job is a reminder that must not be lost: when it keeps failing it is neither
// discarded nor does its row grow.
func TestWorker_keepsFailing(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		var ahead atomic.Int64
		s := open(t, storetest.Clock(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }))
		runs := make(chan durable.Job, 10)
		s.Handle("look", record(runs, func(run int) error {
			if run == 1 {
				return errBroken
			}
			return nil
		}), 1)
		enqueue(t, s, durable.Job{Kind: "look", ID: "a"})
		exec(t, s, `UPDATE river_job SET attempt = $1`, store.Patience-1)
		start(t, s)
		next(t, runs)
		waitFor(t, "the job to be put off", func() bool {
			return number(t, s, `SELECT count(*) FROM river_job WHERE state = 'scheduled' AND attempt = $1 AND errors IS NULL`, store.Patience-1) == 1
		})
		ahead.Add(int64(store.SlowRetry))
		next(t, runs)
	})
}

func TestTick(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := open(t)
		ticked := make(chan bool, 100)
		s.Tick("panics", func(context.Context) error { panic("oh") })
		s.Tick("hangs", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		s.Tick("works", func(context.Context) error { ticked <- true; return errBroken })
		start(t, s)
		next(t, ticked)
		next(t, ticked)
		if err := s.Stop(t.Context()); err != nil {
			t.Errorf("Stop = %v, want nil although a tick hung", err)
		}
		for len(ticked) > 0 {
			<-ticked
		}
		if n := number(t, s, `SELECT count(*) FROM replicas`); n != 0 {
			t.Errorf("%d replicas after Stop, want 0", n)
		}
	})
}

func TestStop_waitsForWhatRuns(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := open(t)
		running, goOn := make(chan bool, 1), make(chan bool)
		s.Handle("look", func(ctx context.Context, _ durable.Job) error {
			running <- true
			<-goOn
			return ctx.Err()
		}, 1)
		start(t, s)
		enqueue(t, s, durable.Job{Kind: "look", ID: "a"})
		next(t, running)
		stopped := make(chan error)
		go func() { stopped <- s.Stop(context.WithoutCancel(t.Context())) }()
		waitFor(t, "Stop to be under way", s.StopWaits)
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := s.Stop(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop during Stop = %v, want the end of its own time", err)
		}
		close(goOn)
		if err := next(t, stopped); err != nil {
			t.Errorf("Stop = %v, want nil", err)
		}
		if n := number(t, s, `SELECT count(*) FROM river_job WHERE state = 'completed'`); n != 1 {
			t.Errorf("%d jobs completed, want the one that ran", n)
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Errorf("second Stop = %v, want nil", err)
		}
		if err := s.Start(t.Context()); err == nil {
			t.Error("a stopped store started again")
		}
	})
}

func TestStop_putsBackWhatDoesNotFinish(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := open(t)
		running := make(chan bool, 1)
		s.Handle("look", func(ctx context.Context, _ durable.Job) error {
			running <- true
			<-ctx.Done()
			return errBroken // in words of its own
		}, 1)
		start(t, s)
		enqueue(t, s, durable.Job{Kind: "look", ID: "a", Unique: true})
		next(t, running)
		soon, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		began := time.Now()
		if err := s.Stop(soon); err != nil {
			t.Errorf("Stop = %v, want nil: the worker heeds its context", err)
		}
		if d := time.Since(began); d > 3*time.Second {
			t.Errorf("Stop took %s", d)
		}
		if n := number(t, s, `SELECT count(*) FROM river_job WHERE state = 'available' AND attempt = 0`); n != 1 {
			t.Errorf("%d jobs were put back as they had been, want 1", n)
		}
	})
}

// A job that the database says is running, but not where: the process that took
// it is gone. The test also pins how River records who took a job.
func TestReaper(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		s := open(t)
		ctx := t.Context()
		running, goOn := make(chan int64, 10), make(chan bool)
		s.Handle("look", func(_ context.Context, job durable.Job) error {
			running <- job.Generation
			<-goOn
			return nil
		}, 2)
		start(t, s)
		enqueue(t, s, durable.Job{Kind: "look", ID: "a"})
		next(t, running)

		if err := s.BeatAs(ctx, "another replica"); err != nil {
			t.Fatal(err)
		}
		if n := number(t, s, `SELECT count(*) FROM river_job WHERE state = 'running'`); n != 1 {
			t.Errorf("%d jobs run, want 1: their replica lives", n)
		}
		// Its last beat was long ago.
		exec(t, s, `UPDATE replicas SET beat_at = beat_at - 6100000 WHERE replica_id = $1`, s.ReplicaID())
		if err := s.BeatAs(ctx, "another replica"); err != nil {
			t.Fatal(err)
		}
		next(t, running) // taken again while the first still hangs
		goOn <- true
		goOn <- true
	})
}

func TestFirstDelivery(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		var ahead atomic.Int64
		s := open(t, storetest.Clock(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }))
		ctx := t.Context()
		const callers = 8
		answers := make(chan bool, callers)
		for range callers {
			go func() {
				first, err := s.FirstDelivery(ctx, contoso, "Ev1")
				if err != nil {
					t.Errorf("FirstDelivery: %v", err)
				}
				answers <- first
			}()
		}
		firsts := 0
		for range callers {
			if next(t, answers) {
				firsts++
			}
		}
		if firsts != 1 {
			t.Errorf("%d callers were first, want 1", firsts)
		}
		for _, tt := range []struct {
			name   string
			tenant tenant.ID
			ahead  time.Duration
			want   bool
		}{
			{"same tenant, a minute later", contoso, time.Minute, false},
			{"another tenant", "fabrikam", time.Minute, true},
			{"a day later", contoso, 24*time.Hour + time.Second, true},
		} {
			ahead.Store(int64(tt.ahead))
			if err := s.BeatAs(ctx, s.ReplicaID()); err != nil {
				t.Fatal(err)
			}
			first, err := s.FirstDelivery(ctx, tt.tenant, "Ev1")
			if err != nil || first != tt.want {
				t.Errorf("%s: FirstDelivery = %t, %v; want %t", tt.name, first, err, tt.want)
			}
		}
	})
}

// A job that waits for a time of a clock which has been set back since is not waited
// for: what is enqueued meanwhile runs at once.
func TestEnqueue_afterTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		var ahead atomic.Int64
		ahead.Store(int64(time.Hour))
		s := open(t, storetest.Clock(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }))
		runs := make(chan durable.Job, 10)
		s.Handle("snoozed", record(runs, func(run int) error {
			if run == 1 {
				return durable.Snooze(10 * time.Second)
			}
			return nil
		}), 1)
		s.Handle("waiting", record(runs, always(nil)), 1)
		waiting := durable.Job{Kind: "waiting", ID: "waiting", Unique: true}
		enqueue(t, s, waiting) // no worker is there yet
		ahead.Store(0)
		start(t, s)
		enqueue(t, s, waiting)
		if got := next(t, runs); got.ID != "waiting" {
			t.Errorf("%s ran, want the one that waited", got.ID)
		}

		ahead.Store(int64(time.Hour))
		snoozed := durable.Job{Kind: "snoozed", ID: "snoozed", Unique: true}
		enqueue(t, s, snoozed)
		next(t, runs)
		waitFor(t, "the job to be put off", func() bool { return number(t, s, `SELECT count(*) FROM river_job WHERE state = 'scheduled'`) == 1 })
		ahead.Store(0)
		enqueue(t, s, snoozed)
		if got := next(t, runs); got.ID != "snoozed" {
			t.Errorf("%s ran, want the one that was put off", got.ID)
		}
	})
}
