package teamssim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
)

// Choice names an action on a card: by its title, or by its verb, or both. The
// first action that fits is taken. Data, when not nil, is sent in place of the
// card's own, as a client under somebody's control can.
type Choice struct {
	Title string
	Verb  string
	Data  map[string]any
}

// Outcome is what a click or a submitted dialog led to, for the one who did it.
type Outcome struct {
	// Note is a line of text under the card, or in place of the dialog.
	Note string
	// Failed tells that Note is an error.
	Failed bool
	// Card is the card that replaced the clicked one, for this user.
	Card json.RawMessage
	// Dialog is the dialog that opened or stayed open.
	Dialog *Dialog
	// URL is the address a link button leads to.
	URL string
}

// Dialog is an open dialog.
type Dialog struct {
	ID    string
	Title string
	Card  json.RawMessage
}

type dialog struct {
	Dialog
	user    string
	message string
}

// Click presses a button on a card of the bot, with what the user has typed into
// the card's inputs. A button with a ShowCard is opened by clicking the action
// inside it: its title or verb is enough.
func (s *Server) Click(ctx context.Context, user, messageID string, choice Choice, inputs map[string]any) (Outcome, error) {
	s.mu.Lock()
	c, m := s.visible(user, messageID)
	if m == nil {
		s.mu.Unlock()
		return Outcome{}, ErrNoSuchMessage
	}
	card := m.as(user).Card
	action, data, err := s.press(user, messageID, card, choice, inputs)
	if err != nil {
		s.mu.Unlock()
		return Outcome{}, err
	}
	root := m.Thread
	if root == "" {
		root = m.ID
	}
	a := s.activity(c, s.users[user], root, "invoke")
	a["replyToId"] = m.ID
	a["channelData"].(object)["source"] = object{"name": "message"}
	s.mu.Unlock()

	switch action["type"] {
	case "Action.OpenUrl":
		link, _ := action["url"].(string)
		return Outcome{URL: link}, nil
	case "Action.Execute":
		a["name"] = "adaptiveCard/action"
		a["value"] = object{
			"action":  object{"type": "Action.Execute", "id": "", "verb": action["verb"], "title": action["title"], "data": data},
			"trigger": "manual",
		}
		body, err := s.send(ctx, a)
		if err != nil {
			return Outcome{}, err
		}
		return s.applyCardAnswer(user, messageID, body)
	case "Action.Submit":
		if ms, _ := data["msteams"].(object); ms["type"] == "task/fetch" {
			a["name"], a["value"] = "task/fetch", object{"data": data, "context": object{"theme": "default"}}
			body, err := s.send(ctx, a)
			if err != nil {
				return Outcome{}, err
			}
			return s.applyTask(user, messageID, "", body)
		}
		a["type"], a["value"] = "message", data
		_, err := s.send(ctx, a)
		return Outcome{}, err
	}
	return Outcome{}, fmt.Errorf("%w: %v cannot be clicked", ErrNoSuchAction, action["type"])
}

// OpenDialog is Click for a button that must open a dialog.
func (s *Server) OpenDialog(ctx context.Context, user, messageID string, choice Choice) (Dialog, error) {
	out, err := s.Click(ctx, user, messageID, choice, nil)
	if err != nil {
		return Dialog{}, err
	}
	if out.Dialog == nil {
		return Dialog{}, fmt.Errorf("no dialog opened; the bot said %q", out.Note)
	}
	return *out.Dialog, nil
}

// SubmitDialog presses the dialog's button with the inputs given. The outcome
// holds the dialog when it stays open.
func (s *Server) SubmitDialog(ctx context.Context, user, dialogID string, inputs map[string]any) (Outcome, error) {
	s.mu.Lock()
	d, ok := s.dialogs[dialogID]
	if !ok || d.user != user {
		s.mu.Unlock()
		return Outcome{}, errors.New("no such dialog for this user")
	}
	c, m := s.visible(user, d.message)
	if m == nil {
		s.mu.Unlock()
		return Outcome{}, ErrNoSuchMessage
	}
	_, data, err := s.press(user, dialogID, d.Card, Choice{}, inputs)
	if err != nil {
		s.mu.Unlock()
		return Outcome{}, err
	}
	root := m.Thread
	if root == "" {
		root = m.ID
	}
	a := s.activity(c, s.users[user], root, "invoke")
	a["replyToId"] = m.ID
	a["name"], a["value"] = "task/submit", object{"data": data, "context": object{"theme": "default"}}
	s.mu.Unlock()
	body, err := s.send(ctx, a)
	if err != nil {
		return Outcome{}, err
	}
	return s.applyTask(user, d.message, dialogID, body)
}

// parseCardAnswer reads the answer to adaptiveCard/action.
func parseCardAnswer(body []byte) (Outcome, error) {
	var answer struct {
		StatusCode int             `json:"statusCode"`
		Type       string          `json:"type"`
		Value      json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return Outcome{}, fmt.Errorf("answer to a card action: %w", err)
	}
	var out Outcome
	switch answer.Type {
	case cardType:
		if err := checkCard(answer.Value); err != nil {
			return Outcome{}, fmt.Errorf("answer to a card action: %w", err)
		}
		out.Card = answer.Value
	case "application/vnd.microsoft.activity.message":
		if err := json.Unmarshal(answer.Value, &out.Note); err != nil {
			return Outcome{}, fmt.Errorf("message in answer to a card action: %w", err)
		}
	case "application/vnd.microsoft.error":
		var fault struct{ Code, Message string }
		if err := json.Unmarshal(answer.Value, &fault); err != nil {
			return Outcome{}, fmt.Errorf("error in answer to a card action: %w", err)
		}
		out.Note, out.Failed = fault.Message, true
	default:
		return Outcome{}, fmt.Errorf("answer to a card action: unknown type %q", answer.Type)
	}
	if failed := answer.StatusCode != 200; failed != out.Failed {
		return Outcome{}, fmt.Errorf("answer to a card action: statusCode %d with type %s", answer.StatusCode, answer.Type)
	}
	return out, nil
}

