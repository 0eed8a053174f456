package commands

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
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

const (
	// nowBudget bounds what is done before the first answer: platforms drop an
	// answer that comes after three seconds.
	nowBudget = 1500 * time.Millisecond
	// workBudget bounds the work of a command that names no other limit.
	workBudget = time.Minute
)

// Config is what a Router works with. Everything but Groups, People and
// Ran is required.
type Config struct {
	// Tenants are those served. Where there is one, it has no name and Tenant,
	// Defender, Hunter and Portal may be given instead; where there are several,
	// Tenant is the bot's own, for what is about no tenant.
	Tenants  []Tenant
	Tenant   tenant.ID
	Defender Defender
	Hunter   Hunter
	// Background reads and hunts for what nobody waits for.
	Background Background
	// Indicators are read with the acting application.
	Indicators IndicatorReader
	Approvals  Approvals
	Policy     *policy.Source
	Groups     policy.GroupSource
	Links      Links
	// People are asked beside the chat platforms; nil leaves it to those.
	People    identity.People
	Directory identity.Directory
	Inbox     Inbox
	Recorder  Recorder
	Watcher   Watcher
	Mutes     Mutes
	History   History
	Schedules Schedules
	Subjects  Subjects
	Status    StatusSource
	Portal    cards.Portal
	Pages     func(address string) (defender.PortalPage, bool)
	Now       func() time.Time
	Logger    *slog.Logger
	// Ran is told the name of every command that was carried out and its outcome:
	// answered, refused or failed. Nil means nobody.
	Ran func(ctx context.Context, command, outcome string)
}

// Router answers invocations. It implements [chat.Handler].
type Router struct {
	Config
	specs  []Spec
	byName map[string]*Spec // every name and alias, in lower case
	// tenantName is set on the router of one of several tenants.
	tenantName string
	choices    *choices
	reads      *limiter
	hunts      *limiter
	// changes limits what asks for something: each costs writes, cards and calls.
	changes *limiter
	drafts  *drafts
	offers  *offers
	shown   *shown
	// redraws limits how often somebody's clients draw messages anew.
	redraws *limiter
	// running are the hunts under way in this process.
	running *runningHunts
	// looks limits how often somebody's own page is drawn, lists shares what several
	// of them show.
	looks *limiter
	// previewed limits how much is shown below addresses in one channel, and for how many
	// messages of one account.
	previewed *limiter
	lists     *homeLists
}

// New returns a Router over all [Specs].
func New(c Config) *Router {
	r := &Router{
		Config:    c,
		specs:     Specs(),
		byName:    map[string]*Spec{},
		reads:     newLimiter(60, time.Minute, c.Now),
		hunts:     newLimiter(huntsPerHour, time.Hour, c.Now),
		changes:   newLimiter(30, time.Minute, c.Now),
		drafts:    newDrafts(c.Now),
		choices:   newChoices(c.Now),
		offers:    newOffers(c.Now),
		shown:     newShown(c.Now),
		running:   newRunningHunts(),
		looks:     newLimiter(30, time.Minute, c.Now),
		lists:     newHomeLists(c.Now),
		previewed: newLimiter(10, time.Minute, c.Now),
		redraws:   newLimiter(120, time.Minute, c.Now),
	}
	if len(r.Tenants) > 0 {
		first := r.Tenants[0]
		r.Defender, r.Hunter, r.Indicators, r.Portal = first.Defender, first.Hunter, first.Indicators, first.Portal
		r.Background = first.Background
		r.Pages = first.Pages
		if !r.several() {
			r.Tenant = first.ID
		}
	}
	if r.several() {
		for i := range r.specs {
			if r.specs[i].aboutTenant() {
				r.specs[i].Flags = append(slices.Clone(r.specs[i].Flags), tenantFlag)
			}
		}
	}
	for i := range r.specs {
		for _, name := range r.specs[i].names() {
			if r.byName[name] != nil {
				panic("two commands are called " + name)
			}
			r.byName[name] = &r.specs[i]
		}
	}
	return r
}

