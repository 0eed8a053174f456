package defender

import (
	"context"
	"fmt"
	"net/url"
	"strings"
)

// DirectoryUser is a person as the directory knows them now.
type DirectoryUser struct {
	ID      string // object ID
	Enabled bool
	Member  bool // of this directory, not a guest
}

type wireDirectoryUser struct {
	Type    text  `json:"@odata.type"`
	ID      text  `json:"id"`
	Enabled *bool `json:"accountEnabled"`
	// Kind is Member or Guest.
	Kind text `json:"userType"`
}

// Graph answers null for what the application may not read, so only what is said
// counts: an account that is not said to be enabled is not.
func (w wireDirectoryUser) user() (string, DirectoryUser) {
	return string(w.ID), DirectoryUser{
		ID:      strings.ToLower(string(w.ID)),
		Enabled: w.Enabled != nil && *w.Enabled,
		Member:  strings.EqualFold(string(w.Kind), "Member"),
	}
}

const directoryUserFields = "id,accountEnabled,userType"

// DirectoryUser looks a person up in the directory of the tenant, on Microsoft
// Graph. Somebody who was deleted is [ErrNotFound].
func (c *Client) DirectoryUser(ctx context.Context, object string) (DirectoryUser, error) {
	const op = "look up a person in the directory"
	if !isGUID(object) {
		return DirectoryUser{}, fmt.Errorf("%s: %w: an object ID is a GUID", op, ErrInvalid)
	}
	return get(ctx, c, call{
		op: op, api: apiGraph, family: familyDirectory, id: object,
		path: "/v1.0/users/" + object, query: url.Values{"$select": {directoryUserFields}},
	}, wireDirectoryUser.user)
}

// GroupMembers lists the people in a group of the directory, also through nested
// groups. A group that was deleted has none.
func (c *Client) GroupMembers(ctx context.Context, group string) ([]DirectoryUser, error) {
	const op = "list the members of a directory group"
	if !isGUID(group) {
		return nil, fmt.Errorf("%s: %w: an object ID is a GUID", op, ErrInvalid)
	}
	all, err := collect(list(ctx, c, listCall{
		op: op, api: apiGraph, family: familyDirectory, plain: true,
		path:    "/v1.0/groups/" + group + "/transitiveMembers",
		options: url.Values{"$select": {directoryUserFields}, "$top": {"999"}},
	}, func(w wireDirectoryUser) (string, groupMember) {
		id, u := w.user()
		return id, groupMember{u, w.Type == "#microsoft.graph.user"}
	}))
	if err != nil {
		return nil, err
	}
	var people []DirectoryUser
	for _, m := range all {
		if m.person {
			people = append(people, m.DirectoryUser)
		}
	}
	return people, nil
}

// groupMember may also be a group, a device or an application, which stand for
// nobody (threat-model I-05).
type groupMember struct {
	DirectoryUser
	person bool
}
