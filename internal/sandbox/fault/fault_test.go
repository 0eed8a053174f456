package fault_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mdebot/mdebot/internal/sandbox/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service counts what took effect.
type service struct {
	url     string
	effects atomic.Int32
	acted   chan struct{}
	script  *fault.Script
	client  *http.Client
}

func serve(t *testing.T) *service {
	t.Helper()
	s := &service{
		acted:  make(chan struct{}, 10),
		script: fault.NewScript(func(*http.Request, int) string { return "vendor envelope" }),
	}
	srv := httptest.NewServer(s.script.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.effects.Add(1)
		s.acted <- struct{}{}
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(body)
	})))
	s.url, s.client = srv.URL, srv.Client()
	t.Cleanup(func() {
		s.script.Clear()
		srv.Close()
	})
	return s
}

// post answers status and body, or status 0 when there was no answer in time.
func (s *service) post(t *testing.T, path string, patience time.Duration) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, strings.NewReader("payload"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestFaults_effectAndAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault   fault.Fault
		status  int
		body    string
		effects int32
	}{
		"answer":               {fault.Fault{Kind: fault.Answer, Status: 503}, 503, "vendor envelope", 0},
		"answer with a body":   {fault.Fault{Kind: fault.Answer, Status: 500, Body: "<p>"}, 500, "<p>", 0},
		"drop":                 {fault.Fault{Kind: fault.Drop}, 0, "", 0},
		"hang":                 {fault.Fault{Kind: fault.Hang}, 0, "", 0},
		"short delay":          {fault.Fault{Kind: fault.Delay, Wait: time.Millisecond}, 201, "payload", 1},
		"long delay":           {fault.Fault{Kind: fault.Delay, Wait: time.Hour}, 0, "", 0},
		"act and drop":         {fault.Fault{Kind: fault.ActDrop}, 0, "", 1},
		"act and hang":         {fault.Fault{Kind: fault.ActHang}, 0, "", 1},
		"act, answer later":    {fault.Fault{Kind: fault.ActDelay, Wait: time.Millisecond}, 201, "payload", 1},
		"act, answer too late": {fault.Fault{Kind: fault.ActDelay, Wait: time.Hour}, 0, "", 1},
		"act, answer an error": {fault.Fault{Kind: fault.ActAnswer, Status: 504}, 504, "vendor envelope", 1},
		"a simulator's own":    {fault.Fault{Kind: "own"}, 201, "payload", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			s.script.Add(c.fault)
			patience := time.Minute
			if c.status == 0 {
				patience = 100 * time.Millisecond
			}
			status, body := s.post(t, "/x", patience)
			if c.effects > 0 {
				<-s.acted
			}
			if status != c.status || status != 0 && body != c.body {
				t.Errorf("answer = %d %q, want %d %q", status, body, c.status, c.body)
			}
			if got := s.effects.Load(); got != c.effects {
				t.Errorf("%d effects, want %d", got, c.effects)
			}
			if got := s.script.Used(c.fault.Kind); got != 1 {
				t.Errorf("Used() = %d, want 1", got)
			}
		})
	}
}

func TestActLate_takesEffectAfterTheAnswer(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.script.Add(fault.Fault{Kind: fault.ActLate, Status: 504, Wait: 50 * time.Millisecond})
	if status, _ := s.post(t, "/x", time.Second); status != 504 || s.effects.Load() != 0 {
		t.Errorf("answer = %d with %d effects, want 504 with none yet", status, s.effects.Load())
	}
	<-s.acted
	if got := s.effects.Load(); got != 1 {
		t.Errorf("%d effects after the wait, want 1", got)
	}
}

func TestScript_countsPerRoute(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.script.Add(fault.Fault{Kind: fault.Answer, Route: "POST /a/*/go", Skip: 1, Times: 2, Status: 500})
	for i, c := range []struct {
		path string
		want int
	}{
		{"/a/1/go", 201}, {"/b", 201}, {"/a/1/go", 500}, {"/a/2/go", 500}, {"/a/1/go", 201},
	} {
		if status, _ := s.post(t, c.path, time.Second); status != c.want {
			t.Errorf("call %d to %s = %d, want %d", i+1, c.path, status, c.want)
		}
	}
}

func TestClear_releasesWhatHangs(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.script.Add(fault.Fault{Kind: fault.ActHang})
	answered := make(chan int)
	go func() {
		status, _ := s.post(t, "/x", time.Minute)
		answered <- status
	}()
	<-s.acted
	s.script.Clear()
	if status := <-answered; status != 0 {
		t.Errorf("a call that hung was answered %d, want a closed connection", status)
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		route, method, path string
		want                bool
	}{
		{"", "GET", "/anything", true},
		{"/a/b", "GET", "/a/b", true},
		{"POST /a/b", "GET", "/a/b", false},
		{"/a/*", "GET", "/a/b", true},
		{"/a/*", "GET", "/a/b/c", false},
		{"/a/*", "GET", "/a", false},
		{"/a/**", "GET", "/a/b/c", true},
		{"/a", "GET", "/a/b", false},
	} {
		if got := fault.Matches(c.route, c.method, c.path); got != c.want {
			t.Errorf("Matches(%q, %s, %s) = %v, want %v", c.route, c.method, c.path, got, c.want)
		}
	}
}
