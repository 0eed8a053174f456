package policy

import (
	"sync/atomic"

	"github.com/mdebot/mdebot/internal/tenant"
)

// Source holds the policy in force. It is safe for concurrent use. Callers that
// make several decisions about one thing take Current once.
type Source struct {
	current atomic.Pointer[Policy]
	// parent is set on views for one tenant.
	parent *Source
	tenant tenant.ID
}

// NewSource starts with p.
func NewSource(p *Policy) *Source {
	s := &Source{}
	s.Set(p)
	return s
}

// Current is the policy in force.
func (s *Source) Current() *Policy {
	if s.parent != nil {
		return s.parent.Current().For(s.tenant)
	}
	return s.current.Load()
}

// Set puts p in force from the next call of Current on.
func (s *Source) Set(p *Policy) { s.root().current.Store(p) }
