package slacksim

import (
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// responseURL answers one command or click: five uses in thirty minutes.
type responseURL struct {
	user    string
	channel string
	// original is the message that replace_original replaces: the clicked one, or
	// for a command the last one made through this address.
	original string
	thread   string
	expires  time.Time
	uses     int
}

// newResponseURL makes a response address. The caller holds the lock.
func (s *Server) newResponseURL(user, channelID, original, thread string) string {
	id := s.newID("r")
	s.responses[id] = &responseURL{
		user: user, channel: channelID, original: original, thread: thread, expires: s.opts.Now().Add(30 * time.Minute),
	}
	return s.baseURL + "/response/" + id
}

func (s *Server) serveResponseURL(w http.ResponseWriter, r *http.Request, id string) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	answer := func(w http.ResponseWriter) {
		s.mu.Lock()
		defer s.mu.Unlock()
		code := ""
		switch u := s.responses[id]; {
		case u == nil:
			code = "no_such_url"
		case s.opts.Now().After(u.expires):
			code = "expired_url"
		case u.uses == 5:
			code = "used_url"
		default:
			if code = s.useResponseURL(u, body); code == "" {
				u.uses++
				_, _ = io.WriteString(w, "ok")
				return
			}
			w.WriteHeader(http.StatusBadRequest)
			writeJSON(w, fail(code))
			return
		}
		w.WriteHeader(http.StatusNotFound)
		writeJSON(w, fail(code))
	}
	if f := s.nextFault("response_url"); f != nil {
		s.answerWithFault(w, r, f, answer)
		return
	}
	answer(w)
}

// respond applies the body of a command's acknowledgement.
func (s *Server) respond(address string, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.responses[address[len(s.baseURL+"/response/"):]]
	if !json.Valid(body) {
		body, _ = json.Marshal(map[string]string{"text": string(body)})
	}
	if code := s.useResponseURL(u, body); code != "" {
		return &DeliveryError{Status: http.StatusOK, Reason: code}
	}
	return nil
}

// useResponseURL applies one answer and returns an error code or nothing. The
// caller holds the lock.
func (s *Server) useResponseURL(u *responseURL, body []byte) string {
	fields := map[string]json.RawMessage{}
	if json.Unmarshal(body, &fields) != nil {
		return "invalid_payload"
	}
	a := args{}
	for k, raw := range fields {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw)
		}
		a[k] = text
	}
	c := s.channels[u.channel]
	if c == nil {
		return "channel_not_found"
	}
	existing := c.find(u.original)
	if a.bool("delete_original") {
		if existing != nil {
			c.messages = removeMessage(c.messages, existing)
			s.record("response_url.delete", existing)
		}
		return ""
	}
	m := &Message{Channel: c.ID, User: s.opts.BotUser, FromBot: true, ThreadTS: u.thread}
	if refused := s.content(m, a, 40_000); refused != nil {
		code, _ := refused["error"].(string)
		return code
	}
	if a.bool("replace_original") && existing != nil {
		existing.Text, existing.Blocks, existing.Attachments, existing.Payload = m.Text, m.Blocks, m.Attachments, m.Payload
		existing.Edits++
		s.record("response_url.replace", existing)
		return ""
	}
	if v := a["thread_ts"]; v != "" {
		m.ThreadTS = v
	}
	if a["response_type"] != "in_channel" {
		m.OnlyFor = u.user
	}
	m.TS = s.newTS()
	c.messages = append(c.messages, m)
	if existing == nil {
		u.original = m.TS
	}
	s.record("response_url", m)
	return ""
}

func removeMessage(messages []*Message, m *Message) []*Message {
	out := messages[:0:0]
	for _, other := range messages {
		if other != m {
			out = append(out, other)
		}
	}
	return out
}
