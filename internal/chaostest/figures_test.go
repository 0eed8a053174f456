package chaostest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/containment"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/sandbox/estate"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/store/storetest"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Commands arrive while Defender hangs and every transaction takes half a second.
func TestAcknowledgements_whileEverythingIsSlow(t *testing.T) {
	t.Parallel()
	lasts, rate := 8*time.Second, 25
	if *figures {
		lasts, rate = 2*time.Minute, 50
	}
	world, env := newWorld(t, quick(), policyFor())
	p := newProcess(t, "the bot", append(env, "MDEBOT_DATABASE_URL=sqlite:"+filepath.Join(t.TempDir(), "mdebot.db")))
	p.start("transaction=delay:500ms")
	if !p.ready() {
		t.Fatal("it ended at once")
	}
	if err := world.Connect(t.Context(), "http://"+p.listen); err != nil {
		t.Fatal(err)
	}
	world.Defender.Faults.Add(fault.Fault{Kind: fault.Delay, Wait: 30 * time.Second, Route: "/api/**"})

	people := []sandbox.Person{sandbox.Riley, sandbox.Avery, sandbox.Sam, sandbox.Jordan}
	texts := []string{"machine ws-%03d", "alerts", "whoami", "machine ws-%03d", "isolate ws-%03d everything is slow"}
	var mu sync.Mutex
	var slack, teams []time.Duration
	var refused atomic.Int64
	var all sync.WaitGroup
	total := int(lasts.Seconds()) * rate
	began := time.Now()
	for i := range total {
		due := began.Add(lasts * time.Duration(i) / time.Duration(total))
		time.Sleep(time.Until(due)) // whether or not earlier ones were answered
		all.Go(func() {
			who, text := people[i%len(people)], texts[i%len(texts)]
			if strings.Contains(text, "%") {
				text = fmt.Sprintf(text, 10+i%80)
			}
			var err error
			on := &slack
			if i%5 == 4 {
				on = &teams
				_, err = world.Teams.Message(t.Context(), who.Object, sandbox.TeamsSOC, "@mdebot "+text, "")
			} else {
				err = world.Slack.Slash(t.Context(), who.Slack, sandbox.SlackSOC, text)
			}
			took := time.Since(due)
			if err != nil {
				refused.Add(1)
			}
			mu.Lock()
			defer mu.Unlock()
			*on = append(*on, took)
		})
	}
	all.Wait()
	world.Defender.Faults.Clear()
	for name, took := range map[string][]time.Duration{"Slack": slack, "Teams": teams} {
		slices.Sort(took)
		at := func(q float64) time.Duration { return took[min(int(q*float64(len(took))), len(took)-1)] }
		t.Logf("%s: %d commands at %d a second in all, p50 %s, p99 %s, p99.9 %s, longest %s, %d refused",
			name, len(took), rate, at(0.5), at(0.99), at(0.999), at(1), refused.Load())
		if worst := at(0.999); worst > 3*time.Second || *figures && worst > time.Second {
			t.Errorf("%s: p99.9 is %s, want a second", name, worst)
		}
	}
	if refused.Load() > 0 {
		t.Errorf("%d commands were not acknowledged", refused.Load())
	}
}

