package entrasim

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/mdebot/mdebot/internal/sandbox/fault"
)

// The audiences an application can ask for.
const (
	Defender     = "https://api.securitycenter.microsoft.com"
	XDR          = "https://api.security.microsoft.com"
	Graph        = "https://graph.microsoft.com"
	BotFramework = "https://api.botframework.com"

	// DefenderOld and DefenderService are what Defender was called in earlier
	// years; tokens for them are tokens for Defender.
	DefenderOld     = "https://api.securitycenter.windows.com"
	DefenderService = "https://securitycenter.onmicrosoft.com/windowsatpservice"

	// The audiences of the US government cloud.
	DefenderUS = "https://api-gov.securitycenter.microsoft.us"
	XDRUS      = "https://api-gov.security.microsoft.us"
	GraphUS    = "https://graph.microsoft.us"
)

// aliases are audiences by the one whose roles they carry.
var aliases = map[string]string{DefenderOld: Defender, DefenderService: Defender}

// The clouds. A tenant is known in its own alone.
const (
	Public       = ""
	USGovernment = "us"
)

var audiences = map[string][]string{
	Public: {Defender, DefenderOld, DefenderService, XDR, Graph, BotFramework},
	// Bot Framework is the public one, so that one Entra serves a whole company.
	USGovernment: {DefenderUS, XDRUS, GraphUS, BotFramework},
}

// Why [Server.Verify] refuses a token.
var (
	ErrToken    = errors.New("token is malformed, expired, revoked or not issued here")
	ErrAudience = errors.New("token was issued for another audience")
)

// App is an application registration in one tenant.
type App struct {
	ID     string // client ID
	Name   string
	Secret string
	// SecretExpires is when the secret stops working; zero means never.
	SecretExpires time.Time
	// Certificates that may sign assertions instead of a secret.
	Certificates []*x509.Certificate
	// Federated are workloads whose tokens stand for the application.
	Federated []Federated
	// Managed: the application is a managed identity, which has no proof of its own.
	Managed  bool
	Disabled bool
	// Foreign: registered in another tenant and consented to here.
	Foreign bool
	// Roles are the application permissions an administrator consented to, by
	// audience.
	Roles map[string][]string
	// Redirects are the addresses that people may be sent back to after signing
	// in. On loopback addresses any port is accepted, as in Entra.
	Redirects []string
	// API is what it exposes to programs in which people are signed in, or nil.
	API *API
}

// Federated is one federated credential: whose tokens are taken.
type Federated struct{ Issuer, Subject string }

// ExchangeAudience is what federated tokens are for.
const ExchangeAudience = "api://AzureADTokenExchange"

// Options configures a server. The zero value is usable.
type Options struct {
	Cloud     string        // Public or USGovernment
	TokenLife time.Duration // default one hour
	Now       func() time.Time
}

// Issued is one token that was handed out.
type Issued struct {
	At          time.Time
	Tenant, App string
	Audience    string
	Roles       []string
	Expires     time.Time
}

// Claims is what a verified token says.
type Claims struct {
	Audience string
	Tenant   string
	App      string
	Roles    []string
	Expires  time.Time
}

// HasAny reports whether the token carries one of the roles, without regard to
// case.
func (c Claims) HasAny(roles ...string) bool {
	return slices.ContainsFunc(c.Roles, func(have string) bool {
		return slices.ContainsFunc(roles, func(want string) bool { return strings.EqualFold(have, want) })
	})
}

// Server is a simulated Entra ID. It is safe for concurrent use.
type Server struct {
	Faults *fault.Script

	handler http.Handler
	now     func() time.Time
	cloud   string

	mu      sync.Mutex
	life    time.Duration
	tenants map[string]map[string]*App // tenant, client ID
	issued  map[string]*Issued         // by the token's uti
	order   []*Issued

	directories   map[string]*directory // by tenant
	signIns       map[string]signIn     // by authorisation code
	staleSessions bool
}

// New returns a server without tenants.
func New(o Options) *Server {
	if o.TokenLife == 0 {
		o.TokenLife = time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{
		now: o.Now, life: o.TokenLife, cloud: o.Cloud,
		tenants: map[string]map[string]*App{},
		issued:  map[string]*Issued{},

		directories: map[string]*directory{},
		signIns:     map[string]signIn{},
	}
	s.Faults = fault.NewScript(outage)
	mux := http.NewServeMux()
	mux.HandleFunc("/{tenant}/oauth2/token", s.tokenV1)
	mux.HandleFunc("/{tenant}/oauth2/v2.0/token", s.tokenV2)
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", s.discovery)
	mux.HandleFunc("GET /{tenant}/discovery/v2.0/keys", s.keys)
	mux.HandleFunc("GET /{tenant}/oauth2/v2.0/authorize", s.authorize)
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/authorize", s.consent)
	s.handler = s.Faults.Wrap(mux)
	return s
}

// Cloud is Public or USGovernment.
func (s *Server) Cloud() string { return s.cloud }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Register adds an application to a tenant, or replaces it, and adds the tenant
// when it is new.
func (s *Server) Register(tenant string, app App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tenants[tenant] == nil {
		s.tenants[tenant] = map[string]*App{}
	}
	s.tenants[tenant][app.ID] = &app
}

// SetRoles changes what an application may do. Tokens issued before keep the
// roles they have. It panics when the application is not registered.
func (s *Server) SetRoles(tenant, clientID, audience string, roles ...string) {
	s.change(tenant, clientID, func(a *App) {
		granted := map[string][]string{audience: slices.Clone(roles)}
		for other, r := range a.Roles {
			if other != audience {
				granted[other] = r
			}
		}
		a.Roles = granted
	})
}

// Unregister takes an application out of a tenant, as an administrator does who
// deletes it or withdraws consent. Tokens issued before stay good.
func (s *Server) Unregister(tenant, clientID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tenants[tenant], clientID)
}

