package containment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/mdebot/mdebot/internal/anchor"
	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/commands"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/directory"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/links"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/tenant"
)

// model drives the real engine through random histories: the router that people
// talk to, approvals, links, policy, directory, containment, anchors and the
// database are the product's; chat, Defender, Graph, the clock and the runner of
// jobs are not. Two replicas share the database.
//
// Everything runs in one goroutine. A replica that is interrupted in the middle of
// a job or command pauses while others act, or dies there.
type model struct {
	t        *rapid.T
	shop     *shop
	tenant   tenant.ID
	replicas [2]*replica
	defender *fakeDefender
	notary   *notary

	clock  *approvalstest.Clock // true time, which only advances
	offset time.Duration        // of the wall clock
	set    time.Time            // true time when that changed last
	skewed bool                 // whether the clock can be compared with others'

	scene                            // now; at is not kept
	active, leads map[human]*changes // in the directory
	graphDown     bool
	auditDown     bool

	jobs     []durable.Job
	frames   []*frame
	depth    int
	panicked any // what a meanwhile ended with

	requests []*request
	byID     map[string]*request
	freeze   *freeze
	last     *chat.Invocation // the last click, for replays
	lastBy   hand
	taken    map[string]bool // deliveries that came as far as the engine
	serial   int

	backup *backup
	failed []string
}

// frame is a job or command that is being carried out.
type frame struct {
	replica int
	began   scene
	start   time.Time // true time when it began
	since   time.Time // true time when the first thing was looked up
	read    time.Time // the same by the wall clock
	plan    *interruption
	typed   *order
	records []record // committed by it
}

// interruption is what happens in the middle of a frame.
type interruption struct {
	after   int  // points that are passed first
	claimed bool // only where a claim has been made and not been used
	crash   bool
	acts    int
}

// replica is one process of mdebot.
type replica struct {
	store  *store.Store
	policy *policy.Source
	engine *approvals.Service
	links  *links.Service
	runner *Runner
	router *commands.Router
	// foreign is the door of another tenant on the same database.
	foreign *commands.Router
	keeper  *anchor.Keeper
}

const foreignTenant tenant.ID = "4f6c2a1e-0000-4000-8000-0000000000ff"

// shop makes databases for one run of the model.
type shop struct {
	// open opens the database twice, or once for both where the engine wants that.
	open func(t *rapid.T, now func() time.Time) (stores [2]*store.Store, file string)
}

var quietLog = slog.New(slog.DiscardHandler)

func newModel(t *rapid.T, s *shop) *model {
	m := &model{
		t: t, shop: s, tenant: tenant.ID(uuid.NewString()), skewed: true,
		clock:  approvalstest.NewClock(),
		scene:  scene{book: firstBook(), ties: map[hand]tie{}, standing: map[hand]identity.Standing{}, boxes: map[string]box{}},
		active: map[human]*changes{}, leads: map[human]*changes{},
		byID: map[string]*request{}, taken: map[string]bool{},
		notary: &notary{},
	}
	m.defender = newFakeDefender(m.clock)
	m.defender.tenant = m.tenant
	m.defender.onPost = m.posted
	for i := range crew {
		m.active[human(i)], m.leads[human(i)] = &changes{}, &changes{}
		m.active[human(i)].set(m.clock.Now(), true)
		m.leads[human(i)].set(m.clock.Now(), i >= 5)
	}
	m.firstBoxes()
	stores, file := s.open(t, m.wall)
	for i := range m.replicas {
		m.replicas[i] = &replica{store: stores[i], policy: policy.NewSource(m.parse(m.book))}
		m.start(i)
	}
	m.backup = &backup{file: file}
	return m
}

var machineIDs = []string{strings.Repeat("a", 40), strings.Repeat("b", 40), strings.Repeat("c", 40)}

func (m *model) parse(b rulebook) *policy.Policy {
	p, err := policy.Parse("mdebot.yaml", []byte(b.yaml()), policy.Options{HomeTenant: approvalstest.Home})
	if err != nil {
		return nil
	}
	return p
}

// setClock puts the machines' clocks off by d.
func (m *model) setClock(d time.Duration) {
	if m.offset != d {
		m.offset, m.set = d, m.clock.Now()
	}
}

// wall is the time by the machines' clocks.
func (m *model) wall() time.Time { return m.clock.Now().Add(m.offset) }

func (m *model) now() scene {
	s := m.clone()
	s.at = m.wall()
	return s
}