// Handle answers inv. It returns within two seconds; the work is in Later.
func (r *Router) Handle(ctx context.Context, inv chat.Invocation) chat.Response {
	if inv.Kind == chat.Suggest {
		return chat.Response{Options: r.suggest(ctx, inv)}
	}
	if inv.Kind == chat.Links {
		return r.links(inv)
	}
	if inv.Kind == chat.Find {
		return r.find(inv)
	}
	if inv.Kind == chat.View {
		return chat.Response{Replace: r.view(ctx, inv)}
	}
	if inv.Kind == chat.Shortcut {
		inv.Text = chat.WithoutSecrets(inv.Text) // it is somebody's message, and the rest of it can be looked up
	}
	if holdsSecret(inv) {
		return answerNow(chat.Asker, r.explain(ctx, nil, errSecret))
	}
	c, err := r.callOf(inv)
	if err != nil {
		return answerNow(chat.Asker, r.explain(ctx, c, err))
	}
	if errs := fieldErrors(c); len(errs) > 0 {
		return chat.Response{Errors: errs}
	}
	of, err := r.tenantOf(c)
	if err != nil {
		return answerNow(c.spec.Audience, r.explain(ctx, c, err))
	}
	if c.share != "" {
		return of.showAll(ctx, c)
	}
	if c.form != nil {
		form, err := of.openForm(ctx, c)
		if err != nil {
			return answerNow(c.spec.Audience, of.marked(of.explain(ctx, c, err)))
		}
		if form != nil && c.everyTenant {
			return answerNow(c.spec.Audience, r.explain(ctx, c, usageError(c, "With --tenant all, everything it takes has to be typed.")))
		}
		if form != nil {
			return chat.Response{Form: of.markedForm(form)}
		}
	}
	busy := chat.Plain("Working on it …")
	if c.spec.busy != nil {
		busy = c.spec.busy(c)
	}
	resp := answerNow(c.audience(), chat.Message{Title: busy})
	resp.Later = func(ctx context.Context, out chat.Replier) { of.work(ctx, c, out) }
	return resp
}

// errSecret answers words that must not be kept, neither here nor in the audit log
// (threat-model C-07).
var errSecret = say("That holds what looks like a token, a client secret or a private key, so nothing of it is done or kept.",
	"Write it without that part. Whoever could read it here may have it now: replace it.")

func holdsSecret(inv chat.Invocation) bool {
	for _, words := range inv.Fields {
		if chat.HoldsSecret(words) {
			return true
		}
	}
	return chat.HoldsSecret(inv.Text)
}

func answerNow(a chat.Audience, m chat.Message) chat.Response {
	return chat.Response{Audience: a, Message: &m}
}

// callOf turns an invocation of any kind into a call.
func (r *Router) callOf(inv chat.Invocation) (*call, error) {
	if inv.Kind == chat.Command {
		return r.parse(inv)
	}
	var boundTo tenant.ID
	if r.several() {
		boundTo, inv.Value = cards.TenantOfValue(inv.Value)
	}
	if inv.Action == cards.ActionShare {
		c, err := r.shareCall(inv)
		if err == nil {
			c.boundTo = boundTo
		}
		return c, err
	}
	d, ok := doors[inv.Action]
	if !ok {
		return nil, say("This button is from another version of mdebot.", "Type the command instead; help lists them.")
	}
	c := &call{spec: r.byName[d.spec], inv: inv, flags: map[string]string{}, run: d.run, form: d.form, personal: d.personal, boundTo: boundTo, anyTenant: d.anyTenant}
	if c.run == nil {
		c.run = c.spec.run
	}
	c.args = []token{{text: inv.Value, quoted: true}}
	return c, nil
}

// audience is who sees c's answer.
func (c *call) audience() chat.Audience {
	switch {
	case c.personal:
		return chat.Personal
	case c.flags[publicFlag.Name] != "":
		return chat.Everyone
	}
	return c.spec.Audience
}

