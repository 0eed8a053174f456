package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/csv"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
)

// allPages names the last message of a storm, which has the list as a file. It
// comes after every page.
const (
	allPages      = "csv"
	classAllPages = classAlert + 5
)

// storm decides about one more alert for a destination. It returns the storm
// that holds it back, or "" when it is posted on its own. A storm begins when
// more alerts than configured came within the configured time; its head message
// counts them live and its pages name every one.
func (n *Notifier) storm(ctx context.Context, tx *batch, t tenantID, to chat.Destination) (string, error) {
	s := n.policy.Current().Storm()
	if s.MoreThan <= 0 {
		return "", nil
	}
	if id := tx.storms[to]; id != "" {
		return id, nil
	}
	now := n.now().UnixMicro()
	var id string
	err := tx.QueryRow(ctx, `UPDATE storms SET last_at = $1 WHERE tenant = $2 AND destination = $3 AND ended_at = 0 RETURNING id`,
		now, string(t), string(to)).Scan(&id)
	if err == nil {
		tx.storms[to] = id
		return id, nil
	}
	if !errors.Is(err, durable.ErrNoRows) {
		return "", err
	}
	var recent int
	if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM cards WHERE tenant = $1 AND destination = $2 AND subject = 'alert' AND created_at > $3`,
		string(t), string(to), now-s.Within.Microseconds()).Scan(&recent); err != nil {
		return "", err
	}
	if recent < s.MoreThan {
		return "", nil
	}
	v7, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	id = v7.String()
	if _, err := tx.Exec(ctx, `INSERT INTO storms (id, tenant, destination, began_at, last_at, ended_at) VALUES ($1, $2, $3, $4, $4, 0)`,
		id, string(t), string(to), now); err != nil {
		return "", err
	}
	tx.storms[to] = id
	err = n.want(ctx, tx, want{tenant: t, subject: subjectStorm, subjectID: id, destination: to, class: classNotice})
	return id, err
}

// redrawStorms makes the heads count what a batch has added, and names what is High
// at once, what is critical before the rest: its page stands before it is full, and
// is redrawn as it fills.
func (n *Notifier) redrawStorms(ctx context.Context, tx *batch, t tenantID) error {
	for _, id := range tx.storms {
		if err := n.redraw(ctx, tx, t, subjectStorm, id); err != nil {
			return err
		}
	}
	for u, added := range tx.urgent {
		id := tx.storms[u.to]
		held, err := heldBy(ctx, tx, id, u.class)
		if err != nil {
			return err
		}
		head, ok, err := cardOf(ctx, tx, t, subjectStorm, id, u.to)
		if err != nil || !ok {
			return err
		}
		for page := (held - added) / cards.StormPageSize; page*cards.StormPageSize < held; page++ {
			if err := n.wantPage(ctx, tx, stormRow{id: id, tenant: t, destination: u.to}, u.class, page, head.id); err != nil {
				return err
			}
		}
	}
	return nil
}

// heldBy counts what a storm holds of a class.
func heldBy(ctx context.Context, db durable.DBTX, storm string, class int64) (n int, err error) {
	err = db.QueryRow(ctx, `SELECT COUNT(*) FROM cards WHERE held = $1 AND held <> '' AND class = $2`, storm, class).Scan(&n)
	return n, err
}

func (n *Notifier) wantPage(ctx context.Context, tx durable.Tx, s stormRow, class int64, page int, head string) error {
	return n.want(ctx, tx, want{
		tenant: s.tenant, subject: subjectPage, subjectID: fmt.Sprintf("%s/%d/%d", s.id, class, page), destination: s.destination,
		class: class, parent: head,
	})
}

type stormRow struct {
	id          string
	tenant      tenantID
	destination chat.Destination
	began, last int64
	ended       int64
}

// endStorms posts the pages that are full, and the rest when a storm is over.
func (n *Notifier) endStorms(ctx context.Context) error {
	rows, err := n.db.Read().Query(ctx, `SELECT id, tenant, destination, began_at, last_at, ended_at FROM storms WHERE ended_at = 0`)
	if err != nil {
		return err
	}
	var live []stormRow
	for rows.Next() {
		var s stormRow
		if err := rows.Scan(&s.id, (*string)(&s.tenant), (*string)(&s.destination), &s.began, &s.last, &s.ended); err != nil {
			return errors.Join(err, rows.Close())
		}
		live = append(live, s)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	within := n.policy.Current().Storm().Within
	for _, s := range live {
		over := durable.Time(s.last).Add(within).Before(n.now())
		if err := n.db.InTx(ctx, func(tx durable.Tx) error { return n.pages(ctx, tx, s, over) }); err != nil {
			return fmt.Errorf("page storm %s: %w", s.id, err)
		}
	}
	return nil
}

func (n *Notifier) pages(ctx context.Context, tx durable.Tx, s stormRow, over bool) error {
	if over {
		// Compare-and-set: an alert that came meanwhile keeps the storm going.
		rows, err := tx.Exec(ctx, `UPDATE storms SET ended_at = $1 WHERE id = $2 AND ended_at = 0 AND last_at = $3`, n.now().UnixMicro(), s.id, s.last)
		if err != nil || rows == 0 {
			return err
		}
		if err := n.redraw(ctx, tx, s.tenant, subjectStorm, s.id); err != nil {
			return err
		}
	}
	head, ok, err := cardOf(ctx, tx, s.tenant, subjectStorm, s.id, s.destination)
	if err != nil || !ok {
		return err
	}
	if over {
		if err := n.want(ctx, tx, want{
			tenant: s.tenant, subject: subjectPage, subjectID: s.id + "/" + allPages, destination: s.destination, class: classAllPages, parent: head.id,
		}); err != nil {
			return err
		}
	}
	// A page holds alerts of one severity, so that the most severe ones are named first.
	for class := int64(classCritical); class <= alertClass(defender.UnSpecified); class++ {
		if err := n.pagesOf(ctx, tx, s, class, over, head.id); err != nil {
			return err
		}
	}
	return nil
}

func (n *Notifier) pagesOf(ctx context.Context, tx durable.Tx, s stormRow, class int64, over bool, head string) error {
	held, err := heldBy(ctx, tx, s.id, class)
	if err != nil {
		return err
	}
	var paged int
	if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM cards WHERE tenant = $1 AND subject = 'page' AND destination = $2 AND subject_id LIKE $3 AND class = $4`,
		string(s.tenant), string(s.destination), s.id+"/%", class).Scan(&paged); err != nil {
		return err
	}
	full := held / cards.StormPageSize
	if over && held%cards.StormPageSize > 0 {
		full++
	}
	for page := paged; page < full; page++ {
		if err := n.wantPage(ctx, tx, s, class, page, head); err != nil {
			return err
		}
	}
	return nil
}

