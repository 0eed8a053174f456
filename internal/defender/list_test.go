package defender

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// page answers a list, with a next link when there is one.
func page(w http.ResponseWriter, next string, rows ...any) {
	if rows == nil {
		rows = []any{}
	}
	body := map[string]any{"value": rows}
	if next != "" {
		body["@odata.nextLink"] = next
	}
	writeJSON(w, http.StatusOK, body)
}

func alertRow(id string) any { return map[string]any{"id": id, "severity": "high"} }

func alertIDs(t *testing.T, c *Client, f AlertFilter) ([]string, error) {
	t.Helper()
	var ids []string
	for a, err := range c.Alerts(t.Context(), f) {
		if err != nil {
			return ids, err
		}
		ids = append(ids, a.ID)
	}
	return ids, nil
}

func TestList_followsNextLinks(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc("GET /api/alerts", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("$skiptoken") {
		case "":
			page(w, f.server.URL+"/api/alerts?$skiptoken=2", alertRow("a1"), alertRow("a2"))
		case "2":
			page(w, f.server.URL+"/api/v1.0/alerts?$skiptoken=3", alertRow("a2"))
		}
	})
	f.mux.HandleFunc("GET /api/v1.0/alerts", func(w http.ResponseWriter, _ *http.Request) { page(w, "", alertRow("a3")) })
	c, _ := f.client(t)
	got, err := alertIDs(t, c, AlertFilter{})
	if err != nil {
		t.Fatalf("Alerts() = %v", err)
	}
	if diff := cmp.Diff([]string{"a1", "a2", "a3"}, got); diff != "" {
		t.Errorf("alerts (-want +got):\n%s", diff)
	}
}

func TestList_countsRowsWithoutNextLinks(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	const total = 2*defaultPage + 7
	f.mux.HandleFunc("GET /api/alerts", func(w http.ResponseWriter, r *http.Request) {
		skip, _ := strconv.Atoi(r.URL.Query().Get("$skip"))
		top, _ := strconv.Atoi(r.URL.Query().Get("$top"))
		var rows []any
		for i := skip; i < min(skip+top, total); i++ {
			rows = append(rows, alertRow("a"+strconv.Itoa(i)))
		}
		page(w, "", rows...)
	})
	c, _ := f.client(t)
	got, err := alertIDs(t, c, AlertFilter{})
	if err != nil || len(got) != total {
		t.Errorf("Alerts() = %d alerts, %v, want %d", len(got), err, total)
	}
	if n := len(f.seen()); n != 3 {
		t.Errorf("requests = %d, want 3", n)
	}
}

func TestList_limit(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc("GET /api/alerts", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("$top") != "2" {
			t.Errorf("$top = %s, want 2", r.URL.Query().Get("$top"))
		}
		page(w, f.server.URL+"/api/alerts?$skiptoken=x", alertRow("a1"), alertRow("a2"))
	})
	c, _ := f.client(t)
	got, err := alertIDs(t, c, AlertFilter{Limit: 2})
	if err != nil || len(got) != 2 || len(f.seen()) != 1 {
		t.Errorf("Alerts() = %v, %v with %d requests, want 2 alerts with 1", got, err, len(f.seen()))
	}
}

func TestList_badNextLinks(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, link string }{
		{"another host", "https://evil.example/api/alerts?$skip=1"},
		{"another port", "http://127.0.0.1:1/api/alerts?$skip=1"},
		{"a user name in front", "http://user@HOST/api/alerts?$skip=1"},
		{"another scheme", "https://HOST/api/alerts?$skip=1"},
		{"another collection", "http://HOST/api/machines?$skip=1"},
		{"a deeper path", "http://HOST/api/alerts/../machines?$skip=1"},
		{"no address", "::"},
		{"a relative one", "/api/alerts?$skip=1"},
		{"a circle", "http://HOST/api/alerts?$skiptoken=same"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			host, _ := url.Parse(f.server.URL)
			link := strings.ReplaceAll(tt.link, "HOST", host.Host)
			f.mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
				page(w, link, alertRow("a1"))
			})
			c, _ := f.client(t)
			got, err := alertIDs(t, c, AlertFilter{})
			if !errors.Is(err, ErrUnavailable) {
				t.Errorf("Alerts() = %v, want ErrUnavailable", err)
			}
			if len(got) != 1 {
				t.Errorf("alerts before the error = %v, want those of the first page", got)
			}
			if n := len(f.seen()); n > 2 {
				t.Errorf("requests = %d", n)
			}
		})
	}
}

