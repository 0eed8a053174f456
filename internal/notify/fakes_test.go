package notify

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/store/storetest"
	"github.com/mdebot/mdebot/internal/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	contoso = tenant.ID("6f0d2c51-7a3e-4b7c-9d14-0c5a3be1f001")
	soc     = chat.Destination("slack:C0SOC")
	fin     = chat.Destination("slack:C0FIN")
	ops     = chat.Destination("slack:C0OPS")
	back    = chat.Destination("slack:C0BACK")
)

const routesYAML = `
people:
  - person: 8a1f0000-0000-4000-8000-000000000001
    name: Riley Chen
    slack: [T0SOC/U0RILEY]
    roles: [responder]
  - person: 8a1f0000-0000-4000-8000-000000000002
    name: Avery Stone
    slack: [T0SOC/U0AVERY]
    roles: [approver]
approvals:
  post_to: [slack:C0APPROVE]
notify:
  ops: slack:C0OPS
  fallback: slack:C0BACK
  look_back: 10m
  blind_after: 5m
  routes:
    - name: high
      when: alert.severity == "High"
      to: [slack:C0SOC]
      mention: [slack:S0ONCALL]
    - name: finance
      when: '"finance" in machine.tags'
      to: [slack:C0FIN]
  storm: { more_than: 5, within: 1m }
`

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// channel is a message as it stands in the fake chat.
type posted struct {
	to       chat.Destination
	thread   string
	delivery string
	message  chat.Message
	edits    int
	gone     bool
}

// fakeChat is a chat platform that keeps what was posted and refuses on demand.
type fakeChat struct {
	mu    sync.Mutex
	posts []*posted
	// fail is asked before each post or edit; lose before the answer of a post
	// that took effect.
	fail func(to chat.Destination, edit bool) error
	lose func(to chat.Destination) error
	// readers are the people from outside who read a place.
	readers map[chat.Destination]chat.Readers
	// poison is asked about each message.
	poison func(chat.Message) error
	// forgets makes Find useless, as on Teams.
	forgets bool
}

func (f *fakeChat) Post(_ context.Context, p chat.Post) (chat.Ref, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		if err := f.fail(p.To, false); err != nil {
			return chat.Ref{}, err
		}
	}
	if found := f.readers[p.To]; !p.Admits.Admit(found) {
		return chat.Ref{}, &chat.ForbiddenError{Place: p.To, Found: found}
	}
	if f.poison != nil {
		if err := f.poison(p.Message); err != nil {
			return chat.Ref{}, err
		}
	}
	f.posts = append(f.posts, &posted{to: p.To, thread: p.Thread, delivery: p.Delivery, message: p.Message})
	if f.lose != nil {
		if err := f.lose(p.To); err != nil {
			return chat.Ref{}, err
		}
	}
	return f.ref(len(f.posts) - 1), nil
}

func (f *fakeChat) ref(i int) chat.Ref {
	return chat.Ref{
		Conversation: chat.Conversation{Platform: identity.Slack, Workspace: "T0SOC", ID: f.posts[i].to.ID(), Thread: f.posts[i].thread},
		MessageID:    fmt.Sprintf("%d.000100", 1000+i),
	}
}

func (f *fakeChat) Edit(_ context.Context, ref chat.Ref, m chat.Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, p := range f.posts {
		if f.ref(i).MessageID != ref.MessageID {
			continue
		}
		if p.gone {
			return chat.ErrGone
		}
		if f.fail != nil {
			if err := f.fail(p.to, true); err != nil {
				return err
			}
		}
		p.message, p.edits = m, p.edits+1
		return nil
	}
	return chat.ErrGone
}

func (f *fakeChat) Find(_ context.Context, want chat.Post, _ time.Time) (chat.Ref, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, p := range f.posts {
		if p.delivery == want.Delivery && p.thread == want.Thread && !f.forgets {
			return f.ref(i), true, nil
		}
	}
	return chat.Ref{}, false, nil
}

// at lists what stands at a destination, in order.
func (f *fakeChat) at(d chat.Destination) []posted {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []posted
	for _, p := range f.posts {
		if p.to == d && !p.gone {
			out = append(out, *p)
		}
	}
	return out
}

