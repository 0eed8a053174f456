//go:build !race

package containment

import (
	"fmt"
	"hash/maphash"
	"testing"
	"time"
)

// A model of claim, lease and crash that is small enough to try everything: two
// requests, three people of whom one has two accounts, two replicas, one crash,
// one lost reply, one change of policy, one backup that is put back, in every
// order. It shares nothing with the program but its design. Each step stands for
// the function that its comment names, and happens at once because that function
// commits in one transaction or makes one call.
//
// Two things are taken for granted, because clocks bound them: a call that has
// passed the look at its claim reaches Defender or fails before the last look for
// it (sendTimeout against approvals.LookFor), and putting a database back takes
// longer than Defender takes to list an action.

// The states of a request.
const (
	xPending uint8 = iota
	xApproved
	xExecuting
	xUnknown
	xSubmitted
	xFinal // succeeded, failed, denied or void
)

// xRow is a request as the database has it.
type xRow struct {
	state      uint8
	votes      uint8 // accounts that approved, while it is pending
	counted    uint8 // how many were found to have approved it, and
	people     uint8 // how many others than the requester really have
	generation uint8
	looked     bool // the last look was made, and people are asked
	settled    bool // as not done, once
}

// What a replica is doing.
const (
	xIdle   uint8 = iota
	xRead         // has read the facts of an approved target
	xHolds        // has claimed it
	xHeard        // has an answer
	xUnsure       // has none
)

// xReplica is what only the memory of a process has.
type xReplica struct {
	doing, request, generation uint8
	marker                     bool // its own action was in Defender's list
}

// xWorld is everything.
type xWorld struct {
	rows     [2]xRow
	replicas [2]xReplica
	lapsed   [2]bool // by the clock, the lease of the claim in charge has ended
	effects  [2]uint8
	listed   [2]bool // Defender shows them
	denied   [2]bool // people were told so, and the backup does not know
	strict   bool    // the policy was changed: one approver more
	frozen   bool

	saved      bool // there is a backup
	backup     [2]xRow
	dirty      bool // something was written since
	noticeable bool // a head that the backup lacks was anchored
	crashed    bool
	lost, put  bool // the reply that is lost; the backup that was put back
	late       bool // a holder has outlived its lease
	violation  xViolation
}

// xViolation is what must never be.
type xViolation uint8

const (
	xNone xViolation = iota
	xTooFew
	xRevived
	xFrozen
	xDouble
	xHollow
	xStuck
)

func (v xViolation) String() string {
	return [...]string{
		"nothing", "INV-1: claimed without enough people", "INV-5: claimed after a denial", "claimed while everything is frozen",
		"INV-3: two effects", "succeeded without an effect", "INV-4: nothing carries it on",
	}[v]
}

// xFlaws are what a variant of the design leaves out.
type xFlaws struct {
	noLease      bool // Runner.send without Service.Holds and without the clock
	noGeneration bool // edit.target without its comparison
	accounts     bool // Evaluate by accounts
	oldRules     bool // Service.judged by the rule of the opening alone
	resend       bool // Runner.send once more without an answer
	noAnchor     bool // Keeper.compare finds everything right
	noMarker     bool // Runner.facts without the look for its own action
	noTakeOver   bool // Service.Sweep without takeOver
}

// The accounts: person 0 has two. Request 0 is asked for by person 0 through its
// first account, request 1 by person 1; request 1 needs two others.
var (
	xPerson    = [4]uint8{0, 0, 1, 2}
	xRequester = [2]uint8{0, 1}
	xAskedBy   = [2]uint8{0, 2}
	xNeeded    = [2]uint8{1, 2}
)

// next are the worlds that one step leads to. Steps of the program itself are
// told apart, because they must not run out before everything is settled.
func (w xWorld) next(f xFlaws, step func(w xWorld, own bool, name string)) {
	small := func(n xWorld, own bool, name string) { step(n.small(), own, name) }
	for r := range w.rows {
		w.people(f, r, small)
		w.time(f, r, small)
	}
	for p := range w.replicas {
		w.replica(f, p, small)
	}
	w.operators(f, small)
}

