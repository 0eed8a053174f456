package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/tenant"
)

// KindCheckpoint is the kind of the record that says which older records
// retention has removed.
const KindCheckpoint = "audit.checkpoint"

// checkpoint vouches for the part of the chain that is gone.
type checkpoint struct {
	Through int64     `json:"through"` // the last sequence number removed
	Hash    string    `json:"hash"`    // of that record
	Newest  time.Time `json:"newest"`  // its time
	Keep    string    `json:"keep"`    // the retention in force
	// Anchor is the removed end signed, when a key is configured: nobody can
	// invent a checkpoint without it.
	Anchor *Anchor `json:"anchor,omitempty"`
}

func checkpointOf(r row) (checkpoint, error) {
	var c checkpoint
	err := json.Unmarshal([]byte(r.detail), &c)
	return c, err
}

// Purge removes the records of a tenant that are older than keep, and puts a
// checkpoint record at the end of the chain, in the caller's transaction, so that
// the rest still verifies. It removes at most 5,000 records and returns how many.
// Records newer than one that is kept stay, whatever their time says.
func (l *Log) Purge(ctx context.Context, tx durable.Tx, id tenant.ID, keep time.Duration, key *Key) (int64, error) {
	const most = 5000
	now := l.now()
	var first, kept int64
	err := tx.QueryRow(ctx, `SELECT COALESCE(MIN(seq), 0) FROM audit WHERE tenant = $1`, string(id)).Scan(&first)
	if err != nil {
		return 0, fmt.Errorf("purge audit records: %w", err)
	}
	err = tx.QueryRow(ctx, `SELECT seq FROM audit WHERE tenant = $1 AND seq < $2 AND at >= $3 ORDER BY seq LIMIT 1`,
		string(id), first+most, durable.Micros(now.Add(-keep))).Scan(&kept)
	if errors.Is(err, durable.ErrNoRows) {
		kept, err = first+most, nil
	}
	if err != nil {
		return 0, fmt.Errorf("purge audit records: %w", err)
	}
	c := checkpoint{Keep: keep.String()}
	var at int64
	err = tx.QueryRow(ctx, `SELECT seq, hash, at FROM audit WHERE tenant = $1 AND seq < $2 ORDER BY seq DESC LIMIT 1`,
		string(id), kept).Scan(&c.Through, &c.Hash, &at)
	if errors.Is(err, durable.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("purge audit records: %w", err)
	}
	c.Newest = durable.Time(at)
	if key != nil {
		signed := key.Sign(Anchor{Head: Head{Tenant: id, Seq: c.Through, Hash: c.Hash}, At: now})
		c.Anchor = &signed
	}
	detail, err := json.Marshal(c)
	if err != nil {
		return 0, fmt.Errorf("purge audit records: %w", err)
	}
	if _, err := l.Append(ctx, tx, Event{Tenant: id, At: now, Kind: KindCheckpoint, Outcome: "ok", Detail: detail}); err != nil {
		return 0, err
	}
	n, err := tx.Exec(ctx, `DELETE FROM audit WHERE tenant = $1 AND seq <= $2`, string(id), c.Through)
	if err != nil {
		return 0, fmt.Errorf("purge audit records: %w", err)
	}
	return n, nil
}
