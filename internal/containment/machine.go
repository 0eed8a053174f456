package containment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/fault"
	"github.com/mdebot/mdebot/internal/policy"
)

// onMachine is the course of a machine action.
type onMachine struct {
	kind defender.MachineActionType
	// beside are the types of which a machine takes one at a time with it; kind is
	// one of them.
	beside []defender.MachineActionType
	// obstacle says from the machine's actions of these types where it stands, for
	// the record, and why another one is pointless or harmful, or nothing.
	obstacle func(actions []defender.MachineAction) (state, problem string)
	// unmanaged: it is for devices that are not onboarded.
	unmanaged bool
}

var (
	isolations   = []defender.MachineActionType{defender.Isolate, defender.Unisolate}
	restrictions = []defender.MachineActionType{defender.Restrict, defender.Unrestrict}
)

func isolating(actions []defender.MachineAction) (state, problem string) {
	i := defender.IsolationOf(actions)
	switch i.State {
	case defender.Isolated:
		problem = "The machine is isolated already: " + describe(i.Action) + "."
	case defender.Isolating, defender.Releasing:
		problem = inTheWay(i.Action)
	case defender.NotIsolated:
	}
	return string(i.State), problem
}

func releasing(actions []defender.MachineAction) (state, problem string) {
	i := defender.IsolationOf(actions)
	switch {
	case i.State == defender.Isolating, i.State == defender.Releasing:
		problem = inTheWay(i.Action)
	case i.State == defender.NotIsolated && i.Action.ID != "":
		// Without any action on record the machine may have been isolated longer ago
		// than Defender's list reaches.
		problem = "The machine is released already: " + describe(i.Action) + "."
	}
	return string(i.State), problem
}

func restricting(actions []defender.MachineAction) (state, problem string) {
	r := defender.RestrictionOf(actions)
	switch r.State {
	case defender.Restricted:
		problem = "The machine is restricted already: " + describe(r.Action) + "."
	case defender.Restricting, defender.Unrestricting:
		problem = inTheWay(r.Action)
	case defender.NotRestricted:
	}
	return string(r.State), problem
}

func unrestricting(actions []defender.MachineAction) (state, problem string) {
	r := defender.RestrictionOf(actions)
	switch {
	case r.State == defender.Restricting, r.State == defender.Unrestricting:
		problem = inTheWay(r.Action)
	case r.State == defender.NotRestricted && r.Action.ID != "":
		problem = "The machine is unrestricted already: " + describe(r.Action) + "."
	}
	return string(r.State), problem
}

// oneAtATime is for actions that leave no state behind.
func oneAtATime(actions []defender.MachineAction) (state, problem string) {
	if other := active(actions); other != nil {
		return string(other.Status), inTheWay(*other)
	}
	return "", ""
}

func inTheWay(a defender.MachineAction) string {
	return "Nothing was added, because " + describe(a) + "."
}

// machineAction turns a call that starts a machine action into one of an effect.
func machineAction(call func(ctx context.Context, actor Actor, a approvals.Attempt, comment string) (defender.MachineAction, error)) func(context.Context, Actor, approvals.Attempt, string) (approvals.Started, error) {
	return func(ctx context.Context, actor Actor, a approvals.Attempt, comment string) (approvals.Started, error) {
		got, err := call(ctx, actor, a, comment)
		if err != nil {
			return approvals.Started{Detail: detail(got, err)}, err
		}
		return started(got, elsewhere(a.Request, a.Target, got)), nil
	}
}

func (c onMachine) starts(kind defender.MachineActionType) bool { return kind == c.kind }

