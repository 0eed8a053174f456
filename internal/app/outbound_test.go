package app

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"
)

// The bots reach what is configured on this machine, the proxy, and nothing else
// that is not public.
func TestOutbound_chatNeverLeadsInside(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	here := l.Addr().String()
	for name, tc := range map[string]struct {
		cfg  func(*Config)
		want string
	}{
		"nothing of this machine configured": {func(*Config) {}, "private address"},
		"Slack's simulator":                  {func(c *Config) { c.Slack.APIURL = "http://" + here + "/api/" }, ""},
		"Bot Connector's simulator":          {func(c *Config) { c.Teams.ServiceHosts = []string{here} }, ""},
		"a proxy with its scheme":            {func(c *Config) { c.HTTPSProxy = "http://" + here }, ""},
		"a proxy by its address alone":       {func(c *Config) { c.HTTPSProxy = here }, ""},
	} {
		var cfg Config
		tc.cfg(&cfg)
		base, err := outbound(cfg, newParts())
		if err != nil {
			t.Fatal(err)
		}
		transport, err := toPublic(cfg, base)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		conn, err := transport.DialContext(ctx, "tcp", here)
		cancel()
		if err == nil {
			_ = conn.Close()
		}
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: dial = %v, want %q", name, err, tc.want)
		}
	}
}
