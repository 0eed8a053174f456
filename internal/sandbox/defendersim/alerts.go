package defendersim

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/estate"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
)

var (
	severities      = []string{"UnSpecified", "Informational", "Low", "Medium", "High"}
	alertStatuses   = []string{"Unknown", "New", "InProgress", "Resolved"}
	classifications = []string{"TruePositive", "InformationalExpectedActivity", "FalsePositive"}
	determinations  = []string{
		"MultiStagedAttack", "MaliciousUserActivity", "CompromisedUser", "Malware", "Phishing", "UnwantedSoftware",
		"SecurityTesting", "LineOfBusinessApplication", "ConfirmedActivity", "ConfirmedUserActivity",
		"NotMalicious", "Clean", "InsufficientData", "Other", "NotAvailable", "Apt", "SecurityPersonnel",
	}
)

var alertEntity = entity[*estate.Alert]{
	typeName: "Microsoft.Windows.Security.PublicApi.Alert",
	properties: []property[*estate.Alert]{
		textOf("id", func(a *estate.Alert) string { return a.ID }),
		numberOf("incidentId", func(a *estate.Alert) int64 { return a.IncidentID }),
		numberOf("investigationId", func(a *estate.Alert) int64 { return deref(a.InvestigationID) }),
		optional("assignedTo", func(a *estate.Alert) *string { return a.AssignedTo }),
		textOf("detectionSource", func(a *estate.Alert) string { return a.DetectionSource }),
		textOf("category", func(a *estate.Alert) string { return a.Category }),
		enumOf("status", func(a *estate.Alert) string { return a.Status }, alertStatuses...),
		enumOf("severity", func(a *estate.Alert) string { return a.Severity }, severities...),
		timeOf("alertCreationTime", func(a *estate.Alert) time.Time { return a.AlertCreationTime.Time }),
		timeOf("lastUpdateTime", func(a *estate.Alert) time.Time { return a.LastUpdateTime.Time }),
		timeOf("lastEventTime", func(a *estate.Alert) time.Time { return a.LastEventTime.Time }),
	},
	unfilterable: []string{
		"machineId", "computerDnsName", "title", "description", "classification", "determination", "firstEventTime",
		"resolvedTime", "rbacGroupName", "aadTenantId", "threatName", "threatFamilyName", "investigationState",
		"mitreTechniques", "relatedUser", "comments", "evidence", "detectorId",
	},
	expand: []string{"evidence"},
	natural: func(a, b *estate.Alert) int {
		return b.AlertCreationTime.Compare(a.AlertCreationTime.Time)
	},
}

func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

func listAlerts(w http.ResponseWriter, c call) error {
	return serveAlerts(w, c, c.tenant.visibleAlerts(func(*estate.Alert) bool { return true }))
}

func machineAlerts(w http.ResponseWriter, c call) error {
	m, err := c.tenant.machineByID(c.PathValue("id"))
	if err != nil {
		return err
	}
	return serveAlerts(w, c, c.tenant.visibleAlerts(func(a *estate.Alert) bool { return deref(a.MachineID) == m.ID }))
}

func serveAlerts(w http.ResponseWriter, c call, alerts []*estate.Alert) error {
	q, err := alertEntity.parse(c.URL.Query())
	if err != nil {
		return err
	}
	return serveList(w, c, "Alerts", alerts, q, func(found []*estate.Alert) any {
		out := make([]estate.Alert, len(found))
		for i, a := range found {
			out[i] = *a
			if !q.expand {
				out[i].Evidence = []estate.Evidence{}
			}
		}
		return out
	})
}

// alertAnswer is an alert with the metadata of a single entity.
type alertAnswer struct {
	Context string `json:"@odata.context"`
	estate.Alert
}

func getAlert(w http.ResponseWriter, c call) error {
	a, ok := c.tenant.Alert(c.PathValue("id"))
	if f, scripted := fault.From(c.Context()); scripted && f.Kind == WrongObject {
		a, ok = c.tenant.otherAlert(a.ID), true
	}
	if !ok {
		return notFound("Alert", c.PathValue("id"))
	}
	return writeJSON(w, http.StatusOK, alertAnswer{metadata("Alerts/$entity"), a})
}

// alertChange is the body of PATCH and batchUpdate; nil means unchanged.
type alertChange struct {
	Status, AssignedTo, Classification, Determination, Comment *string
}

func (ch *alertChange) fields() map[string]any {
	return map[string]any{
		"status": &ch.Status, "assignedTo": &ch.AssignedTo, "classification": &ch.Classification,
		"determination": &ch.Determination, "comment": &ch.Comment,
	}
}

// check refuses values that are not among Defender's and gives the others their
// canonical case.
func (ch *alertChange) check() error {
	if ch.Status == nil && ch.AssignedTo == nil && ch.Classification == nil && ch.Determination == nil && ch.Comment == nil {
		return badRequest("InvalidRequestBody", "Request body is incorrect")
	}
	for _, v := range []struct {
		name    string
		value   *string
		allowed []string
	}{
		{"status", ch.Status, alertStatuses[1:]},
		{"classification", ch.Classification, classifications},
		{"determination", ch.Determination, determinations},
	} {
		if v.value == nil {
			continue
		}
		i := slices.IndexFunc(v.allowed, func(s string) bool { return strings.EqualFold(s, *v.value) })
		if i < 0 {
			return badRequest("InvalidInput", "Value '%s' is not valid for %s. Allowed values: %s", *v.value, v.name, strings.Join(v.allowed, ", "))
		}
		*v.value = v.allowed[i]
	}
	return nil
}

func patchAlert(w http.ResponseWriter, c call) error {
	var change alertChange
	if err := decodeBody(c.Request, change.fields()); err != nil {
		return err
	}
	if err := change.check(); err != nil {
		return err
	}
	if pretend(c) {
		a, _ := c.tenant.Alert(c.PathValue("id"))
		return writeJSON(w, http.StatusOK, alertAnswer{metadata("Alerts/$entity"), a})
	}
	a, err := c.tenant.changeAlert(c.PathValue("id"), c.app, change)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, alertAnswer{metadata("Alerts/$entity"), a})
}

// maxBatch is how many alerts one batchUpdate takes.
const maxBatch = 100

func batchUpdateAlerts(w http.ResponseWriter, c call) error {
	var change alertChange
	var ids []string
	fields := change.fields()
	fields["alertIds"] = &ids
	if err := decodeBody(c.Request, fields); err != nil {
		return err
	}
	switch {
	case len(ids) == 0:
		return badRequest("MissingRequiredParameter", "Required parameter alertIds is missing")
	case len(ids) > maxBatch:
		return badRequest("MaximumBatchSizeExceeded", "Maximum batch size exceeded. Received: %d, allowed: %d", len(ids), maxBatch)
	}
	if err := change.check(); err != nil {
		return err
	}
	if !pretend(c) {
		for _, id := range ids {
			if _, err := c.tenant.changeAlert(id, c.app, change); err != nil {
				return err
			}
		}
	}
	w.WriteHeader(http.StatusOK)
	return nil
}
