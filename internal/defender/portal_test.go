package defender

import (
	"strings"
	"testing"
)

func TestPortal_readsItsOwnAddressesAlone(t *testing.T) {
	t.Parallel()
	const tenant = "6f0d2c51-7a3e-4b7c-9d14-0c5a3be1f001"
	p := Portal{base: "https://security.microsoft.com", tenant: tenant}
	machine := strings.Repeat("0123456789", 4)
	for address, want := range map[string]PortalPage{
		p.Alert("da637472900382838869_1364969609"): {PortalAlert, "da637472900382838869_1364969609"},
		p.Machine(machine):                         {PortalMachine, machine},
		p.Incident(42):                             {PortalIncident, "42"},
		"https://security.microsoft.com/machines/v2/" + machine + "/overview":         {PortalMachine, machine},
		"https://security.microsoft.com/incident2/42/overview?tid=" + tenant + "&a=b": {PortalIncident, "42"},
	} {
		if got, ok := p.Page(address); !ok || got != want {
			t.Errorf("Page(%q) = %v, %t, want %v", address, got, ok, want)
		}
	}
	link := p.Machine(machine)
	for name, address := range map[string]string{
		"another scheme":       strings.Replace(link, "https", "http", 1),
		"another host":         strings.Replace(link, "security.microsoft.com", "security.microsoft.com.evil.example", 1),
		"a host below":         strings.Replace(link, "security.", "evil.security.", 1),
		"a port":               strings.Replace(link, ".com/", ".com:444/", 1),
		"a user":               strings.Replace(link, "https://", "https://security.microsoft.com@", 1),
		"another tenant":       strings.Replace(link, "6f0d", "7f0d", 1),
		"two tenants":          link + "&tid=7f0d2c51-7a3e-4b7c-9d14-0c5a3be1f001",
		"an escaped path":      strings.Replace(link, "/machines/", "/machines%2f", 1),
		"steps upwards":        strings.Replace(link, "/machines/", "/alerts/../machines/", 1),
		"more of a path":       strings.Replace(link, "?", "/a/b?", 1),
		"a short machine":      strings.Replace(link, machine, machine[1:], 1),
		"an alert with quotes": p.Alert("da637472900382838869'_1364969609"),
		"a long number":        "https://security.microsoft.com/incidents/" + strings.Repeat("9", 19),
		"another page":         "https://security.microsoft.com/hunting",
		"no address":           "\x00://",
		"far too much":         link + "&x=" + strings.Repeat("x", 2_000),
	} {
		if got, ok := p.Page(address); ok {
			t.Errorf("%s: Page(%q) = %v, want nothing", name, address, got)
		}
	}
	if _, ok := (Portal{}).Page(link); ok {
		t.Error("a portal that is nowhere reads addresses")
	}
	if hosts := PortalHosts(); len(hosts) < 3 || len(hosts) > 5 { // Slack takes five
		t.Errorf("PortalHosts() = %q", hosts)
	}
}
