package cards

import (
	"strconv"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
)

// HuntRun is one run of a scheduled hunt, as far as it got.
type HuntRun struct {
	Query   string
	Columns []string
	Rows    [][]string // all that were received
	Took    time.Duration
	// Cut says in words what ended the result early, or is "".
	Cut string
	// Retires is when the endpoint used stops working, or zero.
	Retires time.Time
	// Trouble is why there is no result, or nil.
	Trouble *HuntTrouble
}

// HuntTrouble is why a scheduled hunt does not run.
type HuntTrouble struct {
	Sentence, Next chat.Text
	Lines          []chat.Text // between the two
	// Passing may be over without anybody's doing; Wait is how long at least, if known.
	Passing bool
	Wait    time.Duration
}

// ScheduleView is a scheduled hunt as it stands.
type ScheduleView struct {
	Name, Hunt string
	// When is its rhythm in words.
	When string
	// Values are those of its hunt's parameters, in words, and Span how far back it
	// looks.
	Values string
	Span   time.Duration
	Owner  string
	To     []string

	Began, Last, Next time.Time
	// Found rows were in the last result, Fresh of them new; FreshAt is when something
	// new was told last.
	Found, Fresh int
	FreshAt      time.Time
	// Failing is since when it fails, and Problem why. What may pass by itself is told
	// to people after a while.
	Failing     time.Time
	FailingTold bool
	Problem     string
}

// HuntFound is what a scheduled hunt has to tell.
type HuntFound struct {
	ScheduleView
	HuntRun
	// First is the first run, whose rows count as known from then on.
	First bool
	// New are the rows to tell.
	New [][]string
	// CSV holds the new rows, or is nil.
	CSV *chat.File
}

// rowsTold is how many rows the message shows; the file has all.
const rowsTold = 10

// ScheduledHunt tells what is new, or at the first run what there is already.
func ScheduledHunt(v HuntFound) chat.Message {
	name := chat.Untrusted(v.Name)
	m := chat.Message{Tone: chat.Notice}
	caption := "New rows"
	switch {
	case v.First && len(v.Rows) == 0:
		m.Tone = chat.Neutral
		m.Title = chat.Join(chat.Plain("Scheduled hunt "), name, chat.Plain(" has begun: nothing is there yet"))
	case v.First:
		m.Tone = chat.Neutral
		m.Title = chat.Join(chat.Plain("Scheduled hunt "), name, chat.Plain(" has begun: "+plural(len(v.New), "row is", "rows are")+" there already"))
		caption = "There already"
	case len(v.New) == 0:
		m.Tone = chat.Warning
		m.Title = chat.Join(chat.Plain("Scheduled hunt "), name, chat.Plain(": nothing new, and its result is cut"))
	default:
		m.Title = chat.Join(chat.Plain("Scheduled hunt "), name, chat.Plain(": "+plural(len(v.New), "new row", "new rows")))
	}
	m.Preview = m.Title
	if v.First {
		m.Facts = append(m.Facts, chat.Fact{Label: "From now on", Value: chat.Plain("only what is new is told. What is there by now counts as known.")})
	}
	m.Facts = append(m.Facts,
		chat.Fact{Label: "Saved hunt", Value: v.typed()},
		chat.Fact{Label: "Runs", Value: chat.Join(chat.Plain(v.When+", for "), outside(v.Owner))},
		chat.Fact{Label: "This run", Value: chat.Plain(plural(len(v.Rows), "row", "rows") + " in " + took(v.Took))},
	)
	if v.Cut != "" {
		m.Facts = append(m.Facts, chat.Fact{Label: "Cut", Value: chat.Plain(v.Cut)})
	}
	if !v.Retires.IsZero() {
		m.Facts = append(m.Facts, retiresFact(v.Retires))
	}
	if len(v.New) > 0 {
		m.Table = &chat.Table{Caption: caption, Columns: v.Columns, Rows: v.New[:min(len(v.New), rowsTold)], Total: len(v.New)}
	}
	m.Sections = []chat.Section{{Heading: queryHeading, Lines: codeLines(v.Query), Folded: true}}
	if v.CSV != nil {
		m.Files = []chat.File{*v.CSV}
	}
	m.Note = chat.Join(chat.Plain("hunt run "), v.typed(), chat.Plain(" --span "+spanWords(v.Span)+" shows all of it to you alone."))
	return m
}

