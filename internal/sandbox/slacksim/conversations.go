package slacksim

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

func (s *Server) authTest(args) map[string]any {
	result := ok()
	result["url"], result["team"], result["team_id"] = "https://sandbox.slack.com/", s.opts.WorkspaceName, s.opts.Workspace
	result["user"], result["user_id"], result["bot_id"] = s.opts.BotName, s.opts.BotUser, s.botID
	if s.opts.Enterprise != "" {
		result["enterprise_id"] = s.opts.Enterprise
	}
	return result
}

func (s *Server) botsInfo(a args) map[string]any {
	if a["bot"] != s.botID {
		return fail("bot_not_found")
	}
	result := ok()
	result["bot"] = map[string]any{"id": s.botID, "app_id": s.opts.AppID, "user_id": s.opts.BotUser, "name": s.opts.BotName, "deleted": false}
	return result
}

// InstallManifest is what apps.manifest.export gives back, with what Slack adds.
func (s *Server) InstallManifest(manifest map[string]any) error {
	text, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	var own map[string]any
	if err := json.Unmarshal(text, &own); err != nil {
		return err
	}
	own["_metadata"] = map[string]any{"major_version": 1, "minor_version": 1}
	if settings, _ := own["settings"].(map[string]any); settings != nil {
		settings["is_mcp_enabled"] = false
	}
	text, err = json.Marshal(own)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.manifest = text
	return err
}

func (s *Server) exportManifest(a args) map[string]any {
	if a["app_id"] != s.opts.AppID || s.manifest == nil {
		return fail("invalid_app_id")
	}
	result := ok()
	result["manifest"] = s.manifest
	return result
}

func (s *Server) usersInfo(a args) map[string]any {
	u := s.users[a["user"]]
	if u == nil {
		return fail("user_not_found")
	}
	stranger := u.Workspace != s.opts.Workspace
	profile := map[string]any{"real_name": u.RealName, "display_name": u.Name}
	if u.Email != "" && !stranger && slices.Contains(s.opts.Scopes, "users:read.email") {
		profile["email"] = u.Email
	}
	result := ok()
	result["user"] = map[string]any{
		"id": u.ID, "team_id": u.Workspace, "name": u.Name, "real_name": u.RealName, "deleted": u.Deleted,
		"is_bot": u.Bot, "is_restricted": u.Guest || u.SingleGuest, "is_ultra_restricted": u.SingleGuest,
		"is_stranger": stranger, "profile": profile,
	}
	return result
}

func (s *Server) usergroupsList(args) map[string]any {
	list := []any{}
	for _, g := range s.groups {
		list = append(list, map[string]any{"id": g.ID, "team_id": s.opts.Workspace, "handle": g.Handle, "name": g.Handle, "users": g.Members})
	}
	result := ok()
	result["usergroups"] = list
	return result
}

func (s *Server) usergroupsUsersList(a args) map[string]any {
	for _, g := range s.groups {
		if g.ID == a["usergroup"] {
			result := ok()
			result["users"] = g.Members
			return result
		}
	}
	return fail("no_such_subteam")
}

func (s *Server) conversationsOpen(a args) map[string]any {
	u := s.users[a["users"]]
	switch {
	case u == nil:
		return fail("user_not_found")
	case u.Deleted:
		return fail("user_disabled")
	case u.Bot:
		return fail("cannot_dm_bot")
	}
	result := ok()
	result["channel"] = map[string]any{"id": s.direct(u.ID).ID}
	return result
}

func (s *Server) conversationsInfo(a args) map[string]any {
	c := s.channels[a["channel"]]
	if c == nil || c.Private && !c.BotIn {
		return fail("channel_not_found")
	}
	result := ok()
	result["channel"] = conversationJSON(c)
	return result
}

func conversationJSON(c *channel) map[string]any {
	out := map[string]any{
		"id": c.ID, "name": c.Name, "is_channel": c.Direct == "" && !c.Private, "is_group": c.Private, "is_im": c.Direct != "",
		"is_private": c.Private, "is_archived": c.Archived, "is_member": c.BotIn, "is_ext_shared": c.Shared, "is_shared": c.Shared,
		"is_org_shared": false,
	}
	if c.Direct != "" {
		out["user"] = c.Direct
	}
	return out
}

func (s *Server) conversationsList(a args) map[string]any {
	types := a["types"]
	if types == "" {
		types = "public_channel"
	}
	list := []any{}
	for _, id := range s.order {
		c := s.channels[id]
		kind := "public_channel"
		switch {
		case c.Direct != "":
			kind = "im"
		case c.Private:
			kind = "private_channel"
		}
		if slices.Contains(strings.Split(types, ","), kind) && (!c.Private || c.BotIn) {
			list = append(list, conversationJSON(c))
		}
	}
	result := ok()
	result["channels"] = list
	result["response_metadata"] = map[string]any{"next_cursor": ""}
	return result
}

func (s *Server) conversationsMembers(a args) map[string]any {
	c := s.channels[a["channel"]]
	if c == nil || c.Private && !c.BotIn {
		return fail("channel_not_found")
	}
	members := slices.Clone(c.Members)
	if c.BotIn {
		members = append(members, s.opts.BotUser)
	}
	page, next := pageOf(members, a)
	result := ok()
	result["members"] = page
	result["response_metadata"] = map[string]any{"next_cursor": next}
	return result
}

func (s *Server) conversationsHistory(a args) map[string]any {
	return s.list(a, func(m *Message) bool { return m.ThreadTS == "" || m.ThreadTS == m.TS || m.Broadcast }, true)
}

func (s *Server) conversationsReplies(a args) map[string]any {
	return s.list(a, func(m *Message) bool { return m.TS == a["ts"] || m.ThreadTS == a["ts"] }, false)
}

// list pages through a channel's messages, newest first for history.
func (s *Server) list(a args, match func(*Message) bool, newestFirst bool) map[string]any {
	c, refused := s.reach(a["channel"])
	if refused != nil {
		return refused
	}
	var found []*Message
	for _, m := range c.messages {
		if m.OnlyFor == "" && match(m) && (a["oldest"] == "" || m.TS > a["oldest"]) && (a["latest"] == "" || m.TS < a["latest"]) {
			found = append(found, m)
		}
	}
	if newestFirst {
		slices.Reverse(found)
	}
	page, next := pageOf(found, a)
	messages := []any{}
	for _, m := range page {
		out := messageJSON(m, s.botID)
		if m.Metadata != nil {
			out["metadata"] = m.Metadata
			if !a.bool("include_all_metadata") {
				out["metadata"] = withoutPayload(m.Metadata)
			}
		}
		messages = append(messages, out)
	}
	result := ok()
	result["messages"], result["has_more"] = messages, next != ""
	result["response_metadata"] = map[string]any{"next_cursor": next}
	return result
}

// pageOf cuts the page that limit and cursor ask for, and says where the next one
// begins, or "".
func pageOf[T any](all []T, a args) (page []T, next string) {
	limit, _ := strconv.Atoi(a["limit"])
	if limit <= 0 || limit > 999 {
		limit = 100
	}
	start, _ := strconv.Atoi(strings.TrimPrefix(a["cursor"], "next:"))
	start = min(max(start, 0), len(all))
	end := min(start+limit, len(all))
	if end < len(all) {
		next = "next:" + strconv.Itoa(end)
	}
	return all[start:end], next
}

func withoutPayload(metadata json.RawMessage) map[string]any {
	var m struct {
		EventType string `json:"event_type"`
	}
	_ = json.Unmarshal(metadata, &m) // checked when posted
	return map[string]any{"event_type": m.EventType}
}
