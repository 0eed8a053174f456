package teamsbot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
)

const (
	callTimeout    = 15 * time.Second
	maxAnswer      = 1 << 20
	defaultBackOff = 5 * time.Second // for a 429 that names no time
	maxBackOff     = 10 * time.Minute
)

// ConnectorError is a refusal by Bot Connector. errors.Is and errors.As reach
// what it means for a message: chat.ErrNotThere, chat.ErrGone, chat.ErrTooBig,
// chat.ErrCredentials, chat.ErrUnclear or *chat.ThrottledError.
type ConnectorError struct {
	Op         string // "post message", "look up member", …
	StatusCode int
	Code       string // Bot Connector's own, such as "BotNotInConversationRoster"
	RetryAfter time.Duration

	effect bool // the call would have made something new
}

func (e *ConnectorError) Error() string {
	return fmt.Sprintf("%s: Teams answered %d %s", e.Op, e.StatusCode, e.Code)
}

// Unwrap is what the refusal means.
func (e *ConnectorError) Unwrap() error {
	switch e.StatusCode {
	case http.StatusUnauthorized:
		return chat.ErrCredentials
	case http.StatusForbidden:
		return chat.ErrNotThere
	case http.StatusNotFound:
		if e.Code == "ActivityNotFoundInConversation" {
			return chat.ErrGone
		}
		return chat.ErrNotThere
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return chat.ErrTooBig
	case http.StatusTooManyRequests:
		return &chat.ThrottledError{RetryAfter: e.RetryAfter}
	}
	// After a 5xx the message may have been delivered all the same.
	if e.effect && e.StatusCode >= 500 {
		return chat.ErrUnclear
	}
	return nil
}

// connector calls Bot Connector. The token goes to configured hosts only, and
// nowhere by redirect.
type connector struct {
	http     *http.Client
	services services
	tokens   *tokenSource
}

// request is one call. Path segments are escaped one by one, so that an ID
// cannot lead elsewhere.
type request struct {
	op         string
	method     string
	serviceURL string
	path       []string
	query      url.Values
	body       any
	effect     bool
}

// do makes the call, with one new token when the first is refused, and decodes
// the answer into out unless that is nil.
func (c *connector) do(ctx context.Context, r request, out any) error {
	base, err := c.services.check(r.serviceURL)
	if err != nil {
		return fmt.Errorf("%s: %w", r.op, err)
	}
	var body []byte
	if r.body != nil {
		body = encode(r.body)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for attempt := 0; ; attempt++ {
		token, err := c.tokens.get(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", r.op, err)
		}
		err = c.once(ctx, r, address(base, r.path, r.query), token, body, out)
		if refused := (*ConnectorError)(nil); errors.As(err, &refused) && refused.StatusCode == http.StatusUnauthorized && attempt == 0 {
			c.tokens.drop(token)
			continue
		}
		return err
	}
}

// address appends escaped segments and a query to the checked base.
func address(base *url.URL, segments []string, query url.Values) string {
	var b strings.Builder
	b.WriteString(base.Scheme + "://" + base.Host + strings.TrimRight(base.EscapedPath(), "/") + "/v3")
	for _, s := range segments {
		// PathEscape leaves dots alone, and "." and ".." mean another path.
		escaped := url.PathEscape(s)
		if strings.Trim(escaped, ".") == "" {
			escaped = strings.ReplaceAll(escaped, ".", "%2E")
		}
		b.WriteString("/" + escaped)
	}
	if len(query) > 0 {
		b.WriteString("?" + query.Encode())
	}
	return b.String()
}

func (c *connector) once(ctx context.Context, r request, address, token string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, r.method, address, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: address cannot be built", r.op)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return r.lost(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return r.lost(err)
	}
	if resp.StatusCode/100 != 2 {
		return r.refused(resp, answer)
	}
	if out == nil || len(answer) == 0 {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return r.lost(errors.New("the answer is not the JSON expected"))
	}
	return nil
}

// lost is an error without an answer. Whether something new was made is unclear,
// unless no connection came about.
func (r request) lost(err error) error {
	var address *url.Error
	if errors.As(err, &address) {
		err = address.Err // without the URL
	}
	var dial *net.OpError
	if !r.effect || errors.As(err, &dial) && dial.Op == "dial" {
		return fmt.Errorf("%s: %w", r.op, err)
	}
	return fmt.Errorf("%s: %w: %w", r.op, chat.ErrUnclear, err)
}

func (r request) refused(resp *http.Response, body []byte) error {
	var fault struct {
		Error struct {
			Code    string `json:"code"`
			SubCode string `json:"subCode"`
		} `json:"error"`
		Code      string `json:"code"`
		ErrorCode string `json:"errorCode"`
		SubCode   string `json:"subCode"`
	}
	e := &ConnectorError{Op: r.op, StatusCode: resp.StatusCode, effect: r.effect}
	if json.Unmarshal(body, &fault) == nil {
		for _, code := range []string{fault.Error.SubCode, fault.SubCode, fault.Error.Code, fault.Code, fault.ErrorCode} {
			if code != "" {
				e.Code = chat.Visible(code, 60)
				break
			}
		}
	}
	if resp.StatusCode == http.StatusTooManyRequests {
		e.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	return e
}

func retryAfter(value string, now time.Time) time.Duration {
	wait := defaultBackOff
	if seconds, err := strconv.Atoi(value); err == nil && seconds >= 0 {
		wait = time.Duration(min(seconds, 3600)) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = max(at.Sub(now), 0)
	}
	return min(wait, maxBackOff)
}
