package defendersim_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/sandbox/estate"
)

// list is a page of alerts, machines or actions.
type list struct {
	Count    *int   `json:"@odata.count"`
	NextLink string `json:"@odata.nextLink"`
	Value    []struct {
		ID, ComputerDNSName, Severity, Status, RiskScore, OSPlatform string
		MachineTags                                                  []string
		Evidence                                                     []struct{ EntityType string }
	}
}

func (b *bench) list(path string, options url.Values) list {
	b.t.Helper()
	var l list
	b.do(http.MethodGet, path+"?"+options.Encode(), "", http.StatusOK).decode(b.t, &l)
	return l
}

func TestFilter_selects(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for name, c := range map[string]struct {
		path, filter string
		want         func(l list) bool
	}{
		"equality": {"/api/alerts", "severity eq 'High'", func(l list) bool { return l.Value[0].Severity == "High" }},
		"enumerations in another case": {"/api/alerts", "severity eq 'high'", func(l list) bool {
			return l.Value[0].Severity == "High"
		}},
		"parentheses": {"/api/alerts", "(severity eq 'Low' or severity eq 'High') and status eq 'Resolved'", func(l list) bool {
			return l.Value[0].Status == "Resolved" && l.Value[0].Severity != "Medium"
		}},
		"in": {"/api/alerts", "status in ('New','InProgress')", func(l list) bool { return l.Value[0].Status != "Resolved" }},
		"names in another case": {"/api/alerts", "AlertCreationTime ge 2026-11-19T09:00:00.0000000Z", func(l list) bool {
			return len(l.Value) > 0
		}},
		"numbers":           {"/api/machines", "rbacGroupId eq 103", func(l list) bool { return len(l.Value) == 4 }},
		"prefix":            {"/api/machines", "startswith(computerDnsName,'dc-')", func(l list) bool { return len(l.Value) == 4 }},
		"tags":              {"/api/machines", "machineTags/any(tag: tag eq 'tier0')", func(l list) bool { return len(l.Value) == 4 }},
		"null":              {"/api/machines", "aadDeviceId ne null", func(l list) bool { return len(l.Value) == 60 }},
		"quotes doubled":    {"/api/machines", "computerDnsName eq 'o''brien'", func(l list) bool { return len(l.Value) == 0 }},
		"equality is exact": {"/api/machines", "computerDnsName eq 'lt-031'", func(l list) bool { return len(l.Value) == 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			if l := b.in(t).list(c.path, url.Values{"$filter": {c.filter}}); !c.want(l) {
				t.Errorf("%s gave %d entities: %+v", c.filter, len(l.Value), l.Value[:min(3, len(l.Value))])
			}
		})
	}
	low, high, both := "severity eq 'Low'", "severity eq 'High'", "severity eq 'Low' or severity eq 'High' and status eq 'Resolved'"
	count := func(filter string) int { return len(b.list("/api/alerts", url.Values{"$filter": {filter}}).Value) }
	if got, want := count(both), count(low)+count(high+" and status eq 'Resolved'"); got != want {
		t.Errorf("%s gave %d alerts, want %d: and binds tighter than or", both, got, want)
	}
}

func TestFilter_refuses(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for name, c := range map[string]struct{ path, option, value string }{
		"a property that cannot be filtered":  {"/api/alerts", "$filter", "machineId eq 'x'"},
		"another one":                         {"/api/alerts", "$filter", "contains(title,'x')"},
		"an unknown property":                 {"/api/alerts", "$filter", "sevrity eq 'High'"},
		"an unknown enumeration value":        {"/api/alerts", "$filter", "severity eq 'Critical'"},
		"an order among enumeration values":   {"/api/alerts", "$filter", "severity ge 'High'"},
		"a quoted time":                       {"/api/alerts", "$filter", "lastUpdateTime ge '2026-11-19T09:00:00Z'"},
		"an unterminated string":              {"/api/alerts", "$filter", "severity eq 'High"},
		"a quote that was not doubled":        {"/api/machines", "$filter", "computerDnsName eq 'o'brien'"},
		"a missing operator":                  {"/api/alerts", "$filter", "severity 'High'"},
		"words after the end":                 {"/api/alerts", "$filter", "severity eq 'High' status"},
		"an open parenthesis":                 {"/api/alerts", "$filter", "(severity eq 'High'"},
		"nothing":                             {"/api/alerts", "$filter", ""},
		"text where a number belongs":         {"/api/machines", "$filter", "rbacGroupId eq 'x'"},
		"a page that is too long":             {"/api/alerts", "$top", "10001"},
		"a negative skip":                     {"/api/alerts", "$skip", "-1"},
		"an expansion that does not exist":    {"/api/alerts", "$expand", "machine"},
		"expansion of machines":               {"/api/machines", "$expand", "evidence"},
		"an option that is not supported":     {"/api/machines", "$select", "id"},
		"an order by what cannot be filtered": {"/api/alerts", "$orderby", "title"},
		"an unknown direction":                {"/api/alerts", "$orderby", "id down"},
		"isolation as a filter":               {"/api/machineactions", "$filter", "requestorComment eq 'x'"},
	} {
		t.Run(name, func(t *testing.T) {
			a := b.in(t).do(http.MethodGet, c.path+"?"+url.Values{c.option: {c.value}}.Encode(), "", http.StatusBadRequest)
			if code := a.code(t); code != "ODataError" {
				t.Errorf("%s=%s was refused with code %s, want ODataError", c.option, c.value, code)
			}
		})
	}
}

