package notify

import (
	"context"
	"errors"
	"time"

	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
)

// isolationPass looks at isolations and releases, whoever started them. An
// action that waits for an offline machine can change for three days.
var isolationPass = pass{"isolation", 30 * time.Second, 73 * time.Hour}

// lookAtIsolations remembers isolations and releases and lets the cards of open
// alerts follow what a machine's isolation has become. It is no look at alerts:
// whether the bot is blind does not depend on it.
func (n *Notifier) lookAtIsolations(ctx context.Context, w *watch) error {
	lastOK, l, err := n.claimPass(ctx, w.Tenant, isolationPass, n.now())
	if err != nil || l == nil {
		return err
	}
	start := n.now()
	f := defender.ActionFilter{Types: []defender.MachineActionType{defender.Isolate, defender.Unisolate}}
	if !lastOK.IsZero() {
		f.CreatedSince = lastOK.Add(-isolationPass.overlap)
	}
	held, stop := l.keep(ctx)
	actions, err := readActions(held, w, f)
	stop()
	if err := lost(held); err != nil {
		return err
	}
	done := context.WithoutCancel(ctx)
	if err == nil {
		err = n.rememberIsolations(done, w.Tenant, actions)
	}
	if err != nil {
		// Cards go on without it, so this is no reason for alarm.
		n.log.WarnContext(ctx, "isolations not read", "tenant_id", w.Tenant, "error", err)
		return n.passFailed(done, w.Tenant, isolationPass, l, err)
	}
	return n.db.InTx(done, func(tx durable.Tx) error {
		if _, err := tx.Exec(done, `
			UPDATE pollers SET next_at = $1, last_ok = $2, lease_until = 0, problem = ''
			WHERE tenant = $3 AND pass = $4 AND lease_owner = $5`,
			start.Add(isolationPass.every).UnixMicro(), start.UnixMicro(), string(w.Tenant), isolationPass.name, l.owner); err != nil {
			return err
		}
		if !lastOK.IsZero() {
			return nil
		}
		// Until this look, cards could not tell that a machine is not isolated.
		return n.redrawWhere(done, tx, `subject_id IN (SELECT id FROM alerts WHERE tenant = $1 AND machine <> '' AND status <> 'Resolved')`,
			string(w.Tenant), string(SubjectAlert))
	})
}

// readActions reads the actions that f lists. One that cannot be read hides no
// other.
func readActions(ctx context.Context, w *watch, f defender.ActionFilter) ([]defender.MachineAction, error) {
	var all []defender.MachineAction
	for a, err := range w.Source.MachineActions(ctx, f) {
		var unreadable *defender.RecordError
		switch {
		case errors.As(err, &unreadable):
		case err != nil:
			return nil, err
		case a.MachineID != "":
			all = append(all, a)
		}
	}
	return all, nil
}

// rememberIsolations stores actions and redraws the open alerts of the machines
// whose isolation they change.
func (n *Notifier) rememberIsolations(ctx context.Context, t tenantID, actions []defender.MachineAction) error {
	of := map[string][]defender.MachineAction{}
	for _, a := range actions {
		of[a.MachineID] = append(of[a.MachineID], a)
	}
	for machine, fresh := range of {
		if err := n.db.InTx(ctx, func(tx durable.Tx) error { return n.rememberMachine(ctx, tx, t, machine, fresh) }); err != nil {
			return err
		}
	}
	return nil
}

func (n *Notifier) rememberMachine(ctx context.Context, tx durable.Tx, t tenantID, machine string, fresh []defender.MachineAction) error {
	before, err := isolationOf(ctx, tx, t, machine)
	if err != nil {
		return err
	}
	for _, a := range fresh {
		if _, err := tx.Exec(ctx, `
			INSERT INTO isolations (tenant, id, machine, type, status, scope, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (tenant, id) DO UPDATE SET status = $5, scope = $6, updated_at = $8`,
			string(t), a.ID, machine, string(a.Type), string(a.Status), a.Scope, durable.Micros(a.Created), durable.Micros(a.Updated)); err != nil {
			return err
		}
	}
	after, err := isolationOf(ctx, tx, t, machine)
	if err != nil || after.State == before.State {
		return err
	}
	alerts, err := openAlertsOf(ctx, tx, t, machine)
	if err != nil {
		return err
	}
	for _, id := range alerts {
		if err := n.redraw(ctx, tx, t, SubjectAlert, id); err != nil {
			return err
		}
	}
	return nil
}

func openAlertsOf(ctx context.Context, db durable.DBTX, t tenantID, machine string) ([]string, error) {
	rows, err := db.Query(ctx, `SELECT id FROM alerts WHERE tenant = $1 AND machine = $2 AND status <> 'Resolved'`, string(t), machine)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// isolationOf is what is remembered of a machine.
func isolationOf(ctx context.Context, db durable.DBTX, t tenantID, machine string) (defender.Isolation, error) {
	rows, err := db.Query(ctx, `SELECT id, type, status, scope, created_at, updated_at FROM isolations WHERE tenant = $1 AND machine = $2`, string(t), machine)
	if err != nil {
		return defender.Isolation{}, err
	}
	defer rows.Close()
	var actions []defender.MachineAction
	for rows.Next() {
		var a defender.MachineAction
		var created, updated int64
		if err := rows.Scan(&a.ID, (*string)(&a.Type), (*string)(&a.Status), &a.Scope, &created, &updated); err != nil {
			return defender.Isolation{}, err
		}
		a.Created, a.Updated = durable.Time(created), durable.Time(updated)
		actions = append(actions, a)
	}
	return defender.IsolationOf(actions), rows.Err()
}

// isolation is what a card may say about a machine; ok is false until somebody
// has looked.
func (n *Notifier) isolation(ctx context.Context, t tenantID, machine string) (_ defender.Isolation, ok bool, err error) {
	if machine == "" {
		return defender.Isolation{}, false, nil
	}
	looked, err := n.lookedAtIsolations(ctx, n.db.Read(), t)
	if err != nil || looked.IsZero() {
		return defender.Isolation{}, false, err
	}
	i, err := isolationOf(ctx, n.db.Read(), t, machine)
	return i, err == nil, err
}

// lookedAtIsolations is when isolations were last read, or zero.
func (n *Notifier) lookedAtIsolations(ctx context.Context, db durable.DBTX, t tenantID) (time.Time, error) {
	var lastOK int64
	err := db.QueryRow(ctx, `SELECT last_ok FROM pollers WHERE tenant = $1 AND pass = $2`, string(t), isolationPass.name).Scan(&lastOK)
	if errors.Is(err, durable.ErrNoRows) {
		return time.Time{}, nil
	}
	return durable.Time(lastOK), err
}

// lookAgain makes the next look at isolations due at once.
func (n *Notifier) lookAgain(ctx context.Context, tx durable.Tx, t tenantID) error {
	_, err := tx.Exec(ctx, `UPDATE pollers SET next_at = 0 WHERE tenant = $1 AND pass = $2`, string(t), isolationPass.name)
	return err
}
