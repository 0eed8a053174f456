package slacksim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// What cannot be done on screen.
var (
	ErrNoUser    = errors.New("no such user")
	ErrNoChannel = errors.New("no such channel, or the user is not in it")
	ErrNoMessage = errors.New("no such message")
	ErrNoElement = errors.New("no such button or menu in the message")
	ErrNoModal   = errors.New("the user has no open dialog")
)

// Press names a button by any of its action ID, value and label; empty fields
// match every button.
type Press struct {
	ActionID string
	Value    string
	Label    string
}

// Option is one suggested entry of a search field.
type Option struct {
	Label  string
	Detail string
	Value  string
}

// Slash types the slash command with text into a channel or direct chat. An
// answer inside the acknowledgement appears as a message.
func (s *Server) Slash(ctx context.Context, user, channelID, text string) error {
	s.mu.Lock()
	u, c, err := s.inChannel(user, channelID)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	name := c.Name
	switch {
	case c.Direct != "":
		name = "directmessage"
	case c.Private:
		name = "privategroup"
	}
	address := s.newResponseURL(user, channelID, "", "")
	form := url.Values{
		"token": {"deprecated"}, "team_id": {u.Workspace}, "team_domain": {"sandbox"},
		"channel_id": {channelID}, "channel_name": {name}, "user_id": {user}, "user_name": {u.Name},
		"command": {s.opts.Command}, "text": {text}, "api_app_id": {s.opts.AppID}, "is_enterprise_install": {"false"},
		"response_url": {address}, "trigger_id": {s.newTrigger(user)},
	}
	if s.opts.Enterprise != "" {
		form.Set("enterprise_id", s.opts.Enterprise)
	}
	s.mu.Unlock()

	fields := map[string]string{}
	for k := range form {
		fields[k] = form.Get(k)
	}
	payload, _ := json.Marshal(fields)
	answer, err := s.deliver(ctx, delivery{path: "/slack/commands", form: form, json: payload, envelope: "slash_commands", answers: true})
	if err != nil || len(answer) == 0 {
		return err
	}
	return s.respond(address, answer)
}

// Mention writes a message that begins with the bot's mention, in a thread when
// threadTS is set.
func (s *Server) Mention(ctx context.Context, user, channelID, threadTS, text string) error {
	return s.Write(ctx, user, channelID, threadTS, "<@"+s.opts.BotUser+"> "+text, "app_mention")
}

// Direct writes to the bot in user's direct chat.
func (s *Server) Direct(ctx context.Context, user, text string) error {
	return s.Write(ctx, user, s.DirectChannel(user), "", text, "message")
}

// Write writes text as it would arrive (entities and mentions in Slack's form)
// and delivers it as an event of eventType; an empty eventType delivers nothing.
func (s *Server) Write(ctx context.Context, user, channelID, threadTS, text, eventType string) error {
	s.mu.Lock()
	u, c, err := s.inChannel(user, channelID)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	m := &Message{Channel: channelID, TS: s.newTS(), ThreadTS: threadTS, User: user, Text: text}
	c.messages = append(c.messages, m)
	event := map[string]any{
		"type": eventType, "user": user, "text": text, "ts": m.TS, "event_ts": m.TS, "channel": channelID, "team": u.Workspace,
	}
	if eventType == "message" {
		event["channel_type"] = "im"
	}
	if threadTS != "" {
		event["thread_ts"] = threadTS
	}
	if c.Shared {
		event["user_team"] = u.Workspace
	}
	payload := s.eventPayload(event, c.Shared)
	links := s.linksShared(c, m)
	s.changed()
	s.mu.Unlock()
	if eventType != "" {
		if err := s.deliverEvent(ctx, payload); err != nil {
			return err
		}
	}
	if links == nil {
		return nil
	}
	return s.deliverEvent(ctx, links)
}

// eventPayload is what every event comes in. The caller holds the lock.
func (s *Server) eventPayload(event map[string]any, shared bool) map[string]any {
	payload := map[string]any{
		"token": "deprecated", "team_id": s.opts.Workspace, "api_app_id": s.opts.AppID, "event": event,
		"type": "event_callback", "event_id": s.newID("Ev"), "event_time": s.opts.Now().Unix(),
		"is_ext_shared_channel": shared,
		"authorizations": []any{map[string]any{
			"enterprise_id": nil, "team_id": s.opts.Workspace, "user_id": s.opts.BotUser, "is_bot": true, "is_enterprise_install": false,
		}},
	}
	if s.opts.Enterprise != "" {
		payload["enterprise_id"] = s.opts.Enterprise
	}
	return payload
}

