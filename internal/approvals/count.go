package approvals

import (
	"context"
	"fmt"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
)

// Counts is what a database holds, over all tenants.
type Counts struct {
	Requests map[State]int64
	// Oldest is when the oldest request in each state was opened, of those that
	// are not closed.
	Oldest map[State]time.Time
	// Effects are targets that were sent at least once, by their state.
	Effects         map[State]int64
	Approve, Denied int64 // votes
}

// Count counts.
func Count(ctx context.Context, db durable.DBTX) (Counts, error) {
	c := Counts{Requests: map[State]int64{}, Effects: map[State]int64{}, Oldest: map[State]time.Time{}}
	for query, add := range map[string]func(key string, n int64){
		`SELECT state, COUNT(*) FROM requests GROUP BY state`:                           func(key string, n int64) { c.Requests[State(key)] = n },
		`SELECT state, MIN(opened) FROM requests WHERE closed = 0 GROUP BY state`:       func(key string, n int64) { c.Oldest[State(key)] = durable.Time(n) },
		`SELECT state, COUNT(*) FROM request_targets WHERE attempts > 0 GROUP BY state`: func(key string, n int64) { c.Effects[State(key)] = n },
		`SELECT CASE WHEN deny = 0 THEN 'approve' ELSE 'deny' END AS vote, COUNT(*) FROM votes GROUP BY vote`: func(key string, n int64) {
			if key == "approve" {
				c.Approve = n
			} else {
				c.Denied = n
			}
		},
	} {
		if err := each(ctx, db, query, nil, func(row durable.Row) error {
			var key string
			var n int64
			err := row.Scan(&key, &n)
			add(key, n)
			return err
		}); err != nil {
			return Counts{}, fmt.Errorf("count requests: %w", err)
		}
	}
	return c, nil
}
