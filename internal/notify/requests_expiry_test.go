package notify

import (
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
)

// The end of a block is announced once, before it comes, to whoever asked and
// where they asked.
func TestExpiry_isAnnouncedBeforeItHappens(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := pending("r1")
	r.Action, r.State, r.Opened = approvals.Block, approvals.Succeeded, f.clock.now()
	r.Params = map[string]string{"effect": "block", "expires": f.clock.now().Add(7 * 24 * time.Hour).UTC().Format(time.RFC3339)}
	r.Targets = []approvals.Target{{Kind: approvals.TargetIndicator, ID: "DomainName:evil.example", Name: "evil.example", State: approvals.Succeeded}}
	f.requests.mu.Lock()
	f.requests.all[r.ID] = r
	f.requests.mu.Unlock()
	look := func() int {
		t.Helper()
		if err := f.n.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.deliver()
		n := 0
		for _, p := range f.chat.at("slack:@T0SOC/U0RILEY") {
			if strings.Contains(p.message.Title.String(), "Ends soon: the block of evil.example") {
				n++
			}
		}
		return n
	}
	if n := look(); n != 0 {
		t.Errorf("announced %d times a week before", n)
	}
	f.clock.add(6*24*time.Hour + time.Minute)
	if n := look(); n != 1 {
		t.Errorf("announced %d times a day before, want once", n)
	}
	f.clock.add(time.Hour)
	if n := look(); n != 1 {
		t.Errorf("announced %d times in all, want once", n)
	}
}

func TestWarnAt_ofShortBlocks(t *testing.T) {
	t.Parallel()
	opened := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	r := approvals.Request{Opened: opened, Params: map[string]string{"expires": "2026-11-21T14:00:00Z"}}
	if got := warnAt(r); !got.Equal(opened.Add(90 * time.Minute)) {
		t.Errorf("warnAt() = %s, want a quarter of the time before the end", got)
	}
}