// applyCardAnswer takes the answer to adaptiveCard/action.
func (s *Server) applyCardAnswer(user, messageID string, body []byte) (Outcome, error) {
	out, err := parseCardAnswer(body)
	if err != nil {
		return Outcome{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, m := s.visible(user, messageID); m != nil {
		m.setView(user, func(v *view) {
			if out.Card != nil {
				v.card = out.Card
			}
			v.note, v.failed = out.Note, out.Failed
		})
		s.changed()
	}
	return out, nil
}

// applyTask takes the answer to task/fetch or task/submit.
func (s *Server) applyTask(user, messageID, dialogID string, body []byte) (Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.dialogs, dialogID)
	maps.DeleteFunc(s.offered, func(k search, _ []Option) bool { return k.shown == dialogID })
	if len(body) == 0 {
		return Outcome{}, nil
	}
	var answer struct {
		Task *struct {
			Type  string          `json:"type"`
			Value json.RawMessage `json:"value"`
		} `json:"task"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Task == nil {
		return Outcome{}, fmt.Errorf("answer to a dialog: not a task: %.80s", body)
	}
	switch answer.Task.Type {
	case "message":
		var out Outcome
		if err := json.Unmarshal(answer.Task.Value, &out.Note); err != nil {
			return Outcome{}, fmt.Errorf("message in answer to a dialog: %w", err)
		}
		return out, nil
	case "continue":
		var value struct {
			Title string `json:"title"`
			Card  struct {
				ContentType string          `json:"contentType"`
				Content     json.RawMessage `json:"content"`
			} `json:"card"`
		}
		if err := json.Unmarshal(answer.Task.Value, &value); err != nil || value.Card.ContentType != cardType {
			return Outcome{}, errors.New("answer to a dialog: no card in it")
		}
		if err := checkCard(value.Card.Content); err != nil {
			return Outcome{}, fmt.Errorf("answer to a dialog: %w", err)
		}
		d := &dialog{Dialog: Dialog{ID: s.nextID(), Title: value.Title, Card: value.Card.Content}, user: user, message: messageID}
		s.dialogs[d.ID] = d
		shown := d.Dialog
		return Outcome{Dialog: &shown}, nil
	}
	return Outcome{}, fmt.Errorf("answer to a dialog: unknown type %q", answer.Task.Type)
}

// walkCard calls visit for every element and action of a card, in the order in which
// they are drawn.
func walkCard(card json.RawMessage, visit func(kind string, v object)) {
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case object:
			kind, _ := v["type"].(string)
			visit(kind, v)
			for _, k := range []string{"body", "items", "columns", "rows", "cells", "inlines", "selectAction", "actions", "card"} {
				walk(v[k])
			}
		}
	}
	var root object
	if json.Unmarshal(card, &root) == nil {
		walk(root)
	}
}

// press finds the chosen action on a card, which stands in a message or dialog with
// the ID shown, and merges the inputs into its data the way clients do: by input ID,
// over the card's own keys. It needs the lock.
func (s *Server) press(user, shown string, card json.RawMessage, choice Choice, inputs map[string]any) (action, data object, err error) {
	var fields []object
	walkCard(card, func(kind string, v object) {
		if strings.HasPrefix(kind, "Input.") {
			fields = append(fields, v)
		}
		if action == nil && clickable[kind] &&
			(choice.Title == "" || v["title"] == choice.Title) && (choice.Verb == "" || v["verb"] == choice.Verb) {
			action = v
		}
	})
	if action == nil {
		return nil, nil, fmt.Errorf("%w: %q", ErrNoSuchAction, choice.Title+choice.Verb)
	}
	data = object{}
	if own, ok := action["data"].(object); ok {
		maps.Copy(data, own)
	}
	if choice.Data != nil {
		data = maps.Clone(choice.Data)
	}
	if action["associatedInputs"] == "none" {
		return action, data, nil
	}
	for _, f := range fields {
		id, _ := f["id"].(string)
		value, given := inputs[id]
		if !given {
			value, given = f["value"], f["value"] != nil
		}
		if f["isRequired"] == true && (!given || value == "") {
			return nil, nil, fmt.Errorf("input %s is required", id)
		}
		if text, ok := value.(string); ok && f["maxLength"] != nil && float64(len([]rune(text))) > f["maxLength"].(float64) {
			return nil, nil, fmt.Errorf("input %s is too long", id)
		}
		if given && f["type"] == "Input.ChoiceSet" && !s.isChoice(user, shown, f, value) {
			return nil, nil, fmt.Errorf("%w: %v for input %s", ErrNoSuchChoice, value, id)
		}
		if given {
			data[id] = value
		}
	}
	return action, data, nil
}

var clickable = map[string]bool{"Action.Execute": true, "Action.Submit": true, "Action.OpenUrl": true}
