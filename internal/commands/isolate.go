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
)

// maxTargets is how many machines one request may name.
const maxTargets = 25

// lookUps is how many machines are looked up at a time: one request leaves quota
// for others.
const lookUps = 4

func isolationSpecs() []Spec {
	needs := [][]string{isolation, readMachines}
	reason := Flag{Name: "reason", Value: "<why>", Summary: "the reason; the same as the words after the machines", rest: true}
	return []Spec{
		{
			Name: "isolate", Usage: "isolate <machine>… <reason> [--selective]",
			Summary: "Ask to cut machines off the network; a second person must approve.",
			Role:    identity.Responder, Permissions: needs, Changes: true, SecondPerson: true,
			Flags: []Flag{
				{Name: "selective", Summary: "leave Outlook, Teams and Skype for Business connected"},
				reason,
			},
			Examples: []string{"isolate ws-042 beaconing, see alert da637472900382838869_1364969609", "isolate ws-042,ws-043 --reason ransom note --selective"},
			busy:     askingFor, asks: lacksWords, form: (*Router).missingWords, run: (*Router).contain,
		},
		{
			Name: "release", Usage: "release <machine>… <reason>",
			Summary: "Ask to give machines their network back; a second person must approve.",
			Role:    identity.Responder, Permissions: needs, Changes: true, SecondPerson: true,
			Flags:    []Flag{reason},
			Examples: []string{"release ws-042 cleaned and patched"},
			busy:     askingFor, asks: lacksWords, form: (*Router).missingWords, run: (*Router).contain,
		},
	}
}

func askingFor(c *call) chat.Text {
	return chat.Plain("Looking up the machines and asking for approval …")
}

// order is what an isolate or release says.
type order struct {
	machines []string // as typed
	reason   string
	scope    string
}

// orderOf separates machines from the reason. The first word is a machine, and
// so is each following one that can only be one: an ID, an address, or a host
// name with a digit. The first other word begins the reason. Commas join
// machines, quotes begin the reason, and with --reason every word is a machine.
// Every machine in the answer is a literal part of what was typed.
func orderOf(c *call) order {
	o := order{reason: c.flags["reason"]}
	if c.spec.Name == approvals.Isolate {
		o.scope = "full"
		if c.flags["selective"] != "" {
			o.scope = "selective"
		}
	}
	_, named := c.flags["reason"]
	more := false // the word before ended with a comma
	i := 0
	for ; i < len(c.args); i++ {
		t := c.args[i]
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
		o.reason = c.words(i)
	}
	o.reason = strings.TrimSpace(o.reason)
	return o
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
	o := orderOf(c)
	return len(o.machines) == 0 || o.reason == ""
}

