package defendersim_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/sandbox/estate"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
)

// The outcomes of an isolate call that a caller must be able to tell apart by
// looking.
func TestIsolate_unclearOutcomes(t *testing.T) {
	t.Parallel()
	const route = "POST /api/machines/*/isolate"
	for name, c := range map[string]struct {
		fault   fault.Fault
		status  int // 0 = no answer
		effects int
		listed  int // at once
		later   int // listed after two minutes
	}{
		"does not act, does not answer":  {fault.Fault{Kind: fault.Drop}, 0, 0, 0, 0},
		"acts, does not answer":          {fault.Fault{Kind: fault.ActDrop}, 0, 1, 1, 1},
		"acts, answers an error":         {fault.Fault{Kind: fault.ActAnswer, Status: 504}, 504, 1, 1, 1},
		"acts, answers late":             {fault.Fault{Kind: fault.ActDelay, Wait: time.Millisecond}, 201, 1, 1, 1},
		"shows the action late":          {fault.Fault{Kind: defendersim.ListedLate, Wait: 90 * time.Second}, 201, 1, 0, 1},
		"shows the action twice":         {fault.Fault{Kind: defendersim.ListedTwice}, 201, 1, 2, 2},
		"answers success without acting": {fault.Fault{Kind: defendersim.NoEffect}, 201, 0, 0, 0},
		"is throttled":                   {fault.Fault{Kind: fault.Answer, Status: 429}, 429, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			m := b.machine("ws-001")
			c.fault.Route, c.fault.Times = route, 1
			b.sim.Faults.Add(c.fault)
			a, err := b.try(http.MethodPost, "/api/v1.0/machines/"+m.ID+"/isolate", isolateBody)
			if (err != nil) != (c.status == 0) || a.status != c.status {
				t.Errorf("call answered %d, %v, want %d", a.status, err, c.status)
			}
			if got := b.tenant.Effects(defendersim.OnMachine(m.ID)); len(got) != c.effects {
				t.Errorf("%d effects, want %d", len(got), c.effects)
			}
			listed := func() int {
				return len(b.list("/api/machineactions", url.Values{"$filter": {"machineId eq '" + m.ID + "'"}}).Value)
			}
			if got := listed(); got != c.listed {
				t.Errorf("%d actions listed at once, want %d", got, c.listed)
			}
			b.clock.advance(2 * time.Minute)
			if got := listed(); got != c.later {
				t.Errorf("%d actions listed later, want %d", got, c.later)
			}
		})
	}
}

func TestTiming_hidesFreshActions(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.tenant.SetTiming(defendersim.Timing{Hidden: time.Minute})
	a := b.isolate("ws-001")
	b.do(http.MethodGet, "/api/machineactions/"+a.ID, "", http.StatusNotFound)
	b.clock.advance(time.Minute)
	b.action(a.ID)
}

func TestFaults_answers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.sim.Faults.Add(fault.Fault{Kind: fault.Answer, Route: "GET /api/machines/*", Status: 502, Body: "<html>Bad gateway</html>", Times: 1})
	b.sim.Faults.Add(fault.Fault{Kind: fault.Answer, Route: "GET /api/alerts", Status: 429, Times: 1})
	b.sim.Faults.Add(fault.Fault{Kind: fault.Answer, Route: "POST " + graphHunt, Status: 504, Times: 1})
	b.sim.Faults.Add(fault.Fault{Kind: defendersim.WrongObject, Route: "GET /api/machines/*", Times: 1})
	b.sim.Faults.Add(fault.Fault{Kind: defendersim.ForeignNextLink, Route: "GET /api/machines", Times: 1})
	id := b.machine("ws-001").ID
	if a := b.do(http.MethodGet, "/api/machines/"+id, "", 502); !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		t.Errorf("gateway answered %v, want HTML", a.header)
	}
	if a := b.do(http.MethodGet, "/api/alerts", "", 429); a.header.Get("Retry-After") != "" || a.code(t) != "429" {
		t.Errorf("throttled answer = %v %s, want no Retry-After", a.header, a.body)
	}
	if a := b.do(http.MethodPost, graphHunt, "", 504); a.code(t) != "UnknownError" {
		t.Errorf("Graph answered %s, want UnknownError", a.body)
	}
	var m struct{ ID string }
	b.do(http.MethodGet, "/api/machines/"+id, "", 200).decode(t, &m)
	if m.ID == id {
		t.Error("the wrong object was not served")
	}
	if l := b.list("/api/machines", url.Values{}); strings.HasPrefix(l.NextLink, b.url) || l.NextLink == "" {
		t.Errorf("next link = %q, want one to another host", l.NextLink)
	}
	if l := b.list("/api/machines", url.Values{}); l.NextLink != "" {
		t.Errorf("next link = %q after the fault was used up", l.NextLink)
	}
	if got := len(b.sim.Calls("GET /api/machines")); got != 2 {
		t.Errorf("Calls() = %d lists of machines, want 2", got)
	}
}

