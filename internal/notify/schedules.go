package notify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/csv"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/tenant"
)

// JobHunt is the kind of the job that runs a scheduled hunt. Its ID is the hunt's
// name; hand it to [Notifier.RunHunt].
const JobHunt = "hunt"

const (
	// huntLease is longer than any scheduled hunt takes.
	huntLease = 2 * time.Minute
	// huntRetry is when a hunt is tried again that failed for what may pass, and
	// huntPatience how long that lasts before people are told.
	huntRetry    = 5 * time.Minute
	huntPatience = 15 * time.Minute
	// shareWait is how long one waits for the share of all of them before people are
	// told: each run has left it after an hour.
	shareWait = time.Hour
	// huntTime is what scheduled hunts may take of a tenant's run time in an hour, of
	// the ten minutes that Defender gives (threat-model H-04).
	huntTime = 2 * time.Minute
	// Rows are known for as long as advanced hunting looks back after they were seen
	// last, and so many of them at most: the newest.
	rowsKnownFor = 30 * 24 * time.Hour
	rowsKnown    = 30_000
	// rowsSeenEvery is how often it is noted that a known row is still there.
	rowsSeenEvery = 24 * time.Hour
	// rowsAtOnce is how many rows one statement stores.
	rowsAtOnce = 100
	// foundBytes bounds the file with what is new.
	foundBytes = 1 << 20
)

// HuntRunner runs scheduled hunts.
type HuntRunner interface {
	// RunScheduled runs one with the rights of its owner. What is wrong with it is in
	// the run; an error says that nothing is known, as when the process is stopped.
	RunScheduled(ctx context.Context, t tenant.ID, s policy.ScheduledHunt) (cards.HuntRun, error)
}

// schedule is one row of scheduled_hunts.
type schedule struct {
	tenant       tenantID
	name         string
	mark, rhythm string
	nextAt       time.Time
	leaseUntil   time.Time
	beganAt      time.Time
	lastAt       time.Time
	found, fresh int64
	freshAt      time.Time
	failingSince time.Time
	failingTold  bool
	problem      string
}

func readSchedules(ctx context.Context, db durable.DBTX, condition string, args ...any) ([]schedule, error) {
	rows, err := db.Query(ctx, `
		SELECT tenant, name, mark, rhythm, next_at, lease_until, began_at, last_at, found, fresh, fresh_at, failing_since, failing_told, problem
		FROM scheduled_hunts`+condition, args...)
	if err != nil {
		return nil, fmt.Errorf("read scheduled hunts: %w", err)
	}
	defer rows.Close()
	var all []schedule
	for rows.Next() {
		var s schedule
		var next, lease, began, last, fresh, failing, told int64
		if err := rows.Scan((*string)(&s.tenant), &s.name, &s.mark, &s.rhythm, &next, &lease, &began, &last, &s.found, &s.fresh, &fresh, &failing, &told, &s.problem); err != nil {
			return nil, err
		}
		s.nextAt, s.leaseUntil, s.beganAt, s.lastAt = durable.Time(next), durable.Time(lease), durable.Time(began), durable.Time(last)
		s.freshAt, s.failingSince, s.failingTold = durable.Time(fresh), durable.Time(failing), told != 0
		all = append(all, s)
	}
	return all, rows.Err()
}

func scheduleOf(ctx context.Context, db durable.DBTX, t tenantID, name string) (s schedule, ok bool, err error) {
	all, err := readSchedules(ctx, db, ` WHERE tenant = $1 AND name = $2`, string(t), name)
	if err != nil || len(all) == 0 {
		return schedule{}, false, err
	}
	return all[0], true, nil
}

