package defender

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/mdebot/mdebot/internal/entra"
)

const (
	tokenTimeout = 20 * time.Second
	// tokenMargin is how long before its end a token is replaced.
	tokenMargin = 5 * time.Minute
	// tokenPause keeps a refused credential from asking Entra again at every call.
	// It doubles with every refusal in a row, up to maxTokenPause.
	tokenPause    = 5 * time.Second
	maxTokenPause = 20 * time.Second

	// grantDelay is how often a missing permission is a reason for a new token.
	grantDelay = 5 * time.Minute

	minTokenLife = time.Minute
	maxTokenLife = 24 * time.Hour
)

// tokens is the source for one (authority, tenant, client, audience). It keeps
// one token, replaces it early, and asks Entra once for all who wait.
type tokens struct {
	credential entra.Credential // under mu
	target     entra.Target
	core       *core
	flight     singleflight.Group

	mu      sync.Mutex
	current token
	failure error // of the last attempt, until retryAt
	retryAt time.Time
	strikes int // failures in a row
}

type token struct {
	value  string
	claims claims
	issued time.Time
	renew  time.Time // from then on it is replaced when that succeeds
	end    time.Time
}

func (t token) authorize(r *http.Request) { r.Header.Set("Authorization", "Bearer "+t.value) }

func newTokens(credential entra.Credential, c *core, audience string) *tokens {
	return &tokens{credential: credential, core: c, target: entra.Target{
		Authority: c.endpoints.Authority, Tenant: string(c.tenant), Audience: audience, V1: c.v1,
	}}
}

// get returns a token that is good for a while.
func (s *tokens) get(ctx context.Context) (token, error) {
	t, done, err := s.known()
	if done {
		return t, err
	}
	result := s.flight.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tokenTimeout)
		defer cancel()
		return s.renewed(ctx)
	})
	select {
	case r := <-result:
		t, _ := r.Val.(token)
		return t, r.Err
	case <-ctx.Done():
		return token{}, ctx.Err()
	}
}

// known answers without asking Entra, where that is possible.
func (s *tokens) known() (t token, done bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.core.now()
	switch {
	case now.Before(s.current.renew):
		return s.current, true, nil
	case now.Before(s.retryAt) && now.Before(s.current.end):
		return s.current, true, nil
	case now.Before(s.retryAt):
		return token{}, true, s.failure
	}
	return token{}, false, nil
}

// renewed asks Entra. While the old token is still good, a failure only means to
// ask again later.
func (s *tokens) renewed(ctx context.Context) (token, error) {
	if t, done, err := s.known(); done {
		return t, err
	}
	t, err := s.ask(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.core.now()
	if err != nil {
		pause := min(tokenPause<<min(s.strikes, 8), maxTokenPause)
		s.strikes++
		var throttled *ThrottledError
		if errors.As(err, &throttled) {
			pause = max(pause, throttled.RetryAfter)
		}
		s.failure, s.retryAt = err, now.Add(pause)
		s.logRefusal(ctx, err)
		if now.Before(s.current.end) {
			return s.current, nil
		}
		return token{}, err
	}
	s.current, s.failure, s.retryAt, s.strikes = t, nil, time.Time{}, 0
	return t, nil
}

// logRefusal keeps Entra's own words, which hold IDs and are shown to nobody.
func (s *tokens) logRefusal(ctx context.Context, err error) {
	var api *APIError
	attrs := []any{slog.String("tenant_id", string(s.core.tenant)), slog.String("audience", s.target.Audience), slog.Any("error", err)}
	if errors.As(err, &api) {
		attrs = append(attrs, slog.Int("status_code", api.StatusCode), slog.String("request_id", api.RequestID), slog.String("entra_says", api.Message))
	}
	s.core.logger.WarnContext(ctx, "no token from Entra", attrs...)
}

// rotate asks for the next token with another credential, at once where the last
// one was refused. The token in use goes on.
func (s *tokens) rotate(c entra.Credential) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.credential = c
	s.failure, s.retryAt = nil, time.Time{}
}

