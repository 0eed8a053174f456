package defender

import (
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// retryAfter reads how long a 429 asks to wait: the header in seconds or as a
// date, else the window its message names ("… maximum allowed 45 per 00:01:00",
// "… in the next 15-minute cycle").
// The answer is 0 when neither says, and never more than maxBlock.
func retryAfter(h http.Header, message string, now time.Time) time.Duration {
	if wait, ok := parseRetryAfter(h.Get("Retry-After"), serverTime(h, now)); ok {
		return min(max(wait, minBlock), maxBlock)
	}
	return min(windowIn(message), maxBlock)
}

func parseRetryAfter(v string, now time.Time) (time.Duration, bool) {
	v = strings.TrimSpace(v)
	if seconds, err := strconv.ParseFloat(v, 64); err == nil && !math.IsNaN(seconds) {
		limit := maxBlock.Seconds()
		return time.Duration(min(max(seconds, 0), limit) * float64(time.Second)), true
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(at.Sub(now), 0), maxBlock), true
	}
	return 0, false
}

// serverTime is the server's own clock, which a date in its answer refers to.
func serverTime(h http.Header, now time.Time) time.Time {
	if t, err := http.ParseTime(h.Get("Date")); err == nil {
		return t
	}
	return now
}

var (
	windowPattern = regexp.MustCompile(`\bper (\d{1,2}):(\d{2}):(\d{2})`)
	cyclePattern  = regexp.MustCompile(`\b(\d{1,2})-minute cycle`)
)

func windowIn(message string) time.Duration {
	if m := cyclePattern.FindStringSubmatch(message); m != nil {
		n, _ := strconv.Atoi(m[1]) // two digits at most
		return time.Duration(n) * time.Minute
	}
	m := windowPattern.FindStringSubmatch(message)
	if m == nil {
		return 0
	}
	var total time.Duration
	for i, unit := range []time.Duration{time.Hour, time.Minute, time.Second} {
		n, _ := strconv.Atoi(m[i+1])
		total += time.Duration(n) * unit
	}
	return total
}
