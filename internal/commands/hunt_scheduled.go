package commands

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/tenant"
)

// scheduledLimit bounds a hunt that nobody waits for. One that takes longer would
// use up what people hunt with.
const scheduledLimit = 50 * time.Second

// RunScheduled runs a hunt that nobody asked for just now, with the rights that its
// owner has at this moment (threat-model H-07). What is wrong with it is in the run;
// the error is that of a process that is being stopped.
func (r *Router) RunScheduled(ctx context.Context, t tenant.ID, s policy.ScheduledHunt) (cards.HuntRun, error) {
	of := r
	if r.several() {
		one, ok := r.tenantByID(t)
		if !ok {
			return cards.HuntRun{Trouble: of.trouble(ctx, nil, "", errors.New("the tenant is not served"))}, nil
		}
		of = r.in(one)
	}
	background := *of
	background.Defender, background.Hunter = of.Background, of.Background
	c := &call{spec: r.byName["run"], who: caller{Person: identity.Person{ID: s.Owner}}}
	bounded, cancel := context.WithTimeout(ctx, scheduledLimit)
	defer cancel()
	run, err := background.runScheduled(bounded, c, s)
	if ctx.Err() != nil {
		return cards.HuntRun{}, ctx.Err()
	}
	if err != nil {
		run.Trouble = of.trouble(ctx, c, run.Query, err)
	}
	return run, nil
}

func (r *Router) runScheduled(ctx context.Context, c *call, s policy.ScheduledHunt) (cards.HuntRun, error) {
	if err := r.ownerMay(ctx, c, s); err != nil {
		return cards.HuntRun{}, err
	}
	query, err := r.filled(ctx, s.Hunt, s.With, s.Span)
	if err != nil {
		return cards.HuntRun{}, err
	}
	run := cards.HuntRun{Query: query}
	asked, limit, err := boundKQL(query)
	if err != nil {
		return run, err
	}
	tables, err := tablesOf(kqlWords(asked))
	if err == nil {
		err = r.ownerMayRead(ctx, c.who.Person, s.Hunt, tables)
	}
	if err != nil {
		return run, err
	}
	sum := sha256.Sum256([]byte(asked))
	if err := r.record(ctx, c, "schedule.run", "ok", map[string]string{
		"schedule": s.Name, "query": asked, "query_sha256": hex.EncodeToString(sum[:]), "tables": strings.Join(tables, " "), "saved": s.Saved,
	}); err != nil {
		return run, err
	}
	sink := &rowSink{}
	stats, err := r.Hunter.Hunt(ctx, defender.HuntQuery{KQL: asked, MaxRows: huntRows, MaxBytes: huntBytes, Timeout: scheduledLimit}, sink)
	run.Columns, run.Rows, run.Took, run.Retires = sink.columns, sink.rows, stats.Duration, stats.RetiresAt
	if err != nil {
		return run, err
	}
	if err := r.record(context.WithoutCancel(ctx), c, "schedule.ended", "ok", map[string]string{
		"schedule": s.Name, "rows": strconv.Itoa(stats.Rows), "bytes": strconv.FormatInt(stats.Bytes, 10), "endpoint": string(stats.Endpoint),
	}); err != nil {
		return run, err
	}
	switch {
	case stats.Truncated == defender.TruncatedByBytes:
		run.Cut = "at " + strconv.Itoa(huntBytes>>20) + " MiB; there is more, which is not compared. Ask for fewer columns or rows."
	case stats.Truncated == defender.TruncatedByRows, limit > 0 && len(run.Rows) >= limit:
		run.Cut = "at the " + strconv.Itoa(huntRows) + " rows that mdebot reads; there may be more, which are not compared. Narrow the hunt."
	}
	return run, nil
}

// ownerMay judges a schedule's owner as if they had asked just now.
func (r *Router) ownerMay(ctx context.Context, c *call, s policy.ScheduledHunt) error {
	const next = "An admin names another owner under schedules in mdebot.yaml."
	person, ok := r.Policy.Current().Book().Person(s.Owner)
	if !ok {
		return say("Its owner is not under people of mdebot.yaml, or may not work on this tenant.", next)
	}
	c.who.Person = person
	if r.People != nil {
		standing, err := r.People.Standing(ctx, person.ID)
		if err != nil {
			return fmt.Errorf("read the standing of a schedule's owner: %w", err)
		}
		if standing != identity.Member {
			return sayOf("The directory does not know its owner, ", person.Name, ", as an active member of the organisation.", next)
		}
	}
	if !person.Has(s.Hunt.Role) {
		return sayOf("Its owner, ", person.Name, ", lacks the role "+string(s.Hunt.Role)+", which its hunt needs.", next)
	}
	kept, err := r.within(ctx, c)
	if err != nil {
		return err
	}
	if kept.scoped() {
		return sayOf("Its owner, ", person.Name, ", may see some machines only, and a hunt reads all of them.", next)
	}
	return r.permitted(ctx, c.spec)
}

// ownerMayRead refuses tables that a schedule's owner has no right to.
func (r *Router) ownerMayRead(ctx context.Context, owner identity.Person, h policy.Hunt, tables []string) error {
	may, fault := r.Policy.Current().SavedHuntTables(ctx, r.Groups, owner, h)
	for _, t := range tables {
		switch {
		case may.Allows(t):
		case fault != nil:
			return fmt.Errorf("read the groups of a schedule's owner: %w", fault)
		default:
			return &sorry{
				sentence: chat.Join(chat.Plain("Its owner, "), chat.Untrusted(owner.Name), chat.Plain(", may not read the table "), chat.Untrusted(t), chat.Plain(" from chat.")),
				next:     chat.Plain("An admin grants more under hunting in mdebot.yaml, or names another owner under schedules."),
			}
		}
	}
	return nil
}

// trouble is err for those who read what a scheduled hunt finds. What may pass by
// itself is told from what somebody has to change.
func (r *Router) trouble(ctx context.Context, c *call, query string, err error) *cards.HuntTrouble {
	t := &cards.HuntTrouble{}
	var throttled *defender.ThrottledError
	switch {
	case errors.As(err, &throttled):
		t.Passing, t.Wait = true, throttled.RetryAfter
	case errors.Is(err, defender.ErrQueryQuota), errors.Is(err, defender.ErrUnavailable), errors.Is(err, defender.ErrUnauthorized):
		t.Passing = true
	}
	said := err
	if query != "" {
		said = huntSorry(query, err)
	}
	var s *sorry
	switch {
	case errors.As(said, &s):
	case r.known(c, err) != nil:
		s = r.known(c, err)
	default:
		ref := strings.ToLower(uuid.NewString()[:4])
		r.Logger.ErrorContext(ctx, "scheduled hunt failed", "ref", ref, "error", err, "tenant_id", string(r.Tenant))
		s = plainSorry("Something went wrong (ref "+ref+").", "The details are in mdebot's log under that ref.")
		t.Passing = true
	}
	t.Sentence, t.Next, t.Lines = s.sentence, s.next, s.lines
	return t
}

// ParamProblem says in a sentence what does not fit about a value of a saved hunt's
// parameter, or "".
func ParamProblem(kind, value string) string {
	_, problem := paramLiteral(kind, value)
	return problem
}

// rowSink keeps all rows of a hunt, whose size the client bounds.
type rowSink struct {
	columns []string
	rows    [][]string
}

func (s *rowSink) Columns(columns []defender.Column) error {
	for _, c := range columns {
		s.columns = append(s.columns, c.Name)
	}
	return nil
}

func (s *rowSink) Row(cells []string) error {
	s.rows = append(s.rows, slices.Clone(cells))
	return nil
}
