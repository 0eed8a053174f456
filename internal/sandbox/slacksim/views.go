package slacksim

import (
	"encoding/json"
	"fmt"
	"strings"
)

func (s *Server) viewsOpen(a args) map[string]any {
	t := s.triggers[a["trigger_id"]]
	switch {
	case t == nil:
		return fail("invalid_trigger_id")
	case t.used:
		return fail("exchanged_trigger_id")
	case s.opts.Now().After(t.expires):
		return fail("expired_trigger_id")
	}
	view := json.RawMessage(a["view"])
	if refused := checkModal(view); refused != nil {
		return refused
	}
	t.used = true
	m := &Modal{ID: s.newID("V"), Hash: s.newID("hash."), User: t.user, View: view}
	s.modals[t.user] = []*Modal{m}
	s.ledger = append(s.ledger, Entry{Op: "views.open", User: t.user})
	s.changed()
	return viewResult(m)
}

func (s *Server) viewsUpdate(a args) map[string]any {
	for _, stack := range s.modals {
		for _, m := range stack {
			if m.ID != a["view_id"] {
				continue
			}
			if a["hash"] != "" && a["hash"] != m.Hash {
				return fail("hash_conflict")
			}
			view := json.RawMessage(a["view"])
			if refused := checkModal(view); refused != nil {
				return refused
			}
			m.View, m.Hash, m.Errors = view, s.newID("hash."), nil
			s.ledger = append(s.ledger, Entry{Op: "views.update", User: m.User})
			s.changed()
			return viewResult(m)
		}
	}
	return fail("not_found")
}

func viewResult(m *Modal) map[string]any {
	view := map[string]any{}
	_ = json.Unmarshal(m.View, &view) // checked by checkModal
	view["id"], view["hash"] = m.ID, m.Hash
	result := ok()
	result["view"] = view
	return result
}

// applyViewAnswer does what the answer to a submission says.
func (s *Server) applyViewAnswer(user, viewID string, answer []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.changed()
	stack := s.modals[user]
	if len(stack) == 0 || stack[len(stack)-1].ID != viewID {
		return nil // closed meanwhile
	}
	top := stack[len(stack)-1]
	if len(answer) == 0 {
		s.modals[user] = stack[:len(stack)-1]
		return nil
	}
	var a struct {
		Action string            `json:"response_action"`
		Errors map[string]string `json:"errors"`
		View   json.RawMessage   `json:"view"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return &DeliveryError{Status: 200, Reason: "invalid_response"}
	}
	switch a.Action {
	case "errors":
		blocks := map[string]bool{}
		for _, input := range modalInputs(top.View) {
			blocks[input.block] = true
		}
		for id := range a.Errors {
			if !blocks[id] {
				return &DeliveryError{Status: 200, Reason: "unknown_block_in_errors"}
			}
		}
		top.Errors = a.Errors
	case "update", "push":
		if refused := checkModal(a.View); refused != nil {
			return &DeliveryError{Status: 200, Reason: fmt.Sprint(refused["error"])}
		}
		if a.Action == "push" {
			if len(stack) == 3 {
				return &DeliveryError{Status: 200, Reason: "push_limit_reached"}
			}
			s.modals[user] = append(stack, &Modal{ID: s.newID("V"), Hash: s.newID("hash."), User: user, View: a.View})
			return nil
		}
		top.View, top.Hash, top.Errors = a.View, s.newID("hash."), nil
	case "clear":
		delete(s.modals, user)
	default:
		return &DeliveryError{Status: 200, Reason: "invalid_response"}
	}
	return nil
}

// input is one input of a modal.
type input struct {
	block, action, kind string
	initial             string
	options             []any
}

func modalInputs(view json.RawMessage) []input {
	var v struct {
		Blocks []struct {
			Type    string         `json:"type"`
			BlockID string         `json:"block_id"`
			Element map[string]any `json:"element"`
		} `json:"blocks"`
	}
	_ = json.Unmarshal(view, &v) // checked by checkModal
	var out []input
	for _, b := range v.Blocks {
		if b.Type != "input" {
			continue
		}
		in := input{block: b.BlockID}
		in.kind, _ = b.Element["type"].(string)
		in.action, _ = b.Element["action_id"].(string)
		in.options, _ = b.Element["options"].([]any)
		if in.initial, _ = b.Element["initial_value"].(string); in.initial == "" {
			option, _ := b.Element["initial_option"].(map[string]any)
			in.initial, _ = option["value"].(string)
		}
		out = append(out, in)
	}
	return out
}

// submittedView is the view of a submission with its state.
func submittedView(m *Modal, fields map[string]string) (map[string]any, error) {
	view := map[string]any{}
	if err := json.Unmarshal(m.View, &view); err != nil {
		return nil, err
	}
	values := map[string]any{}
	known := map[string]bool{}
	for _, in := range modalInputs(m.View) {
		known[in.block] = true
		value, given := fields[in.block]
		if !given {
			value = in.initial
		}
		state := map[string]any{"type": in.kind}
		if strings.HasSuffix(in.kind, "_select") {
			state["selected_option"] = nil
			if value != "" {
				state["selected_option"] = map[string]any{"value": value, "text": map[string]any{"type": "plain_text", "text": value}}
			}
		} else {
			state["value"] = nil
			if value != "" {
				state["value"] = value
			}
		}
		values[in.block] = map[string]any{in.action: state}
	}
	for id := range fields {
		if !known[id] {
			return nil, fmt.Errorf("%w: input %q", ErrNoElement, id)
		}
	}
	view["id"], view["hash"] = m.ID, m.Hash
	view["state"] = map[string]any{"values": values}
	return view, nil
}

func parseSuggestions(answer []byte) ([]Option, error) {
	var a struct {
		Options []struct {
			Text        struct{ Text string }  `json:"text"`
			Description *struct{ Text string } `json:"description"`
			Value       string                 `json:"value"`
		} `json:"options"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return nil, &DeliveryError{Status: 200, Reason: "invalid_response"}
	}
	if len(a.Options) > 100 {
		return nil, &DeliveryError{Status: 200, Reason: "too_many_options"}
	}
	out := []Option{}
	for _, o := range a.Options {
		option := Option{Label: o.Text.Text, Value: o.Value}
		if o.Description != nil {
			option.Detail = o.Description.Text
		}
		if n := len([]rune(option.Label)); n < 1 || n > 75 || len([]rune(option.Value)) > 150 {
			return nil, &DeliveryError{Status: 200, Reason: "invalid_options"}
		}
		out = append(out, option)
	}
	return out, nil
}