func TestList_endlessEmptyPages(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	n := 0
	f.mux.HandleFunc("GET /api/alerts", func(w http.ResponseWriter, _ *http.Request) {
		n++
		page(w, fmt.Sprintf("%s/api/alerts?$skiptoken=%d", f.server.URL, n))
	})
	c, _ := f.client(t)
	if _, err := alertIDs(t, c, AlertFilter{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Alerts() = %v, want ErrUnavailable", err)
	}
	if n > maxEmptyPages+1 {
		t.Errorf("requests = %d", n)
	}
}

func TestList_otherHostsOfTheCloud(t *testing.T) {
	t.Parallel()
	c, err := New(Config{
		TenantID: testTenant, ClientID: testApp, ClientSecret: testSecret,
		BaseURL: "https://eu.api.security.microsoft.com", GraphURL: commercialGraph, AuthorityURL: "https://login.microsoftonline.com",
	})
	if err != nil {
		t.Fatal(err)
	}
	first := (call{path: "/api/alerts"}).url(c.base)
	for link, ok := range map[string]bool{
		"https://api.security.microsoft.com/api/alerts?$skip=1":              true,
		"https://API-EU.securitycenter.microsoft.com/api/v1.0/alerts?skip=1": true,
		"https://api-gov.securitycenter.microsoft.us/api/alerts?$skip=1":     false,
		"https://graph.microsoft.com/api/alerts":                             false,
		"http://api.security.microsoft.com/api/alerts":                       false,
		"https://api.security.microsoft.com:8443/api/alerts":                 false,
	} {
		if _, err := c.nextLink(first, link); (err == nil) != ok {
			t.Errorf("nextLink(%s) = %v, want ok %v", link, err, ok)
		}
	}
}

func TestList_notFoundIsEmptyForMachinesAlone(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.Handle("GET /api/", answer(404, `{"error":{"code":"ResourceNotFound"}}`))
	c, _ := f.client(t)
	for m, err := range c.Machines(t.Context(), MachineFilter{}) {
		t.Errorf("Machines() yielded %v, %v", m, err)
	}
	for _, err := range c.Alerts(t.Context(), AlertFilter{}) {
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("Alerts() = %v, want %v: a quiet tenant would look the same", err, ErrUnavailable)
		}
	}
	for _, err := range c.MachineActions(t.Context(), ActionFilter{}) {
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("MachineActions() = %v, want %v: nobody would look isolated", err, ErrUnavailable)
		}
	}
}

func TestList_notFoundInTheMiddleIsNoEnd(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc("GET /api/machines", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("skip") != "" {
			answer(404, `{"error":{"code":"ResourceNotFound"}}`)(w, r)
			return
		}
		page(w, "http://"+r.Host+"/api/machines?skip=1", map[string]any{"id": testMachine})
	})
	c, _ := f.client(t)
	var last error
	for _, err := range c.Machines(t.Context(), MachineFilter{}) {
		last = err
	}
	if !errors.Is(last, ErrUnavailable) {
		t.Errorf("Machines() ended with %v, want %v", last, ErrUnavailable)
	}
}

func TestList_oneBadRecordCostsNoOther(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc("GET /api/alerts", func(w http.ResponseWriter, _ *http.Request) {
		page(w, "", alertRow("a1"), "not an alert", nil, map[string]any{"title": "no ID"}, alertRow("a2"))
	})
	c, _ := f.client(t)
	var ids []string
	bad := 0
	for a, err := range c.Alerts(t.Context(), AlertFilter{}) {
		var record *RecordError
		switch {
		case errors.As(err, &record):
			bad++
		case err != nil:
			t.Fatal(err)
		default:
			ids = append(ids, a.ID)
		}
	}
	if diff := cmp.Diff([]string{"a1", "a2"}, ids); diff != "" || bad != 3 {
		t.Errorf("alerts (-want +got):\n%s\nbad records = %d, want 3", diff, bad)
	}
}

