package notify

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

func titles(posts []posted) string {
	var b strings.Builder
	for _, p := range posts {
		fmt.Fprintln(&b, p.message.Title.String())
	}
	return b.String()
}

func wantPosts(t *testing.T, got []posted, want int) {
	t.Helper()
	if len(got) != want {
		t.Fatalf("%d messages, want %d:\n%s", len(got), want, titles(got))
	}
}

func TestAlert_isPostedOnceHoweverOftenItIsRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	f.alert("a1", nil)
	for range 10 {
		f.clock.add(16 * time.Second)
		f.poll()
		f.deliver()
	}
	got := f.chat.at(soc)
	wantPosts(t, got, 1)
	if got[0].edits != 0 {
		t.Errorf("edited %d times though nothing changed", got[0].edits)
	}
	if m := got[0].message.Mentions; len(m) != 1 || m[0].ID != "S0ONCALL" || !m[0].Group {
		t.Errorf("mentions = %v, want the group of the route", m)
	}
}

func TestAlert_changeEditsTheCard(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	a := f.alert("a1", nil)
	f.clock.add(16 * time.Second)
	f.settle()

	a.Status, a.AssignedTo, a.Updated = "InProgress", "riley@contoso.example", f.clock.now()
	f.defender.put(a)
	f.clock.add(16 * time.Second)
	f.settle()

	got := f.chat.at(soc)
	wantPosts(t, got, 1)
	if got[0].edits != 1 || !strings.Contains(fmt.Sprint(got[0].message.Facts), "riley@contoso.example") {
		t.Errorf("edits = %d, facts = %v; want one edit that names the person", got[0].edits, got[0].message.Facts)
	}
}

func TestAlert_changedThroughMdebotIsDrawnWithoutAPoll(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	a := f.alert("a1", nil)
	f.clock.add(16 * time.Second)
	f.settle()
	a.Status = "Resolved"
	if err := f.n.AlertChanged(t.Context(), a); err != nil {
		t.Fatalf("AlertChanged() = %v", err)
	}
	f.deliver()
	if got := f.chat.at(soc); got[0].edits != 1 {
		t.Errorf("edits = %d, want 1", got[0].edits)
	}
}

// Whoever acknowledges an alert sees it on the cards, whatever else is redrawn.
func TestAlert_changedThroughMdebotIsDrawnBeforeOthers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	a, others := f.alert("a", nil), []defender.Alert{f.alert("b", nil), f.alert("c", nil), f.alert("d", nil), f.alert("e", nil)}
	f.clock.add(16 * time.Second)
	f.settle()
	f.clock.add(16 * time.Second)
	for _, o := range others {
		o.Status, o.Updated = "InProgress", f.clock.now()
		f.defender.put(o)
	}
	f.poll()
	f.turns(f.n, soc) // as many edits as come without hurry
	a.Status = "InProgress"
	if err := f.n.AlertChanged(t.Context(), a); err != nil {
		t.Fatalf("AlertChanged() = %v", err)
	}
	f.turns(f.n, soc)
	own, rest := 0, 0
	for _, p := range f.chat.at(soc) {
		if strings.Contains(p.message.Title.String(), "thing a") {
			own += p.edits
		} else {
			rest += p.edits
		}
	}
	if own != 1 || rest != 3 {
		t.Errorf("%d edits of the alert that somebody changed and %d of others, want 1 and 3", own, rest)
	}
}

func TestAlert_thatBecomesVisibleHoursLateIsPosted(t *testing.T) {
	t.Parallel()
	for _, late := range []time.Duration{time.Minute, 5 * time.Hour, 48 * time.Hour} {
		t.Run(late.String(), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.settle()
			f.clock.add(72 * time.Hour)
			f.settle()
			f.alert("late", func(a *defender.Alert) {
				a.Created = f.clock.now().Add(-late)
				a.Updated = a.Created
			})
			f.clock.add(6*time.Hour + time.Minute) // every pass is due by then
			f.settle()
			wantPosts(t, f.chat.at(soc), 1)
		})
	}
}

func TestAlert_sameTimesAreAllPosted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	for i := range 5 {
		f.alert(fmt.Sprint("same", i), nil)
	}
	f.clock.add(16 * time.Second)
	f.settle()
	wantPosts(t, f.chat.at(soc), 5)
}

