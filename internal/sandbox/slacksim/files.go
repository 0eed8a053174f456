package slacksim

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func (s *Server) getUploadURL(a args) map[string]any {
	length, err := strconv.Atoi(a["length"])
	if err != nil || length <= 0 || a["filename"] == "" {
		return fail("invalid_arguments")
	}
	f := &File{ID: s.newID("F"), Name: a["filename"], AltText: a["alt_txt"]}
	s.uploads[f.ID] = f
	result := ok()
	result["file_id"], result["upload_url"] = f.ID, s.baseURL+"/upload/"+f.ID
	return result
}

func (s *Server) serveUpload(w http.ResponseWriter, r *http.Request, id string) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<20))
	if err != nil {
		http.Error(w, "unreadable", http.StatusBadRequest)
		return
	}
	if mediaType, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); strings.HasPrefix(mediaType, "multipart/") {
		part, err := multipart.NewReader(bytes.NewReader(body), params["boundary"]).NextPart()
		if err != nil {
			http.Error(w, "no part", http.StatusBadRequest)
			return
		}
		if body, err = io.ReadAll(part); err != nil {
			http.Error(w, "unreadable part", http.StatusBadRequest)
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.uploads[id]
	if f == nil {
		http.NotFound(w, r)
		return
	}
	f.Content = body
	_, _ = io.WriteString(w, "OK - "+strconv.Itoa(len(body)))
}

func (s *Server) completeUpload(a args) map[string]any {
	var files []struct {
		ID    string `json:"id"`
		Title string `json:"title"`
	}
	if json.Unmarshal([]byte(a["files"]), &files) != nil || len(files) == 0 {
		return fail("invalid_arguments")
	}
	m := &Message{User: s.opts.BotUser, FromBot: true, Text: a["initial_comment"], Payload: a.payload()}
	var done []any
	for _, f := range files {
		uploaded := s.uploads[f.ID]
		if uploaded == nil || uploaded.Content == nil {
			return fail("file_not_found")
		}
		uploaded.Title = f.Title
		m.Files = append(m.Files, *uploaded)
		done = append(done, map[string]any{"id": f.ID, "title": f.Title})
	}
	if id := a["channel_id"] + a["channels"]; id != "" {
		c, refused := s.reach(id)
		if refused != nil {
			return refused
		}
		m.Channel, m.TS = c.ID, s.newTS()
		if parent := c.find(a["thread_ts"]); parent != nil {
			m.ThreadTS, parent.ThreadTS = parent.TS, parent.TS
		}
		c.messages = append(c.messages, m)
	}
	for _, f := range files {
		delete(s.uploads, f.ID)
	}
	s.record("files.completeUploadExternal", m)
	result := ok()
	result["files"] = done
	return result
}

// deleteFile takes a file out of the message that carries it.
func (s *Server) deleteFile(a args) map[string]any {
	for _, c := range s.channels {
		for _, m := range c.messages {
			if i := slices.IndexFunc(m.Files, func(f File) bool { return f.ID == a["file"] }); i >= 0 {
				if !m.FromBot {
					return fail("cant_delete_file")
				}
				m.Files = slices.Delete(slices.Clone(m.Files), i, i+1)
				s.record("files.delete", m)
				return ok()
			}
		}
	}
	return fail("file_not_found")
}
