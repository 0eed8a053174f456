package defendersim

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/estate"
)

// Tenant is the data of one customer and the side door that tests and the demo
// use beside the API.
type Tenant struct {
	server *Server
	id     string
	estate *estate.Estate

	mu       sync.Mutex
	machines map[string]*estate.Machine
	order    []string // machine IDs
	alerts   map[string]*alertRecord
	actions  []*action
	effects  []Effect
	events   []estate.Event
	stories  []*story
	tables   map[string]Table
	timing   Timing
	repeat   Repeat
	gone     map[string]bool // packages that were deleted

	indicators       []Indicator
	indicatorsBeside int              // counted against the limit and not listed
	failNext         map[string]int32 // machine ID: error of its next action
	serial           int32
	incident         int64 // the last one used
	incidentsSet     map[int64]incidentSet
}

// alertRecord is an alert and when it can first be read. The alert is replaced,
// never changed, so that it may be read without the lock.
type alertRecord struct {
	alert     *estate.Alert
	visibleAt time.Time
}

func newTenant(s *Server, e *estate.Estate) *Tenant {
	t := &Tenant{
		server: s, id: e.Tenant, estate: e, timing: s.timing,
		machines: map[string]*estate.Machine{}, alerts: map[string]*alertRecord{},
		events: slices.Clone(e.Events), tables: map[string]Table{}, failNext: map[string]int32{}, gone: map[string]bool{},
		incidentsSet: map[int64]incidentSet{},
	}
	for _, m := range e.Machines {
		t.putMachine(m)
	}
	for _, a := range e.Alerts {
		t.alerts[a.ID] = &alertRecord{alert: &a}
		t.incident = max(t.incident, a.IncidentID)
	}
	return t
}

// ID is the tenant's Entra tenant ID.
func (t *Tenant) ID() string { return t.id }

// lock takes the lock and brings everything up to the present. It returns the
// present and the unlock function.
func (t *Tenant) lock() (time.Time, func()) {
	t.mu.Lock()
	now := t.server.now()
	t.advance(now)
	return now, t.mu.Unlock
}

// advance lets everything happen that was due since the last look, so that no
// background work is needed and a clock can be stepped.
func (t *Tenant) advance(now time.Time) {
	for _, a := range t.actions {
		a.advance(now, t.timing)
	}
	for _, s := range t.stories {
		t.play(s, now)
	}
}

// PutMachine adds a machine, or replaces the record with its ID.
func (t *Tenant) PutMachine(m estate.Machine) {
	_, unlock := t.lock()
	defer unlock()
	t.putMachine(m)
}

func (t *Tenant) putMachine(m estate.Machine) {
	if t.machines[m.ID] == nil {
		t.order = append(t.order, m.ID)
	}
	t.machines[m.ID] = &m
}

// SetOnline connects a machine to the network or takes it away. Actions that
// wait for it start after the usual time once it is back.
func (t *Tenant) SetOnline(machineID string, online bool) error {
	now, unlock := t.lock()
	defer unlock()
	m := t.machines[machineID]
	if m == nil {
		return notFound("Machine", machineID)
	}
	changed := *m
	changed.Offline = !online
	t.machines[machineID] = &changed
	for _, a := range t.actions {
		if a.MachineID == machineID && a.Status == statusPending && !a.stuck {
			a.schedule(now, online, t.timing)
		}
	}
	return nil
}

// MachineState is a machine and what is really true about its network, which
// Defender's API does not say.
type MachineState struct {
	estate.Machine
	Isolated bool
	Scope    string // Full, Selective, … when isolated
	Since    time.Time
	Actions  []Action // isolate and unisolate actions, newest first
}

// Machines returns all machines in the order they were added.
func (t *Tenant) Machines() []MachineState {
	_, unlock := t.lock()
	defer unlock()
	out := make([]MachineState, len(t.order))
	for i, id := range t.order {
		out[i] = t.state(*t.machines[id])
	}
	return out
}