func TestFirstStart_remembersWhatIsOpenAndPostsOneSummary(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range 30 {
		f.alert(fmt.Sprint("old", i), func(a *defender.Alert) { a.Created = a.Created.Add(-24 * time.Hour) })
	}
	f.alert("fresh", func(a *defender.Alert) { a.Created = a.Created.Add(-5 * time.Minute) })
	f.settle()
	f.clock.add(7 * time.Hour)
	f.settle()
	got := f.chat.at(soc)
	wantPosts(t, got, 2)
	all := titles(got)
	if !strings.Contains(all, "fresh") || !strings.Contains(all, "watches this tenant from now on") {
		t.Errorf("posted:\n%swant the alert within look_back and one summary", all)
	}
}

func TestDowntime_isCaughtUpWithoutLossOrRepetition(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	f.alert("before", nil)
	f.clock.add(16 * time.Second)
	f.settle()
	for i := range 4 {
		f.clock.add(24 * time.Hour)
		f.alert(fmt.Sprint("away", i), nil)
	}
	f.clock.add(72 * time.Hour)
	f.n = f.replica()
	f.settle()
	wantPosts(t, f.chat.at(soc), 5)
}

func TestSeverity_raisedIsSaidInANewReply(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.defender.machines["m1"] = defender.Machine{ID: "m1", Name: "ws-042", Tags: []string{"finance"}}
	f.settle()
	a := f.alert("a1", func(a *defender.Alert) { a.Severity = defender.Medium })
	f.clock.add(16 * time.Second)
	f.settle()
	wantPosts(t, f.chat.at(fin), 1)
	wantPosts(t, f.chat.at(soc), 0)

	a.Severity, a.Updated = defender.High, f.clock.now()
	f.defender.put(a)
	for range 3 {
		f.clock.add(16 * time.Second)
		f.settle()
	}
	got := f.chat.at(fin)
	wantPosts(t, got, 2)
	if got[1].thread == "" || !strings.Contains(got[1].message.Title.String(), "Raised to High") {
		t.Errorf("second message %q in thread %q, want the raise as a reply", got[1].message.Title, got[1].thread)
	}
	wantPosts(t, f.chat.at(soc), 1) // now it matches that route too
}

func TestIncident_alertsShareAThread(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	for i := range 3 {
		f.alert(fmt.Sprint("a", i), func(a *defender.Alert) { a.IncidentID = 77 })
		f.clock.add(16 * time.Second)
		f.settle()
	}
	f.alert("other", nil)
	f.clock.add(16 * time.Second)
	f.settle()
	got := f.chat.at(soc)
	wantPosts(t, got, 4)
	if got[0].thread != "" || got[1].thread == "" || got[2].thread != got[1].thread || got[3].thread != "" {
		t.Errorf("threads = %q %q %q %q, want the second and third under the first", got[0].thread, got[1].thread, got[2].thread, got[3].thread)
	}
	if facts := fmt.Sprint(got[0].message.Facts); !strings.Contains(facts, "3 alerts, 3 open: 3 High; the others are in this thread") {
		t.Errorf("head shows %s, want the count of its thread", facts)
	}
}

func TestRoutes_machineThatCannotBeReadCountsAsMatching(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	f.alert("a1", func(a *defender.Alert) { a.Severity = defender.Low })
	f.clock.add(16 * time.Second)
	f.settle()
	wantPosts(t, f.chat.at(fin), 1)
}

func TestPost_withAnswerLost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		forgets bool
		want    int
	}{
		"is found and not repeated":                       {forgets: false, want: 1},
		"is repeated once where the platform cannot tell": {forgets: true, want: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.chat.forgets = c.forgets
			f.settle()
			lost := false
			f.chat.lose = func(to chat.Destination) error {
				if lost || to != soc {
					return nil
				}
				lost = true
				return chat.ErrUnclear
			}
			f.alert("a1", nil)
			f.clock.add(16 * time.Second)
			f.settle()
			f.clock.add(time.Minute)
			f.deliver()
			wantPosts(t, f.chat.at(soc), c.want)
		})
	}
}

func TestCrash_betweenPostAndRecordIsFoundAndNotRepeated(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	f.alert("a1", nil)
	f.clock.add(16 * time.Second)
	f.poll()
	// The process dies after the platform took the post: the try is noted, the
	// outcome is not.
	c, ok, err := f.n.nextDue(t.Context(), soc, ``)
	if err != nil || !ok {
		t.Fatalf("nextDue() = %v, %v", ok, err)
	}
	l, err := f.n.lease(t.Context(), soc)
	if err != nil || l == nil {
		t.Fatalf("lease() = %v, %v", l, err)
	}
	if ready, _, err := f.n.begin(t.Context(), &c, l); err != nil || !ready {
		t.Fatalf("begin() = %v, %v", ready, err)
	}
	drawn, err := f.n.draw(t.Context(), c)
	if err != nil {
		t.Fatalf("draw() = %v", err)
	}
	if _, err := f.chat.Post(t.Context(), chat.Post{To: soc, Message: drawn.message, Delivery: c.id}); err != nil {
		t.Fatal(err)
	}
	f.n = f.replica()
	f.deliver()
	wantPosts(t, f.chat.at(soc), 1)
}

