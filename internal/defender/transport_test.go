package defender

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func TestIsPublic(t *testing.T) {
	t.Parallel()
	for _, private := range []string{
		"127.0.0.1", "::1", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "fe80::1", "fd00::1",
		"0.0.0.0", "::", "100.64.0.1", "198.18.0.1", "255.255.255.255", "224.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
	} {
		if isPublic(netip.MustParseAddr(private)) {
			t.Errorf("isPublic(%s) = true", private)
		}
	}
	for _, public := range []string{"20.190.128.1", "2603:1006::1", "::ffff:20.190.128.1"} {
		if !isPublic(netip.MustParseAddr(public)) {
			t.Errorf("isPublic(%s) = false", public)
		}
	}
}

func TestGuard_dialling(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	loopback := strings.TrimPrefix(f.server.URL, "http://")
	tests := []struct {
		name, address string
		hosts         []string
		proxy         bool
		want          string // in the error; "" = connects
	}{
		{"a configured loopback address", loopback, []string{loopback}, false, ""},
		{"a host that was not configured", loopback, []string{"api.security.microsoft.com"}, false, "not a host"},
		{"the proxy", loopback, []string{"api.security.microsoft.com"}, true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base := &http.Transport{}
			if tt.proxy {
				base.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: loopback})
			}
			guarded, err := guard(base, tt.hosts)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := guarded.DialContext(context.Background(), "tcp", tt.address)
			if err == nil {
				conn.Close()
			}
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("dial = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestGuard_control(t *testing.T) {
	t.Parallel()
	if err := onlyPublic("tcp", "169.254.169.254:443", nil); err == nil {
		t.Error("a Microsoft name may resolve to a link-local address")
	}
	if err := onlyPublic("tcp", "20.190.128.1:443", nil); err != nil {
		t.Errorf("a public address is refused: %v", err)
	}
	if err := onlyLoopback("tcp", "20.190.128.1:443", nil); err == nil {
		t.Error("localhost may resolve to another machine")
	}
}

func TestNew_refusesTransportThatVerifiesNothing(t *testing.T) {
	t.Parallel()
	insecure := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	if _, err := New(newFake(t).config(), WithTransport(insecure)); err == nil {
		t.Error("New() accepted a transport without certificate checks")
	}
}

func TestClient_followsNoRedirect(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc("GET /api/machines/{id}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, f.server.URL+"/stolen", http.StatusTemporaryRedirect)
	})
	c, _ := f.client(t)
	if _, err := c.Machine(t.Context(), testMachine); err == nil {
		t.Error("Machine() followed a redirect")
	}
	for _, r := range f.seen() {
		if r.Path == "/stolen" {
			t.Error("the redirect was followed")
		}
	}
}
