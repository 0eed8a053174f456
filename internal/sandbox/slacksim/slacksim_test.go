package slacksim

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newServer(t *testing.T, o Options) *Server {
	t.Helper()
	s := New(o)
	t.Cleanup(s.Close)
	s.AddUser(User{ID: "U0RILEY", Name: "riley"})
	s.AddChannel(Channel{ID: "C0SOC", Name: "soc", BotIn: true, Members: []string{"U0RILEY"}})
	s.AddChannel(Channel{ID: "C0OUT", Name: "out", Members: []string{"U0RILEY"}})
	return s
}

// call makes one Web API call with the bot's token.
func call(t *testing.T, s *Server, method string, form url.Values) (int, map[string]any) {
	t.Helper()
	if !form.Has("token") {
		form.Set("token", s.opts.BotToken)
	}
	req := httptest.NewRequest(http.MethodPost, "/api/"+method, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, req)
	var answer map[string]any
	if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%s answered %q: %v", method, rec.Body, err)
	}
	return rec.Code, answer
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	blocks := func(s string) url.Values { return url.Values{"channel": {"C0SOC"}, "text": {"x"}, "blocks": {s}} }
	tests := []struct {
		name   string
		method string
		form   url.Values
		want   string
	}{
		{"no token", "auth.test", url.Values{"token": {""}}, "not_authed"},
		{"a wrong token", "auth.test", url.Values{"token": {"xoxb-other"}}, "invalid_auth"},
		{"the app's token", "auth.test", url.Values{"token": {"xapp-sandbox"}}, "not_allowed_token_type"},
		{"an unknown method", "chat.shout", url.Values{}, "unknown_method"},
		{"no channel", "chat.postMessage", url.Values{"channel": {"C0NONE"}, "text": {"x"}}, "channel_not_found"},
		{"not a member", "chat.postMessage", url.Values{"channel": {"C0OUT"}, "text": {"x"}}, "not_in_channel"},
		{"nothing said", "chat.postMessage", url.Values{"channel": {"C0SOC"}}, "no_text"},
		{"too much said", "chat.postMessage", url.Values{"channel": {"C0SOC"}, "text": {strings.Repeat("x", 40_001)}}, "msg_too_long"},
		{"an unknown block", "chat.postMessage", blocks(`[{"type":"hologram"}]`), "invalid_blocks"},
		{"an empty text", "chat.postMessage", blocks(`[{"type":"header","text":{"type":"plain_text","text":""}}]`), "invalid_blocks"},
		{"a long header", "chat.postMessage", blocks(`[{"type":"header","text":{"type":"plain_text","text":"` + strings.Repeat("x", 151) + `"}}]`), "invalid_blocks"},
		{"51 blocks", "chat.postMessage", blocks(`[{"type":"divider"}` + strings.Repeat(`,{"type":"divider"}`, 50) + `]`), "invalid_blocks"},
		{"two tables", "chat.postMessage", blocks(`[{"type":"table","rows":[[{"type":"raw_text","text":"x"}]]},{"type":"table","rows":[[{"type":"raw_text","text":"x"}]]}]`), "invalid_blocks"},
		{"an input in a message", "chat.postMessage", blocks(`[{"type":"input","block_id":"a","label":{"type":"plain_text","text":"x"},"element":{"type":"plain_text_input"}}]`), "invalid_blocks"},
		{"a repeated action", "chat.postMessage", blocks(`[{"type":"actions","elements":[{"type":"button","action_id":"a","text":{"type":"plain_text","text":"x"}},{"type":"button","action_id":"a","text":{"type":"plain_text","text":"y"}}]}]`), "invalid_blocks"},
		{"somebody's message", "chat.update", url.Values{"channel": {"C0SOC"}, "ts": {"1.1"}, "text": {"x"}}, "message_not_found"},
		{"an ephemeral for a stranger", "chat.postEphemeral", url.Values{"channel": {"C0SOC"}, "user": {"U0NONE"}, "text": {"x"}}, "user_not_in_channel"},
		{"a made-up trigger", "views.open", url.Values{"trigger_id": {"x"}, "view": {"{}"}}, "invalid_trigger_id"},
		{"a view for nobody", "views.publish", url.Values{"view": {`{"type":"home","blocks":[]}`}}, "invalid_arguments"},
		{"a view for a stranger", "views.publish", url.Values{"user_id": {"U0NONE"}, "view": {`{"type":"home","blocks":[]}`}}, "user_not_found"},
		{"a modal as a Home tab", "views.publish", url.Values{"user_id": {"U0RILEY"}, "view": {`{"type":"modal","blocks":[]}`}}, "invalid_blocks"},
		{"a Home tab with a title", "views.publish", url.Values{"user_id": {"U0RILEY"}, "view": {`{"type":"home","title":{},"blocks":[]}`}}, "invalid_blocks"},
		{"a Home tab of nothing", "views.publish", url.Values{"user_id": {"U0RILEY"}, "view": {`{"type":"home"}`}}, "invalid_blocks"},
		{"a table in a Home tab", "views.publish", url.Values{"user_id": {"U0RILEY"}, "view": {`{"type":"home","blocks":[{"type":"table","rows":[[{"type":"raw_text","text":"x"}]]}]}`}}, "invalid_blocks"},
		{"101 blocks in a Home tab", "views.publish", url.Values{"user_id": {"U0RILEY"}, "view": {`{"type":"home","blocks":[{"type":"divider"}` + strings.Repeat(`,{"type":"divider"}`, 100) + `]}`}}, "invalid_blocks"},
		{"an old hash", "views.publish", url.Values{"user_id": {"U0RILEY"}, "hash": {"x"}, "view": {`{"type":"home","blocks":[]}`}}, "hash_conflict"},
		{"a preview of nothing", "chat.unfurl", url.Values{"channel": {"C0SOC"}, "ts": {"1.1"}, "unfurls": {"{}"}}, "cannot_find_message"},
		{"a preview elsewhere", "chat.unfurl", url.Values{"channel": {"C0OUT"}, "ts": {"1.1"}, "unfurls": {"{}"}}, "cannot_find_channel"},
		{"an unknown person", "users.info", url.Values{"user": {"U0NONE"}}, "user_not_found"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, Options{})
			if _, answer := call(t, s, tt.method, tt.form); answer["error"] != tt.want {
				t.Errorf("%s = %v, want %s", tt.method, answer, tt.want)
			}
			if n := len(s.Ledger()); n != 0 {
				t.Errorf("a refused call left %d entries in the ledger", n)
			}
		})
	}
}

