package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/failpoint"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/tenant"
)

type tenantID = tenant.ID

// seen is what is remembered of an alert to tell whether anything is new.
type seen struct {
	fingerprint string
	peak        int
	status      string
}

// news is why an alert is taken up.
type news int

const (
	nothingNew news = iota
	firstSeen
	changed
	severityRaised // above everything announced so far
	reopened
)

// judge compares an alert with what is remembered. Times play no part: equal
// stamps, late arrivals and shifting pages cannot hide or repeat an alert.
func judge(old seen, known bool, a defender.Alert, fingerprint string) news {
	switch {
	case !known:
		return firstSeen
	case old.fingerprint == fingerprint:
		return nothingNew
	case a.Severity.Rank() > old.peak:
		return severityRaised
	case old.status == "Resolved" && a.Status != "Resolved":
		return reopened
	default:
		return changed
	}
}

// fingerprint covers what a card shows, without evidence, which is read later.
func fingerprint(a defender.Alert) (string, error) {
	a.Evidence = nil
	b, err := json.Marshal(a)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16]), nil
}

// arrival is an alert on its way in, with all that was read for it beforehand:
// nothing is fetched inside the transaction.
type arrival struct {
	alert       defender.Alert
	fingerprint string
	machine     *policy.Machine
	// quiet alerts are remembered and not posted: they are older than the start
	// of watching.
	quiet bool
	// ours says that somebody changed it through mdebot and looks for that on the cards.
	ours bool
}

// take records arrivals and plans their cards, all in one transaction.
func (n *Notifier) take(ctx context.Context, t tenantID, arrivals []arrival) error {
	return n.db.InTx(failpoint.Step(ctx, failpoint.AlertsSaved), func(tx durable.Tx) error {
		b := &batch{Tx: tx, planned: map[durable.Job]bool{}, storms: map[chat.Destination]string{}, urgent: map[urgent]int{}, mutes: n.inForce(ctx, tx, t)}
		for _, in := range arrivals {
			if err := n.takeOne(ctx, b, t, in); err != nil {
				return fmt.Errorf("record alert %s: %w", in.alert.ID, err)
			}
		}
		return n.redrawStorms(ctx, b, t)
	})
}

// batch is a transaction over many alerts that does once what each of them would
// ask for.
type batch struct {
	durable.Tx
	planned map[durable.Job]bool
	storms  map[chat.Destination]string // that hold alerts of this batch
	urgent  map[urgent]int              // how many of them are named at once
	mutes   []cards.MuteView            // in force
}

// urgent are the alerts of a class that a storm holds in one place.
type urgent struct {
	to    chat.Destination
	class int64
}

// Enqueue plans each job once.
func (b *batch) Enqueue(ctx context.Context, job durable.Job) error {
	if b.planned[job] {
		return nil
	}
	b.planned[job] = true
	return b.Tx.Enqueue(ctx, job)
}

func (n *Notifier) takeOne(ctx context.Context, tx *batch, t tenantID, in arrival) error {
	a := in.alert
	old, known, err := remembered(ctx, tx, t, a.ID)
	if err != nil {
		return err
	}
	what := judge(old, known, a, in.fingerprint)
	if what == nothingNew {
		return nil
	}
	body, err := n.sealJSON(alertBody, t, a.ID, a)
	if err != nil {
		return err
	}
	now := n.now().UnixMicro()
	peak := max(a.Severity.Rank(), old.peak)
	if known {
		_, err = tx.Exec(ctx, `
			UPDATE alerts SET fingerprint = $1, severity = $2, peak = $3, status = $4, incident = $5, machine = $6, body = $7, changed_at = $8
			WHERE tenant = $9 AND id = $10`,
			in.fingerprint, string(a.Severity), peak, a.Status, a.IncidentID, a.MachineID, body, now, string(t), a.ID)
	} else {
		_, err = tx.Exec(ctx, `
			INSERT INTO alerts (tenant, id, fingerprint, severity, peak, status, incident, machine, body, created_at, seen_at, changed_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)`,
			string(t), a.ID, in.fingerprint, string(a.Severity), peak, a.Status, a.IncidentID, a.MachineID, body, durable.Micros(a.Created), now)
	}
	if err != nil || in.quiet {
		return err
	}
	if known {
		redraw := n.redraw
		if in.ours {
			redraw = n.redrawUrgent
		}
		if err := redraw(ctx, tx, t, SubjectAlert, a.ID); err != nil {
			return err
		}
	}
	if what == changed {
		return nil // an old alert does not match new routes because somebody commented on it
	}
	if posted, err := hasCard(ctx, tx, t, a.ID); err != nil {
		return err
	} else if !posted {
		if held, err := n.muted(ctx, tx, t, in); err != nil || held {
			return err
		}
	}
	for _, to := range n.destinations(a, in.machine) {
		if err := n.postAlert(ctx, tx, t, in, to, what); err != nil {
			return err
		}
	}
	return nil
}

