package defender

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/mdebot/mdebot/internal/dial"
)

// Lane is for whom a call is made. Lanes share one quota and may use different
// shares of it.
type Lane int

// The lanes.
const (
	LaneInteractive Lane = iota // people who read; at most 70 % of the quota
	LaneAction                  // approved actions and following them; all of it
	LaneAlerts                  // the alert poller; at most 90 %
	LaneHunt                    // reads around hunts; at most 50 %
	LaneScheduled               // hunts that nobody waits for; at most 20 %
)

// Client reads one Defender tenant. It is safe for concurrent use.
type Client struct {
	*core
	lane  Lane
	fresh bool
}

// core is what all views of a client share.
type core struct {
	tenant    TenantID
	endpoints Endpoints
	base      *url.URL
	xdr       *url.URL
	graph     *url.URL
	v1        bool // tokens of the old endpoint
	tokens    map[api]*tokens
	transport *http.Transport
	around    func(http.RoundTripper) http.RoundTripper
	http      *http.Client
	quota     *quota
	cache     *cache
	logger    *slog.Logger
	onDate    func(time.Time)
	now       func() time.Time
	sleep     func(context.Context, time.Duration) error
	observe   func(op string, status int)
}

// An Option changes what a Client is built from.
type Option func(*core)

// WithTransport sets the transport whose proxy, TLS settings and limits are
// used; it is copied. Its own dialling is replaced by one that refuses private
// addresses.
func WithTransport(t *http.Transport) Option { return func(c *core) { c.transport = t } }

// Around puts a watcher around every call, also those for tokens. It must hand on
// requests and errors as they are.
func Around(watch func(http.RoundTripper) http.RoundTripper) Option {
	return func(c *core) { c.around = watch }
}

// WithLogger sets where calls are logged; without it they are not.
func WithLogger(l *slog.Logger) Option { return func(c *core) { c.logger = l } }

// WithObserver sets who is told the outcome of every call to Defender or Graph:
// its name, such as "list alerts", and the HTTP status, 0 without an answer and
// 429 also for a call that was not made because the quota is used up.
func WithObserver(f func(op string, status int)) Option {
	return func(c *core) { c.observe = f }
}

// WithDates hands the time that each answer carries to fn, as it arrives. fn must
// not block.
func WithDates(fn func(time.Time)) Option { return func(c *core) { c.onDate = fn } }

// WithCacheFor sets how long answers to people are reused; 20 s without it, and
// 0 turns that off.
func WithCacheFor(d time.Duration) Option { return func(c *core) { c.cache.keep = d } }

// WithNow sets the clock, for tests; time.Now without it.
func WithNow(now func() time.Time) Option { return func(c *core) { c.now = now } }

// New returns a client in the interactive lane. It makes no call.
func New(cfg Config, opts ...Option) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	endpoints, err := cfg.Endpoints()
	if err != nil {
		return nil, err
	}
	c := &core{
		tenant: cfg.TenantID, endpoints: endpoints, v1: cfg.TokenVersion == "v1",
		transport: http.DefaultTransport.(*http.Transport),
		quota:     newQuota(),
		logger:    slog.New(slog.DiscardHandler),
		now:       time.Now,
		sleep:     sleep,
		around:    func(next http.RoundTripper) http.RoundTripper { return next },
		observe:   func(string, int) {},
	}
	c.cache = newCache(defaultKeep, func() time.Time { return c.now() })
	for _, o := range opts {
		o(c)
	}
	hosts := slices.Clone(endpoints.hosts)
	for _, a := range []struct {
		address string
		into    **url.URL
	}{{endpoints.Base, &c.base}, {endpoints.XDR, &c.xdr}, {endpoints.Graph, &c.graph}, {endpoints.Authority, new(*url.URL)}} {
		u, err := url.Parse(a.address)
		if err != nil {
			return nil, err
		}
		*a.into = u
		hosts = append(hosts, u.Host)
	}
	if c.transport, err = dial.Exact(c.transport, hosts); err != nil {
		return nil, err
	}
	c.http = &http.Client{Transport: c.around(c.transport), CheckRedirect: refuseRedirect}
	credential := cfg.Credential()
	c.tokens = map[api]*tokens{
		apiDefender: newTokens(credential, c, endpoints.Audience),
		apiXDR:      newTokens(credential, c, endpoints.XDRAudience),
		apiGraph:    newTokens(credential, c, endpoints.GraphAudience),
	}
	return &Client{core: c}, nil
}

// For returns a view of the client in another lane. Views share tokens, quota,
// what was learnt from throttling, and cached answers.
func (c *Client) For(lane Lane) *Client {
	return &Client{core: c.core, lane: lane, fresh: c.fresh}
}

// Rotate replaces the secret of the reading application, from the next tokens on
// (threat-model C-06).
func (c *Client) Rotate(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	for _, t := range c.tokens {
		t.rotate(cfg.Credential())
	}
	return nil
}

// Fresh returns a view whose reads are asked of Defender now, never answered
// from memory nor merged with one that began earlier.
func (c *Client) Fresh() *Client {
	return &Client{core: c.core, lane: c.lane, fresh: true}
}

// Close drops idle connections. Calls in flight go on.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Tenant is the tenant the client reads.
func (c *Client) Tenant() TenantID { return c.tenant }

// Portal builds links into the tenant's Defender portal.
func (c *Client) Portal() Portal { return Portal{base: c.endpoints.Portal, tenant: c.tenant} }

// Endpoints are the addresses the client talks to.
func (c *Client) Endpoints() Endpoints { return c.endpoints }

// remembers reports whether a read may be answered from memory.
func (c *Client) remembers() bool {
	return !c.fresh && (c.lane == LaneInteractive || c.lane == LaneHunt)
}
