package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/tenant"
)

// notice stores a message under an ID and shows it at the destinations. The same
// ID again redraws the cards that differ from what was stored.
func (n *Notifier) notice(ctx context.Context, tx durable.Tx, t tenant.ID, id string, m chat.Message, to ...chat.Destination) error {
	return n.noticeAs(ctx, tx, subjectNotice, t, id, m, to...)
}

// noticeAs is notice for a subject whose readers are others.
func (n *Notifier) noticeAs(ctx context.Context, tx durable.Tx, s Subject, t tenant.ID, id string, m chat.Message, to ...chat.Destination) error {
	same, err := n.sameNotice(ctx, tx, t, id, m)
	if err != nil || same {
		return err
	}
	body, err := n.sealJSON(noticeBody, t, id, m)
	if err != nil {
		return fmt.Errorf("store notice: %w", err)
	}
	if _, err := tx.Exec(ctx, `
		INSERT INTO notices (tenant, id, body, created_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (tenant, id) DO UPDATE SET body = $3`, string(t), id, body, durable.Micros(n.now())); err != nil {
		return fmt.Errorf("store notice: %w", err)
	}
	for _, d := range to {
		if err := n.want(ctx, tx, want{tenant: t, subject: s, subjectID: id, destination: d, class: classNotice}); err != nil {
			return err
		}
	}
	return nil
}

// sameNotice reports whether the notice is stored as it is. The stored texts
// cannot be compared: encrypted twice, one message makes two.
func (n *Notifier) sameNotice(ctx context.Context, tx durable.Tx, t tenant.ID, id string, m chat.Message) (bool, error) {
	var stored string
	err := tx.QueryRow(ctx, `SELECT body FROM notices WHERE tenant = $1 AND id = $2`, string(t), id).Scan(&stored)
	if errors.Is(err, durable.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read notice: %w", err)
	}
	body, err := n.keys.Open(noticeBody.Place(string(t), id), stored)
	if err != nil {
		return false, nil // replaced by what it should say
	}
	fresh, err := json.Marshal(m)
	return body == string(fresh), err
}

// Announce posts a message about the bot itself to the ops channel. about names
// what it is about; the same about again edits the earlier message.
func (n *Notifier) Announce(ctx context.Context, t tenant.ID, about string, m chat.Message) error {
	ops := chat.Destination(n.policy.Current().Ops())
	if ops == "" {
		return nil
	}
	return n.db.InTx(ctx, func(tx durable.Tx) error { return n.notice(ctx, tx, t, about, m, ops) })
}

func undeliverable(d chat.Destination, cause error) chat.Message {
	return cards.Notice(chat.Warning, "Messages cannot be delivered",
		chat.Join(chat.Plain("Destination "), chat.Code(string(d)), chat.Plain(": "), chat.Untrusted(cause.Error())),
		chat.Plain("Nothing is lost: they stay pending and are tried again every ten minutes. Check that the bot is a member there."))
}
