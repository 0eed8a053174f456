package chaostest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/mdebot/mdebot/internal/failpoint"
	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/sandbox/estate"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

var discard = log.New(io.Discard, "", 0)

// shape is what a round consists of, apart from its seed.
type shape struct {
	replicas int // 0: SQLite; otherwise processes on one PostgreSQL
	kills    int
	wishes   int
	alarms   int
	troubles bool // the services around fail too
	power    bool // power cuts instead of kills
	standby  bool // PostgreSQL has one, which takes over
}

// round is one world with its bot, from start to judgement.
type round struct {
	*testing.T
	shape
	seed  uint64
	world *sandbox.World
	eye   *eye

	processes []*process
	database  string
	disk      *disk               // that the power of is cut, or
	postgres  *storetest.Crashing // the server
	standby   *storetest.Crashing
	wishes    []*wish
	alarms    []alarm
	began     time.Time

	mu      sync.Mutex
	killed  map[string]int
	settled time.Duration
	extra   int // posts more than one
	posts   int
}

// alarm is an alert that has to be posted.
type alarm struct {
	title string
	at    time.Duration
	late  time.Duration // how much later than its times it becomes visible
	edit  bool          // it changes a moment later
}

// policyFor is the company's file without what would keep a round from its work:
// the limits per hour, and storms.
func policyFor() string {
	return strings.NewReplacer(
		"  expire_after: 30m", "  limits: { per_person_per_hour: 10000, per_tenant_per_hour: 10000 }\n  expire_after: 30m",
		"more_than: 20", "more_than: 1000",
	).Replace(sandbox.PolicyYAML())
}

// quick are machine actions that do not keep a round waiting, and quotas that a
// round does not use up.
func quick() sandbox.Options {
	limits := map[defendersim.Family]defendersim.Limit{}
	for f := range defendersim.DefaultLimits() {
		limits[f] = defendersim.Limit{PerMinute: 1_000_000, PerHour: 1_000_000}
	}
	return sandbox.Options{Timing: defendersim.Timing{Start: 50 * time.Millisecond, Run: 50 * time.Millisecond}, Limits: limits}
}

// newWorld starts the simulators and returns the settings of a bot in them, apart
// from its addresses and its database.
func newWorld(t testing.TB, o sandbox.Options, policy string) (*sandbox.World, []string) {
	t.Helper()
	world, err := sandbox.New(t.Context(), o)
	if err != nil {
		t.Fatalf("start the world: %v", err)
	}
	t.Cleanup(func() { _ = world.Close() })
	file := filepath.Join(t.TempDir(), "mdebot.yaml")
	if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	return world, append(world.Environment(), "MDEBOT_CONFIG="+file)
}

// addMachines puts n workstations cx-0000 and on into the tenant.
func addMachines(w *sandbox.World, n int) (ids []string) {
	like := w.Tenant.Named("ws-011.corp.contoso.com")[0].Machine
	for i := range n {
		m := like
		m.ID = fmt.Sprintf("%040x", 0xcafe0000+i)
		m.ComputerDNSName = fmt.Sprintf("cx-%04d.corp.contoso.com", i)
		m.MachineTags = nil
		w.Tenant.PutMachine(m)
		ids = append(ids, m.ID)
	}
	return ids
}

var syncing sync.Mutex

