package defendersim

import (
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/estate"
)

// Attack is how far an attack has come.
type Attack struct {
	IncidentID int64
	AlertIDs   []string // in the order they were raised
	Done       []string // the steps that happened
	Contained  bool     // a machine was isolated in time and the rest did not happen
	Over       bool
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
// and leaves events to hunt for. Isolating the machine that the attacker needs
// ends it.
func (t *Tenant) StartAttack(interval time.Duration) Attack {
	now, unlock := t.lock()
	defer unlock()
	t.incident++
	s := &story{Attack: Attack{IncidentID: t.incident}, steps: t.estate.Attack(), from: now, every: interval}
	t.stories = append(t.stories, s)
	t.play(s, now)
	return s.Attack
}

// Attacks returns the attacks that were started, oldest first.
func (t *Tenant) Attacks() []Attack {
	_, unlock := t.lock()
	defer unlock()
	out := make([]Attack, len(t.stories))
	for i, s := range t.stories {
		out[i] = s.Attack
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
		t.serial++
		a := step.Alert(due, t.serial)
		a.IncidentID = s.IncidentID
		t.addAlert(a, due)
		t.events = append(t.events, step.Events(due)...)
		if m := t.machines[step.Machine]; m != nil {
			changed := *m
			changed.RiskScore = step.Risk
			t.machines[step.Machine] = &changed
		}
		s.AlertIDs, s.Done = append(s.AlertIDs, a.ID), append(s.Done, step.Name)
		if step.Escalates {
			_ = t.editAlert(s.AlertIDs[0], due, func(a *estate.Alert) { a.Severity = "High" })
		}
		s.Over = len(s.Done) == len(s.steps)
	}
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
