package teamsbot

import (
	"context"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

const (
	appID    = "11111111-1111-4111-8111-111111111111"
	home     = "33333333-3333-4333-8333-333333333333"
	partner  = "44444444-4444-4444-8444-444444444444"
	secret   = "canary-client-secret-7f3b"
	riley    = "00000000-0000-4000-8000-000000000021"
	avery    = "00000000-0000-4000-8000-000000000022"
	guest    = "00000000-0000-4000-8000-000000000023"
	outsider = "00000000-0000-4000-8000-000000000024"
	nobody   = "00000000-0000-4000-8000-000000000025" // anonymous
	loner    = "00000000-0000-4000-8000-000000000026" // in no team, app not installed

	soc    = "19:general@thread.tacv2"
	alerts = "19:alerts@thread.tacv2"
	group  = "19:group@thread.v2"
)

// authority is Entra's token endpoint, as far as the bot needs it.
type authority struct {
	mu     sync.Mutex
	tokens int
	valid  string
	fail   int // status to answer, or 0
}

func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail != 0 {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(a.fail)
		w.Write([]byte(`{"error":"invalid_client","error_description":"AADSTS7000215 ` + secret + `"}`))
		return
	}
	if r.URL.Path != "/"+home+"/oauth2/v2.0/token" || r.PostFormValue("client_secret") != secret ||
		r.PostFormValue("client_id") != appID || r.PostFormValue("scope") != "https://api.botframework.com/.default" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	a.tokens++
	a.valid = "token-" + strings.Repeat("i", a.tokens)
	w.Header().Set("Content-Type", "application/json")
	w.Write([]byte(`{"access_token":"` + a.valid + `","token_type":"Bearer","expires_in":3600}`))
}

func (a *authority) check(token string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if token != a.valid {
		return errors.New("unknown token")
	}
	return nil
}

// handler answers what a test tells it to and remembers what it was asked.
type handler struct {
	mu     sync.Mutex
	asked  []chat.Invocation
	answer func(chat.Invocation) chat.Response
}

func (h *handler) Handle(_ context.Context, inv chat.Invocation) chat.Response {
	h.mu.Lock()
	h.asked = append(h.asked, inv)
	answer := h.answer
	h.mu.Unlock()
	if answer == nil {
		return chat.Response{}
	}
	return answer(inv)
}

func (h *handler) invocations() []chat.Invocation {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]chat.Invocation(nil), h.asked...)
}

func (h *handler) will(answer func(chat.Invocation) chat.Response) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = answer
}

type world struct {
	t         *testing.T
	sim       *teamssim.Server
	bot       *Bot
	handler   *handler
	authority *authority
	url       string
	skew      atomic.Int64 // nanoseconds added to everybody's clock
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.skew.Load())) }

// newWorld starts a bot against a Teams with one team, a group chat and people
// of every kind.
func newWorld(t *testing.T, change ...func(*Config, *Options)) *world {
	t.Helper()
	w := &world{t: t, handler: &handler{}, authority: &authority{}}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	w.sim = teamssim.New(teamssim.Config{AppID: appID, BotName: "mdebot", Verify: w.authority.check, Client: client, Now: w.now})
	teams := httptest.NewServer(w.sim)
	t.Cleanup(teams.Close)
	w.sim.SetBaseURL(teams.URL)
	entra := httptest.NewServer(w.authority)
	t.Cleanup(entra.Close)

	for _, u := range []teamssim.User{
		{Tenant: home, Object: riley, Name: "Riley Chen", Email: "riley@contoso.example"},
		{Tenant: home, Object: avery, Name: "Avery Diaz", Email: "avery@contoso.example"},
		{Tenant: home, Object: guest, Name: "Gus Guest", Email: "gus@fabrikam.example", Role: teamssim.RoleGuest},
		{Tenant: home, Object: outsider, Name: "Olga Outside", Email: "olga@fabrikam.example", HomeTenant: partner},
		{Tenant: home, Object: nobody, Name: "Somebody (Guest)", Role: teamssim.RoleAnonymous},
		{Tenant: home, Object: loner, Name: "Lee Loner", Email: "lee@contoso.example"},
	} {
		w.sim.AddUser(u)
	}
	w.sim.AddTeam(teamssim.Team{Tenant: home, ID: soc, Name: "SOC", Members: []string{riley, avery}})
	w.sim.AddChannel(teamssim.Channel{Team: soc, ID: alerts, Name: "Alerts"})
	w.sim.AddGroupChat(teamssim.GroupChat{Tenant: home, ID: group, Name: "Night shift", Members: []string{riley, loner}, Installed: true})

	cfg := Config{
		AppID: appID, AppSecret: secret, TenantIDs: []string{home}, AuthorityURL: entra.URL,
		MetadataURL: w.sim.MetadataURL(), ServiceHosts: []string{w.sim.Host()},
	}
	options := Options{Transport: transport, Now: w.now}
	for _, c := range change {
		c(&cfg, &options)
	}
	bot, err := New(cfg, options)
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	w.bot = bot
	mux := http.NewServeMux()
	mux.Handle("/api/messages", bot.Endpoint(w.handler))
	endpoint := httptest.NewServer(mux)
	w.url = endpoint.URL + "/api/messages"
	w.sim.SetEndpoint(w.url)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := bot.Run(ctx); err != nil {
			t.Errorf("Run() = %v", err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		endpoint.Close()
	})
	if err := w.sim.Install(t.Context(), soc); err != nil {
		t.Fatalf("install: %v", err)
	}
	return w
}

