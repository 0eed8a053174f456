package defender

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestRead_outcomes(t *testing.T) {
	t.Parallel()
	abort := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	tests := []struct {
		name     string
		handler  http.HandlerFunc
		want     error
		requests int // 0 = not counted: net/http itself repeats a GET on a stale connection
	}{
		{"400", answer(400, `{"error":{"code":"InvalidInput","message":"no"}}`), ErrInvalid, 1},
		{"403", answer(403, `{}`), ErrForbidden, 1},
		{"404", answer(404, `{}`), ErrNotFound, 1},
		{"409", answer(409, `{}`), ErrInvalid, 1},
		{"500 for ever", answer(500, `{"error":{"code":"InternalServerError"}}`), ErrUnavailable, 3},
		{"502 with HTML", answer(502, `<html>bad gateway</html>`), ErrUnavailable, 3},
		{"504 without a body", answer(504, ``), ErrUnavailable, 3},
		{"a broken connection", abort, ErrUnavailable, 0},
		{"HTML for JSON", answer(200, `<html>sign in</html>`), ErrUnavailable, 1},
		{"an empty body", answer(200, ``), ErrUnavailable, 1},
		{"204", answer(204, ``), ErrUnavailable, 1},
		{"200 with an error inside", answer(200, `{"error":{"code":"x"}}`), ErrUnavailable, 1},
		{"another machine", answer(200, `{"id":"`+otherID+`"}`), ErrUnavailable, 1},
		{"a wrong type", answer(200, `[]`), ErrUnavailable, 1},
		{"trailing garbage", answer(200, `{"id":"`+testMachine+`"} x`), ErrUnavailable, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.mux.HandleFunc("GET /api/machines/{id}", tt.handler)
			c, _ := f.client(t)
			_, err := c.Machine(t.Context(), testMachine)
			if !errors.Is(err, tt.want) {
				t.Errorf("Machine() = %v, want %v", err, tt.want)
			}
			if got := len(f.seen()); tt.requests > 0 && got != tt.requests {
				t.Errorf("requests = %d, want %d", got, tt.requests)
			}
		})
	}
}

func TestRead_repeatsUntilItWorks(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	var n atomic.Int32
	f.mux.HandleFunc("GET /api/machines/{id}", func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) < 3 {
			answer(503, "")(w, r)
			return
		}
		answer(200, `{"id":"`+testMachine+`"}`)(w, r)
	})
	c, k := f.client(t)
	start := k.now()
	mustMachine(t, c)
	if waited := k.now().Sub(start); waited < firstRepeat+2*firstRepeat || waited > 2*(firstRepeat+2*firstRepeat) {
		t.Errorf("waited %s between the tries", waited)
	}
}

func TestRead_bodyCap(t *testing.T) {
	t.Parallel()
	if _, err := readBody(strings.NewReader("12345"), 4); err == nil {
		t.Error("readBody() took more than its limit")
	}
	if got, err := readBody(strings.NewReader("1234"), 4); err != nil || string(got) != "1234" {
		t.Errorf("readBody() at the limit = %q, %v", got, err)
	}
}

func TestRead_callerGivesUp(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	arrived, done := make(chan struct{}), make(chan struct{})
	f.mux.HandleFunc("GET /api/machines/{id}", func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-done
	})
	t.Cleanup(func() { close(done) })
	c, _ := f.client(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := c.Fresh().Machine(ctx, testMachine)
	if !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnavailable) {
		t.Errorf("Machine() = %v, want context.Canceled and no word about Defender", err)
	}
}

func TestAPIError_details(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc("GET /api/alerts/{id}", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, 403, "Forbidden", "Missing application roles. API required roles: Alert.Read.All, Alert.ReadWrite.All")
	})
	c, _ := f.client(t)
	_, err := c.Alert(t.Context(), "da1")
	var got *APIError
	if !errors.As(err, &got) {
		t.Fatalf("Alert() = %v, want an *APIError", err)
	}
	want := APIError{
		Op: "get alert", StatusCode: 403, Code: "Forbidden", RequestID: "track-1", Permission: "Alert.Read.All",
		Message: "Missing application roles. API required roles: Alert.Read.All, Alert.ReadWrite.All",
		kind:    ErrForbidden,
	}
	if diff := cmp.Diff(want, *got, cmp.AllowUnexported(APIError{}), cmpopts.EquateErrors()); diff != "" {
		t.Errorf("APIError (-want +got):\n%s", diff)
	}
	if s := err.Error(); s != "get alert: HTTP 403 Forbidden" {
		t.Errorf("Error() = %q", s)
	}
}

