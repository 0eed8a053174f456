package defender

import (
	"context"
	"slices"
	"strings"
	"sync"
)

// Application permissions the bot can use.
const (
	PermissionAlertRead         = "Alert.Read.All"
	PermissionAlertWrite        = "Alert.ReadWrite.All"
	PermissionMachineRead       = "Machine.Read.All"
	PermissionMachineWrite      = "Machine.ReadWrite.All" // tags, and machines by user; never isolation
	PermissionUserRead          = "User.Read.All"
	PermissionIsolate           = "Machine.Isolate"
	PermissionRestrict          = "Machine.RestrictExecution"
	PermissionScan              = "Machine.Scan"
	PermissionQuarantine        = "Machine.StopAndQuarantine"
	PermissionPackage           = "Machine.CollectForensics"
	PermissionIndicators        = "Ti.ReadWrite.All"
	PermissionFileRead          = "File.Read.All"
	PermissionIPRead            = "Ip.Read.All"
	PermissionURLRead           = "Url.Read.All" // and domains
	PermissionScoreRead         = "Score.Read.All"
	PermissionSoftwareRead      = "Software.Read.All"
	PermissionVulnerabilityRead = "Vulnerability.Read.All"
	PermissionHuntDefender      = "AdvancedQuery.Read.All"
	// On Microsoft Threat Protection, which is Defender XDR.
	PermissionIncidentRead  = "Incident.Read.All"
	PermissionIncidentWrite = "Incident.ReadWrite.All"
	// On Microsoft Graph.
	PermissionHuntGraph       = "ThreatHunting.Read.All"
	PermissionApplicationRead = "Application.Read.All"
	PermissionDeviceRead      = "Device.Read.All"
	// On Microsoft Graph, for groups and people of the directory. User.Read.All of
	// Defender is another permission.
	PermissionGroupMembers  = "GroupMember.Read.All"
	PermissionDirectoryRead = "User.Read.All"
)

// wider lists permissions that include another one.
var wider = map[string][]string{
	PermissionAlertRead:    {PermissionAlertWrite},
	PermissionMachineRead:  {PermissionMachineWrite},
	PermissionIncidentRead: {PermissionIncidentWrite},
}

// elsewhere are the permissions that are not Defender for Endpoint's own.
var elsewhere = map[string]api{
	strings.ToLower(PermissionIncidentRead):    apiXDR,
	strings.ToLower(PermissionIncidentWrite):   apiXDR,
	strings.ToLower(PermissionHuntGraph):       apiGraph,
	strings.ToLower(PermissionApplicationRead): apiGraph,
	strings.ToLower(PermissionDeviceRead):      apiGraph,
	strings.ToLower(PermissionGroupMembers):    apiGraph,
}

// ResourceOf is the application on which a permission is granted, by the name
// that Entra shows.
func ResourceOf(permission string) string {
	return resourceNames[elsewhere[strings.ToLower(permission)]]
}

var resourceNames = map[api]string{
	apiDefender: "WindowsDefenderATP",
	apiXDR:      "Microsoft Threat Protection",
	apiGraph:    "Microsoft Graph",
}

// GrantedBy is who can grant a permission, by the roles of Entra.
func GrantedBy(permission string) string {
	if elsewhere[strings.ToLower(permission)] == apiGraph {
		return "A Privileged Role Administrator"
	}
	return "A Privileged Role or Cloud Application Administrator"
}

// Permissions is what the tokens of the reading application say it may do.
type Permissions struct {
	// Defender, XDR and Graph are the granted roles per API: a role of the same
	// name on another API is another permission.
	Defender, XDR, Graph []string
	// XDRError and GraphError are why those gave no token. Everything but incidents
	// works without the one, everything but hunting on Graph without the other.
	XDRError, GraphError error
	// Acting are those of the application that starts machine actions, and
	// ActingError is why it gave no token. See [Permissions.ActedBy].
	Acting      []string
	ActingError error

	tokens map[api]token
	// renew has a token replaced when it lacks something that may have been granted
	// since; nil asks nobody.
	renew       func(api, token)
	actingToken *token // nil: the reading application acts
	renewActing func(token)
}

// actions are the permissions that start something; they are asked of whoever
// acts.
var actions = []string{PermissionIsolate, PermissionRestrict, PermissionScan, PermissionQuarantine, PermissionPackage, PermissionIndicators}

// ActedBy is p where actions are started with what acting permits, or could not
// be found out because of err.
func (p Permissions) ActedBy(acting Permissions, err error) Permissions {
	t := acting.tokens[apiDefender]
	p.Acting, p.ActingError, p.actingToken = acting.Defender, err, &t
	p.renewActing = func(t token) {
		if acting.renew != nil {
			acting.renew(apiDefender, t)
		}
	}
	return p
}

