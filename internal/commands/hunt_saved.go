package commands

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
)

// lacksSavedHunt tells from the text alone that no hunt is named. What the hunt
// takes is looked at by its form.
func lacksSavedHunt(*call) bool { return true }

// savedHunt finds a saved hunt that the caller may run.
func (r *Router) savedHunt(c *call, name string) (policy.Hunt, error) {
	all := r.Policy.Current().Hunts()
	i := slices.IndexFunc(all, func(h policy.Hunt) bool { return strings.EqualFold(h.Name, name) })
	if i < 0 {
		var names []string
		for _, h := range all {
			names = append(names, h.Name)
		}
		next := chat.Plain("hunt list shows them.")
		if near := nearest(name, names); near != "" {
			next = chat.Join(chat.Plain("Did you mean "), chat.Code(near), chat.Plain("? "), next)
		}
		return policy.Hunt{}, &sorry{sentence: chat.Join(chat.Plain("There is no saved hunt "), chat.Untrusted(name), chat.Plain(".")), next: next}
	}
	if !c.who.Person.Has(all[i].Role) {
		return policy.Hunt{}, say("The hunt "+all[i].Name+" needs the role "+string(all[i].Role)+", which you do not have.", "An admin adds it to your entry in mdebot.yaml; hunt list shows what you may run.")
	}
	return all[i], nil
}

// savedForm asks for the hunt when none was named, and for the parameters that
// were not given. It is nil when nothing is missing.
func (r *Router) savedForm(_ context.Context, c *call) (*chat.Form, error) {
	name := c.arg(0)
	if name == "" {
		return r.pickForm(c), nil
	}
	h, err := r.savedHunt(c, name)
	if err != nil {
		return nil, err
	}
	given, err := r.givenParams(c, h, c.args[1:])
	if err != nil {
		return nil, err
	}
	for _, p := range h.Params {
		if given[p.Name] == "" {
			return paramForm(h, given, c.flags["span"]), nil
		}
	}
	return nil, nil
}

// givenParams are the values typed as name=value; one value alone is that of the
// only parameter.
func (r *Router) givenParams(c *call, h policy.Hunt, args []token) (map[string]string, error) {
	given := map[string]string{}
	for _, t := range args {
		name, value, named := strings.Cut(t.text, "=")
		if !named && len(h.Params) == 1 && len(args) == 1 {
			name, value = h.Params[0].Name, t.text
		}
		i := slices.IndexFunc(h.Params, func(p policy.HuntParam) bool { return strings.EqualFold(p.Name, name) })
		if i < 0 {
			return nil, &sorry{
				sentence: chat.Join(chat.Plain("The hunt "), chat.Untrusted(h.Name), chat.Plain(" does not take "), chat.Untrusted(t.text), chat.Plain(".")),
				next:     chat.Join(chat.Plain("Write: "), chat.Code(withPrefix(prefix(c.inv), "hunt run "+h.Name+paramUsage(h)))),
			}
		}
		given[h.Params[i].Name] = value
	}
	return given, nil
}

func paramUsage(h policy.Hunt) string {
	var b strings.Builder
	for _, p := range h.Params {
		fmt.Fprintf(&b, " %s=<%s>", p.Name, p.Type)
	}
	return b.String()
}

// pickForm offers the saved hunts that the caller may run.
func (r *Router) pickForm(c *call) *chat.Form {
	return &chat.Form{
		Action: cards.ActionHuntSubmit, Title: "Hunt", Submit: "Go on",
		Fields: []chat.Field{{ID: cards.FieldHunt, Label: "Saved hunt", Kind: chat.FieldSelect, Options: r.huntOptions(c, "")}},
	}
}

// huntForm offers saved hunts and a field for a query.
func (r *Router) huntForm(_ context.Context, c *call) (*chat.Form, error) {
	f := r.pickForm(c)
	f.Fields[0].Optional = true
	f.Fields = append(f.Fields, chat.Field{
		ID: cards.FieldQuery, Label: "Or a query of your own", Kind: chat.FieldArea, Optional: true, MaxLength: 3_000,
		Placeholder: "DeviceInfo | take 10", Hint: "KQL of advanced hunting. It goes before the choice above.",
	})
	return f, nil
}

// huntOptions are the saved hunts that the caller may run; with a type, those
// alone that take such a parameter and nothing else.
func (r *Router) huntOptions(c *call, kind string) []chat.Option {
	var out []chat.Option
	for _, h := range r.Policy.Current().Hunts() {
		if _, takes := h.Takes(kind); kind != "" && (!takes || len(h.Params) != 1) || !c.who.Person.Has(h.Role) {
			continue
		}
		out = append(out, chat.Option{Label: h.Name, Detail: h.Description, Value: h.Name})
	}
	return out[:min(len(out), 99)]
}