// newRound draws a round from its seed and starts it.
func newRound(t *testing.T, seed uint64, s shape) *round {
	t.Helper()
	if s.power && *killsFlag == 0 {
		// These have a database of their own that syncs, beside all other tests.
		syncing.Lock()
		t.Cleanup(syncing.Unlock)
	}
	r := &round{T: t, shape: s, seed: seed, killed: map[string]int{}}
	draw := rand.New(rand.NewPCG(seed, 1))
	var env []string
	r.world, env = newWorld(t, quick(), policyFor())
	switch {
	case s.power && s.replicas > 0:
		r.postgres = storetest.NewCrashing(t)
		r.database = r.postgres.URL()
		if s.standby {
			r.standby = r.postgres.NewStandby()
			r.database = r.postgres.Either(r.standby)
		}
	case s.power:
		r.disk = newDisk(t)
		r.database = "sqlite:" + filepath.Join(r.disk.dir, "mdebot.db")
	case s.replicas == 0:
		r.database = "sqlite:" + filepath.Join(t.TempDir(), "mdebot.db")
	default:
		r.database = storetest.PostgresURL(t)
	}
	env = append(env, "MDEBOT_DATABASE_URL="+r.database)
	for i := range max(s.replicas, 1) {
		r.processes = append(r.processes, newProcess(t, fmt.Sprintf("replica %d", i+1), env))
	}
	ids := addMachines(r.world, s.wishes)
	people := []sandbox.Person{sandbox.Riley, sandbox.Avery, sandbox.Sam, sandbox.Jordan}
	// What people do fills the time that the kills take.
	span := time.Duration(s.kills) * time.Second
	if s.kills == 0 {
		span = 30 * time.Second
	}
	for i := range s.wishes {
		w := &wish{
			machine: fmt.Sprintf("cx-%04d", i), id: ids[i], onSlack: draw.IntN(2) == 0,
			plan: plans[draw.IntN(len(plans))], at: time.Duration(draw.Int64N(int64(span))),
		}
		draw.Shuffle(len(people), func(i, j int) { people[i], people[j] = people[j], people[i] })
		w.asker, w.voters = people[0], []sandbox.Person{people[1]}
		if w.plan == twice || w.plan == both {
			w.voters = append(w.voters, people[2])
		}
		for range w.voters {
			w.voteOnSlack = append(w.voteOnSlack, draw.IntN(2) == 0)
		}
		r.wishes = append(r.wishes, w)
	}
	for i := range s.alarms {
		a := alarm{title: fmt.Sprintf("Alarm %04d", i), at: time.Duration(draw.Int64N(int64(span))), edit: draw.IntN(3) == 0}
		if draw.IntN(3) == 0 {
			a.late = time.Duration(1+draw.IntN(8)) * time.Second
		}
		r.alarms = append(r.alarms, a)
	}
	return r
}

// settleWithin is how long a round may take to come to rest.
const settleWithin = 5 * time.Minute

// run lets everything happen, waits until it has come to rest, and judges.
func (r *round) run() {
	r.Helper()
	for _, p := range r.processes {
		p.serve()
	}
	lb := newBalancer(r, r.processes...)
	if err := r.world.Connect(r.Context(), lb.url()); err != nil {
		r.Fatalf("connect the platforms: %v", err)
	}
	r.eye = newEye(r.world)
	for !r.watching() {
		time.Sleep(50 * time.Millisecond)
	}
	for _, p := range r.processes {
		p.kill()
	}

	r.began = time.Now()
	ctx, stop := context.WithCancel(r.Context())
	var people, faults sync.WaitGroup
	people.Go(func() { r.eye.watch(ctx) })
	for _, w := range r.wishes {
		people.Go(func() { r.pursue(ctx, w) })
	}
	people.Go(func() { r.raise(ctx) })
	end := time.Duration(r.kills)*3*time.Second + 30*time.Second
	trouble, over := context.WithTimeout(r.Context(), end)
	for i, p := range r.processes {
		draw := rand.New(rand.NewPCG(r.seed, uint64(100+i)))
		switch {
		case r.postgres == nil && r.disk == nil:
			faults.Go(func() { r.torment(trouble, p, draw) })
		case r.disk != nil:
			faults.Go(func() { r.cutPower(trouble, p, draw) })
		case i == 0: // one machine for all
			faults.Go(func() { r.cutDatabase(trouble, draw) })
		}
	}
	if r.troubles {
		people.Go(func() { r.makeTrouble(trouble, rand.New(rand.NewPCG(r.seed, 2))) })
	}
	faults.Wait()
	over()
	r.heal()
	for _, p := range r.processes {
		p.serve()
	}
	quiet := time.Now()
	r.settle(quiet)
	stop()
	people.Wait()
	r.eye.look()
	r.judge()
}

