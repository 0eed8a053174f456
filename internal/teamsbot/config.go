package teamsbot

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/mdebot/mdebot/internal/entra"
)

// Config is what an operator sets.
type Config struct {
	Auth                   string `env:"TEAMS_AUTH"`
	AppID                  string `env:"TEAMS_APP_ID"`
	AppSecret              string `env:"TEAMS_APP_SECRET"`
	AppCertificateFile     string `env:"TEAMS_APP_CERTIFICATE_FILE"`
	AppCertificatePassword string `env:"TEAMS_APP_CERTIFICATE_PASSWORD"`
	// TokenFile is the federated token of a workload identity.
	TokenFile string `env:"AZURE_FEDERATED_TOKEN_FILE"`
	// TenantIDs are the tenants whose people may speak with the bot. The first is
	// the bot's own, which issues its tokens.
	TenantIDs    []string `env:"TEAMS_TENANT_ID"`
	AuthorityURL string   `env:"TEAMS_AUTHORITY_URL, default=https://login.microsoftonline.com"`
	MetadataURL  string   `env:"TEAMS_METADATA_URL, default=https://login.botframework.com/v1/.well-known/openidconfiguration"`
	// ServiceHosts are the exact hosts that get the bot's token.
	ServiceHosts []string `env:"TEAMS_SERVICE_HOSTS, default=smba.trafficmanager.net"`
}

// Enabled reports whether anything of the Teams bot itself is configured.
func (c Config) Enabled() bool {
	return c.AppID != "" || c.AppSecret != "" || c.AppCertificateFile != "" || c.Auth != "" || len(c.TenantIDs) > 0
}

// Credential is how the bot signs in to call Bot Connector.
func (c Config) Credential() entra.Credential {
	return entra.Credential{
		Method: entra.Method(c.Auth), ClientID: c.AppID, Secret: c.AppSecret,
		CertificateFile: c.AppCertificateFile, CertificatePassword: c.AppCertificatePassword, TokenFile: c.TokenFile,
		Names: entra.NamesOf("TEAMS_AUTH", "TEAMS_APP"),
	}
}

// cloud is what belongs together: who publishes the keys, who issues the tokens,
// and what the bot's own token is for.
type cloud struct {
	issuer string
	scope  string
	// targeted tells that Microsoft documents targeted messages there.
	targeted bool
	// frames are the hosts of Teams that may show a tab, and chats is the one that links
	// into a chat name. Without them there are no tabs.
	frames, chats string
}

// clouds by the host of the metadata address.
var clouds = map[string]cloud{
	"login.botframework.com": {
		"https://api.botframework.com", "https://api.botframework.com/.default", true,
		// learn.microsoft.com/microsoftteams/platform/tabs/how-to/tab-requirements
		"https://teams.microsoft.com https://*.teams.microsoft.com https://*.cloud.microsoft", "https://teams.microsoft.com",
	},
	"login.botframework.azure.us": {
		"https://api.botframework.us", "https://api.botframework.us/.default", false,
		"https://teams.microsoft.us https://*.teams.microsoft.us", "https://gov.teams.microsoft.us",
	},
	"login.botframework.azure.cn": {"https://api.botframework.azure.cn", "https://api.botframework.azure.cn/.default", false, "", ""},
}

// cloud tells which cloud the metadata address belongs to. A loopback address
// stands for the public one.
func (c Config) cloud() (cloud, bool) {
	u, err := url.Parse(c.MetadataURL)
	if err != nil {
		return cloud{}, false
	}
	if isLoopback(u.Hostname()) {
		return clouds["login.botframework.com"], true
	}
	found, ok := clouds[u.Host]
	return found, ok
}

// local tells that the metadata address is on this machine, the only case in
// which service hosts on this machine are accepted too.
func (c Config) local() bool {
	u, err := url.Parse(c.MetadataURL)
	return err == nil && isLoopback(u.Hostname())
}

