package approvals

import (
	"context"
	"fmt"
	"time"

	"github.com/mdebot/mdebot/internal/tenant"
)

// longestExpiry is how far ahead an indicator's end may be.
const longestExpiry = 190 * 24 * time.Hour

// Ends is when what r has brought about ends by itself, or zero.
func (r Request) Ends() time.Time {
	at, err := time.Parse(time.RFC3339, r.Params["expires"])
	if err != nil {
		return time.Time{}
	}
	return at
}

// Expiring lists the requests whose effect ends by itself and has not ended yet.
func (s *Service) Expiring(ctx context.Context, id tenant.ID) ([]Request, error) {
	now := s.now()
	blocks, err := find(ctx, s.db.Read(), id, `action = $2 AND state IN ('succeeded', 'failed') AND opened > $3`,
		Block, now.Add(-longestExpiry).UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("list what expires: %w", err)
	}
	var ending []Request
	for _, r := range blocks {
		took := false
		for _, t := range r.Targets {
			took = took || t.State == Succeeded
		}
		if took && r.Ends().After(now) {
			ending = append(ending, r)
		}
	}
	return ending, nil
}
