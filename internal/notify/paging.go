package notify

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/pager"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Pager wakes people: chat does not. See [pager.Client].
type Pager interface {
	Send(ctx context.Context, address string, e pager.Event) error
}

const (
	// toPager is where cards of pagings go: notify.page, whatever it says at the
	// moment.
	toPager       = chat.Destination(platformPager + ":on-call")
	platformPager = "page"
	// undeliveredAfter is how long a High alert may stand nowhere before somebody
	// is woken.
	undeliveredAfter = 2 * time.Minute
	// pagedAlarmAfter is the number of failed tries after which the ops channel is
	// told that nobody can be woken.
	pagedAlarmAfter = 3
)

// What a paging is about. A request's is aboutRequest and its ID.
const (
	aboutRequest = "request "
	aboutAlerts  = "alerts"
	aboutBlind   = "blind"
)

// page wakes somebody when tx commits, unless that is done already.
func (n *Notifier) page(ctx context.Context, tx durable.Tx, t tenant.ID, about string) error {
	if n.pager == nil || n.policy.Current().Page() == "" {
		return nil
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	rows, err := tx.Exec(ctx, `INSERT INTO pagings (tenant, id, about, began_at, ended_at) VALUES ($1, $2, $3, $4, 0)
		ON CONFLICT (tenant, about) WHERE ended_at = 0 DO NOTHING`, string(t), id.String(), about, n.now().UnixMicro())
	if err != nil || rows == 0 {
		return err
	}
	n.log.WarnContext(ctx, "paging somebody", "tenant_id", t, "about", about)
	return n.want(ctx, tx, want{tenant: t, subject: subjectPaging, subjectID: id.String(), destination: toPager, class: classDecision})
}

// unpage tells the receiver that it is over, if anybody was woken.
func (n *Notifier) unpage(ctx context.Context, tx durable.Tx, t tenant.ID, about string) error {
	var id string
	err := tx.QueryRow(ctx, `UPDATE pagings SET ended_at = $1 WHERE tenant = $2 AND about = $3 AND ended_at = 0 RETURNING id`,
		n.now().UnixMicro(), string(t), about).Scan(&id)
	if errors.Is(err, durable.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return n.redraw(ctx, tx, t, subjectPaging, id)
}

// pageForRequest wakes somebody for a request that is undecided at its first
// reminder, after five minutes, and ends that when it is decided.
func (n *Notifier) pageForRequest(ctx context.Context, tx durable.Tx, r approvals.Request, c approvals.Change) error {
	switch {
	case r.State != approvals.Pending:
		return n.unpage(ctx, tx, r.Tenant, aboutRequest+r.ID)
	case isReminder(c):
		return n.page(ctx, tx, r.Tenant, aboutRequest+r.ID)
	}
	return nil
}

// unposted selects High alerts that stand nowhere: neither one of their cards is
// posted nor the head message of a storm that holds them.
const unposted = `
	FROM cards c JOIN alerts a ON a.tenant = c.tenant AND a.id = c.subject_id
	WHERE c.wanted > c.shown AND c.subject = 'alert' AND c.message = '' AND c.created_at <= $1 AND a.severity = $2
		AND NOT EXISTS (SELECT 1 FROM cards o LEFT JOIN cards h
				ON o.held <> '' AND h.tenant = o.tenant AND h.subject = 'storm' AND h.subject_id = o.held AND h.destination = o.destination
			WHERE o.tenant = c.tenant AND o.subject = 'alert' AND o.subject_id = c.subject_id AND (o.message <> '' OR COALESCE(h.message, '') <> ''))`

// pageForAlerts wakes somebody while High alerts cannot be posted anywhere.
func (n *Notifier) pageForAlerts(ctx context.Context) error {
	if n.pager == nil {
		return nil
	}
	undelivered := map[tenant.ID]bool{}
	err := n.eachTenant(ctx, func(t tenant.ID) { undelivered[t] = true },
		`SELECT DISTINCT c.tenant `+unposted, n.now().Add(-undeliveredAfter).UnixMicro(), string(defender.High))
	if err != nil {
		return fmt.Errorf("find alerts that cannot be delivered: %w", err)
	}
	paged := map[tenant.ID]bool{}
	if err := n.eachTenant(ctx, func(t tenant.ID) { paged[t] = true },
		`SELECT tenant FROM pagings WHERE about = $1 AND ended_at = 0`, aboutAlerts); err != nil {
		return fmt.Errorf("find pagings: %w", err)
	}
	var errs []error
	for t := range undelivered {
		if !paged[t] {
			errs = append(errs, n.db.InTx(ctx, func(tx durable.Tx) error { return n.page(ctx, tx, t, aboutAlerts) }))
		}
	}
	for t := range paged {
		if !undelivered[t] {
			errs = append(errs, n.db.InTx(ctx, func(tx durable.Tx) error { return n.unpage(ctx, tx, t, aboutAlerts) }))
		}
	}
	return errors.Join(errs...)
}

func (n *Notifier) eachTenant(ctx context.Context, fn func(tenant.ID), query string, args ...any) error {
	rows, err := n.db.Read().Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var t string
		if err := rows.Scan(&t); err != nil {
			return err
		}
		fn(tenant.ID(t))
	}
	return rows.Err()
}

// sendPaging tells the receiver how c's paging stands, and records the outcome.
func (n *Notifier) sendPaging(ctx context.Context, c card, l *lease) error {
	e, err := n.drawPaging(ctx, c)
	if err != nil {
		return n.failed(ctx, c, err)
	}
	address := n.policy.Current().Page()
	never := c.ref.IsZero() && c.attempts == 0
	if n.pager == nil || address == "" || e.Over && never {
		return n.shown(ctx, c, c.ref) // it was over before anybody was woken, or nobody is to be
	}
	if !l.valid() {
		return errLeaseLost
	}
	sending, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	err = n.pager.Send(sending, address, e)
	record := context.WithoutCancel(ctx)
	if err != nil {
		return n.failed(record, c, err)
	}
	return n.shown(record, c, chat.Ref{Conversation: chat.Conversation{Platform: platformPager}, MessageID: e.Key})
}

func (n *Notifier) drawPaging(ctx context.Context, c card) (pager.Event, error) {
	var about string
	var began, ended int64
	if err := n.db.Read().QueryRow(ctx, `SELECT about, began_at, ended_at FROM pagings WHERE tenant = $1 AND id = $2`,
		string(c.tenant), c.subjectID).Scan(&about, &began, &ended); err != nil {
		return pager.Event{}, fmt.Errorf("read paging: %w", err)
	}
	e := pager.Event{
		Key: "mdebot-" + c.subjectID, Over: ended != 0, Severity: pager.Critical, Since: durable.Time(began),
		Details: map[string]string{"tenant": string(c.tenant)},
	}
	if e.Over {
		return e, nil
	}
	switch id, isRequest := strings.CutPrefix(about, aboutRequest); {
	case isRequest:
		r, err := n.requests.Request(ctx, c.tenant, id)
		if err != nil {
			return pager.Event{}, err
		}
		e.Severity = pager.Error
		e.Summary = fmt.Sprintf("mdebot: request #%d (%s) waits for approval; undecided since %s", r.Number, r.Action, r.Opened.UTC().Format("15:04 UTC"))
		e.Details["request"], e.Details["action"] = "#"+strconv.FormatInt(r.Number, 10), r.Action
		e.Details["expires"] = r.Expires.UTC().Format(time.RFC3339)
		e.Details["next_step"] = fmt.Sprintf("/mde approve %d or /mde deny %d in chat", r.Number, r.Number)
	case about == aboutAlerts:
		var waiting int
		if err := n.db.Read().QueryRow(ctx, `SELECT COUNT(DISTINCT c.subject_id) `+unposted+` AND c.tenant = $3`,
			n.now().UnixMicro(), string(defender.High), string(c.tenant)).Scan(&waiting); err != nil {
			return pager.Event{}, fmt.Errorf("count alerts that cannot be delivered: %w", err)
		}
		e.Summary = "mdebot: High alerts cannot be posted anywhere in chat"
		e.Details["alerts"] = strconv.Itoa(waiting)
		e.Details["next_step"] = "look at the alerts in the Defender portal; the reason is in mdebot's log and in mdebot db status"
	default:
		e.Summary = "mdebot: alerts cannot be read from Defender"
		e.Details["next_step"] = "look at the alerts in the Defender portal; the reason is in chat and in mdebot's log"
	}
	return e, nil
}

// alarmUnpaged tells the ops channel that nobody can be woken.
func (n *Notifier) alarmUnpaged(ctx context.Context, tx durable.Tx, c card, cause error) error {
	if c.attempts+1 != pagedAlarmAfter {
		return nil
	}
	return n.alarm(ctx, tx, c.tenant, hourly, "unpaged", undeliverable(c.destination, cause))
}

// Pagings is how waking people goes, for status.
type Pagings struct {
	On      bool // notify.page is set
	Open    int
	Problem string // why the receiver has not been told
}

// Pagings tells what somebody was woken for and is not over.
func (n *Notifier) Pagings(ctx context.Context) (Pagings, error) {
	p := Pagings{On: n.pager != nil && n.policy.Current().Page() != ""}
	err := n.db.Read().QueryRow(ctx, `SELECT COUNT(*) FROM pagings WHERE ended_at = 0`).Scan(&p.Open)
	if err != nil {
		return p, err
	}
	err = n.db.Read().QueryRow(ctx, `SELECT COALESCE(MAX(problem), '') FROM cards WHERE destination = $1 AND wanted > shown`, string(toPager)).Scan(&p.Problem)
	return p, err
}