// missingWords opens a form when the reason, or everything, is missing.
func (r *Router) missingWords(ctx context.Context, c *call) (*chat.Form, error) {
	o := orderOf(c)
	f := containForm(c.spec.Name, o.reason)
	f.Value = scopeValue(o.scope)
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
		c.args = []token{{text: id, quoted: true}}
		return nil, nil
	case id != "":
		return r.formFor(ctx, c.spec.Name, o.scope, id, r.threadAlert(ctx, c.inv.In)), nil
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

func scopeValue(scope string) string { return "scope=" + scope }

// containForm asks for the reason.
func containForm(kind, reason string) *chat.Form {
	f := &chat.Form{
		Action: cards.ActionIsolateSubmit, Title: "Request isolation", Submit: "Ask for approval",
		Intro: chat.Plain("The machine loses all network but Defender. A second person must approve."),
		Fields: []chat.Field{{
			ID: cards.FieldReason, Label: "Why", Kind: chat.FieldArea, Initial: reason, MaxLength: approvals.MaxReason,
			Hint: "The approver reads this.",
		}},
	}
	if kind == approvals.Release {
		f.Action, f.Title = cards.ActionReleaseSubmit, "Request release"
		f.Intro = chat.Plain("The machine gets its network back. A second person must approve.")
	}
	return f
}

// formFor is the form for one machine, bound by its ID and pre-filled from an
// alert when one led there. What cannot be read in time is left out.
func (r *Router) formFor(ctx context.Context, kind, scope, machineID, alert string) *chat.Form {
	f := containForm(kind, "")
	f.Value = cards.IsolationValue(machineID, alert)
	name := ""
	if alert != "" {
		f.Fields[0].Initial = "Alert " + alert
		if a, err := r.Defender.Alert(ctx, alert); err == nil {
			f.Fields[0].Initial = "Alert " + alert + ": " + chat.Visible(a.Title, 150)
			if a.MachineID == machineID {
				name = a.MachineName
			}
		}
	}
	var beware chat.Text
	if m, err := r.Defender.Machine(ctx, machineID); err == nil {
		name = m.Name
		beware = r.beforehand(ctx, kind, scope, m)
	}
	f.Intro = chat.Join(chat.Untrusted(name), chat.Plain(" "), chat.Code(machineID), chat.Plain(". "), beware, f.Intro)
	if kind == approvals.Isolate {
		f.Fields = append(f.Fields, scopeField(scope))
	}
	return f
}

// beforehand is what a form says against the action before anybody sends it:
// that it makes no sense now, or what its documentation and the machine's state
// make doubtful. What cannot be read in time is left out; the request reads it again.
func (r *Router) beforehand(ctx context.Context, kind, scope string, m defender.Machine) chat.Text {
	v := r.machineView(ctx, m)
	var no *sorry
	if errors.As(inTheWay(kind, v), &no) {
		return chat.Join(chat.Bold("Beware: "), no.sentence, chat.Plain(" "))
	}
	facts, err := json.Marshal(cards.FactsOf(v, r.Now()))
	if err != nil {
		return nil
	}
	t := approvals.Target{Kind: approvals.TargetMachine, ID: m.ID, Name: m.Name, Facts: facts}
	doubts := cards.Doubts(approvals.Request{Action: kind, Params: map[string]string{"scope": scope}, Targets: []approvals.Target{t}}, t)
	if len(doubts) == 0 {
		return nil
	}
	return chat.Join(doubts, chat.Plain(" "))
}

func scopeField(scope string) chat.Field {
	return chat.Field{
		ID: cards.FieldScope, Label: "Type", Kind: chat.FieldSelect, Initial: scope,
		Options: []chat.Option{
			{Label: "Full", Detail: "everything but Defender", Value: "full"},
			{Label: "Selective", Detail: "leaves Outlook, Teams and Skype for Business", Value: "selective"},
		},
	}
}

// contain asks for what was typed.
func (r *Router) contain(ctx context.Context, c *call) (chat.Message, error) {
	o := orderOf(c)
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
	machines, err := r.targets(ctx, c, o)
	if err != nil {
		return chat.Message{}, err
	}
	in := approvals.OpenInput{
		Asked: c.asked(), Tenant: r.Tenant, Action: c.spec.Name, Reason: o.reason,
		Targets: make([]approvals.TargetInput, len(machines)),
	}
	if o.scope != "" {
		in.Params = map[string]string{"scope": o.scope}
	}
	var group errgroup.Group
	group.SetLimit(lookUps)
	for i, m := range machines {
		group.Go(func() error {
			v := r.machineView(ctx, m)
			if err := inTheWay(c.spec.Name, v); err != nil {
				return err
			}
			facts, err := json.Marshal(cards.FactsOf(v, r.Now()))
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
		chooser.Action = cards.ActionChooseIsolate
		if c.spec.Name == approvals.Release {
			chooser.Action = cards.ActionChooseRelease
		}
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
		d := draft{reason: o.reason, scope: o.scope}
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
func inTheWay(kind string, v cards.MachineView) error {
	if v.Unread.Actions != "" {
		return nil // the card says that the state is not known
	}
	now := defender.IsolationOf(v.Actions)
	var state string
	switch {
	case kind == approvals.Isolate && now.State == defender.Isolated:
		state = " is isolated already, as last known."
	case kind == approvals.Isolate && now.State == defender.Isolating:
		state = " is being isolated at the moment."
	case kind == approvals.Release && now.State == defender.Releasing:
		state = " is being released at the moment."
	case kind == approvals.Release && now.State == defender.NotIsolated && now.Action.ID != "":
		state = " is released already, as last known."
	default:
		return nil
	}
	next := "Nothing was asked for."
	if now.Action.ID != "" {
		next += " See: action " + now.Action.ID
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