func (m *model) close() {
	if m.backup.file != "" {
		_ = m.replicas[0].store.Close() // the file goes with it
	}
}

// firstBoxes are the machines as they are at first: two share a name.
func (m *model) firstBoxes() {
	for i, id := range machineIDs {
		m.boxes[id] = box{
			name: []string{"ws-1.contoso.com", "WS-1.contoso.com", "srv-9.contoso.com"}[i],
			os:   []string{"Windows11", "Windows11", "WindowsServer2022"}[i],
		}
	}
	m.setBoxes()
}

// setBoxes shows the machines to Defender's side.
func (m *model) setBoxes() {
	m.defender.mu.Lock()
	defer m.defender.mu.Unlock()
	for id, b := range m.boxes {
		d := defender.Machine{ID: id, Tenant: m.tenant, Name: b.name, OS: b.os, Health: "Active", Tags: strings.Fields(b.tags), Excluded: b.excluded}
		if b.elsewhere {
			d.Tenant = foreignTenant
		}
		if b.merged {
			d.MergedInto = strings.Repeat("f", 40)
		}
		if m.defender.machines[id] = d; b.gone {
			delete(m.defender.machines, id)
		}
	}
}

// start makes the parts of a process, as it does when it begins.
func (m *model) start(i int) {
	r := m.replicas[i]
	db := &tap{DB: r.store, m: m}
	people := directory.New(graph{m}, approvalstest.Home, m.clock.Now)
	log := audit.NewLog(m.wall)
	linksOf := func(t tenant.ID) *links.Service {
		return links.New(links.Config{
			Tenant: t, DB: db, Audit: log, Policy: r.policy, People: people, Announcer: m, Teams: true, Now: m.wall, Logger: quietLog,
		})
	}
	r.links = linksOf(m.tenant)
	r.engine = approvals.New(approvals.Config{
		DB: db, Audit: log, Announcer: m, Policy: r.policy, Groups: people, Links: r.links, Actions: approvals.Actions(), Now: m.wall,
		Skew: func() (time.Duration, bool) { return m.offset, m.skewed }, Logger: quietLog,
	})
	r.runner = New(Config{
		Approvals: r.engine, Reader: watched{m.defender, m}, Indicators: watched{m.defender, m}, Actor: watched{m.defender, m}, Directory: m, People: people,
		Now: func() time.Time { m.point("clock"); return m.wall() }, Logger: quietLog,
	})
	routerOf := func(t tenant.ID, l *links.Service) *commands.Router {
		return commands.New(commands.Config{
			Tenant: t, Defender: desk{fakeDefender: m.defender}, Indicators: m.defender, Mutes: unmuted{}, Approvals: r.engine, Policy: r.policy, Groups: people, Links: l, People: people,
			Directory: m, Inbox: r.store, Recorder: recorder{db, log}, Subjects: nowhere{}, Now: m.wall, Logger: quietLog,
		})
	}
	r.router, r.foreign = routerOf(m.tenant, r.links), routerOf(foreignTenant, linksOf(foreignTenant))
	r.keeper = anchor.New(anchor.Config{
		DB: db, Tenants: []tenant.ID{m.tenant}, Destinations: []anchor.Destination{m.notary}, Guard: r.engine, Now: m.wall, Logger: quietLog,
	})
	r.keeper.Compare(context.Background())
}

// restart is what a supervisor does with a process that has died. It does not
// come up before it can record that.
func (m *model) restart(i int) {
	m.auditDown = false
	m.start(i)
	m.keep(i, false)
}

// keep sends the head of the audit log outside.
func (m *model) keep(i int, urgent bool) { m.replicas[i].keeper.Keep(context.Background(), urgent) }

// point is a place where a process may be interrupted: no transaction is open and
// nothing but its own memory knows how far it has come.
func (m *model) point(where string) {
	if len(m.frames) == 0 {
		return
	}
	f := m.frames[len(m.frames)-1]
	if f.plan == nil {
		return
	}
	if f.plan.claimed && (where != "clock" || !slices.ContainsFunc(f.records, func(r record) bool { return r.kind == "action.intent" })) {
		return
	}
	if f.plan.after--; f.plan.after >= 0 {
		return
	}
	plan := f.plan
	f.plan = nil
	if plan.crash {
		saw("crash")
		m.t.Logf("%s  dies at %s", strings.Repeat("  ", m.depth), where)
		panic(errCrash)
	}
	saw("pause")
	m.meanwhile(plan.acts, where)
}

