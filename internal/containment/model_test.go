package containment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
)

// modelRequest is what the model knows of a request: its own account of who has
// voted, in sets, and what took effect.
type modelRequest struct {
	r         approvals.Request
	requester identity.Principal
	needed    int
	approvers map[string]bool // accounts of different people
	ended     bool            // a denial or withdrawal was accepted
	expires   time.Time
	retries   map[string]int // settlements as not done, per machine
	effects   map[string]int
	posts     map[string]int
	resolved  approvals.State // once seen
}

// model drives the real engine on a real store through random histories and
// checks INV-1 to INV-6 from the ledger of the fake Defender.
type model struct {
	*site
	requests []*modelRequest
	byID     map[string]*modelRequest
	machines []string
	failed   []string // what a POST has violated
}

var (
	asking = []identity.Principal{approvalstest.Riley, approvalstest.Robin, approvalstest.Lou}
	// soc may approve; everybody but Vic and the stranger may deny.
	soc    = []identity.Principal{approvalstest.Lou, approvalstest.Avery, approvalstest.Sam, approvalstest.Jo}
	voting = append(slices.Clone(soc), approvalstest.Riley, approvalstest.Robin, approvalstest.Vic, approvalstest.Stranger)
)

// onPost judges a POST at the moment it arrives, from the model's own account.
func (m *model) onPost(p post) {
	violate := func(format string, args ...any) { m.failed = append(m.failed, fmt.Sprintf(format, args...)) }
	var own *modelRequest
	for _, r := range m.requests {
		if hasMarker(defender.MachineAction{Comment: p.comment}, r.r) {
			own = r
		}
	}
	if own == nil {
		violate("POST for no known request: %q", p.comment)
		return
	}
	covered := slices.ContainsFunc(own.r.Targets, func(t approvals.Target) bool { return t.ID == p.machine })
	want := defender.Isolate
	if own.r.Action == approvals.Release {
		want = defender.Unisolate
	}
	if !covered || p.kind != want {
		violate("INV-2: %s of %s for %s of %v", p.kind, p.machine, own.r.Action, own.r.Targets)
	}
	if len(own.approvers) < own.needed || own.ended {
		violate("INV-1: POST for #%d with %d of %d approvals, ended %t", own.r.Number, len(own.approvers), own.needed, own.ended)
	}
	if p.acted {
		own.effects[p.machine]++
	}
	own.posts[p.machine]++
	if own.effects[p.machine] > 1 {
		violate("INV-3: %d effects on %s for #%d", own.effects[p.machine], p.machine, own.r.Number)
	}
	intents := 0
	for rec, err := range audit.Records(context.Background(), m.DB.Read(), approvalstest.Tenant, 1) {
		if err != nil {
			violate("audit records: %v", err)
		}
		if rec.Kind == "action.intent" && rec.Request == own.r.ID {
			intents++
		}
	}
	sent := 0
	for _, n := range own.posts {
		sent += n
	}
	if intents < sent {
		violate("INV-6: %d POSTs for #%d and %d intents on record", sent, own.r.Number, intents)
	}
}

func (m *model) open(t *rapid.T) {
	by := rapid.SampledFrom(asking).Draw(t, "by")
	ids := rapid.SliceOfNDistinct(rapid.SampledFrom(m.machines), 1, 2, rapid.ID).Draw(t, "machines")
	var targets []approvals.TargetInput
	for _, id := range ids {
		targets = append(targets, approvalstest.Workstation(id))
	}
	in := approvalstest.Isolate(by, targets...)
	in.Action = rapid.SampledFrom([]string{approvals.Isolate, approvals.Release}).Draw(t, "action")
	out, err := m.Open(context.Background(), in)
	if err != nil {
		if !isRefusal(err) {
			t.Fatalf("Open: %v", err)
		}
		return
	}
	if out.Joined {
		return
	}
	r := &modelRequest{
		r: out.Request, requester: by, needed: out.Request.Rule.Approvers, expires: out.Request.Expires,
		approvers: map[string]bool{}, retries: map[string]int{}, effects: map[string]int{}, posts: map[string]int{},
	}
	m.requests, m.byID[r.r.ID] = append(m.requests, r), r
}

func (m *model) pick(t *rapid.T) *modelRequest {
	if len(m.requests) == 0 {
		t.Skip("no request yet")
	}
	return rapid.SampledFrom(m.requests).Draw(t, "request")
}

