package app

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/pager"
	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/slackbot"
	"github.com/mdebot/mdebot/internal/teamsbot"
)

// peer is a service that the bot calls, with one call of the kind.
type peer struct {
	name string
	at   string // where the simulator of it listens, of World.Addresses
	call func(ctx context.Context, m *matrix, base string) error
	// takes says that an answer with nothing in it is a success, as it is for what
	// is only sent.
	takes bool
	// plain is a peer whose stand-in does not speak TLS.
	plain bool
}

var matrixPeers = []peer{
	{name: "Entra's token", at: "entra", call: func(ctx context.Context, m *matrix, base string) error {
		cfg := m.cfg.Defender
		cfg.AuthorityURL = base
		c, err := defender.New(cfg, defender.WithTransport(m.transport))
		if err != nil {
			return err
		}
		_, err = c.Permissions(ctx)
		return err
	}},
	{name: "Defender's object", at: "defender", call: func(ctx context.Context, m *matrix, base string) error {
		c, err := m.defender(base)
		if err == nil {
			_, err = c.Fresh().Machine(ctx, m.machine)
		}
		return err
	}},
	{name: "Defender's list", at: "defender", call: func(ctx context.Context, m *matrix, base string) error {
		c, err := m.defender(base)
		if err != nil {
			return err
		}
		for _, err := range c.Alerts(ctx, defender.AlertFilter{}) {
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "Defender's action", at: "defender", call: func(ctx context.Context, m *matrix, base string) error {
		c, err := m.defender(base)
		if err != nil {
			return err
		}
		cfg := m.cfg.Defender
		cfg.BaseURL, cfg.XDRURL, cfg.GraphURL = base, base, base
		a, err := defender.NewActor(cfg, c)
		if err == nil {
			n := m.isolated.Add(1) // another one each time
			_, err = a.IsolateMachine(ctx, m.world.Tenant.Named(fmt.Sprintf("ws-%03d.corp.contoso.com", 14+n%50))[0].ID, defender.IsolateInput{Type: defender.SelectiveIsolation, Comment: "fault matrix"})
		}
		return err
	}},
	{name: "Graph", at: "defender", call: func(ctx context.Context, m *matrix, base string) error {
		c, err := m.defender(base)
		if err == nil {
			var stats defender.HuntStats
			if stats, err = c.For(defender.LaneHunt).Hunt(ctx, defender.HuntQuery{KQL: "DeviceInfo | take 1"}, nowhere{}); stats.Truncated != "" {
				return errors.New("cut") // which people are told
			}
		}
		return err
	}},
	{name: "Slack", at: "slack", call: func(ctx context.Context, m *matrix, base string) error {
		cfg := m.cfg.Slack
		cfg.APIURL, cfg.Transport = base+"/api/", m.transport
		b, err := slackbot.New(cfg, &lateHandler{}, slog.New(slog.DiscardHandler))
		if err == nil {
			_, err = b.Standing(ctx, identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: sandbox.Riley.Slack})
		}
		return err
	}},
	{name: "Bot Connector", at: "teams", plain: true, call: func(ctx context.Context, m *matrix, base string) error {
		u, err := url.Parse(base)
		if err != nil {
			return err
		}
		cfg := m.cfg.Teams
		cfg.ServiceHosts = append(cfg.ServiceHosts[:len(cfg.ServiceHosts):len(cfg.ServiceHosts)], u.Host)
		known := &teamsbot.MemoryReferences{}
		if err := known.Put(ctx, teamsbot.Reference{Tenant: sandbox.TenantID, Key: sandbox.TeamsSOC, ConversationID: sandbox.TeamsSOC, ServiceURL: base + m.servicePath}); err != nil {
			return err
		}
		b, err := teamsbot.New(cfg, teamsbot.Options{Transport: m.transport, Logger: slog.New(slog.DiscardHandler), References: known})
		if err == nil {
			_, err = b.Post(ctx, chat.Post{To: chat.Destination("teams:" + sandbox.TeamsSOC), Message: chat.Message{Title: chat.Plain("fault matrix")}, Admits: chat.Readers{Strangers: true}})
		}
		return err
	}},
	{name: "the pager", at: "pager", takes: true, call: func(ctx context.Context, m *matrix, base string) error {
		page, err := url.Parse(m.world.PageAddress())
		if err != nil {
			return err
		}
		return pager.New(m.cfg.PageKey, m.transport).Send(ctx, base+page.Path, pager.Event{Key: "matrix", Summary: "fault matrix", Severity: pager.Error})
	}},
}

// matrix is the world of all cells.
type matrix struct {
	world       *sandbox.World
	cfg         Config
	transport   *http.Transport
	machine     string
	servicePath string
	trusted     authority
	unknown     authority
	isolated    atomic.Int64
}

func (m *matrix) defender(base string) (*defender.Client, error) {
	cfg := m.cfg.Defender
	cfg.BaseURL, cfg.XDRURL, cfg.GraphURL = base, base, base
	return defender.New(cfg, defender.WithTransport(m.transport))
}

// mischief is what a peer does instead of answering.
type mischief struct {
	name string
	// answer writes to the connection itself; the request has been read. Nil leaves
	// it to connect or listen.
	answer func(c net.Conn, r *http.Request)
	// handle answers over HTTP.
	handle http.HandlerFunc
	// tls is the configuration of a peer that speaks TLS.
	tls func(m *matrix) *tls.Config
	// connect is done with each connection before anything is read.
	connect func(c net.Conn)
	closed  bool // nobody listens
	// fine: a client may take it for a good answer where one with nothing in it is.
	fine bool
}

func says(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func asksToWait(after string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if after != "" {
			w.Header().Set("Retry-After", after)
		}
		w.WriteHeader(http.StatusTooManyRequests)
	}
}

const jsonType = "application/json"

func mischiefs() []mischief {
	raw := func(text string) func(net.Conn, *http.Request) {
		return func(c net.Conn, _ *http.Request) { _, _ = io.WriteString(c, text) }
	}
	all := []mischief{
		{name: "refused", closed: true},
		{name: "silent from the start", connect: func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }},
		{name: "closes at once", connect: func(c net.Conn) { _ = c.Close() }},
		{name: "speaks something else", connect: func(c net.Conn) { _, _ = io.WriteString(c, "220 mail.example ESMTP\r\n") }},
		{name: "silent after the request", answer: func(c net.Conn, _ *http.Request) { _, _ = io.Copy(io.Discard, c) }},
		{name: "closes after the request", answer: func(net.Conn, *http.Request) {}},
		{name: "resets after the request", answer: func(c net.Conn, _ *http.Request) {
			if t, ok := c.(*net.TCPConn); ok {
				_ = t.SetLinger(0)
			}
		}},
		{name: "headers a byte at a time", answer: func(c net.Conn, _ *http.Request) {
			for _, b := range []byte("HTTP/1.1 200 OK\r\nX-Slow: ") {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
			_, _ = io.Copy(io.Discard, c)
		}},
		{name: "a body a byte at a time", answer: func(c net.Conn, _ *http.Request) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{")
			for {
				if _, err := c.Write([]byte{' '}); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		}},
		{name: "stops in the body", answer: raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"value\":[")},
		{name: "chunks that end early", answer: raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"val\r\n")},
		{name: "headers without end", answer: func(c net.Conn, _ *http.Request) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for line := strings.Repeat("X-More: "+strings.Repeat("a", 1000)+"\r\n", 100); ; {
				if _, err := io.WriteString(c, line); err != nil {
					return
				}
			}
		}},
		{name: "a hundred megabytes", handle: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", jsonType)
			_, _ = io.WriteString(w, `{"value":"`)
			for chunk := bytes.Repeat([]byte("a"), 1<<20); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}, fine: true},
		{name: "a compression bomb", handle: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", jsonType)
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, `{"value":"`)
			chunk := bytes.Repeat([]byte("a"), 1<<20)
			for range 200 {
				if _, err := z.Write(chunk); err != nil {
					return
				}
			}
			_ = z.Close()
		}, fine: true},
		{name: "says gzip and is not", handle: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, `{"ok":true}`)
		}, fine: true},
		{name: "nothing at all", handle: says(200, jsonType, ""), fine: true},
		{name: "a web page", handle: says(200, "text/html", "<html><title>Sign in to the network</title></html>"), fine: true},
		{name: "null", handle: says(200, jsonType, "null"), fine: true},
		{name: "an empty object", handle: says(200, jsonType, "{}"), fine: true},
		{name: "a list", handle: says(200, jsonType, "[]"), fine: true},
		{name: "a number", handle: says(200, jsonType, "42"), fine: true},
		{name: "other types", handle: says(200, jsonType, `{"ok":"no","value":7,"id":{},"access_token":[],"expires_in":"soon","results":"none","user":[]}`), fine: true},
		{name: "nested deeply", handle: says(200, jsonType, `{"value":`+strings.Repeat("[", 200_000)), fine: true},
		{name: "no UTF-8", handle: says(200, jsonType, "{\"value\":\"\xff\xfe\", \xff}"), fine: true},
		{name: "half an object", handle: says(200, jsonType, `{"value":[{"id":"`), fine: true},
		{name: "an error with success", handle: says(200, jsonType, `{"ok":false,"error":{"code":"Unauthorized","message":"no"}}`), fine: true},
		{name: "204", handle: says(204, jsonType, ""), fine: true},
		{name: "201 without an ID", handle: says(201, jsonType, "{}"), fine: true},
		{name: "202 with nothing", handle: says(202, jsonType, ""), fine: true},
		{name: "304", handle: says(304, jsonType, "")},
	}
	for _, status := range []int{301, 302, 307, 308} {
		all = append(all, mischief{name: fmt.Sprintf("%d to another place", status), handle: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/stolen"+r.URL.Path)
			w.WriteHeader(status)
		}})
	}
	for _, status := range []int{400, 401, 403, 404, 409, 410, 413, 422, 500, 501, 502, 503, 504, 599} {
		all = append(all, mischief{name: fmt.Sprint(status), handle: says(status, jsonType, `{"error":{"code":"x","message":"y"}}`)})
	}
	for _, after := range []string{"1", "", "0", "-5", "99999999999999999999", "soon", "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2099 07:28:00 GMT"} {
		all = append(all, mischief{name: "429 for " + after, handle: asksToWait(after)})
	}
	return append(all,
		mischief{name: "a certificate that has ended", tls: func(m *matrix) *tls.Config {
			return m.trusted.certificate(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })
		}},
		mischief{name: "a certificate of another host", tls: func(m *matrix) *tls.Config {
			return m.trusted.certificate(func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"other.example"} })
		}},
		mischief{name: "a certificate of nobody known", tls: func(m *matrix) *tls.Config {
			return m.unknown.certificate(func(*x509.Certificate) {})
		}},
		mischief{name: "TLS of earlier years", tls: func(m *matrix) *tls.Config {
			c := m.trusted.certificate(func(*x509.Certificate) {})
			c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
			return c
		}},
	)
}

