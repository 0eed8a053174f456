package approvals

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/tenant"
)

// tagMemory is how long a tag counts after a machine was last seen with it. Whoever
// may tag machines could otherwise loosen a rule a minute before they ask
// (threat-model A-24).
const tagMemory = 24 * time.Hour

// SawTag remembers that machines have a tag now, and forgets what is too old.
func (s *Service) SawTag(ctx context.Context, t tenant.ID, tag string, machines []string) error {
	now := s.now()
	return s.db.InTx(ctx, func(tx durable.Tx) error {
		for _, id := range machines {
			if _, err := tx.Exec(ctx, `INSERT INTO machine_tags (tenant, machine, tag, seen_at) VALUES ($1, $2, $3, $4)
				ON CONFLICT (tenant, machine, tag) DO UPDATE SET seen_at = excluded.seen_at`,
				string(t), strings.ToLower(id), storable(tag), durable.Micros(now)); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `DELETE FROM machine_tags WHERE tenant = $1 AND seen_at < $2`, string(t), durable.Micros(now.Add(-tagMemory)))
		return err
	})
}

// lately is m with the tags that it had within a day and has not now, or nil when
// there are none.
func (s *Service) lately(ctx context.Context, t tenant.ID, m *policy.Machine) (*policy.Machine, error) {
	if m == nil {
		return nil, nil
	}
	var gone []string
	err := each(ctx, s.db.Read(), `SELECT tag FROM machine_tags WHERE tenant = $1 AND machine = $2 AND seen_at >= $3 ORDER BY tag`,
		[]any{string(t), strings.ToLower(m.ID), durable.Micros(s.now().Add(-tagMemory))}, func(row durable.Row) error {
			var tag string
			err := row.Scan(&tag)
			if err == nil && !slices.Contains(m.Tags, tag) {
				gone = append(gone, tag)
			}
			return err
		})
	if err != nil || len(gone) == 0 {
		return nil, err
	}
	before := *m
	before.Tags = append(slices.Clone(m.Tags), gone...)
	return &before, nil
}

// harder is the rule of the two that asks for more in every respect, and both
// together when neither does.
func harder(now, before policy.Applied) policy.Applied {
	covers := func(a, b policy.Applied) bool {
		return a.Approvers >= b.Approvers && len(a.From) >= len(b.From) && (a.TierZero || !b.TierZero)
	}
	switch {
	case covers(now, before):
		return now
	case covers(before, now):
		return before
	}
	return policy.Stricter(now, before)
}

// ruled is the rule for a machine as it is and as it was within a day, whichever is
// stricter, and why it is protected, if it is or was.
func (s *Service) ruled(ctx context.Context, p *policy.Policy, t tenant.ID, a Action, params map[string]string, on TargetInput) (rule policy.Applied, protected string, err error) {
	if a.Target == TargetIndicator {
		i := p.IndicatorOf(ParseIndicatorID(on.ID))
		i.Own = i.Own || on.Own
		rule, protected = p.DecideIndicator(a.AsRuled(params), i)
		if a.Undo {
			protected = "" // taking a block away cuts nothing off
		}
		return rule, protected, nil
	}
	m := on.Machine
	rule = decide(p, a, params, []*policy.Machine{m})
	if !a.Target.onMachine() {
		return rule, "", nil
	}
	protected, _ = p.Protected(a.AsRuled(params), m)
	before, err := s.lately(ctx, t, m)
	if err != nil || before == nil {
		return rule, protected, err
	}
	strict := harder(rule, decide(p, a, params, []*policy.Machine{before}))
	if strict.Name != rule.Name || strict.TierZero != rule.TierZero {
		strict.Why = "a tag that was on the machine within a day still counts: " + strings.Join(before.Tags[len(m.Tags):], ", ")
	}
	if why, yes := p.Protected(a.AsRuled(params), before); yes && protected == "" {
		protected = fmt.Sprintf("it had a tag within a day that protects it (%s)", why)
	}
	return strict, protected, nil
}