func TestMissingScope(t *testing.T) {
	t.Parallel()
	s := newServer(t, Options{Scopes: []string{"commands"}})
	if _, answer := call(t, s, "chat.postMessage", url.Values{"channel": {"C0SOC"}, "text": {"x"}}); answer["error"] != "missing_scope" || answer["needed"] != "chat:write" {
		t.Errorf("answer = %v, want the missing scope named", answer)
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	s := newServer(t, Options{Pace: true, Now: func() time.Time { return at }})
	status := 0
	for range 10 {
		if status, _ = call(t, s, "chat.postMessage", url.Values{"channel": {"C0SOC"}, "text": {"x"}}); status != http.StatusOK {
			break
		}
	}
	if n := len(s.Ledger()); status != http.StatusTooManyRequests || n != 5 {
		t.Errorf("%d posts in one moment and then status %d, want a burst of 5 and 429", n, status)
	}
	at = at.Add(time.Second)
	if status, _ := call(t, s, "chat.postMessage", url.Values{"channel": {"C0SOC"}, "text": {"x"}}); status != http.StatusOK {
		t.Errorf("status %d a second later, want 200", status)
	}
}

func TestPace_edits(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	s := newServer(t, Options{Pace: true, Now: func() time.Time { return at }})
	post := func(text string) string {
		t.Helper()
		_, answer := call(t, s, "chat.postMessage", url.Values{"channel": {"C0SOC"}, "text": {text}})
		ts, _ := answer["ts"].(string)
		return ts
	}
	ts, other := post("x"), post("y")
	edit := func(ts string) int {
		t.Helper()
		status, _ := call(t, s, "chat.update", url.Values{"channel": {"C0SOC"}, "ts": {ts}, "text": {"z"}})
		return status
	}
	done := 0
	for edit([]string{ts, other}[done%2]) == http.StatusOK && done < 100 {
		done++
	}
	if done != 50 {
		t.Errorf("%d edits of two messages in one moment, want 50", done)
	}
	if post("posts have a limit of their own") == "" {
		t.Error("a post was refused for the edits before")
	}
	s.mu.Lock()
	address := s.newResponseURL("U0RILEY", "C0SOC", ts, "")
	s.mu.Unlock()
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, address, strings.NewReader(`{"text":"clicked","replace_original":true}`)))
	if got := s.Messages("C0SOC", "")[0]; rec.Code != http.StatusOK || got.Text != "clicked" || got.OnlyFor != "" {
		t.Errorf("replaced through the address: status %d, %+v, want the message itself edited", rec.Code, got)
	}
	at = at.Add(1200 * time.Millisecond)
	if first, second := edit(ts), edit(ts); first != http.StatusOK || second != http.StatusTooManyRequests {
		t.Errorf("edits 1.2 seconds later are answered %d and %d, want one more", first, second)
	}
}

