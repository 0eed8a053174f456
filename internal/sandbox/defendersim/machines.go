package defendersim

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/estate"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
)

var machineEntity = entity[estate.Machine]{
	typeName: "Microsoft.Windows.Security.PublicApi.Machine",
	properties: []property[estate.Machine]{
		textOf("id", func(m estate.Machine) string { return m.ID }),
		textOf("computerDnsName", func(m estate.Machine) string { return m.ComputerDNSName }),
		textOf("version", func(m estate.Machine) string { return m.Version }),
		enumOf("deviceValue", func(m estate.Machine) string { return m.DeviceValue }, "Normal", "Low", "High"),
		optional("aadDeviceId", func(m estate.Machine) *string { return m.AADDeviceID }),
		listOf("machineTags", func(m estate.Machine) []string { return m.MachineTags }),
		timeOf("lastSeen", func(m estate.Machine) time.Time { return m.LastSeen.Time }),
		enumOf("exposureLevel", func(m estate.Machine) string { return m.ExposureLevel }, "None", "Low", "Medium", "High"),
		enumOf("onboardingStatus", func(m estate.Machine) string { return m.OnboardingStatus }, "Onboarded", "CanBeOnboarded", "Unsupported", "InsufficientInfo"),
		textOf("lastIpAddress", func(m estate.Machine) string { return m.LastIPAddress }),
		enumOf("healthStatus", func(m estate.Machine) string { return m.HealthStatus },
			"Active", "Inactive", "ImpairedCommunication", "NoSensorData", "NoSensorDataImpairedCommunication", "Unknown"),
		textOf("osPlatform", func(m estate.Machine) string { return m.OSPlatform }),
		enumOf("riskScore", func(m estate.Machine) string { return m.RiskScore }, "None", "Informational", "Low", "Medium", "High"),
		numberOf("rbacGroupId", func(m estate.Machine) int64 { return m.RBACGroupID }),
	},
	unfilterable: []string{
		"rbacGroupName", "firstSeen", "osVersion", "osProcessor", "osArchitecture", "osBuild", "agentVersion",
		"lastExternalIpAddress", "isAadJoined", "managedBy", "managedByStatus", "ipAddresses", "vmMetadata",
		"mergedIntoMachineId", "isPotentialDuplication", "isExcluded", "exclusionReason",
	},
	natural: func(a, b estate.Machine) int { return strings.Compare(a.ID, b.ID) },
}

func listMachines(w http.ResponseWriter, c call) error {
	q, err := machineEntity.parse(c.URL.Query())
	if err != nil {
		return err
	}
	return serveMachines(w, c, c.tenant.allMachines(), q)
}

func serveMachines(w http.ResponseWriter, c call, machines []estate.Machine, q query[estate.Machine]) error {
	return serveList(w, c, "Machines", machines, q, func(found []estate.Machine) any {
		if found == nil {
			return []estate.Machine{}
		}
		return found
	})
}

type machineAnswer struct {
	Context string `json:"@odata.context"`
	estate.Machine
}

var byIP = regexp.MustCompile(`^findbyip\(ip='([^']*)',timestamp=([^)]*)\)$`)

func getMachine(w http.ResponseWriter, c call) error {
	id := c.PathValue("id")
	if parts := byIP.FindStringSubmatch(id); parts != nil {
		return findByIP(w, c, parts[1], parts[2])
	}
	m, err := c.tenant.machineByIDOrName(id)
	if err != nil {
		return err
	}
	if f, ok := fault.From(c.Context()); ok && f.Kind == WrongObject {
		m = c.tenant.otherMachine(m.ID)
	}
	return writeJSON(w, http.StatusOK, machineAnswer{metadata("Machines/$entity"), m})
}

// findByIP answers the machines that had the internal address within 15 minutes
// of the given time.
func findByIP(w http.ResponseWriter, c call, ip, stamp string) error {
	at, err := time.Parse(time.RFC3339Nano, stamp)
	now := c.tenant.server.now()
	switch {
	case err != nil:
		return badRequest("InvalidInput", "The timestamp '%s' is not valid", stamp)
	case at.Before(now.Add(-30 * 24 * time.Hour)):
		return badRequest("InvalidInput", "The timestamp must be within the last 30 days")
	}
	const around = 15 * time.Minute
	machines := slices.DeleteFunc(c.tenant.allMachines(), func(m estate.Machine) bool {
		until := m.LastSeen.Time
		if !m.Offline {
			until = now
		}
		has := slices.ContainsFunc(m.IPAddresses, func(a estate.Address) bool { return a.IPAddress == ip })
		return !has || at.Before(m.FirstSeen.Add(-around)) || at.After(until.Add(around))
	})
	q, err := machineEntity.parse(c.URL.Query())
	if err != nil {
		return err
	}
	return serveMachines(w, c, machines, q)
}

func machineUsers(w http.ResponseWriter, c call) error {
	m, err := c.tenant.machineByID(c.PathValue("id"))
	if err != nil {
		return err
	}
	users := m.Users
	if users == nil {
		users = []estate.User{}
	}
	return writeJSON(w, http.StatusOK, page{Context: metadata("Users"), Value: users})
}
