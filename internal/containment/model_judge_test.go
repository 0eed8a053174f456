package containment

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/links"
)

// What the model knows of requests, and what it holds against the engine. It goes
// by what people did and what the bot told them, and by what took effect at
// Defender; from the database it takes only the order in which things committed.

// order is what somebody typed.
type order struct {
	by      hand
	action  string
	names   []string          // of what it acts on, as typed
	params  map[string]string // that follow from it
	expires bool              // whether an end was named
	of      *request          // what a settlement is about
	box     string            // the machine of the action that is to be cancelled
}

// ballot is a click on Approve.
type ballot struct {
	by         hand
	from, till scene // around the click
	digest     string
}

// request is a request as people know it.
type request struct {
	id, digest string
	number     int64
	order      order
	targets    []string          // IDs
	until      time.Time         // when an indicator is to end, as shown
	names      map[string]string // of the machines, as shown
	by         human
	opened     time.Time // by the wall clock, as are the other times
	expires    time.Time
	decided    time.Time // the quorum
	execute    time.Time // how long it may be started
	demands    []demand
	ballots    []ballot
	ended      string   // what the bot has told: denied or withdrawn
	state      []string // of each target, as last shown
	tampered   bool
	gone       bool // not in the restored database
	asked      bool // people were asked to settle it

	final   map[string]string // by target; what was told for good
	claims  map[string][]*claim
	sent    map[string][]*sending
	effects map[string]int
	done    map[string]bool // settled so by two people
}

// box is the machine that a target is about, or "".
func (q *request) box(id string) string {
	if kinds[q.order.action].Target == approvals.TargetMachineAction {
		return q.order.box
	}
	return id // boxes have no indicators
}

// claim is a committed intent.
type claim struct {
	at      time.Time // by the wall clock
	replica int
	used    bool
	lost    bool // the target is no longer being executed
}

// sending is one POST.
type sending struct {
	at       time.Time // true time
	harmless bool      // refused before any effect
	notDone  bool      // settled so by two people
	absent   bool      // looked for in vain
	others   bool      // answered with somebody else's action
	effect   bool
}

// freeze is one that is in force.
type freeze struct {
	since time.Time
	bot   bool
}

const (
	fresh   = time.Minute     // how old facts may be at a claim
	recent  = 5 * time.Minute // how old answers of the directory may be
	leaseOf = 20 * time.Second
	maxSkew = 2 * time.Minute
	coolOff = 24 * time.Hour
)

// edges are the moves that a target may make.
var edges = map[string]string{
	"pending":   "approved denied withdrawn expired void",
	"approved":  "executing submitted succeeded denied withdrawn void",
	"executing": "submitted failed unknown approved",
	"submitted": "succeeded failed unknown",
	"unknown":   "submitted succeeded failed approved",
}

func final(state string) bool { return edges[state] == "" }

// shown is a card as it changes.
func (m *model) shown(r approvals.Request, c approvals.Change) {
	q := m.byID[r.ID]
	if c == approvals.ChangeOpened {
		q = m.opened(r)
	}
	if q == nil {
		m.violate("a card shows a request that nobody asked for: %s", r.ID)
		return
	}
	if r.Digest != q.digest {
		m.violate("INV-2: #%d changed its digest", r.Number)
	}
	if c == approvals.ChangeNeedsPeople {
		q.asked = true
		saw("needs people")
	}
	for i, t := range r.Targets {
		m.moved(q, r, i, t)
	}
}

