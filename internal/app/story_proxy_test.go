package app

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// inspector is a proxy that ends TLS itself, with certificates of its own for the
// hosts it knows, as companies have them.
type inspector struct {
	to   map[string]string // host → address behind it
	ca   authority
	file string // its CA, as PEM

	mu       sync.Mutex
	tunnels  []string // hosts that were asked for
	finished sync.WaitGroup
}

func newInspector(t *testing.T, to map[string]string) (_ *inspector, address string) {
	t.Helper()
	ca, text := newAuthority(t)
	p := &inspector{to: to, ca: ca, file: filepath.Join(t.TempDir(), "inspection.pem")}
	if err := os.WriteFile(p.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(p)
	t.Cleanup(p.finished.Wait)
	t.Cleanup(server.Close)
	return p, server.URL
}

// ServeHTTP opens a tunnel and looks into it.
func (p *inspector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, _ := net.SplitHostPort(r.Host)
	behind, known := p.to[host]
	if r.Method != http.MethodConnect || !known {
		http.Error(w, "not from here", http.StatusForbidden)
		return
	}
	p.mu.Lock()
	p.tunnels = append(p.tunnels, host)
	p.mu.Unlock()
	w.WriteHeader(http.StatusOK)
	raw, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	target, _ := url.Parse(behind)
	inside := &http.Server{
		ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
		Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = host
		}},
	}
	ended := make(chan struct{})
	inside.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			close(ended)
		}
	}
	once := &onceListener{conn: tls.Server(raw, p.ca.certificate(func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{host} })), ended: ended}
	p.finished.Go(func() { _ = inside.Serve(once) }) // until the tunnel ends
}

// onceListener serves one connection and ends with it.
type onceListener struct {
	conn  net.Conn
	given bool
	ended chan struct{}
}

func (l *onceListener) Accept() (net.Conn, error) {
	if !l.given {
		l.given = true
		return l.conn, nil
	}
	<-l.ended
	return nil, io.EOF
}

func (l *onceListener) Close() error   { return l.conn.Close() }
func (l *onceListener) Addr() net.Addr { return l.conn.LocalAddr() }

// Behind a proxy that inspects TLS, people are told what is missing until the
// proxy's CA is known; then everything goes through it, to Microsoft's own names.
func TestStory_proxyThatInspectsTLS(t *testing.T) {
	t.Parallel()
	var proxy *inspector
	s := newStoryIn(t, sandbox.PolicyYAML(), sandbox.Options{}, func(s *story) []string {
		at := s.world.Addresses()
		var address string
		proxy, address = newInspector(t, map[string]string{
			"login.microsoftonline.com": at["entra"], "graph.microsoft.com": at["defender"],
			"api.security.microsoft.com": at["defender"], "api.securitycenter.microsoft.com": at["defender"],
		})
		return []string{"HTTPS_PROXY=" + address, "MDE_BASE_URL=", "MDE_XDR_URL=", "MDE_GRAPH_URL=", "MDE_AUTHORITY_URL="}
	})
	on := s.slack()
	s.ask(on, sandbox.Riley, "machine ws-014", "signed by somebody this machine does not trust, as a proxy that inspects TLS does", "MDEBOT_CA_FILE")
	s.ask(on, sandbox.Riley, "isolate ws-014 beaconing", "MDEBOT_CA_FILE")
	s.wantIsolations(0)

	s.halt()
	s.env = append(s.env, "MDEBOT_CA_FILE="+proxy.file)
	s.start()
	s.ask(on, sandbox.Riley, "machine ws-014", "Machine ws-014")
	card := s.request(on, s.teams(), sandbox.Riley, sandbox.Avery, "ws-014", "through the proxy")
	s.pressed(s.teams(), sandbox.Avery, card, "Approve", "Your approval counts")
	s.sees(on, sandbox.Riley, on.soc(), "isolate ws-014.corp.contoso.com – isolated")
	s.wantIsolations(1)
	proxy.mu.Lock()
	defer proxy.mu.Unlock()
	for _, host := range []string{"login.microsoftonline.com", "api.security.microsoft.com"} {
		if !slices.Contains(proxy.tunnels, host) {
			t.Errorf("%s was not reached through the proxy, only %s", host, strings.Join(slices.Compact(slices.Sorted(slices.Values(proxy.tunnels))), ", "))
		}
	}
}
