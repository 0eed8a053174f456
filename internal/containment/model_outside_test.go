package containment

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/store"
)

// What happens around the people: who they are, what machines are, time, weather
// and what operators do.

// people changes who somebody is: roles, groups, accounts, standing.
func (m *model) people() {
	h := draw[human](m, "who", 0, 2, 3, 4, 5, 6)
	b := m.book
	e := &b.entries[h]
	now := m.clock.Now()
	switch draw(m, "what", "active", "guest", "guest", "soc", "leads", "roles", "listed", "account") {
	case "active":
		m.active[h].set(now, !m.active[h].now())
		return
	case "guest":
		a := m.account(h)
		m.standing[a] = draw(m, "standing", identity.Member, identity.Guest, identity.Inactive, identity.Outsider)
		return
	case "leads":
		m.leads[h].set(now, !m.leads[h].now())
		return
	case "soc":
		e.soc = !e.soc
	case "roles":
		e.roles = draw(m, "roles", "responder", "responder approver", "approver", "viewer", "admin")
	case "listed":
		e.listed = !e.listed
	case "account":
		e.slack = draw(m, "account", -1, slackOf(h), secondOf(h))
		for i := range b.entries {
			if human(i) != h && e.slack >= 0 && b.entries[i].slack == e.slack {
				return
			}
		}
	}
	m.use(b)
}

// rules tightens or loosens what is needed.
func (m *model) rules() {
	b := m.book
	switch draw(m, "rule", "more", "more", "fewer", "leads", "roles", "servers") {
	case "more":
		b.rest.approvers = 2
	case "fewer":
		b.rest, b.servers = demand{1, "soc", draw(m, "then", "", "leads")}, demand{1, "soc", ""}
	case "leads":
		b.rest.from, b.rest.then = "soc leads", ""
	case "roles":
		b.rest.from = ""
	case "servers":
		b.servers = demand{3, "soc", draw(m, "then", "", "leads")}
	}
	m.use(b)
}

// use puts a file in force; one that is refused leaves the old one.
func (m *model) use(b rulebook) {
	p := m.parse(b)
	if p == nil {
		return
	}
	saw("rules changed")
	m.book = b
	for _, r := range m.replicas {
		r.policy.Set(p)
	}
}

// machines changes what a machine is.
func (m *model) machines() {
	id := draw(m, "machine", machineIDs...)
	b := m.boxes[id]
	switch draw(m, "what", "tier0", "protect", "plain", "rename", "merge", "exclude", "move", "set up anew", "as it was", "as it was") {
	case "tier0":
		b.tags = "tier0"
	case "protect":
		b.tags = "never-isolate"
	case "plain":
		b.tags = ""
	case "rename":
		b.name = draw(m, "name", "ws-1.contoso.com", "ws-7.contoso.com", "dc-1.contoso.com")
	case "merge":
		b.merged = true
	case "exclude":
		b.excluded = true
	case "move":
		b.elsewhere = true
	case "set up anew":
		b.gone = true
	}
	m.boxes[id] = b
	m.setBoxes()
}

// asItWas undoes what keeps everything from happening.
func (m *model) asItWas() {
	first := firstBook()
	m.use(first)
	for i := range crew {
		m.active[human(i)].set(m.clock.Now(), true)
	}
	clear(m.standing)
	m.firstBoxes()
	m.defender.mu.Lock()
	m.defender.readErr, m.defender.hideFor = nil, 0
	m.defender.mu.Unlock()
	m.dirDown, m.graphDown, m.auditDown, m.skewed = false, false, false, true
	m.setClock(0)
}

func (m *model) pass() {
	m.clock.Pass(draw(m, "time", time.Microsecond, time.Second, 5*time.Second, 10*time.Second, 20*time.Second, 46*time.Second,
		46*time.Second, 2*time.Minute, 6*time.Minute))
}

func (m *model) day() { m.clock.Pass(25 * time.Hour) }

// oversleep lets a lease end while others take over, and may put the clock back.
func (m *model) oversleep() {
	m.clock.Pass(draw(m, "time", 9*time.Second, 11*time.Second, 21*time.Second, 21*time.Second, 90*time.Second))
	i := m.replica()
	m.sweep(i)
	if due := m.due(); len(due) > 0 && m.oneIn(2, "look") {
		m.do(i, m.take(due[0]), nil)
	}
	if m.oneIn(4, "put back") {
		m.setClock(-90 * time.Second)
	}
}