func TestPost_deletedByAPersonIsPostedAgainOnTheNextChange(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	a := f.alert("a1", nil)
	f.clock.add(16 * time.Second)
	f.settle()
	f.chat.posts[0].gone = true
	a.Status = "InProgress"
	if err := f.n.AlertChanged(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	f.deliver()
	wantPosts(t, f.chat.at(soc), 1)
}

func TestDestination_thatCannotBeReachedUsesTheFallbackAndRaisesAnAlarm(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	unreachable := true
	f.chat.fail = func(to chat.Destination, _ bool) error {
		if to == soc && unreachable {
			return chat.ErrNotThere
		}
		return nil
	}
	f.alert("a1", nil)
	f.clock.add(16 * time.Second)
	f.settle()
	wantPosts(t, f.chat.at(back), 1)
	wantPosts(t, f.chat.at(ops), 1)

	unreachable = false
	f.clock.add(11 * time.Minute)
	f.deliver()
	wantPosts(t, f.chat.at(soc), 1) // nothing was dropped
	wantPosts(t, f.chat.at(back), 1)
}

// After an outage everything is posted as it should be, soon, and with its buttons:
// a request card without them cannot be decided on.
func TestOutage_isOverWithinAMinuteAndLeavesMessagesWhole(t *testing.T) {
	t.Parallel()
	for _, lasts := range []time.Duration{10 * time.Second, 10 * time.Minute, 24 * time.Hour} {
		t.Run(lasts.String(), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.settle()
			down := true
			f.chat.fail = func(chat.Destination, bool) error {
				if down {
					return errors.New("the platform answered status 503")
				}
				return nil
			}
			f.alert("a1", nil)
			f.alert("a2", nil)
			f.clock.add(16 * time.Second)
			f.poll()
			run := func(d time.Duration) {
				for end := f.clock.now().Add(d); f.clock.now().Before(end); f.clock.add(max(time.Second, d/600)) {
					if _, err := f.n.step(t.Context(), soc); err != nil {
						t.Fatal(err)
					}
				}
			}
			run(lasts)
			down = false
			run(time.Minute)
			got := f.chat.at(soc)
			wantPosts(t, got, 2)
			for _, m := range got {
				if len(m.message.Facts) == 0 || len(m.message.Buttons) == 0 {
					t.Errorf("after the outage %v has no facts or no buttons", m.message.Title)
				}
			}
		})
	}
}

// What fails while others go through is sent in its shortest form.
func TestPoison_messageIsReducedAndDelaysNoOther(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		cause error
		tries int
	}{
		{"refused for its form", fmt.Errorf("post: %w", chat.ErrTooBig), 1},
		{"the platform fails on it", errors.New("the platform answered status 500"), 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.settle()
			tries := 0
			f.chat.poison = func(m chat.Message) error {
				if strings.Contains(fmt.Sprint(m.Title), "poison") && len(m.Facts) > 0 {
					tries++
					return c.cause
				}
				return nil
			}
			f.alert("poison", nil)
			for i := range 4 {
				f.alert(fmt.Sprint("good", i), nil)
				f.clock.add(16 * time.Second)
				f.poll()
				f.deliver()
			}
			f.clock.add(time.Minute)
			f.deliver()
			got := f.chat.at(soc)
			wantPosts(t, got, 5)
			if all := titles(got); !strings.Contains(all, "poison") {
				t.Errorf("posted:\n%swant the poisoned one among them", all)
			}
			if tries > 2*c.tries { // it goes to two channels
				t.Errorf("tried %d times in full, want at most %d in each channel", tries, c.tries)
			}
		})
	}
}

func TestThrottled_destinationWaitsAndLosesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	refused := 0
	f.chat.fail = func(chat.Destination, bool) error {
		if refused < 3 {
			refused++
			return &chat.ThrottledError{RetryAfter: 30 * time.Second}
		}
		return nil
	}
	f.alert("a1", nil)
	f.alert("a2", nil)
	f.clock.add(16 * time.Second)
	f.settle()
	for range 10 {
		f.clock.add(31 * time.Second)
		f.deliver()
	}
	wantPosts(t, f.chat.at(soc), 2)
	if refused != 3 {
		t.Errorf("asked %d times while throttled, want 3", refused)
	}
}

