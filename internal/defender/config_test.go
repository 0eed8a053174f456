package defender

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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
			[]string{"MDE_TENANT_ID", "MDE_CLIENT_ID", "MDE_CLIENT_SECRET"},
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
		{"a path of the API", func(c *Config) { c.BaseURL = "https://api.security.microsoft.com/api/alerts" }, []string{"MDE_BASE_URL"}},
		{"a query", func(c *Config) { c.BaseURL = "https://api.security.microsoft.com/api?x=1" }, []string{"MDE_BASE_URL"}},
		{"an unknown cloud", func(c *Config) { c.Cloud = "china" }, []string{"MDE_CLOUD", "gcc-high"}},
		{"an unknown way to sign in", func(c *Config) { c.Auth = "password" }, []string{"MDE_AUTH", "managed-identity"}},
		{"a managed identity", func(c *Config) { c.Auth, c.ClientSecret = "managed-identity", "" }, nil},
		{"a managed identity with a secret", func(c *Config) { c.Auth = "managed-identity" }, []string{"MDE_AUTH", "neither secret nor certificate"}},
		{"a workload identity without its file", func(c *Config) { c.Auth, c.ClientSecret = "workload-identity", "" }, []string{"AZURE_FEDERATED_TOKEN_FILE"}},
		{"a certificate that is not there", func(c *Config) { c.CertificateFile, c.ClientSecret = "/nowhere/mdebot.pem", "" }, []string{"MDE_CLIENT_CERTIFICATE_FILE", "cannot be read"}},
		{"a secret and a certificate", func(c *Config) { c.CertificateFile = "/nowhere/mdebot.pem" }, []string{"MDE_CLIENT_SECRET", "MDE_CLIENT_CERTIFICATE_FILE", "keep one"}},
		{"old tokens", func(c *Config) { c.TokenVersion = "v1" }, nil},
		{"old tokens without a secret", func(c *Config) { c.TokenVersion, c.Auth, c.ClientSecret = "v1", "managed-identity", "" }, []string{"MDE_TOKEN_VERSION"}},
		{"tokens of another age", func(c *Config) { c.TokenVersion = "v3" }, []string{"MDE_TOKEN_VERSION"}},
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

