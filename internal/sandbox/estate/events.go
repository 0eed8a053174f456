package estate

import (
	"fmt"
	"slices"
	"time"
)

// events fills the hunting tables with a week of what machines do all day.
func (g *generator) events() {
	for _, m := range g.estate.Machines {
		if m.Offline || m.OnboardingStatus != "Onboarded" {
			continue
		}
		for range 4 {
			g.processEvent(m)
		}
		for range 3 {
			g.networkEvent(m)
		}
		for range 2 {
			g.logonEvent(m)
		}
		g.fileEvent(m)
	}
	slices.SortStableFunc(g.estate.Events, func(a, b Event) int { return a.At.Compare(b.At.Time) })
}

func (g *generator) event(table string, m Machine, values map[string]any) {
	g.estate.Events = append(g.estate.Events, Event{
		Table: table, At: At(g.ago(time.Minute, 7*day)), MachineID: m.ID, Values: values,
	})
}

var everydayWindows = []process{
	{file: "chrome.exe", folder: `C:\Program Files\Google\Chrome\Application`, command: "chrome.exe --type=renderer"},
	{file: "OUTLOOK.EXE", folder: office, command: "OUTLOOK.EXE"},
	{file: "svchost.exe", folder: system32, command: "svchost.exe -k netsvcs -p -s Schedule"},
	{file: "powershell.exe", folder: powershell, command: `powershell.exe -File C:\Scripts\inventory.ps1`},
	{file: "Teams.exe", folder: `C:\Program Files\WindowsApps\MSTeams`, command: "Teams.exe"},
}

var everydayUnix = []process{
	{file: "bash", folder: "/usr/bin", command: "bash -c uptime"},
	{file: "nginx", folder: "/usr/sbin", command: "nginx: worker process"},
	{file: "python3", folder: "/usr/bin", command: "python3 /opt/app/worker.py"},
}

func everyday(m Machine) []process {
	if isWindows(m) {
		return everydayWindows
	}
	return everydayUnix
}

func (g *generator) processEvent(m Machine) {
	p := pick(g, everyday(m))
	p.id = int64(1000 + g.rand.IntN(30000))
	parent := process{file: "explorer.exe", id: 4412, command: "explorer.exe"}
	if !isWindows(m) {
		parent = process{file: "systemd", id: 1, command: "/sbin/init"}
	}
	p.parent = &parent
	g.event("DeviceProcessEvents", m, p.values(mainUser(m)))
}

// values are the columns of the process's creation.
func (p process) values(u User) map[string]any {
	v := map[string]any{
		"ActionType": "ProcessCreated", "FileName": p.file, "FolderPath": p.folder, "SHA1": p.sha1(), "SHA256": p.sha256(),
		"ProcessId": p.id, "ProcessCommandLine": p.command, "AccountDomain": u.AccountDomain, "AccountName": u.AccountName,
	}
	if p.parent != nil {
		v["InitiatingProcessFileName"], v["InitiatingProcessId"] = p.parent.file, p.parent.id
		v["InitiatingProcessCommandLine"] = p.parent.command
	}
	return v
}

func networkValues(m Machine, process, ip, url string, port int64) map[string]any {
	return map[string]any{
		"ActionType": "ConnectionSuccess", "RemoteIP": ip, "RemotePort": port, "RemoteUrl": url,
		"LocalIP": m.LastIPAddress, "Protocol": "Tcp", "InitiatingProcessFileName": process,
		"InitiatingProcessAccountName": mainUser(m).AccountName,
	}
}

func (g *generator) networkEvent(m Machine) {
	host := pick(g, []string{"outlook.office365.example", "updates.contoso.com", "cdn.contoso.com", ""})
	g.event("DeviceNetworkEvents", m, networkValues(m, pick(g, everyday(m)).file, fmt.Sprintf("192.0.2.%d", 1+g.rand.IntN(250)), host, 443))
}

func (g *generator) logonEvent(m Machine) {
	u := mainUser(m)
	g.event("DeviceLogonEvents", m, map[string]any{
		"ActionType": pick(g, []string{"LogonSuccess", "LogonSuccess", "LogonSuccess", "LogonFailed"}), "LogonType": "Interactive",
		"AccountDomain": u.AccountDomain, "AccountName": u.AccountName, "IsLocalAdmin": u.IsDomainAdmin,
	})
}

func (g *generator) fileEvent(m Machine) {
	name := fmt.Sprintf("report-%d.xlsx", g.rand.IntN(500))
	g.event("DeviceFileEvents", m, map[string]any{
		"ActionType": "FileCreated", "FileName": name, "FolderPath": downloads(mainUser(m)),
		"SHA1": hashOf("file", name), "SHA256": sha256Of("file", name),
		"InitiatingProcessFileName": pick(g, everyday(m)).file, "InitiatingProcessAccountName": mainUser(m).AccountName,
	})
}
