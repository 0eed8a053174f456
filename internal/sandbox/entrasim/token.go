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
		audience, ok := strings.CutSuffix(scope, "/.default")
		if !ok {
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
	clientID, secret := credentials(r)
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
	app, refused := s.client(tenant, clientID, secret)
	switch {
	case refused != nil:
		return "", nil, refused
	case !slices.Contains([]string{Defender, XDR, Graph, BotFramework}, audience):
		return "", nil, &refusal{http.StatusBadRequest, "invalid_resource", 500011, fmt.Sprintf(
			"The resource principal named %s was not found in the tenant named %s. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant.", audience, tenant)}
	}
	token, issued, err := s.issue(tenant, app, audience)
	if err != nil {
		return "", nil, &refusal{http.StatusInternalServerError, "server_error", 90033, err.Error()}
	}
	return token, issued, nil
}

// client checks an application and its secret. The caller holds the lock.
func (s *Server) client(tenant, clientID, secret string) (*App, *refusal) {
	apps, ok := s.tenants[tenant]
	if !ok {
		return nil, &refusal{http.StatusBadRequest, "invalid_request", 90002, fmt.Sprintf(
			"Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant.", tenant)}
	}
	app := apps[clientID]
	if app == nil {
		return nil, &refusal{http.StatusBadRequest, "unauthorized_client", 700016, fmt.Sprintf(
			"Application with identifier '%s' was not found in the directory '%s'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant.", clientID, tenant)}
	}
	switch {
	case secret == "":
		return nil, &refusal{
			http.StatusUnauthorized, "invalid_client", 7000216,
			"'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.",
		}
	case secret != app.Secret:
		return nil, &refusal{http.StatusUnauthorized, "invalid_client", 7000215, fmt.Sprintf(
			"Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '%s'.", clientID)}
	case !app.SecretExpires.IsZero() && s.now().After(app.SecretExpires):
		return nil, &refusal{http.StatusUnauthorized, "invalid_client", 7000222, fmt.Sprintf(
			"The provided client secret keys for app '%s' are expired. Visit the Azure portal to create new keys for your app.", clientID)}
	}
	return app, nil
}

// credentials reads the client's ID and secret from the form or from basic
// authentication, whose parts are form-encoded; Entra takes both.
func credentials(r *http.Request) (id, secret string) {
	if id, secret, ok := r.BasicAuth(); ok {
		if plain, err := url.QueryUnescape(id); err == nil {
			id = plain
		}
		if plain, err := url.QueryUnescape(secret); err == nil {
			secret = plain
		}
		return id, secret
	}
	return r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
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