func TestOrder_decisionsThenAlertsBySeverityThenEdits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.defender.machines["m1"] = defender.Machine{ID: "m1", Name: "ws-042", Tags: []string{"finance"}}
	f.settle()
	old := f.alert("posted", nil)
	f.clock.add(16 * time.Second)
	f.settle()

	old.Status, old.Updated = "InProgress", f.clock.now()
	f.defender.put(old)
	f.alert("low", func(a *defender.Alert) { a.Severity = defender.Low })
	f.alert("high", nil)
	f.clock.add(16 * time.Second)
	f.poll()
	f.requests.all["r1"] = approvals.Request{ID: "r1", Number: 1, Tenant: contoso, State: approvals.Pending, Action: approvals.Isolate}
	f.inTx(func(tx durable.Tx) error {
		err := f.n.want(t.Context(), tx, want{tenant: contoso, subject: SubjectRequest, subjectID: "r1", destination: fin, class: classDecision})
		return err
	})
	f.deliver()
	got := titles(f.chat.at(fin)[1:])
	order := []string{"Request #1", "High alert", "Low alert"}
	at := -1
	for _, want := range order {
		i := strings.Index(got, want)
		if i <= at {
			t.Fatalf("order is\n%swant %v", got, order)
		}
		at = i
	}
}

// Slack takes fifty edits a minute for the whole workspace. A new request must not
// wait until the cards of all earlier ones have been redrawn.
func TestOrder_newRequestDoesNotWaitForEditsOfOthers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	ask := func(id string, d chat.Destination) {
		f.requests.all[id] = approvals.Request{ID: id, Number: 1, Tenant: contoso, State: approvals.Pending, Action: approvals.Isolate}
		f.inTx(func(tx durable.Tx) error {
			err := f.n.want(t.Context(), tx, want{tenant: contoso, subject: SubjectRequest, subjectID: id, destination: d, class: classDecision})
			return err
		})
	}
	const earlier = 60
	for i := range earlier {
		ask(fmt.Sprintf("old%02d", i), soc)
	}
	f.deliver()
	for i := range earlier {
		ask(fmt.Sprintf("old%02d", i), soc) // again: the card is to be redrawn
	}
	ask("new", soc)
	for range 5 {
		if _, err := f.n.step(t.Context(), soc); err != nil {
			t.Fatal(err)
		}
		f.clock.add(500 * time.Millisecond)
	}
	if got := len(f.chat.at(soc)); got != earlier+1 {
		t.Errorf("%d request cards stand after five turns, want %d: the new one waits for edits", got, earlier+1)
	}
	f.deliver()
	edits := 0
	for _, p := range f.chat.at(soc) {
		edits += p.edits
	}
	if edits != earlier {
		t.Errorf("%d edits in the end, want %d", edits, earlier)
	}
}