func (m *model) moved(q *request, r approvals.Request, i int, t approvals.Target) {
	was, now := q.state[i], string(t.State)
	q.state[i] = now
	if was == now {
		return
	}
	saw(now)
	if was != "" && !slices.Contains(strings.Fields(edges[was]), now) {
		m.violate("#%d: %s went from %s to %s", r.Number, t.ID, was, now)
	}
	key := t.ID
	if q.local() {
		key = q.targets[i]
	}
	if now == "approved" && (was == "pending" || was == "") {
		q.decided, q.execute = m.wall(), m.wall().Add(m.book.execute)
		if why := m.short(q, "", m.began(), true); why != "" && !q.tampered {
			m.violate("INV-1: #%d counts as approved: %s", r.Number, why)
		}
		if !slices.ContainsFunc(r.Votes, func(v approvals.Vote) bool { return v.By.Object != human(6).object() }) && m.book.rest.then != "" {
			saw("stood in")
		}
	}
	if final(now) {
		q.final[key] = now
	}
	if was == "executing" {
		for _, c := range q.claims[key] {
			c.lost = true
		}
	}
	if now != "succeeded" {
		return
	}
	switch {
	case q.local():
		if why := m.short(q, "", m.began(), false); why != "" {
			m.violate("INV-1: #%d took effect: %s", r.Number, why)
		}
	case q.effects[key] == 0 && !q.done[key] && !m.brought(q, key) && !slices.ContainsFunc(q.sent[key], func(s *sending) bool { return s.others }):
		m.violate("#%d says that %s succeeded, and nothing took effect", r.Number, key)
	}
}

// local requests are carried out without Defender.
func (q *request) local() bool { return kinds[q.order.action].Local() }

// brought reports whether what q wants of a target is so at Defender, and nobody
// can tell, or needs to, who brought it about.
func (m *model) brought(q *request, id string) bool {
	switch q.order.action {
	case approvals.Cancel:
		a, known := m.defender.named(id)
		return known && a.Status == defender.ActionCancelled
	case approvals.Tag:
		m.defender.mu.Lock()
		defer m.defender.mu.Unlock()
		tag, add := strings.CutPrefix(q.order.params["tag"], "+")
		return slices.Contains(m.defender.machines[id].Tags, strings.TrimPrefix(tag, "-")) == add
	case approvals.Unblock:
		return !slices.ContainsFunc(m.inForce(), func(i defender.Indicator) bool { return i.ID == q.order.params["indicator"] })
	}
	return false
}

// inPlace reports whether the effect of q's own calls is there to be seen.
func (m *model) inPlace(q *request, id string) bool {
	marker := "[mdebot:" + q.id + "]"
	if q.order.action == approvals.Block {
		return slices.ContainsFunc(m.inForce(), func(i defender.Indicator) bool {
			return approvals.IndicatorID(string(i.Type), i.Value) == id && strings.HasPrefix(i.Description, marker)
		})
	}
	return m.brought(q, id)
}

// opened compares a new request with what was typed.
func (m *model) opened(r approvals.Request) *request {
	if len(m.frames) == 0 || m.frames[len(m.frames)-1].typed == nil {
		return nil
	}
	f := m.frames[len(m.frames)-1]
	o := *f.typed
	q := &request{
		id: r.ID, digest: r.Digest, number: r.Number, order: o, names: map[string]string{},
		opened: m.wall(), expires: m.wall().Add(m.book.expire),
		state: make([]string, len(r.Targets)), final: map[string]string{}, claims: map[string][]*claim{},
		sent: map[string][]*sending{}, effects: map[string]int{}, done: map[string]bool{},
	}
	m.requests, m.byID[r.ID] = append(m.requests, q), q
	saw("open " + o.action)
	by, through, ok := m.now().owner(o.by)
	if !ok || by.object() != r.Requester.Object {
		m.violate("INV-10: #%d is not the request of the account that typed it", r.Number)
	}
	q.by = by
	if m.freeze != nil && !q.local() {
		m.violate("#%d was opened while everything is frozen", r.Number)
	}
	shown := maps.Clone(r.Params)
	delete(shown, "expires")
	if r.Action != o.action || !maps.Equal(shown, o.params) || (r.Params["expires"] != "") != o.expires {
		m.violate("INV-2: %s %v was typed and #%d is %s %v", o.action, o.params, r.Number, r.Action, r.Params)
	}
	q.until, _ = time.Parse(time.RFC3339, r.Params["expires"])
	switch o.action {
	case approvals.Settle:
		q.demands = o.of.demands
		q.targets = []string{o.names[0]}
	case approvals.Unfreeze, approvals.Mute:
		q.demands, q.targets = []demand{m.book.strictest()}, []string{o.action}
	default:
		m.bound(q, r)
	}
	if m.wall().Before(through.count) {
		saw("asked through a new link")
		for i := range q.demands {
			q.demands = slices.Clone(q.demands)
			q.demands[i].approvers++
		}
	}
	for _, d := range q.demands {
		if r.Rule.Approvers < d.approvers {
			m.violate("#%d needs %d approvals, and the rule asks for %d", r.Number, r.Rule.Approvers, d.approvers)
		}
	}
	return q
}

