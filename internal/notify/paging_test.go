package notify

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/pager"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

// fakePager keeps what it was told.
type fakePager struct {
	mu   sync.Mutex
	told []string
}

func (p *fakePager) Send(_ context.Context, address string, e pager.Event) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	what := "trigger " + e.Summary
	if e.Over {
		what = "resolve"
	}
	p.told = append(p.told, fmt.Sprintf("%s %s %s", address, e.Key, what))
	return nil
}

func (p *fakePager) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.told)
}

// Two replicas on either database wake somebody once, for a request and for
// alerts, and say once that it is over.
func TestPaging_onceForTwoReplicas(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		f := newFixture(t)
		f.db = open(t)
		waking := &fakePager{}
		paging := func() *Notifier {
			n := f.replica()
			pol, err := policy.Parse("mdebot.yaml", []byte(routesYAML+"  page: https://events.example.com/v2/enqueue\n"), policy.Options{HomeTenant: string(contoso)})
			if err != nil {
				t.Fatal(err)
			}
			n.pager, n.policy = waking, policy.NewSource(pol)
			return n
		}
		f.n = paging()
		other := paging()
		f.poll()
		f.deliver()

		// An alert that both platforms refuse, the fallback too.
		f.chat.fail = func(chat.Destination, bool) error { return fmt.Errorf("down: %w", chat.ErrNotThere) }
		f.defender.put(f.alert("stuck", func(a *defender.Alert) { a.Severity = defender.High }))
		f.clock.add(16 * time.Second)
		f.poll()
		f.deliver()
		sweep := func() {
			t.Helper()
			for _, n := range []*Notifier{f.n, other} {
				if err := n.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			f.deliver()
		}
		sweep()
		if n := waking.count(); n != 0 {
			t.Fatalf("told %v before two minutes are over", waking.told)
		}
		f.clock.add(undeliveredAfter + time.Second)
		sweep()
		sweep()
		if n := waking.count(); n != 1 {
			t.Fatalf("told %v, want one trigger", waking.told)
		}
		f.chat.fail = nil
		f.clock.add(11 * time.Minute)
		f.deliver()
		sweep()
		if n := waking.count(); n != 2 || waking.told[1] == waking.told[0] {
			t.Fatalf("told %v, want a resolve at the end", waking.told)
		}

		r := pending("r1")
		f.changed(r, approvals.ChangeOpened)
		f.changed(r, approvals.ChangeReminder5)
		f.changed(r, approvals.ChangeReminder15)
		f.deliver()
		r.State = approvals.Denied
		f.changed(r, approvals.ChangeResolved)
		f.deliver()
		if n := waking.count(); n != 4 {
			t.Fatalf("told %v, want one trigger and one resolve more", waking.told)
		}
		if err := f.n.Purge(t.Context(), contoso, policy.Retention{}); err != nil {
			t.Fatal(err)
		}
		if got, err := other.Pagings(t.Context()); err != nil || got.Open != 0 || got.Problem != "" {
			t.Errorf("Pagings() = %+v, %v", got, err)
		}
	})
}
