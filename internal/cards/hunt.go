package cards

import (
	"fmt"
	"strconv"
	"strings"
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
	// Saved is the name of the saved hunt that ran, or "".
	Saved string
	// Left of PerHour hunts the asker has.
	Left, PerHour int
	Picture       *chat.Picture
}

// Hunt is the result of a hunting query: first rows, count, duration, what was
// left out, and the file with everything.
func Hunt(v HuntView) chat.Message {
	m := chat.Message{
		Title: chat.Plain("Hunt: " + plural(v.Total, "row", "rows") + " in " + took(v.Took)),
		// A short query is always in sight.
		Sections: []chat.Section{{Heading: queryHeading, Lines: codeLines(v.Query), Folded: strings.Count(v.Query, "\n") >= queryInSight}},
		Picture:  v.Picture,
	}
	if v.Saved != "" {
		m.Facts = append(m.Facts, chat.Fact{Label: "Saved hunt", Value: chat.Untrusted(v.Saved)})
	}
	if v.PerHour > 0 {
		m.Facts = append(m.Facts, chat.Fact{Label: "Quota", Value: chat.Plain(fmt.Sprintf("%d of your %d hunts of this hour are used", v.PerHour-v.Left, v.PerHour))})
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
		m.Facts = append(m.Facts, retiresFact(v.Retires))
	}
	if v.CSV != nil {
		m.Files = []chat.File{*v.CSV}
	}
	return m
}

func retiresFact(at time.Time) chat.Fact {
	return chat.Fact{Label: "Endpoint", Value: chat.Plain("Microsoft stops the one used here on " + at.UTC().Format("2 January 2006") + "; an admin grants ThreatHunting.Read.All on Microsoft Graph before then.")}
}

const queryHeading = "Query"

// queryInSight is how many lines of a query are shown unfolded.
const queryInSight = 12

// HuntRunning is shown while a query runs. key names it for the one who may
// cancel it.
func HuntRunning(rows int, elapsed time.Duration, key string) chat.Message {
	t := "Hunting, " + elapsed.Round(time.Second).String() + " so far"
	if rows > 0 {
		t += ", " + plural(rows, "row", "rows") + " received"
	}
	return chat.Message{
		Title: chat.Plain(t + " …"), Tone: chat.Neutral,
		Buttons: []chat.Button{{Label: "Cancel", Action: ActionHuntCancel, Value: key}},
	}
}

// HuntingTenants is shown while several tenants are hunted in.
func HuntingTenants(answered, tenants int, elapsed time.Duration, key string) chat.Message {
	return chat.Message{
		Title:   chat.Plain(fmt.Sprintf("Hunting, %s so far: %d of %s answered …", elapsed.Round(time.Second), answered, plural(tenants, "tenant", "tenants"))),
		Buttons: []chat.Button{{Label: "Cancel", Action: ActionHuntCancel, Value: key}},
	}
}

// SavedHunt is a saved hunt as a list shows it.
type SavedHunt struct {
	Name, Description, Params string
	May                       bool // the asker may run it
}

// PastHunt is a hunt that somebody may run again.
type PastHunt struct {
	ID, What string
	At       time.Time
}

// HuntList is the saved hunts, those that run by themselves, and the asker's own last
// ones.
func HuntList(saved []SavedHunt, scheduled []ScheduleView, past []PastHunt) chat.Message {
	m := chat.Message{
		Title: chat.Plain(plural(len(saved), "saved hunt", "saved hunts")),
		Table: &chat.Table{Caption: "Saved hunts", Columns: []string{"Hunt", "Finds", "Takes", "You may"}, Total: len(saved)},
		Menu:  &chat.Menu{Label: "Run a hunt", Action: ActionHuntPick},
		Note:  chat.Plain("hunt run <name> runs one and asks for what it takes."),
	}
	for _, h := range saved {
		may := "no"
		if h.May {
			may = "yes"
			if len(m.Menu.Options) < menuOptions {
				m.Menu.Options = append(m.Menu.Options, chat.Option{Label: h.Name, Detail: h.Description, Value: h.Name})
			}
		}
		m.Table.Rows = append(m.Table.Rows, []string{h.Name, h.Description, h.Params, may})
	}
	if len(m.Menu.Options) == 0 {
		m.Menu = nil
	}
	if len(scheduled) > 0 {
		m.Sections = append(m.Sections, chat.Section{Heading: "Scheduled: told when something is new", Lines: scheduleLines(scheduled)})
	}
	if len(past) > 0 {
		s := chat.Section{Heading: "Your last hunts"}
		for i, h := range past {
			s.Lines = append(s.Lines, chat.Join(chat.Plain(fmt.Sprintf("%d. ", i+1)), when(h.At), chat.Plain(" · "), chat.Code(within(h.What, 120))))
			m.Buttons = append(m.Buttons, chat.Button{Label: fmt.Sprintf("Run %d again", i+1), Action: ActionHuntAgain, Value: h.ID})
		}
		m.Sections = append(m.Sections, s)
	}
	return m
}

// took is how long a query ran, as people say it.
func took(d time.Duration) string {
	if d < 10*time.Millisecond {
		return "less than 10ms"
	}
	return d.Round(10 * time.Millisecond).String()
}
