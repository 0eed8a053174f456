package containment

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

// seen counts what the histories came to.
var seen = struct {
	sync.Mutex
	counts map[string]int
}{counts: map[string]int{}}

func saw(what string) { sawTimes(what, 1) }

func sawTimes(what string, n int) {
	seen.Lock()
	defer seen.Unlock()
	seen.counts[what] += n
}

// check holds after every step.
func (m *model) check(t *rapid.T) {
	m.t = t
	for _, v := range m.failed {
		t.Fatalf("%s", v)
	}
}

// rested reports whether nothing is left to wait for.
func (m *model) rested() bool {
	return !slices.ContainsFunc(m.requests, func(q *request) bool {
		return !q.gone && slices.ContainsFunc(q.state, func(s string) bool { return !final(s) && (s != "unknown" || !q.asked) })
	})
}

// quiet lets everything come to rest and checks that nothing hangs and that what
// was told last is what is stored.
func (m *model) quiet() {
	m.defender.mu.Lock()
	m.defender.answers, m.defender.readErr, m.defender.hideFor = nil, nil, 0
	m.defender.mu.Unlock()
	m.dirDown, m.graphDown, m.auditDown, m.notary.down, m.skewed = false, false, false, false, true
	m.setClock(0)
	for round := range 20 {
		if m.rested() {
			break
		}
		m.defender.finish(defender.ActionSucceeded)
		m.clock.Pass(time.Minute)
		m.sweep(0)
		m.work(1)
		if round%3 == 2 {
			m.clock.Pass(31 * time.Minute)
		}
	}
	ctx := context.Background()
	engine := m.replicas[0].engine
	live, err := engine.Live(ctx, m.tenant)
	if err != nil {
		m.violate("Live: %v", err)
	}
	for _, r := range live {
		if q := m.byID[r.ID]; r.State != approvals.Unknown || q == nil || !q.asked {
			m.violate("INV-4: #%d rests in %s: %s", r.Number, r.State, r.Targets[0].Why)
		}
	}
	for _, q := range m.requests {
		if q.gone {
			continue
		}
		r, err := engine.Request(ctx, m.tenant, q.id)
		if err != nil {
			m.violate("Request: %v", err)
			continue
		}
		for i, t := range r.Targets {
			if string(t.State) != q.state[i] {
				m.violate("INV-4: #%d is %s and was last shown as %s", r.Number, t.State, q.state[i])
			}
		}
		d, err := approvals.ReadDecision(ctx, m.replicas[0].store.Read(), m.tenant, q.id)
		claims := 0
		for _, all := range q.claims {
			claims += len(all)
		}
		if err != nil || len(d.Claims) > claims || !m.backup.used && len(d.Claims) != claims {
			m.violate("INV-6: the record of #%d holds %d of %d claims, %v", r.Number, len(d.Claims), claims, err)
		}
	}
	if _, err := audit.Verify(ctx, m.replicas[0].store.Read(), m.tenant); err != nil {
		m.violate("audit.Verify: %v", err)
	}
}

func (m *model) run(t *rapid.T) {
	m.ask()
	t.Repeat(map[string]func(*rapid.T){"": m.check, "step": func(t *rapid.T) {
		m.t = t
		m.step()
	}})
	m.quiet()
	m.check(t)
}

// onSQLite opens a file of its own for every history, in memory where there is
// such a file system.
func onSQLite(t *testing.T) *shop {
	t.Helper()
	dir := t.TempDir()
	if shm, err := os.MkdirTemp("/dev/shm", "mdebot-model-"); err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(shm) })
		dir = shm
	}
	template, err := os.ReadFile(storetest.SQLitePath(t))
	if err != nil {
		t.Fatal(err)
	}
	return &shop{open: func(rt *rapid.T, now func() time.Time) ([2]*store.Store, string) {
		own, err := os.MkdirTemp(dir, "")
		if err != nil {
			rt.Fatal(err)
		}
		file := filepath.Join(own, "mdebot.db")
		if err := os.WriteFile(file, template, 0o600); err != nil {
			rt.Fatal(err)
		}
		rt.Cleanup(func() { _ = os.RemoveAll(own) })
		s, err := store.Open(context.Background(), "sqlite:"+file+"?synchronous=off", store.Options{Logger: quietLog, Now: now})
		if err != nil {
			rt.Fatal(err)
		}
		return [2]*store.Store{s, s}, file
	}}
}

