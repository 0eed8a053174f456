package teamssim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config is what a Server needs to know.
type Config struct {
	// AppID is the bot's application ID, the audience of the tokens sent to it.
	AppID string
	// BotName is how the bot is mentioned.
	BotName string
	// Verify checks the access token of the bot's calls. Nil accepts any token
	// that is not empty.
	Verify func(token string) error
	// NoTargeted refuses targeted messages, as a tenant that does not have them.
	NoTargeted bool
	// Domains are those of the app's manifest whose addresses it previews.
	Domains []string
	// Throttle enforces the documented rates per conversation.
	Throttle bool
	// Client delivers activities to the bot. Nil means a client with a timeout
	// of 15 seconds, after which Teams gives up too.
	Client *http.Client
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Roles of a user, as the member look-up tells them.
const (
	RoleUser      = "user"
	RoleGuest     = "guest"
	RoleAnonymous = "anonymous"
)

// User is a person with a Teams client.
type User struct {
	// Tenant holds the account in this chat; Object is its object ID there.
	Tenant string
	Object string
	Name   string
	Email  string
	// Role is RoleUser when empty.
	Role string
	// HomeTenant differs from Tenant for people from outside.
	HomeTenant string
	// Installed lets the bot open a personal chat without a common team.
	Installed bool
}

// MRI is the address that stands in from.id.
func (u User) MRI() string { return "29:1" + u.Object }

func (u User) principalName() string {
	if u.Role == RoleGuest {
		return strings.ReplaceAll(u.Email, "@", "_") + "#EXT#@tenant.example"
	}
	return u.Email
}

// Team is a team with its general channel, whose ID is the team's.
type Team struct {
	Tenant  string
	ID      string
	Name    string
	Members []string // object IDs
}

// Channel is a channel of a team.
type Channel struct {
	Team string
	ID   string
	Name string
	// SharedWith are people of other teams or organisations, by object ID, who are
	// in this channel alone: a shared channel.
	SharedWith []string
}

// GroupChat is a chat of several people.
type GroupChat struct {
	Tenant  string
	ID      string
	Name    string
	Members []string // object IDs
	// Installed tells whether the bot is in it.
	Installed bool
}

// Conversation describes a place where messages are.
type Conversation struct {
	ID     string
	Kind   string // "channel", "groupChat" or "personal"
	Tenant string
	Team   string
	Name   string
}

type conversation struct {
	Conversation
	user      string          // the person of a personal chat
	members   map[string]bool // of a group chat, or whom a channel is shared with
	installed bool            // of a group or personal chat
	messages  []*message
}

type team struct {
	Team
	members   map[string]bool
	installed bool
}

// Server is the simulator. It is safe for concurrent use.
type Server struct {
	cfg     Config
	mux     *http.ServeMux
	keyring keyring

	mu            sync.Mutex
	base          string
	endpoint      string
	users         map[string]User // by object ID
	teams         map[string]*team
	conversations map[string]*conversation
	order         []string // conversation IDs as added
	dialogs       map[string]*dialog
	offered       map[search][]Option
	previews      map[pasted]keptPreview
	uploads       map[string]*upload
	files         []File
	lastID        int64
	calls         []Call
	effects       []Effect
	faults        []*Fault
	paces         map[string][]time.Time
	subscribers   map[chan struct{}]bool
}

// New returns a simulator without people or places.
func New(cfg Config) *Server {
	if cfg.Client == nil {
		// A delivery on a connection that the bot is closing would be lost.
		cfg.Client = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second}}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{
		cfg:           cfg,
		users:         map[string]User{},
		teams:         map[string]*team{},
		conversations: map[string]*conversation{},
		dialogs:       map[string]*dialog{},
		offered:       map[search][]Option{},
		previews:      map[pasted]keptPreview{},
		uploads:       map[string]*upload{},
		paces:         map[string][]time.Time{},
		subscribers:   map[chan struct{}]bool{},
	}
	s.keyring.rotate()
	s.mux = s.routes()
	return s
}

