package defendersim

import (
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/estate"
)

// Files, addresses and host names are those that the evidence of alerts holds:
// prevalence counts the machines of those alerts.

// FamilyEnrichment is files, addresses and domains.
const FamilyEnrichment Family = "enrichment"

var (
	hashPattern   = regexp.MustCompile(`^([0-9a-fA-F]{40}|[0-9a-fA-F]{64})$`)
	domainPattern = regexp.MustCompile(`^[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)+$`)
)

// sighting is one piece of evidence with its alert.
type sighting struct {
	alert    *estate.Alert
	evidence estate.Evidence
}

func (t *Tenant) sightings(is func(estate.Evidence) bool) []sighting {
	var found []sighting
	for _, a := range t.visibleAlerts(func(*estate.Alert) bool { return true }) {
		for _, e := range a.Evidence {
			if is(e) {
				found = append(found, sighting{a, e})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b sighting) int { return a.alert.AlertCreationTime.Compare(b.alert.AlertCreationTime.Time) })
	return found
}

func (t *Tenant) fileSightings(hash string) []sighting {
	return t.sightings(func(e estate.Evidence) bool {
		return strings.EqualFold(deref(e.SHA1), hash) || strings.EqualFold(deref(e.SHA256), hash)
	})
}

func (t *Tenant) ipSightings(ip string) []sighting {
	return t.sightings(func(e estate.Evidence) bool { return e.EntityType == "Ip" && deref(e.IPAddress) == ip })
}

func (t *Tenant) domainSightings(host string) []sighting {
	return t.sightings(func(e estate.Evidence) bool {
		u, err := url.Parse(deref(e.URL))
		return err == nil && u.Host != "" && strings.EqualFold(u.Hostname(), host)
	})
}

func badHash(hash string) error {
	return badRequest("InvalidHashValue", "Hash value '%s' is not valid", hash)
}

func getFile(w http.ResponseWriter, c call) error {
	hash := c.PathValue("hash")
	if !hashPattern.MatchString(hash) {
		return badHash(hash)
	}
	found := c.tenant.fileSightings(hash)
	if len(found) == 0 {
		return notFound("File", hash)
	}
	first := found[0].evidence
	return writeJSON(w, http.StatusOK, map[string]any{
		"@odata.context": metadata("Files/$entity"),
		"sha1":           first.SHA1, "sha256": first.SHA256, "globalPrevalence": 4711,
		"globalFirstObserved": found[0].alert.FirstEventTime, "globalLastObserved": found[len(found)-1].alert.LastEventTime,
		"size": 245760, "fileType": "PE", "isPeFile": true, "filePublisher": "Fabrikam Tools", "fileProductName": first.FileName,
		"signer": "Fabrikam Tools", "issuer": "Fabrikam Code Signing CA", "signerHash": nil, "isValidCertificate": false,
		"determinationType": "Malware", "determinationValue": "Trojan:Win32/Contoso.A",
	})
}

// stats answers prevalence within the hours asked for.
func stats(w http.ResponseWriter, c call, kind, key, value string, found []sighting) error {
	hours := 720
	if q := c.URL.Query().Get("lookBackHours"); q != "" {
		n, err := strconv.Atoi(q)
		if err != nil || n < 1 || n > 720 {
			return badRequest("InvalidInput", "lookBackHours must be between 1 and 720")
		}
		hours = n
	}
	since := c.tenant.server.now().Add(-time.Duration(hours) * time.Hour)
	machines := map[string]bool{}
	var first, last estate.Time
	names := []string{}
	for _, s := range found {
		if s.alert.AlertCreationTime.Before(since) {
			continue
		}
		machines[deref(s.alert.MachineID)] = true
		if first.IsZero() {
			first = s.alert.FirstEventTime
		}
		last = s.alert.LastEventTime
		if name := deref(s.evidence.FileName); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	answer := map[string]any{
		"@odata.context": metadata("microsoft.windowsDefenderATP.api." + kind), key: value,
		"organizationPrevalence": len(machines), "orgPrevalence": strconv.Itoa(len(machines)), "orgFirstSeen": first, "orgLastSeen": last,
	}
	if kind == "InOrgFileStats" {
		answer["topFileNames"], answer["globallyPrevalence"] = names, 4711
	}
	return writeJSON(w, http.StatusOK, answer)
}

func fileStats(w http.ResponseWriter, c call) error {
	hash := c.PathValue("hash")
	if !hashPattern.MatchString(hash) {
		return badHash(hash)
	}
	found := c.tenant.fileSightings(hash)
	if len(found) == 0 {
		return notFound("File", hash)
	}
	return stats(w, c, "InOrgFileStats", "sha1", deref(found[0].evidence.SHA1), found)
}

func ipStats(w http.ResponseWriter, c call) error {
	ip := c.PathValue("ip")
	if _, err := netip.ParseAddr(ip); err != nil {
		return badRequest("InvalidIpAddress", "IP address '%s' is not valid", ip)
	}
	return stats(w, c, "InOrgIPStats", "ipAddress", ip, c.tenant.ipSightings(ip))
}

func domainStats(w http.ResponseWriter, c call) error {
	host := c.PathValue("host")
	if !domainPattern.MatchString(host) {
		return badRequest("InvalidDomainName", "Domain name '%s' is not valid", host)
	}
	return stats(w, c, "InOrgDomainStats", "host", host, c.tenant.domainSightings(host))
}

// related lists the alerts or machines of what the path names.
func related(w http.ResponseWriter, c call) error {
	value := c.PathValue("value")
	var found []sighting
	switch c.PathValue("kind") {
	case "files":
		if len(value) != 40 || !hashPattern.MatchString(value) {
			return badHash(value)
		}
		found = c.tenant.fileSightings(value)
	case "ips":
		found = c.tenant.ipSightings(value)
	default:
		found = c.tenant.domainSightings(value)
	}
	if c.PathValue("what") == "alerts" {
		var alerts []*estate.Alert
		for _, s := range found {
			if !slices.Contains(alerts, s.alert) {
				alerts = append(alerts, s.alert)
			}
		}
		return serveAlerts(w, c, alerts)
	}
	machines := slices.DeleteFunc(c.tenant.allMachines(), func(m estate.Machine) bool {
		return !slices.ContainsFunc(found, func(s sighting) bool { return deref(s.alert.MachineID) == m.ID })
	})
	return serveMachines(w, c, machines, query[estate.Machine]{match: all[estate.Machine], order: machineEntity.natural, top: -1})
}

func all[T any](T) bool { return true }

// userMachines and userAlerts take an account name, never a principal.
func userMachines(w http.ResponseWriter, c call) error {
	account := c.PathValue("account")
	machines := slices.DeleteFunc(c.tenant.allMachines(), func(m estate.Machine) bool {
		return !slices.ContainsFunc(m.Users, func(u estate.User) bool { return strings.EqualFold(u.AccountName, account) })
	})
	return serveMachines(w, c, machines, query[estate.Machine]{match: all[estate.Machine], order: machineEntity.natural, top: -1})
}

func userAlerts(w http.ResponseWriter, c call) error {
	account := c.PathValue("account")
	return serveAlerts(w, c, c.tenant.visibleAlerts(func(a *estate.Alert) bool {
		return a.RelatedUser != nil && strings.EqualFold(a.RelatedUser.UserName, account)
	}))
}

// tagMachine adds or removes one tag.
func tagMachine(w http.ResponseWriter, c call) error {
	var value, action string
	if err := decodeBody(c.Request, map[string]any{"Value": &value, "Action": &action}); err != nil {
		return err
	}
	if value == "" || (action != "Add" && action != "Remove") {
		return badRequest("InvalidInput", "Value and Action (Add or Remove) are required")
	}
	m, err := c.tenant.setTag(c.PathValue("id"), c.app, value, action == "Add")
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, machineAnswer{metadata("Machines/$entity"), m})
}

func (t *Tenant) setTag(machineID, app, tag string, add bool) (estate.Machine, error) {
	now, unlock := t.lock()
	defer unlock()
	m := t.machines[strings.ToLower(machineID)]
	if m == nil {
		return estate.Machine{}, notFound("Machine", machineID)
	}
	changed := *m
	changed.MachineTags = slices.DeleteFunc(slices.Clone(m.MachineTags), func(have string) bool { return have == tag })
	detail := "Remove " + tag
	if add {
		changed.MachineTags, detail = append(changed.MachineTags, tag), "Add "+tag
	}
	t.machines[m.ID] = &changed
	t.effects = append(t.effects, Effect{At: now, Kind: EffectTag, App: app, MachineID: m.ID, Detail: detail})
	return changed, nil
}