func TestResponseURL_fiveUses(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	s := newServer(t, Options{Now: func() time.Time { return at }})
	s.mu.Lock()
	address := s.newResponseURL("U0RILEY", "C0OUT", "", "")
	late := s.newResponseURL("U0RILEY", "C0OUT", "", "")
	s.mu.Unlock()
	use := func(address string) int {
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, address, strings.NewReader(`{"text":"x","replace_original":true}`)))
		return rec.Code
	}
	for i := range 6 {
		if want := map[bool]int{true: 200, false: 404}[i < 5]; use(address) != want {
			t.Errorf("use %d is not answered %d", i+1, want)
		}
	}
	if list := s.Messages("C0OUT", "U0RILEY"); len(list) != 1 || list[0].Edits != 4 || list[0].OnlyFor != "U0RILEY" {
		t.Errorf("messages = %+v, want one that was edited four times", list)
	}
	at = at.Add(31 * time.Minute)
	if use(late) != http.StatusNotFound {
		t.Error("a response address works after half an hour")
	}
}

func TestTrigger_endsAfterThreeSeconds(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	s := newServer(t, Options{Now: func() time.Time { return at }})
	s.mu.Lock()
	once, late := s.newTrigger("U0RILEY"), s.newTrigger("U0RILEY")
	s.mu.Unlock()
	view := `{"type":"modal","title":{"type":"plain_text","text":"x"},"blocks":[{"type":"divider"}]}`
	open := func(trigger string) any {
		_, answer := call(t, s, "views.open", url.Values{"trigger_id": {trigger}, "view": {view}})
		return answer["error"]
	}
	if got := open(once); got != nil {
		t.Errorf("first use: %v", got)
	}
	if got := open(once); got != "exchanged_trigger_id" {
		t.Errorf("second use: %v, want exchanged_trigger_id", got)
	}
	at = at.Add(4 * time.Second)
	if got := open(late); got != "expired_trigger_id" {
		t.Errorf("late use: %v, want expired_trigger_id", got)
	}
}

func TestHistory_stripsMetadataUnlessAsked(t *testing.T) {
	t.Parallel()
	s := newServer(t, Options{})
	for i := range 3 {
		call(t, s, "chat.postMessage", url.Values{"channel": {"C0SOC"}, "text": {"x"}, "metadata": {`{"event_type":"e","event_payload":{"id":"d` + strconv.Itoa(i) + `"}}`}})
	}
	_, page := call(t, s, "conversations.history", url.Values{"channel": {"C0SOC"}, "limit": {"2"}, "include_all_metadata": {"true"}})
	list, _ := page["messages"].([]any)
	if raw, _ := json.Marshal(list); len(list) != 2 || page["has_more"] != true || !strings.Contains(string(raw), `"d2"`) {
		t.Errorf("page = %v, want the newest two with metadata", page)
	}
	_, page = call(t, s, "conversations.history", url.Values{"channel": {"C0SOC"}})
	if raw, _ := json.Marshal(page); strings.Contains(string(raw), `"d2"`) {
		t.Error("metadata came without being asked for")
	}
}

