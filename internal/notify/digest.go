package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/policy"
)

const (
	// digestPass begins the names of the digests' rows in pollers; the place and the
	// time of day follow.
	digestPass = "digest "
	// What a digest counts at most.
	digestAlerts   = 5_000
	digestRequests = 500
	// digestOpen is how long a request may be under way: an offline machine has three
	// days.
	digestOpen = 4 * 24 * time.Hour
)

// tellDigests sums the day up, where mdebot.yaml says so.
func (n *Notifier) tellDigests(ctx context.Context, w *watch) error {
	var errs []error
	for _, d := range n.policyOf(w.Tenant).Digests() {
		for _, to := range d.To {
			errs = append(errs, n.tellDigest(ctx, w, d, chat.Destination(to)))
		}
	}
	return errors.Join(errs...)
}

// tellDigest posts the digest of a place when it is due. After a downtime it is the
// last one alone; each time of day has one, whatever clocks and replicas do.
func (n *Notifier) tellDigest(ctx context.Context, w *watch, d policy.Digest, to chat.Destination) error {
	pass := digestPass + string(to) + " " + d.When.String()
	due, err := n.turn(ctx, w.Tenant, pass, d.When.Next(n.now()))
	if err != nil || !due {
		return err
	}
	at := d.When.Last(n.now())
	v := cards.DigestView{At: at, From: d.When.Last(at.Add(-time.Microsecond)), Now: n.now()}
	v.Isolated, err = n.isolatedFor(ctx, w, 0, n.now())
	if err != nil {
		n.log.WarnContext(ctx, "isolations not read for a digest", "tenant_id", w.Tenant, "error", err)
		v.IsolatedUnread = true
	}
	if err := n.readDigest(ctx, w.Tenant, to, &v); err != nil {
		return fmt.Errorf("sum up the day of %s: %w", to, err)
	}
	return n.db.InTx(ctx, func(tx durable.Tx) error {
		id := digestPass + string(to) + " " + at.Format(time.RFC3339)
		var told int
		if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM notices WHERE tenant = $1 AND id = $2`, string(w.Tenant), id).Scan(&told); err != nil {
			return err
		}
		// A clock that is set back comes to the same time of day again.
		if told == 0 && (d.WhenQuiet || !v.Quiet()) {
			if err := n.notice(ctx, tx, w.Tenant, id, cards.Digest(v), to); err != nil {
				return err
			}
		}
		return nextTurn(ctx, tx, w.Tenant, pass, d.When.Next(n.now()))
	})
}

// readDigest reads what stood in one place, so that nobody is told of alerts and
// requests that they were not shown.
func (n *Notifier) readDigest(ctx context.Context, t tenantID, to chat.Destination, v *cards.DigestView) (err error) {
	if v.Alerts, err = n.alertsAt(ctx, t, `c.created_at >= $3 ORDER BY c.created_at, a.id LIMIT $4`, string(to), durable.Micros(v.From), digestAlerts); err != nil {
		return err
	}
	if v.Open, err = n.alertsAt(ctx, t, `a.status <> 'Resolved' ORDER BY a.created_at, a.id LIMIT $3`, string(to), digestAlerts); err != nil {
		return err
	}
	if v.Requests, err = n.requestsAt(ctx, t, to, v.From); err != nil {
		return err
	}
	if v.Mutes, err = n.Mutes(ctx, t); err != nil {
		return err
	}
	v.Troubles, err = n.troublesSince(ctx, t, v.From)
	return err
}

// alertsAt are those posted in a place ($2), by themselves or in a storm, that a
// condition picks. What its readers kept out of the place has a card there all the same.
func (n *Notifier) alertsAt(ctx context.Context, t tenantID, condition string, args ...any) ([]defender.Alert, error) {
	rows, err := n.db.Read().Query(ctx, `
		SELECT a.id, a.body FROM cards c JOIN alerts a ON a.tenant = c.tenant AND a.id = c.subject_id
		WHERE c.tenant = $1 AND c.destination = $2 AND c.subject = 'alert' AND (c.message <> '' OR EXISTS (
			SELECT 1 FROM cards s WHERE s.tenant = c.tenant AND s.subject = 'storm' AND s.subject_id = c.held AND s.destination = c.destination AND s.message <> ''))
			AND `+condition, append([]any{string(t)}, args...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return n.scanAlerts(rows, t)
}

// requestsAt are the requests posted in a place that are not over, or were decided
// since from, the oldest first.
func (n *Notifier) requestsAt(ctx context.Context, t tenantID, to chat.Destination, from time.Time) ([]approvals.Request, error) {
	ids, err := n.texts(ctx, `
		SELECT subject_id FROM cards WHERE tenant = $1 AND destination = $2 AND subject = 'request' AND message <> '' AND created_at >= $3
		ORDER BY created_at, id LIMIT $4`, string(t), string(to), durable.Micros(from.Add(-digestOpen)), digestRequests)
	if err != nil {
		return nil, err
	}
	var all []approvals.Request
	for _, id := range ids {
		r, err := n.requests.Request(ctx, t, id)
		if err != nil {
			return nil, err
		}
		if !r.State.Resolved() || !r.DecidedAt.Before(from) {
			all = append(all, r)
		}
	}
	return all, nil
}

// troublesSince are the titles of the alarms about the bot that went to the ops
// channel, each once.
func (n *Notifier) troublesSince(ctx context.Context, t tenantID, from time.Time) ([]string, error) {
	ids, err := n.texts(ctx, `
		SELECT n.id FROM notices n JOIN cards c ON c.tenant = n.tenant AND c.subject = 'notice' AND c.subject_id = n.id
		WHERE n.tenant = $1 AND n.created_at >= $2 AND c.destination = $3 ORDER BY n.created_at, n.id LIMIT 500`,
		string(t), durable.Micros(from), n.policy.Current().Ops())
	if err != nil {
		return nil, err
	}
	var titles []string
	for _, id := range ids {
		m, err := n.storedNotice(ctx, t, id)
		if err != nil {
			return nil, err
		}
		if title := m.Title.String(); (m.Tone == chat.Warning || m.Tone == chat.Danger) && !slices.Contains(titles, title) {
			titles = append(titles, title)
		}
	}
	return titles, nil
}

// texts are the rows of one column.
func (n *Notifier) texts(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := n.db.Read().Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}
