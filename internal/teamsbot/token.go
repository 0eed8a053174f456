package teamsbot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/entra"
)

const (
	tokenTimeout = 10 * time.Second
	tokenMargin  = 5 * time.Minute // renewed this long before it expires
)

// tokenSource keeps the bot's own access token. Waiting callers share one fetch,
// and a token that the connector refused can be dropped, which oauth2's own
// client cannot do.
type tokenSource struct {
	credential entra.Credential // under mu
	target     entra.Target
	http       *http.Client
	now        func() time.Time
	flight     singleflight.Group

	mu    sync.Mutex
	token *oauth2.Token
}

// newTokenSource asks the bot's own tenant: a single-tenant bot is unknown at
// the address that multi-tenant bots used.
func newTokenSource(cfg Config, scope string, hc *http.Client, now func() time.Time) *tokenSource {
	credential := cfg.Credential()
	target := entra.Target{
		Authority: cfg.AuthorityURL, Tenant: strings.ToLower(cfg.TenantIDs[0]), Audience: strings.TrimSuffix(scope, "/.default"),
	}
	return &tokenSource{now: now, credential: credential, target: target, http: hc}
}

func (t *tokenSource) fetch(ctx context.Context) (*oauth2.Token, error) {
	t.mu.Lock()
	credential := t.credential
	t.mu.Unlock()
	return credential.Source(ctx, t.http, t.target).Token()
}

// rotate asks for the next token with another credential. The one in use goes on.
func (t *tokenSource) rotate(c entra.Credential) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.credential = c
}

func (t *tokenSource) get(ctx context.Context) (string, error) {
	t.mu.Lock()
	token := t.token
	t.mu.Unlock()
	if token != nil && (token.Expiry.IsZero() || t.now().Before(token.Expiry.Add(-tokenMargin))) {
		return token.AccessToken, nil
	}
	select {
	case result := <-t.flight.DoChan("", t.renew):
		if result.Err != nil {
			return "", result.Err
		}
		return result.Val.(string), nil
	case <-ctx.Done():
		return "", fmt.Errorf("wait for access token: %w", ctx.Err())
	}
}

// SignIn gets the bot a token for Bot Connector, to see whether that works.
func (b *Bot) SignIn(ctx context.Context) error {
	_, err := b.connector.tokens.get(ctx)
	return err
}

// renew runs on its own time, for all who wait.
func (t *tokenSource) renew() (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), tokenTimeout)
	defer cancel()
	token, err := t.fetch(ctx)
	if err != nil {
		return nil, tokenError(err)
	}
	if token.AccessToken == "" {
		return nil, fmt.Errorf("get access token: %w", chat.ErrCredentials)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.token = token
	return token.AccessToken, nil
}

// drop forgets a token that was refused, unless it has been replaced already.
func (t *tokenSource) drop(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token != nil && t.token.AccessToken == token {
		t.token = nil
	}
}

// tokenError keeps Entra's error code and leaves its text, which repeats parts of
// the request.
func tokenError(err error) error {
	var refused *entra.Error
	switch {
	case !errors.As(err, &refused):
		return errors.New("get access token: no answer from the authority")
	case refused.Refused():
		return fmt.Errorf("get access token: %s: %w", chat.Visible(refused.Error(), 200), chat.ErrCredentials)
	}
	return fmt.Errorf("get access token: %s", chat.Visible(refused.Error(), 200))
}
