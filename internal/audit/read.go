package audit

import (
	"context"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Records yields the records of a tenant from sequence number from on, in order,
// without verifying them. No statement is open while the caller works on one.
func Records(ctx context.Context, db durable.DBTX, id tenant.ID, from int64) iter.Seq2[Record, error] {
	return recordsOf(rows(ctx, db, id, from))
}

// Between yields the records of a tenant that are dated from since until before
// until, in order, without verifying them. A zero time is no bound.
func Between(ctx context.Context, db durable.DBTX, id tenant.ID, since, until time.Time) iter.Seq2[Record, error] {
	last := int64(math.MaxInt64)
	if !until.IsZero() {
		last = durable.Micros(until)
	}
	return recordsOf(pages(ctx, db, math.MinInt64, `tenant = $1 AND seq >= $2 AND at >= $4 AND at < $5`,
		string(id), durable.Micros(since), last))
}

// OfRequest yields the records about one approval request, in order.
func OfRequest(ctx context.Context, db durable.DBTX, id tenant.ID, request string) iter.Seq2[Record, error] {
	return recordsOf(pages(ctx, db, math.MinInt64, `tenant = $1 AND seq >= $2 AND request = $4`, string(id), request))
}

func recordsOf(rows iter.Seq2[row, error]) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for r, err := range rows {
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

// Columns is a record exactly as it is stored, so that its hash can be computed
// again by somebody else. Times are microseconds since 1970.
type Columns struct {
	Tenant       string `json:"tenant"`
	Seq          int64  `json:"seq"`
	At           int64  `json:"at"`
	Kind         string `json:"kind"`
	Person       string `json:"person"`
	PersonName   string `json:"person_name"`
	Account      string `json:"account"`
	Conversation string `json:"conversation"`
	Delivery     string `json:"delivery"`
	Request      string `json:"request"`
	Digest       string `json:"digest"`
	PolicyHash   string `json:"policy_hash"`
	Outcome      string `json:"outcome"`
	Detail       string `json:"detail"`
	Prev         string `json:"prev"`
	Hash         string `json:"hash"`
}

// Columns returns r as stored.
func (r Record) Columns() Columns {
	s := r.stored
	return Columns{
		Tenant: s.tenant, Seq: s.seq, At: s.at, Kind: s.kind, Person: s.person, PersonName: s.personName, Account: s.account,
		Conversation: s.conversation, Delivery: s.delivery, Request: s.request, Digest: s.digest, PolicyHash: s.policyHash,
		Outcome: s.outcome, Detail: s.detail, Prev: s.prev, Hash: s.hash,
	}
}

const pageSize = 500

func rows(ctx context.Context, db durable.DBTX, id tenant.ID, from int64) iter.Seq2[row, error] {
	return pages(ctx, db, from, `tenant = $1 AND seq >= $2`, string(id))
}

// pages reads rows a page at a time: no statement is open while the caller works
// on a row. In where, $1 is the tenant, $2 where a page begins and $3 its size;
// more follow from $4 on.
func pages(ctx context.Context, db durable.DBTX, from int64, where, id string, more ...any) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		page := make([]row, 0, pageSize)
		for {
			var err error
			page, err = readPage(ctx, db, page[:0], where, append([]any{id, from, int64(pageSize)}, more...))
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

func readPage(ctx context.Context, db durable.DBTX, page []row, where string, args []any) ([]row, error) {
	found, err := db.Query(ctx, `SELECT `+columns+` FROM audit WHERE `+where+` ORDER BY seq LIMIT $3`, args...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
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
