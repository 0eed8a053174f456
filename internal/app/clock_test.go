package app

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestClockSkew(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	var log bytes.Buffer
	c := &clockSkew{now: func() time.Time { return now }, log: slog.New(slog.NewTextHandler(&log, nil))}
	if _, known := c.ahead(); known || c.line().Good {
		t.Error("a clock that was never compared counts as known")
	}
	c.measure(now)
	if _, known := c.ahead(); known {
		t.Error("one answer alone counts")
	}
	c.measure(now)
	if ahead, known := c.ahead(); !known || ahead.Abs() > time.Second || !c.line().Good {
		t.Errorf("ahead() = %s, %v, want a right clock", ahead, known)
	}
	c.measure(now.Add(-time.Hour))
	if ahead, _ := c.ahead(); ahead.Abs() > time.Second {
		t.Errorf("one wrong answer makes the clock %s wrong", ahead)
	}
	c.measure(now.Add(-time.Hour))
	if ahead, _ := c.ahead(); ahead.Round(time.Minute) != time.Hour || c.line().Good || !strings.Contains(c.line().Detail, "nothing is sent") {
		t.Errorf("ahead() = %s, %+v, want an hour and said so", ahead, c.line())
	}
	if n := strings.Count(log.String(), "clock compared"); n != 1 {
		t.Errorf("%d warnings, want one: %s", n, log.String())
	}
	c.measure(now.Add(40 * time.Second))
	if c.line().Good || strings.Contains(c.line().Detail, "nothing is sent") {
		t.Errorf("at 40 s the status says %+v, want a warning alone", c.line())
	}
	now = now.Add(skewAge + time.Second)
	if _, known := c.ahead(); known {
		t.Error("an old comparison counts as known")
	}
}
