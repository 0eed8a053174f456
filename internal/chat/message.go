package chat

import (
	"slices"
	"strings"

	"github.com/mdebot/mdebot/internal/identity"
)

// Tone says how a message feels, without relying on colour: renderers add a
// word or a symbol beside it.
type Tone string

// The tones.
const (
	Neutral Tone = ""
	Good    Tone = "good"    // done, released, recovered
	Notice  Tone = "notice"  // something waits for somebody
	Warning Tone = "warning" // medium severity, attention
	Danger  Tone = "danger"  // high severity, destructive, failed
)

// Message is what mdebot says, on any platform. One renderer per platform draws
// it and keeps that platform's limits; a Message that draws the same facts on
// both is the only kind there is.
type Message struct {
	// Preview is the one line that a lock screen and a screen reader get first.
	// Empty means Title.
	Preview Text
	Title   Text
	Tone    Tone
	// Facts are labelled values, in order of importance. Labels are our words.
	Facts []Fact
	// Sections follow the facts.
	Sections []Section
	Table    *Table
	Picture  *Picture
	// Menu lets the reader choose one of several, such as machines that share a
	// name.
	Menu    *Menu
	Buttons []Button
	// Mentions are notified when the message is posted, not when it is edited.
	Mentions []Mention
	// Views says that the message differs by who looks at it, or is nil.
	Views *Views
	// Note is small print at the end.
	Note Text
	// Files are sent beside the message where the platform allows; elsewhere the
	// renderer says in words what was left out.
	Files []File
}

// FirstLine is what a lock screen, a list of conversations and a screen reader get
// first: one line, and never an empty one.
func (m Message) FirstLine() Text {
	for _, t := range []Text{m.Preview, m.Title} {
		if line := t.oneLine(); strings.TrimSpace(line.String()) != "" {
			return line
		}
	}
	return Plain("mdebot")
}

// ForAll is m as several people may see it: without the buttons for one alone.
func (m Message) ForAll() Message {
	alone := func(b Button) bool { return b.Alone }
	if slices.ContainsFunc(m.Buttons, alone) {
		m.Buttons = slices.DeleteFunc(slices.Clone(m.Buttons), alone)
	}
	return m
}

// Views are for a message of which some people see a version of their own, such as
// without the buttons that would refuse them. A platform that can asks for it by an
// [Invocation] of kind [View] with Action and Value. Everybody else, and everybody
// where that cannot be had, sees the message itself, which lacks nothing.
type Views struct {
	Action string
	Value  string
	// For are the accounts of those people, the most concerned first. Of more than a
	// platform takes, the last see the message itself.
	For []identity.Principal
}

// Fact is a labelled value.
type Fact struct {
	Label string
	Value Text
}

// Section is a paragraph or list under an optional heading.
type Section struct {
	Heading string
	Lines   []Text
	// Folded sections may start collapsed or be cut first when a limit is near;
	// nothing an approver needs is ever folded (threat-model A-03).
	Folded bool
}

// Table is a small table. Cells are outside text unless a caller says otherwise
// by building Text itself; columns and rows beyond a platform's limit are
// counted in a visible line.
type Table struct {
	Caption string
	Columns []string
	Rows    [][]string // all cells are untrusted
	// Total is the number of rows there are, when Rows holds only the first.
	Total int
}

// Picture is a PNG with its text alternative.
type Picture struct {
	PNG []byte
	Alt string
	// Chart is what the picture shows, for platforms that draw charts themselves, or
	// nil.
	Chart *Chart
}

// Chart is a time series or a ranking.
type Chart struct {
	Title string
	// Lines connect the values of each series; otherwise they are bars.
	Lines  bool
	Points []string // the moments or the things that are ranked
	Series []Series
}

// Series is one line of a chart, or all of its bars. Its values stand beside the
// points of the chart.
type Series struct {
	Name   string
	Values []float64
}

// Style is how a button looks.
type Style string

// The styles.
const (
	StyleDefault Style = ""
	StylePrimary Style = "primary"
	StyleDanger  Style = "danger"
)

// Button either opens URL in a browser or sends an [Invocation] with Action and
// Value. Value is an opaque key to something stored; every fact behind it comes
// from the store (threat-model S-17, T-16).
type Button struct {
	Label  string
	Action string
	Value  string
	URL    string
	Style  Style
	// Confirm asks once more before the click counts.
	Confirm *Confirm
	// Whole buttons are drawn only when nothing of the message had to be left out
	// to fit: nobody is offered a decision about what they cannot see.
	Whole bool
	// Alone buttons are drawn only on what nobody but the asker sees.
	Alone bool
	// OpensForm says that the answer to this button is a [Form]. Teams needs to
	// know beforehand.
	OpensForm bool
}

// Confirm is the question asked before a button counts.
type Confirm struct {
	Title string
	Text  Text
	Yes   string
	No    string
}

// Menu is a choice of one. A choice sends an [Invocation] with Action and the
// option's Value.
type Menu struct {
	Label   string
	Action  string
	Options []Option
}

// Option is one entry of a menu or select field. Label and Detail are outside
// text and drawn literally.
type Option struct {
	Label  string
	Detail string
	Value  string
}

// Form asks for what a command still needs. Submitting it sends an
// [Invocation] of kind [Submit] with Action, Value and Fields.
type Form struct {
	Action string
	Value  string // opaque, returned with the fields
	Title  string // at most 24 characters
	Intro  Text
	Fields []Field
	Submit string // the button; at most 24 characters
}

// FieldKind is the kind of input.
type FieldKind string

// The kinds of input.
const (
	FieldLine   FieldKind = "line"
	FieldArea   FieldKind = "area"
	FieldSelect FieldKind = "select"
	// FieldSearch is a select whose options are asked for as the person types:
	// an [Invocation] of kind [Suggest] with Action = the field's Search, Value = the
	// form's and Text = what was typed so far. Only what was suggested can be
	// submitted, as far as a client keeps to it.
	FieldSearch FieldKind = "search"
)

// Field is one input of a form.
type Field struct {
	ID          string
	Label       string
	Kind        FieldKind
	Hint        string
	Placeholder string
	Initial     string
	Options     []Option
	Search      string
	Optional    bool
	MaxLength   int
}

// File is a small file, such as a CSV, held in memory.
type File struct {
	Name    string // safe: letters, digits, dots, dashes
	Type    string // media type
	Content []byte
}
