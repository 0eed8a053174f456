package teamsbot

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

// errForeignHost refuses to send anything, above all the bot's token, to a host
// that is not configured.
var errForeignHost = errors.New("service URL is not on the list of hosts")

// services knows the hosts that may get the bot's token. Hosts are compared
// exactly: anybody can make names under the DNS zone of the regional ones.
type services struct {
	hosts []string
	// localScheme is the scheme for hosts on this machine.
	localScheme string
}

func newServices(cfg Config) services {
	s := services{hosts: cfg.ServiceHosts, localScheme: "https"}
	if cfg.local() && strings.HasPrefix(cfg.MetadataURL, "http://") {
		s.localScheme = "http"
	}
	return s
}

// check parses a service URL and refuses all but the configured hosts. It is
// asked again for every call, also for stored URLs.
func (s services) check(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" || u.RawPath != "" || strings.ContainsAny(raw, "\\?#%") {
		return nil, errForeignHost
	}
	u.Host = strings.ToLower(u.Host)
	if !slices.Contains(s.hosts, u.Host) || u.Scheme != s.scheme(u.Hostname()) {
		return nil, errForeignHost
	}
	for part := range strings.SplitSeq(strings.Trim(u.Path, "/"), "/") {
		if part == "." || part == ".." {
			return nil, errForeignHost
		}
	}
	return u, nil
}

func (s services) scheme(host string) string {
	if isLoopback(host) {
		return s.localScheme
	}
	return "https"
}

// fallback is the service URL for conversations that no activity came from.
func (s services) fallback() string {
	u := url.URL{Scheme: "https", Host: s.hosts[0], Path: "/teams/"}
	u.Scheme = s.scheme(u.Hostname())
	return u.String()
}

// checkUpload accepts the addresses that OneDrive gives for uploads. They come
// from a client's side of an invoke.
func (s services) checkUpload(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Fragment != "" {
		return nil, errors.New("upload address is malformed")
	}
	host := strings.ToLower(u.Host)
	if u.Scheme == "https" && (strings.HasSuffix(host, ".sharepoint.com") || strings.HasSuffix(host, ".svc.ms")) {
		return u, nil
	}
	if isLoopback(u.Hostname()) && slices.Contains(s.hosts, host) && u.Scheme == s.localScheme {
		return u, nil
	}
	return nil, errors.New("upload address is not one of OneDrive or SharePoint")
}