// onPostgres has two replicas on one database, and a tenant for every history.
func onPostgres(t *testing.T) *shop {
	t.Helper()
	url := storetest.PostgresURL(t)
	var at atomic.Pointer[func() time.Time]
	var stores [2]*store.Store
	for i := range stores {
		stores[i] = storetest.Open(t, url, storetest.Clock(func() time.Time { return (*at.Load())() }))
	}
	return &shop{open: func(_ *rapid.T, now func() time.Time) ([2]*store.Store, string) {
		at.Store(&now)
		return stores, ""
	}}
}

// modelEnv is how long the histories may take on each engine, such as 10m.
const modelEnv = "MDEBOT_MODEL_TIME"

// rapid goes by a number of checks; the model goes by time, because what a history
// takes depends on what else the machine does. Every change is judged by the same
// histories; -rapid.seed=0 draws others.
func init() {
	for name, value := range map[string]string{"rapid.checks": "100000", "rapid.steps": "50", "rapid.seed": "20261126"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
}

// modelTime is the bound for the SQLite part; PostgreSQL gets a fifth.
func modelTime(t *testing.T) time.Duration {
	t.Helper()
	bound := defaultModelTime
	if text := os.Getenv(modelEnv); text != "" {
		var err error
		if bound, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s: %v", modelEnv, err)
		}
	}
	return bound
}

// histories runs the model until the time is over.
func histories(t *testing.T, s *shop, bound time.Duration) {
	t.Helper()
	end, ran, failed := time.Now().Add(bound), 0, false
	rapid.Check(t, func(rt *rapid.T) {
		if time.Now().After(end) && !failed {
			return
		}
		ran++
		failed = true // until it is over; what failed is repeated to make it smaller
		m := newModel(rt, s)
		rt.Cleanup(m.close)
		m.run(rt)
		failed = false
	})
	t.Logf("%d histories", ran)
	sawTimes("history", ran)
}

// TestModel holds the engine to INV-1 to INV-7, INV-10 and INV-11 of the threat
// model and to the promises P-1 to P-4, in random histories.
func TestModel(t *testing.T) {
	t.Parallel()
	bound := modelTime(t)
	for _, half := range []string{"sqlite, one half", "sqlite, other half"} {
		t.Run(half, func(t *testing.T) {
			t.Parallel()
			histories(t, onSQLite(t), bound)
		})
	}
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		histories(t, onPostgres(t), bound/5)
	})
	t.Cleanup(func() { checkSeen(t) })
}

// checkSeen fails when something that the model is about has not come about: it
// would hold whatever the engine does.
func checkSeen(t *testing.T) {
	t.Helper()
	var lines []string
	for what, n := range seen.counts {
		lines = append(lines, fmt.Sprintf("%s: %d", what, n))
	}
	slices.Sort(lines)
	t.Log(strings.Join(lines, ", "))
	if t.Failed() || seen.counts["history"] < 300 {
		return
	}
	for kind := range kinds {
		if seen.counts["open "+kind] == 0 {
			t.Errorf("in %d histories nobody asked to %s", seen.counts["history"], kind)
		}
	}
	for _, what := range []string{
		"vote slack", "vote teams", "click again",
		"approved", "executing", "submitted", "succeeded", "failed", "unknown", "denied", "withdrawn", "expired", "void",
		"post", "effect", "found", "absent", "again", "needs people", "settled not-done", "freeze", "unfreeze", "link made", "link confirmed", "link ended",
		"asked through a new link", "stood in", "pause", "crash", "restore", "restore noticed", "tamper", "tampering noticed", "rules changed",
	} {
		if seen.counts[what] == 0 {
			t.Errorf("in %d histories there was no %q", seen.counts["history"], what)
		}
	}
}
