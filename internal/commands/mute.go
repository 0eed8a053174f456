package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
)

func muteSpecs() []Spec {
	return []Spec{
		{
			Name: "mute", Usage: "mute [alert id] [--title <title>] [--machine <machine>] [--for 1h] [--high] --reason <why>",
			Summary: "Keep some alerts out of chat for up to four hours; shown first, and a second person for High ones.",
			Role:    identity.Responder, Permissions: [][]string{readAlerts}, Changes: true,
			Flags: []Flag{
				{Name: "title", Value: "<title>", Summary: "alerts with exactly this title", rest: true},
				{Name: "machine", Value: "<name|id>", Summary: "alerts on this machine"},
				{Name: "for", Value: "1h", Summary: "how long: 5m to 4h"},
				{Name: "high", Summary: "also High alerts and those of tier 0; a second person must approve"},
				{Name: "reason", Value: "<why>", Summary: "everybody reads this", rest: true},
			},
			Examples: []string{"mute --title Suspicious scheduled task --for 2h --reason the backup tool is being rolled out", "mute --machine ws-042 --reason test of the new agent"},
			asks:     lacksMute, form: (*Router).muteForm, run: (*Router).mute,
		},
		{
			Name: "mutes", Usage: "mutes", Summary: "List what is muted, by whom, why and until when.",
			Role: identity.Viewer, Access: ReadersToo, Flags: []Flag{publicFlag}, Examples: []string{"mutes"},
			run: (*Router).mutes,
		},
		{
			Name: "unmute", Usage: "unmute <number>", Summary: "End a mute before its time.",
			Role: identity.Responder, Changes: true, Examples: []string{"unmute 3"},
			run: (*Router).unmute,
		},
	}
}

// lacksMute tells from the text alone that something is missing.
func lacksMute(c *call) bool {
	named := c.flags["title"] != "" || c.flags["machine"] != "" || alertID.MatchString(c.arg(0))
	return !named || strings.TrimSpace(c.flags["reason"]) == ""
}

// muteForm asks for what was not typed: about the alert that was named or that
// the thread is about, or about a title and a machine.
func (r *Router) muteForm(ctx context.Context, c *call) (*chat.Form, error) {
	if c.flags["title"] == "" && c.flags["machine"] == "" {
		s, inThread, err := r.subject(ctx, c.inv.In)
		if err != nil {
			return nil, err
		}
		switch {
		case alertID.MatchString(c.arg(0)):
			return r.alertMuteForm(ctx, c.arg(0))
		case inThread && s.Kind == SubjectAlert:
			return r.alertMuteForm(ctx, s.ID)
		}
	}
	initial := c.flags["for"]
	if _, ok := muteTime(initial); !ok {
		initial = ""
	}
	return &chat.Form{
		Action: cards.ActionMuteSubmit, Title: "Mute alerts", Submit: "Show what it hides",
		Intro: chat.Plain("Name a title, a machine or both. What it would have hidden is shown before anything is muted. High alerts and tier 0 are never hidden this way; mute --high asks a second person."),
		Fields: []chat.Field{
			{ID: cards.FieldTitle, Label: "Title of the alerts", Kind: chat.FieldLine, Optional: true, Initial: c.flags["title"], MaxLength: 300, Hint: "Exactly as it stands on the card."},
			{ID: cards.FieldMachine, Label: "Machine", Kind: chat.FieldSearch, Search: cards.ActionMachineSearch, Optional: true, Placeholder: "Type a name"},
			muteForField(initial),
			muteReasonField(c.flags["reason"]),
		},
	}, nil
}

func muteForField(initial string) chat.Field {
	f := chat.Field{ID: cards.FieldFor, Label: "For", Kind: chat.FieldSelect, Initial: "1h"}
	for _, o := range []chat.Option{{Label: "30 minutes", Value: "30m"}, {Label: "1 hour", Value: "1h"}, {Label: "2 hours", Value: "2h"}, {Label: "4 hours, the most", Value: "4h"}} {
		f.Options = append(f.Options, o)
		if o.Value == initial {
			f.Initial = initial
		}
	}
	return f
}

func muteReasonField(initial string) chat.Field {
	return chat.Field{ID: cards.FieldReason, Label: "Why", Kind: chat.FieldArea, Initial: initial, MaxLength: approvals.MaxReason, Hint: "Everybody reads this where alerts are posted."}
}

