package seal

import (
	"context"
	"errors"
	"fmt"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/failpoint"
)

// Column is a column that is kept sealed.
type Column struct {
	Table, Name string
	// Row is the column that, with tenant, names a row.
	Row string
}

// Place is where the column keeps its text for a row.
func (c Column) Place(tenant, row string) Place {
	return Place{Column: c.Table + "." + c.Name, Tenant: tenant, Row: row}
}

// Prepare makes every text of the columns one that the first key wrote: what is
// plain, or written with an older key, is written again. Afterwards the older keys
// are not needed. It fails with a *[MissingKeyError] when data was written with a
// key that is not given, also when no key is given at all.
//
// It has to run before anything else uses the database. While it writes, another
// process on the same database must know the first key.
func Prepare(ctx context.Context, db durable.DB, keys Keys, columns []Column) error {
	ctx = failpoint.Step(ctx, failpoint.KeyRotated)
	used, err := usedKeys(ctx, db.Read())
	if err != nil {
		return err
	}
	plain := true // until a key has been through once
	for id, done := range used {
		if _, ok := keys.byID[id]; !ok {
			return &MissingKeyError{ID: id}
		}
		plain = plain && !done
	}
	if !keys.On() || len(used) == 1 && used[keys.write] {
		return nil
	}
	// The key is noted first: from here on there may be data that needs it.
	if err := note(ctx, db, `INSERT INTO data_keys (id, done) VALUES ($1, 0) ON CONFLICT (id) DO NOTHING`, keys.write); err != nil {
		return err
	}
	for _, c := range columns {
		if err := c.rewrite(ctx, db, keys, plain); err != nil {
			return fmt.Errorf("encrypt %s.%s: %w", c.Table, c.Name, err)
		}
	}
	return errors.Join(
		note(ctx, db, `UPDATE data_keys SET done = 1 WHERE id = $1`, keys.write),
		note(ctx, db, `DELETE FROM data_keys WHERE id <> $1`, keys.write))
}

func note(ctx context.Context, db durable.DB, query, id string) error {
	err := db.InTx(ctx, func(tx durable.Tx) error {
		_, err := tx.Exec(ctx, query, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("note the data key: %w", err)
	}
	return nil
}

// usedKeys are the IDs of keys that data may need, and whether all of it was
// written with that key once.
func usedKeys(ctx context.Context, db durable.DBTX) (map[string]bool, error) {
	rows, err := db.Query(ctx, `SELECT id, done FROM data_keys`)
	if err != nil {
		return nil, fmt.Errorf("read which data keys are in use: %w", err)
	}
	defer rows.Close()
	used := map[string]bool{}
	for rows.Next() {
		var id string
		var done int64
		if err := rows.Scan(&id, &done); err != nil {
			return nil, err
		}
		used[id] = done != 0
	}
	return used, rows.Err()
}

type cell struct{ tenant, row, text string }

// rewrite goes through the column in steps, each a transaction of its own. An
// interrupted run is taken up by the next start.
func (c Column) rewrite(ctx context.Context, db durable.DB, keys Keys, plain bool) error {
	const step = 200
	var after cell
	for {
		var cells []cell
		err := db.InTx(ctx, func(tx durable.Tx) (err error) {
			if cells, err = c.read(ctx, tx, after, step); err != nil {
				return err
			}
			for _, cell := range cells {
				if err := c.again(ctx, tx, keys, cell, plain); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || len(cells) < step {
			return err
		}
		after = cells[len(cells)-1]
	}
}

func (c Column) read(ctx context.Context, tx durable.Tx, after cell, step int) ([]cell, error) {
	rows, err := tx.Query(ctx, `SELECT tenant, `+c.Row+`, `+c.Name+` FROM `+c.Table+`
		WHERE tenant > $1 OR tenant = $1 AND `+c.Row+` > $2 ORDER BY tenant, `+c.Row+` LIMIT $3`, after.tenant, after.row, step)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var cells []cell
	for rows.Next() {
		var one cell
		if err := rows.Scan(&one.tenant, &one.row, &one.text); err != nil {
			return nil, err
		}
		cells = append(cells, one)
	}
	return cells, rows.Err()
}

// again writes one cell with the first key. Plain text counts only while no key
// has been in use: later it was put there by somebody else.
func (c Column) again(ctx context.Context, tx durable.Tx, keys Keys, one cell, plain bool) error {
	place := c.Place(one.tenant, one.row)
	id, _, sealed := parse(one.text)
	if sealed && id == keys.write {
		return nil
	}
	text := one.text
	if sealed || !plain {
		var err error
		if text, err = keys.Open(place, one.text); err != nil {
			return err
		}
	}
	again, err := keys.Seal(place, text)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE `+c.Table+` SET `+c.Name+` = $1 WHERE tenant = $2 AND `+c.Row+` = $3`, again, one.tenant, one.row)
	return err
}