// hasCard reports whether an alert stands in chat already: what does is not
// silenced by a mute that came later.
func hasCard(ctx context.Context, db durable.DBTX, t tenantID, id string) (bool, error) {
	var n int
	err := db.QueryRow(ctx, `SELECT COUNT(*) FROM cards WHERE tenant = $1 AND subject = 'alert' AND subject_id = $2`, string(t), id).Scan(&n)
	return n > 0, err
}

// destinations are the places of all matching routes, each once.
func (n *Notifier) destinations(a defender.Alert, m *policy.Machine) []chat.Destination {
	var out []chat.Destination
	for _, r := range n.policyOf(a.Tenant).Routes(policyAlert(a), m) {
		for _, to := range r.To {
			if d := chat.Destination(to); !slices.Contains(out, d) {
				out = append(out, d)
			}
		}
	}
	return out
}

// postAlert plans a's card at to: in the thread of its incident when one has
// begun there, in a storm's pages when the destination is flooded and the alert is
// not critical.
func (n *Notifier) postAlert(ctx context.Context, tx *batch, t tenantID, in arrival, to chat.Destination, what news) error {
	a := in.alert
	if what != firstSeen {
		existing, ok, err := cardOf(ctx, tx, t, SubjectAlert, a.ID, to)
		if err != nil {
			return err
		}
		if ok {
			return n.postRaised(ctx, tx, t, a, existing, what)
		}
	}
	held, err := n.storm(ctx, tx, t, to)
	if err != nil {
		return err
	}
	class := alertClass(a.Severity)
	if held != "" && critical(in) {
		class = classCritical
		wait, err := reserve(ctx, tx, []limit{criticalLimit(to, in.machine.TierZero())}, n.now())
		if err != nil {
			return err
		}
		if wait <= 0 {
			held, class = "", alertClass(a.Severity)
		}
	}
	w := want{tenant: t, subject: SubjectAlert, subjectID: a.ID, destination: to, class: class, topic: topicOf(a), held: held}
	if held == "" {
		if w.parent, err = threadHead(ctx, tx, t, w.topic, to); err != nil {
			return err
		}
	}
	if err := n.want(ctx, tx, w); err != nil {
		return err
	}
	if held != "" && a.Severity == defender.High {
		tx.urgent[urgent{to, class}]++
	}
	if w.parent != "" {
		return n.redrawCard(ctx, tx, w.parent, to) // the head counts its thread
	}
	return nil
}

// postRaised says under an alert's card that its severity rose.
func (n *Notifier) postRaised(ctx context.Context, tx durable.Tx, t tenantID, a defender.Alert, existing card, what news) error {
	if what != severityRaised {
		return nil
	}
	parent := existing.id
	if existing.held != "" { // it has no message of its own to reply to
		head, _, err := cardOf(ctx, tx, t, subjectStorm, existing.held, existing.destination)
		if err != nil {
			return err
		}
		parent = head.id
	}
	err := n.want(ctx, tx, want{
		tenant: t, subject: subjectRaised, subjectID: a.ID + "/" + string(a.Severity), destination: existing.destination,
		class: alertClass(a.Severity), parent: parent,
	})
	return err
}

// critical tells an alert that has a post of its own also in a storm: a High one on
// a machine of tier 0, or one that Defender is told is of high value. Of a machine
// that could not be read it is not known; a storm names High alerts first anyway.
func critical(in arrival) bool {
	return in.alert.Severity == defender.High && in.machine != nil && in.machine.Critical()
}

