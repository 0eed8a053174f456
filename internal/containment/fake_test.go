package containment

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answer is how the fake Defender takes a POST.
type answer string

const (
	acts          answer = "acts and answers"
	actsSilently  answer = "acts and does not answer"
	onlySilent    answer = "neither acts nor answers"
	dies          answer = "acts, and the process dies"
	diesBefore    answer = "the process dies before the call"
	answersLies   answer = "answers success without acting"
	throttles     answer = "throttled"
	forbids       answer = "forbidden"
	unreachable   answer = "unreachable"
	unauthorized  answer = "unauthorized"
	alreadyActive answer = "already active"
	returnsOther  answer = "returns somebody else's action"
	actsLate      answer = "does not answer and acts a minute later"
	isFull        answer = "takes no more indicators"
)

var errCrash = errors.New("process died")

// fakeDefender is a tenant with state: machines, machine actions and how it
// behaves.
type fakeDefender struct {
	clock  *approvalstest.Clock
	tenant tenant.ID

	mu       sync.Mutex
	machines map[string]defender.Machine
	actions  []defender.MachineAction
	// indicators are those in force.
	indicators []defender.Indicator
	serial     int // of the last indicator
	later      []late
	posts      []post
	answers    []answer // for the next POSTs; then acts
	last       answer   // how the latest was taken
	readErr    error
	// hideFor is how long an action is missing from the list.
	hideFor time.Duration
	// listsTwice repeats every action in the list.
	listsTwice bool
	// ignoresFilter lists the actions of every machine, whichever is asked about.
	ignoresFilter bool
	// onRead is called once, after a machine was read; onPost when a POST arrives.
	onRead func()
	onPost func(post)
}

type post struct {
	machine, comment string
	kind             defender.MachineActionType
	scope            string
	file             string
	cancels          string // ID of a machine action
	value            string // of an indicator, or its ID where it is deleted
	deletes          bool
	expires          time.Time
	acted            bool
}

func newFakeDefender(clock *approvalstest.Clock) *fakeDefender {
	return &fakeDefender{clock: clock, tenant: approvalstest.Tenant, machines: make(map[string]defender.Machine)}
}

func (d *fakeDefender) addMachine(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.machines[id] = defender.Machine{ID: id, Tenant: d.tenant, Name: id + ".contoso.com", OS: "Windows11", Health: "Active", LastSeen: d.clock.Now()}
}

func (d *fakeDefender) change(id string, fn func(*defender.Machine)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.machines[id]
	fn(&m)
	d.machines[id] = m
}

func (d *fakeDefender) add(a defender.MachineAction) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a.Tenant, a.ID = d.tenant, fmt.Sprintf("action-%d", len(d.actions)+1)
	if a.Created.IsZero() {
		a.Created = d.clock.Now()
	}
	d.actions = append(d.actions, a)
}

func (d *fakeDefender) finish(status defender.MachineActionStatus) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.catchUp()
	for i := range d.actions {
		if !d.actions[i].Status.Final() {
			d.actions[i].Status, d.actions[i].Updated = status, d.clock.Now()
		}
	}
}

func (d *fakeDefender) sent() []post {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.posts)
}

func (d *fakeDefender) Machine(_ context.Context, id string) (defender.Machine, error) {
	d.mu.Lock()
	m, ok := d.machines[id]
	err, then := d.readErr, d.onRead
	d.onRead = nil
	d.mu.Unlock()
	if then != nil {
		then()
	}
	switch {
	case err != nil:
		return defender.Machine{}, err
	case !ok:
		return m, defender.ErrNotFound
	}
	return m, nil
}

func (d *fakeDefender) MachineAction(_ context.Context, id string) (defender.MachineAction, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.catchUp()
	if d.readErr != nil {
		return defender.MachineAction{}, d.readErr
	}
	for _, a := range d.actions {
		if a.ID == id && d.clock.Now().Sub(a.Created) >= d.hideFor {
			return a, nil
		}
	}
	return defender.MachineAction{}, defender.ErrNotFound
}

func (d *fakeDefender) MachineActions(_ context.Context, f defender.ActionFilter) iter.Seq2[defender.MachineAction, error] {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.catchUp()
	err, now := d.readErr, d.clock.Now()
	var found []defender.MachineAction
	for _, a := range d.actions {
		if (a.MachineID == f.MachineID || d.ignoresFilter) && slices.Contains(f.Types, a.Type) && now.Sub(a.Created) >= d.hideFor {
			found = append(found, a)
			if d.listsTwice {
				found = append(found, a)
			}
		}
	}
	slices.Reverse(found)
	return func(yield func(defender.MachineAction, error) bool) {
		if err != nil {
			yield(defender.MachineAction{}, err)
			return
		}
		for _, a := range found {
			if !yield(a, nil) {
				return
			}
		}
	}
}

