package notify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Subject is what a card shows.
type Subject string

// The subjects.
const (
	SubjectRequest Subject = "request" // an approval request, by its ID
	SubjectAlert   Subject = "alert"   // an alert, by its Defender ID

	subjectReply  Subject = "reply"  // a short reply under a request card: "<request ID>/<change>"
	subjectRaised Subject = "raised" // a short reply under an alert card: "<alert ID>/<severity>"
	subjectStorm  Subject = "storm"  // the head message of a storm, by its ID
	subjectPage   Subject = "page"   // names of held alerts: "<storm ID>/<page>"
	subjectNotice Subject = "notice" // a stored message
	subjectHunt   Subject = "hunt"   // a stored message of a scheduled hunt
	subjectPaging Subject = "paging" // what somebody is woken for, by its ID
)

// Sending order per destination, first to last. Edits of alert cards come after
// everything else, because nobody waits for them.
const (
	classDecision = 0 // approvals, outcomes, reminders
	classNotice   = 1 // alarms about the bot, blindness
	classCritical = 1 // critical alerts that a storm holds
	classAlert    = 2 // plus 4 − severity rank
	classEdit     = 9
)

// card is one row of cards.
type card struct {
	id          string
	tenant      tenant.ID
	subject     Subject
	subjectID   string
	destination chat.Destination
	class       int64
	parent      string
	wanted      int64
	shown       int64
	ref         chat.Ref
	attempts    int64
	triedAt     time.Time
	nextAt      time.Time
	problem     string
	strikes     int64 // failures of its own, not of the platform
	held        string
	urgent      int64 // the version that shows what somebody did
	// clicked says that the edit goes by what came with a click.
	clicked bool
}

// hurried reports whether somebody waits for what c is about to show: for a post, and
// for an edit that shows what a person did.
func (c *card) hurried() bool { return c.ref.IsZero() || c.shown < c.urgent }

const cardColumns = `id, tenant, subject, subject_id, destination, class, parent, wanted, shown,
	platform, workspace, conversation, thread, message, attempts, tried_at, next_at, problem, strikes, held, urgent`

func scanCard(row durable.Row) (card, error) {
	var c card
	var platform, workspace, conversation, thread, message string
	var triedAt, nextAt int64
	err := row.Scan(&c.id, (*string)(&c.tenant), (*string)(&c.subject), &c.subjectID, (*string)(&c.destination),
		&c.class, &c.parent, &c.wanted, &c.shown, &platform, &workspace, &conversation, &thread, &message,
		&c.attempts, &triedAt, &nextAt, &c.problem, &c.strikes, &c.held, &c.urgent)
	if err != nil {
		return card{}, err
	}
	c.ref = chat.Ref{
		Conversation: chat.Conversation{Platform: identity.Platform(platform), Workspace: workspace, ID: conversation, Thread: thread},
		MessageID:    message,
	}
	c.triedAt, c.nextAt = durable.Time(triedAt), durable.Time(nextAt)
	return c, nil
}