func (n *Notifier) drawStorm(ctx context.Context, c card) (drawing, error) {
	var s stormRow
	if err := n.db.Read().QueryRow(ctx, `SELECT began_at, last_at, ended_at FROM storms WHERE id = $1`, c.subjectID).Scan(&s.began, &s.last, &s.ended); err != nil {
		return drawing{}, err
	}
	alerts, err := n.heldAlerts(ctx, c.tenant, c.subjectID, -1, 100_000, 0)
	if err != nil {
		return drawing{}, err
	}
	m := cards.Storm(cards.StormView{
		Began: durable.Time(s.began), Last: durable.Time(s.last), Over: s.ended != 0, Alerts: alerts,
	})
	for _, a := range alerts {
		if a.Severity == defender.High {
			m.Mentions = n.alertMentions(a, c)
			break
		}
	}
	return drawing{message: m}, nil
}

func (n *Notifier) drawPage(ctx context.Context, c card) (drawing, error) {
	id, number, _ := strings.Cut(c.subjectID, "/")
	if number == allPages {
		return n.drawAllPages(ctx, c, id)
	}
	class := int64(-1) // of a page from before pages had one
	if kind, rest, ok := strings.Cut(number, "/"); ok {
		var err error
		if class, err = strconv.ParseInt(kind, 10, 64); err != nil {
			return drawing{}, err
		}
		number = rest
	}
	page, err := strconv.Atoi(number)
	if err != nil {
		return drawing{}, err
	}
	alerts, err := n.heldAlerts(ctx, c.tenant, id, class, cards.StormPageSize, page*cards.StormPageSize)
	if err != nil {
		return drawing{}, err
	}
	return drawing{message: cards.StormPage(alerts, page*cards.StormPageSize+1, n.portal(c.tenant)), editOnly: true}, nil
}

// drawAllPages has every alert of a storm in a file.
func (n *Notifier) drawAllPages(ctx context.Context, c card, storm string) (drawing, error) {
	alerts, err := n.heldAlerts(ctx, c.tenant, storm, -1, 100_000, 0)
	if err != nil {
		return drawing{}, err
	}
	var file bytes.Buffer
	w := csv.Writer{W: &file}
	for i, row := range append([][]string{{"alert", "severity", "status", "title", "machine", "machine_id", "category", "techniques", "created"}}, stormRows(alerts)...) {
		if err := w.Write(row); err != nil {
			return drawing{}, fmt.Errorf("line %d of a storm's file: %w", i, err)
		}
	}
	name := "storm-" + storm + ".csv"
	return drawing{message: cards.StormFile(len(alerts), chat.File{Name: name, Type: "text/csv", Content: file.Bytes()}), editOnly: true}, nil
}

func stormRows(alerts []defender.Alert) [][]string {
	rows := make([][]string, len(alerts))
	for i, a := range alerts {
		rows[i] = []string{
			a.ID, string(a.Severity), a.Status, a.Title, a.MachineName, a.MachineID, a.Category, strings.Join(a.Techniques, " "), a.Created.UTC().Format(time.RFC3339),
		}
	}
	return rows
}

// heldAlerts are the alerts a storm holds of a class, or of all for -1, in the
// order they came.
func (n *Notifier) heldAlerts(ctx context.Context, t tenantID, storm string, class int64, most, from int) ([]defender.Alert, error) {
	rows, err := n.db.Read().Query(ctx, `
		SELECT a.id, a.body FROM cards c JOIN alerts a ON a.tenant = c.tenant AND a.id = c.subject_id
		WHERE c.held = $1 AND c.held <> '' AND ($2 < 0 OR c.class = $2) ORDER BY c.created_at, c.id LIMIT $3 OFFSET $4`, storm, class, most, from)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return n.scanAlerts(rows, t)
}
