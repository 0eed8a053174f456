package defendersim

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/estate"
)

// The families of scores, software and vulnerabilities, and of incidents.
const (
	FamilyPosture   Family = "vulnerabilities and scores"
	FamilyIncidents Family = "incidents"
)

func exposureScore(w http.ResponseWriter, c call) error {
	return writeJSON(w, http.StatusOK, map[string]any{
		"@odata.context": metadata("ExposureScore/$entity"), "time": estate.At(c.tenant.server.now()), "score": 33.491554051195706,
	})
}

func secureScore(w http.ResponseWriter, c call) error {
	return writeJSON(w, http.StatusOK, map[string]any{
		"@odata.context": metadata("ConfigurationScore/$entity"), "time": estate.At(c.tenant.server.now()), "score": 340,
	})
}

// software is the same in every tenant.
var software = []map[string]any{
	{"id": "microsoft-_-internet_explorer", "name": "internet_explorer", "vendor": "microsoft", "weaknesses": 67, "publicExploit": true, "activeAlert": false, "exposedMachines": 12, "impactScore": 46.2037163},
	{"id": "apache-_-log4j", "name": "log4j", "vendor": "apache", "weaknesses": 4, "publicExploit": true, "activeAlert": true, "exposedMachines": 3, "impactScore": 12.5},
	{"id": "7-zip-_-7-zip", "name": "7-zip", "vendor": "7-zip", "weaknesses": 2, "publicExploit": false, "activeAlert": false, "exposedMachines": 20, "impactScore": 1.25},
}

func listSoftware(w http.ResponseWriter, _ call) error {
	return writeJSON(w, http.StatusOK, page{Context: metadata("Software"), Value: software})
}

// exposed is how many machines each vulnerability concerns.
var vulnerabilities = []struct {
	id, severity, text string
	cvss               float64
	exposed            int
	exploit            bool
}{
	{"CVE-2021-44228", "Critical", "Apache Log4j2 JNDI features do not protect against attacker controlled LDAP and other JNDI related endpoints.", 10, 3, true},
	{"CVE-2019-0608", "Medium", "A spoofing vulnerability exists when Microsoft Browsers does not properly parse HTTP content.", 4.3, 2, false},
}

func getVulnerability(w http.ResponseWriter, c call) error {
	for _, v := range vulnerabilities {
		if v.id != c.PathValue("id") {
			continue
		}
		return writeJSON(w, http.StatusOK, map[string]any{
			"@odata.context": metadata("Vulnerabilities/$entity"), "id": v.id, "name": v.id, "description": v.text,
			"severity": v.severity, "cvssV3": v.cvss, "exposedMachines": v.exposed, "publishedOn": "2021-12-10T00:00:00Z", "updatedOn": "2024-04-03T00:00:00Z",
			"publicExploit": v.exploit, "exploitVerified": v.exploit, "exploitInKit": false, "exploitTypes": []string{}, "exploitUris": []string{},
			"CveSupportability": "supported", "EPSS": 0.94,
		})
	}
	return notFound("Vulnerability", c.PathValue("id"))
}

func machineReferences(w http.ResponseWriter, c call) error {
	for _, v := range vulnerabilities {
		if v.id != c.PathValue("id") {
			continue
		}
		rows := []map[string]any{}
		for _, m := range c.tenant.allMachines()[:v.exposed] {
			// Names come with trailing spaces at times.
			rows = append(rows, map[string]any{"id": m.ID, "computerDnsName": m.ComputerDNSName + " ", "osPlatform": m.OSPlatform, "rbacGroupName": m.RBACGroupName})
		}
		return writeJSON(w, http.StatusOK, page{Context: metadata("MachineReferences"), Value: rows})
	}
	return notFound("Vulnerability", c.PathValue("id"))
}