func TestPermissionIn(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		"The application does not have any of the required application permissions (Machine.ReadWrite.All, Machine.Read.All) to access the resource.": "Machine.ReadWrite.All",
		"Missing application roles. API required roles: Machine.Isolate":                                                                              "Machine.Isolate",
		"Device is out of scope": "",
		"permissions (<script>)": "",
	} {
		if got := permissionIn(message); got != want {
			t.Errorf("permissionIn(%q) = %q, want %q", message, got, want)
		}
	}
}

func TestThrottling(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, header, message string
		low, high             time.Duration
	}{
		{"seconds", "30", "", 30 * time.Second, 30 * time.Second},
		{"a date", "Sat, 21 Nov 2026 12:00:45 GMT", "", 45 * time.Second, 45 * time.Second},
		{"a date that has passed", "Sat, 21 Nov 2026 11:00:00 GMT", "", time.Second, time.Second},
		{"zero", "0", "", time.Second, time.Second},
		{"a negative number", "-7", "", time.Second, time.Second},
		{"an absurd number", "99999999999999", "", maxBlock, maxBlock},
		{"not a number", "NaN", "", 2 * time.Second, 3 * time.Second},
		{"the minute the message names", "", "API calls quota exceeded! maximum allowed 45 per 00:01:00", time.Minute, time.Minute},
		{"the hour the message names", "", "maximum allowed 1500 per 01:00:00", maxBlock, maxBlock},
		{"the cycle the message names", "", "Try again in the next 15-minute cycle.", maxBlock, maxBlock},
		{"nothing at all", "", "Too many requests.", 2 * time.Second, 3 * time.Second},
		{"words", "soon", "", 2 * time.Second, 3 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.mux.HandleFunc("PATCH /api/alerts/{id}", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Date", "Sat, 21 Nov 2026 12:00:00 GMT")
				if tt.header != "" {
					w.Header().Set("Retry-After", tt.header)
				}
				writeError(w, 429, "429", tt.message)
			})
			f.mux.Handle("GET /api/machines/{id}", answer(200, `{"id":"`+testMachine+`"}`))
			c, k := f.client(t)
			update := func() *ThrottledError {
				_, err := c.UpdateAlert(t.Context(), "da1", AlertUpdate{Status: "Resolved"})
				var throttled *ThrottledError
				if !errors.As(err, &throttled) {
					t.Fatalf("UpdateAlert() = %v, want a *ThrottledError", err)
				}
				return throttled
			}
			first := update()
			if first.RetryAfter < tt.low || first.RetryAfter > tt.high {
				t.Errorf("RetryAfter = %s, want %s to %s", first.RetryAfter, tt.low, tt.high)
			}
			_ = update()
			if got := len(f.seen()); got != 1 {
				t.Errorf("requests = %d, want 1: a block is remembered", got)
			}
			mustMachine(t, c) // another family goes on
			k.advance(first.RetryAfter)
			_ = update()
			if got := len(f.seen()); got != 3 {
				t.Errorf("requests = %d, want 3: a block ends", got)
			}
		})
	}
}

func TestThrottling_growsWhileNothingIsSaid(t *testing.T) {
	t.Parallel()
	q := newQuota()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	last := time.Duration(0)
	for range 20 {
		wait := q.block(now, familyAlerts, 0)
		if wait < last && wait < maxUnsaidBlock {
			t.Errorf("wait %s after %s", wait, last)
		}
		if wait > maxBlock {
			t.Errorf("wait %s is longer than %s", wait, maxBlock)
		}
		last = wait
	}
	q.relax(familyAlerts)
	if wait := q.block(now, familyAlerts, 0); wait > 2*firstBlock {
		t.Errorf("wait after a success = %s, want about %s", wait, firstBlock)
	}
}