// Click presses a button of a message. It does not ask for the confirmation that
// the button may carry.
func (s *Server) Click(ctx context.Context, user, channelID, ts string, p Press) error {
	return s.act(ctx, user, channelID, ts, button(p))
}

// Choose picks the option with value in a menu of a message; an empty actionID
// means the first menu that has it.
func (s *Server) Choose(ctx context.Context, user, channelID, ts, actionID, value string) error {
	return s.act(ctx, user, channelID, ts, choice(actionID, value))
}

// picker returns the action of an element that it accepts.
type picker func(element map[string]any) (action map[string]any, ok bool)

func button(p Press) picker {
	return func(e map[string]any) (map[string]any, bool) {
		label, _ := e["text"].(map[string]any)
		if e["type"] != "button" || !matches(p.ActionID, e["action_id"]) || !matches(p.Value, e["value"]) || !matches(p.Label, label["text"]) {
			return nil, false
		}
		return map[string]any{"type": "button", "value": e["value"], "text": e["text"]}, true
	}
}

func choice(actionID, value string) picker {
	return func(e map[string]any) (map[string]any, bool) {
		if e["type"] != "static_select" || !matches(actionID, e["action_id"]) {
			return nil, false
		}
		options, _ := e["options"].([]any)
		for _, o := range options {
			if option, _ := o.(map[string]any); option["value"] == value {
				return map[string]any{"type": "static_select", "selected_option": option}, true
			}
		}
		return nil, false
	}
}

func matches(want string, got any) bool {
	return want == "" || want == got
}

// Shortcut picks a shortcut of the app, by its name, in the menu of a message. An
// ephemeral message has no such menu.
func (s *Server) Shortcut(ctx context.Context, user, channelID, ts, name string) error {
	s.mu.Lock()
	u, c, err := s.inChannel(user, channelID)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	callback := s.opts.Shortcuts[name]
	m := c.find(ts)
	switch {
	case callback == "":
		err = ErrNoElement
	case m == nil || m.OnlyFor != "":
		err = ErrNoMessage
	}
	if err != nil {
		s.mu.Unlock()
		return err
	}
	now := s.opts.Now()
	payload := s.interaction("message_action", u)
	delete(payload, "api_app_id") // Slack names no app here
	payload["callback_id"], payload["trigger_id"] = callback, s.newTrigger(user)
	payload["action_ts"] = fmt.Sprintf("%d.%06d", now.Unix(), now.Nanosecond()/1000)
	payload["message_ts"], payload["message"] = ts, messageJSON(m, s.botID)
	payload["channel"] = map[string]any{"id": channelID, "name": c.Name}
	payload["response_url"] = s.newResponseURL(user, channelID, "", "")
	s.mu.Unlock()
	_, err = s.interact(ctx, payload)
	return err
}

// act sends block_actions for the first element that pick accepts.
func (s *Server) act(ctx context.Context, user, channelID, ts string, pick picker) error {
	s.mu.Lock()
	u, c, err := s.inChannel(user, channelID)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	m := c.find(ts)
	if m == nil || m.OnlyFor != "" && m.OnlyFor != user {
		s.mu.Unlock()
		return ErrNoMessage
	}
	action := s.findElement(allBlocks(m.Blocks, m.Attachments), pick)
	if action == nil {
		s.mu.Unlock()
		return ErrNoElement
	}
	container := map[string]any{"type": "message", "message_ts": ts, "channel_id": channelID, "is_ephemeral": m.OnlyFor != ""}
	if m.ThreadTS != "" {
		container["thread_ts"] = m.ThreadTS
	}
	payload := s.interaction("block_actions", u)
	payload["trigger_id"] = s.newTrigger(user)
	payload["container"] = container
	payload["channel"] = map[string]any{"id": channelID, "name": c.Name}
	payload["message"] = messageJSON(m, s.botID)
	payload["response_url"] = s.newResponseURL(user, channelID, ts, m.ThreadTS)
	payload["actions"] = []any{action}
	s.mu.Unlock()
	_, err = s.interact(ctx, payload)
	return err
}

// findElement returns the action for the first element that pick accepts, or nil. The
// caller holds the lock.
func (s *Server) findElement(blocks []map[string]any, pick picker) map[string]any {
	for _, b := range blocks {
		elements, _ := b["elements"].([]any)
		if accessory, ok := b["accessory"]; ok {
			elements = append(slices.Clone(elements), accessory)
		}
		for _, e := range elements {
			element, _ := e.(map[string]any)
			action, ok := pick(element)
			if !ok {
				continue
			}
			now := s.opts.Now()
			action["block_id"], _ = b["block_id"].(string)
			action["action_id"], _ = element["action_id"].(string)
			action["action_ts"] = fmt.Sprintf("%d.%06d", now.Unix(), now.Nanosecond()/1000)
			return action
		}
	}
	return nil
}

