package slacksim

import (
	"encoding/json"
	"slices"
	"strings"
)

// User is an account as users.info shows it.
type User struct {
	ID       string
	Name     string
	RealName string
	Email    string
	// Workspace is the account's home; empty means the simulated workspace. People
	// of another one are strangers here.
	Workspace   string
	Guest       bool // multi-channel guest
	SingleGuest bool // single-channel guest
	Deleted     bool
	Bot         bool
}

// Channel is a channel or direct chat.
type Channel struct {
	ID      string
	Name    string
	Private bool
	// Shared channels are open to people of other workspaces (Slack Connect).
	Shared   bool
	Archived bool
	// BotIn reports whether the bot is a member.
	BotIn   bool
	Members []string
	// Direct is the person whose direct chat with the bot this is, or empty.
	Direct string
}

// UserGroup is a user group.
type UserGroup struct {
	ID      string
	Handle  string
	Members []string
}

// Message is a message as somebody sees it. Blocks, Attachments and Metadata are
// the exact JSON the bot sent.
type Message struct {
	Channel     string
	TS          string
	ThreadTS    string // the thread's first message, also for that message itself once it has replies
	User        string
	FromBot     bool
	Text        string
	Blocks      json.RawMessage
	Attachments json.RawMessage
	Metadata    json.RawMessage
	// OnlyFor is the only person who sees an ephemeral message.
	OnlyFor   string
	Broadcast bool
	Edits     int
	Files     []File
	// Payload is the whole request of the bot, for display.
	Payload json.RawMessage
}

// File is an uploaded file.
type File struct {
	ID      string
	Name    string
	Title   string
	AltText string
	Content []byte
}

// Modal is an open dialog. View is the exact JSON the bot sent.
type Modal struct {
	ID     string
	Hash   string
	User   string
	View   json.RawMessage
	Errors map[string]string // by block ID, after a refused submission
}

// Home is what somebody's Home tab shows. View is the exact JSON the bot sent.
type Home struct {
	ID   string
	Hash string
	View json.RawMessage
	// Published is how often the bot has shown it.
	Published int
}

// Entry is something that took effect, in order.
type Entry struct {
	Op      string // chat.postMessage, chat.update, response_url, views.open, …
	Channel string
	TS      string
	User    string // of an ephemeral message or view
	// Delivery is the "id" of the message's metadata.
	Delivery string
	Text     string
}

type channel struct {
	Channel
	messages []*Message
	posts    allowance
}

// AddUser adds or replaces an account.
func (s *Server) AddUser(u User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.Workspace == "" {
		u.Workspace = s.opts.Workspace
	}
	if s.users[u.ID] == nil {
		s.userOrder = append(s.userOrder, u.ID)
	}
	s.users[u.ID] = &u
	s.changed()
}

// AddChannel adds a channel, or replaces its settings and keeps its messages.
func (s *Server) AddChannel(c Channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Members = slices.Clone(c.Members)
	if existing := s.channels[c.ID]; existing != nil {
		existing.Channel = c
	} else {
		s.channels[c.ID] = &channel{Channel: c}
		s.order = append(s.order, c.ID)
	}
	s.changed()
}

// Join lets a user into a channel.
func (s *Server) Join(user, channelID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.channels[channelID]; c != nil && !slices.Contains(c.Members, user) {
		c.Members = append(c.Members, user)
		s.changed()
	}
}

// Leave takes a user out of a channel.
func (s *Server) Leave(user, channelID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.channels[channelID]; c != nil {
		c.Members = slices.DeleteFunc(slices.Clone(c.Members), func(u string) bool { return u == user })
		s.changed()
	}
}

// AddUserGroup adds a user group.
func (s *Server) AddUserGroup(g UserGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups = append(s.groups, g)
}

// Users lists the accounts in the order they were added, the bot first.
func (s *Server) Users() []User {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []User
	for _, id := range s.userOrder {
		out = append(out, *s.users[id])
	}
	return out
}

// Channels lists the channels and direct chats that asUser is in, in the order
// they came about. An empty asUser lists all.
func (s *Server) Channels(asUser string) []Channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Channel
	for _, id := range s.order {
		if c := s.channels[id]; asUser == "" || slices.Contains(c.Members, asUser) {
			out = append(out, c.Channel)
		}
	}
	return out
}

// DirectChannel is the ID of user's direct chat with the bot, which it creates.
func (s *Server) DirectChannel(user string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.direct(user).ID
}

// direct is user's direct chat. The caller holds the lock.
func (s *Server) direct(user string) *channel {
	id := "D" + strings.TrimLeft(user, "UW")
	c := s.channels[id]
	if c == nil {
		c = &channel{Channel: Channel{ID: id, BotIn: true, Members: []string{user}, Direct: user}}
		s.channels[id] = c
		s.order = append(s.order, id)
	}
	return c
}

// Messages are the messages of a channel that asUser sees, oldest first, threads
// included (see [Message.ThreadTS]). An empty asUser sees everything.
func (s *Server) Messages(channelID, asUser string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[channelID]
	if c == nil || asUser != "" && !slices.Contains(c.Members, asUser) {
		return nil
	}
	var out []Message
	for _, m := range c.messages {
		if m.OnlyFor == "" || asUser == "" || m.OnlyFor == asUser {
			out = append(out, *m)
		}
	}
	return out
}

// Modal is the dialog that user sees on top.
func (s *Server) Modal(user string) (Modal, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stack := s.modals[user]
	if len(stack) == 0 {
		return Modal{}, false
	}
	return *stack[len(stack)-1], true
}

// Home is what user's Home tab shows; false before the bot has shown anything.
func (s *Server) Home(user string) (Home, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.homes[user]; h != nil {
		return *h, true
	}
	return Home{}, false
}

// AddMessage puts a message into its channel as somebody else's app or another client
// would write it, with blocks and attachments, and returns its ts. The bot hears
// nothing of it.
func (s *Server) AddMessage(m Message) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[m.Channel]
	if c == nil {
		return ""
	}
	m.TS = s.newTS()
	c.messages = append(c.messages, &m)
	s.changed()
	return m.TS
}

// DeleteMessage removes a message as a workspace administrator can.
func (s *Server) DeleteMessage(channelID, ts string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.channels[channelID]; c != nil {
		c.messages = slices.DeleteFunc(c.messages, func(m *Message) bool { return m.TS == ts })
		s.changed()
	}
}

// Ledger is everything that took effect so far, whatever the bot was told.
func (s *Server) Ledger() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ledger)
}

// Calls is how often the bot has called a method of the Web API.
func (s *Server) Calls(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

func (c *channel) find(ts string) *Message {
	for _, m := range c.messages {
		if m.TS == ts {
			return m
		}
	}
	return nil
}