// fakeDefender serves alerts and machines.
type fakeDefender struct {
	mu       sync.Mutex
	alerts   []defender.Alert
	machines map[string]defender.Machine
	actions  []defender.MachineAction
	down     error
	// hides keeps an alert out of a list, as one does that moves between pages.
	hides func(defender.Alert) bool
	// actionsDown fails the list of machine actions alone.
	actionsDown error
	// unreadable comes before the alerts of every list.
	unreadable *defender.RecordError
	asked      []defender.AlertFilter
	evidence   int // calls for evidence
	single     int // machines read by a call each
	listed     int // lists of all machines
}

func (f *fakeDefender) put(a defender.Alert) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alerts = slices.DeleteFunc(f.alerts, func(b defender.Alert) bool { return a.ID == b.ID })
	f.alerts = append(f.alerts, a)
}

func (f *fakeDefender) Alerts(_ context.Context, filter defender.AlertFilter) iter.Seq2[defender.Alert, error] {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, filter)
	alerts, down, unreadable, hides := slices.Clone(f.alerts), f.down, f.unreadable, f.hides
	return func(yield func(defender.Alert, error) bool) {
		if unreadable != nil && !yield(defender.Alert{}, unreadable) {
			return
		}
		if down != nil {
			yield(defender.Alert{}, down)
			return
		}
		for _, a := range alerts {
			if a.Updated.Before(filter.UpdatedSince) || hides != nil && hides(a) {
				continue
			}
			if !yield(a, nil) {
				return
			}
		}
	}
}

func (f *fakeDefender) AlertsWithEvidence(_ context.Context, ids []string) ([]defender.Alert, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.evidence++
	var out []defender.Alert
	for _, a := range f.alerts {
		if slices.Contains(ids, a.ID) {
			a.Evidence = []defender.Evidence{{Type: "File", FileName: "evil.exe"}}
			out = append(out, a)
		}
	}
	return out, f.down
}

func (f *fakeDefender) Machine(_ context.Context, id string) (defender.Machine, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.single++
	if m, ok := f.machines[id]; ok {
		return m, nil
	}
	return defender.Machine{}, defender.ErrNotFound
}

func (f *fakeDefender) Machines(context.Context, defender.MachineFilter) iter.Seq2[defender.Machine, error] {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listed++
	machines := slices.Collect(maps.Values(f.machines))
	return func(yield func(defender.Machine, error) bool) {
		for _, m := range machines {
			if !yield(m, nil) {
				return
			}
		}
	}
}

func (f *fakeDefender) MachineActions(_ context.Context, filter defender.ActionFilter) iter.Seq2[defender.MachineAction, error] {
	f.mu.Lock()
	defer f.mu.Unlock()
	var actions []defender.MachineAction
	for _, a := range f.actions {
		if !a.Created.Before(filter.CreatedSince) {
			actions = append(actions, a)
		}
	}
	err := f.actionsDown
	return func(yield func(defender.MachineAction, error) bool) {
		if err != nil {
			yield(defender.MachineAction{}, err)
			return
		}
		for _, a := range actions {
			if !yield(a, nil) {
				return
			}
		}
	}
}

// fakeRequests serves approval requests from a map.
type fakeRequests struct {
	mu  sync.Mutex
	all map[string]approvals.Request
}

func (f *fakeRequests) Frozen(context.Context, tenant.ID) (approvals.Freeze, error) {
	return approvals.Freeze{}, nil
}

func (f *fakeRequests) Expiring(context.Context, tenant.ID) ([]approvals.Request, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ending []approvals.Request
	for _, r := range f.all {
		if !r.Ends().IsZero() {
			ending = append(ending, r)
		}
	}
	return ending, nil
}

func (f *fakeRequests) Timed(context.Context, tenant.ID) ([]approvals.Request, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var timed []approvals.Request
	for _, r := range f.all {
		if r.Timed() > 0 {
			timed = append(timed, r)
		}
	}
	return timed, nil
}

