package slacksim

import (
	"encoding/json"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

var addresses = regexp.MustCompile(`https?://[^\s<>|]+`)

// linksShared is the event about addresses in m that the app previews, or nil. The
// caller holds the lock.
func (s *Server) linksShared(c *channel, m *Message) map[string]any {
	if !slices.Contains(s.opts.Scopes, "links:read") {
		return nil
	}
	var links []any
	for _, found := range addresses.FindAllString(m.Text, -1) {
		address := html.UnescapeString(found)
		u, err := url.Parse(address)
		if err != nil {
			continue
		}
		for _, domain := range s.opts.Domains {
			if host := u.Hostname(); host == domain || strings.HasSuffix(host, "."+domain) {
				links = append(links, map[string]any{"domain": domain, "url": address})
			}
		}
	}
	if links == nil {
		return nil
	}
	event := map[string]any{
		"type": "link_shared", "user": m.User, "channel": m.Channel, "message_ts": m.TS, "event_ts": m.TS, "links": links,
		"source": "conversations_history", "unfurl_id": s.newID("unfurl."), "is_bot_user_member": c.BotIn,
	}
	if m.ThreadTS != "" {
		event["thread_ts"] = m.ThreadTS
	}
	return s.eventPayload(event, c.Shared)
}

// unfurl shows previews below a message.
func (s *Server) unfurl(a args) map[string]any {
	c := s.channels[a["channel"]]
	if c == nil || !c.BotIn {
		return fail("cannot_find_channel")
	}
	m := c.find(a["ts"])
	if m == nil {
		return fail("cannot_find_message")
	}
	unfurls := map[string]json.RawMessage{}
	if json.Unmarshal([]byte(a["unfurls"]), &unfurls) != nil || len(unfurls) == 0 {
		return fail("missing_unfurls")
	}
	var shown []json.RawMessage
	for _, found := range addresses.FindAllString(m.Text, -1) {
		for address, preview := range unfurls {
			if html.UnescapeString(address) == html.UnescapeString(found) {
				shown = append(shown, preview)
				delete(unfurls, address)
			}
		}
	}
	if len(unfurls) > 0 {
		return fail("cannot_unfurl_url")
	}
	text, _ := json.Marshal(shown)
	if refused := checkMessage(nil, text, s.opts.Unknown); refused != nil {
		return refused
	}
	m.Attachments = text
	s.record("chat.unfurl", m)
	return ok()
}
