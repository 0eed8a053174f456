package links

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/mdebot/mdebot/internal/identity"
)

// SignInConfig says where people reach mdebot with a browser and as which
// application they sign in. The address has another use too, the tab in Teams, so it
// may be there alone.
type SignInConfig struct {
	PublicURL    string `env:"MDEBOT_PUBLIC_URL"`
	ClientID     string `env:"MDEBOT_OIDC_CLIENT_ID"`
	ClientSecret string `env:"MDEBOT_OIDC_CLIENT_SECRET"`
}

// Enabled reports whether people can sign in.
func (c SignInConfig) Enabled() bool { return c.ClientID != "" || c.ClientSecret != "" }

// Local reports an address that only browsers of this machine reach.
func (c SignInConfig) Local() bool {
	u, err := url.Parse(c.PublicURL)
	return err == nil && isLoopback(u.Hostname())
}

// Validate reports every fault.
func (c SignInConfig) Validate() error {
	var faults []error
	for _, s := range []struct{ name, value, what string }{
		{"MDEBOT_PUBLIC_URL", c.PublicURL, "the address under which people reach mdebot with a browser"},
		{"MDEBOT_OIDC_CLIENT_ID", c.ClientID, "the application that people sign in to"},
		{"MDEBOT_OIDC_CLIENT_SECRET", c.ClientSecret, "its secret"},
	} {
		if s.value == "" && c.Enabled() {
			faults = append(faults, fmt.Errorf("%s is missing: linking Slack accounts by signing in needs %s", s.name, s.what))
		}
	}
	if u, err := url.Parse(c.PublicURL); c.PublicURL != "" && (err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		strings.Trim(u.Path, "/") != "" || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname()))) {
		faults = append(faults, errors.New("MDEBOT_PUBLIC_URL: give a bare https address such as https://mdebot.example.com"))
	}
	return errors.Join(faults...)
}

// LogValue shows everything but the secret.
func (c SignInConfig) LogValue() slog.Value {
	return slog.GroupValue(slog.String("public_url", c.PublicURL), slog.String("client_id", c.ClientID))
}

// String keeps the secret out of %v and %s.
func (c SignInConfig) String() string { return c.LogValue().String() }

// GoString keeps the secret out of %#v.
func (c SignInConfig) GoString() string { return "links.SignInConfig{" + c.String() + "}" }

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// SignIn proves by the directory who sits at a browser.
type SignIn struct {
	cfg    SignInConfig
	home   string // Entra tenant ID
	issuer string
	origin string // of the directory's pages
	http   *http.Client
	now    func() time.Time

	mu       sync.Mutex
	provider *oidc.Provider
}

// NewSignIn returns the sign-in to one Entra tenant. It calls nobody. The
// transport's proxy and roots are used; only the authority's own host is called.
func NewSignIn(c SignInConfig, authority, home string, transport *http.Transport, now func() time.Time) (*SignIn, error) {
	u, err := url.Parse(authority)
	if err != nil || u.Host == "" {
		return nil, errors.New("sign-in: the authority has no host")
	}
	origin := u.Scheme + "://" + u.Host
	return &SignIn{
		cfg: c, home: home, issuer: origin + "/" + home + "/v2.0", origin: origin, now: now,
		http: &http.Client{
			Transport:     onlyHost{u.Scheme, u.Host, transport},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Timeout:       15 * time.Second,
		},
	}, nil
}

// maxAnswer is far more than any discovery document, key set or token.
const maxAnswer = 1 << 20

// onlyHost refuses every other host: discovery names the addresses that secrets
// are sent to. Answers are bounded, because go-oidc reads them whole.
type onlyHost struct {
	scheme, host string
	next         http.RoundTripper
}

func (t onlyHost) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != t.scheme || r.URL.Host != t.host {
		return nil, fmt.Errorf("sign-in: %s is not the configured authority", r.URL.Host)
	}
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	return resp, nil
}

func (s *SignIn) address(token string) string { return s.at("/link?t=" + token) }

func (s *SignIn) at(path string) string { return strings.TrimRight(s.cfg.PublicURL, "/") + path }

// secure reports whether browsers reach mdebot by https; http is for loopback.
func (s *SignIn) secure() bool { return strings.HasPrefix(s.cfg.PublicURL, "https://") }