// huntMark tells whether what a schedule asks is what it asked before. How often and
// for whom is no part of that.
func huntMark(s policy.ScheduledHunt) string {
	h := sha256.New()
	part := func(text string) {
		_ = binary.Write(h, binary.BigEndian, int64(len(text))) // a hash takes everything
		h.Write([]byte(text))
	}
	part(s.Hunt.KQL)
	part(s.Span.String())
	for _, name := range slices.Sorted(maps.Keys(s.With)) {
		part(name)
		part(s.With[name])
	}
	part(strings.Join(s.Key, " "))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// planHunts makes a row for every scheduled hunt of mdebot.yaml and wakes those that
// are due.
func (n *Notifier) planHunts(ctx context.Context) error {
	planned := map[tenantID][]policy.ScheduledHunt{}
	for t := range n.tenants {
		if all := n.policyOf(t).ScheduledHunts(); len(all) > 0 {
			planned[t] = all
		}
	}
	if len(planned) == 0 || n.hunts == nil {
		return nil
	}
	rows, err := readSchedules(ctx, n.db.Read(), "")
	if err != nil {
		return err
	}
	stored := map[string]schedule{}
	for _, s := range rows {
		stored[string(s.tenant)+" "+s.name] = s
	}
	now := n.now()
	var errs []error
	for t, all := range planned {
		for _, s := range all {
			old, known := stored[string(t)+" "+s.Name]
			next := old.nextAt
			// What was planned by another rhythm, or by a clock that has been set back
			// since, does not count.
			if !known || old.rhythm != s.When.String() || next.After(s.When.Next(now).Add(time.Second)) {
				next = s.When.First(now)
			}
			due := !next.After(now) && (old.leaseUntil.Before(now) || old.leaseUntil.After(now.Add(huntLease)))
			if next.Equal(old.nextAt) && !due {
				continue
			}
			errs = append(errs, n.planHunt(ctx, t, s, old, next, due))
		}
	}
	return errors.Join(errs...)
}

func (n *Notifier) planHunt(ctx context.Context, t tenantID, s policy.ScheduledHunt, old schedule, next time.Time, due bool) error {
	return n.db.InTx(ctx, func(tx durable.Tx) error {
		if !next.Equal(old.nextAt) {
			// Another replica plans the same at the same time, from the same row.
			if _, err := tx.Exec(ctx, `
				INSERT INTO scheduled_hunts (tenant, name, mark, rhythm, next_at, lease_owner, lease_until, began_at, last_at, found, fresh, fresh_at, failing_since, failing_told, problem)
				VALUES ($1, $2, '', $3, $4, '', 0, 0, 0, 0, 0, 0, 0, 0, '')
				ON CONFLICT (tenant, name) DO UPDATE SET rhythm = $3, next_at = $4 WHERE scheduled_hunts.next_at = $5`,
				string(t), s.Name, s.When.String(), durable.Micros(next), durable.Micros(old.nextAt)); err != nil {
				return fmt.Errorf("plan scheduled hunt: %w", err)
			}
		}
		if !due {
			return nil
		}
		return tx.Enqueue(ctx, durable.Job{Tenant: t, Kind: JobHunt, ID: s.Name, Unique: true})
	})
}

// RunHunt runs the scheduled hunt of a job, if it is still due, and plans the
// messages about it. However many runs were missed, it runs once.
func (n *Notifier) RunHunt(ctx context.Context, job durable.Job) error {
	if n.tenants[job.Tenant] == nil {
		return nil
	}
	all := n.policyOf(job.Tenant).ScheduledHunts()
	i := slices.IndexFunc(all, func(s policy.ScheduledHunt) bool { return s.Name == job.ID })
	if i < 0 {
		return nil // it has left the file
	}
	s, owner, began := all[i], newOwner(), n.now()
	mine, err := n.claimHunt(ctx, job.Tenant, s, owner, began)
	if err != nil || !mine {
		return err
	}
	run, err := n.hunts.RunScheduled(ctx, job.Tenant, s)
	done := context.WithoutCancel(ctx)
	if err != nil {
		return errors.Join(err, n.db.InTx(done, func(tx durable.Tx) error {
			_, err := tx.Exec(done, `UPDATE scheduled_hunts SET lease_until = 0 WHERE tenant = $1 AND name = $2 AND lease_owner = $3`, string(job.Tenant), s.Name, owner)
			return err
		}))
	}
	return n.db.InTx(done, func(tx durable.Tx) error { return n.huntRan(done, tx, job.Tenant, s, owner, began, run) })
}

// claimHunt takes a scheduled hunt that is due. A hunt that is another one by now
// forgets what it knew.
func (n *Notifier) claimHunt(ctx context.Context, t tenantID, s policy.ScheduledHunt, owner string, now time.Time) (mine bool, err error) {
	mark := huntMark(s)
	err = n.db.InTx(ctx, func(tx durable.Tx) error {
		mine = false
		var spent int64
		if err := tx.QueryRow(ctx, `SELECT COALESCE(SUM(took), 0) FROM hunt_runs WHERE tenant = $1 AND at > $2 AND at <= $3`,
			string(t), now.Add(-time.Hour).UnixMicro(), now.UnixMicro()).Scan(&spent); err != nil {
			return err
		}
		if time.Duration(spent)*time.Microsecond >= huntTime {
			return n.huntWaits(ctx, tx, t, s, now)
		}
		rows, err := tx.Exec(ctx, `
			UPDATE scheduled_hunts SET lease_owner = $1, lease_until = $2
			WHERE tenant = $3 AND name = $4 AND next_at <= $5 AND (lease_until < $5 OR lease_until > $2)`,
			owner, now.Add(huntLease).UnixMicro(), string(t), s.Name, now.UnixMicro())
		if err != nil || rows == 0 {
			return err
		}
		mine = true
		rows, err = tx.Exec(ctx, `UPDATE scheduled_hunts SET mark = $1, began_at = 0, last_at = 0, fresh_at = 0 WHERE tenant = $2 AND name = $3 AND mark <> $1`, mark, string(t), s.Name)
		if err != nil || rows == 0 {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM hunt_rows WHERE tenant = $1 AND name = $2`, string(t), s.Name)
		return err
	})
	return mine, err
}

// huntWaits puts off a hunt that is due until there is room in the share of all.
func (n *Notifier) huntWaits(ctx context.Context, tx durable.Tx, t tenantID, s policy.ScheduledHunt, now time.Time) error {
	rows, err := tx.Exec(ctx, `UPDATE scheduled_hunts SET next_at = $1 WHERE tenant = $2 AND name = $3 AND next_at <= $4 AND (lease_until < $4 OR lease_until > $5)`,
		now.Add(huntRetry).UnixMicro(), string(t), s.Name, now.UnixMicro(), now.Add(huntLease).UnixMicro())
	if err != nil || rows == 0 {
		return err
	}
	old, ok, err := scheduleOf(ctx, tx, t, s.Name)
	if err != nil || !ok {
		return err
	}
	return n.huntFailed(ctx, tx, t, s, old, cards.HuntTrouble{
		Sentence: chat.Plain("It waits, because scheduled hunts have taken their share of this hour's run time."),
		Next:     chat.Plain("hunt list shows all of them. An admin lets some run less often or look at less, under schedules in mdebot.yaml."),
		Passing:  true,
	}, shareWait)
}

// huntRan records a run and plans what is to be said about it, all in one
// transaction: a run that another replica has taken over says nothing.
func (n *Notifier) huntRan(ctx context.Context, tx durable.Tx, t tenantID, s policy.ScheduledHunt, owner string, began time.Time, run cards.HuntRun) error {
	rows, err := tx.Exec(ctx, `UPDATE scheduled_hunts SET lease_until = 0 WHERE tenant = $1 AND name = $2 AND lease_owner = $3 AND lease_until > 0`, string(t), s.Name, owner)
	if err != nil || rows == 0 {
		return err
	}
	old, ok, err := scheduleOf(ctx, tx, t, s.Name)
	if err != nil || !ok {
		return err
	}
	if err := noteRun(ctx, tx, t, s.Name, began, run.Took); err != nil {
		return err
	}
	if run.Trouble == nil {
		run.Trouble = missingColumn(s, run)
	}
	if run.Trouble != nil {
		return n.huntFailed(ctx, tx, t, s, old, *run.Trouble, huntPatience)
	}
	if err := n.huntIsWell(ctx, tx, t, s, old); err != nil {
		return err
	}
	fresh, err := n.newRows(ctx, tx, t, s, run)
	if err != nil {
		return err
	}
	first := old.beganAt.IsZero()
	news := len(fresh)
	switch {
	case first:
		old.beganAt, news = began, 0
	case news > 0:
		old.freshAt = began
	}
	problem := ""
	if run.Cut != "" {
		problem = "its result is cut " + run.Cut
	}
	if _, err := tx.Exec(ctx, `
		UPDATE scheduled_hunts SET next_at = $1, began_at = $2, last_at = $3, found = $4, fresh = $5, fresh_at = $6, failing_since = 0, failing_told = 0, problem = $7
		WHERE tenant = $8 AND name = $9`,
		durable.Micros(s.When.Next(began)), durable.Micros(old.beganAt), durable.Micros(began), len(run.Rows), news, durable.Micros(old.freshAt),
		problem, string(t), s.Name); err != nil {
		return err
	}
	// Whoever fills a result hides what comes after the cut, so that it is told also
	// when nothing is new; once, because it may stay so.
	if !first && len(fresh) == 0 && (problem == "" || problem == old.problem) {
		return nil
	}
	v := cards.HuntFound{ScheduleView: n.viewOf(t, s, old), HuntRun: run, First: first, New: fresh}
	if v.CSV, err = foundCSV(s.Name, run.Columns, fresh, began); err != nil {
		return err
	}
	return n.noticeAs(ctx, tx, subjectHunt, t, huntNotice(s.Name, began), cards.ScheduledHunt(v), destinations(s.To)...)
}

// aboutHunt begins the IDs of notices of scheduled hunts.
const aboutHunt = "hunt "

func huntNotice(name string, at time.Time) string {
	return aboutHunt + name + " " + at.UTC().Format(time.RFC3339Nano)
}

// scheduleAbout is the name of the schedule that a notice is about.
func scheduleAbout(id string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(id, aboutHunt), " ")
	return name
}

func destinations(places []string) []chat.Destination {
	out := make([]chat.Destination, 0, len(places))
	for _, p := range places {
		out = append(out, chat.Destination(p))
	}
	return out
}

// noteRun keeps what a run took, for the share that all of them have.
func noteRun(ctx context.Context, tx durable.Tx, t tenantID, name string, at time.Time, took time.Duration) error {
	if _, err := tx.Exec(ctx, `DELETE FROM hunt_runs WHERE tenant = $1 AND (at < $2 OR at > $3)`,
		string(t), at.Add(-time.Hour).UnixMicro(), at.Add(time.Hour).UnixMicro()); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `INSERT INTO hunt_runs (tenant, name, at, took) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		string(t), name, at.UnixMicro(), took.Microseconds())
	return err
}

// missingColumn is the trouble of a key that the result does not have.
func missingColumn(s policy.ScheduledHunt, run cards.HuntRun) *cards.HuntTrouble {
	for _, column := range s.Key {
		if len(run.Rows) > 0 && !slices.Contains(run.Columns, column) {
			return &cards.HuntTrouble{
				Sentence: chat.Join(chat.Plain("Its result has no column "), chat.Code(column), chat.Plain(", which key names.")),
				Next:     chat.Plain("An admin corrects key under schedules in mdebot.yaml. Column names are compared with their case."),
			}
		}
	}
	return nil
}

// huntFailed tells once that a scheduled hunt does not run: at once when somebody
// has to do something, and after a while when it may pass.
func (n *Notifier) huntFailed(ctx context.Context, tx durable.Tx, t tenantID, s policy.ScheduledHunt, old schedule, trouble cards.HuntTrouble, patience time.Duration) error {
	now := n.now()
	next := s.When.Next(now)
	if trouble.Passing {
		if again := now.Add(max(huntRetry, min(trouble.Wait, time.Hour))); again.Before(next) {
			next = again
		}
	}
	if old.failingSince.IsZero() || old.failingSince.After(now) {
		old.failingSince = now
	}
	told := int64(0)
	tell := !old.failingTold && (!trouble.Passing || now.Sub(old.failingSince) >= patience)
	if tell || old.failingTold {
		told = 1
	}
	old.problem = trouble.Sentence.String()
	n.log.WarnContext(ctx, "scheduled hunt does not run", "tenant_id", t, "schedule", s.Name, "passing", trouble.Passing)
	if _, err := tx.Exec(ctx, `UPDATE scheduled_hunts SET next_at = $1, failing_since = $2, failing_told = $3, problem = $4 WHERE tenant = $5 AND name = $6`,
		durable.Micros(next), durable.Micros(old.failingSince), told, old.problem, string(t), s.Name); err != nil || !tell {
		return err
	}
	return n.noticeAs(ctx, tx, subjectHunt, t, huntNotice(s.Name, now)+" fails", cards.ScheduledHuntFails(n.viewOf(t, s, old), trouble), destinations(s.To)...)
}

// huntIsWell tells those who know that a scheduled hunt failed that it runs again.
func (n *Notifier) huntIsWell(ctx context.Context, tx durable.Tx, t tenantID, s policy.ScheduledHunt, old schedule) error {
	if !old.failingTold {
		return nil
	}
	return n.noticeAs(ctx, tx, subjectHunt, t, huntNotice(s.Name, n.now())+" well", cards.ScheduledHuntWell(n.viewOf(t, s, old), old.failingSince), destinations(s.To)...)
}

// newRows are the rows of a run that are not known, each once, in the order of the
// result; from now on they are.
func (n *Notifier) newRows(ctx context.Context, tx durable.Tx, t tenantID, s policy.ScheduledHunt, run cards.HuntRun) ([][]string, error) {
	known, err := knownRows(ctx, tx, t, s.Name)
	if err != nil {
		return nil, err
	}
	now := n.now()
	var fresh [][]string
	var added, seen []string
	for _, row := range run.Rows {
		h := rowHash(s.Key, run.Columns, row)
		at, old := known[h]
		switch {
		case !old:
			fresh, added = append(fresh, row), append(added, h)
		case now.Sub(at) >= rowsSeenEvery || at.After(now):
			seen = append(seen, h)
		default:
			continue
		}
		known[h] = now
	}
	if err := rememberRows(ctx, tx, t, s.Name, slices.Concat(added, seen), now); err != nil {
		return nil, err
	}
	return fresh, forgetRows(ctx, tx, t, s.Name, len(known), now)
}

// rowHash tells a row from others: by the columns of key, or by all of its cells.
// Names and cells carry their length, so that no two rows run together.
func rowHash(key, columns, row []string) string {
	h := sha256.New()
	var size [8]byte
	part := func(text string) {
		binary.BigEndian.PutUint64(size[:], uint64(len(text)))
		h.Write(size[:])
		h.Write([]byte(text))
	}
	for i, cell := range row {
		if len(key) == 0 || slices.Contains(key, columns[i]) {
			part(columns[i])
			part(cell)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func knownRows(ctx context.Context, tx durable.Tx, t tenantID, name string) (map[string]time.Time, error) {
	rows, err := tx.Query(ctx, `SELECT hash, seen_at FROM hunt_rows WHERE tenant = $1 AND name = $2`, string(t), name)
	if err != nil {
		return nil, fmt.Errorf("read known rows: %w", err)
	}
	defer rows.Close()
	known := map[string]time.Time{}
	for rows.Next() {
		var hash string
		var seen int64
		if err := rows.Scan(&hash, &seen); err != nil {
			return nil, err
		}
		known[hash] = durable.Time(seen)
	}
	return known, rows.Err()
}

// rememberRows stores that rows are there now, many in one statement: a first run
// may have ten thousand.
func rememberRows(ctx context.Context, tx durable.Tx, t tenantID, name string, hashes []string, now time.Time) error {
	for chunk := range slices.Chunk(hashes, rowsAtOnce) {
		if len(chunk) < rowsAtOnce {
			// In a statement of one row each: statements are kept by their text.
			for _, h := range chunk {
				if err := insertRows(ctx, tx, t, name, []string{h}, now); err != nil {
					return err
				}
			}
			break
		}
		if err := insertRows(ctx, tx, t, name, chunk, now); err != nil {
			return err
		}
	}
	return nil
}

func insertRows(ctx context.Context, tx durable.Tx, t tenantID, name string, hashes []string, now time.Time) error {
	var b strings.Builder
	args := []any{string(t), name, durable.Micros(now)}
	for i, h := range hashes {
		args = append(args, h)
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "($1, $2, $%d, $3)", len(args))
	}
	_, err := tx.Exec(ctx, `INSERT INTO hunt_rows (tenant, name, hash, seen_at) VALUES `+b.String()+` ON CONFLICT (tenant, name, hash) DO UPDATE SET seen_at = $3`, args...)
	if err != nil {
		return fmt.Errorf("store known rows: %w", err)
	}
	return nil
}

// forgetRows drops rows that have not been seen for long, and the oldest when there
// are too many.
func forgetRows(ctx context.Context, tx durable.Tx, t tenantID, name string, known int, now time.Time) error {
	if _, err := tx.Exec(ctx, `DELETE FROM hunt_rows WHERE tenant = $1 AND name = $2 AND seen_at < $3`, string(t), name, now.Add(-rowsKnownFor).UnixMicro()); err != nil {
		return err
	}
	if known <= rowsKnown {
		return nil
	}
	_, err := tx.Exec(ctx, `DELETE FROM hunt_rows WHERE tenant = $1 AND name = $2 AND hash NOT IN (
		SELECT hash FROM hunt_rows WHERE tenant = $1 AND name = $2 ORDER BY seen_at DESC, hash LIMIT $3)`, string(t), name, rowsKnown)
	return err
}

// foundCSV is the file with the new rows, as far as it may grow.
func foundCSV(name string, columns []string, rows [][]string, at time.Time) (*chat.File, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	w := csv.Writer{W: &b}
	if err := w.Write(columns); err != nil {
		return nil, err
	}
	for _, row := range rows {
		if b.Len() > foundBytes {
			if err := w.Write([]string{"… and more, which this file has no room for"}); err != nil {
				return nil, err
			}
			break
		}
		if err := w.Write(row); err != nil {
			return nil, err
		}
	}
	return &chat.File{Name: "hunt-" + name + "-" + at.UTC().Format("20060102-150405") + ".csv", Type: "text/csv", Content: b.Bytes()}, nil
}

// viewOf is a scheduled hunt as it stands.
func (n *Notifier) viewOf(t tenantID, s policy.ScheduledHunt, row schedule) cards.ScheduleView {
	v := cards.ScheduleView{
		Name: s.Name, Hunt: s.Saved, When: s.When.String(), Span: s.Span, To: s.To, Owner: s.Owner.String(),
		Began: row.beganAt, Last: row.lastAt, Next: row.nextAt, Found: int(row.found), Fresh: int(row.fresh), FreshAt: row.freshAt,
		Failing: row.failingSince, FailingTold: row.failingTold, Problem: row.problem,
	}
	if p, ok := n.policyOf(t).Book().Person(s.Owner); ok {
		v.Owner = p.Name
	}
	var values []string
	for _, p := range s.Hunt.Params {
		values = append(values, p.Name+"="+s.With[p.Name])
	}
	v.Values = strings.Join(values, " ")
	return v
}

// Schedules lists the scheduled hunts of a tenant in the order of mdebot.yaml.
func (n *Notifier) Schedules(ctx context.Context, t tenant.ID) ([]cards.ScheduleView, error) {
	all := n.policyOf(t).ScheduledHunts()
	if len(all) == 0 {
		return nil, nil
	}
	rows, err := readSchedules(ctx, n.db.Read(), ` WHERE tenant = $1`, string(t))
	if err != nil {
		return nil, err
	}
	out := make([]cards.ScheduleView, 0, len(all))
	for _, s := range all {
		row := schedule{nextAt: s.When.First(n.now())}
		if i := slices.IndexFunc(rows, func(r schedule) bool { return r.name == s.Name }); i >= 0 {
			row = rows[i]
		}
		out = append(out, n.viewOf(t, s, row))
	}
	return out, nil
}

// forgetSchedules removes what is known of scheduled hunts that have left the file.
func (n *Notifier) forgetSchedules(ctx context.Context, tx durable.Tx, t tenantID) error {
	rows, err := readSchedules(ctx, tx, ` WHERE tenant = $1`, string(t))
	if err != nil {
		return err
	}
	all := n.policyOf(t).ScheduledHunts()
	for _, row := range rows {
		if slices.ContainsFunc(all, func(s policy.ScheduledHunt) bool { return s.Name == row.name }) {
			continue
		}
		for _, table := range []string{"hunt_rows", "hunt_runs", "scheduled_hunts"} {
			if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE tenant = $1 AND name = $2`, string(t), row.name); err != nil {
				return err
			}
		}
	}
	return nil
}
