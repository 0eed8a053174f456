package cards

import (
	"fmt"
	"strings"
	"testing"
)

func TestChartOf(t *testing.T) {
	t.Parallel()
	ranking := ChartOf([]string{"Account", "Count"}, []string{"String", "Int64"}, [][]string{{"sam", "3"}, {hostile, "9"}, {"", "1"}})
	if ranking == nil || len(ranking.PNG) == 0 || ranking.Chart.Lines || len(ranking.Chart.Series) != 1 {
		t.Fatalf("a ranking gives %+v", ranking)
	}
	if c := ranking.Chart; fmt.Sprint(c.Series[0].Values) != "[9 3 1]" || c.Points[1] != "sam" || c.Points[2] != "(empty)" || strings.ContainsAny(c.Points[0], "\u202e\x1b\n") {
		t.Errorf("the ranking holds %q %v, want the highest first and nothing invisible", c.Points, c.Series[0].Values)
	}
	if !strings.HasPrefix(ranking.Alt, "Bar chart of Count by Account: ") || !strings.Contains(ranking.Alt, "sam 3") {
		t.Errorf("alternative %q", ranking.Alt)
	}
	series := ChartOf([]string{"Time", "Good", "Bad"}, []string{"DateTime", "Long", "Double"}, [][]string{
		{"2026-11-21T12:00:00Z", "3", "0.5"}, {"2026-11-21T10:00:00Z", "1", "0"}, {"2026-11-21T11:00:00Z", "2", "0"},
	})
	if series == nil || !series.Chart.Lines || len(series.Chart.Points) != 3 || fmt.Sprint(series.Chart.Series) != "[{Good [1 2 3]} {Bad [0 0 0.5]}]" {
		t.Errorf("a time series gives %+v", series)
	}
	if !strings.Contains(series.Alt, "Line chart of 3 points from 2026-11-21 10:00 UTC") || !strings.Contains(series.Alt, "Good, highest 3 at 2026-11-21 12:00 UTC") {
		t.Errorf("alternative %q", series.Alt)
	}
	for name, c := range map[string][][]string{
		"words": {{"a", "b"}, {"c", "d"}}, "no number": {{"a", "NaN"}, {"b", "1"}}, "one row": {{"a", "1"}},
	} {
		if p := ChartOf([]string{"Account", "Count"}, []string{"String", "Int64"}, c); p != nil {
			t.Errorf("%s: %+v, want no picture", name, p.Chart)
		}
	}
}