// incident is Defender XDR's view of the alerts that share an incident ID.
func (t *Tenant) incidents() []map[string]any {
	of := map[int64][]*estate.Alert{}
	for _, a := range t.visibleAlerts(func(*estate.Alert) bool { return true }) {
		of[a.IncidentID] = append(of[a.IncidentID], a)
	}
	var out []map[string]any
	for id, alerts := range of {
		if id != 0 {
			out = append(out, t.incidentOf(id, alerts))
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
			"assignedTo": a.AssignedTo, "mitreTechniques": a.MitreTechniques, "devices": devices, "entities": []any{},
		})
	}
	status := "Active"
	if !open {
		status = "Resolved"
	}
	return map[string]any{
		"incidentId": id, "redirectIncidentId": nil, "incidentName": name, "createdTime": first.AlertCreationTime, "lastUpdateTime": updated,
		"assignedTo": nil, "classification": "Unknown", "determination": "NotAvailable", "status": status, "severity": worst,
		"tags": []string{}, "comments": []any{}, "alerts": rows,
	}
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

var keyed = regexp.MustCompile(`^(applications\(appId|devices\(deviceId)='([0-9a-fA-F-]{36})'\)$`)

// getApplication tells about a registration of this tenant; one that was made in
// another and only consented to here is not found.
func getApplication(w http.ResponseWriter, c call) error {
	id, err := graphKey(c, "applications(appId")
	if err != nil {
		return err
	}
	app, ok := c.tenant.server.entra.App(c.tenant.id, id)
	if !ok || app.Foreign {
		return graphNotFound(id)
	}
	secrets, keys := []map[string]any{}, []map[string]any{}
	if app.Secret != "" {
		ends := any(nil)
		if !app.SecretExpires.IsZero() {
			ends = app.SecretExpires.UTC().Format(time.RFC3339)
		}
		secrets = append(secrets, map[string]any{"displayName": "mdebot", "hint": app.Secret[:min(3, len(app.Secret))], "endDateTime": ends})
	}
	for _, k := range app.Certificates {
		keys = append(keys, map[string]any{"displayName": k.Subject.CommonName, "endDateTime": k.NotAfter.UTC().Format(time.RFC3339)})
	}
	return writeJSON(w, http.StatusOK, map[string]any{"appId": app.ID, "passwordCredentials": secrets, "keyCredentials": keys})
}

// deviceOwners names the main user of a machine. Who may not read people gets
// their object ID alone.
func deviceOwners(w http.ResponseWriter, c call) error {
	id, err := graphKey(c, "devices(deviceId")
	if err != nil || c.PathValue("of") != "registeredOwners" {
		return graphNotFound(c.PathValue("entity"))
	}
	for _, m := range c.tenant.allMachines() {
		if !strings.EqualFold(deref(m.AADDeviceID), id) {
			continue
		}
		owners := []map[string]any{}
		if len(m.Users) > 0 {
			u := m.Users[0]
			one := map[string]any{"@odata.type": "#microsoft.graph.user", "id": u.ObjectID, "displayName": nil, "userPrincipalName": nil}
			if c.may("User.Read.All", "Directory.Read.All") {
				one["displayName"], one["userPrincipalName"] = u.DisplayName, u.Principal
			}
			owners = append(owners, one)
		}
		return writeJSON(w, http.StatusOK, page{Context: "https://graph.microsoft.com/v1.0/$metadata#directoryObjects", Value: owners})
	}
	return graphNotFound(id)
}

func graphKey(c call, kind string) (string, error) {
	segment, err := url.PathUnescape(c.PathValue("entity"))
	if err != nil {
		return "", graphNotFound(c.PathValue("entity"))
	}
	m := keyed.FindStringSubmatch(segment)
	if m == nil || m[1] != kind {
		return "", graphNotFound(segment)
	}
	return strings.ToLower(m[2]), nil
}

func graphNotFound(id string) error {
	return &apiError{
		status: http.StatusNotFound, code: "Request_ResourceNotFound",
		message: "Resource '" + id + "' does not exist or one of its queried reference-property objects are not present.",
	}
}
