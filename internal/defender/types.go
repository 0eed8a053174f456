package defender

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/tenant"
)

// TenantID names the Defender tenant whose data is meant. See [tenant.ID].
type TenantID = tenant.ID

// Severity of an alert, as Defender writes it. Unknown values pass through.
type Severity string

// The severities, lowest first.
const (
	UnSpecified   Severity = "UnSpecified"
	Informational Severity = "Informational"
	Low           Severity = "Low"
	Medium        Severity = "Medium"
	High          Severity = "High"
)

// Rank orders severities: High is 4, UnSpecified and unknown values are 0.
func (s Severity) Rank() int {
	switch s {
	case High:
		return 4
	case Medium:
		return 3
	case Low:
		return 2
	case Informational:
		return 1
	default:
		return 0
	}
}

// Alert is a Defender detection. Every string in it may have been chosen by an
// attacker. Times are zero when Defender did not say.
type Alert struct {
	ID                 string
	Tenant             TenantID // the tenant it was read from, not a field of the body
	IncidentID         int64    // 0 = none
	InvestigationID    int64
	AssignedTo         string
	Severity           Severity
	Status             string // New, InProgress, Resolved, Unknown
	Classification     string
	Determination      string
	InvestigationState string
	DetectionSource    string
	Category           string
	ThreatFamily       string
	ThreatName         string
	Title              string
	Description        string
	Created            time.Time
	FirstEvent         time.Time
	LastEvent          time.Time
	Updated            time.Time
	Resolved           time.Time
	MachineID          string // "" = none
	MachineName        string
	MachineGroup       string
	Techniques         []string // MITRE, such as T1059.001
	User               AccountName
	Comments           []AlertComment
	// Evidence is nil when it was not asked for, which says nothing about whether
	// there is any.
	Evidence []Evidence
}

// AccountName is how Defender names a user beside other data.
type AccountName struct {
	Name, Domain string
}

// AlertComment is one comment on an alert.
type AlertComment struct {
	Text, By string
	At       time.Time
}

// Evidence is one entity of an alert; which fields are set depends on Type:
// User, Process, File, Ip, Url, Registry, or others passed through.
type Evidence struct {
	Type            string
	Created         time.Time
	SHA1, SHA256    string
	FileName        string
	FilePath        string
	ProcessID       int64
	CommandLine     string
	ProcessCreated  string
	ParentProcessID int64
	ParentFileName  string
	ParentFilePath  string
	IPAddress       string
	URL             string
	RegistryHive    string
	RegistryKey     string
	RegistryType    string
	RegistryValue   string
	Account         AccountName
	UserSID         string
	UserObjectID    string
	UserPrincipal   string
	Status          string // Detected, Blocked, Prevented, …
}

// Machine is a device onboarded to Defender. Name is not unique and its case
// varies; only ID identifies.
type Machine struct {
	ID             string
	Tenant         TenantID
	Name           string // computerDnsName
	MergedInto     string // set on stale records
	Excluded       bool
	FirstSeen      time.Time
	LastSeen       time.Time // last full report, up to a day old for a live machine
	OS             string    // Windows11, WindowsServer2022, Ubuntu, macOS, …
	OSVersion      string
	OSBuild        int64
	Architecture   string
	Agent          string
	InternalIP     string
	ExternalIP     string
	Health         string // Active, Inactive, ImpairedCommunication, NoSensorData, …
	Onboarding     string
	GroupID        int64
	Group          string
	Risk           string // None, Informational, Low, Medium, High; "" = unknown
	Exposure       string
	Value          string
	EntraJoined    bool
	EntraDeviceID  string
	Tags           []string
	ManagedBy      string
	NetworkAddress []NetworkAddress
}

// NetworkAddress is one address of a machine.
type NetworkAddress struct {
	IP, MAC, Type, Status string
}

// OnVPN reports whether m has an adapter in use of the kind that dial-up and VPN
// clients make. Some clients look like any Ethernet, so a no says little. The
// adapters with which Windows itself carries IPv6 do not count.
func (m Machine) OnVPN() bool {
	return slices.ContainsFunc(m.NetworkAddress, func(a NetworkAddress) bool {
		ip, err := netip.ParseAddr(a.IP)
		if err != nil || !strings.EqualFold(a.Status, "Up") || ip.IsLinkLocalUnicast() || ip.IsLoopback() || ip.IsUnspecified() {
			return false
		}
		return strings.EqualFold(a.Type, "Ppp") || strings.EqualFold(a.Type, "Tunnel") && !teredo.Contains(ip) && !sixToFour.Contains(ip)
	})
}

var (
	teredo    = netip.MustParsePrefix("2001::/32")
	sixToFour = netip.MustParsePrefix("2002::/16")
)

// User is a user seen on a machine.
type User struct {
	ID          string
	Name        string
	Domain      string
	SID         string
	FirstSeen   time.Time
	LastSeen    time.Time
	LogonTypes  string
	DomainAdmin bool
	NetworkOnly bool
}

// MachineActionType is the kind of a machine action, as Defender names it.
type MachineActionType string