func TestConfig_endpointsOfEveryCloud(t *testing.T) {
	t.Parallel()
	const gov = "https://api-gov.securitycenter.microsoft.us"
	tests := []struct {
		name string
		cfg  Config
		want Endpoints
	}{
		{"nothing set", Config{}, Endpoints{
			Cloud: "commercial", Base: commercialXDR, XDR: commercialXDR, Graph: commercialGraph, Authority: publicAuthority,
			Audience: commercialAudience, XDRAudience: commercialXDR, GraphAudience: commercialGraph, Portal: commercialPortal,
		}},
		{"gcc", Config{Cloud: "gcc"}, Endpoints{
			Cloud: "gcc", Base: "https://api-gcc.securitycenter.microsoft.us", XDR: "https://api-gcc.security.microsoft.us", Graph: commercialGraph, Authority: publicAuthority,
			Audience: "https://api-gcc.securitycenter.microsoft.us", XDRAudience: "https://api-gcc.security.microsoft.us", GraphAudience: commercialGraph, Portal: commercialPortal,
		}},
		{"gcc-high", Config{Cloud: "GCC-High"}, Endpoints{
			Cloud: "gcc-high", Base: gov, XDR: gccHighXDR, Graph: "https://graph.microsoft.us", Authority: usAuthority,
			Audience: gov, XDRAudience: gccHighXDR, GraphAudience: "https://graph.microsoft.us", Portal: "https://security.microsoft.us",
		}},
		{"dod", Config{Cloud: "dod"}, Endpoints{
			Cloud: "dod", Base: gov, XDR: gccHighXDR, Graph: "https://dod-graph.microsoft.us", Authority: usAuthority,
			Audience: gov, XDRAudience: gccHighXDR, GraphAudience: "https://dod-graph.microsoft.us", Portal: "https://security.apps.mil",
		}},
		{"the address alone", Config{BaseURL: gov + "/api/"}, Endpoints{
			Cloud: "gcc-high", Base: gov, XDR: gccHighXDR, Graph: "https://graph.microsoft.us", Authority: usAuthority,
			Audience: gov, XDRAudience: gccHighXDR, GraphAudience: "https://graph.microsoft.us", Portal: "https://security.microsoft.us",
		}},
		{"gcc whose Defender is in the commercial cloud", Config{Cloud: "gcc", BaseURL: "https://us.api.security.microsoft.com", Audience: commercialAudience + "/.default"}, Endpoints{
			Cloud: "gcc", Base: "https://us.api.security.microsoft.com", XDR: "https://api-gcc.security.microsoft.us", Graph: commercialGraph, Authority: publicAuthority,
			Audience: commercialAudience, XDRAudience: "https://api-gcc.security.microsoft.us", GraphAudience: commercialGraph, Portal: commercialPortal,
		}},
		{"this machine", Config{BaseURL: "http://127.0.0.1:1", XDRURL: "http://127.0.0.1:2", GraphURL: "http://127.0.0.1:3", AuthorityURL: "https://127.0.0.1:4"}, Endpoints{
			Cloud: "commercial", Base: "http://127.0.0.1:1", XDR: "http://127.0.0.1:2", Graph: "http://127.0.0.1:3", Authority: "https://127.0.0.1:4",
			Audience: commercialAudience, XDRAudience: commercialXDR, GraphAudience: commercialGraph, Portal: commercialPortal,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.cfg.Endpoints()
			if err != nil {
				t.Fatalf("Endpoints() = %v", err)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreUnexported(Endpoints{})); diff != "" {
				t.Errorf("Endpoints() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseBaseURL_anyFormThatPeoplePaste(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"https://api.security.microsoft.com":                      "https://api.security.microsoft.com",
		"https://api.security.microsoft.com/":                     "https://api.security.microsoft.com",
		"https://api.securitycenter.microsoft.com/api":            "https://api.securitycenter.microsoft.com",
		"https://api.securitycenter.microsoft.com/api/":           "https://api.securitycenter.microsoft.com",
		" https://api.securitycenter.microsoft.com/api/v1.0/ ":    "https://api.securitycenter.microsoft.com",
		"https://API.SecurityCenter.Microsoft.com:443//":          "https://api.securitycenter.microsoft.com",
		"https://api-us3.securitycenter.microsoft.com":            "https://api-us3.securitycenter.microsoft.com",
		"https://api.securitycenter.windows.com/api":              "https://api.securitycenter.microsoft.com",
		"https://api-eu.securitycenter.windows.com":               "https://api-eu.securitycenter.microsoft.com",
		"api.security.microsoft.com/api":                          "https://api.security.microsoft.com",
		"uk.api.security.microsoft.com":                           "https://uk.api.security.microsoft.com",
		"http://127.0.0.1:8080/api":                               "http://127.0.0.1:8080",
		"":                                                        "",
		"http://api.security.microsoft.com":                       "",
		"https://security.microsoft.com":                          "",
		"https://user:pass@api.security.microsoft.com":            "",
		"https://api.security.microsoft.com@evil.example":         "",
		"https://api.security.microsoft.com/api/machines":         "",
		"https://api.security.microsoft.com/api/../api":           "",
		"https://evil.securitycenter.windows.com.evil.example":    "",
		"https://api.securitycenter.windows.com.evil.example/api": "",
		"ftp://api.security.microsoft.com":                        "",
	} {
		got, err := ParseBaseURL(raw)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("ParseBaseURL(%q) = %q, %v, want %q", raw, got, err, want)
		}
	}
}

func TestPortal_ofTheCloud(t *testing.T) {
	t.Parallel()
	for cloud, portal := range map[string]string{
		"commercial": commercialPortal, "gcc": commercialPortal, "gcc-high": "https://security.microsoft.us", "dod": "https://security.apps.mil",
	} {
		c, err := New(Config{TenantID: testTenant, ClientID: testApp, ClientSecret: testSecret, Cloud: cloud})
		if err != nil {
			t.Fatalf("New(%s) = %v", cloud, err)
		}
		if got, want := c.Portal().Machine(testMachine), portal+"/machines/"+testMachine+"?tid="+testTenant; got != want {
			t.Errorf("portal link = %s, want %s", got, want)
		}
	}
	if got := (Portal{}).Alert("x"); got != "" {
		t.Errorf("link of an empty portal = %q", got)
	}
}