// small makes worlds that differ in nothing of importance the same one.
func (w xWorld) small() xWorld {
	for r := range w.rows {
		if w.rows[r].state == xFinal {
			w.rows[r] = xRow{state: xFinal}
		}
		w.lapsed[r] = w.lapsed[r] && w.rows[r].state == xExecuting
		// Generations only grow: what matters of one is whether it is the present one.
		for p := range w.replicas {
			if me := &w.replicas[p]; me.doing != xIdle && int(me.request) == r {
				me.generation = min(me.generation/max(w.rows[r].generation, 1), 1)
			}
		}
		w.rows[r].generation = min(w.rows[r].generation, 1)
		if past := !w.saved || w.put; past && w.rows[r].state == xFinal && !w.busy(r) {
			w.effects[r], w.listed[r], w.denied[r] = 0, false, false
		}
	}
	if !w.saved || w.put {
		w.backup, w.dirty, w.noticeable = [2]xRow{}, false, false
	}
	// The replicas are alike, so a way that is told may swap them.
	if a, b := w.replicas[0], w.replicas[1]; a.doing > b.doing || a.doing == b.doing &&
		(a.request > b.request || a.request == b.request && a.generation > b.generation) {
		w.replicas[0], w.replicas[1] = b, a
	}
	return w
}

// busy reports whether a replica is at work on r, with or without a right to.
func (w xWorld) busy(r int) bool {
	for _, p := range w.replicas {
		if p.doing != xIdle && int(p.request) == r {
			return true
		}
	}
	return false
}

// approved counts the accounts that approved r: as the program does, and by
// people.
func (w xWorld) approved(f xFlaws, r int) (counted, people uint8) {
	var seen [3]bool
	for a, who := range xPerson {
		if w.rows[r].votes&(1<<a) == 0 {
			continue
		}
		if f.accounts || !seen[who] {
			counted++
		}
		if !seen[who] && who != xRequester[r] {
			people++
		}
		seen[who] = true
	}
	return counted, people
}

// people are [approvals.Service.Vote], [approvals.Service.Settle] and Apply.
func (w xWorld) people(f xFlaws, r int, step func(xWorld, bool, string)) {
	row := w.rows[r]
	for a := range xPerson {
		own := xPerson[a] == xRequester[r]
		if f.accounts {
			own = uint8(a) == xAskedBy[r]
		}
		if own {
			continue
		}
		if row.state == xPending && !w.frozen && row.votes&(1<<a) == 0 {
			n := w
			n.dirty = true
			n.rows[r].votes |= 1 << a
			if counted, people := n.approved(f, r); counted >= xNeeded[r] {
				n.rows[r] = xRow{state: xApproved, counted: counted, people: people, generation: 1}
			}
			step(n, false, fmt.Sprintf("account %d approves %d", a, r))
		}
		if row.state == xPending || row.state == xApproved {
			n := w
			n.dirty = true
			n.rows[r].state = xFinal
			n.denied[r] = w.saved && !w.put
			step(n.anchor(), false, fmt.Sprintf("account %d denies %d", a, r)) // App.ran: Keeper.Soon
		}
	}
	if row.state == xUnknown && row.looked {
		n := w
		n.dirty = true
		n.rows[r].looked = false
		if n.effects[r] > 0 || row.settled || n.frozen {
			n.rows[r].state = xFinal
		} else {
			n.rows[r].state, n.rows[r].settled = xApproved, true
			n.rows[r].generation++
		}
		step(n, false, fmt.Sprintf("two settle %d", r))
	}
}

// held reports whether some replica is at work on the claim of r.
func (w xWorld) held(r int) bool {
	for p := range w.replicas {
		if w.replicas[p].doing >= xHolds && int(w.replicas[p].request) == r && w.holds(p) {
			return true
		}
	}
	return false
}

// holds is [approvals.Service.Holds], and the first lines of attempted. Every claim
// has a generation of its own, which stands for the owner of its lease.
func (w xWorld) holds(p int) bool {
	me := w.replicas[p]
	return w.rows[me.request].state == xExecuting && w.rows[me.request].generation == me.generation
}

// time is the clock, Defender's list and [approvals.Service.Sweep].
func (w xWorld) time(f xFlaws, r int, step func(xWorld, bool, string)) {
	row := w.rows[r]
	if held := w.held(r); row.state == xExecuting && !w.lapsed[r] && (!w.late || !held) {
		n := w
		n.lapsed[r], n.late = true, w.late || held // who is slow is slow once
		step(n, true, fmt.Sprintf("the lease of %d ends", r))
	}
	if row.state == xExecuting && w.lapsed[r] && !f.noTakeOver {
		// takeOver
		n := w
		n.dirty = true
		n.rows[r].state = xUnknown
		n.rows[r].generation++
		step(n, true, fmt.Sprintf("%d is taken over", r))
	}
	if w.effects[r] > 0 && !w.listed[r] {
		n := w
		n.listed[r] = true
		step(n, true, fmt.Sprintf("Defender lists %d", r))
	}
	if row.state == xUnknown && !row.looked && (w.effects[r] == 0 || w.listed[r]) {
		// Runner.look, the last one; those before it find the same or nothing
		n := w
		n.dirty = true
		if n.effects[r] > 0 {
			n.rows[r].state = xSubmitted // Service.Found
		} else {
			n.rows[r].looked = true // Service.Noted
		}
		step(n, true, fmt.Sprintf("%d is looked for", r))
	}
	if row.state == xSubmitted {
		// Runner.Follow and Service.Finished
		n := w
		n.dirty = true
		n.rows[r].state = xFinal
		if n.effects[r] == 0 {
			n.violation = xHollow
		}
		step(n, true, fmt.Sprintf("%d has ended at Defender", r))
	}
}

