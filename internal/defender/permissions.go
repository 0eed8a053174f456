package defender

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// Application permissions the bot can use.
const (
	PermissionAlertRead    = "Alert.Read.All"
	PermissionAlertWrite   = "Alert.ReadWrite.All"
	PermissionMachineRead  = "Machine.Read.All"
	PermissionUserRead     = "User.Read.All"
	PermissionIsolate      = "Machine.Isolate"
	PermissionHuntDefender = "AdvancedQuery.Read.All"
	PermissionHuntGraph    = "ThreatHunting.Read.All" // on Microsoft Graph
	// On Microsoft Graph, for groups and people of the directory. User.Read.All of
	// Defender is another permission.
	PermissionGroupMembers  = "GroupMember.Read.All"
	PermissionDirectoryRead = "User.Read.All"
)

// wider lists permissions that include another one.
var wider = map[string][]string{
	PermissionAlertRead:   {PermissionAlertWrite},
	PermissionMachineRead: {"Machine.ReadWrite.All"},
}

// Permissions is what the tokens of the reading application say it may do.
type Permissions struct {
	// Defender and Graph are the granted roles per API: a role of the same name on
	// another API is another permission.
	Defender, Graph []string
	// GraphError is why Graph gave no token. Everything but hunting on Graph works
	// without one.
	GraphError error
	// Acting are those of the application that starts machine actions, and
	// ActingError is why it gave no token. See [Permissions.ActedBy].
	Acting      []string
	ActingError error

	defenderToken, graphToken token
	actingToken               *token // nil: the reading application acts
}

// actions are the permissions that start something; they are asked of whoever
// acts.
var actions = []string{PermissionIsolate}

// ActedBy is p where actions are started with what acting permits, or could not
// be found out because of err.
func (p Permissions) ActedBy(acting Permissions, err error) Permissions {
	p.Acting, p.ActingError, p.actingToken = acting.Defender, err, &acting.defenderToken
	return p
}

// Has reports whether a permission is granted, on the API it belongs to, by
// itself or through a wider one. It is also true when a token cannot be read:
// then only trying tells.
func (p Permissions) Has(permission string) bool {
	if strings.EqualFold(permission, PermissionHuntGraph) {
		return p.GraphError == nil && p.graphToken.claims.has(permission)
	}
	if p.actingToken != nil && slices.ContainsFunc(actions, func(a string) bool { return strings.EqualFold(a, permission) }) {
		return p.ActingError == nil && p.actingToken.claims.has(permission)
	}
	return p.defenderToken.claims.has(permission)
}

// used are the roles that some part of mdebot asks for, on Defender's API.
var used = []string{
	PermissionAlertRead, PermissionAlertWrite, PermissionMachineRead, PermissionUserRead, PermissionIsolate, PermissionHuntDefender,
}

// usedOnGraph are those on Microsoft Graph.
var usedOnGraph = []string{PermissionHuntGraph, PermissionGroupMembers, PermissionDirectoryRead}

// Excess lists roles that the applications have without need: what nothing here
// asks for, and, once one of its own acts, what only that one should have.
func (p Permissions) Excess() []string {
	in := func(list []string, role string) bool {
		return slices.ContainsFunc(list, func(a string) bool { return strings.EqualFold(a, role) })
	}
	apart := p.actingToken != nil
	var excess []string
	for _, role := range p.Defender {
		if !in(used, role) || apart && in(actions, role) {
			excess = append(excess, role+" on the application that reads")
		}
	}
	for _, role := range p.Graph {
		if !in(usedOnGraph, role) {
			excess = append(excess, role+" of Graph on the application that reads")
		}
	}
	for _, role := range p.Acting {
		if !in(actions, role) {
			excess = append(excess, role+" on the application that acts")
		}
	}
	return excess
}

// ReadsDirectory reports whether people of the directory can be looked up on
// Graph. An unreadable token counts as no: what cannot be relied on is not asked.
func (p Permissions) ReadsDirectory() bool {
	return p.GraphError == nil && p.graphToken.claims.known && p.graphToken.claims.has(PermissionDirectoryRead)
}

// Permissions reads the roles from the tokens of this client. It calls Entra
// only when a token is due.
func (c *Client) Permissions(ctx context.Context) (Permissions, error) {
	t, err := c.tokens[apiDefender].get(ctx)
	if err != nil {
		return Permissions{}, err
	}
	p := Permissions{Defender: t.claims.Roles, defenderToken: t}
	g, err := c.tokens[apiGraph].get(ctx)
	if errors.Is(err, context.Canceled) {
		return Permissions{}, err
	}
	p.Graph, p.graphToken, p.GraphError = g.claims.Roles, g, err
	return p, nil
}

// has reports whether the roles hold a permission or a wider one, without regard
// to case, as Microsoft's own pages do not agree on it.
func (c claims) has(permission string) bool {
	if !c.known {
		return true
	}
	accepted := append([]string{permission}, wider[permission]...)
	return slices.ContainsFunc(c.Roles, func(role string) bool {
		return slices.ContainsFunc(accepted, func(a string) bool { return strings.EqualFold(a, role) })
	})
}
