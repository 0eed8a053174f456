package app

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

// broken are the parts that do not work, with the reason for each.
func (p *parts) broken() string {
	var out []string
	for _, l := range p.lines() {
		if !l.Good {
			out = append(out, l.Part+": "+l.Detail)
		}
	}
	return strings.Join(out, "; ")
}

func TestParts_sayWhatAnswersMean(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, part string
		answer     func(w http.ResponseWriter)
		want       string
	}{
		{"success", partDefender, func(w http.ResponseWriter) {}, ""},
		{"a permission is missing", partDefender, status(403), ""},
		{"no such object", partGraph, status(404), ""},
		{"server error", partDefender, status(503), "Defender: answers 503"},
		{"throttled", partGraph, status(429), "Graph: asks to wait (429)"},
		{"refused", partTeams, status(401), "Teams: refuses mdebot (401)"},
		{"wrong secret", partEntra, status(400), "Entra: refuses mdebot (400)"},
		{"a proxy's page", partDefender, func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/html") }, "Defender: answers with a web page"},
		{"Slack's ok", partSlack, func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/html") }, ""},
		{"no answer", partSlack, func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, "Slack: cannot be reached"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var healthy atomic.Bool
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if !healthy.Load() {
					c.answer(w)
				}
			}))
			defer srv.Close()
			p := newParts()
			client := &http.Client{Transport: p.watch(&http.Transport{DisableKeepAlives: true}, named(c.part))}
			call := func() {
				t.Helper()
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/?code=s3cret", strings.NewReader("x"))
				if err != nil {
					t.Fatal(err)
				}
				if resp, err := client.Do(req); err == nil {
					_ = resp.Body.Close()
				}
			}
			call()
			if got := p.broken(); got != "" {
				t.Errorf("after one call: %q, want nothing: one failure says little", got)
			}
			call()
			if got := p.broken(); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" || strings.Contains(got, "s3cret") {
				t.Errorf("after two calls: %q, want %q", got, c.want)
			}
			healthy.Store(true)
			call()
			if got := p.broken(); got != "" {
				t.Errorf("after a good call: %q, want nothing", got)
			}
		})
	}
}

func status(code int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { w.WriteHeader(code) }
}

func TestParts_oldFailureIsForgotten(t *testing.T) {
	t.Parallel()
	p := newParts()
	at := time.Now()
	p.now = func() time.Time { return at }
	p.bad(partGraph, "answers 503")
	p.bad(partGraph, "answers 503")
	at = at.Add(troubleAge)
	if got := p.broken(); got != "" {
		t.Errorf("%q of a quarter of an hour ago, want nothing", got)
	}
}

