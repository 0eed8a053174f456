// Package approvalstest gives tests an approvals service with everything around
// it real but the clock, the runner of jobs and the people who are told.
package approvalstest

import (
	"context"
	"log/slog"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/store/storetest"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Tenant is the Defender tenant, and Home the Entra tenant of the people.
const (
	Tenant tenant.ID = "4f6c2a1e-0000-4000-8000-000000000001"
	Home   string    = "4f6c2a1e-0000-4000-8000-0000000000aa"
)

// People of [Config]: Riley, Robin and Lou ask; Avery, Sam and Jo approve, Jo for
// both groups; Lou and Avery do both; Vic only looks.
var (
	Riley = account("RILEY")
	Robin = account("ROBIN")
	Lou   = account("LOU")
	Avery = account("AVERY")
	Sam   = account("SAM")
	Jo    = account("JO")
	Vic   = account("VIC")
	// Stranger is linked to nobody.
	Stranger = account("STRANGER")
)

func account(name string) identity.Principal {
	return identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: "U0" + name, Address: "U0" + name, Name: strings.ToLower(name)}
}

// OnTeams is the same person's Teams account.
func OnTeams(p identity.Principal) identity.Principal {
	return identity.Principal{Platform: identity.Teams, Workspace: Home, Account: objects[p.Account], Address: "29:" + p.Account, Name: p.Name}
}

// ID is the person behind an account of this package.
func ID(p identity.Principal) identity.PersonID {
	return identity.PersonID{Tenant: Home, Object: objects[p.Account]}
}

var objects = map[string]string{
	"U0RILEY": "00000000-0000-4000-8000-000000000001",
	"U0ROBIN": "00000000-0000-4000-8000-000000000002",
	"U0LOU":   "00000000-0000-4000-8000-000000000003",
	"U0AVERY": "00000000-0000-4000-8000-000000000004",
	"U0SAM":   "00000000-0000-4000-8000-000000000005",
	"U0JO":    "00000000-0000-4000-8000-000000000006",
	"U0VIC":   "00000000-0000-4000-8000-000000000007",
}

// Config is the mdebot.yaml of [New]. Tests change it with strings.Replace and
// [World.Use].
const Config = `
approvals:
  expire_after: 30m
  execute_within: 10m
  limits: { per_person_per_hour: 5, per_tenant_per_hour: 20, tier0_per_day: 3 }
  rules:
    - name: tier zero
      when: '"tier0" in machine.tags'
      approvers: 2
      from: [leads, soc]
    - name: servers
      when: machine.os.startsWith("WindowsServer")
      approvers: 2
      from: [soc]
    - name: workstations
      from: [soc]
  protected:
    - when: '"never-isolate" in machine.tags'
people:
  - { person: 00000000-0000-4000-8000-000000000001, name: Riley Chen, slack: [T0SOC/U0RILEY], roles: [responder] }
  - { person: 00000000-0000-4000-8000-000000000002, name: Robin Diaz, slack: [T0SOC/U0ROBIN], roles: [responder] }
  - { person: 00000000-0000-4000-8000-000000000003, name: Lou Marsh, slack: [T0SOC/U0LOU], roles: [responder, approver] }
  - { person: 00000000-0000-4000-8000-000000000004, name: Avery Kim, slack: [T0SOC/U0AVERY], roles: [responder, approver] }
  - { person: 00000000-0000-4000-8000-000000000005, name: Sam Okafor, slack: [T0SOC/U0SAM], roles: [approver] }
  - { person: 00000000-0000-4000-8000-000000000006, name: Jo Weiss, slack: [T0SOC/U0JO], roles: [approver] }
  - { person: 00000000-0000-4000-8000-000000000007, name: Vic Lane, slack: [T0SOC/U0VIC], roles: [viewer] }
groups:
  soc:
    - 00000000-0000-4000-8000-000000000003
    - 00000000-0000-4000-8000-000000000004
    - 00000000-0000-4000-8000-000000000005
    - 00000000-0000-4000-8000-000000000006
  leads:
    - 00000000-0000-4000-8000-000000000006
`

