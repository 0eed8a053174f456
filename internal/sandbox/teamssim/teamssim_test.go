package teamssim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tenant  = "33333333-3333-4333-8333-333333333333"
	riley   = "00000000-0000-4000-8000-000000000021"
	avery   = "00000000-0000-4000-8000-000000000022"
	loner   = "00000000-0000-4000-8000-000000000023"
	team1   = "19:general@thread.tacv2"
	channel = "19:alerts@thread.tacv2"
)

// bot records what Teams sends and answers what a test says.
type bot struct {
	mu       sync.Mutex
	received []map[string]any
	answer   string
}

func (b *bot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var a map[string]any
	json.NewDecoder(r.Body).Decode(&a)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.received = append(b.received, a)
	io.WriteString(w, b.answer)
}

func (b *bot) last() map[string]any {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.received) == 0 {
		return nil
	}
	return b.received[len(b.received)-1]
}

type fixture struct {
	*Server
	t   *testing.T
	bot *bot
	url string
}

func newFixture(t *testing.T, cfg Config) *fixture {
	t.Helper()
	f := &fixture{t: t, bot: &bot{}}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	cfg.AppID, cfg.BotName, cfg.Client = "app", "mdebot", &http.Client{Transport: transport}
	f.Server = New(cfg)
	srv := httptest.NewServer(f.Server)
	t.Cleanup(srv.Close)
	endpoint := httptest.NewServer(f.bot)
	t.Cleanup(endpoint.Close)
	f.url = srv.URL
	f.SetBaseURL(srv.URL)
	f.SetEndpoint(endpoint.URL)
	f.AddUser(User{Tenant: tenant, Object: riley, Name: "Riley", Email: "riley@x.example"})
	f.AddUser(User{Tenant: tenant, Object: avery, Name: "Avery", Email: "avery@x.example", Role: RoleGuest})
	f.AddUser(User{Tenant: tenant, Object: loner, Name: "Lee"})
	f.AddTeam(Team{Tenant: tenant, ID: team1, Name: "SOC", Members: []string{riley, avery}})
	f.AddChannel(Channel{Team: team1, ID: channel, Name: "Alerts"})
	return f
}

// call makes a call of the bot's and returns status and decoded body.
func (f *fixture) call(method, path, body string) (int, map[string]any) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.url+"/emea/"+tenant+"/v3"+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer t")
	resp, err := f.cfg.Client.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	var out map[string]any
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	if len(data) > 0 && data[0] == '{' {
		if err := json.Unmarshal(data, &out); err != nil {
			f.t.Fatal(err)
		}
	}
	return resp.StatusCode, out
}

func code(body map[string]any) any {
	fault, _ := body["error"].(map[string]any)
	return fault["code"]
}

const (
	textMessage = `{"type":"message","text":"hello"}`
	cardMessage = `{"type":"message","attachments":[{"contentType":"application/vnd.microsoft.card.adaptive","content":{"type":"AdaptiveCard","version":"1.5","body":[],
		"actions":[{"type":"Action.Execute","title":"Approve","verb":"approve","data":{"k":"1"}}]}}]}`
)

func TestConnector_limits(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, path, body string
		status           int
		code             any
	}{
		{"a message", channel, textMessage, 201, nil},
		{"text beside an attachment is split and has no ID", channel, strings.Replace(cardMessage, `"message",`, `"message","text":"x",`, 1), 202, nil},
		{"too big in UTF-16", channel, `{"type":"message","text":"` + strings.Repeat("x", 52000) + `"}`, 413, "MessageSizeTooBig"},
		{"inline pictures do not count", channel, `{"type":"message","attachments":[{"contentType":"image/png","contentUrl":"data:image/png;base64,` + strings.Repeat("A", 90000) + `"}]}`, 201, nil},
		{"nothing in it", channel, `{"type":"message"}`, 400, "BadSyntax"},
		{"not JSON", channel, `{`, 400, "BadSyntax"},
		{"mention that the text does not hold", channel, `{"type":"message","text":"x","entities":[{"type":"mention","text":"<at>A</at>","mentioned":{"id":"29:1"}}]}`, 400, "BadArgument"},
		{"card that is none", channel, strings.Replace(cardMessage, "AdaptiveCard", "Card", 1), 400, "BadArgument"},
		{"unknown conversation", "19:x@thread.tacv2", textMessage, 404, "ConversationNotFound"},
		{"unknown thread", channel + ";messageid=1", textMessage, 404, "ConversationNotFound"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, Config{})
			if err := f.Install(t.Context(), team1); err != nil {
				t.Fatal(err)
			}
			status, body := f.call("POST", "/conversations/"+tc.path+"/activities", tc.body)
			if status != tc.status || code(body) != tc.code {
				t.Errorf("status %d, body %v, want %d %v", status, body, tc.status, tc.code)
			}
			if (status == 201) != (body["id"] != nil) {
				t.Errorf("status %d with body %v", status, body)
			}
		})
	}
}

