package defender

import (
	"cmp"
	"strings"
	"time"
)

type wireMachine struct {
	ID            text                 `json:"id"`
	MergedInto    text                 `json:"mergedIntoMachineId"`
	Excluded      boolean              `json:"isExcluded"`
	Name          text                 `json:"computerDnsName"`
	FirstSeen     instant              `json:"firstSeen"`
	LastSeen      instant              `json:"lastSeen"`
	OSPlatform    text                 `json:"osPlatform"`
	OSVersion     text                 `json:"osVersion"`
	Version       text                 `json:"version"`
	OSProcessor   text                 `json:"osProcessor"`
	Architecture  text                 `json:"osArchitecture"`
	OSBuild       integer              `json:"osBuild"`
	AgentVersion  text                 `json:"agentVersion"`
	LastIP        text                 `json:"lastIpAddress"`
	LastExternal  text                 `json:"lastExternalIpAddress"`
	Health        text                 `json:"healthStatus"`
	Onboarding    text                 `json:"onboardingStatus"`
	GroupID       integer              `json:"rbacGroupId"`
	Group         text                 `json:"rbacGroupName"`
	Risk          text                 `json:"riskScore"`
	Exposure      text                 `json:"exposureLevel"`
	Value         text                 `json:"deviceValue"`
	EntraJoined   boolean              `json:"isAadJoined"`
	EntraDeviceID text                 `json:"aadDeviceId"`
	Tags          texts                `json:"machineTags"`
	ManagedBy     text                 `json:"managedBy"`
	Addresses     records[wireAddress] `json:"ipAddresses"`
}

type wireAddress struct {
	IP     text `json:"ipAddress"`
	MAC    text `json:"macAddress"`
	Type   text `json:"type"`
	Status text `json:"operationalStatus"`
}

func (c *core) machine(w wireMachine) (string, Machine) {
	m := Machine{
		ID: string(w.ID), Tenant: c.tenant, Name: string(w.Name),
		MergedInto: string(w.MergedInto), Excluded: bool(w.Excluded),
		FirstSeen: time.Time(w.FirstSeen), LastSeen: time.Time(w.LastSeen),
		OS:        string(w.OSPlatform),
		OSVersion: cmp.Or(string(w.Version), string(w.OSVersion)), // osVersion is nearly always null
		OSBuild:   int64(w.OSBuild), Architecture: cmp.Or(string(w.Architecture), string(w.OSProcessor)),
		Agent:      string(w.AgentVersion),
		InternalIP: string(w.LastIP), ExternalIP: string(w.LastExternal),
		Health:     canonical(w.Health, sensorHealth...),
		Onboarding: canonical(w.Onboarding, "Onboarded", "CanBeOnboarded", "Unsupported", "InsufficientInfo"),
		GroupID:    int64(w.GroupID), Group: string(w.Group),
		Risk:        canonical(w.Risk, "None", "Informational", "Low", "Medium", "High"),
		Exposure:    canonical(w.Exposure, "None", "Low", "Medium", "High"),
		Value:       canonical(w.Value, "Normal", "Low", "High"),
		EntraJoined: bool(w.EntraJoined), EntraDeviceID: string(w.EntraDeviceID),
		Tags: w.Tags, ManagedBy: string(w.ManagedBy),
	}
	for _, a := range w.Addresses {
		m.NetworkAddress = append(m.NetworkAddress, NetworkAddress{
			IP: string(a.IP), MAC: string(a.MAC), Type: string(a.Type), Status: string(a.Status),
		})
	}
	return m.ID, m
}

type wireUser struct {
	ID          text    `json:"id"`
	Name        text    `json:"accountName"`
	Domain      text    `json:"accountDomain"`
	SID         text    `json:"accountSid"`
	FirstSeen   instant `json:"firstSeen"`
	LastSeen    instant `json:"lastSeen"`
	LogonTypes  text    `json:"logonTypes"`
	DomainAdmin boolean `json:"isDomainAdmin"`
	NetworkOnly boolean `json:"isOnlyNetworkUser"`
}

func (w wireUser) user() (string, User) {
	return string(w.ID), User{
		ID: string(w.ID), Name: string(w.Name), Domain: string(w.Domain), SID: string(w.SID),
		FirstSeen: time.Time(w.FirstSeen), LastSeen: time.Time(w.LastSeen),
		LogonTypes: string(w.LogonTypes), DomainAdmin: bool(w.DomainAdmin), NetworkOnly: bool(w.NetworkOnly),
	}
}

type wireAction struct {
	ID            text                    `json:"id"`
	Type          text                    `json:"type"`
	Scope         text                    `json:"scope"`
	Requestor     text                    `json:"requestor"`
	Comment       text                    `json:"requestorComment"`
	Source        text                    `json:"requestSource"`
	Status        text                    `json:"status"`
	MachineID     text                    `json:"machineId"`
	MachineName   text                    `json:"computerDnsName"`
	Created       instant                 `json:"creationDateTimeUtc"`
	Updated       instant                 `json:"lastUpdateDateTimeUtc"`
	UpdatedInList instant                 `json:"lastUpdateTimeUtc"`
	CancelledBy   text                    `json:"cancellationRequestor"`
	CancelComment text                    `json:"cancellationComment"`
	HResult       integer                 `json:"errorHResult"`
	File          record[wireRelatedFile] `json:"relatedFileInfo"`
}

type wireRelatedFile struct {
	Identifier text `json:"fileIdentifier"`
}

func (c *core) machineAction(w wireAction) (string, MachineAction) {
	updated := time.Time(w.Updated)
	if updated.IsZero() {
		updated = time.Time(w.UpdatedInList)
	}
	return string(w.ID), MachineAction{
		ID: string(w.ID), Tenant: c.tenant,
		Type:      canonical(w.Type, Isolate, Unisolate, Restrict, Unrestrict, Scan, Quarantine, CollectPackage, Offboard, LiveResponse),
		Scope:     canonical(w.Scope, "Full", "Selective", "Quick"),
		Requestor: string(w.Requestor), Comment: string(w.Comment), Source: string(w.Source),
		Status:    canonical(w.Status, ActionPending, ActionInProgress, ActionSucceeded, ActionFailed, ActionTimeOut, ActionCancelled),
		MachineID: string(w.MachineID), MachineName: string(w.MachineName),
		Created: time.Time(w.Created), Updated: updated,
		CancelledBy: string(w.CancelledBy), CancelComment: string(w.CancelComment),
		File:    strings.ToLower(string(w.File.is.Identifier)),
		HResult: int32(w.HResult), // 32 bits by definition; unsigned spellings wrap to the same code
	}
}
