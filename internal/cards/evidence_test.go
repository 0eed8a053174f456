package cards

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

func linesOf(all []chat.Text) string {
	var out []string
	for _, t := range all {
		out = append(out, t.String())
	}
	return strings.Join(out, "\n")
}

func TestProcessTree(t *testing.T) {
	t.Parallel()
	process := func(id int64, file, command string, parent int64, parentFile string) defender.Evidence {
		return defender.Evidence{Type: "Process", ProcessID: id, FileName: file, CommandLine: command, ParentProcessID: parent, ParentFileName: parentFile}
	}
	for name, c := range map[string]struct {
		evidence []defender.Evidence
		want     string
	}{
		"a chain in any order": {
			[]defender.Evidence{process(3, "c.exe", "c", 2, "B.exe"), process(2, "b.exe", "b", 1, "a.exe")},
			"a.exe (1)\n└ b.exe (2) · b\n\u2003└ c.exe (3) · c",
		},
		"two children of one parent": {
			[]defender.Evidence{process(2, "b.exe", "", 1, "a.exe"), process(3, "c.exe", "", 1, "a.exe")},
			"a.exe (1)\n└ b.exe (2)\n└ c.exe (3)",
		},
		"a circle is drawn once": {
			[]defender.Evidence{process(1, "a.exe", "", 2, "b.exe"), process(2, "b.exe", "", 1, "a.exe")},
			"a.exe (1)\n└ b.exe (2)",
		},
		"a process that names itself": {
			[]defender.Evidence{process(1, "a.exe", "x", 1, "a.exe")},
			"a.exe (1) · x",
		},
		"no numbers: nothing is lost": {
			[]defender.Evidence{process(0, "a.exe", "one", 0, ""), process(0, "a.exe", "two", 0, "")},
			"a.exe · one\na.exe · two",
		},
	} {
		if got := linesOf(processTree(c.evidence)); got != c.want {
			t.Errorf("%s: processTree() =\n%s\nwant\n%s", name, got, c.want)
		}
	}
	var deep []defender.Evidence
	for i := range int64(30) {
		deep = append(deep, process(i+1, fmt.Sprintf("p%d.exe", i+1), "", i, fmt.Sprintf("p%d.exe", i)))
	}
	if got := linesOf(processTree(deep)); !strings.Contains(got, "and 20 more") || strings.Count(got, "\n") != 11 {
		t.Errorf("processTree() of thirty =\n%s\nwant ten, the parent that began them and a count", got)
	}
}

func TestAlert_resolvedTurnsQuietWherePosted(t *testing.T) {
	t.Parallel()
	a := sampleAlert()
	a.Status = "Resolved"
	v := AlertView{Alert: a, MayUpdate: true, MayIsolate: true, Portal: portal{}}
	if m := Alert(v); len(m.Sections) == 0 || len(m.Buttons) < 3 {
		t.Errorf("the answer about a resolved alert has %d sections and %d buttons", len(m.Sections), len(m.Buttons))
	}
	v.Posted = true
	m := Alert(v)
	if len(m.Sections) != 0 || len(m.Buttons) != 1 || m.Buttons[0].URL == "" || len(m.Facts) > 3 {
		t.Errorf("the posted card of a resolved alert = %+v, want its status and the link alone", m)
	}
	if !strings.HasPrefix(m.Title.String(), "Resolved: High alert: ") {
		t.Errorf("title = %s", m.Title)
	}
}
