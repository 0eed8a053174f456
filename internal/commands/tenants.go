package commands

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Tenant is one Defender tenant as commands reach it.
type Tenant struct {
	ID   tenant.ID
	Name string // "" where there is only one

	Defender Defender
	Hunter   Hunter
	// Background reads and hunts for what nobody waits for.
	Background Background
	// Indicators are read with the acting application.
	Indicators IndicatorReader
	Portal     cards.Portal
	// Pages tells what an address of the tenant's portal is about; nil knows none.
	Pages func(address string) (defender.PortalPage, bool)
}

// How a call came to its tenant. Only the surer ways may change something.
type tenantBy int

const (
	onlyTenant tenantBy = iota
	byChannel
	byFlag
	byButton // of a card that is about the tenant
	byChoice // made by the person earlier, for reads
)

var tenantFlag = Flag{Name: "tenant", Value: "<name>", Summary: "which tenant; in a channel bound to one it may be left out"}

// allTenants is the value of --tenant that means every tenant of the person.
const allTenants = "all"

// several reports whether there is more than one tenant to tell apart.
func (r *Router) several() bool { return len(r.Tenants) > 0 && r.Tenants[0].Name != "" }

// aboutTenant reports whether a command is about a tenant's data; the others are
// about the person or the bot.
func (s Spec) aboutTenant() bool {
	switch s.Name {
	case "whoami", "status", "help", "link", "unlink", "confirm-link", "tenant":
		return false
	}
	return true
}

// forAll reports whether a command can be asked of every tenant at once.
func (s Spec) forAll() bool {
	return slices.Contains([]string{"lookup", "alerts", "isolated", "run"}, s.Name)
}

// forAllWords are those commands as people type them.
const forAllWords = "lookup, alerts, isolated and hunt run"

// title is what the answer of several tenants is called.
func (c *call) title() string {
	if c.spec.Name == "run" {
		return "Hunt " + c.arg(0)
	}
	return c.spec.Name
}

// in is the router of one tenant: its client, its policy, its records. Nothing
// that it reads comes from another's.
func (r *Router) in(t Tenant) *Router {
	if !r.several() {
		return r
	}
	own := *r
	own.Tenant, own.tenantName = t.ID, t.Name
	own.Defender, own.Hunter, own.Indicators, own.Portal = t.Defender, t.Hunter, t.Indicators, t.Portal
	own.Background = t.Background
	own.Pages = t.Pages
	own.Policy = r.Policy.In(t.ID)
	return &own
}

func (r *Router) tenantByID(id tenant.ID) (Tenant, bool) {
	i := slices.IndexFunc(r.Tenants, func(t Tenant) bool { return strings.EqualFold(string(t.ID), string(id)) })
	if i < 0 {
		return Tenant{}, false
	}
	return r.Tenants[i], true
}

// tenantOf finds the tenant that a call is about and the router to run it with.
// There is no default: what names none is refused (threat-model M-02).
func (r *Router) tenantOf(c *call) (*Router, error) {
	if !r.several() || !c.spec.aboutTenant() || c.anyTenant {
		return r, nil
	}
	word, byName := c.flags[tenantFlag.Name]
	switch {
	case c.boundTo != "":
		t, ok := r.tenantByID(c.boundTo)
		if !ok {
			return nil, say("This button is about a tenant that mdebot no longer serves.", "Nothing was done.")
		}
		c.tenantBy = byButton
		return r.in(t), nil
	case byName && strings.EqualFold(word, allTenants):
		if !c.spec.forAll() {
			return nil, say(c.spec.Name+" works on one tenant at a time.", "Only "+forAllWords+" take --tenant all.")
		}
		c.everyTenant = true
		return r, nil
	case byName:
		named, known := r.Policy.Current().TenantNamed(word)
		t, ok := r.tenantByID(named.ID)
		if !known || !ok {
			return nil, sayOf("There is no tenant ", word, ".", "tenant lists those you may work on.")
		}
		c.tenantBy = byFlag
		return r.in(t), nil
	}
	if own := r.here(c); own != nil && (c.tenantBy == byChannel || !c.spec.Changes) {
		return own, nil
	}
	next := "Add --tenant and its name; tenant lists those you may work on."
	if c.spec.Changes {
		next = "Ask in a channel that is bound to it, or add --tenant and its name. A tenant chosen for reading does not count here."
	}
	if c.inv.Kind == chat.Shortcut {
		next = "Choose one with tenant and its name, then use the shortcut again."
	}
	return nil, say("Which tenant? This conversation is bound to none.", next)
}

// here is the router of the tenant that the conversation is bound to, or else of the
// one that the person chose for reading; nil when there is neither.
func (r *Router) here(c *call) *Router {
	if bound, ok := r.Policy.Current().TenantOf(c.inv.In.String()); ok {
		if t, ok := r.tenantByID(bound.ID); ok {
			c.tenantBy = byChannel
			return r.in(t)
		}
	}
	if id, _, ok := r.choices.get(c.inv.By.Key()); ok {
		if t, ok := r.tenantByID(id); ok {
			c.tenantBy = byChoice
			return r.in(t)
		}
	}
	return nil
}

// mayWorkOn refuses people whom the tenant's entry does not name (threat-model
// M-03). Unlinked readers are let in by the bound channel alone.
func (r *Router) mayWorkOn(c *call) error {
	if r.tenantName == "" {
		return nil
	}
	if _, ok := r.Policy.Current().Book().Person(c.who.Person.ID); ok {
		return nil
	}
	if c.who.Person.ID.IsZero() && c.tenantBy == byChannel {
		return nil
	}
	return sayOf("You have no grant for the tenant ", r.tenantName, ".", "An admin names one of your groups under people of that tenant in mdebot.yaml.")
}

