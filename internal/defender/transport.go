package defender

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"
)

// guard copies a transport and narrows it: TLS 1.2 or newer, verified; only the
// given hosts (or, when the transport has one, the proxy) are dialled; and a host
// that resolves to a private address is refused once its address is known, so
// that no answer of a name server leads a token into the own network.
func guard(t *http.Transport, hosts []string) (*http.Transport, error) {
	t = t.Clone()
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{}
	}
	if t.TLSClientConfig.InsecureSkipVerify {
		return nil, errors.New("the transport does not verify certificates; add the CA to its roots instead")
	}
	t.TLSClientConfig.MinVersion = max(t.TLSClientConfig.MinVersion, tls.VersionTLS12)
	t.DialTLSContext = nil
	t.MaxIdleConnsPerHost = max(t.MaxIdleConnsPerHost, 8)
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = (&url.URL{Host: h}).Hostname()
	}
	public := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, Control: onlyPublic}
	local := &net.Dialer{Timeout: 10 * time.Second, Control: onlyLoopback}
	proxy := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	hasProxy := t.Proxy != nil
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		switch {
		case err != nil:
			return nil, err
		case slices.Contains(names, host) && isLoopback(host):
			return local.DialContext(ctx, network, address)
		case slices.Contains(names, host):
			return public.DialContext(ctx, network, address)
		case hasProxy:
			return proxy.DialContext(ctx, network, address)
		}
		return nil, fmt.Errorf("%s is not a host of the configured cloud", host)
	}
	return t, nil
}

func onlyPublic(_, address string, _ syscall.RawConn) error {
	ip, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !isPublic(ip.Addr()) {
		return fmt.Errorf("the name resolves to the private address %s", ip.Addr())
	}
	return nil
}

func onlyLoopback(_, address string, _ syscall.RawConn) error {
	ip, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !ip.Addr().Unmap().IsLoopback() {
		return fmt.Errorf("the loopback name resolves to %s", ip.Addr())
	}
	return nil
}

// notPublic are the special-purpose ranges that netip has no method for.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
}

func isPublic(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsGlobalUnicast() && !ip.IsPrivate() &&
		!slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(ip) })
}
