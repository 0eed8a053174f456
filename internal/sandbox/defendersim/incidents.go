package defendersim

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/estate"
)

// incidents is Defender XDR's view of the alerts that share an incident ID.
func (t *Tenant) incidents() []map[string]any {
	of := map[int64][]*estate.Alert{}
	for _, a := range t.visibleAlerts(func(*estate.Alert) bool { return true }) {
		of[a.IncidentID] = append(of[a.IncidentID], a)
	}
	_, unlock := t.lock()
	defer unlock()
	var out []map[string]any
	for id, alerts := range of {
		if id != 0 {
			out = append(out, t.incidentOf(id, alerts))
		}
	}
	for id, set := range t.incidentsSet {
		if set.into != 0 {
			out = append(out, map[string]any{
				"incidentId": id, "redirectIncidentId": set.into, "incidentName": "", "createdTime": set.changed, "lastUpdateTime": set.changed,
				"assignedTo": nil, "classification": "Unknown", "determination": "NotAvailable", "status": "Redirected", "severity": "UnSpecified",
				"tags": []string{}, "comments": []any{}, "alerts": []any{},
			})
		}
	}
	slices.SortFunc(out, func(a, b map[string]any) int { return cmp.Compare(b["incidentId"].(int64), a["incidentId"].(int64)) })
	return out
}

func (t *Tenant) incidentOf(id int64, alerts []*estate.Alert) map[string]any {
	slices.SortStableFunc(alerts, func(a, b *estate.Alert) int { return a.AlertCreationTime.Compare(b.AlertCreationTime.Time) })
	first := alerts[0]
	name := fmt.Sprintf("'%s' on one endpoint", first.Title)
	for _, in := range t.estate.Incidents {
		if in.ID == id && in.Name != "" {
			name = in.Name
		}
	}
	worst, updated, open := first.Severity, first.LastUpdateTime, false
	rows := []map[string]any{}
	for _, a := range alerts {
		if slices.Index(severities, a.Severity) > slices.Index(severities, worst) {
			worst = a.Severity
		}
		if a.LastUpdateTime.After(updated.Time) {
			updated = a.LastUpdateTime
		}
		open = open || a.Status != "Resolved"
		devices := []map[string]any{}
		if a.MachineID != nil {
			devices = append(devices, map[string]any{"mdatpDeviceId": a.MachineID, "deviceDnsName": a.ComputerDNSName, "aadDeviceId": nil, "osPlatform": "Windows11"})
		}
		rows = append(rows, map[string]any{
			"alertId": a.ID, "incidentId": id, "serviceSource": "MicrosoftDefenderATP", "creationTime": a.AlertCreationTime, "lastUpdatedTime": a.LastUpdateTime,
			"title": a.Title, "description": a.Description, "category": a.Category, "status": a.Status, "severity": a.Severity,
			"assignedTo": a.AssignedTo, "mitreTechniques": a.MitreTechniques, "devices": devices, "entities": users(a),
		})
	}
	status := "Active"
	if !open {
		status = "Resolved"
	}
	shown := map[string]any{
		"incidentId": id, "redirectIncidentId": nil, "incidentName": name, "createdTime": first.AlertCreationTime, "lastUpdateTime": updated,
		"assignedTo": nil, "classification": "Unknown", "determination": "NotAvailable", "status": status, "severity": worst,
		"tags": []string{}, "comments": []any{}, "alerts": rows,
	}
	set := t.incidentsSet[id]
	for name, value := range map[string]*string{
		"status": set.change.Status, "assignedTo": set.change.AssignedTo, "classification": set.change.Classification, "determination": set.change.Determination,
	} {
		if value != nil {
			shown[name] = *value
		}
	}
	if set.changed.After(updated.Time) {
		shown["lastUpdateTime"] = set.changed
	}
	if set.comments != nil {
		shown["comments"] = set.comments
	}
	return shown
}

// users are the entities of an alert that are accounts.
func users(a *estate.Alert) []map[string]any {
	found := []map[string]any{}
	for _, e := range a.Evidence {
		if e.EntityType == "User" {
			found = append(found, map[string]any{"entityType": "User", "accountName": e.AccountName, "domainName": e.DomainName, "userPrincipalName": e.UserPrincipalName})
		}
	}
	return found
}

// incidentSet is what was changed of an incident.
type incidentSet struct {
	into     int64 // it was merged into that one
	change   alertChange
	comments []estate.Comment
	changed  estate.Time
}

// incidentDeterminations are those that a change of an incident takes.
var incidentDeterminations = []string{
	"MultiStagedAttack", "MaliciousUserActivity", "CompromisedAccount", "Malware", "Phishing", "UnwantedSoftware", "Other",
	"SecurityTesting", "LineOfBusinessApplication", "ConfirmedActivity", "Clean", "NoEnoughDataToValidate", "NotAvailable",
}