// crowded reports whether some destination has a storm, or so many alerts came that
// it may get one: then it matters which machines they are on.
func (n *Notifier) crowded(ctx context.Context, t tenantID, more int) (bool, error) {
	s := n.policy.Current().Storm()
	if s.MoreThan <= 0 || more == 0 {
		return false, nil
	}
	var recent, storms int
	err := n.db.Read().QueryRow(ctx, `
		SELECT (SELECT COUNT(*) FROM cards WHERE tenant = $1 AND subject = 'alert' AND created_at > $2),
			(SELECT COUNT(*) FROM storms WHERE tenant = $1 AND ended_at = 0)`,
		string(t), n.now().Add(-s.Within).UnixMicro()).Scan(&recent, &storms)
	return storms > 0 || recent+more > s.MoreThan, err
}

// AlertChanged records an alert that was changed through mdebot, so that its
// cards follow at once instead of at the next poll.
func (n *Notifier) AlertChanged(ctx context.Context, a defender.Alert) error {
	fp, err := fingerprint(a)
	if err != nil {
		return err
	}
	_, known, err := remembered(ctx, n.db.Read(), a.Tenant, a.ID)
	if err != nil || !known {
		return err // never posted; the next poll takes it up as it is
	}
	return n.take(ctx, a.Tenant, []arrival{{alert: a, fingerprint: fp, ours: true}})
}

func alertClass(s defender.Severity) int64 {
	return int64(classAlert + defender.High.Rank() - s.Rank())
}

func policyAlert(a defender.Alert) policy.Alert {
	return policy.Alert{
		ID: a.ID, Title: a.Title, Severity: string(a.Severity), Status: a.Status, Category: a.Category,
		Source: a.DetectionSource, Threat: a.ThreatFamily, Incident: a.IncidentID, Created: a.Created, Technique: a.Techniques,
	}
}

func remembered(ctx context.Context, db durable.DBTX, t tenantID, id string) (s seen, known bool, err error) {
	err = db.QueryRow(ctx, `SELECT fingerprint, peak, status FROM alerts WHERE tenant = $1 AND id = $2`, string(t), id).
		Scan(&s.fingerprint, &s.peak, &s.status)
	if errors.Is(err, durable.ErrNoRows) {
		return seen{}, false, nil
	}
	return s, err == nil, err
}

func (n *Notifier) storedAlert(ctx context.Context, t tenantID, id string) (defender.Alert, error) {
	var body string
	if err := n.db.Read().QueryRow(ctx, `SELECT body FROM alerts WHERE tenant = $1 AND id = $2`, string(t), id).Scan(&body); err != nil {
		return defender.Alert{}, fmt.Errorf("read stored alert %s: %w", id, err)
	}
	var a defender.Alert
	if err := n.openJSON(alertBody, t, id, body, &a); err != nil {
		return defender.Alert{}, fmt.Errorf("read stored alert %s: %w", id, err)
	}
	a.Tenant = t
	return a, nil
}

func cardOf(ctx context.Context, db durable.DBTX, t tenantID, s Subject, id string, to chat.Destination) (card, bool, error) {
	c, err := scanCard(db.QueryRow(ctx, `SELECT `+cardColumns+` FROM cards WHERE tenant = $1 AND subject = $2 AND subject_id = $3 AND destination = $4`,
		string(t), string(s), id, string(to)))
	if errors.Is(err, durable.ErrNoRows) {
		return card{}, false, nil
	}
	return c, err == nil, err
}

// topicOf is what alerts of one thread have in common, or "".
func topicOf(a defender.Alert) string {
	if a.IncidentID == 0 {
		return ""
	}
	return fmt.Sprintf("incident %d", a.IncidentID)
}

// threadHead is the card that began the thread of a topic at to, or "".
func threadHead(ctx context.Context, db durable.DBTX, t tenantID, topic string, to chat.Destination) (string, error) {
	if topic == "" {
		return "", nil
	}
	var id string
	err := db.QueryRow(ctx, `
		SELECT id FROM cards WHERE tenant = $1 AND topic = $2 AND destination = $3 AND topic <> '' AND parent = '' AND held = ''
		ORDER BY created_at, id LIMIT 1`, string(t), topic, string(to)).Scan(&id)
	if errors.Is(err, durable.ErrNoRows) {
		return "", nil
	}
	return id, err
}