func queryCards(ctx context.Context, db durable.DBTX, query string, args ...any) ([]card, error) {
	rows, err := db.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []card
	for rows.Next() {
		c, err := scanCard(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, rows.Err()
}

// want is a card to be shown or shown anew.
type want struct {
	tenant      tenant.ID
	subject     Subject
	subjectID   string
	destination chat.Destination
	class       int64
	topic       string // what shares a thread
	parent      string // ID of the card whose thread it goes into
	held        string
}

// want makes the card exist and its current state wanted, and wakes the
// destination.
func (n *Notifier) want(ctx context.Context, tx durable.Tx, w want) error {
	return n.wanted(ctx, tx, w, `UPDATE SET wanted = cards.wanted + 1`)
}

// wantOnce makes the card exist, and leaves it alone when it does.
func (n *Notifier) wantOnce(ctx context.Context, tx durable.Tx, w want) error {
	return n.wanted(ctx, tx, w, `NOTHING`)
}

func (n *Notifier) wanted(ctx context.Context, tx durable.Tx, w want, otherwise string) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO cards (id, tenant, subject, subject_id, destination, class, topic, parent, wanted, shown,
			platform, workspace, conversation, thread, message, attempts, tried_at, next_at, problem, held, created_at, posted_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, 0, '', '', '', '', '', 0, 0, 0, '', $9, $10, 0)
		ON CONFLICT (tenant, subject, subject_id, destination) DO `+otherwise,
		id.String(), string(w.tenant), string(w.subject), w.subjectID, string(w.destination), w.class, w.topic, w.parent, w.held,
		durable.Micros(n.now()))
	if err != nil {
		return fmt.Errorf("want %s card: %w", w.subject, err)
	}
	if w.held != "" {
		return nil // the storm's own cards name it
	}
	return n.wake(ctx, tx, w.destination)
}

// wake plans a delivery run for a destination.
func (n *Notifier) wake(ctx context.Context, tx durable.Tx, d chat.Destination) error {
	return tx.Enqueue(ctx, durable.Job{Kind: JobDeliver, ID: string(d), Unique: true})
}

// redraw asks that every card of a subject shows the current state.
func (n *Notifier) redraw(ctx context.Context, tx durable.Tx, t tenant.ID, s Subject, id string) error {
	return n.redrawWhere(ctx, tx, "subject_id = $3", string(t), string(s), id)
}

// redrawUrgent is redraw for what somebody did and looks for on the cards.
func (n *Notifier) redrawUrgent(ctx context.Context, tx durable.Tx, t tenant.ID, s Subject, id string) error {
	return n.bump(ctx, tx, `wanted = wanted + 1, urgent = wanted + 1, next_at = CASE WHEN attempts = 0 THEN 0 ELSE next_at END`, "subject_id = $3", string(t), string(s), id)
}

// redrawWhere is redraw for the cards of a tenant ($1) and kind of subject ($2)
// that a condition picks.
func (n *Notifier) redrawWhere(ctx context.Context, tx durable.Tx, condition string, args ...any) error {
	return n.bump(ctx, tx, "wanted = wanted + 1", condition, args...)
}

func (n *Notifier) bump(ctx context.Context, tx durable.Tx, set, condition string, args ...any) error {
	rows, err := tx.Query(ctx, `
		UPDATE cards SET `+set+`
		WHERE tenant = $1 AND subject = $2 AND held = '' AND `+condition+`
		RETURNING destination`, args...)
	if err != nil {
		return fmt.Errorf("redraw cards: %w", err)
	}
	destinations := map[chat.Destination]bool{}
	for rows.Next() {
		var d string
		if err := rows.Scan(&d); err != nil {
			return errors.Join(err, rows.Close())
		}
		destinations[chat.Destination(d)] = true
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for d := range destinations {
		if err := n.wake(ctx, tx, d); err != nil {
			return err
		}
	}
	return nil
}

// cardByID returns a card, or ok = false.
func cardByID(ctx context.Context, db durable.DBTX, id string) (c card, ok bool, err error) {
	c, err = scanCard(db.QueryRow(ctx, `SELECT `+cardColumns+` FROM cards WHERE id = $1`, id))
	if errors.Is(err, durable.ErrNoRows) {
		return card{}, false, nil
	}
	return c, err == nil, err
}

// SubjectOf tells what the thread of conv is about: the subject of the card it
// hangs under. Commands use it for an omitted target, and clients ask by themselves.
//
// What looks like a condition too many, here and elsewhere, is that of a partial index:
// it serves only queries that repeat it, because a parameter may be anything.
func (n *Notifier) SubjectOf(ctx context.Context, conv chat.Conversation) (t tenant.ID, s Subject, id string, ok bool, err error) {
	if conv.Thread == "" {
		return "", "", "", false, nil
	}
	err = n.db.Read().QueryRow(ctx, `
		SELECT tenant, subject, subject_id FROM cards
		WHERE conversation = $1 AND message = $2 AND message <> '' AND platform = $3 AND subject IN ('request', 'alert')`,
		conv.ID, conv.Thread, string(conv.Platform)).Scan((*string)(&t), (*string)(&s), &id)
	if errors.Is(err, durable.ErrNoRows) {
		return "", "", "", false, nil
	}
	return t, s, id, err == nil, err
}
