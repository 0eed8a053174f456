package slacksim

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// ackWithin is how long Slack waits for an acknowledgement, and how long a trigger_id
// lives.
const ackWithin = 3 * time.Second

// idle is less than bots keep a connection open on which nothing comes: a delivery on
// one that is being closed would be lost.
const idle = 30 * time.Second

// DeliveryError is what Slack shows when the bot has not acknowledged.
type DeliveryError struct {
	Status int    // HTTP status, or 0 when there was none
	Reason string // operation_timeout, http_service_error, dispatch_failed
}

func (e *DeliveryError) Error() string {
	return fmt.Sprintf("the app did not respond (%s, status %d)", e.Reason, e.Status)
}

// Sign returns the two headers of a request that Slack sends at t with body.
func Sign(secret string, t time.Time, body []byte) http.Header {
	stamp := strconv.FormatInt(t.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "v0:%s:", stamp)
	mac.Write(body)
	return http.Header{
		"X-Slack-Request-Timestamp": {stamp},
		"X-Slack-Signature":         {"v0=" + hex.EncodeToString(mac.Sum(nil))},
	}
}

// delivery is one thing to bring to the bot, over whichever transport is on.
type delivery struct {
	path     string // of the HTTP route
	form     url.Values
	json     []byte // the body of an event, or the envelope's payload
	envelope string // its type over Socket Mode
	answers  bool   // the acknowledgement may carry a payload
	retry    int
	reason   string
}

// deliver brings d to the bot and returns the body of the acknowledgement.
func (s *Server) deliver(ctx context.Context, d delivery) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.AckWithin)
	defer cancel()
	if s.opts.SocketMode {
		return s.deliverSocket(ctx, d)
	}
	body, contentType := d.json, "application/json"
	if d.form != nil {
		body, contentType = []byte(d.form.Encode()), "application/x-www-form-urlencoded"
	}
	s.mu.Lock()
	target := s.botURL + d.path
	s.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = Sign(s.opts.SigningSecret, s.opts.Now(), body)
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", "Slackbot 1.0 (+https://api.slack.com/robots)")
	if d.retry > 0 {
		req.Header.Set("X-Slack-Retry-Num", strconv.Itoa(d.retry))
		req.Header.Set("X-Slack-Retry-Reason", d.reason)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, &DeliveryError{Reason: "operation_timeout"}
		}
		return nil, &DeliveryError{Reason: "dispatch_failed"}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, &DeliveryError{Reason: "operation_timeout"}
	}
	if resp.StatusCode != http.StatusOK {
		if resp.Header.Get("X-Slack-No-Retry") == "1" {
			return nil, &DeliveryError{Status: resp.StatusCode, Reason: "no_retry"}
		}
		return nil, &DeliveryError{Status: resp.StatusCode, Reason: "http_service_error"}
	}
	return answer, nil
}

// deliverEvent delivers an event once and, when it was not acknowledged, again
// in the background as often as Slack does.
func (s *Server) deliverEvent(ctx context.Context, payload map[string]any) error {
	d := delivery{path: "/slack/events", envelope: "events_api"}
	d.json, _ = json.Marshal(payload)
	_, err := s.deliver(ctx, d)
	if err == nil || isFinal(err) {
		return err
	}
	s.running.Go(func() {
		for i, wait := range s.opts.EventRetries {
			select {
			case <-time.After(wait):
			case <-s.background.Done():
				return
			}
			d.retry, d.reason = i+1, "http_error"
			if _, err := s.deliver(s.background, d); err == nil || isFinal(err) {
				return
			}
		}
	})
	return err
}

func isFinal(err error) bool {
	var failed *DeliveryError
	return errors.As(err, &failed) && failed.Reason == "no_retry"
}