// The choices of the form that a card opens.
const (
	muteBoth    = "both"
	muteTitle   = "title"
	muteMachine = "machine"
)

// alertMuteForm offers what can be muted about an alert, each with what it would
// have hidden.
func (r *Router) alertMuteForm(ctx context.Context, id string) (*chat.Form, error) {
	a, err := r.Defender.Alert(ctx, id)
	if err != nil {
		return nil, err
	}
	if a.Severity == defender.High {
		return nil, say("High alerts are not muted from their card.", "A second person can allow it: mute --title <title> --high --reason <why>.")
	}
	f := &chat.Form{
		Action: cards.ActionAlertMuteSubmit, Value: id, Title: "Mute alerts like this", Submit: "Mute",
		Intro: chat.Join(chat.Plain("Alert "), chat.Untrusted(chat.Visible(a.Title, 150)), chat.Plain(" on "), chat.Untrusted(a.MachineName),
			chat.Plain(". High alerts and tier 0 are posted all the same.")),
	}
	what := chat.Field{ID: cards.FieldWhat, Label: "Keep back", Kind: chat.FieldSelect, Initial: muteBoth}
	for _, o := range []struct{ value, label string }{{muteBoth, "This title on this machine"}, {muteTitle, "This title on every machine"}, {muteMachine, "Everything on this machine"}} {
		m, ok := alertMute(a, o.value)
		if !ok {
			continue
		}
		p, err := r.Mutes.PreviewMute(ctx, r.Tenant, m)
		if err != nil {
			return nil, err
		}
		what.Options = append(what.Options, chat.Option{Label: o.label, Detail: fmt.Sprintf("7 days: %d of %d, %d High", p.Held, p.Of, p.High), Value: o.value})
	}
	if len(what.Options) > 0 && what.Options[0].Value != muteBoth {
		what.Initial = what.Options[0].Value
	}
	what.Hint = "After each: what it would have hidden of the last 7 days' alerts."
	f.Fields = []chat.Field{what, muteForField(""), muteReasonField("")}
	return f, nil
}

// alertMute is a mute about an alert; ok is false when the alert lacks what it is
// about.
func alertMute(a defender.Alert, what string) (policy.Mute, bool) {
	var m policy.Mute
	if what == muteBoth || what == muteTitle {
		m.Title = a.Title
	}
	if what == muteBoth || what == muteMachine {
		if a.MachineID == "" {
			return policy.Mute{}, false
		}
		m.Machine, m.MachineName = a.MachineID, a.MachineName
	}
	return m, m.Check() == nil
}

func (r *Router) clickMute(ctx context.Context, c *call) (*chat.Form, error) {
	return r.alertMuteForm(ctx, c.inv.Value)
}

// submitAlertMute begins the mute that a card's form offered, with what it would
// have hidden beside it.
func (r *Router) submitAlertMute(ctx context.Context, c *call) (chat.Message, error) {
	a, err := r.Defender.Alert(ctx, c.inv.Value)
	if err != nil {
		return chat.Message{}, err
	}
	m, ok := alertMute(a, c.inv.Fields[cards.FieldWhat])
	if !ok {
		return chat.Message{}, errOldButton
	}
	if a.Severity == defender.High {
		return chat.Message{}, say("The alert has become High, so nothing was muted.", "Look at it first.")
	}
	o, err := r.muteOrder(ctx, c, m, c.inv.Fields[cards.FieldFor], c.inv.Fields[cards.FieldReason])
	if err != nil {
		return chat.Message{}, err
	}
	return r.beginMute(ctx, c, o)
}

// submitMute shows what the form's mute would do.
func (r *Router) submitMute(ctx context.Context, c *call) (chat.Message, error) {
	m := policy.Mute{Title: strings.TrimSpace(c.inv.Fields[cards.FieldTitle])}
	return r.offerMute(ctx, c, m, c.inv.Fields[cards.FieldMachine], c.inv.Fields[cards.FieldFor], c.inv.Fields[cards.FieldReason])
}

