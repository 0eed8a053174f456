package commands

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// counted is Defender, and how often it was asked.
type counted struct {
	Defender
	calls atomic.Int64
}

func (c *counted) Machine(ctx context.Context, id string) (defender.Machine, error) {
	c.calls.Add(1)
	return c.Defender.Machine(ctx, id)
}

func (c *counted) Alerts(ctx context.Context, f defender.AlertFilter) iter.Seq2[defender.Alert, error] {
	c.calls.Add(1)
	return c.Defender.Alerts(ctx, f)
}

func (c *counted) MachineActions(ctx context.Context, f defender.ActionFilter) iter.Seq2[defender.MachineAction, error] {
	c.calls.Add(1)
	return c.Defender.MachineActions(ctx, f)
}

// What is drawn anew because requests change uses up nothing of what people ask with,
// also for those who may see some machines, each of which is a call.
func TestHome_ofAScopeFollowsRequestsWithoutAskingDefender(t *testing.T) {
	t.Parallel()
	w := newScopedWorld(t)
	w.estate.alerts[1].Severity = defender.High // of the machine inside
	all := &counted{Defender: w.Defender}
	w.Defender = all
	page, allowed := w.Home(t.Context(), riley, true)
	if !allowed {
		t.Fatal("Riley has no page")
	}
	mustSay(t, "the page", page[len(page)-1], "Low one")
	for range 3 {
		w.says(t, riley, "isolate ws-043 beaconing")
		w.says(t, riley, "freeze something is wrong")
		w.clock = w.clock.Add(20 * time.Second)
		first := all.calls.Load()
		page, _ = w.Home(t.Context(), riley, false)
		if n := all.calls.Load() - first; n != 0 {
			t.Errorf("Defender was asked %d times after a change of requests, want none", n)
		}
	}
	mustSay(t, "the page later", page[len(page)-1], "Low one")

	// Whoever opens it reads what is there now.
	w.estate.alerts[1].Title = "Another one"
	page, _ = w.Home(t.Context(), riley, true)
	mustSay(t, "opened again", page[len(page)-1], "Another one")

	// Another scope shows nothing of the one before.
	w.Policy.Set(newWorld(t).Policy.Current())
	w.estate.alerts[1].Title = "All of them"
	page, _ = w.Home(t.Context(), riley, false)
	mustSay(t, "without a scope", page[len(page)-1], "All of them", "PowerShell")
}

// What changes in one tenant costs no call of another one: pages are drawn anew for
// the requests of all of them.
func TestHome_readsATenantAnewForItsOwnRequestsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := &counted{Defender: w.Defender}
	w.Defender = all
	w.Home(t.Context(), riley, true)
	first := all.calls.Load()
	for range 20 {
		w.clock = w.clock.Add(2 * time.Second)
		w.Home(t.Context(), riley, false)
	}
	if n := all.calls.Load() - first; n != 0 {
		t.Errorf("Defender was asked %d times for 20 changes elsewhere, want none", n)
	}
	w.says(t, riley, "isolate ws-042 beaconing")
	first = all.calls.Load()
	w.Home(t.Context(), riley, false)
	if n := all.calls.Load() - first; n == 0 {
		t.Error("Defender was not asked after a request of the tenant")
	}
}

// Everybody in the workspace may open it as often as they like, also those who are
// refused: what is shown then is as much as Slack takes from all of them.
func TestHome_openedVeryOftenIsNotShownEachTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var shown []chat.Page
	for range 200 {
		if page, allowed := w.Home(t.Context(), guest, true); len(page) > 0 {
			shown = append(shown, page)
			if allowed {
				t.Fatal("a guest has a page")
			}
		}
	}
	if n := len(shown); n == 0 || n > 40 {
		t.Errorf("the page of a guest is shown %d times in a minute", n)
	}
	w.clock = w.clock.Add(time.Minute)
	if page, _ := w.Home(t.Context(), guest, true); len(page) == 0 {
		t.Error("a minute later it is not shown again")
	}
}

// A page that somebody has open in Teams asks every minute. However many have one, they
// ask Defender no more often than that, and those with a scope ask it as seldom as ever.
func TestHome_thatIsOpenSharesWhatDefenderSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		w     *world
		fresh bool
	}{{"all machines", newWorld(t), true}, {"a scope", newScopedWorld(t), false}} {
		all := &counted{Defender: c.w.Defender}
		c.w.Defender = all
		ask := func() int64 {
			before := all.calls.Load()
			for range 20 {
				if page, allowed := c.w.Home(t.Context(), rileyInTeams, false); !allowed || len(page) < 3 {
					t.Fatalf("%s: Riley's page in Teams is %v", c.name, page)
				}
			}
			return all.calls.Load() - before
		}
		if first := ask(); first == 0 {
			t.Fatalf("%s: Defender is not asked at all", c.name)
		}
		c.w.clock = c.w.clock.Add(homeLiveAge - time.Second)
		if n := ask(); n != 0 {
			t.Errorf("%s: Defender is asked %d times within a minute", c.name, n)
		}
		c.w.clock = c.w.clock.Add(2 * time.Second)
		if n := ask(); c.fresh != (n > 0) || n > 3 {
			t.Errorf("%s: Defender is asked %d times by 20 after a minute", c.name, n)
		}
	}
}

// What a page leaves out it says: nobody may take three tenants for all of theirs.
func TestHome_saysOfHowManyTenantsItShowsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"contoso", "fabrikam", "adatum", "litware", "tailspin"} {
		w.Tenants = append(w.Tenants, Tenant{ID: thisTenant, Name: name, Defender: w.estate, Hunter: w.estate, Background: w.estate})
	}
	page, _ := w.Home(t.Context(), riley, true)
	if got := fmt.Sprint(page[0].Facts); !strings.Contains(got, "alerts of 2 more tenants") {
		t.Errorf("the page begins with %s, want that two tenants are left out", got)
	}
	w.Tenants = w.Tenants[:3]
	page, _ = w.Home(t.Context(), riley, true)
	if got := fmt.Sprint(page[0].Facts); strings.Contains(got, "more tenant") {
		t.Errorf("the page of three tenants begins with %s, want nothing left out", got)
	}
}
