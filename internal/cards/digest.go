package cards

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// DigestView is what a place has to know of a day.
type DigestView struct {
	// From is when the day begins, At the time of day that the digest is of, and Now
	// when it is drawn: later after a downtime.
	From, At, Now time.Time
	// Alerts were posted in the place since From; Open are all of them that are not
	// resolved, the oldest first.
	Alerts, Open []defender.Alert
	// Requests were decided since From or are under way.
	Requests []approvals.Request
	// Isolated are the machines that are cut off, the longest first.
	Isolated       []IsolatedMachine
	IsolatedUnread bool
	Mutes          []MuteView
	// Troubles are the titles of the alarms about the bot since From.
	Troubles []string
}

// Quiet reports whether there is nothing to tell.
func (v DigestView) Quiet() bool {
	return len(v.Alerts)+len(v.Open)+len(v.Requests)+len(v.Isolated)+len(v.Mutes)+len(v.Troubles) == 0 && !v.IsolatedUnread
}

// digestLines is how much of each part is named; the rest is counted.
const digestLines = 8

// Digest sums a day up.
func Digest(v DigestView) chat.Message {
	m := chat.Message{Tone: chat.Neutral}
	parts := []string{plural(len(v.Alerts), "alert", "alerts")}
	if len(v.Open) > 0 {
		parts = append(parts, strconv.Itoa(len(v.Open))+" still open")
	}
	waiting := slices.DeleteFunc(slices.Clone(v.Requests), func(r approvals.Request) bool { return r.State != approvals.Pending })
	if len(waiting) > 0 {
		parts = append(parts, plural(len(waiting), "request waits", "requests wait"))
	}
	if len(v.Isolated) > 0 {
		parts = append(parts, plural(len(v.Isolated), "machine", "machines")+" isolated")
	}
	m.Title = chat.Plain("The day: " + strings.Join(parts, ", "))
	if v.Quiet() {
		m.Title = chat.Plain("The day: nothing to tell")
	}
	m.Preview = m.Title
	m.Facts = []chat.Fact{{Label: "Since", Value: when(v.From)}}
	counts := "none"
	if len(v.Alerts) > 0 {
		counts = severityCounts(v.Alerts)
	}
	m.Facts = append(m.Facts, chat.Fact{Label: "Alerts posted here", Value: chat.Plain(counts)}, chat.Fact{Label: "Requests", Value: chat.Plain(requestCounts(v.Requests))})
	if v.IsolatedUnread {
		m.Facts = append(m.Facts, chat.Fact{Label: "Isolated machines", Value: chat.Plain("could not be read from Defender; type isolated")})
	}
	m.Sections = append(m.Sections, digestSection("Open alerts, the oldest first", len(v.Open), "alerts", func(i int) chat.Text {
		a := v.Open[i]
		return dotted(severityWord(a.Severity), outside(within(a.Title, roomForTitle)), outside(within(a.MachineName, roomForName)), chat.Plain("for "+age(v.Now.Sub(a.Created))))
	})...)
	m.Sections = append(m.Sections, digestSection("Requests", len(v.Requests), "requests", func(i int) chat.Text {
		r := v.Requests[i]
		return dotted(chat.Join(chat.Plain("#"+strconv.FormatInt(r.Number, 10)+" "), requestSubject(r)), chat.Plain(stateWord(r)), sentence(chat.Plain("asked by"), outside(within(r.RequesterName, roomForName))))
	})...)
	m.Sections = append(m.Sections, digestSection("Isolated machines, the longest first", len(v.Isolated), "isolated", func(i int) chat.Text {
		d := v.Isolated[i]
		return dotted(outside(within(d.Name, roomForName)), chat.Plain("for "+age(v.Now.Sub(d.Isolation.Since))), sentence(chat.Plain("owner"), outside(within(d.owner(), roomForName))))
	})...)
	m.Sections = append(m.Sections, digestSection("Mutes in force", len(v.Mutes), "mutes", func(i int) chat.Text {
		d := v.Mutes[i]
		return dotted(chat.Plain("Mute "+strconv.FormatInt(d.Number, 10)), outside(within(d.Mute.String(), roomForTitle)), sentence(chat.Plain("by"), outside(d.By)), sentence(chat.Plain("until"), when(d.Until)))
	})...)
	m.Sections = append(m.Sections, digestSection("What went wrong with mdebot", len(v.Troubles), "status", func(i int) chat.Text {
		return outside(within(v.Troubles[i], 150))
	})...)
	if len(v.Troubles) > 0 {
		m.Tone = chat.Notice
	}
	m.Note = chat.Plain("Alerts and requests are those that stood here. status says how mdebot is now.")
	return m
}

// digestSection names the first of n things, and says what lists the rest.
func digestSection(heading string, n int, command string, line func(i int) chat.Text) []chat.Section {
	if n == 0 {
		return nil
	}
	s := chat.Section{Heading: heading}
	for i := range min(n, digestLines) {
		s.Lines = append(s.Lines, line(i))
	}
	if more := n - digestLines; more > 0 {
		s.Lines = append(s.Lines, chat.Plain("and "+plural(more, "more", "more")+": type "+command))
	}
	return []chat.Section{s}
}

// requestCounts is how requests ended, in words.
func requestCounts(all []approvals.Request) string {
	counts := map[string]int{}
	for _, r := range all {
		switch r.State {
		case approvals.Pending:
			counts["waiting"]++
		case approvals.Approved, approvals.Executing, approvals.Submitted, approvals.Unknown:
			counts["under way"]++
		case approvals.Succeeded:
			counts["done"]++
		case approvals.Failed:
			counts["failed"]++
		case approvals.Denied:
			counts["denied"]++
		case approvals.Withdrawn:
			counts["withdrawn"]++
		case approvals.Expired:
			counts["expired"]++
		case approvals.Void:
			counts["void"]++
		}
	}
	var words []string
	for _, w := range []string{"waiting", "under way", "done", "failed", "denied", "withdrawn", "expired", "void"} {
		if counts[w] > 0 {
			words = append(words, strconv.Itoa(counts[w])+" "+w)
		}
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}
