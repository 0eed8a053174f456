package defendersim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/entrasim"
	"github.com/mdebot/mdebot/internal/sandbox/estate"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
)

// Options configures a server.
type Options struct {
	// Entra decides which tokens are good. Required.
	Entra *entrasim.Server
	// Now is the clock of everything that has a date: actions, alerts, quotas.
	// Scripted delays use the real clock. Default time.Now.
	Now func() time.Time
	// Limits replaces the documented quotas for the families it names.
	Limits map[Family]Limit
	// PageSize is how many entities a list page holds at most before it ends in
	// a next link. Default 10,000, as in Defender.
	PageSize int
	// Timing of machine actions and of how soon they can be seen.
	Timing Timing
}

// Server is the simulated Defender. It is safe for concurrent use.
type Server struct {
	Faults *fault.Script

	entra    *entrasim.Server
	now      func() time.Time
	limits   map[Family]Limit
	pageSize int
	timing   Timing
	handler  http.Handler

	mu      sync.Mutex
	tenants map[string]*Tenant
	calls   []Call
	quotas  map[quotaKey]*quota
}

type quotaKey struct {
	tenant, app string
	family      Family
}

// Call is one request as it came in, also when it was refused.
type Call struct {
	At     time.Time
	Method string
	Path   string // without the version
	Query  string
	App    string // client ID, "" when the token was not accepted
	Tenant string
}

// keptCalls bounds the memory of a demo that runs for days.
const keptCalls = 20000

// New returns a server without tenants.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.PageSize == 0 {
		o.PageSize = maxTop
	}
	limits := DefaultLimits()
	for family, l := range o.Limits {
		limits[family] = l
	}
	s := &Server{
		entra: o.Entra, now: o.Now, limits: limits, pageSize: o.PageSize, timing: o.Timing.withDefaults(),
		Faults: fault.NewScript(outage), tenants: map[string]*Tenant{}, quotas: map[quotaKey]*quota{},
	}
	s.handler = s.normalise(s.Faults.Wrap(s.routes()))
	return s
}

// AddTenant adds a Defender tenant that holds the estate's machines, alerts and
// events. The estate is copied.
func (s *Server) AddTenant(e *estate.Estate) *Tenant {
	t := newTenant(s, e)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tenants[e.Tenant] = t
	return t
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Calls returns the requests to a route, written as in [fault.Fault], oldest
// first. Only the last 20,000 are kept.
func (s *Server) Calls(route string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Call
	for _, c := range s.calls {
		if fault.Matches(route, c.Method, c.Path) {
			found = append(found, c)
		}
	}
	return found
}

func (s *Server) record(c Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) == keptCalls {
		s.calls = slices.Delete(s.calls, 0, keptCalls/2)
	}
	s.calls = append(s.calls, c)
}

// normalise makes /api/v1.0/… and /api/… one route and writes the request down.
func (s *Server) normalise(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rest, ok := strings.CutPrefix(r.URL.Path, "/api/v1.0/"); ok {
			r = r.Clone(r.Context())
			r.URL.Path = "/api/" + rest
			if raw, ok := strings.CutPrefix(r.URL.RawPath, "/api/v1.0/"); ok {
				r.URL.RawPath = "/api/" + raw
			}
		}
		c := Call{At: s.now(), Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery}
		if claims, err := s.entra.Verify(bearer(r), s.audiencesOf(r)...); err == nil {
			c.App, c.Tenant = claims.App, claims.Tenant
		}
		s.record(c)
		next.ServeHTTP(w, r)
	})
}

// call is an authorised request.
type call struct {
	*http.Request
	tenant *Tenant
	app    string
	may    func(roles ...string) bool
}