// deadline moves the clock to just before, at or just after a moment when
// something ends.
func (m *model) deadline() {
	now := m.wall()
	var moments []time.Time
	for _, q := range m.requests {
		moments = append(moments, q.expires, q.execute)
		for _, id := range q.targets {
			for _, c := range q.claims[id] {
				moments = append(moments, c.at.Add(leaseOf), c.at.Add(leaseOf/2))
			}
		}
	}
	for _, j := range m.jobs {
		moments = append(moments, j.RunAt)
	}
	for a := range hand(len(hands)) {
		if t, ok := m.ties[a]; ok {
			moments = append(moments, t.count)
		}
	}
	slices.SortFunc(moments, time.Time.Compare)
	moments = slices.DeleteFunc(moments, func(at time.Time) bool { return at.Sub(now) < 2*time.Second })
	if len(moments) == 0 {
		return
	}
	at := moments[m.upTo(len(moments)-1, "deadline")]
	m.clock.Pass(at.Add(draw(m, "by", -time.Second, 0, time.Second)).Sub(now))
}

func (m *model) stepClock() {
	saw("clock stepped")
	m.setClock(draw(m, "offset", 0, 0, time.Second, -time.Second, 90*time.Second, -90*time.Second, -time.Hour, time.Hour))
	m.skewed = !m.oneIn(6, "not compared")
}

func (m *model) sweepOne() { m.sweep(m.replica()) }

// job runs one due job, possibly one that is delivered twice, possibly interrupted.
func (m *model) job() {
	due := m.due()
	if len(due) == 0 {
		return
	}
	at := due[m.upTo(len(due)-1, "job")]
	job := m.take(at)
	if m.oneIn(4, "twice") {
		m.jobs = append(m.jobs, job)
	}
	m.do(m.replica(), job, m.interrupted(2, 14))
}

func (m *model) workOne() { m.work(m.replica()) }

// answer is how Defender takes the next call.
func (m *model) answer() {
	m.defender.mu.Lock()
	defer m.defender.mu.Unlock()
	m.defender.answers = []answer{draw(m, "answer", acts, actsSilently, actsSilently, onlySilent, dies, diesBefore, throttles, unreachable,
		unauthorized, forbids, alreadyActive, answersLies, actsLate, isFull)}
	m.defender.hideFor = draw(m, "hidden for", 0, 0, 90*time.Second)
	m.defender.listsTwice = m.oneIn(4, "listed twice")
}

func (m *model) weather() {
	m.defender.mu.Lock()
	m.defender.readErr = draw(m, "reads", nil, nil, nil, defender.ErrUnavailable)
	m.defender.mu.Unlock()
	m.dirDown = m.oneIn(6, "chat directory down")
	m.graphDown = m.oneIn(6, "directory down")
	m.auditDown = m.oneIn(8, "audit log down")
	m.notary.down = m.oneIn(8, "anchors down")
}

func (m *model) finish() {
	m.defender.finish(draw(m, "status", defender.ActionSucceeded, defender.ActionSucceeded, defender.ActionFailed, defender.ActionTimeOut))
}

// colleague acts in the portal.
func (m *model) colleague() {
	switch draw(m, "portal", "action", "action", "block", "unblock") {
	case "action":
		m.starts(draw(m, "status", defender.ActionPending, defender.ActionSucceeded))
	case "block":
		m.portalBlocks(draw(m, "value", "evil.example", "worse.example"))
	case "unblock":
		m.defender.mu.Lock()
		m.defender.indicators = nil
		m.defender.mu.Unlock()
	}
}

// starts is a machine action that somebody starts in the portal.
func (m *model) starts(status defender.MachineActionStatus) {
	m.defender.add(defender.MachineAction{
		Type: draw(m, "type", defender.Isolate, defender.Isolate, defender.Unisolate, defender.Scan), Status: status,
		MachineID: draw(m, "machine", machineIDs...), Requestor: "dana@contoso.com", Comment: "by hand",
	})
}

// portalBlocks sets an indicator in the portal, in the place of the one that is there.
func (m *model) portalBlocks(value string) {
	m.defender.mu.Lock()
	defer m.defender.mu.Unlock()
	m.defender.serial++
	m.defender.indicators = append(slices.DeleteFunc(m.defender.indicators, func(i defender.Indicator) bool { return i.Value == value }), defender.Indicator{
		ID: fmt.Sprintf("%d", 990+m.defender.serial), Type: indicatorValues[value], Value: value, Action: defender.IndicatorBlock, CreatedBy: "dana@contoso.com",
		Created: m.clock.Now(), Updated: m.clock.Now(),
	})
}

func (m *model) restartOne() {
	if len(m.frames) == 0 {
		m.restart(m.replica())
	}
}

