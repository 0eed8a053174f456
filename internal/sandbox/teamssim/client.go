package teamssim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"strings"
	"time"
)

// RefusedError reports that the bot did not take a delivery.
type RefusedError struct {
	Status int
	Body   string
}

func (e *RefusedError) Error() string { return fmt.Sprintf("the bot answered %d", e.Status) }

// Why a person cannot do something.
var (
	ErrNoSuchMessage = errors.New("no such message for this user")
	ErrNoSuchAction  = errors.New("no such action on the card")
	ErrNoSuchInput   = errors.New("no such input to search in")
	ErrNoSuchChoice  = errors.New("not among the choices")
	ErrNotMember     = errors.New("the user is not in the conversation")
)

// Message posts text as user, in a thread when thread is not empty, and delivers
// it to the bot where Teams would: in a personal chat always, elsewhere when the
// text mentions the bot with @ and its name. Mentions of other people work the
// same way. It returns the message's ID, also when the bot refuses.
//
// The first address in it that the app previews goes out with its preview.
func (s *Server) Message(ctx context.Context, user, conversation, text, thread string) (id string, err error) {
	preview, err := s.Paste(ctx, user, conversation, text)
	if err != nil {
		return "", err
	}
	return s.write(ctx, user, conversation, text, thread, preview)
}

// write posts text with a card that stands below it in the user's message, or nil.
func (s *Server) write(ctx context.Context, user, conversation, text, thread string, card json.RawMessage) (id string, err error) {
	s.mu.Lock()
	c, u, err := s.place(user, conversation)
	if err != nil {
		s.mu.Unlock()
		return "", err
	}
	m := &message{Message: Message{ID: s.nextID(), Conversation: c.ID, Thread: thread, At: s.cfg.Now(), From: u.Name, Text: text, Card: card}}
	if text == "" && card != nil {
		m.Summary = "Sent a card"
	}
	c.messages = append(c.messages, m)
	marked, entities, toBot := s.mark(text)
	root := thread
	if root == "" {
		root = m.ID
	}
	a := s.activity(c, u, root, "message")
	a["id"], a["text"], a["textFormat"], a["entities"] = m.ID, marked, "plain", entities
	deliver := s.botIn(c) && (toBot || c.Kind == "personal")
	s.changed()
	s.mu.Unlock()

	if !deliver {
		return m.ID, nil
	}
	_, err = s.send(ctx, a)
	return m.ID, err
}

// Slash picks a command of the app behind "/" in the compose box and adds words to
// it: a targeted message, which the bot gets without a mention and nobody else sees.
// Personal chats have no such menu.
func (s *Server) Slash(ctx context.Context, user, conversation, text, thread string) (id string, err error) {
	s.mu.Lock()
	c, u, err := s.place(user, conversation)
	switch {
	case err != nil:
	case c.Kind == "personal":
		err = errors.New("a personal chat has no slash commands of bots")
	case s.cfg.NoTargeted, !s.botIn(c):
		err = errors.New("the bot is not among the commands here")
	}
	if err != nil {
		s.mu.Unlock()
		return "", err
	}
	m := &message{Message: Message{ID: s.nextID(), Conversation: c.ID, Thread: thread, At: s.cfg.Now(), From: u.Name, Text: text, OnlyFor: user}}
	c.messages = append(c.messages, m)
	root := thread
	if root == "" {
		root = m.ID
	}
	a := s.activity(c, u, root, "message")
	a["id"], a["text"], a["textFormat"] = m.ID, html.EscapeString(text), "plain"
	a["recipient"].(object)["isTargeted"] = true
	s.changed()
	s.mu.Unlock()
	_, err = s.send(ctx, a)
	return m.ID, err
}

// Edit changes a user's own message. Teams tells the bot.
func (s *Server) Edit(ctx context.Context, user, messageID, text string) error {
	s.mu.Lock()
	c, m := s.visible(user, messageID)
	if m == nil || m.FromBot {
		s.mu.Unlock()
		return ErrNoSuchMessage
	}
	m.Text = text
	m.Edits++
	marked, entities, _ := s.mark(text)
	root := m.Thread
	if root == "" {
		root = m.ID
	}
	a := s.activity(c, s.users[user], root, "messageUpdate")
	a["id"], a["text"], a["entities"] = m.ID, marked, entities
	a["channelData"].(object)["eventType"] = "editMessage"
	s.changed()
	s.mu.Unlock()
	_, err := s.send(ctx, a)
	return err
}

// place needs the lock.
func (s *Server) place(user, conversation string) (*conversation, User, error) {
	c, ok := s.conversations[conversation]
	u, known := s.users[user]
	if !ok || !known || !s.isMember(c, user) {
		return nil, User{}, ErrNotMember
	}
	return c, u, nil
}

