package cards

import (
	"fmt"
	"strconv"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// IsolatedMachine is a machine that is, or may be, cut off.
type IsolatedMachine struct {
	MachineID, Name string
	Isolation       defender.Isolation
	// Owner is who asked for it, when mdebot knows, and Until the end that was
	// planned, or zero.
	Owner string
	Until time.Time
}

// state is "isolated (full)".
func (d IsolatedMachine) state() string {
	if d.Isolation.Scope == "" {
		return string(d.Isolation.State)
	}
	return string(d.Isolation.State) + " (" + d.Isolation.Scope + ")"
}

// owner is who answers for the isolation, as far as anything says so.
func (d IsolatedMachine) owner() string {
	if d.Owner != "" {
		return d.Owner
	}
	return ownerOf(d.Isolation.Action)
}

// Of is d with what the request behind it says: who asked, and the end that was
// planned. The zero request says nothing.
func (d IsolatedMachine) Of(r approvals.Request) IsolatedMachine {
	if r.Action != approvals.Isolate {
		return d
	}
	d.Owner = r.RequesterName
	for _, t := range r.Targets {
		if t.MachineAction == d.Isolation.Action.ID {
			d.Until = r.Until(t)
		}
	}
	return d
}

// forgottenShown is how many machines a list of forgotten ones names.
const forgottenShown = 25

// ForgottenIsolations lists machines that have been isolated for longer than after.
func ForgottenIsolations(machines []IsolatedMachine, after time.Duration, now time.Time) chat.Message {
	verb := " have"
	if len(machines) == 1 {
		verb = " has"
	}
	m := chat.Message{
		Title: chat.Plain(plural(len(machines), "machine", "machines") + verb + " been isolated for more than " + plural(int(after/(24*time.Hour)), "day", "days")),
		Tone:  chat.Notice,
		Note:  chat.Plain("Ask for a release where it has done its work: release <machine> <reason>. This list comes once a week, as long as there is something in it."),
		Menu:  &chat.Menu{Label: "Show a machine", Action: ActionShowMachine},
	}
	m.Preview = m.Title
	section := chat.Section{Heading: "The longest first"}
	for _, d := range machines[:min(len(machines), forgottenShown)] {
		section.Lines = append(section.Lines, isolatedLine(d, nil, now))
		m.Menu.Options = append(m.Menu.Options, chat.Option{Label: d.Name, Detail: d.MachineID, Value: d.MachineID})
	}
	if more := len(machines) - forgottenShown; more > 0 {
		section.Lines = append(section.Lines, chat.Plain("and "+plural(more, "more", "more")+": type isolated"))
	}
	m.Sections = []chat.Section{section}
	return m
}

// isolatedLine is one machine with its state, age, owner and planned end.
func isolatedLine(d IsolatedMachine, state chat.Text, now time.Time) chat.Text {
	planned := chat.Text(nil)
	if !d.Until.IsZero() {
		planned = sentence(chat.Plain("planned until"), chat.At(d.Until))
	}
	return dotted(sentence(outside(within(d.Name, roomForName)), code(d.MachineID)),
		sentence(state, chat.Plain("for "+age(now.Sub(d.Isolation.Since)))), sentence(chat.Plain("owner"), outside(within(d.owner(), roomForName))), planned)
}

// IsolatedList says who is cut off, for how long and by whom, as last known; the one
// that has been the longest comes first.
// Complete is false when older actions were not read.
func IsolatedList(machines []IsolatedMachine, complete bool, now time.Time) chat.Message {
	m := chat.Message{Note: chat.Plain("Worked out from Defender's machine actions: the last known state.")}
	if !complete {
		m.Note = chat.Join(m.Note, chat.Plain(" Not all actions could be read, so machines may be missing here."))
	}
	if len(machines) == 0 {
		m.Title = chat.Plain("No machine is isolated")
		m.Tone = chat.Good
		return m
	}
	m.Title = chat.Plain(plural(len(machines), "machine is", "machines are") + " isolated or changing")
	m.Tone = chat.Notice
	m.Table = &chat.Table{Caption: "Isolated machines", Columns: []string{"Machine", "State", "Owner", "Until", "Since", "Comment", "ID"}, Total: len(machines)}
	m.Menu = &chat.Menu{Label: "Show a machine", Action: ActionShowMachine}
	for i, d := range machines {
		state := d.state() + " for " + age(now.Sub(d.Isolation.Since))
		m.Table.Rows = append(m.Table.Rows, []string{
			d.Name, state, d.owner(), untilWord(d.Until, now), tableTime(d.Isolation.Since), d.Isolation.Action.Comment, d.MachineID,
		})
		if i < menuOptions {
			m.Menu.Options = append(m.Menu.Options, chat.Option{Label: d.Name, Detail: d.MachineID, Value: d.MachineID})
		}
	}
	return m
}

// untilWord is a planned end in a table cell.
func untilWord(until, now time.Time) string {
	switch {
	case until.IsZero():
		return "no end planned"
	case !until.After(now):
		return tableTime(until) + ", over"
	}
	return tableTime(until)
}

// IsolationOver reminds that the planned time of a request is over for some of its
// machines, which are still cut off. The button prepares the release, which needs
// two people like every other.
func IsolationOver(r approvals.Request, over []approvals.Target, mayRelease bool) chat.Message {
	what := chat.Plain(plural(len(over), "machine", "machines"))
	if len(over) == 1 {
		what = outside(within(over[0].Name, roomForTitle))
	}
	verb := " are"
	if len(over) == 1 {
		verb = " is"
	}
	m := chat.Message{
		Title: chat.Join(what, chat.Plain(verb+" still isolated, and the "+lasting(r.Timed())+fmt.Sprintf(" of #%d are over", r.Number))),
		Tone:  chat.Notice,
		Facts: []chat.Fact{
			{Label: "Owner", Value: outside(r.RequesterName)},
			{Label: "Why, in the requester's words", Value: outside(r.Reason)},
		},
		Note: chat.Plain("Nothing is released by itself. A second person must approve the release."),
	}
	m.Preview = m.Title
	section := chat.Section{Heading: "Machines"}
	value := AskValue{Of: r.ID}
	for _, t := range over {
		section.Lines = append(section.Lines, dotted(sentence(outside(within(t.Name, roomForTitle)), code(t.ID)),
			sentence(chat.Plain("isolated since"), chat.At(t.Updated)), sentence(chat.Plain("planned until"), chat.At(r.Until(t)))))
		value.Targets = append(value.Targets, t.Index)
	}
	m.Sections = []chat.Section{section}
	if len(over) == 1 {
		value = AskValue{Machine: over[0].ID, Of: r.ID}
	}
	if mayRelease {
		m.Buttons = append(m.Buttons, chat.Button{Label: "Request release", Action: ActionForm(approvals.Release), Value: value.String(), OpensForm: true})
	}
	m.Buttons = append(m.Buttons, chat.Button{Label: "Show the request #" + strconv.FormatInt(r.Number, 10), Action: ActionShowReq, Value: RequestValue(r.ID, r.Digest)})
	return m
}
