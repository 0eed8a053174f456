package defender

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
)

// Config names the Defender tenant and the applications that read it and act
// in it.
type Config struct {
	TenantID     TenantID `env:"MDE_TENANT_ID"`
	ClientID     string   `env:"MDE_CLIENT_ID"`
	ClientSecret string   `env:"MDE_CLIENT_SECRET"`
	// ActionClientID and ActionClientSecret are those of an application that
	// starts machine actions and is used for nothing else. Empty means that the
	// reading application acts as well.
	ActionClientID     string `env:"MDE_ACTION_CLIENT_ID"`
	ActionClientSecret string `env:"MDE_ACTION_CLIENT_SECRET"`
	BaseURL            string `env:"MDE_BASE_URL, default=https://api.security.microsoft.com"`
	GraphURL           string `env:"MDE_GRAPH_URL, default=https://graph.microsoft.com"`
	AuthorityURL       string `env:"MDE_AUTHORITY_URL, default=https://login.microsoftonline.com"`
	// Audience and GraphAudience are what tokens are asked for. Empty means the
	// one that belongs to BaseURL and GraphURL.
	Audience      string
	GraphAudience string
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	if !isGUID(string(c.TenantID)) {
		faults = append(faults, errors.New("MDE_TENANT_ID: give the tenant ID (a GUID) of the Defender tenant"))
	}
	if !isGUID(c.ClientID) {
		faults = append(faults, errors.New("MDE_CLIENT_ID: give the application (client) ID, a GUID"))
	}
	if strings.TrimSpace(c.ClientSecret) == "" {
		faults = append(faults, errors.New("MDE_CLIENT_SECRET: give the client secret of the application"))
	}
	switch {
	case (c.ActionClientID == "") != (strings.TrimSpace(c.ActionClientSecret) == ""):
		faults = append(faults, errors.New("MDE_ACTION_CLIENT_ID and MDE_ACTION_CLIENT_SECRET go together: set both or neither"))
	case c.ActionClientID != "" && !isGUID(c.ActionClientID):
		faults = append(faults, errors.New("MDE_ACTION_CLIENT_ID: give the application (client) ID, a GUID"))
	case c.ActionClientID != "" && strings.EqualFold(c.ActionClientID, c.ClientID):
		faults = append(faults, errors.New("MDE_ACTION_CLIENT_ID: it is the application that reads; give one of its own, or leave it out"))
	}
	for _, a := range []struct {
		name, value string
		hosts       []string
	}{
		{"MDE_BASE_URL", c.BaseURL, defenderHosts()},
		{"MDE_GRAPH_URL", c.GraphURL, graphHosts()},
		{"MDE_AUTHORITY_URL", c.AuthorityURL, authorityHosts},
	} {
		if _, err := parseBase(a.value, a.hosts); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", a.name, err))
		}
	}
	for _, a := range []struct{ name, value string }{
		{"MDE_AUDIENCE", c.Audience}, {"MDE_GRAPH_AUDIENCE", c.GraphAudience},
	} {
		if u, err := url.Parse(a.value); a.value != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
			faults = append(faults, fmt.Errorf("%s: give an https address", a.name))
		}
	}
	return errors.Join(faults...)
}

// ActsApart reports whether an application of its own starts machine actions.
func (c Config) ActsApart() bool { return c.ActionClientID != "" }

// Acting is the configuration of whoever starts machine actions.
func (c Config) Acting() Config {
	if c.ActsApart() {
		c.ClientID, c.ClientSecret = c.ActionClientID, c.ActionClientSecret
	}
	return c.Reading()
}

// Reading is c without the acting application.
func (c Config) Reading() Config {
	c.ActionClientID, c.ActionClientSecret = "", ""
	return c
}

// LogValue shows where the client talks to and as whom, never the secret.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("tenant_id", string(c.TenantID)),
		slog.String("client_id", c.ClientID),
		slog.String("action_client_id", c.ActionClientID),
		slog.String("base_url", c.BaseURL),
		slog.String("graph_url", c.GraphURL),
		slog.String("authority_url", c.AuthorityURL),
	)
}

// String keeps the secret out of %v and %s.
func (c Config) String() string { return c.LogValue().String() }

// GoString keeps the secret out of %#v.
func (c Config) GoString() string { return "defender.Config{" + c.String() + "}" }

// parseBase accepts a bare https address of one of the hosts, or any loopback
// address, which may be plain http: tests and the demo use those.
func parseBase(raw string, hosts []string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return nil, errors.New("give a bare address such as https://api.security.microsoft.com")
	}
	u.Path, u.Host = "", strings.ToLower(u.Host)
	if isLoopback(u.Hostname()) {
		if u.Scheme != "https" && u.Scheme != "http" {
			return nil, errors.New("give an http or https address")
		}
		return u, nil
	}
	if u.Scheme != "https" {
		return nil, errors.New("give an https address; http is for loopback addresses only")
	}
	if u.Port() == "443" {
		u.Host = u.Hostname()
	}
	for _, h := range hosts {
		if u.Host == h {
			return u, nil
		}
	}
	return nil, fmt.Errorf("%s is not one of Microsoft's hosts for this: %s", u.Host, strings.Join(hosts, ", "))
}

// isLoopback reports whether a host stays on this machine by its name alone.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