// threadAlerts are the alerts in the thread under c.
func (n *Notifier) threadAlerts(ctx context.Context, c card) ([]defender.Alert, error) {
	rows, err := n.db.Read().Query(ctx, `
		SELECT a.id, a.body FROM cards c JOIN alerts a ON a.tenant = c.tenant AND a.id = c.subject_id
		WHERE c.parent = $1 AND c.parent <> '' AND c.subject = 'alert' ORDER BY c.created_at, c.id LIMIT 500`, c.id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return n.scanAlerts(rows, c.tenant)
}

func (n *Notifier) redrawCard(ctx context.Context, tx durable.Tx, id string, to chat.Destination) error {
	if _, err := tx.Exec(ctx, `UPDATE cards SET wanted = wanted + 1 WHERE id = $1`, id); err != nil {
		return err
	}
	return n.wake(ctx, tx, to)
}

// alertMentions are the mentions of the routes that brought a to c's destination.
func (n *Notifier) alertMentions(a defender.Alert, c card) []chat.Mention {
	var out []chat.Mention
	for _, r := range n.policyOf(c.tenant).Routes(policyAlert(a), nil) {
		if slices.Contains(r.To, string(c.destination)) {
			out = append(out, mentions(r.Mention, c.destination.Platform())...)
		}
	}
	return out
}

// evidenceBatch is how many alerts one call for evidence asks for, and
// evidenceMost how many in one pass: in a storm the quota is needed elsewhere,
// and each card says that its evidence was not read.
const (
	evidenceBatch = 25
	evidenceMost  = 100
)

// reading is what one pass may still ask of Defender beside the list itself.
type reading struct{ evidence int }

// prepare reads what the new alerts of a pass need before they are recorded:
// evidence, most severe first, for those that some route wants.
func (n *Notifier) prepare(ctx context.Context, w *watch, began time.Time, alerts []defender.Alert, left *reading) []arrival {
	arrivals := make([]arrival, 0, len(alerts))
	var wanted []int
	// What retention has removed comes back when somebody changes it, and is no news.
	forgotten := n.now().Add(-n.policy.Current().Retention().Alerts)
	for _, a := range alerts {
		fp, err := fingerprint(a)
		if err != nil {
			if err := n.setAside(ctx, w.Tenant, a, err); err != nil {
				n.log.ErrorContext(ctx, "nor could it be told", "alert_id", a.ID, "error", err)
			}
			continue
		}
		old, known, err := remembered(ctx, n.db.Read(), w.Tenant, a.ID)
		if err != nil {
			known = false // taken up again below, where the same error would stop the pass
		}
		if judge(old, known, a, fp) == nothingNew {
			continue
		}
		arrivals = append(arrivals, arrival{
			alert: a, fingerprint: fp, quiet: !known && (a.Created.Before(began) || a.Created.Before(forgotten)),
		})
	}
	if crowded, err := n.crowded(ctx, w.Tenant, len(arrivals)); err == nil && crowded {
		n.learn(ctx, w, slices.DeleteFunc(slices.Clone(arrivals), func(in arrival) bool { return in.alert.Severity != defender.High }), n.now())
	}
	if n.policyOf(w.Tenant).RoutesReadMachine() || len(n.inForce(ctx, n.db.Read(), w.Tenant)) > 0 {
		n.learn(ctx, w, arrivals, n.now())
	}
	for i := range arrivals {
		in := &arrivals[i]
		in.machine = w.machineFacts(in.alert.MachineID, n.now())
		if !in.quiet && len(n.destinations(in.alert, in.machine)) > 0 {
			wanted = append(wanted, i)
		}
	}
	slices.SortStableFunc(wanted, func(i, j int) int {
		return arrivals[j].alert.Severity.Rank() - arrivals[i].alert.Severity.Rank()
	})
	wanted = wanted[:min(len(wanted), left.evidence)]
	left.evidence -= len(wanted)
	for batch := range slices.Chunk(wanted, evidenceBatch) {
		n.addEvidence(ctx, w, arrivals, batch)
	}
	return arrivals
}

// addEvidence fills in evidence; without it the alert is posted all the same.
func (n *Notifier) addEvidence(ctx context.Context, w *watch, arrivals []arrival, batch []int) {
	ids := make([]string, 0, len(batch))
	at := map[string]int{}
	for _, i := range batch {
		id := arrivals[i].alert.ID
		ids, at[id] = append(ids, id), i
	}
	full, err := w.Source.AlertsWithEvidence(ctx, ids)
	if err != nil {
		n.log.WarnContext(ctx, "evidence not read", "tenant_id", w.Tenant, "error", err)
		return
	}
	for _, a := range full {
		if i, ok := at[a.ID]; ok {
			arrivals[i].alert.Evidence = a.Evidence
			if a.Evidence == nil {
				arrivals[i].alert.Evidence = []defender.Evidence{}
			}
		}
	}
}
