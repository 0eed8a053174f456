package notify

import (
	"context"
	"fmt"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
)

// PostDelays tells for every alert that was posted from since until before until
// how long after its creation at Defender it was first seen in chat.
func PostDelays(ctx context.Context, db durable.DBTX, t tenantID, since, until time.Time) ([]time.Duration, error) {
	rows, err := db.Query(ctx, `
		SELECT MIN(c.posted_at) - a.created_at FROM cards c JOIN alerts a ON a.tenant = c.tenant AND a.id = c.subject_id
		WHERE c.tenant = $1 AND c.subject = 'alert' AND c.posted_at >= $2 AND c.posted_at < $3
		GROUP BY a.id, a.created_at`, string(t), since.UnixMicro(), until.UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("read how long alerts took: %w", err)
	}
	defer rows.Close()
	var all []time.Duration
	for rows.Next() {
		var micros int64
		if err := rows.Scan(&micros); err != nil {
			return nil, err
		}
		all = append(all, time.Duration(micros)*time.Microsecond)
	}
	return all, rows.Err()
}
