package approvals

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/failpoint"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
)

const (
	// MaxTargets is how many targets one request may have.
	MaxTargets = 25
	// MaxReason is the longest reason, in characters.
	MaxReason = 500
	// MaxPending is how many undecided requests one person may have.
	MaxPending = 3
)

// Open opens a request, or joins the one that already asks for the same. Every
// refusal is recorded.
func (s *Service) Open(ctx context.Context, in OpenInput) (Opened, error) {
	p := s.policyOf(in.Tenant)
	by := actor{asked: in.Asked}
	link, no, err := s.resolve(ctx, in.Tenant, p, in.By)
	if err != nil {
		return Opened{}, err
	}
	person := link.Person
	by.person = person
	if no != nil {
		return Opened{}, s.refused(ctx, in.Tenant, "request.refused", by, no)
	}
	if s.Local(in.Action) {
		return Opened{}, s.refused(ctx, in.Tenant, "request.refused", by, noAction(in.Action))
	}
	action, r, no := s.draft(p, person, in)
	if no != nil {
		return Opened{}, s.refused(ctx, in.Tenant, "request.refused", by, no)
	}
	rule, no, err := s.ruleFor(ctx, p, action, r, in.Targets)
	if err != nil {
		return Opened{}, fmt.Errorf("open request: %w", err)
	}
	if no != nil {
		return Opened{}, s.refused(ctx, in.Tenant, "request.refused", by, no)
	}
	r.Rule = s.asked(link, rule)
	return s.open(ctx, p, action, r, by)
}

// ruleFor is the strictest of the rules of the targets, or why they are not asked
// for together, or at all.
func (s *Service) ruleFor(ctx context.Context, p *policy.Policy, action Action, r Request, targets []TargetInput) (policy.Applied, *Refusal, error) {
	var rule policy.Applied
	for i, t := range targets {
		one, protected, err := s.ruled(ctx, p, r.Tenant, action, r.Params, t)
		switch {
		case err != nil:
			return rule, nil, err
		case protected != "" && action.Target == TargetIndicator:
			return rule, refuse(ErrProtected, protected+".", "Only a rule of mdebot.yaml that asks about the indicator and for two people allows that."), nil
		case protected != "":
			return rule, refuse(ErrProtected, fmt.Sprintf("%s cannot be changed from chat: %s.", r.Targets[i].label(), protected), "Use the Defender portal."), nil
		case t.Machine != nil && one.TierZero && len(targets) > 1:
			return rule, tierZeroAlone(r.Targets[i]), nil
		case i == 0:
			rule = one
		default:
			rule = policy.Stricter(rule, one)
		}
	}
	return rule, nil, nil
}

// tierZeroAlone refuses a request for several machines of which one is tier 0: in
// the middle of a long list it would be approved with the others (threat-model
//
func tierZeroAlone(t Target) *Refusal {
	return refuse(ErrTargets, fmt.Sprintf("%s is tier 0, so it needs a request of its own.", t.label()), "Ask for it alone, and for the others without it.")
}

// decide finds the rule for an action on these machines, or on none.
func decide(p *policy.Policy, a Action, params map[string]string, machines []*policy.Machine) policy.Applied {
	if !a.Target.onMachine() {
		return p.DecideWithoutMachine(a.AsRuled(params))
	}
	return p.Decide(a.AsRuled(params), machines)
}

func noAction(kind string) *Refusal {
	return refuse(ErrUnknownAction, fmt.Sprintf("There is no action %q to ask for.", kind), "See help.")
}

