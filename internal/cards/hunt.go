package cards

import (
	"fmt"
	"strconv"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
)

// HuntView is the result of one hunting query.
type HuntView struct {
	Query   string
	Columns []string
	// Rows are the first rows; Total counts all that were received.
	Rows  [][]string
	Total int
	Took  time.Duration
	// Limit is the bound that mdebot added to the query, 0 when the query had its
	// own.
	Limit int
	// Cut says in words what ended the result early, or is "".
	Cut string
	// Retires is when the endpoint used stops working, or zero.
	Retires time.Time
	// CSV holds all received rows, or is nil.
	CSV *chat.File
}

// Hunt is the result of a hunting query: first rows, count, duration, what was
// left out, and the file with everything.
func Hunt(v HuntView) chat.Message {
	m := chat.Message{
		Title:    chat.Plain("Hunt: " + plural(v.Total, "row", "rows") + " in " + took(v.Took)),
		Sections: []chat.Section{{Heading: "Query", Lines: codeLines(v.Query), Folded: true}},
	}
	if v.Total == 0 {
		m.Title = chat.Plain("Hunt: nothing found, in " + took(v.Took))
		m.Note = chat.Plain("The query ran without error. Hunting data is some minutes behind and covers 30 days.")
	} else {
		m.Table = &chat.Table{Caption: "First rows", Columns: v.Columns, Rows: v.Rows, Total: v.Total}
	}
	if v.Limit > 0 && v.Total >= v.Limit {
		m.Facts = append(m.Facts, chat.Fact{Label: "Cut", Value: chat.Plain(fmt.Sprintf("at the %s rows that mdebot asks for; there may be more. Narrow the query or end it with your own limit.", strconv.Itoa(v.Limit)))})
	}
	if v.Cut != "" {
		m.Facts = append(m.Facts, chat.Fact{Label: "Cut", Value: chat.Plain(v.Cut)})
	}
	if !v.Retires.IsZero() {
		m.Facts = append(m.Facts, chat.Fact{Label: "Endpoint", Value: chat.Plain("Microsoft stops the one used here on " + v.Retires.UTC().Format("2 January 2006") + "; an admin grants ThreatHunting.Read.All on Microsoft Graph before then.")})
	}
	if v.CSV != nil {
		m.Files = []chat.File{*v.CSV}
	}
	return m
}

// HuntRunning is shown while a query runs.
func HuntRunning(rows int, elapsed time.Duration) chat.Message {
	t := "Hunting, " + elapsed.Round(time.Second).String() + " so far"
	if rows > 0 {
		t += ", " + plural(rows, "row", "rows") + " received"
	}
	return chat.Message{Title: chat.Plain(t + " …"), Tone: chat.Neutral}
}

// took is how long a query ran, as people say it.
func took(d time.Duration) string {
	if d < 10*time.Millisecond {
		return "less than 10ms"
	}
	return d.Round(10 * time.Millisecond).String()
}
