package slackbot

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(loadVariable); what != "" {
		if err := load(what); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

const (
	testBotToken = "xoxb-1234567890-sandbox"
	testAppToken = "xapp-1234567890-sandbox"
	testSecret   = "8f742231b10e8888abcd99yyyzzz85a5"
)

// fakeHandler answers with what respond returns and keeps what it was asked.
type fakeHandler struct {
	respond func(chat.Invocation) chat.Response

	mu    sync.Mutex
	asked []chat.Invocation
	calls chan chat.Invocation
}

func (h *fakeHandler) Handle(_ context.Context, inv chat.Invocation) chat.Response {
	h.mu.Lock()
	h.asked = append(h.asked, inv)
	h.mu.Unlock()
	h.calls <- inv
	if h.respond == nil {
		return chat.Response{}
	}
	return h.respond(inv)
}

func (h *fakeHandler) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.asked)
}

// next is the next invocation the handler gets.
func (h *fakeHandler) next(t *testing.T) chat.Invocation {
	t.Helper()
	select {
	case inv := <-h.calls:
		return inv
	case <-time.After(10 * time.Second):
		t.Fatal("the handler was not asked")
		return chat.Invocation{}
	}
}

// world is a bot and the Slack it lives in.
type world struct {
	sim     *slacksim.Server
	bot     *Bot
	handler *fakeHandler
	url     string                  // of the bot's routes
	looked  chan identity.Principal // whose Home tab was brought up to date
}

type worldOptions struct {
	socket  bool
	respond func(chat.Invocation) chat.Response
	sim     func(*slacksim.Options)
	now     func() time.Time
	guests  func(chat.Destination) bool
	page    chat.Page // for the Home tab of whoever opens it
}

func newWorld(t *testing.T, o worldOptions) *world {
	t.Helper()
	settings := slacksim.Options{
		BotToken: testBotToken, AppToken: testAppToken, SigningSecret: testSecret, SocketMode: o.socket,
		EventRetries: []time.Duration{0, 0, 0}, Now: o.now,
	}
	if o.sim != nil {
		o.sim(&settings)
	}
	sim := slacksim.New(settings)
	simServer := httptest.NewServer(sim)
	sim.SetBaseURL(simServer.URL)
	for _, u := range []slacksim.User{
		{ID: "U0RILEY", Name: "riley"},
		{ID: "U0AVERY", Name: "avery"},
		{ID: "U0GUEST", Name: "guest", Guest: true},
		{ID: "U0SINGLE", Name: "single", SingleGuest: true},
		{ID: "U0GONE", Name: "gone", Deleted: true},
		{ID: "U0ROBOT", Name: "robot", Bot: true},
		{ID: "U0EVE", Name: "eve", Workspace: "T0EVIL"},
	} {
		sim.AddUser(u)
	}
	all := []string{"U0RILEY", "U0AVERY"}
	sim.AddChannel(slacksim.Channel{ID: "C0SOC", Name: "soc", BotIn: true, Members: all})
	sim.AddChannel(slacksim.Channel{ID: "C0OUT", Name: "elsewhere", Members: all})
	sim.AddChannel(slacksim.Channel{ID: "C0SHARED", Name: "with-partners", BotIn: true, Shared: true, Members: append(all, "U0EVE")})

	h := &fakeHandler{respond: o.respond, calls: make(chan chat.Invocation, 2*maxQueued)}
	cfg := Config{BotToken: testBotToken, APIURL: simServer.URL + "/api/", Now: o.now, Transport: &http.Transport{}, Guests: o.guests}
	if o.socket {
		cfg.AppToken = testAppToken
	} else {
		cfg.SigningSecret = testSecret
	}
	w := &world{sim: sim, handler: h, looked: make(chan identity.Principal, 10)}
	cfg.OnHome = func(ctx context.Context, who identity.Principal) {
		_ = w.bot.Publish(ctx, who, o.page) // what came of it is looked at in Slack
		w.looked <- who
	}
	bot, err := New(cfg, h, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	botServer := httptest.NewServer(bot.Routes())
	w.bot, w.url = bot, botServer.URL
	sim.SetBotURL(botServer.URL)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- bot.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
		botServer.Close()
		sim.Close()
		simServer.CloseClientConnections()
		simServer.Close()
	})
	if o.socket {
		w.wait(t, "a connection", func() bool { return sim.Connections() > 0 })
	}
	return w
}

// wait waits until Slack looks as wanted.
func (w *world) wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	changes, stop := w.sim.Subscribe()
	defer stop()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-changes:
		case <-deadline:
			t.Fatalf("waited in vain for %s; ledger: %+v", what, w.sim.Ledger())
		}
	}
}

// message waits for the n-th message (from 1) that user sees in a channel.
func (w *world) message(t *testing.T, channel, user string, n int) slacksim.Message {
	t.Helper()
	w.wait(t, "a message", func() bool { return len(w.sim.Messages(channel, user)) >= n })
	return w.sim.Messages(channel, user)[n-1]
}

func say(title string) *chat.Message { return &chat.Message{Title: chat.Plain(title)} }
