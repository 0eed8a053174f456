package defender

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Incident is Defender XDR's grouping of alerts.
type Incident struct {
	ID             int64
	Tenant         TenantID
	RedirectedTo   int64 // set when it was merged into another
	Name           string
	Severity       Severity
	Status         string // Active, InProgress, Resolved, Redirected
	AssignedTo     string
	Classification string
	Determination  string
	Created        time.Time
	Updated        time.Time
	Tags           []string
	Alerts         []IncidentAlert
	Machines       []MachineReference // of the alerts, each once
	Users          []string           // of the alerts, each once: a principal name, or domain\account
}

// IncidentAlert is an alert as its incident shows it. Alerts of other products
// than Defender for Endpoint cannot be read by [Client.Alert].
type IncidentAlert struct {
	ID       string
	Title    string
	Severity Severity
	Status   string
	Source   string
	Created  time.Time
}

type wireIncident struct {
	ID             integer                    `json:"incidentId"`
	RedirectedTo   integer                    `json:"redirectIncidentId"`
	Name           text                       `json:"incidentName"`
	Severity       text                       `json:"severity"`
	Status         text                       `json:"status"`
	AssignedTo     text                       `json:"assignedTo"`
	Classification text                       `json:"classification"`
	Determination  text                       `json:"determination"`
	Created        instant                    `json:"createdTime"`
	Updated        instant                    `json:"lastUpdateTime"`
	Tags           texts                      `json:"tags"`
	Alerts         records[wireIncidentAlert] `json:"alerts"`
}

type wireIncidentAlert struct {
	ID       text                        `json:"alertId"`
	Title    text                        `json:"title"`
	Severity text                        `json:"severity"`
	Status   text                        `json:"status"`
	Source   text                        `json:"serviceSource"`
	Created  instant                     `json:"creationTime"`
	Devices  records[wireIncidentDevice] `json:"devices"`
	Entities records[wireIncidentEntity] `json:"entities"`
}

type wireIncidentEntity struct {
	Type      text `json:"entityType"`
	Account   text `json:"accountName"`
	Domain    text `json:"domainName"`
	Principal text `json:"userPrincipalName"`
}

func (w wireIncidentEntity) user() string {
	switch {
	case !strings.EqualFold(string(w.Type), "User"):
		return ""
	case w.Principal != "" || w.Domain == "" || w.Account == "":
		return cmp.Or(string(w.Principal), string(w.Account))
	}
	return string(w.Domain) + `\` + string(w.Account)
}

type wireIncidentDevice struct {
	ID    text `json:"mdatpDeviceId"`
	Name  text `json:"deviceDnsName"`
	OS    text `json:"osPlatform"`
	Group text `json:"rbacGroupName"`
}

func (c *core) incident(w wireIncident) (string, Incident) {
	in := Incident{
		ID: int64(w.ID), Tenant: c.tenant, RedirectedTo: int64(w.RedirectedTo), Name: string(w.Name),
		Severity:   canonical(w.Severity, UnSpecified, Informational, Low, Medium, High),
		Status:     canonical(w.Status, "Active", "InProgress", "Resolved", "Redirected"),
		AssignedTo: string(w.AssignedTo), Classification: string(w.Classification), Determination: string(w.Determination),
		Created: time.Time(w.Created), Updated: time.Time(w.Updated), Tags: w.Tags,
	}
	seen := map[string]bool{}
	for _, a := range w.Alerts {
		in.Alerts = append(in.Alerts, IncidentAlert{
			ID: string(a.ID), Title: string(a.Title), Severity: canonical(a.Severity, UnSpecified, Informational, Low, Medium, High),
			Status: string(a.Status), Source: string(a.Source), Created: time.Time(a.Created),
		})
		for _, d := range a.Devices {
			if d.ID != "" && !seen[string(d.ID)] {
				seen[string(d.ID)] = true
				in.Machines = append(in.Machines, MachineReference{ID: string(d.ID), Name: string(d.Name), OS: string(d.OS), Group: string(d.Group)})
			}
		}
		for _, e := range a.Entities {
			if who := e.user(); who != "" && !slices.ContainsFunc(in.Users, func(known string) bool { return strings.EqualFold(known, who) }) {
				in.Users = append(in.Users, who)
			}
		}
	}
	if w.ID == 0 {
		return "", in
	}
	return strconv.FormatInt(in.ID, 10), in
}

const (
	incidentsPage = 100 // the most that Defender XDR returns at once
	maxRedirects  = 5
)

// Incidents lists incidents that changed since then, the newest first.
func (c *Client) Incidents(ctx context.Context, since time.Time) iter.Seq2[Incident, error] {
	return list(ctx, c, listCall{
		op: "list incidents", api: apiXDR, family: familyIncidents, path: "/api/incidents",
		filter: atOrAfter(incidentUpdated, since), pageSize: incidentsPage,
	}, c.incident)
}

// Incident reads one incident; one that was merged is followed.
func (c *Client) Incident(ctx context.Context, id int64) (Incident, error) {
	const op = "get incident"
	for range maxRedirects {
		if id <= 0 {
			return Incident{}, fmt.Errorf("%s: %w: an incident ID is a number", op, ErrInvalid)
		}
		text := strconv.FormatInt(id, 10)
		in, err := get(ctx, c, call{op: op, api: apiXDR, family: familyIncidents, path: "/api/incidents/" + text, id: text}, c.incident)
		if err != nil || in.RedirectedTo == 0 || in.RedirectedTo == id {
			return in, err
		}
		id = in.RedirectedTo
	}
	return Incident{}, fmt.Errorf("%s: %w: %w", op, ErrUnavailable, errors.New("it was merged too many times"))
}

// IncidentUpdate is what changes of an incident. Empty fields stay as they are.
type IncidentUpdate struct {
	Status         string `json:"status,omitempty"`
	AssignedTo     string `json:"assignedTo,omitempty"`
	Classification string `json:"classification,omitempty"`
	Determination  string `json:"determination,omitempty"`
	Comment        string `json:"comment,omitempty"`
}

// UpdateIncident changes an incident and returns it as it is now. It is sent once:
// after ErrUnavailable the change may or may not have been made. An incident that
// was merged is not followed: its answer says where it went.
func (c *Client) UpdateIncident(ctx context.Context, id int64, u IncidentUpdate) (Incident, error) {
	const op = "update incident"
	if id <= 0 || u == (IncidentUpdate{}) {
		return Incident{}, fmt.Errorf("%s: %w: an incident ID is a number, and something has to change", op, ErrInvalid)
	}
	defer c.cache.forget()
	text := strconv.FormatInt(id, 10)
	return get(ctx, c, call{op: op, api: apiXDR, family: familyIncidents, method: http.MethodPatch, path: "/api/incidents/" + text, id: text, body: u}, c.incident)
}