func parsed(t *testing.T, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("mdebot.yaml", []byte(text), policy.Options{HomeTenant: string(contoso)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// everythingYAML has one route and the usual threshold, and asks about no machine.
const everythingYAML = `
approvals:
  post_to: [slack:C0APPROVE]
notify:
  ops: slack:C0OPS
  fallback: slack:C0BACK
  routes:
    - name: everything
      to: [slack:C0SOC]
  storm: { more_than: 20, within: 1m }
`

// The worst minute: 2,000 alerts are at most thirty posts in any, and all are named
// within ten, and in a file. Those on machines that matter most have posts of their
// own, as far as that goes, and are named within a minute.
func TestStorm_ofTwoThousandAlertsInAMinute(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		f := newFixture(t)
		f.db = open(t)
		f.n = f.replica()
		worstMinute(t, f)
	})
}

func worstMinute(t *testing.T, f *fixture) {
	t.Helper()
	f.n.policy.Set(parsed(t, everythingYAML))
	f.defender.machines["dc"] = defender.Machine{ID: "dc", Name: "dc-01", Tags: []string{"tier0"}}
	f.defender.machines["erp"] = defender.Machine{ID: "erp", Name: "erp-01", Value: "High"}
	f.defender.machines["m1"] = defender.Machine{ID: "m1", Name: "ws-042", Value: "Normal"}
	f.settle()
	severities := []defender.Severity{defender.High, defender.Medium, defender.Low, defender.Informational}
	began := f.clock.now()
	var at []time.Duration // when each post was made
	own := map[string]bool{}
	for second := range 600 {
		if second < 60 && second%15 == 0 {
			for i := range 500 {
				id := fmt.Sprintf("s%d%03d", second/15, i)
				f.alert(id, func(a *defender.Alert) {
					a.Techniques, a.Severity = []string{"T1486"}, severities[i%4]
					if i%40 == 0 {
						a.ID = "c" + id[1:]
						a.MachineID, a.Title = []string{"dc", "erp"}[i/40%2], "Critical thing "+a.ID
					}
				})
			}
			f.poll()
		}
		if second%2 == 0 {
			if err := f.n.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			if _, err := f.n.step(t.Context(), soc); err != nil {
				t.Fatal(err)
			}
		}
		posts := f.chat.at(soc)
		for len(at) < len(posts) {
			if title := posts[len(at)].message.Title.String(); strings.Contains(title, "Critical thing") {
				own[title] = true
			}
			at = append(at, f.clock.now().Sub(began))
		}
		if second == 75 {
			text := fmt.Sprint(posts)
			for poll := range 4 {
				for i := 0; i < 500; i += 40 {
					if id := fmt.Sprintf("c%d%03d", poll, i); !strings.Contains(text, id) {
						t.Errorf("critical alert %s is named nowhere after %d seconds", id, second)
					}
				}
			}
			if len(own) < 8 {
				t.Errorf("%d critical alerts have a post of their own, want what the budget leaves in the first minute", len(own))
			}
		}
		f.clock.add(time.Second)
	}
	for i := range max(0, len(at)-30) {
		if within := at[i+30] - at[i]; within < time.Minute {
			t.Fatalf("31 posts within %s, from %s on, want at most thirty in a minute", within, at[i])
		}
	}
	text := fmt.Sprint(f.chat.at(soc))
	for poll := range 4 {
		for i := range 500 {
			if id := fmt.Sprintf("%d%03d", poll, i); !strings.Contains(text, "s"+id) && !strings.Contains(text, "c"+id) {
				t.Fatalf("alert %s is named nowhere after ten minutes and %d posts", id, len(at))
			}
		}
	}
	if !strings.Contains(text, "T1486") {
		t.Error("the head does not count by technique")
	}
	posts := f.chat.at(soc)
	file := posts[len(posts)-1].message.Files
	if len(file) != 1 || strings.Count(string(file[0].Content), "\n") < 1_900 {
		t.Errorf("the storm ends with %q and %d files, want one with the alerts it counted", posts[len(posts)-1].message.Title, len(file))
	}
	t.Logf("%d posts, %d of critical alerts, the last after %s", len(at), len(own), at[len(at)-1])
}

func TestStorm_isCountedInOneMessageAndNamedInPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	for i := range 200 {
		f.alert(fmt.Sprintf("s%03d", i), nil)
	}
	f.clock.add(16 * time.Second)
	f.poll()
	if err := f.n.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.deliver()
	f.clock.add(2 * time.Minute)
	if err := f.n.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.deliver()

	got := f.chat.at(soc)
	wantPosts(t, got, 5+1+8+1) // single ones, the head, pages of 25 and one of 20, the file
	text := fmt.Sprint(got)
	for i := range 200 {
		if id := fmt.Sprintf("s%03d", i); !strings.Contains(text, id) {
			t.Fatalf("alert %s is named nowhere", id)
		}
	}
	if all := titles(got); !strings.Contains(all, "Alert storm is over: 195 alerts") {
		t.Errorf("posted:\n%swant a head that says the storm is over", all)
	}
}

// A storm that goes on with few alerts holds them all the same, and which machine one
// of them is on matters as much as in its first minute.
func TestStorm_criticalAlertsHaveAPostOfTheirOwnAlsoWhileFewCome(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.n.policy.Set(parsed(t, everythingYAML))
	f.defender.machines["dc"] = defender.Machine{ID: "dc", Name: "dc-01", Tags: []string{"tier0"}}
	f.settle()
	for i := range 60 {
		f.alert(fmt.Sprintf("s%03d", i), nil)
	}
	f.clock.add(16 * time.Second)
	f.settle()
	for i := range 4 {
		f.clock.add(40 * time.Second)
		f.alert(fmt.Sprintf("late%d", i), nil)
		f.settle()
	}
	f.clock.add(40 * time.Second)
	f.alert("critical", func(a *defender.Alert) {
		a.MachineID, a.Severity, a.Title = "dc", defender.High, "Credentials of the domain are read"
	})
	f.settle()
	got := titles(f.chat.at(soc))
	if strings.Contains(got, "late3") || strings.Contains(got, "Alert storm is over") {
		t.Fatalf("posted:\n%swant a storm that goes on", got)
	}
	if !strings.Contains(got, "Credentials of the domain are read") {
		t.Errorf("posted:\n%swant the critical alert by itself", got)
	}
}

