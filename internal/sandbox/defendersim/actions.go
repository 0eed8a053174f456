package defendersim

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mdebot/mdebot/internal/sandbox/estate"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
)

var actionEntity = entity[Action]{
	typeName: "Microsoft.Windows.Security.PublicApi.MachineAction",
	properties: []property[Action]{
		textOf("id", func(a Action) string { return a.ID }),
		enumOf("status", func(a Action) string { return a.Status },
			statusPending, statusInProgress, statusSucceeded, statusFailed, statusTimeOut, statusCancelled),
		textOf("machineId", func(a Action) string { return a.MachineID }),
		enumOf("type", func(a Action) string { return a.Type },
			typeIsolate, typeUnisolate, typeScan, "Offboard", "LiveResponse", typePackage, typeQuarantine, typeRestrict, typeUnrestrict),
		textOf("requestor", func(a Action) string { return a.Requestor }),
		timeOf("creationDateTimeUtc", func(a Action) time.Time { return a.CreationDateTimeUTC.Time }),
	},
	unfilterable: []string{
		"scope", "requestorComment", "computerDnsName", "lastUpdateDateTimeUtc", "relatedFileInfo", "title",
		"requestSource", "errorHResult", "externalId", "cancellationRequestor", "cancellationComment", "cancellationDateTimeUtc",
	},
	natural: func(a, b Action) int { return b.CreationDateTimeUTC.Compare(a.CreationDateTimeUTC.Time) },
}

type actionAnswer struct {
	Context string `json:"@odata.context"`
	Action
}

func serveAction(w http.ResponseWriter, status int, a Action) error {
	return writeJSON(w, status, actionAnswer{metadata("MachineActions/$entity"), a})
}

func listActions(w http.ResponseWriter, c call) error {
	q, err := actionEntity.parse(c.URL.Query())
	if err != nil {
		return err
	}
	return serveList(w, c, "MachineActions", c.tenant.listedActions(), q, func(found []Action) any {
		if found == nil {
			return []Action{}
		}
		return found
	})
}

func getAction(w http.ResponseWriter, c call) error {
	a, err := c.tenant.readAction(c.PathValue("id"))
	if err != nil {
		return err
	}
	if f, ok := fault.From(c.Context()); ok && f.Kind == WrongObject {
		a.ID = uuid.NewString()
		a.MachineID = c.tenant.otherMachine(a.MachineID).ID
	}
	return serveAction(w, http.StatusOK, a)
}

// machineCall is one way to order something from a machine.
type machineCall struct {
	verb string // the end of the path
	kind string
	role string
	// takes reads what the body says besides the comment.
	takes func() *order
	// runsOn says why the machine cannot do it, or nil.
	runsOn func(m estate.Machine, o *order) error
}

// order is the body of a call, and where its fields go.
type order struct {
	scope, sha1 *string
	fields      map[string]any
	// check completes and checks it once it is read.
	check func() error
}

func bare() *order { return &order{fields: map[string]any{}, check: func() error { return nil }} }

// chosen is an order with one field of a few values; absent takes the first.
func chosen(field string, values ...string) func() *order {
	return func() *order {
		o := bare()
		o.fields[field] = &o.scope
		o.check = func() error {
			if o.scope == nil {
				o.scope = &values[0]
			}
			if !slices.Contains(values, *o.scope) {
				return badRequest("InvalidInput", "%s '%s' is not valid. Allowed values: %s", field, *o.scope, strings.Join(values, ", "))
			}
			return nil
		}
		return o
	}
}

func aFile() *order {
	o := bare()
	o.fields["Sha1"] = &o.sha1
	o.check = func() error {
		switch {
		case deref(o.sha1) == "":
			return badRequest("MissingRequiredParameter", "Required parameter is missing: Sha1")
		case !sha1Pattern.MatchString(*o.sha1):
			return badRequest("InvalidHashValue", "Hash value '%s' is not valid", *o.sha1)
		}
		return nil
	}
	return o
}

var sha1Pattern = regexp.MustCompile(`^[0-9a-fA-F]{40}$`)

// machineCalls are what Defender documents, but for live response and offboarding.
var machineCalls = []machineCall{
	{"isolate", typeIsolate, "Machine.Isolate", chosen("IsolationType", "Full", "Selective", "UnManagedDevice"), isolates},
	{"unisolate", typeUnisolate, "Machine.Isolate", bare, isolates},
	{"restrictCodeExecution", typeRestrict, "Machine.RestrictExecution", bare, windows10Since(16299, "WindowsServer2012R2", "WindowsServer2016")},
	{"unrestrictCodeExecution", typeUnrestrict, "Machine.RestrictExecution", bare, windows10Since(16299, "WindowsServer2012R2", "WindowsServer2016")},
	{"runAntiVirusScan", typeScan, "Machine.Scan", chosen("ScanType", "Quick", "Full"), anyOnboarded},
	{"StopAndQuarantineFile", typeQuarantine, "Machine.StopAndQuarantine", aFile, windows10Since(15063)},
	{"collectInvestigationPackage", typePackage, "Machine.CollectForensics", bare, anyOnboarded},
}