// mute shows what the typed mute would do.
func (r *Router) mute(ctx context.Context, c *call) (chat.Message, error) {
	m := policy.Mute{Title: strings.TrimSpace(c.flags["title"]), High: c.flags["high"] != ""}
	machine := c.flags["machine"]
	switch {
	case alertID.MatchString(c.arg(0)) && len(c.args) == 1 && m.Title == "" && machine == "":
		a, err := r.Defender.Alert(ctx, c.arg(0))
		if err != nil {
			return chat.Message{}, err
		}
		m.Title, machine = a.Title, a.MachineID
	case len(c.args) > 0:
		return chat.Message{}, usageError(c, "mute takes an alert, or --title and --machine.")
	}
	return r.offerMute(ctx, c, m, machine, c.flags["for"], c.flags["reason"])
}

func (r *Router) offerMute(ctx context.Context, c *call, m policy.Mute, machine, length, reason string) (chat.Message, error) {
	if machine = strings.TrimSpace(machine); machine != "" {
		found, err := r.oneMachine(ctx, machine, cards.ChooserView{Next: "Nothing was muted. Type the command again with an ID."})
		if err != nil {
			return chat.Message{}, err
		}
		m.Machine, m.MachineName = found.ID, found.Name
	}
	o, err := r.muteOrder(ctx, c, m, length, reason)
	if err != nil {
		return chat.Message{}, err
	}
	return cards.MuteOffer(o, r.offers.keep(c.who.key(), o)), nil
}

// muteTime reads how long a mute lasts; "" is the default.
func muteTime(text string) (time.Duration, bool) {
	if text == "" {
		return policy.MuteDefault, true
	}
	return parseAge(text)
}

