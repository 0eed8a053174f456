package commands

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mdebot/mdebot/internal/chat"
)

func TestWithoutPrefix(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ in, want string }{
		"slash command":                {"/mde machine ws-1", "machine ws-1"},
		"name alone":                   {"mde", ""},
		"capitals":                     {"/MDE Help", "Help"},
		"mention left over":            {"@mdebot help", "help"},
		"nothing":                      {"  ", ""},
		"a word that begins with it":   {"mdexyz", "mdexyz"},
		"code fence":                   {"```\nmde hunt DeviceInfo\n```", "hunt DeviceInfo"},
		"fence with language":          {"```kql\nDeviceInfo\n| take 1\n```", "DeviceInfo\n| take 1"},
		"single backticks":             {"`alerts high`", "alerts high"},
		"backticks around a part stay": {"`a` b `c`", "`a` b `c`"},
		"hard spaces":                  {"machine\u00a0ws-1", "machine\u00a0ws-1"},
		"one backtick":                 {"`", "`"},
		"fence without end":            {"```hunt", "```hunt"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := withoutPrefix(tc.in); got != tc.want {
				t.Errorf("withoutPrefix(%q) = %q, want %q", tc.in, got, tc.want)
			}
		})
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in   string
		want []string // flags as name, or name=value
	}{
		"words":                       {"a  b\tc", []string{"a", "b", "c"}},
		"hard spaces":                 {"a\u00a0\u202fb", []string{"a", "b"}},
		"double quotes":               {`a "b c" d`, []string{"a", "b c", "d"}},
		"curly quotes":                {`a “b c” d`, []string{"a", "b c", "d"}},
		"single quotes":               {`'b c'`, []string{"b c"}},
		"apostrophe inside":           {`'it's here'`, []string{"it's here"}},
		"quote inside a word":         {`ws"1`, []string{`ws"1`}},
		"empty quotes":                {`""`, []string{""}},
		"flag":                        {"--since 24h", []string{"--since", "24h"}},
		"flag with value":             {"--SINCE=24h", []string{"--since=24h"}},
		"flag with quoted value":      {`--reason="two words" x`, []string{"--reason=two words", "x"}},
		"long dash":                   {"—public –selective", []string{"--public", "--selective"}},
		"dash inside a name":          {"ws–1", []string{"ws–1"}},
		"negative number":             {"--5", []string{"--5"}},
		"quoted text is never a flag": {`"--public"`, []string{"--public"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tokens, err := split(tc.in)
			if err != nil {
				t.Fatalf("split(%q) = %v", tc.in, err)
			}
			var got []string
			for _, tok := range tokens {
				switch {
				case tok.flag != "" && tok.hasValue:
					got = append(got, "--"+tok.flag+"="+tok.text)
				case tok.flag != "":
					got = append(got, "--"+tok.flag)
				default:
					got = append(got, tok.text)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("split(%q) (-want +got):\n%s", tc.in, diff)
			}
		})
	}
}

func TestSplit_unterminatedQuote(t *testing.T) {
	t.Parallel()
	for _, in := range []string{`a "b c`, `“`, `--reason="x`, `'tis`} {
		if got, err := split(in); err == nil {
			t.Errorf("split(%q) = %v, want an error", in, got)
		}
	}
}

// Whatever is typed, a token is a literal part of it.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{`isolate ws-042 "a b" --reason="x y"`, "ws–042 ‘a’", "—public", "\u00a0a\u202eb", "“", `"a"b"`, "\xff\xfe"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tokens, err := split(s)
		if err != nil {
			return
		}
		last := 0
		for _, tok := range tokens {
			if tok.start < last || tok.end <= tok.start || tok.end > len(s) {
				t.Fatalf("split(%q): token at %d–%d after %d", s, tok.start, tok.end, last)
			}
			if !strings.Contains(s[tok.start:tok.end], tok.text) {
				t.Errorf("split(%q): token %q is not what stands at %d–%d", s, tok.text, tok.start, tok.end)
			}
			if between := s[last:tok.start]; strings.TrimSpace(between) != "" {
				t.Errorf("split(%q): %q was left out", s, between)
			}
			last = tok.end
		}
		if strings.TrimSpace(s[last:]) != "" {
			t.Errorf("split(%q): %q was left out", s, s[last:])
		}
	})
}

func FuzzWithoutPrefix(f *testing.F) {
	for _, s := range []string{"/mde x", "```kql\nx\n```", "`x`", "mdebot", "\u00a0", "``````"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := withoutPrefix(s); !strings.Contains(s, got) {
			t.Errorf("withoutPrefix(%q) = %q, which was not typed", s, got)
		}
	})
}

func TestAgain(t *testing.T) {
	t.Parallel()
	for after, want := range map[time.Duration]string{
		0: "Try again in 1 second.", 300 * time.Millisecond: "Try again in 1 second.", 30 * time.Second: "Try again in 30 seconds.",
		time.Minute: "Try again in 1 minute.", 6*time.Minute + time.Second: "Try again in 7 minutes.",
	} {
		if got := again(after); got != want {
			t.Errorf("again(%s) = %q, want %q", after, got, want)
		}
	}
}

// Whoever is refused is told what to do instead.
func TestRefusals_sayTheNextStep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.estate.alerts[0].Status = "Resolved"
	for _, text := range []string{
		"ack " + alert1, "hunt // nothing", "hunt T | where (a", "hunt T | where a)", "hunt set x = 1; T", "hunt .show tables",
		"machine nowhere", "isolate", "isolate ws-099 because", "alert foo", "nonsense", "approve", "isolated x",
	} {
		inv := w.invocation(chat.Command, riley)
		inv.Text = text
		m, resp := w.ask(t, inv)
		if resp.Form == nil && strings.TrimSpace(m.Note.String()) == "" {
			t.Errorf("%q is refused without a next step: %s", text, textOf(m))
		}
	}
}
