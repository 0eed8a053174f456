package defendersim

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/estate"
)

// AddAlert adds an alert that the API shows from visibleAt on, which may be
// later than its own times: Defender does the same. An incident ID of zero gets
// it an incident of its own.
func (t *Tenant) AddAlert(a estate.Alert, visibleAt time.Time) estate.Alert {
	_, unlock := t.lock()
	defer unlock()
	return t.addAlert(a, visibleAt)
}

func (t *Tenant) addAlert(a estate.Alert, visibleAt time.Time) estate.Alert {
	if a.IncidentID == 0 {
		t.incident++
		a.IncidentID = t.incident
	}
	t.incident = max(t.incident, a.IncidentID)
	t.alerts[a.ID] = &alertRecord{alert: &a, visibleAt: visibleAt}
	return a
}

// RaiseAlert adds an ordinary alert on a machine, visible at once.
func (t *Tenant) RaiseAlert(machineID, severity, title string) (estate.Alert, error) {
	now, unlock := t.lock()
	defer unlock()
	m := t.machines[machineID]
	if m == nil {
		return estate.Alert{}, notFound("Machine", machineID)
	}
	t.serial++
	return t.addAlert(estate.NewAlert(t.id, *m, now, t.serial, severity, title), now), nil
}

// Alerts returns the alerts that the API shows, newest first.
func (t *Tenant) Alerts() []estate.Alert {
	found := t.visibleAlerts(func(*estate.Alert) bool { return true })
	slices.SortStableFunc(found, alertEntity.natural)
	out := make([]estate.Alert, len(found))
	for i, a := range found {
		out[i] = *a
	}
	return out
}

// Alert returns one alert that the API shows.
func (t *Tenant) Alert(id string) (estate.Alert, bool) {
	now, unlock := t.lock()
	defer unlock()
	r := t.alerts[id]
	if r == nil || r.visibleAt.After(now) {
		return estate.Alert{}, false
	}
	return *r.alert, true
}

// EditAlert changes an alert as if somebody did so in the portal, and moves its
// last update time.
func (t *Tenant) EditAlert(id string, change func(*estate.Alert)) error {
	now, unlock := t.lock()
	defer unlock()
	return t.editAlert(id, now, change)
}

func (t *Tenant) editAlert(id string, now time.Time, change func(*estate.Alert)) error {
	r := t.alerts[id]
	if r == nil || r.visibleAt.After(now) {
		return notFound("Alert", id)
	}
	a := *r.alert
	a.Comments = slices.Clone(a.Comments)
	a.LastUpdateTime = estate.At(now)
	change(&a)
	r.alert = &a
	return nil
}

func (t *Tenant) visibleAlerts(match func(*estate.Alert) bool) []*estate.Alert {
	now, unlock := t.lock()
	defer unlock()
	var found []*estate.Alert
	for _, r := range t.alerts {
		if !r.visibleAt.After(now) && match(r.alert) {
			found = append(found, r.alert)
		}
	}
	// The map has no order, and pages must not change between calls.
	slices.SortFunc(found, func(a, b *estate.Alert) int { return cmp.Compare(a.ID, b.ID) })
	return found
}

func (t *Tenant) otherAlert(than string) estate.Alert {
	all := t.Alerts()
	return all[slices.IndexFunc(all, func(a estate.Alert) bool { return a.ID != than })]
}

// changeAlert carries out a PATCH.
func (t *Tenant) changeAlert(id, app string, ch alertChange) (estate.Alert, error) {
	now, unlock := t.lock()
	defer unlock()
	err := t.editAlert(id, now, func(a *estate.Alert) {
		if ch.Status != nil {
			a.Status = *ch.Status
			a.ResolvedTime = estate.Time{}
			if a.Status == "Resolved" {
				a.ResolvedTime = estate.At(now)
			}
		}
		if ch.AssignedTo != nil {
			a.AssignedTo = ch.AssignedTo
		}
		if ch.Classification != nil {
			a.Classification = ch.Classification
		}
		if ch.Determination != nil {
			a.Determination = ch.Determination
		}
		if ch.Comment != nil {
			a.Comments = append(a.Comments, estate.Comment{Comment: *ch.Comment, CreatedBy: app, CreatedTime: estate.At(now)})
		}
	})
	if err != nil {
		return estate.Alert{}, err
	}
	t.effects = append(t.effects, Effect{
		At: now, Kind: EffectAlertUpdate, App: app, AlertID: id, Comment: deref(ch.Comment),
		Detail: fmt.Sprintf("status=%s assignedTo=%s classification=%s determination=%s",
			deref(ch.Status), deref(ch.AssignedTo), deref(ch.Classification), deref(ch.Determination)),
	})
	return *t.alerts[id].alert, nil
}