func (m *model) vote(t *rapid.T) {
	m.cast(t, m.pick(t))
}

// hurry has many people vote on the latest request.
func (m *model) hurry(t *rapid.T) {
	if len(m.requests) == 0 {
		t.Skip("no request yet")
	}
	for range 4 {
		m.cast(t, m.requests[len(m.requests)-1])
	}
}

func (m *model) cast(t *rapid.T, r *modelRequest) {
	by := rapid.SampledFrom(voting).Draw(t, "by")
	in := approvalstest.Vote(r.r, by, rapid.IntRange(0, 11).Draw(t, "deny") == 0)
	if by != approvalstest.Stranger && rapid.Bool().Draw(t, "on Teams") {
		in.By = approvalstest.OnTeams(by)
	}
	stale := rapid.IntRange(0, 9).Draw(t, "stale") == 0
	if stale {
		in.Digest = m.requests[0].r.Digest + "0"
	}
	_, err := m.Vote(context.Background(), in)
	if err != nil && !isRefusal(err) {
		t.Fatalf("Vote: %v", err)
	}
	mayDeny := by != approvalstest.Vic && by != approvalstest.Stranger
	allowed := by != r.requester && !stale && m.Clock.Now().Before(r.expires) && (in.Deny && mayDeny || slices.Contains(soc, by))
	switch {
	case err == nil && !allowed && !in.Deny:
		t.Fatalf("INV-1: approval of %s for #%d by %s was taken", by.Name, r.r.Number, r.requester.Name)
	case err == nil && in.Deny && (by == r.requester || !mayDeny):
		t.Fatalf("denial of %s was taken", by.Name)
	case err == nil && in.Deny:
		r.ended = true
	case err == nil:
		r.approvers[by.Account] = true
	}
}

func (m *model) withdraw(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "really") > 0 {
		t.Skip("changed their mind")
	}
	r := m.pick(t)
	by := rapid.SampledFrom(asking).Draw(t, "by")
	_, err := m.Withdraw(context.Background(), approvals.WithdrawInput{Asked: approvals.Asked{By: by}, Tenant: r.r.Tenant, Request: r.r.ID})
	switch {
	case err == nil && by != r.requester:
		t.Fatalf("%s withdrew a request of %s", by.Name, r.requester.Name)
	case err == nil:
		r.ended = true
	case !isRefusal(err):
		t.Fatalf("Withdraw: %v", err)
	}
}

// settle has two people settle an unclear target truthfully: not-done only when
// nothing took effect.
func (m *model) settle(t *rapid.T) {
	r := m.pick(t)
	current, err := m.Request(context.Background(), r.r.Tenant, r.r.ID)
	if err != nil {
		t.Fatalf("Request: %v", err)
	}
	i := slices.IndexFunc(current.Targets, func(target approvals.Target) bool { return target.State == approvals.Unknown })
	if i < 0 {
		return
	}
	outcome := approvals.SettleNotDone
	if r.effects[current.Targets[i].ID] > 0 {
		outcome = approvals.SettleDone
	}
	out, err := m.Settle(context.Background(), approvals.SettleInput{
		Asked: approvals.Asked{By: approvalstest.Riley}, Tenant: r.r.Tenant, Request: r.r.ID, Target: current.Targets[i].ID, Outcome: outcome, Reason: "looked",
	})
	if err != nil {
		if !isRefusal(err) {
			t.Fatalf("Settle: %v", err)
		}
		return
	}
	for _, by := range []identity.Principal{approvalstest.Avery, approvalstest.Sam} {
		if _, err := m.Vote(context.Background(), approvalstest.Vote(out.Request, by, false)); err != nil && !isRefusal(err) {
			t.Fatalf("Vote: %v", err)
		}
	}
}

func (m *model) pass(t *rapid.T) {
	m.Clock.Pass(rapid.SampledFrom([]time.Duration{
		time.Microsecond, time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 46 * time.Second,
		46 * time.Second, 2 * time.Minute, 10 * time.Minute, 30*time.Minute - time.Microsecond,
	}).Draw(t, "time"))
}

func (m *model) sweep(t *rapid.T) {
	if err := m.Sweep(context.Background()); err != nil {
		t.Fatalf("Sweep: %v", err)
	}
}

