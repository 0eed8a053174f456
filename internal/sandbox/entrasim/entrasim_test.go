package entrasim_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/mdebot/mdebot/internal/sandbox/entrasim"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
)

const (
	tenant = "7d0a6b3e-5a0f-4f0e-9a55-2f1c5d6e7f80"
	client = "b7c1e3f2-0f5e-4a53-8d0a-3f6f2b1c9d10"
	secret = "s3cret~with/signs+"
)

func newServer(o entrasim.Options) *entrasim.Server {
	s := entrasim.New(o)
	s.Register(tenant, entrasim.App{ID: client, Name: "mdebot", Secret: secret, Roles: map[string][]string{
		entrasim.Defender: {"Machine.Read.All"},
		entrasim.XDR:      {"Incident.Read.All"},
	}})
	return s
}

// form is a good v2 request with some fields replaced; "" removes a field.
func form(change ...string) url.Values {
	v := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {client}, "client_secret": {secret},
		"scope": {entrasim.Defender + "/.default"},
	}
	for i := 0; i < len(change); i += 2 {
		v.Set(change[i], change[i+1])
		if change[i+1] == "" {
			v.Del(change[i])
		}
	}
	return v
}

func post(s http.Handler, path string, v url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(v.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

const (
	pathV1 = "/" + tenant + "/oauth2/token"
	pathV2 = "/" + tenant + "/oauth2/v2.0/token"
)

func token(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var a struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != http.StatusOK || a.TokenType != "Bearer" {
		t.Fatalf("token request answered %d %s", w.Code, w.Body)
	}
	return a.AccessToken
}

func TestToken_v2(t *testing.T) {
	t.Parallel()
	s := newServer(entrasim.Options{})
	w := post(s, pathV2, form())
	var a struct {
		ExpiresIn int `json:"expires_in"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || a.ExpiresIn != 3599 {
		t.Errorf("expires_in of %s = %d, %v, want the number 3599", w.Body, a.ExpiresIn, err)
	}
	raw := token(t, w)
	var claims jwt.MapClaims
	parsed, _, err := jwt.NewParser().ParseUnverified(raw, &claims)
	if err != nil || parsed.Method.Alg() != "RS256" {
		t.Fatalf("token %q: %v", raw, err)
	}
	if claims["aud"] != entrasim.Defender || claims["tid"] != tenant || claims["appid"] != client ||
		claims["iss"] != "https://sts.windows.net/"+tenant+"/" {
		t.Errorf("claims = %v", claims)
	}
	c, err := s.Verify(raw, entrasim.Defender)
	if err != nil || c.App != client || c.Tenant != tenant || !c.HasAny("machine.read.all") || c.HasAny("Machine.Isolate") {
		t.Errorf("Verify() = %+v, %v", c, err)
	}
}

func TestToken_v1WritesNumbersAsStrings(t *testing.T) {
	t.Parallel()
	s := newServer(entrasim.Options{})
	w := post(s, pathV1, form("scope", "", "resource", entrasim.XDR))
	var a map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("v1 answered %s: %v, want strings only", w.Body, err)
	}
	if n, err := strconv.Atoi(a["expires_in"]); err != nil || n != 3599 || a["resource"] != entrasim.XDR {
		t.Errorf("v1 answered %v", a)
	}
	if _, err := s.Verify(a["access_token"], entrasim.XDR); err != nil {
		t.Errorf("Verify() = %v", err)
	}
}

func TestToken_basicAuthentication(t *testing.T) {
	t.Parallel()
	s := newServer(entrasim.Options{})
	v := form("client_id", "", "client_secret", "")
	r := httptest.NewRequest(http.MethodPost, pathV2, strings.NewReader(v.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(client), url.QueryEscape(secret))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	token(t, w)
}

func TestToken_refuses(t *testing.T) {
	t.Parallel()
	s := newServer(entrasim.Options{})
	const expired = "expired-app"
	s.Register(tenant, entrasim.App{ID: expired, Secret: secret, SecretExpires: time.Now().Add(-time.Hour)})
	for name, c := range map[string]struct {
		path   string
		form   url.Values
		status int
		oauth  string
		code   int
	}{
		"wrong secret":          {pathV2, form("client_secret", "guess"), 401, "invalid_client", 7000215},
		"no secret":             {pathV2, form("client_secret", ""), 401, "invalid_client", 7000216},
		"expired secret":        {pathV2, form("client_id", expired), 401, "invalid_client", 7000222},
		"unknown application":   {pathV2, form("client_id", "nobody"), 400, "unauthorized_client", 700016},
		"no application":        {pathV2, form("client_id", ""), 400, "invalid_request", 900144},
		"unknown tenant":        {"/other/oauth2/v2.0/token", form(), 400, "invalid_request", 90002},
		"scope without default": {pathV2, form("scope", entrasim.Defender), 400, "invalid_scope", 1002012},
		"no scope":              {pathV2, form("scope", ""), 400, "invalid_request", 900144},
		"resource on v2":        {pathV2, form("scope", "", "resource", entrasim.Defender), 400, "invalid_request", 900144},
		"unknown resource":      {pathV2, form("scope", "https://example.com/.default"), 400, "invalid_resource", 500011},
		"default suffix on v1":  {pathV1, form("resource", entrasim.Defender+"/.default"), 400, "invalid_resource", 500011},
		"another grant":         {pathV2, form("grant_type", "password"), 400, "unsupported_grant_type", 70003},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := post(s, c.path, c.form)
			var e struct {
				Error       string `json:"error"`
				Description string `json:"error_description"`
				Codes       []int  `json:"error_codes"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
				t.Fatalf("answer %s: %v", w.Body, err)
			}
			if w.Code != c.status || e.Error != c.oauth || !slices.Equal(e.Codes, []int{c.code}) ||
				!strings.HasPrefix(e.Description, "AADSTS"+strconv.Itoa(c.code)+": ") {
				t.Errorf("answered %d %s, want %d %s AADSTS%d", w.Code, w.Body, c.status, c.oauth, c.code)
			}
			if strings.Contains(w.Body.String(), secret) {
				t.Error("the refusal repeats the secret")
			}
		})
	}
}

