package teamsbot

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/sethvargo/go-envconfig"
)

func goodConfig() Config {
	return Config{
		AppID: appID, AppSecret: secret, TenantIDs: []string{home, partner},
		AuthorityURL: "https://login.microsoftonline.com",
		MetadataURL:  "https://login.botframework.com/v1/.well-known/openidconfiguration",
		ServiceHosts: []string{"smba.trafficmanager.net"},
	}
}

func TestConfig_fromEnvironment(t *testing.T) {
	t.Parallel()
	var got Config
	err := envconfig.ProcessWith(context.Background(), &envconfig.Config{Target: &got, Lookuper: envconfig.MapLookuper(map[string]string{
		"TEAMS_APP_ID": appID, "TEAMS_APP_SECRET": secret, "TEAMS_TENANT_ID": home + "," + partner,
	})})
	if err != nil {
		t.Fatal(err)
	}
	if want := goodConfig(); fmt.Sprint(got) != fmt.Sprint(want) || got.AppSecret != secret {
		t.Errorf("config = %v, want %v", got, want)
	}
	if err := got.Validate(); err != nil {
		t.Errorf("Validate() = %v", err)
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*Config)
		fault  string // empty: valid
	}{
		{"public cloud", func(*Config) {}, ""},
		{"government cloud", func(c *Config) {
			c.MetadataURL = "https://login.botframework.azure.us/v1/.well-known/openidconfiguration"
			c.ServiceHosts = []string{"smba.infra.gov.teams.microsoft.us"}
		}, ""},
		{"everything on this machine", func(c *Config) {
			c.MetadataURL, c.AuthorityURL, c.ServiceHosts = "http://127.0.0.1:9/x", "http://localhost:9", []string{"127.0.0.1:9", "localhost:7"}
		}, ""},
		{"no application ID", func(c *Config) { c.AppID = "" }, "TEAMS_APP_ID"},
		{"application ID that is a name", func(c *Config) { c.AppID = "mdebot" }, "TEAMS_APP_ID"},
		{"application ID of zeros", func(c *Config) { c.AppID = "00000000-0000-0000-0000-000000000000" }, "TEAMS_APP_ID"},
		{"no secret", func(c *Config) { c.AppSecret = "" }, "TEAMS_APP_SECRET"},
		{"blank secret", func(c *Config) { c.AppSecret = "          " }, "TEAMS_APP_SECRET"},
		{"placeholder secret", func(c *Config) { c.AppSecret = "<your secret here>" }, "TEAMS_APP_SECRET"},
		{"secret with a newline", func(c *Config) { c.AppSecret += "\n" }, "TEAMS_APP_SECRET"},
		{"no tenant", func(c *Config) { c.TenantIDs = nil }, "TEAMS_TENANT_ID"},
		{"tenant that is a domain", func(c *Config) { c.TenantIDs = []string{home, "contoso.example"} }, "TEAMS_TENANT_ID"},
		{"empty entry among tenants", func(c *Config) { c.TenantIDs = []string{home, ""} }, "TEAMS_TENANT_ID"},
		{"plain http authority", func(c *Config) { c.AuthorityURL = "http://login.example" }, "TEAMS_AUTHORITY_URL"},
		{"authority with credentials", func(c *Config) { c.AuthorityURL = "https://u:p@login.example" }, "TEAMS_AUTHORITY_URL"},
		{"metadata of nobody's cloud", func(c *Config) { c.MetadataURL = "https://login.evil.example/x" }, "TEAMS_METADATA_URL"},
		{"plain http metadata", func(c *Config) { c.MetadataURL = "http://login.botframework.com/x" }, "TEAMS_METADATA_URL"},
		{"no service host", func(c *Config) { c.ServiceHosts = nil }, "TEAMS_SERVICE_HOSTS"},
		{"service host with a wildcard", func(c *Config) { c.ServiceHosts = []string{"*.trafficmanager.net"} }, "TEAMS_SERVICE_HOSTS"},
		{"service host with scheme", func(c *Config) { c.ServiceHosts = []string{"https://smba.trafficmanager.net"} }, "TEAMS_SERVICE_HOSTS"},
		{"service host with port", func(c *Config) { c.ServiceHosts = []string{"smba.trafficmanager.net:443"} }, "TEAMS_SERVICE_HOSTS"},
		{"service host that is an address", func(c *Config) { c.ServiceHosts = []string{"169.254.169.254"} }, "TEAMS_SERVICE_HOSTS"},
		{"service host on this machine, keys from Microsoft", func(c *Config) { c.ServiceHosts = []string{"127.0.0.1:9"} }, "TEAMS_SERVICE_HOSTS"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := goodConfig()
			tc.change(&c)
			err := c.Validate()
			switch {
			case tc.fault == "" && err != nil:
				t.Errorf("Validate() = %v, want no fault", err)
			case tc.fault != "" && (err == nil || !strings.Contains(err.Error(), tc.fault)):
				t.Errorf("Validate() = %v, want a fault of %s", err, tc.fault)
			}
			if _, newErr := New(c, Options{}); (newErr == nil) != (err == nil) {
				t.Errorf("New() = %v, Validate() = %v, want them to agree", newErr, err)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the fault %q shows the secret", err)
			}
		})
	}
}

func TestConfigValidate_allFaultsAtOnce(t *testing.T) {
	t.Parallel()
	err := Config{}.Validate()
	for _, name := range []string{"TEAMS_APP_ID", "TEAMS_APP_SECRET", "TEAMS_TENANT_ID", "TEAMS_AUTHORITY_URL", "TEAMS_METADATA_URL", "TEAMS_SERVICE_HOSTS"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Validate() = %v, want a fault of %s", err, name)
		}
	}
}

func TestConfig_hidesSecret(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	c := goodConfig()
	slog.New(slog.NewJSONHandler(&b, nil)).Info("start", "teams", c)
	fmt.Fprintf(&b, "%v %+v %#v %s %v", c, c, c, c, &c)
	if strings.Contains(b.String(), secret) {
		t.Errorf("output shows the secret: %s", b.String())
	}
	if !strings.Contains(b.String(), appID) {
		t.Errorf("output %s does not show the application ID", b.String())
	}
}