// mark turns @Name into mentions the way the compose box does. It needs the lock.
func (s *Server) mark(text string) (marked string, entities []any, toBot bool) {
	marked = html.EscapeString(text)
	mention := func(id, name string) bool {
		plain := "@" + html.EscapeString(name)
		if !strings.Contains(marked, plain) {
			return false
		}
		tag := "<at>" + html.EscapeString(name) + "</at>"
		marked = strings.Replace(marked, plain, tag, 1)
		entities = append(entities, object{"type": "mention", "text": tag, "mentioned": object{"id": id, "name": name}})
		return true
	}
	toBot = mention(s.BotID(), s.cfg.BotName)
	for _, u := range s.users {
		mention(u.MRI(), u.Name)
	}
	entities = append(entities, object{"type": "clientInfo", "locale": "en-US", "country": "US", "platform": "Web", "timezone": "Europe/Berlin"})
	return marked, entities, toBot
}

// activity is an activity of user in c with all that every activity has. It
// needs the lock.
func (s *Server) activity(c *conversation, u User, root, kind string) object {
	s.nextID()
	place := object{"id": c.ID, "conversationType": c.Kind, "tenantId": c.Tenant}
	data := object{"tenant": object{"id": c.Tenant}}
	if c.Kind != "personal" {
		place["isGroup"] = true
	}
	if c.Kind == "channel" {
		if root != "" {
			place["id"] = c.ID + ";messageid=" + root
		}
		data["team"] = object{"id": c.Team}
		data["channel"] = object{"id": c.ID}
	}
	from := object{"id": u.MRI(), "name": u.Name}
	if u.Role != RoleAnonymous {
		from["aadObjectId"] = u.Object
	}
	return object{
		"type": kind, "id": fmt.Sprintf("f:%d", s.lastID), "timestamp": s.cfg.Now().UTC().Format(time.RFC3339Nano),
		"channelId": "msteams", "serviceUrl": s.serviceURL(c.Tenant),
		"from": from, "recipient": object{"id": s.BotID(), "name": s.cfg.BotName},
		"conversation": place, "channelData": data,
	}
}

// Delivery is one request to the bot's endpoint, good or bad.
type Delivery struct {
	// Activity is sent as JSON; Body, when not nil, is sent as it is.
	Activity map[string]any
	Body     []byte
	// Authorization are the values of that header. Nil means a good token for
	// the activity's service URL; an empty slice means no header.
	Authorization []string
	// ContentType is application/json when empty.
	ContentType string
	Method      string // POST when empty
	Query       string
}

// Reply is the bot's answer to a delivery.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// Deliver sends anything to the bot. The error is one of transport; a refusal is
// a Reply.
func (s *Server) Deliver(ctx context.Context, d Delivery) (Reply, error) {
	body := d.Body
	if body == nil {
		var err error
		if body, err = json.Marshal(d.Activity); err != nil {
			return Reply{}, err
		}
	}
	s.mu.Lock()
	endpoint := s.endpoint
	s.mu.Unlock()
	if d.Query != "" {
		endpoint += "?" + d.Query
	}
	if d.Method == "" {
		d.Method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, d.Method, endpoint, bytes.NewReader(body))
	if err != nil {
		return Reply{}, err
	}
	if d.Authorization == nil {
		serviceURL, _ := d.Activity["serviceUrl"].(string)
		d.Authorization = []string{"Bearer " + s.Token(serviceURL)}
	}
	for _, v := range d.Authorization {
		req.Header.Add("Authorization", v)
	}
	if d.ContentType == "" {
		d.ContentType = "application/json; charset=utf-8"
	}
	req.Header.Set("Content-Type", d.ContentType)
	resp, err := s.cfg.Client.Do(req)
	if err != nil {
		return Reply{}, fmt.Errorf("deliver activity: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return Reply{}, fmt.Errorf("read the bot's answer: %w", err)
	}
	return Reply{Status: resp.StatusCode, Header: resp.Header, Body: answer}, nil
}

// Activity is a genuine activity of user in conversation, to be changed and
// passed to [Server.Deliver].
func (s *Server) Activity(user, conversation, kind string) (map[string]any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, u, err := s.place(user, conversation)
	if err != nil {
		return nil, err
	}
	return s.activity(c, u, "", kind), nil
}

// send delivers a genuine activity.
func (s *Server) send(ctx context.Context, a object) ([]byte, error) {
	reply, err := s.Deliver(ctx, Delivery{Activity: a})
	if err != nil {
		return nil, err
	}
	if reply.Status/100 != 2 {
		return nil, &RefusedError{Status: reply.Status, Body: string(reply.Body)}
	}
	return reply.Body, nil
}