func updateIncident(w http.ResponseWriter, c call) error {
	var ch alertChange
	if err := decodeBody(c.Request, ch.fields()); err != nil {
		return err
	}
	if ch == (alertChange{}) {
		return badRequest("InvalidRequestBody", "Request body is incorrect")
	}
	for name, v := range map[string]struct {
		value   *string
		allowed []string
	}{
		"status":         {ch.Status, []string{"Active", "InProgress", "Resolved"}},
		"classification": {ch.Classification, classifications},
		"determination":  {ch.Determination, incidentDeterminations},
	} {
		if v.value != nil && !slices.Contains(v.allowed, *v.value) {
			return badRequest("InvalidInput", "The value '%s' of %s is not valid", *v.value, name)
		}
	}
	for _, in := range c.tenant.incidents() {
		id := in["incidentId"].(int64)
		if strconv.FormatInt(id, 10) != c.PathValue("id") {
			continue
		}
		if in["redirectIncidentId"] == nil && !pretend(c) {
			c.tenant.changeIncident(id, c.app, ch)
		}
		return getIncident(w, c)
	}
	return notFound("Incident", c.PathValue("id"))
}

func (t *Tenant) changeIncident(id int64, app string, ch alertChange) {
	now, unlock := t.lock()
	defer unlock()
	set := t.incidentsSet[id]
	set.changed = estate.At(now)
	for _, f := range []struct{ into, from **string }{
		{&set.change.Status, &ch.Status},
		{&set.change.AssignedTo, &ch.AssignedTo},
		{&set.change.Classification, &ch.Classification},
		{&set.change.Determination, &ch.Determination},
	} {
		if *f.from != nil {
			*f.into = *f.from
		}
	}
	if ch.Comment != nil {
		set.comments = append(slices.Clone(set.comments), estate.Comment{Comment: *ch.Comment, CreatedBy: app, CreatedTime: set.changed})
	}
	t.incidentsSet[id] = set
	t.effects = append(t.effects, Effect{
		At: now, Kind: EffectIncidentUpdate, App: app, Comment: deref(ch.Comment),
		Detail: fmt.Sprintf("incident=%d status=%s assignedTo=%s classification=%s determination=%s", id, deref(ch.Status), deref(ch.AssignedTo),
			deref(ch.Classification), deref(ch.Determination)),
	})
}

// MergeIncidents makes one incident part of another, as Defender does when it sees
// that they belong together.
func (t *Tenant) MergeIncidents(from, into int64) {
	now, unlock := t.lock()
	defer unlock()
	for _, r := range t.alerts {
		if r.alert.IncidentID == from {
			moved := *r.alert
			moved.IncidentID = into
			r.alert = &moved
		}
	}
	t.incidentsSet[from] = incidentSet{into: into, changed: estate.At(now)}
}

// sinceFilter is the one filter of incidents that is in use.
var sinceFilter = regexp.MustCompile(`^lastUpdateTime ge (\S+)$`)

func listIncidents(w http.ResponseWriter, c call) error {
	q := c.URL.Query()
	found := c.tenant.incidents()
	if filter := q.Get("$filter"); filter != "" {
		m := sinceFilter.FindStringSubmatch(filter)
		if m == nil {
			return badRequest("ODataError", "The filter '%s' is not supported", filter)
		}
		since, err := time.Parse(time.RFC3339Nano, m[1])
		if err != nil {
			return badRequest("ODataError", "The time '%s' is not valid", m[1])
		}
		found = slices.DeleteFunc(found, func(in map[string]any) bool { return in["lastUpdateTime"].(estate.Time).Before(since) })
	}
	top, skip := 100, 0
	for name, into := range map[string]*int{"$top": &top, "$skip": &skip} {
		if text := q.Get(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 || (name == "$top" && n > 100) {
				return badRequest("ODataError", "%s is not valid", name)
			}
			*into = n
		}
	}
	found = found[min(skip, len(found)):]
	found = found[:min(top, len(found))]
	if found == nil {
		found = []map[string]any{}
	}
	return writeJSON(w, http.StatusOK, page{Context: "https://api.security.microsoft.com/api/$metadata#Incidents", Value: found})
}

func getIncident(w http.ResponseWriter, c call) error {
	for _, in := range c.tenant.incidents() {
		if strconv.FormatInt(in["incidentId"].(int64), 10) == c.PathValue("id") {
			return writeJSON(w, http.StatusOK, in)
		}
	}
	return notFound("Incident", c.PathValue("id"))
}
