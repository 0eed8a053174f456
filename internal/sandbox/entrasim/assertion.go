package entrasim

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// assertionLeeway is how far the clock of an application may be off.
const assertionLeeway = 5 * time.Minute

// checkAssertion verifies what an application signed with its certificate, or
// what a workload's platform signed for it. The caller holds the lock.
func (s *Server) checkAssertion(r *http.Request, app *App, assertion string) *refusal {
	head, _, err := jwt.NewParser().ParseUnverified(assertion, &jwt.RegisteredClaims{})
	if err != nil {
		return invalidClient(50027, "JWT token is invalid or malformed.")
	}
	_, sha1Print := head.Header["x5t"].(string)
	_, sha256Print := head.Header["x5t#S256"].(string)
	if sha1Print || sha256Print {
		return s.checkCertificate(r, app, assertion, head)
	}
	return s.checkFederated(app, assertion)
}

func (s *Server) checkCertificate(r *http.Request, app *App, assertion string, head *jwt.Token) *refusal {
	certificate := registered(app, head)
	if certificate == nil {
		return invalidClient(700027, "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found.]")
	}
	if now := s.now(); now.After(certificate.NotAfter) || now.Before(certificate.NotBefore) {
		return invalidClient(700027, "Client assertion failed signature validation. [Reason - The key used is expired.]")
	}
	var claims jwt.RegisteredClaims
	_, err := jwt.NewParser(jwt.WithoutClaimsValidation(), jwt.WithValidMethods([]string{"PS256", "RS256"})).ParseWithClaims(
		assertion, &claims, func(*jwt.Token) (any, error) { return certificate.PublicKey, nil })
	if err != nil {
		return invalidClient(700027, "Client assertion failed signature validation. [Reason - The key used to sign is not the one registered.]")
	}
	switch {
	case len(claims.Audience) != 1 || claims.Audience[0] != here(r)+r.URL.Path:
		return invalidClient(700023, "Client assertion audience claim does not match Realm issuer. Review the documentation at https://learn.microsoft.com/entra/identity-platform/certificate-credentials.")
	case claims.Issuer != app.ID || claims.Subject != app.ID:
		return invalidClient(700021, "Client assertion application identifier doesn't match 'client_id' parameter.")
	case claims.ID == "":
		return invalidClient(50027, "JWT token is invalid or malformed: jti is missing.")
	}
	return s.inTime(claims)
}

// registered finds the certificate that an assertion names by its thumbprint. The
// old thumbprint goes with the old algorithm only.
func registered(app *App, head *jwt.Token) *x509.Certificate {
	print256, _ := head.Header["x5t#S256"].(string)
	print1, _ := head.Header["x5t"].(string)
	for _, c := range app.Certificates {
		sum256, sum1 := sha256.Sum256(c.Raw), sha1.Sum(c.Raw)
		if samePrint(print256, sum256[:]) || (head.Method.Alg() == "RS256" && samePrint(print1, sum1[:])) {
			return c
		}
	}
	return nil
}

// samePrint takes both alphabets of base64: Entra does too.
func samePrint(encoded string, sum []byte) bool {
	plain := strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(encoded)
	return plain != "" && plain == base64.RawURLEncoding.EncodeToString(sum)
}

func (s *Server) checkFederated(app *App, assertion string) *refusal {
	var claims jwt.RegisteredClaims
	_, err := jwt.NewParser(jwt.WithoutClaimsValidation(), jwt.WithValidMethods([]string{"RS256"})).ParseWithClaims(
		assertion, &claims, func(*jwt.Token) (any, error) { return signingKey().Public(), nil })
	if err != nil {
		return invalidClient(700026, "The client assertion's signature could not be verified with the keys of its issuer.")
	}
	byIssuer := slices.DeleteFunc(slices.Clone(app.Federated), func(f Federated) bool { return f.Issuer != claims.Issuer })
	switch {
	case len(byIssuer) == 0:
		return invalidClient(700211, fmt.Sprintf("No matching federated identity record found for presented assertion issuer '%s'.", claims.Issuer))
	case !slices.Contains(claims.Audience, ExchangeAudience):
		return invalidClient(700212, fmt.Sprintf("No matching federated identity record found for presented assertion audience '%s'.", strings.Join(claims.Audience, ",")))
	case !slices.ContainsFunc(byIssuer, func(f Federated) bool { return f.Subject == claims.Subject }):
		return invalidClient(700213, fmt.Sprintf("No matching federated identity record found for presented assertion subject '%s'.", claims.Subject))
	}
	return s.inTime(claims)
}

func (s *Server) inTime(claims jwt.RegisteredClaims) *refusal {
	now := s.now()
	switch {
	case claims.ExpiresAt == nil,
		now.After(claims.ExpiresAt.Add(assertionLeeway)),
		claims.NotBefore != nil && now.Before(claims.NotBefore.Add(-assertionLeeway)),
		claims.NotBefore != nil && claims.ExpiresAt.Sub(claims.NotBefore.Time) > 24*time.Hour:
		return invalidClient(700024, "Client assertion is not within its valid time range.")
	}
	return nil
}

func invalidClient(code int, message string) *refusal {
	return &refusal{http.StatusUnauthorized, "invalid_client", code, message}
}

// FederatedToken is what the platform of a workload puts into its file.
func (s *Server) FederatedToken(issuer, subject string, life time.Duration) string {
	now := s.now()
	signed, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": issuer, "sub": subject, "aud": []string{ExchangeAudience},
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(life).Unix(), "jti": uuid.NewString(),
	}).SignedString(signingKey())
	if err != nil {
		panic(err) // a key that has been made signs
	}
	return signed
}

// ManagedIdentity is what hands out tokens of managed identities on a machine of
// tenant, in the form of App Service: its address and header are told to the
// processes there as IDENTITY_ENDPOINT and IDENTITY_HEADER.
func (s *Server) ManagedIdentity(tenant, header string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.Header.Get("X-IDENTITY-HEADER") != header || q.Get("api-version") != "2019-08-01" {
			writeJSON(w, http.StatusUnauthorized, map[string]any{"statusCode": 401, "message": "The header or the version is wrong."})
			return
		}
		s.mu.Lock()
		app, refused := s.lookup(tenant, q.Get("client_id"))
		if refused == nil && !app.Managed {
			refused = invalidClient(700016, "No such identity.")
		}
		if refused == nil {
			refused = s.serves(tenant, q.Get("resource"))
		}
		var token string
		var issued *Issued
		var err error
		if refused == nil {
			token, issued, err = s.issue(tenant, app, q.Get("resource"))
		}
		s.mu.Unlock()
		if refused != nil || err != nil {
			writeJSON(w, http.StatusBadRequest, map[string]any{"statusCode": 400, "message": "No managed identity with this client ID is attached."})
			return
		}
		writeJSON(w, http.StatusOK, map[string]any{
			"access_token": token, "expires_on": strconv.FormatInt(issued.Expires.Unix(), 10),
			"resource": issued.Audience, "token_type": "Bearer", "client_id": app.ID,
		})
	})
}
