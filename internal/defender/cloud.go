package defender

import "slices"

// A cloud is a set of Defender hosts that share data, audience and portal.
// Source: defender-endpoint/gov.md and the "supported hosts" part of Microsoft's
// API pages.
type cloud struct {
	hosts    []string
	audience string
	portal   string
}

const (
	commercialAudience = "https://api.securitycenter.microsoft.com"
	commercialPortal   = "https://security.microsoft.com"
	commercialGraph    = "https://graph.microsoft.com"
	dodGraphHost       = "dod-graph.microsoft.us"
)

var clouds = []cloud{
	{
		hosts: []string{
			"api.security.microsoft.com", "api.securitycenter.microsoft.com",
			"us.api.security.microsoft.com", "eu.api.security.microsoft.com", "uk.api.security.microsoft.com",
			"au.api.security.microsoft.com", "swa.api.security.microsoft.com", "ina.api.security.microsoft.com",
			"aea.api.security.microsoft.com",
			"api-us.securitycenter.microsoft.com", "api-eu.securitycenter.microsoft.com",
			"api-uk.securitycenter.microsoft.com", "api-au.securitycenter.microsoft.com",
		},
		audience: commercialAudience,
		portal:   commercialPortal,
	},
	{
		hosts:    []string{"api-gcc.securitycenter.microsoft.us"},
		audience: "https://api-gcc.securitycenter.microsoft.us",
		portal:   commercialPortal,
	},
	{
		hosts:    []string{"api-gov.securitycenter.microsoft.us"},
		audience: "https://api-gov.securitycenter.microsoft.us",
		portal:   "https://security.microsoft.us",
	},
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

// cloudOf finds the cloud of a Defender host. A loopback host stands in for the
// commercial cloud but shares its name with no other host.
func cloudOf(host string) cloud {
	for _, c := range clouds {
		if slices.Contains(c.hosts, host) {
			return c
		}
	}
	return cloud{hosts: []string{host}, audience: commercialAudience, portal: commercialPortal}
}

func graphAudienceOf(host string) string {
	if slices.Contains(graphHosts(), host) {
		return "https://" + host
	}
	return commercialGraph
}