func (d *fakeDefender) IsolateMachine(_ context.Context, id string, in defender.IsolateInput) (defender.MachineAction, error) {
	return d.act(post{machine: id, comment: in.Comment, kind: defender.Isolate, scope: string(in.Type)})
}

func (d *fakeDefender) ReleaseMachine(_ context.Context, id, comment string) (defender.MachineAction, error) {
	return d.act(post{machine: id, comment: comment, kind: defender.Unisolate})
}

func (d *fakeDefender) RestrictMachine(_ context.Context, id, comment string) (defender.MachineAction, error) {
	return d.act(post{machine: id, comment: comment, kind: defender.Restrict})
}

func (d *fakeDefender) UnrestrictMachine(_ context.Context, id, comment string) (defender.MachineAction, error) {
	return d.act(post{machine: id, comment: comment, kind: defender.Unrestrict})
}

func (d *fakeDefender) ScanMachine(_ context.Context, id string, scan defender.ScanType, comment string) (defender.MachineAction, error) {
	return d.act(post{machine: id, comment: comment, kind: defender.Scan, scope: string(scan)})
}

func (d *fakeDefender) QuarantineFile(_ context.Context, id, sha1, comment string) (defender.MachineAction, error) {
	return d.act(post{machine: id, comment: comment, kind: defender.Quarantine, file: sha1})
}

func (d *fakeDefender) CollectPackage(_ context.Context, id, comment string) (defender.MachineAction, error) {
	return d.act(post{machine: id, comment: comment, kind: defender.CollectPackage})
}

func (d *fakeDefender) CancelAction(_ context.Context, id string, kind defender.MachineActionType, comment string) (defender.MachineAction, error) {
	p := post{cancels: id, comment: comment, kind: kind}
	a, known := d.named(id)
	switch {
	case !known:
		return defender.MachineAction{}, d.refuse(p, defender.ErrNotFound)
	case a.Status.Final():
		return defender.MachineAction{}, d.refuse(p, defender.ErrInvalid)
	}
	how, err := d.take(p, func() {
		for i := range d.actions {
			if o := &d.actions[i]; o.ID == id && !o.Status.Final() {
				o.Status, o.CancelledBy, o.CancelComment = defender.ActionCancelled, "mdebot", comment
			}
		}
	})
	if err != nil {
		return defender.MachineAction{}, err
	}
	if how != answersLies {
		a, _ = d.named(id)
	}
	return a, nil
}

func (d *fakeDefender) named(id string) (defender.MachineAction, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.actions, func(a defender.MachineAction) bool { return a.ID == id })
	if i < 0 {
		return defender.MachineAction{}, false
	}
	return d.actions[i], true
}

func (d *fakeDefender) Indicators(_ context.Context, value string) iter.Seq2[defender.Indicator, error] {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.catchUp()
	err, now := d.readErr, d.clock.Now()
	all := slices.DeleteFunc(slices.Clone(d.indicators), func(i defender.Indicator) bool { return now.Sub(i.Updated) < d.hideFor })
	return func(yield func(defender.Indicator, error) bool) {
		if err != nil {
			yield(defender.Indicator{}, err)
			return
		}
		for _, i := range all {
			if (value == "" || strings.EqualFold(i.Value, value)) && !yield(i, nil) {
				return
			}
		}
	}
}

// SetIndicator changes the indicator of a value where there is one.
func (d *fakeDefender) SetIndicator(_ context.Context, in defender.IndicatorInput) (defender.Indicator, error) {
	i := defender.Indicator{
		Type: in.Type, Value: in.Value, Action: in.Action, Description: in.Description, Expires: in.Expires, CreatedBy: "mdebot",
		Created: d.clock.Now(), Updated: d.clock.Now(),
	}
	how, err := d.take(post{value: in.Value, kind: defender.MachineActionType(in.Type), comment: in.Description, scope: string(in.Action), expires: in.Expires}, func() {
		at := slices.IndexFunc(d.indicators, func(o defender.Indicator) bool { return o.Type == in.Type && o.Value == in.Value })
		if at >= 0 {
			i.ID, i.Created = d.indicators[at].ID, d.indicators[at].Created
			d.indicators[at] = i
			return
		}
		d.serial++
		i.ID = fmt.Sprintf("%d", 990+d.serial)
		d.indicators = append(d.indicators, i)
	})
	if how == answersLies {
		i.ID = "never"
	}
	if err != nil {
		return defender.Indicator{}, err
	}
	return i, nil
}

