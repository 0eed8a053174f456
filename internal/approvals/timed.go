package approvals

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/mdebot/mdebot/internal/tenant"
)

// How long an isolation may be planned to last.
const (
	TimedLeast = 15 * time.Minute
	TimedMost  = 7 * 24 * time.Hour
)

// timedForm admits these times in whole minutes, hours or days, and nothing for
// an isolation that has no end.
var timedForm = regexp.MustCompile(`^((1[5-9]|[2-9][0-9]|[1-9][0-9]{2,3})m|([1-9][0-9]?|1[0-5][0-9]|16[0-8])h|[1-7]d)?$`)

var units = []struct {
	mark byte
	unit time.Duration
}{{'d', 24 * time.Hour}, {'h', time.Hour}, {'m', time.Minute}}

// FormatTimed writes how long an isolation is to last, in the largest unit that
// says it whole.
func FormatTimed(d time.Duration) string {
	for _, u := range units {
		if d > 0 && d%u.unit == 0 {
			return fmt.Sprintf("%d%c", d/u.unit, u.mark)
		}
	}
	return ""
}

// Timed is how long what r does is planned to last, or zero. Nothing ends it by
// itself: it is when people are reminded.
func (r Request) Timed() time.Duration {
	text := r.Params["for"]
	if text == "" || !timedForm.MatchString(text) {
		return 0
	}
	n, err := strconv.Atoi(text[:len(text)-1])
	for _, u := range units {
		if u.mark == text[len(text)-1] && err == nil {
			return time.Duration(n) * u.unit
		}
	}
	return 0
}

// Until is when the planned time of a target is over, or zero: before it took
// effect, and where nothing was planned.
func (r Request) Until(t Target) time.Time {
	d := r.Timed()
	if d == 0 || t.State != Succeeded {
		return time.Time{}
	}
	return t.Updated.Add(d)
}

// TimedKept is how far back [Service.Timed] looks: the longest time, what a machine
// may be offline, and a while in which nobody could be reminded.
const TimedKept = TimedMost + 10*24*time.Hour

// Timed lists the requests of which some target has taken effect for a planned time.
func (s *Service) Timed(ctx context.Context, id tenant.ID) ([]Request, error) {
	planned, err := find(ctx, s.db.Read(), id, `action = $2 AND opened > $3 AND params LIKE '%"for":"%' AND params NOT LIKE '%"for":""%'
		AND id IN (SELECT request FROM request_targets WHERE tenant = $1 AND state = 'succeeded')`,
		Isolate, s.now().Add(-TimedKept).UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("list what has a planned end: %w", err)
	}
	return planned, nil
}