// meanwhile has others act while a process is paused.
func (m *model) meanwhile(acts int, where string) {
	m.depth++
	m.t.Logf("%spaused at %s", strings.Repeat("  ", m.depth), where)
	defer func() {
		m.depth--
		if p := recover(); p != nil {
			m.panicked = p // the router would take it for a fault of its own
			panic(p)
		}
	}()
	for range acts {
		m.step()
	}
}

// other is the replica to act: another than the one that is paused.
func (m *model) replica() int {
	if len(m.frames) > 0 {
		return 1 - m.frames[len(m.frames)-1].replica
	}
	return m.upTo(1, "replica")
}

// interrupted draws whether and how the next frame is interrupted.
func (m *model) interrupted(oneIn, points int) *interruption {
	if m.depth > 1 || !m.oneIn(oneIn, "interrupted") {
		return nil
	}
	p := &interruption{after: m.upTo(points, "after")}
	if p.claimed = m.oneIn(4, "claimed"); p.claimed {
		p.after = 0
	}
	if p.crash = m.oneIn(4, "crash"); !p.crash {
		p.acts = 1 + m.upTo(3, "acts")
	}
	return p
}

func (m *model) within(i int, plan *interruption, typed *order, fn func() error) (*frame, error) {
	f := &frame{replica: i, began: m.now(), start: m.clock.Now(), plan: plan, typed: typed}
	m.frames = append(m.frames, f)
	defer func() { m.frames = m.frames[:len(m.frames)-1] }()
	return f, survive(fn)
}

// do runs one job as the store would: again after a snooze, and a moment after an
// error. A job whose process dies is run by whoever comes next.
func (m *model) do(i int, job durable.Job, plan *interruption) {
	_, err := m.within(i, plan, nil, func() error {
		if job.Kind == approvals.KindFollow {
			return m.replicas[i].runner.Follow(context.Background(), job)
		}
		return m.replicas[i].runner.Execute(context.Background(), job)
	})
	var snooze *durable.SnoozeError
	switch {
	case errors.As(err, &snooze):
		job.RunAt = m.wall().Add(max(snooze.After, time.Millisecond))
		m.plan(job)
	case errors.Is(err, errCrash):
		job.RunAt = time.Time{}
		m.plan(job)
		m.restart(i)
		return
	case err != nil:
		job.RunAt = m.wall().Add(time.Second)
		m.plan(job)
	}
	m.keep(i, true)
}

// plan keeps a job unless the same one waits.
func (m *model) plan(job durable.Job) {
	same := func(j durable.Job) bool {
		return j.Kind == job.Kind && j.ID == job.ID && j.Generation == job.Generation
	}
	if i := slices.IndexFunc(m.jobs, same); i >= 0 && job.Unique {
		if m.jobs[i].RunAt.After(job.RunAt) {
			m.jobs[i].RunAt = job.RunAt
		}
		return
	}
	m.jobs = append(m.jobs, job)
}

func (m *model) due() []int {
	var due []int
	for i, j := range m.jobs {
		if !j.RunAt.After(m.wall()) {
			due = append(due, i)
		}
	}
	return due
}

func (m *model) take(i int) durable.Job {
	job := m.jobs[i]
	m.jobs = slices.Delete(m.jobs, i, i+1)
	return job
}

// work runs what is due until nothing is.
func (m *model) work(i int) {
	for range 300 {
		due := m.due()
		if len(due) == 0 {
			return
		}
		m.do(i, m.take(due[0]), nil)
	}
	m.violate("jobs never settle")
}

func (m *model) sweep(i int) {
	if err := m.replicas[i].engine.Sweep(context.Background()); err != nil && !m.auditDown {
		m.violate("Sweep: %v", err)
	}
}

// violate keeps what a check has found; the step that is under way ends first.
func (m *model) violate(format string, args ...any) {
	m.failed = append(m.failed, fmt.Sprintf(format, args...))
}

// tap stands between the engine and its database. It notes what commits, in order,
// and lets the audit log fail.
type tap struct {
	durable.DB
	m *model
}

var errDiskFull = errors.New("no space left on device")

// record is an audit record as it was written.
type record struct {
	kind, request string
	detail        struct {
		Target  string `json:"target"`
		Outcome string `json:"outcome"`
	}
}

