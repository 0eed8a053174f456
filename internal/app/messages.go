package app

import (
	"context"
	"errors"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/teamsbot"
)

// ownMessages keeps which messages of Teams are the bot's: what it answers in a table of
// its own, everything else is a card.
type ownMessages struct {
	db  durable.DB
	now func() time.Time
}

var _ teamsbot.Messages = ownMessages{}

// Sent implements teamsbot.Messages.
func (s ownMessages) Sent(ctx context.Context, m chat.Ref) error {
	return s.db.InTx(ctx, func(tx durable.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO own_messages (conversation, message, at) VALUES ($1, $2, $3) ON CONFLICT (conversation, message) DO NOTHING`,
			m.Conversation.ID, m.MessageID, durable.Micros(s.now()))
		return err
	})
}

// Ours implements teamsbot.Messages.
func (s ownMessages) Ours(ctx context.Context, m chat.Ref) (bool, error) {
	var found int
	err := s.db.Read().QueryRow(ctx, `
		SELECT 1 FROM own_messages WHERE conversation = $1 AND message = $2
		UNION ALL SELECT 1 FROM cards WHERE conversation = $1 AND message = $2 AND message <> '' AND platform = $3 LIMIT 1`,
		m.Conversation.ID, m.MessageID, string(identity.Teams)).Scan(&found)
	if errors.Is(err, durable.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// purge forgets answers that were sent before old.
func (s ownMessages) purge(ctx context.Context, old time.Time) error {
	return s.db.InTx(ctx, func(tx durable.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM own_messages WHERE at < $1`, durable.Micros(old))
		return err
	})
}
