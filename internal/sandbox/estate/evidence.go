package estate

import (
	"fmt"
	"strings"
	"time"
)

// process describes one process for evidence and events.
type process struct {
	file, folder, command string
	id                    int64
	parent                *process
	status                string // Detected, Blocked, …
}

func (p process) sha1() string   { return hashOf("file", p.file) }
func (p process) sha256() string { return sha256Of("file", p.file) }

func (p process) evidence(at time.Time) Evidence {
	e := Evidence{
		EntityType: "Process", EvidenceCreationTime: At(at),
		SHA1: ptr(p.sha1()), SHA256: ptr(p.sha256()),
		FileName: ptr(p.file), FilePath: ptr(p.folder),
		ProcessID: ptr(p.id), ProcessCommandLine: ptr(p.command), ProcessCreationTime: At(at),
		DetectionStatus: ptr(p.status),
	}
	if p.parent != nil {
		e.ParentProcessID = ptr(p.parent.id)
		e.ParentProcessCreationTime = At(at.Add(-40 * time.Second))
		e.ParentProcessFileName = ptr(p.parent.file)
		e.ParentProcessFilePath = ptr(p.parent.folder)
	}
	return e
}

func fileEvidence(at time.Time, folder, name, status string) Evidence {
	return Evidence{
		EntityType: "File", EvidenceCreationTime: At(at),
		SHA1: ptr(hashOf("file", name)), SHA256: ptr(sha256Of("file", name)),
		FileName: ptr(name), FilePath: ptr(folder), DetectionStatus: ptr(status),
	}
}

func ipEvidence(at time.Time, ip string) Evidence {
	return Evidence{EntityType: "Ip", EvidenceCreationTime: At(at), IPAddress: ptr(ip)}
}

func urlEvidence(at time.Time, url string) Evidence {
	return Evidence{EntityType: "Url", EvidenceCreationTime: At(at), URL: ptr(url)}
}

func registryEvidence(at time.Time, hive, key, kind, value string) Evidence {
	return Evidence{
		EntityType: "Registry", EvidenceCreationTime: At(at),
		RegistryHive: ptr(hive), RegistryKey: ptr(key), RegistryValueType: ptr(kind), RegistryValue: ptr(value),
	}
}

func userEvidence(at time.Time, u User) Evidence {
	return Evidence{
		EntityType: "User", EvidenceCreationTime: At(at),
		AccountName: ptr(u.AccountName), DomainName: ptr(u.AccountDomain), UserSID: ptr(u.AccountSID),
		AADUserID: ptr(u.ObjectID), UserPrincipalName: ptr(u.Principal),
	}
}

// Folders and addresses that the alerts share.
const (
	system32   = `C:\Windows\System32`
	powershell = `C:\Windows\System32\WindowsPowerShell\v1.0`
	office     = `C:\Program Files\Microsoft Office\root\Office16`

	// The addresses are of the documentation ranges.
	commandServer = "203.0.113.66"
	phishingHost  = "login.contoso-invoices.example"
)

func downloads(u User) string { return fmt.Sprintf(`C:\Users\%s\Downloads`, u.AccountName) }

// alertID forms an ID as Defender does: the time in ticks and a signed number.
func alertID(at time.Time, n int32) string {
	const unixEpochInTicks = 621355968000000000
	return fmt.Sprintf("da%d_%d", at.UnixNano()/100+unixEpochInTicks, n)
}

// NewAlert returns an alert on m as Defender would raise it at the given time:
// status New, no one assigned. The number n keeps the IDs of alerts of the same
// moment apart.
func NewAlert(tenant string, m Machine, at time.Time, n int32, severity, title string) Alert {
	a := Alert{
		ID: alertID(at, n), Severity: severity, Status: "New", InvestigationState: "Queued",
		DetectionSource: "WindowsDefenderAtp", DetectorID: detectorID(title), Category: "SuspiciousActivity",
		Title: title, Description: title + " was seen on this device.",
		AlertCreationTime: At(at), FirstEventTime: At(at.Add(-90 * time.Second)),
		LastEventTime: At(at.Add(-30 * time.Second)), LastUpdateTime: At(at),
		AADTenantID: tenant, MitreTechniques: []string{}, Comments: []Comment{}, Evidence: []Evidence{},
		RBACGroupName: m.RBACGroupName,
	}
	if m.ID != "" {
		a.MachineID, a.ComputerDNSName = ptr(m.ID), ptr(m.ComputerDNSName)
	}
	if len(m.Users) > 0 {
		u := m.Users[0]
		a.RelatedUser = &RelatedUser{UserName: u.AccountName, DomainName: strings.ToUpper(u.AccountDomain)}
		a.Evidence = append(a.Evidence, userEvidence(at, u))
	}
	return a
}

func detectorID(title string) string {
	h := hashOf("detector", title)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:32]
}
