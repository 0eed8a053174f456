package teamsbot

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// tasks runs work that outlives the request it came with, a bounded number at a
// time.
type tasks struct {
	ctx    context.Context
	cancel context.CancelFunc
	slots  chan struct{}
	log    *slog.Logger

	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

func newTasks(limit int, log *slog.Logger) *tasks {
	ctx, cancel := context.WithCancel(context.Background())
	return &tasks{ctx: ctx, cancel: cancel, slots: make(chan struct{}, limit), log: log}
}

// start runs fn, whose panic ends nothing else, or reports that there is no room or no more time for it.
func (t *tasks) start(fn func(ctx context.Context)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	select {
	case t.slots <- struct{}{}:
	default:
		return false
	}
	t.wg.Go(func() {
		defer func() { <-t.slots }()
		defer func() {
			if recover() != nil {
				// The value may hold what people typed.
				t.log.ErrorContext(t.ctx, "panic while answering", "stack", string(debug.Stack()))
			}
		}()
		fn(t.ctx)
	})
	return true
}

// drain refuses new work, waits for what runs, and cancels it when it takes
// longer than patience. It reports whether everything ended by itself.
func (t *tasks) drain(patience time.Duration) bool {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	done := make(chan struct{})
	go func() {
		t.wg.Wait()
		close(done)
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	defer t.cancel()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
