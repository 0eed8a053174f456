package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
)

// clickChat is a replica's way to the chat on whose cards people click.
type clickChat struct {
	*fakeChat
	clicked map[string]bool // by message
	through int             // edits that went by a click
	fail    error
}

func (c *clickChat) Clicked(ref chat.Ref) bool { return c.clicked[ref.MessageID] }

func (c *clickChat) EditClicked(ctx context.Context, ref chat.Ref, m chat.Message) error {
	delete(c.clicked, ref.MessageID)
	if c.fail != nil {
		return c.fail
	}
	c.through++
	return c.Edit(ctx, ref, m)
}

// clicking makes the fixture's notifier one on whose cards people click.
func (f *fixture) clicking() *clickChat {
	c := &clickChat{fakeChat: f.chat, clicked: map[string]bool{}}
	f.n.posters[identity.Slack] = c
	return c
}

// click remembers a click on the n-th post (from 0) of a place.
func (c *clickChat) click(d chat.Destination, n int) {
	c.clicked[c.ref(c.index(d, n)).MessageID] = true
}

// index is the place among all posts of the n-th one (from 0) of a destination.
func (f *fakeChat) index(d chat.Destination, n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, p := range f.posts {
		if p.to != d {
			continue
		}
		if n--; n < 0 {
			return i
		}
	}
	panic("there is no such post")
}

// spend uses up the pace of edits in Slack.
func (f *fixture) spend() {
	f.Helper()
	f.inTx(func(tx durable.Tx) error {
		for {
			wait, err := reserve(f.Context(), tx, limits(soc, true, true)[:1], f.clock.now())
			if err != nil || wait > 0 {
				return err
			}
		}
	})
}

// turns lets each destination send what it can now.
func (f *fixture) turns(n *Notifier, places ...chat.Destination) {
	f.Helper()
	for _, d := range places {
		for {
			sent, err := n.step(f.Context(), d)
			if err != nil {
				f.Fatalf("step(%s) = %v", d, err)
			}
			if !sent {
				break
			}
		}
	}
}

func approved(r approvals.Request) approvals.Request {
	r.State = approvals.Approved
	r.Targets = []approvals.Target{{Kind: approvals.TargetMachine, ID: "m1", Name: "ws-042", State: approvals.Approved}}
	return r
}

func TestClick_showsOnItsCardWhateverThePace(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := pending("r1")
	f.changed(r, approvals.ChangeOpened)
	f.deliver()
	f.spend()
	slack := f.clicking()
	slack.click(soc, 0)
	f.changed(approved(r), approvals.ChangeApproved)

	other := f.replica() // which has seen no click
	f.turns(other, soc, "slack:C0APPROVE")
	if got := f.chat.at(soc)[0]; got.edits != 0 {
		t.Fatalf("edited %d times by a replica without the click and without pace", got.edits)
	}
	f.turns(f.n, soc, "slack:C0APPROVE")
	if got := f.chat.at(soc)[0]; got.edits != 1 || slack.through != 1 || strings.Contains(fmt.Sprint(got.message.Buttons), "request.approve") {
		t.Errorf("the clicked card: %d edits, %d through the click, buttons %v; want it turned at once", got.edits, slack.through, got.message.Buttons)
	}
	if got := f.chat.at("slack:C0APPROVE")[0]; got.edits != 0 {
		t.Errorf("another copy has %d edits, want it to keep the pace", got.edits)
	}
	f.deliver()
	if got := f.chat.at("slack:C0APPROVE")[0]; got.edits != 1 || slack.through != 1 {
		t.Errorf("another copy has %d edits, %d through the click, want 1 the usual way", got.edits, slack.through)
	}
}

// A card that was clicked is not behind others of its channel that must wait.
func TestClick_doesNotWaitForOlderCards(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const cards = 5
	for i := range cards {
		r := pending(fmt.Sprintf("r%d", i))
		r.Rule.Alone = true // in the asking channel alone
		f.changed(r, approvals.ChangeOpened)
	}
	f.deliver()
	f.spend()
	slack := f.clicking()
	slack.click(soc, cards-1)
	for i := range cards {
		f.changed(approved(pending(fmt.Sprintf("r%d", i))), approvals.ChangeApproved)
	}
	f.turns(f.n, soc)
	for i, p := range f.chat.at(soc) {
		if want := map[bool]int{true: 1}[i == cards-1]; p.edits != want {
			t.Errorf("card %d has %d edits, want %d", i, p.edits, want)
		}
	}
}

