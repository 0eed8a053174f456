// Package fault scripts how a simulated service misbehaves.
//
// A [Script] sits in front of a handler. Each [Fault] in it names a route and
// what goes wrong there, how often. The difference that matters to a caller is
// whether the request took effect before things went wrong, so every kind says
// which: Answer, Drop, Hang and Delay come before the handler, the kinds that
// start with Act come after it. A simulator may define kinds of its own; Script
// hands those to the handler in the request context, see [From].
package fault

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Kind is what goes wrong.
type Kind string

// The kinds every simulator understands.
const (
	Answer    Kind = "answer"     // answer Status and Body; nothing takes effect
	Drop      Kind = "drop"       // close the connection; nothing takes effect
	Hang      Kind = "hang"       // never answer; nothing takes effect
	Delay     Kind = "delay"      // wait, then serve as usual unless the caller has gone
	ActDrop   Kind = "act-drop"   // take effect, then close the connection
	ActHang   Kind = "act-hang"   // take effect, then never answer
	ActDelay  Kind = "act-delay"  // take effect at once, answer after Wait
	ActAnswer Kind = "act-answer" // take effect, then answer Status and Body
	// ActLate answers Status at once, or closes the connection when Status is 0,
	// and takes effect after Wait.
	ActLate Kind = "act-late"
)

// Fault is one scripted misbehaviour. The first one in a script that matches a
// request and is not used up is applied to it.
type Fault struct {
	Kind Kind
	// Route is "METHOD /path" or "/path"; "*" stands for one path segment and a
	// final "**" for any rest. Empty matches everything.
	Route string
	Skip  int // matching requests served normally first
	Times int // requests it applies to; 0 = until the script is cleared
	Wait  time.Duration
	// Status, Header and Body are the answer. An empty Body means the vendor's
	// own error envelope for Status.
	Status int
	Header http.Header
	Body   string
}

// Script is the faults of one simulator. It is safe for concurrent use.
type Script struct {
	envelope func(r *http.Request, status int) string

	mu      sync.Mutex
	faults  []*armed
	cleared chan struct{}
}

type armed struct {
	Fault
	seen, used int
}

// NewScript returns a script without faults. envelope gives the vendor's error
// body for a status, for answers that bring none of their own.
func NewScript(envelope func(r *http.Request, status int) string) *Script {
	return &Script{envelope: envelope, cleared: make(chan struct{})}
}

// Add appends f.
func (s *Script) Add(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &armed{Fault: f})
}

// Clear removes all faults and releases every request that hangs or waits.
func (s *Script) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
	close(s.cleared)
	s.cleared = make(chan struct{})
}

// Used counts the requests that faults of kind k have been applied to since the
// last Clear.
func (s *Script) Used(k Kind) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, a := range s.faults {
		if a.Kind == k {
			n += a.used
		}
	}
	return n
}

type contextKey struct{}

// From returns the fault that applies to a request, for the kinds that a
// simulator carries out itself.
func From(ctx context.Context) (Fault, bool) {
	f, ok := ctx.Value(contextKey{}).(Fault)
	return f, ok
}

// Wrap puts the script in front of next.
func (s *Script) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, cleared, ok := s.take(r)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		// net/http notices that a caller has gone only once the body was read.
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 8<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), contextKey{}, f))
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.apply(f, cleared, next, w, r)
	})
}

func (s *Script) take(r *http.Request) (Fault, <-chan struct{}, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.faults {
		if a.Times > 0 && a.used == a.Times || !Matches(a.Route, r.Method, r.URL.Path) {
			continue
		}
		a.seen++
		if a.seen <= a.Skip {
			continue
		}
		a.used++
		return a.Fault, s.cleared, true
	}
	return Fault{}, nil, false
}

func (s *Script) apply(f Fault, cleared <-chan struct{}, next http.Handler, w http.ResponseWriter, r *http.Request) {
	// What takes effect does so whether or not the caller is still there.
	acting := r.WithContext(context.WithoutCancel(r.Context()))
	switch f.Kind {
	case Answer:
		s.answer(w, r, f)
	case Drop:
		panic(http.ErrAbortHandler)
	case Hang:
		wait(r.Context(), cleared, nil)
		panic(http.ErrAbortHandler)
	case Delay:
		if wait(r.Context(), cleared, time.After(f.Wait)) {
			next.ServeHTTP(w, r)
		}
	case ActDrop:
		next.ServeHTTP(newHeld(), acting)
		panic(http.ErrAbortHandler)
	case ActHang:
		next.ServeHTTP(newHeld(), acting)
		wait(r.Context(), cleared, nil)
		panic(http.ErrAbortHandler)
	case ActDelay:
		answer := newHeld()
		next.ServeHTTP(answer, acting)
		if wait(r.Context(), cleared, time.After(f.Wait)) {
			answer.release(w)
		}
	case ActAnswer:
		next.ServeHTTP(newHeld(), acting)
		s.answer(w, r, f)
	case ActLate:
		time.AfterFunc(f.Wait, func() { next.ServeHTTP(newHeld(), acting) })
		if f.Status == 0 {
			panic(http.ErrAbortHandler)
		}
		s.answer(w, r, f)
	default:
		next.ServeHTTP(w, r)
	}
}

// wait blocks until the time has come or the script was cleared, and reports
// whether the caller is still there.
func wait(ctx context.Context, cleared <-chan struct{}, due <-chan time.Time) bool {
	select {
	case <-ctx.Done():
		return false
	case <-cleared:
	case <-due:
	}
	return true
}

func (s *Script) answer(w http.ResponseWriter, r *http.Request, f Fault) {
	body := f.Body
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if body == "" {
		body = s.envelope(r, f.Status)
	} else if strings.HasPrefix(strings.TrimSpace(body), "<") {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
	}
	maps.Copy(w.Header(), f.Header)
	w.WriteHeader(f.Status)
	_, _ = io.WriteString(w, body)
}

// Matches reports whether a request is of a route, written as in [Fault].
func Matches(route, method, path string) bool {
	if route == "" {
		return true
	}
	if m, p, ok := strings.Cut(route, " "); ok {
		if m != method {
			return false
		}
		route = p
	}
	want, got := strings.Split(route, "/"), strings.Split(path, "/")
	for i, segment := range want {
		if segment == "**" {
			return true
		}
		if i >= len(got) || segment != "*" && segment != got[i] {
			return false
		}
	}
	return len(want) == len(got)
}

// held is an answer that is kept back.
type held struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newHeld() *held { return &held{header: http.Header{}, status: http.StatusOK} }

func (h *held) Header() http.Header         { return h.header }
func (h *held) WriteHeader(status int)      { h.status = status }
func (h *held) Write(p []byte) (int, error) { return h.body.Write(p) }

func (h *held) release(w http.ResponseWriter) {
	maps.Copy(w.Header(), h.header)
	w.WriteHeader(h.status)
	_, _ = w.Write(h.body.Bytes())
}