func TestRoles_changeOnlyNewTokens(t *testing.T) {
	t.Parallel()
	s := newServer(entrasim.Options{})
	before := token(t, post(s, pathV2, form()))
	s.SetRoles(tenant, client, entrasim.Defender, "Machine.Isolate")
	after := token(t, post(s, pathV2, form()))
	if c, err := s.Verify(before, entrasim.Defender); err != nil || c.HasAny("Machine.Isolate") {
		t.Errorf("token from before = %+v, %v, want the old roles", c, err)
	}
	if c, err := s.Verify(after, entrasim.Defender); err != nil || !slices.Equal(c.Roles, []string{"Machine.Isolate"}) {
		t.Errorf("token from after = %+v, %v, want the new role alone", c, err)
	}
	xdr := token(t, post(s, pathV2, form("scope", entrasim.XDR+"/.default")))
	if c, err := s.Verify(xdr, entrasim.XDR); err != nil || !c.HasAny("Incident.Read.All") {
		t.Errorf("roles of another audience = %+v, %v, want them kept", c, err)
	}
	if got := s.Issued(); len(got) != 3 || got[2].Audience != entrasim.XDR {
		t.Errorf("Issued() = %+v, want three tokens", got)
	}
}

func TestVerify_refuses(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := newServer(entrasim.Options{Now: func() time.Time { return now }, TokenLife: time.Minute})
	other := newServer(entrasim.Options{})
	good := token(t, post(s, pathV2, form()))
	if c, err := s.Verify(good, entrasim.Graph); !errors.Is(err, entrasim.ErrAudience) || c.App != client {
		t.Errorf("Verify(other audience) = %+v, %v, want ErrAudience with the claims", c, err)
	}
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"aud": entrasim.Defender}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{
		"nothing":        "",
		"rubbish":        "a.b.c",
		"unsigned":       unsigned,
		"cut short":      good[:len(good)-4],
		"of another one": token(t, post(other, pathV2, form())),
	} {
		if _, err := s.Verify(raw, entrasim.Defender); !errors.Is(err, entrasim.ErrToken) {
			t.Errorf("Verify(%s) = %v, want ErrToken", name, err)
		}
	}
	s.Revoke()
	if _, err := s.Verify(good, entrasim.Defender); !errors.Is(err, entrasim.ErrToken) {
		t.Errorf("Verify(revoked) = %v, want ErrToken", err)
	}
	good = token(t, post(s, pathV2, form()))
	now = now.Add(2 * time.Minute)
	if _, err := s.Verify(good, entrasim.Defender); !errors.Is(err, entrasim.ErrToken) {
		t.Errorf("Verify(expired) = %v, want ErrToken", err)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	s := newServer(entrasim.Options{})
	s.Faults.Add(fault.Fault{Kind: fault.Answer, Status: 503, Times: 1})
	s.Faults.Add(fault.Fault{Kind: fault.Answer, Status: 429, Header: http.Header{"Retry-After": {"7"}}, Times: 1})
	s.Faults.Add(fault.Fault{Kind: fault.Answer, Status: 200, Body: "<html>Sign in to the network</html>", Times: 1})
	if w := post(s, pathV2, form()); w.Code != 503 || !strings.Contains(w.Body.String(), "AADSTS90033") {
		t.Errorf("first answer = %d %s, want an outage in Entra's envelope", w.Code, w.Body)
	}
	if w := post(s, pathV2, form()); w.Code != 429 || w.Header().Get("Retry-After") != "7" {
		t.Errorf("second answer = %d %v, want 429 after 7 s", w.Code, w.Header())
	}
	if w := post(s, pathV2, form()); !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
		t.Errorf("third answer = %v, want HTML", w.Header())
	}
	token(t, post(s, pathV2, form()))
}
