package commands

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
)

// Access says who may use a command before roles are looked at.
type Access int

// The kinds of access.
const (
	// NeedsRole: linked people who hold the Spec's Role; with an empty Role, every
	// linked person.
	NeedsRole Access = iota
	// ReadersToo: as NeedsRole, and full members of the workspace in a
	// conversation that mdebot.yaml lists under readers.
	ReadersToo
	// AnyMember: full members of the workspace, linked or not.
	AnyMember
	// Anybody: also guests. Only for what tells people about themselves.
	Anybody
)

// Spec is one command: what it is called, who may use it, and what it does.
type Spec struct {
	Name    string
	Aliases []string
	// Usage is the command without "/mde": "machine <name|id|ip>".
	Usage   string
	Summary string
	Role    identity.Role
	Access  Access
	// Permissions is what the Defender token must have: of every entry at least
	// one name.
	Permissions [][]string
	Flags       []Flag
	// Examples are without "/mde".
	Examples []string
	Audience chat.Audience
	// Changes marks commands that change something: they are recorded and a
	// repeated delivery of one does nothing.
	Changes bool
	// SecondPerson marks commands that only ask; another person decides. With
	// SecondByRule that is so only where a rule says it.
	SecondPerson, SecondByRule bool

	// verbatim hands the text after the name to the handler untouched.
	verbatim bool
	// limit bounds how long the work may take; 0 means a minute.
	limit time.Duration
	// busy says what is being done; nil has a general sentence.
	busy func(c *call) chat.Text
	// asks tells from the text alone that form is needed.
	asks func(c *call) bool
	// form returns what still has to be asked, or nil to go on.
	form func(r *Router, ctx context.Context, c *call) (*chat.Form, error)
	run  handler
}

// handler does the work of an authorised call.
type handler func(r *Router, ctx context.Context, c *call) (chat.Message, error)

// Flag is one flag of a command.
type Flag struct {
	Name    string // without dashes
	Value   string // what it takes, as in the usage: "24h"; "" = nothing
	Summary string
	// rest takes all words up to the next flag.
	rest bool
}

// Permissions that more than one command needs.
var (
	readAlerts   = []string{defender.PermissionAlertRead}
	writeAlerts  = []string{defender.PermissionAlertWrite}
	readMachines = []string{defender.PermissionMachineRead}
	hunting      = []string{defender.PermissionHuntGraph, defender.PermissionHuntDefender}

	readIncidents  = []string{defender.PermissionIncidentRead}
	writeIncidents = []string{defender.PermissionIncidentWrite}
)

var publicFlag = Flag{Name: "public", Summary: "show the answer to everyone here"}

// topic is what commands are about.
type topic struct {
	name  string
	specs []Spec
}

// topics are all commands, in the order of help.
func topics() []topic {
	return []topic{
		{"Alerts", slices.Concat(alertSpecs(), muteSpecs())},
		{"Machines", machineSpecs()},
		{"Acting on machines", slices.Concat(actSpecs(), actionSpecs(), portalSpecs())},
		{"Blocking", indicatorSpecs()},
		{"Hunting", huntSpecs()},
		{"Looking up", slices.Concat(lookupSpecs(), postureSpecs())},
		{"Requests", slices.Concat(requestSpecs(), freezeSpecs())},
		{"You and mdebot", slices.Concat(tenantSpecs(), linkSpecs(), aboutSpecs())},
	}
}

// Specs returns all commands, in the order of help.
func Specs() []Spec {
	var all []Spec
	for _, t := range topics() {
		all = append(all, t.specs...)
	}
	return all
}

// withPrefix is a usage or example as it is typed where form works.
func withPrefix(form, text string) string { return strings.TrimPrefix(form+" "+text, " ") }

// names are all names a Spec answers to.
func (s Spec) names() []string { return append([]string{s.Name}, s.Aliases...) }

// flag finds a flag of s by its name in lower case.
func (s Spec) flag(name string) (Flag, bool) {
	i := slices.IndexFunc(s.Flags, func(f Flag) bool { return f.Name == name })
	if i < 0 {
		return Flag{}, false
	}
	return s.Flags[i], true
}

// nearest is the candidate that typed was probably meant to be, or "".
func nearest(typed string, candidates []string) string {
	best, distance := "", 3
	if len(typed) <= 3 {
		distance = 2
	}
	for _, c := range candidates {
		if d := edits(strings.ToLower(typed), c); d < distance {
			best, distance = c, d
		}
	}
	return best
}

// edits counts the insertions, deletions, replacements and swaps of neighbours
// between a and b.
func edits(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > 32 {
		return len(x)
	}
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			replace := rows[i-1][j-1]
			if x[i-1] != y[j-1] {
				replace++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, replace)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(x)][len(y)]
}
