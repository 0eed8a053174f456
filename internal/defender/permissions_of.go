package defender

import "slices"

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

// With is p with more roles of Defender and with those of Defender XDR.
func (p Permissions) With(defenderRoles, xdrRoles []string) Permissions {
	out := PermissionsOf(append(slices.Clone(p.Defender), defenderRoles...), p.Graph)
	out.XDR = xdrRoles
	out.tokens[apiXDR] = token{claims: claims{known: true, Roles: xdrRoles}}
	return out
}
