package defendersim_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/sandbox/entrasim"
)

const graphHunt = "/v1.0/security/runHuntingQuery"

type huntResult struct {
	Schema  []struct{ Name, Type string }
	Results []map[string]any
}

func (b *bench) hunt(path, query string) huntResult {
	b.t.Helper()
	var r huntResult
	b.do(http.MethodPost, path, huntBody(query), http.StatusOK).decode(b.t, &r)
	return r
}

func huntBody(query string) string {
	raw, _ := json.Marshal(map[string]string{"Query": query})
	return string(raw)
}

// numbers is a table with a row for each number.
func numbers(n int) defendersim.Table {
	return defendersim.Table{
		Columns: []defendersim.Column{{Name: "N", Type: "Int64"}, {Name: "Word", Type: "String"}, {Name: "Even", Type: "SByte"}},
		Rows: func(yield func([]any) bool) {
			for i := range n {
				if !yield([]any{int64(i), fmt.Sprintf("word-%d", i%3), i%2 == 0}) {
					return
				}
			}
		},
	}
}

func TestHunt_evaluates(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.tenant.AddTable("Numbers", numbers(10))
	for name, c := range map[string]struct{ query, want string }{
		"take":                     {"Numbers | take 1", `[{"Even":1,"N":0,"Word":"word-0"}]`},
		"limit after a comment":    {"// all of them\nNumbers\n| limit 0", `[]`},
		"comparison":               {"Numbers | where N >= 8 | project N", `[{"N":8},{"N":9}]`},
		"and, or, parentheses":     {"Numbers | where (N == 1 or N == 2) and Even == true | project N", `[{"N":2}]`},
		"not":                      {"Numbers | where not(N > 0) | project N", `[{"N":0}]`},
		"equality of strings":      {`Numbers | where Word == "WORD-1" | count`, `[{"Count":0}]`},
		"equality without case":    {`Numbers | where Word =~ 'WORD-1' | count`, `[{"Count":3}]`},
		"verbatim string":          {`Numbers | where Word == @"word-1" | count`, `[{"Count":3}]`},
		"has is about whole words": {"Numbers | where Word has 'wor' | count", `[{"Count":0}]`},
		"has":                      {"Numbers | where Word has 'word' | count", `[{"Count":10}]`},
		"contains":                 {"Numbers | where Word contains 'OR' | count", `[{"Count":10}]`},
		"not contains":             {"Numbers | where Word !contains '-1' | count", `[{"Count":7}]`},
		"startswith":               {"Numbers | where Word startswith 'word-2' | count", `[{"Count":3}]`},
		"in":                       {"Numbers | where Word in ('word-0', 'word-1') | count", `[{"Count":7}]`},
		"not in":                   {"Numbers | where N !in (0,1,2) | count", `[{"Count":7}]`},
		"rename":                   {"Numbers | project Number = N | take 1", `[{"Number":0}]`},
		"summarize":                {"Numbers | summarize count() by Word | sort by count_ desc, Word asc", `[{"Word":"word-0","count_":4},{"Word":"word-1","count_":3},{"Word":"word-2","count_":3}]`},
		"summarize with a name":    {"Numbers | summarize Total = count(), Last = max(N) by Even | order by Even asc", `[{"Even":0,"Last":9,"Total":5},{"Even":1,"Last":8,"Total":5}]`},
		"summarize everything":     {"Numbers | where N > 99 | summarize count()", `[{"count_":0}]`},
		"distinct":                 {"Numbers | distinct Even", `[{"Even":1},{"Even":0}]`},
		"top":                      {"Numbers | top 2 by N", `[{"Even":0,"N":9,"Word":"word-0"},{"Even":1,"N":8,"Word":"word-2"}]`},
		"sort is descending":       {"Numbers | sort by N | take 1 | project N;", `[{"N":9}]`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(b.in(t).hunt("/api/advancedqueries/run", c.query).Results)
			if err != nil || string(got) != c.want {
				t.Errorf("%s = %s, want %s", c.query, got, c.want)
			}
		})
	}
}