func TestConnector_botMustBeThere(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	if status, body := f.call("POST", "/conversations/"+channel+"/activities", textMessage); status != 403 || code(body) != "BotNotInConversationRoster" {
		t.Errorf("before installation: %d %v", status, body)
	}
	create := func(user string) (int, map[string]any) {
		return f.call("POST", "/conversations", `{"members":[{"id":"`+user+`"}],"tenantId":"`+tenant+`"}`)
	}
	if status, _ := create(riley); status != 403 {
		t.Errorf("personal chat before installation: %d, want 403", status)
	}
	if err := f.Install(t.Context(), team1); err != nil {
		t.Fatal(err)
	}
	_, first := create(riley)
	_, second := create("29:1" + riley)
	if first["id"] == nil || first["id"] != second["id"] {
		t.Errorf("personal chats %v and %v, want one and the same", first, second)
	}
	if status, _ := create(loner); status != 403 {
		t.Errorf("person without the app: %d, want 403", status)
	}
	if err := f.Uninstall(t.Context(), team1); err != nil {
		t.Fatal(err)
	}
	if status, _ := f.call("POST", "/conversations/"+channel+"/activities", textMessage); status != 403 {
		t.Errorf("after removal: %d, want 403", status)
	}
}

func TestConnector_membersAndTenant(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	if err := f.Install(t.Context(), team1); err != nil {
		t.Fatal(err)
	}
	if status, m := f.call("GET", "/conversations/"+channel+"/members/"+avery, ""); status != 200 || m["userRole"] != "guest" || m["aadObjectId"] != avery || m["tenantId"] != tenant {
		t.Errorf("member = %d %v", status, m)
	}
	if status, m := f.call("GET", "/conversations/"+channel+"/members/"+loner, ""); status != 404 || code(m) != "MemberNotFoundInConversation" {
		t.Errorf("somebody else = %d %v", status, m)
	}
	if _, m := f.call("GET", "/conversations/"+channel+"/pagedmembers?pageSize=50", ""); len(m["members"].([]any)) != 2 || m["continuationToken"] != nil {
		t.Errorf("roster = %v", m)
	}
	if _, m := f.call("GET", "/teams/"+team1+"/conversations", ""); len(m["conversations"].([]any)) != 2 {
		t.Errorf("channels = %v", m)
	}
}

func TestConnector_updateAndDelete(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	if err := f.Install(t.Context(), team1); err != nil {
		t.Fatal(err)
	}
	_, posted := f.call("POST", "/conversations/"+channel+"/activities", textMessage)
	path := "/conversations/" + channel + "/activities/" + posted["id"].(string)
	if status, _ := f.call("PUT", path, strings.Replace(textMessage, "hello", "bye", 1)); status != 200 {
		t.Errorf("update: %d", status)
	}
	if got := f.Messages(channel, riley); len(got) != 1 || got[0].Text != "bye" || got[0].Edits != 1 {
		t.Errorf("messages = %+v", got)
	}
	theirs, err := f.Message(t.Context(), riley, channel, "mine", "")
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := f.call("PUT", "/conversations/"+channel+"/activities/"+theirs, textMessage); status != 403 {
		t.Errorf("update of a person's message: %d, want 403", status)
	}
	if status, _ := f.call("DELETE", path, ""); status != 200 {
		t.Errorf("delete: %d", status)
	}
	if status, body := f.call("PUT", path, textMessage); status != 404 || code(body) != "ActivityNotFoundInConversation" {
		t.Errorf("update of a deleted message: %d %v", status, body)
	}
	if got := f.Messages(channel, loner); got != nil {
		t.Errorf("somebody outside the team sees %v", got)
	}
}