func (f *fakeRequests) Started(_ context.Context, _ tenant.ID, ids []string) (map[string]approvals.Request, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	started := map[string]approvals.Request{}
	for _, r := range f.all {
		for _, t := range r.Targets {
			if slices.Contains(ids, t.MachineAction) {
				started[t.MachineAction] = r
			}
		}
	}
	return started, nil
}

func (f *fakeRequests) Request(_ context.Context, _ tenant.ID, id string) (approvals.Request, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.all[id]
	if !ok {
		return approvals.Request{}, approvals.ErrNotFound
	}
	return r, nil
}

// fixture is a notifier over a real SQLite file with fakes around it.
type fixture struct {
	*testing.T
	db       *store.Store
	clock    *clock
	chat     *fakeChat
	defender *fakeDefender
	requests *fakeRequests
	n        *Notifier
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{
		T: t, db: storetest.New(t), clock: newClock(), chat: &fakeChat{},
		defender: &fakeDefender{machines: map[string]defender.Machine{}},
		requests: &fakeRequests{all: map[string]approvals.Request{}},
	}
	f.n = f.replica()
	return f
}

// replica is another process on the same database, or this one after a crash.
func (f *fixture) replica() *Notifier {
	f.Helper()
	pol, err := policy.Parse("mdebot.yaml", []byte(routesYAML), policy.Options{HomeTenant: string(contoso)})
	if err != nil {
		f.Fatalf("parse policy: %v", err)
	}
	yes := func() bool { return true }
	n, err := New(Config{
		DB: f.db, Posters: map[identity.Platform]chat.Poster{identity.Slack: f.chat}, Requests: f.requests, Policy: policy.NewSource(pol),
		Tenants: []Watched{{Tenant: contoso, Source: f.defender, MayUpdate: yes, MayIsolate: yes, MayHunt: yes}},
		Now:     f.clock.now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.Fatalf("New() = %v", err)
	}
	return n
}

// poll runs the passes that are due.
func (f *fixture) poll() {
	f.Helper()
	if err := f.n.PollOnce(f.Context(), contoso); err != nil {
		f.Fatalf("PollOnce() = %v", err)
	}
}

// deliver brings every destination up to date, moving the clock where the pace
// or a back-off asks to wait.
func (f *fixture) deliver() {
	f.Helper()
	for range 2_000 {
		var waiting []card
		waiting, err := queryCards(f.Context(), f.db.Read(), `SELECT `+cardColumns+` FROM cards WHERE wanted > shown AND held = '' AND (next_at <= $1 OR subject = 'page' AND message = '')`, f.clock.now().UnixMicro())
		if err != nil {
			f.Fatalf("read cards: %v", err)
		}
		if len(waiting) == 0 {
			return
		}
		for _, c := range waiting {
			if _, err := f.n.step(f.Context(), c.destination); err != nil {
				f.Fatalf("step(%s) = %v", c.destination, err)
			}
		}
		f.clock.add(time.Second)
	}
	f.Fatal("messages are still waiting after 2,000 rounds")
}

// step makes at most one send, without waiting for the pace.
func (n *Notifier) step(ctx context.Context, d chat.Destination) (sent bool, err error) {
	l, err := n.lease(ctx, d)
	if err != nil || l == nil {
		return false, err
	}
	c, _, ready, _, err := n.next(ctx, d, l)
	if err == nil && ready {
		err = n.send(ctx, c, l)
	}
	return ready, errors.Join(err, n.release(ctx, d, l, 0))
}

// settle takes in what is open at the first start.
func (f *fixture) settle() {
	f.Helper()
	f.poll()
	f.deliver()
}

func (f *fixture) alert(id string, change func(*defender.Alert)) defender.Alert {
	now := f.clock.now()
	a := defender.Alert{
		ID: id, Tenant: contoso, Severity: defender.High, Status: "New", Title: "Suspicious thing " + id,
		Created: now, Updated: now, MachineID: "m1", MachineName: "ws-042",
	}
	if change != nil {
		change(&a)
	}
	f.defender.put(a)
	return a
}

func (f *fixture) inTx(fn func(tx durable.Tx) error) {
	f.Helper()
	if err := f.db.InTx(f.Context(), fn); err != nil {
		f.Fatalf("InTx() = %v", err)
	}
}
