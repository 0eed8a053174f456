package sandbox

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// relayFixture is the relay with a bot behind it and a Playground in front.
type relayFixture struct {
	*testing.T
	world *World
	bot   *fakeBot
	asked atomic.Value // the bot's latest call as the Playground got it: path and Authorization
}

func newRelay(t *testing.T) *relayFixture {
	t.Helper()
	world, err := New(t.Context(), Options{Playground: true})
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	f := &relayFixture{T: t, world: world, bot: &fakeBot{world: world, answers: map[string][]string{}}}
	bot := httptest.NewServer(f.bot)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.asked.Store(r.Method + " " + r.URL.EscapedPath() + " " + r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id":"1"}`)
	}))
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := world.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
		bot.Close()
		front.Close()
	})
	if err := world.Connect(t.Context(), bot.URL); err != nil {
		t.Fatalf("Connect() = %v", err)
	}
	connector, err := url.Parse(front.URL + "/_connector")
	if err != nil {
		t.Fatal(err)
	}
	world.playground.connect(connector)
	return f
}

// activity is one as the Playground sends it.
func (f *relayFixture) activity() map[string]any {
	return map[string]any{
		"type": "message", "text": "machine ws-014", "id": "7", "channelId": "msteams", "serviceUrl": f.world.playground.serviceURL(),
		"from":         map[string]any{"id": mri(PlaygroundPerson), "name": PlaygroundPerson.Name, "aadObjectId": PlaygroundPerson.Object},
		"recipient":    map[string]any{"id": "28:" + teamsAppID},
		"conversation": map[string]any{"id": PlaygroundChat, "conversationType": "personal", "tenantId": TenantID},
		"channelData":  map[string]any{"tenant": map[string]any{"id": TenantID}},
	}
}