func TestConnector_throttling(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	f := newFixture(t, Config{Throttle: true, Now: func() time.Time { return now }})
	if err := f.Install(t.Context(), team1); err != nil {
		t.Fatal(err)
	}
	post := func() int {
		status, _ := f.call("POST", "/conversations/"+channel+"/activities", textMessage)
		return status
	}
	for i := range 7 {
		if status := post(); status != 201 {
			t.Fatalf("message %d: %d", i+1, status)
		}
	}
	if status := post(); status != 429 {
		t.Errorf("eighth message within a second: %d, want 429", status)
	}
	now = now.Add(time.Second)
	if status := post(); status != 201 {
		t.Errorf("a second later: %d, want 201", status)
	}
}

func TestConnector_faults(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	if err := f.Install(t.Context(), team1); err != nil {
		t.Fatal(err)
	}
	f.Fail(Fault{Method: "POST", Times: 1, DropAfterEffect: true})
	if status, _ := f.call("POST", "/conversations/"+channel+"/activities", textMessage); status != 0 {
		t.Errorf("dropped call: status %d, want none", status)
	}
	if got := f.Messages(channel, riley); len(got) != 1 {
		t.Errorf("%d messages, want the one whose answer was dropped", len(got))
	}
	f.Fail(Fault{Times: 1, Status: 503, RetryAfter: "3"})
	if status, _ := f.call("POST", "/conversations/"+channel+"/activities", textMessage); status != 503 {
		t.Errorf("scripted fault: %d, want 503", status)
	}
	if status, _ := f.call("POST", "/conversations/"+channel+"/activities", textMessage); status != 201 {
		t.Errorf("after the fault: %d, want 201", status)
	}
	if got := len(f.Effects()); got != 2 {
		t.Errorf("%d effects, want 2 of 3 calls", got)
	}
	if got := len(f.Calls()); got != 3 {
		t.Errorf("%d calls, want 3", got)
	}
}

func TestConnector_token(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{Verify: func(string) error { return io.EOF }})
	if status, _ := f.call("POST", "/conversations/"+channel+"/activities", textMessage); status != 401 {
		t.Errorf("status %d, want 401 for a token that does not verify", status)
	}
}

func TestClient_mentionsAndDelivery(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	if err := f.Install(t.Context(), team1); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Message(t.Context(), riley, channel, "not for the bot", ""); err != nil {
		t.Fatal(err)
	}
	if got := f.bot.last()["type"]; got == "message" {
		t.Error("a message without mention was delivered")
	}
	id, err := f.Message(t.Context(), riley, channel, "@mdebot alert <1>", "")
	if err != nil {
		t.Fatal(err)
	}
	got := f.bot.last()
	if got["text"] != "<at>mdebot</at> alert &lt;1&gt;" || got["id"] != id {
		t.Errorf("delivered %v", got)
	}
	if place := got["conversation"].(map[string]any)["id"]; place != channel+";messageid="+id {
		t.Errorf("conversation %v, want the new thread", place)
	}
	if _, err := f.Message(t.Context(), loner, channel, "x", ""); !errors.Is(err, ErrNotMember) {
		t.Errorf("message of somebody outside = %v", err)
	}
}

func TestClient_clickIsSeenByTheClickerAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	if err := f.Install(t.Context(), team1); err != nil {
		t.Fatal(err)
	}
	_, posted := f.call("POST", "/conversations/"+channel+"/activities", cardMessage)
	f.bot.answer = `{"statusCode":200,"type":"application/vnd.microsoft.card.adaptive","value":{"type":"AdaptiveCard","version":"1.5","body":[]}}`
	out, err := f.Click(t.Context(), avery, posted["id"].(string), Choice{Verb: "approve"}, nil)
	if err != nil || out.Card == nil {
		t.Fatalf("Click() = %+v, %v", out, err)
	}
	if mine, theirs := f.Messages(channel, avery)[0], f.Messages(channel, riley)[0]; !mine.Replaced || theirs.Replaced || !bytes.Contains(theirs.Card, []byte("Approve")) {
		t.Errorf("clicker sees %+v, the other %+v", mine, theirs)
	}
	if _, err := f.Click(t.Context(), riley, posted["id"].(string), Choice{Title: "Nothing"}, nil); err == nil {
		t.Error("an action that is not on the card was clicked")
	}
	f.bot.answer = `{"statusCode":200,"type":"application/vnd.microsoft.error","value":{"code":"x","message":"y"}}`
	if _, err := f.Click(t.Context(), riley, posted["id"].(string), Choice{Verb: "approve"}, nil); err == nil {
		t.Error("an error with statusCode 200 was taken")
	}
}

