package defender

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
)

// claims is what an access token says about itself. It is read and not verified:
// the API does that, and the token came from Entra over TLS.
type claims struct {
	known    bool // false for a token that cannot be read, which is not an error
	Audience audience
	Tenant   string
	Expires  integer
	Roles    []string
}

func readClaims(accessToken string) claims {
	parts := strings.Split(accessToken, ".")
	if len(parts) != 3 {
		return claims{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return claims{}
	}
	var w struct {
		Audience audience `json:"aud"`
		Tenant   text     `json:"tid"`
		Expires  integer  `json:"exp"`
		Roles    texts    `json:"roles"`
	}
	if err := json.Unmarshal(payload, &w); err != nil || w.Tenant == "" {
		return claims{}
	}
	return claims{known: true, Audience: w.Audience, Tenant: string(w.Tenant), Expires: w.Expires, Roles: w.Roles}
}

// audience is the aud claim: one or several.
type audience texts

func (a *audience) UnmarshalJSON(b []byte) error { return (*texts)(a).UnmarshalJSON(b) }

// Application IDs of the resources, which Entra may write instead of their
// addresses.
const (
	defenderApp = "fc780465-2017-40d4-a0c5-307022471b92"
	xdrApp      = "8ee8fdad-f234-4243-8f3b-15c294843740"
	graphApp    = "00000003-0000-0000-c000-000000000000"
)

// appIDs are the resources by their addresses; Defender has had several.
var appIDs = map[string]string{
	commercialAudience: defenderApp,
	"https://securitycenter.onmicrosoft.com/windowsatpservice": defenderApp,
	"https://api.securitycenter.windows.com":                   defenderApp,
	commercialXDR:                                              xdrApp,
	commercialGraph:                                            graphApp,
}

// names reports whether the audience is the wanted one, by address or by
// application ID. Government clouds may write either as well, so there only an
// address that differs is another audience.
func (a audience) names(want string) bool {
	want = strings.ToLower(strings.TrimSuffix(want, "/"))
	app := appIDs[want]
	return slices.ContainsFunc(a, func(got string) bool {
		got = strings.ToLower(strings.TrimSuffix(got, "/"))
		switch {
		case got == want:
			return true
		case app == "":
			return isGUID(got)
		}
		return got == app || appIDs[got] == app
	})
}