func TestClick_thatCannotBeUsedLeavesTheCardToThePace(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := pending("r1")
	f.changed(r, approvals.ChangeOpened)
	f.deliver()
	f.spend()
	slack := f.clicking()
	slack.fail = errors.New("the response address is used up")
	slack.click(soc, 0)
	f.changed(approved(r), approvals.ChangeApproved)
	f.turns(f.n, soc)
	if got := f.chat.at(soc)[0]; got.edits != 0 {
		t.Errorf("edited %d times without pace, want none", got.edits)
	}
	f.clock.add(1200 * time.Millisecond)
	f.turns(f.n, soc)
	if got := f.chat.at(soc)[0]; got.edits != 1 {
		t.Errorf("edited %d times when the pace allows it, want at once, without a back-off", got.edits)
	}
	if again := f.unsure(); again != 0 {
		t.Errorf("%d cards are drawn again after a refusal, want none", again)
	}
}

// unsure counts the cards that are to be drawn once more.
func (f *fixture) unsure() (n int64) {
	f.Helper()
	if err := f.db.Read().QueryRow(f.Context(), `SELECT COUNT(*) FROM cards WHERE again_at > 0`).Scan(&n); err != nil {
		f.Fatal(err)
	}
	return n
}

// An edit whose answer was not seen may reach the platform after a newer one.
func TestEdit_thatArrivesLateDoesNotStay(t *testing.T) {
	t.Parallel()
	unseen := fmt.Errorf("edit: %w", chat.ErrUnclear)
	tests := []struct {
		name   string
		breaks func(*fixture, *clickChat)
	}{
		{"through a click", func(_ *fixture, c *clickChat) { c.fail = unseen; c.click(soc, 0) }},
		{"the usual way", func(f *fixture, c *clickChat) {
			once := true
			c.fakeChat.fail = func(to chat.Destination, edit bool) error {
				if edit && to == soc && once {
					once = false
					return unseen
				}
				return nil
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			r := pending("r1")
			f.changed(r, approvals.ChangeOpened)
			f.deliver()
			slack := f.clicking()
			tt.breaks(f, slack)
			late := f.chat.at(soc)[0].message // stands for the drawing that is under way

			r.State = approvals.Denied
			f.changed(r, approvals.ChangeResolved)
			f.deliver()
			f.clock.add(2 * time.Second)
			f.deliver()
			denied := f.chat.at(soc)[0]
			if len(denied.message.Buttons) != 0 {
				t.Fatalf("card = %+v, want it denied", denied.message)
			}
			at := f.chat.index(soc, 0)
			f.chat.mu.Lock()
			f.chat.posts[at].message = late
			f.chat.mu.Unlock()
			f.clock.add(arrivedAfter)
			if err := f.n.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.deliver()
			if got := f.chat.at(soc)[0]; len(got.message.Buttons) != 0 || got.edits != denied.edits+1 {
				t.Errorf("card with %d edits and buttons %v, want the newest drawn once more", got.edits, got.message.Buttons)
			}
			if again := f.unsure(); again != 0 {
				t.Errorf("%d cards are drawn again still, want it once", again)
			}
		})
	}
}

// Twenty requests run or expire, and then somebody decides about another ten.
func TestOrder_whatSomebodyDidComesBeforeTheCourseOfThings(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	places := []chat.Destination{soc, fin, ops, back}
	ids := func(kind string, n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("%s%02d", kind, i))
		}
		return out
	}
	made := map[string]chat.Destination{}
	for i, id := range append(append(ids("runs", 10), ids("expires", 10)...), ids("decided", 10)...) {
		r := pending(id)
		r.Reason, r.Origin, r.Rule.Alone = id, string(places[i%len(places)]), true
		made[id] = places[i%len(places)]
		f.changed(r, approvals.ChangeOpened)
	}
	f.deliver()
	f.clock.add(time.Minute) // the pace is whole again
	change := func(id string, s approvals.State, c approvals.Change) {
		f.requests.mu.Lock()
		r := f.requests.all[id]
		f.requests.mu.Unlock()
		r.State = s
		f.requests.mu.Lock()
		f.requests.all[id] = r
		f.requests.mu.Unlock()
		f.inTx(func(tx durable.Tx) error {
			if c == approvals.ChangeResolved && s == approvals.Expired { // its reply is a post
				return errors.Join(f.n.redraw(t.Context(), tx, contoso, SubjectRequest, id))
			}
			return f.n.RequestChanged(t.Context(), tx, r, c)
		})
	}
	for i := range 10 {
		change(fmt.Sprintf("runs%02d", i), approvals.Executing, approvals.ChangeTarget)
		change(fmt.Sprintf("expires%02d", i), approvals.Expired, approvals.ChangeResolved)
	}
	f.turns(f.n, places...)
	edited := func(kind string) (n int) {
		for _, d := range places {
			for _, p := range f.chat.at(d) {
				if p.edits > 0 && strings.Contains(fmt.Sprint(p.message), kind) {
					n++
				}
			}
		}
		return n
	}
	if n := edited("runs") + edited("expires"); n != 3 {
		t.Errorf("%d edits that nobody waits for in one moment, want 3", n)
	}
	for i := range 10 {
		change(fmt.Sprintf("decided%02d", i), approvals.Approved, approvals.ChangeApproved)
	}
	f.turns(f.n, places...)
	f.clock.add(time.Second) // a channel has a pace of its own
	f.turns(f.n, places...)
	if n := edited("decided"); n != 10 {
		t.Errorf("%d of 10 decisions show within a second, want all", n)
	}
	if n := edited("runs") + edited("expires"); n != 3 {
		t.Errorf("%d edits that nobody waits for a second later, want 3: the decisions used up what there was", n)
	}
	for range 60 {
		f.deliver()
		f.clock.add(time.Second)
	}
	if n := edited("runs") + edited("expires"); n != 20 {
		t.Errorf("%d of 20 other edits in the end, want all", n)
	}
}