// Change edits an application. It panics when the application is not registered.
func (s *Server) Change(tenant, clientID string, f func(*App)) { s.change(tenant, clientID, f) }

// App returns an application of a tenant.
func (s *Server) App(tenant, clientID string) (App, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	app := s.tenants[tenant][clientID]
	if app == nil {
		return App{}, false
	}
	return *app, true
}

// SetSecret replaces an application's secret. It panics when the application is
// not registered.
func (s *Server) SetSecret(tenant, clientID, secret string) {
	s.change(tenant, clientID, func(a *App) { a.Secret = secret })
}

func (s *Server) change(tenant, clientID string, f func(*App)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	app := s.tenants[tenant][clientID]
	if app == nil {
		panic(fmt.Sprintf("entrasim: application %s is not registered in tenant %s", clientID, tenant))
	}
	f(app)
}

// SetTokenLife changes the life of tokens issued from now on.
func (s *Server) SetTokenLife(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.life = d
}

// SetStaleSessions has people sign in with sessions that are an hour old, as a
// directory does that ignores what was asked of it.
func (s *Server) SetStaleSessions(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.staleSessions = on
}

// Revoke makes every token issued so far worthless.
func (s *Server) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.issued)
}

// Issued returns the tokens handed out so far, oldest first.
func (s *Server) Issued() []Issued {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Issued, len(s.order))
	for i, t := range s.order {
		out[i] = *t
	}
	return out
}

// Verify checks a bearer token for one of the audiences a service accepts. The
// error is ErrToken or ErrAudience; with ErrAudience the claims are returned too.
func (s *Server) Verify(token string, audiences ...string) (Claims, error) {
	parsed := tokenClaims{}
	_, err := jwt.ParseWithClaims(token, &parsed,
		func(*jwt.Token) (any, error) { return signingKey().Public(), nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(s.now), jwt.WithExpirationRequired())
	if err != nil {
		return Claims{}, ErrToken
	}
	s.mu.Lock()
	_, known := s.issued[parsed.UniqueID]
	s.mu.Unlock()
	if !known || len(parsed.Audience) != 1 {
		return Claims{}, ErrToken
	}
	c := Claims{
		Audience: parsed.Audience[0], Tenant: parsed.Tenant, App: parsed.App,
		Roles: parsed.Roles, Expires: parsed.ExpiresAt.Time,
	}
	if !slices.Contains(audiences, c.Audience) {
		return c, ErrAudience
	}
	return c, nil
}

// signingKey is shared by the servers of a process, because making one takes
// long; a server accepts only tokens that it has issued itself.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

type tokenClaims struct {
	jwt.RegisteredClaims
	App      string   `json:"appid"`
	Roles    []string `json:"roles"`
	Tenant   string   `json:"tid"`
	UniqueID string   `json:"uti"`
}

// issue signs a token. The caller holds the lock.
func (s *Server) issue(tenant string, app *App, audience string) (string, *Issued, error) {
	now := s.now()
	t := &Issued{
		At: now, Tenant: tenant, App: app.ID, Audience: audience,
		Roles: slices.Clone(app.Roles[cmp.Or(aliases[audience], audience)]), Expires: now.Add(s.life),
	}
	// Entra dates tokens back by five minutes against clock skew.
	from := now.Add(-5 * time.Minute).Unix()
	issuer := "https://sts.windows.net/" + tenant + "/"
	object := uuid.NewSHA1(uuid.NameSpaceURL, []byte(tenant+"/"+app.ID)).String()
	id := uuid.NewString()
	claims := jwt.MapClaims{
		"aud": audience, "iss": issuer, "iat": from, "nbf": from, "exp": t.Expires.Unix(),
		"app_displayname": app.Name, "appid": app.ID, "appidacr": "1", "idp": issuer,
		"oid": object, "sub": object, "tid": tenant, "uti": id, "ver": "1.0",
	}
	if len(t.Roles) > 0 {
		claims["roles"] = t.Roles
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(signingKey())
	if err != nil {
		return "", nil, err
	}
	s.issued[id] = t
	s.order = append(s.order, t)
	return signed, t, nil
}
