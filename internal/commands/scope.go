package commands

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/policy"
)

// within is the router as c's asker may use it. mdebot's own permissions at Defender
// end at no device group, so it keeps people to theirs itself (threat-model D-03).
func (r *Router) within(ctx context.Context, c *call) (*Router, error) {
	if c.who.Person.ID.IsZero() {
		return r, nil // reads in a channel for readers, which nobody's scope is about
	}
	scope, err := r.Policy.Current().Scope(ctx, r.Groups, c.who.Person.ID)
	if err != nil {
		r.Logger.WarnContext(ctx, "scope not read", "person_id", c.who.Person.ID.String(), "error", err)
		return nil, say("Which machines you may see could not be looked up, so nothing is shown.", "Try again in a moment.")
	}
	if scope.All() {
		return r, nil
	}
	kept := *r
	kept.Defender = &scoped{Defender: r.Defender, scope: scope, seen: map[string]bool{}}
	kept.Hunter = nobodyHunts{}
	kept.Indicators = nobodyBlocks{}
	return &kept, nil
}

// scoped reports whether r is the router of somebody who may see some machines only.
func (r *Router) scoped() bool {
	_, yes := r.Hunter.(nobodyHunts)
	return yes
}

// nobodyHunts refuses people with a scope: a query reads all machines.
type nobodyHunts struct{}

var errScopedHunt = say("Your rights cover some machines only, and a hunt reads all of them.", "Ask a hunter without such a limit.")

func (nobodyHunts) Hunt(context.Context, defender.HuntQuery, defender.HuntSink) (defender.HuntStats, error) {
	return defender.HuntStats{}, errScopedHunt
}

// nobodyBlocks refuses people with a scope: an indicator reaches all machines.
type nobodyBlocks struct{}

var errScopedBlock = say("Your rights cover some machines only, and an indicator reaches all of them.", "Ask a responder without such a limit.")

func (nobodyBlocks) Indicators(context.Context, string) iter.Seq2[defender.Indicator, error] {
	return func(yield func(defender.Indicator, error) bool) { yield(defender.Indicator{}, errScopedBlock) }
}

// scoped is Defender as far as one person's scope goes. What is outside does not
// exist. It lives for one command.
type scoped struct {
	Defender
	scope policy.Scope

	mu   sync.Mutex
	seen map[string]bool
}

// sees looks a machine up by its ID, once.
func (s *scoped) sees(ctx context.Context, id string) (bool, error) {
	id = strings.ToLower(id)
	s.mu.Lock()
	yes, known := s.seen[id]
	s.mu.Unlock()
	if known || id == "" {
		return yes, nil
	}
	m, err := s.Defender.Machine(ctx, id)
	switch {
	case errors.Is(err, defender.ErrNotFound):
	case err != nil:
		return false, err
	default:
		yes = s.scope.Sees(cards.PolicyMachine(m))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[id] = yes
	return yes, nil
}

func (s *scoped) must(ctx context.Context, id string) error {
	yes, err := s.sees(ctx, id)
	if err == nil && !yes {
		err = defender.ErrNotFound
	}
	return err
}

// only keeps what belongs to machines in the scope.
func only[T any](ctx context.Context, s *scoped, all []T, err error, machine func(T) string) ([]T, error) {
	if err != nil {
		return nil, err
	}
	var kept []T
	for _, one := range all {
		yes, err := s.sees(ctx, machine(one))
		if err != nil {
			return nil, err
		}
		if yes {
			kept = append(kept, one)
		}
	}
	return kept, nil
}

// onlyOf is only for lists that are read as they come; limit counts what is kept.
func onlyOf[T any](ctx context.Context, s *scoped, all iter.Seq2[T, error], limit int, machine func(T) string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		n := 0
		for one, err := range all {
			yes := err != nil
			if err == nil {
				yes, err = s.sees(ctx, machine(one))
			}
			if !yes && err == nil {
				continue
			}
			if !yield(one, err) || err != nil {
				return
			}
			if n++; n == limit {
				return
			}
		}
	}
}

func idOf(m defender.Machine) string                 { return m.ID }
func ofAlert(a defender.Alert) string                { return a.MachineID }
func ofAction(a defender.MachineAction) string       { return a.MachineID }
func ofReference(m defender.MachineReference) string { return m.ID }

func (s *scoped) Alerts(ctx context.Context, f defender.AlertFilter) iter.Seq2[defender.Alert, error] {
	limit := f.Limit
	f.Limit = 0
	return onlyOf(ctx, s, s.Defender.Alerts(ctx, f), limit, ofAlert)
}

func (s *scoped) AlertsWithEvidence(ctx context.Context, ids []string) ([]defender.Alert, error) {
	all, err := s.Defender.AlertsWithEvidence(ctx, ids)
	return only(ctx, s, all, err, ofAlert)
}

func (s *scoped) Alert(ctx context.Context, id string) (defender.Alert, error) {
	a, err := s.Defender.Alert(ctx, id)
	if err == nil {
		err = s.must(ctx, a.MachineID)
	}
	if err != nil {
		return defender.Alert{}, err
	}
	return a, nil
}

func (s *scoped) UpdateAlert(ctx context.Context, id string, u defender.AlertUpdate) (defender.Alert, error) {
	if _, err := s.Alert(ctx, id); err != nil {
		return defender.Alert{}, err
	}
	return s.Defender.UpdateAlert(ctx, id, u)
}

