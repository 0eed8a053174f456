package commands

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
)

// actionsListed is how many machine actions a list reads.
const actionsListed = 200

func actionSpecs() []Spec {
	return []Spec{
		{
			Name: "actions", Usage: "actions [machine|person|me|all] [--since 24h]", Summary: "List Defender's machine actions, also those started in the portal.",
			Role: identity.Viewer, Access: ReadersToo, Permissions: [][]string{readMachines},
			Flags: []Flag{
				{Name: "since", Value: "24h", Summary: "started since: 90m, 24h, 7d; of a machine a week, otherwise a day"},
				publicFlag,
			},
			Examples: []string{"actions", "actions ws-042 --since 30d", "actions me"},
			busy:     lookingUp, run: (*Router).actions,
		},
		{
			Name: "action", Usage: "action <id>", Summary: "Show one of Defender's machine actions.",
			Role: identity.Viewer, Access: ReadersToo, Permissions: [][]string{readMachines},
			Flags: []Flag{publicFlag}, Examples: []string{"action 5382f7ea-7557-4ab7-9782-d50480024a4e"},
			busy: lookingUp, run: (*Router).action,
		},
		{
			Name: approvals.Cancel, Usage: "cancel <action> <reason>",
			Summary: "Ask to cancel a machine action that has not ended; a second person must approve what needed one.",
			Role:    identity.Responder, Permissions: [][]string{readMachines}, Changes: true, SecondPerson: true,
			Examples: []string{"cancel 5382f7ea-7557-4ab7-9782-d50480024a4e wrong machine"},
			busy:     askingFor, run: (*Router).cancel,
		},
		{
			Name: "download", Usage: "download <number>", Summary: "Get the link to an investigation package that you asked for; it comes to you alone.",
			Role: identity.Responder, Permissions: [][]string{readMachines}, Audience: chat.Personal, Changes: true,
			Examples: []string{"download 142"},
			run:      (*Router).download,
		},
	}
}

// actions lists machine actions of a machine, of a person or of all, the newest
// first.
func (r *Router) actions(ctx context.Context, c *call) (chat.Message, error) {
	if len(c.args) > 1 {
		return chat.Message{}, usageError(c, "actions takes one machine or one person.")
	}
	who, since := c.arg(0), 24*time.Hour
	f := defender.ActionFilter{Limit: actionsListed}
	var what chat.Text
	keep := func(cards.ActionOrigin) bool { return true }
	switch {
	case who == "":
		id, err := r.threadMachine(ctx, c.inv.In)
		if err != nil {
			return chat.Message{}, err
		}
		if f.MachineID = id; id != "" {
			since, what = 7*24*time.Hour, chat.Plain("of this machine")
		}
	case strings.EqualFold(who, "all"):
	case strings.EqualFold(who, "me"):
		if c.who.Person.ID.IsZero() {
			return chat.Message{}, unlinked(c.inv)
		}
		what = chat.Plain("that you asked for")
		keep = func(o cards.ActionOrigin) bool { return o.Request != nil && o.Request.Requester == c.who.Person.ID }
	default:
		found, err := r.Defender.FindMachines(ctx, who)
		if err != nil {
			return chat.Message{}, err
		}
		if len(found.Machines) > 0 && found.Match != defender.MatchPrefix {
			m, err := r.oneMachine(ctx, who, cards.ChooserView{Action: cards.ActionShowMachine, Next: "Choose one, or type the command again with its ID."})
			if err != nil {
				return chat.Message{}, err
			}
			f.MachineID, since, what = m.ID, 7*24*time.Hour, chat.Join(chat.Plain("of "), chat.Untrusted(m.Name))
			break
		}
		what = chat.Join(chat.Plain("by "), chat.Untrusted(who))
		keep = func(o cards.ActionOrigin) bool { return o.IsBy(who) }
	}
	if word, given := c.flags["since"]; given {
		d, ok := parseAge(word)
		if !ok {
			return chat.Message{}, usageError(c, "--since takes a time such as 90m, 24h or 7d, up to 180d.")
		}
		since = d
	}
	f.CreatedSince = r.Now().Add(-since)
	all, _, err := collect(r.Defender.MachineActions(ctx, f))
	if err != nil {
		return chat.Message{}, err
	}
	origins, err := r.originsOf(ctx, all)
	if err != nil {
		return chat.Message{}, err
	}
	more := len(all) == actionsListed
	origins = slices.DeleteFunc(origins, func(o cards.ActionOrigin) bool { return !keep(o) })
	return cards.ActionList(origins[:min(len(origins), listed)], what, since, more || len(origins) > listed), nil
}

// originsOf tells which actions came from requests here.
func (r *Router) originsOf(ctx context.Context, all []defender.MachineAction) ([]cards.ActionOrigin, error) {
	ids := make([]string, len(all))
	for i, a := range all {
		ids[i] = a.ID
	}
	started, err := r.Approvals.Started(ctx, r.Tenant, ids)
	if err != nil {
		return nil, err
	}
	origins := make([]cards.ActionOrigin, len(all))
	for i, a := range all {
		origins[i] = cards.ActionOrigin{Action: a}
		if q, ok := started[a.ID]; ok {
			origins[i].Request = &q
		}
	}
	return origins, nil
}