// A proxy that is gone or refuses is named itself.
func TestParts_nameTheProxy(t *testing.T) {
	t.Parallel()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) }))
	t.Cleanup(refusing.Close)
	for name, c := range map[string]struct{ proxy, want string }{
		"gone":     {"http://" + freeAddress(t), "Proxy: cannot be reached"},
		"refusing": {refusing.URL, "Proxy: answers 407"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParts()
			transport, err := outbound(Config{HTTPSProxy: c.proxy}, p)
			if err != nil {
				t.Fatal(err)
			}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: p.watch(transport, named(partDefender))}
			for range troubles {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.security.microsoft.com/", nil)
				if err != nil {
					t.Fatal(err)
				}
				if resp, err := client.Do(req); err == nil {
					_ = resp.Body.Close()
					t.Fatal("the call went through")
				}
			}
			if got := p.broken(); !strings.Contains(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestParts_platformThatRefusesTheBotWithASuccess(t *testing.T) {
	t.Parallel()
	p := newParts()
	p.posted(identity.Slack, fmt.Errorf("post: %w (invalid_auth)", chat.ErrCredentials))
	p.good(partSlack)
	if got := p.broken(); !strings.Contains(got, "invalid_auth") {
		t.Errorf("%q, want the refusal", got)
	}
	p.posted(identity.Slack, nil)
	if got := p.broken(); got != "" {
		t.Errorf("%q after a post, want nothing", got)
	}
}

// readyz is what the readiness probe sees.
func (s *story) readyz(address string) readiness {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		s.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	var r readiness
	if err == nil {
		err = json.Unmarshal(body, &r)
	}
	if err != nil || r.Ready != (resp.StatusCode == http.StatusOK) {
		s.Fatalf("GET /readyz = %s, %v: %s", resp.Status, err, body)
	}
	return r
}

// names waits until status, readiness and metrics all name a part as degraded, or
// none of them does.
func (s *story) names(on side, part string, degraded bool) {
	s.Helper()
	word, gauge := "works", `mdebot_part_working{part="`+part+`"} 1`
	if degraded {
		word, gauge = "does not work", `mdebot_part_working{part="`+part+`"} 0`
	}
	s.eventually(fmt.Sprintf("%s is degraded: %t", part, degraded), func() string {
		if r := s.readyz(s.bot.AdminAddr().String()); !r.Ready || slices.Contains(r.Degraded, part) != degraded {
			return fmt.Sprint(r)
		}
		if text := s.scrape(); !strings.Contains(text, gauge) {
			return "no " + gauge
		}
		return ""
	})
	on.write(sandbox.Sam, on.soc(), "status")
	s.eventually("status says of "+part+": "+word, func() string {
		all := slices.Concat(on.see(sandbox.Sam, on.soc()), on.see(sandbox.Sam, on.direct(sandbox.Sam)))
		for _, m := range all {
			text := strings.ReplaceAll(m.text, "*", "")
			// Who cannot be looked up gets the names alone.
			_, down, unchecked := strings.Cut(text, "Not working at the moment: ")
			if strings.Contains(text, part+": "+word) || degraded && unchecked && strings.Contains(down, part) {
				return ""
			}
		}
		return fmt.Sprintf("among %d messages, the last: %v", len(all), all[max(0, len(all)-1):])
	})
}

// Every part that is down is named in status, in /readyz and in the metrics, and
// no more once it is back. The other platform goes on answering.
func TestStory_everyDegradedPartIsNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		part       string
		on         func(*story) side
		down, back func(*story)
		use        func(*story)
	}{
		{
			part: partSlack, on: (*story).teams,
			down: func(s *story) {
				s.world.Slack.Inject(slacksim.Fault{Kind: slacksim.FaultServerError, Times: -1})
			},
			use:  func(s *story) { s.slack().write(sandbox.Riley, sandbox.SlackSOC, "whoami") },
			back: func(s *story) { s.world.Slack.ClearFaults() },
		},
		{
			part: partTeams, on: (*story).slack,
			down: func(s *story) { s.world.Teams.Fail(teamssim.Fault{Path: "/v3/", Status: 503}) },
			use: func(s *story) {
				// Teams itself says that its answer could not be had.
				_, _ = s.world.Teams.Message(s.Context(), sandbox.Riley.Object, sandbox.TeamsSOC, "@mdebot whoami", "")
			},
			back: func(s *story) { s.world.Teams.Heal() },
		},
		{
			part: partDefender, on: (*story).slack,
			down: func(s *story) {
				s.world.Defender.Faults.Add(fault.Fault{Kind: fault.Answer, Status: 503, Route: "/api/**"})
			},
			use:  func(s *story) { s.later(time.Minute) },
			back: func(s *story) { s.world.Defender.Faults.Clear() },
		},
		{
			part: partGraph, on: (*story).slack,
			down: func(s *story) {
				s.world.Defender.Faults.Add(fault.Fault{Kind: fault.Answer, Status: 503, Route: "/v1.0/**"})
			},
			use: func(s *story) {
				s.slack().write(sandbox.Riley, s.slack().direct(sandbox.Riley), "hunt DeviceInfo | take 1")
			},
			back: func(s *story) { s.world.Defender.Faults.Clear() },
		},
	} {
		t.Run(c.part, func(t *testing.T) {
			t.Parallel()
			s := newStory(t, sandbox.Options{})
			s.watching()
			on := c.on(s)
			c.down(s)
			c.use(s)
			c.use(s)
			s.names(on, c.part, true)
			c.back(s)
			c.use(s)
			s.later(10 * time.Minute)
			s.names(on, c.part, false)
		})
	}
}

// Without Entra there is no token: the bot starts, says so and works once it is
// back.
func TestStory_startsWithoutEntra(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.halt()
	gone := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	defer gone.Close()
	before := s.env
	s.env = append(slices.Clone(before), "MDE_AUTHORITY_URL="+gone.URL)
	s.start()
	s.names(s.slack(), partEntra, true)
	s.halt()
	s.env = before
	s.start()
	s.names(s.slack(), partEntra, false)
}

func TestMicrosoft_tellsItsServicesApart(t *testing.T) {
	t.Parallel()
	var c Config
	c.Defender.BaseURL, c.Defender.GraphURL, c.Defender.AuthorityURL = "https://api.security.microsoft.com", "https://graph.microsoft.com", "https://login.microsoftonline.com"
	name := c.microsoft()
	for address, want := range map[string]string{
		"https://api.security.microsoft.com/api/alerts":              partDefender,
		"https://graph.microsoft.com/v1.0/security/runHuntingQuery":  partGraph,
		"https://login.microsoftonline.com/tenant/oauth2/v2.0/token": partEntra,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := name(&http.Request{URL: u}); got != want {
			t.Errorf("%s is of %s, want %s", address, got, want)
		}
	}
}
