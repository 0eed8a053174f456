package defendersim

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/estate"
)

func FuzzFilter(f *testing.F) {
	for _, seed := range []string{
		"severity eq 'High'", "(status in ('New','InProgress') or id ne null) and lastUpdateTime ge 2026-11-19T09:00:00.0000000Z",
		"startswith(assignedTo,'o''brien')", "category/any(x: x eq 'y')", "incidentId eq 7 and", "'",
	} {
		f.Add(seed)
	}
	alert := estate.NewAlert("tenant", estate.Machine{ID: "m"}, time.Unix(0, 0), 1, "High", "title")
	f.Fuzz(func(t *testing.T, filter string) {
		q, err := alertEntity.parse(url.Values{"$filter": {filter}})
		var refused odataError
		switch {
		case err == nil:
			q.match(&alert)
		case !errors.As(err, &refused):
			t.Errorf("parse(%q) = %v, want a refusal of Defender's", filter, err)
		}
	})
}

func FuzzHunt(f *testing.F) {
	for _, seed := range []string{
		"T | where Text has 'a' and (N > 3 or not(N in (1,2))) | project M = N, Text | top 3 by M asc",
		"T | summarize Last = max(N), dcount(Text) by Text | sort by Last | take 2;",
		`T | where Text !contains @"x""y" // comment` + "\n| distinct Text | count", "T | where At > ago(7d)", "T |", "'", "T | take \u07c5",
	} {
		f.Add(seed)
	}
	table := Table{
		Columns: []Column{{"At", "DateTime"}, {"Text", "String"}, {"N", "Int64"}},
		Rows: func(yield func([]any) bool) {
			_ = yield([]any{time.Unix(0, 0), "a b", int64(4)}) && yield([]any{time.Unix(9, 0), "", nil})
		},
	}
	f.Fuzz(func(t *testing.T, query string) {
		result, err := runHunt(query, time.Unix(10, 0), func(name string) (Table, bool) { return table, name == "T" })
		var refused *apiError
		switch {
		case err == nil:
			for row := range result.Rows {
				if len(row) != len(result.Columns) {
					t.Errorf("%q gave a row of %d cells for %d columns", query, len(row), len(result.Columns))
				}
			}
		case !errors.As(err, &refused) || refused.status != http.StatusBadRequest:
			t.Errorf("runHunt(%q) = %v, want status 400", query, err)
		}
	})
}
