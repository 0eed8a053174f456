package defendersim

import (
	"fmt"
	"slices"
	"time"
)

// Family groups the calls that share a quota.
type Family string

// The families.
const (
	FamilyAlerts      Family = "alerts"
	FamilyAlertsBatch Family = "alerts batch update"
	FamilyMachines    Family = "machines"
	FamilyActions     Family = "machine actions"
	FamilyHunting     Family = "hunting"
	FamilyPackages    Family = "package links"
)

// Limit is how many calls of a family one application may make.
type Limit struct{ PerMinute, PerHour int }

// DefaultLimits returns Microsoft's documented quotas.
func DefaultLimits() map[Family]Limit {
	return map[Family]Limit{
		FamilyAlerts:      {100, 1500},
		FamilyAlertsBatch: {10, 500},
		FamilyMachines:    {100, 1500},
		FamilyActions:     {100, 1500},
		FamilyHunting:     {45, 1500},
		FamilyPackages:    {2, 120},
		FamilyIndicators:  {100, 1500},
		FamilyEnrichment:  {100, 1500},
		FamilyPosture:     {50, 1500},
		FamilyIncidents:   {50, 1500},
		FamilyDirectory:   {8000, 100000},
	}
}

// quota remembers one application's calls of one family.
type quota struct {
	minute []time.Time // all calls: asking again too early keeps the rate high
	hour   []time.Time // calls that were let through
}

// spend records a call and refuses it when it is over a limit.
func (q *quota) spend(l Limit, now time.Time) *apiError {
	q.minute = recent(q.minute, now.Add(-time.Minute))
	q.hour = recent(q.hour, now.Add(-time.Hour))
	q.minute = append(q.minute, now)
	if n := len(q.minute); n > l.PerMinute {
		return tooMany(l.PerMinute, "00:01:00", q.minute[n-l.PerMinute].Add(time.Minute).Sub(now))
	}
	if n := len(q.hour); n >= l.PerHour {
		return tooMany(l.PerHour, "01:00:00", q.hour[n-l.PerHour].Add(time.Hour).Sub(now))
	}
	q.hour = append(q.hour, now)
	return nil
}

func recent(calls []time.Time, since time.Time) []time.Time {
	i := slices.IndexFunc(calls, func(t time.Time) bool { return t.After(since) })
	if i < 0 {
		return nil
	}
	return calls[i:]
}

func tooMany(limit int, window string, wait time.Duration) *apiError {
	return &apiError{
		status: 429, code: "429", retryAfter: max(wait, time.Second),
		message: fmt.Sprintf("API calls quota exceeded! maximum allowed %d per %s", limit, window),
	}
}
