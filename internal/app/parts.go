package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

// The outside services that a status names.
const (
	partSlack    = "Slack"
	partSockets  = "Slack Socket Mode"
	partTeams    = "Teams"
	partEntra    = "Entra"
	partDefender = "Defender"
	partGraph    = "Graph"
	partProxy    = "Proxy"
)

const (
	// troubles is how many calls in a row have to fail: one says little.
	troubles = 2
	// troubleAge is how long a failure counts when nothing was asked since.
	troubleAge = 15 * time.Minute
)

// parts keeps how the calls to each outside service went on this replica.
type parts struct {
	now    func() time.Time
	traces *traces

	mu  sync.Mutex
	all map[string]*part
}

type part struct {
	name      string
	asked     bool
	failures  int // in a row
	failingAt time.Time
	why       string
	// refused is what the service said of mdebot's own credentials, in an answer
	// that went well as far as HTTP can tell.
	refused string
}

func newParts() *parts { return &parts{now: time.Now, all: map[string]*part{}} }

// expect names a part before it was ever asked.
func (p *parts) expect(names ...string) {
	for _, name := range names {
		p.change(name, func(*part) {})
	}
}

func (p *parts) change(name string, fn func(*part)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.all[name]
	if one == nil {
		one = &part{name: name}
		p.all[name] = one
	}
	fn(one)
}

func (p *parts) good(name string) {
	p.change(name, func(one *part) { one.asked, one.failures, one.why = true, 0, "" })
}

func (p *parts) bad(name, why string) {
	p.change(name, func(one *part) {
		one.asked, one.why, one.failingAt = true, why, p.now()
		one.failures++
	})
}

// posted takes what a chat platform made of a message: it may refuse mdebot with
// an answer that HTTP takes for a success.
func (p *parts) posted(platform identity.Platform, err error) {
	name := map[identity.Platform]string{identity.Slack: partSlack, identity.Teams: partTeams}[platform]
	if name == "" {
		return
	}
	switch {
	case err == nil:
		p.change(name, func(one *part) { one.refused = "" })
	case errors.Is(err, chat.ErrCredentials):
		p.change(name, func(one *part) { one.refused = err.Error() })
	}
}

// socket takes whether a Socket Mode connection came about.
func (p *parts) socket(connected bool) {
	if connected {
		p.good(partSockets)
	} else {
		p.bad(partSockets, "no connection")
	}
}

// lines tells how each part does, for status.
func (p *parts) lines() []cards.StatusLine {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []cards.StatusLine
	for _, name := range []string{partSlack, partSockets, partTeams, partEntra, partDefender, partGraph, partProxy} {
		one := p.all[name]
		if one == nil {
			continue
		}
		l := cards.StatusLine{Part: name, Good: true}
		switch {
		case one.refused != "":
			l.Good, l.Detail = false, one.refused
		case one.failures >= troubles && p.now().Sub(one.failingAt) < troubleAge:
			l.Good, l.Detail = false, one.why
		case !one.asked:
			l.Detail = "not asked yet"
		}
		out = append(out, l)
	}
	return out
}

// watch is a transport whose calls are of the part that name gives.
func (p *parts) watch(next http.RoundTripper, name func(*http.Request) string) http.RoundTripper {
	return watched{next: p.traces.call(next, name), parts: p, name: name}
}

type watched struct {
	next  http.RoundTripper
	parts *parts
	name  func(*http.Request) string
}

// RoundTrip implements http.RoundTripper.
func (w watched) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.next.RoundTrip(r)
	name := w.name(r)
	switch {
	case errors.Is(err, context.Canceled): // the caller gave up; that says nothing
	case err != nil && throughProxy(err):
		w.parts.bad(partProxy, plainly(err))
	case err != nil:
		w.parts.bad(name, plainly(err))
	case resp.StatusCode >= http.StatusInternalServerError:
		w.parts.bad(name, fmt.Sprintf("answers %d", resp.StatusCode))
	case resp.StatusCode == http.StatusTooManyRequests:
		w.parts.bad(name, "asks to wait (429)")
	case resp.StatusCode == http.StatusUnauthorized, name == partEntra && resp.StatusCode/100 == 4:
		w.parts.bad(name, fmt.Sprintf("refuses mdebot (%d)", resp.StatusCode))
	case name != partSlack && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html"): // Slack's own "ok" is one
		w.parts.bad(name, "answers with a web page, as a proxy or portal in between does")
	default:
		w.parts.good(name)
	}
	return resp, err
}

// throughProxy reports that the proxy could not be reached.
func throughProxy(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "proxyconnect"
}

// plainly is err for operators, without addresses that may hold a secret.
func plainly(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var timeout interface{ Timeout() bool }
	var verification *tls.CertificateVerificationError
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.As(err, &verification):
		return "its certificate is not trusted: " + verification.Err.Error()
	}
	return "cannot be reached: " + err.Error()
}

// named gives every call to the same part.
func named(name string) func(*http.Request) string {
	return func(*http.Request) string { return name }
}

// microsoft tells calls of the Defender client apart by where they go.
func (c Config) microsoft() func(*http.Request) string {
	authority, graph, base := hostOf(c.Defender.AuthorityURL), hostOf(c.Defender.GraphURL), hostOf(c.Defender.BaseURL)
	return func(r *http.Request) string {
		switch host := r.URL.Host; {
		case host == authority && authority != base:
			return partEntra
		case host == graph && (graph != base || !strings.HasPrefix(r.URL.Path, "/api/")):
			return partGraph
		}
		return partDefender
	}
}

// bot tells the calls of the Teams bot apart: its tokens come from Entra.
func (c Config) bot() func(*http.Request) string {
	authority := hostOf(c.Teams.AuthorityURL)
	return func(r *http.Request) string {
		if r.URL.Host == authority {
			return partEntra
		}
		return partTeams
	}
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// expected are the parts of a configuration.
func (c Config) expected() []string {
	names := []string{partEntra, partDefender, partGraph}
	if c.Slack.Enabled() {
		names = append(names, partSlack)
	}
	if c.Slack.AppToken != "" {
		names = append(names, partSockets)
	}
	if c.Teams.Enabled() {
		names = append(names, partTeams)
	}
	if c.HTTPSProxy != "" {
		names = append(names, partProxy)
	}
	return slices.Clip(names)
}

// databaseLine says whether the database can be read and written.
func (a *App) databaseLine(ctx context.Context) cards.StatusLine {
	l := cards.StatusLine{Part: "Database", Good: true}
	if err := a.store.Health(ctx); err != nil {
		l.Good, l.Detail = false, err.Error()
	}
	return l
}
