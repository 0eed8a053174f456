package defender

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/mdebot/mdebot/internal/entra"
)

// Config names the Defender tenant and the applications that read it and act
// in it. What belongs to the cloud is its cloud's when it is empty.
type Config struct {
	TenantID TenantID `env:"MDE_TENANT_ID"`
	Cloud    string   `env:"MDE_CLOUD"`

	Auth                string `env:"MDE_AUTH"`
	ClientID            string `env:"MDE_CLIENT_ID"`
	ClientSecret        string `env:"MDE_CLIENT_SECRET"`
	CertificateFile     string `env:"MDE_CLIENT_CERTIFICATE_FILE"`
	CertificatePassword string `env:"MDE_CLIENT_CERTIFICATE_PASSWORD"`
	// The acting application starts machine actions and is used for nothing else.
	// Empty means that the reading application acts as well.
	ActionAuth                string `env:"MDE_ACTION_AUTH"`
	ActionClientID            string `env:"MDE_ACTION_CLIENT_ID"`
	ActionClientSecret        string `env:"MDE_ACTION_CLIENT_SECRET"`
	ActionCertificateFile     string `env:"MDE_ACTION_CLIENT_CERTIFICATE_FILE"`
	ActionCertificatePassword string `env:"MDE_ACTION_CLIENT_CERTIFICATE_PASSWORD"`
	// TokenFile is the federated token of a workload identity.
	TokenFile string `env:"AZURE_FEDERATED_TOKEN_FILE"`

	BaseURL       string `env:"MDE_BASE_URL"`
	XDRURL        string `env:"MDE_XDR_URL"`
	GraphURL      string `env:"MDE_GRAPH_URL"`
	AuthorityURL  string `env:"MDE_AUTHORITY_URL"`
	Audience      string `env:"MDE_AUDIENCE"`
	XDRAudience   string `env:"MDE_XDR_AUDIENCE"`
	GraphAudience string `env:"MDE_GRAPH_AUDIENCE"`
	// TokenVersion is v1 or v2.
	TokenVersion string `env:"MDE_TOKEN_VERSION"`
}

// Endpoints are the addresses and audiences of a tenant: those that are set, and
// those of its cloud.
type Endpoints struct {
	Cloud                                string
	Base, XDR, Graph, Authority          string
	Audience, XDRAudience, GraphAudience string
	Portal                               string
	hosts                                []string
}

// Endpoints reports every fault at once.
func (c Config) Endpoints() (Endpoints, error) {
	var faults []error
	unit := clouds[0]
	if c.Cloud != "" {
		named, ok := cloudNamed(c.Cloud)
		if !ok {
			faults = append(faults, fmt.Errorf("MDE_CLOUD: %q is none of %s", c.Cloud, strings.Join(CloudNames(), ", ")))
		}
		unit = named
	} else if of, ok := cloudOf(c.BaseURL); ok {
		unit = of // the address alone says which cloud
		if u, err := url.Parse(c.GraphURL); err == nil && u.Host == dodGraphHost {
			unit, _ = cloudNamed("dod")
		}
	}
	e := Endpoints{
		Cloud: unit.name, Portal: unit.portal, hosts: unit.hosts,
		Audience:    cmp.Or(bareAudience(c.Audience), unit.audience),
		XDRAudience: cmp.Or(bareAudience(c.XDRAudience), unit.xdrAudience),
	}
	for _, a := range []struct {
		name, value, otherwise string
		hosts                  []string // nil: an address of Defender
		into                   *string
	}{
		{"MDE_BASE_URL", c.BaseURL, unit.base, nil, &e.Base},
		{"MDE_XDR_URL", c.XDRURL, unit.xdr, nil, &e.XDR},
		{"MDE_GRAPH_URL", c.GraphURL, unit.graph, graphHosts(), &e.Graph},
		{"MDE_AUTHORITY_URL", c.AuthorityURL, unit.authority, authorityHosts, &e.Authority},
	} {
		var err error
		value := cmp.Or(a.value, a.otherwise)
		if a.hosts == nil {
			*a.into, err = ParseBaseURL(value)
		} else {
			var u *url.URL
			if u, err = parseBase(value, a.hosts); err == nil {
				*a.into = u.String()
			}
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", a.name, err))
		}
	}
	e.GraphAudience = cmp.Or(bareAudience(c.GraphAudience), graphAudienceOf(e.Graph))
	for _, a := range []struct{ name, value string }{
		{"MDE_AUDIENCE", c.Audience}, {"MDE_XDR_AUDIENCE", c.XDRAudience}, {"MDE_GRAPH_AUDIENCE", c.GraphAudience},
	} {
		if u, err := url.Parse(a.value); a.value != "" && (err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil) {
			faults = append(faults, fmt.Errorf("%s: give an https address", a.name))
		}
	}
	if len(faults) > 0 {
		return Endpoints{}, errors.Join(faults...)
	}
	// Next links may lead to any host of the cloud, and to the hosts in use.
	for _, own := range []string{e.Base, e.XDR} {
		if u, err := url.Parse(own); err == nil && !slices.Contains(e.hosts, u.Host) {
			e.hosts = append(slices.Clone(e.hosts), u.Host)
		}
	}
	return e, nil
}

