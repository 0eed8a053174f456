package containment

import (
	"context"
	"fmt"
	"math/bits"
	"regexp"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
)

// action is something that can happen, with how often it is drawn.
type action struct {
	name   string
	weight int
	act    func(*model)
}

// everything and meanwhiles are the actions, each as often as its weight; the
// latter without those that stop every process.
var everything, meanwhiles []action

func init() { // they draw each other
	for _, a := range []action{
		{"ask", 8, (*model).ask},
		{"approve", 4, (*model).approve},
		{"hurry", 6, (*model).hurry},
		{"urgent", 6, (*model).urgent},
		{"stand in", 2, (*model).standIn},
		{"deny", 2, (*model).deny},
		{"withdraw", 1, (*model).withdraw},
		{"forge a button", 2, (*model).forge},
		{"click again", 1, (*model).clickAgain},
		{"settle", 3, (*model).settle},
		{"freeze", 1, (*model).freezeAll},
		{"unfreeze", 2, (*model).unfreeze},
		{"link", 2, (*model).link},
		{"unlink", 1, (*model).unlink},
		{"people", 2, (*model).people},
		{"rules", 2, (*model).rules},
		{"machines", 2, (*model).machines},
		{"as it was", 2, (*model).asItWas},
		{"pass", 4, (*model).pass},
		{"a day", 1, (*model).day},
		{"deadline", 3, (*model).deadline},
		{"oversleep", 2, (*model).oversleep},
		{"step the clock", 1, (*model).stepClock},
		{"sweep", 3, (*model).sweepOne},
		{"job", 16, (*model).job},
		{"work", 2, (*model).workOne},
		{"weather", 2, (*model).weather},
		{"answer", 3, (*model).answer},
		{"finish", 2, (*model).finish},
		{"colleague", 1, (*model).colleague},
		{"mute", 1, (*model).mute},
		{"in vain", 2, (*model).inVain},
		{"back up", 1, (*model).save},
		{"restore", 1, (*model).restore},
		{"restart", 1, (*model).restartOne},
		{"tamper", 2, (*model).tamper},
		{"lose jobs", 1, (*model).loseJobs},
	} {
		for range a.weight {
			everything = append(everything, a)
			switch a.name {
			case "back up", "restore", "restart":
			default:
				meanwhiles = append(meanwhiles, a)
			}
		}
	}
}

// step is one action, and may be one of those that stop every process only when
// none is paused.
func (m *model) step() {
	all := everything
	if len(m.frames) > 0 {
		all = meanwhiles
	}
	a := all[even(len(all)).Draw(m.t, "index")]
	m.t.Logf("%s%s", strings.Repeat("  ", m.depth), a.name)
	a.act(m)
}

// even draws below n without the preference for small numbers that rapid's own
// generators have: it would leave most of what can happen to chance.
func even(n int) *rapid.Generator[int] {
	return rapid.Custom(func(t *rapid.T) int {
		v := 0
		for range bits.Len(uint(n)) + 3 {
			v <<= 1
			if rapid.Bool().Draw(t, "bit") {
				v++
			}
		}
		return v % n
	})
}

func draw[T any](m *model, what string, from ...T) T {
	v := from[even(len(from)).Draw(m.t, what)]
	m.t.Logf("%s  %s: %v", strings.Repeat("  ", m.depth), what, v)
	return v
}

func (m *model) oneIn(n int, what string) bool { return m.upTo(n-1, what) == n-1 }

func (m *model) upTo(n int, what string) int { return even(n+1).Draw(m.t, what) }

// answer is the last word of the bot to one invocation.
type answers struct{ last chat.Message }

func (*answers) Progress(context.Context, chat.Message) {}

func (a *answers) Answer(_ context.Context, m chat.Message) error {
	a.last = m
	return nil
}