// bound holds what a request is about to what was typed.
func (m *model) bound(q *request, r approvals.Request) {
	var want []string
	for _, typed := range q.order.names {
		switch kinds[r.Action].Target {
		case approvals.TargetMachineAction:
			want = append(want, typed)
			continue
		case approvals.TargetIndicator:
			want = append(want, approvals.IndicatorID(string(indicatorValues[typed]), typed))
			if typed == privateAddress && r.Action == approvals.Block {
				m.violate("#%d is about a private address", r.Number)
			}
			continue
		}
		match := func(id string) bool {
			label, _, _ := strings.Cut(m.boxes[id].name, ".")
			return !m.boxes[id].gone && (id == typed || strings.EqualFold(m.boxes[id].name, typed) || strings.EqualFold(label, typed))
		}
		var ids []string
		for _, id := range machineIDs {
			if match(id) {
				ids = append(ids, id)
			}
		}
		if len(ids) != 1 {
			m.violate("INV-2: #%d was opened for %q, which %d machines are called", r.Number, typed, len(ids))
			return
		}
		if !slices.Contains(want, ids[0]) {
			want = append(want, ids[0])
		}
	}
	card := textOf(cards.Request(cards.RequestView{Request: r}))
	for _, t := range r.Targets {
		q.targets = append(q.targets, t.ID)
		box := m.boxes[q.box(t.ID)]
		q.names[t.ID] = box.name
		q.demands = append(q.demands, m.book.demandFor(q.order, box))
		if box.tagged("never-isolate") {
			m.violate("#%d is about a protected machine", r.Number)
		}
		shown := t.ID
		if _, value := approvals.ParseIndicatorID(t.ID); value != "" {
			shown = value
		}
		if !strings.Contains(card, shown) || !strings.Contains(card, r.Digest) {
			m.violate("the card of #%d does not show what it is about", r.Number)
		}
	}
	if !slices.Equal(q.targets, want) {
		m.violate("INV-2: %v was typed and #%d is about %v", q.order.names, r.Number, q.targets)
	}
}

// began is the scene when the job or command under way began.
func (m *model) began() scene {
	if len(m.frames) == 0 {
		return m.now()
	}
	return m.frames[len(m.frames)-1].began
}

// short says why q has not been approved by enough people, or "": for a target, if
// one is to be acted on. facts is the world as far as it may have been read already.
func (m *model) short(q *request, target string, facts scene, voting bool) string {
	now := m.now()
	var people []human
	late := map[human]bool{}
	for _, b := range q.ballots {
		who, ok := m.counts(q, b, facts, now, voting)
		if !ok {
			continue
		}
		if !slices.Contains(people, who) {
			people = append(people, who)
		}
		for _, then := range []scene{b.from, b.till} {
			late[who] = late[who] || !then.at.Before(q.opened.Add(standIn))
		}
		late[who] = late[who] || b.till.at.IsZero() && !now.at.Before(q.opened.Add(standIn))
	}
	belongs := func(e entry, p human, group string) bool {
		switch group {
		case "approver":
			return e.has("approver")
		case "soc":
			return e.listed && e.soc
		}
		return e.listed && m.leads[p].since(m.clock.Now().Add(-recent))
	}
	in := func(p human, group string) bool {
		return belongs(now.book.entries[p], p, group) || voting && belongs(facts.book.entries[p], p, group)
	}
	for _, d := range q.demands {
		if !d.satisfied(people, in, late) {
			return "too few people have approved it under the rule of its opening"
		}
	}
	box := q.box(target)
	if target != "" && !now.book.demandFor(q.order, facts.boxes[box]).satisfied(people, in, late) && !now.book.demandFor(q.order, now.boxes[box]).satisfied(people, in, late) {
		return "too few people have approved it under the rule in force"
	}
	return ""
}

