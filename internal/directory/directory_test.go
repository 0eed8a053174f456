package directory

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	home  = "6f0d2c51-7a3e-4b7c-9d14-0c5a3be1f001"
	group = "5c2e0000-0000-4000-8000-000000000001"
	avery = "8a1f0000-0000-4000-8000-000000000002"
	gone  = "8a1f0000-0000-4000-8000-000000000003"
	guest = "8a1f0000-0000-4000-8000-000000000004"
)

// graph is a directory that holds state.
type graph struct {
	members []defender.DirectoryUser
	people  map[string]defender.DirectoryUser
	granted []string
	down    error
	asked   int
}

func (g *graph) GroupMembers(context.Context, string) ([]defender.DirectoryUser, error) {
	g.asked++
	return g.members, g.down
}

func (g *graph) DirectoryUser(_ context.Context, object string) (defender.DirectoryUser, error) {
	g.asked++
	u, ok := g.people[object]
	if !ok && g.down == nil {
		return u, defender.ErrNotFound
	}
	return u, g.down
}

func (g *graph) Permissions(context.Context) (defender.Permissions, error) {
	return defender.PermissionsOf(nil, g.granted), nil
}

func person(object string) identity.PersonID { return identity.PersonID{Tenant: home, Object: object} }

var soc = policy.DirectoryGroup{Tenant: home, Object: group}

func TestMember(t *testing.T) {
	t.Parallel()
	g := &graph{members: []defender.DirectoryUser{
		{ID: avery, Enabled: true, Member: true}, {ID: gone, Member: true}, {ID: guest, Enabled: true},
	}}
	d := New(g, home, time.Now)
	for _, c := range []struct {
		name   string
		person identity.PersonID
		want   bool
	}{
		{"an active member", person(avery), true},
		{"a disabled account", person(gone), false},
		{"a guest of the directory", person(guest), false},
		{"somebody else", person("8a1f0000-0000-4000-8000-000000000009"), false},
	} {
		if got, err := d.Member(t.Context(), soc, c.person); err != nil || got != c.want {
			t.Errorf("Member(%s) = %v, %v, want %v", c.name, got, err, c.want)
		}
	}
	if g.asked != 1 {
		t.Errorf("Graph was asked %d times for one group, want once", g.asked)
	}
	for name, c := range map[string]struct {
		group  policy.DirectoryGroup
		person identity.PersonID
	}{
		"group of another tenant":  {policy.DirectoryGroup{Tenant: "other", Object: group}, person(avery)},
		"person of another tenant": {soc, identity.PersonID{Tenant: "other", Object: avery}},
	} {
		if got, err := d.Member(t.Context(), c.group, c.person); err == nil || got {
			t.Errorf("Member(%s) = %v, %v, want no and an error", name, got, err)
		}
	}
}

func TestMember_isReadAgainAndNeverGuessed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	g := &graph{members: []defender.DirectoryUser{{ID: avery, Enabled: true, Member: true}}}
	d := New(g, home, func() time.Time { return now })
	if in, err := d.Member(t.Context(), soc, person(avery)); !in || err != nil {
		t.Fatalf("Member() = %v, %v", in, err)
	}
	g.members = nil
	now = now.Add(keep - time.Second)
	if in, _ := d.Member(t.Context(), soc, person(avery)); !in {
		t.Error("Member() asked again before the answer was old")
	}
	now = now.Add(time.Second)
	if in, err := d.Member(t.Context(), soc, person(avery)); in || err != nil {
		t.Errorf("Member() = %v, %v after %s, want the removal noticed", in, err, keep)
	}

	g.members, g.down = []defender.DirectoryUser{{ID: avery, Enabled: true, Member: true}}, defender.ErrUnavailable
	now = now.Add(keep)
	if in, err := d.Member(t.Context(), soc, person(avery)); in || !errors.Is(err, defender.ErrUnavailable) {
		t.Errorf("Member() = %v, %v while Graph is down, want no and the error", in, err)
	}
	g.down = nil
	if in, err := d.Member(t.Context(), soc, person(avery)); !in || err != nil {
		t.Errorf("Member() = %v, %v as soon as Graph is back, want the answer", in, err)
	}
}

func TestStanding(t *testing.T) {
	t.Parallel()
	g := &graph{granted: []string{"User.Read.All"}, people: map[string]defender.DirectoryUser{
		avery: {ID: avery, Enabled: true, Member: true}, gone: {ID: gone, Member: true}, guest: {ID: guest, Enabled: true},
	}}
	d := New(g, home, time.Now)
	for _, c := range []struct {
		name, object string
		want         identity.Standing
	}{
		{"active", avery, identity.Member},
		{"disabled", gone, identity.Inactive},
		{"guest", guest, identity.Guest},
		{"deleted", "8a1f0000-0000-4000-8000-000000000009", identity.Inactive},
	} {
		if got, err := d.Standing(t.Context(), person(c.object)); err != nil || got != c.want {
			t.Errorf("Standing(%s) = %s, %v, want %s", c.name, got, err, c.want)
		}
	}
}

func TestStanding_withoutPermissionOrAnswer(t *testing.T) {
	t.Parallel()
	g := &graph{down: defender.ErrUnavailable}
	d := New(g, home, time.Now)
	if got, err := d.Standing(t.Context(), person(avery)); got != identity.Member || err != nil || g.asked != 0 {
		t.Errorf("Standing() = %s, %v without the permission, want the chat platform to decide", got, err)
	}
	g.granted = []string{"User.Read.All"}
	d = New(g, home, time.Now)
	if got, err := d.Standing(t.Context(), person(avery)); got == identity.Member || err == nil {
		t.Errorf("Standing() = %s, %v while Graph is down, want an error", got, err)
	}
}