func (d *fakeDefender) DeleteIndicator(_ context.Context, id string) error {
	p := post{value: id, deletes: true}
	d.mu.Lock()
	there := slices.ContainsFunc(d.indicators, func(i defender.Indicator) bool { return i.ID == id })
	d.mu.Unlock()
	if !there {
		return d.refuse(p, defender.ErrNotFound)
	}
	_, err := d.take(p, func() {
		d.indicators = slices.DeleteFunc(d.indicators, func(o defender.Indicator) bool { return o.ID == id })
	})
	return err
}

// TagMachine takes effect at once or never: what a machine is has to be known.
func (d *fakeDefender) TagMachine(_ context.Context, id, tag string, add bool) (defender.Machine, error) {
	p := post{machine: id, kind: "Tag", scope: "-" + tag}
	if add {
		p.scope = "+" + tag
	}
	d.mu.Lock()
	_, known := d.machines[id]
	d.mu.Unlock()
	if !known {
		return defender.Machine{}, d.refuse(p, defender.ErrNotFound)
	}
	_, err := d.take(p, func() {
		m := d.machines[id]
		m.Tags = slices.DeleteFunc(slices.Clone(m.Tags), func(t string) bool { return t == tag })
		if add {
			m.Tags = append(m.Tags, tag)
		}
		d.machines[id] = m
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.machines[id], err
}

func (d *fakeDefender) act(p post) (defender.MachineAction, error) {
	own := defender.MachineAction{
		Tenant: d.tenant, Type: p.kind, Scope: p.scope, Requestor: "mdebot", Comment: p.comment, Source: "PublicApi",
		Status: defender.ActionPending, MachineID: p.machine, ID: "action-never", Created: d.clock.Now(),
	}
	how, err := d.take(p, func() {
		own.ID, own.Created = fmt.Sprintf("action-%d", len(d.actions)+1), d.clock.Now()
		d.actions = append(d.actions, own)
	})
	switch {
	case err != nil:
		return defender.MachineAction{}, err
	case how == returnsOther:
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.actions[len(d.actions)-1], nil
	}
	return own, nil
}

// take is one POST, answered as the next answer says; do has its effect. Both hold
// the lock.
func (d *fakeDefender) take(p post, do func()) (answer, error) {
	d.mu.Lock()
	how := acts
	if len(d.answers) > 0 {
		how, d.answers = d.answers[0], d.answers[1:]
	}
	d.last = how
	onPost := d.onPost
	d.mu.Unlock()
	if how == diesBefore {
		panic(errCrash)
	}
	p.acted = how == acts || how == actsSilently || how == dies || how == actsLate
	if onPost != nil {
		onPost(p)
	}
	d.mu.Lock()
	d.posts = append(d.posts, p)
	switch {
	case how == actsLate && p.kind != "Tag":
		d.later = append(d.later, late{at: d.clock.Now().Add(time.Minute), do: do})
	case p.acted:
		do()
	}
	d.mu.Unlock()
	const op = "isolate machine"
	switch how {
	case acts, answersLies, returnsOther:
		return how, nil
	case dies:
		panic(errCrash)
	case throttles:
		return how, &defender.ThrottledError{Op: op, RetryAfter: 20 * time.Second}
	case forbids:
		return how, fmt.Errorf("%s: %w: the application lacks Machine.Isolate\x1b[31m", op, defender.ErrForbidden)
	case isFull:
		return how, fmt.Errorf("%s: %w: Maximum number of indicators reached. The limit is 15000 per tenant", op, defender.ErrInvalid)
	case unreachable:
		return how, fmt.Errorf("%s: %w", op, defender.ErrUnavailable)
	case unauthorized:
		return how, fmt.Errorf("%s: %w", op, defender.ErrUnauthorized)
	case alreadyActive:
		return how, fmt.Errorf("%s: %w", op, defender.ErrAlreadyActive)
	default:
		return how, fmt.Errorf("%s: %w: connection reset", op, defender.ErrUnclear)
	}
}

// refuse is a POST that Defender refuses for what it is about.
func (d *fakeDefender) refuse(p post, why error) error {
	d.mu.Lock()
	d.last = forbids
	onPost := d.onPost
	d.mu.Unlock()
	if onPost != nil {
		onPost(p)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.posts = append(d.posts, p)
	return fmt.Errorf("act: %w", why)
}

// late is an effect that comes after its call.
type late struct {
	at time.Time
	do func()
}

// catchUp has the effects that are due by now.
func (d *fakeDefender) catchUp() {
	now := d.clock.Now()
	d.later = slices.DeleteFunc(d.later, func(l late) bool {
		if l.at.After(now) {
			return false
		}
		l.do()
		return true
	})
}

// fakeDirectory knows everybody as a member but for its exceptions.
type fakeDirectory struct {
	mu        sync.Mutex
	standings map[string]identity.Standing
	err       error
}

func (d *fakeDirectory) Standing(_ context.Context, p identity.Principal) (identity.Standing, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return identity.Unknown, d.err
	}
	if s, ok := d.standings[p.Key()]; ok {
		return s, nil
	}
	return identity.Member, nil
}

// site is everything around a Runner.
type site struct {
	*approvalstest.World
	defender  *fakeDefender
	directory *fakeDirectory
	runner    *Runner
}

func newSite(t testing.TB) *site {
	w := approvalstest.New(t)
	s := &site{World: w, defender: newFakeDefender(w.Clock), directory: &fakeDirectory{standings: make(map[string]identity.Standing)}}
	s.runner = New(Config{
		Approvals: w.Service, Reader: s.defender, Indicators: s.defender, Actor: s.defender, Directory: s.directory, Now: w.Clock.Now, Logger: w.Logger,
	})
	return s
}

// fataler is what *testing.T and *rapid.T have in common.
type fataler interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// work runs what is due until nothing is.
func (s *site) work(t fataler) {
	t.Helper()
	for range 1000 {
		jobs := s.DB.Due()
		if len(jobs) == 0 {
			return
		}
		for _, job := range jobs {
			s.do(job)
		}
	}
	t.Fatalf("jobs never settle")
}

// do runs one job as the store would: again after a snooze, and again a moment
// after an error. A job whose process dies is run by another.
func (s *site) do(job durable.Job) {
	worker := s.runner.Execute
	if job.Kind == approvals.KindFollow {
		worker = s.runner.Follow
	}
	err := survive(func() error { return worker(context.Background(), job) })
	var snooze *durable.SnoozeError
	switch {
	case errors.As(err, &snooze):
		job.RunAt = s.Clock.Now().Add(max(snooze.After, time.Millisecond))
		s.DB.Plan(job)
	case err != nil:
		job.RunAt = s.Clock.Now().Add(time.Second)
		s.DB.Plan(job)
	}
}

func survive(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if p != any(errCrash) {
				panic(p)
			}
			err = errCrash
		}
	}()
	return fn()
}