// paramForm asks for a hunt's parameters.
func paramForm(h policy.Hunt, given map[string]string, span string) *chat.Form {
	f := &chat.Form{Action: cards.ActionHuntRun, Value: h.Name, Title: "Run a saved hunt", Submit: "Run", Intro: chat.Join(chat.Untrusted(h.Name), chat.Plain(": "), chat.Untrusted(h.Description))}
	for _, p := range h.Params {
		field := chat.Field{ID: paramField(p.Name), Label: "Its " + p.Name, Kind: chat.FieldLine, Hint: "Give " + policy.ParamTypes[p.Type] + ".", MaxLength: maxParam, Initial: given[p.Name]}
		if p.Type == "machine" && given[p.Name] == "" {
			field.Kind, field.Search, field.Placeholder = chat.FieldSearch, cards.ActionMachineSearch, "Type a name"
		}
		f.Fields = append(f.Fields, field)
	}
	if span == "" {
		span = kqlSpan(h.Span)
	}
	f.Fields = append(f.Fields, chat.Field{ID: cards.FieldSpan, Label: "How far back", Kind: chat.FieldLine, Initial: span, Hint: "Such as 6h or 7d; at most 30d.", MaxLength: 6})
	return f
}

func paramField(name string) string { return "param." + name }

// runSaved runs the hunt that was typed with all it takes.
func (r *Router) runSaved(ctx context.Context, c *call) (chat.Message, error) {
	h, err := r.savedHunt(c, c.arg(0))
	if err != nil {
		return chat.Message{}, err
	}
	given, err := r.givenParams(c, h, c.args[1:])
	if err != nil {
		return chat.Message{}, err
	}
	return r.runFilled(ctx, c, h, given, c.flags["span"])
}

// runFilled puts values into a saved hunt and runs it with the caller's rights.
func (r *Router) runFilled(ctx context.Context, c *call, h policy.Hunt, given map[string]string, span string) (chat.Message, error) {
	d := h.Span
	if span = strings.TrimSpace(span); span != "" {
		var ok bool
		if d, ok = parseAge(span); !ok || d > 30*24*time.Hour {
			return chat.Message{}, say("The span takes a time such as 90m, 24h or 7d, up to 30d.", "Nothing was run.")
		}
	}
	query, err := r.filled(ctx, h, given, d)
	if err != nil {
		return chat.Message{}, err
	}
	return r.runQuery(ctx, c, query, h.Name, func(ctx context.Context) (policy.HuntTables, error) {
		return r.Policy.Current().SavedHuntTables(ctx, r.Groups, c.who.Person, h)
	})
}

// filled is the query of a saved hunt with values in place of its parameters.
func (r *Router) filled(ctx context.Context, h policy.Hunt, given map[string]string, span time.Duration) (string, error) {
	literals := map[string]string{"span": kqlSpan(span)}
	for _, p := range h.Params {
		value := given[p.Name]
		if p.Type == "machine" && strings.TrimSpace(value) != "" {
			m, err := r.oneMachine(ctx, strings.TrimSpace(value), cards.ChooserView{Next: "Nothing was run. Ask again with an ID."})
			if err != nil {
				return "", err
			}
			value = m.ID
		}
		l, problem := paramLiteral(p.Type, value)
		if problem != "" {
			return "", &sorry{
				sentence: chat.Join(chat.Plain("The value of "), chat.Untrusted(p.Name), chat.Plain(" "+problem+": "), chat.Untrusted(value)),
				next:     chat.Plain("Nothing was run. Give " + policy.ParamTypes[p.Type] + "."),
			}
		}
		literals[p.Name] = l
	}
	return h.Fill(literals)
}

// huntSubmitted goes on from the form that takes a query or the name of a hunt:
// with the form for its parameters when it has any.
func (r *Router) huntSubmitted(_ context.Context, c *call) (*chat.Form, error) {
	if strings.TrimSpace(c.inv.Fields[cards.FieldQuery]) != "" {
		return nil, nil
	}
	return r.pickedForm(c, c.inv.Fields[cards.FieldHunt])
}

func (r *Router) pickedForm(c *call, name string) (*chat.Form, error) {
	if name == "" {
		return nil, say("Nothing was chosen, so nothing was run.", "Choose a saved hunt, or write a query.")
	}
	h, err := r.savedHunt(c, name)
	if err != nil || len(h.Params) == 0 {
		return nil, err
	}
	return paramForm(h, nil, ""), nil
}

