package entrasim

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

// signIn is an authorisation code that waits to be redeemed.
type signIn struct {
	tenant, client, redirect string
	challenge, nonce         string
	user                     User
	at                       time.Time
	proved                   time.Time // when the person last proved who they are; zero = not said
}

// codeLife is how long a code can be redeemed.
const codeLife = 10 * time.Minute

// issuer is the v2.0 issuer of a tenant at the address that was called.
func issuer(r *http.Request, tenant string) string { return here(r) + "/" + tenant + "/v2.0" }

// here is the address that was called.
func here(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func (s *Server) discovery(w http.ResponseWriter, r *http.Request) {
	tenant := r.PathValue("tenant")
	base := here(r) + "/" + tenant
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                issuer(r, tenant),
		"authorization_endpoint":                base + "/oauth2/v2.0/authorize",
		"token_endpoint":                        base + "/oauth2/v2.0/token",
		"jwks_uri":                              base + "/discovery/v2.0/keys",
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

const keyID = "entrasim-1"

func (s *Server) keys(w http.ResponseWriter, _ *http.Request) {
	key := signingKey().PublicKey
	encode := base64.RawURLEncoding.EncodeToString
	writeJSON(w, http.StatusOK, map[string]any{"keys": []map[string]any{{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": keyID,
		"n": encode(key.N.Bytes()), "e": encode(big.NewInt(int64(key.E)).Bytes()),
	}}})
}

// chooser is the page on which a person says who they are.
func chooser(app string, users []User) g.Node {
	return h.Doctype(h.HTML(h.Lang("en"),
		h.Head(h.Meta(h.Charset("utf-8")), h.TitleEl(g.Text("Sign in"))),
		h.Body(h.Style("font: 16px system-ui; max-width: 28rem; margin: 3rem auto"),
			h.H1(g.Text("Pick an account")),
			h.P(g.Text("to continue to "+app)),
			g.Map(users, func(u User) g.Node {
				return h.Form(h.Method("post"), h.Button(h.Name("user"), h.Value(u.Object),
					h.Style("font: inherit; padding: .6rem 1rem; margin: .25rem 0"), g.Text(u.Name)))
			}),
		),
	))
}

// authorize shows the page on which a person chooses who they are. There are no
// passwords.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	app, refused := s.asksToSignIn(r)
	if refused != nil {
		s.refuse(w, *refused)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = chooser(app.Name, s.Users(r.PathValue("tenant"))).Render(w)
}

// consent signs the chosen person in and sends the browser back.
func (s *Server) consent(w http.ResponseWriter, r *http.Request) {
	_, refused := s.asksToSignIn(r)
	if refused != nil {
		s.refuse(w, *refused)
		return
	}
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	q := r.URL.Query()
	user, ok := s.User(r.PathValue("tenant"), r.PostForm.Get("user"))
	back, _ := url.Parse(q.Get("redirect_uri")) // checked by asksToSignIn
	answer := back.Query()
	answer.Set("state", q.Get("state"))
	switch {
	case !ok:
		answer.Set("error", "access_denied")
	case user.Disabled:
		answer.Set("error", "access_denied")
		answer.Set("error_description", "AADSTS50057: The user account is disabled.")
	default:
		answer.Set("code", s.newCode(r, user))
	}
	back.RawQuery = answer.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

func (s *Server) newCode(r *http.Request, user User) string {
	q := r.URL.Query()
	code := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signIns[code] = signIn{
		tenant: r.PathValue("tenant"), client: q.Get("client_id"), redirect: q.Get("redirect_uri"),
		challenge: q.Get("code_challenge"), nonce: q.Get("nonce"), user: user, at: s.now(), proved: s.proved(q),
	}
	return code
}

// proved is when the person at the browser typed a password. An old session is
// enough unless the request asks for more, and only then does the token say it.
func (s *Server) proved(q url.Values) time.Time {
	age := q.Get("max_age")
	switch {
	case age == "":
		return time.Time{}
	case s.staleSessions:
		return s.now().Add(-time.Hour)
	}
	return s.now()
}

// asksToSignIn checks an authorisation request.
func (s *Server) asksToSignIn(r *http.Request) (*App, *refusal) {
	q := r.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	app := s.tenants[r.PathValue("tenant")][q.Get("client_id")]
	switch {
	case app == nil:
		return nil, &refusal{http.StatusBadRequest, "unauthorized_client", 700016, fmt.Sprintf("Application with identifier '%s' was not found in the directory.", q.Get("client_id"))}
	case !slices.ContainsFunc(app.Redirects, func(known string) bool { return sameRedirect(known, q.Get("redirect_uri")) }):
		return nil, &refusal{http.StatusBadRequest, "invalid_request", 50011, fmt.Sprintf("The redirect URI '%s' specified in the request does not match the redirect URIs configured for the application.", q.Get("redirect_uri"))}
	case q.Get("response_type") != "code":
		return nil, &refusal{http.StatusBadRequest, "unsupported_response_type", 70005, "The provided value for the input parameter 'response_type' is not allowed for this client."}
	case !slices.Contains([]string{"openid", "openid profile", "profile openid"}, q.Get("scope")):
		return nil, missing("scope")
	case q.Get("code_challenge") == "" || q.Get("code_challenge_method") != "S256":
		return nil, &refusal{http.StatusBadRequest, "invalid_request", 9002325, "Proof Key for Code Exchange is required for cross-origin authorization code redemption."}
	}
	return app, nil
}

// sameRedirect compares exactly, apart from the port of a loopback address.
func sameRedirect(known, asked string) bool {
	k, err1 := url.Parse(known)
	a, err2 := url.Parse(asked)
	if err1 != nil || err2 != nil {
		return false
	}
	if k.Hostname() == "127.0.0.1" || k.Hostname() == "localhost" {
		return k.Scheme == a.Scheme && k.Hostname() == a.Hostname() && k.Path == a.Path && a.RawQuery == "" && a.Fragment == ""
	}
	return known == asked
}

// redeem exchanges an authorisation code for an ID token. A code is good once.
func (s *Server) redeem(w http.ResponseWriter, r *http.Request) {
	raw, refused := s.idToken(r)
	if refused != nil {
		s.refuse(w, *refused)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"token_type": "Bearer", "expires_in": 3599, "scope": "openid profile",
		"access_token": rand.Text(), "id_token": raw,
	})
}

func (s *Server) idToken(r *http.Request) (string, *refusal) {
	clientID, proof := credentials(r)
	tenant := r.PathValue("tenant")
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, refused := s.client(r, tenant, clientID, proof); refused != nil {
		return "", refused
	}
	code := r.PostForm.Get("code")
	in, ok := s.signIns[code]
	delete(s.signIns, code)
	now := s.now()
	challenge := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	switch {
	case !ok:
		return "", &refusal{http.StatusBadRequest, "invalid_grant", 54005, "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token."}
	case now.Sub(in.at) > codeLife:
		return "", &refusal{http.StatusBadRequest, "invalid_grant", 70008, "The provided authorization code or refresh token has expired due to inactivity."}
	case in.tenant != tenant || in.client != clientID || in.redirect != r.PostForm.Get("redirect_uri"):
		return "", &refusal{http.StatusBadRequest, "invalid_grant", 500112, "The redirect address specified by the client does not match any configured addresses or any addresses on the OIDC approve list."}
	case base64.RawURLEncoding.EncodeToString(challenge[:]) != in.challenge:
		return "", &refusal{http.StatusBadRequest, "invalid_grant", 50148, "The code_verifier does not match the code_challenge supplied in the authorization request for PKCE."}
	}
	claims := jwt.MapClaims{
		"iss": issuer(r, tenant), "aud": clientID, "tid": tenant, "oid": in.user.Object,
		"sub": in.user.Object + "-" + clientID, "name": in.user.Name, "nonce": in.nonce, "ver": "2.0",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	if !in.proved.IsZero() {
		claims["auth_time"] = in.proved.Unix()
	}
	if in.user.Guest {
		claims["idp"] = otherDirectory
	}
	raw, err := s.Sign(jwt.SigningMethodRS256, claims)
	if err != nil {
		return "", &refusal{http.StatusInternalServerError, "server_error", 90033, err.Error()}
	}
	return raw, nil
}
