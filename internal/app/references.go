package app

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/links"
	"github.com/mdebot/mdebot/internal/notify"
	"github.com/mdebot/mdebot/internal/seal"
	"github.com/mdebot/mdebot/internal/teamsbot"
)

// references keeps the conversation references of the Teams bot in the database,
// so that it can post first after a restart.
type references struct {
	db   durable.DB
	keys seal.Keys
	now  func() time.Time
}

var (
	referenceConversation = seal.Column{Table: "conversation_references", Name: "conversation", Row: "key"}
	referenceServiceURL   = seal.Column{Table: "conversation_references", Name: "service_url", Row: "key"}
)

// sealedColumns are all that the data key encrypts.
func sealedColumns() []seal.Column {
	return slices.Concat(notify.SealedColumns(), links.SealedColumns(), []seal.Column{referenceConversation, referenceServiceURL, huntQuery})
}

var _ teamsbot.References = references{}

// Put implements teamsbot.References. Most activities repeat what is known, so
// nothing is written then. One that does not decrypt is replaced: the activity
// that brings r is authenticated, and the row is not.
func (s references) Put(ctx context.Context, r teamsbot.Reference) error {
	known, ok, err := s.Get(ctx, r.Tenant, r.Key)
	if err != nil && !errors.Is(err, seal.ErrSealed) || ok && known == r {
		return err
	}
	conversation, err := s.keys.Seal(referenceConversation.Place(r.Tenant, r.Key), r.ConversationID)
	if err != nil {
		return err
	}
	serviceURL, err := s.keys.Seal(referenceServiceURL.Place(r.Tenant, r.Key), r.ServiceURL)
	if err != nil {
		return err
	}
	return s.db.InTx(ctx, func(tx durable.Tx) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO conversation_references (tenant, key, conversation, service_url, updated_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (tenant, key) DO UPDATE SET conversation = $3, service_url = $4, updated_at = $5`,
			r.Tenant, r.Key, conversation, serviceURL, durable.Micros(s.now()))
		return err
	})
}

// Get implements teamsbot.References.
func (s references) Get(ctx context.Context, tenant, key string) (teamsbot.Reference, bool, error) {
	var conversation, serviceURL string
	err := s.db.Read().QueryRow(ctx, `SELECT conversation, service_url FROM conversation_references WHERE tenant = $1 AND key = $2`, tenant, key).
		Scan(&conversation, &serviceURL)
	if errors.Is(err, durable.ErrNoRows) {
		return teamsbot.Reference{}, false, nil
	}
	if err != nil {
		return teamsbot.Reference{}, false, err
	}
	r := teamsbot.Reference{Tenant: tenant, Key: key}
	if r.ConversationID, err = s.keys.Open(referenceConversation.Place(tenant, key), conversation); err != nil {
		return teamsbot.Reference{}, false, err
	}
	if r.ServiceURL, err = s.keys.Open(referenceServiceURL.Place(tenant, key), serviceURL); err != nil {
		return teamsbot.Reference{}, false, err
	}
	return r, true, nil
}
