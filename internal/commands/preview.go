package commands

import (
	"context"
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
// Where there is none for sure there is nothing to run: whether a channel may have one
// takes the platform a look at each of its members.
func (r *Router) links(inv chat.Invocation) chat.Response {
	own := r
	if r.several() {
		bound, ok := r.Policy.Current().TenantOf(inv.In.String())
		t, served := r.tenantByID(bound.ID)
		if !ok || !served {
			return chat.Response{}
		}
		own = r.in(t)
	}
	if own.Pages == nil || !readsHere(own.Policy.Current(), inv.In) {
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
	return chat.Response{Previews: func(ctx context.Context) map[string]chat.Message { return own.previews(ctx, inv, pages) }}
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
	c := &call{spec: r.byName[string(page.Kind)], inv: inv, flags: map[string]string{}, who: caller{Account: inv.By}, tenantBy: byChannel}
	if err := r.mayUse(ctx, c); err != nil {
		return chat.Message{}, err
	}
	if c.who.Person.ID.IsZero() || !c.who.Person.Has(c.spec.Role) {
		return chat.Message{}, errPreview // a reader asks; what others post is not theirs to show
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

var errPreview = say("There is no preview here.", "Ask with a command.")
