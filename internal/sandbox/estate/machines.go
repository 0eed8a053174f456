package estate

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// system is an operating system as Defender reports it.
type system struct {
	platform, version string
	build             int64 // 0 = not reported
}

var (
	windows11  = system{"Windows11", "24H2", 26100}
	windows10  = system{"Windows10", "22H2", 19045}
	oldWindows = system{"Windows10", "1511", 10586}
	server2022 = system{"WindowsServer2022", "21H2", 20348}
	server2019 = system{"WindowsServer2019", "1809", 17763}
	ubuntu     = system{"Ubuntu", "24.4", 0}
	redHat     = system{"RedHatEnterpriseLinux", "9.6", 0}
	macOS      = system{"macOS", "15.7", 0}
	iOS        = system{"iOS", "19.1", 0}
)

type group struct {
	id   int64
	name string
}

var (
	workstations = group{101, "Workstations"}
	servers      = group{102, "Servers"}
	tier0        = group{103, "Tier 0"}
	production   = group{104, "Production"}
	unassigned   = group{0, ""}
)

func (g *generator) machines() {
	for n := 1; n <= 160; n++ {
		sys := windows11
		if n%3 == 0 {
			sys = windows10
		}
		if n >= 150 && n <= 152 {
			sys = oldWindows
		}
		m := g.machine(fmt.Sprintf("ws-%03d", n)+g.suffix(), sys, workstations)
		if n >= 11 && n <= 20 {
			m.MachineTags = []string{"finance"}
			m.DeviceValue = "High"
		}
		m.Users = g.usersOf(n-1, "Interactive")
		g.add(m)
	}
	for n := 1; n <= 60; n++ {
		name := fmt.Sprintf("lt-%03d", n)
		if n == 31 {
			name = strings.ToUpper(name)
		}
		m := g.machine(name, windows11, workstations)
		m.IsAADJoined, m.AADDeviceID = true, ptr(g.uuid())
		m.Users = g.usersOf(n+60, "Interactive, RemoteInteractive")
		if n%13 == 0 {
			g.away(&m, 5*time.Hour, 20*day)
		}
		g.add(m)
	}
	for _, kind := range []struct {
		name  string
		count int
		sys   system
	}{{"fs", 4, server2022}, {"app", 12, server2022}, {"sql", 8, server2019}, {"exch", 2, server2019}, {"rds", 6, server2022}, {"bkp", 2, server2019}} {
		for n := 1; n <= kind.count; n++ {
			m := g.machine(fmt.Sprintf("srv-%s-%02d", kind.name, n)+g.suffix(), kind.sys, servers)
			m.MachineTags, m.DeviceValue = []string{kind.name}, "High"
			m.Users = g.adminsOf("adm-server")
			g.add(m)
		}
	}
	for n := 1; n <= 2; n++ {
		m := g.machine(fmt.Sprintf("srv-hmi-%02d", n)+g.suffix(), server2019, production)
		m.MachineTags, m.DeviceValue = []string{"plant", "never-isolate"}, "High"
		m.Users = g.adminsOf("adm-server")
		g.add(m)
	}
	for n := 1; n <= 4; n++ {
		m := g.machine(fmt.Sprintf("dc-%02d", n)+g.suffix(), server2022, tier0)
		m.MachineTags, m.DeviceValue = []string{"tier0"}, "High"
		m.Users = g.adminsOf("adm-domain")
		g.add(m)
	}
	for n := 1; n <= 12; n++ {
		g.add(g.machine(fmt.Sprintf("web-%02d", n), ubuntu, production))
	}
	for n := 1; n <= 8; n++ {
		m := g.machine(fmt.Sprintf("db-%02d", n), redHat, production)
		m.DeviceValue = "High"
		g.add(m)
	}
	for n := 1; n <= 14; n++ {
		m := g.machine(fmt.Sprintf("mac-%03d", n), macOS, workstations)
		m.Users = g.usersOf(n+120, "Interactive")
		g.add(m)
	}
	g.oddOnes()
}

