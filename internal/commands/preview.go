package commands

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// previewBudget is how long the previews of one message may take.
const previewBudget = 15 * time.Second

// links answers with short cards for addresses of the Defender portal that somebody posted.
//
// Nobody asked for them and everybody in the channel sees them, so they come in fewer
// places than answers do: in a channel that mdebot.yaml names under readers, whose
// members may ask the same themselves, and with several tenants in one that is bound
// to the address's. They are made with the rights of whoever posted the address, who
// has to be linked; what those do not cover stays an address. Whatever goes wrong is
// silence: an answer to a question that nobody asked would be noise, and a refusal
// would tell that there is something.
//
// Where there is none for sure there is nothing to run, and somebody who posts addresses
// all the time gets none: whether a channel may have one takes the platform a look at
// each of its members.
func (r *Router) links(inv chat.Invocation) chat.Response {
	own, ok := r.forReaders(inv.In)
	if !ok || own.Pages == nil {
		return chat.Response{}
	}
	pages := map[string]defender.PortalPage{}
	for _, address := range strings.Split(inv.Text, "\n") {
		if page, ok := own.Pages(address); ok {
			pages[address] = page
		}
	}
	if len(pages) == 0 {
		return chat.Response{}
	}
	if _, ok := r.previewed.allow(inv.By.Key()); !ok {
		return chat.Response{}
	}
	return chat.Response{Previews: func(ctx context.Context) map[string]chat.Message { return own.previews(ctx, inv, pages) }}
}

// forReaders is the router of the one tenant that everybody in a conversation may read
// about; ok is false where there is none.
func (r *Router) forReaders(in chat.Conversation) (own *Router, ok bool) {
	own = r
	if r.several() {
		bound, ok := r.Policy.Current().TenantOf(in.String())
		t, served := r.tenantByID(bound.ID)
		if !ok || !served {
			return nil, false
		}
		own = r.in(t)
	}
	return own, readsHere(own.Policy.Current(), in)
}

func (r *Router) previews(ctx context.Context, inv chat.Invocation, pages map[string]defender.PortalPage) (shown map[string]chat.Message) {
	ctx, cancel := context.WithTimeout(ctx, previewBudget)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			r.Logger.ErrorContext(ctx, "preview failed", "error", fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			shown = nil
		}
	}()
	shown = map[string]chat.Message{}
	for address, page := range pages {
		m, err := r.preview(ctx, inv, page)
		if err != nil {
			r.Logger.DebugContext(ctx, "no preview", "kind", string(page.Kind), "error", err)
			continue
		}
		shown[address] = m
	}
	return shown
}

func (r *Router) preview(ctx context.Context, inv chat.Invocation, page defender.PortalPage) (chat.Message, error) {
	c, err := r.mayShow(ctx, inv, string(page.Kind))
	if err != nil {
		return chat.Message{}, err
	}
	kept, err := r.within(ctx, c)
	if err != nil {
		return chat.Message{}, err
	}
	if _, ok := r.previewed.allow(inv.In.String()); !ok {
		return chat.Message{}, errPreview
	}
	if _, ok := r.reads.allow(c.who.key()); !ok {
		return chat.Message{}, errPreview
	}
	var m chat.Message
	switch page.Kind {
	case defender.PortalAlert:
		a, err := kept.Defender.Alert(ctx, page.ID)
		if err != nil {
			return chat.Message{}, err
		}
		m = cards.AlertPreview(a)
	case defender.PortalMachine:
		found, err := kept.Defender.Machine(ctx, page.ID)
		if err != nil {
			return chat.Message{}, err
		}
		m = cards.MachinePreview(found)
	case defender.PortalIncident:
		id, err := strconv.ParseInt(page.ID, 10, 64)
		if err != nil {
			return chat.Message{}, err
		}
		i, err := kept.Defender.Incident(ctx, id)
		if err != nil {
			return chat.Message{}, err
		}
		m = cards.IncidentPreview(i)
	default:
		return chat.Message{}, errPreview
	}
	return r.marked(m), nil
}

// mayShow is the call of somebody who shows others in the conversation what the command
// of that name answers. A reader asks for themselves; what others read is not theirs to
// show.
func (r *Router) mayShow(ctx context.Context, inv chat.Invocation, command string) (*call, error) {
	c := &call{spec: r.byName[command], inv: inv, flags: map[string]string{}, who: caller{Account: inv.By}, tenantBy: byChannel}
	if err := r.mayUse(ctx, c); err != nil {
		return nil, err
	}
	if c.who.Person.ID.IsZero() || !c.who.Person.Has(c.spec.Role) {
		return nil, say("What is put into a message is read by others, which needs a linked account with the role "+string(c.spec.Role)+".", "whoami shows what you have.")
	}
	return c, nil
}

var errPreview = say("There is no preview here.", "Ask with a command.")

const (
	// FindMachine is the [chat.Find] that looks for machines. It is named like the
	// command whose rights it needs.
	FindMachine = "machine"
	// mostFound is how many machines it offers.
	mostFound = 10
)

// find answers with short cards of machines for somebody who writes a message. The card
// that they choose is read like the preview of an address, so there are some where
// previews are, with the rights of whoever writes. Unlike a preview it was asked for, so
// it says why there is none, to the writer alone and as a command would. Refusals are
// not recorded: every letter would be one.
func (r *Router) find(inv chat.Invocation) chat.Response {
	typed := strings.TrimSpace(inv.Text)
	if inv.Action != FindMachine {
		return notFound(say("This search is from another version of mdebot.", "Ask with a command instead; help lists them."))
	}
	own, ok := r.forReaders(inv.In)
	switch {
	case !ok:
		return notFound(say("Machines are found here only in channels that mdebot.yaml names under readers.", "Ask mdebot with a command instead."))
	case !searchable(typed):
		return notFound(errTyped)
	}
	return chat.Response{Found: func(ctx context.Context) ([]chat.Message, chat.Message) { return own.found(ctx, inv, typed) }}
}

var errTyped = say("Nothing was looked up.", "Type the beginning of a machine's name, or its whole ID or IP address.")

func notFound(why error) chat.Response { return answerNow(chat.Asker, sayWhy(why)) }

// sayWhy is what a person reads of err while they type.
func sayWhy(err error) chat.Message {
	if no := (*sorry)(nil); errors.As(err, &no) {
		return no.message()
	}
	return chat.Message{Title: chat.Plain("The search did not answer."), Note: chat.Plain("Try again in a moment.")}
}

func (r *Router) found(ctx context.Context, inv chat.Invocation, typed string) (found []chat.Message, why chat.Message) {
	ctx, cancel := context.WithTimeout(ctx, previewBudget)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			r.Logger.ErrorContext(ctx, "search failed", "error", fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			found, why = nil, sayWhy(nil)
		}
	}()
	c, err := r.mayShow(ctx, inv, FindMachine)
	if err != nil {
		return nil, sayWhy(err)
	}
	machines, err := r.searchMachines(ctx, c, typed)
	if err != nil {
		r.Logger.DebugContext(ctx, "no machines while typing", "error", err)
		return nil, sayWhy(err)
	}
	if len(machines) == 0 {
		return nil, sayWhy(say("You see no machine of that name, ID or IP address.", "Type the beginning of a name, or a whole ID or IP address."))
	}
	for _, m := range machines[:min(len(machines), mostFound)] {
		found = append(found, r.marked(cards.MachinePreview(m)))
	}
	return found, chat.Message{}
}
