// Package pager wakes people by another way than chat: it sends events in the
// form of PagerDuty's Events API v2, which other receivers take as well.
//
// Events of one key are one to the receiver, so a trigger or a resolve whose
// answer was lost is sent again without waking anybody twice.
package pager

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
)

const (
	sendTimeout = 10 * time.Second
	maxAnswer   = 64 << 10
	// maxSummary is PagerDuty's limit, in characters.
	maxSummary = 1024
	// throttleDefault is the wait when the receiver asks for one without saying how
	// long, throttleMax what an absurd one becomes.
	throttleDefault = 30 * time.Second
	throttleMax     = 10 * time.Minute
)

// Event says that something needs a person, or that it is over. It goes to a
// third party: no names, reasons or texts from outside belong into it.
type Event struct {
	// Key is what the receiver tells events apart by.
	Key string
	// Over ends what the event of the same key began. Nothing else counts then.
	Over     bool
	Summary  string
	Severity Severity
	Since    time.Time
	Details  map[string]string
}

// Severity is how loud the receiver is to be.
type Severity string

// The severities used.
const (
	Critical Severity = "critical"
	Error    Severity = "error"
)

// Client sends events. It is safe for concurrent use.
type Client struct {
	key    string
	client *http.Client
	now    func() time.Time
}

// New returns a Client that gives the routing key with each event.
func New(key string, transport http.RoundTripper) *Client {
	return &Client{key: key, now: time.Now, client: &http.Client{
		Transport: transport, Timeout: sendTimeout,
		// The key does not follow a redirect.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

type body struct {
	RoutingKey string   `json:"routing_key"`
	Action     string   `json:"event_action"`
	Key        string   `json:"dedup_key"`
	Client     string   `json:"client,omitempty"`
	Payload    *payload `json:"payload,omitempty"`
}

type payload struct {
	Summary   string            `json:"summary"`
	Source    string            `json:"source"`
	Severity  Severity          `json:"severity"`
	Timestamp string            `json:"timestamp,omitempty"`
	Details   map[string]string `json:"custom_details,omitempty"`
}

// Send makes one attempt to deliver e to the address. It fails with a
// *chat.ThrottledError when the receiver asks to wait, with chat.ErrCredentials
// when it refuses the event, and with chat.ErrUnclear when no clear answer was
// seen; sending again is harmless after each.
func (c *Client) Send(ctx context.Context, address string, e Event) error {
	b := body{RoutingKey: c.key, Action: "resolve", Key: e.Key}
	if !e.Over {
		b.Action, b.Client = "trigger", "mdebot"
		b.Payload = &payload{Summary: clip(e.Summary), Source: "mdebot", Severity: e.Severity, Details: e.Details}
		if !e.Since.IsZero() {
			b.Payload.Timestamp = e.Since.UTC().Format(time.RFC3339)
		}
	}
	encoded, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(encoded))
	if err != nil {
		return errors.New("notify.page is not an address")
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		return fmt.Errorf("send event: %w: %w", chat.ErrUnclear, withoutURL(err))
	}
	defer resp.Body.Close()
	// The connection is used again only when the answer was read.
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	switch status := resp.StatusCode; {
	case status/100 == 2 && err == nil:
		return nil
	case status == http.StatusTooManyRequests:
		return fmt.Errorf("send event: %w", &chat.ThrottledError{RetryAfter: retryAfter(resp.Header.Get("Retry-After"), c.now())})
	case status/100 == 4 && status != http.StatusRequestTimeout:
		return fmt.Errorf("send event: answered %d; check notify.page and MDEBOT_PAGE_KEY: %w", status, chat.ErrCredentials)
	default:
		return fmt.Errorf("send event: answered %d: %w", status, chat.ErrUnclear)
	}
}

func clip(s string) string {
	if r := []rune(s); len(r) > maxSummary {
		return string(r[:maxSummary-1]) + "…"
	}
	return s
}

// retryAfter reads seconds or a date, within reason.
func retryAfter(value string, now time.Time) time.Duration {
	wait := throttleDefault
	if seconds, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil && seconds >= 0 {
		wait = time.Duration(min(seconds, throttleMax.Seconds()) * float64(time.Second))
	} else if at, err := http.ParseTime(value); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, time.Second), throttleMax)
}

func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
