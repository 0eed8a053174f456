package teamsbot

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

// lockedBuffer collects logs from several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// command is a genuine command of Riley's in the personal chat.
func (w *world) command() map[string]any {
	w.t.Helper()
	a, err := w.sim.Activity(riley, w.sim.PersonalChat(riley), "message")
	if err != nil {
		w.t.Fatal(err)
	}
	a["text"] = "isolate web-01 test"
	return a
}

func (w *world) deliver(d teamssim.Delivery) teamssim.Reply {
	w.t.Helper()
	reply, err := w.sim.Deliver(w.t.Context(), d)
	if err != nil {
		w.t.Fatalf("Deliver() = %v", err)
	}
	return reply
}

// untouched fails the test when the handler was asked anything.
func (w *world) untouched() {
	w.t.Helper()
	w.bot.tasks.wg.Wait()
	if got := w.handler.invocations(); len(got) != 0 {
		w.t.Errorf("handler was asked %+v, want nothing", got)
	}
}

func TestEndpoint_badTokens(t *testing.T) {
	t.Parallel()
	logs := &lockedBuffer{}
	w := newWorld(t, func(_ *Config, o *Options) { o.Logger = slog.New(slog.NewJSONHandler(logs, nil)) })
	a := w.command()
	// The unendorsed key is published with the tokens, after the bot has the keys.
	w.skew.Store(int64(keyFloor + time.Minute))
	bad := w.sim.BadTokens(w.sim.ServiceURL(home))
	if len(bad) < 15 {
		t.Fatalf("only %d bad tokens", len(bad))
	}
	for _, b := range bad {
		header := b.Authorization
		if header == nil {
			header = []string{}
		}
		reply := w.deliver(teamssim.Delivery{Activity: a, Authorization: header})
		if reply.Status != http.StatusUnauthorized && reply.Status != http.StatusForbidden || len(reply.Body) != 0 {
			t.Errorf("%s: %d %q, want 401 or 403 and no body", b.Name, reply.Status, reply.Body)
		}
		for _, h := range header {
			if token := strings.TrimPrefix(h, "Bearer "); len(token) > 20 && strings.Contains(logs.String(), token) {
				t.Errorf("%s: the log holds the token", b.Name)
			}
		}
	}
	w.untouched()
	if !strings.Contains(logs.String(), "request refused") {
		t.Error("refusals left no trace in the log")
	}
}

func TestEndpoint_unendorsedKeyIsKnownButForbidden(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var unendorsed teamssim.BadToken
	for _, b := range w.sim.BadTokens(w.sim.ServiceURL(home)) {
		if b.Name == "key not endorsed for Teams" {
			unendorsed = b
		}
	}
	w.skew.Store(int64(keyFloor + time.Second))
	reply := w.deliver(teamssim.Delivery{Activity: w.command(), Authorization: unendorsed.Authorization})
	if reply.Status != http.StatusForbidden {
		t.Errorf("status = %d, want 403: the signature is good, the endorsement is missing", reply.Status)
	}
	w.untouched()
}

func TestEndpoint_expiryWithinLeeway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.command()
	token := w.sim.Token(w.sim.ServiceURL(home))
	w.skew.Store(int64(time.Hour + tokenLeeway - 5*time.Second))
	if got := w.deliver(teamssim.Delivery{Activity: a, Authorization: []string{"Bearer " + token}}).Status; got != 200 {
		t.Errorf("five seconds before the end of the leeway: %d, want 200", got)
	}
	w.skew.Store(int64(time.Hour + tokenLeeway + 5*time.Second))
	a["id"] = "later"
	if got := w.deliver(teamssim.Delivery{Activity: a, Authorization: []string{"Bearer " + token}}).Status; got != 401 {
		t.Errorf("after the leeway, with the token remembered: %d, want 401", got)
	}
}

