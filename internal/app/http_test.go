package app

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serving starts a listener's server and returns its address.
func serving(t *testing.T, srv *http.Server) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
	return l.Addr().String()
}

func ok(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

func raw(t *testing.T, addr, request string) (*http.Response, error) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, err
	}
	return http.ReadResponse(bufio.NewReader(conn), nil)
}

func TestServer_headersAboveTheLimitAreRefused(t *testing.T) {
	t.Parallel()
	addr := serving(t, newServer(http.HandlerFunc(ok), slog.New(slog.DiscardHandler)))
	for size, want := range map[int]int{1 << 10: 200, maxHeaderBytes + 8<<10: 431} {
		resp, err := raw(t, addr, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: "+strings.Repeat("x", size)+"\r\n\r\n")
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("headers of %d bytes: status %d, want %d", size, resp.StatusCode, want)
		}
	}
}

func TestServer_slowPeersAreCutOff(t *testing.T) {
	t.Parallel()
	srv := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			w.WriteHeader(http.StatusRequestTimeout)
		}
	}), slog.New(slog.DiscardHandler))
	if srv.ReadHeaderTimeout != headerTimeout || srv.ReadTimeout != readTimeout || srv.WriteTimeout != writeTimeout || srv.IdleTimeout != idleTimeout {
		t.Errorf("timeouts = %v, %v, %v, %v", srv.ReadHeaderTimeout, srv.ReadTimeout, srv.WriteTimeout, srv.IdleTimeout)
	}
	srv.ReadHeaderTimeout, srv.ReadTimeout = 50*time.Millisecond, 100*time.Millisecond
	addr := serving(t, srv)
	for name, request := range map[string]string{
		"headers that never end": "POST / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
		"a body that never ends": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
	} {
		resp, err := raw(t, addr, request)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				t.Errorf("%s: status 200, want the peer cut off", name)
			}
		}
	}
}

func TestServer_floodCostsNoMoreThanItsSlots(t *testing.T) {
	t.Parallel()
	hold, entered := make(chan struct{}), make(chan struct{}, 2)
	h := newSlots(2).limit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-hold
	}))
	done := make(chan struct{}, 2)
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
	for range 2 {
		go func() {
			h.ServeHTTP(httptest.NewRecorder(), request)
			done <- struct{}{}
		}()
		<-entered
	}
	third := httptest.NewRecorder()
	h.ServeHTTP(third, request)
	if third.Code != http.StatusServiceUnavailable || third.Header().Get("Retry-After") == "" {
		t.Errorf("third request: status %d, want 503 with a time to come back", third.Code)
	}
	close(hold)
	<-done
	<-done
}

func TestServer_panicIsAnsweredAndItsValueKeptOutOfTheLog(t *testing.T) {
	t.Parallel()
	var logs strings.Builder
	srv := newServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("xoxb-secret") }), slog.New(slog.NewTextHandler(&logs, nil)))
	w := httptest.NewRecorder()
	srv.Handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/x", nil))
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String()+logs.String(), "xoxb-secret") || !strings.Contains(logs.String(), "handler panicked") {
		t.Errorf("status %d, body %q, log %q; want 500, a log line and no value", w.Code, w.Body, logs.String())
	}
}

func TestAdmin_tellsStateAndNothingElse(t *testing.T) {
	t.Parallel()
	var ready atomic.Bool
	h := adminRoutes(&ready, func() []string { return []string{"Messages"} })
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	if code, body := get("/readyz"); code != http.StatusServiceUnavailable || body != `{"ready":false,"degraded":[]}`+"\n" {
		t.Errorf("/readyz before start: %d %s, want 503", code, body)
	}
	ready.Store(true)
	for path, want := range map[string]string{"/healthz": "up\n", "/readyz": `{"ready":true,"degraded":["Messages"]}` + "\n"} {
		if code, body := get(path); code != http.StatusOK || body != want {
			t.Errorf("%s: %d %q, want %q", path, code, body, want)
		}
	}
	for _, path := range []string{"/", "/debug/pprof/", "/debug/vars", "/metrics", "/slack/commands", "/api/messages"} {
		if code, _ := get(path); code != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, code)
		}
	}
	if d := defaultOf(t, "MDEBOT_ADMIN_LISTEN"); !strings.HasPrefix(d, "127.0.0.1:") {
		t.Errorf("the admin listener is at %s by default, want loopback", d)
	}
}

func defaultOf(t *testing.T, name string) string {
	t.Helper()
	for _, s := range Settings() {
		if s.Name == name {
			return s.Default
		}
	}
	t.Fatalf("no setting %s", name)
	return ""
}
