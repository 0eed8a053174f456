package estate

import (
	"fmt"
	"time"
)

// Step is one step of an attack. It happens on Machine; when the machine Through
// is cut off the network by then, neither this step nor a later one happens.
type Step struct {
	Name    string
	Machine string
	Through string
	Risk    string // what the machine's risk score becomes
	// Told is what happens, for who watches. Try is what to do about it, and Command
	// how, in which {incident} stands for the number of the attack's incident.
	Told, Try, Command string
	// Escalates says that the step raises the first alert of the attack to High.
	Escalates bool
	// Resolves says that somebody resolves the first alert in the portal. The step
	// raises none and leaves no events.
	Resolves bool

	detection detection
	events    func(at time.Time) []Event
	estate    *Estate
	machine   Machine
}

// Alert is the alert that the step raises at the given time.
func (s Step) Alert(at time.Time, n int32) Alert {
	return s.detection.alert(s.estate.Tenant, s.machine, at, n)
}

// Events are the raw events of the step.
func (s Step) Events(at time.Time) []Event {
	if s.events == nil {
		return nil
	}
	return s.events(at)
}

// free is the first of the named machines that is not cut off, or the first.
func (e *Estate) free(cutOff func(id string) bool, names ...string) Machine {
	for _, name := range names {
		for _, m := range e.Named(name) {
			if cutOff == nil || !cutOff(m.ID) {
				return m
			}
		}
	}
	return e.Named(names[0])[0]
}