// Ten thousand alerts of fifty tenants that cannot be posted, and a thousand requests
// that wait.
func TestMemory_withMuchPending(t *testing.T) {
	t.Parallel()
	alerts, requests, tenants := 1_000, 100, 5
	if *figures {
		alerts, requests, tenants = 10_000, 1_000, 50
	}
	url := "sqlite:" + filepath.Join(t.TempDir(), "mdebot.db")
	// Nobody may have many undecided requests, so many people ask.
	var crowd, members strings.Builder
	for i := range requests {
		fmt.Fprintf(&crowd, "  - { person: 9b000000-0000-4000-8000-%012d, name: Person %d, slack: [T0SOC/U0P%d], roles: [responder] }\n", i, i, i)
		fmt.Fprintf(&members, "    - 9b000000-0000-4000-8000-%012d\n", i)
	}
	config := strings.Replace(policyFor(), "groups:\n", crowd.String()+"groups:\n  crowd:\n"+members.String(), 1) + tenantsYAML(tenants, "crowd, soc")
	world, env := newWorld(t, quick(), config)
	customers := addCustomers(world, tenants)
	ids := addMachines(world, requests)
	openMany(t, url, config, ids)

	world.Slack.Inject(slacksim.Fault{Kind: slacksim.FaultServerError, Times: -1})
	p := newProcess(t, "the bot", append(env, "MDEBOT_DATABASE_URL="+url))
	p.serve()
	if err := world.Connect(t.Context(), "http://"+p.listen); err != nil {
		t.Fatal(err)
	}
	for len(world.Defender.Calls("GET /api/alerts")) < tenants {
		time.Sleep(20 * time.Millisecond)
	}
	now := time.Now()
	for i := range alerts {
		of := customers[i%tenants]
		of.AddAlert(estate.NewAlert(of.ID(), of.Machines()[0].Machine, now, int32(300_000+i), "High", fmt.Sprintf("Pending %05d", i)), now)
	}
	var most, first, last float64
	files := 0
	watch := 20 * time.Second
	if *figures {
		watch = 5 * time.Minute
	}
	for end := now.Add(watch); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		last, files = p.rss()
		most = max(most, last)
		if first == 0 && time.Since(now) > watch/2 {
			first = last
		}
	}
	t.Logf("%d alerts of %d tenants and %d open requests pending: %.0f MiB resident at most, %.0f half-way and %.0f at the end of %s, %d open files", alerts, tenants, requests, most, first, last, watch, files)
	if most > 256 {
		t.Errorf("%.0f MiB resident, want 256 at most", most)
	}
}

// tenantsYAML lists n tenants for groups of people: the company's own, and customers.
func tenantsYAML(n int, groups string) string {
	var b strings.Builder
	b.WriteString("\ntenants:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - { id: %s, name: customer-%d, people: [%s] }\n", customerID(i), i, groups)
	}
	return b.String()
}

// customerID is the company's own tenant for 0.
func customerID(i int) string {
	if i == 0 {
		return sandbox.TenantID
	}
	return fmt.Sprintf("cccccccc-0000-4000-8000-%012d", i)
}

// addCustomers adds tenants, with ten machines and no alert each, to the company's own.
func addCustomers(w *sandbox.World, n int) []*defendersim.Tenant {
	all := []*defendersim.Tenant{w.Tenant}
	machines := w.Estate.Machines[:10]
	for i := 1; i < n; i++ {
		all = append(all, w.AddCustomer(&estate.Estate{Tenant: customerID(i), Machines: slices.Clone(machines)}))
	}
	return all
}