// endpoint is what serves one route once the caller is known to be allowed.
type endpoint func(w http.ResponseWriter, c call) error

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	route := func(pattern string, f Family, h endpoint, roles ...string) {
		mux.Handle(pattern, s.guard(f, roles, h))
	}
	readAlerts := []string{"Alert.Read.All", "Alert.ReadWrite.All"}
	readMachines := []string{"Machine.Read.All", "Machine.ReadWrite.All"}

	route("GET /api/alerts", FamilyAlerts, listAlerts, readAlerts...)
	route("GET /api/alerts/{id}", FamilyAlerts, getAlert, readAlerts...)
	route("PATCH /api/alerts/{id}", FamilyAlerts, patchAlert, "Alert.ReadWrite.All")
	route("POST /api/alerts/batchUpdate", FamilyAlertsBatch, batchUpdateAlerts, "Alert.ReadWrite.All")

	route("GET /api/machines", FamilyMachines, listMachines, readMachines...)
	route("GET /api/machines/{id}", FamilyMachines, getMachine, readMachines...)
	route("GET /api/machines/{id}/alerts", FamilyMachines, machineAlerts, readAlerts...)
	route("GET /api/machines/{id}/logonusers", FamilyMachines, machineUsers, "User.Read.All")

	for _, m := range machineCalls {
		route("POST /api/machines/{id}/"+m.verb, FamilyActions, m.serve, m.role)
	}
	route("GET /api/machineactions", FamilyActions, listActions, readMachines...)
	route("GET /api/machineactions/{id}", FamilyActions, getAction, readMachines...)
	route("GET /api/machineactions/{id}/getPackageUri", FamilyPackages, packageURI, readMachines...)
	route("POST /api/machineactions/{id}/cancel", FamilyActions, cancelAction, cancelRoles()...)

	route("GET /api/indicators", FamilyIndicators, listIndicators, "Ti.ReadWrite", "Ti.ReadWrite.All")
	route("POST /api/indicators", FamilyIndicators, setIndicator, "Ti.ReadWrite", "Ti.ReadWrite.All")
	route("DELETE /api/indicators/{id}", FamilyIndicators, deleteIndicator, "Ti.ReadWrite", "Ti.ReadWrite.All")
	route("POST /api/advancedqueries/run", FamilyHunting, huntDefender, "AdvancedQuery.Read.All")
	route("POST /v1.0/security/runHuntingQuery", FamilyHunting, huntGraph, "ThreatHunting.Read.All")
	route("GET /api/files/{hash}", FamilyEnrichment, getFile, "File.Read.All")
	route("GET /api/files/{hash}/stats", FamilyEnrichment, fileStats, "File.Read.All")
	route("GET /api/ips/{ip}/stats", FamilyEnrichment, ipStats, "Ip.Read.All")
	route("GET /api/domains/{host}/stats", FamilyEnrichment, domainStats, "Url.Read.All")
	for _, kind := range []string{"files", "ips", "domains"} {
		of := func(h endpoint, what string) endpoint {
			return func(w http.ResponseWriter, c call) error {
				c.SetPathValue("kind", kind)
				c.SetPathValue("what", what)
				return h(w, c)
			}
		}
		route("GET /api/"+kind+"/{value}/alerts", FamilyEnrichment, of(related, "alerts"), readAlerts...)
		if kind != "ips" {
			route("GET /api/"+kind+"/{value}/machines", FamilyEnrichment, of(related, "machines"), readMachines...)
		}
	}
	route("GET /api/users/{account}/machines", FamilyEnrichment, userMachines, "Machine.ReadWrite.All")
	route("GET /api/users/{account}/alerts", FamilyEnrichment, userAlerts, readAlerts...)
	route("POST /api/machines/{id}/tags", FamilyMachines, tagMachine, "Machine.ReadWrite.All")

	route("GET /api/exposureScore", FamilyPosture, exposureScore, "Score.Read.All")
	route("GET /api/configurationScore", FamilyPosture, secureScore, "Score.Read.All")
	route("GET /api/Software", FamilyPosture, listSoftware, "Software.Read.All")
	route("GET /api/vulnerabilities/{id}", FamilyPosture, getVulnerability, "Vulnerability.Read.All")
	route("GET /api/vulnerabilities/{id}/machineReferences", FamilyPosture, machineReferences, "Vulnerability.Read.All")
	route("GET /api/incidents", FamilyIncidents, listIncidents, "Incident.Read.All", "Incident.ReadWrite.All")
	route("GET /api/incidents/{id}", FamilyIncidents, getIncident, "Incident.Read.All", "Incident.ReadWrite.All")

	route("PATCH /api/incidents/{id}", FamilyIncidents, updateIncident, "Incident.ReadWrite.All")

	route("GET /v1.0/{entity}", FamilyDirectory, getApplication, "Application.Read.All")
	route("GET /v1.0/{entity}/{of}", FamilyDirectory, deviceOwners, "Device.Read.All", "Directory.Read.All")
	route("GET /v1.0/users/{id}", FamilyDirectory, getUser, "User.Read.All")
	route("GET /v1.0/groups/{id}/transitiveMembers", FamilyDirectory, groupMembers, "GroupMember.Read.All", "Group.Read.All")

	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, &apiError{status: http.StatusNotFound, code: "NotFound", message: "No HTTP resource was found that matches the request URI."})
	})
	return mux
}