// muteOrder checks what was asked for and measures it.
func (r *Router) muteOrder(ctx context.Context, c *call, m policy.Mute, length, reason string) (policy.MuteOrder, error) {
	if m.Check() != nil {
		return policy.MuteOrder{}, say("A mute names the title of an alert, a machine, or both.", "Nothing was muted. What keeps everything back does not exist.")
	}
	if r.scoped() && m.Machine == "" {
		return policy.MuteOrder{}, say("Your rights cover some machines only, so nothing was muted.", "Name one of them: mute --machine <machine>.")
	}
	d, ok := muteTime(length)
	switch {
	case !ok, d < policy.MuteLeast:
		return policy.MuteOrder{}, say("A mute lasts from 5 minutes to 4 hours.", "Write --for 30m or --for 2h.")
	case d > policy.MuteMost:
		return policy.MuteOrder{}, &sorry{
			sentence: chat.Plain("A mute lasts 4 hours at most, so nothing was muted."),
			next:     chat.Join(chat.Plain("What should stay quiet for longer is decided in Defender: "), cards.SuppressionRules(r.Portal), chat.Plain(".")),
		}
	}
	reason = strings.TrimSpace(chat.Visible(strings.TrimSpace(reason), approvals.MaxReason))
	if reason == "" {
		return policy.MuteOrder{}, usageError(c, "A reason is needed: everybody reads it.")
	}
	p, err := r.Mutes.PreviewMute(ctx, r.Tenant, m)
	if err != nil {
		return policy.MuteOrder{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return policy.MuteOrder{}, err
	}
	return policy.MuteOrder{
		ID: id.String(), Mute: m, For: d, Owner: c.who.Person.ID.String(), By: c.who.name(), Reason: reason,
		Place: place(c.inv.In), Preview: p,
	}, nil
}

// place is where an answer for everybody can go; a direct chat is nobody else's.
func place(in chat.Conversation) string {
	if in.Direct {
		return ""
	}
	return in.String()
}

// clickMuteBegin begins the mute that was shown to the one who clicks.
func (r *Router) clickMuteBegin(ctx context.Context, c *call) (chat.Message, error) {
	o, ok := r.offers.take(c.who.key(), c.inv.Value)
	if !ok {
		return chat.Message{}, say("That offer is over: it was used, is older than ten minutes, or was made to somebody else.", "Type mute again.")
	}
	return r.beginMute(ctx, c, o)
}

// beginMute records and begins a mute, or asks a second person.
func (r *Router) beginMute(ctx context.Context, c *call, o policy.MuteOrder) (chat.Message, error) {
	facts, err := json.Marshal(o)
	if err != nil {
		return chat.Message{}, err
	}
	if o.Mute.High {
		opened, err := r.Approvals.Mute(ctx, approvals.MuteInput{
			Asked: c.asked(), Tenant: r.Tenant, ID: o.ID, Name: o.Mute.String() + ", for " + o.For.String(), Facts: facts, Reason: o.Reason,
		})
		if err != nil {
			return chat.Message{}, err
		}
		return openedMessage(opened), nil
	}
	if err := r.record(ctx, c, "mute.on", "ok", map[string]string{"mute": string(facts)}); err != nil {
		return chat.Message{}, fmt.Errorf("record mute: %w", err)
	}
	v, err := r.Mutes.BeginMute(ctx, r.Tenant, o)
	if err != nil {
		return chat.Message{}, err
	}
	return cards.MuteBegun(v), nil
}

// mutes lists what is muted.
func (r *Router) mutes(ctx context.Context, c *call) (chat.Message, error) {
	if len(c.args) > 0 {
		return chat.Message{}, usageError(c, "mutes lists them; unmute <number> ends one.")
	}
	all, err := r.seenMutes(ctx)
	if err != nil {
		return chat.Message{}, err
	}
	return cards.MuteList(all), nil
}

// seenMutes are the mutes in force that the caller may know of.
func (r *Router) seenMutes(ctx context.Context) ([]cards.MuteView, error) {
	all, err := r.Mutes.Mutes(ctx, r.Tenant)
	if err != nil || !r.scoped() {
		return all, err
	}
	var seen []cards.MuteView
	for _, v := range all {
		if v.Mute.Machine == "" {
			continue
		}
		switch _, err := r.Defender.Machine(ctx, v.Mute.Machine); {
		case err == nil:
			seen = append(seen, v)
		case !errors.Is(err, defender.ErrNotFound):
			return nil, err
		}
	}
	return seen, nil
}

// unmute ends the mute of a number, typed or chosen.
func (r *Router) unmute(ctx context.Context, c *call) (chat.Message, error) {
	number, err := strconv.ParseInt(strings.TrimPrefix(c.arg(0), "#"), 10, 64)
	if err != nil || len(c.args) != 1 {
		return chat.Message{}, usageError(c, "Which mute? Give its number.")
	}
	seen, err := r.seenMutes(ctx)
	if err != nil {
		return chat.Message{}, err
	}
	var v cards.MuteView
	ok := slices.ContainsFunc(seen, func(v cards.MuteView) bool { return v.Number == number })
	if ok {
		v, ok, err = r.Mutes.EndMute(ctx, r.Tenant, number, c.who.name())
	}
	if err != nil {
		return chat.Message{}, err
	}
	if !ok {
		return chat.Message{}, say(fmt.Sprintf("There is no mute %d in force.", number), "mutes lists them.")
	}
	return chat.Message{
		Title: chat.Plain(fmt.Sprintf("Mute %d is ended; it kept back %d", number, v.Held)), Tone: chat.Good,
		Note: chat.Plain("What it kept back is named where alerts are posted."),
	}, nil
}

// maxOffers bounds how many offers are kept; the oldest go first.
const maxOffers = 500

// offers keeps the mutes that were shown and not yet begun, each for the one who
// asked.
type offers struct {
	now func() time.Time
	mu  sync.Mutex
	of  map[string]offer
}

type offer struct {
	to    string
	order policy.MuteOrder
	at    time.Time
}

func newOffers(now func() time.Time) *offers { return &offers{now: now, of: map[string]offer{}} }

// keep stores an order and returns its key.
func (f *offers) keep(to string, o policy.MuteOrder) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	oldest := ""
	for key, one := range f.of {
		if now.Sub(one.at) > draftAge {
			delete(f.of, key)
		} else if oldest == "" || one.at.Before(f.of[oldest].at) {
			oldest = key
		}
	}
	if len(f.of) >= maxOffers {
		delete(f.of, oldest)
	}
	f.of[o.ID] = offer{to, o, now}
	return o.ID
}

// take returns an order to the one it was shown to, once.
func (f *offers) take(to, key string) (policy.MuteOrder, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one, ok := f.of[key]
	if !ok || one.to != to || f.now().Sub(one.at) > draftAge {
		return policy.MuteOrder{}, false
	}
	delete(f.of, key)
	return one.order, true
}
