package entrasim

import (
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// API is what an application exposes to others, for people who are signed in there.
type API struct {
	URI    string // the application ID URI
	Scopes []string
	// Clients may have the scopes without asking the person.
	Clients []string
	// TokenVersion is requestedAccessTokenVersion of its manifest; zero, which stands
	// for null, means 1.
	TokenVersion int
}

// PersonAsk is what a program of Microsoft asks for, in which a person is signed in.
type PersonAsk struct {
	Authority string // address of this server
	Tenant    string
	Client    string // the program
	Resource  string // application ID URI
	Scope     string
	User      string // object ID
}

// RefusedError is a refusal of Entra.
type RefusedError struct {
	AADSTS  int
	Message string
}

func (e *RefusedError) Error() string { return fmt.Sprintf("AADSTS%d: %s", e.AADSTS, e.Message) }

// PersonToken is an access token for a person. The error is a [RefusedError].
func (s *Server) PersonToken(a PersonAsk) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var app *App
	for _, one := range s.tenants[a.Tenant] {
		if one.API != nil && one.API.URI == a.Resource {
			app = one
		}
	}
	user, known := s.directory(a.Tenant).users[a.User]
	switch {
	case !known:
		return "", &RefusedError{50034, "The user account does not exist in the directory. To sign into this application, the account must be added to the directory."}
	case user.Disabled:
		return "", &RefusedError{50057, "The user account is disabled."}
	case app == nil:
		return "", &RefusedError{500011, fmt.Sprintf("The resource principal named %s was not found in the tenant named %s.", a.Resource, a.Tenant)}
	case app.Disabled:
		return "", &RefusedError{500014, fmt.Sprintf("The service principal for resource '%s' is disabled.", a.Resource)}
	case !slices.Contains(app.API.Scopes, a.Scope):
		return "", &RefusedError{650053, fmt.Sprintf("The application asked for scope '%s' that doesn't exist on the resource '%s'.", a.Scope, app.ID)}
	case !slices.Contains(app.API.Clients, a.Client):
		return "", &RefusedError{65001, fmt.Sprintf("The user or administrator has not consented to use the application with ID '%s'. Send an interactive authorization request for this user and resource.", a.Client)}
	}
	now := s.now()
	claims := jwt.MapClaims{
		"oid": user.Object, "sub": user.Object + "-" + app.ID, "tid": a.Tenant, "scp": a.Scope, "name": user.Name, "uti": uuid.NewString(),
		"iat": now.Add(-5 * time.Minute).Unix(), "nbf": now.Add(-5 * time.Minute).Unix(), "exp": now.Add(s.life).Unix(),
	}
	if app.API.TokenVersion == 2 {
		claims["ver"], claims["iss"], claims["aud"], claims["azp"] = "2.0", a.Authority+"/"+a.Tenant+"/v2.0", app.ID, a.Client
	} else {
		claims["ver"], claims["iss"], claims["aud"], claims["appid"] = "1.0", "https://sts.windows.net/"+a.Tenant+"/", a.Resource, a.Client
	}
	if user.Guest {
		claims["idp"] = otherDirectory
	}
	return s.Sign(jwt.SigningMethodRS256, claims)
}

// otherDirectory is where guests are at home.
const otherDirectory = "https://sts.windows.net/9188040d-6c67-4c5b-b112-36a304b66dad/"

// Sign signs claims as only Entra can, which does so by RS256: for tests of what a reader
// must look at besides the signature.
func (s *Server) Sign(method jwt.SigningMethod, claims map[string]any) (string, error) {
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	token.Header["kid"] = keyID
	return token.SignedString(signingKey())
}