// oddOnes adds the records that make looking up a machine by name hard.
func (g *generator) oddOnes() {
	old := g.machine("ws-042"+g.suffix(), windows10, workstations, "before it was re-imaged")
	g.away(&old, 40*day, 41*day)
	old.HealthStatus = "Inactive"
	g.add(old)

	twin := g.machine("lt-007", windows11, workstations, "second record")
	twin.IsPotentialDuplication = true
	twin.Users = g.usersOf(3, "Interactive")
	g.add(twin)

	merged := g.machine("ws-077"+g.suffix(), windows11, workstations, "merged record")
	g.away(&merged, 20*day, 21*day)
	merged.MergedIntoMachineID = ptr(g.estate.Named("ws-077")[0].ID)
	g.add(merged)

	excluded := g.machine("lab-01", windows11, unassigned)
	excluded.IsExcluded, excluded.ExclusionReason = true, ptr("Other")
	g.add(excluded)

	g.add(g.machine("phone-01", iOS, workstations))

	printer := g.machine("printer-01", system{platform: "Other"}, unassigned)
	printer.OnboardingStatus, printer.HealthStatus = "CanBeOnboarded", "Unknown"
	printer.AgentVersion = ""
	g.add(printer)
}

func (g *generator) add(m Machine) { g.estate.Machines = append(g.estate.Machines, m) }

// machine returns an ordinary, healthy record. The salt keeps the IDs of records
// with the same name apart.
func (g *generator) machine(name string, sys system, in group, salt ...string) Machine {
	g.nextIP++
	ip := fmt.Sprintf("10.20.%d.%d", g.nextIP/200, 20+g.nextIP%200)
	m := Machine{
		ID:                    hashOf(append([]string{g.estate.Tenant, strings.ToLower(name)}, salt...)...),
		ComputerDNSName:       name,
		FirstSeen:             At(g.ago(90*day, 800*day)),
		LastSeen:              At(g.ago(2*time.Minute, 20*time.Hour)),
		OSPlatform:            sys.platform,
		OSProcessor:           "x64",
		OSArchitecture:        "64-bit",
		Version:               sys.version,
		LastIPAddress:         ip,
		LastExternalIPAddress: fmt.Sprintf("198.51.100.%d", 1+g.rand.IntN(8)),
		AgentVersion:          "10.8805.26100.1882",
		HealthStatus:          "Active",
		DeviceValue:           "Normal",
		RBACGroupID:           in.id,
		RiskScore:             pick(g, []string{"None", "None", "None", "Informational", "Low"}),
		ExposureLevel:         pick(g, []string{"Low", "Low", "Medium", "Medium", "High"}),
		MachineTags:           []string{},
		OnboardingStatus:      "Onboarded",
		ManagedBy:             "Intune",
		ManagedByStatus:       "Success",
		IPAddresses: []Address{
			{IPAddress: ip, MACAddress: ptr(fmt.Sprintf("00155D%06X", g.nextIP)), Type: "Ethernet", OperationalStatus: "Up"},
			{IPAddress: "127.0.0.1", Type: "SoftwareLoopback", OperationalStatus: "Up"},
		},
	}
	if sys.build != 0 {
		m.OSBuild = ptr(sys.build)
	}
	if in.name != "" {
		m.RBACGroupName = ptr(in.name)
	}
	return m
}

// away makes a machine one that has not reported for a while.
func (g *generator) away(m *Machine, least, most time.Duration) {
	m.Offline = true
	m.LastSeen = At(g.ago(least, most))
	if g.now.Sub(m.LastSeen.Time) > 7*day {
		m.HealthStatus = "Inactive"
	}
	for i := range m.IPAddresses {
		m.IPAddresses[i].OperationalStatus = "Down"
	}
}

// usersOf gives a machine its person and, now and then, a colleague.
func (g *generator) usersOf(n int, logons string) []User {
	people := g.estate.Users[:len(g.estate.Users)-2]
	users := []User{people[n%len(people)]}
	if g.rand.IntN(4) == 0 {
		if other := pick(g, people); other.ID != users[0].ID {
			users = append(users, other)
		}
	}
	for i := range users {
		users[i].LogonTypes = logons
	}
	return users
}

func (g *generator) adminsOf(account string) []User {
	i := slices.IndexFunc(g.estate.Users, func(u User) bool { return u.AccountName == account })
	u := g.estate.Users[i]
	u.LogonTypes = "RemoteInteractive, Network"
	return []User{u}
}
