package teamssim

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// object is a JSON object.
type object = map[string]any

const (
	cardType    = "application/vnd.microsoft.card.adaptive"
	consentType = "application/vnd.microsoft.teams.card.file.consent"
	// maxActivity is the documented size of one activity, counted as UTF-16.
	maxActivity = 100 << 10
)

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/.well-known/openidconfiguration", s.serveMetadata)
	mux.HandleFunc("GET /v1/.well-known/keys", s.serveKeys)
	mux.HandleFunc("PUT /files/upload/{key}", s.serveUpload)
	// Service URLs are /teams or a region, with or without the tenant.
	for _, base := range []string{"/{region}/v3/", "/{region}/{tenant}/v3/"} {
		mux.HandleFunc("POST "+base+"conversations", s.api(s.createConversation, 1))
		mux.HandleFunc("POST "+base+"conversations/{conversation}/activities", s.api(s.post, 1))
		mux.HandleFunc("POST "+base+"conversations/{conversation}/activities/{activity}", s.api(s.post, 1))
		mux.HandleFunc("PUT "+base+"conversations/{conversation}/activities/{activity}", s.api(s.update, 1))
		mux.HandleFunc("DELETE "+base+"conversations/{conversation}/activities/{activity}", s.api(s.remove, 1))
		mux.HandleFunc("GET "+base+"conversations/{conversation}/activities/{activity}/members", s.api(s.members, 2))
		mux.HandleFunc("GET "+base+"conversations/{conversation}/members", s.api(s.members, 2))
		mux.HandleFunc("GET "+base+"conversations/{conversation}/members/{member}", s.api(s.member, 2))
		mux.HandleFunc("GET "+base+"conversations/{conversation}/pagedmembers", s.api(s.pagedMembers, 2))
		mux.HandleFunc("GET "+base+"teams/{team}", s.api(s.getTeam, 2))
		mux.HandleFunc("GET "+base+"teams/{team}/conversations", s.api(s.teamChannels, 2))
	}
	return mux
}

// apiError is a refusal in Bot Connector's form.
type apiError struct {
	status  int
	code    string
	message string
	retry   time.Duration
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

var (
	errNotFound  = &apiError{status: 404, code: "ConversationNotFound", message: "Conversation not found."}
	errNoMessage = &apiError{status: 404, code: "ActivityNotFoundInConversation", message: "The activity was not found."}
	errNotIn     = &apiError{status: 403, code: "BotNotInConversationRoster", message: "The bot is not part of the conversation roster."}
	errNoMember  = &apiError{status: 404, code: "MemberNotFoundInConversation", message: "The member was not found."}
	errSyntax    = &apiError{status: 400, code: "BadSyntax", message: "The body is no activity."}
)

// answer is a successful result; a nil body is an empty one.
type answer struct {
	status int
	body   any
}

// api wraps a call with what all have in common: token, faults, rates, ledger.
// fn runs with the lock held.
func (s *Server) api(fn func(r *http.Request, body []byte) (answer, error), factor int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
		if err != nil {
			return
		}
		status := &statusWriter{ResponseWriter: w}
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.calls = append(s.calls, Call{At: s.cfg.Now(), Method: r.Method, Path: r.URL.Path, Targeted: isTargeted(r), Status: status.code, Body: jsonOrNil(body)})
		}()
		if err := s.checkToken(r); err != nil {
			refuse(status, http.StatusUnauthorized, "Unauthorized", "Authorization has been denied for this request.")
			return
		}
		s.mu.Lock()
		fault := s.fault(r)
		s.mu.Unlock()
		if fault != nil && fault.strike(status, r) {
			return
		}
		s.mu.Lock()
		wait, late := s.throttled(r.PathValue("conversation")+strconv.Itoa(factor), factor)
		var a answer
		if late {
			err = &apiError{status: 429, code: "Throttled", message: "Too many requests.", retry: wait}
		} else {
			a, err = fn(r, body)
		}
		s.mu.Unlock()
		if fault != nil && fault.DropAfterEffect {
			panic(http.ErrAbortHandler)
		}
		if refused := (*apiError)(nil); errors.As(err, &refused) {
			if refused.retry > 0 {
				status.Header().Set("Retry-After", retryAfter(refused.retry))
			}
			refuse(status, refused.status, refused.code, refused.message)
			return
		}
		respond(status, a.status, a.body)
	}
}