// Machine returns one machine by ID.
func (t *Tenant) Machine(id string) (MachineState, bool) {
	_, unlock := t.lock()
	defer unlock()
	m := t.machines[id]
	if m == nil {
		return MachineState{}, false
	}
	return t.state(*m), true
}

// Named returns the machines whose name, or its first label, is name, without
// regard to case.
func (t *Tenant) Named(name string) []MachineState {
	var found []MachineState
	for _, m := range t.Machines() {
		if m.ShortName() == strings.ToLower(name) || strings.EqualFold(m.ComputerDNSName, name) {
			found = append(found, m)
		}
	}
	return found
}

// PutFile puts a file on a machine.
func (t *Tenant) PutFile(machineID, sha1 string) {
	now, unlock := t.lock()
	defer unlock()
	t.events = append(t.events, estate.Event{
		Table: "DeviceFileEvents", MachineID: machineID, At: estate.At(now), Values: map[string]any{"SHA1": sha1},
	})
}

// DropPackage deletes the package of a machine action, as Defender does in time.
func (t *Tenant) DropPackage(actionID string) {
	_, unlock := t.lock()
	defer unlock()
	t.gone[actionID] = true
}

func (t *Tenant) packageGone(actionID string) bool {
	_, unlock := t.lock()
	defer unlock()
	return t.gone[actionID]
}

// hasFile reports whether anything that Defender shows about a machine names the
// file. Quarantining any other fails on the machine.
func (t *Tenant) hasFile(m estate.Machine, sha1 string) bool {
	for _, e := range t.events {
		if named, ok := e.Values["SHA1"].(string); ok && e.MachineID == m.ID && strings.EqualFold(named, sha1) {
			return true
		}
	}
	for _, r := range t.alerts {
		if deref(r.alert.MachineID) != m.ID {
			continue
		}
		for _, e := range r.alert.Evidence {
			if strings.EqualFold(deref(e.SHA1), sha1) {
				return true
			}
		}
	}
	return false
}

func (t *Tenant) state(m estate.Machine) MachineState {
	s := MachineState{Machine: m}
	var last *action
	for _, a := range slices.Backward(t.actions) {
		if a.MachineID != m.ID || a.Type != typeIsolate && a.Type != typeUnisolate {
			continue
		}
		s.Actions = append(s.Actions, a.Action)
		if a.Status == statusSucceeded && (last == nil || a.doneAt.After(last.doneAt)) {
			last = a
		}
	}
	if last != nil && last.Type == typeIsolate {
		s.Isolated, s.Scope, s.Since = true, deref(last.Scope), last.doneAt
	}
	return s
}

func (t *Tenant) allMachines() []estate.Machine {
	_, unlock := t.lock()
	defer unlock()
	out := make([]estate.Machine, len(t.order))
	for i, id := range t.order {
		out[i] = *t.machines[id]
	}
	return out
}

func (t *Tenant) machineByID(id string) (estate.Machine, error) {
	_, unlock := t.lock()
	defer unlock()
	if m := t.machines[strings.ToLower(id)]; m != nil {
		return *m, nil
	}
	return estate.Machine{}, notFound("Machine", id)
}

// machineByIDOrName looks a machine up as GET /machines/{id} does. Of several
// records with the name it gives the one that reported last.
func (t *Tenant) machineByIDOrName(id string) (estate.Machine, error) {
	if m, err := t.machineByID(id); err == nil {
		return m, nil
	}
	named := slices.DeleteFunc(t.allMachines(), func(m estate.Machine) bool { return !strings.EqualFold(m.ComputerDNSName, id) })
	if len(named) == 0 {
		return estate.Machine{}, notFound("Machine", id)
	}
	return slices.MaxFunc(named, func(a, b estate.Machine) int { return a.LastSeen.Compare(b.LastSeen.Time) }), nil
}

func (t *Tenant) otherMachine(than string) estate.Machine {
	all := t.allMachines()
	return all[slices.IndexFunc(all, func(m estate.Machine) bool { return m.ID != than })]
}
