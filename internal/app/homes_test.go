package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

// tabs are the Home tabs of a platform, and what they are drawn from.
type tabs struct {
	mu      sync.Mutex
	now     time.Time
	mark    string
	err     error               // of the next publications
	shown   map[string][]string // what each account's tab has shown, in order
	during  func()              // runs while a page is being shown
	refused map[string]bool
	often   bool // pages are opened too often to be drawn
}

func (t *tabs) Publish(_ context.Context, to identity.Principal, p chat.Page) error {
	t.mu.Lock()
	during := t.during
	t.during = nil
	t.mu.Unlock()
	if during != nil {
		during()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return t.err
	}
	t.shown[to.Account] = append(t.shown[to.Account], p[0].Title.String())
	return nil
}

func (t *tabs) set(fn func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fn()
}

func (t *tabs) of(account string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.shown[account])
}

func slackAccount(name string) identity.Principal {
	return identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: name}
}

// newHomes is one replica of those that share the database and the tabs.
func newHomes(t *testing.T, open storetest.Opener) (*tabs, func() *homes) {
	t.Helper()
	db := open(t)
	out := &tabs{now: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC), mark: "one", shown: map[string][]string{}, refused: map[string]bool{}}
	return out, func() *homes {
		return &homes{
			db: db, log: slog.New(slog.DiscardHandler), show: out,
			now:  func() time.Time { out.mu.Lock(); defer out.mu.Unlock(); return out.now },
			mark: func(context.Context) (string, error) { out.mu.Lock(); defer out.mu.Unlock(); return out.mark, nil },
			draw: func(_ context.Context, who identity.Principal, _ bool) (chat.Page, bool) {
				out.mu.Lock()
				defer out.mu.Unlock()
				if out.often {
					return nil, false
				}
				return chat.Page{{Title: chat.Plain(out.mark)}}, !out.refused[who.Account]
			},
		}
	}
}

func looks(t *testing.T, h *homes, out *tabs, n int) {
	t.Helper()
	for range n {
		out.set(func() { out.now = out.now.Add(2 * homePace) })
		if err := h.look(t.Context()); err != nil {
			t.Fatalf("look() = %v", err)
		}
	}
}

// onEngines runs a test on each engine, with a database of its own.
func onEngines(t *testing.T, name string, test func(*testing.T, storetest.Opener)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		storetest.Engines(t, test)
	})
}

