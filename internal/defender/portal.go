package defender

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Portal builds links into the Defender portal of one tenant. The zero value
// builds empty links.
type Portal struct {
	base   string
	tenant TenantID
}

// Alert links to an alert.
func (p Portal) Alert(id string) string { return p.link("alerts", id) }

// Machine links to a machine.
func (p Portal) Machine(id string) string { return p.link("machines", id) }

// Incident links to an incident.
func (p Portal) Incident(id int64) string {
	if id == 0 {
		return ""
	}
	return p.link("incidents", strconv.FormatInt(id, 10))
}

// Suppressions links to the rules by which Defender keeps alerts quiet.
func (p Portal) Suppressions() string {
	if p.base == "" {
		return ""
	}
	return p.base + "/securitysettings/endpoints/suppressions?" + url.Values{"tid": {string(p.tenant)}}.Encode()
}

func (p Portal) link(kind, id string) string {
	if p.base == "" || id == "" {
		return ""
	}
	return p.base + "/" + kind + "/" + url.PathEscape(id) + "?" + url.Values{"tid": {string(p.tenant)}}.Encode()
}

// PortalKind is what a page of the portal is about.
type PortalKind string

// The kinds of page that [Portal.Page] knows.
const (
	PortalAlert    PortalKind = "alert"
	PortalMachine  PortalKind = "machine"
	PortalIncident PortalKind = "incident"
)

// PortalPage is what an address of the portal is about.
type PortalPage struct {
	Kind PortalKind
	ID   string
}

// portalPaths are the paths of those pages, also older ones.
var portalPaths = []struct {
	kind PortalKind
	path *regexp.Regexp
}{
	{PortalAlert, regexp.MustCompile(`^/alerts/([a-z]{2}[0-9]{12,24}(?:_-?[0-9]{1,12})?)(?:/[a-z-]{1,20})?/?$`)},
	{PortalMachine, regexp.MustCompile(`^/machines/(?:v2/)?([0-9a-f]{40})(?:/[a-z-]{1,20})?/?$`)},
	{PortalIncident, regexp.MustCompile(`^/incidents?2?/([0-9]{1,18})(?:/[a-z-]{1,20})?/?$`)},
}

// Page tells what an address of this portal is about. Whoever wrote the address may
// want something by it: it is taken apart and never followed, its host has to be the
// portal's own, and an address of another tenant is none.
func (p Portal) Page(address string) (PortalPage, bool) {
	if p.base == "" || len(address) > 2_000 {
		return PortalPage{}, false
	}
	u, err := url.Parse(address)
	if err != nil || u.User != nil || u.Opaque != "" || u.RawPath != "" || u.Scheme+"://"+u.Host != p.base {
		return PortalPage{}, false
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || len(query["tid"]) > 1 || query.Has("tid") && !strings.EqualFold(query.Get("tid"), string(p.tenant)) {
		return PortalPage{}, false
	}
	for _, one := range portalPaths {
		if found := one.path.FindStringSubmatch(u.Path); found != nil {
			return PortalPage{Kind: one.kind, ID: found[1]}, true
		}
	}
	return PortalPage{}, false
}

// PortalHosts are the hosts of the portal in every cloud.
func PortalHosts() []string {
	var hosts []string
	for _, c := range clouds {
		if host := strings.TrimPrefix(c.portal, "https://"); !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}
