package defendersim

import (
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mdebot/mdebot/internal/sandbox/estate"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
)

const (
	typeIsolate    = "Isolate"
	typeUnisolate  = "Unisolate"
	typeRestrict   = "RestrictCodeExecution"
	typeUnrestrict = "UnrestrictCodeExecution"
	typeScan       = "RunAntiVirusScan"
	typeQuarantine = "StopAndQuarantineFile"
	typePackage    = "CollectInvestigationPackage"

	statusPending    = "Pending"
	statusInProgress = "InProgress"
	statusSucceeded  = "Succeeded"
	statusFailed     = "Failed"
	statusTimeOut    = "TimeOut"
	statusCancelled  = "Cancelled"

	// The results that real records carry.
	resultTimeOut   = -2145844840 // 0x80190198
	resultCancelled = -2147467260 // 0x80004004
	resultNoFile    = -2147024894 // 0x80070002
)

// Timing is how fast machine actions go. Zero fields take the defaults.
type Timing struct {
	Start   time.Duration // from accepted to InProgress, default 2 s
	Run     time.Duration // from InProgress to the end, default 4 s
	TimeOut time.Duration // how long an offline machine is waited for, default 3 days 14 min
	// Hidden is how long a fresh action is in no list and 404 by its ID,
	// default not at all.
	Hidden time.Duration
}

func (t Timing) withDefaults() Timing {
	if t.Start == 0 {
		t.Start = 2 * time.Second
	}
	if t.Run == 0 {
		t.Run = 4 * time.Second
	}
	if t.TimeOut == 0 {
		t.TimeOut = 72*time.Hour + 14*time.Minute
	}
	return t
}

// Repeat is how a second request of a kind that is already under way on the
// machine is answered. Defender does either, unpredictably.
type Repeat int

// The answers.
const (
	RepeatRefused  Repeat = iota // 400 ActiveRequestAlreadyExists
	RepeatExisting               // 201 with the action that is under way
)

// SetRepeat chooses how a repeated action is answered.
func (t *Tenant) SetRepeat(r Repeat) {
	_, unlock := t.lock()
	defer unlock()
	t.repeat = r
}

// SetTiming changes the timing of actions accepted from now on.
func (t *Tenant) SetTiming(timing Timing) {
	_, unlock := t.lock()
	defer unlock()
	t.timing = timing.withDefaults()
}

// FailNext makes the next action on a machine end as Failed with the result.
func (t *Tenant) FailNext(machineID string, result int32) {
	_, unlock := t.lock()
	defer unlock()
	t.failNext[machineID] = result
}

// Action is a machine action as the API shows it.
type Action struct {
	ID                      string      `json:"id"`
	Type                    string      `json:"type"`
	Title                   *string     `json:"title"`
	Scope                   *string     `json:"scope"`
	Requestor               string      `json:"requestor"`
	RequestorComment        string      `json:"requestorComment"`
	RequestSource           string      `json:"requestSource"`
	Status                  string      `json:"status"`
	MachineID               string      `json:"machineId"`
	ComputerDNSName         *string     `json:"computerDnsName"`
	CreationDateTimeUTC     estate.Time `json:"creationDateTimeUtc"`
	LastUpdateDateTimeUTC   estate.Time `json:"lastUpdateDateTimeUtc"`
	CancellationRequestor   *string     `json:"cancellationRequestor"`
	CancellationComment     *string     `json:"cancellationComment"`
	CancellationDateTimeUTC estate.Time `json:"cancellationDateTimeUtc"`
	ErrorHResult            int32       `json:"errorHResult"`
	ExternalID              *string     `json:"externalId"`
	RelatedFileInfo         *FileInfo   `json:"relatedFileInfo"`
	Commands                []struct{}  `json:"commands"`
	TroubleshootInfo        *string     `json:"troubleshootInfo"`
}

// FileInfo is the file that an action is about.
type FileInfo struct {
	FileIdentifier     string `json:"fileIdentifier"`
	FileIdentifierType string `json:"fileIdentifierType"`
}

// Final reports whether the action has ended.
func (a Action) Final() bool {
	return slices.Contains([]string{statusSucceeded, statusFailed, statusTimeOut, statusCancelled}, a.Status)
}

// action is an action and its course.
type action struct {
	Action
	startAt   time.Time // zero while the machine is away
	doneAt    time.Time
	visibleAt time.Time
	stuck     bool
	twice     bool
	result    int32 // not zero: it will fail
}

func newAction(m estate.Machine, kind string, o *order, requestor, comment, source string, now time.Time) *action {
	name := m.ComputerDNSName
	var file *FileInfo
	if o.sha1 != nil {
		file = &FileInfo{FileIdentifier: *o.sha1, FileIdentifierType: "Sha1"}
	}
	return &action{Action: Action{
		ID: uuid.NewString(), Type: kind, Scope: o.scope, RelatedFileInfo: file, Requestor: requestor, RequestorComment: comment,
		RequestSource: source, Status: statusPending, MachineID: m.ID, ComputerDNSName: &name,
		CreationDateTimeUTC: estate.At(now), LastUpdateDateTimeUTC: estate.At(now), Commands: []struct{}{},
	}}
}

func (a *action) schedule(now time.Time, online bool, timing Timing) {
	a.startAt, a.doneAt = time.Time{}, time.Time{}
	if online {
		a.startAt = now.Add(timing.Start)
		a.doneAt = a.startAt.Add(timing.Run)
	}
}