// watching tells that the bot has taken in what was open at the first start.
func (r *round) watching() bool {
	return slices.ContainsFunc(r.world.Slack.Messages(sandbox.SlackSOC, ""), func(m slacksim.Message) bool {
		return strings.Contains(readable(m.Blocks)+m.Text, "watches this tenant")
	})
}

// raise lets the alarms come.
func (r *round) raise(ctx context.Context) {
	type event struct {
		at time.Duration
		do func()
	}
	machine := r.world.Tenant.Named("ws-012.corp.contoso.com")[0].Machine
	var all []event
	for i, a := range r.alarms {
		var id string
		all = append(all, event{a.at, func() {
			now := time.Now()
			created := now
			if a.late > 0 {
				created = now.Add(-5 * time.Minute)
			}
			raised := estate.NewAlert(sandbox.TenantID, machine, created, int32(100_000+i), "High", a.title)
			id = r.world.Tenant.AddAlert(raised, now.Add(a.late)).ID
		}})
		if a.edit {
			all = append(all, event{a.at + a.late + 4*time.Second, func() {
				if err := r.world.Tenant.EditAlert(id, func(a *estate.Alert) { a.Status = "InProgress" }); err != nil {
					r.Error(err)
				}
			}})
		}
	}
	slices.SortStableFunc(all, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	for _, e := range all {
		if !pause(ctx, time.Until(r.began.Add(e.at))) {
			return
		}
		e.do()
	}
}

// spot is a step where a process is crashed, and how often it may pass before.
type spot struct {
	point  failpoint.Point
	passes int
}

// Of the rare ones several are armed at a time, because one may not come; one of
// the steady ones comes always.
var (
	rare = []spot{
		{failpoint.CommandAccepted, 12},
		{failpoint.RequestSaved, 8},
		{failpoint.VoteSaved, 3},
		{failpoint.ClaimCommitted, 1},
		{failpoint.ActionCalled, 1},
		{failpoint.ResultSaved, 2},
		{failpoint.AlertsRead, 1},
		{failpoint.AlertsSaved, 1},
		{failpoint.WatermarkMoved, 1},
		{failpoint.SweepDone, 1},
	}
	steady = []spot{
		{failpoint.MessagePosted, 20},
		{failpoint.MessageRecorded, 20},
		{failpoint.Transaction, 100},
	}
)

func (s spot) crash(draw *rand.Rand) string {
	side := []string{"before", "after"}[draw.IntN(2)]
	if s.point == failpoint.AlertsRead {
		side = "after" // reading has no other side
	}
	return fmt.Sprintf("%s=crash-%s@%d", s.point, side, 1+draw.IntN(s.passes))
}

// torment starts a process over and over and lets it die in another place each
// time, until the round has its kills.
func (r *round) torment(ctx context.Context, p *process, draw *rand.Rand) {
	for ctx.Err() == nil && r.count("") < r.kills {
		var armed []string
		for _, i := range draw.Perm(len(rare))[:5] {
			armed = append(armed, rare[i].crash(draw))
		}
		if draw.IntN(3) == 0 {
			armed = append(armed, steady[draw.IntN(len(steady))].crash(draw))
		}
		patience := 1500*time.Millisecond + time.Duration(draw.Int64N(int64(3*time.Second)))
		name := "at random"
		switch draw.IntN(12) {
		case 0: // an error on the way, and a crash at random
			at := append(slices.Clone(rare), steady...)[draw.IntN(len(rare)+len(steady))].point
			side := []string{"before", "after"}[draw.IntN(2)]
			if at == failpoint.MessagePosted {
				side = "before" // the platforms' own lost answers are among the troubles
			}
			armed = []string{fmt.Sprintf("%s=error-%s@%d", at, side, 1+draw.IntN(3))}
			name = "at random, after an error"
		case 1:
			armed = []string{"transaction=delay:30ms"}
			name = "at random, slow database"
		case 2:
			armed, name, patience = nil, "while starting", time.Duration(draw.IntN(200))*time.Millisecond
		}
		p.start(strings.Join(armed, ","))
		if name == "while starting" {
			time.Sleep(patience)
		} else if served := p.ready(); !served || p.ended(patience) {
			switch at := p.crashedAt(); {
			case at != "":
				name = at
			case !served && p.cmd.ProcessState.ExitCode() == 1 && (r.troubles || strings.HasPrefix(name, "at random, after")):
				// What it needs to start was not there; whoever looks after it starts it again.
				name = refusedToStart
			default:
				r.Errorf("%s ended by itself: %v", p.name, p.cmd.ProcessState)
			}
		}
		p.kill()
		r.count(name)
	}
}

// count notes a kill and tells how many there were.
func (r *round) count(name string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if name != "" {
		r.killed[name]++
	}
	return kills(r.killed)
}

const refusedToStart = "refused to start" // which is no kill

func kills(by map[string]int) (n int) {
	for name, k := range by {
		if name != refusedToStart {
			n += k
		}
	}
	return n
}

// settle waits until every request has an end that its asker sees, and every
// alarm stands where it should. It measures the requests that were decided before
// it began: the others wait for people, too.
func (r *round) settle(quiet time.Time) {
	r.Helper()
	decided := map[*wish]bool{}
	for _, w := range r.wishes {
		decided[w] = !r.undecided(w)
	}
	waiting := slices.Clone(r.wishes)
	for time.Since(quiet) < settleWithin {
		waiting = slices.DeleteFunc(waiting, func(w *wish) bool {
			if r.missing(w) != "" {
				return false
			}
			took := time.Since(quiet)
			r.Logf("%6s %s %s decided=%v %v", took.Round(time.Millisecond), w.machine, w.plan, decided[w], r.eye.states(w.machine, w.origin()))
			if decided[w] {
				r.settled = took
			}
			return true
		})
		if len(waiting) == 0 && len(r.unposted()) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	if slices.ContainsFunc(waiting, func(w *wish) bool { return decided[w] }) {
		r.settled = settleWithin // the judgement says what is missing
	}
}

// killPostgres drops every connection to the round's database.
func (r *round) killPostgres() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, r.database)
	if err != nil {
		return // it is being dropped from under us, which is the point
	}
	defer conn.Close(ctx)
	_, _ = conn.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
}

