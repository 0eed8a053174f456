package commands

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
)

const (
	// homeBudget bounds the drawing of a page.
	homeBudget = 20 * time.Second
	// homeWhole is how many requests stand in a page as whole cards, with the buttons
	// that decide: more would hide the rest.
	homeWhole = 3
	// homeTenants is of how many tenants a page shows what Defender says; for more of
	// them it would use up what others need.
	homeTenants = 3
)

// Home is what somebody's own page shows: what waits for them, their own requests,
// who is cut off, and the High alerts, each as far as the command for it would answer
// them in a direct chat. What is not theirs to see is not there, and a stranger is
// told what a command would tell them. Allowed reports whether more than a refusal is
// on it.
//
// Nobody asks for anything by looking, so that nothing of it is recorded.
//
// Asked is whether the person looks now, which is limited: the page is empty when they
// look too often, and what stands there stays.
func (r *Router) Home(ctx context.Context, by identity.Principal, asked bool) (page chat.Page, allowed bool) {
	ctx, cancel := context.WithTimeout(ctx, homeBudget)
	defer cancel()
	c := &call{
		spec: r.byName["requests"], flags: map[string]string{}, who: caller{Account: by},
		inv: chat.Invocation{Kind: chat.Home, By: by, At: r.Now(), In: chat.Conversation{Platform: by.Platform, Workspace: by.Workspace, Direct: true}},
	}
	head := cards.HomeView{Now: r.Now(), Live: live(by)}
	refused := func(err error) chat.Page { return chat.Page{cards.HomeRefused(r.explain(ctx, c, err), head)} }
	defer func() {
		if p := recover(); p != nil {
			page, allowed = refused(fmt.Errorf("panic: %v\n%s", p, debug.Stack())), false
		}
	}()
	if asked {
		if _, ok := r.looks.allow(by.Key()); !ok {
			return nil, false
		}
	}
	var whose []homeOf
	var no error
	for _, own := range r.homes() {
		one := *c
		if err := own.mayUse(ctx, &one); err != nil {
			if no == nil {
				no = err
			}
			continue
		}
		whose = append(whose, homeOf{Router: own, call: &one})
	}
	if len(whose) == 0 {
		return refused(no), false
	}
	head.Name, head.Elsewhere = whose[0].who.Person.Name, max(0, len(whose)-homeTenants)
	var requests, rest chat.Page
	for i, h := range whose {
		cardsOf, waiting, err := h.requests(ctx, head.Now)
		if err != nil {
			return refused(err), true
		}
		head.Waiting += waiting
		requests = append(requests, cardsOf...)
		if i < homeTenants {
			rest = append(rest, h.ofDefender(ctx, asked)...)
		}
	}
	return append(append(chat.Page{cards.HomeHead(head)}, requests...), rest...), true
}

// live reports whether by's page is asked for as long as it is open. Slack is shown
// pages, whether anybody looks or not.
func live(by identity.Principal) bool { return by.Platform == identity.Teams }

// homes are the routers of the tenants that a page may be about.
func (r *Router) homes() []*Router {
	if !r.several() {
		return []*Router{r}
	}
	all := make([]*Router, len(r.Tenants))
	for i, t := range r.Tenants {
		all[i] = r.in(t)
	}
	return all
}

// homeOf is one tenant's part of a page, for somebody who may use requests there.
type homeOf struct {
	*Router
	*call
}

// requests are the cards of the first ones that wait for the person, and then the
// list of the others.
func (h homeOf) requests(ctx context.Context, now time.Time) (page chat.Page, waiting int, err error) {
	live, err := h.Approvals.Live(ctx, h.Tenant)
	if err != nil {
		return nil, 0, err
	}
	freeze, err := h.Approvals.Frozen(ctx, h.Tenant)
	if err != nil {
		return nil, 0, err
	}
	needed := map[string]bool{}
	for _, q := range live {
		if h.Approvals.NeedsVote(ctx, q, h.who.Person.ID) {
			needed[q.ID] = true
		}
	}
	first, others := cards.RequestQueue{
		Requests: live, Now: now,
		Mine: func(q approvals.Request) bool { return needed[q.ID] },
		Own:  func(q approvals.Request) bool { return q.Requester == h.who.Person.ID },
	}.First(homeWhole)
	for _, q := range first {
		page = append(page, h.marked(cards.HomeRequest(cards.RequestView{Request: q, Portal: h.Portal, Freeze: freeze})))
	}
	if m, ok := cards.HomeQueue(others, len(first)); ok {
		page = append(page, h.marked(m))
	}
	return page, len(needed), nil
}