// SubmitView submits the user's dialog with the given inputs by block ID; inputs
// left out keep their initial value. The answer is applied: errors are shown in
// [Modal.Errors], an update replaces the dialog, an empty answer closes it.
func (s *Server) SubmitView(ctx context.Context, user string, fields map[string]string) error {
	s.mu.Lock()
	u := s.users[user]
	stack := s.modals[user]
	if u == nil || len(stack) == 0 {
		s.mu.Unlock()
		return ErrNoModal
	}
	modal := stack[len(stack)-1]
	view, err := submittedView(modal, fields)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	view["app_id"], view["app_installed_team_id"] = s.opts.AppID, s.opts.Workspace
	payload := s.interaction("view_submission", u)
	payload["trigger_id"] = s.newTrigger(user)
	payload["view"] = view
	payload["response_urls"] = []any{}
	s.mu.Unlock()
	answer, err := s.interact(ctx, payload)
	if err != nil {
		return err
	}
	return s.applyViewAnswer(user, modal.ID, answer)
}

// CloseView closes the user's dialogs.
func (s *Server) CloseView(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.modals, user)
	s.changed()
}

// Suggest types text into the search field with that block ID in the user's
// dialog.
func (s *Server) Suggest(ctx context.Context, user, blockID, text string) ([]Option, error) {
	s.mu.Lock()
	u := s.users[user]
	stack := s.modals[user]
	if u == nil || len(stack) == 0 {
		s.mu.Unlock()
		return nil, ErrNoModal
	}
	modal := stack[len(stack)-1]
	actionID := ""
	for _, input := range modalInputs(modal.View) {
		if input.block == blockID && input.kind == "external_select" {
			actionID = input.action
		}
	}
	view, err := submittedView(modal, nil)
	if err != nil || actionID == "" {
		s.mu.Unlock()
		return nil, errors.Join(ErrNoElement, err)
	}
	payload := s.interaction("block_suggestion", u)
	payload["container"] = map[string]any{"type": "view", "view_id": modal.ID}
	payload["view"] = view
	payload["action_id"], payload["block_id"], payload["value"] = actionID, blockID, text
	s.mu.Unlock()
	answer, err := s.interact(ctx, payload)
	if err != nil {
		return nil, err
	}
	return parseSuggestions(answer)
}

// interaction is what every interaction payload carries. The caller holds the
// lock.
func (s *Server) interaction(kind string, u *User) map[string]any {
	payload := map[string]any{
		"type": kind, "api_app_id": s.opts.AppID, "token": "deprecated",
		"team":       map[string]any{"id": s.opts.Workspace, "domain": "sandbox"},
		"user":       map[string]any{"id": u.ID, "username": u.Name, "name": u.Name, "team_id": u.Workspace},
		"enterprise": nil, "is_enterprise_install": false,
	}
	if s.opts.Enterprise != "" {
		payload["enterprise"] = map[string]any{"id": s.opts.Enterprise, "name": "Enterprise"}
	}
	return payload
}

func (s *Server) interact(ctx context.Context, payload map[string]any) ([]byte, error) {
	body, err := json.Marshal(payload)
	if err != nil {
		return nil, err
	}
	kind, _ := payload["type"].(string)
	return s.deliver(ctx, delivery{
		path: "/slack/interactions", form: url.Values{"payload": {string(body)}}, json: body,
		envelope: "interactive", answers: kind != "block_actions" && kind != "message_action",
	})
}

// inChannel finds a user and a channel that the user is in. The caller holds the
// lock.
func (s *Server) inChannel(user, channelID string) (*User, *channel, error) {
	u := s.users[user]
	if u == nil {
		return nil, nil, fmt.Errorf("%w: %s", ErrNoUser, user)
	}
	c := s.channels[channelID]
	if c == nil || !slices.Contains(c.Members, user) {
		return nil, nil, fmt.Errorf("%w: %s", ErrNoChannel, channelID)
	}
	return u, c, nil
}

// trigger is a trigger_id: a short life, one use.
type trigger struct {
	user    string
	expires time.Time
	used    bool
}

// newTrigger makes a trigger_id. The caller holds the lock.
func (s *Server) newTrigger(user string) string {
	id := s.newID("1000.2000.")
	s.triggers[id] = &trigger{user: user, expires: s.opts.Now().Add(s.opts.AckWithin)}
	return id
}
