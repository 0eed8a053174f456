package slacksim

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// method is one Web API method.
type method struct {
	scopes []string // any of them suffices; none means no scope is needed
	app    bool     // called with the app-level token
	config bool     // called with an app configuration token
	call   func(*Server, args) map[string]any
}

var methods = map[string]method{
	"auth.test":                    {call: (*Server).authTest},
	"bots.info":                    {scopes: []string{"users:read"}, call: (*Server).botsInfo},
	"users.info":                   {scopes: []string{"users:read"}, call: (*Server).usersInfo},
	"usergroups.list":              {scopes: []string{"usergroups:read"}, call: (*Server).usergroupsList},
	"usergroups.users.list":        {scopes: []string{"usergroups:read"}, call: (*Server).usergroupsUsersList},
	"chat.postMessage":             {scopes: []string{"chat:write"}, call: (*Server).postMessage},
	"chat.update":                  {scopes: []string{"chat:write"}, call: (*Server).updateMessage},
	"chat.postEphemeral":           {scopes: []string{"chat:write"}, call: (*Server).postEphemeral},
	"chat.delete":                  {scopes: []string{"chat:write"}, call: (*Server).deleteMessage},
	"chat.unfurl":                  {scopes: []string{"links:write"}, call: (*Server).unfurl},
	"chat.getPermalink":            {call: (*Server).getPermalink},
	"conversations.open":           {scopes: []string{"im:write"}, call: (*Server).conversationsOpen},
	"conversations.info":           {scopes: []string{"channels:read", "groups:read"}, call: (*Server).conversationsInfo},
	"conversations.list":           {scopes: []string{"channels:read", "groups:read"}, call: (*Server).conversationsList},
	"conversations.members":        {scopes: []string{"channels:read", "groups:read"}, call: (*Server).conversationsMembers},
	"conversations.history":        {scopes: []string{"channels:history", "groups:history", "im:history"}, call: (*Server).conversationsHistory},
	"conversations.replies":        {scopes: []string{"channels:history", "groups:history", "im:history"}, call: (*Server).conversationsReplies},
	"views.open":                   {call: (*Server).viewsOpen},
	"views.update":                 {call: (*Server).viewsUpdate},
	"views.publish":                {call: (*Server).viewsPublish},
	"files.getUploadURLExternal":   {scopes: []string{"files:write"}, call: (*Server).getUploadURL},
	"files.completeUploadExternal": {scopes: []string{"files:write"}, call: (*Server).completeUpload},
	"files.delete":                 {scopes: []string{"files:write"}, call: (*Server).deleteFile},
	"apps.connections.open":        {app: true, call: (*Server).connectionsOpen},
	"apps.manifest.export":         {config: true, call: (*Server).exportManifest},
}

// args are a call's arguments, whether they came as a form, in the query or as
// JSON. Values of JSON that are no strings keep their JSON text.
type args map[string]string

func (a args) bool(name string) bool { return a[name] == "true" || a[name] == "1" }

// payload is the call as JSON, without the token, for display.
func (a args) payload() json.RawMessage {
	shown := map[string]any{}
	for k, v := range a {
		if k == "token" {
			continue
		}
		if trimmed := strings.TrimSpace(v); strings.HasPrefix(trimmed, "{") || strings.HasPrefix(trimmed, "[") {
			if json.Valid([]byte(v)) {
				shown[k] = json.RawMessage(v)
				continue
			}
		}
		shown[k] = v
	}
	out, _ := json.Marshal(shown)
	return out
}

func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request, name string) {
	a, token, err := readArgs(r)
	if err != nil {
		writeJSON(w, fail("invalid_form_data"))
		return
	}
	m, ok := methods[name]
	if !ok {
		writeJSON(w, fail("unknown_method"))
		return
	}
	s.mu.Lock()
	if s.calls == nil {
		s.calls = map[string]int{}
	}
	s.calls[name]++
	s.mu.Unlock()
	answer := func(w http.ResponseWriter) { writeJSON(w, s.call(m, a, token, w)) }
	if f := s.nextFault(name); f != nil {
		s.answerWithFault(w, r, f, answer)
		return
	}
	answer(w)
}

// call checks token and scopes and runs the method.
func (s *Server) call(m method, a args, token string, w http.ResponseWriter) map[string]any {
	want := s.opts.BotToken
	switch {
	case m.app:
		want = s.opts.AppToken
	case m.config:
		want = s.opts.ConfigToken
	}
	switch {
	case token == "":
		return fail("not_authed")
	case token != want && (token == s.opts.AppToken || token == s.opts.BotToken || token == s.opts.ConfigToken):
		return fail("not_allowed_token_type")
	case token != want:
		return fail("invalid_auth")
	}
	if !m.app && !m.config {
		w.Header().Set("X-OAuth-Scopes", strings.Join(s.opts.Scopes, ","))
	}
	if len(m.scopes) > 0 && !slices.ContainsFunc(m.scopes, func(scope string) bool { return slices.Contains(s.opts.Scopes, scope) }) {
		refused := fail("missing_scope")
		refused["needed"] = strings.Join(m.scopes, ",")
		refused["provided"] = strings.Join(s.opts.Scopes, ",")
		return refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	result := m.call(s, a)
	if wait, throttled := result["retry_after"].(string); throttled {
		delete(result, "retry_after")
		w.Header().Set("Retry-After", wait)
		w.WriteHeader(http.StatusTooManyRequests)
	}
	return result
}

func readArgs(r *http.Request) (args, string, error) {
	a := args{}
	body, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	if err != nil {
		return nil, "", err
	}
	for k := range r.URL.Query() {
		a[k] = r.URL.Query().Get(k)
	}
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if mediaType == "application/json" {
		fields := map[string]json.RawMessage{}
		if len(body) > 0 {
			if err := json.Unmarshal(body, &fields); err != nil {
				return nil, "", err
			}
		}
		for k, raw := range fields {
			var text string
			if json.Unmarshal(raw, &text) != nil {
				text = string(raw)
			}
			a[k] = text
		}
	} else {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, "", err
		}
		for k := range form {
			a[k] = form.Get(k)
		}
	}
	token := a["token"]
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		token = bearer
	}
	return a, token, nil
}

func ok() map[string]any { return map[string]any{"ok": true} }

func fail(code string) map[string]any { return map[string]any{"ok": false, "error": code} }

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	// The status line may be out already (429): the header is then too late and the
	// body still goes.
	_ = json.NewEncoder(w).Encode(v)
}