// marked shows the tenant in an answer and binds its buttons to it.
func (r *Router) marked(m chat.Message) chat.Message {
	return cards.ForTenant(m, r.Tenant, r.tenantName)
}

func (r *Router) markedForm(f *chat.Form) *chat.Form {
	if f == nil || r.tenantName == "" {
		return f
	}
	own := *f
	own.Value = cards.BindTenant(r.Tenant, f.Value)
	own.Intro = chat.Join(chat.Plain("Tenant "), chat.Untrusted(r.tenantName), chat.Plain(". "), f.Intro)
	return &own
}

// askAll runs a read in every tenant that the person may work on. One that fails
// is named and delays no other.
func (r *Router) askAll(ctx context.Context, c *call) (chat.Message, error) {
	if !r.Policy.Current().MayAskAll(c.who.Person.ID) {
		return chat.Message{}, say("You may not ask all tenants at once.", "An admin names one of your groups under all_tenants in mdebot.yaml.")
	}
	var mine []Tenant
	for _, t := range r.Tenants {
		if _, ok := r.Policy.In(t.ID).Current().Book().Person(c.who.Person.ID); ok {
			mine = append(mine, t)
		}
	}
	answers := make([]cards.TenantAnswer, len(mine))
	together := &among{tenants: len(mine)}
	if c.spec.limit > 0 { // it may take long
		var ended func()
		ctx, together.running, ended = r.beginHunt(ctx, c)
		defer ended()
		defer together.show(ctx, c.out)()
	}
	var group errgroup.Group
	group.SetLimit(allAtOnce)
	for i, t := range mine {
		group.Go(func() error {
			defer together.answered.Add(1)
			own, one := r.in(t), *c
			one.among = together
			answers[i].Name = t.Name
			err := own.permitted(ctx, c.spec)
			kept := own
			if err == nil {
				kept, err = own.within(ctx, &one)
			}
			if err == nil {
				answers[i].Message, err = c.run(kept, ctx, &one)
			}
			if err != nil {
				answers[i].Message, answers[i].Failed = own.explain(ctx, &one, err), true
			}
			return nil
		})
	}
	_ = group.Wait() // every answer holds its own failure
	return cards.OfAllTenants(c.title(), answers), nil
}

// among is what the calls to several tenants at once share.
type among struct {
	tenants  int
	answered atomic.Int64
	running  *runningHunt // nil for what is quick
}

// show tells how many tenants have answered until the returned function is called.
func (a *among) show(ctx context.Context, out chat.Replier) (stop func()) {
	return signs(ctx, func(ctx context.Context, elapsed time.Duration) {
		out.Progress(ctx, cards.HuntingTenants(int(a.answered.Load()), a.tenants, elapsed, a.running.key))
	})
}

// allAtOnce is how many tenants one question asks at a time.
const allAtOnce = 8

// choiceLife is how long a tenant stays chosen.
const choiceLife = 30 * time.Minute

// choices are the tenants that people chose for reading.
type choices struct {
	now func() time.Time
	mu  sync.Mutex
	of  map[string]choice
}

type choice struct {
	tenant tenant.ID
	until  time.Time
}

func newChoices(now func() time.Time) *choices { return &choices{now: now, of: map[string]choice{}} }

func (s *choices) get(key string) (tenant.ID, time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.of[key]
	return c.tenant, c.until, ok && s.now().Before(c.until)
}

func (s *choices) set(key string, t tenant.ID) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for k, c := range s.of {
		if !now.Before(c.until) {
			delete(s.of, k)
		}
	}
	until := now.Add(choiceLife)
	s.of[key] = choice{t, until}
	return until
}

func tenantSpecs() []Spec {
	return []Spec{{
		Name: "tenant", Usage: "tenant [name]", Summary: "Which tenant is meant here; with a name, choose one for reading, for 30 minutes.",
		Role: identity.Viewer, Examples: []string{"tenant", "tenant fabrikam"},
		run: (*Router).tenant,
	}}
}

func (r *Router) tenant(_ context.Context, c *call) (chat.Message, error) {
	if len(c.args) > 1 {
		return chat.Message{}, usageError(c, "tenant takes one name.")
	}
	if !r.several() {
		return chat.Message{}, say("mdebot serves one tenant here.", "Nothing has to be chosen.")
	}
	p := r.Policy.Current()
	if word := c.arg(0); word != "" {
		named, ok := p.TenantNamed(word)
		if _, granted := p.For(named.ID).Book().Person(c.who.Person.ID); !ok || !granted {
			return chat.Message{}, sayOf("There is no tenant ", word, " that you may work on.", "tenant without a name lists them.")
		}
		r.choices.set(c.inv.By.Key(), named.ID)
	}
	v := cards.TenantView{Choose: withPrefix(prefix(c.inv), "tenant <name>")}
	if p.MayAskAll(c.who.Person.ID) {
		v.All = forAllWords
	}
	for _, t := range r.Tenants {
		if _, ok := p.For(t.ID).Book().Person(c.who.Person.ID); ok {
			v.Mine = append(v.Mine, t.Name)
		}
	}
	if bound, ok := p.TenantOf(c.inv.In.String()); ok {
		v.Here = bound.Name
	}
	if id, until, ok := r.choices.get(c.inv.By.Key()); ok {
		if t, ok := r.tenantByID(id); ok {
			v.Chosen, v.Until = t.Name, until.UTC().Format("15:04 UTC")
		}
	}
	return cards.Tenants(v), nil
}
