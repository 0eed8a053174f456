package defender

import "time"

type wireAlert struct {
	ID                 text                  `json:"id"`
	IncidentID         integer               `json:"incidentId"`
	InvestigationID    integer               `json:"investigationId"`
	AssignedTo         text                  `json:"assignedTo"`
	Severity           text                  `json:"severity"`
	Status             text                  `json:"status"`
	Classification     text                  `json:"classification"`
	Determination      text                  `json:"determination"`
	InvestigationState text                  `json:"investigationState"`
	DetectionSource    text                  `json:"detectionSource"`
	Category           text                  `json:"category"`
	ThreatFamilyName   text                  `json:"threatFamilyName"`
	ThreatName         text                  `json:"threatName"`
	Title              text                  `json:"title"`
	Description        text                  `json:"description"`
	Created            instant               `json:"alertCreationTime"`
	FirstEvent         instant               `json:"firstEventTime"`
	LastEvent          instant               `json:"lastEventTime"`
	Updated            instant               `json:"lastUpdateTime"`
	Resolved           instant               `json:"resolvedTime"`
	MachineID          text                  `json:"machineId"`
	MachineName        text                  `json:"computerDnsName"`
	MachineGroup       text                  `json:"rbacGroupName"`
	Techniques         texts                 `json:"mitreTechniques"`
	RelatedUser        record[wireAccount]   `json:"relatedUser"`
	Comments           records[wireComment]  `json:"comments"`
	Evidence           records[wireEvidence] `json:"evidence"`
}

type wireAccount struct {
	UserName   text `json:"userName"`
	DomainName text `json:"domainName"`
}

type wireComment struct {
	Comment   text    `json:"comment"`
	CreatedBy text    `json:"createdBy"`
	Created   instant `json:"createdTime"`
}

type wireEvidence struct {
	EntityType         text    `json:"entityType"`
	Created            instant `json:"evidenceCreationTime"`
	SHA1               text    `json:"sha1"`
	SHA256             text    `json:"sha256"`
	FileName           text    `json:"fileName"`
	FilePath           text    `json:"filePath"`
	ProcessID          integer `json:"processId"`
	ProcessCommandLine text    `json:"processCommandLine"`
	ProcessCreated     text    `json:"processCreationTime"`
	ParentProcessID    integer `json:"parentProcessId"`
	ParentFileName     text    `json:"parentProcessFileName"`
	ParentFilePath     text    `json:"parentProcessFilePath"`
	IPAddress          text    `json:"ipAddress"`
	URL                text    `json:"url"`
	RegistryKey        text    `json:"registryKey"`
	RegistryHive       text    `json:"registryHive"`
	RegistryValueType  text    `json:"registryValueType"`
	RegistryValue      text    `json:"registryValue"`
	AccountName        text    `json:"accountName"`
	DomainName         text    `json:"domainName"`
	UserSID            text    `json:"userSid"`
	AADUserID          text    `json:"aadUserId"`
	UserPrincipalName  text    `json:"userPrincipalName"`
	DetectionStatus    text    `json:"detectionStatus"`
}

func (c *core) alert(w wireAlert) (string, Alert) {
	a := Alert{
		ID: string(w.ID), Tenant: c.tenant,
		IncidentID: int64(w.IncidentID), InvestigationID: int64(w.InvestigationID),
		AssignedTo:         string(w.AssignedTo),
		Severity:           canonical(w.Severity, High, Medium, Low, Informational, UnSpecified),
		Status:             canonical(w.Status, "New", "InProgress", "Resolved", "Unknown"),
		Classification:     string(w.Classification),
		Determination:      string(w.Determination),
		InvestigationState: string(w.InvestigationState),
		DetectionSource:    string(w.DetectionSource),
		Category:           string(w.Category),
		ThreatFamily:       string(w.ThreatFamilyName),
		ThreatName:         string(w.ThreatName),
		Title:              string(w.Title),
		Description:        string(w.Description),
		Created:            time.Time(w.Created), FirstEvent: time.Time(w.FirstEvent), LastEvent: time.Time(w.LastEvent),
		Updated: time.Time(w.Updated), Resolved: time.Time(w.Resolved),
		MachineID: string(w.MachineID), MachineName: string(w.MachineName), MachineGroup: string(w.MachineGroup),
		Techniques: w.Techniques,
		User:       AccountName{Name: string(w.RelatedUser.is.UserName), Domain: string(w.RelatedUser.is.DomainName)},
	}
	if a.Category == "null" { // Defender writes the word
		a.Category = ""
	}
	for _, k := range w.Comments {
		a.Comments = append(a.Comments, AlertComment{Text: string(k.Comment), By: string(k.CreatedBy), At: time.Time(k.Created)})
	}
	for _, e := range w.Evidence {
		a.Evidence = append(a.Evidence, e.evidence())
	}
	return a.ID, a
}

func (w wireEvidence) evidence() Evidence {
	return Evidence{
		Type: string(w.EntityType), Created: time.Time(w.Created),
		SHA1: string(w.SHA1), SHA256: string(w.SHA256),
		FileName: string(w.FileName), FilePath: string(w.FilePath),
		ProcessID: int64(w.ProcessID), CommandLine: string(w.ProcessCommandLine), ProcessCreated: string(w.ProcessCreated),
		ParentProcessID: int64(w.ParentProcessID), ParentFileName: string(w.ParentFileName), ParentFilePath: string(w.ParentFilePath),
		IPAddress: string(w.IPAddress), URL: string(w.URL),
		RegistryHive: string(w.RegistryHive), RegistryKey: string(w.RegistryKey),
		RegistryType: string(w.RegistryValueType), RegistryValue: string(w.RegistryValue),
		Account: AccountName{Name: string(w.AccountName), Domain: string(w.DomainName)},
		UserSID: string(w.UserSID), UserObjectID: string(w.AADUserID), UserPrincipal: string(w.UserPrincipalName),
		Status: string(w.DetectionStatus),
	}
}