func TestHunt_refuses(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for name, c := range map[string]struct{ body, message string }{
		"unknown table":            {huntBody("DeviceProcessEvent | take 1"), "Failed to resolve table or column expression named 'DeviceProcessEvent'"},
		"unknown column":           {huntBody("DeviceInfo | where Name == 'x'"), "Failed to resolve scalar expression named 'Name'"},
		"syntax":                   {huntBody("DeviceInfo | wher OSPlatform == 'x'"), "Line: 1, Position: 14"},
		"unterminated string":      {huntBody("DeviceInfo | where OSPlatform == 'x"), "Fix syntax errors in your query"},
		"position on a later line": {huntBody("DeviceInfo\n| take many"), "Line: 2, Position: 8"},
		"management command":       {huntBody(".show tables"), "Fix syntax errors in your query"},
		"types that do not agree":  {huntBody("DeviceInfo | where Timestamp > 'x'"), "Cannot compare values of types datetime and string"},
		"operator left out":        {huntBody("DeviceInfo | join AlertInfo on DeviceId"), "not available in the sandbox"},
		"nothing":                  {huntBody(" "), "Query is empty"},
		"the wrong key":            {`{"query":"DeviceInfo"}`, "Request body is incorrect"},
	} {
		t.Run(name, func(t *testing.T) {
			a := b.in(t).do(http.MethodPost, "/api/advancedqueries/run", c.body, http.StatusBadRequest)
			if !strings.Contains(string(a.body), c.message) {
				t.Errorf("%s was refused with %s, want a message with %q", c.body, a.body, c.message)
			}
		})
	}
}

func TestHunt_tables(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, table := range []string{
		"DeviceInfo", "DeviceProcessEvents", "DeviceNetworkEvents", "DeviceLogonEvents", "DeviceFileEvents", "AlertInfo",
	} {
		r := b.hunt("/api/advancedqueries/run", table+" | where Timestamp > ago(7d) | take 5")
		if len(r.Results) != 5 || r.Schema[0].Name != "Timestamp" || r.Schema[0].Type != "DateTime" {
			t.Errorf("%s gave %d rows with schema %v, want 5 rows that begin with a time", table, len(r.Results), r.Schema)
		}
	}
	r := b.hunt("/api/advancedqueries/run", "DeviceProcessEvents | take 1 | project ReportId")
	if id := fmt.Sprint(r.Results[0]["ReportId"]); len(id) < 16 {
		t.Errorf("ReportId = %s, want a number that a float64 cannot hold", id)
	}
}

func TestHunt_graph(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.token = b.tokenFor(entrasim.Graph)
	a := b.do(http.MethodPost, graphHunt, `{"Query":"AlertInfo | count","Timespan":"P1D"}`, http.StatusOK)
	if !strings.HasPrefix(string(a.body), `{"schema":[{"name":"Count","type":"Int64"}],"results":[`) {
		t.Errorf("Graph answered %s, want keys in lower case and the schema first", a.body)
	}
	count := func(timespan string) string {
		var r huntResult
		b.do(http.MethodPost, graphHunt, `{"Query":"AlertInfo | count","Timespan":"`+timespan+`"}`, http.StatusOK).decode(t, &r)
		return fmt.Sprint(r.Results[0]["Count"])
	}
	if day, month := count("PT24H"), count("2026-10-25/2026-11-21"); day == month {
		t.Errorf("a day and a month hold %s alerts alike; the timespan was not heeded", day)
	}
	b.do(http.MethodPost, graphHunt, `{"Query":"AlertInfo","Timespan":"yesterday"}`, http.StatusBadRequest)
}

func TestHunt_sizes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.tenant.AddTable("Many", numbers(100_001))
	a := b.do(http.MethodPost, "/api/advancedqueries/run", huntBody("Many | project N"), http.StatusOK)
	if rows := bytes.Count(a.body, []byte(`{"N":`)); rows != 100_000 {
		t.Errorf("hunt gave %d rows, want to be cut at 100,000", rows)
	}
	b.tenant.AddTable("Wide", defendersim.Table{
		Columns: []defendersim.Column{{Name: "Text", Type: "String"}},
		Rows: func(yield func([]any) bool) {
			text := strings.Repeat("x", 1<<20)
			for range 60 {
				if !yield([]any{text}) {
					return
				}
			}
		},
	})
	b.token = b.tokenFor(entrasim.Graph)
	a = b.do(http.MethodPost, graphHunt, huntBody("Wide"), http.StatusBadRequest)
	if !strings.Contains(string(a.body), "exceeded the allowed result size") {
		t.Errorf("60 MB on Graph answered %s", a.body)
	}
}

func TestHunt_quota(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.sim.Faults.Add(defendersim.HuntQuota("POST /api/advancedqueries/run", 1))
	a := b.do(http.MethodPost, "/api/advancedqueries/run", huntBody("AlertInfo"), http.StatusTooManyRequests)
	if a.header.Get("Retry-After") != "900" || a.code(t) != "TooManyRequests" {
		t.Errorf("quota answered Retry-After %q and %s", a.header.Get("Retry-After"), a.body)
	}
	b.hunt("/api/advancedqueries/run", "AlertInfo | where Timestamp > datetime("+b.clock.Now().Format(time.RFC3339)+")")
}
