package policy

import (
	"regexp"
	"strconv"
	"time"

	"github.com/goccy/go-yaml/ast"
	// Times of day are read where no database of zones is installed, too.
	_ "time/tzdata"
)

// Rhythm is when something happens again and again: every so often, or once a day
// at a time of day.
type Rhythm struct {
	Every time.Duration `json:",omitempty"` // 0 = once a day
	At    string        `json:",omitempty"` // such as 07:30
	Zone  string        `json:",omitempty"` // such as Europe/Berlin

	hour, minute int
	zone         *time.Location
}

// Next is the first time after a moment. A time of day that the zone leaves out or
// has twice, because clocks are set there, counts once that day.
func (r Rhythm) Next(after time.Time) time.Time {
	if r.Every > 0 {
		return after.Add(r.Every)
	}
	local := after.In(r.zone)
	// From the day before: a time that is left out may lie in the day before its own.
	for days := -1; ; days++ {
		t := time.Date(local.Year(), local.Month(), local.Day()+days, r.hour, r.minute, 0, 0, r.zone)
		if t.After(after) {
			return t.UTC()
		}
	}
}

// First is when something begins that is written down now: at once, or at the next
// time of day.
func (r Rhythm) First(now time.Time) time.Time {
	if r.Every > 0 {
		return now
	}
	return r.Next(now)
}

// Last is the latest time of day that is not after now, and the zero time for what
// has none.
func (r Rhythm) Last(now time.Time) (last time.Time) {
	if r.Every > 0 {
		return time.Time{}
	}
	for t := r.Next(now.Add(-2 * day)); !t.After(now); t = r.Next(t) {
		last = t
	}
	return last
}

// String is r in words: "every 1h", or "daily at 07:30 Europe/Berlin".
func (r Rhythm) String() string {
	if r.Every > 0 {
		return "every " + spanText(r.Every)
	}
	return "daily at " + r.At + " " + r.Zone
}

// perHour is how often it happens in an hour.
func (r Rhythm) perHour() float64 {
	if r.Every > 0 {
		return float64(time.Hour) / float64(r.Every)
	}
	return 1.0 / 24
}

func spanText(d time.Duration) string {
	if d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	return short(d)
}

var timeOfDay = regexp.MustCompile(`^([01][0-9]|2[0-3]):([0-5][0-9])$`)

func (f *fileReader) timeOfDay(r *Rhythm) func(ast.Node) {
	return func(n ast.Node) {
		s, ok := f.text(n, "at")
		m := timeOfDay.FindStringSubmatch(s)
		switch {
		case !ok:
		case m == nil:
			f.fault(lineOf(n), "at: %q is no time of day; write one in quotes, from \"00:00\" to \"23:59\"", s)
		default:
			r.At = s
			r.hour, _ = strconv.Atoi(m[1]) // digits
			r.minute, _ = strconv.Atoi(m[2])
		}
	}
}

func (f *fileReader) timeZone(r *Rhythm) func(ast.Node) {
	return func(n ast.Node) {
		s, ok := f.text(n, "zone")
		if !ok {
			return
		}
		// "Local" is whatever the machine says, and differs between replicas.
		zone, err := time.LoadLocation(s)
		if err != nil || s == "" || s == "Local" {
			f.fault(lineOf(n), "zone: %q is no time zone; write one such as Europe/Berlin or UTC", s)
			return
		}
		r.Zone, r.zone = s, zone
	}
}

// daily completes a time of day: its zone is UTC unless the file says another one.
func (r *Rhythm) daily() {
	if r.zone == nil {
		r.Zone, r.zone = "UTC", time.UTC
	}
}
