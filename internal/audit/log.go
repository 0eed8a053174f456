package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Log appends records. It is safe for concurrent use.
type Log struct {
	now func() time.Time
}

// NewLog returns a Log that dates events without a time by now.
func NewLog(now func() time.Time) *Log { return &Log{now: now} }

// Append adds e to its tenant's chain in the caller's transaction and returns it
// with its place. It locks the end of the chain until tx ends, so records of one
// tenant commit in the order of their sequence numbers.
//
// Text that a database cannot hold (invalid UTF-8, NUL) is replaced by U+FFFD
// before it is hashed.
func (l *Log) Append(ctx context.Context, tx durable.Tx, e Event) (Record, error) {
	if e.Tenant == "" || e.Kind == "" {
		return Record{}, errors.New("append audit record: tenant and kind are required")
	}
	if e.At.IsZero() {
		e.At = l.now()
	}
	r, err := rowOf(e)
	if err != nil {
		return Record{}, fmt.Errorf("append audit record %s: %w", e.Kind, err)
	}
	if err := insert(ctx, tx, &r); err != nil {
		return Record{}, fmt.Errorf("append audit record %s: %w", e.Kind, err)
	}
	return r.record()
}

func insert(ctx context.Context, tx durable.Tx, r *row) error {
	if _, err := tx.Exec(ctx, `INSERT INTO audit_heads (tenant, seq, hash) VALUES ($1, 0, '')
		ON CONFLICT (tenant) DO NOTHING`, r.tenant); err != nil {
		return err
	}
	if err := tx.QueryRow(ctx, `UPDATE audit_heads SET seq = seq + 1 WHERE tenant = $1
		RETURNING seq, hash`, r.tenant).Scan(&r.seq, &r.prev); err != nil {
		return err
	}
	r.hash = r.sum()
	if _, err := tx.Exec(ctx, `INSERT INTO audit (`+columns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`,
		r.tenant, r.seq, r.at, r.kind, r.person, r.personName, r.account, r.conversation, r.delivery,
		r.request, r.digest, r.policyHash, r.outcome, r.detail, r.prev, r.hash); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `UPDATE audit_heads SET hash = $1 WHERE tenant = $2`, r.hash, r.tenant)
	return err
}

const columns = `tenant, seq, at, kind, person, person_name, account, conversation, delivery,
	request, digest, policy_hash, outcome, detail, prev, hash`

func rowOf(e Event) (row, error) {
	account := ""
	if e.Account != (identity.Principal{}) {
		text, err := json.Marshal(e.Account)
		if err != nil {
			return row{}, err
		}
		account = string(text)
	}
	if len(e.Detail) > 0 && !json.Valid(e.Detail) {
		return row{}, errors.New("detail is not JSON")
	}
	return row{
		tenant: storable(string(e.Tenant)), at: durable.Micros(e.At), kind: storable(e.Kind),
		person: e.Person.String(), personName: storable(e.PersonName), account: account,
		conversation: storable(e.Conversation), delivery: storable(e.Delivery),
		request: storable(e.Request), digest: storable(e.Digest),
		policyHash: storable(e.PolicyHash), outcome: storable(e.Outcome),
		detail: storable(string(e.Detail)),
	}, nil
}

func storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}

func (r row) record() (Record, error) {
	e := Event{
		Tenant: tenant.ID(r.tenant), At: durable.Time(r.at), Kind: r.kind, PersonName: r.personName,
		Conversation: r.conversation, Delivery: r.delivery, Request: r.request, Digest: r.digest,
		PolicyHash: r.policyHash, Outcome: r.outcome,
	}
	if r.detail != "" {
		e.Detail = json.RawMessage(r.detail)
	}
	if r.person != "" {
		person, err := identity.ParsePersonID(r.person)
		if err != nil {
			return Record{}, fmt.Errorf("audit record %d: %w", r.seq, err)
		}
		e.Person = person
	}
	if r.account != "" {
		if err := json.Unmarshal([]byte(r.account), &e.Account); err != nil {
			return Record{}, fmt.Errorf("audit record %d: account: %w", r.seq, err)
		}
	}
	return Record{Event: e, Seq: r.seq, Prev: r.prev, Hash: r.hash, stored: r}, nil
}
