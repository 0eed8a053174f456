package defender

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"time"
)

// AlertFilter selects alerts. The zero value selects all of them.
type AlertFilter struct {
	// UpdatedSince and CreatedSince are inclusive; zero means from the beginning.
	UpdatedSince, CreatedSince time.Time
	// CreatedBefore is exclusive; zero means until now.
	CreatedBefore time.Time
	MinSeverity   Severity // "" = any
	Statuses      []string // none = any
	IncidentID    int64    // 0 = any
	// OldestFirst orders by update time, oldest first, as a poller wants it.
	// Otherwise the newest alerts come first.
	OldestFirst bool
	// Limit ends the iteration after that many alerts; 0 means no limit.
	Limit int
}

func (f AlertFilter) expr() expr {
	var es []expr
	if !f.UpdatedSince.IsZero() {
		es = append(es, atOrAfter(alertUpdated, f.UpdatedSince))
	}
	if !f.CreatedSince.IsZero() {
		es = append(es, atOrAfter(alertCreated, f.CreatedSince))
	}
	if !f.CreatedBefore.IsZero() {
		es = append(es, before(alertCreated, f.CreatedBefore))
	}
	if f.MinSeverity != "" && f.MinSeverity.Rank() > 0 {
		es = append(es, oneOf(alertSeverity, severitiesFrom(f.MinSeverity)))
	}
	es = append(es, oneOf(alertStatus, f.Statuses))
	if f.IncidentID != 0 {
		es = append(es, eq(alertIncident, intLiteral(f.IncidentID)))
	}
	return allOf(es...)
}

func severitiesFrom(minimum Severity) []Severity {
	all := []Severity{Informational, Low, Medium, High}
	return slices.DeleteFunc(all, func(s Severity) bool { return s.Rank() < minimum.Rank() })
}

// Alerts lists alerts without their evidence (see [Client.AlertsWithEvidence]).
// Each alert comes once. A *[RecordError] concerns one alert that could not be
// read and the iteration goes on; any other error ends it.
func (c *Client) Alerts(ctx context.Context, f AlertFilter) iter.Seq2[Alert, error] {
	order := string(alertCreated) + " desc"
	if f.OldestFirst {
		order = string(alertUpdated) + " asc"
	}
	return list(ctx, c, listCall{
		op: "list alerts", family: familyAlerts, path: "/api/alerts",
		filter: f.expr(), order: order, limit: f.Limit,
	}, c.alert)
}

// Alert reads one alert. Defender normally includes the evidence here, but not
// reliably: nil Evidence still means that nothing is known.
func (c *Client) Alert(ctx context.Context, id string) (Alert, error) {
	const op = "get alert"
	if err := checkAlertID(op, id); err != nil {
		return Alert{}, err
	}
	return get(ctx, c, call{op: op, family: familyAlerts, path: "/api/alerts/" + id, id: id}, c.alert)
}

// evidenceBatch keeps "id eq … or id eq …" below the 100 nodes to which
// Microsoft's OData library limits a filter by default.
const evidenceBatch = 20

// AlertsWithEvidence reads the alerts with the given IDs and their evidence,
// some at a time, in the order of ids. Alerts that Defender does not know are
// left out. Evidence of those returned is never nil.
func (c *Client) AlertsWithEvidence(ctx context.Context, ids []string) ([]Alert, error) {
	const op = "list alerts with evidence"
	for _, id := range ids {
		if err := checkAlertID(op, id); err != nil {
			return nil, err
		}
	}
	found := make(map[string]Alert, len(ids))
	for batch := range slices.Chunk(ids, evidenceBatch) {
		for a, err := range list(ctx, c, listCall{
			op: op, family: familyAlerts, path: "/api/alerts",
			filter: oneOf(entityID, batch), expand: "evidence", limit: len(batch),
		}, c.alert) {
			if err != nil {
				return nil, err
			}
			if a.Evidence == nil {
				a.Evidence = []Evidence{}
			}
			found[a.ID] = a
		}
	}
	alerts := make([]Alert, 0, len(found))
	for _, id := range ids {
		if a, ok := found[id]; ok {
			alerts = append(alerts, a)
			delete(found, id)
		}
	}
	return alerts, nil
}

// AlertUpdate is a change to an alert; empty fields stay as they are.
type AlertUpdate struct {
	Status         string `json:"status,omitempty"`
	AssignedTo     string `json:"assignedTo,omitempty"`
	Classification string `json:"classification,omitempty"`
	Determination  string `json:"determination,omitempty"`
	Comment        string `json:"comment,omitempty"`
}

// UpdateAlert changes an alert and returns it as it is now, without evidence. It
// is sent once: after ErrUnavailable the change may or may not have been made.
func (c *Client) UpdateAlert(ctx context.Context, id string, u AlertUpdate) (Alert, error) {
	const op = "update alert"
	if err := checkAlertID(op, id); err != nil {
		return Alert{}, err
	}
	if u == (AlertUpdate{}) {
		return Alert{}, fmt.Errorf("%s: %w: nothing to change", op, ErrInvalid)
	}
	defer c.cache.forget()
	return get(ctx, c, call{op: op, family: familyAlertUpdates, method: http.MethodPatch, path: "/api/alerts/" + id, id: id, body: u}, c.alert)
}
