package defendersim_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/sandbox/entrasim"
	"github.com/mdebot/mdebot/internal/sandbox/estate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tenantID = "7d0a6b3e-5a0f-4f0e-9a55-2f1c5d6e7f80"
	clientID = "b7c1e3f2-0f5e-4a53-8d0a-3f6f2b1c9d10"
	secret   = "not-a-secret"
)

var allRoles = []string{
	"Alert.ReadWrite.All", "Machine.Read.All", "Machine.Isolate", "Machine.RestrictExecution", "Machine.Scan",
	"Machine.StopAndQuarantine", "Machine.CollectForensics", "User.Read.All", "AdvancedQuery.Read.All",
}

// clock is a hand-moved clock.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// bench is a simulator with an estate and a caller that holds all roles.
type bench struct {
	t      *testing.T
	clock  *clock
	entra  *entrasim.Server
	sim    *defendersim.Server
	tenant *defendersim.Tenant
	url    string
	client *http.Client
	token  string
	estate *estate.Estate
}

func newBench(t *testing.T, change ...func(*defendersim.Options)) *bench {
	t.Helper()
	c := &clock{now: time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)}
	entra := entrasim.New(entrasim.Options{Now: c.Now, TokenLife: 24 * time.Hour})
	entra.Register(tenantID, entrasim.App{ID: clientID, Secret: secret, Roles: map[string][]string{
		entrasim.Defender: allRoles, entrasim.Graph: {"ThreatHunting.Read.All"},
	}})
	o := defendersim.Options{Entra: entra, Now: c.Now}
	for _, f := range change {
		f(&o)
	}
	sim := defendersim.New(o)
	b := &bench{t: t, clock: c, entra: entra, sim: sim}
	b.estate = estate.Generate(estate.Options{Seed: 1, Now: c.now, Tenant: tenantID})
	b.tenant = sim.AddTenant(b.estate)
	srv := httptest.NewServer(sim)
	b.url, b.client = srv.URL, srv.Client()
	t.Cleanup(func() {
		sim.Faults.Clear()
		srv.Close()
	})
	b.token = b.tokenFor(entrasim.Defender)
	return b
}

// in returns the bench for a subtest.
func (b *bench) in(t *testing.T) *bench {
	c := *b
	c.t = t
	return &c
}

// roles is what the caller's token carries from now on.
func (b *bench) roles(roles ...string) {
	b.t.Helper()
	b.entra.Register(tenantID, entrasim.App{ID: clientID, Secret: secret, Roles: map[string][]string{entrasim.Defender: roles}})
	b.token = b.tokenFor(entrasim.Defender)
}

func (b *bench) tokenFor(audience string) string {
	b.t.Helper()
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {secret},
		"scope": {audience + "/.default"},
	}
	r := httptest.NewRequest(http.MethodPost, "/"+tenantID+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	b.entra.ServeHTTP(w, r)
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.AccessToken == "" {
		b.t.Fatalf("token request answered %d %s", w.Code, w.Body)
	}
	return answer.AccessToken
}

// answer is what came back from a call.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) decode(t *testing.T, into any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		t.Fatalf("decode %q: %v", a.body, err)
	}
}

// code is the error code of the answer, in either envelope.
func (a answer) code(t *testing.T) string {
	t.Helper()
	var e struct {
		Error struct{ Code, Message, Target string }
	}
	a.decode(t, &e)
	return e.Error.Code
}

// try makes a call that may get no answer.
func (b *bench) try(method, path, body string) (answer, error) {
	b.t.Helper()
	address := path
	if strings.HasPrefix(path, "/") {
		address = b.url + path
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if b.token != "" {
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	res, err := b.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, raw}, err
}

// do makes a call and holds it to a status.
func (b *bench) do(method, path, body string, status int) answer {
	b.t.Helper()
	a, err := b.try(method, path, body)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	if a.status != status {
		b.t.Fatalf("%s %s = %d %s, want status %d", method, path, a.status, a.body, status)
	}
	return a
}

func (b *bench) machine(name string) defendersim.MachineState {
	b.t.Helper()
	found := b.tenant.Named(name)
	if len(found) != 1 {
		b.t.Fatalf("Named(%q) found %d machines, want 1", name, len(found))
	}
	return found[0]
}