func (s *Server) checkToken(r *http.Request) error {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return errors.New("no token")
	}
	if s.cfg.Verify == nil {
		return nil
	}
	return s.cfg.Verify(token)
}

// find returns a conversation that the bot may use, and the thread that the
// caller named.
func (s *Server) find(r *http.Request) (c *conversation, thread string, err error) {
	id, thread, _ := strings.Cut(r.PathValue("conversation"), ";messageid=")
	c, ok := s.conversations[id]
	if tenant := r.PathValue("tenant"); !ok || tenant != "" && tenant != c.Tenant {
		return nil, "", errNotFound
	}
	if !s.botIn(c) {
		return nil, "", errNotIn
	}
	if thread != "" && (c.Kind != "channel" || c.message(thread) == nil) {
		return nil, "", errNotFound
	}
	return c, thread, nil
}

type outgoing struct {
	Type        string       `json:"type"`
	Text        string       `json:"text"`
	Summary     string       `json:"summary"`
	Attachments []attachment `json:"attachments"`
	Entities    []entity     `json:"entities"`
	Recipient   *struct {
		ID string `json:"id"`
	} `json:"recipient"`
	onlyFor string // of a targeted message
}

type attachment struct {
	ContentType string          `json:"contentType"`
	ContentURL  string          `json:"contentUrl,omitempty"`
	Content     json.RawMessage `json:"content,omitempty"`
	Name        string          `json:"name,omitempty"`
}

