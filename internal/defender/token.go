package defender

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/sync/singleflight"
)

const (
	tokenTimeout = 20 * time.Second
	// tokenMargin is how long before its end a token is replaced.
	tokenMargin = 5 * time.Minute
	// tokenPause keeps a refused credential from asking Entra again at every call.
	tokenPause = 5 * time.Second

	// grantDelay is how often a missing permission is a reason for a new token.
	grantDelay = 5 * time.Minute

	minTokenLife = time.Minute
	maxTokenLife = 24 * time.Hour
)

// tokens is the source for one (authority, tenant, client, audience). It keeps
// one token, replaces it early, and asks Entra once for all who wait.
type tokens struct {
	audience string
	tenant   TenantID
	config   clientcredentials.Config
	core     *core
	flight   singleflight.Group

	mu      sync.Mutex
	current token
	failure error // of the last attempt, until retryAt
	retryAt time.Time
}

type token struct {
	value  string
	claims claims
	issued time.Time
	renew  time.Time // from then on it is replaced when that succeeds
	end    time.Time
}

func (t token) authorize(r *http.Request) { r.Header.Set("Authorization", "Bearer "+t.value) }

func newTokens(cfg Config, audience string, c *core) *tokens {
	return &tokens{
		audience: audience,
		tenant:   cfg.TenantID,
		core:     c,
		config: clientcredentials.Config{
			ClientID:     cfg.ClientID,
			ClientSecret: cfg.ClientSecret,
			TokenURL:     strings.TrimSuffix(cfg.AuthorityURL, "/") + "/" + url.PathEscape(string(cfg.TenantID)) + "/oauth2/v2.0/token",
			Scopes:       []string{strings.TrimSuffix(audience, "/") + "/.default"},
			AuthStyle:    oauth2.AuthStyleInParams,
		},
	}
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
		s.failure, s.retryAt = err, now.Add(tokenPause)
		if now.Before(s.current.end) {
			return s.current, nil
		}
		return token{}, err
	}
	s.current, s.failure, s.retryAt = t, nil, time.Time{}
	return t, nil
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
	op := "get token for " + s.audience
	ctx = context.WithValue(ctx, oauth2.HTTPClient, s.core.http)
	asked := s.core.now()
	got, err := s.config.Token(ctx)
	if err != nil {
		return token{}, tokenError(op, err)
	}
	c := readClaims(got.AccessToken)
	if c.known && !strings.EqualFold(c.Tenant, string(s.tenant)) {
		return token{}, fmt.Errorf("%s: %w: the token is for another tenant", op, ErrUnauthorized)
	}
	if c.known && !c.Audience.names(s.audience) {
		return token{}, fmt.Errorf("%s: %w: the token is for another audience", op, ErrUnauthorized)
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

// tokenError turns what x/oauth2 returns into an error without the body it
// keeps.
func tokenError(op string, err error) error {
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) || refused.Response == nil {
		return fmt.Errorf("%s: %w: %w", op, ErrUnavailable, withoutURL(err))
	}
	status := refused.Response.StatusCode
	if status == http.StatusTooManyRequests {
		return &ThrottledError{Op: op, RetryAfter: tokenPause}
	}
	e := &APIError{Op: op, StatusCode: status, Code: cut(refused.ErrorCode, maxCode), kind: ErrUnavailable}
	if status/100 == 4 {
		e.kind = ErrUnauthorized
	}
	var body struct {
		Codes       []integer `json:"error_codes"`
		Description text      `json:"error_description"`
		Trace       text      `json:"trace_id"`
	}
	if json.Unmarshal(refused.Body, &body) == nil {
		e.Message, e.RequestID = cut(string(body.Description), maxMessage), cut(string(body.Trace), maxCode)
		if len(body.Codes) > 0 {
			e.Code = fmt.Sprintf("AADSTS%d", body.Codes[0])
		}
	}
	return e
}
