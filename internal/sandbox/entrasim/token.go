package entrasim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// refusal is an error answer of the token endpoint.
type refusal struct {
	status  int
	oauth   string // the OAuth error code
	aadsts  int
	message string
}

// tokenV1 answers numbers as strings, as the old endpoint does.
func (s *Server) tokenV1(w http.ResponseWriter, r *http.Request) {
	token, issued, refused := s.grant(r, func() (string, *refusal) {
		resource := r.PostForm.Get("resource")
		if resource == "" {
			return "", missing("resource")
		}
		return resource, nil
	})
	if refused != nil {
		s.refuse(w, *refused)
		return
	}
	life := strconv.FormatInt(int64(issued.Expires.Sub(issued.At)/time.Second)-1, 10)
	writeJSON(w, http.StatusOK, map[string]any{
		"token_type": "Bearer", "access_token": token, "resource": issued.Audience,
		"expires_in": life, "ext_expires_in": life,
		"expires_on": strconv.FormatInt(issued.Expires.Unix(), 10),
		"not_before": strconv.FormatInt(issued.At.Add(-5*time.Minute).Unix(), 10),
	})
}

func (s *Server) tokenV2(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost && r.ParseForm() == nil && r.PostForm.Get("grant_type") == "authorization_code" {
		s.redeem(w, r)
		return
	}
	token, issued, refused := s.grant(r, func() (string, *refusal) {
		scope := r.PostForm.Get("scope")
		if scope == "" {
			return "", missing("scope")
		}
		// Microsoft's libraries ask for these beside the resource; they mean nothing here.
		scopes := slices.DeleteFunc(strings.Fields(scope), func(s string) bool {
			return slices.Contains([]string{"openid", "profile", "offline_access"}, s)
		})
		audience, ok := strings.CutSuffix(strings.Join(scopes, " "), "/.default")
		if !ok || len(scopes) != 1 {
			return "", &refusal{http.StatusBadRequest, "invalid_scope", 1002012, fmt.Sprintf(
				"The provided value for scope %s is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).", scope)}
		}
		return audience, nil
	})
	if refused != nil {
		s.refuse(w, *refused)
		return
	}
	life := int64(issued.Expires.Sub(issued.At)/time.Second) - 1
	writeJSON(w, http.StatusOK, map[string]any{
		"token_type": "Bearer", "access_token": token, "expires_in": life, "ext_expires_in": life,
	})
}

