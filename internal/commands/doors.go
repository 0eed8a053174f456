package commands

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// door is a button, menu or form: the command whose rights it needs, and what it
// does when that is not the command itself on the button's value.
type door struct {
	spec string
	run  handler
	form func(r *Router, ctx context.Context, c *call) (*chat.Form, error)
	// required are the fields that a form may not leave empty.
	required []string
	// anyTenant is for what is about the person alone.
	anyTenant bool
	// personal answers go to whoever clicked alone, whatever the command's do.
	personal bool
	// check finds other faults of what was filled in, by field; nil finds none.
	check func(fields map[string]string) map[string]string
}

// doors maps the actions of package cards. An action that is not here is
// answered as unknown.
var doors = withMachineActions(map[string]door{
	cards.ActionAlertShow:          {spec: "alert", run: (*Router).clickAlert},
	cards.ActionAlertAck:           {spec: "ack", run: (*Router).clickAck},
	cards.ActionAlertResolve:       {spec: "resolve", form: (*Router).clickResolve},
	cards.ActionAlertResolveSubmit: {spec: "resolve", run: (*Router).submitResolve, required: []string{cards.FieldClassification}},
	cards.ActionAlertAssign:        {spec: "assign", form: (*Router).clickAssign},
	cards.ActionAlertAssignSubmit:  {spec: "assign", run: (*Router).submitAssign},
	cards.ActionAlertComment:       {spec: "comment", form: (*Router).clickComment},
	cards.ActionAlertCommentSubmit: {spec: "comment", run: (*Router).submitComment, required: []string{cards.FieldComment}},
	cards.ActionAlertMute:          {spec: "mute", form: (*Router).clickMute},
	cards.ActionAlertMuteSubmit:    {spec: "mute", run: (*Router).submitAlertMute, required: []string{cards.FieldWhat, cards.FieldReason}},
	cards.ActionMuteSubmit:         {spec: "mute", run: (*Router).submitMute, required: []string{cards.FieldReason}},
	cards.ActionMuteBegin:          {spec: "mute", run: (*Router).clickMuteBegin},
	cards.ActionMuteEnd:            {spec: "unmute"},
	cards.ActionMessageLookup:      {spec: "lookup", run: (*Router).lookupMessage},
	cards.ActionShowMachine:        {spec: "machine"},
	cards.ActionShowAction:         {spec: "action"},
	cards.ActionDownload:           {spec: "download", run: (*Router).clickDownload},

	cards.ActionHuntSubmit: {spec: "run", form: (*Router).huntSubmitted, run: (*Router).submitHunt},
	cards.ActionHuntPick:   {spec: "run", form: (*Router).clickHuntPick, run: (*Router).runPicked},
	cards.ActionHuntRun:    {spec: "run", run: (*Router).submitHuntRun},
	cards.ActionHuntAround: {spec: "run", form: (*Router).clickHuntAround},
	cards.ActionHuntFrom:   {spec: "run", run: (*Router).submitHuntAround, required: []string{cards.FieldHunt}},
	cards.ActionHuntAgain:  {spec: "run", run: (*Router).huntAgain},
	cards.ActionHuntCancel: {spec: "hunts", run: (*Router).cancelHunt, anyTenant: true},

	cards.ActionLinkAccept:  {spec: "link", run: (*Router).acceptLink},
	cards.ActionLinkDecline: {spec: "link", run: (*Router).declineLink},
	cards.ActionLinkConfirm: {spec: "confirm-link"},

	cards.ActionShowReq:    {spec: "requests", run: (*Router).clickRequest, personal: true},
	cards.ActionApprove:    {spec: "approve", run: (*Router).clickVote},
	cards.ActionDeny:       {spec: "deny", run: (*Router).clickVote},
	cards.ActionReport:     {spec: "deny", run: (*Router).clickReport},
	cards.ActionDenyForm:   {spec: "deny", form: (*Router).clickDenyForm},
	cards.ActionDenySubmit: {spec: "deny", run: (*Router).clickVote, check: checkDenial},
	cards.ActionWithdraw:   {spec: "withdraw", run: (*Router).clickWithdraw},
	// Anybody linked may click; the command that asks again is authorised by itself.
	cards.ActionAskAgain:    {spec: "withdraw", form: (*Router).clickAgain},
	cards.ActionAgainSubmit: {spec: "withdraw", run: (*Router).submitAgain, required: []string{cards.FieldReason}},
})

// withMachineActions adds the doors of every action on machines.
func withMachineActions(doors map[string]door) map[string]door {
	for _, a := range machineActions() {
		doors[cards.ActionForm(a.kind)] = door{spec: a.kind, form: (*Router).clickAsk}
		doors[cards.ActionSubmit(a.kind)] = door{spec: a.kind, run: (*Router).submitAsk, required: []string{cards.FieldReason}, check: checkMachine}
		doors[cards.ActionChoose(a.kind)] = door{spec: a.kind, run: (*Router).chooseMachine}
	}
	return doors
}

// checkMachine refuses a machine field that was left empty. Forms about one machine
// have none.
func checkMachine(fields map[string]string) map[string]string {
	if machine, asked := fields[cards.FieldMachine]; asked && strings.TrimSpace(machine) == "" {
		return map[string]string{cards.FieldMachine: "This is needed."}
	}
	return nil
}

// fieldErrors are the required fields of a form that were left empty.
func fieldErrors(c *call) map[string]string {
	if c.inv.Kind != chat.Submit {
		return nil
	}
	errs := map[string]string{}
	for _, id := range doors[c.inv.Action].required {
		if strings.TrimSpace(c.inv.Fields[id]) == "" {
			errs[id] = "This is needed."
		}
	}
	if check := doors[c.inv.Action].check; check != nil {
		maps.Copy(errs, check(c.inv.Fields))
	}
	return errs
}

