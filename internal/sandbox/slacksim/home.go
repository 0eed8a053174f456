package slacksim

import (
	"context"
	"encoding/json"
)

func (s *Server) viewsPublish(a args) map[string]any {
	user, view := a["user_id"], json.RawMessage(a["view"])
	u := s.users[user]
	switch {
	case user == "" || len(view) == 0:
		return fail("invalid_arguments")
	case u == nil || u.Bot || u.Deleted:
		return fail("user_not_found")
	case s.opts.NoHome:
		return fail("not_enabled")
	}
	if refused := checkHome(view); refused != nil {
		return refused
	}
	h := s.homes[user]
	if hash := a["hash"]; hash != "" && (h == nil || hash != h.Hash) {
		return fail("hash_conflict")
	}
	if h == nil {
		h = &Home{ID: s.newID("V")}
		s.homes[user] = h
	}
	h.View, h.Hash = view, s.newID("hash.")
	h.Published++
	s.ledger = append(s.ledger, Entry{Op: "views.publish", User: user})
	s.changed()
	result := ok()
	result["view"] = s.homeJSON(h)
	return result
}

// homeJSON is a view as Slack hands it around. The caller holds the lock.
func (s *Server) homeJSON(h *Home) map[string]any {
	view := map[string]any{}
	_ = json.Unmarshal(h.View, &view) // checked by checkHome
	view["id"], view["hash"], view["team_id"], view["app_id"], view["bot_id"] = h.ID, h.Hash, s.opts.Workspace, s.opts.AppID, s.botID
	view["root_view_id"], view["app_installed_team_id"] = h.ID, s.opts.Workspace
	view["state"] = map[string]any{"values": map[string]any{}}
	if view["private_metadata"] == nil {
		view["private_metadata"] = ""
	}
	return view
}

// OpenHome opens the app in the sidebar, at its Home tab. An app without one hears
// nothing.
func (s *Server) OpenHome(ctx context.Context, user string) error {
	return s.openTab(ctx, user, "home")
}

// OpenMessages opens the app in the sidebar, at its Messages tab.
func (s *Server) OpenMessages(ctx context.Context, user string) error {
	return s.openTab(ctx, user, "messages")
}

func (s *Server) openTab(ctx context.Context, user, tab string) error {
	s.mu.Lock()
	u := s.users[user]
	if u == nil {
		s.mu.Unlock()
		return ErrNoUser
	}
	if s.opts.NoHome {
		s.mu.Unlock()
		return nil
	}
	event := map[string]any{"type": "app_home_opened", "user": user, "channel": s.direct(user).ID, "tab": tab, "event_ts": s.newTS()}
	if h := s.homes[user]; h != nil && tab == "home" {
		event["view"] = s.homeJSON(h)
	}
	payload := s.eventPayload(event, false)
	s.changed()
	s.mu.Unlock()
	return s.deliverEvent(ctx, payload)
}

// ClickHome presses a button of user's Home tab. It does not ask for the confirmation
// that the button may carry.
func (s *Server) ClickHome(ctx context.Context, user string, p Press) error {
	return s.actHome(ctx, user, button(p))
}

// ChooseHome picks the option with value in a menu of user's Home tab.
func (s *Server) ChooseHome(ctx context.Context, user, actionID, value string) error {
	return s.actHome(ctx, user, choice(actionID, value))
}

// actHome sends block_actions from a Home tab: with the view, and without a message,
// a channel or a response address.
func (s *Server) actHome(ctx context.Context, user string, pick picker) error {
	s.mu.Lock()
	u, h := s.users[user], s.homes[user]
	if u == nil || h == nil {
		s.mu.Unlock()
		return ErrNoMessage
	}
	var view struct {
		Blocks json.RawMessage `json:"blocks"`
	}
	_ = json.Unmarshal(h.View, &view) // checked by checkHome
	action := s.findElement(allBlocks(view.Blocks, nil), pick)
	if action == nil {
		s.mu.Unlock()
		return ErrNoElement
	}
	payload := s.interaction("block_actions", u)
	payload["trigger_id"] = s.newTrigger(user)
	payload["container"] = map[string]any{"type": "view", "view_id": h.ID}
	payload["view"] = s.homeJSON(h)
	payload["actions"] = []any{action}
	s.mu.Unlock()
	_, err := s.interact(ctx, payload)
	return err
}