func TestEndpoint_badActivities(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(w *world, a map[string]any)
		status int
	}{
		{"service URL of another region", func(_ *world, a map[string]any) {
			a["serviceUrl"] = strings.Replace(a["serviceUrl"].(string), "emea", "amer", 1)
		}, 403},
		{"no service URL", func(_ *world, a map[string]any) { delete(a, "serviceUrl") }, 403},
		{"another channel", func(_ *world, a map[string]any) { a["channelId"] = "webchat" }, 403},
		{"no channel", func(_ *world, a map[string]any) { delete(a, "channelId") }, 403},
		{"tenant not configured", func(_ *world, a map[string]any) {
			a["channelData"] = map[string]any{"tenant": map[string]any{"id": partner}}
			a["conversation"].(map[string]any)["tenantId"] = partner
		}, 403},
		{"tenants differ", func(_ *world, a map[string]any) { a["conversation"].(map[string]any)["tenantId"] = partner }, 403},
		{"sender of another tenant", func(_ *world, a map[string]any) { a["from"].(map[string]any)["tenantId"] = partner }, 403},
		{"no tenant", func(_ *world, a map[string]any) { delete(a, "channelData") }, 403},
		{"channel data that is a list", func(_ *world, a map[string]any) { a["channelData"] = []any{1} }, 403},
		{"no object ID", func(_ *world, a map[string]any) { delete(a["from"].(map[string]any), "aadObjectId") }, 403},
		{"object ID that is none", func(_ *world, a map[string]any) { a["from"].(map[string]any)["aadObjectId"] = "riley@contoso.example" }, 403},
		{"no ID", func(_ *world, a map[string]any) { delete(a, "id") }, 400},
		{"no conversation", func(_ *world, a map[string]any) { delete(a, "conversation") }, 400},
		{"type that is a number", func(_ *world, a map[string]any) { a["type"] = 1 }, 400},
		{"keys equal after case folding", func(_ *world, a map[string]any) { a["Text"] = "x" }, 400},
		{"too deep", func(_ *world, a map[string]any) {
			a["value"] = json.RawMessage(strings.Repeat("[", 100) + strings.Repeat("]", 100))
		}, 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a := w.command()
			tc.change(w, a)
			header := []string{"Bearer " + w.sim.Token(w.sim.ServiceURL(home))}
			if got := w.deliver(teamssim.Delivery{Activity: a, Authorization: header}); got.Status != tc.status || len(got.Body) != 0 {
				t.Errorf("status = %d %q, want %d and no body", got.Status, got.Body, tc.status)
			}
			w.untouched()
		})
	}
}

func TestEndpoint_foreignServiceHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// The token is genuine for these URLs; the list of hosts has to refuse them.
	for _, u := range []string{
		"https://evil.trafficmanager.net/emea/", "https://smba.trafficmanager.net.evil.example/", "http://smba.trafficmanager.net/emea/",
		"https://" + w.sim.Host() + "/emea/", "http://user@" + w.sim.Host() + "/emea/", "http://" + w.sim.Host() + ".evil.example/",
		"http://" + w.sim.Host() + "/emea/../v3", "http://" + w.sim.Host() + "/emea?x=1", "http://" + w.sim.Host() + "/%2e%2e/",
		"http://localhost:1/", "http://169.254.169.254/", "file:///etc/passwd", "//" + w.sim.Host() + "/emea/",
	} {
		a := w.command()
		a["serviceUrl"] = u
		if got := w.deliver(teamssim.Delivery{Activity: a}).Status; got != 403 {
			t.Errorf("service URL %q: %d, want 403", u, got)
		}
	}
	w.untouched()
}

func TestEndpoint_serviceURLSlashAndCase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.command()
	with := a["serviceUrl"].(string)
	a["serviceUrl"] = strings.TrimRight(with, "/")
	if got := w.deliver(teamssim.Delivery{Activity: a, Authorization: []string{"Bearer " + w.sim.Token(strings.ToUpper(with))}}).Status; got != 200 {
		t.Errorf("status = %d, want 200: Microsoft compares without slash and case", got)
	}
}