func (r *Router) clickAlert(ctx context.Context, c *call) (chat.Message, error) {
	v, err := r.alertView(ctx, c.inv.Value)
	if err != nil {
		return chat.Message{}, err
	}
	return cards.Alert(v), nil
}

func (r *Router) clickAck(ctx context.Context, c *call) (chat.Message, error) {
	return r.ackAlert(ctx, c, c.inv.Value)
}

func (r *Router) clickAsk(ctx context.Context, c *call) (*chat.Form, error) {
	return r.formFor(ctx, c.spec.Name, cards.ParseAskValue(c.inv.Value)), nil
}

// submitAsk opens the request that a form describes: for the machine it is bound
// to, or for those typed into it.
func (r *Router) submitAsk(ctx context.Context, c *call) (chat.Message, error) {
	v := cards.ParseAskValue(c.inv.Value)
	o := order{reason: strings.TrimSpace(c.inv.Fields[cards.FieldReason]), params: v.Params}
	switch {
	case v.Machine != "":
		o.machines = []string{v.Machine}
	default:
		o.machines = strings.FieldsFunc(c.inv.Fields[cards.FieldMachine], func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })
	}
	for field, param := range map[string]string{cards.FieldScope: "scope", cards.FieldFor: "for"} {
		value := c.inv.Fields[field]
		if _, takes := registry[c.spec.Name].Params[param]; !takes || value == "" {
			continue
		}
		if o.params == nil {
			o.params = map[string]string{}
		}
		if o.params[param] = value; value == noEnd {
			delete(o.params, param)
		}
	}
	if len(o.machines) == 0 {
		return chat.Message{}, say("No machine was named, so nothing was asked for.", "Open the form again and choose one.")
	}
	return r.request(ctx, c, o)
}

// chooseMachine goes on with the words of the command that opened the chooser.
func (r *Router) chooseMachine(ctx context.Context, c *call) (chat.Message, error) {
	d, ok := r.drafts.take(string(r.Tenant) + " " + c.who.key() + " " + c.spec.Name)
	if !ok || !slices.Contains(d.among, c.inv.Value) || d.reason == "" {
		return chat.Message{}, &sorry{
			sentence: chat.Plain("The words of that command are no longer known, so nothing was asked for."),
			next:     chat.Join(chat.Plain("Type: "), chat.Code(withPrefix(prefix(c.inv), c.spec.Name+" "+c.inv.Value+" <reason>"))),
		}
	}
	return r.request(ctx, c, order{machines: []string{c.inv.Value}, reason: d.reason, params: d.params})
}

// suggestions is how many machines a search field offers. With the option that is
// as typed they are the 15 that Teams shows.
const suggestions = 14

const (
	// maxTyped is the longest text that a search field may submit as typed: that of
	// an option's value on Slack.
	maxTyped = 150
	// searchBudget leaves the rest of nowBudget to the way back: who types waits.
	searchBudget = 1200 * time.Millisecond
)

// suggest offers machines for a search field, in the tenant of its form. People who
// may not look at machines get an empty list. Neither platform submits text that was
// not offered, so the last option is what was typed: nobody has to wait for a
// Defender that is slow, or for a machine that it does not know yet.
func (r *Router) suggest(ctx context.Context, inv chat.Invocation) []chat.Option {
	typed := strings.TrimSpace(inv.Text)
	if inv.Action != cards.ActionMachineSearch || !searchable(typed) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, searchBudget)
	defer cancel()
	c := &call{spec: r.byName["machine"], inv: inv, flags: map[string]string{}}
	if r.several() {
		c.boundTo, _ = cards.TenantOfValue(inv.Value)
	}
	of, err := r.tenantOf(c)
	if err != nil {
		return nil
	}
	// A refusal is not recorded: a form on a card is open to all who see it, and every
	// letter would be one.
	c.who = caller{Account: inv.By}
	if err := of.mayUse(ctx, c); err != nil {
		return nil
	}
	asTyped := chat.Option{Label: "Use \"" + typed + "\" as typed", Value: typed}
	found, err := of.searchMachines(ctx, c, typed)
	if err != nil {
		asTyped.Detail = "The search did not answer; this is looked up when sent"
	}
	var options []chat.Option
	for _, m := range found[:min(len(found), suggestions)] {
		options = append(options, chat.Option{
			Label:  m.Name + " " + m.ID,
			Detail: m.OS + ", last seen " + m.LastSeen.UTC().Format("2006-01-02 15:04 UTC"),
			Value:  m.ID,
		})
	}
	if slices.ContainsFunc(options, func(o chat.Option) bool { return o.Value == typed }) {
		return options
	}
	return append(options, asTyped)
}

// searchable reports whether typed can be the beginning of what a machine is found by.
func searchable(typed string) bool {
	return len(typed) >= 2 && utf8.RuneCountInString(typed) <= maxTyped && utf8.ValidString(typed) &&
		!strings.ContainsFunc(typed, unicode.IsControl) && !chat.HoldsSecret(typed)
}

func (r *Router) searchMachines(ctx context.Context, c *call, typed string) ([]defender.Machine, error) {
	if wait, ok := r.reads.allow(c.who.key()); !ok {
		return nil, say("That is a lot of questions in a minute.", again(wait))
	}
	kept, err := r.within(ctx, c)
	if err != nil {
		return nil, err
	}
	found, err := kept.Defender.FindMachines(ctx, typed)
	if err != nil {
		return nil, err
	}
	// By name, to be read while typing; of several with one name the active one first.
	return slices.SortedFunc(slices.Values(found.Machines), func(a, b defender.Machine) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), b.LastSeen.Compare(a.LastSeen))
	}), nil
}
