package commands

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

func requestSpecs() []Spec {
	return []Spec{
		{
			Name: "requests", Usage: "requests", Summary: "What waits or runs, first what you can decide.",
			Role: identity.Viewer, Access: ReadersToo, Flags: []Flag{publicFlag}, Examples: []string{"requests"},
			run: (*Router).requests,
		},
		{
			Name: "approve", Usage: "approve <number>", Summary: "Show a request's card to you, with its Approve button.",
			Audience: chat.Personal, Changes: true, Examples: []string{"approve 142"},
			run: (*Router).showRequest,
		},
		{
			Name: "deny", Usage: "deny <number> [why]", Summary: "Deny a request, with your reason; a form asks for it.",
			Audience: chat.Personal, Changes: true, Examples: []string{"deny 142", "deny 142 wrong machine"},
			asks: func(*call) bool { return true }, form: (*Router).denyTyped, run: (*Router).showRequest,
		},
		{
			Name: "withdraw", Usage: "withdraw <number>", Summary: "Take your own request back.",
			Changes: true, Examples: []string{"withdraw 142"},
			run: (*Router).withdraw,
		},
		{
			Name: "settle", Usage: "settle <number> <done|not-done> [machine] <what you saw>",
			Summary: "Say what became of a request whose outcome is unclear; a second person must approve.",
			Role:    identity.Responder, Changes: true, SecondPerson: true,
			Examples: []string{"settle 142 not-done the portal shows no isolation"},
			run:      (*Router).settle,
		},
	}
}

func (r *Router) requests(ctx context.Context, c *call) (chat.Message, error) {
	if len(c.args) > 0 {
		return chat.Message{}, usageError(c, "requests takes no number; approve <number> shows one request.")
	}
	live, err := r.Approvals.Live(ctx, r.Tenant)
	if err != nil {
		return chat.Message{}, err
	}
	m := cards.RequestList(cards.RequestQueue{
		Requests: live, Now: r.Now(),
		Mine: func(q approvals.Request) bool { return r.Approvals.NeedsVote(ctx, q, c.who.Person.ID) },
	})
	if c.inv.In.Direct {
		m.Views = &chat.Views{Action: cards.ActionViewQueue, For: []identity.Principal{c.inv.By}}
	}
	return m, nil
}

// requestOf returns the request that c is about: by the number typed first, or
// the one of the thread.
func (r *Router) requestOf(ctx context.Context, c *call) (q approvals.Request, rest int, err error) {
	if typed := strings.TrimPrefix(c.arg(0), "#"); isDigits(typed) {
		n, err := strconv.ParseInt(typed, 10, 64)
		if err != nil {
			return q, 0, usageError(c, "That is not the number of a request.")
		}
		q, err = r.Approvals.ByNumber(ctx, r.Tenant, n)
		return q, 1, err
	}
	s, ok, err := r.subject(ctx, c.inv.In)
	if err != nil {
		return q, 0, err
	}
	if ok && s.Kind == SubjectRequest {
		q, err = r.Approvals.Request(ctx, r.Tenant, s.ID)
		return q, 0, err
	}
	return q, 0, usageError(c, "Which request? Give its number; requests lists them.")
}

// showRequest answers a typed approve, and a deny of what cannot be denied any more.
// The vote is the button on the card, so that nobody approves what they have not
// seen.
func (r *Router) showRequest(ctx context.Context, c *call) (chat.Message, error) {
	q, _, err := r.requestOf(ctx, c)
	if err != nil {
		return chat.Message{}, err
	}
	m, err := r.requestCard(ctx, q)
	if err != nil {
		return chat.Message{}, err
	}
	switch {
	case q.State != approvals.Pending || c.spec.Name == "deny":
	default:
		m.Note = chat.Join(chat.Plain("Nothing is decided yet: read the card, then use its buttons. "), m.Note)
	}
	return m, nil
}

