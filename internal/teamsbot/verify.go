package teamsbot

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/infracloudio/msbotbuilder-go/connector/auth"
	"github.com/infracloudio/msbotbuilder-go/schema"
)

const (
	teamsChannel    = "msteams"
	maxToken        = 8 << 10
	tokenLeeway     = 5 * time.Minute
	maxRemembered   = 1024
	serviceURLClaim = "serviceurl"
)

// refusal is why a request is not believed. Callers get the status and nothing
// else; the reason is for the log and holds no part of the token.
type refusal struct {
	status int
	reason string
}

func (r *refusal) Error() string { return r.reason }

func unauthorized(reason string) error { return &refusal{http.StatusUnauthorized, reason} }
func forbidden(reason string) error    { return &refusal{http.StatusForbidden, reason} }

// verified is what a good token says.
type verified struct {
	serviceURL string
	key        *signingKey
	expires    time.Time
	claims     jwt.MapClaims
}

// verifier checks the tokens on Teams' requests. Good tokens are remembered by
// their hash until they expire, because Teams sends the same one for an hour.
type verifier struct {
	appID    string
	issuer   string
	services services
	keys     *keySet
	now      func() time.Time

	mu         sync.Mutex
	remembered map[[sha256.Size]byte]verified
}

var _ auth.TokenValidator = (*verifier)(nil)

func newVerifier(cfg Config, issuer string, keys *keySet, now func() time.Time) *verifier {
	return &verifier{
		appID: cfg.AppID, issuer: issuer, services: newServices(cfg), keys: keys, now: now,
		remembered: map[[sha256.Size]byte]verified{},
	}
}

// header verifies the Authorization header by itself, before anything of the
// body is looked at.
func (v *verifier) header(h http.Header) (verified, error) {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return verified{}, unauthorized("not exactly one Authorization header")
	}
	return v.token(values[0])
}

// bearer is the token in the value of an Authorization header.
func bearer(header string) (string, error) {
	scheme, token, ok := strings.Cut(header, " ")
	switch {
	case !ok || !strings.EqualFold(scheme, "Bearer"):
		return "", unauthorized("no bearer token")
	case len(token) > maxToken:
		return "", unauthorized("token too long")
	case strings.Count(token, ".") != 2:
		return "", unauthorized("not a signed token")
	}
	return token, nil
}

func (v *verifier) token(header string) (verified, error) {
	token, err := bearer(header)
	if err != nil {
		return verified{}, err
	}
	hash := sha256.Sum256([]byte(token))
	if known, ok := v.recall(hash); ok {
		return known, nil
	}
	got, err := v.parse(token)
	if err != nil {
		return verified{}, err
	}
	v.remember(hash, got)
	return got, nil
}

func (v *verifier) parse(token string) (verified, error) {
	var key *signingKey
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodRS256.Alg()}),
		jwt.WithIssuer(v.issuer),
		jwt.WithExpirationRequired(),
		jwt.WithLeeway(tokenLeeway),
		jwt.WithTimeFunc(v.now),
		jwt.WithStrictDecoding(),
	)
	claims := jwt.MapClaims{}
	parsed, err := parser.ParseWithClaims(token, claims, func(t *jwt.Token) (_ any, err error) {
		if key, err = v.keys.of(t); err != nil {
			return nil, err
		}
		return key.public, nil
	})
	if err != nil || !parsed.Valid || key == nil {
		return verified{}, unauthorized(tokenFault(err))
	}
	if !v.forUs(claims["aud"]) {
		return verified{}, unauthorized("token is for another audience")
	}
	expires, err := claims.GetExpirationTime()
	if err != nil || expires == nil {
		return verified{}, unauthorized("token has no expiry")
	}
	serviceURL, ok := claims[serviceURLClaim].(string)
	if !ok || serviceURL == "" {
		return verified{}, unauthorized("token names no service URL")
	}
	return verified{serviceURL: serviceURL, key: key, expires: expires.Time, claims: claims}, nil
}

// forUs accepts our application ID alone, as text or as a list of one.
func (v *verifier) forUs(audience any) bool {
	if list, ok := audience.([]any); ok && len(list) == 1 {
		audience = list[0]
	}
	s, ok := audience.(string)
	return ok && s == v.appID
}

// tokenFault names what the library found, without the token's own text.
func tokenFault(err error) string {
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return "token is malformed"
	case errors.Is(err, jwt.ErrTokenUnverifiable):
		return "token's key is not known"
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return "signature or algorithm is wrong"
	case errors.Is(err, jwt.ErrTokenExpired):
		return "token has expired"
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return "token is not valid yet"
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return "token is from another issuer"
	default:
		return "token is not valid"
	}
}

// recall finds a token verified earlier whose key is still published.
func (v *verifier) recall(hash [sha256.Size]byte) (verified, bool) {
	v.mu.Lock()
	got, ok := v.remembered[hash]
	v.mu.Unlock()
	if !ok || v.now().After(got.expires.Add(tokenLeeway)) || v.keys.lookup(got.key.id) != got.key {
		return verified{}, false
	}
	return got, true
}

func (v *verifier) remember(hash [sha256.Size]byte, got verified) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.remembered) >= maxRemembered {
		clear(v.remembered) // they are verified again; nothing is lost
	}
	v.remembered[hash] = got
}

// AuthenticateRequest implements auth.TokenValidator: the token must be good and
// must be about this activity.
func (v *verifier) AuthenticateRequest(_ context.Context, a schema.Activity, header string, _ auth.CredentialProvider, _ string) (auth.ClaimsIdentity, error) {
	got, err := v.token(header)
	if err != nil {
		return nil, err
	}
	if a.ServiceURL == "" || !sameURL(got.serviceURL, a.ServiceURL) {
		return nil, forbidden("service URL of token and activity differ")
	}
	if _, err := v.services.check(a.ServiceURL); err != nil {
		return nil, forbidden(err.Error())
	}
	if a.ChannelID != teamsChannel {
		return nil, forbidden("activity of another channel")
	}
	if !slices.Contains(got.key.endorsements, a.ChannelID) {
		return nil, forbidden("signing key is not endorsed for Teams")
	}
	return auth.NewClaimIdentity(got.claims, true), nil
}

// sameURL compares as Microsoft's SDKs do: without a slash at the end and
// without regard to case.
func sameURL(a, b string) bool {
	return strings.EqualFold(strings.TrimRight(a, "/"), strings.TrimRight(b, "/"))
}

// credentials tells the library's adapter what it asks for. It never says that
// authentication is disabled.
type credentials struct{ appID string }

func (c credentials) IsValidAppID(id string) bool    { return c.appID != "" && id == c.appID }
func (c credentials) GetAppID() string               { return c.appID }
func (c credentials) GetAppPassword() string         { return "" }
func (c credentials) IsAuthenticationDisabled() bool { return false }