// draft checks what was asked and freezes it, except for number, rule and digest.
func (s *Service) draft(p *policy.Policy, person identity.Person, in OpenInput) (Action, Request, *Refusal) {
	action, ok := s.actions[in.Action]
	if !ok {
		return Action{}, Request{}, noAction(in.Action)
	}
	if !person.Has(action.Role) {
		return Action{}, Request{}, refuse(ErrNotAllowed, fmt.Sprintf("To ask for this you need the role %s.", action.Role),
			"An administrator gives it in mdebot.yaml.")
	}
	params, bad := action.canonical(in.Params)
	if bad != "" {
		return Action{}, Request{}, refuse(ErrUnknownAction, fmt.Sprintf("%s does not take %s=%s.", action.Kind, bad, in.Params[bad]),
			allowedWords(action.Params[bad]))
	}
	reason, no := reasonOf(in.Reason)
	if no != nil {
		return Action{}, Request{}, no
	}
	if pattern := p.Ticket(); pattern != nil && !pattern.MatchString(reason) {
		return Action{}, Request{}, refuse(ErrReason, "The reason names no ticket.", "Add its number to the reason; it has the form "+pattern.String())
	}
	targets, no := targetsOf(action, in.Targets)
	if no != nil {
		return Action{}, Request{}, no
	}
	for i, t := range in.Targets {
		if no := unsupported(action, params, targets[i], t.Machine); no != nil {
			return Action{}, Request{}, no
		}
		if why, yes := p.Protected(action.AsRuled(params), t.Machine); yes && action.Target.onMachine() {
			return Action{}, Request{}, refuse(ErrProtected, fmt.Sprintf("%s cannot be changed from chat: %s.", targets[i].label(), why),
				"Use the Defender portal.")
		}
	}
	return action, Request{
		Tenant: in.Tenant, Action: action.Kind, Params: params, Targets: targets,
		Requester: person.ID, RequesterName: storable(person.Name), RequesterAs: storableAccount(in.By),
		Origin: storable(in.Conversation), OriginThread: storable(in.Thread), Reason: reason,
	}, nil
}

func allowedWords(p Param) string {
	switch {
	case p.Says != "":
		return p.Says
	case len(p.Values) == 0:
		return "Leave it out."
	}
	return fmt.Sprintf("Allowed: %s.", strings.Join(p.Values, ", "))
}

// unsupported refuses what Defender's documentation rules out on the machine's
// system, before anybody is asked to decide it.
func unsupported(action Action, params map[string]string, t Target, m *policy.Machine) *Refusal {
	if m == nil {
		return nil
	}
	for _, d := range action.Doubts(params, m.OS) {
		if d.Never {
			return refuse(ErrUnsupported, fmt.Sprintf("%s runs %s. %s", t.label(), m.OS, d.Long), "Nothing was asked for.")
		}
	}
	return nil
}

func reasonOf(words string) (string, *Refusal) {
	reason := strings.TrimSpace(storable(words))
	switch n := utf8.RuneCountInString(reason); {
	case n == 0:
		return "", refuse(ErrReason, "A reason is needed: it is what the second person decides by.", "Say in a few words why.")
	case n > MaxReason:
		return "", refuse(ErrReason, fmt.Sprintf("The reason has %d characters.", n), fmt.Sprintf("Keep it to %d.", MaxReason))
	}
	return reason, nil
}

func targetsOf(action Action, in []TargetInput) ([]Target, *Refusal) {
	switch n := len(in); {
	case n == 0:
		return nil, refuse(ErrTargets, fmt.Sprintf("Nothing to %s was named.", action.Verb), "Name at least one.")
	case n > MaxTargets:
		return nil, refuse(ErrTargets, fmt.Sprintf("%d targets are too many for one request.", n), fmt.Sprintf("Ask for at most %d at a time.", MaxTargets))
	}
	targets := make([]Target, len(in))
	seen := make(map[string]bool)
	for i, t := range in {
		targets[i] = Target{
			Index: i, Kind: action.Target, ID: storable(t.ID), Name: storable(t.Name),
			Facts: []byte(storable(string(t.Facts))), State: Pending,
		}
		switch {
		case t.ID == "" || action.Target == TargetMachine && t.Machine != nil && t.Machine.ID != t.ID:
			return nil, refuse(ErrTargets, fmt.Sprintf("%s has no certain ID.", targets[i].label()), "Name it by its ID.")
		case seen[t.ID]:
			return nil, refuse(ErrTargets, fmt.Sprintf("%s is named twice.", targets[i].label()), "Name each once.")
		}
		seen[t.ID] = true
	}
	return targets, nil
}

func storableAccount(p identity.Principal) identity.Principal {
	p.Workspace, p.Account = storable(p.Workspace), storable(p.Account)
	p.Address, p.Name = storable(p.Address), storable(p.Name)
	return p
}

// label is how a target is called in sentences.
func (t Target) label() string {
	switch {
	case t.Name == "":
		return t.ID
	case t.ID == "" || t.Kind == TargetRequest:
		return t.Name
	}
	return fmt.Sprintf("%s (%s)", t.Name, t.ID)
}