func (r *Router) submitHunt(ctx context.Context, c *call) (chat.Message, error) {
	if query := strings.TrimSpace(c.inv.Fields[cards.FieldQuery]); query != "" {
		if !c.who.Person.Has(identity.Hunter) {
			return chat.Message{}, say("Queries of your own need the role hunter, which you do not have.", "Run a saved hunt: hunt list shows them.")
		}
		c.text = unfenced(query)
		return r.hunt(ctx, c)
	}
	h, err := r.savedHunt(c, c.inv.Fields[cards.FieldHunt])
	if err != nil {
		return chat.Message{}, err
	}
	return r.runFilled(ctx, c, h, nil, "")
}

func (r *Router) clickHuntPick(_ context.Context, c *call) (*chat.Form, error) {
	return r.pickedForm(c, c.inv.Value)
}

func (r *Router) runPicked(ctx context.Context, c *call) (chat.Message, error) {
	h, err := r.savedHunt(c, c.inv.Value)
	if err != nil {
		return chat.Message{}, err
	}
	return r.runFilled(ctx, c, h, nil, "")
}

func (r *Router) submitHuntRun(ctx context.Context, c *call) (chat.Message, error) {
	h, err := r.savedHunt(c, c.inv.Value)
	if err != nil {
		return chat.Message{}, err
	}
	given := map[string]string{}
	for _, p := range h.Params {
		given[p.Name] = c.inv.Fields[paramField(p.Name)]
	}
	return r.runFilled(ctx, c, h, given, c.inv.Fields[cards.FieldSpan])
}

// clickHuntAround offers the hunts about a machine, filled with that of an alert.
func (r *Router) clickHuntAround(ctx context.Context, c *call) (*chat.Form, error) {
	a, err := r.Defender.Alert(ctx, c.inv.Value)
	if err != nil {
		return nil, err
	}
	if a.MachineID == "" {
		return nil, say("Defender names no machine for this alert, so there is nothing to hunt around.", "Use hunt run with what the alert shows.")
	}
	options := r.huntOptions(c, "machine")
	if len(options) == 0 {
		return nil, say("No saved hunt about a machine is open to you.", "An admin gives you the role responder or hunter in mdebot.yaml.")
	}
	return &chat.Form{
		Action: cards.ActionHuntFrom, Value: a.MachineID, Title: "Hunt around the alert", Submit: "Run",
		Intro: chat.Join(chat.Untrusted(a.MachineName), chat.Plain(" "), chat.Code(a.MachineID), chat.Plain(" · "), chat.Untrusted(chat.Visible(a.Title, 150))),
		Fields: []chat.Field{
			{ID: cards.FieldHunt, Label: "Saved hunt", Kind: chat.FieldSelect, Options: options, Initial: options[0].Value},
			{ID: cards.FieldSpan, Label: "How far back", Kind: chat.FieldLine, Initial: "1d", Hint: "Such as 6h or 7d; at most 30d.", MaxLength: 6},
		},
	}, nil
}

func (r *Router) submitHuntAround(ctx context.Context, c *call) (chat.Message, error) {
	h, err := r.savedHunt(c, c.inv.Fields[cards.FieldHunt])
	if err != nil {
		return chat.Message{}, err
	}
	name, ok := h.Takes("machine")
	if !ok {
		return chat.Message{}, errOldButton
	}
	return r.runFilled(ctx, c, h, map[string]string{name: c.inv.Value}, c.inv.Fields[cards.FieldSpan])
}

// listHunts shows the saved hunts, those that run by themselves, and the asker's own
// last ones.
func (r *Router) listHunts(ctx context.Context, c *call) (chat.Message, error) {
	var saved []cards.SavedHunt
	for _, h := range r.Policy.Current().Hunts() {
		saved = append(saved, cards.SavedHunt{Name: h.Name, Description: h.Description, Params: strings.TrimSpace(paramUsage(h)), May: c.who.Person.Has(h.Role)})
	}
	past, err := r.pastHunts(ctx, c)
	if err != nil {
		return chat.Message{}, err
	}
	var shown []cards.PastHunt
	for _, h := range past {
		what := strings.Join(strings.Fields(h.Query), " ")
		if h.Saved != "" {
			what = h.Saved + ": " + what
		}
		shown = append(shown, cards.PastHunt{ID: h.ID, What: what, At: h.At})
	}
	scheduled, err := r.Schedules.Schedules(ctx, r.Tenant)
	if err != nil {
		return chat.Message{}, err
	}
	return cards.HuntList(saved, scheduled, shown), nil
}

