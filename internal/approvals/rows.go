package approvals

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/tenant"
)

const requestColumns = `id, number, tenant, action, params, requester, requester_name, requester_as,
	origin, origin_thread, reason, rule, policy_hash, nonce, digest, state, version,
	opened, expires, decided, execute_by, closed, reminded, why`

const targetColumns = `request, idx, kind, target, name, facts, state, generation, lease_owner, lease_until,
	intent_at, unclear_at, due, attempts, settled, machine_action, action_status, why, updated`

// The conditions of the partial indexes. SQLite uses one only for a query that says the
// same in the same words, also where that follows from what else the query says.
const (
	unfinished = `state IN ('pending', 'approved', 'executing', 'submitted', 'unknown')`
	driven     = `state IN ('approved', 'executing')` // of targets that a holder has or is to get
)

// find reads the requests of one tenant that where selects, in the order of
// their numbers. where uses $2 and up.
func find(ctx context.Context, db durable.DBTX, id tenant.ID, where string, args ...any) ([]Request, error) {
	args = append([]any{string(id)}, args...)
	where = "tenant = $1 AND " + where
	var found []Request
	err := each(ctx, db, `SELECT `+requestColumns+` FROM requests WHERE `+where+` ORDER BY number`, args, func(row durable.Row) error {
		r, err := scanRequest(row)
		found = append(found, r)
		return err
	})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	byID := make(map[string]*Request, len(found))
	for i := range found {
		byID[found[i].ID] = &found[i]
	}
	theirs := ` WHERE tenant = $1 AND request IN (SELECT id FROM requests WHERE ` + where + `) `
	err = each(ctx, db, `SELECT `+targetColumns+` FROM request_targets`+theirs+`ORDER BY request, idx`, args, func(row durable.Row) error {
		request, t, err := scanTarget(row)
		if r := byID[request]; r != nil {
			r.Targets = append(r.Targets, t)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = each(ctx, db, `SELECT request, person, name, account, deny, reason, digest, at FROM votes`+theirs+`ORDER BY request, at, person`, args, func(row durable.Row) error {
		request, v, err := scanVote(row)
		if r := byID[request]; r != nil {
			r.Votes = append(r.Votes, v)
		}
		return err
	})
	return found, err
}

// load reads one request, or returns a refusal with [ErrNotFound].
func load(ctx context.Context, db durable.DBTX, id tenant.ID, request string) (Request, error) {
	found, err := find(ctx, db, id, `id = $2`, request)
	if err != nil {
		return Request{}, fmt.Errorf("read request %s: %w", request, err)
	}
	if len(found) == 0 {
		return Request{}, refuse(ErrNotFound, "There is no such request.", "See the open ones with requests.")
	}
	return found[0], nil
}

// effects are targets of the last day that took effect, or still may.
type effects struct {
	action    string
	params    map[string]string
	rule      policy.Applied
	requester identity.PersonID
	lastHour  bool
	targets   int
}

// recentEffects counts them by what they have in common.
func recentEffects(ctx context.Context, db durable.DBTX, id tenant.ID, now time.Time) ([]effects, error) {
	var found []effects
	err := each(ctx, db, `
		SELECT r.action, r.params, r.rule, r.requester, CASE WHEN r.opened > $1 THEN 1 ELSE 0 END AS last_hour, COUNT(*)
		FROM requests r JOIN request_targets t ON t.tenant = r.tenant AND t.request = r.id
		WHERE r.tenant = $2 AND r.opened > $3 AND t.state NOT IN ('denied', 'withdrawn', 'expired', 'void')
		GROUP BY r.action, r.params, r.rule, r.requester, last_hour`,
		[]any{durable.Micros(now.Add(-time.Hour)), string(id), durable.Micros(now.Add(-24 * time.Hour))}, func(row durable.Row) error {
			var e effects
			var params, rule, requester string
			var lastHour int64
			err := row.Scan(&e.action, &params, &rule, &requester, &lastHour, &e.targets)
			if err != nil {
				return err
			}
			e.lastHour = lastHour != 0
			e.requester, err = identity.ParsePersonID(requester)
			found = append(found, e)
			last := &found[len(found)-1]
			return errors.Join(err, json.Unmarshal([]byte(params), &last.params), json.Unmarshal([]byte(rule), &last.rule))
		})
	return found, err
}

func each(ctx context.Context, db durable.DBTX, query string, args []any, fn func(durable.Row) error) error {
	rows, err := db.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func scanRequest(row durable.Row) (Request, error) {
	var r Request
	var params, requester, as, rule string
	var opened, expires, decided, executeBy, closed int64
	if err := row.Scan(&r.ID, &r.Number, &r.Tenant, &r.Action, &params, &requester, &r.RequesterName, &as,
		&r.Origin, &r.OriginThread, &r.Reason, &rule, &r.PolicyHash, &r.Nonce, &r.Digest, &r.State, &r.Version,
		&opened, &expires, &decided, &executeBy, &closed, &r.Reminders, &r.Why); err != nil {
		return Request{}, err
	}
	var err error
	r.Requester, err = identity.ParsePersonID(requester)
	err = errors.Join(err,
		json.Unmarshal([]byte(params), &r.Params),
		json.Unmarshal([]byte(as), &r.RequesterAs),
		json.Unmarshal([]byte(rule), &r.Rule))
	if err != nil {
		return Request{}, fmt.Errorf("request %s: %w", r.ID, err)
	}
	r.Opened, r.Expires = durable.Time(opened), durable.Time(expires)
	r.DecidedAt, r.ExecuteBy, r.Closed = durable.Time(decided), durable.Time(executeBy), durable.Time(closed)
	return r, nil
}

func scanTarget(row durable.Row) (request string, t Target, err error) {
	var facts string
	var index, attempts, settled, leaseUntil, intentAt, unclearAt, due, updated int64
	if err := row.Scan(&request, &index, &t.Kind, &t.ID, &t.Name, &facts, &t.State, &t.Generation,
		&t.LeaseOwner, &leaseUntil, &intentAt, &unclearAt, &due, &attempts, &settled,
		&t.MachineAction, &t.ActionStatus, &t.Why, &updated); err != nil {
		return "", Target{}, err
	}
	t.Index, t.Attempts, t.Settled = int(index), int(attempts), int(settled)
	if facts != "" {
		t.Facts = []byte(facts)
	}
	t.LeaseUntil, t.IntentAt, t.UnclearAt = durable.Time(leaseUntil), durable.Time(intentAt), durable.Time(unclearAt)
	t.Due, t.Updated = durable.Time(due), durable.Time(updated)
	return request, t, nil
}

func scanVote(row durable.Row) (request string, v Vote, err error) {
	var person, account string
	var deny, at int64
	if err := row.Scan(&request, &person, &v.Name, &account, &deny, &v.Reason, &v.Digest, &at); err != nil {
		return "", Vote{}, err
	}
	v.By, err = identity.ParsePersonID(person)
	if err = errors.Join(err, json.Unmarshal([]byte(account), &v.As)); err != nil {
		return "", Vote{}, fmt.Errorf("vote on request %s: %w", request, err)
	}
	v.Deny, v.At = deny != 0, durable.Time(at)
	return request, v, nil
}

func insertRequest(ctx context.Context, tx durable.Tx, r Request, family string) error {
	params, err := json.Marshal(r.Params)
	if err != nil {
		return err
	}
	as, err := json.Marshal(r.RequesterAs)
	if err != nil {
		return err
	}
	rule, err := json.Marshal(r.Rule)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO requests (`+requestColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, 0, 0, 0, 0, '')`,
		r.ID, r.Number, string(r.Tenant), r.Action, string(params), r.Requester.String(), r.RequesterName, string(as),
		r.Origin, r.OriginThread, r.Reason, string(rule), r.PolicyHash, r.Nonce, r.Digest, string(r.State), r.Version,
		durable.Micros(r.Opened), durable.Micros(r.Expires)); err != nil {
		return err
	}
	for _, t := range r.Targets {
		if _, err := tx.Exec(ctx, `INSERT INTO request_targets (tenant, family, `+targetColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, '', 0, 0, 0, 0, 0, 0, '', '', '', $10)`,
			string(r.Tenant), family, r.ID, int64(t.Index), string(t.Kind), t.ID, t.Name, string(t.Facts), string(t.State),
			durable.Micros(t.Updated)); err != nil {
			return err
		}
	}
	return nil
}

// updateRequest writes what can change of a request, if it is still as was says.
func updateRequest(ctx context.Context, tx durable.Tx, was, r Request) error {
	n, err := tx.Exec(ctx, `UPDATE requests SET state = $1, version = $2, decided = $3, execute_by = $4,
		closed = $5, reminded = $6, why = $7
		WHERE tenant = $8 AND id = $9 AND state = $10 AND version = $11`,
		string(r.State), r.Version, durable.Micros(r.DecidedAt), durable.Micros(r.ExecuteBy),
		durable.Micros(r.Closed), r.Reminders, r.Why,
		string(r.Tenant), r.ID, string(was.State), was.Version)
	return oneRow(n, err)
}

func updateTarget(ctx context.Context, tx durable.Tx, r Request, was, t Target) error {
	n, err := tx.Exec(ctx, `UPDATE request_targets SET state = $1, generation = $2, lease_owner = $3, lease_until = $4,
		intent_at = $5, unclear_at = $6, due = $7, attempts = $8, settled = $9, machine_action = $10,
		action_status = $11, why = $12, updated = $13
		WHERE tenant = $14 AND request = $15 AND idx = $16 AND state = $17 AND generation = $18 AND lease_owner = $19`,
		string(t.State), t.Generation, t.LeaseOwner, durable.Micros(t.LeaseUntil),
		durable.Micros(t.IntentAt), durable.Micros(t.UnclearAt), durable.Micros(t.Due), int64(t.Attempts), int64(t.Settled),
		t.MachineAction, t.ActionStatus, t.Why, durable.Micros(t.Updated),
		string(r.Tenant), r.ID, int64(t.Index), string(was.State), was.Generation, was.LeaseOwner)
	return oneRow(n, err)
}

// putVote stores v. A denial replaces the same person's approval; the audit
// record keeps both.
func putVote(ctx context.Context, tx durable.Tx, r Request, v Vote) error {
	account, err := json.Marshal(v.As)
	if err != nil {
		return err
	}
	deny := int64(0)
	if v.Deny {
		deny = 1
	}
	n, err := tx.Exec(ctx, `INSERT INTO votes (tenant, request, person, name, account, deny, reason, digest, at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (tenant, request, person) DO UPDATE SET name = excluded.name, account = excluded.account,
			deny = excluded.deny, reason = excluded.reason, digest = excluded.digest, at = excluded.at
		WHERE votes.deny = 0 AND excluded.deny = 1`,
		string(r.Tenant), r.ID, v.By.String(), v.Name, string(account), deny, v.Reason, v.Digest, durable.Micros(v.At))
	return oneRow(n, err)
}

func oneRow(n int64, err error) error {
	if err == nil && n != 1 {
		return errors.New("the row is not in the state it was read in")
	}
	return err
}

// storable replaces what a database cannot hold, so that the stored text is the
// one that was hashed.
func storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}
