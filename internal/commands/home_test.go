package commands

import (
	"context"
	"fmt"
	"iter"
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
	page, allowed := w.Home(t.Context(), riley, true, "0")
	if !allowed {
		t.Fatal("Riley has no page")
	}
	mustSay(t, "the page", page[len(page)-1], "Low one")
	first := all.calls.Load()
	for i := range 20 {
		w.clock = w.clock.Add(2 * time.Second)
		page, _ = w.Home(t.Context(), riley, false, fmt.Sprint(i+1))
	}
	if n := all.calls.Load() - first; n != 0 {
		t.Errorf("Defender was asked %d times for 20 changes of requests, want none", n)
	}
	mustSay(t, "the page later", page[len(page)-1], "Low one")

	// Whoever opens it reads what is there now.
	w.estate.alerts[1].Title = "Another one"
	page, _ = w.Home(t.Context(), riley, true, "21")
	mustSay(t, "opened again", page[len(page)-1], "Another one")

	// Another scope shows nothing of the one before.
	w.Policy.Set(newWorld(t).Policy.Current())
	w.estate.alerts[1].Title = "All of them"
	page, _ = w.Home(t.Context(), riley, false, "22")
	mustSay(t, "without a scope", page[len(page)-1], "All of them", "PowerShell")
}

// Everybody in the workspace may open it as often as they like, also those who are
// refused: what is shown then is as much as Slack takes from all of them.
func TestHome_openedVeryOftenIsNotShownEachTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var shown []chat.Page
	for range 200 {
		if page, allowed := w.Home(t.Context(), guest, true, "0"); len(page) > 0 {
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
	if page, _ := w.Home(t.Context(), guest, true, "0"); len(page) == 0 {
		t.Error("a minute later it is not shown again")
	}
}