// open stores the drafted request unless something that lives beside it forbids.
func (s *Service) open(ctx context.Context, p *policy.Policy, action Action, r Request, by actor) (Opened, error) {
	eligible, err := p.Eligible(ctx, s.groups, r.Rule, r.Requester, 0)
	somebody := len(eligible) > 0
	if !somebody && len(r.Rule.Then) > 0 {
		var later []identity.Person
		later, err = p.Eligible(ctx, s.groups, r.Rule, r.Requester, policy.MaxThen)
		somebody = len(later) > 0
	}
	if !somebody && !r.Rule.Alone {
		no := refuse(ErrNobody, fmt.Sprintf("Nobody besides you could approve this now: %s.", needs(r.Rule)),
			"Ask an administrator to add approvers in mdebot.yaml, or use the Defender portal.")
		if err != nil {
			no.Next = "The directory could not be read; try again in a moment, or use the Defender portal."
		}
		return Opened{}, s.refused(ctx, r.Tenant, "request.refused", by, no)
	}
	out := Opened{Eligible: eligible}
	var no *Refusal
	err = s.db.InTx(failpoint.Step(ctx, failpoint.RequestSaved), func(tx durable.Tx) error {
		no, out.Joined = nil, false
		number, err := lockNumbers(ctx, tx, r)
		if err != nil {
			return err
		}
		refusal, err := s.frozenFor(ctx, tx, action, r.Tenant)
		var joined *Request
		if err == nil && refusal == nil {
			joined, refusal, err = s.neighbours(ctx, tx, action, r)
		}
		switch {
		case err != nil:
			return err
		case refusal != nil:
			no = refusal
			return s.record(ctx, tx, Request{Tenant: r.Tenant, ID: no.Request.ID, Digest: no.Request.Digest}, s.now(),
				"request.refused", "refused", by, refusedDetail{Why: no.Sentence, Reason: no.reason.Error()})
		case joined != nil:
			out.Request, out.Joined = *joined, true
			return s.record(ctx, tx, *joined, s.now(), "request.joined", "ok", by, joinedDetail{Reason: r.Reason})
		}
		fresh, err := s.freeze(ctx, tx, p, action, r, number+1)
		if err != nil {
			return err
		}
		out.Request = fresh
		if err := s.store(ctx, tx, action, fresh, by); err != nil || !fresh.Rule.Alone {
			return err
		}
		// Nobody else is needed: it is approved by its own opening.
		return s.changeIn(ctx, tx, fresh.Tenant, fresh.ID, func(e *edit) error {
			return e.approve(ctx, e.decide(nil), p.ExecuteWithin())
		})
	})
	switch {
	case err != nil:
		return Opened{}, fmt.Errorf("open request: %w", err)
	case no != nil:
		return Opened{}, no
	}
	if out.Request.Rule.Alone {
		out.Request, err = s.Request(ctx, r.Tenant, out.Request.ID)
		return out, err
	}
	if r.Rule.Alone { // a limit asks for somebody after all
		if out.Eligible, err = p.Eligible(ctx, s.groups, out.Request.Rule, r.Requester, 0); err != nil {
			s.logger.WarnContext(ctx, "approvers not listed in full", slog.String("approval_id", out.Request.ID), slog.Any("error", err))
		}
	}
	out.Shortfall = s.shortfall(ctx, p, out.Request, out.Eligible)
	return out, nil
}

// lockNumbers makes openings of one tenant wait for each other, which is what
// lets them count and compare, and returns the last number given out.
func lockNumbers(ctx context.Context, tx durable.Tx, r Request) (last int64, err error) {
	if _, err := tx.Exec(ctx, `INSERT INTO request_numbers (tenant, last) VALUES ($1, 0)
		ON CONFLICT (tenant) DO NOTHING`, string(r.Tenant)); err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, `UPDATE request_numbers SET last = last WHERE tenant = $1 RETURNING last`, string(r.Tenant)).Scan(&last)
	return last, err
}