// InTx implements [durable.DB].
func (d *tap) InTx(ctx context.Context, fn func(durable.Tx) error) error {
	d.m.point("begin")
	var t *tapTx
	err := d.DB.InTx(ctx, func(tx durable.Tx) error {
		t = &tapTx{Tx: tx, m: d.m}
		return fn(t)
	})
	if err != nil {
		return err
	}
	for _, job := range t.jobs {
		d.m.plan(job)
	}
	for _, what := range t.events {
		what()
	}
	d.m.point("committed")
	return nil
}

type tapTx struct {
	durable.Tx
	m      *model
	jobs   []durable.Job
	events []func()
}

func (t *tapTx) Enqueue(_ context.Context, job durable.Job) error {
	t.jobs = append(t.jobs, job)
	return nil
}

func (t *tapTx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	if strings.HasPrefix(query, "INSERT INTO audit (") && args[0] == string(t.m.tenant) {
		if t.m.auditDown {
			return 0, errDiskFull
		}
		r := record{kind: args[3].(string), request: args[9].(string)}
		_ = json.Unmarshal([]byte(args[13].(string)), &r.detail) // most details have no target
		t.events = append(t.events, func() { t.m.recorded(r) })
	}
	return t.Tx.Exec(ctx, query, args...)
}

func after(tx durable.Tx, what func()) {
	t := tx.(*tapTx)
	t.events = append(t.events, what)
}

// RequestChanged implements [approvals.Announcer]: it is what cards will show.
func (m *model) RequestChanged(_ context.Context, tx durable.Tx, r approvals.Request, c approvals.Change) error {
	if r.Tenant == m.tenant {
		r.Targets = slices.Clone(r.Targets)
		after(tx, func() { m.shown(r, c) })
	}
	return nil
}

// FreezeChanged implements [approvals.Announcer].
func (m *model) FreezeChanged(_ context.Context, tx durable.Tx, f approvals.Freeze, endedBy *approvals.Request) error {
	if f.Tenant == m.tenant {
		after(tx, func() { m.froze(f, endedBy) })
	}
	return nil
}

// LinkChanged implements [links.Announcer].
func (m *model) LinkChanged(_ context.Context, tx durable.Tx, c links.Change) error {
	if c.Link.Tenant == m.tenant {
		after(tx, func() { m.tied(c) })
	}
	return nil
}

// Standing implements [identity.Directory]: what the chat platforms say.
func (m *model) Standing(_ context.Context, p identity.Principal) (identity.Standing, error) {
	m.point("standing")
	if len(m.frames) > 0 {
		if f := m.frames[len(m.frames)-1]; f.since.IsZero() {
			f.since, f.read = m.clock.Now(), m.wall()
		}
	}
	if m.dirDown {
		return identity.Unknown, errors.New("the chat platform does not answer")
	}
	i := slices.IndexFunc(hands, func(h identity.Principal) bool { return h.Platform == p.Platform && h.Key() == p.Key() })
	if standing, special := m.standing[hand(i)]; special {
		return standing, nil
	}
	return identity.Member, nil
}

// graph is the directory of the organisation.
type graph struct{ m *model }

func (g graph) DirectoryUser(_ context.Context, object string) (defender.DirectoryUser, error) {
	if g.m.graphDown {
		return defender.DirectoryUser{}, defender.ErrUnavailable
	}
	for h, active := range g.m.active {
		if h.object() == object {
			return defender.DirectoryUser{ID: object, Enabled: active.now(), Member: true}, nil
		}
	}
	return defender.DirectoryUser{}, defender.ErrNotFound
}

func (g graph) GroupMembers(context.Context, string) ([]defender.DirectoryUser, error) {
	if g.m.graphDown {
		return nil, defender.ErrUnavailable
	}
	var in []defender.DirectoryUser
	for h, leads := range g.m.leads {
		if leads.now() {
			in = append(in, defender.DirectoryUser{ID: h.object(), Enabled: g.m.active[h].now(), Member: true})
		}
	}
	return in, nil
}

func (g graph) Permissions(context.Context) (defender.Permissions, error) {
	return defender.PermissionsOf(nil, []string{"User.Read.All", "GroupMember.Read.All"}), nil
}

// watched is Defender as containment sees it: every call may find the process
// interrupted before or after it.
type watched struct {
	*fakeDefender
	m *model
}

func (w watched) Machine(ctx context.Context, id string) (defender.Machine, error) {
	w.m.point("read")
	m, err := w.fakeDefender.Machine(ctx, id)
	w.m.point("machine read")
	return m, err
}

