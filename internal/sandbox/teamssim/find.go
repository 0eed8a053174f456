package teamssim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// How the app is searched from a message that somebody writes stands in Microsoft's
// "Respond to search command"
// (learn.microsoft.com/microsoftteams/platform/messaging-extensions/how-to/search-commands/respond-to-search).

// maxListed is how many results Teams asks for and lists.
const maxListed = 25

// Result is one line of what a search lists, with the card that choosing it puts into
// the message.
type Result struct {
	Title, Text string
	Card        json.RawMessage
}

// Results are what a search lists, or what it says in place of a list.
type Results struct {
	List []Result
	Note string
}

// Query types text into the search box of a command of the app, at the message that user
// writes in a conversation. Nothing typed is what Teams asks when the box opens.
func (s *Server) Query(ctx context.Context, user, conversation, command, text string) (Results, error) {
	s.mu.Lock()
	c, u, err := s.place(user, conversation)
	if err == nil && !s.botIn(c) && !u.Installed {
		err = errors.New("the app is neither in the conversation nor installed for the user")
	}
	if err != nil {
		s.mu.Unlock()
		return Results{}, err
	}
	parameter := object{"name": command, "value": text}
	if text == "" {
		parameter = object{"name": "initialRun", "value": "true"}
	}
	a := s.activity(c, u, "", "invoke")
	a["name"] = "composeExtension/query"
	a["value"] = object{"commandId": command, "parameters": []object{parameter}, "queryOptions": object{"skip": 0, "count": maxListed}}
	a["channelData"].(object)["source"] = object{"name": "compose"}
	s.mu.Unlock()

	body, err := s.send(ctx, a)
	if err != nil {
		return Results{}, err
	}
	results, err := parseResults(body)
	if err != nil {
		return Results{}, fmt.Errorf("answer to a search: %w", err)
	}
	return results, nil
}

// Insert sends text with the card of a result, as a message of user's, in a thread when
// thread is not empty.
func (s *Server) Insert(ctx context.Context, user, conversation, text, thread string, r Result) (id string, err error) {
	return s.write(ctx, user, conversation, text, thread, r.Card)
}

// parseResults reads the answer to composeExtension/query.
func parseResults(body []byte) (Results, error) {
	var answer struct {
		Extension *struct {
			Type        string `json:"type"`
			Text        string `json:"text"`
			Layout      string `json:"attachmentLayout"`
			Attachments *[]struct {
				shown
				Preview *shown `json:"preview"`
			} `json:"attachments"`
		} `json:"composeExtension"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Extension == nil {
		return Results{}, fmt.Errorf("not a compose extension's: %.80s", body)
	}
	ext := answer.Extension
	switch {
	case ext.Type == "message" && ext.Text != "" && ext.Attachments == nil:
		return Results{Note: ext.Text}, nil
	case ext.Type != "result" || ext.Layout != "list" || ext.Attachments == nil:
		return Results{}, fmt.Errorf("type %q, layout %q, text %q", ext.Type, ext.Layout, ext.Text)
	case len(*ext.Attachments) > maxListed:
		return Results{}, fmt.Errorf("%d results; Teams lists %d", len(*ext.Attachments), maxListed)
	}
	var results Results
	for _, a := range *ext.Attachments {
		if err := a.checkComposed(); err != nil {
			return Results{}, err
		}
		line, err := a.Preview.line()
		if err != nil {
			return Results{}, err
		}
		line.Card = a.Content
		results.List = append(results.List, line)
	}
	return results, nil
}

// line is what a list draws of a preview, which is a Hero or Thumbnail card.
func (p *shown) line() (Result, error) {
	if p == nil {
		return Result{}, errors.New("a card without a preview, which Teams does not list")
	}
	if p.ContentType != "application/vnd.microsoft.card.thumbnail" && p.ContentType != "application/vnd.microsoft.card.hero" {
		return Result{}, fmt.Errorf("a preview of type %q", p.ContentType)
	}
	var c struct {
		Title   string `json:"title"`
		Text    string `json:"text"`
		Buttons []any  `json:"buttons"`
		Tap     any    `json:"tap"`
	}
	if err := json.Unmarshal(p.Content, &c); err != nil || c.Title == "" {
		return Result{}, fmt.Errorf("a preview without a title: %.80s", p.Content)
	}
	if len(c.Buttons) > 0 || c.Tap != nil {
		return Result{}, errors.New("a preview with something to press")
	}
	return Result{Title: c.Title, Text: c.Text}, nil
}