type entity struct {
	Type      string `json:"type"`
	Text      string `json:"text"`
	Mentioned struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"mentioned"`
}

// decode checks what Teams checks of a message.
func decode(body []byte) (outgoing, error) {
	var o outgoing
	if err := json.Unmarshal(body, &o); err != nil || o.Type != "message" {
		return o, errSyntax
	}
	if o.Text == "" && len(o.Attachments) == 0 {
		return o, &apiError{status: 400, code: "BadSyntax", message: "A message needs text or an attachment."}
	}
	if size(body) > maxActivity {
		return o, &apiError{status: 413, code: "MessageSizeTooBig", message: "The message is too big."}
	}
	if err := checkMentions(o.Text, o.Entities); err != nil {
		return o, err
	}
	for _, a := range o.Attachments {
		if a.ContentType != cardType {
			continue
		}
		if err := checkCard(a.Content); err != nil {
			return o, err
		}
	}
	return o, nil
}

// size counts body as UTF-16 without inline images.
func size(body []byte) int {
	for {
		i := bytes.Index(body, []byte("data:image/"))
		if i < 0 {
			break
		}
		end := bytes.IndexByte(body[i:], '"')
		if end < 0 {
			break
		}
		body = slices.Concat(body[:i], body[i+end:])
	}
	n := 0
	for len(body) > 0 {
		r, w := utf8.DecodeRune(body)
		n += 2 * max(1, utf16.RuneLen(r))
		body = body[w:]
	}
	return n
}

func checkMentions(text string, entities []entity) error {
	for _, e := range entities {
		if e.Type == "mention" && (e.Mentioned.ID == "" || !strings.Contains(text, e.Text)) {
			return &apiError{status: 400, code: "BadArgument", message: "The text does not contain the mention " + e.Text}
		}
	}
	return nil
}

func checkCard(content json.RawMessage) error {
	var card struct {
		Type    string `json:"type"`
		Version string `json:"version"`
		Body    []any  `json:"body"`
		MSTeams struct {
			Entities []entity `json:"entities"`
		} `json:"msteams"`
	}
	if err := json.Unmarshal(content, &card); err != nil || card.Type != "AdaptiveCard" || card.Version == "" {
		return &apiError{status: 400, code: "BadArgument", message: "The attachment is no Adaptive Card."}
	}
	if card.Version > "1.6" {
		return &apiError{status: 400, code: "BadArgument", message: "Unknown card version."}
	}
	if err := checkSearches(content); err != nil {
		return err
	}
	if err := checkRefresh(content); err != nil {
		return err
	}
	return checkMentions(unquoted(content), card.MSTeams.Entities)
}

// unquoted is all strings of the card's body, one after the other.
func unquoted(content json.RawMessage) string {
	var b strings.Builder
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			b.WriteString(v)
			b.WriteByte('\n')
		case []any:
			for _, e := range v {
				walk(e)
			}
		case object:
			for k, e := range v {
				if k != "msteams" {
					walk(e)
				}
			}
		}
	}
	var v any
	if json.Unmarshal(content, &v) == nil {
		walk(v)
	}
	return b.String()
}

func (s *Server) post(r *http.Request, body []byte) (answer, error) {
	c, thread, err := s.find(r)
	if err != nil {
		return answer{}, err
	}
	return s.postTo(c, thread, isTargeted(r), body)
}

// isTargeted tells that a call is about a message that one person alone sees.
func isTargeted(r *http.Request) bool { return r.URL.Query().Get("isTargetedActivity") == "true" }

// target checks for whom a targeted message is: somebody in the conversation, which
// is none of one person.
func (s *Server) target(c *conversation, o outgoing) (string, error) {
	switch {
	case s.cfg.NoTargeted:
		return "", &apiError{status: 400, code: "BadArgument", message: "Targeted messages are not enabled."}
	case c.Kind == "personal":
		return "", &apiError{status: 400, code: "BadArgument", message: "A personal chat has no targeted messages."}
	case o.Recipient == nil || o.Recipient.ID == "":
		return "", &apiError{status: 400, code: "BadArgument", message: "A targeted message needs a recipient."}
	}
	u, ok := s.user(o.Recipient.ID)
	if !ok || !s.isMember(c, u.Object) {
		return "", &apiError{status: 404, code: "BotNotInConversationRoster", message: "The recipient is not part of the conversation roster."}
	}
	return u.Object, nil
}

func (s *Server) postTo(c *conversation, thread string, targeted bool, body []byte) (answer, error) {
	o, err := decode(body)
	if err != nil {
		return answer{}, err
	}
	if targeted {
		if o.onlyFor, err = s.target(c, o); err != nil {
			return answer{}, err
		}
	}
	parts := len(o.Attachments)
	if o.Text != "" {
		parts++
	}
	if parts == 1 {
		m := s.store(c, thread, o, body)
		return answer{status: http.StatusCreated, body: object{"id": m.ID}}, nil
	}
	// Text and attachments are split into messages of their own, and no ID comes
	// back.
	if o.Text != "" {
		s.store(c, thread, outgoing{Type: o.Type, Text: o.Text, onlyFor: o.onlyFor}, body)
	}
	for _, a := range o.Attachments {
		s.store(c, thread, outgoing{Type: o.Type, Summary: o.Summary, Attachments: []attachment{a}, onlyFor: o.onlyFor}, body)
	}
	return answer{status: http.StatusAccepted}, nil
}

func (s *Server) store(c *conversation, thread string, o outgoing, payload []byte) *message {
	m := &message{Message: Message{
		ID: s.nextID(), Conversation: c.ID, Thread: thread, At: s.cfg.Now(),
		FromBot: true, From: s.cfg.BotName, Payload: bytes.Clone(payload), OnlyFor: o.onlyFor,
	}}
	m.draw(o)
	c.messages = append(c.messages, m)
	s.effect(EffectPosted, c, m.ID, payload)
	s.effects[len(s.effects)-1].OnlyFor = o.onlyFor
	return m
}

// effect needs the lock.
func (s *Server) effect(kind string, c *conversation, id string, payload []byte) {
	s.effects = append(s.effects, Effect{
		At: s.cfg.Now(), Kind: kind, Tenant: c.Tenant, Conversation: c.ID, Message: id, Payload: jsonOrNil(payload),
	})
	s.changed()
}

func (s *Server) update(r *http.Request, body []byte) (answer, error) {
	m, c, err := s.own(r)
	if err != nil {
		return answer{}, err
	}
	o, err := decode(body)
	if err != nil {
		return answer{}, err
	}
	if isTargeted(r) && o.Recipient != nil {
		return answer{}, &apiError{status: 400, code: "BadArgument", message: "An update of a targeted message names no recipient."}
	}
	if len(o.Attachments) > 1 || len(o.Attachments) == 1 && o.Text != "" {
		return answer{}, &apiError{status: 400, code: "BadArgument", message: "An update takes one attachment."}
	}
	m.Payload = bytes.Clone(body)
	m.Edits++
	m.views, m.asked = nil, nil
	m.draw(o)
	s.effect(EffectUpdated, c, m.ID, body)
	return answer{status: http.StatusOK, body: object{"id": m.ID}}, nil
}

func (s *Server) remove(r *http.Request, _ []byte) (answer, error) {
	m, c, err := s.own(r)
	if err != nil {
		return answer{}, err
	}
	m.Deleted = true
	s.effect(EffectDeleted, c, m.ID, nil)
	return answer{status: http.StatusOK}, nil
}

// own finds a message that the bot may change: one of its own.
func (s *Server) own(r *http.Request) (*message, *conversation, error) {
	c, _, err := s.find(r)
	if err != nil {
		return nil, nil, err
	}
	m := c.message(r.PathValue("activity"))
	if m == nil || m.Deleted || isTargeted(r) != (m.OnlyFor != "") || m.OnlyFor != "" && !s.shows(m, m.OnlyFor) {
		return nil, nil, errNoMessage
	}
	if !m.FromBot {
		return nil, nil, &apiError{status: 403, code: "Forbidden", message: "Only own messages can be changed."}
	}
	return m, c, nil
}

func (s *Server) createConversation(r *http.Request, body []byte) (answer, error) {
	var in struct {
		IsGroup bool `json:"isGroup"`
		Bot     struct {
			ID string `json:"id"`
		} `json:"bot"`
		Members []struct {
			ID string `json:"id"`
		} `json:"members"`
		TenantID    string `json:"tenantId"`
		ChannelData struct {
			Channel struct {
				ID string `json:"id"`
			} `json:"channel"`
		} `json:"channelData"`
		Activity json.RawMessage `json:"activity"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return answer{}, errSyntax
	}
	if id := in.ChannelData.Channel.ID; id != "" {
		c, ok := s.conversations[id]
		if !ok || in.TenantID != "" && c.Tenant != in.TenantID {
			return answer{}, errNotFound
		}
		if !s.botIn(c) {
			return answer{}, errNotIn
		}
		a, err := s.postTo(c, "", isTargeted(r), in.Activity)
		if err != nil || a.body == nil {
			return a, err
		}
		message := a.body.(object)["id"].(string)
		return answer{status: http.StatusCreated, body: object{"id": c.ID + ";messageid=" + message, "activityId": message}}, nil
	}
	if in.IsGroup || len(in.Members) != 1 {
		return answer{}, &apiError{status: 400, code: "BadArgument", message: "Group chats cannot be created by a bot."}
	}
	if in.TenantID == "" {
		return answer{}, &apiError{status: 403, code: "Forbidden", message: "The tenant is missing."}
	}
	u, ok := s.user(in.Members[0].ID)
	if !ok || u.Tenant != in.TenantID {
		return answer{}, &apiError{status: 404, code: "NotFound", message: "The user was not found."}
	}
	if !s.reachable(u) {
		return answer{}, errNotIn
	}
	c := s.personal(u)
	s.effect(EffectCreated, c, "", body)
	return answer{status: http.StatusCreated, body: object{"id": c.ID}}, nil
}