func TestEventRetry_untilAcknowledged(t *testing.T) {
	t.Parallel()
	attempts := make(chan string, 10)
	bot := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		retry := r.Header.Get("X-Slack-Retry-Num")
		attempts <- retry
		if retry != "2" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer bot.Close()
	s := newServer(t, Options{EventRetries: []time.Duration{0, 0, 0}})
	s.SetBotURL(bot.URL)
	if err := s.Direct(t.Context(), "U0RILEY", "help"); err == nil {
		t.Error("Direct() = nil although the bot failed")
	}
	for _, want := range []string{"", "1", "2"} {
		if got := <-attempts; got != want {
			t.Errorf("retry number %q, want %q", got, want)
		}
	}
}

func TestShortcut(t *testing.T) {
	t.Parallel()
	got := make(chan map[string]any, 1)
	bot := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var payload map[string]any
		if err := json.Unmarshal([]byte(r.FormValue("payload")), &payload); err != nil {
			t.Error(err)
		}
		got <- payload
	}))
	defer bot.Close()
	s := newServer(t, Options{Shortcuts: map[string]string{"Look up": "lookup"}})
	s.SetBotURL(bot.URL)
	ts := s.AddMessage(Message{Channel: "C0OUT", User: "U0RILEY", Text: "x", Attachments: json.RawMessage(`[{"title":"y"}]`)})
	if err := s.Shortcut(t.Context(), "U0RILEY", "C0OUT", ts, "Look up"); err != nil {
		t.Fatal(err)
	}
	payload := <-got
	message, _ := payload["message"].(map[string]any)
	if payload["callback_id"] != "lookup" || payload["api_app_id"] != nil || message["ts"] != ts || message["attachments"] == nil {
		t.Errorf("delivered %v, want the message and no app", payload)
	}
	alone := s.AddMessage(Message{Channel: "C0SOC", OnlyFor: "U0RILEY", Text: "x"})
	for name, err := range map[string]error{
		"one that the app does not have": s.Shortcut(t.Context(), "U0RILEY", "C0OUT", ts, "Translate"),
		"on an ephemeral message":        s.Shortcut(t.Context(), "U0RILEY", "C0SOC", alone, "Look up"),
		"on no message":                  s.Shortcut(t.Context(), "U0RILEY", "C0SOC", "1.1", "Look up"),
		"in a channel of others":         s.Shortcut(t.Context(), "U0AVERY", "C0OUT", ts, "Look up"),
	} {
		if err == nil {
			t.Errorf("a shortcut %s is delivered", name)
		}
	}
}

func TestHome(t *testing.T) {
	t.Parallel()
	s := newServer(t, Options{})
	view := func(blocks, hash string) url.Values {
		return url.Values{"user_id": {"U0RILEY"}, "hash": {hash}, "view": {`{"type":"home","blocks":[` + blocks + `]}`}}
	}
	_, first := call(t, s, "views.publish", view(`{"type":"divider"}`, ""))
	h, _ := s.Home("U0RILEY")
	if first["ok"] != true || h.Published != 1 {
		t.Fatalf("views.publish = %v, home %+v", first, h)
	}
	if _, again := call(t, s, "views.publish", view("", h.Hash)); again["ok"] != true {
		t.Errorf("views.publish with the hash of what is shown = %v", again)
	}
	if _, late := call(t, s, "views.publish", view("", h.Hash)); late["error"] != "hash_conflict" {
		t.Errorf("views.publish with the hash of before = %v, want hash_conflict", late)
	}
	if now, _ := s.Home("U0RILEY"); now.ID != h.ID || now.Hash == h.Hash || now.Published != 2 {
		t.Errorf("home = %+v after %+v", now, h)
	}
	if err := s.ClickHome(t.Context(), "U0RILEY", Press{Label: "Approve"}); !errors.Is(err, ErrNoElement) {
		t.Errorf("ClickHome() = %v where there is no button", err)
	}
	without := newServer(t, Options{NoHome: true})
	if _, refused := call(t, without, "views.publish", view("", "")); refused["error"] != "not_enabled" {
		t.Errorf("views.publish without a Home tab = %v, want not_enabled", refused)
	}
	if err := without.OpenHome(t.Context(), "U0RILEY"); err != nil { // nobody is told
		t.Errorf("OpenHome() without a Home tab = %v", err)
	}
}
