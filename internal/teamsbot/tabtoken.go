package teamsbot

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/mdebot/mdebot/internal/identity"
)

// TabScope is the permission that the bot's app registration exposes, and that Teams
// asks for when a tab wants to know who looks at it.
const TabScope = "access_as_user"

// TabClients are the applications that ask: Teams on the desktop and on phones, and
// Teams in a browser. The tab is offered in no other program
// (learn.microsoft.com/microsoftteams/platform/tabs/how-to/authentication/tab-sso-register-aad).
func TabClients() []string {
	return []string{"1fec8e78-bce4-4aaf-ab1b-5451cc387264", "5e3ce6c0-2b1f-4285-8d4b-75ee78787346"}
}

// TabResource is the application ID URI of an app with a bot, whose tab is on a host.
func TabResource(host, appID string) string {
	return "api://" + strings.ToLower(host) + "/botid-" + appID
}

// tabVerifier checks the tokens with which the tab says who looks at it: Entra gives
// them to Teams, for the bot's own application. The bot's key set does the same work
// here as for Bot Connector, so strangers with made-up key IDs cost Entra nothing.
type tabVerifier struct {
	appID     string
	authority string             // without a slash at the end
	keys      map[string]*keySet // by accepted tenant
	now       func() time.Time
}

func newTabVerifier(cfg Config, hc *http.Client, now func() time.Time) *tabVerifier {
	v := &tabVerifier{appID: strings.ToLower(cfg.AppID), authority: strings.TrimRight(cfg.AuthorityURL, "/"), keys: map[string]*keySet{}, now: now}
	for _, t := range cfg.TenantIDs {
		t = strings.ToLower(t)
		v.keys[t] = &keySet{metadataURL: v.authority + "/" + url.PathEscape(t) + "/v2.0/.well-known/openid-configuration", http: hc, now: now}
	}
	return v
}

// tabClaims is what Entra says in an access token of version 2.0
// (learn.microsoft.com/entra/identity-platform/access-token-claims-reference).
type tabClaims struct {
	jwt.RegisteredClaims
	Version string `json:"ver"`
	Tenant  string `json:"tid"`
	Object  string `json:"oid"`
	Client  string `json:"azp"`
	Scopes  string `json:"scp"`
	Kind    string `json:"idtyp"`
	Name    string `json:"name"`
	// HomeIDP is set for people who live in another directory, and Guest is 1 for guests.
	HomeIDP string `json:"idp"`
	Guest   int    `json:"acct"`
}

// errTabGuest reports somebody whom the directory knows as a guest.
var errTabGuest = &refusal{http.StatusForbidden, "tab: a guest of the directory"}

// person is who a request of the tab is from: the same account that Teams names when
// they write to the bot.
func (v *tabVerifier) person(h http.Header) (identity.Principal, error) {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return identity.Principal{}, unauthorized("tab: not exactly one Authorization header")
	}
	token, err := bearer(values[0])
	if err != nil {
		return identity.Principal{}, err
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodRS256.Alg()}),
		jwt.WithExpirationRequired(),
		jwt.WithLeeway(tokenLeeway),
		jwt.WithTimeFunc(v.now),
		jwt.WithStrictDecoding(),
	)
	var c tabClaims
	parsed, err := parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		// The tenant is not believed yet: it only says by whose keys the token has to be
		// signed.
		keys := v.keys[strings.ToLower(c.Tenant)]
		if keys == nil {
			return nil, errors.New("not a tenant of the bot")
		}
		key, err := keys.of(t)
		if err != nil {
			return nil, err
		}
		return key.public, nil
	})
	if err != nil || !parsed.Valid {
		return identity.Principal{}, unauthorized("tab: " + tokenFault(err))
	}
	if err := v.check(c); err != nil {
		return identity.Principal{}, err
	}
	return identity.Principal{Platform: identity.Teams, Workspace: strings.ToLower(c.Tenant), Account: strings.ToLower(c.Object), Name: c.Name}, nil
}

// check looks at what a token says whose signature and time are good.
func (v *tabVerifier) check(c tabClaims) error {
	tenant := strings.ToLower(c.Tenant)
	switch {
	case c.Version != "2.0":
		return unauthorized("tab: token of version 1.0; set requestedAccessTokenVersion to 2 in the manifest of the bot's app registration")
	case c.Issuer != v.authority+"/"+tenant+"/v2.0":
		return unauthorized("tab: token is from another issuer")
	case len(c.Audience) != 1 || !strings.EqualFold(c.Audience[0], v.appID):
		return unauthorized("tab: token is for another audience")
	case !slices.Contains(TabClients(), c.Client):
		return unauthorized("tab: token was issued to another program than Teams")
	case !slices.Contains(strings.Fields(c.Scopes), TabScope):
		return unauthorized("tab: token lacks the scope " + TabScope)
	case c.Kind != "" && c.Kind != "user":
		return unauthorized("tab: token is of no person")
	case !isGUID(c.Object):
		return unauthorized("tab: token names no person")
	case c.Guest == 1, c.HomeIDP != "" && c.HomeIDP != c.Issuer && c.HomeIDP != "https://sts.windows.net/"+tenant+"/":
		return errTabGuest
	}
	return nil
}
