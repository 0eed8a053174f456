package defender

import (
	"net/url"
	"strconv"
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
