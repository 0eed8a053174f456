package policy

import "sync/atomic"

// Source holds the policy in force. It is safe for concurrent use. Callers that
// make several decisions about one thing take Current once.
type Source struct {
	current atomic.Pointer[Policy]
}

// NewSource starts with p.
func NewSource(p *Policy) *Source {
	s := &Source{}
	s.Set(p)
	return s
}

// Current is the policy in force.
func (s *Source) Current() *Policy { return s.current.Load() }

// Set puts p in force from the next call of Current on.
func (s *Source) Set(p *Policy) { s.current.Store(p) }