// typed is what stands after "hunt run" when somebody asks for the same.
func (v ScheduleView) typed() chat.Text {
	if v.Values == "" {
		return chat.Untrusted(v.Hunt)
	}
	return chat.Untrusted(v.Hunt + " " + v.Values)
}

// ScheduledHuntFails tells once that a scheduled hunt tells nothing any more, and why.
func ScheduledHuntFails(v ScheduleView, t HuntTrouble) chat.Message {
	m := chat.Message{
		Title: chat.Join(chat.Plain("Scheduled hunt "), chat.Untrusted(v.Name), chat.Plain(" does not run")),
		Tone:  chat.Warning,
		Facts: []chat.Fact{
			{Label: "Since", Value: when(v.Failing)},
			{Label: "Saved hunt", Value: v.typed()},
		},
		Note: t.Next,
	}
	if !v.Last.IsZero() {
		m.Facts = append(m.Facts, chat.Fact{Label: "Last good run", Value: when(v.Last)})
	}
	m.Preview = m.Title
	lines := append([]chat.Text{t.Sentence}, t.Lines...)
	lines = append(lines, chat.Plain("It is tried again by itself, and it is told here when it runs again. Nothing that comes up meanwhile is lost as long as the hunt looks back that far."))
	m.Sections = []chat.Section{{Heading: "Why", Lines: lines}}
	return m
}

// ScheduledHuntWell tells that a scheduled hunt runs again.
func ScheduledHuntWell(v ScheduleView, since time.Time) chat.Message {
	m := chat.Message{
		Title: chat.Join(chat.Plain("Scheduled hunt "), chat.Untrusted(v.Name), chat.Plain(" runs again")),
		Tone:  chat.Good,
		Facts: []chat.Fact{{Label: "Did not run since", Value: when(since)}},
	}
	m.Note = chat.Plain("It looks back " + spanWords(v.Span) + ". Hunt by hand for what is older than that.")
	m.Preview = m.Title
	return m
}

// spanWords is a span as people type it.
func spanWords(d time.Duration) string {
	switch {
	case d%(24*time.Hour) == 0:
		return strconv.Itoa(int(d/(24*time.Hour))) + "d"
	case d%time.Hour == 0:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	}
	return strconv.Itoa(int(d/time.Minute)) + "m"
}

// scheduleLines list what runs by itself, for hunt list.
func scheduleLines(all []ScheduleView) []chat.Text {
	var lines []chat.Text
	for _, v := range all {
		var state chat.Text
		switch {
		case !v.Failing.IsZero():
			state = chat.Join(chat.Plain("fails since "), when(v.Failing), chat.Plain(": "), outside(within(v.Problem, 200)))
		case v.Last.IsZero():
			state = chat.Plain("has not run yet")
		default:
			state = chat.Join(chat.Plain("last run "), when(v.Last), chat.Plain(", "+plural(v.Found, "row", "rows")+", "+strconv.Itoa(v.Fresh)+" new"))
		}
		var found, problem chat.Text
		if !v.FreshAt.IsZero() {
			found = chat.Join(chat.Plain("last found something "), when(v.FreshAt))
		}
		if v.Failing.IsZero() && v.Problem != "" {
			problem = outside(within(v.Problem, 200))
		}
		lines = append(lines, dotted(chat.Untrusted(v.Name), v.typed(), chat.Plain(v.When), sentence(chat.Plain("to"), chat.Code(strings.Join(v.To, " "))), state, found, problem,
			sentence(chat.Plain("next run"), when(v.Next))))
	}
	return lines
}
