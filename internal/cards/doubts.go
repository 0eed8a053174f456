package cards

import (
	"slices"
	"strings"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
)

// doubt is why an action may not take effect on a machine, or not soon.
type doubt struct{ short, long string }

// doubtsOf is what the facts of a target say against its action. They inform:
// Defender decides, and nothing is refused for them.
func doubtsOf(r approvals.Request, t approvals.Target) []doubt {
	f, ok := factsOf(t)
	if !ok || t.Kind != approvals.TargetMachine || registry[r.Action].Permission == "" {
		return nil
	}
	var all []doubt
	if r.Action == approvals.Isolate {
		all = append(all, systemDoubts(f.OS, r.Params["scope"])...)
	}
	if f.LastSeen.IsZero() || f.ReadAt.Sub(f.LastSeen) > offlineAfter {
		all = append(all, doubt{"offline", "It is probably offline; Defender waits up to three days for it."})
	}
	return append(all, sensorDoubts(f.Health)...)
}

// Systems that Defender's documentation of isolation leaves out, and those for
// which it lists only the full one. Unknown names raise no doubt.
var (
	neverIsolated = []string{
		"ios", "android", "other", "windowsxp", "windowsvista", "windows7", "windows8", "windows81", "windows8.1",
		"windowsserver2003", "windowsserver2008", "windowsserver2008r2", "windowsserver2012",
	}
	linuxes = []string{"ubuntu", "debian", "redhat", "rhel", "centos", "suse", "sles", "oracle", "fedora", "amazon", "rocky", "alma", "mariner", "linux"}
)

func systemDoubts(os, scope string) []doubt {
	os = strings.ToLower(os)
	linux := slices.ContainsFunc(linuxes, func(name string) bool { return strings.HasPrefix(os, name) })
	switch {
	case slices.Contains(neverIsolated, os):
		return []doubt{{"OS without isolation", "Defender does not list its OS for isolation, and will probably refuse."}}
	case linux && scope == "selective":
		return []doubt{{"no selective isolation on Linux", "Defender does not list Linux for selective isolation, and will probably refuse. Full isolation works there."}}
	}
	return nil
}

// sensorDoubts reads Defender's health states.
func sensorDoubts(health string) []doubt {
	switch health {
	case "Inactive":
		return []doubt{{"sensor inactive", "Its Defender sensor is inactive: it has not reported for days."}}
	case "ImpairedCommunication":
		return []doubt{{"sensor impaired", "Its Defender sensor is impaired: it may not get the order."}}
	case "NoSensorData", "NoSensorDataImpairedCommunication":
		return []doubt{{"no sensor data", "Its Defender sensor sends no data: it may not get the order."}}
	}
	return nil
}

// Doubts says in our own words what the facts of a target say against its action,
// or nothing. The more targets the request has, the fewer words.
func Doubts(r approvals.Request, t approvals.Target) chat.Text {
	var words []string
	few := len(r.Targets) <= fewTargets
	for _, d := range doubtsOf(r, t) {
		if few {
			words = append(words, d.long)
		} else {
			words = append(words, d.short)
		}
	}
	switch {
	case len(words) == 0:
		return nil
	case few:
		return chat.Bold("Beware: " + strings.Join(words, " "))
	}
	return chat.Bold("beware: " + strings.Join(words, ", "))
}
