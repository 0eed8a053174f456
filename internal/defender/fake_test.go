package defender

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	testTenant  = "22222222-2222-2222-2222-222222222222"
	testApp     = "11111111-1111-1111-1111-111111111111"
	testSecret  = "s3cr3t-canary-value"
	testMachine = "1e5bc9d7e413ddd7902c2932e418702b84d0cc07"
	otherID     = "f46b9bb259ed4a7fb9981b73510e3cc7aa81ec1f"
	testAction  = "5382f7ea-7557-4ab7-9782-d50480024a4e"
)

// fake is Entra, Defender and Graph on one loopback address.
type fake struct {
	server *httptest.Server
	mux    *http.ServeMux

	mu       sync.Mutex
	claims   map[string]any      // overrides claims of every token
	roles    map[string][]string // by audience
	revoked  map[string]bool
	tokens   int
	lifetime int // expires_in
	requests []recorded
}

type recorded struct {
	Method, Path, Query, Token string
	Body                       []byte
}

// newFake answers token requests; the routes of the API are added by the test
// and need a good token.
func newFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{
		mux:      http.NewServeMux(),
		claims:   map[string]any{},
		revoked:  map[string]bool{},
		lifetime: 3599,
		roles: map[string][]string{
			commercialAudience: {"alert.readwrite.all", "Machine.Read.All", "User.Read.All", "Machine.Isolate", "AdvancedQuery.Read.All"},
			commercialGraph:    {"ThreatHunting.Read.All"},
		},
	}
	top := http.NewServeMux()
	top.HandleFunc("POST /"+testTenant+"/oauth2/v2.0/token", f.token)
	top.HandleFunc("/", f.api)
	f.server = httptest.NewServer(top)
	t.Cleanup(f.server.Close)
	return f
}

func (f *fake) token(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokens++
	if r.PostFormValue("client_secret") != testSecret {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.","error_codes":[7000215],"trace_id":"trace-1"}`)
		return
	}
	audience := bytes.TrimSuffix([]byte(r.PostFormValue("scope")), []byte("/.default"))
	claims := map[string]any{"aud": string(audience), "tid": testTenant, "roles": f.roles[string(audience)], "n": f.tokens}
	maps.Copy(claims, f.claims)
	writeJSON(w, http.StatusOK, map[string]any{"token_type": "Bearer", "expires_in": f.lifetime, "access_token": jwt(claims)})
}

func jwt(claims map[string]any) string {
	b, _ := json.Marshal(claims)
	return "e30." + base64.RawURLEncoding.EncodeToString(b) + ".c2ln"
}

func (f *fake) api(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	token := r.Header.Get("Authorization")
	f.mu.Lock()
	f.requests = append(f.requests, recorded{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, token, body})
	refused := f.revoked[token] || token == ""
	f.mu.Unlock()
	if refused {
		writeError(w, http.StatusUnauthorized, "Unauthorized", "token")
		return
	}
	f.mux.ServeHTTP(w, r)
}

// seen is what reached the API so far.
func (f *fake) seen() []recorded {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

func (f *fake) tokensAsked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tokens
}

func (f *fake) set(change func(*fake)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// grant lets tokens of Defender from now on have these roles alone.
func (f *fake) grant(roles ...string) {
	f.set(func(f *fake) { f.roles[commercialAudience] = roles })
}

func (f *fake) config() Config {
	return Config{
		TenantID: testTenant, ClientID: testApp, ClientSecret: testSecret,
		BaseURL: f.server.URL, XDRURL: f.server.URL, GraphURL: f.server.URL, AuthorityURL: f.server.URL,
	}
}

// clock is a settable time.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// client connects to the fake. Waits pass at once, on the clock.
func (f *fake) client(t testing.TB, opts ...Option) (*Client, *clock) {
	t.Helper()
	k := &clock{t: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	c, err := New(f.config(), append([]Option{func(c *core) {
		c.now = k.now
		c.sleep = func(ctx context.Context, d time.Duration) error {
			k.advance(d)
			return ctx.Err()
		}
	}}, opts...)...)
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	t.Cleanup(c.Close)
	return c, k
}

func (f *fake) actor(t testing.TB, c *Client) *Actor {
	t.Helper()
	a, err := NewActor(f.config(), c)
	if err != nil {
		t.Fatalf("NewActor() = %v", err)
	}
	return a
}

// answer serves a fixed body.
func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func writeError(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, map[string]any{"error": map[string]any{"code": code, "message": message, "target": "track-1"}})
}

func machineJSON(id, name string) map[string]any {
	return map[string]any{"id": id, "computerDnsName": name, "osPlatform": "Windows11", "healthStatus": "active"}
}
