package teamssim

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Call is one call of the REST API, whatever came of it.
type Call struct {
	At     time.Time
	Method string
	Path   string
	// Targeted tells that the call was about a message for one person's eyes.
	Targeted bool
	Status   int
	Body     json.RawMessage
}

// What an effect did.
const (
	EffectPosted  = "posted"
	EffectUpdated = "updated"
	EffectDeleted = "deleted"
	EffectCreated = "created" // a conversation
	EffectUpload  = "uploaded"
)

// Effect is one thing that a call changed.
type Effect struct {
	At           time.Time
	Kind         string
	Tenant       string
	Conversation string
	Message      string
	Payload      json.RawMessage // the activity as received
	OnlyFor      string          // the one person who sees it, of a targeted message
}

// File is a file that a person received.
type File struct {
	Name    string
	Content []byte
	User    string
	// TokenSeen tells that the upload carried an Authorization header, which
	// would be a leak of the bot's token to a file host.
	TokenSeen bool
}

// Fault makes calls of the REST API go wrong.
type Fault struct {
	// Method and Path choose the calls; empty matches any, Path is a substring.
	Method string
	Path   string
	// Times is how many calls go wrong; 0 means all.
	Times int
	// Status and Code are answered in place of doing anything.
	Status     int
	Code       string
	RetryAfter string
	// Hang holds the answer for so long, or until the caller gives up.
	Hang time.Duration
	// DropAfterEffect does what was asked and then cuts the connection.
	DropAfterEffect bool
	// Body replaces the error body, such as HTML from a proxy.
	Body string
	// Location makes the answer a redirect.
	Location string

	used int
}

// SetDomains says of which domains the app previews addresses.
func (s *Server) SetDomains(domains ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.Domains = domains
}

// SetTargeted switches targeted messages on or off for everybody.
func (s *Server) SetTargeted(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.NoTargeted = !on
}

// Fail adds a fault. Faults are tried in the order in which they were added.
func (s *Server) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Heal removes all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Calls returns the calls so far.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Call(nil), s.calls...)
}

// Effects returns the ledger of what took effect.
func (s *Server) Effects() []Effect {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Effect(nil), s.effects...)
}

// Files returns the files that people accepted.
func (s *Server) Files() []File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]File(nil), s.files...)
}

// fault finds the fault for a call and counts it. It needs the lock.
func (s *Server) fault(r *http.Request) *Fault {
	for _, f := range s.faults {
		if f.Method != "" && f.Method != r.Method || !strings.Contains(r.URL.Path, f.Path) {
			continue
		}
		if f.Times > 0 && f.used >= f.Times {
			continue
		}
		f.used++
		return f
	}
	return nil
}

// strike answers in place of the API. It reports whether it did.
func (f *Fault) strike(w http.ResponseWriter, r *http.Request) bool {
	if f.Hang > 0 {
		t := time.NewTimer(f.Hang)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			return true
		}
	}
	if f.Status == 0 {
		return false
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	if f.Location != "" {
		w.Header().Set("Location", f.Location)
	}
	if f.Body != "" {
		w.WriteHeader(f.Status)
		_, _ = w.Write([]byte(f.Body))
		return true
	}
	refuse(w, f.Status, f.Code, "scripted fault")
	return true
}

// rates of one bot in one conversation, per window.
var sendRates = []struct {
	window time.Duration
	calls  int
}{{time.Second, 7}, {2 * time.Second, 8}, {30 * time.Second, 60}, {time.Hour, 1800}}

// throttled counts a call for key and says how long to wait when there were too
// many. It needs the lock.
func (s *Server) throttled(key string, factor int) (wait time.Duration, yes bool) {
	if !s.cfg.Throttle {
		return 0, false
	}
	now := s.cfg.Now()
	var recent []time.Time
	for _, t := range s.paces[key] {
		if now.Sub(t) < time.Hour {
			recent = append(recent, t)
		}
	}
	for _, rate := range sendRates {
		limit := rate.calls * factor
		if len(recent) < limit {
			continue
		}
		if free := recent[len(recent)-limit].Add(rate.window); free.After(now) {
			wait = max(wait, free.Sub(now))
		}
	}
	if wait > 0 {
		s.paces[key] = recent
		return wait, true
	}
	s.paces[key] = append(recent, now)
	return 0, false
}

func retryAfter(wait time.Duration) string {
	return strconv.Itoa(int((wait + time.Second - 1) / time.Second))
}