func (m machineCall) serve(w http.ResponseWriter, c call) error {
	o := m.takes()
	var comment *string
	o.fields["Comment"] = &comment
	if err := decodeBody(c.Request, o.fields); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	if strings.TrimSpace(deref(comment)) == "" {
		return badRequest("MissingRequiredParameter", "Required parameter is missing: Comment")
	}
	on, err := c.tenant.machineByID(c.PathValue("id"))
	if err != nil {
		return err
	}
	if err := m.runsOn(on, o); err != nil {
		return err
	}
	if pretend(c) {
		now := c.tenant.server.now()
		return serveAction(w, http.StatusCreated, newAction(on, m.kind, o, c.app, *comment, "PublicApi", now).Action)
	}
	f, _ := fault.From(c.Context())
	a, err := c.tenant.act(on.ID, m.kind, o, c.app, *comment, f)
	if err != nil {
		return err
	}
	a.ComputerDNSName = nil // filled in a little later
	return serveAction(w, http.StatusCreated, a)
}

func isLinux(m estate.Machine) bool {
	return slices.Contains([]string{"Ubuntu", "RedHatEnterpriseLinux"}, m.OSPlatform)
}

func unsupported(m estate.Machine) error {
	return badRequest("OsPlatformNotSupported", "OS Platform %s isn't supported for this action.", m.OSPlatform)
}

// anyOnboarded is every machine that Defender can give orders to.
func anyOnboarded(m estate.Machine, _ *order) error {
	switch {
	case m.OnboardingStatus != "Onboarded":
		return badRequest("BadRequest", "Machine is not onboarded")
	case !isLinux(m) && m.OSPlatform != "macOS" && !strings.HasPrefix(m.OSPlatform, "Windows"):
		return unsupported(m)
	}
	return nil
}

// isolates checks the platform: isolation exists for Windows 10 1703 and later,
// Linux and macOS; Selective not for Linux.
func isolates(m estate.Machine, o *order) error {
	if deref(o.scope) == "UnManagedDevice" {
		if m.OnboardingStatus == "Onboarded" {
			return badRequest("BadRequest", "UnManagedDevice isolation is only for devices that are not onboarded")
		}
		return nil
	}
	if err := anyOnboarded(m, o); err != nil {
		return err
	}
	switch {
	case isLinux(m) && deref(o.scope) == "Selective":
		return unsupported(m)
	case m.OSPlatform == "Windows10" && deref(m.OSBuild) < 15063:
		return badRequest("ClientVersionNotSupported", "The client version of this machine isn't supported for this action.")
	}
	return nil
}

// windows10Since is Windows alone, from a build of Windows 10 on and without some
// servers.
func windows10Since(build int64, without ...string) func(estate.Machine, *order) error {
	return func(m estate.Machine, o *order) error {
		if err := anyOnboarded(m, o); err != nil {
			return err
		}
		switch {
		case !strings.HasPrefix(m.OSPlatform, "Windows"), slices.Contains(without, m.OSPlatform):
			return unsupported(m)
		case m.OSPlatform == "Windows10" && deref(m.OSBuild) < build:
			return badRequest("ClientVersionNotSupported", "The client version of this machine isn't supported for this action.")
		}
		return nil
	}
}

func cancelAction(w http.ResponseWriter, c call) error {
	var comment *string
	if err := decodeBody(c.Request, map[string]any{"Comment": &comment}); err != nil {
		return err
	}
	if strings.TrimSpace(deref(comment)) == "" {
		return badRequest("MissingRequiredParameter", "Required parameter is missing: Comment")
	}
	id := c.PathValue("id")
	found, err := c.tenant.readAction(id)
	if err != nil {
		return err
	}
	if role := roleFor(found.Type); role == "" || !c.may(role) {
		return forbidden(fmt.Sprintf("The application does not have any of the required application permissions (%s) to access the resource.", role))
	}
	if pretend(c) {
		found.Status = statusCancelled
		return serveAction(w, http.StatusOK, found)
	}
	a, err := c.tenant.cancel(id, c.app, *comment)
	if err != nil {
		return err
	}
	return serveAction(w, http.StatusOK, a)
}

// packageURI answers with a new address each time, in the second pair of quotes
// that Defender puts around it.
func packageURI(w http.ResponseWriter, c call) error {
	id := c.PathValue("id")
	a, err := c.tenant.readAction(id)
	if err != nil {
		return err
	}
	if a.Type != typePackage || a.Status != statusSucceeded || c.tenant.packageGone(id) {
		return notFound("Package of machine action", id)
	}
	address := "https://userrequests-eu.securitycenter.windows.com:443/safedownload/WDATP_Investigation_Package.zip?token=" + url.QueryEscape(uuid.NewString())
	return writeJSON(w, http.StatusOK, map[string]string{"@odata.context": metadata("Edm.String"), "value": strconv.Quote(address)})
}

// roleFor is what ordering an action of a type, and cancelling it, needs.
func roleFor(kind string) string {
	for _, call := range machineCalls {
		if call.kind == kind {
			return call.role
		}
	}
	return map[string]string{"Offboard": "Machine.Offboard", "LiveResponse": "Machine.LiveResponse"}[kind]
}

func cancelRoles() []string {
	var roles []string
	for _, call := range machineCalls {
		if !slices.Contains(roles, call.role) {
			roles = append(roles, call.role)
		}
	}
	return append(roles, "Machine.Offboard", "Machine.LiveResponse")
}

// pretend reports whether the call is to be answered with success and nothing
// done.
func pretend(c call) bool {
	f, ok := fault.From(c.Context())
	return ok && f.Kind == NoEffect
}
