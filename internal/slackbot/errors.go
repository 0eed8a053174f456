package slackbot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/mdebot/mdebot/internal/chat"
)

const (
	// throttleDefault is the wait when Slack asks for one without saying how long.
	throttleDefault = 30 * time.Second
	throttleMax     = 10 * time.Minute
	// maxAnswer bounds what one call may answer; a full page of history stays
	// well below.
	maxAnswer = 8 << 20
)

var (
	codesNotThere = []string{
		"channel_not_found", "not_in_channel", "is_archived", "messages_tab_disabled", "user_not_found", "user_disabled",
		"cannot_dm_bot", "user_not_visible", "restricted_action", "restricted_action_read_only_channel",
		"restricted_action_thread_only_channel", "restricted_action_non_threadable_channel", "user_not_in_channel",
		"not_enabled", // no Home tab
	}
	codesGone        = []string{"message_not_found", "cant_update_message", "edit_window_closed", "is_inactive", "block_mismatch"}
	codesTooBig      = []string{"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text", "metadata_too_large", "invalid_attachments"}
	codesCredentials = []string{"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "missing_scope", "not_allowed_token_type"}
	codesThrottled   = []string{"ratelimited", "rate_limited"}
)

// refusal turns what slack-go returns into an error that callers can branch on.
// It holds neither addresses nor tokens.
func refusal(op string, err error) error {
	var (
		throttled *chat.ThrottledError
		limited   *slack.RateLimitedError
		refused   slack.SlackErrorResponse
		status    slack.StatusCodeError
		transport interface{ Timeout() bool }
	)
	switch {
	case errors.As(err, &throttled):
		return fmt.Errorf("%s: %w", op, throttled)
	case errors.As(err, &limited):
		return fmt.Errorf("%s: %w", op, &chat.ThrottledError{RetryAfter: limited.RetryAfter})
	case errors.As(err, &refused):
		return refusedWith(op, refused)
	case errors.As(err, &status):
		return fmt.Errorf("%s: Slack answered status %d", op, status.Code)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", op, context.Canceled)
	case errors.As(err, &transport) && transport.Timeout():
		return fmt.Errorf("%s: no answer in time", op)
	case notSent(err):
		return fmt.Errorf("%s: cannot connect to Slack", op)
	}
	return fmt.Errorf("%s: no usable answer from Slack", op)
}

func refusedWith(op string, refused slack.SlackErrorResponse) error {
	code := refused.Err
	switch {
	case slices.Contains(codesThrottled, code):
		return fmt.Errorf("%s: %w", op, &chat.ThrottledError{RetryAfter: throttleDefault})
	case code == "missing_scope":
		return fmt.Errorf("%s: %w: the app lacks the scope %s; add it and reinstall the app", op, chat.ErrCredentials, refused.Needed)
	case code == "not_in_channel":
		return fmt.Errorf("%s: %w: the bot is not in the channel; type /invite @mdebot there: %w", op, chat.ErrNotThere, errNotInChannel)
	case slices.Contains(codesNotThere, code):
		return fmt.Errorf("%s: %w (%s)", op, chat.ErrNotThere, code)
	case slices.Contains(codesGone, code):
		return fmt.Errorf("%s: %w (%s)", op, chat.ErrGone, code)
	case slices.Contains(codesTooBig, code):
		return fmt.Errorf("%s: %w (%s %s)", op, chat.ErrTooBig, code, strings.Join(refused.ResponseMetadata.Messages, "; "))
	case slices.Contains(codesCredentials, code):
		return fmt.Errorf("%s: %w (%s)", op, chat.ErrCredentials, code)
	}
	return fmt.Errorf("%s: Slack refused: %s", op, code)
}

// errNotInChannel tells that an invitation would help.
var errNotInChannel = errors.New("not_in_channel")

// unclear reports whether a call may have taken effect although it failed.
// Slack documents that fatal_error and internal_error may follow an effect.
func unclear(err error) bool {
	var (
		throttled *chat.ThrottledError
		limited   *slack.RateLimitedError
		refused   slack.SlackErrorResponse
		status    slack.StatusCodeError
	)
	switch {
	case errors.As(err, &throttled), errors.As(err, &limited):
		return false
	case errors.As(err, &refused):
		return refused.Err == "fatal_error" || refused.Err == "internal_error"
	case errors.As(err, &status):
		return status.Code >= http.StatusInternalServerError
	}
	return !notSent(err)
}

// unclearOr is err, marked as [chat.ErrUnclear] where that is so.
func unclearOr(err error, is bool) error {
	if is {
		return fmt.Errorf("%w: %w", chat.ErrUnclear, err)
	}
	return err
}

// notSent reports failures before the request left: no name, no connection.
func notSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// guardedTransport bounds answers and turns 429 into a [chat.ThrottledError]
// whatever the form of its Retry-After, which slack-go reads as an integer only.
type guardedTransport struct {
	base http.RoundTripper
	now  func() time.Time
}

func (t guardedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusTooManyRequests {
		_ = resp.Body.Close()
		return nil, &chat.ThrottledError{RetryAfter: retryAfter(resp.Header.Get("Retry-After"), t.now())}
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	return resp, nil
}

// retryAfter reads seconds, whole or not, or a date, and is never less than a
// second or more than ten minutes.
func retryAfter(v string, now time.Time) time.Duration {
	wait := throttleDefault
	if seconds, err := strconv.ParseFloat(v, 64); err == nil && seconds == seconds {
		seconds = min(max(seconds, 0), throttleMax.Seconds())
		wait = time.Duration(seconds * float64(time.Second))
	} else if at, err := http.ParseTime(v); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, time.Second), throttleMax)
}
