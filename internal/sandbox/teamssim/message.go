package teamssim

import (
	"encoding/json"
	"time"
)

// Message is a message as one user sees it.
type Message struct {
	ID           string
	Conversation string
	// Thread is the first message of the thread in a channel; empty for first
	// messages themselves and outside channels.
	Thread  string
	At      time.Time
	From    string // display name
	FromBot bool
	Text    string
	// Summary is the line of the notification.
	Summary string
	// Card is the Adaptive Card to draw: the posted one or, after a click, the
	// one that replaced it for this user.
	Card json.RawMessage
	// Replaced tells that Card was replaced for this user alone.
	Replaced bool
	// Note is the line under the card that answered this user's last click;
	// Failed tells that it is an error.
	Note   string
	Failed bool
	// Attachments are those that are no cards.
	Attachments []Attachment
	// Payload is the activity exactly as the bot sent it.
	Payload json.RawMessage
	Edits   int
	Deleted bool
	// OnlyFor is the one person who sees a targeted message, by object ID.
	OnlyFor string
}

// Attachment is a picture, a file or a file consent.
type Attachment struct {
	ContentType string
	ContentURL  string
	Content     json.RawMessage
	Name        string
}

// view is what one user sees differently.
type view struct {
	card   json.RawMessage
	note   string
	failed bool
}

type message struct {
	Message
	views map[string]view
	asked map[string]time.Time // when clients asked how the card looks to their user
}

// draw takes over what o shows.
func (m *message) draw(o outgoing) {
	m.Text, m.Summary, m.Card, m.Attachments = o.Text, o.Summary, nil, nil
	for _, a := range o.Attachments {
		if a.ContentType == cardType {
			m.Card = a.Content
			continue
		}
		m.Attachments = append(m.Attachments, Attachment(a))
	}
}

func (m *message) as(user string) Message {
	out := m.Message
	v, ok := m.views[user]
	if !ok {
		return out
	}
	if v.card != nil {
		out.Card, out.Replaced = v.card, true
	}
	out.Note, out.Failed = v.note, v.failed
	return out
}

func (m *message) setView(user string, change func(*view)) {
	if m.views == nil {
		m.views = map[string]view{}
	}
	v := m.views[user]
	change(&v)
	m.views[user] = v
}

func (c *conversation) message(id string) *message {
	for _, m := range c.messages {
		if m.ID == id {
			return m
		}
	}
	return nil
}

// Messages returns the messages of a conversation in the order in which they
// were posted, as user sees them. Somebody who is not in it sees nothing.
func (s *Server) Messages(conversation, user string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.conversations[conversation]
	if !ok || !s.isMember(c, user) {
		return nil
	}
	var out []Message
	for _, m := range c.messages {
		if s.shows(m, user) {
			out = append(out, m.as(user))
		}
	}
	return out
}

// targetedFor is how long clients show a targeted message.
const targetedFor = 24 * time.Hour

// shows reports whether user sees m, in a conversation that user is in. It needs the
// lock.
func (s *Server) shows(m *message, user string) bool {
	return !m.Deleted && (m.OnlyFor == "" || m.OnlyFor == user && s.cfg.Now().Sub(m.At) < targetedFor)
}

// visible finds a message that user can see. It needs the lock.
func (s *Server) visible(user, id string) (*conversation, *message) {
	for _, c := range s.conversations {
		if m := c.message(id); m != nil && s.shows(m, user) && s.isMember(c, user) {
			return c, m
		}
	}
	return nil, nil
}