// prepared is the OAuth client, once the authority has told where its parts are.
func (s *SignIn) prepared(ctx context.Context) (*oauth2.Config, *oidc.Provider, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.provider == nil {
		provider, err := oidc.NewProvider(oidc.ClientContext(ctx, s.http), s.issuer)
		if err != nil {
			return nil, nil, fmt.Errorf("sign-in: read the authority's configuration: %w", withoutURL(err))
		}
		s.provider = provider
	}
	endpoint := s.provider.Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInParams
	if u, err := url.Parse(endpoint.AuthURL); err != nil || u.Scheme+"://"+u.Host != s.origin {
		return nil, nil, errors.New("sign-in: the authority sends people to another host")
	}
	return &oauth2.Config{
		ClientID: s.cfg.ClientID, ClientSecret: s.cfg.ClientSecret, Endpoint: endpoint,
		RedirectURL: strings.TrimRight(s.cfg.PublicURL, "/") + "/link/callback",
		Scopes:      []string{oidc.ScopeOpenID, "profile"},
	}, s.provider, nil
}

// Rotate replaces the secret, from the next sign-in on (threat-model C-06).
func (s *SignIn) Rotate(c SignInConfig) error {
	if err := c.Validate(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.ClientSecret = c.ClientSecret
	return nil
}

// begin is where to send a browser. verifier never leaves it; the nonce is derived
// from it, so that a token for another browser does not fit. A fresh sign-in is one
// for which the directory asks for the password or key again.
func (s *SignIn) begin(ctx context.Context, state, verifier string, fresh bool) (string, error) {
	client, _, err := s.prepared(ctx)
	if err != nil {
		return "", err
	}
	options := []oauth2.AuthCodeOption{oidc.Nonce(nonceOf(verifier)), oauth2.S256ChallengeOption(verifier)}
	if fresh {
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	} else {
		options = append(options, oauth2.SetAuthURLParam("prompt", "select_account"))
	}
	return client.AuthCodeURL(state, options...), nil
}

// signedInAs is what an ID token says.
type signedInAs struct {
	Person identity.PersonID
	Name   string
	// At is when the person last proved who they are; zero when that is not said.
	At time.Time
}

func nonceOf(verifier string) string { return hashOf("nonce " + verifier) }

// errNotOurs reports somebody whom the directory knows as a guest.
var errNotOurs = errors.New("sign-in: this account is a guest of the directory")

// finish redeems a code and returns who signed in.
func (s *SignIn) finish(ctx context.Context, code, verifier string) (signedInAs, error) {
	client, provider, err := s.prepared(ctx)
	if err != nil {
		return signedInAs{}, err
	}
	ctx = oidc.ClientContext(ctx, s.http)
	got, err := client.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return signedInAs{}, refusedBy(err)
	}
	raw, _ := got.Extra("id_token").(string)
	token, err := provider.VerifierContext(ctx, &oidc.Config{ClientID: s.cfg.ClientID, Now: s.now, SupportedSigningAlgs: []string{oidc.RS256}}).Verify(ctx, raw)
	if err != nil {
		return signedInAs{}, fmt.Errorf("sign-in: verify the ID token: %w", withoutURL(err))
	}
	var claims struct {
		Tenant string `json:"tid"`
		Object string `json:"oid"`
		Name   string `json:"name"`
		// IDP is set for people who live in another directory, and Kind is 1 for
		// guests.
		IDP  string `json:"idp"`
		Kind int    `json:"acct"`
		At   int64  `json:"auth_time"`
	}
	if err := token.Claims(&claims); err != nil {
		return signedInAs{}, fmt.Errorf("sign-in: read the ID token: %w", err)
	}
	person, err := identity.ParsePersonID(claims.Tenant + "/" + claims.Object)
	switch {
	case err != nil:
		return signedInAs{}, fmt.Errorf("sign-in: read the ID token: %w", err)
	case token.Nonce != nonceOf(verifier):
		return signedInAs{}, errors.New("sign-in: the ID token was issued for another sign-in")
	case person.Tenant != s.home:
		return signedInAs{}, errors.New("sign-in: the ID token is of another tenant")
	case claims.Kind == 1, claims.IDP != "" && claims.IDP != token.Issuer && claims.IDP != "https://sts.windows.net/"+s.home+"/":
		return signedInAs{}, errNotOurs
	}
	who := signedInAs{Person: person, Name: claims.Name}
	if claims.At > 0 {
		who.At = time.Unix(claims.At, 0)
	}
	return who, nil
}

// refusedBy drops what x/oauth2 keeps of an answer.
func refusedBy(err error) error {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) {
		return fmt.Errorf("sign-in: the authority refused the code: %s", refused.ErrorCode)
	}
	return fmt.Errorf("sign-in: redeem the code: %w", withoutURL(err))
}

// withoutURL drops the address from an error of net/http.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		var refused net.Error
		if errors.As(u.Err, &refused) && refused.Timeout() {
			return errors.New("no answer in time")
		}
		return u.Err
	}
	return err
}
