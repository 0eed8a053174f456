package estate

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Time marshals as Defender writes times: UTC, up to seven fractional digits,
// and null for the zero time.
type Time struct{ time.Time }

// At returns t with the precision that Defender keeps.
func At(t time.Time) Time { return Time{t.UTC().Truncate(100 * time.Nanosecond)} }

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(t.String())
}

// String is the time as it stands in Defender's JSON.
func (t Time) String() string { return t.UTC().Format("2006-01-02T15:04:05.9999999Z07:00") }

// Machine is one device record.
type Machine struct {
	ID                     string    `json:"id"`
	MergedIntoMachineID    *string   `json:"mergedIntoMachineId"`
	IsPotentialDuplication bool      `json:"isPotentialDuplication"`
	IsExcluded             bool      `json:"isExcluded"`
	ExclusionReason        *string   `json:"exclusionReason"`
	ComputerDNSName        string    `json:"computerDnsName"`
	FirstSeen              Time      `json:"firstSeen"`
	LastSeen               Time      `json:"lastSeen"`
	OSPlatform             string    `json:"osPlatform"`
	OSVersion              *string   `json:"osVersion"`
	OSProcessor            string    `json:"osProcessor"`
	Version                string    `json:"version"`
	LastIPAddress          string    `json:"lastIpAddress"`
	LastExternalIPAddress  string    `json:"lastExternalIpAddress"`
	AgentVersion           string    `json:"agentVersion"`
	OSBuild                *int64    `json:"osBuild"`
	HealthStatus           string    `json:"healthStatus"`
	DeviceValue            string    `json:"deviceValue"`
	RBACGroupID            int64     `json:"rbacGroupId"`
	RBACGroupName          *string   `json:"rbacGroupName"`
	RiskScore              string    `json:"riskScore"`
	ExposureLevel          string    `json:"exposureLevel"`
	IsAADJoined            bool      `json:"isAadJoined"`
	AADDeviceID            *string   `json:"aadDeviceId"`
	MachineTags            []string  `json:"machineTags"`
	OnboardingStatus       string    `json:"onboardingStatus"`
	OSArchitecture         string    `json:"osArchitecture"`
	ManagedBy              string    `json:"managedBy"`
	ManagedByStatus        string    `json:"managedByStatus"`
	IPAddresses            []Address `json:"ipAddresses"`
	VMMetadata             *struct{} `json:"vmMetadata"`

	// Offline machines take no actions until they come back.
	Offline bool `json:"-"`
	// Users who have logged on, the main one first.
	Users []User `json:"-"`
}

// ShortName is the first label of the machine's name, in lower case.
func (m Machine) ShortName() string {
	short, _, _ := strings.Cut(m.ComputerDNSName, ".")
	return strings.ToLower(short)
}

// Address is one network address of a machine.
type Address struct {
	IPAddress         string  `json:"ipAddress"`
	MACAddress        *string `json:"macAddress"`
	Type              string  `json:"type"`
	OperationalStatus string  `json:"operationalStatus"`
}

// User is an account seen on a machine.
type User struct {
	ID                string `json:"id"` // domain\name
	AccountName       string `json:"accountName"`
	AccountDomain     string `json:"accountDomain"`
	AccountSID        string `json:"accountSid"`
	FirstSeen         Time   `json:"firstSeen"`
	LastSeen          Time   `json:"lastSeen"`
	LogonTypes        string `json:"logonTypes"`
	IsDomainAdmin     bool   `json:"isDomainAdmin"`
	IsOnlyNetworkUser bool   `json:"isOnlyNetworkUser"`

	DisplayName string `json:"-"`
	Principal   string `json:"-"`
	ObjectID    string `json:"-"`
}

