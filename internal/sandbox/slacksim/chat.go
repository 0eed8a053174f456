package slacksim

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// content checks what a message says and fills m with it. It returns a refusal
// or nil.
func (s *Server) content(m *Message, a args, maxText int) map[string]any {
	var blocks, attachments json.RawMessage
	if v := a["blocks"]; v != "" && v != "null" {
		blocks = json.RawMessage(v)
	}
	if v := a["attachments"]; v != "" && v != "null" {
		attachments = json.RawMessage(v)
	}
	if utf8.RuneCountInString(a["text"]) > maxText {
		return fail("msg_too_long")
	}
	if refused := checkMessage(blocks, attachments, s.opts.Unknown); refused != nil {
		return refused
	}
	if a["text"] == "" && len(allBlocks(blocks, attachments)) == 0 {
		return fail("no_text")
	}
	m.Text, m.Blocks, m.Attachments = a["text"], blocks, attachments
	m.Payload = a.payload()
	return nil
}

// reach finds a channel that the bot can post to. The caller holds the lock.
func (s *Server) reach(id string) (*channel, map[string]any) {
	if u := s.users[id]; u != nil {
		return s.direct(id), nil
	}
	c := s.channels[id]
	switch {
	case c == nil || c.Private && !c.BotIn:
		return nil, fail("channel_not_found")
	case c.Archived:
		return nil, fail("is_archived")
	case !c.BotIn:
		return nil, fail("not_in_channel")
	}
	return c, nil
}

func (s *Server) postMessage(a args) map[string]any {
	c, refused := s.reach(a["channel"])
	if refused != nil {
		return refused
	}
	if refused := s.paced(&c.posts, 5, 1); refused != nil {
		return refused
	}
	m := &Message{Channel: c.ID, User: s.opts.BotUser, FromBot: true, Broadcast: a.bool("reply_broadcast")}
	if refused := s.content(m, a, 40_000); refused != nil {
		return refused
	}
	if v := a["metadata"]; v != "" {
		m.Metadata = json.RawMessage(v)
	}
	m.TS = s.newTS()
	if parent := c.find(a["thread_ts"]); parent != nil && parent.OnlyFor == "" {
		m.ThreadTS = a["thread_ts"]
		parent.ThreadTS = parent.TS
	}
	c.messages = append(c.messages, m)
	s.record("chat.postMessage", m)
	result := ok()
	result["channel"], result["ts"], result["message"] = c.ID, m.TS, messageJSON(m, s.botID)
	return result
}

// allowance is what is left of a rate.
type allowance struct {
	tokens float64
	filled int64 // when that was so, in microseconds
}

// paced takes one call from a and returns a refusal when none is left of a burst that
// fills up at a rate per second. The caller holds the lock.
func (s *Server) paced(a *allowance, burst, perSecond float64) map[string]any {
	if !s.opts.Pace {
		return nil
	}
	now := s.opts.Now().UnixMicro()
	if a.filled == 0 {
		a.tokens = burst
	} else {
		a.tokens = min(burst, a.tokens+perSecond*float64(now-a.filled)/1e6)
	}
	a.filled = now
	if a.tokens < 1 {
		refused := fail("ratelimited")
		refused["retry_after"] = strconv.Itoa(int(math.Ceil((1 - a.tokens) / perSecond)))
		return refused
	}
	a.tokens--
	return nil
}

func (s *Server) updateMessage(a args) map[string]any {
	if refused := s.paced(&s.updates, 50, 50.0/60); refused != nil {
		return refused
	}
	c := s.channels[a["channel"]]
	if c == nil {
		return fail("channel_not_found")
	}
	m := c.find(a["ts"])
	switch {
	case m == nil || m.OnlyFor != "":
		return fail("message_not_found")
	case !m.FromBot:
		return fail("cant_update_message")
	}
	changed := *m
	if refused := s.content(&changed, a, 4_000); refused != nil {
		return refused
	}
	if v := a["metadata"]; v != "" {
		changed.Metadata = json.RawMessage(v)
	}
	changed.Edits++
	*m = changed
	s.record("chat.update", m)
	result := ok()
	result["channel"], result["ts"], result["text"] = c.ID, m.TS, m.Text
	return result
}

func (s *Server) postEphemeral(a args) map[string]any {
	c, refused := s.reach(a["channel"])
	if refused != nil {
		return refused
	}
	if !slices.Contains(c.Members, a["user"]) {
		return fail("user_not_in_channel")
	}
	m := &Message{Channel: c.ID, User: s.opts.BotUser, FromBot: true, OnlyFor: a["user"], ThreadTS: a["thread_ts"]}
	if refused := s.content(m, a, 40_000); refused != nil {
		return refused
	}
	m.TS = s.newTS()
	c.messages = append(c.messages, m)
	s.record("chat.postEphemeral", m)
	result := ok()
	result["message_ts"] = m.TS
	return result
}

func (s *Server) deleteMessage(a args) map[string]any {
	c := s.channels[a["channel"]]
	if c == nil {
		return fail("channel_not_found")
	}
	m := c.find(a["ts"])
	switch {
	case m == nil || m.OnlyFor != "":
		return fail("message_not_found")
	case !m.FromBot:
		return fail("cant_delete_message")
	}
	c.messages = slices.DeleteFunc(c.messages, func(other *Message) bool { return other == m })
	s.record("chat.delete", m)
	result := ok()
	result["channel"], result["ts"] = c.ID, m.TS
	return result
}

func (s *Server) getPermalink(a args) map[string]any {
	c := s.channels[a["channel"]]
	if c == nil {
		return fail("channel_not_found")
	}
	if c.find(a["message_ts"]) == nil {
		return fail("message_not_found")
	}
	result := ok()
	result["channel"] = c.ID
	result["permalink"] = fmt.Sprintf("https://sandbox.slack.com/archives/%s/p%s", c.ID, a["message_ts"])
	return result
}

// record adds to the ledger and tells subscribers. The caller holds the lock.
func (s *Server) record(op string, m *Message) {
	var metadata struct {
		Payload struct {
			ID string `json:"id"`
		} `json:"event_payload"`
	}
	if m.Metadata != nil {
		_ = json.Unmarshal(m.Metadata, &metadata) // other apps' metadata have no id
	}
	s.ledger = append(s.ledger, Entry{
		Op: op, Channel: m.Channel, TS: m.TS, User: m.OnlyFor, Delivery: metadata.Payload.ID, Text: m.Text,
	})
	s.changed()
}

// messageJSON is a message as the API shows it.
func messageJSON(m *Message, botID string) map[string]any {
	out := map[string]any{"type": "message", "user": m.User, "ts": m.TS, "text": m.Text}
	if m.FromBot {
		out["bot_id"] = botID
	}
	if m.ThreadTS != "" {
		out["thread_ts"] = m.ThreadTS
	}
	if m.Blocks != nil {
		out["blocks"] = m.Blocks
	}
	if m.Attachments != nil {
		out["attachments"] = m.Attachments
	}
	return out
}