// authority signs what peers show, and the bot trusts it.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) (authority, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: t.Name()}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(2 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// certificate is a good one for loopback, changed.
func (a authority) certificate(change func(*x509.Certificate)) *tls.Config {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, a.key.Public(), a.key)
	if err != nil {
		panic(err) // a key that has been made signs
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: a.key}}}
}

func newMatrix(t *testing.T) *matrix {
	t.Helper()
	world, err := sandbox.New(t.Context(), sandbox.Options{Limits: boundless()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = world.Close() })
	m := &matrix{world: world, machine: world.Tenant.Named("ws-014.corp.contoso.com")[0].ID}
	var ca []byte
	m.trusted, ca = newAuthority(t)
	m.unknown, _ = newAuthority(t)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	if m.cfg, err = LoadConfig(t.Context(), append(world.Environment(), "MDEBOT_CA_FILE="+file)); err != nil {
		t.Fatal(err)
	}
	nobody := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(nobody.Close)
	if err := world.Connect(t.Context(), nobody.URL); err != nil {
		t.Fatal(err)
	}
	service, err := url.Parse(world.Teams.ServiceURL(sandbox.TenantID))
	if err != nil {
		t.Fatal(err)
	}
	m.servicePath = service.Path
	if m.transport, err = outbound(m.cfg, newParts()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.transport.CloseIdleConnections)
	return m
}

