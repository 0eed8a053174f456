package defender

// PermissionsOf is what tokens with these roles permit. It is for callers that
// have roles from elsewhere, such as tests of what is offered to people.
func PermissionsOf(defenderRoles, graphRoles []string) Permissions {
	return Permissions{
		Defender: defenderRoles, Graph: graphRoles,
		defenderToken: token{claims: claims{known: true, Roles: defenderRoles}},
		graphToken:    token{claims: claims{known: true, Roles: graphRoles}},
	}
}