// neighbours looks at the open requests beside r: one that asks for the same is
// joined, others that stand in the way make a refusal.
func (s *Service) neighbours(ctx context.Context, tx durable.Tx, action Action, r Request) (joined *Request, no *Refusal, err error) {
	ids := make(map[string]bool)
	for _, t := range r.Targets {
		err := each(ctx, tx, `SELECT request FROM request_targets
			WHERE tenant = $1 AND kind = $2 AND target = $3 AND family = $4 AND `+unfinished,
			[]any{string(r.Tenant), string(t.Kind), t.ID, action.Family}, func(row durable.Row) error {
				var id string
				err := row.Scan(&id)
				ids[id] = true
				return err
			})
		if err != nil {
			return nil, nil, err
		}
	}
	for id := range ids {
		other, err := load(ctx, tx, r.Tenant, id)
		if err != nil {
			return nil, nil, err
		}
		if len(ids) == 1 && asksTheSame(other, r) {
			return &other, nil, nil
		}
		return nil, s.busy(other, action, r), nil
	}
	pending, err := find(ctx, tx, r.Tenant, `requester = $2 AND state = 'pending'`, r.Requester.String())
	if err != nil {
		return nil, nil, err
	}
	if len(pending) >= MaxPending {
		var numbers []string
		for _, p := range pending {
			numbers = append(numbers, fmt.Sprintf("#%d", p.Number))
		}
		return nil, refuse(ErrTooManyOpen, fmt.Sprintf("You have %d undecided requests already: %s.", len(pending), strings.Join(numbers, ", ")),
			"Withdraw one, or ask for several machines in one request."), nil
	}
	return nil, nil, nil
}

// asksTheSame reports whether everything r asks for is already in other. What is
// unclear has to be settled first, so nothing joins it.
func asksTheSame(other, r Request) bool {
	if other.State == Unknown || other.Action != r.Action || !maps.Equal(other.Params, r.Params) {
		return false
	}
	for _, t := range r.Targets {
		if !slices.ContainsFunc(other.Targets, func(o Target) bool {
			return o.Kind == t.Kind && o.ID == t.ID && !o.State.Resolved()
		}) {
			return false
		}
	}
	return true
}

// busy refuses r because other still covers one of its targets.
func (s *Service) busy(other Request, action Action, r Request) *Refusal {
	name := ""
	for _, t := range r.Targets {
		if slices.ContainsFunc(other.Targets, func(o Target) bool { return o.Kind == t.Kind && o.ID == t.ID && !o.State.Resolved() }) {
			name = t.label()
			break
		}
	}
	verb := other.Action
	if a, ok := s.actions[other.Action]; ok {
		verb = a.Verb
	}
	sentence := fmt.Sprintf("Request #%d by %s, to %s %s, is %s.", other.Number, other.RequesterName, verb, name, other.State)
	next := fmt.Sprintf("Wait until #%d has ended.", other.Number)
	switch {
	case other.State == Unknown:
		next = fmt.Sprintf("Look at the machine in the Defender portal, then: settle %d done, or settle %d not-done.", other.Number, other.Number)
	case other.Action == action.Kind && maps.Equal(other.Params, r.Params):
		sentence = fmt.Sprintf("%s is already in request #%d by %s, which is %s.", name, other.Number, other.RequesterName, other.State)
		next = "Ask for the other machines without it."
	case other.State == Pending || other.State == Approved:
		next = fmt.Sprintf("Have #%d withdrawn or denied, or wait until it has ended.", other.Number)
	}
	return refuse(ErrBusy, sentence, next).about(other)
}

// freeze completes r: number, rule with limits, times and digest.
func (s *Service) freeze(ctx context.Context, tx durable.Tx, p *policy.Policy, action Action, r Request, number int64) (Request, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Request{}, err
	}
	now := s.now()
	if !action.Local() {
		if r.Rule, err = s.limited(ctx, tx, p.Limits(), action, r, now); err != nil {
			return Request{}, err
		}
	}
	r.ID, r.Number, r.Version, r.State = id.String(), number, 1, Pending
	r.Nonce, r.PolicyHash = rand.Text(), p.Hash()
	r.Opened, r.Expires = now, now.Add(p.ExpireAfter())
	r.Targets = slices.Clone(r.Targets)
	for i := range r.Targets {
		r.Targets[i].Updated = now
	}
	r.Digest = digestOf(r)
	return r, nil
}

func (s *Service) store(ctx context.Context, tx durable.Tx, action Action, r Request, by actor) error {
	if _, err := tx.Exec(ctx, `UPDATE request_numbers SET last = $1 WHERE tenant = $2`, r.Number, string(r.Tenant)); err != nil {
		return err
	}
	if err := insertRequest(ctx, tx, r, action.Family); err != nil {
		return err
	}
	if err := s.record(ctx, tx, r, r.Opened, "request.opened", "ok", by, openedDetailOf(r)); err != nil {
		return err
	}
	return s.tell.RequestChanged(ctx, tx, r, ChangeOpened)
}

