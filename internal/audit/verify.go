package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Head is the end of a chain. Kept where mdebot cannot write, it shows later
// that no tail was cut or rewritten.
type Head struct {
	Tenant tenant.ID `json:"tenant"`
	Seq    int64     `json:"seq"`  // 0 = empty chain
	Hash   string    `json:"hash"` // "" for an empty chain
}

// BrokenError reports the first place where a chain is not what was written.
type BrokenError struct {
	Tenant tenant.ID
	Seq    int64
	// Problem says what is wrong there.
	Problem string
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("audit chain of tenant %s is broken at sequence %d: %s", e.Tenant, e.Seq, e.Problem)
}

// Verify walks the whole chain of a tenant and returns its head, or a
// *[BrokenError] with the first bad sequence number. Records that retention has
// removed are vouched for by a checkpoint that is itself in the chain. Heads that
// were known before, if any are given, must lie on the chain. Appends that commit
// while it runs do not disturb it.
func Verify(ctx context.Context, db durable.DBTX, id tenant.ID, known ...Head) (Head, error) {
	// The stored head is read first: records added meanwhile lie beyond it.
	stored, err := ReadHead(ctx, db, id)
	if err != nil {
		return Head{}, err
	}
	w := walk{at: Head{Tenant: id}, known: map[int64][]string{}}
	for _, k := range append(known, stored) {
		if k.Seq > 0 {
			w.known[k.Seq] = append(w.known[k.Seq], k.Hash)
		}
	}
	for r, err := range rows(ctx, db, id, math.MinInt64) {
		if err != nil {
			return Head{}, err
		}
		if err := w.step(r); err != nil {
			return Head{}, err
		}
	}
	if err := w.end(append(known, stored)); err != nil {
		return Head{}, err
	}
	if w.at.Seq > stored.Seq {
		// Either appended meanwhile, and then the head has moved, or put there by
		// somebody else.
		if stored, err = ReadHead(ctx, db, id); err != nil {
			return Head{}, err
		}
		if w.at.Seq > stored.Seq {
			return Head{}, w.broken(stored.Seq+1, "it lies beyond the record that was written last")
		}
	}
	return w.at, nil
}

// walk verifies records in their order.
type walk struct {
	at    Head
	known map[int64][]string // hashes that must lie on the chain
	// base is the end of what retention has removed; vouched says that a
	// checkpoint has been seen that knows it.
	base    Head
	vouched bool
	buf     []byte
}

func (w *walk) broken(seq int64, problem string) error {
	return &BrokenError{Tenant: w.at.Tenant, Seq: seq, Problem: problem}
}

func (w *walk) step(r row) error {
	if w.at.Seq == 0 && r.seq > 1 {
		w.base = Head{Tenant: w.at.Tenant, Seq: r.seq - 1, Hash: r.prev}
		w.at = w.base
	}
	want := w.at.Seq + 1
	w.buf = r.encode(w.buf[:0])
	sum := sha256.Sum256(w.buf)
	switch {
	case r.seq != want:
		return w.broken(want, "the record is missing")
	case r.prev != w.at.Hash:
		return w.broken(want, "it does not follow the record before it")
	case r.hash != hex.EncodeToString(sum[:]):
		return w.broken(want, "its content does not match its hash")
	}
	for _, hash := range w.known[want] {
		if hash != r.hash {
			return w.broken(want, "it is not the record that was written there")
		}
	}
	if r.kind == KindCheckpoint {
		c, err := checkpointOf(r)
		if err != nil {
			return w.broken(want, "the checkpoint cannot be read")
		}
		w.vouched = w.vouched || c.Through == w.base.Seq && c.Hash == w.base.Hash
	}
	w.at.Seq, w.at.Hash = r.seq, r.hash
	return nil
}

func (w *walk) end(known []Head) error {
	if w.base.Seq > 0 && !w.vouched {
		return w.broken(1, fmt.Sprintf("the records up to %d are missing, and no checkpoint says that retention removed them", w.base.Seq))
	}
	for _, k := range known {
		if w.at.Seq < k.Seq {
			return w.broken(w.at.Seq+1, fmt.Sprintf("the records up to %d are missing", k.Seq))
		}
	}
	return nil
}

// Check reports whether a head that was known before still lies on the chain, and
// verifies the records from there to the end. It is what can be afforded at every
// start; [Verify] looks at everything. The error is a *[BrokenError] when the
// chain ends before known or goes another way.
func Check(ctx context.Context, db durable.DBTX, known Head) error {
	if known.Seq == 0 {
		return nil
	}
	stored, err := ReadHead(ctx, db, known.Tenant)
	if err != nil {
		return err
	}
	w := walk{at: Head{Tenant: known.Tenant}}
	if stored.Seq < known.Seq {
		return w.broken(stored.Seq+1, fmt.Sprintf("the records up to %d are missing", known.Seq))
	}
	for r, err := range rows(ctx, db, known.Tenant, known.Seq) {
		switch {
		case err != nil:
			return err
		case w.at.Seq == 0 && r.seq != known.Seq: // removed by retention, or by somebody else
			_, err := Verify(ctx, db, known.Tenant)
			return err
		case w.at.Seq == 0 && r.hash != known.Hash:
			return w.broken(known.Seq, "it is not the record that was written there")
		case w.at.Seq == 0:
			w.at = Head{Tenant: known.Tenant, Seq: r.seq - 1, Hash: r.prev}
		}
		if err := w.step(r); err != nil {
			return err
		}
	}
	return w.end([]Head{known, stored})
}

// ReadHead returns the end of a chain as its writers left it, without looking at
// the records.
func ReadHead(ctx context.Context, db durable.DBTX, id tenant.ID) (Head, error) {
	h := Head{Tenant: id}
	err := db.QueryRow(ctx, `SELECT seq, hash FROM audit_heads WHERE tenant = $1`, string(id)).Scan(&h.Seq, &h.Hash)
	if err != nil && !errors.Is(err, durable.ErrNoRows) {
		return Head{}, fmt.Errorf("read audit head: %w", err)
	}
	return h, nil
}

// Tenants lists the tenants that have a chain, or records without one.
func Tenants(ctx context.Context, db durable.DBTX) ([]tenant.ID, error) {
	found, err := db.Query(ctx, `SELECT tenant FROM audit UNION SELECT tenant FROM audit_heads ORDER BY 1`)
	if err != nil {
		return nil, fmt.Errorf("list audit chains: %w", err)
	}
	defer found.Close()
	var all []tenant.ID
	for found.Next() {
		var id string
		if err := found.Scan(&id); err != nil {
			return nil, fmt.Errorf("list audit chains: %w", err)
		}
		all = append(all, tenant.ID(id))
	}
	return all, found.Err()
}