// drop forgets a token that was refused, unless it has been replaced already.
func (s *tokens) drop(refused token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.value == refused.value {
		s.current = token{}
	}
}

// age has a token replaced at the next use when it is not quite new: what it
// does not permit may have been granted since.
func (s *tokens) age(refused token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.core.now()
	if s.current.value == refused.value && now.Sub(s.current.issued) > grantDelay {
		s.current.renew = now
	}
}

func (s *tokens) ask(ctx context.Context) (token, error) {
	op := "get token for " + s.target.Audience
	asked := s.core.now()
	s.mu.Lock()
	credential := s.credential
	s.mu.Unlock()
	got, err := credential.Source(ctx, s.core.http, s.target).Token()
	if err != nil {
		return token{}, tokenError(op, err)
	}
	c := readClaims(got.AccessToken)
	if err := s.check(op, c); err != nil {
		return token{}, err
	}
	// expires_in counts from now on our clock; the exp claim is read only without
	// it, because it needs both clocks to agree.
	life := minTokenLife
	switch {
	case !got.Expiry.IsZero():
		life = time.Until(got.Expiry)
	case c.Expires != 0:
		life = time.Unix(int64(c.Expires), 0).Sub(asked)
	}
	life = min(max(life, minTokenLife), maxTokenLife)
	return token{
		value: got.AccessToken, claims: c, issued: asked,
		renew: asked.Add(life - min(tokenMargin, life/2)),
		end:   asked.Add(life),
	}, nil
}

// check holds a token to what was asked for. One that cannot be read is tried.
func (s *tokens) check(op string, c claims) error {
	refuse := func(sentence, next string) error {
		return &SignInError{Op: op, Sentence: sentence, Next: next, Err: ErrUnauthorized}
	}
	switch {
	case !c.known:
		return nil
	case !strings.EqualFold(c.Tenant, string(s.core.tenant)):
		return refuse("Entra gave a token for another tenant, so it is not used.", "Check the tenant ID.")
	case !c.Audience.names(s.target.Audience):
		return refuse("Entra gave a token for another audience, so it is not used.", "Leave MDE_AUDIENCE and its relatives out, or set them to what the cloud of the tenant asks for.")
	case c.Expires != 0 && s.late(time.Unix(int64(c.Expires), 0)):
		return refuse("Entra gave a token that has ended already by the clock of this machine.", "Correct the clock of this machine.")
	}
	return nil
}

// tokenLateness is how far the clocks may differ before a fresh token counts as
// ended.
const tokenLateness = 5 * time.Minute

// late reports whether a token had ended before it came. Tests move the client's
// clock alone; only where both agree is the machine's wrong.
func (s *tokens) late(end time.Time) bool {
	return time.Since(end) > tokenLateness && s.core.now().Sub(end) > tokenLateness
}

// tokenError says what a refused sign-in means.
func tokenError(op string, err error) error {
	var refused *entra.Error
	if !errors.As(err, &refused) {
		return fmt.Errorf("%s: %w: %w", op, ErrUnavailable, withoutURL(err))
	}
	e := &SignInError{Op: op, NotHere: refused.NotHere()}
	e.Sentence, e.Next = refused.Advice()
	switch {
	case refused.Throttled():
		e.Err = &ThrottledError{Op: op, RetryAfter: max(refused.RetryAfter, tokenPause)}
	case refused.Status == 0:
		e.Err = fmt.Errorf("%w: %w", ErrUnauthorized, refused)
	default:
		api := &APIError{
			Op: op, StatusCode: refused.Status, Code: refused.OAuth, Message: refused.Message, RequestID: refused.Trace, kind: ErrUnavailable,
		}
		if refused.Code != 0 {
			api.Code = fmt.Sprintf("AADSTS%d", refused.Code)
		}
		if refused.Refused() {
			api.kind = ErrUnauthorized
		}
		e.Err = api
	}
	return e
}
