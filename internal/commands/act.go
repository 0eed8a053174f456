package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
)

// maxTargets is how many machines one request may name.
const maxTargets = 25

// lookUps is how many machines are looked up at a time: one request leaves quota
// for others.
const lookUps = 4

// machineAction is a command that asks for an action of the registry on machines.
type machineAction struct {
	kind           string // also its name
	usage, summary string
	flags          []Flag // beside --reason
	examples       []string
	// title and intro are those of its form.
	title, intro string
	// single: it takes one machine.
	single bool
	// unmanaged: it is for devices that are not onboarded, as others are for those
	// that are.
	unmanaged bool
	// leads is how many words before the machines belong to the action.
	leads int
	// words reads parameters from the leading words and the flags; nil when there are
	// none.
	words func(c *call, leading []token) (map[string]string, error)
	// option reads one from a word behind the machines.
	option func(word string) (name, value string, ok bool)
	// reason is what stands for words that were not given; "" asks for them.
	reason string
	// fields are asked for in its form beside the reason.
	fields func(params map[string]string) []chat.Field
	// about reads what an approver must know beside the machine, once for all of
	// them, and returns what adds it to the facts of one.
	about func(ctx context.Context, r *Router, params map[string]string) (func(m defender.Machine, f *cards.TargetFacts), error)
	// already says after the machine's name why the action makes no sense at the
	// moment, and which action says so, or nothing.
	already func(actions []defender.MachineAction) (state string, by defender.MachineAction)
}

func machineActions() []machineAction {
	return []machineAction{
		{
			kind: approvals.Isolate, usage: "isolate <machine>… <reason> [--selective] [--for 4h]",
			summary: "Ask to cut machines off the network; a second person must approve.",
			flags: []Flag{
				{Name: "selective", Summary: "leave Outlook, Teams and Skype for Business connected"},
				{Name: "for", Value: "4h", Summary: "how long it is planned to last, 15m to 7d: then you are reminded with a prepared release, and nothing is released by itself"},
			},
			examples: []string{"isolate ws-042 beaconing, see alert da637472900382838869_1364969609", "isolate ws-042,ws-043 --reason ransom note --selective", "isolate ws-042 phished, until the mail is cleaned up --for 4h"},
			title:    "Request isolation", intro: "The machine loses all network but Defender. A second person must approve.",
			words: isolationWords, fields: isolationFields, already: isolatedAlready,
		},
		{
			kind: approvals.Release, usage: "release <machine>… <reason>",
			summary:  "Ask to give machines their network back; a second person must approve.",
			examples: []string{"release ws-042 cleaned and patched"},
			title:    "Request release", intro: "The machine gets its network back. A second person must approve.",
			already: releasedAlready,
		},
		{
			kind: approvals.Contain, usage: "contain <device>… <reason>",
			summary:  "Ask that onboarded machines refuse to talk to a device that is not onboarded; a second person must approve.",
			examples: []string{"contain printer-3 answers on a port it should not"},
			title:    "Request containment", intro: "Onboarded machines refuse to talk to the device. A second person must approve. It is ended in the Defender portal.",
			unmanaged: true, already: isolatedAlready,
		},
		{
			kind: approvals.Restrict, usage: "restrict <machine>… <reason>",
			summary:  "Ask to let machines run only programs that Microsoft signed; a second person must approve.",
			examples: []string{"restrict ws-042 unknown loader keeps coming back"},
			title:    "Request restriction", intro: "The machine runs only programs that Microsoft signed. A second person must approve.",
			already: restrictedAlready,
		},
		{
			kind: approvals.Unrestrict, usage: "unrestrict <machine>… <reason>",
			summary:  "Ask to let machines run all programs again; a second person must approve.",
			examples: []string{"unrestrict ws-042 cleaned and patched"},
			title:    "Request unrestriction", intro: "The machine runs all programs again. A second person must approve.",
			already: unrestrictedAlready,
		},
		{
			kind: approvals.Scan, usage: "scan <machine>… [quick|full] [reason]",
			summary:  "Scan machines with Defender Antivirus; a second person only where a rule asks for one.",
			examples: []string{"scan ws-042", "scan ws-042,ws-043 full odd file in temp"},
			title:    "Scan", intro: "Defender Antivirus scans the machine.",
			option: scanOption, reason: "Scan asked for without further words.", fields: scanFields,
			already: underWay(defender.Scan, " is being scanned at the moment."),
		},
		{
			kind: approvals.Quarantine, usage: "quarantine <sha1> <machine>… <reason>",
			summary:  "Ask to stop a file on machines and put it into quarantine; a second person must approve.",
			examples: []string{"quarantine 87662bc3d60e4200ceaf7aae249d1c343f4b83c9 ws-042,ws-043 dropped by the loader"},
			title:    "Request quarantine", intro: "The machine stops the file and puts it into quarantine. A second person must approve.",
			leads: 1, words: quarantineWords, about: aboutFile,
			already: underWay(defender.Quarantine, " is putting a file into quarantine at the moment."),
		},
		{
			kind: approvals.Package, usage: "package <machine> <reason>",
			summary:  "Ask to collect an investigation package; a second person must approve, and the link is for you alone.",
			examples: []string{"package ws-042 traces of the loader"},
			title:    "Request package", intro: "The machine packs its traces for you to download. A second person must approve.",
			single: true, already: underWay(defender.CollectPackage, " is collecting a package at the moment."),
		},
	}
}