// counts reports whether b is an approval of q, and whose. voting leaves out what
// is asked only before an execution.
func (m *model) counts(q *request, b ballot, facts, now scene, voting bool) (human, bool) {
	if b.till.at.IsZero() {
		b.till = now // the click is being taken
	}
	for _, then := range []scene{b.from, b.till} {
		who, through, ok := then.owner(b.by)
		switch {
		case !ok, who == q.by, b.digest != q.digest:
			continue
		case !then.member(b.by), !m.active[who].since(m.clock.Now().Add(-recent)) && !voting:
			continue
		case !then.at.Before(q.expires), then.at.Before(through.count):
			continue
		case through.confirmedBy == q.by && then.at.Before(through.since.Add(coolOff)):
			continue
		}
		// The account must still be what it was. A clock that was put back makes a link
		// newer than what was clicked through it.
		later, since, ok := now.owner(b.by)
		if !ok || later != who || since.since.After(b.till.at) && since.id != through.id || then.at.Before(since.count) {
			continue
		}
		if asker, ask, ok := now.owner(q.order.by); ok && asker == q.by && ask.confirmedBy == who && q.opened.Before(ask.since.Add(coolOff)) {
			continue
		}
		if !voting && !facts.member(b.by) && !now.member(b.by) {
			continue
		}
		return who, true
	}
	return nobody, false
}

// recorded is an audit record that has committed.
func (m *model) recorded(r record) {
	if len(m.frames) > 0 {
		f := m.frames[len(m.frames)-1]
		f.records = append(f.records, r)
	}
	q := m.byID[r.request]
	if q == nil {
		return
	}
	switch r.kind {
	case "action.intent":
		m.claimed(q, r.detail.Target)
	case "action.found":
		saw("found")
	case "action.absent":
		m.absent(q, r.detail.Target)
	case "action.settled":
		m.settled(q, r.detail.Target, r.detail.Outcome)
	case "request.tampered":
		saw("tampering noticed")
	}
}

// longest is after which time Defender shows what a call has brought about,
// whatever answer it gave.
const longest = 90 * time.Second

// absent is what was looked for in vain, so that it may be sent once more.
func (m *model) absent(q *request, id string) {
	saw("absent")
	began := m.frames[len(m.frames)-1].start
	for _, s := range q.sent[id] {
		s.absent = true
		if s.effect && !s.at.Add(longest).After(began) && m.inPlace(q, id) {
			m.violate("INV-3: #%d says that %s is not there, and it is", q.number, id)
		}
		if looked := m.clock.Now().Sub(s.at); looked < approvals.LookFor && m.set.Before(s.at) {
			m.violate("INV-3: #%d was looked for during %s alone", q.number, looked)
		}
	}
}

// settled is what two people have said about an unclear machine. That they were
// two is held against the settlement itself.
func (m *model) settled(q *request, ref, outcome string) {
	saw("settled " + outcome)
	_, index, _ := strings.Cut(ref, "/")
	i, err := strconv.Atoi(index)
	if err != nil || i >= len(q.targets) {
		m.violate("#%d: a settlement of %q", q.number, ref)
		return
	}
	id := q.targets[i]
	if outcome == approvals.SettleDone {
		q.done[id] = true
		return
	}
	for _, s := range q.sent[id] {
		s.notDone = true
	}
}