func TestHomes(t *testing.T) {
	t.Parallel()
	onEngines(t, "go on when the clock is set back", func(t *testing.T, open storetest.Opener) {
		out, replica := newHomes(t, open)
		h := replica()
		h.opened(t.Context(), slackAccount("U1"))
		out.set(func() { out.mark, out.err = "two", errors.New("it is away") })
		looks(t, h, out, 1)
		out.set(func() { out.err, out.now = nil, out.now.Add(-time.Hour) })
		looks(t, h, out, 1)
		if got := out.of("U1"); !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("shown %q, want the page anew", got)
		}
	})
	onEngines(t, "rights are asked for again when the clock is set back", func(t *testing.T, open storetest.Opener) {
		out, replica := newHomes(t, open)
		h := replica()
		h.opened(t.Context(), slackAccount("U1"))
		out.set(func() { out.now = out.now.Add(-time.Hour) })
		looks(t, h, out, 1)
		out.set(func() { out.now = out.now.Add(homeRefresh) })
		looks(t, h, out, 5)
		if got := len(out.of("U1")); got < 2 {
			t.Errorf("shown %d times, %s after it was of an hour ahead", got, homeRefresh)
		}
	})
	onEngines(t, "follows changes until a day after it was opened", func(t *testing.T, open storetest.Opener) {
		out, replica := newHomes(t, open)
		a, b := replica(), replica()
		looks(t, a, out, 1)
		a.opened(t.Context(), slackAccount("U1"))
		looks(t, b, out, 2)
		out.set(func() { out.mark = "two" })
		looks(t, b, out, 3)
		if got := out.of("U1"); !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("shown %q, want each state once, by whichever replica", got)
		}
		out.set(func() { out.now, out.mark = out.now.Add(homeLife), "three" })
		looks(t, a, out, 2)
		if got := out.of("U1"); len(got) != 2 {
			t.Errorf("shown %q a day later", got)
		}
	})
	onEngines(t, "strangers are told once and not kept", func(t *testing.T, open storetest.Opener) {
		out, replica := newHomes(t, open)
		out.refused["U1"] = true
		h := replica()
		h.opened(t.Context(), slackAccount("U1"))
		out.set(func() { out.mark = "two" })
		looks(t, h, out, 2)
		if got := out.of("U1"); len(got) != 1 {
			t.Errorf("shown %q, want one answer", got)
		}
	})
	onEngines(t, "what only the platform or the directory knows is asked for again", func(t *testing.T, open storetest.Opener) {
		// Somebody becomes a guest or is unlinked, or could not be looked up for a moment:
		// no request changes by that.
		out, replica := newHomes(t, open)
		h := replica()
		h.opened(t.Context(), slackAccount("U1"))
		looks(t, h, out, 5)
		if got := out.of("U1"); len(got) != 1 {
			t.Errorf("shown %q within seconds", got)
		}
		out.set(func() { out.now = out.now.Add(homeRefresh) })
		looks(t, h, out, 5)
		if got := out.of("U1"); len(got) != 2 {
			t.Errorf("shown %q in %s, want it looked at once more", got, homeRefresh)
		}
	})
	onEngines(t, "what is opened too often stays as it is", func(t *testing.T, open storetest.Opener) {
		out, replica := newHomes(t, open)
		h := replica()
		h.opened(t.Context(), slackAccount("U1"))
		out.often = true
		for range 3 {
			h.opened(t.Context(), slackAccount("U1"))
			h.opened(t.Context(), slackAccount("U2"))
		}
		if got := len(out.of("U1")) + len(out.of("U2")); got != 1 {
			t.Errorf("%d pages were shown, want the first alone", got)
		}
	})
	onEngines(t, "an opening while it is being shown is not lost", func(t *testing.T, open storetest.Opener) {
		out, replica := newHomes(t, open)
		a, b := replica(), replica()
		out.during = func() {
			out.set(func() { out.mark = "two" })
			b.opened(t.Context(), slackAccount("U1"))
		}
		a.opened(t.Context(), slackAccount("U1"))
		looks(t, b, out, 2)
		if got := out.of("U1"); !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("shown %q, want the later state last", got)
		}
	})
	onEngines(t, "a replica that dies keeps nobody's page for long", func(t *testing.T, open storetest.Opener) {
		out, replica := newHomes(t, open)
		h := replica()
		h.opened(t.Context(), slackAccount("U1"))
		if _, mine, err := h.claim(t.Context(), slackAccount("U1"), true); err != nil || !mine {
			t.Fatalf("claim() = %t, %v", mine, err)
		}
		out.set(func() { out.mark = "two" })
		looks(t, h, out, 2)
		if got := out.of("U1"); len(got) != 1 {
			t.Errorf("shown %q while another has it", got)
		}
		out.set(func() { out.now = out.now.Add(homeLease) })
		looks(t, h, out, 1)
		if got := out.of("U1"); !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("shown %q after the lease", got)
		}
	})
	onEngines(t, "waits when Slack asks for it, and forgets what is not there", func(t *testing.T, open storetest.Opener) {
		out, replica := newHomes(t, open)
		h := replica()
		for _, u := range []string{"U1", "U2"} {
			h.opened(t.Context(), slackAccount(u))
		}
		out.set(func() { out.mark, out.err = "two", &chat.ThrottledError{RetryAfter: time.Minute} })
		looks(t, h, out, 1)
		out.set(func() { out.err = nil })
		looks(t, h, out, 5)
		if got := len(out.of("U1")) + len(out.of("U2")); got != 2 {
			t.Errorf("%d pages were shown within the minute", got-2)
		}
		out.set(func() { out.now, out.err = out.now.Add(time.Minute), fmt.Errorf("not_enabled: %w", chat.ErrNotThere) })
		looks(t, h, out, 4)
		out.set(func() { out.err = nil })
		looks(t, h, out, 4)
		if got := len(out.of("U1")) + len(out.of("U2")); got != 2 {
			t.Errorf("%d pages were shown that are not there any more", got-2)
		}
	})
	onEngines(t, "keeps the pace, the oldest first", func(t *testing.T, open storetest.Opener) {
		out, replica := newHomes(t, open)
		h := replica()
		const many = 6
		for i := range many {
			h.opened(t.Context(), slackAccount(fmt.Sprint("U", i)))
			out.set(func() { out.now = out.now.Add(time.Second) })
		}
		out.set(func() { out.mark = "two" })
		for i := range many {
			looks(t, h, out, 1) // the clock stands still within a look
			for j := range many {
				if got, want := len(out.of(fmt.Sprint("U", j))), map[bool]int{true: 2, false: 1}[j <= i]; got != want {
					t.Fatalf("after %d looks page %d was shown %d times, want %d", i+1, j, got, want)
				}
			}
		}
	})
	onEngines(t, "another failure is tried again later", func(t *testing.T, open storetest.Opener) {
		out, replica := newHomes(t, open)
		h := replica()
		h.opened(t.Context(), slackAccount("U1"))
		out.set(func() { out.mark, out.err = "two", errors.New("no answer") })
		looks(t, h, out, 1)
		out.set(func() { out.err = nil })
		looks(t, h, out, 1)
		if got := out.of("U1"); len(got) != 1 {
			t.Errorf("shown %q at once", got)
		}
		out.set(func() { out.now = out.now.Add(homeRetry) })
		looks(t, h, out, 1)
		if got := out.of("U1"); !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("shown %q", got)
		}
	})
}
