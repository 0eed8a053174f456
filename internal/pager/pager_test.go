package pager

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
	"github.com/mdebot/mdebot/internal/sandbox/pagersim"
)

const key = "0123456789abcdef0123456789abcdef"

func receiver(t *testing.T) (*pagersim.Server, string) {
	t.Helper()
	sim := pagersim.New(key)
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	return sim, srv.URL + pagersim.Path
}

func event() Event {
	return Event{Key: "k1", Summary: "request #7 waits", Severity: Error, Since: time.Now(), Details: map[string]string{"request": "#7"}}
}

func TestSend_triggersOnceAndResolves(t *testing.T) {
	t.Parallel()
	sim, address := receiver(t)
	c := New(key, http.DefaultTransport)
	e := event()
	for range 2 {
		if err := c.Send(t.Context(), address, e); err != nil {
			t.Fatalf("Send() = %v", err)
		}
	}
	got := sim.Incidents()
	if len(got) != 1 || !got[0].Open || got[0].Summary != e.Summary || got[0].Severity != "error" || got[0].Details["request"] != "#7" || got[0].Woken != 1 {
		t.Errorf("incidents = %+v, want one that is open and woke once", got)
	}
	if err := c.Send(t.Context(), address, Event{Key: "k1", Over: true}); err != nil {
		t.Fatalf("Send(over) = %v", err)
	}
	if got := sim.Incidents(); got[0].Open {
		t.Error("the incident is open after a resolve")
	}
}

func TestSend_longSummaryIsCut(t *testing.T) {
	t.Parallel()
	sim, address := receiver(t)
	e := event()
	e.Summary = strings.Repeat("ä", 3000)
	if err := New(key, http.DefaultTransport).Send(t.Context(), address, e); err != nil {
		t.Fatalf("Send() = %v", err)
	}
	if n := len([]rune(sim.Incidents()[0].Summary)); n != maxSummary {
		t.Errorf("the summary has %d characters, want %d", n, maxSummary)
	}
}

func TestSend_saysWhatKindOfFailureItWas(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault fault.Fault
		key   string
		want  error
		wait  time.Duration
	}{
		{name: "wrong key", key: "ffffffffffffffffffffffffffffffff", want: chat.ErrCredentials},
		{name: "no such address", fault: fault.Fault{Kind: fault.Answer, Status: 404}, want: chat.ErrCredentials},
		{name: "redirect to elsewhere", fault: fault.Fault{Kind: fault.Answer, Status: 307, Header: http.Header{"Location": {"http://127.0.0.1:1/"}}}, want: chat.ErrUnclear},
		{name: "server error", fault: fault.Fault{Kind: fault.Answer, Status: 503}, want: chat.ErrUnclear},
		{name: "connection lost", fault: fault.Fault{Kind: fault.Drop}, want: chat.ErrUnclear},
		{name: "answer lost", fault: fault.Fault{Kind: fault.ActDrop}, want: chat.ErrUnclear},
		{name: "throttled with seconds", fault: throttled("7"), wait: 7 * time.Second},
		{name: "throttled without a time", fault: throttled(""), wait: throttleDefault},
		{name: "throttled by an absurd time", fault: throttled("9999999999"), wait: throttleMax},
		{name: "throttled by text", fault: throttled("soon"), wait: throttleDefault},
		{name: "throttled by a negative time", fault: throttled("-5"), wait: throttleDefault},
		{name: "throttled until long ago", fault: throttled("Mon, 02 Jan 2006 15:04:05 GMT"), wait: time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sim, address := receiver(t)
			if c.fault.Kind != "" {
				sim.Faults.Add(c.fault)
			}
			if c.key == "" {
				c.key = key
			}
			err := New(c.key, http.DefaultTransport).Send(t.Context(), address, event())
			var wait *chat.ThrottledError
			switch {
			case c.want != nil && !errors.Is(err, c.want):
				t.Errorf("Send() = %v, want %v", err, c.want)
			case c.wait != 0 && (!errors.As(err, &wait) || wait.RetryAfter != c.wait):
				t.Errorf("Send() = %v, want a wait of %s", err, c.wait)
			}
			if err != nil && (strings.Contains(err.Error(), c.key) || strings.Contains(err.Error(), "127.0.0.1:1/")) {
				t.Errorf("the error tells the key or an address: %v", err)
			}
		})
	}
}

func throttled(after string) fault.Fault {
	return fault.Fault{Kind: fault.Answer, Status: 429, Header: http.Header{"Retry-After": {after}}}
}

func TestSend_hangingReceiverIsGivenUp(t *testing.T) {
	t.Parallel()
	sim, address := receiver(t)
	sim.Faults.Add(fault.Fault{Kind: fault.Hang})
	t.Cleanup(sim.Faults.Clear)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := New(key, http.DefaultTransport).Send(ctx, address, event()); !errors.Is(err, chat.ErrUnclear) {
		t.Errorf("Send() = %v, want %v", err, chat.ErrUnclear)
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "30", "-1", "NaN", "1e309", "9223372036854775807", "Sat, 21 Nov 2026 12:00:45 GMT", "Mon, 01 Jan 0001 00:00:00 GMT"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		if got := retryAfter(value, now); got < time.Second || got > throttleMax {
			t.Errorf("retryAfter(%q) = %s", value, got)
		}
	})
}
