package entrasim_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/mdebot/mdebot/internal/sandbox/entrasim"
)

const (
	person   = "8a1f0000-0000-4000-8000-000000000001"
	verifier = "a-verifier-that-is-long-enough-for-the-challenge-43"
	redirect = "https://mdebot.example.com/link/callback"
)

func signInServer() *entrasim.Server {
	s := entrasim.New(entrasim.Options{})
	s.Register(tenant, entrasim.App{ID: client, Name: "mdebot", Secret: secret, Redirects: []string{redirect}})
	s.AddUser(tenant, entrasim.User{Object: person, Name: "Riley Chen"})
	return s
}

// authorizeURL is a good request with some parameters replaced.
func authorizeURL(change ...string) string {
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{
		"client_id": {client}, "redirect_uri": {redirect}, "response_type": {"code"}, "scope": {"openid profile"},
		"state": {"st"}, "nonce": {"no"}, "code_challenge_method": {"S256"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
	}
	for i := 0; i < len(change); i += 2 {
		q.Set(change[i], change[i+1])
	}
	return "/" + tenant + "/oauth2/v2.0/authorize?" + q.Encode()
}

// signIn chooses a person on the consent page and returns where the browser goes.
func signIn(t *testing.T, s *entrasim.Server, object string) url.Values {
	t.Helper()
	w := post(s, authorizeURL(), url.Values{"user": {object}})
	back, err := url.Parse(w.Header().Get("Location"))
	if err != nil || w.Code != http.StatusFound || !strings.HasPrefix(back.String(), redirect+"?") {
		t.Fatalf("consent answered %d %v", w.Code, w.Header())
	}
	return back.Query()
}

func codeForm(code string, change ...string) url.Values {
	v := url.Values{
		"grant_type": {"authorization_code"}, "client_id": {client}, "client_secret": {secret},
		"code": {code}, "redirect_uri": {redirect}, "code_verifier": {verifier},
	}
	for i := 0; i < len(change); i += 2 {
		v.Set(change[i], change[i+1])
	}
	return v
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	s := signInServer()
	back := signIn(t, s, person)
	if back.Get("state") != "st" {
		t.Errorf("came back with %v, want the state", back)
	}
	w := post(s, pathV2, codeForm(back.Get("code")))
	var a struct {
		IDToken string `json:"id_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != http.StatusOK {
		t.Fatalf("redeeming answered %d %s", w.Code, w.Body)
	}
	var claims jwt.MapClaims
	if _, _, err := jwt.NewParser().ParseUnverified(a.IDToken, &claims); err != nil {
		t.Fatal(err)
	}
	if claims["oid"] != person || claims["tid"] != tenant || claims["aud"] != client || claims["nonce"] != "no" {
		t.Errorf("claims = %v", claims)
	}
	if w := post(s, pathV2, codeForm(back.Get("code"))); w.Code == http.StatusOK {
		t.Error("a code was redeemed twice")
	}
}

func TestSignIn_refuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string][]string{
		"another verifier": {"code_verifier", verifier + "x"},
		"another redirect": {"redirect_uri", redirect + "x"},
		"a wrong secret":   {"client_secret", "guess"},
	} {
		s := signInServer()
		if w := post(s, pathV2, codeForm(signIn(t, s, person).Get("code"), change...)); w.Code == http.StatusOK {
			t.Errorf("redeeming with %s answered %s", name, w.Body)
		}
	}
	s := signInServer()
	for name, change := range map[string][]string{
		"a redirect that is not registered": {"redirect_uri", "https://evil.example/link/callback"},
		"no challenge":                      {"code_challenge", ""},
		"a plain challenge":                 {"code_challenge_method", "plain"},
		"another application":               {"client_id", "other"},
	} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, authorizeURL(change...), nil))
		if w.Code == http.StatusOK {
			t.Errorf("asking with %s answered %d %s", name, w.Code, w.Body)
		}
	}
	s.AddUser(tenant, entrasim.User{Object: person, Disabled: true})
	if back := signIn(t, s, person); back.Get("code") != "" || back.Get("error") == "" {
		t.Errorf("a disabled person came back with %v", back)
	}
}

func TestTransitiveMembers(t *testing.T) {
	t.Parallel()
	s := signInServer()
	s.AddGroup(tenant, entrasim.Group{Object: "outer", Members: []string{"inner"}})
	s.AddGroup(tenant, entrasim.Group{Object: "inner", Members: []string{person, "outer"}})
	users, groups, ok := s.TransitiveMembers(tenant, "outer")
	if !ok || len(users) != 1 || users[0].Object != person || len(groups) != 1 {
		t.Errorf("TransitiveMembers() = %v, %v, %v", users, groups, ok)
	}
	if _, _, ok := s.TransitiveMembers(tenant, "other"); ok {
		t.Error("a group that does not exist has members")
	}
}

// A program of Microsoft gets a token for a person who is signed in there, if the
// application has exposed what it asks for and knows the program.
func TestPersonToken(t *testing.T) {
	t.Parallel()
	const uri, teams = "api://mdebot.example.com/botid-" + client, "5e3ce6c0-2b1f-4285-8d4b-75ee78787346"
	ask := entrasim.PersonAsk{Authority: "https://entra.example", Tenant: tenant, Client: teams, Resource: uri, Scope: "access_as_user", User: person}
	server := func(version int) *entrasim.Server {
		s := signInServer()
		s.Change(tenant, client, func(a *entrasim.App) {
			a.API = &entrasim.API{URI: uri, Scopes: []string{"access_as_user"}, Clients: []string{teams}, TokenVersion: version}
		})
		return s
	}
	for version, want := range map[int]map[string]any{
		2: {"ver": "2.0", "iss": "https://entra.example/" + tenant + "/v2.0", "aud": client, "azp": teams, "scp": "access_as_user", "oid": person, "tid": tenant},
		0: {"ver": "1.0", "iss": "https://sts.windows.net/" + tenant + "/", "aud": uri, "appid": teams, "scp": "access_as_user", "oid": person, "tid": tenant},
	} {
		raw, err := server(version).PersonToken(ask)
		if err != nil {
			t.Fatal(err)
		}
		var claims jwt.MapClaims
		if _, _, err := jwt.NewParser().ParseUnverified(raw, &claims); err != nil {
			t.Fatal(err)
		}
		for name, value := range want {
			if claims[name] != value {
				t.Errorf("version %d: %s is %v, want %v", version, name, claims[name], value)
			}
		}
	}
	for want, change := range map[string]func(*entrasim.Server, *entrasim.PersonAsk){
		"AADSTS500011": func(_ *entrasim.Server, a *entrasim.PersonAsk) { a.Resource = "api://evil.example/" + client },
		"AADSTS650053": func(_ *entrasim.Server, a *entrasim.PersonAsk) { a.Scope = "approve" },
		"AADSTS65001":  func(_ *entrasim.Server, a *entrasim.PersonAsk) { a.Client = "another program" },
		"AADSTS50034":  func(_ *entrasim.Server, a *entrasim.PersonAsk) { a.User = "nobody" },
		"AADSTS50057": func(s *entrasim.Server, _ *entrasim.PersonAsk) {
			s.AddUser(tenant, entrasim.User{Object: person, Disabled: true})
		},
		"AADSTS500014": func(s *entrasim.Server, _ *entrasim.PersonAsk) {
			s.Change(tenant, client, func(a *entrasim.App) { a.Disabled = true })
		},
	} {
		s, asked := server(2), ask
		change(s, &asked)
		if raw, err := s.PersonToken(asked); err == nil || !strings.HasPrefix(err.Error(), want+":") {
			t.Errorf("PersonToken() = %q, %v, want %s", raw, err, want)
		}
	}
}