// run lets time pass in small steps, with sweeps and work at each.
func (s *site) run(t fataler, d time.Duration) {
	t.Helper()
	step := max(d/80, time.Second)
	s.work(t)
	for ; d > 0; d -= step {
		s.Clock.Pass(min(step, d))
		if err := s.Sweep(context.Background()); err != nil {
			t.Errorf("Sweep: %v", err)
		}
		s.work(t)
	}
}

func (s *site) target(id string) approvals.TargetInput {
	s.defender.addMachine(id)
	return approvalstest.Workstation(id)
}

// approve opens a request by Riley and has Avery approve it.
func (s *site) approve(t testing.TB, in approvals.OpenInput) approvals.Request {
	t.Helper()
	out, err := s.Open(t.Context(), in)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	got, err := s.Vote(t.Context(), approvalstest.Vote(out.Request, approvalstest.Avery, false))
	if err != nil || got.Request.State != approvals.Approved {
		t.Fatalf("Vote() = %s, %v", got.Request.State, err)
	}
	return got.Request
}

func (s *site) isolate(t testing.TB) approvals.Request {
	t.Helper()
	return s.approve(t, approvalstest.Isolate(approvalstest.Riley, s.target("ws-1")))
}

func (s *site) now(t testing.TB, r approvals.Request) approvals.Request {
	t.Helper()
	r, err := s.Request(t.Context(), r.Tenant, r.ID)
	if err != nil {
		t.Fatalf("Request: %v", err)
	}
	return r
}

// want checks where a request stands and what its first target says.
func (s *site) want(t testing.TB, r approvals.Request, state approvals.State, why string) approvals.Request {
	t.Helper()
	r = s.now(t, r)
	if r.State != state || !strings.Contains(r.Targets[0].Why, why) {
		t.Errorf("request is %s (%q), want %s because %q", r.State, r.Targets[0].Why, state, why)
	}
	return r
}

func (s *site) wantPosts(t testing.TB, n int) {
	t.Helper()
	if got := len(s.defender.sent()); got != n {
		t.Errorf("%d POSTs were sent, want %d", got, n)
	}
}
