package cards

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// menuOptions is how many entries of a list can be chosen from its menu.
const menuOptions = 25

// tableTime is a time in a table cell, which is drawn as it stands.
func tableTime(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04") + " UTC"
}

// AlertList is a list of alerts, in the order given. What says which; more says that there are
// others beyond it.
func AlertList(alerts []defender.Alert, what chat.Text, more bool) chat.Message {
	m := chat.Message{Title: sentence(chat.Plain(plural(len(alerts), "alert", "alerts")), what)}
	if more {
		m.Title = sentence(chat.Plain("The newest "+plural(len(alerts), "alert", "alerts")), what)
		m.Note = chat.Plain("There are more; narrow the list with a severity, --since or --machine.")
	}
	if len(alerts) == 0 {
		m.Title = sentence(chat.Plain("No alerts"), what)
		m.Tone = chat.Good
		return m
	}
	m.Table = &chat.Table{Caption: "Alerts", Columns: []string{"Severity", "Title", "Machine", "Status", "Created", "ID"}, Total: len(alerts)}
	m.Menu = &chat.Menu{Label: "Show an alert", Action: ActionAlertShow}
	for i, a := range alerts {
		m.Table.Rows = append(m.Table.Rows, []string{string(a.Severity), a.Title, a.MachineName, a.Status, tableTime(a.Created), a.ID})
		if i < menuOptions {
			m.Menu.Options = append(m.Menu.Options, chat.Option{Label: string(a.Severity) + ": " + a.Title, Detail: a.MachineName, Value: a.ID})
		}
	}
	return m
}

// MachineList is a list of machines. What says which; more says that there are others beyond it.
func MachineList(machines []defender.Machine, what chat.Text, more bool) chat.Message {
	m := chat.Message{Title: sentence(chat.Plain(plural(len(machines), "machine", "machines")), what)}
	if len(machines) == 0 {
		m.Title = sentence(chat.Plain("No machines"), what)
		return m
	}
	if more {
		m.Title = sentence(chat.Plain("The first "+plural(len(machines), "machine", "machines")), what)
		m.Note = chat.Plain("There are more; narrow the list with a filter.")
	}
	m.Table = &chat.Table{Caption: "Machines", Columns: []string{"Name", "OS", "Health", "Risk", "Last seen", "Group", "ID"}, Total: len(machines)}
	m.Menu = &chat.Menu{Label: "Show a machine", Action: ActionShowMachine}
	for i, d := range machines {
		m.Table.Rows = append(m.Table.Rows, []string{d.Name, d.OS, d.Health, d.Risk, tableTime(d.LastSeen), d.Group, d.ID})
		if i < menuOptions {
			m.Menu.Options = append(m.Menu.Options, chat.Option{Label: d.Name, Detail: d.ID, Value: d.ID})
		}
	}
	return m
}

// Candidate is one of several machines a name may mean.
type Candidate struct {
	Machine     defender.Machine
	Users       []defender.User
	UsersUnread string
}

// ChooserView asks which of several machines is meant.
type ChooserView struct {
	Typed      string
	Candidates []Candidate
	// Prefix says that the name typed is only the beginning of the names found.
	Prefix bool
	// Action receives the choice; "" shows the candidates without a menu, when
	// the command has to be typed again.
	Action string
	// Next says what to do.
	Next string
}

// MachineChooser lists the machines a name may mean, with what tells them apart.
func MachineChooser(v ChooserView) chat.Message {
	n := plural(len(v.Candidates), "machine", "machines")
	title := chat.Join(chat.Untrusted(v.Typed), chat.Plain(" matches "+n))
	if v.Prefix {
		title = chat.Join(chat.Plain("No machine is called "), chat.Untrusted(v.Typed),
			chat.Plain("; "+plural(len(v.Candidates), "machine begins", "machines begin")+" with it"))
	}
	m := chat.Message{Title: title, Tone: chat.Notice, Note: chat.Plain(v.Next)}
	for i, c := range v.Candidates {
		d := c.Machine
		m.Sections = append(m.Sections, chat.Section{
			Heading: "Machine " + strconv.Itoa(i+1),
			Lines: []chat.Text{
				labelled("Name", outside(d.Name)),
				labelled("ID", code(d.ID)),
				labelled("Last seen", when(d.LastSeen)),
				labelled("Signed in", either(c.UsersUnread, users(c.Users))),
				labelled("Group", outside(d.Group)),
				labelled("Health", outside(d.Health)),
				labelled("OS", outside(d.OS)),
			},
		})
	}
	if v.Action != "" {
		m.Menu = &chat.Menu{Label: "Which one?", Action: v.Action}
		for _, c := range v.Candidates[:min(len(v.Candidates), menuOptions)] {
			m.Menu.Options = append(m.Menu.Options, chat.Option{
				Label: c.Machine.Name + " " + c.Machine.ID, Detail: "last seen " + tableTime(c.Machine.LastSeen), Value: c.Machine.ID,
			})
		}
	}
	return m
}

// age is how long something lasts, in its two largest units.
func age(d time.Duration) string {
	switch d = d.Truncate(time.Minute); {
	case d < time.Hour:
		return plural(int(d.Minutes()), "minute", "minutes")
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d d %d h", int(d.Hours())/24, int(d.Hours())%24)
}

// askedBy is how the comment of an action that mdebot started names who asked.
var askedBy = regexp.MustCompile(`^\s*\[mdebot:[0-9a-f-]{36}\] #[0-9]+ asked by ([^,\[\]]{1,80}),`)

// ownerOf is who asked for an action, as far as its comment says so; the requestor
// of what mdebot started is an application.
func ownerOf(a defender.MachineAction) string {
	if m := askedBy.FindStringSubmatch(a.Comment); m != nil {
		return m[1]
	}
	return a.Requestor
}
