package chat

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestVisible(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"ws-042":                                 "ws-042",
		"two\nlines":                             `two\u000alines`,
		"a\ttab\rreturn":                         `a\u0009tab\u000dreturn`,
		"esc\x1b[31m":                            `esc\u001b[31m`,
		"right\u202eleft":                        `right\u202eleft`,
		"zero\u200bwidth":                        `zero\u200bwidth`,
		"hard\u00a0space":                        `hard\u00a0space`,
		"tag\U000e0041":                          `tag\U000e0041`,
		"filler\u3164":                           `filler\u3164`,
		"join\u034fer":                           `join\u034fer`,
		"selector\u180b":                         `selector\u180b`,
		"reserved\U000e0080":                     `reserved\U000e0080`,
		"blank\u2800":                            `blank\u2800`,
		"e\u0301 a\u0323\u0302":                  "e\u0301 a\u0323\u0302",
		"z\u0301\u0302\u0303\u0304\u0305y\u0301": "z\u0301\u0302\u0303" + `\u0304\u0305` + "y\u0301",
		"bad\xffbyte":                            `bad\xffbyte`,
		"line\u2028separator":                    `line\u2028separator`,
		"p\u0430yroll":                           `p\u0430yroll`, // a Cyrillic a
		"dc-01 \u0410dmin \u0410\u0434\u043c\u0438\u043d": `dc-01 \u0410dmin ` + "\u0410\u0434\u043c\u0438\u043d", // one mixed word, one Russian one
		"\u03bfffice-\u03b1\u03b2":                        `\u03bfffice-` + "\u03b1\u03b2",
		"Größe 漢字":                                        "Größe 漢字",
	} {
		if got := Visible(in, 0); got != want {
			t.Errorf("Visible(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Visible("漢字漢字漢字", 4); got != "漢字漢字… (+2)" {
		t.Errorf("Visible() of six runes in four = %q, want a counted cut", got)
	}
}

// FuzzVisible: nothing that a reader cannot see comes through, whatever goes in.
func FuzzVisible(f *testing.F) {
	for _, s := range []string{"", "a\u202eb", "\xff\xfe", strings.Repeat("x", 300), "\U000e0001"} {
		f.Add(s, 20)
	}
	f.Fuzz(func(t *testing.T, s string, max int) {
		got := Visible(s, max)
		if !utf8.ValidString(got) {
			t.Errorf("Visible(%q) = %q, which is not UTF-8", s, got)
		}
		for _, r := range got {
			if r != ' ' && unicode.In(r, unicode.C, unicode.Z) {
				t.Errorf("Visible(%q) = %q, which holds %U", s, got, r)
			}
		}
	})
}
