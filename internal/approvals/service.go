package approvals

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/fault"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Config is what a Service works with. Everything but Groups and Links is
// required.
type Config struct {
	DB        durable.DB
	Audit     *audit.Log
	Announcer Announcer
	Policy    *policy.Source
	// Groups answers membership of directory groups; nil leaves them empty.
	Groups policy.GroupSource
	// Links tells who is behind accounts; nil goes by mdebot.yaml alone.
	Links Links
	// StepUps proves people for tier 0 votes; nil proves nobody.
	StepUps StepUps
	Actions Registry
	Now     func() time.Time
	// Skew is how far this machine's clock is ahead of others', and whether that
	// is known. Nil leaves the clock unjudged.
	Skew   func() (ahead time.Duration, known bool)
	Logger *slog.Logger
}

// Service opens requests, takes votes and hands out the right to carry them out.
// It is safe for concurrent use, also by several processes on one database.
//
// A *[Refusal] is an ordinary answer; any other error means that nothing changed.
type Service struct {
	db      durable.DB
	audit   *audit.Log
	tell    Announcer
	policy  *policy.Source
	groups  policy.GroupSource
	links   Links
	stepUps StepUps
	actions Registry
	clock   func() time.Time
	skew    func() (time.Duration, bool)
	logger  *slog.Logger
}

// New returns a Service. [Service.Sweep] must be called every few seconds.
func New(c Config) *Service {
	if c.Links == nil {
		c.Links = fileLinks{}
	}
	return &Service{
		db: c.DB, audit: c.Audit, tell: c.Announcer, policy: c.Policy, groups: c.Groups, links: c.Links, stepUps: c.StepUps,
		actions: c.Actions, clock: c.Now, skew: c.Skew, logger: c.Logger,
	}
}

// now is the time as stored, so that a digest over a row read back is the same.
func (s *Service) now() time.Time { return s.clock().UTC().Truncate(time.Microsecond) }

// Request returns one request by its ID, or a refusal with [ErrNotFound].
func (s *Service) Request(ctx context.Context, id tenant.ID, request string) (Request, error) {
	return load(ctx, s.db.Read(), id, request)
}

// ByNumber returns one request by the number people use.
func (s *Service) ByNumber(ctx context.Context, id tenant.ID, number int64) (Request, error) {
	found, err := find(ctx, s.db.Read(), id, `number = $2`, number)
	if err != nil {
		return Request{}, fmt.Errorf("read request #%d: %w", number, err)
	}
	if len(found) == 0 {
		return Request{}, refuse(ErrNotFound, fmt.Sprintf("There is no request #%d.", number), "See the open ones with requests.")
	}
	return found[0], nil
}

// Live lists the requests that are not resolved, oldest first.
func (s *Service) Live(ctx context.Context, id tenant.ID) ([]Request, error) {
	found, err := find(ctx, s.db.Read(), id, unfinished)
	if err != nil {
		return nil, fmt.Errorf("list open requests: %w", err)
	}
	return found, nil
}