// World is a service and what it says and plans.
type World struct {
	*approvals.Service
	DB     *Queue
	Told   *Told
	Clock  *Clock
	Policy *policy.Source
	Logger *slog.Logger
}

// New returns a world at noon, on a SQLite database of its own.
func New(t testing.TB) *World {
	t.Helper()
	return On(t, func(t testing.TB, opts ...func(*store.Options)) *store.Store { return storetest.New(t, opts...) })
}

// On is New on the database that open opens.
func On(t testing.TB, open storetest.Opener) *World {
	t.Helper()
	clock := NewClock()
	w := &World{
		DB:     &Queue{DB: open(t, storetest.Clock(clock.Now)), t: t, clock: clock},
		Told:   &Told{},
		Clock:  clock,
		Policy: policy.NewSource(Parse(t, Config)),
		Logger: slog.New(slog.DiscardHandler),
	}
	w.Service = approvals.New(approvals.Config{
		DB: w.DB, Audit: audit.NewLog(clock.Now), Announcer: w.Told, Policy: w.Policy,
		Actions: approvals.Actions(), Now: clock.Now, Logger: w.Logger,
	})
	return w
}

// Parse reads a configuration for people of [Home].
func Parse(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("mdebot.yaml", []byte(text), policy.Options{HomeTenant: Home})
	if err != nil {
		t.Fatalf("policy.Parse: %v", err)
	}
	return p
}

// Use puts another configuration in force.
func (w *World) Use(t testing.TB, text string) {
	t.Helper()
	w.Policy.Set(Parse(t, text))
}

// Workstation is a machine of the rule "workstations".
func Workstation(id string) approvals.TargetInput {
	return approvals.TargetInput{ID: id, Name: id + ".contoso.com", Machine: &policy.Machine{ID: id, Name: id + ".contoso.com", OS: "Windows11"}}
}

// Isolate is the input of a request to isolate.
func Isolate(by identity.Principal, targets ...approvals.TargetInput) approvals.OpenInput {
	return approvals.OpenInput{
		Asked:  approvals.Asked{By: by, Conversation: "slack:C0SOC", Delivery: "delivery"},
		Tenant: Tenant, Action: approvals.Isolate, Targets: targets, Reason: "beaconing",
	}
}

// Vote is the input of a vote on r as it is shown.
func Vote(r approvals.Request, by identity.Principal, deny bool) approvals.VoteInput {
	return approvals.VoteInput{
		Asked:  approvals.Asked{By: by, Conversation: "slack:C0SOC", Delivery: "delivery"},
		Tenant: r.Tenant, Request: r.ID, Deny: deny, Digest: r.Digest,
	}
}

// Kinds lists the kinds of the audit records so far, and fails when the chain is
// broken.
func (w *World) Kinds(t testing.TB) []string {
	t.Helper()
	if _, err := audit.Verify(t.Context(), w.DB.Read(), Tenant); err != nil {
		t.Errorf("audit.Verify: %v", err)
	}
	var kinds []string
	for r, err := range audit.Records(t.Context(), w.DB.Read(), Tenant, 1) {
		if err != nil {
			t.Fatalf("audit.Records: %v", err)
		}
		kinds = append(kinds, r.Kind)
	}
	return kinds
}

// Clock is a clock that stands still.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock at noon.
func NewClock() *Clock {
	return &Clock{now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
}

// Now is the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Pass lets time pass.
func (c *Clock) Pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Told keeps what was announced.
type Told struct {
	mu      sync.Mutex
	changes []approvals.Change
	last    approvals.Request
	freezes []string
	// Err makes every announcement fail.
	Err error
}

// RequestChanged implements [approvals.Announcer].
func (a *Told) RequestChanged(_ context.Context, _ durable.Tx, r approvals.Request, c approvals.Change) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Err != nil {
		return a.Err
	}
	a.changes, a.last = append(a.changes, c), r
	return nil
}

