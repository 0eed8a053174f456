package teamssim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"time"
)

// How addresses are previewed stands in Microsoft's "Link unfurling"
// (learn.microsoft.com/microsoftteams/platform/messaging-extensions/how-to/link-unfurling).

// previewKept is how long Teams keeps an answer that does not forbid it.
const previewKept = 30 * time.Minute

// pasted is an address as somebody has pasted it.
type pasted struct{ user, url string }

type keptPreview struct {
	card json.RawMessage
	at   time.Time
}

var addresses = regexp.MustCompile(`https?://[^\s<>|]+`)

// Paste puts text into the compose box of a conversation and returns the card that the
// app shows for the first address in it, or nil. The app is asked wherever it is
// installed for the user or in the place.
func (s *Server) Paste(ctx context.Context, user, conversation, text string) (card json.RawMessage, err error) {
	s.mu.Lock()
	c, u, err := s.place(user, conversation)
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	address := s.previewed(text)
	if address == "" || !s.botIn(c) && !u.Installed {
		s.mu.Unlock()
		return nil, nil
	}
	key := pasted{user, address}
	if kept, ok := s.previews[key]; ok && s.cfg.Now().Sub(kept.at) < previewKept {
		s.mu.Unlock()
		return kept.card, nil
	}
	a := s.activity(c, u, "", "invoke")
	a["name"], a["value"] = "composeExtension/queryLink", object{"url": address}
	a["channelData"].(object)["source"] = object{"name": "compose"}
	s.mu.Unlock()

	body, err := s.send(ctx, a)
	if refused := (*RefusedError)(nil); errors.As(err, &refused) {
		return nil, nil // the message goes out without
	}
	if err != nil {
		return nil, err
	}
	card, keep, err := parsePreview(body)
	if err != nil {
		return nil, fmt.Errorf("answer to an address: %w", err)
	}
	if keep {
		s.mu.Lock()
		s.previews[key] = keptPreview{card, s.cfg.Now()}
		s.mu.Unlock()
	}
	return card, nil
}

// previewed is the first address in text that the manifest names, or "".
func (s *Server) previewed(text string) string {
	for _, address := range addresses.FindAllString(text, -1) {
		if u, err := url.Parse(address); err == nil && slices.Contains(s.cfg.Domains, u.Hostname()) {
			return address
		}
	}
	return ""
}

// shown is an attachment of an answer to somebody who writes a message.
type shown struct {
	ContentType string          `json:"contentType"`
	Content     json.RawMessage `json:"content"`
}

// checkComposed refuses what Teams does not draw in a message that is not the bot's.
func (one shown) checkComposed() error {
	if one.ContentType != cardType {
		return fmt.Errorf("unknown type %q", one.ContentType)
	}
	if err := checkCard(one.Content); err != nil {
		return err
	}
	var c struct{ Version string }
	if json.Unmarshal(one.Content, &c) != nil || c.Version > "1.3" {
		return fmt.Errorf("a card of version %s; 1.3 is the newest here", c.Version)
	}
	var wrong error
	walkCard(one.Content, func(kind string, _ object) {
		if kind == "Action.Execute" || kind == "Table" {
			wrong = fmt.Errorf("%s is newer than version 1.3", kind)
		}
	})
	return wrong
}

// parsePreview reads the answer to composeExtension/queryLink: the first card, and
// whether Teams may keep it.
func parsePreview(body []byte) (card json.RawMessage, keep bool, err error) {
	var answer struct {
		Extension *struct {
			Type        string `json:"type"`
			Layout      string `json:"attachmentLayout"`
			Attachments []struct {
				shown
				Preview *shown `json:"preview"`
			} `json:"attachments"`
			Suggested struct {
				Actions []struct {
					Type  string `json:"type"`
					Value string `json:"value"`
				} `json:"actions"`
			} `json:"suggestedActions"`
		} `json:"composeExtension"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Extension == nil {
		return nil, false, fmt.Errorf("not a compose extension's: %.80s", body)
	}
	ext := answer.Extension
	if ext.Type != "result" || ext.Layout != "list" {
		return nil, false, fmt.Errorf("type %q, layout %q", ext.Type, ext.Layout)
	}
	keep = true
	for _, a := range ext.Suggested.Actions {
		var policy struct{ Type string }
		if a.Type == "setCachePolicy" && json.Unmarshal([]byte(a.Value), &policy) == nil && policy.Type == "no-cache" {
			keep = false
		}
	}
	if len(ext.Attachments) == 0 {
		return nil, keep, nil
	}
	first := ext.Attachments[0]
	if first.Preview == nil {
		return nil, false, errors.New("a card without a preview, which Teams does not show")
	}
	for _, one := range []shown{first.shown, *first.Preview} {
		if err := one.checkComposed(); err != nil {
			return nil, false, err
		}
	}
	return first.Content, keep, nil
}