func TestEndpoint_badRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body, err := json.Marshal(w.command())
	if err != nil {
		t.Fatal(err)
	}
	good := []string{"Bearer " + w.sim.Token(w.sim.ServiceURL(home))}
	padded := func(n int) []byte { return append(body, bytes.Repeat([]byte(" "), n-len(body))...) }
	for _, tc := range []struct {
		name   string
		d      teamssim.Delivery
		status int
	}{
		{"GET", teamssim.Delivery{Method: http.MethodGet, Body: body}, 405},
		{"query string", teamssim.Delivery{Query: "tenant=x", Body: body}, 400},
		{"form", teamssim.Delivery{ContentType: "application/x-www-form-urlencoded", Body: body}, 415},
		{"another charset", teamssim.Delivery{ContentType: "application/json; charset=utf-16", Body: body}, 415},
		{"empty body", teamssim.Delivery{Body: []byte{}}, 400},
		{"not JSON", teamssim.Delivery{Body: []byte("hello")}, 400},
		{"JSON that is no object", teamssim.Delivery{Body: []byte("[]")}, 400},
		{"trailing data", teamssim.Delivery{Body: append(bytes.Clone(body), "{}"...)}, 400},
		{"duplicate key", teamssim.Delivery{Body: append([]byte(`{"type":"typing",`), body[1:]...)}, 400},
		{"one byte too large", teamssim.Delivery{Body: padded(maxBody + 1)}, 413},
	} {
		tc.d.Authorization = good
		if got := w.deliver(tc.d); got.Status != tc.status || len(got.Body) != 0 {
			t.Errorf("%s: %d %q, want %d and no body", tc.name, got.Status, got.Body, tc.status)
		}
	}
	w.untouched()
	if got := w.deliver(teamssim.Delivery{Body: padded(maxBody), Authorization: good}).Status; got != 200 {
		t.Errorf("largest body: %d, want 200", got)
	}
}

func TestEndpoint_chunkedOversize(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url, struct{ *bytes.Reader }{bytes.NewReader(make([]byte, maxBody*2))})
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = -1
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+w.sim.Token(w.sim.ServiceURL(home)))
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status = %d, want 413 without a declared length", resp.StatusCode)
	}
}

func TestKeys_rotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.sim.Token(w.sim.ServiceURL(home))
	w.sim.RotateKeys()
	w.skew.Store(int64(keyFloor + time.Second))
	if got := w.deliver(teamssim.Delivery{Activity: w.command()}).Status; got != 200 {
		t.Fatalf("token of the new key: %d, want 200", got)
	}
	if got := w.deliver(teamssim.Delivery{Activity: w.command(), Authorization: []string{"Bearer " + old}}).Status; got != 401 {
		t.Errorf("token of a key that is published no longer: %d, want 401", got)
	}
}

func TestKeys_unknownIDsDoNotFloodTheKeyServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.sim.KeyFetches()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if w.bot.verifier.keys.lookup("made up") != nil {
					t.Error("lookup of an unknown key found one")
				}
			}
		})
	}
	wg.Wait()
	if got := w.sim.KeyFetches() - before; got != 0 {
		t.Errorf("%d fetches within the floor, want none", got)
	}
	w.skew.Store(int64(keyFloor + time.Second))
	for range 100 {
		w.bot.verifier.keys.lookup("made up")
	}
	if got := w.sim.KeyFetches() - before; got != 1 {
		t.Errorf("%d fetches after the floor, want one", got)
	}
}

func TestKeys_keepServingWhenTheKeyServerIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sim.SetBaseURL("http://127.0.0.1:1") // the key document now points nowhere
	w.skew.Store(int64(keyMaxAge + time.Hour))
	w.bot.verifier.keys.lookup("made up")
	if w.bot.verifier.keys.lookup("key-1") == nil {
		t.Error("known key was lost with the key server")
	}
}

// After a start nobody is refused because the keys have not come yet.
func TestKeys_allWhoComeFirstWaitForThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.sim.Token(w.sim.ServiceURL(home))
	keys := &keySet{metadataURL: w.sim.MetadataURL(), http: w.bot.verifier.keys.http, now: w.now}
	parsed, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	before := w.sim.KeyFetches()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := keys.of(parsed); err != nil {
				t.Errorf("a key that is published: %v", err)
			}
		})
	}
	wg.Wait()
	if n := w.sim.KeyFetches() - before; n != 1 {
		t.Errorf("the keys were fetched %d times, want 1", n)
	}
}
