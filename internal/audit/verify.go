package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Head is the end of a chain. Kept where mdebot cannot write, it shows later
// that no tail was cut or rewritten.
type Head struct {
	Tenant tenant.ID
	Seq    int64  // 0 = empty chain
	Hash   string // "" for an empty chain
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
// *[BrokenError] with the first bad sequence number. Appends that commit while it
// runs do not disturb it.
func Verify(ctx context.Context, db durable.DBTX, id tenant.ID) (Head, error) {
	// The stored head is read first: records added meanwhile lie beyond it.
	stored, err := ReadHead(ctx, db, id)
	if err != nil {
		return Head{}, err
	}
	at := Head{Tenant: id}
	for r, err := range rows(ctx, db, id, math.MinInt64) {
		if err != nil {
			return Head{}, err
		}
		switch want := at.Seq + 1; {
		case r.seq != want:
			return Head{}, &BrokenError{Tenant: id, Seq: want, Problem: "the record is missing"}
		case r.prev != at.Hash:
			return Head{}, &BrokenError{Tenant: id, Seq: want, Problem: "it does not follow the record before it"}
		case r.hash != r.sum():
			return Head{}, &BrokenError{Tenant: id, Seq: want, Problem: "its content does not match its hash"}
		case want == stored.Seq && r.hash != stored.Hash:
			return Head{}, &BrokenError{Tenant: id, Seq: want, Problem: "it is not the record that was written last"}
		}
		at.Seq, at.Hash = r.seq, r.hash
	}
	if at.Seq < stored.Seq {
		return Head{}, &BrokenError{Tenant: id, Seq: at.Seq + 1, Problem: fmt.Sprintf("the records up to %d are missing", stored.Seq)}
	}
	if at.Seq > stored.Seq {
		// Either appended meanwhile, and then the head has moved, or put there by
		// somebody else.
		if stored, err = ReadHead(ctx, db, id); err != nil {
			return Head{}, err
		}
		if at.Seq > stored.Seq {
			return Head{}, &BrokenError{Tenant: id, Seq: stored.Seq + 1, Problem: "it lies beyond the record that was written last"}
		}
	}
	return at, nil
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

// Records yields the records of a tenant from sequence number from on, in order,
// without verifying them. No statement is open while the caller works on one.
func Records(ctx context.Context, db durable.DBTX, id tenant.ID, from int64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for r, err := range rows(ctx, db, id, from) {
			if err != nil {
				yield(Record{}, err)
				return
			}
			record, err := r.record()
			if !yield(record, err) || err != nil {
				return
			}
		}
	}
}

const pageSize = 500

func rows(ctx context.Context, db durable.DBTX, id tenant.ID, from int64) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		for {
			page, err := readPage(ctx, db, id, from)
			if err != nil {
				yield(row{}, fmt.Errorf("read audit records: %w", err))
				return
			}
			for _, r := range page {
				if !yield(r, nil) {
					return
				}
			}
			if len(page) < pageSize {
				return
			}
			from = page[len(page)-1].seq + 1
		}
	}
}

func readPage(ctx context.Context, db durable.DBTX, id tenant.ID, from int64) ([]row, error) {
	found, err := db.Query(ctx, `SELECT `+columns+` FROM audit
		WHERE tenant = $1 AND seq >= $2 ORDER BY seq LIMIT $3`, string(id), from, int64(pageSize))
	if err != nil {
		return nil, err
	}
	defer found.Close()
	var page []row
	for found.Next() {
		var r row
		if err := found.Scan(&r.tenant, &r.seq, &r.at, &r.kind, &r.person, &r.personName, &r.account,
			&r.conversation, &r.delivery, &r.request, &r.digest, &r.policyHash, &r.outcome,
			&r.detail, &r.prev, &r.hash); err != nil {
			return nil, err
		}
		page = append(page, r)
	}
	return page, found.Err()
}