func (r *Router) pastHunts(ctx context.Context, c *call) ([]PastHunt, error) {
	if c.who.Person.ID.IsZero() {
		return nil, nil
	}
	return r.History.Hunts(ctx, r.Tenant, c.who.Person.ID)
}

// huntAgain runs one of the caller's own hunts once more, with the rights of now.
func (r *Router) huntAgain(ctx context.Context, c *call) (chat.Message, error) {
	past, err := r.pastHunts(ctx, c)
	if err != nil {
		return chat.Message{}, err
	}
	for _, old := range past {
		if old.ID != c.inv.Value {
			continue
		}
		if old.Saved == "" {
			if !c.who.Person.Has(identity.Hunter) {
				break
			}
			c.text = old.Query
			return r.hunt(ctx, c)
		}
		h, err := r.savedHunt(c, old.Saved)
		if err != nil {
			return chat.Message{}, err
		}
		return r.runQuery(ctx, c, old.Query, h.Name, func(ctx context.Context) (policy.HuntTables, error) {
			return r.Policy.Current().SavedHuntTables(ctx, r.Groups, c.who.Person, h)
		})
	}
	return chat.Message{}, say("That hunt is not among your last ones.", "hunt list shows them.")
}

// cancelHunt ends a hunt of the caller's.
func (r *Router) cancelHunt(ctx context.Context, c *call) (chat.Message, error) {
	ends := r.running.cancel(c.who.key(), c.inv.Value)
	if !ends {
		var err error
		if ends, err = r.History.CancelHunt(ctx, c.inv.Value, c.who.key()); err != nil {
			return chat.Message{}, err
		}
	}
	if !ends {
		return chat.Message{}, say("That hunt is not running any more, or is not yours.", "Its answer is or will be where you asked.")
	}
	return chat.Message{Title: chat.Plain("The hunt is being cancelled")}, nil
}

// beginHunt registers what may take long, here and for every replica, until ended is
// called.
func (r *Router) beginHunt(ctx context.Context, c *call) (_ context.Context, one *runningHunt, ended func()) {
	running, one, over := r.running.begin(ctx, c.who.key())
	nobodyLooks := r.cancelledElsewhere(running, c, one)
	return running, one, func() {
		over()
		nobodyLooks()
	}
}

// lookForCancel is how often a hunt looks whether it was cancelled through another
// replica.
const lookForCancel = time.Second

// cancelledElsewhere ends a hunt that is cancelled through another replica. The
// function it returns waits until nobody looks any more, after the hunt has ended.
func (r *Router) cancelledElsewhere(ctx context.Context, c *call, hunt *runningHunt) (done func()) {
	if err := r.History.HuntBegan(ctx, r.Tenant, hunt.key, hunt.who); err != nil {
		r.Logger.WarnContext(ctx, "hunt can be cancelled in this replica alone", "command", c.spec.Name, "error", err)
		return func() {}
	}
	var looking sync.WaitGroup
	looking.Go(func() {
		tick := time.NewTicker(lookForCancel)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if yes, err := r.History.HuntCancelled(ctx, r.Tenant, hunt.key); err == nil && yes {
				hunt.cancel()
				return
			}
		}
	})
	return func() {
		looking.Wait()
		if err := r.History.HuntEnded(context.WithoutCancel(ctx), r.Tenant, hunt.key); err != nil {
			r.Logger.WarnContext(ctx, "hunt still counts as running", "command", c.spec.Name, "error", err)
		}
	}
}

// runningHunts are those that can be cancelled.
type runningHunts struct {
	mu sync.Mutex
	of map[string]*runningHunt
}

type runningHunt struct {
	key, who string
	stop     context.CancelFunc
	stopped  atomic.Bool
}

func (h *runningHunt) yes() bool { return h.stopped.Load() }

func (h *runningHunt) cancel() {
	h.stopped.Store(true)
	h.stop()
}

func newRunningHunts() *runningHunts { return &runningHunts{of: map[string]*runningHunt{}} }

// begin registers a hunt until ended is called.
func (h *runningHunts) begin(ctx context.Context, who string) (_ context.Context, one *runningHunt, ended func()) {
	ctx, stop := context.WithCancel(ctx)
	one = &runningHunt{key: uuid.NewString(), who: who, stop: stop}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of[one.key] = one
	return ctx, one, func() {
		stop()
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.of, one.key)
	}
}

func (h *runningHunts) cancel(who, key string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	one := h.of[key]
	if one == nil || one.who != who {
		return false
	}
	one.cancel()
	return true
}