// Close ends the connections to the bot that nothing uses.
func (s *Server) Close() { s.cfg.Client.CloseIdleConnections() }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// SetBaseURL says where the bot reaches the simulator. Service URLs, the key
// address and upload addresses are made from it.
func (s *Server) SetBaseURL(base string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.base = strings.TrimRight(base, "/")
}

// SetEndpoint sets the bot's messaging endpoint.
func (s *Server) SetEndpoint(endpoint string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endpoint = endpoint
}

// MetadataURL is the address of the OpenID metadata.
func (s *Server) MetadataURL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.base + "/v1/.well-known/openidconfiguration"
}

// Host is the host, with port, of the service URLs.
func (s *Server) Host() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := url.Parse(s.base)
	if err != nil {
		return ""
	}
	return u.Host
}

// ServiceURL is the address that activities of a tenant carry.
func (s *Server) ServiceURL(tenant string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.serviceURL(tenant)
}

func (s *Server) serviceURL(tenant string) string { return s.base + "/emea/" + tenant + "/" }

// BotID is the bot's address in chat.
func (s *Server) BotID() string { return "28:" + s.cfg.AppID }

// AddUser adds or replaces a person.
func (s *Server) AddUser(u User) {
	u.Role = cmp.Or(u.Role, RoleUser)
	u.HomeTenant = cmp.Or(u.HomeTenant, u.Tenant)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[u.Object] = u
}

// AddTeam adds a team and its general channel. The bot is not in it until
// [Server.Install].
func (s *Server) AddTeam(t Team) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.teams[t.ID] = &team{Team: t, members: set(t.Members)}
	s.add(&conversation{Conversation: Conversation{ID: t.ID, Kind: "channel", Tenant: t.Tenant, Team: t.ID, Name: "General"}})
}

// AddChannel adds a channel to a team, or replaces its settings and keeps its
// messages. It panics when the team is unknown.
func (s *Server) AddChannel(c Channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.teams[c.Team]
	if !ok {
		panic("teamssim: channel of an unknown team " + c.Team)
	}
	messages := []*message(nil)
	if existing := s.conversations[c.ID]; existing != nil {
		messages = existing.messages
	}
	s.add(&conversation{
		Conversation: Conversation{ID: c.ID, Kind: "channel", Tenant: t.Tenant, Team: c.Team, Name: c.Name},
		members:      set(c.SharedWith), messages: messages,
	})
}

// AddGroupChat adds a group chat.
func (s *Server) AddGroupChat(g GroupChat) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(&conversation{
		Conversation: Conversation{ID: g.ID, Kind: "groupChat", Tenant: g.Tenant, Name: g.Name},
		members:      set(g.Members), installed: g.Installed,
	})
}

// Join lets a user into a team or group chat.
func (s *Server) Join(user, id string) { s.setMember(user, id, true) }

// Leave takes a user out of a team or group chat.
func (s *Server) Leave(user, id string) { s.setMember(user, id, false) }

func (s *Server) setMember(user, id string, in bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.teams[id]; ok {
		t.members[user] = in
	} else if c, ok := s.conversations[id]; ok && c.members != nil {
		c.members[user] = in
	}
	s.changed()
}

// add needs the lock.
func (s *Server) add(c *conversation) {
	if _, ok := s.conversations[c.ID]; !ok {
		s.order = append(s.order, c.ID)
	}
	s.conversations[c.ID] = c
	s.changed()
}

// Conversations lists the places a user is in, as added.
func (s *Server) Conversations(user string) []Conversation {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Conversation
	for _, id := range s.order {
		if c := s.conversations[id]; s.isMember(c, user) {
			out = append(out, c.Conversation)
		}
	}
	return out
}

// Users lists the people by name.
func (s *Server) Users() []User {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]User, 0, len(s.users))
	for _, u := range s.users {
		out = append(out, u)
	}
	slices.SortFunc(out, func(a, b User) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Object, b.Object)) })
	return out
}

