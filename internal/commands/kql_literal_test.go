package commands

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/policy"
)

// value is what the string literal l says.
func value(t *testing.T, l string) string {
	t.Helper()
	s, err := strconv.Unquote(l)
	if err != nil {
		t.Fatalf("%s is no literal: %v", l, err)
	}
	return s
}

func TestParamLiteral(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kind, typed, want, problem string }{
		{"text", `plain`, `"plain"`, ""},
		{"text", `" or 1==1 //`, `"\" or 1==1 //"`, ""},
		{"text", `\" | take 1`, `"\\\" | take 1"`, ""},
		{"text", "two\nlines", "", "cannot be seen"},
		{"text", "right\u202eleft", "", "cannot be seen"},
		{"text", "  ", "", "empty"},
		{"text", strings.Repeat("x", 201), "", "longer than 200"},
		{"ip", "203.0.113.9", `"203.0.113.9"`, ""},
		{"ip", "2001:DB8::1", `"2001:db8::1"`, ""},
		{"ip", "fe80::1%eth0", "", "no IP address"},
		{"ip", `1.2.3.4" or "`, "", "no IP address"},
		{"hash", strings.Repeat("AB", 20), `"` + strings.Repeat("ab", 20) + `"`, ""},
		{"hash", strings.Repeat("AB", 21), "", "no MD5"},
		{"number", "-42", "-42", ""},
		{"number", "42; drop", "", "no whole number"},
		{"domain", "evil.example/x?y=1", `"evil.example/x?y=1"`, ""},
		{"domain", `evil" or "`, "", "no domain"},
		{"user", `CORP\riley`, `"CORP\\riley"`, ""},
		{"user", `riley"`, "", "no account name"},
		{"kql", "x", "", "not known"},
	} {
		got, problem := paramLiteral(c.kind, c.typed)
		if got != c.want || (c.problem == "") != (problem == "") || !strings.Contains(problem, c.problem) {
			t.Errorf("paramLiteral(%s, %q) = %s, %q, want %s, %q", c.kind, c.typed, got, problem, c.want, c.problem)
		}
	}
	for d, want := range map[time.Duration]string{24 * time.Hour: "1d", 90 * time.Minute: "90m", 168 * time.Hour: "7d"} {
		if got := kqlSpan(d); got != want {
			t.Errorf("kqlSpan(%s) = %s, want %s", d, got, want)
		}
	}
}

// Whatever is typed, one token comes out, and it says what was typed.
func FuzzParamLiteral(f *testing.F) {
	for _, s := range []string{"plain", `a" or "b`, `\`, `\\"`, "```", "~~~", "// x", "a\u2028b", `@"`, "'", "é漢\U0001f600"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		for kind := range policy.ParamTypes {
			l, problem := paramLiteral(kind, typed)
			if problem != "" {
				continue
			}
			if kind == "number" {
				if _, err := strconv.ParseInt(l, 10, 64); err != nil {
					t.Errorf("paramLiteral(number, %q) = %s", typed, l)
				}
				continue
			}
			words := kqlWords("T | where X == " + l + " | take 1")
			if len(words) != 10 || words[6].text != stringWord || words[6].raw != l || words[7].text != "|" {
				t.Errorf("paramLiteral(%s, %q) = %s, which reads as %v", kind, typed, l, words)
			}
			if kind == "text" && value(t, l) != strings.TrimSpace(typed) {
				t.Errorf("paramLiteral(text, %q) = %s, which says something else", typed, l)
			}
		}
	})
}

func TestHunts_shippedAreSound(t *testing.T) {
	t.Parallel()
	p, err := policy.Parse("mdebot.yaml", nil, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	samples := map[string]string{
		"machine": ws042, "user": "riley", "ip": "203.0.113.9", "hash": strings.Repeat("ab", 20), "domain": "evil.example", "file": "cmd.exe", "number": "7", "text": `a "quoted" \ word`,
	}
	for _, h := range p.Hunts() {
		literals := map[string]string{"span": kqlSpan(h.Span)}
		for _, param := range h.Params {
			l, problem := paramLiteral(param.Type, samples[param.Type])
			if problem != "" {
				t.Fatalf("%s: the sample for %s %s", h.Name, param.Type, problem)
			}
			literals[param.Name] = l
		}
		query, err := h.Fill(literals)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if _, _, err := boundKQL(query); err != nil {
			t.Errorf("%s: boundKQL() = %v\n%s", h.Name, err, query)
		}
		tables, err := tablesOf(kqlWords(query))
		if err != nil || len(tables) == 0 {
			t.Errorf("%s: tablesOf() = %v, %v\n%s", h.Name, tables, err, query)
		}
		for _, table := range tables {
			if policy.KnownTable(table) != table {
				t.Errorf("%s reads %s, which Microsoft does not document", h.Name, table)
			}
		}
		if strings.Contains(query, "{") {
			t.Errorf("%s keeps a brace: %s", h.Name, query)
		}
	}
}
