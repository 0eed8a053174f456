package slacksim

import (
	"io"
	"net/http"
	"time"
)

// FaultKind is a way for a call to go wrong.
type FaultKind string

// The kinds of fault.
const (
	FaultThrottle    FaultKind = "throttle"     // 429 without effect
	FaultServerError FaultKind = "server error" // 500 with HTML, without effect
	FaultHang        FaultKind = "hang"         // no effect and no answer for Delay
	FaultDrop        FaultKind = "drop"         // connection closed, without effect
	FaultDropAfter   FaultKind = "drop after"   // took effect, connection closed
	FaultLostAnswer  FaultKind = "lost answer"  // took effect, no answer for Delay
	FaultHTML        FaultKind = "html"         // 200 with HTML, without effect
	FaultEmpty       FaultKind = "empty"        // 200 with {}, without effect
	FaultError       FaultKind = "error"        // ok:false with Code, without effect
)

// Fault makes calls go wrong.
type Fault struct {
	// Method is a Web API method or "response_url"; empty means all.
	Method string
	Kind   FaultKind
	Times  int // calls it applies to; 0 means 1, negative means all
	// RetryAfter is the header of FaultThrottle as sent; empty means none.
	RetryAfter string
	Delay      time.Duration // of FaultHang and FaultLostAnswer; at most 1 minute
	Code       string        // of FaultError
}

// Inject adds a fault. Faults apply in the order they were added.
func (s *Server) Inject(f Fault) {
	if f.Times == 0 {
		f.Times = 1
	}
	if f.Delay <= 0 || f.Delay > time.Minute {
		f.Delay = time.Minute
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// ClearFaults removes the faults that are left.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (s *Server) nextFault(method string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if f.Method != "" && f.Method != method {
			continue
		}
		found := *f
		if f.Times--; f.Times == 0 {
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
		}
		return &found
	}
	return nil
}

// answerWithFault runs act, unless the fault prevents it, and spoils the answer.
// act has read the request's body before.
func (s *Server) answerWithFault(w http.ResponseWriter, r *http.Request, f *Fault, act func(http.ResponseWriter)) {
	switch f.Kind {
	case FaultThrottle:
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"ok":false,"error":"ratelimited"}`)
	case FaultServerError:
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, "<html><body>Server error</body></html>")
	case FaultHTML:
		_, _ = io.WriteString(w, "<html><body>Sign in to the proxy</body></html>")
	case FaultEmpty:
		_, _ = io.WriteString(w, "{}")
	case FaultError:
		writeJSON(w, map[string]any{"ok": false, "error": f.Code})
	case FaultHang:
		s.wait(r, f.Delay)
		panic(http.ErrAbortHandler)
	case FaultDrop:
		panic(http.ErrAbortHandler)
	case FaultDropAfter:
		act(nothing{})
		panic(http.ErrAbortHandler)
	case FaultLostAnswer:
		act(nothing{})
		s.wait(r, f.Delay)
		panic(http.ErrAbortHandler)
	}
}

func (s *Server) wait(r *http.Request, d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	case <-s.background.Done():
	}
}

// nothing is an answer that nobody gets.
type nothing struct{}

func (nothing) Header() http.Header         { return http.Header{} }
func (nothing) Write(b []byte) (int, error) { return len(b), nil }
func (nothing) WriteHeader(int)             {}