func TestList_withoutAList(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{}`, `{"value":null}`, `{"error":{"code":"x"}}`, `<html>`, ``} {
		f := newFake(t)
		f.mux.Handle("GET /api/alerts", answer(200, body))
		c, _ := f.client(t)
		if _, err := alertIDs(t, c, AlertFilter{}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("Alerts() over %q = %v, want ErrUnavailable: it must not look like a quiet tenant", body, err)
		}
	}
}

func TestAlerts_query(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 9, 30, 0, 123456700, time.FixedZone("", 3600))
	tests := []struct {
		name          string
		filter        AlertFilter
		filterBy, top string
		order         string
	}{
		{"everything", AlertFilter{}, "", "1000", "alertCreationTime desc"},
		{
			"a poll",
			AlertFilter{UpdatedSince: at, OldestFirst: true},
			"lastUpdateTime ge 2026-11-21T08:30:00.1234567Z", "1000", "lastUpdateTime asc",
		},
		{
			"open high alerts of an incident",
			AlertFilter{MinSeverity: Medium, Statuses: []string{"New"}, IncidentID: 7, CreatedSince: at, CreatedBefore: at.Add(time.Hour), Limit: 10},
			"alertCreationTime ge 2026-11-21T08:30:00.1234567Z and alertCreationTime lt 2026-11-21T09:30:00.1234567Z and (severity eq 'Medium' or severity eq 'High') and status eq 'New' and incidentId eq 7",
			"10", "alertCreationTime desc",
		},
		{"a status with a quote", AlertFilter{Statuses: []string{"x' or 1 eq 1"}}, "status eq 'x'' or 1 eq 1'", "1000", "alertCreationTime desc"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.mux.HandleFunc("GET /api/alerts", func(w http.ResponseWriter, r *http.Request) {
				q := r.URL.Query()
				if got := q.Get("$filter"); got != tt.filterBy {
					t.Errorf("$filter = %s\nwant      %s", got, tt.filterBy)
				}
				if q.Get("$top") != tt.top || q.Get("$orderby") != tt.order || q.Has("$expand") {
					t.Errorf("query = %v", q)
				}
				page(w, "")
			})
			c, _ := f.client(t)
			if _, err := alertIDs(t, c, tt.filter); err != nil {
				t.Errorf("Alerts() = %v", err)
			}
		})
	}
}

func TestAlertsWithEvidence(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc("GET /api/alerts", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("$expand") != "evidence" {
			t.Error("no $expand=evidence")
		}
		var rows []any
		for i := 24; i >= 0; i-- { // in another order than asked
			id := fmt.Sprintf("da%d_%d", i, i)
			if i != 3 && strings.Contains(r.URL.Query().Get("$filter"), "id eq '"+id+"'") {
				rows = append(rows, map[string]any{"id": id, "evidence": []any{map[string]any{"entityType": "Ip", "ipAddress": "10.0.0.1"}}})
			}
		}
		page(w, "", rows...)
	})
	c, _ := f.client(t)
	var ids []string
	for i := range 25 {
		ids = append(ids, fmt.Sprintf("da%d_%d", i, i))
	}
	got, err := c.AlertsWithEvidence(t.Context(), ids)
	if err != nil {
		t.Fatalf("AlertsWithEvidence() = %v", err)
	}
	if len(got) != 24 || got[0].ID != "da0_0" || got[3].ID != "da4_4" || got[0].Evidence[0].IPAddress != "10.0.0.1" {
		t.Errorf("AlertsWithEvidence() = %d alerts, the first %+v", len(got), got[0])
	}
	if n := len(f.seen()); n != 2 {
		t.Errorf("requests = %d, want 2", n)
	}
	if _, err := c.AlertsWithEvidence(t.Context(), []string{"a' or true"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("AlertsWithEvidence() with an odd ID = %v, want ErrInvalid", err)
	}
}

func TestUpdateAlert(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc("PATCH /api/alerts/{id}", func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body)
		if diff := cmp.Diff(map[string]any{"status": "InProgress", "assignedTo": "riley@contoso.com"}, body); diff != "" {
			t.Errorf("body (-want +got):\n%s", diff)
		}
		writeJSON(w, 200, map[string]any{"id": r.PathValue("id"), "status": "inProgress"})
	})
	c, _ := f.client(t)
	got, err := c.UpdateAlert(t.Context(), "da1_-2", AlertUpdate{Status: "InProgress", AssignedTo: "riley@contoso.com"})
	if err != nil || got.Status != "InProgress" {
		t.Errorf("UpdateAlert() = %+v, %v", got, err)
	}
	for _, id := range []string{"", "../machines", "a/b", "a b", "-x", "a%2fb"} {
		if _, err := c.UpdateAlert(t.Context(), id, AlertUpdate{Status: "New"}); !errors.Is(err, ErrInvalid) {
			t.Errorf("UpdateAlert(%q) = %v, want ErrInvalid", id, err)
		}
	}
	if _, err := c.UpdateAlert(t.Context(), "da1", AlertUpdate{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("UpdateAlert() without a change = %v, want ErrInvalid", err)
	}
}

func TestUpdateAlert_isSentOnce(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.Handle("PATCH /api/alerts/{id}", answer(503, ""))
	c, _ := f.client(t)
	if _, err := c.UpdateAlert(t.Context(), "da1", AlertUpdate{Comment: "x"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("UpdateAlert() = %v, want ErrUnavailable", err)
	}
	if n := len(f.seen()); n != 1 {
		t.Errorf("requests = %d, want 1", n)
	}
}

func TestMachineActions_query(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc("GET /api/machineactions", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		want := "machineId eq '" + testMachine + "' and (type eq 'Isolate' or type eq 'Unisolate') and creationDateTimeUtc ge 2026-11-21T00:00:00.0000000Z"
		if q.Get("$filter") != want || q.Get("$orderby") != "creationDateTimeUtc desc" {
			t.Errorf("query = %v", q)
		}
		page(w, "", map[string]any{"id": testAction, "type": "isolate", "status": "TIMEOUT", "errorHResult": -2145844840, "lastUpdateTimeUtc": "2026-11-21T10:00:00Z"})
	})
	c, _ := f.client(t)
	got, err := collect(c.MachineActions(t.Context(), ActionFilter{
		MachineID: testMachine, Types: []MachineActionType{Isolate, Unisolate}, CreatedSince: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC),
	}))
	want := []MachineAction{{
		ID: testAction, Tenant: testTenant, Type: Isolate, Status: ActionTimeOut, HResult: -2145844840,
		Updated: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC),
	}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("MachineActions() = %v (-want +got):\n%s", err, diff)
	}
}

func TestMachineAction(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.Handle("GET /api/machineactions/{id}", answer(404, `{}`))
	c, _ := f.client(t)
	if _, err := c.MachineAction(t.Context(), testAction); !errors.Is(err, ErrNotFound) {
		t.Errorf("MachineAction() = %v, want ErrNotFound", err)
	}
	if _, err := c.MachineAction(t.Context(), "../alerts"); !errors.Is(err, ErrInvalid) {
		t.Errorf("MachineAction() with a path = %v, want ErrInvalid", err)
	}
}

func TestUpdateIncident(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc("PATCH /api/incidents/{id}", func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body)
		if diff := cmp.Diff(map[string]any{"status": "Resolved", "classification": "FalsePositive", "determination": "Clean"}, body); diff != "" {
			t.Errorf("body (-want +got):\n%s", diff)
		}
		user := func(account, domain, principal any) map[string]any {
			return map[string]any{"entityType": "User", "accountName": account, "domainName": domain, "userPrincipalName": principal}
		}
		writeJSON(w, 200, map[string]any{"incidentId": 7, "status": "resolved", "alerts": []any{
			map[string]any{"alertId": "da1", "entities": []any{
				user("sam", "CORP", "sam@corp.example"), user("sam", nil, "SAM@corp.example"), user("svc", "CORP", nil), user(nil, nil, nil),
				map[string]any{"entityType": "File", "accountName": "no user"},
			}},
		}})
	})
	c, _ := f.client(t)
	got, err := c.UpdateIncident(t.Context(), 7, IncidentUpdate{Status: "Resolved", Classification: "FalsePositive", Determination: "Clean"})
	if err != nil || got.Status != "Resolved" {
		t.Errorf("UpdateIncident() = %+v, %v", got, err)
	}
	if diff := cmp.Diff([]string{"sam@corp.example", `CORP\svc`}, got.Users); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
	for id, u := range map[int64]IncidentUpdate{0: {Status: "Resolved"}, -7: {Status: "Resolved"}, 7: {}} {
		if _, err := c.UpdateIncident(t.Context(), id, u); !errors.Is(err, ErrInvalid) {
			t.Errorf("UpdateIncident(%d, %+v) = %v, want ErrInvalid", id, u, err)
		}
	}
}

func TestUpdateIncident_isSentOnce(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.Handle("PATCH /api/incidents/{id}", answer(503, ""))
	c, _ := f.client(t)
	if _, err := c.UpdateIncident(t.Context(), 7, IncidentUpdate{Comment: "x"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("UpdateIncident() = %v, want ErrUnavailable", err)
	}
	if n := len(f.seen()); n != 1 {
		t.Errorf("requests = %d, want 1", n)
	}
}