// replica is Runner.Execute. A job may be delivered at any time and twice.
func (w xWorld) replica(f xFlaws, p int, step func(xWorld, bool, string)) {
	me := w.replicas[p]
	r := int(me.request)
	row := w.rows[r]
	changed := w
	changed.dirty = true
	idle := func(n xWorld) xWorld {
		n.replicas[p] = xReplica{}
		return n.anchor() // App.execute: Keeper.Soon
	}
	name := func(what string) string { return fmt.Sprintf("replica %d %s %d", p, what, r) }
	switch me.doing {
	case xIdle:
		for r := range w.rows {
			if w.rows[r].state == xApproved {
				// Runner.start, up to the claim
				n := w
				n.replicas[p] = xReplica{
					doing: xRead, request: uint8(r), generation: w.rows[r].generation,
					marker: w.effects[r] > 0 && w.listed[r] && !f.noMarker,
				}
				step(n, true, fmt.Sprintf("replica %d reads %d", p, r))
			}
		}
	case xRead:
		current := row.state == xApproved && row.generation == me.generation || f.noGeneration && row.state < xFinal
		switch n := changed; {
		case !current:
			step(idle(w), true, name("finds that it has moved on:")) // ErrMoved
		case me.marker:
			n.rows[r].state = xSubmitted // Service.Found
			step(idle(n), true, name("adopts"))
		case n.frozen || row.counted < n.needed(f, r):
			n.rows[r].state = xFinal
			step(idle(n), true, name("voids"))
		default:
			// Service.Claim
			n.rows[r].state = xExecuting
			n.lapsed[r] = false
			n.replicas[p] = xReplica{doing: xHolds, request: me.request, generation: row.generation}
			step(n.claimed(r), true, name("claims"))
		}
	case xHolds:
		switch n := changed; {
		case !f.noLease && !w.holds(p):
			step(idle(w), true, name("has lost")) // Service.Holds
		case !f.noLease && w.lapsed[r]:
			// Service.Postponed
			n.rows[r].state = xApproved
			n.rows[r].generation++
			step(idle(n), true, name("was too slow for"))
		default:
			w.send(f, p, step)
		}
	case xHeard, xUnsure:
		// Service.Submitted, Service.Unclear: the holder of the claim alone
		n := w
		if w.holds(p) {
			n = changed
			n.rows[r].state = xSubmitted
			if me.doing == xUnsure {
				n.rows[r].state = xUnknown
				n.rows[r].generation++
			}
		}
		step(idle(n), true, name("records"))
	}
}

// send is the one call of Runner.send: it acts, and the answer may be lost with
// or without an effect.
func (w xWorld) send(f xFlaws, p int, step func(xWorld, bool, string)) {
	r := int(w.replicas[p].request)
	heard := w.act(r)
	heard.replicas[p].doing = xHeard
	step(heard, true, fmt.Sprintf("replica %d sends %d", p, r))
	if w.lost {
		return
	}
	for _, n := range []xWorld{w, w.act(r)} {
		n.lost = true
		n.replicas[p].doing = xUnsure
		if f.resend {
			n = n.act(r)
		}
		step(n, true, fmt.Sprintf("replica %d sends %d and hears nothing (%d)", p, r, n.effects[r]))
	}
}

// operators are a crash, another mdebot.yaml, a backup, and its return.
func (w xWorld) operators(f xFlaws, step func(xWorld, bool, string)) {
	for p := range w.replicas {
		if !w.crashed && w.replicas[p].doing != xIdle {
			n := w
			n.crashed = true
			n.replicas[p] = xReplica{}
			step(n.anchor(), false, fmt.Sprintf("replica %d dies", p)) // Keeper.Run sends at the next start
		}
	}
	if !w.strict {
		n := w
		n.strict = true
		step(n, false, "the rules become stricter")
	}
	if !w.saved {
		n := w
		n.saved, n.backup, n.dirty = true, w.rows, false
		step(n, false, "a backup is made")
	}
	if w.saved && !w.put {
		n := w
		n.put, n.rows = true, w.backup
		n.replicas = [2]xReplica{}
		for r := range n.rows {
			n.listed[r], n.lapsed[r] = n.effects[r] > 0, true
		}
		if w.noticeable && !f.noAnchor {
			// Keeper.compare and Service.Restored
			n.frozen = true
			for r := range n.rows {
				if n.rows[r].state <= xApproved {
					n.rows[r].state = xFinal
				}
			}
		}
		step(n, false, "the backup is put back")
	}
}