// claimed judges the moment after which a call may leave.
func (m *model) claimed(q *request, id string) {
	f := m.frames[len(m.frames)-1]
	now := m.now()
	q.claims[id] = append(q.claims[id], &claim{at: now.at, replica: f.replica})
	against := func(format string, args ...any) {
		m.violate("#%d claimed for "+id[:1]+": "+format, append([]any{q.number}, args...)...)
	}
	by, since, ok := now.owner(q.order.by)
	was, is := f.began.boxes[q.box(id)], now.boxes[q.box(id)]
	blocked := func(b box) bool {
		switch kinds[q.order.action].Target {
		case approvals.TargetMachineAction:
			return b.gone || b.tagged("never-isolate")
		case approvals.TargetIndicator:
			return false
		}
		return b.gone || b.elsewhere || b.merged || b.excluded || b.tagged("never-isolate") || !strings.EqualFold(b.name, q.names[id])
	}
	switch {
	case q.ended != "":
		against("INV-5: it was %s", q.ended)
	case q.final[id] != "":
		against("INV-5: it was told as %s", q.final[id])
	case q.gone:
		against("INV-5: the database was restored without it")
	case q.tampered:
		against("INV-2: its row was changed")
	case m.freeze != nil:
		against("everything is frozen")
	case !now.at.Before(q.execute):
		against("INV-1: its time ended %s ago", now.at.Sub(q.execute))
	case !m.skewed || m.offset.Abs() >= maxSkew:
		against("INV-11: the clock is off by %s, known %t", m.offset, m.skewed)
	case !f.since.IsZero() && m.clock.Now().Sub(f.since) > fresh && (now.at.Sub(f.read).Abs() > fresh || m.clock.Now().Sub(f.since) > fresh+2*maxSkew):
		// A clock that is put back meanwhile hides as much as it may be off.
		against("INV-11: what it goes by was read %s ago", m.clock.Now().Sub(f.since))
	case m.dirDown && f.began.dirDown:
		against("INV-11: nobody can tell who is still a member")
	case !ok || by != q.by || since.since.After(q.opened):
		against("INV-1: the account that asked stands for somebody else")
	case !now.book.entries[q.by].has("responder"):
		against("INV-1: the requester may no longer ask")
	case !f.began.member(q.order.by) && !now.member(q.order.by), !m.active[q.by].since(m.clock.Now().Add(-recent)):
		against("INV-1: the requester is no longer a member")
	case blocked(was) && blocked(is):
		against("INV-2: the machine is another one, or protected: %+v", is)
	default:
		if why := m.short(q, id, f.began, false); why != "" {
			against("INV-1: %s", why)
		}
	}
}

// posted judges a call as it arrives at Defender.
func (m *model) posted(p post) {
	saw("post")
	replica := m.frames[len(m.frames)-1].replica
	q := m.behind(p, replica)
	if q == nil {
		m.violate("INV-1: a call for no request: %+v", p)
		return
	}
	id := p.of(q)
	against := func(format string, args ...any) {
		m.violate("#%d sent for "+id[:1]+": "+format, append([]any{q.number}, args...)...)
	}
	if !q.meant(p) || !slices.Contains(q.targets, id) {
		against("INV-2: %+v, and %s %v of %v was shown", p, q.order.action, q.order.params, q.targets)
	}
	switch c := q.lastClaim(id, replica); {
	case c == nil:
		against("INV-6: no intent for it was recorded before")
	case c.lost:
		against("A-20: the claim was lost")
	case m.wall().Sub(c.at) >= leaseOf:
		against("A-20: the claim ended %s ago", m.wall().Sub(c.at)-leaseOf)
	default:
		c.used = true
	}
	again := kinds[q.order.action].Repeat == approvals.RepeatWhenAbsent
	for _, before := range q.sent[id] {
		switch {
		case before.harmless, before.notDone:
		case again && before.absent:
			saw("again")
		default:
			against("INV-3: an earlier call may have taken effect")
		}
	}
	how := m.defender.last
	q.sent[id] = append(q.sent[id], &sending{
		at:       m.clock.Now(),
		harmless: how == throttles || how == forbids || how == unreachable || how == unauthorized || how == alreadyActive || how == isFull,
		others:   how == returnsOther,
		effect:   p.acted,
	})
	if p.acted && p.kind == "Tag" {
		m.retag(p.machine, p.scope)
	}
	if p.acted {
		saw("effect")
		q.effects[id]++
	}
	if q.effects[id] > 1 && !again {
		against("INV-3: %d effects", q.effects[id])
	}
}