func (w watched) MachineAction(ctx context.Context, id string) (defender.MachineAction, error) {
	w.m.point("follow")
	return w.fakeDefender.MachineAction(ctx, id)
}

func (w watched) MachineActions(ctx context.Context, f defender.ActionFilter) iter.Seq2[defender.MachineAction, error] {
	w.m.point("read")
	actions := w.fakeDefender.MachineActions(ctx, f)
	w.m.point("actions read")
	return actions
}

func (w watched) IsolateMachine(ctx context.Context, id string, in defender.IsolateInput) (defender.MachineAction, error) {
	a, err := w.fakeDefender.IsolateMachine(ctx, id, in)
	w.m.point("answered")
	return a, err
}

func (w watched) ReleaseMachine(ctx context.Context, id, comment string) (defender.MachineAction, error) {
	a, err := w.fakeDefender.ReleaseMachine(ctx, id, comment)
	w.m.point("answered")
	return a, err
}

func (w watched) RestrictMachine(ctx context.Context, id, comment string) (defender.MachineAction, error) {
	a, err := w.fakeDefender.RestrictMachine(ctx, id, comment)
	w.m.point("answered")
	return a, err
}

func (w watched) UnrestrictMachine(ctx context.Context, id, comment string) (defender.MachineAction, error) {
	a, err := w.fakeDefender.UnrestrictMachine(ctx, id, comment)
	w.m.point("answered")
	return a, err
}

func (w watched) QuarantineFile(ctx context.Context, id, sha1, comment string) (defender.MachineAction, error) {
	a, err := w.fakeDefender.QuarantineFile(ctx, id, sha1, comment)
	w.m.point("answered")
	return a, err
}

func (w watched) CollectPackage(ctx context.Context, id, comment string) (defender.MachineAction, error) {
	a, err := w.fakeDefender.CollectPackage(ctx, id, comment)
	w.m.point("answered")
	return a, err
}

func (w watched) ScanMachine(ctx context.Context, id string, scan defender.ScanType, comment string) (defender.MachineAction, error) {
	a, err := w.fakeDefender.ScanMachine(ctx, id, scan, comment)
	w.m.point("answered")
	return a, err
}

func (w watched) CancelAction(ctx context.Context, id string, kind defender.MachineActionType, comment string) (defender.MachineAction, error) {
	a, err := w.fakeDefender.CancelAction(ctx, id, kind, comment)
	w.m.point("answered")
	return a, err
}

func (w watched) SetIndicator(ctx context.Context, in defender.IndicatorInput) (defender.Indicator, error) {
	i, err := w.fakeDefender.SetIndicator(ctx, in)
	w.m.point("answered")
	return i, err
}

func (w watched) DeleteIndicator(ctx context.Context, id string) error {
	err := w.fakeDefender.DeleteIndicator(ctx, id)
	w.m.point("answered")
	return err
}

func (w watched) TagMachine(ctx context.Context, id, tag string, add bool) (defender.Machine, error) {
	m, err := w.fakeDefender.TagMachine(ctx, id, tag, add)
	w.m.point("answered")
	return m, err
}

func (w watched) Indicators(ctx context.Context, value string) iter.Seq2[defender.Indicator, error] {
	w.m.point("read")
	found := w.fakeDefender.Indicators(ctx, value)
	w.m.point("indicators read")
	return found
}

// unmuted is a chat in which nothing is muted and nothing would be.
type unmuted struct{ noMutes }

// noMutes is what no command of the model asks of it.
type noMutes interface{ commands.Mutes }

func (unmuted) PreviewMute(context.Context, tenant.ID, policy.Mute) (policy.MutePreview, error) {
	return policy.MutePreview{}, nil
}

// desk is Defender as commands see it.
type desk struct {
	*fakeDefender
	unasked
}

// unasked is what no command of the model asks for.
type unasked struct{ commands.Defender }

func (desk) Alerts(context.Context, defender.AlertFilter) iter.Seq2[defender.Alert, error] {
	return func(func(defender.Alert, error) bool) {}
}

func (desk) AlertsWithEvidence(context.Context, []string) ([]defender.Alert, error) { return nil, nil }

func (desk) Alert(context.Context, string) (defender.Alert, error) {
	return defender.Alert{}, defender.ErrNotFound
}

func (desk) UpdateAlert(context.Context, string, defender.AlertUpdate) (defender.Alert, error) {
	return defender.Alert{}, defender.ErrNotFound
}