// step runs one due job, possibly one that is delivered twice.
func (m *model) step(t *rapid.T) {
	jobs := m.DB.Due()
	if len(jobs) == 0 {
		t.Skip("nothing due")
	}
	i := rapid.IntRange(0, len(jobs)-1).Draw(t, "job")
	twice := rapid.IntRange(0, 5).Draw(t, "twice") == 0
	for j, job := range jobs {
		if j != i || twice {
			m.DB.Plan(job)
		}
	}
	m.do(jobs[i])
}

func (m *model) weather(t *rapid.T) {
	m.defender.mu.Lock()
	defer m.defender.mu.Unlock()
	m.defender.answers = []answer{rapid.SampledFrom([]answer{
		acts, acts, actsSilently, onlySilent, dies, diesBefore, throttles, unreachable, unauthorized, forbids, alreadyActive, answersLies,
	}).Draw(t, "answer")}
	m.defender.readErr = rapid.SampledFrom([]error{nil, nil, nil, defender.ErrUnavailable}).Draw(t, "reads")
	m.defender.hideFor = rapid.SampledFrom([]time.Duration{0, 0, 90 * time.Second}).Draw(t, "hidden for")
}

func (m *model) finishActions(t *rapid.T) {
	m.defender.finish(rapid.SampledFrom([]defender.MachineActionStatus{
		defender.ActionSucceeded, defender.ActionSucceeded, defender.ActionFailed, defender.ActionTimeOut,
	}).Draw(t, "status"))
}

// check holds after every step.
func (m *model) check(t *rapid.T) {
	for _, v := range m.failed {
		t.Fatalf("%s", v)
	}
	for _, r := range m.requests {
		now, err := m.Request(context.Background(), r.r.Tenant, r.r.ID)
		if err != nil {
			t.Fatalf("Request: %v", err)
		}
		if r.resolved != "" && now.State != r.resolved {
			t.Fatalf("INV-5: #%d went from %s to %s", r.r.Number, r.resolved, now.State)
		}
		if now.State.Resolved() {
			r.resolved = now.State
		}
		for _, target := range now.Targets {
			if target.State == approvals.Succeeded && r.effects[target.ID] == 0 {
				t.Fatalf("#%d says %s succeeded and nothing happened", r.r.Number, target.ID)
			}
			if r.ended && (target.State == approvals.Approved || target.State == approvals.Pending) {
				t.Fatalf("INV-5: #%d has a target %s after it was ended", r.r.Number, target.State)
			}
		}
	}
}

// quiet lets everything come to rest and checks that nothing hangs.
func (m *model) quiet(t *rapid.T) {
	m.defender.mu.Lock()
	m.defender.answers, m.defender.readErr, m.defender.hideFor = nil, nil, 0
	m.defender.mu.Unlock()
	for range 3 {
		m.defender.finish(defender.ActionSucceeded)
		for range 4 {
			m.Clock.Pass(time.Minute)
			m.sweep(t)
			m.work(t)
		}
		m.Clock.Pass(30 * time.Minute)
	}
	m.check(t)
	live, err := m.Live(context.Background(), approvalstest.Tenant)
	if err != nil {
		t.Fatalf("Live: %v", err)
	}
	for _, r := range live {
		if r.State != approvals.Unknown {
			t.Fatalf("INV-4: #%d rests in %s", r.Number, r.State)
		}
	}
}

func isRefusal(err error) bool {
	var no *approvals.Refusal
	return errors.As(err, &no)
}

func TestModel(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(rt *rapid.T) {
		m := &model{site: newSite(t), byID: make(map[string]*modelRequest)}
		for i := range 3 {
			m.machines = append(m.machines, fmt.Sprintf("ws-%d", i))
			m.defender.addMachine(m.machines[i])
		}
		m.defender.onPost = m.onPost
		rt.Repeat(map[string]func(*rapid.T){
			"":         m.check,
			"open":     m.open,
			"vote":     m.vote,
			"hurry":    m.hurry,
			"withdraw": m.withdraw,
			"settle":   m.settle,
			"pass":     m.pass,
			"sweep":    m.sweep,
			"step":     m.step,
			"step ":    m.step, // steps are what histories are made of
			"step  ":   m.step,
			"weather":  m.weather,
			"finish":   m.finishActions,
		})
		m.quiet(rt)
		if _, err := audit.Verify(context.Background(), m.DB.Read(), approvalstest.Tenant); err != nil {
			rt.Fatalf("audit.Verify: %v", err)
		}
	})
}
