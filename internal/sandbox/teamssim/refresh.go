package teamssim

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// How cards are refreshed stands in Microsoft's "User Specific Views" and "Work with
// Universal Actions for Adaptive Cards" (learn.microsoft.com/microsoftteams/platform/
// task-modules-and-cards/cards/universal-actions-for-adaptive-cards/).

const (
	// maxRefreshed is how many people a card may name, and how many there may be in a
	// conversation for all of their clients to ask when it names none.
	maxRefreshed = 60
	// refreshedFor is how long a client does not ask again by itself, unless the message
	// has been edited.
	refreshedFor = time.Minute
)

// refresh is the part of a card that makes clients ask for it anew.
type refresh struct {
	Action  object    `json:"action"`
	UserIDs *[]string `json:"userIds"`
}

func refreshOf(card json.RawMessage) *refresh {
	var c struct {
		Refresh *refresh `json:"refresh"`
	}
	if json.Unmarshal(card, &c) != nil {
		return nil
	}
	return c.Refresh
}

// checkRefresh refuses what Teams does not know of.
func checkRefresh(card json.RawMessage) error {
	var c struct {
		Refresh json.RawMessage `json:"refresh"`
	}
	if json.Unmarshal(card, &c) != nil || len(c.Refresh) == 0 {
		return nil
	}
	wrong := func(message string) error { return &apiError{status: 400, code: "BadArgument", message: message} }
	r := refreshOf(card)
	if r == nil || r.Action["type"] != "Action.Execute" || r.Action["verb"] == nil || r.Action["verb"] == "" {
		return wrong("refresh needs an Action.Execute with a verb.")
	}
	if r.UserIDs == nil {
		return nil
	}
	if len(*r.UserIDs) > maxRefreshed {
		return wrong(fmt.Sprintf("refresh names %d people; 60 is the most.", len(*r.UserIDs)))
	}
	for i, id := range *r.UserIDs {
		if !strings.HasPrefix(id, "29:") {
			return wrong("refresh names people by their address, 29:…")
		}
		if slices.Contains((*r.UserIDs)[:i], id) {
			return wrong("refresh names somebody twice.")
		}
	}
	return nil
}

// Show opens a conversation in a user's client. For each card there that names the
// user, or nobody in a small conversation, the client asks the bot how it looks to the
// user, unless it has asked within a minute and the message was not edited since.
// It returns how many times it asked.
func (s *Server) Show(ctx context.Context, user, conversation string) (asked int, err error) {
	s.mu.Lock()
	c, u, err := s.place(user, conversation)
	if err != nil || !s.botIn(c) {
		s.mu.Unlock()
		return 0, err
	}
	var due []string
	now := s.cfg.Now()
	for _, m := range c.messages {
		if !s.shows(m, user) || !s.refreshes(c, u, refreshOf(m.as(user).Card)) {
			continue
		}
		if at, before := m.asked[user]; before && now.Sub(at) < refreshedFor {
			continue
		}
		if m.asked == nil {
			m.asked = map[string]time.Time{}
		}
		m.asked[user] = now
		due = append(due, m.ID)
	}
	s.mu.Unlock()
	for _, id := range due {
		if _, err := s.refreshCard(ctx, user, id, "automatic"); err != nil {
			return asked, err
		}
		asked++
	}
	return asked, nil
}

// Refresh chooses "Refresh card" in the menu of a message.
func (s *Server) Refresh(ctx context.Context, user, messageID string) (Outcome, error) {
	return s.refreshCard(ctx, user, messageID, "manual")
}

// refreshes reports whether u's client asks by itself. It needs the lock.
func (s *Server) refreshes(c *conversation, u User, r *refresh) bool {
	switch {
	case r == nil:
		return false
	case r.UserIDs != nil:
		return slices.Contains(*r.UserIDs, u.MRI())
	}
	n := 0
	for id := range s.users {
		if s.isMember(c, id) {
			n++
		}
	}
	return n <= maxRefreshed
}

func (s *Server) refreshCard(ctx context.Context, user, messageID, trigger string) (Outcome, error) {
	s.mu.Lock()
	c, m := s.visible(user, messageID)
	if m == nil {
		s.mu.Unlock()
		return Outcome{}, ErrNoSuchMessage
	}
	r := refreshOf(m.as(user).Card)
	if r == nil {
		s.mu.Unlock()
		return Outcome{}, ErrNoSuchAction
	}
	root := m.Thread
	if root == "" {
		root = m.ID
	}
	edits := m.Edits
	a := s.activity(c, s.users[user], root, "invoke")
	a["replyToId"], a["name"] = m.ID, "adaptiveCard/action"
	a["channelData"].(object)["source"] = object{"name": "message"}
	a["value"] = object{"action": r.Action, "trigger": trigger}
	s.mu.Unlock()

	body, err := s.send(ctx, a)
	if err != nil {
		return Outcome{}, err
	}
	out, err := parseCardAnswer(body)
	if err != nil {
		return Outcome{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// What the bot said of a message that has changed meanwhile is not drawn.
	if _, m := s.visible(user, messageID); m != nil && m.Edits == edits && out.Card != nil {
		m.setView(user, func(v *view) { v.card = out.Card })
		s.changed()
	}
	return out, nil
}
