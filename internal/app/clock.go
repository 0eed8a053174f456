package app

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
)

const (
	// skewWarning is from when a wrong clock is worth a look.
	skewWarning = 30 * time.Second
	// skewAge is how long a measurement counts.
	skewAge = 10 * time.Minute
)

// clockSkew compares this machine's clock with the dates of Defender's answers.
type clockSkew struct {
	now func() time.Time
	log *slog.Logger

	mu      sync.Mutex
	last    [2]time.Duration // how far ahead; the latest first
	seen    int
	at      time.Time
	warning bool
}

// measure takes the date of an answer that has just come.
func (c *clockSkew) measure(date time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	// Dates are cut to the second.
	c.last = [2]time.Duration{now.Round(0).Sub(date.Add(time.Second / 2)), c.last[0]}
	c.seen++
	c.at = now
	ahead, known := c.smaller()
	if off := known && ahead.Abs() >= skewWarning; off != c.warning {
		c.warning = off
		c.log.WarnContext(context.Background(), "clock compared with Defender's", "ahead", ahead, "trusted", !off)
	}
}

// smaller is the smaller of the last two: one answer alone may be wrong itself.
func (c *clockSkew) smaller() (ahead time.Duration, known bool) {
	if c.seen < len(c.last) {
		return 0, false
	}
	if c.last[1].Abs() < c.last[0].Abs() {
		return c.last[1], true
	}
	return c.last[0], true
}

// ahead is how far this machine's clock is ahead, if that was measured lately.
func (c *clockSkew) ahead() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now().Sub(c.at) > skewAge {
		return 0, false
	}
	return c.smaller()
}

func (c *clockSkew) line() cards.StatusLine {
	l := cards.StatusLine{Part: "Clock"}
	ahead, known := c.ahead()
	if !known {
		l.Detail = "not compared with Defender's lately"
		return l
	}
	l.Good = ahead.Abs() < skewWarning
	l.Detail = fmt.Sprintf("%s from Defender's", ahead.Abs().Round(time.Second))
	if ahead.Abs() >= approvals.MaxSkew {
		l.Detail += "; nothing is sent to Defender"
	}
	return l
}
