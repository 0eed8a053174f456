package teamsbot

import (
	"crypto/rand"
	"sync"
	"time"
)

// seen remembers deliveries, so that a repeated one does nothing. It holds what
// one process saw; work that must not happen twice is also guarded in the store.
type seen struct {
	now func() time.Time

	mu    sync.Mutex
	at    map[string]time.Time
	order []string
}

func newSeen(now func() time.Time) *seen {
	return &seen{now: now, at: map[string]time.Time{}}
}

// first reports whether delivery is new, and remembers it.
func (s *seen) first(delivery string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for len(s.order) > 0 && (len(s.order) >= maxSeen || now.Sub(s.at[s.order[0]]) > seenFor) {
		delete(s.at, s.order[0])
		s.order = s.order[1:]
	}
	if _, known := s.at[delivery]; known {
		return false
	}
	s.at[delivery] = now
	s.order = append(s.order, delivery)
	return true
}

// forget takes back a delivery that was not accepted after all.
func (s *seen) forget(delivery string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.at, delivery)
}

// shelf keeps things for a while under unguessable keys, up to a total weight.
// The oldest go first.
type shelf[T any] struct {
	limit int
	keep  time.Duration
	now   func() time.Time

	mu     sync.Mutex
	items  map[string]shelved[T]
	order  []string
	weight int
}

type shelved[T any] struct {
	item   T
	weight int
	until  time.Time
}

func newShelf[T any](limit int, keep time.Duration, now func() time.Time) *shelf[T] {
	return &shelf[T]{limit: limit, keep: keep, now: now, items: map[string]shelved[T]{}}
}

// put returns the key, or ok = false for an item heavier than the whole shelf.
func (s *shelf[T]) put(item T, weight int) (key string, ok bool) {
	if weight > s.limit {
		return "", false
	}
	key = rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for len(s.order) > 0 {
		oldest, present := s.items[s.order[0]]
		if present && s.weight+weight <= s.limit && now.Before(oldest.until) {
			break
		}
		s.remove(s.order[0])
		s.order = s.order[1:]
	}
	s.items[key] = shelved[T]{item: item, weight: weight, until: now.Add(s.keep)}
	s.order = append(s.order, key)
	s.weight += weight
	return key, true
}

func (s *shelf[T]) get(key string) (item T, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.items[key]
	if !ok || !s.now().Before(found.until) {
		return item, false
	}
	return found.item, true
}

func (s *shelf[T]) drop(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(key)
}

// remove needs the lock.
func (s *shelf[T]) remove(key string) {
	s.weight -= s.items[key].weight
	delete(s.items, key)
}

// learned holds the references of this process's activities, so that an answer
// does not wait for the store and an ordinary activity writes nothing.
type learned struct {
	mu  sync.Mutex
	all map[[2]string]Reference
}

// maxLearned bounds the memory; forgetting costs one more read and write.
const maxLearned = 20_000

func (l *learned) get(tenant, key string) (Reference, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.all[[2]string{tenant, key}]
	return r, ok
}

// put reports whether r is news.
func (l *learned) put(r Reference) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := [2]string{r.Tenant, r.Key}
	if l.all[key] == r {
		return false
	}
	if l.all == nil || len(l.all) >= maxLearned {
		l.all = map[[2]string]Reference{}
	}
	l.all[key] = r
	return true
}

// forget makes r news again.
func (l *learned) forget(r Reference) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, [2]string{r.Tenant, r.Key})
}
