package containment

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/policy"
)

// onTags is the course of changing a tag of a machine. Its tags show whether that
// took effect, and nobody can tell from them who did it.
type onTags struct{}

func (onTags) starts(defender.MachineActionType) bool { return false }

// tagOf is the tag that r adds, or removes.
func tagOf(r approvals.Request) (tag string, add bool) {
	tag, add = strings.CutPrefix(r.Params["tag"], "+")
	return strings.TrimPrefix(tag, "-"), add
}

// asWanted reports whether m's tags are as r wants them.
func asWanted(r approvals.Request, m defender.Machine) bool {
	tag, add := tagOf(r)
	return slices.Contains(m.Tags, tag) == add
}

// tagged is what Defender answered, for the record.
func tagged(r approvals.Request, m defender.Machine, err error) approvals.Started {
	d := struct {
		Machine string   `json:"machine,omitempty"`
		Tags    []string `json:"tags,omitempty"`
		Error   string   `json:"error,omitempty"`
	}{Machine: m.ID, Tags: m.Tags}
	if err != nil {
		d.Error = words(err)
	}
	return approvals.Started{ID: r.Params["tag"], Status: "set", Detail: encoded(d)}
}

func (onTags) before(ctx context.Context, x *Runner, r approvals.Request, t approvals.Target, facts *approvals.Facts) (*approvals.Started, error) {
	m, err := x.reader.Machine(ctx, t.ID)
	if errors.Is(err, defender.ErrNotFound) {
		facts.Problem = "Defender no longer knows this machine."
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	facts.Machine = machineFacts(m)
	facts.Detail = encoded(struct {
		Machine *policy.Machine `json:"machine"`
	}{facts.Machine})
	switch facts.Problem = changed(r, t, m); {
	case facts.Problem != "" || !asWanted(r, m):
	case t.Attempts > 0:
		s := tagged(r, m, nil)
		return &s, nil
	default:
		facts.Problem = "The machine's tags are as asked for already."
	}
	return nil, nil
}

func (onTags) look(ctx context.Context, x *Runner, r approvals.Request, t approvals.Target) (sighting, error) {
	m, err := x.reader.Machine(ctx, t.ID)
	if err != nil && !errors.Is(err, defender.ErrNotFound) {
		return sighting{}, err
	}
	if err == nil && asWanted(r, m) {
		s := tagged(r, m, nil)
		return sighting{own: &s}, nil
	}
	return sighting{missing: "the machine's tags do not show it", absent: true}, nil
}

func (onTags) follow(ctx context.Context, x *Runner, r approvals.Request, t approvals.Target) (standing, error) {
	m, err := x.reader.Machine(ctx, t.ID)
	s := standing{status: "set"}
	switch {
	case err != nil:
		return s, err
	case asWanted(r, m):
		s.phase = succeeded
	case x.now().Sub(t.IntentAt) >= settledAfter:
		s.phase, s.note = failed, "Defender took it, and the machine's tags do not show it."
	}
	return s, nil
}
