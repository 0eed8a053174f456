package defendersim

import (
	"slices"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/estate"
)

// eventColumns are the columns of each table of events, after the four that all
// of them begin with.
var eventColumns = map[string][]Column{
	"DeviceProcessEvents": {
		{"ActionType", "String"},
		{"FileName", "String"},
		{"FolderPath", "String"},
		{"SHA1", "String"},
		{"SHA256", "String"},
		{"ProcessId", "Int64"},
		{"ProcessCommandLine", "String"},
		{"AccountDomain", "String"},
		{"AccountName", "String"},
		{"InitiatingProcessFileName", "String"},
		{"InitiatingProcessId", "Int64"},
		{"InitiatingProcessCommandLine", "String"},
	},
	"DeviceNetworkEvents": {
		{"ActionType", "String"},
		{"RemoteIP", "String"},
		{"RemotePort", "Int32"},
		{"RemoteUrl", "String"},
		{"LocalIP", "String"},
		{"Protocol", "String"},
		{"InitiatingProcessFileName", "String"},
		{"InitiatingProcessAccountName", "String"},
	},
	"DeviceLogonEvents": {
		{"ActionType", "String"},
		{"LogonType", "String"},
		{"AccountDomain", "String"},
		{"AccountName", "String"},
		{"IsLocalAdmin", "SByte"},
		{"RemoteIP", "String"},
		{"RemoteDeviceName", "String"},
	},
	"DeviceFileEvents": {
		{"ActionType", "String"},
		{"FileName", "String"},
		{"FolderPath", "String"},
		{"SHA1", "String"},
		{"SHA256", "String"},
		{"InitiatingProcessFileName", "String"},
		{"InitiatingProcessAccountName", "String"},
	},
}

// AddTable makes a table of the caller's known to hunts, for instance one that
// yields a hundred thousand wide rows without holding them. It may replace a
// built-in one.
func (t *Tenant) AddTable(name string, table Table) {
	_, unlock := t.lock()
	defer unlock()
	t.tables[name] = table
}

// window is the span of time that a hunt sees.
type window struct{ from, to time.Time }

func (w window) holds(t time.Time) bool { return !t.Before(w.from) && !t.After(w.to) }

// table finds a table by name, cut to the window. What it yields is a snapshot.
func (t *Tenant) table(name string, w window) (Table, bool) {
	_, unlock := t.lock()
	own, ok := t.tables[name]
	events := t.events
	unlock()
	switch {
	case ok:
		return own, true
	case name == "DeviceInfo":
		return t.deviceInfo(w), true
	case name == "AlertInfo":
		return t.alertInfo(w), true
	case eventColumns[name] != nil:
		return t.eventTable(name, events, w), true
	}
	return Table{}, false
}

func (t *Tenant) eventTable(name string, events []estate.Event, w window) Table {
	names := map[string]string{}
	for _, m := range t.allMachines() {
		names[m.ID] = m.ComputerDNSName
	}
	columns := append([]Column{{"Timestamp", "DateTime"}, {"DeviceId", "String"}, {"DeviceName", "String"}, {"ReportId", "Int64"}}, eventColumns[name]...)
	return Table{columns, func(yield func([]any) bool) {
		for i, e := range events {
			if e.Table != name || !w.holds(e.At.Time) {
				continue
			}
			row := make([]any, 0, len(columns))
			// Report IDs do not fit into a float64, as real ones do not.
			row = append(row, e.At.Time, e.MachineID, names[e.MachineID], 9007199254740993+2*int64(i))
			for _, c := range columns[4:] {
				row = append(row, e.Values[c.Name])
			}
			if !yield(row) {
				return
			}
		}
	}}
}

func (t *Tenant) deviceInfo(w window) Table {
	machines := t.allMachines()
	columns := []Column{
		{"Timestamp", "DateTime"},
		{"DeviceId", "String"},
		{"DeviceName", "String"},
		{"OSPlatform", "String"},
		{"OSVersion", "String"},
		{"OSBuild", "Int64"},
		{"PublicIP", "String"},
		{"IsAzureADJoined", "SByte"},
		{"LoggedOnUsers", "String"},
		{"MachineGroup", "String"},
		{"OnboardingStatus", "String"},
		{"ExposureLevel", "String"},
	}
	return Table{columns, func(yield func([]any) bool) {
		for _, m := range machines {
			if !w.holds(m.LastSeen.Time) {
				continue
			}
			var users []map[string]string
			for _, u := range m.Users {
				users = append(users, map[string]string{"UserName": u.AccountName, "DomainName": u.AccountDomain, "Sid": u.AccountSID})
			}
			var build any
			if m.OSBuild != nil {
				build = *m.OSBuild
			}
			row := []any{
				m.LastSeen.Time, m.ID, m.ComputerDNSName, m.OSPlatform, m.Version, build, m.LastExternalIPAddress,
				m.IsAADJoined, encode(users), deref(m.RBACGroupName), m.OnboardingStatus, m.ExposureLevel,
			}
			if !yield(row) {
				return
			}
		}
	}}
}

func (t *Tenant) alertInfo(w window) Table {
	alerts := t.visibleAlerts(func(a *estate.Alert) bool { return w.holds(a.AlertCreationTime.Time) })
	slices.SortStableFunc(alerts, alertEntity.natural)
	columns := []Column{
		{"Timestamp", "DateTime"},
		{"AlertId", "String"},
		{"Title", "String"},
		{"Category", "String"},
		{"Severity", "String"},
		{"ServiceSource", "String"},
		{"DetectionSource", "String"},
		{"AttackTechniques", "String"},
	}
	return Table{columns, func(yield func([]any) bool) {
		for _, a := range alerts {
			row := []any{
				a.AlertCreationTime.Time, a.ID, a.Title, a.Category, a.Severity,
				"Microsoft Defender for Endpoint", a.DetectionSource, strings.Join(a.MitreTechniques, ", "),
			}
			if !yield(row) {
				return
			}
		}
	}}
}
