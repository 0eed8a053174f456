package slacksim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Options describe the workspace and the installed app. Empty fields take the
// values that the comments name.
type Options struct {
	Workspace     string // "T0SOC"
	WorkspaceName string // "Contoso SOC"
	Enterprise    string // none
	AppID         string // "A0MDEBOT"
	BotUser       string // "U0MDEBOT"
	BotName       string // "mdebot"
	BotToken      string // "xoxb-sandbox"
	AppToken      string // "xapp-sandbox"
	ConfigToken   string // "xoxe.xoxp-sandbox"
	SigningSecret string // "sandbox-signing-secret"
	Command       string // "/mde"
	// Shortcuts on messages, as in the app's manifest: callback ID by name.
	Shortcuts map[string]string
	// Domains are those of the app's manifest whose addresses it previews, with the
	// names below them.
	Domains []string
	// NoHome is an app whose manifest has no Home tab.
	NoHome bool
	// Scopes of the bot token; nil means every scope of [AllScopes].
	Scopes []string
	// SocketMode delivers over the websocket only, as Slack does when it is
	// switched on for an app.
	SocketMode bool
	// AckWithin is how long the bot may take to acknowledge and to use a trigger_id;
	// zero means Slack's three seconds.
	AckWithin time.Duration
	// Unknown are types of blocks that the workspace does not know yet, such as
	// "table".
	Unknown []string
	// Pace limits chat.postMessage to one a second per channel, with short bursts, and
	// chat.update to fifty a minute in the whole workspace (Slack's tier 3). Answers
	// through response addresses count for neither.
	Pace bool
	// EventRetries are the waits before an unacknowledged event is delivered
	// again; nil means Slack's: at once, 1 and 5 minutes.
	EventRetries []time.Duration
	// Now is the clock of signatures, timestamps and expiry; nil means time.Now.
	Now func() time.Time
}

// AllScopes are the bot scopes the simulator knows.
var AllScopes = []string{
	"app_mentions:read", "channels:history", "channels:read", "chat:write", "commands", "files:write",
	"groups:history", "groups:read", "im:history", "im:write", "links:read", "links:write", "usergroups:read", "users:read", "users:read.email",
}

// Server is one simulated Slack. It is an http.Handler for everything the bot
// calls. All methods are safe for concurrent use.
type Server struct {
	opts   Options
	client *http.Client
	botID  string

	background context.Context
	stop       context.CancelFunc
	running    sync.WaitGroup

	mu          sync.Mutex
	baseURL     string
	botURL      string
	users       map[string]*User
	userOrder   []string
	channels    map[string]*channel
	order       []string
	groups      []UserGroup
	triggers    map[string]*trigger
	responses   map[string]*responseURL
	modals      map[string][]*Modal // by user, the top of the stack last
	homes       map[string]*Home    // by user
	uploads     map[string]*File
	faults      []*Fault
	ledger      []Entry
	calls       map[string]int // by method
	updates     allowance      // of chat.update
	manifest    json.RawMessage
	sockets     []*socket
	tickets     map[string]bool
	lastTS      int64
	serial      int
	subscribers map[chan struct{}]bool
}

// New returns an empty workspace with the app installed. Close it.
func New(o Options) *Server {
	for field, value := range map[*string]string{
		&o.Workspace: "T0SOC", &o.WorkspaceName: "Contoso SOC", &o.AppID: "A0MDEBOT", &o.BotUser: "U0MDEBOT",
		&o.BotName: "mdebot", &o.BotToken: "xoxb-sandbox", &o.AppToken: "xapp-sandbox", &o.ConfigToken: "xoxe.xoxp-sandbox",
		&o.SigningSecret: "sandbox-signing-secret", &o.Command: "/mde",
	} {
		if *field == "" {
			*field = value
		}
	}
	if o.Scopes == nil {
		o.Scopes = AllScopes
	}
	if o.EventRetries == nil {
		o.EventRetries = []time.Duration{0, time.Minute, 5 * time.Minute}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.AckWithin == 0 {
		o.AckWithin = ackWithin
	}
	s := &Server{
		opts:        o,
		client:      &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: idle}},
		botID:       "B" + strings.TrimPrefix(o.BotUser, "U"),
		users:       map[string]*User{},
		channels:    map[string]*channel{},
		triggers:    map[string]*trigger{},
		responses:   map[string]*responseURL{},
		modals:      map[string][]*Modal{},
		homes:       map[string]*Home{},
		uploads:     map[string]*File{},
		tickets:     map[string]bool{},
		subscribers: map[chan struct{}]bool{},
	}
	s.background, s.stop = context.WithCancel(context.Background())
	s.AddUser(User{ID: o.BotUser, Name: o.BotName, RealName: o.BotName, Bot: true})
	return s
}

// SetBaseURL says where this server is reached, such as "http://127.0.0.1:4100".
// Response, upload and websocket addresses are made from it.
func (s *Server) SetBaseURL(u string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.baseURL = strings.TrimSuffix(u, "/")
}

// SetBotURL says where the bot's HTTP routes are: the request URLs of the app
// are u followed by /slack/commands, /slack/interactions and /slack/events.
func (s *Server) SetBotURL(u string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.botURL = strings.TrimSuffix(u, "/")
}

// Close ends open websockets and background retries and waits for them.
func (s *Server) Close() {
	s.stop()
	s.mu.Lock()
	for _, c := range s.sockets {
		c.close()
	}
	s.mu.Unlock()
	s.running.Wait()
	s.client.CloseIdleConnections()
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/api/"):
		s.serveAPI(w, r, strings.TrimPrefix(path, "/api/"))
	case strings.HasPrefix(path, "/response/"):
		s.serveResponseURL(w, r, strings.TrimPrefix(path, "/response/"))
	case strings.HasPrefix(path, "/upload/"):
		s.serveUpload(w, r, strings.TrimPrefix(path, "/upload/"))
	case strings.HasPrefix(path, "/socket/"):
		s.serveSocket(w, r, strings.TrimPrefix(path, "/socket/"))
	default:
		http.NotFound(w, r)
	}
}

// Subscribe returns a channel that receives a value after anything visible has
// changed; several changes may come as one. Call stop when done.
func (s *Server) Subscribe() (changes <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribers[ch] = true
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subscribers, ch)
	}
}

// changed tells subscribers. The caller holds the lock.
func (s *Server) changed() {
	for ch := range s.subscribers {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// newTS is a message timestamp, unique and rising. The caller holds the lock.
func (s *Server) newTS() string {
	s.lastTS = max(s.lastTS+1, s.opts.Now().UnixMicro())
	return fmt.Sprintf("%d.%06d", s.lastTS/1e6, s.lastTS%1e6)
}

// newID is a unique ID. The caller holds the lock.
func (s *Server) newID(prefix string) string {
	s.serial++
	return fmt.Sprintf("%s%07d", prefix, s.serial)
}