// tagAction is the change of a tag that a rule reads; its command is [Router.tag].
var tagAction = machineAction{
	kind: approvals.Tag, title: "Request a change of tags",
	intro: "A rule reads this tag, so it changes who must approve. A second person must approve the change.",
}

// machineActionNamed is the machine action that a command asks for; empty when it
// asks for something else.
func machineActionNamed(kind string) machineAction {
	for _, a := range append(machineActions(), tagAction) {
		if a.kind == kind {
			return a
		}
	}
	return machineAction{}
}

func actSpecs() []Spec {
	reason := Flag{Name: "reason", Value: "<why>", Summary: "the reason; the same as the words after the machines", rest: true}
	var specs []Spec
	for _, a := range machineActions() {
		entry := registry[a.kind]
		alone := entry.Alone(entry.Defaults())
		specs = append(specs, Spec{
			Name: a.kind, Usage: a.usage, Summary: a.summary, Role: entry.Role,
			Permissions: [][]string{{entry.Permission}, readMachines},
			Changes:     true, SecondPerson: !alone, SecondByRule: alone,
			Flags: append(slices.Clone(a.flags), reason), Examples: a.examples,
			busy: askingFor, asks: lacksWords, form: (*Router).missingWords, run: (*Router).act,
		})
	}
	return specs
}

var registry = approvals.Actions()

func askingFor(c *call) chat.Text {
	if c.spec.SecondByRule {
		return chat.Plain("Looking up the machines …")
	}
	return chat.Plain("Looking up the machines and asking for approval …")
}

func isolationWords(c *call, _ []token) (map[string]string, error) {
	params := map[string]string{"scope": "full"}
	if c.flags["selective"] != "" {
		params["scope"] = "selective"
	}
	text, given := c.flags["for"]
	if !given {
		return params, nil
	}
	d, ok := parseAge(text)
	switch {
	case !ok:
		return nil, usageError(c, "--for takes a number with m, h or d, such as 90m, 4h or 2d.")
	case d < approvals.TimedLeast:
		return nil, usageError(c, "--for is at least 15m: an isolation takes some minutes to arrive.")
	case d > approvals.TimedMost:
		return nil, usageError(c, "--for is at most 7d. Leave it out for an isolation without a planned end; isolated lists those.")
	}
	params["for"] = approvals.FormatTimed(d)
	return params, nil
}

// noEnd is the choice of a form that plans no end.
const noEnd = "open"

// timedField asks how long an isolation is planned to last.
func timedField(typed string) chat.Field {
	f := chat.Field{
		ID: cards.FieldFor, Label: "For", Kind: chat.FieldSelect, Initial: noEnd,
		Hint: "You are reminded when the time is over. Nothing is released by itself.",
		Options: []chat.Option{
			{Label: "Until somebody asks for its release", Value: noEnd},
			{Label: "1 hour", Value: "1h"},
			{Label: "4 hours", Value: "4h"},
			{Label: "8 hours", Value: "8h"},
			{Label: "1 day", Value: "1d"},
			{Label: "3 days", Value: "3d"},
		},
	}
	if typed == "" {
		return f
	}
	f.Initial = typed
	if !slices.ContainsFunc(f.Options, func(o chat.Option) bool { return o.Value == typed }) {
		f.Options = append(f.Options, chat.Option{Label: typed, Value: typed})
	}
	return f
}

