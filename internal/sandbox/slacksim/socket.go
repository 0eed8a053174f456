package slacksim

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// pingEvery keeps slack-go's watchdog content, which gives up after 30 s.
const pingEvery = 5 * time.Second

// socket is one open Socket Mode connection.
type socket struct {
	conn  *websocket.Conn
	write sync.Mutex

	mu   sync.Mutex
	acks map[string]chan []byte
}

func (s *Server) connectionsOpen(args) map[string]any {
	ticket := s.newID("ticket")
	s.tickets[ticket] = true
	result := ok()
	result["url"] = "ws" + strings.TrimPrefix(s.baseURL, "http") + "/socket/" + ticket
	return result
}

func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request, ticket string) {
	s.mu.Lock()
	valid := s.tickets[ticket] && len(s.sockets) < 10
	delete(s.tickets, ticket)
	s.mu.Unlock()
	if !valid {
		http.NotFound(w, r)
		return
	}
	// slack-go sends Slack's origin.
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c := &socket{conn: conn, acks: map[string]chan []byte{}}
	s.mu.Lock()
	s.sockets = append(s.sockets, c)
	count := len(s.sockets)
	s.changed()
	s.mu.Unlock()
	defer s.dropSocket(c)
	if c.send(map[string]any{
		"type": "hello", "num_connections": count, "connection_info": map[string]any{"app_id": s.opts.AppID},
		"debug_info": map[string]any{"host": "sandbox", "approximate_connection_time": 18060},
	}) != nil {
		return
	}
	done := make(chan struct{})
	defer close(done)
	s.running.Go(func() { s.keepAlive(c, done) })
	for {
		var ack struct {
			EnvelopeID string          `json:"envelope_id"`
			Payload    json.RawMessage `json:"payload"`
		}
		if conn.ReadJSON(&ack) != nil {
			return
		}
		c.mu.Lock()
		waiting := c.acks[ack.EnvelopeID]
		delete(c.acks, ack.EnvelopeID)
		c.mu.Unlock()
		if waiting != nil {
			waiting <- ack.Payload
		}
	}
}

func (s *Server) keepAlive(c *socket, done <-chan struct{}) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for {
		if c.conn.WriteControl(websocket.PingMessage, []byte("ping"), time.Now().Add(time.Second)) != nil {
			c.close()
			return
		}
		select {
		case <-ticker.C:
		case <-done:
			return
		case <-s.background.Done():
			return
		}
	}
}

func (s *Server) dropSocket(c *socket) {
	c.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.sockets {
		if other == c {
			s.sockets = append(s.sockets[:i:i], s.sockets[i+1:]...)
			break
		}
	}
	s.changed()
}

// Connections is the number of open Socket Mode connections.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sockets)
}

// Disconnect asks the bot to reconnect, as Slack does every few hours, and closes
// the connections.
func (s *Server) Disconnect() {
	s.mu.Lock()
	open := append([]*socket(nil), s.sockets...)
	s.mu.Unlock()
	for _, c := range open {
		_ = c.send(map[string]any{"type": "disconnect", "reason": "refresh_requested", "debug_info": map[string]any{"host": "sandbox"}})
		c.close()
	}
}

func (c *socket) send(v any) error {
	c.write.Lock()
	defer c.write.Unlock()
	return c.conn.WriteJSON(v)
}

func (c *socket) close() { _ = c.conn.Close() }

// deliverSocket sends d over one connection and waits for its acknowledgement.
func (s *Server) deliverSocket(ctx context.Context, d delivery) ([]byte, error) {
	s.mu.Lock()
	if len(s.sockets) == 0 {
		s.mu.Unlock()
		return nil, &DeliveryError{Reason: "dispatch_failed"}
	}
	s.serial++
	c := s.sockets[s.serial%len(s.sockets)]
	id := s.newID("envelope.")
	s.mu.Unlock()

	ack := make(chan []byte, 1)
	c.mu.Lock()
	c.acks[id] = ack
	c.mu.Unlock()
	envelope := map[string]any{
		"envelope_id": id, "type": d.envelope, "payload": json.RawMessage(d.json), "accepts_response_payload": d.answers,
	}
	if d.envelope == "events_api" {
		envelope["retry_attempt"], envelope["retry_reason"] = d.retry, d.reason
	}
	if c.send(envelope) != nil {
		return nil, &DeliveryError{Reason: "dispatch_failed"}
	}
	select {
	case payload := <-ack:
		// Slack drops larger acknowledgements without a word.
		if len(payload) >= 20_480 {
			return nil, &DeliveryError{Reason: "operation_timeout"}
		}
		return payload, nil
	case <-ctx.Done():
		return nil, &DeliveryError{Reason: "operation_timeout"}
	}
}