// before reads the machine and its actions, and says what has changed since people
// decided.
func (c onMachine) before(ctx context.Context, x *Runner, r approvals.Request, t approvals.Target, facts *approvals.Facts) (*approvals.Started, error) {
	actions, err := x.actionsOf(ctx, t.ID, c.beside)
	if err != nil {
		return nil, err
	}
	if own := c.own(actions, r); own != nil {
		s := started(*own, "")
		return &s, nil
	}
	m, err := x.reader.Machine(ctx, t.ID)
	if errors.Is(err, defender.ErrNotFound) {
		facts.Problem = "Defender no longer knows this machine."
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	state, problem := c.obstacle(actions)
	facts.Machine = machineFacts(m)
	switch facts.Problem = changed(r, t, m); {
	case facts.Problem != "":
	case c.unmanaged && m.Onboarding == "Onboarded":
		facts.Problem = "The machine is onboarded now, so it is isolated and not contained."
	default:
		facts.Problem = problem
	}
	facts.Detail, err = json.Marshal(struct {
		Machine  *policy.Machine `json:"machine"`
		LastSeen time.Time       `json:"last_seen,omitzero"`
		State    string          `json:"state,omitempty"`
	}{facts.Machine, m.LastSeen, state})
	return nil, err
}

// own finds the action that r has started.
func (c onMachine) own(actions []defender.MachineAction, r approvals.Request) *defender.MachineAction {
	for i := range actions {
		if actions[i].Type == c.kind && (hasMarker(actions[i], r) || fault.On(fault.Adopt)) {
			return &actions[i]
		}
	}
	return nil
}

func (c onMachine) look(ctx context.Context, x *Runner, r approvals.Request, t approvals.Target) (sighting, error) {
	actions, err := x.actionsOf(ctx, t.ID, c.beside)
	if err != nil {
		return sighting{}, err
	}
	if own := c.own(actions, r); own != nil {
		s := started(*own, "")
		return sighting{own: &s}, nil
	}
	s := sighting{missing: "its list does not show the action"}
	if other := active(actions); other != nil {
		s.other = describe(*other)
	}
	return s, nil
}

func (c onMachine) follow(ctx context.Context, x *Runner, r approvals.Request, t approvals.Target) (standing, error) {
	a, err := x.reader.MachineAction(ctx, t.MachineAction)
	s := standing{status: string(a.Status)}
	switch {
	case err != nil:
		return s, err
	case a.MachineID != "" && !strings.EqualFold(a.MachineID, t.ID):
		s.phase, s.note = lost, "The machine action Defender answered with belongs to another machine; looking for the right one."
	case a.Status == defender.ActionSucceeded:
		s.phase, s.note = succeeded, elsewhere(r, t, a)
	case a.Status.Final():
		s.phase, s.note = failed, ending(a)
	default:
		s.note = x.meanwhile(ctx, r, t, a)
	}
	return s, nil
}

// meanwhile says what a machine does that has not taken its action yet.
func (x *Runner) meanwhile(ctx context.Context, r approvals.Request, t approvals.Target, a defender.MachineAction) string {
	note := elsewhere(r, t, a)
	if a.Status != defender.ActionPending || x.now().Sub(t.IntentAt) < offlineAfter {
		return note
	}
	m, err := x.reader.Machine(ctx, t.ID)
	if err != nil || m.Health == "" || m.Health == "Active" {
		return note
	}
	return strings.TrimSpace(fmt.Sprintf("%s The machine is %s, last seen %s; Defender waits for it up to three days.",
		note, clean(m.Health, 40), m.LastSeen.UTC().Format("2006-01-02 15:04 UTC")))
}

// ending says why an action did not succeed.
func ending(a defender.MachineAction) string {
	text := "Defender ended it as " + string(a.Status)
	switch a.Status {
	case defender.ActionTimeOut:
		text = "The machine did not take it in time (TimeOut)"
	case defender.ActionCancelled:
		text = "It was cancelled"
		if a.CancelledBy != "" {
			text += " by " + clean(a.CancelledBy, maxName)
		}
		if a.CancelComment != "" {
			text += ": " + clean(a.CancelComment, 200)
		}
	default: // its name says it all
	}
	if a.HResult != 0 {
		text += fmt.Sprintf(" (error 0x%08X)", uint32(a.HResult))
	}
	return text + "."
}

// elsewhere notes that Defender answered with an action that was there before
// instead of starting one.
func elsewhere(r approvals.Request, t approvals.Target, got defender.MachineAction) string {
	if hasMarker(got, r) || got.Comment == "" && !got.Created.Before(t.IntentAt.Add(-clockSkew)) {
		return ""
	}
	return "Defender started no other action, because " + describe(got) + "."
}

func started(m defender.MachineAction, note string) approvals.Started {
	return approvals.Started{ID: m.ID, Status: string(m.Status), Created: m.Created, Note: note, Detail: detail(m, nil)}
}

// detail is what Defender said, for the audit record.
func detail(m defender.MachineAction, err error) json.RawMessage {
	d := struct {
		ID        string    `json:"id,omitempty"`
		Type      string    `json:"type,omitempty"`
		Scope     string    `json:"scope,omitempty"`
		Machine   string    `json:"machine,omitempty"`
		Requestor string    `json:"requestor,omitempty"`
		Comment   string    `json:"comment,omitempty"`
		Created   time.Time `json:"created,omitzero"`
		Error     string    `json:"error,omitempty"`
	}{ID: m.ID, Type: string(m.Type), Scope: m.Scope, Machine: m.MachineID, Requestor: m.Requestor, Comment: m.Comment, Created: m.Created}
	if err != nil {
		d.Error = words(err)
	}
	return encoded(d)
}

// encoded is d as JSON. It holds nothing but strings, numbers and times.
func encoded(d any) json.RawMessage {
	text, err := json.Marshal(d)
	if err != nil {
		panic(fmt.Sprintf("containment: encode detail: %v", err)) // such values always encode
	}
	return text
}

// actionsOf lists a machine's actions of some types, the newest first.
func (x *Runner) actionsOf(ctx context.Context, machineID string, types []defender.MachineActionType) ([]defender.MachineAction, error) {
	var actions []defender.MachineAction
	for a, err := range x.reader.MachineActions(ctx, defender.ActionFilter{MachineID: machineID, Types: types, Limit: 100}) {
		if err != nil {
			return nil, err
		}
		// An answer that ignores the filter must not pass for this machine's.
		if strings.EqualFold(a.MachineID, machineID) {
			actions = append(actions, a)
		}
	}
	return actions, nil
}

// active finds an action that is under way.
func active(actions []defender.MachineAction) *defender.MachineAction {
	for i := range actions {
		if !actions[i].Status.Final() {
			return &actions[i]
		}
	}
	return nil
}
