package slackbot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/slack-go/slack"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

// errBusy reports that there is no room for a delivery right now.
var errBusy = errors.New("too much waits to be answered")

// delivery is one thing a person did, authenticated and decoded.
type delivery struct {
	inv     chat.Invocation
	trigger string // opens a form; "" where Slack gives none, as with events
	at      place
	// again repeats a typed command for the form that it lacked; nothing else may
	// come of it.
	again bool
}

// acceptSlash takes a slash command from the HTTP route.
func (b *Bot) acceptSlash(ctx context.Context, body []byte) (ack, error) {
	c, err := decodeSlashForm(body)
	if err != nil {
		return ack{}, err
	}
	return b.takeSlash(ctx, c)
}

func (b *Bot) takeSlash(ctx context.Context, c slashCommand) (ack, error) {
	if c.SSLCheck == "1" && c.Command == "" {
		return ack{}, nil
	}
	if c.Command == "" || c.UserID == "" || c.ChannelID == "" || c.TriggerID == "" {
		return ack{}, fmt.Errorf("%w: not a command", errWrongRoute)
	}
	me, err := b.installed(ctx, c.APIAppID, c.TeamID, c.EnterpriseID, c.UserID)
	if err != nil {
		return ack{}, err
	}
	d := delivery{
		trigger: c.TriggerID,
		inv: chat.Invocation{
			Kind: chat.Command, Delivery: c.TriggerID, By: principal(c.TeamID, c.UserID, c.UserName),
			In:   chat.Conversation{Platform: identity.Slack, Workspace: me.workspace, ID: c.ChannelID},
			Text: plainText(c.Text, me.botUser), Slash: true, At: b.now(),
		},
	}
	d.at = b.responsePlace(c.ResponseURL, d.inv)
	return ack{}, b.take(d)
}

// acceptInteraction takes a click, form or suggestion from the HTTP route.
func (b *Bot) acceptInteraction(ctx context.Context, body []byte) (ack, error) {
	payload, err := interactionPayload(body)
	if err != nil {
		return ack{}, err
	}
	return b.takeInteraction(ctx, payload)
}

func (b *Bot) takeInteraction(ctx context.Context, payload []byte) (ack, error) {
	var p interaction
	if err := strictJSON(payload, &p); err != nil {
		return ack{}, err
	}
	app := p.APIAppID
	switch p.Type {
	case "block_actions", "view_submission", "block_suggestion":
	case "message_action":
		// It names no app. That it is ours is known from the signature, which is made
		// with the app's own secret, or from the socket.
		if me, err := b.self.get(ctx); err == nil && app == "" {
			app = me.app
		}
	default:
		return ack{}, fmt.Errorf("%w: interaction", errWrongRoute)
	}
	workspace, enterprise := "", ""
	if p.Team != nil {
		workspace = p.Team.ID
	}
	if p.Enterprise != nil {
		enterprise = p.Enterprise.ID
	}
	me, err := b.installed(ctx, app, workspace, enterprise, p.User.ID)
	if err != nil {
		return ack{}, err
	}
	if p.User.ID == "" {
		return ack{}, fmt.Errorf("%w: nobody acts", errMalformed)
	}
	by := principal(p.User.TeamID, p.User.ID, p.User.Username)
	switch p.Type {
	case "block_actions":
		return ack{}, b.takeClick(me, by, p)
	case "message_action":
		return ack{}, b.takeShortcut(me, by, p)
	case "view_submission":
		return b.takeSubmission(ctx, me, by, p)
	}
	return b.takeSuggestion(ctx, me, by, p)
}

func (b *Bot) takeClick(me installation, by identity.Principal, p interaction) error {
	if len(p.Actions) != 1 || p.TriggerID == "" {
		return fmt.Errorf("%w: a click is one action", errMalformed)
	}
	a := p.Actions[0]
	action, value := actionOf(a.ActionID), a.Value
	if a.SelectedOption != nil {
		value = a.SelectedOption.Value
	}
	switch {
	case action == linkAction:
		return nil // Slack tells about opened links; there is nothing to do
	case p.Container.Type == "view" && p.View != nil && p.View.Type == string(slack.VTHomeTab):
		return b.take(homeClick(me, by, p.TriggerID, a.ActionTS, action, value, b.now()))
	case p.Container.Type != "message":
		return nil
	}
	in := chat.Conversation{Platform: identity.Slack, Workspace: me.workspace, ID: p.Container.ChannelID, Thread: p.Container.ThreadTS}
	inv := chat.Invocation{
		Kind: chat.Click, Delivery: p.TriggerID + "." + a.ActionTS, By: by, In: in, Action: action, Value: value, At: b.now(),
	}
	if !p.Container.IsEphemeral {
		inv.Source = chat.Ref{Conversation: in, MessageID: p.Container.MessageTS}
	}
	d := delivery{inv: inv, trigger: p.TriggerID, at: b.responsePlace(p.ResponseURL, inv)}
	d.at.clicked, d.at.source, d.at.ephemeralSource = true, p.Container.MessageTS, p.Container.IsEphemeral
	if !p.Container.IsEphemeral && d.at.response != nil {
		d.at.response = b.clicks.remember(inv.Source, d.at.response)
	}
	if action == formAction {
		d.again = true
		d.inv.Kind, d.inv.Text, d.inv.Action, d.inv.Value = chat.Command, value, "", ""
	}
	return b.take(d)
}