func TestAlerts_update(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	alerts := b.tenant.Alerts()
	b.clock.advance(time.Minute)
	body := `{"status":"resolved","assignedTo":"riley@contoso.com","classification":"FalsePositive","determination":"Clean","comment":"seen"}`
	b.do(http.MethodPatch, "/api/alerts/"+alerts[0].ID, body, http.StatusOK)
	got, _ := b.tenant.Alert(alerts[0].ID)
	if got.Status != "Resolved" || *got.AssignedTo != "riley@contoso.com" || *got.Determination != "Clean" || got.ResolvedTime.IsZero() ||
		!got.LastUpdateTime.Equal(b.clock.Now()) || got.Comments[len(got.Comments)-1].Comment != "seen" {
		t.Errorf("alert after PATCH = %+v", got)
	}
	ids := fmt.Sprintf(`["%s","%s"]`, alerts[1].ID, alerts[2].ID)
	if a := b.do(http.MethodPost, "/api/alerts/batchUpdate", `{"alertIds":`+ids+`,"comment":"both"}`, http.StatusOK); len(a.body) != 0 {
		t.Errorf("batchUpdate answered %q, want an empty body", a.body)
	}
	if got := b.tenant.Effects(defendersim.OfKind(defendersim.EffectAlertUpdate), defendersim.CommentHas("both")); len(got) != 2 {
		t.Errorf("ledger holds %d updates from the batch, want 2", len(got))
	}
	for name, c := range map[string]struct {
		path, body string
		status     int
		code       string
	}{
		"unknown alert":         {"/api/alerts/none", `{"status":"New"}`, 404, "ResourceNotFound"},
		"unknown status":        {"/api/alerts/" + alerts[0].ID, `{"status":"Closed"}`, 400, "InvalidInput"},
		"unknown determination": {"/api/alerts/" + alerts[0].ID, `{"determination":"Bad"}`, 400, "InvalidInput"},
		"nothing to change":     {"/api/alerts/" + alerts[0].ID, `{}`, 400, "InvalidRequestBody"},
		"names in capitals":     {"/api/alerts/" + alerts[0].ID, `{"Status":"New"}`, 400, "InvalidRequestBody"},
	} {
		if a := b.do(http.MethodPatch, c.path, c.body, c.status); a.code(t) != c.code {
			t.Errorf("%s: code = %s, want %s", name, a.code(t), c.code)
		}
	}
	b.do(http.MethodPost, "/api/alerts/batchUpdate", `{"status":"New"}`, http.StatusBadRequest)
}

func TestEditAlert_looksLikeThePortal(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, err := b.tenant.RaiseAlert(b.machine("ws-001").ID, "Medium", "Something happened")
	if err != nil {
		t.Fatal(err)
	}
	b.clock.advance(time.Minute)
	if err := b.tenant.EditAlert(a.ID, func(a *estate.Alert) { a.Severity = "High" }); err != nil {
		t.Fatal(err)
	}
	filter := fmt.Sprintf("lastUpdateTime gt %s and severity eq 'High'", a.LastUpdateTime)
	if l := b.list("/api/alerts", url.Values{"$filter": {filter}}); len(l.Value) != 1 || l.Value[0].ID != a.ID {
		t.Errorf("%s found %d alerts, want the one that was edited", filter, len(l.Value))
	}
	if err := b.tenant.EditAlert("none", func(*estate.Alert) {}); err == nil {
		t.Error("EditAlert of an unknown alert succeeded")
	}
}

func TestMachines_lookUp(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := b.machine("ws-001")
	id := func(path string) string {
		var got struct{ ID string }
		b.do(http.MethodGet, path, "", http.StatusOK).decode(t, &got)
		return got.ID
	}
	if id("/api/machines/"+m.ID) != m.ID || id("/api/machines/WS-001.corp.contoso.com") != m.ID {
		t.Error("machine is not found by its ID and its full name alike")
	}
	b.do(http.MethodGet, "/api/machines/ws-001", "", http.StatusNotFound)

	at := b.clock.Now().Format(time.RFC3339)
	byIP := func(ip, at string, status int) answer {
		return b.do(http.MethodGet, "/api/machines/findbyip(ip='"+ip+"',timestamp="+at+")", "", status)
	}
	var l list
	byIP(m.LastIPAddress, at, http.StatusOK).decode(t, &l)
	if len(l.Value) != 1 || l.Value[0].ID != m.ID {
		t.Errorf("findbyip(%s) = %+v, want ws-001", m.LastIPAddress, l.Value)
	}
	byIP(m.LastIPAddress, b.clock.Now().Add(-31*24*time.Hour).Format(time.RFC3339), http.StatusBadRequest)
	byIP(m.LastIPAddress, "yesterday", http.StatusBadRequest)

	var users struct {
		Value []struct{ AccountName, LogonTypes string }
	}
	b.do(http.MethodGet, "/api/machines/"+m.ID+"/logonusers", "", http.StatusOK).decode(t, &users)
	if len(users.Value) == 0 || users.Value[0].AccountName != m.Users[0].AccountName {
		t.Errorf("logonusers = %+v, want %s first", users.Value, m.Users[0].AccountName)
	}
	b.do(http.MethodGet, "/api/machines/none/logonusers", "", http.StatusNotFound)
}
