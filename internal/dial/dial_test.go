package dial

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

// listening is a server of this machine that takes connections.
func listening(t *testing.T) (address string) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

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

func TestExact_dialling(t *testing.T) {
	t.Parallel()
	loopback := listening(t)
	for name, tc := range map[string]struct {
		hosts []string
		proxy bool
		want  string // in the error; "" = connects
	}{
		"a configured loopback address":  {hosts: []string{loopback}},
		"a host that was not configured": {hosts: []string{"api.security.microsoft.com"}, want: "not a host"},
		"the proxy":                      {hosts: []string{"api.security.microsoft.com"}, proxy: true},
	} {
		base := &http.Transport{}
		if tc.proxy {
			base.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: loopback})
		}
		guarded, err := Exact(base, tc.hosts)
		dials(t, name, guarded, err, loopback, tc.want)
	}
}

// A name that leads into the own network is refused when its address is known,
// also when the name itself is one of those that may be called.
func TestPublic_dialling(t *testing.T) {
	t.Parallel()
	loopback := listening(t)
	_, port, err := net.SplitHostPort(loopback)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		address, proxy string
		own            []string
		want           string
	}{
		"a configured loopback address":          {address: loopback, own: []string{loopback}},
		"a loopback name among public ones":      {address: "localhost:" + port, own: []string{"localhost:" + port}},
		"an address of this machine":             {address: loopback, want: "private address 127.0.0.1"},
		"a name that resolves to this machine":   {address: "localhost:" + port, own: []string{loopback}, want: "private address"},
		"the metadata service":                   {address: "169.254.169.254:80", want: "private address 169.254.169.254"},
		"an own host that is a private address":  {address: "10.0.0.1:443", own: []string{"10.0.0.1:443"}, want: "private address 10.0.0.1"},
		"a proxy inside":                         {address: loopback, proxy: loopback},
		"beside a proxy, an address of this one": {address: "127.0.0.2:" + port, proxy: loopback, want: "private address 127.0.0.2"},
	} {
		guarded, err := Public(&http.Transport{}, tc.proxy, tc.own)
		dials(t, name, guarded, err, tc.address, tc.want)
	}
}

func dials(t *testing.T, name string, guarded *http.Transport, err error, address, want string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := guarded.DialContext(t.Context(), "tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%s: dial %s = %v, want %q", name, address, err, want)
	}
}

func TestControl(t *testing.T) {
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