func isolationFields(params map[string]string) []chat.Field {
	return []chat.Field{{
		ID: cards.FieldScope, Label: "Type", Kind: chat.FieldSelect, Initial: params["scope"],
		Options: []chat.Option{
			{Label: "Full", Detail: "everything but Defender", Value: "full"},
			{Label: "Selective", Detail: "leaves Outlook, Teams and Skype for Business", Value: "selective"},
		},
	}, timedField(params["for"])}
}

func scanOption(word string) (name, value string, ok bool) {
	value, ok = oneOfFold(word, registry[approvals.Scan].Params["scope"].Values)
	return "scope", value, ok
}

func scanFields(params map[string]string) []chat.Field {
	return []chat.Field{{
		ID: cards.FieldScope, Label: "Type", Kind: chat.FieldSelect, Initial: params["scope"],
		Options: []chat.Option{
			{Label: "Quick", Detail: "where malware usually is", Value: "quick"},
			{Label: "Full", Detail: "every file; may take hours", Value: "full"},
		},
	}}
}

func isolatedAlready(actions []defender.MachineAction) (string, defender.MachineAction) {
	now := defender.IsolationOf(actions)
	switch now.State {
	case defender.Isolated:
		return " is isolated already, as last known.", now.Action
	case defender.Isolating:
		return " is being isolated at the moment.", now.Action
	default:
		return "", now.Action
	}
}

func releasedAlready(actions []defender.MachineAction) (string, defender.MachineAction) {
	now := defender.IsolationOf(actions)
	switch {
	case now.State == defender.Releasing:
		return " is being released at the moment.", now.Action
	case now.State == defender.NotIsolated && now.Action.ID != "":
		return " is released already, as last known.", now.Action
	}
	return "", now.Action
}

func restrictedAlready(actions []defender.MachineAction) (string, defender.MachineAction) {
	now := defender.RestrictionOf(actions)
	switch now.State {
	case defender.Restricted:
		return " is restricted already, as last known.", now.Action
	case defender.Restricting:
		return " is being restricted at the moment.", now.Action
	default:
		return "", now.Action
	}
}

func unrestrictedAlready(actions []defender.MachineAction) (string, defender.MachineAction) {
	now := defender.RestrictionOf(actions)
	switch {
	case now.State == defender.Unrestricting:
		return " is being unrestricted at the moment.", now.Action
	case now.State == defender.NotRestricted && now.Action.ID != "":
		return " is unrestricted already, as last known.", now.Action
	}
	return "", now.Action
}

// underWay is for actions of which a machine takes one at a time and that leave no
// state behind.
func underWay(kind defender.MachineActionType, state string) func([]defender.MachineAction) (string, defender.MachineAction) {
	return func(actions []defender.MachineAction) (string, defender.MachineAction) {
		for _, a := range actions {
			if a.Type == kind && !a.Status.Final() {
				return state, a
			}
		}
		return "", defender.MachineAction{}
	}
}

// order is what a command says that asks for an action on machines.
type order struct {
	machines []string // as typed
	reason   string
	params   map[string]string
}

// orderOf separates machines from the reason. The first word is a machine, and
// so is each following one that can only be one: an ID, an address, or a host
// name with a digit. The first other word begins the reason. Commas join
// machines, quotes begin the reason, and with --reason every word is a machine.
// Every machine in the answer is a literal part of what was typed.
func orderOf(c *call) (order, error) {
	a := machineActionNamed(c.spec.Name)
	o := order{reason: c.flags["reason"]}
	_, named := c.flags["reason"]
	lead := min(a.leads, len(c.args))
	var err error
	if a.words != nil {
		o.params, err = a.words(c, c.args[:lead])
	}
	args := c.args[lead:]
	more := false // the word before ended with a comma
	i := 0
	for ; i < len(args); i++ {
		t := args[i]
		if name, value, ok := a.optionAt(i, t); ok {
			if o.params == nil {
				o.params = map[string]string{}
			}
			o.params[name] = value
			if named {
				continue
			}
			i++
			break
		}
		if i > 0 && !named && !more && (t.quoted || !looksLikeMachine(t.text)) {
			break
		}
		parts := []string{t.text}
		if !t.quoted {
			parts = strings.Split(t.text, ",")
			more = parts[len(parts)-1] == ""
		}
		for _, p := range parts {
			if p != "" {
				o.machines = append(o.machines, p)
			}
		}
	}
	if !named {
		o.reason = wordsOf(args[i:])
	}
	if o.reason = strings.TrimSpace(o.reason); o.reason == "" && len(o.machines) > 0 {
		o.reason = a.reason
	}
	return o, err
}

