package defender

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// A cloud is one of Microsoft's: its Entra authority, hosts, audiences and
// portal belong together. Source: defender-endpoint/gov.md, defender-xdr/usgov.md
// and the "supported hosts" part of Microsoft's API pages.
type cloud struct {
	name      string
	authority string
	base      string
	xdr       string
	graph     string

	audience    string
	xdrAudience string

	portal string
	// hosts are all hosts of base and xdr, which share data.
	hosts []string
}

const (
	commercialAudience = "https://api.securitycenter.microsoft.com"
	commercialXDR      = "https://api.security.microsoft.com"
	commercialPortal   = "https://security.microsoft.com"
	commercialGraph    = "https://graph.microsoft.com"
	publicAuthority    = "https://login.microsoftonline.com"
	usAuthority        = "https://login.microsoftonline.us"
	gccHigh            = "https://api-gov.securitycenter.microsoft.us"
	gccHighXDR         = "https://api-gov.security.microsoft.us"
)

// Commercial is the cloud when none is named.
const Commercial = "commercial"

// clouds are all of them; the first is the one that stands in for unknown hosts
// of this machine.
var clouds = []cloud{
	{
		name: Commercial, authority: publicAuthority, base: commercialXDR, xdr: commercialXDR, graph: commercialGraph,
		audience: commercialAudience, xdrAudience: commercialXDR, portal: commercialPortal,
		hosts: append([]string{"api.security.microsoft.com", "api.securitycenter.microsoft.com"}, regionalHosts()...),
	},
	{
		name: "gcc", authority: publicAuthority, base: "https://api-gcc.securitycenter.microsoft.us", xdr: "https://api-gcc.security.microsoft.us", graph: commercialGraph,
		audience: "https://api-gcc.securitycenter.microsoft.us", xdrAudience: "https://api-gcc.security.microsoft.us", portal: commercialPortal,
		hosts: []string{"api-gcc.securitycenter.microsoft.us", "api-gcc.security.microsoft.us"},
	},
	{
		name: "gcc-high", authority: usAuthority, base: gccHigh, xdr: gccHighXDR, graph: "https://graph.microsoft.us",
		audience: gccHigh, xdrAudience: gccHighXDR, portal: "https://security.microsoft.us",
		hosts: []string{"api-gov.securitycenter.microsoft.us", "api-gov.security.microsoft.us"},
	},
	{
		name: "dod", authority: usAuthority, base: gccHigh, xdr: gccHighXDR, graph: "https://" + dodGraphHost,
		audience: gccHigh, xdrAudience: gccHighXDR, portal: "https://security.apps.mil",
		hosts: []string{"api-gov.securitycenter.microsoft.us", "api-gov.security.microsoft.us"},
	},
}

const dodGraphHost = "dod-graph.microsoft.us"

// regionalHosts serve the commercial cloud nearer to its tenants. Numbered ones
// such as api-us3 are seen in answers.
func regionalHosts() []string {
	var all []string
	for _, region := range []string{"us", "eu", "uk", "au", "swa", "ina", "aea"} {
		all = append(all, region+".api.security.microsoft.com")
	}
	for _, region := range []string{"us", "eu", "uk", "au"} {
		all = append(all, "api-"+region+".securitycenter.microsoft.com")
		for n := 1; n <= 9; n++ {
			all = append(all, fmt.Sprintf("api-%s%d.securitycenter.microsoft.com", region, n))
		}
	}
	return all
}

// CloudNames are the values of MDE_CLOUD.
func CloudNames() []string {
	names := make([]string, len(clouds))
	for i, c := range clouds {
		names[i] = c.name
	}
	return names
}

func cloudNamed(name string) (cloud, bool) {
	i := slices.IndexFunc(clouds, func(c cloud) bool { return strings.EqualFold(c.name, name) })
	if i < 0 {
		return clouds[0], false
	}
	return clouds[i], true
}

var authorityHosts = []string{"login.microsoftonline.com", "login.microsoftonline.us", "login.windows.net"}

func defenderHosts() []string {
	var all []string
	for _, c := range clouds {
		all = append(all, c.hosts...)
	}
	return all
}

func graphHosts() []string {
	return []string{"graph.microsoft.com", "graph.microsoft.us", dodGraphHost}
}

// cloudOf finds the cloud of an address of Defender.
func cloudOf(address string) (cloud, bool) {
	base, err := ParseBaseURL(address)
	if err != nil {
		return cloud{}, false
	}
	u, err := url.Parse(base)
	if err != nil {
		return cloud{}, false
	}
	for _, c := range clouds {
		if slices.Contains(c.hosts, u.Host) {
			return c, true
		}
	}
	return cloud{}, false
}

// graphAudienceOf is what tokens for a Graph address are asked for.
func graphAudienceOf(address string) string {
	if u, err := url.Parse(address); err == nil && slices.Contains(graphHosts(), u.Host) {
		return "https://" + u.Host
	}
	return commercialGraph
}

// ParseBaseURL takes the address of Defender in the forms that people paste:
// with or without scheme, /api, a version and slashes, and with hosts of
// earlier years. What it returns has no path.
func ParseBaseURL(raw string) (string, error) {
	s := strings.TrimSpace(raw)
	if !strings.Contains(s, "://") && s != "" {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return "", errBare
	}
	switch path := strings.ToLower(strings.Trim(u.Path, "/")); path {
	case "", "api", "api/v1.0", "api/v1":
		u.Path, u.RawPath = "", ""
	default:
		return "", errBare
	}
	u.Host = strings.ToLower(u.Host)
	if name, old := strings.CutSuffix(u.Hostname(), ".securitycenter.windows.com"); old {
		u.Host = name + ".securitycenter.microsoft.com"
	}
	base, err := parseBase(u.String(), defenderHosts())
	if err != nil {
		return "", err
	}
	return base.String(), nil
}

var errBare = errors.New("give a bare address such as https://api.security.microsoft.com")