// says sends an invocation through a door and returns what the bot answers.
func (m *model) says(i int, inv chat.Invocation, typed *order, foreign bool, plan *interruption) (chat.Message, *frame) {
	router := m.replicas[i].router
	if foreign {
		router = m.replicas[i].foreign
	}
	var out answers
	f, err := m.within(i, plan, typed, func() error {
		resp := router.Handle(context.Background(), inv)
		if resp.Message != nil {
			out.last = *resp.Message
		}
		if resp.Later != nil {
			resp.Later(context.Background(), &out)
		}
		return nil
	})
	if p := m.panicked; p != nil {
		m.panicked = nil
		panic(p)
	}
	if err != nil || plan != nil && plan.crash && plan.after < 0 {
		m.restart(i)
		return chat.Message{}, f
	}
	return out.last, f
}

// types sends a command. The head of the log goes outside with decisions that
// must not be forgotten.
func (m *model) types(by hand, text string, typed *order) string {
	i := m.replica()
	inv := m.invocation(chat.Command, by)
	inv.Text = text
	said, _ := m.says(i, inv, typed, false, m.mayCrash())
	switch word, _, _ := strings.Cut(text, " "); word {
	case "freeze", "unlink":
		m.keep(i, true)
	}
	return textOf(said)
}

// textOf is all that a message says.
func textOf(m chat.Message) string {
	words := []string{m.Title.String(), m.Note.String()}
	for _, f := range m.Facts {
		words = append(words, f.Value.String())
	}
	for _, s := range m.Sections {
		for _, line := range s.Lines {
			words = append(words, line.String())
		}
	}
	return strings.Join(words, "\n")
}

// mayCrash draws a death in the middle of a command.
func (m *model) mayCrash() *interruption {
	if m.depth > 0 || !m.oneIn(25, "dies") {
		return nil
	}
	return &interruption{after: m.upTo(6, "after"), crash: true}
}

func (m *model) invocation(kind chat.Kind, by hand) chat.Invocation {
	m.serial++
	who := hands[by]
	return chat.Invocation{
		Kind: kind, Delivery: fmt.Sprintf("%s-%d", m.tenant, m.serial), By: who, Slash: true, At: m.wall(),
		In: chat.Conversation{Platform: who.Platform, Workspace: who.Workspace, ID: "C0SOC", Direct: who.Platform == identity.Teams},
	}
}

// account draws one of a person's accounts.
func (m *model) account(h human) hand {
	return draw(m, "account", slackOf(h), slackOf(h), teamsOf(h), secondOf(h))
}

func (m *model) ask() { m.askFor(sentKinds, m.account(draw[human](m, "by", 0, 0, 1, 2, 3))) }

func (m *model) askFor(which []string, by hand) {
	kind := draw(m, "action", which...)
	o := order{by: by, action: kind, params: map[string]string{}}
	switch kinds[kind].Target {
	case approvals.TargetMachine:
		m.askMachines(o)
	case approvals.TargetMachineAction:
		m.askCancel(o)
	case approvals.TargetIndicator:
		if kinds[kind].Undo {
			m.askUnblock(o)
		} else {
			m.askBlock(o)
		}
	default:
		m.t.Fatalf("the model does not know how to ask to %s", kind)
	}
}

func (m *model) askMachines(o order) {
	for range draw(m, "machines", 1, 1, 2) {
		id := draw(m, "machine", machineIDs...)
		o.names = append(o.names, draw(m, "as", id, id, id, m.boxes[id].name))
	}
	text := o.action + " " + strings.Join(o.names, ",") + " beaconing"
	if kinds[o.action].Params["tag"].Form != nil {
		o.params["tag"] = draw(m, "tag", "+tier0", "-tier0")
		text = o.action + " " + strings.Join(o.names, ",") + " " + o.params["tag"] + " --reason beaconing"
	}
	if kinds[o.action].Params["file"].Form != nil {
		o.params["file"] = aHash
		text = o.action + " " + aHash + " " + strings.Join(o.names, ",") + " beaconing"
	}
	if scopes := kinds[o.action].Params["scope"].Values; len(scopes) > 0 {
		if o.params["scope"] = scopes[0]; m.oneIn(3, "other scope") {
			o.params["scope"] = scopes[1]
			text += " --" + scopes[1]
		}
	}
	if kinds[o.action].Params["for"].Form != nil {
		if o.params["for"] = ""; m.oneIn(3, "for a time") {
			o.params["for"] = "4h"
			text += " --for 240m"
		}
	}
	m.types(o.by, text, &o)
}