// Has reports whether a permission is granted, on the API it belongs to, by
// itself or through a wider one. It is also true when a token cannot be read:
// then only trying tells. A no makes the next look ask for a new token, when the
// one at hand is not quite new.
func (p Permissions) Has(permission string) bool {
	if p.actingToken != nil && slices.ContainsFunc(actions, func(a string) bool { return strings.EqualFold(a, permission) }) {
		has := p.ActingError == nil && p.actingToken.claims.has(permission)
		if !has && p.renewActing != nil {
			p.renewActing(*p.actingToken)
		}
		return has
	}
	from := elsewhere[strings.ToLower(permission)]
	if (from == apiGraph && p.GraphError != nil) || (from == apiXDR && p.XDRError != nil) {
		return false
	}
	t := p.tokens[from]
	has := t.claims.has(permission)
	if !has && p.renew != nil {
		p.renew(from, t)
	}
	return has
}

// Consented reports whether anything at all is granted on the API that a
// permission belongs to. Without it nobody has consented yet, or the token is
// older than the consent.
func (p Permissions) Consented(permission string) bool {
	t := p.tokens[elsewhere[strings.ToLower(permission)]]
	return !t.claims.known || len(t.claims.Roles) > 0
}

// used are the roles beside those of actions that some part of mdebot asks for, on
// Defender's API.
var used = []string{
	PermissionAlertRead, PermissionAlertWrite, PermissionMachineRead, PermissionMachineWrite, PermissionUserRead, PermissionHuntDefender,
	PermissionFileRead, PermissionIPRead, PermissionURLRead, PermissionScoreRead, PermissionSoftwareRead, PermissionVulnerabilityRead,
}

// usedOnGraph are those on Microsoft Graph.
var usedOnGraph = []string{PermissionHuntGraph, PermissionGroupMembers, PermissionDirectoryRead, PermissionApplicationRead, PermissionDeviceRead}

// Excess lists roles that the applications have without need: what nothing here
// asks for, and, once one of its own acts, what only that one should have.
func (p Permissions) Excess() []string {
	in := func(list []string, role string) bool {
		return slices.ContainsFunc(list, func(a string) bool { return strings.EqualFold(a, role) })
	}
	apart := p.actingToken != nil
	var excess []string
	for _, role := range p.Defender {
		if !in(used, role) && (apart || !in(actions, role)) {
			excess = append(excess, role+" on the application that reads")
		}
	}
	for _, role := range p.Graph {
		if !in(usedOnGraph, role) {
			excess = append(excess, role+" of Graph on the application that reads")
		}
	}
	for _, role := range p.Acting {
		// The tags that a rule reads are changed by the application that acts.
		if !in(actions, role) && !strings.EqualFold(role, PermissionMachineWrite) {
			excess = append(excess, role+" on the application that acts")
		}
	}
	return excess
}

// ReadsDirectory reports whether people of the directory can be looked up on
// Graph. An unreadable token counts as no: what cannot be relied on is not asked.
func (p Permissions) ReadsDirectory() bool {
	c := p.tokens[apiGraph].claims
	return p.GraphError == nil && c.known && c.has(PermissionDirectoryRead)
}

// Permissions reads the roles from the tokens of this client. It calls Entra
// only when a token is due.
func (c *Client) Permissions(ctx context.Context) (Permissions, error) {
	all := map[api]token{}
	failed := map[api]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for a, source := range c.tokens {
		wg.Go(func() {
			t, err := source.get(ctx)
			mu.Lock()
			defer mu.Unlock()
			all[a], failed[a] = t, err
		})
	}
	wg.Wait()
	if err := failed[apiDefender]; err != nil {
		return Permissions{}, err
	}
	if err := ctx.Err(); err != nil {
		return Permissions{}, err
	}
	return Permissions{
		Defender: all[apiDefender].claims.Roles, XDR: all[apiXDR].claims.Roles, Graph: all[apiGraph].claims.Roles,
		XDRError: failed[apiXDR], GraphError: failed[apiGraph],
		tokens: all, renew: func(a api, t token) { c.tokens[a].age(t) },
	}, nil
}

// has reports whether the roles hold a permission or a wider one, without regard
// to case, as Microsoft's own pages do not agree on it.
func (c claims) has(permission string) bool {
	if !c.known {
		return true
	}
	accepted := []string{permission}
	for narrow, w := range wider {
		if strings.EqualFold(narrow, permission) {
			accepted = append(accepted, w...)
		}
	}
	return slices.ContainsFunc(c.Roles, func(role string) bool {
		return slices.ContainsFunc(accepted, func(a string) bool { return strings.EqualFold(a, role) })
	})
}