// Alert is one detection.
type Alert struct {
	ID                 string       `json:"id"`
	IncidentID         int64        `json:"incidentId"`
	InvestigationID    *int64       `json:"investigationId"`
	AssignedTo         *string      `json:"assignedTo"`
	Severity           string       `json:"severity"`
	Status             string       `json:"status"`
	Classification     *string      `json:"classification"`
	Determination      *string      `json:"determination"`
	InvestigationState string       `json:"investigationState"`
	DetectionSource    string       `json:"detectionSource"`
	DetectorID         string       `json:"detectorId"`
	Category           string       `json:"category"`
	ThreatFamilyName   *string      `json:"threatFamilyName"`
	Title              string       `json:"title"`
	Description        string       `json:"description"`
	AlertCreationTime  Time         `json:"alertCreationTime"`
	FirstEventTime     Time         `json:"firstEventTime"`
	LastEventTime      Time         `json:"lastEventTime"`
	LastUpdateTime     Time         `json:"lastUpdateTime"`
	ResolvedTime       Time         `json:"resolvedTime"`
	MachineID          *string      `json:"machineId"`
	ComputerDNSName    *string      `json:"computerDnsName"`
	RBACGroupName      *string      `json:"rbacGroupName"`
	AADTenantID        string       `json:"aadTenantId"`
	ThreatName         *string      `json:"threatName"`
	MitreTechniques    []string     `json:"mitreTechniques"`
	RelatedUser        *RelatedUser `json:"relatedUser"`
	Comments           []Comment    `json:"comments"`
	Evidence           []Evidence   `json:"evidence"`
}

// RelatedUser names the user of an alert.
type RelatedUser struct {
	UserName   string `json:"userName"`
	DomainName string `json:"domainName"`
}

// Comment is one comment on an alert.
type Comment struct {
	Comment     string `json:"comment"`
	CreatedBy   string `json:"createdBy"`
	CreatedTime Time   `json:"createdTime"`
}

// Evidence is one entity of an alert. Every key is always present; the ones that
// do not belong to the EntityType are null.
type Evidence struct {
	EntityType                string  `json:"entityType"`
	EvidenceCreationTime      Time    `json:"evidenceCreationTime"`
	SHA1                      *string `json:"sha1"`
	SHA256                    *string `json:"sha256"`
	FileName                  *string `json:"fileName"`
	FilePath                  *string `json:"filePath"`
	ProcessID                 *int64  `json:"processId"`
	ProcessCommandLine        *string `json:"processCommandLine"`
	ProcessCreationTime       Time    `json:"processCreationTime"`
	ParentProcessID           *int64  `json:"parentProcessId"`
	ParentProcessCreationTime Time    `json:"parentProcessCreationTime"`
	ParentProcessFileName     *string `json:"parentProcessFileName"`
	ParentProcessFilePath     *string `json:"parentProcessFilePath"`
	IPAddress                 *string `json:"ipAddress"`
	URL                       *string `json:"url"`
	RegistryKey               *string `json:"registryKey"`
	RegistryHive              *string `json:"registryHive"`
	RegistryValueType         *string `json:"registryValueType"`
	RegistryValue             *string `json:"registryValue"`
	AccountName               *string `json:"accountName"`
	DomainName                *string `json:"domainName"`
	UserSID                   *string `json:"userSid"`
	AADUserID                 *string `json:"aadUserId"`
	UserPrincipalName         *string `json:"userPrincipalName"`
	DetectionStatus           *string `json:"detectionStatus"`
}

// Incident groups alerts.
type Incident struct {
	ID       int64
	Name     string
	AlertIDs []string
}

// Event is one raw event for hunting. Values holds what is not in the fields and
// is keyed by column name.
type Event struct {
	Table     string // DeviceProcessEvents, …
	At        Time
	MachineID string
	Values    map[string]any
}

// Estate is the company.
type Estate struct {
	Tenant    string
	Machines  []Machine
	Users     []User // people; the last of them are administrators
	Alerts    []Alert
	Incidents []Incident
	Events    []Event
}

// Named returns the machines whose short name is name, in the order generated.
func (e *Estate) Named(name string) []Machine {
	var found []Machine
	for _, m := range e.Machines {
		if m.ShortName() == strings.ToLower(name) {
			found = append(found, m)
		}
	}
	return found
}

// Tagged returns the machines that carry the tag.
func (e *Estate) Tagged(tag string) []Machine {
	var found []Machine
	for _, m := range e.Machines {
		if slices.Contains(m.MachineTags, tag) {
			found = append(found, m)
		}
	}
	return found
}