func (a *action) advance(now time.Time, timing Timing) {
	if a.Final() {
		return
	}
	if a.startAt.IsZero() || a.stuck {
		if due := a.CreationDateTimeUTC.Add(timing.TimeOut); !now.Before(due) {
			a.end(statusTimeOut, resultTimeOut, due)
		}
		return
	}
	if a.Status == statusPending && !now.Before(a.startAt) {
		a.Status, a.LastUpdateDateTimeUTC = statusInProgress, estate.At(a.startAt)
	}
	if !now.Before(a.doneAt) {
		status := statusSucceeded
		if a.result != 0 {
			status = statusFailed
		}
		a.end(status, a.result, a.doneAt)
	}
}

func (a *action) end(status string, result int32, at time.Time) {
	a.Status, a.ErrorHResult, a.LastUpdateDateTimeUTC, a.doneAt = status, result, estate.At(at), at
}

// act accepts an action through the API. The fault may hide the action for a
// while or show it twice.
func (t *Tenant) act(machineID, kind string, o *order, app, comment string, f fault.Fault) (Action, error) {
	now, unlock := t.lock()
	defer unlock()
	for _, a := range t.actions {
		if a.MachineID != machineID || a.Type != kind || a.Final() {
			continue
		}
		if t.repeat == RepeatExisting {
			return a.Action, nil
		}
		return Action{}, badRequest("ActiveRequestAlreadyExists", "Action is already in progress")
	}
	a := t.start(machineID, kind, o, app, comment, "PublicApi", now)
	switch f.Kind {
	case ListedLate:
		a.visibleAt = now.Add(f.Wait)
	case ListedTwice:
		a.twice = true
	}
	return a.Action, nil
}

// PortalAction starts an action as if a person did so in the portal. Nothing is
// refused but an unknown machine.
func (t *Tenant) PortalAction(machineID, kind, person, comment string) (Action, error) {
	now, unlock := t.lock()
	defer unlock()
	if t.machines[machineID] == nil {
		return Action{}, notFound("Machine", machineID)
	}
	o := bare()
	for _, c := range machineCalls {
		if c.kind == kind {
			o = c.takes()
			_ = o.check() // fills in what people leave at its default
		}
	}
	return t.start(machineID, kind, o, person, comment, "Portal", now).Action, nil
}

// start records an action that was accepted.
func (t *Tenant) start(machineID, kind string, o *order, requestor, comment, source string, now time.Time) *action {
	m := *t.machines[machineID]
	a := newAction(m, kind, o, requestor, comment, source, now)
	a.visibleAt = now.Add(t.timing.Hidden)
	a.result = t.failNext[machineID]
	delete(t.failNext, machineID)
	if o.sha1 != nil && a.result == 0 && !t.hasFile(m, *o.sha1) {
		a.result = resultNoFile
	}
	// A second isolation of an isolated machine has been seen to stay pending,
	// also after a release.
	a.stuck = kind == typeIsolate && t.state(m).Isolated
	a.schedule(now, !m.Offline, t.timing)
	t.actions = append(t.actions, a)
	t.effects = append(t.effects, Effect{
		At: now, Kind: EffectKind(kind), App: requestor, Portal: source == "Portal",
		MachineID: machineID, ActionID: a.ID, Comment: comment, Detail: deref(o.scope) + deref(o.sha1),
	})
	return a
}

// Actions returns all machine actions, oldest first, also those the API does not
// show yet.
func (t *Tenant) Actions() []Action {
	_, unlock := t.lock()
	defer unlock()
	out := make([]Action, len(t.actions))
	for i, a := range t.actions {
		out[i] = a.Action
	}
	return out
}

func (t *Tenant) listedActions() []Action {
	now, unlock := t.lock()
	defer unlock()
	var out []Action
	for _, a := range t.actions {
		if a.visibleAt.After(now) {
			continue
		}
		out = append(out, a.Action)
		if a.twice {
			out = append(out, a.Action)
		}
	}
	return out
}

func (t *Tenant) readAction(id string) (Action, error) {
	now, unlock := t.lock()
	defer unlock()
	a := t.find(id)
	if a == nil || a.visibleAt.After(now) {
		return Action{}, notFound("MachineAction", id)
	}
	return a.Action, nil
}

func (t *Tenant) find(id string) *action {
	i := slices.IndexFunc(t.actions, func(a *action) bool { return strings.EqualFold(a.ID, id) })
	if i < 0 {
		return nil
	}
	return t.actions[i]
}

func (t *Tenant) cancel(id, app, comment string) (Action, error) {
	now, unlock := t.lock()
	defer unlock()
	a := t.find(id)
	switch {
	case a == nil || a.visibleAt.After(now):
		return Action{}, notFound("MachineAction", id)
	case a.Final():
		return Action{}, badRequest("InvalidInput", "Machine action %s has already ended with status %s", id, a.Status)
	}
	a.end(statusCancelled, resultCancelled, now)
	a.CancellationRequestor, a.CancellationComment, a.CancellationDateTimeUTC = &app, &comment, estate.At(now)
	t.effects = append(t.effects, Effect{At: now, Kind: EffectCancel, App: app, MachineID: a.MachineID, ActionID: a.ID, Comment: comment})
	return a.Action, nil
}