// anchor sends the head of the log outside.
func (w xWorld) anchor() xWorld {
	w.noticeable = w.noticeable || w.dirty
	return w
}

// needed is what the claim asks for.
func (w xWorld) needed(f xFlaws, r int) uint8 {
	if w.strict && !f.oldRules {
		return xNeeded[r] + 1
	}
	return xNeeded[r]
}

// claimed holds a claim to INV-1 and INV-5.
func (w xWorld) claimed(r int) xWorld {
	switch people := w.rows[r].people; {
	case people < xNeeded[r], w.strict && people < xNeeded[r]+1:
		w.violation = xTooFew
	case w.denied[r]:
		w.violation = xRevived
	case w.frozen:
		w.violation = xFrozen
	}
	return w
}

// act is an effect at Defender.
func (w xWorld) act(r int) xWorld {
	w.effects[r]++
	w.listed[r] = false
	if w.effects[r] > 1 {
		w.violation = xDouble
	}
	return w
}

// stuck reports whether nothing carries a request on.
func (w xWorld) stuck() xViolation {
	for _, row := range w.rows {
		if row.state >= xApproved && row.state <= xSubmitted && !row.looked {
			return xStuck
		}
	}
	return xNone
}

// search tries everything and returns the number of worlds and the first
// violation. Worlds are known by their hash, for space: that two of some million
// share one of 64 bits is less likely than a fault of the memory.
func search(f xFlaws) (worlds int, violation xViolation) {
	seed := maphash.MakeSeed()
	known := map[uint64]struct{}{maphash.Comparable(seed, xWorld{}): {}}
	for layer := []xWorld{{}}; len(layer) > 0; {
		var after []xWorld
		for _, w := range layer {
			goesOn := false
			w.next(f, func(n xWorld, own bool, _ string) {
				goesOn = goesOn || own
				sum := maphash.Comparable(seed, n)
				if _, seen := known[sum]; !seen {
					known[sum] = struct{}{}
					after = append(after, n)
				}
			})
			if w.violation == xNone && !goesOn {
				w.violation = w.stuck()
			}
			if w.violation != xNone {
				return len(known), w.violation
			}
		}
		layer = after
	}
	return len(known), xNone
}

// way is the shortest way to a violation that there is.
func way(f xFlaws) (steps []string) {
	type origin struct {
		world xWorld
		step  string
	}
	came := map[xWorld]origin{{}: {}}
	for layer := []xWorld{{}}; ; {
		var after []xWorld
		for _, w := range layer {
			goesOn := false
			w.next(f, func(n xWorld, own bool, step string) {
				goesOn = goesOn || own
				if _, seen := came[n]; !seen {
					came[n] = origin{w, step}
					after = append(after, n)
				}
			})
			if w.violation == xNone && (goesOn || w.stuck() == xNone) {
				continue
			}
			for w != (xWorld{}) {
				steps = append([]string{came[w].step}, steps...)
				w = came[w].world
			}
			return steps
		}
		layer = after
	}
}

func TestExhaustive(t *testing.T) {
	t.Parallel()
	began := time.Now()
	worlds, violation := search(xFlaws{})
	t.Logf("%d worlds in %s", worlds, time.Since(began).Round(time.Millisecond))
	if violation != xNone {
		t.Errorf("%s, after %q", violation, way(xFlaws{}))
	}
}

// What the model is for, it finds: each variant leaves one thing out.
func TestExhaustive_findsWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		flaws xFlaws
		want  xViolation
	}{
		"the lease is not looked at":    {xFlaws{noLease: true}, xDouble},
		"generations are not compared":  {xFlaws{noGeneration: true}, xDouble},
		"accounts are counted":          {xFlaws{accounts: true}, xTooFew},
		"the old rules hold":            {xFlaws{oldRules: true}, xTooFew},
		"calls are repeated":            {xFlaws{resend: true}, xDouble},
		"a restore is not noticed":      {xFlaws{noAnchor: true}, xRevived},
		"its own action is not known":   {xFlaws{noMarker: true}, xDouble},
		"nobody takes dead claims over": {xFlaws{noTakeOver: true}, xStuck},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			worlds, violation := search(tc.flaws)
			if violation != tc.want {
				t.Fatalf("%d worlds and %s, want %s", worlds, violation, tc.want)
			}
			t.Logf("%s, after %q", violation, way(tc.flaws))
		})
	}
}
