package app

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/mdebot/mdebot/internal/commands"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/seal"
	"github.com/mdebot/mdebot/internal/tenant"
)

// huntHistory keeps the last hunts of each person in the database, so that they
// can be run again from every replica and after a restart.
type huntHistory struct {
	db   durable.DB
	keys seal.Keys
	now  func() time.Time
}

var huntQuery = seal.Column{Table: "hunts", Name: "query", Row: "id"}

var _ commands.History = huntHistory{}

// huntsKept is how many hunts of a person are kept.
const huntsKept = 10

// KeepHunt implements commands.History. A query that is run again moves to the
// front.
func (s huntHistory) KeepHunt(ctx context.Context, t tenant.ID, p identity.PersonID, h commands.PastHunt) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	query, err := s.keys.Seal(huntQuery.Place(string(t), id.String()), h.Query)
	if err != nil {
		return err
	}
	old, err := s.Hunts(ctx, t, p)
	if err != nil {
		old = nil // what cannot be read is replaced by and by
	}
	return s.db.InTx(ctx, func(tx durable.Tx) error {
		for _, o := range old {
			if o.Query == h.Query && o.Saved == h.Saved {
				if _, err := tx.Exec(ctx, `DELETE FROM hunts WHERE tenant = $1 AND id = $2`, string(t), o.ID); err != nil {
					return err
				}
			}
		}
		if _, err := tx.Exec(ctx, `INSERT INTO hunts (tenant, id, person, saved, query, at) VALUES ($1, $2, $3, $4, $5, $6)`,
			string(t), id.String(), p.String(), h.Saved, query, durable.Micros(h.At)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DELETE FROM hunts WHERE tenant = $1 AND person = $2 AND id NOT IN (
			SELECT id FROM hunts WHERE tenant = $1 AND person = $2 ORDER BY at DESC, id DESC LIMIT $3)`, string(t), p.String(), huntsKept)
		return err
	})
}

// Hunts implements commands.History.
func (s huntHistory) Hunts(ctx context.Context, t tenant.ID, p identity.PersonID) ([]commands.PastHunt, error) {
	rows, err := s.db.Read().Query(ctx, `SELECT id, saved, query, at FROM hunts WHERE tenant = $1 AND person = $2 ORDER BY at DESC, id DESC LIMIT $3`,
		string(t), p.String(), huntsKept)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []commands.PastHunt
	for rows.Next() {
		var h commands.PastHunt
		var query string
		var at int64
		if err := rows.Scan(&h.ID, &h.Saved, &query, &at); err != nil {
			return nil, err
		}
		if h.Query, err = s.keys.Open(huntQuery.Place(string(t), h.ID), query); err != nil {
			return nil, err
		}
		h.At = durable.Time(at)
		out = append(out, h)
	}
	return out, rows.Err()
}

// Purge forgets the hunts of before old.
func (s huntHistory) Purge(ctx context.Context, old time.Time) error {
	return s.db.InTx(ctx, func(tx durable.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM hunts WHERE at < $1`, durable.Micros(old))
		return err
	})
}