// A flood on a machine of high value is critical itself, and takes nothing from what is
// on tier 0 at the same moment.
func TestStorm_floodOfCriticalAlertsLeavesRoomForTierZero(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.n.policy.Set(parsed(t, everythingYAML))
	f.defender.machines["dc"] = defender.Machine{ID: "dc", Name: "dc-01", Tags: []string{"tier0"}}
	f.defender.machines["erp"] = defender.Machine{ID: "erp", Name: "erp-01", Value: "High"}
	f.settle()
	for i := range 60 {
		f.alert(fmt.Sprintf("s%03d", i), func(a *defender.Alert) { a.MachineID = "erp" })
	}
	f.alert("critical", func(a *defender.Alert) {
		a.MachineID, a.Severity, a.Title = "dc", defender.High, "Credentials of the domain are read"
	})
	f.clock.add(16 * time.Second)
	f.settle()
	if got := titles(f.chat.at(soc)); !strings.Contains(got, "Credentials of the domain are read") {
		t.Errorf("posted:\n%swant the alert on tier 0 by itself", got)
	}
}

func TestBlindness_isAnnouncedOnceAndSoIsRecovery(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	f.defender.down = defender.ErrUnavailable
	for range 12 {
		f.clock.add(time.Minute)
		_ = f.n.PollOnce(t.Context(), contoso) // the failure itself is expected
	}
	f.deliver()
	got := f.chat.at(soc)
	wantPosts(t, got, 1)
	wantPosts(t, f.chat.at(ops), 1)
	if !strings.Contains(got[0].message.Title.String(), "Blind") {
		t.Fatalf("posted %q, want the blindness", got[0].message.Title)
	}
	f.defender.down = nil
	f.alert("meanwhile", func(a *defender.Alert) {
		a.Created = a.Created.Add(-10 * time.Minute)
		a.Updated = a.Created
	})
	f.clock.add(time.Minute)
	f.settle()
	all := titles(f.chat.at(soc))
	if !strings.Contains(all, "Alerts are read again") || !strings.Contains(all, "meanwhile") {
		t.Errorf("posted:\n%swant the recovery and what came in between", all)
	}
}

// A success without alerts is what a broken import answers, too (threat-model N-06).
func TestBlindness_emptyListsWhereAlertsAreKnown(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	f.alert("a1", nil)
	f.clock.add(time.Minute)
	f.settle()
	f.clock.add(emptyDoubt)
	f.settle()
	wantPosts(t, f.chat.at(soc), 1)

	f.defender.mu.Lock()
	all := f.defender.alerts
	f.defender.alerts = nil
	f.defender.mu.Unlock()
	poll := func(d time.Duration) {
		for end := f.clock.now().Add(d); f.clock.now().Before(end); f.clock.add(20 * time.Second) {
			_ = f.n.PollOnce(t.Context(), contoso) // the doubt itself is expected
		}
		f.deliver()
	}
	poll(6 * time.Minute)
	if got := titles(f.chat.at(soc)); strings.Count(got, "Blind") != 1 {
		t.Fatalf("posted:\n%swant blindness, once", got)
	}
	if h, err := f.n.Health(t.Context(), contoso); err != nil || !h.Blind || h.Problem != errEmptied.Error() || h.LastAlert.IsZero() {
		t.Errorf("Health() = %+v, %v, want the reason", h, err)
	}
	f.defender.mu.Lock()
	f.defender.alerts = all
	f.defender.mu.Unlock()
	f.alert("meanwhile", func(a *defender.Alert) {
		a.Created = a.Created.Add(-3 * time.Minute)
		a.Updated = a.Created
	})
	poll(time.Minute)
	if got := titles(f.chat.at(soc)); !strings.Contains(got, "Alerts are read again") || !strings.Contains(got, "meanwhile") {
		t.Errorf("posted:\n%swant the recovery and what came in between", got)
	}
}

// A tenant in which nothing happens is quiet, not broken.
func TestBlindness_quietTenantIsBelieved(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	f.alert("a1", nil)
	f.clock.add(time.Minute)
	f.settle()
	for range 12 { // the one alert is out of every look but the longest, which lists it
		f.clock.add(time.Hour)
		f.settle()
	}
	if got := titles(f.chat.at(soc)); strings.Contains(got, "Blind") {
		t.Errorf("posted:\n%swant no blindness", got)
	}
}