func (f *relayFixture) send(method, address string, body any, change func(*http.Request)) (int, string) {
	f.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		f.Fatal(err)
	}
	r, err := http.NewRequestWithContext(f.Context(), method, address, strings.NewReader(string(text)))
	if err != nil {
		f.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if change != nil {
		change(r)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		f.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		f.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

func TestRelay_signsWhatThePlaygroundSends(t *testing.T) {
	t.Parallel()
	f := newRelay(t)
	f.bot.answer("/api/messages", `{"statusCode":200}`)
	status, answer := f.send(http.MethodPost, f.world.playground.endpoint(), f.activity(), nil)
	if status != http.StatusOK || answer != `{"statusCode":200}` {
		t.Errorf("the relay answered %d %s, want what the bot answered", status, answer)
	}
	if got := f.bot.last(t); got["text"] != "machine ws-014" {
		t.Errorf("the bot got %v", got)
	}
}

func TestRelay_signsNothingElse(t *testing.T) {
	t.Parallel()
	f := newRelay(t)
	endpoint := f.world.playground.endpoint()
	with := func(key string, value any) map[string]any {
		a := maps.Clone(f.activity())
		a[key] = value
		return a
	}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for name, c := range map[string]struct {
		method, address string
		body            any
		change          func(*http.Request)
		want            int
	}{
		"without the key":          {address: f.world.playground.base + "/api/messages", want: http.StatusNotFound},
		"another key":              {address: f.world.playground.base + "/ABC/api/messages", want: http.StatusNotFound},
		"a read":                   {method: http.MethodGet, want: http.StatusNotFound},
		"from a page":              {change: header("Origin", "https://evil.example"), want: http.StatusForbidden},
		"from its own page":        {change: header("Origin", f.world.playground.base), want: http.StatusForbidden},
		"from a form":              {change: header("Sec-Fetch-Site", "cross-site"), want: http.StatusForbidden},
		"under a rebound name":     {change: func(r *http.Request) { r.Host = "evil.example" }, want: http.StatusForbidden},
		"as plain text":            {change: header("Content-Type", "text/plain"), want: http.StatusUnsupportedMediaType},
		"no activity":              {body: []string{"x"}, want: http.StatusForbidden},
		"too long":                 {body: with("text", strings.Repeat("x", maxActivity)), want: http.StatusRequestEntityTooLarge},
		"another channel":          {body: with("channelId", "webchat"), want: http.StatusForbidden},
		"another service":          {body: with("serviceUrl", "http://127.0.0.1:1/"), want: http.StatusForbidden},
		"Teams' own service":       {body: with("serviceUrl", f.world.Teams.ServiceURL(TenantID)), want: http.StatusForbidden},
		"another bot":              {body: with("recipient", map[string]any{"id": "28:other"}), want: http.StatusForbidden},
		"somebody else":            {body: with("from", map[string]any{"id": mri(Sam), "aadObjectId": Sam.Object}), want: http.StatusForbidden},
		"somebody else's object":   {body: with("from", map[string]any{"id": mri(PlaygroundPerson), "aadObjectId": Sam.Object}), want: http.StatusForbidden},
		"nobody":                   {body: with("from", map[string]any{}), want: http.StatusForbidden},
		"another tenant":           {body: with("channelData", map[string]any{"tenant": map[string]any{"id": CustomerID}}), want: http.StatusForbidden},
		"a conversation elsewhere": {body: with("conversation", map[string]any{"id": TeamsApprovals, "tenantId": TenantID}), want: http.StatusForbidden},
		"a tenant elsewhere":       {body: with("conversation", map[string]any{"id": PlaygroundChat, "tenantId": CustomerID}), want: http.StatusForbidden},
	} {
		before := f.bot.deliveries()
		if c.method == "" {
			c.method = http.MethodPost
		}
		if c.address == "" {
			c.address = endpoint
		}
		if c.body == nil {
			c.body = f.activity()
		}
		if status, answer := f.send(c.method, c.address, c.body, c.change); status != c.want {
			t.Errorf("%s: the relay answered %d %s, want %d", name, status, answer, c.want)
		}
		if f.bot.deliveries() != before {
			t.Errorf("%s: the bot got it", name)
		}
	}
	f.world.playground.connect(nil)
	if status, _ := f.send(http.MethodPost, endpoint, f.activity(), nil); status != http.StatusServiceUnavailable {
		t.Errorf("without a Playground the relay answered %d", status)
	}
}

// The bot's calls reach the Playground only with the bot's token, which stays
// here.
func TestRelay_passesTheBotsAnswers(t *testing.T) {
	t.Parallel()
	f := newRelay(t)
	token := f.bot.teamsToken(t)
	address := f.world.playground.serviceURL() + "v3/conversations/" + url.PathEscape(PlaygroundChat)
	with := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", token) }
	}
	for name, bad := range map[string]string{"none": "", "another": "Bearer abc", "Defender's": "Bearer " + slackBotToken, "no bearer": token} {
		if status, answer := f.send(http.MethodPost, address+"/activities", map[string]any{}, with(bad)); status != http.StatusUnauthorized {
			t.Errorf("with the token %s the relay answered %d %s", name, status, answer)
		}
	}
	if got := f.asked.Load(); got != nil {
		t.Fatalf("the Playground got %v", got)
	}
	status, answer := f.send(http.MethodPost, address+"/activities", map[string]any{"type": "message"}, with("Bearer "+token))
	if status != http.StatusCreated || answer != `{"id":"1"}` {
		t.Errorf("the relay answered %d %s, want what the Playground answered", status, answer)
	}
	if got, want := f.asked.Load(), "POST /_connector/v3/conversations/"+url.PathEscape(PlaygroundChat)+"/activities "; got != want {
		t.Errorf("the Playground got %q, want %q", got, want)
	}
	f.send(http.MethodGet, address+"/members/"+PlaygroundPerson.Object, nil, with("Bearer "+token))
	if got, want := f.asked.Load(), "GET /_connector/v3/conversations/"+url.PathEscape(PlaygroundChat)+"/members/"+url.PathEscape(mri(PlaygroundPerson))+" "; got != want {
		t.Errorf("the Playground got %q, want %q", got, want)
	}
	if status, _ := f.send(http.MethodGet, f.world.playground.base+"/emea/"+CustomerID+"/v3/conversations", nil, with("Bearer "+token)); status != http.StatusNotFound {
		t.Errorf("under another tenant the relay answered %d", status)
	}
}