func (r *Router) clickRequest(ctx context.Context, c *call) (chat.Message, error) {
	id, _, ok := cards.ParseRequestValue(c.inv.Value)
	if !ok {
		return chat.Message{}, errOldButton
	}
	q, err := r.Approvals.Request(ctx, r.Tenant, id)
	if err != nil {
		return chat.Message{}, err
	}
	return r.requestCard(ctx, q)
}

var errOldButton = say("This button is from another version of mdebot.", "Type requests to list what is open.")

// clickVote takes the vote of a button or of the denial form, for exactly what
// the card showed.
func (r *Router) clickVote(ctx context.Context, c *call) (chat.Message, error) {
	id, digest, ok := cards.ParseRequestValue(c.inv.Value)
	if !ok {
		return chat.Message{}, errOldButton
	}
	in := approvals.VoteInput{
		Asked: c.asked(), Tenant: r.Tenant, Request: id, Digest: digest,
		Deny: c.spec.Name == "deny", Reason: denialOf(c.inv.Fields),
	}
	result, err := r.Approvals.Vote(ctx, in)
	var no *approvals.Refusal
	if errors.Is(err, approvals.ErrStepUp) && errors.As(err, &no) {
		return r.offerStepUp(ctx, c, no, digest)
	}
	if err != nil {
		return chat.Message{}, err
	}
	return voted(result, in.Deny), nil
}

// clickReport denies a request and tells the ops channel that somebody found it
// wrong. The card says no more than that it was denied: whoever is under pressure
// must be able to say no without the one who presses reading why (threat-model
//
func (r *Router) clickReport(ctx context.Context, c *call) (chat.Message, error) {
	m, err := r.clickVote(ctx, c)
	if err != nil {
		return chat.Message{}, err
	}
	id, _, _ := cards.ParseRequestValue(c.inv.Value)
	if err := r.record(ctx, c, "request.reported", "ok", map[string]string{"request": id}); err != nil {
		return chat.Message{}, err
	}
	m.Note = chat.Plain("The ops channel is told that you reported it, and nobody else.")
	return m, nil
}

// offerStepUp answers an approval that needs a fresh sign-in with the address for
// it.
func (r *Router) offerStepUp(ctx context.Context, c *call, no *approvals.Refusal, digest string) (chat.Message, error) {
	o, err := r.Links.StepUp(ctx, c.linkAsked(), no.Request.ID, digest, cards.RequestReply(no.Request).Title.String())
	if err != nil {
		return chat.Message{}, err
	}
	return chat.Message{}, instead(cards.StepUp(no, o.URL, o.Expires))
}

func voted(v approvals.VoteResult, deny bool) chat.Message {
	// The card has the rest, and whoever votes has it in front of them.
	m := cards.RequestReply(v.Request)
	m.Buttons, m.Facts = nil, nil
	what := "Your approval counts. "
	if deny {
		what = "Your denial counts. "
	}
	m.Title = chat.Join(chat.Plain(what), m.Title)
	if missing := v.Decision.Needed - len(v.Decision.Counted); !deny && v.Request.State == approvals.Pending && missing > 0 {
		m.Note = chat.Plain("Still needed: " + approvalsWord(missing) + ".")
	}
	return m
}

// clickDenyForm asks for the reason of a denial, of exactly what the card showed.
func (r *Router) clickDenyForm(ctx context.Context, c *call) (*chat.Form, error) {
	id, _, ok := cards.ParseRequestValue(c.inv.Value)
	if !ok {
		return nil, errOldButton
	}
	q, err := r.Approvals.Request(ctx, r.Tenant, id)
	if err != nil {
		return nil, err
	}
	return denyForm(q, c.inv.Value, ""), nil
}

// denyTyped asks for the reason of a typed denial, and shows what it is about. A
// request that the person cannot deny is shown as it is, by the command itself.
func (r *Router) denyTyped(ctx context.Context, c *call) (*chat.Form, error) {
	q, rest, err := r.requestOf(ctx, c)
	if err != nil {
		return nil, err
	}
	if q.State != approvals.Pending && q.State != approvals.Approved || c.who.Person.ID == q.Requester {
		return nil, nil
	}
	return denyForm(q, cards.RequestValue(q.ID, q.Digest), c.words(rest)), nil
}

