package app

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// sections says how many requirements each section of the threat model has.
var sections = map[string]int{
	"W": 13, "S": 19, "T": 21, "I": 14, "A": 29, "X": 12, "H": 10, "D": 13, "N": 13, "M": 7, "C": 8, "L": 8, "O": 9, "B": 6,
}

var (
	requirementRow = regexp.MustCompile(`^\|\s*([A-Z]-[0-9]{2})\s*\|`)
	testName       = regexp.MustCompile(`^([a-z/]+)\.((?:Test|Fuzz)[A-Za-z0-9_]+)$`)
)

// requirement is one row of docs/security/requirements.md.
type requirement struct {
	id, state string
	tests     []string
	missing   string
}

// parseRequirements reads the rows of the tables, and what is wrong with them as
// they stand.
func parseRequirements(text string) (rows []requirement, faults []string) {
	seen := map[string]bool{}
	for line := range strings.SplitSeq(text, "\n") {
		if !requirementRow.MatchString(line) {
			continue
		}
		cells := strings.Split(strings.TrimSuffix(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 6 {
			faults = append(faults, fmt.Sprintf("%.40s: %d cells, want 5", line, len(cells)-1))
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		r := requirement{id: cells[1], state: cells[3], missing: cells[5]}
		for name := range strings.SplitSeq(cells[4], ",") {
			if name = strings.TrimSpace(name); name != "" {
				r.tests = append(r.tests, name)
			}
		}
		if seen[r.id] {
			faults = append(faults, r.id+" is there twice")
		}
		seen[r.id] = true
		switch {
		case r.state == "done" && (len(r.tests) == 0 || r.missing != ""):
			faults = append(faults, r.id+" is done, so it names its tests and nothing is missing")
		case r.state == "partly" && (len(r.tests) == 0 || r.missing == ""):
			faults = append(faults, r.id+" is partly done, so it names tests and what is missing")
		case r.state == "later" && (len(r.tests) > 0 || r.missing == ""):
			faults = append(faults, r.id+" is for later, so it names no tests and says why")
		case r.state != "done" && r.state != "partly" && r.state != "later":
			faults = append(faults, fmt.Sprintf("%s has the state %q", r.id, r.state))
		}
		rows = append(rows, r)
	}
	for section, n := range sections {
		for i := 1; i <= n; i++ {
			if id := fmt.Sprintf("%s-%02d", section, i); !seen[id] {
				faults = append(faults, id+" is missing")
			}
			delete(seen, fmt.Sprintf("%s-%02d", section, i))
		}
	}
	for id := range seen {
		faults = append(faults, id+" is no requirement")
	}
	return rows, faults
}

// testExists looks for a test of internal/<package> in its sources.
func testExists(t *testing.T, name string) bool {
	t.Helper()
	m := testName.FindStringSubmatch(name)
	if m == nil {
		return false
	}
	files, err := filepath.Glob(filepath.Join("..", filepath.FromSlash(m[1]), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(source), "\nfunc "+m[2]+"(") {
			return true
		}
	}
	return false
}

func TestRequirements_nameTestsThatExist(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "security", "requirements.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows, faults := parseRequirements(string(text))
	for _, fault := range faults {
		t.Error(fault)
	}
	for _, r := range rows {
		for _, name := range r.tests {
			if !testExists(t, name) {
				t.Errorf("%s names %s, which does not exist", r.id, name)
			}
		}
	}
}

func TestRequirements_faultyTablesAreFound(t *testing.T) {
	t.Parallel()
	for row, want := range map[string]string{
		"| W-01 | x | done | | |\n":                                "W-01 is done, so",
		"| W-01 | x | done | app.TestMain | rest |\n":              "W-01 is done, so",
		"| W-01 | x | partly | app.TestMain | |\n":                 "W-01 is partly done, so",
		"| W-01 | x | later | | |\n":                               "W-01 is for later, so",
		"| W-01 | x | finished | app.TestMain | |\n":               `W-01 has the state "finished"`,
		"| W-01 | x | later | | y |\n| W-01 | x | later | | y |\n": "W-01 is there twice",
		"| W-99 | x | later | | y |\n":                             "W-99 is no requirement",
		"| W-01 | x | later |\n":                                   "cells, want 5",
		"":                                                         "W-01 is missing",
	} {
		if _, faults := parseRequirements(row); !strings.Contains(strings.Join(faults, "\n"), want) {
			t.Errorf("%q: faults do not tell %q", row, want)
		}
	}
	for name, want := range map[string]bool{
		"app.TestRequirements_faultyTablesAreFound": true, "app.TestRequirements_faultyTables": false,
		"app.TestNothing": false, "nowhere.TestMain": false, "TestMain": false, "app.testExists": false,
	} {
		if got := testExists(t, name); got != want {
			t.Errorf("testExists(%s) = %t, want %t", name, got, want)
		}
	}
}
