// Package pagersim is a receiver of PagerDuty's Events API v2: it refuses what
// PagerDuty refuses, takes events of one key for one incident and keeps what
// woke somebody.
package pagersim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/fault"
)

// Path is where events are taken.
const Path = "/v2/enqueue"

// Incident is what events of one key have made.
type Incident struct {
	Key      string
	Open     bool
	Woken    int // how often somebody was woken: events that opened it
	Events   int
	Summary  string
	Source   string
	Severity string
	Details  map[string]string
}

// Server is the receiver. It is safe for concurrent use.
type Server struct {
	// Faults makes it misbehave.
	Faults *fault.Script

	key     string
	handler http.Handler

	mu        sync.Mutex
	incidents []*Incident
	refused   []string
}

// New returns a receiver that knows one routing key.
func New(key string) *Server {
	s := &Server{key: key}
	s.Faults = fault.NewScript(func(_ *http.Request, status int) string {
		return fmt.Sprintf(`{"status":"error","message":%q}`, http.StatusText(status))
	})
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Path, s.enqueue)
	s.handler = s.Faults.Wrap(mux)
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Incidents lists what was opened, oldest first.
func (s *Server) Incidents() []Incident {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Incident, 0, len(s.incidents))
	for _, i := range s.incidents {
		out = append(out, *i)
	}
	return out
}

// Refused lists why events were refused.
func (s *Server) Refused() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refused)
}

type event struct {
	RoutingKey string `json:"routing_key"`
	Action     string `json:"event_action"`
	Key        string `json:"dedup_key"`
	Client     string `json:"client"`
	Payload    *struct {
		Summary   string            `json:"summary"`
		Source    string            `json:"source"`
		Severity  string            `json:"severity"`
		Timestamp string            `json:"timestamp"`
		Details   map[string]string `json:"custom_details"`
	} `json:"payload"`
}

// fault says what is wrong with e, or "".
func (e event) fault(key string) string {
	switch {
	case e.RoutingKey != key:
		return "invalid routing key"
	case e.Key == "" || len(e.Key) > 255:
		return "dedup_key is missing or longer than 255 characters"
	case e.Action == "resolve":
		return ""
	case e.Action != "trigger":
		return "event_action is none of trigger, resolve"
	case e.Payload == nil || e.Payload.Summary == "" || e.Payload.Source == "":
		return "payload.summary and payload.source are required"
	case len([]rune(e.Payload.Summary)) > 1024:
		return "payload.summary is longer than 1024 characters"
	case !slices.Contains([]string{"critical", "error", "warning", "info"}, e.Payload.Severity):
		return "payload.severity is none of critical, error, warning, info"
	}
	if e.Payload.Timestamp != "" {
		if _, err := time.Parse(time.RFC3339, e.Payload.Timestamp); err != nil {
			return "payload.timestamp is not a time"
		}
	}
	return ""
}

func (s *Server) enqueue(w http.ResponseWriter, r *http.Request) {
	dec := json.NewDecoder(io.LimitReader(r.Body, 512<<10))
	dec.DisallowUnknownFields()
	var e event
	problem := ""
	if err := dec.Decode(&e); err != nil {
		problem = err.Error()
	} else {
		problem = e.fault(s.key)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if problem != "" {
		s.refused = append(s.refused, problem)
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "invalid event", "message": "Event object is invalid", "errors": []string{problem}})
		return
	}
	s.take(e)
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": "success", "message": "Event processed", "dedup_key": e.Key})
}

// take changes the incident of e's key. A trigger for one that was resolved opens
// a new one; a resolve of one that is not open does nothing.
func (s *Server) take(e event) {
	at := slices.IndexFunc(s.incidents, func(i *Incident) bool { return i.Key == e.Key && i.Open })
	switch {
	case at >= 0:
		i := s.incidents[at]
		i.Events++
		i.Open = e.Action == "trigger"
	case e.Action == "trigger":
		s.incidents = append(s.incidents, &Incident{
			Key: e.Key, Open: true, Woken: 1, Events: 1,
			Summary: e.Payload.Summary, Source: e.Payload.Source, Severity: e.Payload.Severity, Details: e.Payload.Details,
		})
	}
}
