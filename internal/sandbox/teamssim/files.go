package teamssim

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

type upload struct {
	name string
	user string
	done bool
}

// AnswerFile accepts or declines a file that the bot offers in a personal chat.
func (s *Server) AnswerFile(ctx context.Context, user, messageID string, accept bool) error {
	s.mu.Lock()
	c, m := s.visible(user, messageID)
	if m == nil {
		s.mu.Unlock()
		return ErrNoSuchMessage
	}
	var offer *Attachment
	for i := range m.Attachments {
		if m.Attachments[i].ContentType == consentType {
			offer = &m.Attachments[i]
		}
	}
	if offer == nil || c.Kind != "personal" {
		s.mu.Unlock()
		return fmt.Errorf("%w: no file is offered", ErrNoSuchAction)
	}
	var content struct {
		AcceptContext  json.RawMessage `json:"acceptContext"`
		DeclineContext json.RawMessage `json:"declineContext"`
	}
	if err := json.Unmarshal(offer.Content, &content); err != nil {
		s.mu.Unlock()
		return fmt.Errorf("file consent: %w", err)
	}
	value := object{"type": "fileUpload", "action": "decline", "context": content.DeclineContext}
	if accept {
		key := s.nextID()
		s.uploads[key] = &upload{name: offer.Name, user: user}
		address := s.base + "/files/upload/" + key
		value = object{"type": "fileUpload", "action": "accept", "context": content.AcceptContext, "uploadInfo": object{
			"uploadUrl": address, "contentUrl": s.base + "/files/" + key, "name": offer.Name, "uniqueId": key, "fileType": "csv",
		}}
	}
	a := s.activity(c, s.users[user], "", "invoke")
	a["name"], a["replyToId"], a["value"] = "fileConsent/invoke", m.ID, value
	s.mu.Unlock()
	_, err := s.send(ctx, a)
	return err
}

func (s *Server) serveUpload(w http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(io.LimitReader(r.Body, 32<<20))
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.uploads[r.PathValue("key")]
	want := fmt.Sprintf("bytes 0-%d/%d", len(content)-1, len(content))
	switch {
	case !ok || u.done:
		refuse(w, http.StatusNotFound, "itemNotFound", "The upload session was not found.")
		return
	case r.Header.Get("Content-Range") != want:
		refuse(w, http.StatusBadRequest, "invalidRange", "Content-Range must be "+want)
		return
	}
	u.done = true
	s.files = append(s.files, File{Name: u.name, Content: content, User: u.user, TokenSeen: r.Header.Get("Authorization") != ""})
	s.effects = append(s.effects, Effect{At: s.cfg.Now(), Kind: EffectUpload, Message: u.name})
	s.changed()
	respond(w, http.StatusCreated, object{"name": u.name})
}
