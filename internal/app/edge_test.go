package app

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// Peers that send their bodies slowly fill every slot, and whoever comes with a
// whole request is still answered at once.
func TestServer_slowBodiesKeepNobodyOut(t *testing.T) {
	t.Parallel()
	const room = 32
	srv := newServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	srv.Handler = newSlots(room).limit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	srv.ReadTimeout = time.Hour // so that nothing else frees a slot
	addr := serving(t, srv)
	dial := func() net.Conn {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	for range 3 * room {
		if _, err := io.WriteString(dial(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nslow"); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(patience)
	for answered := 0; answered < 20; {
		began := time.Now()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr, strings.NewReader("whole"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		switch took := time.Since(began); {
		case resp.StatusCode == http.StatusOK && took < 3*time.Second:
			answered++
		case answered > 0 || time.Now().After(deadline): // the first may come before any peer is slow
			t.Fatalf("whole request %d: status %d after %s", answered+1, resp.StatusCode, took)
		}
	}
}

func TestSlots_aBodyThatIsThereIsNotGivenUp(t *testing.T) {
	t.Parallel()
	s := newSlots(1)
	hold, entered := make(chan struct{}), make(chan struct{})
	h := s.limit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
		close(entered)
		<-hold
	}))
	first, done := httptest.NewRecorder(), make(chan struct{})
	go func() {
		h.ServeHTTP(first, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("whole")))
		close(done)
	}()
	<-entered
	for e := s.reading.Front(); e != nil; e = e.Next() {
		e.Value.(*arriving).since = time.Time{} // as if it had taken for ever
	}
	second := httptest.NewRecorder()
	h.ServeHTTP(second, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("late")))
	close(hold)
	<-done
	if first.Code != http.StatusOK || second.Code != http.StatusServiceUnavailable {
		t.Errorf("statuses %d and %d, want 200 for the one that was there and 503", first.Code, second.Code)
	}
	if s.bytes.Load() != 0 || s.reading.Len() != 0 {
		t.Errorf("%d bytes and %d bodies are still counted", s.bytes.Load(), s.reading.Len())
	}
}

func TestSources_badRequestsAreBoundedPerSource(t *testing.T) {
	t.Parallel()
	proxies, err := parseProxies("192.0.2.1, 10.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		peer, forwarded string
		limited         bool
	}{
		"a source of its own":                   {peer: "203.0.113.9", limited: true},
		"a source that names others before it":  {peer: "203.0.113.9", forwarded: "198.51.100.%d", limited: true},
		"behind a trusted proxy":                {peer: "192.0.2.1", forwarded: "203.0.113.9", limited: true},
		"behind two, naming others before it":   {peer: "10.1.1.1", forwarded: "198.51.100.%d, 203.0.113.9, 192.0.2.1", limited: true},
		"many sources behind a trusted proxy":   {peer: "192.0.2.1", forwarded: "198.51.100.%d"},
		"one network of IPv6":                   {peer: "2001:db8:0:1::%x", limited: true},
		"a proxy inside that is not configured": {peer: "172.16.0.1", forwarded: "198.51.100.%d"},
		"a trusted proxy that names nobody":     {peer: "192.0.2.1", forwarded: "unknown"},
	} {
		var logs bytes.Buffer
		read := 0
		h := newSources(proxies, slog.New(slog.NewTextHandler(&logs, nil))).limit(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			read++
			w.WriteHeader(http.StatusUnauthorized)
		}))
		const flood = 250
		var last int
		for i := range flood {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
			peer, err := netip.ParseAddr(fill(tc.peer, i+1))
			if err != nil {
				t.Fatal(err)
			}
			r.RemoteAddr = netip.AddrPortFrom(peer, 4711).String()
			if tc.forwarded != "" {
				r.Header.Set("X-Forwarded-For", fill(tc.forwarded, i+1))
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			last = w.Code
		}
		if limited := read < flood/2; limited != tc.limited || (last == http.StatusTooManyRequests) != tc.limited {
			t.Errorf("%s: %d of %d were read, the last answer is %d; want limited: %v", name, read, flood, last, tc.limited)
		}
		if lines := strings.Count(logs.String(), "\n"); lines > 1 {
			t.Errorf("%s: %d lines in the log", name, lines)
		}
	}
}

// fill puts a number into a sample that has room for one.
func fill(sample string, n int) string {
	if !strings.Contains(sample, "%") {
		return sample
	}
	return fmt.Sprintf(sample, n)
}

func TestSources_goodRequestsCostNothing(t *testing.T) {
	t.Parallel()
	h := newSources(nil, slog.New(slog.DiscardHandler)).limit(http.HandlerFunc(ok))
	for i := range 1_000 {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
		r.RemoteAddr = "203.0.113.9:1"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Fatalf("request %d: status %d", i, w.Code)
		}
	}
}

func TestConfig_trustedProxies(t *testing.T) {
	t.Parallel()
	for list, good := range map[string]bool{"": true, "10.0.0.0/8": true, "192.0.2.1, fd00::/8": true, "proxy.example.com": false, "10.0.0.0/33": false} {
		if _, err := parseProxies(list); (err == nil) != good {
			t.Errorf("%q: %v", list, err)
		}
	}
}