func TestByPerson(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		state approvals.State
		c     approvals.Change
		want  bool
	}{
		{approvals.Pending, approvals.ChangeVote, true},
		{approvals.Approved, approvals.ChangeApproved, true},
		{approvals.Denied, approvals.ChangeResolved, true},
		{approvals.Withdrawn, approvals.ChangeResolved, true},
		{approvals.Expired, approvals.ChangeResolved, false},
		{approvals.Void, approvals.ChangeResolved, false},
		{approvals.Succeeded, approvals.ChangeResolved, false},
		{approvals.Executing, approvals.ChangeTarget, false},
		{approvals.Pending, approvals.ChangeReminder5, false},
		{approvals.Pending, approvals.ChangeFreeze, false},
	} {
		if got := byPerson(approvals.Request{State: tt.state}, tt.c); got != tt.want {
			t.Errorf("byPerson(%s, %s) = %v, want %v", tt.state, tt.c, got, tt.want)
		}
	}
}

// Steps that follow each other are one edit; what somebody does is not held up by it.
func TestEdit_stepsWithinASecondAreOneEdit(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := pending("r1")
	r.Rule.Alone = true
	f.changed(r, approvals.ChangeOpened)
	f.deliver()
	r.State = approvals.Executing
	for range 3 {
		f.changed(r, approvals.ChangeTarget)
		f.turns(f.n, soc)
	}
	if got := f.chat.at(soc)[0]; got.edits != 1 {
		t.Errorf("%d edits for three steps in one moment, want 1", got.edits)
	}
	r.State = approvals.Denied
	f.changed(r, approvals.ChangeResolved)
	f.turns(f.n, soc)
	if got := f.chat.at(soc)[0]; got.edits != 2 || len(got.message.Buttons) != 0 {
		t.Errorf("%d edits after a denial, buttons %v; want it shown at once", got.edits, got.message.Buttons)
	}
	r.State = approvals.Approved
	f.changed(r, approvals.ChangeTarget)
	f.turns(f.n, soc)
	f.clock.add(editEvery)
	f.turns(f.n, soc)
	if got := f.chat.at(soc)[0]; got.edits != 3 {
		t.Errorf("%d edits two seconds later, want the last step shown", got.edits)
	}
}