// user finds a person by MRI, object ID or principal name. It needs the lock.
func (s *Server) user(id string) (User, bool) {
	for _, u := range s.users {
		if id == u.Object || id == u.MRI() || u.Email != "" && id == u.principalName() {
			return u, true
		}
	}
	return User{}, false
}

func member(u User, objectKey string) object {
	m := object{"id": u.MRI(), "name": u.Name, "tenantId": u.HomeTenant, "userRole": u.Role}
	if u.Role != RoleAnonymous {
		m[objectKey] = u.Object
		m["email"] = u.Email
		m["userPrincipalName"] = u.principalName()
	}
	return m
}

func (s *Server) roster(c *conversation) []User {
	var out []User
	for _, u := range s.users {
		if s.isMember(c, u.Object) {
			out = append(out, u)
		}
	}
	slices.SortFunc(out, func(a, b User) int { return strings.Compare(a.Object, b.Object) })
	return out
}

func (s *Server) members(r *http.Request, _ []byte) (answer, error) {
	c, _, err := s.find(r)
	if err != nil {
		return answer{}, err
	}
	list := []any{}
	for _, u := range s.roster(c) {
		list = append(list, member(u, "objectId"))
	}
	return answer{status: http.StatusOK, body: list}, nil
}

func (s *Server) member(r *http.Request, _ []byte) (answer, error) {
	c, _, err := s.find(r)
	if err != nil {
		return answer{}, err
	}
	u, ok := s.user(r.PathValue("member"))
	if !ok || !s.isMember(c, u.Object) {
		return answer{}, errNoMember
	}
	return answer{status: http.StatusOK, body: member(u, "aadObjectId")}, nil
}