// askCancel is about an action that runs, whoever started it, and seldom about one
// that has ended.
func (m *model) askCancel(o order) {
	started := func() (all, running []defender.MachineAction) {
		m.defender.mu.Lock()
		defer m.defender.mu.Unlock()
		for _, a := range m.defender.actions {
			if all = append(all, a); !a.Status.Final() {
				running = append(running, a)
			}
		}
		return all, running
	}
	all, running := started()
	if len(running) == 0 && (len(all) == 0 || !m.oneIn(6, "an ended one")) {
		m.starts(defender.ActionPending)
		_, running = started()
	}
	if len(running) > 0 {
		all = running
	}
	a := all[m.upTo(len(all)-1, "of")]
	o.names, o.box, o.params["type"] = []string{a.ID}, a.MachineID, string(a.Type)
	m.types(o.by, o.action+" "+a.ID+" wrong machine", &o)
}

// indicatorValues are what people block: two domains, and an address that is
// somebody else's in every network.
var indicatorValues = map[string]defender.IndicatorType{
	"evil.example": defender.IndicatorDomain, "worse.example": defender.IndicatorDomain, privateAddress: defender.IndicatorIP,
}

const privateAddress = "192.168.7.7"

func (m *model) askBlock(o order) {
	o.names = draw(m, "values", []string{"evil.example"}, []string{"evil.example"}, []string{"worse.example"},
		[]string{"evil.example", "worse.example"}, []string{privateAddress})
	text := o.action + " " + strings.Join(o.names, ",") + " beaconing"
	effects := kinds[o.action].Params["effect"].Values
	o.params["effect"] = draw(m, "effect", effects[0], effects[0], effects[1], effects[2])
	text += " --" + o.params["effect"]
	if o.expires = m.oneIn(2, "expires"); o.expires {
		text += " --expires " + draw(m, "after", "5m", "7d")
	}
	m.types(o.by, text, &o)
}

func (m *model) askUnblock(o order) {
	there := m.inForce()
	if len(there) == 0 {
		m.portalBlocks("evil.example")
		there = m.inForce()
	}
	i := there[m.upTo(len(there)-1, "of")]
	o.names, o.params["indicator"] = []string{i.Value}, i.ID
	m.types(o.by, o.action+" "+i.Value+" it was the wrong one", &o)
}

// inForce are Defender's indicators.
func (m *model) inForce() []defender.Indicator {
	m.defender.mu.Lock()
	defer m.defender.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.defender.indicators), func(i defender.Indicator) bool {
		return !i.Expires.IsZero() && !i.Expires.After(m.clock.Now())
	})
}

// mute asks for a mute that could hide High alerts, and takes the offer.
func (m *model) mute() {
	if !m.oneIn(2, "really") {
		return
	}
	o := order{by: m.account(draw[human](m, "by", 0, 0, 1, 2)), action: approvals.Mute}
	inv := m.invocation(chat.Command, o.by)
	inv.Text = `mute --title "Suspicious sign-in" --high --reason we test it ourselves`
	i := m.replica()
	offer, _ := m.says(i, inv, nil, false, nil)
	if len(offer.Buttons) == 0 {
		return
	}
	click := m.invocation(chat.Click, o.by)
	click.Action, click.Value = offer.Buttons[0].Action, offer.Buttons[0].Value
	n := len(m.requests)
	m.says(i, click, &o, false, m.mayCrash())
	if len(m.requests) > n && m.oneIn(2, "agreed") {
		m.agree(m.requests[len(m.requests)-1])
	}
}