// guard checks token, audience, role and quota, in the order Defender does.
func (s *Server) guard(f Family, roles []string, h endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := s.authorise(r, roles)
		if err == nil {
			err = s.spend(quotaKey{c.tenant.id, c.app, f})
		}
		if err == nil {
			err = h(w, c)
		}
		if err != nil {
			s.fail(w, r, err)
		}
	})
}

func (s *Server) authorise(r *http.Request, roles []string) (call, error) {
	graph := isGraph(r)
	claims, err := s.entra.Verify(bearer(r), s.audiencesOf(r)...)
	switch {
	case errors.Is(err, entrasim.ErrAudience) && graph:
		return call{}, &apiError{status: http.StatusUnauthorized, code: "InvalidAuthenticationToken", message: "Access token validation failure. Invalid audience."}
	case errors.Is(err, entrasim.ErrAudience):
		return call{}, forbidden("The token was issued for another audience.")
	case err != nil && graph:
		return call{}, &apiError{status: http.StatusUnauthorized, code: "InvalidAuthenticationToken", message: "Access token is empty, invalid or has expired."}
	case err != nil:
		return call{}, unauthorized("The token is missing, malformed or has expired.")
	case !claims.HasAny(roles...) && graph:
		return call{}, forbidden("Missing application roles. API required roles: " + strings.Join(roles, ", "))
	case !claims.HasAny(roles...):
		return call{}, forbidden(fmt.Sprintf("The application does not have any of the required application permissions (%s) to access the resource.", strings.Join(roles, ", ")))
	}
	s.mu.Lock()
	t := s.tenants[claims.Tenant]
	s.mu.Unlock()
	if t == nil {
		return call{}, forbidden("The tenant has no Microsoft Defender for Endpoint.")
	}
	return call{Request: r, tenant: t, app: claims.App, may: claims.HasAny}, nil
}

// audiencesOf are those that the API behind a path takes.
func (s *Server) audiencesOf(r *http.Request) []string {
	us := s.entra.Cloud() == entrasim.USGovernment
	switch {
	case isGraph(r) && us:
		return []string{entrasim.GraphUS}
	case isGraph(r):
		return []string{entrasim.Graph}
	case strings.HasPrefix(r.URL.Path, "/api/incidents") && us:
		return []string{entrasim.XDRUS}
	case strings.HasPrefix(r.URL.Path, "/api/incidents"):
		return []string{entrasim.XDR}
	case us:
		return []string{entrasim.DefenderUS}
	}
	return []string{entrasim.Defender, entrasim.DefenderOld, entrasim.DefenderService}
}

// isGraph reports whether a request is for Microsoft Graph, which has its own
// audience and error envelope.
func isGraph(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/v1.0/") }

func bearer(r *http.Request) string {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return token
}

func (s *Server) spend(k quotaKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quotas[k] == nil {
		s.quotas[k] = &quota{}
	}
	if e := s.quotas[k].spend(s.limits[k.family], s.now()); e != nil {
		return e
	}
	return nil
}

// fail writes an error in the envelope of the API that was called.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var e *apiError
	var o odataError
	switch {
	case errors.As(err, &e):
	case errors.As(err, &o):
		e = badRequest("ODataError", "%s", o.message)
	default:
		e = &apiError{status: http.StatusInternalServerError, code: "InternalServerError", message: err.Error()}
	}
	body := e.body()
	if isGraph(r) {
		body = e.graphBody(s.now())
	}
	if e.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.retryAfter.Seconds()))))
	}
	if e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.status)
	_, _ = io.WriteString(w, body)
}

// metadata is the address of the metadata that every answer names. It is the
// vendor's, whatever host was called.
func metadata(of string) string {
	return "https://api.securitycenter.microsoft.com/api/$metadata#" + of
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json; odata.metadata=minimal")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(v)
}

// maxBody is larger than any body Defender takes.
const maxBody = 1 << 20

// decodeBody reads a JSON object whose property names must be exactly those of
// into's keys; into points at where each value goes.
func decodeBody(r *http.Request, into map[string]any) error {
	raw, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if err != nil {
		return badRequest("InvalidRequestBody", "Request body is incorrect")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		return badRequest("InvalidRequestBody", "Request body is incorrect")
	}
	for name, value := range fields {
		target, ok := into[name]
		if !ok || json.Unmarshal(value, target) != nil {
			return badRequest("InvalidRequestBody", "Request body is incorrect")
		}
	}
	return nil
}