func TestAlerts_evidenceOnlyWhenExpanded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	options := url.Values{"$top": {"1"}, "$filter": {"severity eq 'High'"}}
	if l := b.list("/api/alerts", options); l.Value[0].Evidence == nil || len(l.Value[0].Evidence) != 0 {
		t.Errorf("list without $expand carries evidence %v, want an empty list", l.Value[0].Evidence)
	}
	options.Set("$expand", "evidence")
	if l := b.list("/api/alerts", options); len(l.Value[0].Evidence) < 2 {
		t.Errorf("list with $expand carries evidence %v, want several entities", l.Value[0].Evidence)
	}
}

func TestPaging_coversEverythingOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *defendersim.Options) { o.PageSize = 100 })
	want := len(b.tenant.Machines())
	seen := map[string]bool{}
	pages := 0
	for next := "/api/machines?$count=true"; next != ""; pages++ {
		var l list
		b.do(http.MethodGet, next, "", http.StatusOK).decode(t, &l)
		if l.Count == nil || *l.Count != want {
			t.Errorf("page %d counts %v machines, want %d", pages, l.Count, want)
		}
		for _, m := range l.Value {
			if seen[m.ID] {
				t.Errorf("machine %s is on two pages", m.ID)
			}
			seen[m.ID] = true
		}
		next = l.NextLink
	}
	if len(seen) != want || pages != (want+99)/100 {
		t.Errorf("%d pages held %d machines, want %d on %d pages", pages, len(seen), want, (want+99)/100)
	}
	if l := b.list("/api/machines", url.Values{"$top": {"150"}}); len(l.Value) != 100 || l.NextLink == "" {
		t.Errorf("$top=150 gave %d machines and next link %q, want 100 and one", len(l.Value), l.NextLink)
	}
	if l := b.list("/api/machines", url.Values{"$top": {"10"}}); len(l.Value) != 10 || l.NextLink != "" {
		t.Errorf("$top=10 gave %d machines and next link %q, want 10 and none", len(l.Value), l.NextLink)
	}
}

func TestOrder_newestFirstUnlessAsked(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var l struct {
		Value []struct{ LastUpdateTime, AlertCreationTime time.Time }
	}
	b.do(http.MethodGet, "/api/alerts", "", http.StatusOK).decode(t, &l)
	if !slices.IsSortedFunc(l.Value, func(a, b struct{ LastUpdateTime, AlertCreationTime time.Time }) int {
		return b.AlertCreationTime.Compare(a.AlertCreationTime)
	}) {
		t.Error("alerts without $orderby are not newest first")
	}
	b.do(http.MethodGet, "/api/alerts?"+url.Values{"$orderby": {"lastUpdateTime asc"}}.Encode(), "", http.StatusOK).decode(t, &l)
	if !slices.IsSortedFunc(l.Value, func(a, b struct{ LastUpdateTime, AlertCreationTime time.Time }) int {
		return a.LastUpdateTime.Compare(b.LastUpdateTime)
	}) {
		t.Error("alerts are not in the order asked for")
	}
}

func TestAlert_becomesVisibleLate(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := b.machine("ws-001")
	a := b.tenant.AddAlert(estate.NewAlert(tenantID, m.Machine, b.clock.Now(), 7, "High", "Late"), b.clock.Now().Add(time.Hour))
	b.do(http.MethodGet, "/api/alerts/"+a.ID, "", http.StatusNotFound)
	b.clock.advance(time.Hour)
	b.do(http.MethodGet, "/api/alerts/"+a.ID, "", http.StatusOK)
	filter := fmt.Sprintf("lastUpdateTime ge %s and id eq '%s'", a.LastUpdateTime, a.ID)
	if l := b.list("/api/alerts", url.Values{"$filter": {filter}}); len(l.Value) != 1 {
		t.Errorf("%s found %d alerts, want the late one with its own time", filter, len(l.Value))
	}
}