// bareAudience takes an audience with or without the suffix of a scope.
func bareAudience(s string) string {
	return strings.TrimSuffix(strings.TrimSuffix(strings.TrimSpace(s), "/.default"), "/")
}

// Credential is the application that reads.
func (c Config) Credential() entra.Credential {
	return entra.Credential{
		Method: entra.Method(c.Auth), ClientID: c.ClientID, Secret: c.ClientSecret,
		CertificateFile: c.CertificateFile, CertificatePassword: c.CertificatePassword, TokenFile: c.TokenFile,
		Names: entra.NamesOf("MDE_AUTH", "MDE_CLIENT"),
	}
}

// ActionCredential is the application that acts.
func (c Config) ActionCredential() entra.Credential {
	if !c.ActsApart() {
		return c.Credential()
	}
	return entra.Credential{
		Method: entra.Method(c.ActionAuth), ClientID: c.ActionClientID, Secret: c.ActionClientSecret,
		CertificateFile: c.ActionCertificateFile, CertificatePassword: c.ActionCertificatePassword, TokenFile: c.TokenFile,
		Names: entra.NamesOf("MDE_ACTION_AUTH", "MDE_ACTION_CLIENT"),
	}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	if !isGUID(string(c.TenantID)) {
		faults = append(faults, errors.New("MDE_TENANT_ID: give the tenant ID (a GUID) of the Defender tenant"))
	}
	faults = append(faults, c.Credential().Validate(), c.validateAction())
	if _, err := c.Endpoints(); err != nil {
		faults = append(faults, err)
	}
	switch {
	case c.TokenVersion != "" && c.TokenVersion != "v1" && c.TokenVersion != "v2":
		faults = append(faults, fmt.Errorf("MDE_TOKEN_VERSION: %q is none of v1, v2", c.TokenVersion))
	case c.TokenVersion == "v1" && (c.Credential().Effective() != entra.Secret || c.ActionCredential().Effective() != entra.Secret):
		faults = append(faults, errors.New("MDE_TOKEN_VERSION: v1 is for client secrets only; leave it out"))
	}
	return errors.Join(faults...)
}

func (c Config) validateAction() error {
	given := c.ActionAuth != "" || strings.TrimSpace(c.ActionClientSecret) != "" || c.ActionCertificateFile != ""
	switch {
	case c.ActionClientID == "" && !given:
		return nil
	case c.ActionClientID == "" || !given:
		return errors.New("MDE_ACTION_CLIENT_ID and MDE_ACTION_CLIENT_SECRET (or a certificate, or MDE_ACTION_AUTH) go together: set both or neither")
	case strings.EqualFold(c.ActionClientID, c.ClientID):
		return errors.New("MDE_ACTION_CLIENT_ID: it is the application that reads; give one of its own, or leave it out")
	}
	return c.ActionCredential().Validate()
}

// ActsApart reports whether an application of its own starts machine actions.
func (c Config) ActsApart() bool { return c.ActionClientID != "" }

// ActingID is the client ID of whoever starts machine actions.
func (c Config) ActingID() string { return cmp.Or(c.ActionClientID, c.ClientID) }

// LogValue shows where the client talks to and as whom, never a secret.
func (c Config) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("tenant_id", string(c.TenantID)),
		slog.String("client_id", c.ClientID),
		slog.String("auth", string(c.Credential().Effective())),
		slog.String("action_client_id", c.ActionClientID),
	}
	if e, err := c.Endpoints(); err == nil {
		attrs = append(attrs,
			slog.String("cloud", e.Cloud), slog.String("base_url", e.Base), slog.String("xdr_url", e.XDR),
			slog.String("graph_url", e.Graph), slog.String("authority_url", e.Authority),
		)
	}
	return slog.GroupValue(attrs...)
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
		return nil, errBare
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
	return nil, fmt.Errorf("%s is not one of Microsoft's hosts for this: %s", u.Host, strings.Join(hosts[:min(len(hosts), 12)], ", "))
}

// isLoopback reports whether a host stays on this machine by its name alone.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