func (s *scoped) FindMachines(ctx context.Context, query string) (defender.Found, error) {
	found, err := s.Defender.FindMachines(ctx, query)
	found.Machines = slices.DeleteFunc(slices.Clone(found.Machines), func(m defender.Machine) bool { return !s.scope.Sees(cards.PolicyMachine(m)) })
	return found, err
}

func (s *scoped) MachinesNamed(ctx context.Context, names []string) ([]defender.Machine, error) {
	all, err := s.Defender.MachinesNamed(ctx, names)
	return slices.DeleteFunc(slices.Clone(all), func(m defender.Machine) bool { return !s.scope.Sees(cards.PolicyMachine(m)) }), err
}

func (s *scoped) Machine(ctx context.Context, id string) (defender.Machine, error) {
	m, err := s.Defender.Machine(ctx, id)
	if err == nil && !s.scope.Sees(cards.PolicyMachine(m)) {
		return defender.Machine{}, defender.ErrNotFound
	}
	return m, err
}

func (s *scoped) Machines(ctx context.Context, f defender.MachineFilter) iter.Seq2[defender.Machine, error] {
	limit := f.Limit
	f.Limit = 0
	return onlyOf(ctx, s, s.Defender.Machines(ctx, f), limit, idOf)
}

func (s *scoped) MachineUsers(ctx context.Context, id string) ([]defender.User, error) {
	if err := s.must(ctx, id); err != nil {
		return nil, err
	}
	return s.Defender.MachineUsers(ctx, id)
}

func (s *scoped) MachineAlerts(ctx context.Context, id string) ([]defender.Alert, error) {
	if err := s.must(ctx, id); err != nil {
		return nil, err
	}
	return s.Defender.MachineAlerts(ctx, id)
}

func (s *scoped) MachineActions(ctx context.Context, f defender.ActionFilter) iter.Seq2[defender.MachineAction, error] {
	limit := f.Limit
	f.Limit = 0
	return onlyOf(ctx, s, s.Defender.MachineActions(ctx, f), limit, ofAction)
}

func (s *scoped) MachineAction(ctx context.Context, id string) (defender.MachineAction, error) {
	a, err := s.Defender.MachineAction(ctx, id)
	if err == nil {
		err = s.must(ctx, a.MachineID)
	}
	if err != nil {
		return defender.MachineAction{}, err
	}
	return a, nil
}

func (s *scoped) RelatedAlerts(ctx context.Context, o defender.Observable) ([]defender.Alert, error) {
	all, err := s.Defender.RelatedAlerts(ctx, o)
	return only(ctx, s, all, err, ofAlert)
}

func (s *scoped) RelatedMachines(ctx context.Context, o defender.Observable) ([]defender.Machine, error) {
	all, err := s.Defender.RelatedMachines(ctx, o)
	return only(ctx, s, all, err, idOf)
}

func (s *scoped) UserMachines(ctx context.Context, account string) ([]defender.Machine, error) {
	all, err := s.Defender.UserMachines(ctx, account)
	return only(ctx, s, all, err, idOf)
}

func (s *scoped) UserAlerts(ctx context.Context, account string) ([]defender.Alert, error) {
	all, err := s.Defender.UserAlerts(ctx, account)
	return only(ctx, s, all, err, ofAlert)
}

// wholly reports whether every machine of an incident is in the scope; one that
// reaches further is somebody else's.
func (s *scoped) wholly(ctx context.Context, i defender.Incident) (bool, error) {
	inside, err := only(ctx, s, i.Machines, nil, ofReference)
	return len(i.Machines) > 0 && len(inside) == len(i.Machines), err
}

func (s *scoped) Incident(ctx context.Context, id int64) (defender.Incident, error) {
	i, err := s.Defender.Incident(ctx, id)
	if err != nil {
		return defender.Incident{}, err
	}
	if yes, err := s.wholly(ctx, i); err != nil || !yes {
		return defender.Incident{}, errors.Join(err, defender.ErrNotFound)
	}
	return i, nil
}

func (s *scoped) UpdateIncident(ctx context.Context, id int64, u defender.IncidentUpdate) (defender.Incident, error) {
	if _, err := s.Incident(ctx, id); err != nil {
		return defender.Incident{}, err
	}
	return s.Defender.UpdateIncident(ctx, id, u)
}

func (s *scoped) Incidents(ctx context.Context, since time.Time) iter.Seq2[defender.Incident, error] {
	return func(yield func(defender.Incident, error) bool) {
		for i, err := range s.Defender.Incidents(ctx, since) {
			yes := err != nil
			if err == nil {
				yes, err = s.wholly(ctx, i)
			}
			if (yes || err != nil) && !yield(i, err) {
				return
			}
		}
	}
}

func (s *scoped) ExposedMachines(ctx context.Context, id string) ([]defender.MachineReference, error) {
	all, err := s.Defender.ExposedMachines(ctx, id)
	return only(ctx, s, all, err, ofReference)
}

func (s *scoped) TagMachine(ctx context.Context, id, tag string, add bool) (defender.Machine, error) {
	if err := s.must(ctx, id); err != nil {
		return defender.Machine{}, err
	}
	return s.Defender.TagMachine(ctx, id, tag, add)
}

// PackageLink is for packages of machines in the scope, whoever asked for them.
func (s *scoped) PackageLink(ctx context.Context, actionID string) (defender.PackageLink, error) {
	if _, err := s.MachineAction(ctx, actionID); err != nil {
		return defender.PackageLink{}, err
	}
	return s.Defender.PackageLink(ctx, actionID)
}