// limited adds an approver when r goes over a limit. What was denied, withdrawn,
// expired or void took no effect and does not count.
func (s *Service) limited(ctx context.Context, tx durable.Tx, limits policy.Limits, action Action, r Request, now time.Time) (policy.Applied, error) {
	byPerson, inTenant, tierZero := len(r.Targets), len(r.Targets), len(r.Targets)
	recent, err := recentEffects(ctx, tx, r.Tenant, now)
	if err != nil {
		return policy.Applied{}, err
	}
	for _, e := range recent {
		if a := s.actions[e.action]; a.Local() || a.Undo != action.Undo || a.Alone(e.params) != action.Alone(r.Params) {
			continue
		}
		if e.rule.TierZero {
			tierZero += e.targets
		}
		if e.lastHour {
			inTenant += e.targets
			if e.requester == r.Requester {
				byPerson += e.targets
			}
		}
	}
	rule := r.Rule
	if byPerson > limits.PerPersonPerHour {
		rule = rule.Raised(fmt.Sprintf("more than %d by one person in an hour", limits.PerPersonPerHour))
	}
	if inTenant > limits.PerTenantPerHour {
		rule = rule.Raised(fmt.Sprintf("more than %d in an hour", limits.PerTenantPerHour))
	}
	if rule.TierZero && tierZero > limits.TierZeroPerDay {
		rule = rule.Raised(fmt.Sprintf("more than %d on tier 0 in a day", limits.TierZeroPerDay))
	}
	return rule, nil
}

// shortfall says why the people who could approve r now are not enough.
func (s *Service) shortfall(ctx context.Context, p *policy.Policy, r Request, eligible []identity.Person) string {
	enough, err := p.Satisfiable(ctx, s.groups, r.Rule, r.Requester, 0)
	if err == nil && enough {
		return ""
	}
	var names []string
	for _, person := range eligible {
		names = append(names, person.Name)
	}
	who := "Nobody"
	if len(names) > 0 {
		who = "Only " + strings.Join(names, ", ")
	}
	why := fmt.Sprintf("%s can approve this now, which is not enough: %s.", who, needs(r.Rule))
	if next := r.Rule.NextGroups(1); len(next) > 0 {
		why += fmt.Sprintf(" In %d minutes %s can, too.", int(policy.NextAfter.Minutes()), strings.Join(next, ", "))
	}
	if err != nil {
		why += " The directory could not be read completely."
	}
	return why
}

// needs says what a rule asks for.
func needs(rule policy.Applied) string {
	if rule.Alone {
		return "it needs nobody else"
	}
	if len(rule.Each) == 0 {
		return "it needs " + peopleFrom(max(rule.Approvers, len(rule.Groups())), rule.Groups())
	}
	var parts []string
	for _, d := range rule.Each {
		parts = append(parts, peopleFrom(d.Approvers, d.From))
	}
	return "it needs " + strings.Join(parts, ", and ")
}

func peopleFrom(n int, groups []string) string {
	people := "one person"
	if n > 1 {
		people = fmt.Sprintf("%d people", n)
	}
	switch {
	case len(groups) > 1:
		return fmt.Sprintf("%s, and each of %s", people, strings.Join(groups, ", "))
	case groups[0] == policy.RoleApprovers:
		return people + " with the role approver"
	}
	return people + " from " + groups[0]
}

type joinedDetail struct {
	Reason string `json:"reason"`
}

// openedDetail is the request as its voters see it.
type openedDetail struct {
	Number  int64             `json:"number"`
	Action  string            `json:"action"`
	Params  map[string]string `json:"params"`
	Targets []openedTarget    `json:"targets"`
	Reason  string            `json:"reason"`
	Rule    policy.Applied    `json:"rule"`
	Nonce   string            `json:"nonce"`
	Expires time.Time         `json:"expires"`
}

type openedTarget struct {
	Kind  TargetKind      `json:"kind"`
	ID    string          `json:"id"`
	Name  string          `json:"name"`
	Facts json.RawMessage `json:"facts,omitempty"`
}

func openedDetailOf(r Request) openedDetail {
	d := openedDetail{
		Number: r.Number, Action: r.Action, Params: r.Params, Reason: r.Reason,
		Rule: r.Rule, Nonce: r.Nonce, Expires: r.Expires,
	}
	for _, t := range r.Targets {
		d.Targets = append(d.Targets, openedTarget{Kind: t.Kind, ID: t.ID, Name: t.Name, Facts: t.Facts})
	}
	return d
}