func (r *Router) action(ctx context.Context, c *call) (chat.Message, error) {
	if len(c.args) != 1 {
		return chat.Message{}, usageError(c, "Give the ID of one machine action; cards of machines and requests show it.")
	}
	a, err := r.Defender.MachineAction(ctx, c.arg(0))
	if err != nil {
		return chat.Message{}, err
	}
	origins, err := r.originsOf(ctx, []defender.MachineAction{a})
	if err != nil {
		return chat.Message{}, err
	}
	return cards.Action(origins[0], r.Portal), nil
}

// cancel asks to cancel a machine action, whoever started it.
func (r *Router) cancel(ctx context.Context, c *call) (chat.Message, error) {
	id, reason := c.arg(0), strings.TrimSpace(c.words(1))
	switch {
	case id == "":
		return chat.Message{}, usageError(c, "Which action? Give its ID; actions lists them.")
	case reason == "":
		return chat.Message{}, usageError(c, "A reason is needed: it is what the second person decides by.")
	}
	return r.requestCancel(ctx, c, id, reason)
}

func (r *Router) requestCancel(ctx context.Context, c *call, id, reason string) (chat.Message, error) {
	a, err := r.Defender.MachineAction(ctx, id)
	if err != nil {
		return chat.Message{}, err
	}
	permission, ours := defender.PermissionFor(a.Type)
	switch {
	case !ours:
		return chat.Message{}, &sorry{
			sentence: chat.Join(chat.Plain("Actions of type "), chat.Untrusted(string(a.Type)), chat.Plain(" are left to the Defender portal.")),
			next:     chat.Plain("Cancel it there, in the action centre of its machine."),
		}
	case a.Status.Final():
		return chat.Message{}, &sorry{
			sentence: chat.Join(chat.Plain("There is nothing to cancel: that action has ended as "), chat.Untrusted(string(a.Status)), chat.Plain(".")),
			next:     chat.Join(chat.Plain("See: "), chat.Code(withPrefix(prefix(c.inv), "action "+a.ID))),
		}
	}
	granted, err := r.Defender.Permissions(ctx)
	if err != nil {
		return chat.Message{}, err
	}
	if !granted.Has(permission) {
		return chat.Message{}, notPermitted(c.spec, [][]string{{permission}})
	}
	m, err := r.Defender.Machine(ctx, a.MachineID)
	if err != nil {
		return chat.Message{}, err
	}
	facts, err := json.Marshal(cards.ActionFactsOf(a, r.machineView(ctx, m), r.Now()))
	if err != nil {
		return chat.Message{}, err
	}
	opened, err := r.Approvals.Open(ctx, approvals.OpenInput{
		Asked: c.asked(), Tenant: r.Tenant, Action: approvals.Cancel, Params: map[string]string{"type": string(a.Type)}, Reason: reason,
		Targets: []approvals.TargetInput{{
			ID: a.ID, Name: fmt.Sprintf("%s on %s", a.Type, m.Name), Facts: facts, Machine: cards.PolicyMachine(m),
		}},
	})
	if err != nil {
		return chat.Message{}, err
	}
	return openedMessage(opened), nil
}

// download tells the requester where their package is. The address is asked for
// each time, goes nowhere else and is kept nowhere.
func (r *Router) download(ctx context.Context, c *call) (chat.Message, error) {
	q, rest, err := r.requestOf(ctx, c)
	if err != nil {
		return chat.Message{}, err
	}
	if rest < len(c.args) {
		return chat.Message{}, usageError(c, "download takes one number.")
	}
	return r.packageLink(ctx, c, q)
}

func (r *Router) clickDownload(ctx context.Context, c *call) (chat.Message, error) {
	id, _, ok := cards.ParseRequestValue(c.inv.Value)
	if !ok {
		return chat.Message{}, errOldButton
	}
	q, err := r.Approvals.Request(ctx, r.Tenant, id)
	if err != nil {
		return chat.Message{}, err
	}
	return r.packageLink(ctx, c, q)
}

func (r *Router) packageLink(ctx context.Context, c *call, q approvals.Request) (chat.Message, error) {
	switch {
	case q.Action != approvals.Package:
		return chat.Message{}, say(fmt.Sprintf("Request #%d is not about a package.", q.Number), "To collect one: package <machine> <reason>")
	case q.Requester != c.who.Person.ID:
		return chat.Message{}, sayOf("Only ", q.RequesterName, ", who asked for the package, gets its link.", "Ask for a package of your own, or ask them for what you need.")
	case q.State != approvals.Succeeded:
		return chat.Message{}, say(fmt.Sprintf("The package of #%d is not there: the request is %s.", q.Number, q.State), "Its card says when it is.")
	}
	// The record is first, and without it nobody gets the link.
	if err := r.record(ctx, c, "package.link", "ok", map[string]string{"request": q.ID, "machine_action": q.Targets[0].MachineAction}); err != nil {
		return chat.Message{}, err
	}
	link, err := r.Defender.PackageLink(ctx, q.Targets[0].MachineAction)
	if isNotFound(err) {
		return chat.Message{}, say("Defender has no package there any more, or not yet.", "Try again in a minute; otherwise collect it again with package.")
	}
	if err != nil {
		return chat.Message{}, err
	}
	return chat.Message{
		Title: chat.Join(chat.Plain("The investigation package of "), chat.Untrusted(q.Targets[0].Name)),
		Tone:  chat.Good,
		Facts: []chat.Fact{{Label: "Download", Value: chat.Link("investigation package (zip)", link.Reveal())}},
		Note:  chat.Plain(fmt.Sprintf("For you alone: whoever has this link can download. It stops working soon; download %d gets a new one.", q.Number)),
	}, nil
}