func (s *Server) grant(r *http.Request, target func() (string, *refusal)) (string, *Issued, *refusal) {
	if r.Method != http.MethodPost {
		return "", nil, &refusal{
			http.StatusBadRequest, "invalid_request", 900561,
			fmt.Sprintf("The endpoint only accepts POST requests. Received a %s request.", r.Method),
		}
	}
	if err := r.ParseForm(); err != nil {
		return "", nil, missing("grant_type")
	}
	switch grant := r.PostForm.Get("grant_type"); grant {
	case "client_credentials":
	case "":
		return "", nil, missing("grant_type")
	default:
		return "", nil, &refusal{
			http.StatusBadRequest, "unsupported_grant_type", 70003,
			fmt.Sprintf("The app requested an unsupported grant type '%s'.", grant),
		}
	}
	clientID, proof := credentials(r)
	if clientID == "" {
		return "", nil, missing("client_id")
	}
	audience, refused := target()
	if refused != nil {
		return "", nil, refused
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	tenant := r.PathValue("tenant")
	app, refused := s.client(r, tenant, clientID, proof)
	if refused == nil {
		refused = s.serves(tenant, audience)
	}
	if refused != nil {
		return "", nil, refused
	}
	token, issued, err := s.issue(tenant, app, audience)
	if err != nil {
		return "", nil, &refusal{http.StatusInternalServerError, "server_error", 90033, err.Error()}
	}
	return token, issued, nil
}

// serves refuses audiences that the cloud does not have. The caller holds the
// lock.
func (s *Server) serves(tenant, audience string) *refusal {
	if slices.Contains(audiences[s.cloud], audience) {
		return nil
	}
	return &refusal{http.StatusBadRequest, "invalid_resource", 500011, fmt.Sprintf(
		"The resource principal named %s was not found in the tenant named %s. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant.", audience, tenant)}
}

// client checks an application and its proof. The caller holds the lock.
func (s *Server) client(r *http.Request, tenant, clientID string, p proof) (*App, *refusal) {
	app, refused := s.lookup(tenant, clientID)
	switch {
	case refused != nil:
		return nil, refused
	case p.assertion != "":
		if refused := s.checkAssertion(r, app, p.assertion); refused != nil {
			return nil, refused
		}
	case p.secret == "":
		return nil, &refusal{
			http.StatusUnauthorized, "invalid_client", 7000216,
			"'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.",
		}
	case p.secret != app.Secret || app.Secret == "":
		return nil, &refusal{http.StatusUnauthorized, "invalid_client", 7000215, fmt.Sprintf(
			"Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '%s'.", clientID)}
	case !app.SecretExpires.IsZero() && s.now().After(app.SecretExpires):
		return nil, &refusal{http.StatusUnauthorized, "invalid_client", 7000222, fmt.Sprintf(
			"The provided client secret keys for app '%s' are expired. Visit the Azure portal to create new keys for your app.", clientID)}
	}
	return app, nil
}

// lookup finds an application that may sign in. The caller holds the lock.
func (s *Server) lookup(tenant, clientID string) (*App, *refusal) {
	apps, ok := s.tenants[tenant]
	if !ok {
		return nil, &refusal{http.StatusBadRequest, "invalid_request", 90002, fmt.Sprintf(
			"Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant.", tenant)}
	}
	app := apps[clientID]
	switch {
	case app == nil:
		return nil, &refusal{http.StatusBadRequest, "unauthorized_client", 700016, fmt.Sprintf(
			"Application with identifier '%s' was not found in the directory '%s'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant.", clientID, tenant)}
	case app.Disabled:
		return nil, &refusal{http.StatusUnauthorized, "unauthorized_client", 7000112, fmt.Sprintf(
			"Application '%s'(%s) is disabled.", clientID, app.Name)}
	}
	return app, nil
}

// proof is what an application shows: a secret or an assertion.
type proof struct{ secret, assertion string }

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// credentials reads the client's ID and proof from the form or from basic
// authentication, whose parts are form-encoded; Entra takes both.
func credentials(r *http.Request) (id string, p proof) {
	if id, secret, ok := r.BasicAuth(); ok {
		if plain, err := url.QueryUnescape(id); err == nil {
			id = plain
		}
		if plain, err := url.QueryUnescape(secret); err == nil {
			secret = plain
		}
		return id, proof{secret: secret}
	}
	p.secret = r.PostForm.Get("client_secret")
	if r.PostForm.Get("client_assertion_type") == assertionType {
		p.assertion = r.PostForm.Get("client_assertion")
	}
	return r.PostForm.Get("client_id"), p
}

func missing(parameter string) *refusal {
	return &refusal{
		http.StatusBadRequest, "invalid_request", 900144,
		fmt.Sprintf("The request body must contain the following parameter: '%s'.", parameter),
	}
}

func (s *Server) refuse(w http.ResponseWriter, e refusal) {
	writeJSON(w, e.status, envelope(e, s.now()))
}

// outage is the envelope of an answer scripted without a body.
func outage(_ *http.Request, status int) string {
	e := refusal{status, "temporarily_unavailable", 90033, "A transient error has occurred. Please try again."}
	if status == http.StatusTooManyRequests {
		e = refusal{status, "temporarily_unavailable", 90055, "Server is terminating the request due to excessive rates of requests."}
	}
	b, _ := json.Marshal(envelope(e, time.Now()))
	return string(b)
}

func envelope(e refusal, now time.Time) map[string]any {
	trace, correlation := uuid.NewString(), uuid.NewString()
	stamp := now.UTC().Format("2006-01-02 15:04:05Z")
	return map[string]any{
		"error": e.oauth,
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s",
			e.aadsts, e.message, trace, correlation, stamp),
		"error_codes": []int{e.aadsts}, "timestamp": stamp,
		"trace_id": trace, "correlation_id": correlation,
		"error_uri": fmt.Sprintf("https://login.microsoftonline.com/error?code=%d", e.aadsts),
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store, no-cache")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