// boundless are limits of Defender that a matrix does not reach.
func boundless() map[defendersim.Family]defendersim.Limit {
	all := map[defendersim.Family]defendersim.Limit{}
	for f := range defendersim.DefaultLimits() {
		all[f] = defendersim.Limit{PerMinute: 1_000_000, PerHour: 1_000_000}
	}
	return all
}

// stand puts x in front of p. Requests that would go through it to the peer are
// counted; a nil x answers as the peer does.
func (m *matrix) stand(t *testing.T, p peer, x *mischief, asked *atomic.Int64, stolen *atomic.Bool) (base string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base = "http://" + listener.Addr().String()
	if x != nil && x.closed {
		_ = listener.Close()
		return base
	}
	target, err := url.Parse(m.world.Addresses()[p.at])
	if err != nil {
		t.Fatal(err)
	}
	// What is taken over from the server ends with the test: a sign-in that somebody
	// else may wait for goes on after its caller has gone.
	var taken closers
	t.Cleanup(taken.close)
	through := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, ErrorLog: log.New(io.Discard, "", 0)}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch {
		case strings.HasPrefix(r.URL.Path, "/stolen"):
			stolen.Store(true)
		case x == nil || x.tls != nil:
			through.ServeHTTP(w, r)
		case x.handle != nil:
			x.handle(w, r)
		default:
			c, buffered, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			taken.add(c)
			_, _ = io.Copy(io.Discard, io.LimitReader(buffered, r.ContentLength))
			x.answer(c, r)
		}
	})}
	t.Cleanup(func() { _ = server.Close() })
	switch {
	case x != nil && x.connect != nil:
		go func() {
			for {
				c, err := listener.Accept()
				if err != nil {
					return
				}
				asked.Add(1)
				taken.add(c)
				go func() {
					defer c.Close()
					x.connect(c)
				}()
			}
		}()
		t.Cleanup(func() { _ = listener.Close() })
		return base
	case x != nil && x.tls != nil:
		base = "https://" + listener.Addr().String()
		listener = tls.NewListener(listener, x.tls(m))
	}
	go func() { _ = server.Serve(listener) }()
	return base
}

