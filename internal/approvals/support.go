package approvals

import (
	"slices"
	"strings"
)

// Doubt is what Defender's documentation says against an action on a system. It
// informs, and Defender decides, unless Never is set.
type Doubt struct {
	Short, Long string
	// Never: the documentation rules it out, so it is not asked for.
	Never bool
}

// Systems that Defender's documentation of response actions leaves out. Unknown
// names raise no doubt.
var unlisted = []string{
	"ios", "android", "other", "windowsxp", "windowsvista", "windows7", "windows8", "windows81", "windows8.1",
	"windowsserver2003", "windowsserver2008", "windowsserver2008r2", "windowsserver2012",
}

var linuxes = []string{"ubuntu", "debian", "redhat", "rhel", "centos", "suse", "sles", "oracle", "fedora", "amazon", "rocky", "alma", "mariner", "linux"}

func isLinux(system string) bool {
	system = strings.ToLower(system)
	return slices.ContainsFunc(linuxes, func(name string) bool { return strings.HasPrefix(system, name) })
}

func isUnlisted(system string) bool { return slices.Contains(unlisted, strings.ToLower(system)) }

func isolationDoubts(params map[string]string, system string) []Doubt {
	switch {
	case isUnlisted(system):
		return []Doubt{{Short: "OS without isolation", Long: "Defender does not list its OS for isolation, and will probably refuse."}}
	case isLinux(system) && params["scope"] == "selective":
		return []Doubt{{
			Short: "no selective isolation on Linux",
			Long:  "Defender does not offer selective isolation on Linux. Full isolation works there.", Never: true,
		}}
	}
	return nil
}

// Programs are restricted by a code integrity policy that older Windows lacks.
var withoutRestriction = append([]string{"windowsserver2012r2", "windowsserver2016"}, unlisted...)

func restrictionDoubts(_ map[string]string, system string) []Doubt {
	switch {
	case isLinux(system), strings.EqualFold(system, "macOS"):
		return []Doubt{{
			Short: "no restriction there", Long: "Defender restricts programs on Windows alone. Isolating it works.", Never: true,
		}}
	case slices.Contains(withoutRestriction, strings.ToLower(system)):
		return []Doubt{{Short: "OS without restriction", Long: "Defender does not list its OS for restricting programs, and will probably refuse."}}
	}
	return nil
}

func scanDoubts(_ map[string]string, system string) []Doubt {
	return unlistedDoubts(system, "OS without scans", "scans")
}

func packageDoubts(_ map[string]string, system string) []Doubt {
	return unlistedDoubts(system, "OS without packages", "investigation packages")
}

func quarantineDoubts(_ map[string]string, system string) []Doubt {
	if isLinux(system) || strings.EqualFold(system, "macOS") {
		return []Doubt{{
			Short: "no quarantine there", Long: "Defender quarantines files on Windows alone. Isolating it works, and so does a block of the file.", Never: true,
		}}
	}
	return unlistedDoubts(system, "OS without quarantine", "quarantining files")
}

func unlistedDoubts(system, short, what string) []Doubt {
	if !isUnlisted(system) {
		return nil
	}
	return []Doubt{{Short: short, Long: "Defender does not list its OS for " + what + ", and will probably refuse."}}
}
