package policy

import (
	"errors"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/identity"
)

func TestHunts_shipped(t *testing.T) {
	t.Parallel()
	p := mustParse(t, "")
	all := p.Hunts()
	if len(all) < 25 {
		t.Errorf("%d hunts come with mdebot, want 25 or more", len(all))
	}
	for _, h := range all {
		if !h.Shipped || h.Description == "" || h.Span == 0 || !strings.Contains(h.KQL, "{span}") {
			t.Errorf("%+v", h)
		}
	}
}

func TestHunts_ownReplaceShipped(t *testing.T) {
	t.Parallel()
	p := mustParse(t, `
hunts:
  - name: logons
    description: Our own
    kql: DeviceLogonEvents | where DeviceId == {machine} | take 5
    parameters: { machine: machine }
    span: 6h
    role: viewer
`)
	for _, h := range p.Hunts() {
		if h.Name != "logons" {
			continue
		}
		if h.Shipped || h.Description != "Our own" || h.Role != identity.Viewer || h.Span.Hours() != 6 {
			t.Errorf("logons = %+v, want the file's", h)
		}
		query, err := h.Fill(map[string]string{"machine": `"x"`, "span": "6h"})
		if err != nil || query != `DeviceLogonEvents | where DeviceId == "x" | take 5` {
			t.Errorf("Fill() = %q, %v", query, err)
		}
		if _, err := h.Fill(nil); err == nil {
			t.Error("a hunt without a value for its parameter is filled")
		}
		return
	}
	t.Error("no hunt logons")
}

func TestHunts_faults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ hunt, want string }{
		"inside a string":        {`{name: a, description: b, kql: 'T | where X == "{v}"', parameters: {v: text}}`, "inside a string"},
		"in a verbatim string":   {`{name: a, description: b, kql: 'T | where X == @"\{v}"', parameters: {v: text}}`, "inside a string"},
		"after an escaped mark":  {`{name: a, description: b, kql: 'T | where X == "a\"{v}"', parameters: {v: text}}`, "inside a string"},
		"in a comment":           {`{name: a, description: b, kql: 'T // {v}', parameters: {v: text}}`, "inside a string"},
		"not declared":           {`{name: a, description: b, kql: 'T | where X == {v}'}`, "not under parameters"},
		"not used":               {`{name: a, description: b, kql: 'T', parameters: {v: text}}`, "is not used"},
		"no such type":           {`{name: a, description: b, kql: 'T | where X == {v}', parameters: {v: kql}}`, "is no type"},
		"the name of the span":   {`{name: a, description: b, kql: 'T | where X == {span}', parameters: {span: text}}`, "cannot be the name"},
		"name with a blank":      {`{name: a b, description: b, kql: T}`, "lower-case letters"},
		"a role nobody hunts by": {`{name: a, description: b, kql: T, role: admin}`, "write hunter, responder or viewer"},
		"a year":                 {`{name: a, description: b, kql: T, span: 365d}`, "from 1m to 30d"},
		"no query":               {`{name: a, description: b}`, `"kql" is missing`},
	} {
		_, err := Parse("mdebot.yaml", []byte("hunts:\n  - "+c.hunt+"\n"), Options{})
		var file *FileError
		if !errors.As(err, &file) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Parse() = %v, want %q", name, err, c.want)
		}
	}
	if _, err := Parse("mdebot.yaml", []byte("hunts:\n  - {name: a, description: b, kql: 'T | where X == \"a\" and Y == {v} // done', parameters: {v: text}}\n"), Options{}); err != nil {
		t.Errorf("a parameter between strings: %v", err)
	}
}
