package slackbot

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"
)

const (
	// maxBody bounds an inbound request.
	maxBody = 1 << 20
	// maxChallenge bounds what url_verification makes the bot repeat.
	maxChallenge = 256
)

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// Routes serves POST /slack/commands, /slack/interactions and /slack/events. In
// Socket Mode it serves nothing: Slack does not call then, so whoever does is
// not Slack.
func (b *Bot) Routes() http.Handler {
	mux := http.NewServeMux()
	if b.cfg.AppToken == "" {
		mux.Handle("/slack/commands", b.verified(formType, b.acceptSlash))
		mux.Handle("/slack/interactions", b.verified(formType, b.acceptInteraction))
		mux.Handle("/slack/events", b.verified(jsonType, b.acceptEvent))
	}
	return mux
}

// ack is the body that acknowledges a delivery; the zero value is empty.
type ack struct {
	contentType string
	body        []byte
}

// accept takes the body of an authentic request.
type accept func(ctx context.Context, body []byte) (ack, error)

// verified is the only way to register a route: next sees bodies that Slack
// signed, and nothing else of the request (threat-model W-03, W-04).
func (b *Bot) verified(mediaType string, next accept) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				b.logger.ErrorContext(r.Context(), "panic while accepting")
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		status := checkRequest(r, mediaType)
		if status != 0 {
			if status == http.StatusMethodNotAllowed {
				w.Header().Set("Allow", http.MethodPost)
			}
			http.Error(w, http.StatusText(status), status)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			var tooBig *http.MaxBytesError
			if errors.As(err, &tooBig) {
				http.Error(w, http.StatusText(http.StatusRequestEntityTooLarge), http.StatusRequestEntityTooLarge)
				return
			}
			http.Error(w, http.StatusText(http.StatusBadRequest), http.StatusBadRequest)
			return
		}
		if err := verifyAny(r.Header, body, *b.signing.Load(), b.now()); err != nil {
			if b.refusals.AllowN(b.now(), 1) {
				b.logger.WarnContext(r.Context(), "delivery refused", slog.String("route", r.Pattern), slog.Int("status_code", http.StatusUnauthorized))
			}
			http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), answerWithin+500*time.Millisecond)
		defer cancel()
		answer, err := next(ctx, body)
		if err != nil {
			b.refuse(ctx, w, r.URL.Path, err)
			return
		}
		if answer.contentType != "" {
			w.Header().Set("Content-Type", answer.contentType)
		}
		_, _ = w.Write(answer.body) // Slack has gone when this fails
	})
}

// checkRequest is the status to refuse r with before its body is read, or 0.
func checkRequest(r *http.Request, mediaType string) int {
	if r.Method != http.MethodPost {
		return http.StatusMethodNotAllowed
	}
	given, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || given != mediaType || len(r.Header.Values("Content-Type")) != 1 || r.Header.Get("Content-Encoding") != "" {
		return http.StatusUnsupportedMediaType
	}
	for name, value := range params {
		if name != "charset" || !strings.EqualFold(value, "utf-8") {
			return http.StatusUnsupportedMediaType
		}
	}
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		return http.StatusBadRequest
	}
	return 0
}

// refuse answers a signed delivery that is not taken. Slack repeats events that
// fail; only those refused for want of room should come again.
func (b *Bot) refuse(ctx context.Context, w http.ResponseWriter, path string, err error) {
	status := http.StatusServiceUnavailable
	switch {
	case errors.Is(err, errMalformed), errors.Is(err, errWrongRoute):
		status = http.StatusBadRequest
	case errors.Is(err, errForeign):
		status = http.StatusForbidden
	}
	if status != http.StatusServiceUnavailable {
		w.Header().Set("X-Slack-No-Retry", "1")
	}
	b.logger.WarnContext(ctx, "delivery refused", slog.String("route", path), slog.Int("status_code", status), slog.Any("error", err))
	http.Error(w, http.StatusText(status), status)
}
