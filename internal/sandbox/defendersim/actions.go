package defendersim

import (
	"net/http"
	"slices"
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
			typeIsolate, typeUnisolate, "RunAntiVirusScan", "Offboard", "LiveResponse", "CollectInvestigationPackage",
			"StopAndQuarantineFile", "RestrictCodeExecution", "UnrestrictCodeExecution"),
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

func isolate(w http.ResponseWriter, c call) error {
	var comment, scope *string
	if err := decodeBody(c.Request, map[string]any{"Comment": &comment, "IsolationType": &scope}); err != nil {
		return err
	}
	if scope == nil {
		full := "Full"
		scope = &full
	}
	if !slices.Contains([]string{"Full", "Selective", "UnManagedDevice"}, *scope) {
		return badRequest("InvalidInput", "IsolationType '%s' is not valid. Allowed values: Full, Selective, UnManagedDevice", *scope)
	}
	return submit(w, c, typeIsolate, scope, comment)
}

func unisolate(w http.ResponseWriter, c call) error {
	var comment *string
	if err := decodeBody(c.Request, map[string]any{"Comment": &comment}); err != nil {
		return err
	}
	return submit(w, c, typeUnisolate, nil, comment)
}

func submit(w http.ResponseWriter, c call, kind string, scope, comment *string) error {
	if strings.TrimSpace(deref(comment)) == "" {
		return badRequest("MissingRequiredParameter", "Required parameter is missing: Comment")
	}
	m, err := c.tenant.machineByID(c.PathValue("id"))
	if err != nil {
		return err
	}
	if err := supported(m, deref(scope)); err != nil {
		return err
	}
	if pretend(c) {
		now := c.tenant.server.now()
		return serveAction(w, http.StatusCreated, newAction(m, kind, scope, c.app, *comment, "PublicApi", now).Action)
	}
	f, _ := fault.From(c.Context())
	a, err := c.tenant.act(m.ID, kind, scope, c.app, *comment, f)
	if err != nil {
		return err
	}
	a.ComputerDNSName = nil // filled in a little later
	return serveAction(w, http.StatusCreated, a)
}

// supported checks the platform: isolation exists for Windows 10 1703 and later,
// Linux and macOS; Selective not for Linux.
func supported(m estate.Machine, scope string) error {
	linux := slices.Contains([]string{"Ubuntu", "RedHatEnterpriseLinux"}, m.OSPlatform)
	switch {
	case scope == "UnManagedDevice":
		if m.OnboardingStatus == "Onboarded" {
			return badRequest("BadRequest", "UnManagedDevice isolation is only for devices that are not onboarded")
		}
		return nil
	case m.OnboardingStatus != "Onboarded":
		return badRequest("BadRequest", "Machine is not onboarded")
	case !linux && m.OSPlatform != "macOS" && !strings.HasPrefix(m.OSPlatform, "Windows"),
		linux && scope == "Selective":
		return badRequest("OsPlatformNotSupported", "OS Platform %s isn't supported for this action.", m.OSPlatform)
	case m.OSPlatform == "Windows10" && deref(m.OSBuild) < 15063:
		return badRequest("ClientVersionNotSupported", "The client version of this machine isn't supported for this action.")
	}
	return nil
}

func cancelAction(w http.ResponseWriter, c call) error {
	var comment *string
	if err := decodeBody(c.Request, map[string]any{"Comment": &comment}); err != nil {
		return err
	}
	if strings.TrimSpace(deref(comment)) == "" {
		return badRequest("MissingRequiredParameter", "Required parameter is missing: Comment")
	}
	a, err := c.tenant.cancel(c.PathValue("id"), c.app, *comment)
	if err != nil {
		return err
	}
	return serveAction(w, http.StatusOK, a)
}

// pretend reports whether the call is to be answered with success and nothing
// done.
func pretend(c call) bool {
	f, ok := fault.From(c.Context())
	return ok && f.Kind == NoEffect
}
