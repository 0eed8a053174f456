package defender

// PermissionsOf is what tokens with these roles permit. It is for callers that
// have roles from elsewhere, such as tests of what is offered to people.
func PermissionsOf(defenderRoles, graphRoles []string) Permissions {
	return Permissions{
		Defender: defenderRoles, Graph: graphRoles,
		tokens: map[api]token{
			apiDefender: {claims: claims{known: true, Roles: defenderRoles}},
			apiXDR:      {claims: claims{known: true}},
			apiGraph:    {claims: claims{known: true, Roles: graphRoles}},
		},
	}
}
