package defender

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	maxRepeats  = 2
	firstRepeat = 500 * time.Millisecond
	// worthWaiting is how long a read waits for quota by itself; longer waits are
	// the caller's decision.
	worthWaiting = 3 * time.Second
)

// repeat runs once again when that is safe and may help.
func repeat[T any](ctx context.Context, c *Client, r call, once func() (T, error)) (T, error) {
	for n := 0; ; n++ {
		result, err := once()
		wait, again := r.waitAfter(err, n)
		if !again || c.sleep(ctx, wait) != nil {
			return result, err
		}
	}
}

// waitAfter decides whether a failed call is made again, and after how long. A
// refusal for quota had no effect; other failures repeat only a GET, and not
// one that already took all the time it had.
func (r call) waitAfter(err error, repeats int) (time.Duration, bool) {
	if err == nil || repeats >= maxRepeats || (r.method != "" && !r.repeatable) {
		return 0, false
	}
	var throttled *ThrottledError
	if errors.As(err, &throttled) {
		return throttled.RetryAfter + jitter(firstRepeat), throttled.RetryAfter <= worthWaiting
	}
	isGet := r.method == "" || r.method == http.MethodGet
	if !isGet || !errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return 0, false
	}
	return firstRepeat<<repeats + jitter(firstRepeat<<repeats), true
}

func jitter(d time.Duration) time.Duration {
	return rand.N(d) //nolint:gosec // spreads repeats, guards nothing
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