// denials are what people mostly say, so that nobody has to type on a phone.
var denials = []chat.Option{
	{Label: "Wrong machine", Value: "machine"},
	{Label: "Not convincing: more facts are needed", Value: "facts"},
	{Label: "Known and harmless", Value: "harmless"},
	{Label: "Too much harm to the business now", Value: "harm"},
	{Label: "Something milder will do", Value: "milder"},
}

func denyForm(q approvals.Request, value, typed string) *chat.Form {
	intro := chat.Join(cards.RequestReply(q).Title, chat.Plain(". Asked by "), chat.Untrusted(q.RequesterName), chat.Plain(": "),
		chat.Untrusted(chat.Visible(q.Reason, 300)), chat.Plain(" One denial ends the request. What you choose and write is shown on its card."))
	return &chat.Form{
		Action: cards.ActionDenySubmit, Value: value, Title: "Deny request", Submit: "Deny", Intro: intro,
		Fields: []chat.Field{
			{ID: cards.FieldWhat, Label: "Why", Kind: chat.FieldSelect, Optional: true, Placeholder: "Choose one, or write below", Options: denials},
			{
				ID: cards.FieldReason, Label: "In your words", Kind: chat.FieldArea, Optional: true, Initial: typed, MaxLength: maxDenial,
				Hint: "The requester reads this.",
			},
		},
	}
}

// maxDenial is how long the words of a denial are: with a choice before them they
// still fit the card.
const maxDenial = approvals.MaxReason - 50

// denialOf is the reason that a form of [denyForm] gives, and "" without a form.
func denialOf(fields map[string]string) string {
	words := strings.TrimSpace(fields[cards.FieldReason])
	for _, o := range denials {
		if o.Value != fields[cards.FieldWhat] {
			continue
		}
		if words == "" {
			return o.Label
		}
		return o.Label + ". " + words
	}
	return words
}

// checkDenial wants a reason, chosen or written, of a length that the card shows.
func checkDenial(fields map[string]string) map[string]string {
	switch n := utf8.RuneCountInString(strings.TrimSpace(fields[cards.FieldReason])); {
	case denialOf(fields) == "":
		return map[string]string{cards.FieldReason: "Choose a reason or write one. Deny on the card needs none."}
	case n > maxDenial:
		return map[string]string{cards.FieldReason: fmt.Sprintf("These are %d characters; keep it to %d.", n, maxDenial)}
	}
	return nil
}

func (r *Router) withdraw(ctx context.Context, c *call) (chat.Message, error) {
	q, rest, err := r.requestOf(ctx, c)
	if err != nil {
		return chat.Message{}, err
	}
	if rest < len(c.args) {
		return chat.Message{}, usageError(c, "withdraw takes one number.")
	}
	return r.withdrawRequest(ctx, c, q.ID)
}

func (r *Router) clickWithdraw(ctx context.Context, c *call) (chat.Message, error) {
	id, _, ok := cards.ParseRequestValue(c.inv.Value)
	if !ok {
		return chat.Message{}, errOldButton
	}
	return r.withdrawRequest(ctx, c, id)
}

func (r *Router) withdrawRequest(ctx context.Context, c *call, id string) (chat.Message, error) {
	q, err := r.Approvals.Withdraw(ctx, approvals.WithdrawInput{Asked: c.asked(), Tenant: r.Tenant, Request: id})
	if err != nil {
		return chat.Message{}, err
	}
	m := cards.RequestReply(q)
	m.Buttons = nil
	return m, nil
}

