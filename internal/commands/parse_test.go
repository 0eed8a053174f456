package commands

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mdebot/mdebot/internal/chat"
)

func TestSpecs_areComplete(t *testing.T) {
	t.Parallel()
	for _, s := range Specs() {
		if s.Usage == "" || s.Summary == "" || len(s.Examples) == 0 || s.run == nil {
			t.Errorf("%s lacks usage, summary, example or handler", s.Name)
		}
		if !strings.HasSuffix(s.Summary, ".") {
			t.Errorf("%s: summary %q is no sentence", s.Name, s.Summary)
		}
	}
}

// Every example parses to its own command without a fault.
func TestSpecs_examplesParse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, s := range Specs() {
		for _, x := range s.Examples {
			c, err := w.parse(chat.Invocation{Kind: chat.Command, Text: "/mde " + x})
			if err != nil || c.spec.Name != s.Name {
				t.Errorf("example %q of %s: %v", x, s.Name, err)
			}
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, tc := range map[string]struct {
		text, spec string
		args       []string
		flags      map[string]string
	}{
		"nothing is help":             {"", "help", nil, nil},
		"case of names and flags":     {"ALERTS High --SINCE=7d", "alerts", []string{"High"}, map[string]string{"since": "7d"}},
		"flag before the word":        {"alerts --since 7d high", "alerts", []string{"high"}, map[string]string{"since": "7d"}},
		"verb after the alert":        {"alert " + alert1 + " ack", "ack", []string{alert1}, nil},
		"verb first":                  {"ack " + alert1, "ack", []string{alert1}, nil},
		"verb in a thread":            {"alert ack", "ack", nil, nil},
		"assign":                      {"alert x assign riley", "assign", []string{"x", "riley"}, nil},
		"reason takes all words":      {"isolate ws-1 --reason it is bad --selective", "isolate", []string{"ws-1"}, map[string]string{"reason": "it is bad", "selective": "true"}},
		"quoted reason":               {`isolate ws-1 --reason="it is bad"`, "isolate", []string{"ws-1"}, map[string]string{"reason": "it is bad"}},
		"a quoted verb is no command": {`alert "ack"`, "alert", []string{"ack"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := w.parse(chat.Invocation{Text: tc.text})
			if err != nil {
				t.Fatalf("parse(%q) = %v", tc.text, err)
			}
			var args []string
			for _, a := range c.args {
				args = append(args, a.text)
			}
			flags := tc.flags
			if flags == nil {
				flags = map[string]string{}
			}
			if c.spec.Name != tc.spec || !slices.Equal(args, tc.args) || !cmp.Equal(c.flags, flags) {
				t.Errorf("parse(%q) = %s %q %v, want %s %q %v", tc.text, c.spec.Name, args, c.flags, tc.spec, tc.args, flags)
			}
		})
	}
}

func TestParse_faults(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for text, wants := range map[string][]string{
		"isolte ws-1":               {"There is no command isolte.", "Did you mean /mde isolate <machine>"},
		"machin ws-1":               {"Did you mean /mde machine"},
		"xyzzy":                     {"There is no command xyzzy.", "/mde help"},
		`machine "ws-1`:             {"quotation mark", "Usage: /mde machine"},
		"machine ws-1 --foo":        {"no flag --foo", "Usage: /mde machine"},
		"alerts --sinc 1h":          {"Did you mean --since?"},
		"alerts --since":            {"--since needs a value"},
		"alerts --since 1h --since": {"--since is given twice"},
		"machine ws-1 --public=yes": {"--public takes no value"},
	} {
		mustSay(t, text, w.says(t, riley, text), wants...)
	}
}

func TestUsage_isTheFormThatWorksWhereItIsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	inv := w.invocation(chat.Command, riley)
	inv.Text, inv.Slash = "machine", false
	m, _ := w.ask(t, inv)
	mustSay(t, "machine after a mention", m, "Usage: @mdebot machine")
	inv.In.Direct = true
	m, _ = w.ask(t, inv)
	mustSay(t, "machine in a direct chat", m, "Usage: machine <name")
}

func TestOrderOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, tc := range map[string]struct {
		text     string
		machines []string
		reason   string
	}{
		"one and a reason":               {"isolate ws-042 beaconing to evil", []string{"ws-042"}, "beaconing to evil"},
		"several":                        {"isolate ws-042 ws-043 ransom note", []string{"ws-042", "ws-043"}, "ransom note"},
		"ID and address":                 {"isolate " + ws042 + " 10.1.2.3 because", []string{ws042, "10.1.2.3"}, "because"},
		"commas":                         {"isolate alpha,beta, gamma because", []string{"alpha", "beta", "gamma"}, "because"},
		"reason may begin with an alert": {"isolate ws-042 " + alert1 + " says so", []string{"ws-042"}, alert1 + " says so"},
		"reason may begin with a number": {"isolate ws-042 3 times seen", []string{"ws-042"}, "3 times seen"},
		"technique":                      {"isolate ws-042 T1059.001 seen", []string{"ws-042"}, "T1059.001 seen"},
		"quoted reason":                  {`isolate ws-042 "ws-043 sent it"`, []string{"ws-042"}, "ws-043 sent it"},
		"reason flag":                    {"isolate alpha beta --reason it is bad", []string{"alpha", "beta"}, "it is bad"},
		"quoted machine":                 {`isolate "my host" because`, []string{"my host"}, "because"},
		"no reason":                      {"isolate ws-042", []string{"ws-042"}, ""},
		"a prefix stays a prefix":        {"isolate ws-04 because", []string{"ws-04"}, "because"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := w.parse(chat.Invocation{Text: tc.text})
			if err != nil {
				t.Fatal(err)
			}
			if o, err := orderOf(c); err != nil || !slices.Equal(o.machines, tc.machines) || o.reason != tc.reason {
				t.Errorf("orderOf(%q) = %q because %q, want %q because %q", tc.text, o.machines, o.reason, tc.machines, tc.reason)
			}
		})
	}
}

// Whatever is typed, every target is a literal part of it.
func FuzzOrderOf(f *testing.F) {
	for _, s := range []string{"ws-042 because", "a,b,,c x", `"a b" --reason=x`, "ws–042 x", "“ws 1” y", "--reason x ws-1", ","} {
		f.Add(s)
	}
	r := New(Config{})
	f.Fuzz(func(t *testing.T, s string) {
		c, err := r.parse(chat.Invocation{Text: "isolate " + s})
		if err != nil || c.spec.Name != "isolate" {
			return
		}
		o, err := orderOf(c)
		if err != nil {
			return
		}
		for _, m := range o.machines {
			if m == "" || !strings.Contains(s, m) {
				t.Errorf("isolate %q aims at %q, which was not typed", s, m)
			}
		}
	})
}

func TestNearest(t *testing.T) {
	t.Parallel()
	names := []string{"alert", "alerts", "isolate", "isolated", "hunt", "help"}
	for typed, want := range map[string]string{
		"isolaet": "isolate", "hlep": "help", "ISOLATEE": "isolate", "hnt": "hunt", "completely": "", "x": "",
	} {
		if got := nearest(typed, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", typed, got, want)
		}
	}
}

func TestMarkdown_namesEveryCommand(t *testing.T) {
	t.Parallel()
	table := Markdown()
	for _, s := range Specs() {
		if !strings.Contains(table, "| `/mde "+cell(s.Usage)+"` |") {
			t.Errorf("the table lacks %s", s.Name)
		}
	}
}
