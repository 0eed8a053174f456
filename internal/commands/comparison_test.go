package commands

import (
	"slices"
	"strings"
	"testing"
)

// Every command of the other integration has its counterpart, or the reason why
// there is none.
func TestComparison(t *testing.T) {
	t.Parallel()
	var names []string
	for _, s := range Specs() {
		names = append(names, s.Name)
	}
	var theirs []string
	for _, c := range counterparts {
		theirs = append(theirs, c.theirs...)
		if c.ours == "" && c.note == "" {
			t.Errorf("%v is left out without a reason", c.theirs)
		}
		for _, name := range strings.Split(c.ours, ", ") {
			if name != "" && !slices.Contains(names, name) {
				t.Errorf("%v stands beside %s, which is no command", c.theirs, name)
			}
		}
	}
	slices.Sort(theirs)
	if len(slices.Compact(slices.Clone(theirs))) != len(theirs) || len(theirs) < 57 {
		t.Errorf("%d commands stand in the comparison, want each of the 57 and more once", len(theirs))
	}
	if doc := Comparison(); !strings.Contains(doc, "| `stop-and-quarantine-file` | `/mde quarantine` | yes |") || !strings.Contains(doc, "| `run-antivirus-scan` | `/mde scan` | by rule |") {
		t.Error("the table does not say who is needed")
	}
}