func (desk) File(context.Context, string) (defender.File, error) {
	return defender.File{}, defender.ErrNotFound
}

func (desk) RelatedMachines(context.Context, defender.Observable) ([]defender.Machine, error) {
	return nil, nil
}

func (desk) IPSightings(context.Context, string) (defender.Sightings, error) {
	return defender.Sightings{}, defender.ErrNotFound
}

func (desk) DomainSightings(context.Context, string) (defender.Sightings, error) {
	return defender.Sightings{}, defender.ErrNotFound
}

func (desk) MachineUsers(context.Context, string) ([]defender.User, error)   { return nil, nil }
func (desk) MachineAlerts(context.Context, string) ([]defender.Alert, error) { return nil, nil }

func (desk) Machines(context.Context, defender.MachineFilter) iter.Seq2[defender.Machine, error] {
	return func(func(defender.Machine, error) bool) {}
}

func (desk) Permissions(context.Context) (defender.Permissions, error) {
	all := []string{"Machine.Read.All", "Alert.Read.All"}
	for _, kind := range sentKinds {
		all = append(all, kinds[kind].Permission)
	}
	return defender.PermissionsOf(all, nil), nil
}

// FindMachines knows IDs and names, the first label of a name included.
func (d desk) FindMachines(_ context.Context, query string) (defender.Found, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.readErr != nil {
		return defender.Found{}, d.readErr
	}
	if m, ok := d.machines[query]; ok {
		return defender.Found{Machines: []defender.Machine{m}, Match: defender.MatchID}, nil
	}
	found := defender.Found{Match: defender.MatchName}
	for _, id := range machineIDs {
		m, ok := d.machines[id]
		label, _, _ := strings.Cut(m.Name, ".")
		if ok && (strings.EqualFold(m.Name, query) || strings.EqualFold(label, query)) {
			found.Machines = append(found.Machines, m)
		}
	}
	return found, nil
}

// recorder appends what the router records.
type recorder struct {
	db  durable.DB
	log *audit.Log
}

func (r recorder) Record(ctx context.Context, e audit.Event) error {
	return r.db.InTx(ctx, func(tx durable.Tx) error {
		_, err := r.log.Append(ctx, tx, e)
		return err
	})
}

// nowhere knows no thread.
type nowhere struct{}

func (nowhere) SubjectOf(context.Context, chat.Conversation) (commands.Subject, bool, error) {
	return commands.Subject{}, false, nil
}

// notary is a place for anchors that mdebot cannot rewrite.
type notary struct {
	newest audit.Anchor
	down   bool
	behind bool // something was not sent since
}

func (n *notary) String() string       { return "notary" }
func (n *notary) Every() time.Duration { return 5 * time.Minute }

func (n *notary) Send(_ context.Context, a audit.Anchor) error {
	if n.down {
		n.behind = true
		return errors.New("no answer")
	}
	n.newest, n.behind = a, false
	return nil
}

func (n *notary) Newest(context.Context, tenant.ID, string) (audit.Anchor, bool, error) {
	return n.newest, n.newest.Seq > 0, nil
}

// backup is a copy of the database and of what the model knows to be in it.
type backup struct {
	file  string // of the database; empty where it cannot be copied
	copy  string
	jobs  []durable.Job
	ties  map[hand]tie
	froze *freeze
	head  int64 // the last audit record in it
	used  bool

	tampered map[*request]bool
}

// save copies the database while it is in use.
func (m *model) save() {
	b := m.backup
	if b.file == "" || len(m.frames) > 0 {
		return
	}
	if b.copy != "" {
		_ = os.Remove(b.copy) // replaced
	}
	m.serial++
	b.copy = filepath.Join(filepath.Dir(b.file), fmt.Sprintf("backup-%d.db", m.serial))
	if err := m.replicas[0].store.Backup(context.Background(), b.copy); err != nil {
		m.violate("Backup: %v", err)
		return
	}
	head, err := audit.ReadHead(context.Background(), m.replicas[0].store.Read(), m.tenant)
	if err != nil {
		m.violate("ReadHead: %v", err)
	}
	now := m.now()
	b.jobs, b.ties, b.head = slices.Clone(m.jobs), now.ties, head.Seq
	b.froze, b.tampered = m.freeze, map[*request]bool{}
	for _, q := range m.requests {
		b.tampered[q] = q.tampered
	}
}