// Machine action types that Defender documents.
const (
	Isolate        MachineActionType = "Isolate"
	Unisolate      MachineActionType = "Unisolate"
	Restrict       MachineActionType = "RestrictCodeExecution"
	Unrestrict     MachineActionType = "UnrestrictCodeExecution"
	Scan           MachineActionType = "RunAntiVirusScan"
	Quarantine     MachineActionType = "StopAndQuarantineFile"
	CollectPackage MachineActionType = "CollectInvestigationPackage"
	Offboard       MachineActionType = "Offboard"
	LiveResponse   MachineActionType = "LiveResponse"
)

// MachineActionStatus is where a machine action stands. Unknown values are not
// final.
type MachineActionStatus string

// The statuses.
const (
	ActionPending    MachineActionStatus = "Pending"
	ActionInProgress MachineActionStatus = "InProgress"
	ActionSucceeded  MachineActionStatus = "Succeeded"
	ActionFailed     MachineActionStatus = "Failed"
	ActionTimeOut    MachineActionStatus = "TimeOut"
	ActionCancelled  MachineActionStatus = "Cancelled"
)

// Final reports whether the action will not change any more.
func (s MachineActionStatus) Final() bool {
	switch s {
	case ActionSucceeded, ActionFailed, ActionTimeOut, ActionCancelled:
		return true
	default:
		return false
	}
}

// MachineAction is Defender's own job on a machine. Statuses and types are
// canonicalised without regard to case on decoding.
type MachineAction struct {
	ID            string
	Tenant        TenantID
	Type          MachineActionType
	Scope         string // Full, Selective, …
	Requestor     string
	Comment       string
	Source        string // Portal, PublicApi
	Status        MachineActionStatus
	MachineID     string
	MachineName   string
	Created       time.Time
	Updated       time.Time
	CancelledBy   string
	CancelComment string
	HResult       int32 // shown as unsigned hex when not zero
	// File is the hash of the file that it is about, in lower case, or "".
	File string
}

// IsolationState is what machine actions say about a machine; Defender has no
// field for it, so it is always "last known" (defender-api §8.4).
type IsolationState string

// The isolation states.
const (
	NotIsolated IsolationState = "not isolated"
	Isolated    IsolationState = "isolated"
	Isolating   IsolationState = "isolating"
	Releasing   IsolationState = "releasing"
)

// Isolation is the last known isolation of a machine and the action that says so.
type Isolation struct {
	State  IsolationState
	Scope  string        // Full or Selective when isolated or isolating
	Since  time.Time     // when the deciding action was created or finished
	Action MachineAction // zero when no action was ever seen
}

// IsolationOf derives the isolation of one machine from its Isolate and Unisolate
// actions, in any order: the newest Succeeded decides, and a newer one that is
// not final means that it is changing.
func IsolationOf(actions []MachineAction) Isolation {
	s := lastOf(actions, Isolate, Unisolate)
	i := Isolation{State: NotIsolated, Since: s.since, Action: s.action}
	switch {
	case s.on && s.changing:
		i.State, i.Scope = Isolating, s.action.Scope
	case s.changing:
		i.State = Releasing
	case s.on:
		i.State, i.Scope = Isolated, s.action.Scope
	}
	return i
}

// RestrictionState is what machine actions say about which programs a machine
// runs. Like the isolation it is always "last known".
type RestrictionState string

// The restriction states.
const (
	NotRestricted RestrictionState = "not restricted"
	Restricted    RestrictionState = "restricted"
	Restricting   RestrictionState = "being restricted"
	Unrestricting RestrictionState = "being unrestricted"
)

// Restriction is the last known restriction of a machine's programs and the action
// that says so.
type Restriction struct {
	State  RestrictionState
	Since  time.Time
	Action MachineAction // zero when no action was ever seen
}

// RestrictionOf derives the restriction of one machine as [IsolationOf] does.
func RestrictionOf(actions []MachineAction) Restriction {
	s := lastOf(actions, Restrict, Unrestrict)
	r := Restriction{State: NotRestricted, Since: s.since, Action: s.action}
	switch {
	case s.on && s.changing:
		r.State = Restricting
	case s.changing:
		r.State = Unrestricting
	case s.on:
		r.State = Restricted
	}
	return r
}

// switched is where a pair of opposite actions has left a machine.
type switched struct {
	on, changing bool
	since        time.Time
	action       MachineAction
}

func lastOf(actions []MachineAction, on, off MachineActionType) switched {
	var done, open *MachineAction
	for i := range actions {
		a := &actions[i]
		if a.Type != on && a.Type != off {
			continue
		}
		switch {
		case a.Status == ActionSucceeded:
			if done == nil || a.Created.After(done.Created) {
				done = a
			}
		case !a.Status.Final():
			if open == nil || a.Created.After(open.Created) {
				open = a
			}
		}
	}
	if open != nil && (done == nil || open.Created.After(done.Created)) {
		return switched{on: open.Type == on, changing: true, since: open.Created, action: *open}
	}
	if done == nil {
		return switched{}
	}
	since := done.Updated
	if since.IsZero() {
		since = done.Created
	}
	return switched{on: done.Type == on, since: since, action: *done}
}
