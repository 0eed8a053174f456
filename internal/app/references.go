package app

import (
	"context"
	"errors"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/teamsbot"
)

// references keeps the conversation references of the Teams bot in the database,
// so that it can post first after a restart.
type references struct {
	db  durable.DB
	now func() time.Time
}

var _ teamsbot.References = references{}

// Put implements teamsbot.References. Most activities repeat what is known, so
// nothing is written then.
func (s references) Put(ctx context.Context, r teamsbot.Reference) error {
	if known, ok, err := s.Get(ctx, r.Tenant, r.Key); err != nil || ok && known == r {
		return err
	}
	return s.db.InTx(ctx, func(tx durable.Tx) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO conversation_references (tenant, key, conversation, service_url, updated_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (tenant, key) DO UPDATE SET conversation = $3, service_url = $4, updated_at = $5`,
			r.Tenant, r.Key, r.ConversationID, r.ServiceURL, durable.Micros(s.now()))
		return err
	})
}

// Get implements teamsbot.References.
func (s references) Get(ctx context.Context, tenant, key string) (teamsbot.Reference, bool, error) {
	r := teamsbot.Reference{Tenant: tenant, Key: key}
	err := s.db.Read().QueryRow(ctx, `SELECT conversation, service_url FROM conversation_references WHERE tenant = $1 AND key = $2`, tenant, key).
		Scan(&r.ConversationID, &r.ServiceURL)
	if errors.Is(err, durable.ErrNoRows) {
		return teamsbot.Reference{}, false, nil
	}
	return r, err == nil, err
}
