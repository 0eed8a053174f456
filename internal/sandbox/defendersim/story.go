package defendersim

import (
	"slices"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/estate"
)

// Attack is how far an attack has come.
type Attack struct {
	IncidentID int64
	AlertIDs   []string // in the order they were raised
	Done       []Done   // the steps that happened
	Of         int      // how many there are
	Contained  bool     // a machine was isolated in time and the rest did not happen
	Stopped    bool     // by whoever watches
	Over       bool
}

// Done is a step that happened.
type Done struct {
	estate.Step
	At time.Time
}

// story is an attack that is under way.
type story struct {
	Attack
	steps []estate.Step
	from  time.Time
	every time.Duration
}

// StartAttack lets the estate's attack unfold: the first step at once, each later
// one after another interval. Every step raises an alert of the same incident
// and leaves events to hunt for, but for one that resolves the first. Isolating the
// machine that the attacker needs ends it.
func (t *Tenant) StartAttack(interval time.Duration) Attack {
	now, unlock := t.lock()
	defer unlock()
	t.incident++
	steps := t.estate.Attack(func(id string) bool { return t.cutOff(id, now) })
	s := &story{Attack: Attack{IncidentID: t.incident, Of: len(steps)}, steps: steps, from: now, every: interval}
	t.stories = append(t.stories, s)
	t.play(s, now)
	return s.Attack
}

// StopAttack ends the attack that is under way. What has happened stays.
func (t *Tenant) StopAttack() {
	_, unlock := t.lock()
	defer unlock()
	if len(t.stories) == 0 {
		return
	}
	if s := t.stories[len(t.stories)-1]; !s.Over {
		s.Stopped, s.Over = true, true
	}
}

// NextStep lets the next step of the attack that is under way happen now.
func (t *Tenant) NextStep() {
	now, unlock := t.lock()
	defer unlock()
	if len(t.stories) == 0 {
		return
	}
	s := t.stories[len(t.stories)-1]
	s.from = now.Add(-time.Duration(len(s.Done)) * s.every)
	t.play(s, now)
}

// Attacks returns the attacks that were started, oldest first.
func (t *Tenant) Attacks() []Attack {
	_, unlock := t.lock()
	defer unlock()
	out := make([]Attack, len(t.stories))
	for i, s := range t.stories {
		out[i] = s.Attack
		out[i].AlertIDs, out[i].Done = slices.Clone(s.AlertIDs), slices.Clone(s.Done)
	}
	return out
}

// play lets the steps happen that are due.
func (t *Tenant) play(s *story, now time.Time) {
	for !s.Over {
		due := s.from.Add(time.Duration(len(s.Done)) * s.every)
		if now.Before(due) {
			return
		}
		step := s.steps[len(s.Done)]
		if t.cutOff(step.Through, due) {
			s.Contained, s.Over = true, true
			return
		}
		s.Done = append(s.Done, Done{Step: step, At: due})
		if step.Resolves {
			t.resolveInPortal(s.AlertIDs[0], due)
		} else {
			s.AlertIDs = append(s.AlertIDs, t.strike(step, s.IncidentID, due))
		}
		if step.Escalates {
			_ = t.editAlert(s.AlertIDs[0], due, func(a *estate.Alert) { a.Severity = "High" })
		}
		s.Over = len(s.Done) == len(s.steps)
	}
}

// strike lets a step happen and returns the ID of its alert.
func (t *Tenant) strike(step estate.Step, incident int64, at time.Time) string {
	t.serial++
	a := step.Alert(at, t.serial)
	a.IncidentID = incident
	t.addAlert(a, at)
	t.events = append(t.events, step.Events(at)...)
	if m := t.machines[step.Machine]; m != nil {
		changed := *m
		changed.RiskScore = step.Risk
		t.machines[step.Machine] = &changed
	}
	return a.ID
}

// resolveInPortal is what somebody in the portal does about an alert.
func (t *Tenant) resolveInPortal(id string, at time.Time) {
	who, classification, determination := "dana@contoso.example", "TruePositive", "Phishing"
	_ = t.editAlert(id, at, func(a *estate.Alert) {
		a.Status, a.ResolvedTime, a.AssignedTo = "Resolved", estate.At(at), &who
		a.Classification, a.Determination = &classification, &determination
		a.Comments = append(a.Comments, estate.Comment{Comment: "The message is gone from all mailboxes.", CreatedBy: who, CreatedTime: estate.At(at)})
	})
}

// cutOff reports whether a machine was off the network at the given time.
func (t *Tenant) cutOff(machineID string, at time.Time) bool {
	m := t.machines[machineID]
	if m == nil {
		return false
	}
	state := t.state(*m)
	return state.Offline || state.Isolated && !state.Since.After(at)
}
