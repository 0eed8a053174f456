package commands

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
)

// points asks about a message that says text.
func (w *world) points(t *testing.T, by identity.Principal, text string) chat.Message {
	t.Helper()
	inv := w.invocation(chat.Shortcut, by)
	inv.Action, inv.Text = cards.ActionMessageLookup, text
	m, _ := w.ask(t, inv)
	return m
}

func TestNamedIn(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"look at ws-042, please":                       "ws-042?",
		"`WS042` beacons":                              "WS042?",
		"host=ws-042 src:10.1.2.3":                     "ws-042? 10.1.2.3",
		"ws-042.corp.example is odd":                   "ws-042.corp.example?=ws-042.corp.example",
		"ws-042.corp.example: up, ws-042.corp.example": "ws-042.corp.example?=ws-042.corp.example",
		"SHA1:" + evilFile:                             evilFile + "?=" + evilFile,
		"SHA256: " + evilSHA256:                        "SHA256? " + evilSHA256,
		"url=hxxps://evil[.]example/a?b=c":             "evil.example",
		"src 2001:db8::1 to [2001:db8::2]:443":         "2001:db8::1 2001:db8::2",
		"(1.2.3[.]4), 1.2.3.4; \"1[.]2[.]3[.]4\"":      "1.2.3.4",
		"T1059.001 in da637472900382838869_1364969609": "",
		"a plain sentence about nothing at all":        "",
		"WS-042 ws-042":                                "WS-042?",
	} {
		var got []string
		for _, n := range namedIn(text) {
			s := n.word
			switch {
			case n.why != "":
				continue
			case n.machine && n.observable.Value != "":
				s += "?=" + n.observable.Value
			case n.machine:
				s += "?"
			default:
				s = n.observable.Value
			}
			got = append(got, s)
		}
		if joined := strings.Join(got, " "); joined != want {
			t.Errorf("%q names %q, want %q", text, joined, want)
		}
	}
	if got := namedIn(strings.Repeat("ü", maxMessage)); len(got) > 0 {
		t.Errorf("a long message names %v", got)
	}
}

func FuzzNamedIn(f *testing.F) {
	for _, s := range []string{"host=ws-042", "::", "a=b=c", "=", "x:\xff", "hxxp[:]//evil[.]example/%2f", evilFile} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, n := range namedIn(s) {
			if strings.ContainsAny(n.observable.Value, "/\\?# %") {
				t.Errorf("%q is looked up as %q, which leads elsewhere in a path", s, n.observable.Value)
			}
			if n.machine && !hostName.MatchString(n.word) {
				t.Errorf("%q names the machine %q", s, n.word)
			}
		}
	})
}

func TestLookupMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	permit(w, "File.Read.All", "Ip.Read.All", "URL.Read.All", "Alert.Read.All", "Machine.Read.All")

	m := w.points(t, viewer, "WS-042 talks to hxxp://evil[.]example/x and drops "+evilFile)
	mustSay(t, "a message", m, "Looked up 3 things", ws042, "evil.example", "Malware")
	if m.Menu == nil || m.Menu.Action != cards.ActionShowMachine || len(m.Menu.Options) != 1 {
		t.Errorf("the machine cannot be shown from the answer: %+v", m.Menu)
	}
	mustSay(t, "a machine alone", w.points(t, viewer, "is ws-042 still up?"), "Machine ws-042", "Signed in")
	mustSay(t, "a machine by its ID, which has the form of a SHA-1", w.points(t, viewer, "https-free "+ws042), "Machine ws-042")
	mustSay(t, "nothing", w.points(t, viewer, "good morning, T1059 everybody"), "names nothing that Defender could look up", "machine names and IDs", "SHA-1 and SHA-256", "[.] and hxxp")
	mustSay(t, "only what cannot be looked up", w.points(t, viewer, "see invoice.docm d41d8cd98f00b204e9800998ecf8427e"), "names nothing", "file name", "MD5")
	if m := w.points(t, viewer, "203.0.113.9 and the token xoxb-123456789012-abcdefABCDEF"); strings.Contains(textOf(m), "xoxb") || !strings.Contains(textOf(m), "on 3 machines") {
		t.Errorf("a message with a secret is answered %s, want the rest of it", textOf(m))
	}
	mustSay(t, "words that are a flag elsewhere", w.points(t, viewer, "--public --tenant x 203.0.113.9 \""), "203.0.113.9", "on 3 machines")

	var many []string
	for i := range 13 {
		many = append(many, fmt.Sprintf("h%d.evil.example", i))
	}
	m = w.points(t, viewer, "ws-042 "+strings.Join(many, " "))
	mustSay(t, "more than a lookup takes", m, "Looked up 10 things", "4 more: one lookup takes no more", "h9.evil.example h10.evil.example h11.evil.example h12.evil.example")
	if got := textOf(m); strings.Contains(got, "evil.example h8") {
		t.Errorf("something is looked up and left over: %s", got)
	}
}

func TestLookupMessage_refusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	permit(w, "Ip.Read.All")
	m := w.points(t, viewer, "ws-042 to 203.0.113.9")
	mustSay(t, "without machines", m, "on 3 machines", "Names of machines", "not permitted: Machine.Read.All")
	if m.Menu != nil {
		t.Error("a machine is offered that may not be read")
	}
	mustSay(t, "somebody who is not linked", w.points(t, stranger, "203.0.113.9"), "not linked")
	permit(w, "Ip.Read.All", "Machine.Read.All")
	w.estate.faults["find"] = defender.ErrUnavailable
	mustSay(t, "an outage", w.points(t, viewer, "ws-042 to 203.0.113.9"), "on 3 machines", "Defender cannot be reached")
	permit(w, "Alert.Read.All")
	mustSay(t, "without the permissions", w.points(t, viewer, "203.0.113.9"), "lookup needs File.Read.All")
}