// FreezeChanged implements [approvals.Announcer].
func (a *Told) FreezeChanged(_ context.Context, _ durable.Tx, f approvals.Freeze, endedBy *approvals.Request) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Err != nil {
		return a.Err
	}
	word := "frozen by "
	if endedBy != nil {
		word = "unfrozen from "
	}
	a.freezes = append(a.freezes, word+f.ByName+": "+f.Reason)
	return nil
}

// Freezes returns what was announced about freezes since the last call.
func (a *Told) Freezes() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	freezes := a.freezes
	a.freezes = nil
	return freezes
}

// Changes returns what was announced since the last call.
func (a *Told) Changes() []approvals.Change {
	a.mu.Lock()
	defer a.mu.Unlock()
	changes := a.changes
	a.changes = nil
	return changes
}

// Last is the request as last announced.
func (a *Told) Last() approvals.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

// Queue is a database whose jobs are kept in memory, for the test to run.
type Queue struct {
	durable.DB
	t     testing.TB
	clock *Clock
	mu    sync.Mutex
	jobs  []durable.Job
}

// InTx implements [durable.DB].
func (q *Queue) InTx(ctx context.Context, fn func(durable.Tx) error) error {
	var planned []durable.Job
	var wrote writes
	err := q.DB.InTx(ctx, func(tx durable.Tx) error {
		planned, wrote = nil, writes{}
		return fn(&queueTx{Tx: tx, planned: &planned, wrote: &wrote})
	})
	if err == nil && wrote.state != "" && !wrote.record {
		q.t.Errorf("a change was committed without a record in the audit log: %s", wrote.state)
	}
	if err == nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.jobs = append(q.jobs, planned...)
	}
	return err
}

type queueTx struct {
	durable.Tx
	planned *[]durable.Job
	wrote   *writes
}

// writes is what a transaction has written: every change of state has its record in
// the same one (threat-model L-01).
type writes struct {
	state  string // the first statement that changed something
	record bool
}

var (
	changesState = regexp.MustCompile(`(?s)^\s*(INSERT INTO|UPDATE|DELETE FROM) (requests|request_targets|votes|freezes)\b`)
	changesNone  = regexp.MustCompile(`SET version = version\b`) // takes the lock
	// An update names the state that it expects; with the same one it only keeps
	// the sweep's notes.
	fromState   = regexp.MustCompile(`(?s)^\s*UPDATE \w+ SET state = \$1\b.* AND state = \$(\d+)`)
	keepsRecord = regexp.MustCompile(`^\s*INSERT INTO audit `)
)

// Exec implements [durable.DBTX]. What tests write by themselves is not looked at.
func (tx *queueTx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	n, err := tx.Tx.Exec(ctx, query, args...)
	_, caller, _, _ := runtime.Caller(1)
	switch {
	case err != nil || n == 0 || strings.HasSuffix(caller, "_test.go"):
	case keepsRecord.MatchString(query):
		tx.wrote.record = true
	case changesNone.MatchString(query) || sameState(query, args):
	case tx.wrote.state == "" && changesState.MatchString(query):
		tx.wrote.state = query
	}
	return n, err
}

func sameState(query string, args []any) bool {
	m := fromState.FindStringSubmatch(query)
	if m == nil {
		return false
	}
	i, err := strconv.Atoi(m[1])
	return err == nil && i <= len(args) && args[0] == args[i-1]
}

func (tx *queueTx) Enqueue(_ context.Context, job durable.Job) error {
	*tx.planned = append(*tx.planned, job)
	return nil
}

// Plan adds a job.
func (q *Queue) Plan(job durable.Job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.jobs = append(q.jobs, job)
}

// Due takes the jobs whose time has come out of the queue.
func (q *Queue) Due() []durable.Job {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.clock.Now()
	var due []durable.Job
	q.jobs = slices.DeleteFunc(q.jobs, func(j durable.Job) bool {
		if j.RunAt.After(now) {
			return false
		}
		due = append(due, j)
		return true
	})
	return due
}