// A destination whose edits wait long for their pace is left alone until then, and
// woken by what need not wait.
func TestDeliver_whileEditsWaitAPostDoesNot(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := pending("r1")
	r.Rule.Alone = true
	f.changed(r, approvals.ChangeOpened)
	f.deliver()
	f.spend()
	r.State = approvals.Executing
	f.changed(r, approvals.ChangeTarget)
	run := func() {
		t.Helper()
		if err := f.n.Deliver(t.Context(), durable.Job{ID: string(soc)}); err != nil {
			t.Fatalf("Deliver() = %v, want nil: a job that sleeps keeps out the one that is asked for", err)
		}
	}
	due := func() (n int64) {
		t.Helper()
		f.inTx(func(tx durable.Tx) error {
			_, err := tx.Exec(t.Context(), `DELETE FROM river_job`)
			return err
		})
		if err := f.n.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := f.db.Read().QueryRow(t.Context(), `SELECT COUNT(*) FROM river_job WHERE json(args) LIKE '%"slack:C0SOC"%'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	run()
	if got := f.chat.at(soc)[0]; got.edits != 0 {
		t.Fatalf("%d edits, want none", got.edits)
	}
	if n := due(); n != 0 {
		t.Errorf("the sweep plans %d runs while nothing can leave, want none", n)
	}
	next := pending("r2")
	next.Rule.Alone = true
	f.changed(next, approvals.ChangeOpened)
	run()
	wantPosts(t, f.chat.at(soc), 2)
	f.clock.add(time.Minute)
	if n := due(); n != 1 {
		t.Errorf("the sweep plans %d runs when the edits can leave, want 1", n)
	}
	run()
	if got := f.chat.at(soc)[0]; got.edits != 1 {
		t.Errorf("%d edits in the end, want 1", got.edits)
	}
}

// Slack counts the edits of the whole workspace together, and apart from posts.
func TestThrottled_editKeepsBackAllEditsAndNoPost(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for id, d := range map[string]chat.Destination{"r1": soc, "r2": fin} {
		r := pending(id)
		r.Origin, r.Rule.Alone = string(d), true
		f.changed(r, approvals.ChangeOpened)
	}
	f.deliver()
	asked := 0
	f.chat.fail = func(_ chat.Destination, edit bool) error {
		if edit {
			asked++
			return &chat.ThrottledError{RetryAfter: 30 * time.Second}
		}
		return nil
	}
	for id, d := range map[string]chat.Destination{"r1": soc, "r2": fin} {
		r := approved(pending(id))
		r.Origin, r.Rule.Alone = string(d), true
		f.changed(r, approvals.ChangeApproved)
	}
	f.turns(f.n, soc, fin)
	if asked != 1 {
		t.Errorf("asked for %d edits while throttled, want 1", asked)
	}
	r := pending("r3")
	r.Origin, r.Rule.Alone = string(fin), true
	f.changed(r, approvals.ChangeOpened)
	f.turns(f.n, fin)
	wantPosts(t, f.chat.at(fin), 2)
	f.chat.fail = nil
	f.clock.add(30 * time.Second)
	f.deliver()
	for _, d := range []chat.Destination{soc, fin} {
		if got := f.chat.at(d)[0]; got.edits != 1 {
			t.Errorf("%s: %d edits when it is over, want 1", d, got.edits)
		}
	}
}

// A post that failed comes again when it is due, however long edits wait: an alert or
// a request is not kept back by what nobody waits for.
func TestDeliver_whileEditsWaitAFailedPostComesAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := pending("r1")
	r.Rule.Alone = true
	f.changed(r, approvals.ChangeOpened)
	f.deliver()
	f.inTx(func(tx durable.Tx) error {
		l := limits(soc, true, false)[0]
		if _, err := reserve(t.Context(), tx, []limit{l}, f.clock.now()); err != nil {
			return err
		}
		return throttle(t.Context(), tx, l, f.clock.now().Add(longestThrottle))
	})
	r.State = approvals.Executing
	f.changed(r, approvals.ChangeTarget)
	f.chat.fail = func(_ chat.Destination, edit bool) error {
		if edit {
			t.Error("an edit was tried while Slack takes none")
		}
		return errors.New("no connection")
	}
	next := pending("r2")
	next.Rule.Alone = true
	f.changed(next, approvals.ChangeOpened)
	if err := f.n.Deliver(t.Context(), durable.Job{ID: string(soc)}); err != nil {
		t.Fatal(err)
	}
	wantPosts(t, f.chat.at(soc), 1)
	f.chat.fail = nil
	f.clock.add(5 * time.Second)
	f.inTx(func(tx durable.Tx) error {
		_, err := tx.Exec(t.Context(), `DELETE FROM river_job`)
		return err
	})
	if err := f.n.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := f.count(`SELECT COUNT(*) FROM river_job WHERE json(args) LIKE '%"slack:C0SOC"%'`); n != 1 {
		t.Fatalf("the sweep plans %d runs for a post that is due again, want 1", n)
	}
	if err := f.n.Deliver(t.Context(), durable.Job{ID: string(soc)}); err != nil {
		t.Fatal(err)
	}
	wantPosts(t, f.chat.at(soc), 2)
}

// Somebody who changes things without end, as by a script on alerts in some channels,
// does not keep the others' cards untrue for as long.
func TestOrder_whatSomebodyDoesWithoutEndLeavesSomeEdits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var hurried, others int
	for range 10 * 60 * 10 { // ten minutes
		f.inTx(func(tx durable.Tx) error {
			for _, d := range []chat.Destination{soc, back} {
				wait, err := reserve(t.Context(), tx, limits(d, true, true), f.clock.now())
				if err != nil {
					return err
				}
				if wait == 0 {
					hurried++
				}
			}
			wait, err := reserve(t.Context(), tx, limits(fin, true, false), f.clock.now())
			if err == nil && wait == 0 {
				others++
			}
			return err
		})
		f.clock.add(100 * time.Millisecond)
	}
	if others < 50 {
		t.Errorf("%d edits that nobody waits for in ten minutes, beside %d of somebody who does not stop", others, hurried)
	}
	if hurried < 400 || hurried+others > 550 {
		t.Errorf("%d and %d edits in ten minutes, of which Slack takes 500", hurried, others)
	}
}