func TestRead_waitsForAShortThrottle(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	var n atomic.Int32
	f.mux.HandleFunc("GET /api/machines/{id}", func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(429)
			return
		}
		answer(200, `{"id":"`+testMachine+`"}`)(w, r)
	})
	c, _ := f.client(t)
	mustMachine(t, c)
}

func TestQuota_lanes(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	q := newQuota()
	spend := func(l Lane) (n int) {
		for q.admit(now, l, "x", familyMachines) == nil {
			n++
		}
		return n
	}
	got := map[string]int{"hunt": spend(LaneHunt), "interactive": spend(LaneInteractive), "alerts": spend(LaneAlerts), "action": spend(LaneAction)}
	want := map[string]int{"hunt": 50, "interactive": 20, "alerts": 20, "action": 10}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls in one minute (-want +got):\n%s", diff)
	}
	if err := q.admit(now, LaneAction, "x", familyHunting); err != nil {
		t.Errorf("hunting has a quota of its own: %v", err)
	}
	var throttled *ThrottledError
	if err := q.admit(now.Add(20*time.Second), LaneAction, "x", familyMachines); !errors.As(err, &throttled) || throttled.RetryAfter != 40*time.Second {
		t.Errorf("admit() = %v, want a wait of 40 s", err)
	}
	if err := q.admit(now.Add(time.Minute), LaneHunt, "x", familyMachines); err != nil {
		t.Errorf("admit() after a minute = %v", err)
	}
	// What nobody waits for takes a fifth, and nothing when people have used as much.
	q = newQuota()
	if n := spend(LaneScheduled); n != 20 {
		t.Errorf("scheduled hunts may make %d calls a minute, want 20", n)
	}
	q = newQuota()
	if spend(LaneHunt); spend(LaneScheduled) != 0 {
		t.Error("scheduled hunts go on although people have used their share")
	}
}

// Three replicas answer people: together they leave what is reserved for alerts and
// actions, which one of them works on.
func TestQuota_sharedByReplicas(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c, k := f.client(t)
	c.SetReplicas(3)
	spend := func(l Lane) (n int) {
		for c.quota.admit(k.now(), l, "x", familyMachines) == nil {
			n++
		}
		return n
	}
	if read := 3 * spend(LaneInteractive); read > 70 || read < 60 {
		t.Errorf("three replicas read %d times in a minute, want 70 at most", read)
	}
	if rest := spend(LaneAction); rest < 70 {
		t.Errorf("%d actions are left on each, want 70", rest)
	}
	c.SetReplicas(1)
	k.advance(time.Minute)
	if read := spend(LaneInteractive); read != 70 {
		t.Errorf("one replica alone reads %d times in a minute, want 70", read)
	}
}

func TestQuota_hour(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	q := newQuota()
	reads, actions := 0, 0
	for range 59 {
		for q.admit(now, LaneInteractive, "x", familyMachines) == nil {
			reads++
		}
		now = now.Add(time.Minute)
	}
	for q.admit(now, LaneAction, "x", familyActions) == nil {
		actions++
	}
	if reads != 1050 || actions != 100 {
		t.Errorf("reads in an hour = %d, then actions at once = %d, want 1050 and 100", reads, actions)
	}
}

// One person who reads in a loop never keeps an action waiting.
func TestQuota_exhaustedByReadsActionStillGoesOut(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.Handle("GET /api/machines/{id}", answer(200, `{"id":"`+testMachine+`"}`))
	f.mux.Handle("POST /api/machines/{id}/isolate", answer(201, actionJSON(testMachine, "Isolate", "Full")))
	c, _ := f.client(t)
	reads := 0
	for {
		_, err := c.Fresh().Machine(t.Context(), testMachine)
		if err != nil {
			var throttled *ThrottledError
			if !errors.As(err, &throttled) {
				t.Fatalf("Machine() = %v", err)
			}
			break
		}
		reads++
	}
	if got := len(f.seen()); got != reads || reads != 70 {
		t.Errorf("reads = %d, requests = %d, want 70 of each", reads, got)
	}
	if _, err := f.actor(t, c).IsolateMachine(t.Context(), testMachine, isolateFull); err != nil {
		t.Errorf("IsolateMachine() = %v", err)
	}
}