// closers are connections to be closed.
type closers struct {
	mu  sync.Mutex
	all []io.Closer
}

func (c *closers) add(one io.Closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, one)
}

func (c *closers) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.all {
		_ = one.Close()
	}
}

// Whatever a peer does instead of answering, the call ends in time, with an error,
// after few requests, without following it elsewhere, and nothing takes effect twice
// (reliability, fault matrix).
func TestPeers_whateverTheyAnswer(t *testing.T) {
	t.Parallel()
	const (
		patience = 3 * time.Second  // of whoever calls
		grace    = 20 * time.Second // of a machine that is busy
		most     = 8                // requests of one call
	)
	m := newMatrix(t)
	cells := mischiefs()
	for _, p := range matrixPeers {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			var stolen atomic.Bool
			good := map[string]*mischief{"as it is": nil, "with a good certificate": {tls: func(m *matrix) *tls.Config { return m.trusted.certificate(func(*x509.Certificate) {}) }}}
			for name, x := range good {
				if x != nil && p.plain {
					continue
				}
				if err := p.call(t.Context(), m, m.stand(t, p, x, &asked, &stolen)); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			for _, x := range cells {
				if x.tls != nil && p.plain {
					continue
				}
				t.Run(x.name, func(t *testing.T) {
					t.Parallel()
					var asked atomic.Int64
					var stolen atomic.Bool
					base := m.stand(t, p, &x, &asked, &stolen)
					before := len(m.world.Tenant.Effects())
					ctx, stop := context.WithTimeout(t.Context(), patience)
					defer stop()
					began := time.Now()
					err := p.call(ctx, m, base)
					if took := time.Since(began); took > patience+grace {
						t.Errorf("the call ended after %s", took)
					}
					switch {
					case err == nil && (!p.takes || !x.fine):
						t.Error("it passes for a good answer")
					case err != nil && (strings.Contains(err.Error(), m.cfg.Defender.ClientSecret) || strings.Contains(err.Error(), m.cfg.PageKey)):
						t.Errorf("a secret is in the error: %v", err)
					}
					if n := asked.Load(); n > most {
						t.Errorf("%d requests for one call", n)
					}
					if stolen.Load() {
						t.Error("a redirect was followed")
					}
					if after := len(m.world.Tenant.Effects()); after != before && x.tls == nil && p.name == "Defender's action" {
						t.Errorf("%d things took effect", after-before)
					}
				})
			}
		})
	}
}