// Mark is another one whenever something of what [Service.Live] lists has changed, or
// the freeze.
func (s *Service) Mark(ctx context.Context, id tenant.ID) (string, error) {
	frozen, err := s.Frozen(ctx, id)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%d", frozen.Since.UnixMicro())
	err = each(ctx, s.db.Read(), `SELECT id, version, reminded FROM requests WHERE tenant = $1 AND `+unfinished+` ORDER BY number`, []any{string(id)}, func(row durable.Row) error {
		var request string
		var version, reminded int64
		err := row.Scan(&request, &version, &reminded)
		fmt.Fprintf(sum, " %s %d %d", request, version, reminded)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("look for changed requests: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Action is the registry's entry for kind.
func (s *Service) Action(kind string) (Action, bool) {
	a, ok := s.actions[kind]
	return a, ok
}

// asked is the last step of r's rule whose groups are asked at a time.
func asked(r Request, at time.Time) int {
	if fault.On(fault.Early) {
		return policy.MaxThen
	}
	return policy.Asked(at.Sub(r.Opened))
}

// Eligible lists the people whose approval of r would count now. The error says
// which directory groups could not be read; the list stands without them.
func (s *Service) Eligible(ctx context.Context, r Request) ([]identity.Person, error) {
	return s.policyOf(r.Tenant).Eligible(ctx, s.groups, r.Rule, r.Requester, asked(r, s.now()))
}

// NeedsVote reports whether r waits for this person: their approval would count now
// and they have not voted. A membership that cannot be read counts as none.
func (s *Service) NeedsVote(ctx context.Context, r Request, person identity.PersonID) bool {
	if r.State != Pending || person.IsZero() || person == r.Requester || slices.ContainsFunc(r.Votes, func(v Vote) bool { return v.By == person }) {
		return false
	}
	return s.rights(ctx, s.policyOf(r.Tenant), r, r.Rule, person)[person].Approve
}

// policyOf is the policy in force for one tenant: its people and its stricter
// rules (threat-model M-03).
func (s *Service) policyOf(t tenant.ID) *policy.Policy { return s.policy.Current().For(t) }

// AskAgain returns what a form is filled with to repeat a request that expired,
// became void or failed.
func (s *Service) AskAgain(ctx context.Context, id tenant.ID, request string) (Prefill, error) {
	r, err := s.Request(ctx, id, request)
	if err != nil {
		return Prefill{}, err
	}
	switch {
	case s.actions[r.Action].Local():
		return Prefill{}, refuse(ErrNotRepeatable, "This is not asked again from here.", fmt.Sprintf("Type %s again.", r.Action)).about(r)
	case r.State != Expired && r.State != Void && r.State != Failed:
		return Prefill{}, refuse(ErrNotRepeatable, fmt.Sprintf("Request #%d is %s.", r.Number, r.State),
			"Only expired, void and failed requests can be asked again.").about(r)
	}
	p := Prefill{Action: r.Action, Params: r.Params, Reason: r.Reason}
	for _, t := range r.Targets {
		if t.State != Succeeded {
			p.Targets = append(p.Targets, Target{Index: len(p.Targets), Kind: t.Kind, ID: t.ID, Name: t.Name})
		}
	}
	return p, nil
}

// rights tells what each person who voted on r, and each of others, may do under
// rule and p. It may ask the directory, so it is never called in a transaction.
// A membership that cannot be read counts as none (threat-model I-09). A vote is
// judged by the groups that were asked when it was cast.
func (s *Service) rights(ctx context.Context, p *policy.Policy, r Request, rule policy.Applied, others ...identity.PersonID) map[identity.PersonID]Entitlement {
	rights := make(map[identity.PersonID]Entitlement)
	now := s.now()
	voted := make(map[identity.PersonID]time.Time)
	for _, v := range r.Votes {
		voted[v.By] = v.At
		others = append(others, v.By)
	}
	for _, id := range others {
		if _, done := rights[id]; done {
			continue
		}
		person, known := p.Book().Person(id)
		if !known {
			rights[id] = Entitlement{}
			continue
		}
		at, cast := voted[id]
		if !cast {
			at = now
		}
		groups, ok, err := p.Entitled(ctx, s.groups, person, rule, asked(r, at))
		if err != nil {
			s.logger.WarnContext(ctx, "group membership could not be read and counts as none",
				slog.String("tenant_id", string(r.Tenant)), slog.String("approval_id", r.ID), slog.Any("error", err))
		}
		may := Entitlement{
			Approve: ok, Groups: groups,
			Deny: ok || person.Has(identity.Responder) || person.Has(identity.Approver),
		}
		if !ok {
			may.From, may.Why = s.later(ctx, p, r, rule, person)
			may.Deny = may.Deny || !may.From.IsZero()
		}
		rights[id] = may
	}
	return rights
}

// later is when the approval of somebody begins to count whom the rule falls back
// to, and why not before.
func (s *Service) later(ctx context.Context, p *policy.Policy, r Request, rule policy.Applied, person identity.Person) (from time.Time, why string) {
	for step := range policy.MaxThen {
		if _, ok, _ := p.Entitled(ctx, s.groups, person, rule, step+1); ok {
			return r.Opened.Add(policy.AskedAfter(step + 1)), "was not asked yet"
		}
	}
	return time.Time{}, ""
}