// Reads that nobody repeats, such as those of a poller, leave nothing behind.
func TestCache_keepsNothingThatIsOver(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.Handle("GET /api/machines/{id}", answer(200, `{"id":"`+testMachine+`","computerDnsName":"`+strings.Repeat("x", 1000)+`"}`))
	c, k := f.client(t)
	for range 50 {
		if _, err := c.Machine(t.Context(), testMachine); err != nil {
			t.Fatal(err)
		}
		c.cache.store(k.now().String(), make([]byte, 1000), c.cache.generation)
		k.advance(time.Minute)
	}
	if n, size := len(c.cache.entries), c.cache.size; n > 2 || size > 5000 {
		t.Errorf("%d answers with %d bytes are kept, want those of the last minute", n, size)
	}
}

func TestCache_fiftyPeopleAskForOneMachine(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.Handle("GET /api/machines/{id}", answer(200, `{"id":"`+testMachine+`"}`))
	c, k := f.client(t)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := c.Machine(t.Context(), testMachine); err != nil {
				t.Errorf("Machine() = %v", err)
			}
		})
	}
	wg.Wait()
	for range 29 {
		k.advance(time.Second)
		if _, err := c.Machine(t.Context(), testMachine); err != nil {
			t.Errorf("Machine() = %v", err)
		}
	}
	if got := len(f.seen()); got != 2 {
		t.Errorf("requests within 30 s = %d, want 2", got)
	}
}

func TestCache_whoAlwaysAsks(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.Handle("GET /api/machines/{id}", answer(200, `{"id":"`+testMachine+`"}`))
	f.mux.Handle("PATCH /api/alerts/{id}", answer(200, `{"id":"da1"}`))
	c, _ := f.client(t)
	read := func(c *Client) int {
		before := len(f.seen())
		if _, err := c.Machine(t.Context(), testMachine); err != nil {
			t.Fatal(err)
		}
		return len(f.seen()) - before
	}
	read(c)
	for name, tt := range map[string]struct {
		c    *Client
		want int
	}{
		"interactive": {c, 0}, "hunt": {c.For(LaneHunt), 0}, "fresh": {c.Fresh(), 1},
		"fresh in another lane": {c.Fresh().For(LaneHunt), 1}, "action": {c.For(LaneAction), 1}, "alerts": {c.For(LaneAlerts), 1},
	} {
		if got := read(tt.c); got != tt.want {
			t.Errorf("%s: requests for a known machine = %d, want %d", name, got, tt.want)
		}
	}
	if _, err := c.UpdateAlert(t.Context(), "da1", AlertUpdate{Status: "Resolved"}); err != nil {
		t.Fatal(err)
	}
	if got := read(c); got != 1 {
		t.Error("a change did not make the next read fresh")
	}
}

func TestCache_readThatBeganBeforeAChangeIsNotKept(t *testing.T) {
	t.Parallel()
	c := newCache(time.Minute, time.Now)
	body, err := c.read(t.Context(), LaneInteractive, "k", func(context.Context) ([]byte, error) {
		c.forget()
		return []byte("old"), nil
	})
	if err != nil || string(body) != "old" {
		t.Fatalf("read() = %q, %v", body, err)
	}
	if body, _, ok := c.lookup("k"); ok {
		t.Errorf("kept %q", body)
	}
}

func TestCache_bounded(t *testing.T) {
	t.Parallel()
	c := newCache(time.Minute, time.Now)
	for i := range 100 {
		c.store(strconv.Itoa(i), make([]byte, maxKeptEntry), 0)
		if c.size > maxKept+maxKeptEntry {
			t.Fatalf("size = %d", c.size)
		}
	}
	c.store("large", make([]byte, maxKeptEntry+1), 0)
	if _, _, ok := c.lookup("large"); ok {
		t.Error("a body beyond the limit was kept")
	}
}

func TestCache_callersDoNotShareWhatTheyChange(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.Handle("GET /api/machines/{id}", answer(200, `{"id":"`+testMachine+`","machineTags":["tier0"]}`))
	c, _ := f.client(t)
	first, err := c.Machine(t.Context(), testMachine)
	if err != nil {
		t.Fatal(err)
	}
	first.Tags[0] = "changed"
	second, err := c.Machine(t.Context(), testMachine)
	if err != nil || second.Tags[0] != "tier0" {
		t.Errorf("second read = %v, %v", second.Tags, err)
	}
}
