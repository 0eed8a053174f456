package defender

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	maxCode    = 64
	maxMessage = 1000
)

// wireError is the error envelope of Defender and Graph.
type wireError struct {
	Error struct {
		Code    text `json:"code"`
		Message text `json:"message"`
		Target  text `json:"target"`
		Inner   struct {
			RequestID text `json:"request-id"`
		} `json:"innerError"`
	} `json:"error"`
}

// refusal turns an answer that is no success into an error, and remembers when
// it is about quota.
func (c *core) refusal(r call, resp *http.Response, body []byte) error {
	var w wireError
	// Gateways answer with HTML, or with nothing: the status has to do then.
	_ = json.Unmarshal(body, &w)
	message := cut(string(w.Error.Message), maxMessage)
	if resp.StatusCode == http.StatusTooManyRequests {
		now := c.now()
		return &ThrottledError{Op: r.op, RetryAfter: c.quota.block(now, r.family, retryAfter(resp.Header, message, now))}
	}
	e := &APIError{
		Op:         r.op,
		StatusCode: resp.StatusCode,
		Code:       cut(string(w.Error.Code), maxCode),
		Message:    message,
		RequestID:  cut(cmp.Or(string(w.Error.Target), string(w.Error.Inner.RequestID), requestID(resp.Header)), maxCode),
	}
	e.kind = kindOf(r.family, resp.StatusCode, e.Code, message)
	if resp.StatusCode == http.StatusForbidden {
		e.Permission = permissionIn(message)
	}
	return e
}

func kindOf(f family, status int, code, message string) error {
	switch status {
	case http.StatusUnauthorized:
		return ErrUnauthorized
	case http.StatusForbidden:
		return ErrForbidden
	case http.StatusNotFound:
		return ErrNotFound
	case http.StatusRequestTimeout:
		return ErrUnavailable
	}
	switch {
	case status/100 != 4:
		return ErrUnavailable
	case strings.EqualFold(code, "ActiveRequestAlreadyExists"),
		f == familyActions && status == http.StatusConflict,
		// Seen with other codes; the text is the last resort.
		f == familyActions && strings.Contains(strings.ToLower(message), "already in progress"):
		return ErrAlreadyActive
	}
	return ErrInvalid
}

func requestID(h http.Header) string {
	return cmp.Or(h.Get("request-id"), h.Get("x-ms-request-id"), h.Get("client-request-id"))
}

var permissionPattern = regexp.MustCompile(`(?i:permissions \(|required roles: ?)([A-Za-z]+(?:\.[A-Za-z]+)+)`)

// permissionIn reads the first permission a 403 names. It is a hint: the text is
// not documented.
func permissionIn(message string) string {
	m := permissionPattern.FindStringSubmatch(message)
	if m == nil {
		return ""
	}
	return m[1]
}

// missingPermission is the refusal of a call that is not worth sending.
func missingPermission(op, permission string) error {
	return &APIError{Op: op, StatusCode: http.StatusForbidden, Code: "MissingPermission", Permission: permission, kind: ErrForbidden}
}

// huntError adds the kind of a hunt's failure.
func huntError(err error) error {
	var api *APIError
	var throttled *ThrottledError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &throttled):
		return fmt.Errorf("%w: %w", ErrQueryQuota, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", ErrQueryTimedOut, err)
	case !errors.As(err, &api):
		return err
	}
	message := strings.ToLower(api.Message)
	switch {
	case api.StatusCode == http.StatusGatewayTimeout, api.StatusCode == http.StatusRequestTimeout,
		strings.Contains(message, "timed out"), strings.Contains(message, "timeout"):
		return fmt.Errorf("%w: %w", ErrQueryTimedOut, err)
	case api.StatusCode == http.StatusBadRequest && strings.Contains(message, "allowed result size"):
		return fmt.Errorf("%w: %w", ErrResultTooLarge, err)
	case api.StatusCode == http.StatusBadRequest:
		return fmt.Errorf("%w: %w", ErrQuerySyntax, err)
	}
	return err
}

// cut shortens text at a rune boundary and drops what is not UTF-8.
func cut(s string, limit int) string {
	s = strings.ToValidUTF8(s, "")
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}