// kinds are the registry's actions, and sentKinds those that Defender is told.
var (
	kinds     = approvals.Actions()
	sentKinds = kindsWith(func(a approvals.Action) bool { return !a.Local() })
	// repeatedKinds may be sent again where they are known to have had no effect.
	repeatedKinds = kindsWith(func(a approvals.Action) bool { return a.Repeat == approvals.RepeatWhenAbsent })
)

func kindsWith(which func(approvals.Action) bool) (names []string) {
	for name, a := range kinds {
		if which(a) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// pick is a request, the latest ones more often.
func (m *model) pick() *request {
	if len(m.requests) == 0 {
		return nil
	}
	back := min(m.upTo(5, "back"), len(m.requests)-1)
	return m.requests[len(m.requests)-1-back]
}

func (m *model) approve() {
	if q := m.pick(); q != nil {
		m.cast(q, m.account(draw[human](m, "by", 0, 1, 2, 3, 4, 5, 6)), q.digest, false)
	}
}

// hurry has people approve a request until that suffices.
func (m *model) hurry() {
	q := m.pick()
	if q == nil {
		return
	}
	for _, h := range []human{2, 3, 4, 5} {
		if q.state[0] == "pending" && h != q.by {
			m.cast(q, draw(m, "account", slackOf(h), teamsOf(h)), q.digest, false)
		}
	}
}

// standIn has somebody approve who is in no group that a rule asks for first, when
// the request has waited for longer or shorter.
func (m *model) standIn() {
	n := len(m.requests)
	if m.ask(); len(m.requests) == n {
		return
	}
	q := m.requests[n]
	if wait := draw(m, "wait", 0, standIn-time.Second, standIn, standIn+time.Minute); wait > 0 {
		m.clock.Pass(wait)
		m.sweepOne()
	}
	m.cast(q, draw(m, "account", slackOf(6), teamsOf(6)), q.digest, false)
}

// urgent asks and has it approved at once.
func (m *model) urgent() {
	n := len(m.requests)
	m.ask()
	if len(m.requests) > n {
		m.agree(m.requests[len(m.requests)-1])
	}
}

// inVain asks for something that may be sent once more where it is known not to be
// there, has it approved, and lets the call go without a clear answer.
func (m *model) inVain() {
	m.defender.mu.Lock()
	m.defender.answers, m.defender.hideFor = []answer{draw(m, "answer", onlySilent, onlySilent, actsLate, actsSilently)}, 0
	m.defender.mu.Unlock()
	n := len(m.requests)
	if m.askFor(repeatedKinds, slackOf(draw[human](m, "by", 0, 1))); len(m.requests) == n {
		return
	}
	m.agree(m.requests[n])
	for range 4 {
		m.workOne()
		m.clock.Pass(46 * time.Second)
	}
	m.workOne()
}

func (m *model) deny() {
	if q := m.pick(); q != nil && m.oneIn(2, "really") {
		m.cast(q, m.account(draw[human](m, "by", 0, 1, 2, 3, 4, 6)), q.digest, true)
	}
}

// forge clicks a button whose value no card had: the digest of another request,
// or one for another tenant's bot, or by a stranger with an approver's name.
func (m *model) forge() {
	q := m.pick()
	if q == nil {
		return
	}
	h := draw[human](m, "by", 2, 3, 4, 5)
	switch draw(m, "forged", "digest", "tenant", "name") {
	case "digest":
		m.cast(q, slackOf(h), m.requests[0].digest[:32]+strings.Repeat("0", 32), false)
	case "tenant":
		i := m.replica()
		inv := m.invocation(chat.Click, slackOf(h))
		inv.Action, inv.Value = cards.ActionApprove, cards.RequestValue(q.id, q.digest)
		if said, _ := m.says(i, inv, nil, true, nil); strings.HasPrefix(said.Title.String(), "Your approval counts.") {
			m.violate("INV-7: a vote through another tenant's bot: %s", said.Title)
		}
	case "name":
		m.cast(q, stranger, q.digest, false)
	}
}

func (m *model) cast(q *request, by hand, digest string, deny bool) {
	inv := m.invocation(chat.Click, by)
	inv.Action, inv.Value = cards.ActionApprove, cards.RequestValue(q.id, digest)
	if deny {
		inv.Action = cards.ActionDeny
	}
	m.last, m.lastBy = &inv, by
	m.click(q, inv, by, digest, deny)
}

func (m *model) click(q *request, inv chat.Invocation, by hand, digest string, deny bool) {
	i := m.replica()
	plan := m.interrupted(12, 6)
	b := ballot{by: by, digest: digest, from: m.now()}
	if !deny {
		q.ballots = append(q.ballots, b)
	}
	at := len(q.ballots) - 1
	said, f := m.says(i, inv, nil, false, plan)
	b.till = m.now()
	if !deny {
		q.ballots[at].till = b.till
	} else {
		m.keep(i, true)
	}
	if slices.ContainsFunc(f.records, func(r record) bool { return strings.HasPrefix(r.kind, "vote.") }) {
		if m.taken[inv.Delivery] && !m.backup.used {
			m.violate("S-03: a delivery was taken twice")
		}
		m.taken[inv.Delivery] = true
	}
	kind, counts := "vote.approve", strings.HasPrefix(said.Title.String(), "Your approval counts.")
	if deny {
		kind, counts = "vote.deny", strings.HasPrefix(said.Title.String(), "Your denial counts.")
	}
	if !counts {
		return
	}
	saw("vote " + string(inv.By.Platform))
	if !slices.ContainsFunc(f.records, func(r record) bool { return r.kind == kind && r.request == q.id }) {
		m.violate("INV-6: a vote on #%d counts without a record", q.number)
	}
	if deny {
		q.ended = "denied"
		m.mayDeny(q, b)
		return
	}
	if who, ok := m.counts(q, q.ballots[at], b.from, b.till, true); !ok && !q.tampered {
		m.violate("INV-1: the approval of #%d by %s counts, %d", q.number, inv.By, who)
	}
}

// mayDeny holds a denial that counts to who may deny.
func (m *model) mayDeny(q *request, b ballot) {
	for _, s := range []scene{b.from, b.till} {
		who, _, ok := s.owner(b.by)
		e := entry{}
		if ok {
			e = s.book.entries[who]
		}
		if ok && (who != q.by || q.tampered) && s.member(b.by) && (e.has("responder") || e.has("approver") || e.soc || m.leads[who].since(m.clock.Now().Add(-recent))) {
			return
		}
	}
	m.violate("the denial of #%d by %s counts", q.number, hands[b.by])
}

// clickAgain repeats the last click: as another click, or as the same delivery
// once more, possibly to another replica and much later.
func (m *model) clickAgain() {
	if m.last == nil {
		return
	}
	inv := *m.last
	id, digest, _ := cards.ParseRequestValue(inv.Value)
	q := m.byID[id]
	if m.oneIn(2, "another click") {
		inv.Delivery = m.invocation(chat.Click, m.lastBy).Delivery
		m.last = &inv
	}
	saw("click again")
	m.click(q, inv, m.lastBy, digest, inv.Action == cards.ActionDeny)
}

func (m *model) withdraw() {
	q := m.pick()
	if q == nil || !m.oneIn(3, "really") {
		return
	}
	by := draw(m, "account", q.order.by, slackOf(0), slackOf(1), teamsOf(1))
	i, inv := m.replica(), m.invocation(chat.Click, by)
	inv.Action, inv.Value = cards.ActionWithdraw, cards.RequestValue(q.id, q.digest)
	from := m.now()
	before := slices.Clone(q.state)
	_, f := m.says(i, inv, nil, false, m.mayCrash())
	m.keep(i, true)
	if !slices.ContainsFunc(f.records, func(r record) bool { return r.kind == "request.withdrawn" && r.request == q.id }) {
		return
	}
	q.ended = "withdrawn"
	if who, _, ok := from.owner(by); !q.tampered && (!ok || who != q.by) {
		m.violate("#%d was withdrawn by %s", q.number, hands[by])
	}
	for k, was := range before {
		if (was == "pending" || was == "approved") && q.state[k] != "withdrawn" {
			m.violate("INV-5: #%d was withdrawn and a machine is %s", q.number, q.state[k])
		}
	}
}

// settle says truthfully what became of an unclear machine, and others agree.
func (m *model) settle() {
	var of *request
	k := -1
	for _, q := range m.requests {
		if i := slices.Index(q.state, "unknown"); i >= 0 && !q.gone && !q.local() {
			of, k = q, i
		}
	}
	if k < 0 {
		return
	}
	id := of.targets[k]
	o := order{by: draw(m, "by", slackOf(0), slackOf(1), slackOf(2)), action: approvals.Settle, names: []string{id}, of: of, params: map[string]string{"outcome": approvals.SettleNotDone}}
	if of.effects[id] > 0 {
		o.params["outcome"] = approvals.SettleDone
	}
	n := len(m.requests)
	m.types(o.by, fmt.Sprintf("settle %d %s %s seen in the portal", of.number, o.params["outcome"], id), &o)
	if len(m.requests) > n {
		m.agree(m.requests[len(m.requests)-1])
	}
}

// agree has most approvers approve q at once.
func (m *model) agree(q *request) {
	for _, h := range []human{2, 3, 4, 5} {
		if q.state[0] == "pending" && h != q.by && !m.oneIn(6, "busy") {
			m.cast(q, slackOf(h), q.digest, false)
		}
	}
}

func (m *model) freezeAll() {
	if !m.oneIn(3, "really") {
		return
	}
	by := m.account(draw[human](m, "by", 0, 2, 3, 4))
	before := m.freeze
	m.types(by, "freeze something is strange", nil)
	if before != nil || m.freeze == nil {
		return
	}
	who, _, ok := m.now().owner(by)
	if !ok || !m.book.entries[who].has("approver") && !m.book.entries[who].soc && !m.leads[who].since(m.clock.Now().Add(-recent)) {
		m.violate("%s has frozen everything", hands[by])
	}
}

func (m *model) unfreeze() {
	n := len(m.requests)
	o := order{by: draw(m, "by", slackOf(0), slackOf(1), slackOf(2)), action: approvals.Unfreeze}
	m.types(o.by, "unfreeze it is over", &o)
	if len(m.requests) > n {
		m.agree(m.requests[len(m.requests)-1])
		m.workOne()
	}
}

// link makes a link by a code in Teams, or has somebody confirm one.
func (m *model) link() {
	if len(m.ties) > 0 && m.oneIn(2, "confirm") {
		for a := range hand(len(hands)) {
			if t, ok := m.ties[a]; ok {
				m.types(m.account(draw[human](m, "by", 0, 2, 3, 4)), "confirm-link "+t.id, nil)
				return
			}
		}
	}
	h := draw[human](m, "account of", 0, 2, 3, 4)
	account := draw(m, "account", secondOf(h), secondOf(h), stranger)
	code := linkCode.FindString(m.types(account, "link", nil))
	if code == "" {
		return
	}
	owner := teamsOf(draw(m, "accepted by", h, h, 3))
	m.types(owner, "link "+code, nil)
	inv := m.invocation(chat.Click, owner)
	inv.Action, inv.Value = cards.ActionLinkAccept, hands[account].Key()
	m.says(m.replica(), inv, nil, false, nil)
}

var linkCode = regexp.MustCompile(`[2-9A-Z]{4}-[2-9A-Z]{4}`)

func (m *model) unlink() {
	for a := range hand(len(hands)) {
		if _, ok := m.ties[a]; ok {
			m.types(a, "unlink", nil)
			return
		}
	}
}