// tamper changes a row behind the engine's back.
func (m *model) tamper() {
	q := m.pick()
	if q == nil || q.gone || q.local() || !m.oneIn(2, "really") {
		return
	}
	if k := slices.IndexFunc(q.state, func(s string) bool { return s == "pending" || s == "approved" }); k < 0 {
		return
	}
	query, args := `UPDATE requests SET reason = 'maintenance' WHERE tenant = $1 AND id = $2`, []any{string(m.tenant), q.id}
	switch draw(m, "what", "machine", "requester", "reason", "rule") {
	case "machine":
		other := machineIDs[(slices.Index(machineIDs, q.targets[0])+1)%len(machineIDs)]
		name := m.boxes[other].name
		switch kinds[q.order.action].Target {
		case approvals.TargetMachineAction:
			other, name = "action-999", "Isolate on dc-1.contoso.com"
		case approvals.TargetIndicator:
			other, name = approvals.IndicatorID(string(defender.IndicatorDomain), "other.example"), "other.example"
		}
		query = `UPDATE request_targets SET target = $3, name = $4 WHERE tenant = $1 AND request = $2 AND idx = 0`
		args = append(args, other, name)
	case "requester":
		query = `UPDATE requests SET requester = $3 WHERE tenant = $1 AND id = $2`
		args = append(args, identity.PersonID{Tenant: approvalstest.Home, Object: ((q.by + 1) % human(len(crew))).object()}.String())
	case "rule":
		query = `UPDATE requests SET rule = '{"name":"any","text":"","approvers":1}' WHERE tenant = $1 AND id = $2`
	}
	err := m.replicas[0].store.InTx(context.Background(), func(tx durable.Tx) error {
		_, err := tx.Exec(context.Background(), query, args...)
		return err
	})
	if err == nil { // another request may cover that machine
		q.tampered = true
		saw("tamper")
	}
}

// loseJobs is what moving a database to another engine does.
func (m *model) loseJobs() {
	if m.depth == 0 && m.oneIn(2, "really") {
		m.jobs = nil
	}
}

// restore puts the copy in the place of the database and starts anew.
func (m *model) restore() {
	b := m.backup
	if b.copy == "" || len(m.frames) > 0 || m.notary.behind {
		return
	}
	saw("restore")
	m.notary.down, m.auditDown = false, false
	anchored := m.notary.newest.Seq
	if err := m.replicas[0].store.Close(); err != nil {
		m.violate("Close: %v", err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(b.file + suffix) // may not be there
	}
	text, err := os.ReadFile(b.copy)
	if err == nil {
		err = os.WriteFile(b.file, text, 0o600)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	db, err := store.Open(context.Background(), "sqlite:"+b.file+"?synchronous=off", store.Options{Logger: quietLog, Now: m.wall})
	if err != nil {
		m.t.Fatalf("open the restored database: %v", err)
	}
	b.used = true
	m.jobs, m.ties, m.freeze = slices.Clone(b.jobs), maps.Clone(b.ties), b.froze
	m.reread(db)
	for i, r := range m.replicas {
		r.store = db
		m.start(i)
	}
	if anchored <= b.head {
		// What was decided is there. What only time ended ends by time again.
		for _, q := range m.requests {
			for k, id := range q.targets {
				if !final(q.state[k]) {
					delete(q.final, id)
				}
			}
		}
		return
	}
	saw("restore noticed")
	if m.freeze == nil || !m.freeze.bot {
		m.violate("A-19: a database of record %d was put back and record %d is anchored, and nothing is frozen", b.head, anchored)
	}
	for _, q := range m.requests {
		for k, state := range q.state {
			// A copy of a database that had been stopped already is stopped still; what
			// ends that may wait in it.
			if q.gone || q.local() && b.froze != nil && b.froze.bot {
				continue
			}
			if state == "pending" || state == "approved" {
				m.violate("A-19: #%d is %s (%d) after a restore", q.number, state, k)
			}
		}
	}
}

// reread takes the states of requests from a database that was put back: what
// was shown before is no longer where they go on from.
func (m *model) reread(db durable.DB) {
	for _, q := range m.requests {
		q.gone, q.tampered = true, m.backup.tampered[q]
		rows, err := db.Read().Query(context.Background(), `SELECT idx, state FROM request_targets WHERE tenant = $1 AND request = $2`, string(m.tenant), q.id)
		if err != nil {
			m.t.Fatal(err)
		}
		for rows.Next() {
			var idx int64
			var state string
			if err := rows.Scan(&idx, &state); err != nil {
				m.t.Fatal(err)
			}
			q.gone, q.state[idx] = false, state
		}
		if err := rows.Close(); err != nil {
			m.t.Fatal(err)
		}
	}
}
