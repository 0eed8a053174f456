// Package directory tells who is in the groups of the directory and who is still
// active in it, from Microsoft Graph.
//
// It keeps answers for a little less than five minutes, and nothing else: what
// could not be read is an error and counts as no (threat-model I-09, I-10).
package directory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
)

// keep is how long an answer is used. With the time it took to ask it stays under
// the five minutes that roles may be old.
const keep = 4 * time.Minute

// askFor bounds one question.
const askFor = 15 * time.Second

// Graph is what is asked. Its answers must not come from a cache.
type Graph interface {
	DirectoryUser(ctx context.Context, object string) (defender.DirectoryUser, error)
	GroupMembers(ctx context.Context, group string) ([]defender.DirectoryUser, error)
	Permissions(ctx context.Context) (defender.Permissions, error)
}

// Directory is one Entra tenant. It is safe for concurrent use.
type Directory struct {
	graph  Graph
	tenant string
	now    func() time.Time
	flight singleflight.Group

	mu     sync.Mutex
	people map[string]kept[identity.Standing]
	groups map[string]kept[map[string]bool]
}

type kept[T any] struct {
	value T
	at    time.Time
}

// New returns the directory of an Entra tenant, given in lower case.
func New(graph Graph, tenant string, now func() time.Time) *Directory {
	return &Directory{
		graph: graph, tenant: tenant, now: now,
		people: map[string]kept[identity.Standing]{}, groups: map[string]kept[map[string]bool]{},
	}
}

var _ policy.GroupSource = (*Directory)(nil)

// Member implements [policy.GroupSource]. Disabled accounts and guests are in no
// group.
func (d *Directory) Member(ctx context.Context, group policy.DirectoryGroup, p identity.PersonID) (bool, error) {
	if group.Tenant != d.tenant || p.Tenant != d.tenant {
		return false, fmt.Errorf("mdebot reads the directory of tenant %s alone", d.tenant)
	}
	members, err := ask(ctx, d, d.groups, "group "+group.Object, group.Object, d.members)
	return members[p.Object], err
}

func (d *Directory) members(ctx context.Context, group string) (map[string]bool, error) {
	people, err := d.graph.GroupMembers(ctx, group)
	if err != nil {
		return nil, err
	}
	members := make(map[string]bool, len(people))
	for _, u := range people {
		if u.Enabled && u.Member {
			members[u.ID] = true
		}
	}
	return members, nil
}

// Standing tells whether a person is active in the directory. Where mdebot has no
// permission to read people, or the person lives in another directory, everybody
// is a Member: the chat platforms' answer has to do then.
func (d *Directory) Standing(ctx context.Context, p identity.PersonID) (identity.Standing, error) {
	if p.Tenant != d.tenant {
		return identity.Member, nil
	}
	return ask(ctx, d, d.people, "person "+p.Object, p.Object, d.standing)
}

func (d *Directory) standing(ctx context.Context, object string) (identity.Standing, error) {
	granted, err := d.graph.Permissions(ctx)
	switch {
	case err != nil:
		return identity.Unknown, err
	case granted.GraphError != nil && !errors.Is(granted.GraphError, defender.ErrUnauthorized):
		return identity.Unknown, granted.GraphError
	case !granted.ReadsDirectory():
		return identity.Member, nil
	}
	u, err := d.graph.DirectoryUser(ctx, object)
	switch {
	case errors.Is(err, defender.ErrNotFound):
		return identity.Inactive, nil
	case err != nil:
		return identity.Unknown, err
	case !u.Enabled:
		return identity.Inactive, nil
	case !u.Member:
		return identity.Guest, nil
	}
	return identity.Member, nil
}

// ask answers from memory or asks once for all who wait. A failure is not
// remembered, and no old answer stands in for it.
func ask[T any](ctx context.Context, d *Directory, memory map[string]kept[T], what, key string, fetch func(context.Context, string) (T, error)) (T, error) {
	d.mu.Lock()
	known, ok := memory[key]
	d.mu.Unlock()
	began := d.now()
	if ok && began.Sub(known.at) < keep {
		return known.value, nil
	}
	result := d.flight.DoChan(what, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askFor)
		defer cancel()
		value, err := fetch(ctx, key)
		if err != nil {
			return nil, err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		memory[key] = kept[T]{value, began}
		return value, nil
	})
	var none T
	select {
	case r := <-result:
		if r.Err != nil {
			return none, r.Err
		}
		return r.Val.(T), nil
	case <-ctx.Done():
		return none, ctx.Err()
	}
}
