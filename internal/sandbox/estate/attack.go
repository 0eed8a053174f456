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
	// Escalates says that the step raises the first alert of the attack to High.
	Escalates bool

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
func (s Step) Events(at time.Time) []Event { return s.events(at) }

// Attack describes an attack in five steps: a document from a phishing message
// is opened on a finance workstation, starts an encoded PowerShell command, a
// tool reads passwords from memory, the stolen account moves to a file server,
// and there the shadow copies are deleted, as ransomware does before it
// encrypts.
func (e *Estate) Attack() []Step {
	first, server := e.Named("ws-014")[0], e.Named("srv-fs-02")[0]
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
			Name: "Shadow copies are deleted", Risk: "High", machine: server,
			detection: detection{
				title: "Possible ransomware activity: shadow copies deleted", severity: "High", category: "Ransomware", source: "WindowsDefenderAtp",
				description: "All shadow copies were deleted. Ransomware does this shortly before it encrypts files, so that they cannot be restored.",
				techniques:  []string{"T1490"}, family: "Filecoder",
				evidence: func(_ Machine, at time.Time) []Evidence { return []Evidence{shadows.evidence(at)} },
			},
			events: started(server, shadows),
		},
	}
	through := []Machine{{}, first, first, first, server}
	for i := range steps {
		steps[i].estate, steps[i].Machine, steps[i].Through = e, steps[i].machine.ID, through[i].ID
	}
	return steps
}
