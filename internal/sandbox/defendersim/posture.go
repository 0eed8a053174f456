package defendersim

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/entrasim"
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
	uris, exposed := []string{}, map[string]any{"requestedAccessTokenVersion": nil, "oauth2PermissionScopes": []any{}, "preAuthorizedApplications": []any{}}
	if api := app.API; api != nil {
		uris = append(uris, api.URI)
		exposed = exposedAPI(*api)
	}
	return writeJSON(w, http.StatusOK, map[string]any{
		"appId": app.ID, "passwordCredentials": secrets, "keyCredentials": keys, "identifierUris": uris, "api": exposed,
	})
}

func exposedAPI(api entrasim.API) map[string]any {
	scopes, clients, ids := []map[string]any{}, []map[string]any{}, []string{}
	for i, s := range api.Scopes {
		ids = append(ids, fmt.Sprintf("5c0e0000-0000-4000-8000-%012d", i))
		scopes = append(scopes, map[string]any{"id": ids[i], "value": s, "isEnabled": true, "type": "User"})
	}
	for _, c := range api.Clients {
		clients = append(clients, map[string]any{"appId": c, "delegatedPermissionIds": ids})
	}
	version := any(nil)
	if api.TokenVersion != 0 {
		version = api.TokenVersion
	}
	return map[string]any{"requestedAccessTokenVersion": version, "oauth2PermissionScopes": scopes, "preAuthorizedApplications": clients}
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