// Attack describes an attack in seven steps: a document from a phishing message
// is opened on a finance workstation, starts an encoded PowerShell command, a
// tool reads passwords from memory, the stolen account moves to a file server and
// to a domain controller, somebody closes the first alert in the portal, and the
// shadow copies are deleted, as ransomware does before it encrypts. It takes
// machines that are not cut off as long as there are some.
func (e *Estate) Attack(cutOff func(id string) bool) []Step {
	first := e.free(cutOff, "ws-014", "ws-015", "ws-016", "ws-017")
	server := e.free(cutOff, "srv-fs-02", "srv-fs-01")
	controller := e.free(cutOff, "dc-01", "dc-02", "dc-03", "dc-04")
	user := mainUser(first)
	outlook := process{file: "OUTLOOK.EXE", folder: office, command: "OUTLOOK.EXE", id: 4820}
	word := process{
		file: "WINWORD.EXE", folder: office, id: 7012, parent: &outlook, status: "Detected",
		command: fmt.Sprintf(`WINWORD.EXE /n "%s\Invoice_88213.docm"`, downloads(user)),
	}
	shell := process{
		file: "powershell.exe", folder: powershell, id: 9144, parent: &word, status: "Detected",
		command: "powershell.exe -nop -w hidden -ep bypass -enc SQBFAFgAKABOAGUAdwAtAE8AYgBqAGUAYwB0ACAATgBlAHQALgBXAGUAYgBDAGwAaQBlAG4AdAApAA==",
	}
	dump := process{
		file: "rundll32.exe", folder: system32, id: 9380, parent: &shell, status: "Detected",
		command: `rundll32.exe C:\Windows\System32\comsvcs.dll, MiniDump 712 C:\ProgramData\d.bin full`,
	}
	service := process{
		file: "PSEXESVC.exe", folder: `C:\Windows`, id: 3316, status: "Detected", command: `C:\Windows\PSEXESVC.exe`,
		parent: &process{file: "services.exe", folder: system32, id: 668, command: "services.exe"},
	}
	copying := process{
		file: "ntdsutil.exe", folder: system32, id: 6212, status: "Detected",
		command: `ntdsutil.exe "ac i ntds" "ifm" "create full c:\temp\x" q q`,
		parent:  &process{file: "wsmprovhost.exe", folder: system32, id: 6100, command: "wsmprovhost.exe -Embedding"},
	}
	shadows := process{
		file: "vssadmin.exe", folder: system32, id: 5528, parent: &service, status: "Detected",
		command: "vssadmin.exe delete shadows /all /quiet",
	}
	started := func(m Machine, p process, more ...Event) func(time.Time) []Event {
		return func(at time.Time) []Event {
			events := append([]Event{{Table: "DeviceProcessEvents", MachineID: m.ID, Values: p.values(user)}}, more...)
			for i := range events {
				events[i].At = At(at.Add(-40 * time.Second))
			}
			return events
		}
	}
	steps := []Step{
		{
			Name: "A phishing document is opened", Risk: "Medium", machine: first,
			Told: "Somebody in finance opens an invoice that a message from outside linked to. The alert is Medium: it goes to #finance-security alone.",
			Try:  "See whose machine it is.", Command: "machine " + first.ShortName(),
			detection: detection{
				title: "Suspicious behavior by Microsoft Word was observed", severity: "Medium", category: "InitialAccess", source: "WindowsDefenderAtp",
				description: "Word opened a document with macros that came with a message from outside and contacted a site that was registered two days ago.",
				techniques:  []string{"T1566.001", "T1204.002"},
				evidence: func(_ Machine, at time.Time) []Evidence {
					return []Evidence{
						word.evidence(at), fileEvidence(at, downloads(user), "Invoice_88213.docm", "Detected"),
						urlEvidence(at, "https://"+phishingHost+"/Invoice_88213.docm"),
					}
				},
			},
			events: started(first, word, Event{
				Table: "DeviceFileEvents", MachineID: first.ID, Values: map[string]any{
					"ActionType": "FileCreated", "FileName": "Invoice_88213.docm", "FolderPath": downloads(user),
					"SHA1": hashOf("file", "Invoice_88213.docm"), "SHA256": sha256Of("file", "Invoice_88213.docm"),
					"InitiatingProcessFileName": outlook.file, "InitiatingProcessAccountName": user.AccountName,
				},
			}),
		},
		{
			Name: "An encoded PowerShell command runs", Risk: "High", machine: first,
			Told: "Word starts a hidden PowerShell command that fetches its orders. This one is High: it goes to the SOC on both platforms.",
			Try:  "See what the machine talks to.", Command: "hunt run network machine=" + first.ShortName(),
			detection: detection{
				title: "Suspicious PowerShell command line", severity: "High", category: "Execution", source: "WindowsDefenderAtp",
				description: detections[0].description, techniques: []string{"T1059.001", "T1027"},
				evidence: func(_ Machine, at time.Time) []Evidence {
					return []Evidence{shell.evidence(at), ipEvidence(at, commandServer)}
				},
			},
			events: started(first, shell, Event{
				Table: "DeviceNetworkEvents", MachineID: first.ID, Values: networkValues(first, shell.file, commandServer, "", 443),
			}),
		},
		{
			Name: "Passwords are read from memory", Risk: "High", machine: first, Escalates: true,
			Told: "The passwords of everybody who is logged on are written to a file. Defender raises the first alert to High, so its card turns, and it comes to the SOC as well.",
			Try:  "Stop it here: ask to cut the machine off, then be Avery and approve.", Command: "isolate " + first.ShortName() + " passwords are being stolen",
			detection: detection{
				title: "Sensitive credential memory read", severity: "High", category: "CredentialAccess", source: "WindowsDefenderAtp",
				description: "A process read the memory of lsass.exe, which holds the passwords of everyone who is logged on.",
				techniques:  []string{"T1003.001"},
				evidence: func(_ Machine, at time.Time) []Evidence {
					return []Evidence{dump.evidence(at), fileEvidence(at, `C:\ProgramData`, "d.bin", "Detected")}
				},
			},
			events: started(first, dump),
		},
		{
			Name: "The stolen account moves to a file server", Risk: "High", machine: server,
			Told: "With a stolen password the attacker starts a service on " + server.ShortName() + ". The alert joins the same incident.",
			Try:  "Cut the server off: for servers a team lead must approve, Sam or Jordan.", Command: "isolate " + server.ShortName() + " the attacker moved there",
			detection: detection{
				title: "Suspicious remote service was created", severity: "High", category: "LateralMovement", source: "WindowsDefenderAtp",
				description: "A service was created over the network with an account that was used on another device minutes before.",
				techniques:  []string{"T1021.002", "T1569.002"},
				evidence: func(_ Machine, at time.Time) []Evidence {
					return []Evidence{
						service.evidence(at), ipEvidence(at, first.LastIPAddress),
						registryEvidence(at, "HKEY_LOCAL_MACHINE", `SYSTEM\CurrentControlSet\Services\PSEXESVC`, "String", `%SystemRoot%\PSEXESVC.exe`),
					}
				},
			},
			events: started(server, service, Event{
				Table: "DeviceLogonEvents", MachineID: server.ID, Values: map[string]any{
					"ActionType": "LogonSuccess", "LogonType": "Network", "AccountDomain": e.Users[0].AccountDomain, "AccountName": "adm-server",
					"IsLocalAdmin": true, "RemoteIP": first.LastIPAddress, "RemoteDeviceName": first.ComputerDNSName,
				},
			}),
		},
		{
			Name: "The domain controller's passwords are copied", Risk: "High", machine: controller,
			Told: "From the file server the attacker reaches " + controller.ShortName() + ", a machine of tier 0, and copies the passwords of the whole domain.",
			Try:  "Tier 0 takes two approvals, of a team lead and of the identity team.", Command: "isolate " + controller.ShortName() + " the domain is being stolen",
			detection: detection{
				title: "Suspected theft of the domain's password database", severity: "High", category: "CredentialAccess", source: "WindowsDefenderAtp",
				description: "The database of the directory, which holds the passwords of the whole domain, was copied by a remote session.",
				techniques:  []string{"T1003.003", "T1021.006"},
				evidence: func(_ Machine, at time.Time) []Evidence {
					return []Evidence{copying.evidence(at), fileEvidence(at, `C:\temp\x`, "ntds.dit", "Detected"), ipEvidence(at, server.LastIPAddress)}
				},
			},
			events: started(controller, copying, Event{
				Table: "DeviceLogonEvents", MachineID: controller.ID, Values: map[string]any{
					"ActionType": "LogonSuccess", "LogonType": "Network", "AccountDomain": e.Users[0].AccountDomain, "AccountName": "adm-server",
					"IsLocalAdmin": true, "RemoteIP": server.LastIPAddress, "RemoteDeviceName": server.ComputerDNSName,
				},
			}),
		},
		{
			Name: "The first alert is resolved in the portal", machine: first, Resolves: true,
			Told: "A colleague in the Defender portal has cleaned the mailboxes and resolves the alert about the document. Its card turns quiet and drops its buttons.",
			Try:  "See what is left of the incident.", Command: "incident {incident}",
		},
		{
			Name: "Shadow copies are deleted", Risk: "High", machine: server,
			Told: "Nothing can be restored from them any more; the files are encrypted next.",
			Try:  "It is over. Release what you cut off, play it again, and be faster.", Command: "isolated",
			detection: detection{
				title: "Possible ransomware activity: shadow copies deleted", severity: "High", category: "Ransomware", source: "WindowsDefenderAtp",
				description: "All shadow copies were deleted. Ransomware does this shortly before it encrypts files, so that they cannot be restored.",
				techniques:  []string{"T1490"}, family: "Filecoder",
				evidence: func(_ Machine, at time.Time) []Evidence { return []Evidence{shadows.evidence(at)} },
			},
			events: started(server, shadows),
		},
	}
	through := []Machine{{}, first, first, first, server, {}, server}
	for i := range steps {
		steps[i].estate, steps[i].Machine, steps[i].Through = e, steps[i].machine.ID, through[i].ID
	}
	return steps
}