func TestWaitFor_endsWithItsContext(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := f.WaitFor(ctx, func() bool { return false }); err == nil {
		t.Error("WaitFor() = nil, want the context's error")
	}
}

func TestTargeted(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := newFixture(t, Config{Now: func() time.Time { return now }})
	if err := f.Install(t.Context(), team1); err != nil {
		t.Fatal(err)
	}
	to := func(id string) string {
		return strings.TrimSuffix(textMessage, "}") + `,"recipient":{"id":"` + id + `"}}`
	}
	const path, aside = "/conversations/" + channel + "/activities", "?isTargetedActivity=true"
	status, posted := f.call("POST", path+aside, to("29:1"+riley))
	if status != 201 {
		t.Fatalf("status %d", status)
	}
	id := posted["id"].(string)
	if mine, theirs := f.Messages(channel, riley), f.Messages(channel, avery); len(mine) != 1 || mine[0].OnlyFor != riley || len(theirs) != 0 {
		t.Errorf("Riley sees %+v, Avery %+v", mine, theirs)
	}
	f.AddGroupChat(GroupChat{Tenant: tenant, ID: "19:group@thread.v2", Members: []string{riley}, Installed: true})
	personal := f.PersonalChat(riley)
	_, open := f.call("POST", path, textMessage)
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		code               string
	}{
		"no recipient":                     {"POST", path + aside, textMessage, 400, "BadArgument"},
		"a recipient who is not there":     {"POST", path + aside, to("29:1" + loner), 404, "BotNotInConversationRoster"},
		"a personal chat":                  {"POST", "/conversations/" + personal + "/activities" + aside, to("29:1" + riley), 400, "BadArgument"},
		"an update that names a recipient": {"PUT", path + "/" + id + aside, to("29:1" + riley), 400, "BadArgument"},
		"an update as of any message":      {"PUT", path + "/" + id, textMessage, 404, "ActivityNotFoundInConversation"},
		"a targeted update of another one": {"PUT", path + "/" + open["id"].(string) + aside, textMessage, 404, "ActivityNotFoundInConversation"},
		"removing it as any message":       {"DELETE", path + "/" + id, "", 404, "ActivityNotFoundInConversation"},
	} {
		status, answer := f.call(c.method, c.path, c.body)
		refusal, _ := answer["error"].(map[string]any)
		if status != c.status || refusal["code"] != c.code {
			t.Errorf("%s: %d %v, want %d %s", name, status, answer, c.status, c.code)
		}
	}
	if status, _ := f.call("PUT", path+"/"+id+aside, textMessage); status != 200 {
		t.Errorf("update: %d", status)
	}
	if _, err := f.Slash(t.Context(), riley, personal, "help", ""); err == nil {
		t.Error("a slash command in a personal chat")
	}
	asked, err := f.Slash(t.Context(), riley, channel, "machine <1>", "")
	if err != nil {
		t.Fatal(err)
	}
	got := f.bot.last()
	if recipient := got["recipient"].(map[string]any); recipient["isTargeted"] != true || got["text"] != "machine &lt;1&gt;" || got["entities"] != nil || got["id"] != asked {
		t.Errorf("delivered %v, want a targeted message without a mention", got)
	}
	if n := len(f.Messages(channel, avery)); n != 1 {
		t.Errorf("Avery sees %d messages, want the one for all", n)
	}
	now = now.Add(25 * time.Hour)
	if n := len(f.Messages(channel, riley)); n != 1 {
		t.Errorf("Riley sees %d messages a day later, want the one for all", n)
	}
	f.SetTargeted(false)
	if status, _ := f.call("POST", path+aside, to("29:1"+riley)); status != 400 {
		t.Errorf("without targeted messages: %d", status)
	}
	if _, err := f.Slash(t.Context(), riley, channel, "help", ""); err == nil {
		t.Error("a slash command without targeted messages")
	}
}
