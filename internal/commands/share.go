package commands

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

const (
	// sharedAge is how long an answer is kept to be shown to everyone as it is.
	sharedAge = 30 * time.Minute
	maxShown  = 500
	// maxShareText bounds the command that a button repeats where its answer is not
	// kept.
	maxShareText = 500
)

// withShare adds the button that shows everyone what only the asker sees. It is there
// where --public could have been said, and platforms draw it only on what nobody else
// sees.
func (r *Router) withShare(c *call, m chat.Message) chat.Message {
	_, public := c.spec.flag(publicFlag.Name)
	// What one person can decide is no answer for all, and would stand still while the
	// real cards go on.
	decides := slices.ContainsFunc(m.Buttons, func(b chat.Button) bool { return b.Whole || strings.HasPrefix(b.Action, "request.") })
	if !public || c.flags[publicFlag.Name] != "" || c.spec.Audience != chat.Asker || c.inv.In.Direct || c.everyTenant || decides ||
		len(m.Files) > 0 || m.Picture != nil || len(m.Facts)+len(m.Sections) == 0 && m.Table == nil {
		return m
	}
	if bound, ok := r.Policy.Current().TenantOf(c.inv.In.String()); ok && r.several() && bound.ID != r.Tenant {
		return m // nobody there asked about another tenant
	}
	key := r.shown.keep(answered{to: c.inv.By.Key(), in: c.inv.In.String(), spec: c.spec, message: m, scoped: c.scoped})
	if text := c.again(); text != "" {
		key += " " + text
	}
	m.Buttons = append(slices.Clone(m.Buttons), chat.Button{Label: "Show to everyone", Action: cards.ActionShare, Value: key, Alone: true})
	return m
}

// again is the command that gives c's answer, or "" when there is none or it is long.
func (c *call) again() string {
	text := ""
	switch {
	case c.inv.Kind == chat.Command:
		text = c.inv.Text
	case doors[c.inv.Action].run == nil && doors[c.inv.Action].form == nil:
		text = c.spec.Name + " " + c.arg(0)
	}
	if len(text) > maxShareText {
		return ""
	}
	return text
}

var errNotKept = say("That answer is no longer kept.", "Ask again, with --public to show it to everyone.")

// shareCall is the click that shows an answer to everyone, as a call of the command
// that gave the answer: its rights count again. An answer that this process does not
// keep, as after a restart, is read anew.
func (r *Router) shareCall(inv chat.Invocation) (*call, error) {
	key, text, _ := strings.Cut(inv.Value, " ")
	kept, ok := r.shown.get(key)
	if ok && (kept.to != inv.By.Key() || kept.in != inv.In.String()) {
		return nil, say("That answer was not made to you here, so you cannot show it to everyone.", "Ask yourself, with --public.")
	}
	if ok && !kept.scoped {
		return &call{spec: kept.spec, inv: inv, flags: map[string]string{publicFlag.Name: "true"}, share: key, kept: &kept.message}, nil
	}
	if text == "" {
		return nil, errNotKept
	}
	inv.Kind, inv.Text = chat.Command, text
	c, err := r.parse(inv)
	if err != nil {
		return nil, errNotKept
	}
	if _, public := c.spec.flag(publicFlag.Name); !public || c.form != nil || c.spec.Changes || c.flags[tenantFlag.Name] == allTenants {
		return nil, errNotKept
	}
	c.flags = maps.Clone(c.flags)
	c.flags[publicFlag.Name], c.share = "true", key
	run := c.run
	c.run = func(r *Router, ctx context.Context, c *call) (chat.Message, error) {
		m, err := run(r, ctx, c)
		return shownBy(m, c.inv.By), err
	}
	return c, nil
}

// showAll answers the click. Whoever has lost the right meanwhile is refused before
// anybody else sees anything.
func (r *Router) showAll(ctx context.Context, c *call) chat.Response {
	bounded, cancel := context.WithTimeout(ctx, nowBudget)
	defer cancel()
	refused := func(err error) chat.Response { return answerNow(chat.Asker, r.marked(r.explain(ctx, c, err))) }
	if err := r.authorise(bounded, c); err != nil {
		return refused(err)
	}
	kept, err := r.within(bounded, c)
	switch {
	case err != nil:
		return refused(err)
	case c.kept != nil && kept.scoped():
		return refused(errNotKept) // it may show more than the person may see by now
	case !r.shown.finish(c.share):
		return refused(say("Everyone here was shown this already.", "Ask again for what it is now."))
	}
	outside := r.marked(plainSorry("People from outside read here, or who reads here cannot be found out, so it is not shown to everyone.",
		"Ask where only members of the organisation read.").message())
	resp := chat.Response{Audience: chat.Everyone, Otherwise: &outside}
	if c.kept != nil {
		m := r.marked(shownBy(*c.kept, c.inv.By))
		resp.Message = &m
		return resp
	}
	resp.Later = func(ctx context.Context, out chat.Replier) { r.work(ctx, c, out) }
	return resp
}

// shownBy names who shows an answer to everyone.
func shownBy(m chat.Message, by identity.Principal) chat.Message {
	m.Facts = append([]chat.Fact{{Label: "Shown by", Value: chat.Notify(chat.Mention{ID: by.Account, Name: by.Name})}}, m.Facts...)
	return m
}

// answered is an answer that its asker may show to everyone.
type answered struct {
	to, in  string
	spec    *Spec
	message chat.Message
	scoped  bool // it was made for somebody who may see some machines only
	done    bool // everyone was shown it
	at      time.Time
}

// shown keeps answers for a while, and which of them everyone was shown.
type shown struct {
	now func() time.Time
	mu  sync.Mutex
	of  map[string]answered
}

func newShown(now func() time.Time) *shown { return &shown{now: now, of: map[string]answered{}} }

func (s *shown) keep(a answered) (key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key = rand.Text()
	s.put(key, a)
	return key
}

// put needs the lock.
func (s *shown) put(key string, a answered) {
	a.at = s.now()
	oldest := ""
	for other, one := range s.of {
		if a.at.Sub(one.at) > sharedAge {
			delete(s.of, other)
		} else if oldest == "" || one.at.Before(s.of[oldest].at) {
			oldest = other
		}
	}
	if len(s.of) >= maxShown {
		delete(s.of, oldest)
	}
	s.of[key] = a
}

func (s *shown) get(key string) (answered, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok := s.of[key]
	return one, ok && s.now().Sub(one.at) <= sharedAge
}

// finish reports whether this is the first time that everyone is shown the answer.
func (s *shown) finish(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.of[key]
	if one.done {
		return false
	}
	one.done = true
	s.put(key, one)
	return true
}