func (r *Router) settle(ctx context.Context, c *call) (chat.Message, error) {
	q, rest, err := r.requestOf(ctx, c)
	if err != nil {
		return chat.Message{}, err
	}
	outcome := strings.ToLower(c.arg(rest))
	if outcome != approvals.SettleDone && outcome != approvals.SettleNotDone {
		return chat.Message{}, usageError(c, "Say done or not-done, as the Defender portal shows it.")
	}
	rest++
	target := ""
	for _, t := range q.Targets {
		if word := c.arg(rest); t.State == approvals.Unknown && (strings.EqualFold(word, t.ID) || strings.EqualFold(word, t.Name)) {
			target = t.ID
		}
	}
	if target != "" {
		rest++
	}
	saw := strings.TrimSpace(c.words(rest))
	if saw == "" {
		return chat.Message{}, usageError(c, "Say in a few words what you saw, and where: the second person decides by it.")
	}
	opened, err := r.Approvals.Settle(ctx, approvals.SettleInput{
		Asked: c.asked(), Tenant: r.Tenant, Request: q.ID, Target: target, Outcome: outcome, Reason: saw,
	})
	if err != nil {
		return chat.Message{}, err
	}
	return openedMessage(opened), nil
}

// clickAgain opens a form filled with what has expired, failed or become void.
func (r *Router) clickAgain(ctx context.Context, c *call) (*chat.Form, error) {
	id, _, ok := cards.ParseRequestValue(c.inv.Value)
	if !ok {
		return nil, errOldButton
	}
	p, err := r.askedAgain(ctx, c, id)
	if err != nil {
		return nil, err
	}
	f := askForm(p.Action, p.Reason)
	f.Action, f.Value, f.Title = cards.ActionAgainSubmit, c.inv.Value, "Ask again"
	var names chat.Text
	for i, t := range p.Targets[:min(len(p.Targets), namesShown)] {
		if i > 0 {
			names = chat.Join(names, chat.Plain(", "))
		}
		names = chat.Join(names, chat.Untrusted(t.Name))
	}
	if more := len(p.Targets) - namesShown; more > 0 {
		names = chat.Join(names, chat.Plain(fmt.Sprintf(" and %d more", more)))
	}
	f.Intro = chat.Join(chat.Untrusted(p.Action), chat.Plain(" "), names, chat.Plain(". "), f.Intro)
	return f, nil
}

// askedAgain is what is asked again, for people who may use its command.
func (r *Router) askedAgain(ctx context.Context, c *call, id string) (approvals.Prefill, error) {
	p, err := r.Approvals.AskAgain(ctx, r.Tenant, id)
	if err != nil {
		return p, err
	}
	spec, ok := r.byName[p.Action]
	if !ok {
		return p, errOldButton
	}
	c.spec = spec
	return p, r.authorise(ctx, c)
}

// submitAgain opens a new request for the same targets, by their IDs, with facts
// read afresh.
func (r *Router) submitAgain(ctx context.Context, c *call) (chat.Message, error) {
	id, _, ok := cards.ParseRequestValue(c.inv.Value)
	if !ok {
		return chat.Message{}, errOldButton
	}
	p, err := r.askedAgain(ctx, c, id)
	if err != nil {
		return chat.Message{}, err
	}
	entry := registry[p.Action]
	ask, ok := repeats[entry.Target]
	if !ok {
		return chat.Message{}, errOldButton
	}
	return ask(r, ctx, c, p, strings.TrimSpace(c.inv.Fields[cards.FieldReason]))
}

// repeats asks again for what a request was about, by the kind of its targets.
var repeats = map[approvals.TargetKind]func(r *Router, ctx context.Context, c *call, p approvals.Prefill, reason string) (chat.Message, error){
	approvals.TargetMachine: func(r *Router, ctx context.Context, c *call, p approvals.Prefill, reason string) (chat.Message, error) {
		o := order{reason: reason, params: p.Params}
		for _, t := range p.Targets {
			o.machines = append(o.machines, t.ID)
		}
		return r.request(ctx, c, o)
	},
	approvals.TargetIndicator: (*Router).indicatorsAgain,
	approvals.TargetMachineAction: func(r *Router, ctx context.Context, c *call, p approvals.Prefill, reason string) (chat.Message, error) {
		return r.requestCancel(ctx, c, p.Targets[0].ID, reason)
	},
}

// approvalsWord is "1 approval" or "2 approvals".
func approvalsWord(n int) string {
	if n == 1 {
		return "1 approval"
	}
	return fmt.Sprintf("%d approvals", n)
}