// LogValue shows what is no secret.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("app_id", c.AppID),
		slog.String("auth", string(c.Credential().Effective())),
		slog.Any("tenant_ids", c.TenantIDs),
		slog.String("authority_url", c.AuthorityURL),
		slog.String("metadata_url", c.MetadataURL),
		slog.Any("service_hosts", c.ServiceHosts),
	)
}

// String hides the secret from the fmt verbs.
func (c Config) String() string { return c.LogValue().String() }

// GoString hides the secret from %#v.
func (c Config) GoString() string { return c.String() }

// Validate reports every fault at once. An empty or placeholder application ID
// or secret is a fault: there is no way to run without authentication.
func (c Config) Validate() error {
	var faults []error
	add := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !isGUID(c.AppID) {
		add("TEAMS_APP_ID must be the bot's Microsoft App ID, a GUID such as 1b2c3d4e-…")
	}
	if c.Credential().Effective() == entra.Secret && c.AppCertificateFile == "" {
		if isPlaceholder(c.AppSecret) {
			add("TEAMS_APP_SECRET must be the client secret of the bot's app registration")
		}
	} else if err := c.Credential().Validate(); err != nil && isGUID(c.AppID) {
		faults = append(faults, err)
	}
	if len(c.TenantIDs) == 0 {
		add("TEAMS_TENANT_ID must be the Entra tenant ID of the bot, a GUID; further accepted tenants follow after commas")
	}
	for _, t := range c.TenantIDs {
		if !isGUID(t) {
			add("TEAMS_TENANT_ID: %q is no tenant ID; write GUIDs separated by commas", t)
		}
	}
	if err := checkAddress(c.AuthorityURL); err != nil {
		add("TEAMS_AUTHORITY_URL: %w", err)
	}
	if err := checkAddress(c.MetadataURL); err != nil {
		add("TEAMS_METADATA_URL: %w", err)
	} else if _, ok := c.cloud(); !ok {
		add("TEAMS_METADATA_URL: the host belongs to no Microsoft cloud; the keys of Bot Connector come only from Microsoft")
	}
	if len(c.ServiceHosts) == 0 {
		add("TEAMS_SERVICE_HOSTS must name at least one host, such as smba.trafficmanager.net")
	}
	for _, h := range c.ServiceHosts {
		if err := c.checkServiceHost(h); err != nil {
			add("TEAMS_SERVICE_HOSTS: %q: %w", h, err)
		}
	}
	return errors.Join(faults...)
}

func (c Config) checkServiceHost(h string) error {
	name := h
	if host, _, err := net.SplitHostPort(h); err == nil {
		name = host
	}
	if isLoopback(name) {
		if !c.local() {
			return errors.New("a host on this machine is accepted only with TEAMS_METADATA_URL on this machine")
		}
		return nil
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return errors.New("write a host name, no address")
	}
	u, err := url.Parse("https://" + h + "/")
	if err != nil || u.Host != h || u.Port() != "" || h != strings.ToLower(h) || !strings.Contains(h, ".") || strings.ContainsAny(h, "*/@ ") {
		return errors.New("write the exact host in lower case, without scheme, port, path or wildcard")
	}
	return nil
}

// checkAddress accepts https and, on this machine, http.
func checkAddress(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "":
		return errors.New("write an address such as https://login.microsoftonline.com")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("the address must not carry user, query or fragment")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return errors.New("use https; plain http is accepted only for this machine")
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.IsLoopback()
}

// isPlaceholder finds secrets that nobody can have meant.
func isPlaceholder(secret string) bool {
	s := strings.ToLower(strings.TrimSpace(secret))
	if len(s) < 8 || s != strings.ToLower(secret) {
		return true
	}
	for _, p := range []string{"changeme", "change-me", "placeholder", "your-", "your_", "<", "xxxx", "example-secret", "${"} {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// isGUID accepts a GUID that is not all zeros.
func isGUID(s string) bool {
	if len(s) != 36 || strings.Trim(s, "0-") == "" {
		return false
	}
	for i, c := range []byte(s) {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
				return false
			}
		}
	}
	return true
}
