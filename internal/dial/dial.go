// Package dial decides where connections may lead. A name is checked before the
// call, but an answer of a name server comes after that check: only the address
// that is about to be dialled tells whether a token goes into the own network
// (threat-model D-01, S-09).
package dial

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

// Exact copies a transport and narrows it: TLS 1.2 or newer, verified; only the
// given hosts (or, when the transport has one, the proxy) are dialled; and a host
// that resolves to a private address is refused.
func Exact(t *http.Transport, hosts []string) (*http.Transport, error) {
	t, err := verified(t)
	if err != nil {
		return nil, err
	}
	t.MaxIdleConnsPerHost = max(t.MaxIdleConnsPerHost, 8)
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = (&url.URL{Host: h}).Hostname()
	}
	hasProxy := t.Proxy != nil
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		switch {
		case err != nil:
			return nil, err
		case slices.Contains(names, host):
			return named(host).DialContext(ctx, network, address)
		case hasProxy:
			return anywhere.DialContext(ctx, network, address)
		}
		return nil, fmt.Errorf("%s is not a host of the configured cloud", host)
	}
	return t, nil
}

// Public copies a transport and lets it reach public addresses only. Of the hosts
// in own, those that are loopback by name stay on this machine; the proxy, which
// is mostly inside, may be anywhere. Which names are called is for the caller.
func Public(t *http.Transport, proxy string, own []string) (*http.Transport, error) {
	t, err := verified(t)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(own))
	for i, h := range own {
		names[i] = (&url.URL{Host: h}).Hostname()
	}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		switch {
		case err != nil:
			return nil, err
		case proxy != "" && host == (&url.URL{Host: proxy}).Hostname():
			return anywhere.DialContext(ctx, network, address)
		case slices.Contains(names, host):
			return named(host).DialContext(ctx, network, address)
		}
		return public.DialContext(ctx, network, address)
	}
	return t, nil
}

var (
	anywhere = &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	public   = &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, Control: onlyPublic}
	local    = &net.Dialer{Timeout: 10 * time.Second, Control: onlyLoopback}
)

// named is the dialer for a configured host.
func named(host string) *net.Dialer {
	if isLoopback(host) {
		return local
	}
	return public
}

func verified(t *http.Transport) (*http.Transport, error) {
	t = t.Clone()
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{}
	}
	if t.TLSClientConfig.InsecureSkipVerify {
		return nil, errors.New("the transport does not verify certificates; add the CA to its roots instead")
	}
	t.TLSClientConfig.MinVersion = max(t.TLSClientConfig.MinVersion, tls.VersionTLS12)
	t.DialTLSContext = nil
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

// isLoopback reports whether a host stays on this machine by its name alone.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
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
