package cards

import (
	"strings"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
)

// doubtsOf is what the facts of a target say against its action: by its system, as
// the registry knows it, and by what the sensor reports. They inform: Defender
// decides.
func doubtsOf(r approvals.Request, t approvals.Target) []approvals.Doubt {
	f, ok := factsOf(t)
	if !ok || t.Kind != approvals.TargetMachine || registry[r.Action].Local() {
		return nil
	}
	all := registry[r.Action].Doubts(r.Params, f.OS)
	if f.File != nil && f.File.Here == "no" {
		all = append(all, approvals.Doubt{Short: "file not seen there", Long: "Defender has not seen the file on this machine within thirty days."})
	}
	if f.LastSeen.IsZero() || f.ReadAt.Sub(f.LastSeen) > offlineAfter {
		all = append(all, approvals.Doubt{Short: "offline", Long: "It is probably offline; Defender waits up to three days for it."})
	}
	if f.VPN && r.Action == approvals.Isolate {
		all = append(all, approvals.Doubt{Short: "VPN", Long: "It seems to be on a VPN: with a full tunnel it loses Defender as well, and its release may not arrive."})
	}
	return append(all, sensorDoubts(f.Health)...)
}

// sensorDoubts reads Defender's health states.
func sensorDoubts(health string) []approvals.Doubt {
	switch health {
	case "Inactive":
		return []approvals.Doubt{{Short: "sensor inactive", Long: "Its Defender sensor is inactive: it has not reported for days."}}
	case "ImpairedCommunication":
		return []approvals.Doubt{{Short: "sensor impaired", Long: "Its Defender sensor is impaired: it may not get the order."}}
	case "NoSensorData", "NoSensorDataImpairedCommunication":
		return []approvals.Doubt{{Short: "no sensor data", Long: "Its Defender sensor sends no data: it may not get the order."}}
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
			words = append(words, d.Long)
		} else {
			words = append(words, d.Short)
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