// PersonalChat is the ID of a user's chat with the bot. The chat is made, and
// the app installed for the user, when it does not exist.
func (s *Server) PersonalChat(user string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[user]
	u.Installed = true
	s.users[user] = u
	return s.personal(u).ID
}

// personal needs the lock.
func (s *Server) personal(u User) *conversation {
	id := "a:1" + u.Object
	c, ok := s.conversations[id]
	if !ok {
		c = &conversation{
			Conversation: Conversation{ID: id, Kind: "personal", Tenant: u.Tenant, Name: s.cfg.BotName},
			user:         u.Object, installed: true,
		}
		s.add(c)
	}
	return c
}

// isMember needs the lock.
func (s *Server) isMember(c *conversation, user string) bool {
	switch c.Kind {
	case "channel":
		return s.teams[c.Team].members[user] || c.members[user]
	case "personal":
		return c.user == user
	default:
		return c.members[user]
	}
}

// botIn needs the lock.
func (s *Server) botIn(c *conversation) bool {
	if c.Kind == "channel" {
		return s.teams[c.Team].installed
	}
	return c.installed
}

// reachable tells whether the bot may open a personal chat with u: the app is
// installed for u or for a team u is in. It needs the lock.
func (s *Server) reachable(u User) bool {
	if u.Installed {
		return true
	}
	for _, t := range s.teams {
		if t.installed && t.Tenant == u.Tenant && t.members[u.Object] {
			return true
		}
	}
	return false
}

// Install adds the bot to a team and tells it so, by conversationUpdate and by
// installationUpdate, in that order or, on every second call, the other way
// round: Teams promises no order.
func (s *Server) Install(ctx context.Context, teamID string) error {
	return s.install(ctx, teamID, true)
}

// Uninstall removes the bot from a team and tells it so.
func (s *Server) Uninstall(ctx context.Context, teamID string) error {
	return s.install(ctx, teamID, false)
}

func (s *Server) install(ctx context.Context, teamID string, installed bool) error {
	s.mu.Lock()
	t, ok := s.teams[teamID]
	if !ok {
		s.mu.Unlock()
		return fmt.Errorf("unknown team %s", teamID)
	}
	t.installed = installed
	c := s.conversations[teamID]
	var by User
	if len(t.Members) > 0 {
		by = s.users[t.Members[0]]
	}
	update := s.activity(c, by, "", "conversationUpdate")
	install := s.activity(c, by, "", "installationUpdate")
	data := update["channelData"].(object)
	bot := []any{object{"id": s.BotID()}}
	if installed {
		update["membersAdded"], data["eventType"], install["action"] = bot, "teamMemberAdded", "add"
	} else {
		update["membersRemoved"], data["eventType"], install["action"] = bot, "teamMemberRemoved", "remove"
	}
	swap := s.lastID%2 == 1
	s.changed()
	s.mu.Unlock()

	first, second := update, install
	if swap {
		first, second = install, update
	}
	_, err := s.send(ctx, first)
	_, err2 := s.send(ctx, second)
	return errors.Join(err, err2)
}

// Subscribe returns a channel that receives a value after something has changed.
// Changes that come close together are one value. Call stop when done.
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

// WaitFor calls cond now and after every change until it is true or ctx ends.
func (s *Server) WaitFor(ctx context.Context, cond func() bool) error {
	changes, stop := s.Subscribe()
	defer stop()
	for !cond() {
		select {
		case <-changes:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// changed needs the lock.
func (s *Server) changed() {
	for ch := range s.subscribers {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// nextID needs the lock. IDs look like Teams' own: milliseconds, never twice.
func (s *Server) nextID() string {
	s.lastID = max(s.lastID+1, s.cfg.Now().UnixMilli())
	return fmt.Sprint(s.lastID)
}

func set(ids []string) map[string]bool {
	m := make(map[string]bool, len(ids))
	for _, id := range ids {
		m[id] = true
	}
	return m
}
