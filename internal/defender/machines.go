package defender

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"
	"time"
)

// MachineFilter selects machines. The zero value selects all of them.
type MachineFilter struct {
	NamePrefix string
	Risk       string // None, Informational, Low, Medium, High
	Exposure   string // None, Low, Medium, High
	Health     string // Active, Inactive, …: see [KnownHealth]
	OS         string // Windows11, …
	Tag        string
	SeenSince  time.Time // inclusive
	// Limit ends the iteration after that many machines; 0 means no limit.
	Limit int
}

func (f MachineFilter) expr() expr {
	var es []expr
	if f.NamePrefix != "" {
		es = append(es, nameStartsWith(f.NamePrefix))
	}
	for _, e := range []struct {
		p property
		v string
	}{{machineRisk, f.Risk}, {machineExposed, f.Exposure}, {machineHealth, f.Health}, {machineOS, f.OS}} {
		if e.v != "" {
			es = append(es, eq(e.p, textLiteral(e.v)))
		}
	}
	if f.Tag != "" {
		es = append(es, contains(machineTags, f.Tag))
	}
	if !f.SeenSince.IsZero() {
		es = append(es, atOrAfter(machineSeen, f.SeenSince))
	}
	return allOf(es...)
}

// Machines lists machines, leaving out stale records that were merged into
// another one and excluded ones. Errors are as with [Client.Alerts].
func (c *Client) Machines(ctx context.Context, f MachineFilter) iter.Seq2[Machine, error] {
	all := list(ctx, c, listCall{
		op: "list machines", family: familyMachines, path: "/api/machines", filter: f.expr(), pageSize: f.Limit,
	}, c.machine)
	return func(yield func(Machine, error) bool) {
		n := 0
		for m, err := range all {
			if err == nil && !m.current() {
				continue
			}
			if !yield(m, err) {
				return
			}
			if err == nil {
				n++
			}
			if n == f.Limit && f.Limit > 0 {
				return
			}
		}
	}
}

// Machine reads the machine with that ID, also when the record is stale or
// excluded.
func (c *Client) Machine(ctx context.Context, id string) (Machine, error) {
	const op = "get machine"
	if err := checkMachineID(op, id); err != nil {
		return Machine{}, err
	}
	return get(ctx, c, call{op: op, family: familyMachines, path: "/api/machines/" + id, id: id}, c.machine)
}

// MachineUsers lists the users seen on a machine, the latest first.
func (c *Client) MachineUsers(ctx context.Context, machineID string) ([]User, error) {
	const op = "list users of machine"
	if err := checkMachineID(op, machineID); err != nil {
		return nil, err
	}
	users, err := collect(list(ctx, c, listCall{
		op: op, family: familyUsers, path: "/api/machines/" + machineID + "/logonusers", plain: true,
	}, wireUser.user))
	slices.SortStableFunc(users, func(a, b User) int { return b.LastSeen.Compare(a.LastSeen) })
	return users, err
}

// MachineAlerts lists the alerts of a machine, the newest first and without
// evidence.
func (c *Client) MachineAlerts(ctx context.Context, machineID string) ([]Alert, error) {
	const op = "list alerts of machine"
	if err := checkMachineID(op, machineID); err != nil {
		return nil, err
	}
	alerts, err := collect(list(ctx, c, listCall{
		op: op, family: familyAlerts, path: "/api/machines/" + machineID + "/alerts", plain: true,
	}, c.alert))
	slices.SortStableFunc(alerts, func(a, b Alert) int {
		return cmp.Or(b.Created.Compare(a.Created), strings.Compare(a.ID, b.ID))
	})
	return alerts, err
}

// current reports whether the record stands for a machine of today.
func (m Machine) current() bool { return m.MergedInto == "" && !m.Excluded }

var sensorHealth = []string{"Active", "Inactive", "ImpairedCommunication", "NoSensorData", "NoSensorDataImpairedCommunication", "Unknown"}

// KnownHealth reports whether s is a [Machine.Health] that Defender documents; what else
// stands there is text from outside.
func KnownHealth(s string) bool { return slices.Contains(sensorHealth, s) }
