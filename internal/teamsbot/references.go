package teamsbot

import (
	"context"
	"sync"
)

// Reference is how to reach a conversation, as its latest authenticated activity
// told it.
type Reference struct {
	Tenant string
	// Key is the conversation's ID without thread or, for a person's chat with
	// the bot, "@" and the person's object ID.
	Key            string
	ConversationID string
	// ServiceURL is checked against the configured hosts again at every use.
	ServiceURL string
}

// personalPrefix begins the ID of a person's chat with the bot.
const personalPrefix = "a:"

// personalKey is the key of a person's chat with the bot.
func personalKey(object string) string { return "@" + object }

// References keeps references over restarts. A bot that is removed from a place
// leaves its reference behind: sending there is refused by Teams, and a new
// installation brings a new one.
type References interface {
	// Put stores r in place of an earlier one with the same tenant and key.
	Put(ctx context.Context, r Reference) error
	Get(ctx context.Context, tenant, key string) (r Reference, ok bool, err error)
}

// MemoryReferences keeps references for the life of the process. The zero value
// is empty and ready.
type MemoryReferences struct {
	mu  sync.Mutex
	all map[[2]string]Reference
}

// Put implements [References].
func (m *MemoryReferences) Put(_ context.Context, r Reference) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		m.all = map[[2]string]Reference{}
	}
	m.all[[2]string{r.Tenant, r.Key}] = r
	return nil
}

// Get implements [References].
func (m *MemoryReferences) Get(_ context.Context, tenant, key string) (Reference, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.all[[2]string{tenant, key}]
	return r, ok, nil
}
