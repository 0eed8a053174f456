package approvals

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/durable"
)

// KindRestored is the kind of the audit record that says that the database is not
// the one whose audit head was sent outside.
const KindRestored = "audit.restored"

type restoredDetail struct {
	Anchor  audit.Head `json:"anchor"`
	Found   audit.Head `json:"found"`
	Problem string     `json:"problem"`
	Voided  []string   `json:"voided,omitempty"`
}

// Restored makes a tenant safe whose database was put back or cut: denials,
// withdrawals and executions that it no longer knows may have happened. Every
// target that was not claimed becomes void, and actions are frozen by mdebot
// itself, until two people end that as they end any freeze. What had been claimed
// is looked up at Defender as always.
//
// It may be called again and again with the same known head: later calls change
// nothing and report whether the freeze has been ended since.
func (s *Service) Restored(ctx context.Context, known audit.Head, problem string) (accepted bool, err error) {
	err = s.db.InTx(ctx, func(tx durable.Tx) error {
		accepted = false
		done, err := restoredBefore(ctx, tx, known)
		if err != nil {
			return err
		}
		earlier, err := freezeOf(ctx, tx, known.Tenant)
		if err != nil {
			return err
		}
		if done {
			accepted = !earlier.On()
			return nil
		}
		return s.restored(ctx, tx, known, problem, earlier)
	})
	if err != nil {
		return false, fmt.Errorf("stop a restored database: %w", err)
	}
	return accepted, nil
}

func (s *Service) restored(ctx context.Context, tx durable.Tx, known audit.Head, problem string, earlier Freeze) error {
	f := Freeze{Tenant: known.Tenant, ByName: "mdebot", Reason: storable(problem), Since: s.now()}
	if earlier.On() {
		f.Reason += " " + frozenWords(earlier)
		if _, err := tx.Exec(ctx, `UPDATE freezes SET since = 0 WHERE tenant = $1`, string(known.Tenant)); err != nil {
			return err
		}
	}
	if _, err := beginFreeze(ctx, tx, f); err != nil {
		return err
	}
	found, err := audit.ReadHead(ctx, tx, known.Tenant)
	if err != nil {
		return err
	}
	detail := restoredDetail{Anchor: known, Found: found, Problem: problem}
	live, err := find(ctx, tx, known.Tenant, unfinished)
	if err != nil {
		return err
	}
	for _, r := range live {
		detail.Voided = append(detail.Voided, r.ID)
	}
	// First, so that the record stands before those of the requests.
	if err := s.record(ctx, tx, Request{Tenant: known.Tenant}, f.Since, KindRestored, "refused", actor{}, detail); err != nil {
		return err
	}
	for _, r := range live {
		if err := s.changeIn(ctx, tx, known.Tenant, r.ID, func(e *edit) error { return e.voidAll(ctx, problem) }); err != nil {
			return err
		}
	}
	return s.tell.FreezeChanged(ctx, tx, f, nil)
}

// voidAll ends what has not been claimed.
func (e *edit) voidAll(ctx context.Context, why string) error {
	e.change = ChangeFreeze
	open := 0
	for _, t := range e.r.Targets {
		if t.State != Pending && t.State != Approved {
			continue
		}
		open++
		if err := e.record(ctx, "target.void", "refused", actor{}, voidDetail{Target: t.ID, Why: why}); err != nil {
			return err
		}
	}
	if open > 0 {
		e.stop(Void, why)
	}
	return nil
}

// restoredBefore reports whether the tenant was stopped for this head already.
func restoredBefore(ctx context.Context, tx durable.Tx, known audit.Head) (bool, error) {
	var text string
	err := tx.QueryRow(ctx, `SELECT detail FROM audit WHERE tenant = $1 AND kind = $2 ORDER BY seq DESC LIMIT 1`,
		string(known.Tenant), KindRestored).Scan(&text)
	if errors.Is(err, durable.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var d restoredDetail
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return false, fmt.Errorf("read how it was stopped before: %w", err)
	}
	return d.Anchor == known, nil
}