// ofDefender is what Defender says: who is cut off, and the High alerts. What fails
// says so in its place and takes nothing else with it.
func (h homeOf) ofDefender(ctx context.Context, asked bool) chat.Page {
	page := make([]*chat.Message, 2)
	var group errgroup.Group
	for i, part := range []struct {
		command string
		read    func(r *Router, ctx context.Context) (chat.Message, error)
	}{{"isolated", (*Router).homeIsolations}, {"alerts", (*Router).homeAlerts}} {
		group.Go(func() error {
			one := *h.call
			one.spec = h.byName[part.command]
			if !one.who.Person.Has(one.spec.Role) {
				return nil
			}
			m, err := h.shared(ctx, &one, asked, part.read)
			if err != nil {
				m = h.explain(ctx, &one, err)
			}
			m = h.marked(m)
			page[i] = &m
			return nil
		})
	}
	_ = group.Wait() // every part holds its own failure
	var out chat.Page
	for _, m := range page {
		if m != nil {
			out = append(out, *m)
		}
	}
	return out
}

// shared reads a list as c's asker may see it. People who may see all machines see
// the same one, as long as no request of the tenant has changed. For the others each
// machine is a call of its own, which others then lack, so that theirs is read when
// they look and not whenever a request changes.
func (h homeOf) shared(ctx context.Context, c *call, asked bool, read func(*Router, context.Context) (chat.Message, error)) (chat.Message, error) {
	if err := h.mayUse(ctx, c); err != nil {
		return chat.Message{}, err
	}
	kept, err := h.within(ctx, c)
	if err != nil {
		return chat.Message{}, err
	}
	key, age := string(h.Tenant)+" "+c.spec.Name, homeListAge
	switch {
	case asked:
	case live(c.inv.By) && !kept.scoped():
		age = homeLiveAge
	default:
		age = homeUnaskedAge
	}
	var mark string
	if kept.scoped() {
		key, mark = key+" "+c.who.key(), h.Policy.Current().Hash()
	} else if mark, err = h.Approvals.Mark(ctx, h.Tenant); err != nil {
		return chat.Message{}, err
	}
	return h.lists.get(ctx, key, mark, age, func(ctx context.Context) (chat.Message, error) { return read(kept, ctx) })
}

func (r *Router) homeIsolations(ctx context.Context) (chat.Message, error) {
	all, complete, err := r.isolatedMachines(ctx)
	if err != nil {
		return chat.Message{}, err
	}
	return cards.HomeIsolations(all, complete, r.Now()), nil
}

func (r *Router) homeAlerts(ctx context.Context) (chat.Message, error) {
	all, _, err := collect(r.Defender.Alerts(ctx, defender.AlertFilter{
		CreatedSince: r.Now().AddDate(0, 0, -cards.HomeAlertsDays), MinSeverity: defender.High, Statuses: []string{"New", "InProgress"}, Limit: listed + 1,
	}))
	if err != nil {
		return chat.Message{}, err
	}
	return cards.HomeAlerts(all[:min(len(all), listed)], len(all) > listed), nil
}

const (
	// homeListAge is how long a list is shared: many pages are drawn anew at once, and
	// Defender counts every call.
	homeListAge = 15 * time.Second
	// homeUnaskedAge is how long it stands in pages that nobody looks at: not longer than
	// what is known of people's groups.
	homeUnaskedAge = 5 * time.Minute
	// homeLiveAge is how long it stands in pages that somebody has open, as long as all
	// of them share it.
	homeLiveAge = time.Minute
	// homeRead bounds reading a list: whoever looks waits for what waits for them.
	homeRead = 8 * time.Second
	// homeFailure is how long it stands that a list could not be read. All who look
	// while Defender hangs would wait for it otherwise, one after the other.
	homeFailure = 10 * time.Second
)

// homeLists are the lists that pages share, by tenant and kind, and of people with a
// scope those that their own page shows again.
type homeLists struct {
	now func() time.Time
	mu  sync.Mutex
	of  map[string]*homeList
}

type homeList struct {
	turn chan struct{} // held while it is read
	mark string
	at   time.Time
	m    chat.Message
	err  error
}

func newHomeLists(now func() time.Time) *homeLists {
	return &homeLists{now: now, of: map[string]*homeList{}}
}

// get is the list of key as read since mark has been so, and less than age ago, or why
// it could not be read a moment ago.
func (l *homeLists) get(ctx context.Context, key, mark string, age time.Duration, read func(context.Context) (chat.Message, error)) (chat.Message, error) {
	l.mu.Lock()
	one := l.of[key]
	if one == nil {
		one = &homeList{turn: make(chan struct{}, 1)}
		l.of[key] = one
	}
	l.mu.Unlock()
	select {
	case one.turn <- struct{}{}:
		defer func() { <-one.turn }()
	case <-ctx.Done():
		return chat.Message{}, ctx.Err()
	}
	if one.err != nil {
		age = homeFailure
	}
	if one.mark == mark && l.now().Sub(one.at) < age && l.now().Sub(one.at) >= 0 {
		return one.m, one.err
	}
	reading, cancel := context.WithTimeout(ctx, homeRead)
	defer cancel()
	m, err := read(reading)
	if err != nil && ctx.Err() != nil {
		return chat.Message{}, err // whoever asked has gone, which says nothing about Defender
	}
	one.mark, one.at, one.m, one.err = mark, l.now(), m, err
	return m, err
}