// openMany writes open requests into a database before the bot is started with it:
// asking for so many would take the whole day's share of Defender's quota.
func openMany(t testing.TB, url, config string, machines []string) {
	t.Helper()
	db := storetest.Open(t, url)
	pol, err := policy.Parse("mdebot.yaml", []byte(config), policy.Options{HomeTenant: sandbox.TenantID})
	if err != nil {
		t.Fatal(err)
	}
	s := approvals.New(approvals.Config{
		DB: db, Audit: audit.NewLog(time.Now), Announcer: &approvalstest.Told{}, Policy: policy.NewSource(pol), Actions: approvals.Actions(),
		Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	for i, id := range machines {
		_, err := s.Open(t.Context(), approvals.OpenInput{
			Asked:  approvals.Asked{By: identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: fmt.Sprintf("U0P%d", i)}, Conversation: "slack:" + sandbox.SlackSOC},
			Tenant: sandbox.TenantID, Action: approvals.Isolate, Reason: "one of many",
			Targets: []approvals.TargetInput{{
				ID: id, Name: fmt.Sprintf("cx-%04d", i), Facts: []byte(`{}`),
				Machine: &policy.Machine{ID: id, Name: fmt.Sprintf("cx-%04d", i), OS: "Windows11"},
			}},
		})
		if err != nil {
			t.Fatalf("open request %d: %v", i, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// slowDefender answers everything after a while, for any tenant.
type slowDefender struct {
	containment.Actor // isolates alone
	wait              time.Duration
	started           atomic.Int64
	actions           sync.Map // of defender.MachineAction, by ID
}

func (d *slowDefender) Machine(ctx context.Context, id string) (defender.Machine, error) {
	pause(ctx, d.wait)
	of, _, _ := strings.Cut(id, ".")
	return defender.Machine{ID: id, Tenant: tenant.ID(of), Name: id, OS: "Windows11", Health: "Active", LastSeen: time.Now()}, nil
}

func (d *slowDefender) MachineAction(ctx context.Context, id string) (defender.MachineAction, error) {
	pause(ctx, d.wait)
	a, ok := d.actions.Load(id)
	if !ok {
		return defender.MachineAction{}, defender.ErrNotFound
	}
	return a.(defender.MachineAction), nil
}

func (d *slowDefender) MachineActions(ctx context.Context, f defender.ActionFilter) iter.Seq2[defender.MachineAction, error] {
	pause(ctx, d.wait)
	return func(yield func(defender.MachineAction, error) bool) {
		if a, ok := d.actions.Load("on " + f.MachineID); ok {
			yield(a.(defender.MachineAction), nil)
		}
	}
}

func (d *slowDefender) IsolateMachine(ctx context.Context, id string, in defender.IsolateInput) (defender.MachineAction, error) {
	pause(ctx, d.wait)
	d.started.Add(1)
	a := defender.MachineAction{ID: "on " + id, MachineID: id, Type: defender.Isolate, Comment: in.Comment, Status: defender.ActionPending, Created: time.Now()}
	done := a
	done.Status = defender.ActionSucceeded
	d.actions.Store(a.ID, done)
	return a, nil
}

type everyone struct{}

func (everyone) Standing(context.Context, identity.Principal) (identity.Standing, error) {
	return identity.Member, nil
}

// Two replicas with eight workers each on one PostgreSQL, ten tenants, and a Defender
// that answers in 200 ms, against one.
func TestThroughput_ofTwoReplicas(t *testing.T) {
	t.Parallel()
	requests := 60
	if *figures {
		requests = 240
	}
	one := throughput(t, 1, requests)
	two := throughput(t, 2, requests)
	t.Logf("%d requests over 10 tenants: %.1f a second with one replica, %.1f with two: %.2f times", requests, one, two, two/one)
	if *figures && two < 1.6*one {
		t.Errorf("two replicas do %.2f times the work of one, want 1.6", two/one)
	}
}

func throughput(t *testing.T, replicas, requests int) (perSecond float64) {
	t.Helper()
	url := storetest.PostgresURL(t)
	config := strings.Replace(approvalstest.Config, "per_person_per_hour: 5, per_tenant_per_hour: 20", "per_person_per_hour: 10000, per_tenant_per_hour: 10000", 1)
	source := policy.NewSource(approvalstest.Parse(t, config))
	logger := slog.New(slog.DiscardHandler)
	at := &slowDefender{wait: 200 * time.Millisecond}
	var stores []*store.Store
	var services []*approvals.Service
	for range replicas {
		db := storetest.Open(t, url)
		s := approvals.New(approvals.Config{
			DB: db, Audit: audit.NewLog(time.Now), Announcer: &approvalstest.Told{}, Policy: source, Actions: approvals.Actions(), Now: time.Now, Logger: logger,
		})
		run := containment.New(containment.Config{Approvals: s, Reader: at, Actor: at, Directory: everyone{}, Now: time.Now, Logger: logger})
		db.Handle(approvals.KindExecute, run.Execute, 8)
		db.Handle(approvals.KindFollow, run.Follow, 8)
		db.Tick("requests", s.Sweep)
		stores, services = append(stores, db), append(services, s)
	}
	ask := services[0]
	for i := range requests {
		id := fmt.Sprintf("tenant-%d.ws-%d", i%10, i)
		in := approvalstest.Isolate(approvalstest.Riley, approvalstest.Workstation(id))
		in.Tenant = tenant.ID(fmt.Sprintf("tenant-%d", i%10))
		in.Targets[0].Name = id
		opened, err := ask.Open(t.Context(), in)
		if err != nil {
			t.Fatalf("Open() = %v", err)
		}
		if _, err := ask.Vote(t.Context(), approvalstest.Vote(opened.Request, approvalstest.Avery, false)); err != nil {
			t.Fatalf("Vote() = %v", err)
		}
	}
	for _, db := range stores {
		if err := db.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	for done := int64(0); done < int64(requests); time.Sleep(20 * time.Millisecond) {
		err := stores[0].Read().QueryRow(t.Context(), `SELECT COUNT(*) FROM requests WHERE state = 'succeeded'`).Scan(&done)
		if err != nil && !errors.Is(err, durable.ErrNoRows) {
			t.Fatal(err)
		}
		if time.Since(began) > 5*time.Minute {
			t.Fatalf("%d of %d are done after five minutes", done, requests)
		}
	}
	if n := at.started.Load(); n != int64(requests) {
		t.Errorf("%d isolations for %d requests", n, requests)
	}
	return float64(requests) / time.Since(began).Seconds()
}