func TestPoller_oneReplicaAtATime(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	f.settle() // every pass has run
	f.clock.add(16 * time.Second)
	asked := len(f.defender.asked)
	other := f.replica()
	if _, l, err := other.claimPass(t.Context(), contoso, passes[0], f.clock.now()); err != nil || l == nil {
		t.Fatalf("claimPass() = %v, %v", l, err)
	}
	f.poll()
	if got := len(f.defender.asked) - asked; got != 0 {
		t.Errorf("read %d times while another replica has the pass", got)
	}
	f.clock.add(leaseTime + time.Second) // the other one died
	f.poll()
	if got := len(f.defender.asked) - asked; got == 0 {
		t.Error("the pass of a dead replica was not taken over")
	}
}

func pending(id string) approvals.Request {
	return approvals.Request{
		ID: id, Number: 7, Tenant: contoso, Action: approvals.Isolate, State: approvals.Pending,
		Requester: identity.PersonID{Tenant: string(contoso), Object: "8a1f0000-0000-4000-8000-000000000001"}, RequesterName: "Riley Chen",
		RequesterAs: identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: "U0RILEY"},
		Origin:      string(soc), Reason: "beaconing", Rule: policy.Applied{Name: "any", Approvers: 1},
		Targets: []approvals.Target{{Kind: approvals.TargetMachine, ID: "m1", Name: "ws-042"}},
	}
}

func (f *fixture) changed(r approvals.Request, c approvals.Change) {
	f.Helper()
	f.requests.mu.Lock()
	f.requests.all[r.ID] = r
	f.requests.mu.Unlock()
	f.inTx(func(tx durable.Tx) error { return f.n.RequestChanged(f.Context(), tx, r, c) })
}

func TestRequest_isShownWhereAskedToApproversAndFollowsItsState(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := pending("r1")
	f.changed(r, approvals.ChangeOpened)
	f.deliver()
	avery := chat.Destination("slack:@T0SOC/U0AVERY")
	for _, d := range []chat.Destination{soc, "slack:C0APPROVE", avery} {
		wantPosts(t, f.chat.at(d), 1)
	}
	wantPosts(t, f.chat.at("slack:@T0SOC/U0RILEY"), 0) // the requester cannot approve

	r.State, r.Why = approvals.Denied, "not today"
	f.changed(r, approvals.ChangeResolved)
	f.deliver()
	got := f.chat.at(soc)
	wantPosts(t, got, 2)
	if got[0].edits != 1 || len(got[0].message.Buttons) != 0 {
		t.Errorf("card: %d edits, buttons %v; want one edit and no vote buttons", got[0].edits, got[0].message.Buttons)
	}
	if m := got[1].message.Mentions; len(m) != 1 || m[0].ID != "U0RILEY" || got[1].thread == "" {
		t.Errorf("reply mentions %v in thread %q, want the requester under the card", m, got[1].thread)
	}
	if direct := f.chat.at(avery); direct[0].edits != 1 {
		t.Errorf("the approver's copy has %d edits, want 1", direct[0].edits)
	}
}

// An approver is not worn down by direct messages; the channel shows every request.
func TestRequest_approversAreAskedSoOftenInAnHourAndNoMore(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	avery := chat.Destination("slack:@T0SOC/U0AVERY")
	for i := range promptsPerHour + 3 {
		f.changed(pending(fmt.Sprint("r", i)), approvals.ChangeOpened)
	}
	f.deliver()
	wantPosts(t, f.chat.at("slack:C0APPROVE"), promptsPerHour+3)
	wantPosts(t, f.chat.at(avery), promptsPerHour)
	f.clock.add(time.Hour)
	f.changed(pending("later"), approvals.ChangeOpened)
	f.deliver()
	wantPosts(t, f.chat.at(avery), promptsPerHour+1)
}

func TestRequest_thatReachesNoApproverIsToldToTheRequester(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.chat.fail = func(to chat.Destination, _ bool) error {
		if to == "slack:C0APPROVE" || to == "slack:@T0SOC/U0AVERY" {
			return chat.ErrNotThere
		}
		return nil
	}
	f.changed(pending("r1"), approvals.ChangeOpened)
	f.deliver()
	f.clock.add(unreachedAfter)
	for range 3 {
		if err := f.n.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.deliver()
	}
	got := f.chat.at("slack:@T0SOC/U0RILEY")
	wantPosts(t, got, 1)
	if !strings.Contains(got[0].message.Title.String(), "No approver could be reached for #7") {
		t.Errorf("told %q", got[0].message.Title)
	}
}

func TestReminder_thatComesLateIsNotSent(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := pending("r1")
	f.changed(r, approvals.ChangeOpened)
	f.deliver()
	f.changed(r, approvals.ChangeReminder5)
	r.State = approvals.Approved
	f.changed(r, approvals.ChangeApproved)
	f.deliver()
	wantPosts(t, f.chat.at("slack:C0APPROVE"), 1)
}