// message sends text as a person and fails the test when the bot refuses it.
func (w *world) message(user, conversation, text, thread string) string {
	w.t.Helper()
	id, err := w.sim.Message(w.t.Context(), user, conversation, text, thread)
	if err != nil {
		w.t.Fatalf("Message(%q) = %v", text, err)
	}
	return id
}

// fromBot waits until user sees n messages of the bot in conversation.
func (w *world) fromBot(user, conversation string, n int) []teamssim.Message {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	var seen []teamssim.Message
	err := w.sim.WaitFor(ctx, func() bool {
		seen = nil
		for _, m := range w.sim.Messages(conversation, user) {
			if m.FromBot {
				seen = append(seen, m)
			}
		}
		return len(seen) >= n
	})
	if err != nil {
		w.t.Fatalf("waiting for %d messages in %s: have %d", n, conversation, len(seen))
	}
	return seen
}

// until waits for a change in the simulator that makes cond true.
func (w *world) until(what string, cond func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	for !cond() { // what it looks at need not be the simulator's
		select {
		case <-ctx.Done():
			w.t.Fatalf("waiting until %s: %v", what, ctx.Err())
		case <-tick():
		}
	}
}

// tick is a short pause between looks at something that gives no signal.
func tick() <-chan time.Time { return time.After(10 * time.Millisecond) }

func titled(title string) *chat.Message { return &chat.Message{Title: chat.Plain(title)} }

// approval is a message as it goes out for a request.
func approval() chat.Message {
	return chat.Message{
		Preview: chat.Plain("Riley Chen asks to isolate web-01"),
		Title:   chat.Join(chat.Plain("Isolate "), chat.Code("web-01")),
		Tone:    chat.Notice,
		Facts: []chat.Fact{
			{Label: "Machine", Value: chat.Code("web-01")},
			{Label: "Asked by", Value: chat.Untrusted("Riley Chen")},
		},
		Buttons: []chat.Button{
			{Label: "Approve", Action: "request.approve", Value: "r1.d1", Style: chat.StylePrimary, Confirm: &chat.Confirm{
				Title: "Isolate web-01?", Text: chat.Plain("It loses all network but Defender."), Yes: "Isolate web-01", No: "Not now",
			}},
			{Label: "Deny", Action: "request.deny", Value: "r1.d1", Style: chat.StyleDanger},
			{Label: "Request release", Action: "release.form", Value: "r1", OpensForm: true},
			{Label: "Open in Defender", URL: "https://security.microsoft.com/machines/1"},
		},
	}
}

var reasonForm = chat.Form{
	Action: "isolate.submit", Value: "k1", Title: "Isolate web-01", Submit: "Ask",
	Fields: []chat.Field{
		{ID: "reason", Label: "Reason", Kind: chat.FieldArea, MaxLength: 200},
		{ID: "type", Label: "Type", Kind: chat.FieldSelect, Initial: "full", Options: []chat.Option{{Label: "Full", Value: "full"}, {Label: "Selective", Value: "selective"}}},
		{ID: "who", Label: "Owner", Kind: chat.FieldSearch, Search: "people", Optional: true},
	},
}

func rileyAs() identity.Principal {
	return identity.Principal{Platform: identity.Teams, Workspace: home, Account: riley, Address: "29:1" + riley, Name: "Riley Chen"}
}