// tally adds up what rounds found.
type tally struct {
	mu      sync.Mutex
	rounds  int
	kills   map[string]int
	asked   int
	effects int
	alarms  int
	posts   int
	extra   int
	settled []time.Duration
	seeds   []uint64
	failed  []uint64
}

func (a *tally) add(r *round) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.kills == nil {
		a.kills = map[string]int{}
	}
	a.rounds++
	for k, n := range r.killed {
		a.kills[k] += n
	}
	a.asked += len(r.wishes)
	a.effects += len(r.world.Tenant.Effects(defendersim.OfKind(defendersim.EffectIsolate)))
	a.alarms += len(r.alarms)
	a.posts += r.posts
	a.extra += r.extra
	a.settled = append(a.settled, r.settled)
	a.seeds = append(a.seeds, r.seed)
	if r.Failed() {
		a.failed = append(a.failed, r.seed)
	}
}

func (a *tally) total() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return kills(a.kills)
}

func (a *tally) String() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d kills in %d rounds (seeds %v), %d requests, %d isolations, %d alarms\n", a.total(), a.rounds, a.seeds, a.asked, a.effects, a.alarms)
	fmt.Fprintf(&b, "posts counted %d, of which repeated %d (%.3f %%)\n", a.posts, a.extra, 100*float64(a.extra)/float64(max(a.posts, 1)))
	slices.Sort(a.settled)
	if len(a.settled) > 0 {
		fmt.Fprintf(&b, "decided requests have a state that is told, after the last start: median %s, longest %s\n",
			a.settled[len(a.settled)/2].Round(100*time.Millisecond), a.settled[len(a.settled)-1].Round(100*time.Millisecond))
	}
	for _, k := range slices.Sorted(maps.Keys(a.kills)) {
		fmt.Fprintf(&b, "%6d  %s\n", a.kills[k], k)
	}
	fmt.Fprintf(&b, "failed: %v\n", a.failed)
	return b.String()
}