// behind finds the request of a call by its comment. Deletions and tags have none:
// one is of the request about the same thing whose claim is the latest.
func (m *model) behind(p post, replica int) (found *request) {
	for _, q := range m.requests {
		switch {
		case p.comment != "":
			if strings.HasPrefix(p.comment, "[mdebot:"+q.id+"]") {
				found = q
			}
		case !q.meant(p) || p.kind == "Tag" && !slices.Contains(q.targets, p.machine):
		case found == nil || found.lastClaim(p.of(found), replica) == nil:
			found = q
		default:
			mine, other := q.lastClaim(p.of(q), replica), found.lastClaim(p.of(found), replica)
			if mine != nil && (other.lost || !mine.lost && mine.at.After(other.at)) {
				found = q
			}
		}
	}
	return found
}

// of is what a call of q acts on.
func (p post) of(q *request) string {
	switch {
	case p.deletes:
		return q.targets[0]
	case p.cancels != "":
		return p.cancels
	case p.value != "":
		return approvals.IndicatorID(string(p.kind), p.value)
	}
	return p.machine
}

// meant reports whether a call does what people were shown.
func (q *request) meant(p post) bool {
	scope := q.order.params["scope"]
	switch q.order.action {
	case approvals.Cancel:
		return string(p.kind) == q.order.params["type"]
	case approvals.Block:
		return !p.deletes && strings.EqualFold(p.scope, q.order.params["effect"]) && p.expires.Equal(q.until)
	case approvals.Unblock:
		return p.deletes && p.value == q.order.params["indicator"]
	case approvals.Tag:
		return p.kind == "Tag" && p.scope == q.order.params["tag"]
	case approvals.Contain:
		scope = onMachines[approvals.Contain].scope
	}
	return p.kind == onMachines[q.order.action].kind && strings.EqualFold(p.scope, scope) && p.file == q.order.params["file"]
}

// retag notes what a machine is from now on.
func (m *model) retag(id, change string) {
	b := m.boxes[id]
	tags := slices.DeleteFunc(strings.Fields(b.tags), func(tag string) bool { return tag == change[1:] })
	if change[0] == '+' {
		tags = append(tags, change[1:])
	}
	b.tags = strings.Join(tags, " ")
	m.boxes[id] = b
}

// lastClaim is the latest claim of a replica that no call has used.
func (q *request) lastClaim(id string, replica int) *claim {
	for _, c := range slices.Backward(q.claims[id]) {
		if !c.used && c.replica == replica {
			return c
		}
	}
	return nil
}

// froze is a freeze that began or ended.
func (m *model) froze(f approvals.Freeze, endedBy *approvals.Request) {
	switch {
	case endedBy == nil:
		saw("freeze")
		m.freeze = &freeze{since: f.Since, bot: f.By.IsZero()}
	case m.freeze == nil || m.byID[endedBy.ID] == nil:
		m.violate("a freeze ended that was not there, or by nobody's request")
	default:
		saw("unfreeze")
		m.freeze = nil
	}
}

// tied is a link that was made, confirmed or ended.
func (m *model) tied(c links.Change) {
	saw("link " + string(c.What))
	a := hand(slices.IndexFunc(hands, func(p identity.Principal) bool {
		return p.Platform == c.Link.Account.Platform && p.Key() == c.Link.Account.Key()
	}))
	who := func(p identity.PersonID) human {
		for i := range crew {
			if human(i).object() == p.Object {
				return human(i)
			}
		}
		return nobody
	}
	if c.What == links.Ended {
		delete(m.ties, a)
		return
	}
	t := tie{id: c.Link.ID, person: who(c.Link.Person), since: c.Link.At, count: c.Link.CountsFrom, confirmedBy: who(c.Link.ConfirmedBy)}
	if c.What == links.Made {
		t.since, t.count = m.wall(), m.wall().Add(coolOff)
	}
	m.ties[a] = t
}