// What two readers of a connection could read differently is refused, or ends the
// connection so that nothing after it is read at all.
func TestServer_ambiguousFramingAndUpgradesAreRefused(t *testing.T) {
	t.Parallel()
	var seen sync.Map
	addr := serving(t, newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		seen.Store(r.URL.Path, true)
		w.WriteHeader(http.StatusOK)
	}), slog.New(slog.DiscardHandler)))
	const hidden = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, tc := range map[string]struct {
		request string
		want    []int // the statuses that are right; 0 = the connection ends without an answer
	}{
		"two lengths":                     {"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd" + hidden, []int{400}},
		"a length and chunks":             {"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, []int{200, 400}},
		"chunks and a request after them": {"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + hidden, []int{200}},
		"an encoding that is not chunked": {"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + hidden, []int{400, 501}},
		"a disguised encoding":            {"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden, []int{400, 501}},
		"a blank before the colon":        {"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc" + hidden, []int{400}},
		"a signed length":                 {"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc" + hidden, []int{400}},
		"no host":                         {"POST /a HTTP/1.1\r\n\r\n" + hidden, []int{400}},
		"two hosts":                       {"POST /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" + hidden, []int{400}},
		"a method nobody knows":           {"HACK /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", []int{405}},
		"TRACE":                           {"TRACE /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", []int{405}},
		"CONNECT":                         {"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\nConnection: close\r\n\r\n", []int{405}},
		"an upgrade to a websocket":       {"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", []int{400}},
		"an upgrade to HTTP/2":            {"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", []int{400}},
		"HTTP/2 without being asked":      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{0, 400, 405, 505}},
		"no version":                      {"GET /a\r\n\r\n", []int{400}},
	} {
		resp, err := raw(t, addr, tc.request)
		status := 0
		if err == nil {
			status = resp.StatusCode
			_ = resp.Body.Close()
		}
		right := false
		for _, want := range tc.want {
			right = right || status == want
		}
		if !right {
			t.Errorf("%s: status %d (%v), want one of %v", name, status, err, tc.want)
		}
		if strings.Contains(tc.request, hidden) && err == nil && !resp.Close {
			t.Errorf("%s: the connection goes on after %d", name, status)
		}
	}
	if _, was := seen.Load("/smuggled"); was {
		t.Error("the request behind another one's body was served")
	}
}

// A flood of forged requests through a proxy is refused unread, leaves few lines
// in the log and is counted; people go on working.
func TestStory_floodOfForgedRequests(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{}, "MDEBOT_TRUSTED_PROXIES=127.0.0.1")
	s.halt()
	logs := &lockedBuffer{}
	s.logs = logs
	s.start()
	const flood = 1_000
	statuses := map[int]int{}
	from := http.Header{"X-Forwarded-For": {sandbox.Riley.Slack + ", 203.0.113.9"}, "X-Slack-Signature": {"v0=" + strings.Repeat("0", 64)}, "X-Slack-Request-Timestamp": {strconv.FormatInt(time.Now().Unix(), 10)}}
	for range flood {
		statuses[s.post("/slack/commands", "application/x-www-form-urlencoded", from, []byte("a=b"))]++
	}
	if statuses[http.StatusTooManyRequests] < flood/2 || statuses[http.StatusUnauthorized] > 200 || len(statuses) != 2 {
		t.Errorf("statuses %v, want most refused unread and the others as unsigned", statuses)
	}
	s.ask(s.slack(), sandbox.Riley, "machine ws-014", "Machine ws-014")
	s.ask(s.teams(), sandbox.Riley, "machine ws-014", "Machine ws-014")
	if text := s.scrape(); !strings.Contains(text, `mdebot_deliveries_refused_total{platform="slack",status="429"}`) {
		t.Error("the metrics do not count what was refused unread")
	}
	if lines := strings.Count(logs.String(), "refused"); lines == 0 || lines > flood/10 {
		t.Errorf("%d lines about refusals in the log, want a few", lines)
	}
}

// Two hundred bodies of a megabyte at once, from strangers, cost the process what a
// few dozen hold and no more.
func TestProcess_manyLargeRequestsCostBoundedMemory(t *testing.T) {
	t.Parallel()
	p := newOutside(t, sandbox.Options{})
	p.serve()
	before := p.peak()
	const size = 1 << 20
	head := fmt.Sprintf("POST /slack/commands HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n", size)
	body := bytes.Repeat([]byte("x"), size-1) // the last byte is what everybody waits for
	var sent, answered sync.WaitGroup
	var statuses sync.Map
	end := make(chan struct{})
	for range 200 {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", p.webhook)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		sent.Add(1)
		answered.Go(func() {
			_, err := conn.Write(append([]byte(head), body...))
			sent.Done()
			<-end
			if err == nil {
				_, err = conn.Write([]byte("x"))
			}
			if resp, e := http.ReadResponse(bufio.NewReader(conn), nil); err == nil && e == nil {
				_ = resp.Body.Close()
				statuses.Store(resp.StatusCode, true)
			} // otherwise it was cut off
		})
	}
	sent.Wait()
	close(end)
	answered.Wait()
	if _, some := statuses.Load(http.StatusUnauthorized); !some {
		t.Error("no request was read to its end")
	}
	if _, some := statuses.Load(http.StatusOK); some {
		t.Error("an unsigned body was taken")
	}
	if grown := p.peak() - before; grown > 128<<10 {
		t.Errorf("the process has grown by %d KiB, want at most 128 MiB", grown)
	}
	p.connected()
	p.ask(p.slack(), sandbox.Riley, "machine ws-014", "Machine ws-014")
}

var peakMemory = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peak is the most memory that the process has held, in KiB.
func (p *outside) peak() int {
	p.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "status"))
	if err != nil {
		p.Skipf("needs /proc: %v", err)
	}
	m := peakMemory.FindSubmatch(status)
	if m == nil {
		p.Fatalf("no peak in %s", status)
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		p.Fatal(err)
	}
	return n
}
