package defender

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sethvargo/go-envconfig"
)

func TestConfig_fromEnvironment(t *testing.T) {
	t.Parallel()
	var got Config
	err := envconfig.ProcessWith(context.Background(), &envconfig.Config{
		Target: &got,
		Lookuper: envconfig.MapLookuper(map[string]string{
			"MDE_TENANT_ID": testTenant, "MDE_CLIENT_ID": testApp, "MDE_CLIENT_SECRET": testSecret,
		}),
	})
	if err != nil {
		t.Fatalf("Process() = %v", err)
	}
	want := Config{
		TenantID: testTenant, ClientID: testApp, ClientSecret: testSecret,
		BaseURL: "https://api.security.microsoft.com", GraphURL: "https://graph.microsoft.com",
		AuthorityURL: "https://login.microsoftonline.com",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Config (-want +got):\n%s", diff)
	}
	if err := got.Validate(); err != nil {
		t.Errorf("Validate() = %v", err)
	}
}

func TestConfig_Validate(t *testing.T) {
	t.Parallel()
	good := Config{
		TenantID: testTenant, ClientID: testApp, ClientSecret: testSecret,
		BaseURL: "https://eu.api.security.microsoft.com", GraphURL: "https://graph.microsoft.us", AuthorityURL: "https://login.microsoftonline.us/",
	}
	tests := []struct {
		name   string
		change func(*Config)
		want   []string // every one must be in the error; none means valid
	}{
		{"other clouds", func(*Config) {}, nil},
		{"plain http on loopback", func(c *Config) { c.BaseURL = "http://127.0.0.1:8080" }, nil},
		{"plain http on IPv6 loopback", func(c *Config) { c.BaseURL = "http://[::1]:8080" }, nil},
		{
			"everything missing", func(c *Config) { *c = Config{} },
			[]string{"MDE_TENANT_ID", "MDE_CLIENT_ID", "MDE_CLIENT_SECRET", "MDE_BASE_URL", "MDE_GRAPH_URL", "MDE_AUTHORITY_URL"},
		},
		{"an application of its own that acts", func(c *Config) { c.ActionClientID, c.ActionClientSecret = testTenant, "s" }, nil},
		{"an acting application without a secret", func(c *Config) { c.ActionClientID = testTenant }, []string{"MDE_ACTION_CLIENT_SECRET", "both or neither"}},
		{"a secret without an acting application", func(c *Config) { c.ActionClientSecret = "s" }, []string{"MDE_ACTION_CLIENT_ID", "both or neither"}},
		{"an acting application that is none", func(c *Config) { c.ActionClientID, c.ActionClientSecret = "mdebot", "s" }, []string{"MDE_ACTION_CLIENT_ID", "GUID"}},
		{"the reading application that acts", func(c *Config) { c.ActionClientID, c.ActionClientSecret = strings.ToUpper(testApp), "s" }, []string{"one of its own"}},
		{"a blank secret", func(c *Config) { c.ClientSecret = "  " }, []string{"MDE_CLIENT_SECRET"}},
		{"a domain for a tenant ID", func(c *Config) { c.TenantID = "contoso.onmicrosoft.com" }, []string{"MDE_TENANT_ID"}},
		{"plain http elsewhere", func(c *Config) { c.BaseURL = "http://api.security.microsoft.com" }, []string{"MDE_BASE_URL", "https"}},
		{"a foreign host", func(c *Config) { c.GraphURL = "https://graph.example.com" }, []string{"MDE_GRAPH_URL", "graph.example.com"}},
		{"a foreign host with a Microsoft prefix", func(c *Config) { c.BaseURL = "https://api.security.microsoft.com.example.com" }, []string{"MDE_BASE_URL"}},
		{"a Microsoft host as user name", func(c *Config) { c.BaseURL = "https://api.security.microsoft.com@example.com" }, []string{"MDE_BASE_URL"}},
		{"another port", func(c *Config) { c.BaseURL = "https://api.security.microsoft.com:8443" }, []string{"MDE_BASE_URL"}},
		{"the metadata address of a cloud machine", func(c *Config) { c.AuthorityURL = "http://169.254.169.254" }, []string{"MDE_AUTHORITY_URL"}},
		{"a loopback name of another scheme", func(c *Config) { c.BaseURL = "file://localhost" }, []string{"MDE_BASE_URL"}},
		{"a path", func(c *Config) { c.BaseURL = "https://api.security.microsoft.com/api" }, []string{"MDE_BASE_URL"}},
		{"an audience that is no address", func(c *Config) { c.Audience = "fc780465" }, []string{"MDE_AUDIENCE"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := good
			tt.change(&c)
			err := c.Validate()
			if len(tt.want) == 0 {
				if err != nil {
					t.Errorf("Validate() = %v, want none", err)
				}
				return
			}
			if err == nil {
				t.Fatal("Validate() accepted it")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("Validate() = %q, want it to mention %q", err, w)
				}
			}
		})
	}
}

func TestConfig_hidesSecret(t *testing.T) {
	t.Parallel()
	c := newFake(t).config()
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("start", "config", c)
	fmt.Fprintf(&out, "%v %+v %#v %s", c, c, c, c)
	if strings.Contains(out.String(), testSecret) {
		t.Errorf("the secret is shown: %s", out.String())
	}
	if !strings.Contains(out.String(), testApp) {
		t.Errorf("the application ID is not shown: %s", out.String())
	}
}

func TestAudiences(t *testing.T) {
	t.Parallel()
	tests := []struct{ base, graph, want, wantGraph, portal string }{
		{"https://api.security.microsoft.com", "https://graph.microsoft.com", commercialAudience, commercialGraph, commercialPortal},
		{"https://API.SecurityCenter.Microsoft.com:443", "https://graph.microsoft.com", commercialAudience, commercialGraph, commercialPortal},
		{"https://api-gov.securitycenter.microsoft.us", "https://graph.microsoft.us", "https://api-gov.securitycenter.microsoft.us", "https://graph.microsoft.us", "https://security.microsoft.us"},
		{"https://api-gov.securitycenter.microsoft.us", "https://dod-graph.microsoft.us", "https://api-gov.securitycenter.microsoft.us", "https://dod-graph.microsoft.us", "https://security.apps.mil"},
		{"http://127.0.0.1:1", "http://127.0.0.1:1", commercialAudience, commercialGraph, commercialPortal},
	}
	for _, tt := range tests {
		cfg := Config{TenantID: testTenant, ClientID: testApp, ClientSecret: testSecret, BaseURL: tt.base, GraphURL: tt.graph, AuthorityURL: "https://login.microsoftonline.com"}
		c, err := New(cfg)
		if err != nil {
			t.Fatalf("New(%s) = %v", tt.base, err)
		}
		if got := c.tokens[apiDefender].audience; got != tt.want {
			t.Errorf("audience of %s = %s, want %s", tt.base, got, tt.want)
		}
		if got := c.tokens[apiGraph].audience; got != tt.wantGraph {
			t.Errorf("audience of %s = %s, want %s", tt.graph, got, tt.wantGraph)
		}
		want := tt.portal + "/machines/" + testMachine + "?tid=" + testTenant
		if got := c.Portal().Machine(testMachine); got != want {
			t.Errorf("portal link = %s, want %s", got, want)
		}
	}
	if got := (Portal{}).Alert("x"); got != "" {
		t.Errorf("link of an empty portal = %q", got)
	}
}