func (s *Server) pagedMembers(r *http.Request, _ []byte) (answer, error) {
	c, _, err := s.find(r)
	if err != nil {
		return answer{}, err
	}
	pageSize, err := strconv.Atoi(r.URL.Query().Get("pageSize"))
	if err != nil {
		pageSize = 200
	}
	pageSize = min(max(pageSize, 50), 500)
	users := s.roster(c)
	start, err := strconv.Atoi(r.URL.Query().Get("continuationToken"))
	if err != nil {
		start = 0
	}
	start = min(max(start, 0), len(users))
	end := min(start+pageSize, len(users))
	list := []any{}
	for _, u := range users[start:end] {
		list = append(list, member(u, "aadObjectId"))
	}
	out := object{"members": list}
	if end < len(users) {
		out["continuationToken"] = strconv.Itoa(end)
	}
	return answer{status: http.StatusOK, body: out}, nil
}

func (s *Server) getTeam(r *http.Request, _ []byte) (answer, error) {
	t, ok := s.teams[r.PathValue("team")]
	if !ok {
		return answer{}, errNotFound
	}
	if !t.installed {
		return answer{}, errNotIn
	}
	return answer{status: http.StatusOK, body: object{
		"id": t.ID, "name": t.Name, "tenantId": t.Tenant, "memberCount": len(t.Members), "type": "standard",
	}}, nil
}

func (s *Server) teamChannels(r *http.Request, _ []byte) (answer, error) {
	t, ok := s.teams[r.PathValue("team")]
	if !ok {
		return answer{}, errNotFound
	}
	if !t.installed {
		return answer{}, errNotIn
	}
	list := []any{}
	for _, id := range s.order {
		c := s.conversations[id]
		switch {
		case c.Team != t.ID:
		case c.ID == t.ID: // General has no name
			list = append(list, object{"id": c.ID})
		default:
			list = append(list, object{"id": c.ID, "name": c.Name})
		}
	}
	return answer{status: http.StatusOK, body: object{"conversations": list}}, nil
}

type statusWriter struct {
	http.ResponseWriter
	code int
}

func (w *statusWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

func respond(w http.ResponseWriter, status int, body any) {
	if body == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a caller that has gone needs no answer
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	respond(w, status, object{"error": object{"code": code, "message": message}})
}

func jsonOrNil(body []byte) json.RawMessage {
	if !json.Valid(body) {
		return nil
	}
	return bytes.Clone(body)
}