func TestSubjectOf_threadOfACard(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	f.alert("a1", nil)
	f.clock.add(16 * time.Second)
	f.settle()
	in := f.chat.ref(0).Conversation
	in.Thread = f.chat.ref(0).MessageID
	if _, s, id, ok, err := f.n.SubjectOf(t.Context(), in); err != nil || !ok || s != SubjectAlert || id != "a1" {
		t.Errorf("SubjectOf(thread) = %v %q %v %v, want the alert", s, id, ok, err)
	}
	in.Thread = "99.000"
	if _, _, _, ok, err := f.n.SubjectOf(t.Context(), in); err != nil || ok {
		t.Errorf("SubjectOf(other thread) = %v, %v, want nothing", ok, err)
	}
}

func TestDeliver_oneReplicaSendsToADestination(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	f.alert("a1", nil)
	f.clock.add(16 * time.Second)
	f.poll()
	other := f.replica()
	if l, err := other.lease(t.Context(), soc); err != nil || l == nil {
		t.Fatalf("lease() = %v, %v", l, err)
	}
	if err := f.n.Deliver(t.Context(), durable.Job{ID: string(soc)}); err != nil {
		t.Fatalf("Deliver() = %v", err)
	}
	wantPosts(t, f.chat.at(soc), 0)
	f.clock.add(leaseTime + time.Second)
	if err := f.n.Deliver(t.Context(), durable.Job{ID: string(soc)}); err != nil {
		t.Fatalf("Deliver() = %v", err)
	}
	wantPosts(t, f.chat.at(soc), 1)
}

// A process that was stopped between taking a card and sending it must not send
// what another one has sent meanwhile.
func TestDeliver_pausedReplicaSendsNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	f.alert("a1", nil)
	f.clock.add(16 * time.Second)
	f.poll()
	paused, err := f.n.lease(t.Context(), soc)
	if err != nil || paused == nil {
		t.Fatalf("lease() = %v, %v", paused, err)
	}
	paused.mark()
	c, ok, err := f.n.nextDue(t.Context(), soc, ``)
	if err != nil || !ok {
		t.Fatalf("nextDue() = %v, %v", ok, err)
	}
	if ready, _, err := f.n.begin(t.Context(), &c, paused); err != nil || !ready {
		t.Fatalf("begin() = %v, %v", ready, err)
	}
	f.clock.add(leaseTime + time.Second)
	f.deliver() // by another replica
	wantPosts(t, f.chat.at(soc), 1)

	paused.renewed = paused.renewed.Add(-leaseTime) // as its own clock has it when it wakes up
	if err := f.n.send(t.Context(), c, paused); !errors.Is(err, errLeaseLost) {
		t.Errorf("send() after the pause = %v, want %v", err, errLeaseLost)
	}
	if _, _, err := f.n.begin(t.Context(), &c, paused); !errors.Is(err, errLeaseLost) {
		t.Errorf("begin() after the pause = %v, want %v", err, errLeaseLost)
	}
	wantPosts(t, f.chat.at(soc), 1)
}

func TestPoller_unreadableAlertIsNamedAndDelaysNoOther(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	f.defender.unreadable = &defender.RecordError{Op: "list alerts", ID: "da-poison"}
	f.alert("a1", nil)
	for range 3 {
		f.clock.add(16 * time.Second)
		f.settle()
	}
	got := f.chat.at(soc)
	wantPosts(t, got, 2)
	if all := titles(got); !strings.Contains(all, "cannot be read") || !strings.Contains(all, "a1") {
		t.Errorf("posted:\n%swant the alert, and a word about the other one", all)
	}
}

// A flood of alerts must leave the quota to those who act on it.
func TestPoller_floodCostsFewCallsBesideTheList(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	for i := range 1000 {
		id := fmt.Sprintf("m%03d", i%300)
		f.defender.machines[id] = defender.Machine{ID: id, Name: "ws-" + id}
		f.alert(fmt.Sprintf("f%04d", i), func(a *defender.Alert) { a.MachineID = id })
	}
	f.clock.add(16 * time.Second)
	f.poll()
	if f.defender.evidence > evidenceMost/evidenceBatch*2 || f.defender.single > 0 || f.defender.listed > len(passes) {
		t.Errorf("%d calls for evidence, %d for single machines, %d for all machines; want a handful in all",
			f.defender.evidence, f.defender.single, f.defender.listed)
	}
}
