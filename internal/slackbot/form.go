package slackbot

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/mdebot/mdebot/internal/chat"
)

// origin is where a form was asked for, so that the answer to its submission
// goes there. It travels in the view's private metadata, which only Slack and
// the bot see; nothing is decided by it.
type origin struct {
	Value       string `json:"v,omitempty"`
	Channel     string `json:"c,omitempty"`
	Thread      string `json:"t,omitempty"`
	Source      string `json:"s,omitempty"`
	Direct      bool   `json:"d,omitempty"`
	ResponseURL string `json:"r,omitempty"`
	Until       int64  `json:"u,omitempty"` // seconds; when ResponseURL ends
	Clicked     bool   `json:"k,omitempty"`
	Ephemeral   bool   `json:"e,omitempty"` // Source is
	Replaceable bool   `json:"x,omitempty"` // the answer may take Source's place
}

// inputAction is the action ID of every input that is no search field.
const inputAction = "input"

// modal draws f as a view. The block ID of an input is its field's ID.
func modal(f chat.Form, from origin) (slack.ModalViewRequest, error) {
	from.Value = f.Value
	metadata, err := json.Marshal(from)
	if err != nil {
		return slack.ModalViewRequest{}, fmt.Errorf("draw form %s: %w", f.Action, err)
	}
	if utf8.RuneCount(metadata) > 3_000 || utf8.RuneCountInString(f.Action) > 255 {
		return slack.ModalViewRequest{}, fmt.Errorf("draw form %s: its value does not fit", f.Action)
	}
	view := slack.ModalViewRequest{
		Type: slack.VTModal, Title: plainObject(f.Title, 24), Close: plainObject("Cancel", 24), Submit: plainObject("Send", 24),
		CallbackID: f.Action, PrivateMetadata: string(metadata),
	}
	if f.Submit != "" {
		view.Submit = plainObject(f.Submit, 24)
	}
	r := &renderer{left: maxText}
	if intro := r.richText(f.Intro); intro != nil {
		view.Blocks.BlockSet = append(view.Blocks.BlockSet, intro)
	}
	for _, field := range f.Fields {
		view.Blocks.BlockSet = append(view.Blocks.BlockSet, inputBlock(field))
	}
	if view.Blocks.BlockSet == nil {
		view.Blocks.BlockSet = []slack.Block{slack.NewDividerBlock()}
	}
	if err := validateBlocks(view.Blocks.BlockSet, 100, true); err != nil {
		return slack.ModalViewRequest{}, fmt.Errorf("draw form %s: %w", f.Action, err)
	}
	return view, nil
}

func inputBlock(f chat.Field) slack.Block {
	var hint, placeholder *slack.TextBlockObject
	if f.Hint != "" {
		hint = plainObject(f.Hint, 300)
	}
	if f.Placeholder != "" {
		placeholder = plainObject(f.Placeholder, 150)
	}
	block := slack.NewInputBlock(f.ID, plainObject(f.Label, 200), hint, inputElement(f, placeholder))
	return block.WithOptional(f.Optional)
}

func inputElement(f chat.Field, placeholder *slack.TextBlockObject) slack.BlockElement {
	options := selectOptions(f.Options, 100)
	switch {
	case f.Kind == chat.FieldSearch:
		e := slack.NewOptionsSelectBlockElement(slack.OptTypeExternal, placeholder, f.Search)
		least := 1
		e.MinQueryLength = &least
		if initial := selectOptions([]chat.Option{{Label: f.Initial, Value: f.Initial}}, 1); len(initial) == 1 {
			e.InitialOption = initial[0]
		}
		return e
	case f.Kind == chat.FieldSelect && len(options) > 0:
		e := slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, placeholder, inputAction, options...)
		for _, o := range options {
			if o.Value == f.Initial {
				e.InitialOption = o
			}
		}
		return e
	}
	e := slack.NewPlainTextInputBlockElement(placeholder, inputAction)
	e.Multiline = f.Kind == chat.FieldArea
	e.MaxLength = 3_000
	if f.MaxLength > 0 {
		e.MaxLength = min(f.MaxLength, 3_000)
	}
	if f.Initial != "" {
		e.InitialValue = shorten(f.Initial, e.MaxLength)
	}
	return e
}

// readOrigin is the inverse of modal's metadata.
func readOrigin(metadata string) (origin, error) {
	var from origin
	if err := json.Unmarshal([]byte(metadata), &from); err != nil {
		return origin{}, errors.New("the view is not one of ours")
	}
	return from, nil
}
