package csv

import (
	encoding "encoding/csv"
	"slices"
	"strings"
	"testing"
)

func TestWriter_neutralisesFormulas(t *testing.T) {
	t.Parallel()
	for cell, want := range map[string]string{
		"=1+1":                `"'=1+1"`,
		" =1+1":               `"' =1+1"`,
		"\t=1":                "\"'\t=1\"",
		"＝cmd":                `"'＝cmd"`,
		"\u200b@SUM(A1)":      "\"'\u200b@SUM(A1)\"",
		`"=1`:                 `"'""=1"`,
		"-5":                  `"-5"`,
		"-5.25":               `"-5.25"`,
		"-5+cmd|' /C calc'":   `"'-5+cmd|' /C calc'"`,
		"+49":                 `"'+49"`,
		"":                    `""`,
		`say "hi"`:            `"say ""hi"""`,
		"a,b\nc":              "\"a,b\nc\"",
		"9223372036854775807": `"9223372036854775807"`,
	} {
		var out strings.Builder
		if err := (&Writer{W: &out}).Write([]string{cell}); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != want+"\r\n" {
			t.Errorf("cell %q is written as %q, want %q", cell, got, want)
		}
	}
}

// A record reads back as one record with equal cells, but for the apostrophe,
// and no cell begins like a formula.
func FuzzWriter(f *testing.F) {
	f.Add("a", "=b")
	f.Add("\x00", "\"\r\n")
	f.Add(" \u200b−1", "-7")
	f.Fuzz(func(t *testing.T, a, b string) {
		var out strings.Builder
		if err := (&Writer{W: &out}).Write([]string{a, b}); err != nil {
			t.Fatal(err)
		}
		records, err := encoding.NewReader(strings.NewReader(out.String())).ReadAll()
		if err != nil || len(records) != 1 || len(records[0]) != 2 {
			t.Fatalf("%q reads back as %q, %v", out.String(), records, err)
		}
		for i, in := range []string{a, b} {
			cell := records[0][i]
			trimmed := strings.TrimLeftFunc(cell, func(r rune) bool { return strings.ContainsRune(" \u00a0\u200b\u200e\ufeff\"", r) })
			if trimmed != "" && !isNumber(cell) {
				first := []rune(trimmed)[0]
				if slices.Contains([]rune("=+-@|%＝＋－＠｜％"), first) {
					t.Errorf("cell %q begins like a formula", cell)
				}
			}
			// csv.Reader folds \r\n inside quotes to \n.
			fold := strings.NewReplacer("\x00", "\ufffd", "\r", "").Replace
			if got, want := fold(cell), fold(in); got != want && got != "'"+want {
				t.Errorf("cell %q reads back as %q", in, cell)
			}
		}
	})
}