// optionAt reads the word behind the first machine as an option.
func (a machineAction) optionAt(i int, t token) (name, value string, ok bool) {
	if i == 0 || t.quoted || a.option == nil {
		return "", "", false
	}
	return a.option(t.text)
}

var (
	machineID = regexp.MustCompile(`^[0-9A-Fa-f]{40}$`)
	hostName  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*$`)
)

// looksLikeMachine reports words that can only be meant as machines. Alert IDs
// and techniques are not: a reason may begin with one.
func looksLikeMachine(word string) bool {
	for _, part := range strings.Split(strings.TrimSuffix(word, ","), ",") {
		_, err := netip.ParseAddr(part)
		host := hostName.MatchString(part) && strings.ContainsAny(part, "0123456789") && !isDigits(part) &&
			!alertLike.MatchString(part) && !technique.MatchString(part)
		if err != nil && !machineID.MatchString(part) && !host {
			return false
		}
	}
	return true
}

var alertLike = regexp.MustCompile(`^[a-z]{2}[0-9]{12,}(_-?[0-9]+)?$`)

var technique = regexp.MustCompile(`^T[0-9]{4}(\.[0-9]{3})?$`)

func lacksWords(c *call) bool {
	o, err := orderOf(c)
	return err == nil && (len(o.machines) == 0 || o.reason == "")
}

// missingWords opens a form when the reason, or everything, is missing.
func (r *Router) missingWords(ctx context.Context, c *call) (*chat.Form, error) {
	o, err := orderOf(c)
	if err != nil {
		return nil, err
	}
	f := askForm(c.spec.Name, o.reason)
	if a := machineActionNamed(c.spec.Name); a.fields != nil {
		f.Fields = append(f.Fields, a.fields(registry[c.spec.Name].With(o.params))...)
	}
	f.Value = cards.AskValue{Params: o.params}.String()
	if len(o.machines) > 0 {
		f.Fields = append([]chat.Field{{
			ID: cards.FieldMachine, Label: "Machines", Kind: chat.FieldLine, Initial: strings.Join(o.machines, ", "), MaxLength: 2000,
		}}, f.Fields...)
		return f, nil
	}
	id, err := r.threadMachine(ctx, c.inv.In)
	switch {
	case err != nil:
		return nil, err
	case id != "" && o.reason != "":
		// --reason was given and the thread says which machine.
		c.args = append(c.args, token{text: id, quoted: true})
		return nil, nil
	case id != "":
		return r.formFor(ctx, c.spec.Name, cards.AskValue{Machine: id, Alert: r.threadAlert(ctx, c.inv.In), Params: o.params}), nil
	}
	f.Fields = append([]chat.Field{{
		ID: cards.FieldMachine, Label: "Machine", Kind: chat.FieldSearch, Search: cards.ActionMachineSearch, Placeholder: "Type a name",
	}}, f.Fields...)
	return f, nil
}

// threadAlert is the alert that a thread is about, or "".
func (r *Router) threadAlert(ctx context.Context, in chat.Conversation) string {
	if s, ok, err := r.subject(ctx, in); err == nil && ok && s.Kind == SubjectAlert {
		return s.ID
	}
	return ""
}

// askForm asks for the reason.
func askForm(kind, reason string) *chat.Form {
	a := machineActionNamed(kind)
	return &chat.Form{
		Action: cards.ActionSubmit(kind), Title: a.title, Submit: "Ask for approval", Intro: chat.Plain(a.intro),
		Fields: []chat.Field{{
			ID: cards.FieldReason, Label: "Why", Kind: chat.FieldArea, Initial: reason, MaxLength: approvals.MaxReason,
			Hint: "The approver reads this.",
		}},
	}
}

// formFor is the form for one machine, bound by its ID and pre-filled from an
// alert when one led there. What cannot be read in time is left out.
func (r *Router) formFor(ctx context.Context, kind string, v cards.AskValue) *chat.Form {
	f := askForm(kind, "")
	bound := v
	if a := machineActionNamed(kind); a.fields != nil {
		f.Fields = append(f.Fields, a.fields(registry[kind].With(v.Params))...)
		bound.Params = nil // the fields say it
	}
	f.Value = bound.String()
	if v.Of != "" {
		if r.afterTime(ctx, f, v); v.Machine == "" {
			return f
		}
	}
	name := ""
	if v.Alert != "" {
		f.Fields[0].Initial = "Alert " + v.Alert
		if a, err := r.Defender.Alert(ctx, v.Alert); err == nil {
			f.Fields[0].Initial = "Alert " + v.Alert + ": " + chat.Visible(a.Title, 150)
			if a.MachineID == v.Machine {
				name = a.MachineName
			}
		}
	}
	var beware chat.Text
	if m, err := r.Defender.Machine(ctx, v.Machine); err == nil {
		name = m.Name
		beware = r.beforehand(ctx, kind, v.Params, m)
	}
	f.Intro = chat.Join(chat.Untrusted(name), chat.Plain(" "), chat.Code(v.Machine), chat.Plain(". "), beware, f.Intro)
	return f
}

// maxRecalled is how much of an earlier reason a form repeats.
const maxRecalled = 300

// afterTime fills the form for the release of what was isolated for a planned time,
// and names the machines when it is about several.
func (r *Router) afterTime(ctx context.Context, f *chat.Form, v cards.AskValue) {
	q, err := r.Approvals.Request(ctx, r.Tenant, v.Of)
	if err != nil {
		return // the form still asks for everything
	}
	f.Fields[0].Initial = fmt.Sprintf("The time of #%d is over: %s", q.Number, chat.Visible(q.Reason, maxRecalled))
	if v.Machine != "" {
		return
	}
	var ids []string
	var names chat.Text
	for _, t := range q.Targets {
		if !slices.Contains(v.Targets, t.Index) {
			continue
		}
		if len(ids) > 0 {
			names = chat.Join(names, chat.Plain(", "))
		}
		ids, names = append(ids, t.ID), chat.Join(names, chat.Untrusted(t.Name))
	}
	f.Fields = append([]chat.Field{{
		ID: cards.FieldMachine, Label: "Machines", Kind: chat.FieldLine, Initial: strings.Join(ids, ", "), MaxLength: 2000,
	}}, f.Fields...)
	f.Intro = chat.Join(names, chat.Plain(". "), f.Intro)
}

// beforehand is what a form says against the action before anybody sends it:
// that it makes no sense now, or what its documentation and the machine's state
// make doubtful. What cannot be read in time is left out; the request reads it again.
func (r *Router) beforehand(ctx context.Context, kind string, params map[string]string, m defender.Machine) chat.Text {
	v := r.machineView(ctx, m)
	a := machineActionNamed(kind)
	var no *sorry
	if errors.As(a.forMachine(m), &no) || errors.As(a.inTheWay(v), &no) {
		return chat.Join(chat.Bold("Beware: "), no.sentence, chat.Plain(" "))
	}
	facts, err := json.Marshal(cards.FactsOf(v, r.Now()))
	if err != nil {
		return nil
	}
	t := approvals.Target{Kind: approvals.TargetMachine, ID: m.ID, Name: m.Name, Facts: facts}
	doubts := cards.Doubts(approvals.Request{Action: kind, Params: registry[kind].With(params), Targets: []approvals.Target{t}}, t)
	if len(doubts) == 0 {
		return nil
	}
	return chat.Join(doubts, chat.Plain(" "))
}

// act asks for what was typed.
func (r *Router) act(ctx context.Context, c *call) (chat.Message, error) {
	o, err := orderOf(c)
	if err != nil {
		return chat.Message{}, err
	}
	if len(o.machines) == 0 {
		return chat.Message{}, usageError(c, "Which machine? Give its name or ID.")
	}
	if o.reason == "" {
		return chat.Message{}, usageError(c, "A reason is needed: it is what the second person decides by.")
	}
	return r.request(ctx, c, o)
}

// request looks the machines up, reads what an approver must know, and opens the
// request. Nothing is opened unless every machine is certain.
func (r *Router) request(ctx context.Context, c *call, o order) (chat.Message, error) {
	a := machineActionNamed(c.spec.Name)
	machines, err := r.targets(ctx, c, o)
	if err != nil {
		return chat.Message{}, err
	}
	if a.single && len(machines) > 1 {
		return chat.Message{}, usageError(c, fmt.Sprintf("%s takes one machine, not %d.", a.kind, len(machines)))
	}
	in := approvals.OpenInput{
		Asked: c.asked(), Tenant: r.Tenant, Action: a.kind, Params: o.params, Reason: o.reason,
		Targets: make([]approvals.TargetInput, len(machines)),
	}
	add := func(defender.Machine, *cards.TargetFacts) {}
	if a.about != nil {
		if add, err = a.about(ctx, r, o.params); err != nil {
			return chat.Message{}, err
		}
	}
	var group errgroup.Group
	group.SetLimit(lookUps)
	for i, m := range machines {
		group.Go(func() error {
			if err := a.forMachine(m); err != nil {
				return err
			}
			v := r.machineView(ctx, m)
			if err := a.inTheWay(v); err != nil {
				return err
			}
			seen := cards.FactsOf(v, r.Now())
			add(m, &seen)
			facts, err := json.Marshal(seen)
			if err != nil {
				return err
			}
			in.Targets[i] = approvals.TargetInput{ID: m.ID, Name: m.Name, Facts: facts, Machine: cards.PolicyMachine(m)}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return chat.Message{}, err
	}
	opened, err := r.Approvals.Open(ctx, in)
	if err != nil {
		return chat.Message{}, err
	}
	return openedMessage(opened), nil
}

// forMachine refuses a device that is onboarded where the action is for others,
// and the other way round.
func (a machineAction) forMachine(m defender.Machine) error {
	onboarded := m.Onboarding == "Onboarded"
	switch {
	case m.Onboarding == "" || onboarded != a.unmanaged:
		return nil
	case onboarded:
		return sayOf("", m.Name, " is onboarded, so it is isolated and not contained.", "Type: isolate <machine> <reason>")
	}
	return sayOf("", m.Name, " is not onboarded to Defender, so it takes no orders from it.", "To have the onboarded machines refuse to talk to it: contain <device> <reason>")
}

// asked is where c came from, for the record.
func (c *call) asked() approvals.Asked {
	return approvals.Asked{By: c.inv.By, Conversation: c.inv.In.String(), Thread: c.inv.In.Thread, Delivery: c.inv.Delivery}
}

// targets are the machines that o names, each once, in the order typed.
func (r *Router) targets(ctx context.Context, c *call, o order) ([]defender.Machine, error) {
	if len(o.machines) > maxTargets {
		return nil, say(fmt.Sprintf("That is %d machines; one request takes %d at most.", len(o.machines), maxTargets), "Ask for the rest in another request.")
	}
	chooser := cards.ChooserView{Next: "Nothing was asked for. Type the command again with the ID of the one you mean."}
	if len(o.machines) == 1 {
		chooser.Next = "Nothing was asked for yet. Choose the one you mean, or type the command again with its ID."
		chooser.Action = cards.ActionChoose(c.spec.Name)
	}
	found := make([]defender.Machine, len(o.machines))
	var group errgroup.Group
	group.SetLimit(lookUps)
	for i, name := range o.machines {
		group.Go(func() (err error) {
			found[i], err = r.oneMachine(ctx, name, chooser)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, r.uncertain(c, o, err)
	}
	var machines []defender.Machine
	for _, m := range found {
		if !slices.ContainsFunc(machines, func(other defender.Machine) bool { return other.ID == m.ID }) {
			machines = append(machines, m)
		}
	}
	return machines, nil
}

// uncertain keeps the words of an order whose machine must be chosen, and says
// how to mark a word that was not meant as a machine.
func (r *Router) uncertain(c *call, o order, err error) error {
	var several *ambiguous
	var s *sorry
	switch {
	case errors.As(err, &several) && len(o.machines) == 1:
		d := draft{reason: o.reason, params: o.params}
		for _, m := range several.machines {
			d.among = append(d.among, m.ID)
		}
		r.drafts.keep(string(r.Tenant)+" "+c.who.key()+" "+c.spec.Name, d)
	case errors.As(err, &s) && s.full == nil && len(o.machines) > 1:
		return &sorry{sentence: s.sentence, next: chat.Plain("Nothing was asked for. If that word belongs to the reason, put the reason in quotes.")}
	}
	return err
}

// inTheWay says why the action makes no sense for the machine as it is, as far
// as that is known.
func (a machineAction) inTheWay(v cards.MachineView) error {
	if v.Unread.Actions != "" || a.already == nil {
		return nil // the card says that the state is not known
	}
	state, by := a.already(v.Actions)
	if state == "" {
		return nil
	}
	next := "Nothing was asked for."
	if by.ID != "" {
		next += " See: action " + by.ID
	}
	return &sorry{
		sentence: chat.Join(chat.Untrusted(v.Machine.Name), chat.Plain(" "), chat.Code(v.Machine.ID), chat.Plain(state)),
		next:     chat.Untrusted(next),
	}
}

// openedMessage tells the requester what was asked, who can approve, and by when.
func openedMessage(o approvals.Opened) chat.Message {
	q := o.Request
	m := chat.Message{
		Title: chat.Join(chat.Plain("Asked: "), cards.RequestReply(q).Title),
		Tone:  chat.Notice,
		Note:  chat.Plain(fmt.Sprintf("The request card follows. To take it back: withdraw %d", q.Number)),
	}
	if o.Joined {
		m.Title = chat.Join(chat.Plain("Already asked by "), chat.Untrusted(q.RequesterName), chat.Plain(": "), cards.RequestReply(q).Title)
		m.Note = chat.Plain("Nothing new was opened; that request decides.")
	}
	if q.State == approvals.Pending {
		m.Facts = []chat.Fact{
			{Label: "Needs", Value: chat.Plain(approvalsWord(q.Rule.Approvers) + " besides you")},
			{Label: "Can approve", Value: people(o.Eligible)},
			{Label: "Decide by", Value: chat.At(q.Expires)},
		}
		if next := q.Rule.NextGroups(1); len(next) > 0 {
			m.Facts = append(m.Facts, chat.Fact{Label: "Asked next", Value: chat.Join(
				chat.Untrusted(strings.Join(next, ", ")), chat.Plain(" at "), chat.At(q.Opened.Add(policy.AskedAfter(1))))})
		}
	}
	for _, t := range q.Targets {
		if t.Kind != approvals.TargetMachine {
			continue
		}
		m.Facts = append(m.Facts, chat.Fact{Label: "Machine", Value: machineAndDoubts(q, t)})
	}
	if o.Shortfall != "" {
		m.Tone = chat.Warning
		m.Facts = append(m.Facts, chat.Fact{Label: "Problem", Value: chat.Untrusted(o.Shortfall)})
	}
	return m
}

// machineAndDoubts names a target, and what its facts say against the action.
func machineAndDoubts(q approvals.Request, t approvals.Target) chat.Text {
	line := chat.Join(chat.Untrusted(t.Name), chat.Plain(" "), chat.Code(t.ID))
	if doubts := cards.Doubts(q, t); len(doubts) > 0 {
		line = chat.Join(line, chat.Plain(" · "), doubts)
	}
	return line
}

// namesShown is how many people an answer names.
const namesShown = 10

func people(all []identity.Person) chat.Text {
	if len(all) == 0 {
		return chat.Plain("nobody at the moment")
	}
	var t chat.Text
	for i, p := range all[:min(len(all), namesShown)] {
		if i > 0 {
			t = chat.Join(t, chat.Plain(", "))
		}
		t = chat.Join(t, chat.Untrusted(p.Name))
	}
	if more := len(all) - namesShown; more > 0 {
		t = chat.Join(t, chat.Plain(fmt.Sprintf(" and %d more", more)))
	}
	return t
}