// takeSubmission answers a submitted form in the acknowledgement.
func (b *Bot) takeSubmission(ctx context.Context, me installation, by identity.Principal, p interaction) (ack, error) {
	if p.View == nil {
		return ack{}, fmt.Errorf("%w: no view", errMalformed)
	}
	from, err := readOrigin(p.View.PrivateMetadata)
	if err != nil {
		return ack{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	in := chat.Conversation{Platform: identity.Slack, Workspace: me.workspace, ID: from.Channel, Thread: from.Thread, Direct: from.Direct}
	inv := chat.Invocation{
		Kind: chat.Submit, Delivery: p.View.ID + "." + p.View.Hash, By: by, In: in,
		Action: p.View.CallbackID, Value: from.Value, Fields: map[string]string{}, At: b.now(),
	}
	if from.Source != "" {
		inv.Source = chat.Ref{Conversation: in, MessageID: from.Source}
	}
	first := ""
	for field, inputs := range p.View.State.Values {
		for _, v := range inputs {
			inv.Fields[field] = v.Value
			if v.SelectedOption != nil {
				inv.Fields[field] = v.SelectedOption.Value
			}
		}
		if first == "" || field < first {
			first = field
		}
	}
	at := b.placeOf(from, inv)
	if !b.seen.first(inv.Delivery) {
		return ack{}, nil
	}
	resp := b.handle(ctx, inv)
	switch {
	case len(resp.Errors) > 0:
		// The same view is submitted again once its fields are corrected.
		b.seen.forget(inv.Delivery)
		return fieldErrors(resp.Errors, inv.Fields, first)
	case resp.Form != nil:
		b.seen.forget(inv.Delivery)
		view, err := modal(*resp.Form, from)
		if err != nil {
			return ack{}, err
		}
		return jsonAck(slack.NewUpdateViewSubmissionResponse(&view))
	}
	if !b.enqueue(func(ctx context.Context) { b.answer(ctx, delivery{inv: inv, at: at}, resp) }) {
		b.seen.forget(inv.Delivery)
		return fieldErrors(map[string]string{first: "There is too much to do right now. Send this again in a minute."}, inv.Fields, first)
	}
	return ack{}, nil
}

// fieldErrors keeps a form open. Slack refuses errors for inputs that the form
// does not have, so those go to the first one.
func fieldErrors(faults, fields map[string]string, first string) (ack, error) {
	shown := map[string]string{}
	for field, text := range faults {
		if _, ok := fields[field]; !ok {
			field = first
		}
		shown[field] = literal(text, 300)
	}
	return jsonAck(slack.NewErrorsViewSubmissionResponse(shown))
}

// takeSuggestion answers a search field in the acknowledgement.
func (b *Bot) takeSuggestion(ctx context.Context, me installation, by identity.Principal, p interaction) (ack, error) {
	inv := chat.Invocation{Kind: chat.Suggest, By: by, Action: actionOf(p.ActionID), Text: p.Value, At: b.now()}
	inv.In = chat.Conversation{Platform: identity.Slack, Workspace: me.workspace}
	if p.View != nil {
		from, err := readOrigin(p.View.PrivateMetadata)
		if err != nil {
			return ack{}, fmt.Errorf("%w: %w", errMalformed, err)
		}
		inv.In.ID, inv.In.Thread, inv.In.Direct, inv.Value = from.Channel, from.Thread, from.Direct, from.Value
	}
	options := selectOptions(b.handle(ctx, inv).Options, 100)
	if options == nil {
		options = []*slack.OptionBlockObject{}
	}
	return jsonAck(map[string]any{"options": options})
}

func jsonAck(v any) (ack, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return ack{}, fmt.Errorf("encode the acknowledgement: %w", err)
	}
	return ack{contentType: jsonType, body: body}, nil
}

// acceptEvent takes an event from the HTTP route.
func (b *Bot) acceptEvent(ctx context.Context, body []byte) (ack, error) {
	var e eventEnvelope
	if err := strictJSON(body, &e); err != nil {
		return ack{}, err
	}
	if e.Type == "url_verification" {
		if len(e.Challenge) > maxChallenge {
			return ack{}, fmt.Errorf("%w: challenge", errMalformed)
		}
		return ack{contentType: "text/plain; charset=utf-8", body: []byte(e.Challenge)}, nil
	}
	return ack{}, b.takeEvent(ctx, e)
}

func (b *Bot) takeEvent(ctx context.Context, e eventEnvelope) error {
	if e.Type == "app_rate_limited" {
		b.logger.WarnContext(ctx, "slack withholds events for this app")
		return nil
	}
	if e.Type != "event_callback" || e.EventID == "" {
		return fmt.Errorf("%w: event", errWrongRoute)
	}
	me, err := b.installed(ctx, e.APIAppID, e.TeamID, e.EnterpriseID, "")
	if err != nil {
		return err
	}
	var ev event
	if err := json.Unmarshal(e.Event, &ev); err != nil {
		return fmt.Errorf("%w: event", errMalformed)
	}
	switch ev.Type {
	case "app_uninstalled", "tokens_revoked":
		b.logger.WarnContext(ctx, "slack app removed or its tokens revoked", slog.String("event", ev.Type))
		return nil
	case "app_home_opened":
		return b.takeHome(me, e, ev)
	case "link_shared":
		return b.takeLinks(me, e, ev)
	case "app_mention":
	case "message":
		if ev.ChannelType != "im" {
			return nil // what people say to each other is never a command
		}
	default:
		return nil
	}
	if !saidByPerson(ev, me) {
		return nil
	}
	// In a shared channel only user_team says whose account it is.
	workspace := ev.UserTeam
	if workspace == "" && !e.External {
		if workspace = ev.Team; workspace == "" {
			workspace = e.TeamID
		}
	}
	inv := chat.Invocation{
		Kind: chat.Command, Delivery: e.EventID, By: principal(workspace, ev.User, ""), Text: plainText(ev.Text, me.botUser), At: b.now(),
		In: chat.Conversation{
			Platform: identity.Slack, Workspace: me.workspace, ID: ev.Channel, Thread: ev.ThreadTS, Direct: ev.Type == "message",
		},
	}
	return b.take(delivery{inv: inv, at: place{channel: ev.Channel, thread: ev.ThreadTS, user: ev.User, direct: inv.In.Direct, said: ev.TS}})
}

// saidByPerson refuses what programs post, also as a person, and anything but
// a new message (threat-model S-11).
func saidByPerson(ev event, me installation) bool {
	return ev.Subtype == "" && ev.BotID == "" && ev.AppID == "" && ev.User != "" && ev.User != me.botUser &&
		ev.Channel != "" && (len(ev.Edited) == 0 || string(ev.Edited) == "null")
}

// installed refuses deliveries for another app, workspace or enterprise.
func (b *Bot) installed(ctx context.Context, app, workspace, enterprise, user string) (installation, error) {
	me, err := b.self.get(ctx)
	if err != nil {
		return installation{}, err
	}
	if !me.holds(app, workspace, enterprise) {
		b.cfg.Refused.Tell(ctx, principal(workspace, user, ""), chat.RefusedForeign)
		return installation{}, errForeign
	}
	return me, nil
}

func principal(workspace, user, name string) identity.Principal {
	return identity.Principal{Platform: identity.Slack, Workspace: workspace, Account: user, Address: user, Name: name}
}

// take queues d unless it was delivered before.
func (b *Bot) take(d delivery) error {
	if !b.seen.first(d.inv.Delivery) {
		if d.trigger != "" { // Slack itself repeats events alone
			b.cfg.Refused.Tell(context.Background(), d.inv.By, chat.RefusedRepeated)
		}
		return nil
	}
	if !b.enqueue(func(ctx context.Context) { b.serve(ctx, d) }) {
		b.seen.forget(d.inv.Delivery)
		return errBusy
	}
	return nil
}

// serve asks the handler and sends its answer.
func (b *Bot) serve(ctx context.Context, d delivery) {
	if d.at.home {
		b.serveHome(ctx, d)
		return
	}
	if !d.inv.In.Direct && b.isDirect(ctx, d.inv) {
		d.inv.In.Direct, d.inv.Source.Conversation.Direct = true, d.inv.Source.MessageID != ""
		d.at.direct = !d.at.ephemeralSource
	}
	b.answer(ctx, d, b.handle(ctx, d.inv))
}

func (b *Bot) handle(ctx context.Context, inv chat.Invocation) chat.Response {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return b.handler.Handle(ctx, inv)
}

// isDirect reports whether inv comes from the asker's own chat with the bot; a
// "D…" may also be two people's.
func (b *Bot) isDirect(ctx context.Context, inv chat.Invocation) bool {
	if inv.In.ID == "" || inv.In.ID[0] != 'D' {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	own, err := b.directChannel(ctx, inv.By.Account)
	return err == nil && own == inv.In.ID
}