// openForm decides whether something has to be asked first. Only those who may
// use the command get the form.
func (r *Router) openForm(ctx context.Context, c *call) (*chat.Form, error) {
	ctx, cancel := context.WithTimeout(ctx, nowBudget)
	defer cancel()
	if err := r.authorise(ctx, c); err != nil {
		return nil, err
	}
	kept, err := r.within(ctx, c)
	if err != nil {
		return nil, err
	}
	return c.form(kept, ctx, c)
}

// work does what c asks for and always answers.
func (r *Router) work(ctx context.Context, c *call, out chat.Replier) {
	limit := c.spec.limit
	if limit == 0 {
		limit = workBudget
	}
	started := r.Now()
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c.out = out
	m, err := r.carryOut(bounded, c)
	outcome := "answered"
	if err != nil {
		m, outcome = r.explain(ctx, c, err), r.refusedOrFailed(c, err)
	} else {
		m = r.withShare(c, m)
	}
	if r.Ran != nil {
		r.Ran(ctx, c.spec.Name, outcome)
	}
	if err := out.Answer(ctx, r.marked(m)); err != nil {
		r.Logger.WarnContext(ctx, "answer not delivered", "command", c.spec.Name, "error", err)
	}
	r.Logger.InfoContext(ctx, "command ran", "command", c.spec.Name, "platform", string(c.inv.By.Platform),
		"person_id", c.who.Person.ID.String(), "tenant_id", string(r.Tenant), "refused", err != nil, "duration", r.Now().Sub(started))
}

// carryOut authorises and runs c. A panic is an error like another: whoever
// clicked still gets an answer.
func (r *Router) carryOut(ctx context.Context, c *call) (m chat.Message, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	if err := r.authorise(ctx, c); err != nil {
		return chat.Message{}, err
	}
	kept, err := r.within(ctx, c)
	if err != nil {
		return chat.Message{}, err
	}
	c.scoped = kept.scoped()
	if !c.spec.Changes {
		if wait, ok := r.reads.allow(c.who.key()); !ok {
			return chat.Message{}, say("That is a lot of questions in a minute.", again(wait))
		}
		if c.everyTenant {
			return r.askAll(ctx, c)
		}
		return c.run(kept, ctx, c)
	}
	if wait, ok := r.changes.allow(c.who.key()); !ok {
		return chat.Message{}, say("That is a lot to ask for in a minute, and nothing of this one was done.", again(wait))
	}
	first, err := r.Inbox.FirstDelivery(ctx, r.Tenant, c.inv.Delivery)
	if err != nil {
		return chat.Message{}, err
	}
	if !first {
		return chat.Message{}, say("This was delivered twice and is done once.", "See requests for what is open.")
	}
	return c.run(kept, ctx, c)
}

// refusedOrFailed tells what people may be told from what only the log knows.
func (r *Router) refusedOrFailed(c *call, err error) string {
	var s *sorry
	if errors.As(err, &s) || r.known(c, err) != nil {
		return "refused"
	}
	return "failed"
}

// explain is the answer to err: its own sentence when it is meant for people,
// otherwise a reference under which the log has the details.
func (r *Router) explain(ctx context.Context, c *call, err error) chat.Message {
	var s *sorry
	if errors.As(err, &s) {
		return s.message()
	}
	if s := r.known(c, err); s != nil {
		return s.message()
	}
	ref := strings.ToLower(uuid.NewString()[:4])
	attrs := []any{"ref", ref, "error", err, "tenant_id", string(r.Tenant)}
	if c != nil {
		attrs = append(attrs, "command", c.spec.Name, "person_id", c.who.Person.ID.String())
	}
	r.Logger.ErrorContext(ctx, "command failed", attrs...)
	return chat.Message{
		Title: chat.Plain("Something went wrong (ref " + ref + ")"),
		Tone:  chat.Danger,
		Note:  chat.Plain("The details are in mdebot's log under that ref. Nothing is known to have changed; look before you try again."),
	}
}
