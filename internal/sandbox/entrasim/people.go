package entrasim

import (
	"slices"
	"strings"
)

// User is a person in the directory of a tenant.
type User struct {
	Object   string // object ID
	Name     string
	Disabled bool
	Guest    bool
}

// Group is a group of a tenant's directory. Members are object IDs of users,
// groups and whatever else.
type Group struct {
	Object  string
	Name    string
	Members []string
}

// AddUser adds a person to a tenant, or replaces one.
func (s *Server) AddUser(tenant string, u User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.directory(tenant)
	d.users[u.Object] = u
}

// RemoveUser deletes a person for good.
func (s *Server) RemoveUser(tenant, object string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.directory(tenant).users, object)
}

// AddGroup adds a group to a tenant, or replaces one.
func (s *Server) AddGroup(tenant string, g Group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.Members = slices.Clone(g.Members)
	s.directory(tenant).groups[g.Object] = g
}

// User returns a person of a tenant's directory.
func (s *Server) User(tenant, object string) (User, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.directory(tenant).users[object]
	return u, ok
}

// Users lists the people of a tenant by their object ID.
func (s *Server) Users(tenant string) []User {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []User
	for _, u := range s.directory(tenant).users {
		all = append(all, u)
	}
	slices.SortFunc(all, func(a, b User) int { return strings.Compare(a.Object, b.Object) })
	return all
}

// TransitiveMembers lists who is in a group, also through groups in it: the users
// and the groups. ok is false for a group that does not exist.
func (s *Server) TransitiveMembers(tenant, group string) (users []User, groups []Group, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.directory(tenant)
	top, ok := d.groups[group]
	if !ok {
		return nil, nil, false
	}
	seen := map[string]bool{group: true}
	var walk func(Group)
	walk = func(g Group) {
		for _, object := range g.Members {
			if seen[object] {
				continue
			}
			seen[object] = true
			if u, ok := d.users[object]; ok {
				users = append(users, u)
			}
			if inner, ok := d.groups[object]; ok {
				groups = append(groups, inner)
				walk(inner)
			}
		}
	}
	walk(top)
	return users, groups, true
}

// directory is the people of one tenant.
type directory struct {
	users  map[string]User
	groups map[string]Group
}

// directory returns the people of a tenant. The caller holds the lock.
func (s *Server) directory(tenant string) *directory {
	if s.directories[tenant] == nil {
		s.directories[tenant] = &directory{users: map[string]User{}, groups: map[string]Group{}}
	}
	return s.directories[tenant]
}
