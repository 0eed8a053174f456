package defender

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	readTimeout = 20 * time.Second
	actTimeout  = 60 * time.Second
	// huntTimeout exceeds the 200 s that Defender gives a query.
	huntTimeout = 210 * time.Second

	maxBody      = 32 << 20
	maxErrorBody = 64 << 10
)

// api is one resource that tokens are issued for.
type api int

const (
	apiDefender api = iota
	apiXDR          // incidents
	apiGraph
)

// call describes one request.
type call struct {
	op     string
	api    api
	family family
	method string // "" means GET
	path   string // escaped
	id     string // what a single object's ID must be; "" = any
	query  url.Values
	link   *url.URL // a checked next link, in place of path and query
	body   any
	// repeatable marks a POST that only reads, so that it may be sent again after
	// a refusal.
	repeatable bool
	timeout    time.Duration // 0 means readTimeout
}

func (r call) url(base *url.URL) *url.URL {
	if r.link != nil {
		return r.link
	}
	u := *base
	u.Path = r.path
	if p, err := url.PathUnescape(r.path); err == nil {
		u.Path, u.RawPath = p, r.path // as built: url.URL would escape the brackets of findbyip(…)
	}
	u.RawQuery = r.query.Encode()
	return &u
}

func (r call) request(ctx context.Context, base *url.URL) (*http.Request, error) {
	method := r.method
	if method == "" {
		method = http.MethodGet
	}
	var body io.Reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("%s: encode body: %w", r.op, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.url(base).String(), body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.op, err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "mdebot")
	if body != nil {
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	return req, nil
}

// get reads one object. An answer without its ID is not an answer.
func get[W, T any](ctx context.Context, c *Client, r call, convert func(W) (string, T)) (T, error) {
	var none T
	body, err := c.read(ctx, r)
	if err != nil {
		return none, err
	}
	var w W
	if err := decode(body, &w); err != nil {
		return none, fmt.Errorf("%s: %w: %w", r.op, ErrUnavailable, err)
	}
	id, t := convert(w)
	if id == "" || (r.id != "" && !strings.EqualFold(id, r.id)) {
		return none, &MismatchError{Op: r.op, Field: "ID", Want: r.id, Got: id, kind: ErrUnavailable}
	}
	return t, nil
}

// read answers from memory where the client may, and asks Defender otherwise.
func (c *Client) read(ctx context.Context, r call) ([]byte, error) {
	if r.method != "" || !c.remembers() {
		return c.fetch(ctx, r)
	}
	body, err := c.cache.read(ctx, c.lane, r.url(c.baseOf(r.api)).String(), func(ctx context.Context) ([]byte, error) {
		return c.fetch(ctx, r)
	})
	if err != nil && err == ctx.Err() { //nolint:errorlint // exactly this context's own end
		return nil, fmt.Errorf("%s: %w", r.op, err)
	}
	return body, err
}

// fetch asks Defender and returns the whole body.
func (c *Client) fetch(ctx context.Context, r call) ([]byte, error) {
	return repeat(ctx, c, r, func() ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, readTimeout)
		defer cancel()
		resp, err := c.attempt(ctx, r)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		body, err := readBody(resp.Body, maxBody)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %w", r.op, ErrUnavailable, withoutURL(err))
		}
		return body, nil
	})
}

// send asks and returns the answer unread; the caller closes its body and sets
// the time limit.
func (c *Client) send(ctx context.Context, r call) (*http.Response, error) {
	return repeat(ctx, c, r, func() (*http.Response, error) { return c.attempt(ctx, r) })
}

// attempt sends once, and once more with a new token after a 401. The answer it
// returns is a success.
func (c *Client) attempt(ctx context.Context, r call) (*http.Response, error) {
	renewed := false
	for {
		t, err := c.tokens[r.api].get(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.op, err)
		}
		resp, err := c.once(ctx, r, t)
		if errors.Is(err, ErrForbidden) {
			c.tokens[r.api].age(t)
		}
		if !errors.Is(err, ErrUnauthorized) || renewed {
			return resp, err
		}
		c.tokens[r.api].drop(t)
		renewed = true
	}
}

func (c *Client) once(ctx context.Context, r call, t token) (*http.Response, error) {
	req, err := r.request(ctx, c.baseOf(r.api))
	if err != nil {
		return nil, err
	}
	if err := c.quota.admit(c.now(), c.lane, r.op, r.family); err != nil {
		c.observe(r.op, http.StatusTooManyRequests)
		return nil, err
	}
	t.authorize(req)
	resp, err := c.http.Do(req)
	if errors.Is(err, context.Canceled) { // the caller gave up; that says nothing about Defender
		return nil, fmt.Errorf("%s: %w", r.op, context.Canceled)
	}
	if err != nil {
		c.observe(r.op, 0)
		return nil, fmt.Errorf("%s: %w: %w", r.op, ErrUnavailable, withoutURL(err))
	}
	c.observe(r.op, resp.StatusCode)
	c.logCall(ctx, r, resp)
	if resp.StatusCode/100 == 2 {
		c.quota.relax(r.family)
		return resp, nil
	}
	defer resp.Body.Close()
	// What could be read of an error body is enough.
	body, _ := readBody(resp.Body, maxErrorBody)
	return nil, c.refusal(r, resp, body)
}

func (c *Client) baseOf(a api) *url.URL {
	switch a {
	case apiGraph:
		return c.graph
	case apiXDR:
		return c.xdr
	case apiDefender:
	}
	return c.base
}

func (c *core) logCall(ctx context.Context, r call, resp *http.Response) {
	// What a cache has kept is dated when it was made.
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil && c.onDate != nil && resp.Header.Get("Age") == "" {
		c.onDate(date)
	}
	c.logger.DebugContext(ctx, "defender call",
		slog.String("op", r.op), slog.String("tenant_id", string(c.tenant)),
		slog.Int("status_code", resp.StatusCode), slog.String("request_id", requestID(resp.Header)))
}

// readBody reads at most limit bytes, and what it read with an error when there
// is more.
func readBody(r io.Reader, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(body)) > limit {
		return body[:limit], fmt.Errorf("the answer has more than %d bytes", limit)
	}
	return body, err
}

func decode(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return errors.New("the answer is not the JSON expected")
	}
	return nil
}

// withoutURL drops the address from an error of net/http: it holds the query.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// refuseRedirect makes a redirect an answer like any other, so that a token
// never follows one.
func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
