package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeBot takes what the platforms deliver and answers as a test says.
type fakeBot struct {
	world *World

	mu       sync.Mutex
	received []map[string]any    // activities, interactions and events as JSON, commands as their form
	answers  map[string][]string // by path, the next answer first; the last one stays
}

func (b *fakeBot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	got := map[string]any{}
	if json.Unmarshal(body, &got) != nil {
		form, _ := url.ParseQuery(string(body))
		if payload := form.Get("payload"); payload != "" {
			_ = json.Unmarshal([]byte(payload), &got)
		} else {
			for k := range form {
				got[k] = form.Get(k)
			}
		}
	}
	b.mu.Lock()
	b.received = append(b.received, got)
	answer := ""
	if queue := b.answers[r.URL.Path]; len(queue) > 0 {
		answer = queue[0]
		if len(queue) > 1 {
			b.answers[r.URL.Path] = queue[1:]
		}
	}
	b.mu.Unlock()
	if answer == "refuse" {
		http.Error(w, "no", http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, answer)
}

func (b *fakeBot) answer(path string, bodies ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers[path] = bodies
}

// last is the newest delivery.
func (b *fakeBot) last(t *testing.T) map[string]any {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.received) == 0 {
		t.Fatal("the bot received nothing")
	}
	return b.received[len(b.received)-1]
}

// deliveries counts what was received.
func (b *fakeBot) deliveries() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.received)
}

// slack calls a method of the Web API.
func (b *fakeBot) slack(t *testing.T, method string, fields map[string]any) map[string]any {
	t.Helper()
	return b.call(t, b.world.Addresses()["slack"]+"/api/"+method, slackBotToken, fields)
}

// teams posts a card into a conversation.
func (b *fakeBot) teams(t *testing.T, conversation string, card any) {
	t.Helper()
	b.call(t, b.world.Teams.ServiceURL(TenantID)+"v3/conversations/"+url.PathEscape(conversation)+"/activities", b.teamsToken(t), map[string]any{
		"type": "message", "summary": "A card", "attachments": []any{map[string]any{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}},
	})
}

// teamsToken is the bot's token for Bot Connector.
func (b *fakeBot) teamsToken(t *testing.T) string {
	t.Helper()
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {teamsAppID}, "client_secret": {teamsAppSecret},
		"scope": {"https://api.botframework.com/.default"},
	}
	resp, err := http.PostForm(b.world.Addresses()["entra"]+"/"+TenantID+"/oauth2/v2.0/token", form)
	if err != nil {
		t.Fatalf("get a token: %v", err)
	}
	defer resp.Body.Close()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&token); err != nil {
		t.Fatalf("read the token: %v", err)
	}
	return token.AccessToken
}

func (b *fakeBot) call(t *testing.T, address, token string, fields map[string]any) map[string]any {
	t.Helper()
	body, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("call %s: %v", address, err)
	}
	defer resp.Body.Close()
	out := map[string]any{}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || resp.StatusCode/100 != 2 || out["ok"] == false {
		t.Fatalf("call %s = %d %v, %v", address, resp.StatusCode, out, err)
	}
	return out
}

// pageFixture is a page over a world with a fake bot in it.
type pageFixture struct {
	*testing.T
	world *World
	bot   *fakeBot
	url   string
}

func newPage(t *testing.T) *pageFixture {
	t.Helper()
	world, err := New(t.Context(), Options{})
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	bot := &fakeBot{world: world, answers: map[string][]string{}}
	botServer := httptest.NewServer(bot)
	page := httptest.NewServer(world.Page())
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		page.CloseClientConnections()
		page.Close()
		if err := world.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
		botServer.CloseClientConnections()
		botServer.Close()
	})
	if err := world.Connect(t.Context(), botServer.URL); err != nil {
		t.Fatalf("Connect() = %v", err)
	}
	return &pageFixture{T: t, world: world, bot: bot, url: page.URL}
}

// request sends a request and returns its answer read to the end.
func (p *pageFixture) request(method, path, body string, change func(*http.Request)) (*http.Response, string) {
	p.Helper()
	req, err := http.NewRequestWithContext(p.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	req.Header.Set("Origin", p.url)
	if change != nil {
		change(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		p.Fatalf("%s %s: %v", method, path, err)
	}
	return resp, string(content)
}

// act does something as a person and returns the status and the answer.
func (p *pageFixture) act(path string, who Person, fields any) (int, string) {
	p.Helper()
	body, err := json.Marshal(fields)
	if err != nil {
		p.Fatal(err)
	}
	resp, content := p.request(http.MethodPost, "/api/"+path+"?person="+who.Key, string(body), nil)
	return resp.StatusCode, content
}

// done does something that must succeed.
func (p *pageFixture) done(path string, who Person, fields any) string {
	p.Helper()
	status, content := p.act(path, who, fields)
	if status != http.StatusOK {
		p.Fatalf("POST %s as %s = %d %s, want 200", path, who.Key, status, content)
	}
	return content
}

// shown is what GET /api/state tells a person, as the page reads it.
type shown struct {
	Person string
	People []struct{ Key, Name, Part string }
	Slack  struct {
		Conversations []shownConversation
		Names         map[string]string
		Modal         *struct {
			View   map[string]any
			Errors map[string]string
		}
	}
	Teams    struct{ Conversations []shownConversation }
	Defender struct {
		Machines []struct{ Name, State string }
		Actions  []struct{ Type, Status, Comment string }
		Alerts   []struct{ ID, Title, Severity, Status string }
		Attack   *struct {
			Steps         []pageStep
			Of            int
			Stopped, Over bool
		}
	}
}

type shownConversation struct {
	ID, Name string
	Direct   bool
	Messages []shownMessage
}

type shownMessage struct {
	ID, Thread, From, Text, Note string
	Mine, FromBot, OnlyYou       bool
	Blocks                       []map[string]any
	Card                         map[string]any
	Files                        []struct{ ID, Name string }
}

func (p *pageFixture) state(who Person) shown {
	p.Helper()
	resp, content := p.request(http.MethodGet, "/api/state?person="+who.Key, "", nil)
	var s shown
	if err := json.Unmarshal([]byte(content), &s); err != nil || resp.StatusCode != http.StatusOK {
		p.Fatalf("GET /api/state = %d %s, %v", resp.StatusCode, content, err)
	}
	return s
}

// messages are those of a conversation, by ID or "direct".
func messages(conversations []shownConversation, id string) []shownMessage {
	i := slices.IndexFunc(conversations, func(c shownConversation) bool { return c.ID == id || c.Direct && id == "direct" })
	if i < 0 {
		return nil
	}
	return conversations[i].Messages
}

func TestPage_servesItsFilesUnderAStrictPolicy(t *testing.T) {
	t.Parallel()
	p := newPage(t)
	for path, kind := range map[string]string{
		"/": "text/html; charset=utf-8", "/js/app.js": "text/javascript; charset=utf-8", "/css/page.css": "text/css; charset=utf-8",
		"/api/state?person=riley": "application/json",
	} {
		resp, content := p.request(http.MethodGet, path, "", nil)
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != kind || content == "" {
			t.Errorf("GET %s = %d %s, want 200 %s", path, resp.StatusCode, resp.Header.Get("Content-Type"), kind)
		}
		policy := resp.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("GET %s: policy %q lacks %s", path, policy, want)
			}
		}
		if strings.Contains(policy, "unsafe") {
			t.Errorf("GET %s: policy %q allows something unsafe", path, policy)
		}
		if resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("GET %s: content types may be guessed", path)
		}
	}
	if _, content := p.request(http.MethodGet, "/", "", nil); strings.Contains(content, "<style") || strings.Contains(content, "style=") {
		t.Error("the page has style inside, which its policy refuses")
	}
}

func TestPage_refusesOtherSites(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		method string
		path   string
		change func(*http.Request)
	}{
		{"a rebound name reads", http.MethodGet, "/api/state?person=riley", func(r *http.Request) { r.Host = "attacker.example:8080" }},
		{"a rebound name asks for the page", http.MethodGet, "/", func(r *http.Request) { r.Host = "attacker.example" }},
		{"a rebound name acts on its own origin", http.MethodPost, "/api/defender/attack?person=riley", func(r *http.Request) {
			r.Host = "attacker.example"
			r.Header.Set("Origin", "http://attacker.example")
		}},
		{"a name that begins like loopback", http.MethodGet, "/", func(r *http.Request) { r.Host = "127.0.0.1.attacker.example" }},
		{"another origin acts", http.MethodPost, "/api/defender/attack?person=riley", func(r *http.Request) { r.Header.Set("Origin", "https://attacker.example") }},
		{"another port acts", http.MethodPost, "/api/defender/attack?person=riley", func(r *http.Request) { r.Header.Set("Origin", "http://127.0.0.1:1") }},
		{"a sandboxed frame acts", http.MethodPost, "/api/defender/attack?person=riley", func(r *http.Request) { r.Header.Set("Origin", "null") }},
		{"nobody says where it comes from", http.MethodPost, "/api/defender/attack?person=riley", func(r *http.Request) { r.Header.Del("Origin") }},
	}
	p := newPage(t)
	for _, tt := range tests {
		resp, content := p.request(tt.method, tt.path, "{}", tt.change)
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d %s, want 403", tt.name, resp.StatusCode, content)
		}
	}
	if attacks := p.world.Tenant.Attacks(); len(attacks) != 0 {
		t.Errorf("attacks = %v, want none started", attacks)
	}
}

// The page may show the app's tab and nothing else, and gives only it a token.
func TestPage_tab(t *testing.T) {
	t.Parallel()
	p := newPage(t)
	ask := func(origin string) (int, string) {
		resp, content := p.request(http.MethodPost, "/api/teams/token?person=avery", `{"origin":"`+origin+`"}`, nil)
		return resp.StatusCode, content
	}
	if status, content := ask("http://127.0.0.1:9"); status != http.StatusConflict {
		t.Errorf("without an app with a tab a token is asked for and answered %d %s", status, content)
	}
	manifest := func(domain string) []byte {
		return []byte(`{"staticTabs":[{"entityId":"conversations"},{"entityId":"requests","name":"Requests","contentUrl":"http://127.0.0.1:9/teams/tab"}],
			"validDomains":["` + domain + `"],"webApplicationInfo":{"id":"` + teamsAppID + `","resource":"api://127.0.0.1:9/botid-` + teamsAppID + `"}}`)
	}
	for name, bad := range map[string][]byte{"no JSON": []byte("zip"), "no tab": []byte("{}"), "another domain": manifest("evil.example")} {
		if err := p.world.InstallTab(bad); err == nil {
			t.Errorf("a manifest with %s is installed", name)
		}
	}
	if err := p.world.InstallTab(manifest("127.0.0.1:9")); err != nil {
		t.Fatal(err)
	}
	resp, _ := p.request(http.MethodGet, "/", "", nil)
	if policy := resp.Header.Get("Content-Security-Policy"); !strings.HasSuffix(policy, "; frame-src http://127.0.0.1:9") {
		t.Errorf("the page may show frames by %q", policy)
	}
	if status, content := ask("http://127.0.0.1:8"); status != http.StatusConflict || !strings.Contains(content, "do not match") {
		t.Errorf("another page's token is answered %d %s", status, content)
	}
	if status, content := ask("http://127.0.0.1:9"); status != http.StatusOK || !strings.Contains(content, `"token":"ey`) {
		t.Errorf("the tab's token is answered %d %s", status, content)
	}
}

func TestPage_state(t *testing.T) {
	t.Parallel()
	p := newPage(t)
	p.bot.slack(t, "chat.postEphemeral", map[string]any{"channel": SlackSOC, "user": Riley.Slack, "text": "for Riley"})
	p.bot.slack(t, "chat.postMessage", map[string]any{"channel": SlackSOC, "text": "for all", "blocks": []any{
		map[string]any{"type": "header", "text": map[string]any{"type": "plain_text", "text": "<b>bold</b>"}},
	}})

	riley := p.state(Riley)
	var keys []string
	for _, person := range riley.People {
		keys = append(keys, person.Key)
	}
	if diff := cmp.Diff([]string{"riley", "avery", "sam", "jordan", "noor", "gale"}, keys); diff != "" {
		t.Errorf("people (-want +got):\n%s", diff)
	}
	if got := riley.Slack.Names["S0LEADS"]; got != "soc-leads" {
		t.Errorf("name of S0LEADS = %q, want soc-leads", got)
	}
	soc := messages(riley.Slack.Conversations, SlackSOC)
	if len(soc) != 2 || !soc[0].OnlyYou || soc[0].Text != "for Riley" || soc[1].OnlyYou || soc[1].From != "mdebot" {
		t.Fatalf("Riley's #soc = %+v, want the ephemeral message and the other", soc)
	}
	if got := soc[1].Blocks[0]["text"].(map[string]any)["text"]; got != "<b>bold</b>" {
		t.Errorf("header = %q, want it as the bot sent it", got)
	}
	for _, id := range []string{TeamsSOC, TeamsApprovals, TeamsOps} {
		if !slices.ContainsFunc(riley.Teams.Conversations, func(c shownConversation) bool { return c.ID == id }) {
			t.Errorf("Teams has no %s", id)
		}
	}
	if avery := messages(p.state(Avery).Slack.Conversations, SlackSOC); len(avery) != 1 || avery[0].Text != "for all" {
		t.Errorf("Avery's #soc = %+v, want only what is for all", avery)
	}
	if len(riley.Defender.Alerts) == 0 || riley.Defender.Attack != nil {
		t.Errorf("Defender = %+v, want alerts and no attack", riley.Defender)
	}
	if resp, _ := p.request(http.MethodGet, "/api/state?person=mallory", "", nil); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("state of nobody = %d, want 400", resp.StatusCode)
	}
}

func TestPage_payloadIsWhatTheBotSent(t *testing.T) {
	t.Parallel()
	p := newPage(t)
	posted := p.bot.slack(t, "chat.postMessage", map[string]any{"channel": SlackSOC, "text": "hello"})
	p.bot.teams(t, TeamsSOC, map[string]any{"type": "AdaptiveCard", "version": "1.5", "body": []any{}})
	card := messages(p.state(Riley).Teams.Conversations, TeamsSOC)[0]

	_, content := p.request(http.MethodGet, "/api/slack/payload?person=riley&conversation="+SlackSOC+"&message="+posted["ts"].(string), "", nil)
	if strings.TrimSpace(content) != `{"channel":"C0SOC","text":"hello"}` {
		t.Errorf("payload in Slack = %s, want the call without its token", content)
	}
	_, content = p.request(http.MethodGet, "/api/teams/payload?person=riley&conversation="+url.QueryEscape(TeamsSOC)+"&message="+card.ID, "", nil)
	if !strings.Contains(content, `"summary":"A card"`) {
		t.Errorf("payload in Teams = %s, want the activity", content)
	}
	resp, _ := p.request(http.MethodGet, "/api/slack/payload?person=riley&conversation="+SlackSOC+"&message=1.0", "", nil)
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("payload of no message = %d, want 404", resp.StatusCode)
	}
}

func TestPage_whatIsTypedInSlack(t *testing.T) {
	t.Parallel()
	p := newPage(t)
	p.bot.answer("/slack/commands", `{"text":"here you are"}`)
	p.done("slack/send", Riley, sendIn{Conversation: SlackSOC, Text: " /mde hunt a < b & c"})
	got := p.bot.last(t)
	if got["command"] != "/mde" || got["text"] != "hunt a &lt; b &amp; c" || got["user_id"] != Riley.Slack || got["channel_id"] != SlackSOC {
		t.Errorf("the bot got %v, want Riley's command with its text escaped", got)
	}
	if soc := messages(p.state(Riley).Slack.Conversations, SlackSOC); len(soc) != 1 || !soc[0].OnlyYou || soc[0].Text != "here you are" {
		t.Errorf("#soc = %+v, want the private answer alone", soc)
	}

	p.done("slack/send", Riley, sendIn{Conversation: SlackSOC, Text: "@mdebot machine ws-042 @Avery Stone"})
	event := p.bot.last(t)["event"].(map[string]any)
	if event["type"] != "app_mention" || event["text"] != "<@U0MDEBOT> machine ws-042 <@U0AVERY>" {
		t.Errorf("the bot got %v, want a mention", event)
	}
	direct := p.world.Slack.DirectChannel(Riley.Slack)
	p.done("slack/send", Riley, sendIn{Conversation: direct, Text: "help"})
	if event := p.bot.last(t)["event"].(map[string]any); event["channel_type"] != "im" || event["text"] != "help" {
		t.Errorf("the bot got %v, want a direct message", event)
	}

	before := p.bot.deliveries()
	p.done("slack/send", Riley, sendIn{Conversation: SlackSOC, Text: "lunch?"})
	if p.bot.deliveries() != before {
		t.Errorf("the bot heard %v, which was not for it", p.bot.last(t))
	}
}

func TestPage_slackRefusals(t *testing.T) {
	t.Parallel()
	p := newPage(t)
	p.bot.answer("/slack/commands", "refuse")
	tests := []struct {
		name   string
		path   string
		fields any
		status int
		want   string
	}{
		{"a command in a thread", "slack/send", sendIn{Conversation: SlackSOC, Thread: "1.0", Text: "/mde help"}, 409, "no slash commands in threads"},
		{"a command of nobody", "slack/send", sendIn{Conversation: SlackSOC, Text: "/giphy cat"}, 409, "/giphy is not a command"},
		{"a channel one is not in", "slack/send", sendIn{Conversation: "C0ELSE", Text: "hello"}, 409, "no such channel"},
		{"a bot that fails", "slack/send", sendIn{Conversation: SlackSOC, Text: "/mde help"}, 502, "did not respond"},
		{"a button that is not there", "slack/click", slackClickIn{Conversation: SlackSOC, Message: "1.0"}, 409, "no such message"},
		{"a modal that is not open", "slack/submit", slackSubmitIn{}, 409, "no open dialog"},
		{"a field that does not exist", "slack/send", map[string]any{"channel": SlackSOC}, 400, "unknown field"},
		{"text without end", "slack/send", sendIn{Conversation: SlackSOC, Text: strings.Repeat("a", maxActionBody)}, 400, "too large"},
		{"a change the portal does not know", "defender/edit", editAlertIn{Change: "erase"}, 409, "no change"},
		{"an alert that does not exist", "defender/edit", editAlertIn{ID: "da0", Change: "take"}, 409, "da0"},
	}
	for _, tt := range tests {
		status, content := p.act(tt.path, Riley, tt.fields)
		if status != tt.status || !strings.Contains(content, tt.want) {
			t.Errorf("%s: %d %s, want %d with %q", tt.name, status, content, tt.status, tt.want)
		}
	}
	if resp, _ := p.request(http.MethodPost, "/api/slack/close?person=mallory", "{}", nil); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("act as nobody = %d, want 400", resp.StatusCode)
	}
}

func TestPage_slackButtonsMenusAndModals(t *testing.T) {
	t.Parallel()
	p := newPage(t)
	text := func(s string) map[string]any { return map[string]any{"type": "plain_text", "text": s} }
	posted := p.bot.slack(t, "chat.postMessage", map[string]any{"channel": SlackSOC, "text": "Choose", "blocks": []any{
		map[string]any{"type": "actions", "block_id": "b", "elements": []any{
			map[string]any{"type": "button", "action_id": "go#0", "value": "42", "text": text("Go")},
			map[string]any{"type": "static_select", "action_id": "pick#1", "placeholder": text("Which?"), "options": []any{
				map[string]any{"text": text("One"), "value": "1"}, map[string]any{"text": text("Two"), "value": "2"},
			}},
		}},
	}})
	ts := posted["ts"].(string)

	p.done("slack/choose", Avery, slackClickIn{Conversation: SlackSOC, Message: ts, Action: "pick#1", Value: "2"})
	action := p.bot.last(t)["actions"].([]any)[0].(map[string]any)
	if got := action["selected_option"].(map[string]any)["value"]; got != "2" || action["action_id"] != "pick#1" {
		t.Errorf("the bot got %v, want the second option", action)
	}
	p.done("slack/click", Avery, slackClickIn{Conversation: SlackSOC, Message: ts, Action: "go#0", Value: "42"})
	click := p.bot.last(t)
	if got := click["user"].(map[string]any)["id"]; got != Avery.Slack {
		t.Errorf("clicked by %v, want Avery", got)
	}

	p.bot.slack(t, "views.open", map[string]any{"trigger_id": click["trigger_id"], "view": map[string]any{
		"type": "modal", "title": text("Why"), "submit": text("Ask"), "blocks": []any{
			map[string]any{"type": "input", "block_id": "why", "label": text("Reason"), "element": map[string]any{"type": "plain_text_input", "action_id": "input"}},
			map[string]any{"type": "input", "block_id": "who", "label": text("Machine"), "element": map[string]any{"type": "external_select", "action_id": "find"}},
		},
	}})
	if m := p.state(Avery).Slack.Modal; m == nil || m.View["type"] != "modal" {
		t.Fatalf("Avery's modal = %v, want the one that was opened", m)
	}
	if m := p.state(Riley).Slack.Modal; m != nil {
		t.Errorf("Riley sees the modal %v of Avery", m)
	}
	p.bot.answer("/slack/interactions", `{"options":[{"text":{"type":"plain_text","text":"ws-042"},"value":"id42"}]}`)
	if got := p.done("slack/suggest", Avery, slackSuggestIn{Block: "who", Text: "ws"}); strings.TrimSpace(got) != `[{"label":"ws-042","detail":"","value":"id42"}]` {
		t.Errorf("suggestions = %s", got)
	}
	p.bot.answer("/slack/interactions", `{"response_action":"errors","errors":{"why":"Say more."}}`, "")
	p.done("slack/submit", Avery, slackSubmitIn{Fields: map[string]string{"why": "x", "who": "id42"}})
	if m := p.state(Avery).Slack.Modal; m == nil || m.Errors["why"] != "Say more." {
		t.Errorf("modal = %+v, want the bot's objection", m)
	}
	p.done("slack/submit", Avery, slackSubmitIn{Fields: map[string]string{"why": "a longer reason", "who": "id42"}})
	if m := p.state(Avery).Slack.Modal; m != nil {
		t.Errorf("modal = %+v, want it closed", m)
	}
}

func TestPage_closesAModal(t *testing.T) {
	t.Parallel()
	p := newPage(t)
	p.done("slack/send", Riley, sendIn{Conversation: SlackSOC, Text: "/mde isolate"})
	p.bot.slack(t, "views.open", map[string]any{"trigger_id": p.bot.last(t)["trigger_id"], "view": map[string]any{
		"type": "modal", "title": map[string]any{"type": "plain_text", "text": "Form"}, "blocks": []any{map[string]any{"type": "divider"}},
	}})
	if p.state(Riley).Slack.Modal == nil {
		t.Fatal("no modal is open")
	}
	p.done("slack/close", Riley, struct{}{})
	if m := p.state(Riley).Slack.Modal; m != nil {
		t.Errorf("modal = %+v, want it closed", m)
	}
}

func TestPage_teams(t *testing.T) {
	t.Parallel()
	p := newPage(t)
	p.done("teams/send", Riley, sendIn{Conversation: TeamsSOC, Text: "/mde machine ws-042"})
	got := p.bot.last(t)
	if recipient, _ := got["recipient"].(map[string]any); got["text"] != "machine ws-042" || recipient["isTargeted"] != true {
		t.Errorf("the bot got %v, want a slash command that nobody else sees", got)
	}
	if mine := messages(p.state(Riley).Teams.Conversations, TeamsSOC); len(mine) == 0 || !mine[len(mine)-1].OnlyYou {
		t.Errorf("Riley sees %+v, want the command marked as seen by nobody else", mine)
	}
	for _, m := range messages(p.state(Avery).Teams.Conversations, TeamsSOC) {
		if strings.Contains(m.Text, "machine ws-042") {
			t.Error("Avery sees somebody's slash command")
		}
	}
	p.done("teams/send", Gale, sendIn{Text: "help"})
	if got := p.bot.last(t); got["text"] != "help" || got["conversation"].(map[string]any)["conversationType"] != "personal" {
		t.Errorf("the bot got %v, want a personal message", got)
	}
	if direct := messages(p.state(Gale).Teams.Conversations, "direct"); len(direct) != 1 || !direct[0].Mine {
		t.Errorf("Gale's chat = %+v, want the message", direct)
	}

	p.bot.teams(t, TeamsSOC, map[string]any{"type": "AdaptiveCard", "version": "1.5", "body": []any{}, "actions": []any{
		map[string]any{"type": "Action.Execute", "title": "Approve", "verb": "v", "data": map[string]any{"n": "1"}},
		map[string]any{"type": "Action.Submit", "title": "Form", "data": map[string]any{"msteams": map[string]any{"type": "task/fetch"}}},
	}})
	soc := messages(p.state(Riley).Teams.Conversations, TeamsSOC)
	card := soc[len(soc)-1]
	p.bot.answer("/api/messages", `{"statusCode":200,"type":"application/vnd.microsoft.activity.message","value":"Counted."}`)
	p.done("teams/click", Riley, teamsClickIn{Message: card.ID, Title: "Approve", Verb: "v", Data: map[string]any{"n": "1"}})
	if got := p.bot.last(t); got["name"] != "adaptiveCard/action" {
		t.Errorf("the bot got %v, want the click", got)
	}
	soc = messages(p.state(Riley).Teams.Conversations, TeamsSOC)
	if note := soc[len(soc)-1].Note; note != "Counted." {
		t.Errorf("note = %q, want the answer", note)
	}
	soc = messages(p.state(Avery).Teams.Conversations, TeamsSOC)
	if note := soc[len(soc)-1].Note; note != "" {
		t.Errorf("Avery sees the note %q of Riley", note)
	}

	dialog := `{"task":{"type":"continue","value":{"title":"Why","card":{"contentType":"application/vnd.microsoft.card.adaptive","content":` +
		`{"type":"AdaptiveCard","version":"1.5","body":[{"type":"Input.Text","id":"why"},{"type":"Input.ChoiceSet","id":"who","style":"filtered","choices.data":{"type":"Data.Query","dataset":"machines"}}],` +
		`"actions":[{"type":"Action.Submit","title":"Send"}]}}}}}`
	found := `{"statusCode":200,"type":"application/vnd.microsoft.search.searchResponse","value":{"results":[{"title":"ws-042","value":"id42"}]}}`
	p.bot.answer("/api/messages", dialog, found, `{"task":{"type":"message","value":"Thank you."}}`)
	var opened pageOutcome
	if err := json.Unmarshal([]byte(p.done("teams/click", Riley, teamsClickIn{Message: card.ID, Title: "Form"})), &opened); err != nil || opened.Dialog == nil || opened.Dialog.Title != "Why" {
		t.Fatalf("click = %+v, %v, want a dialog", opened, err)
	}
	if got := p.done("teams/search", Riley, teamsSearchIn{Shown: opened.Dialog.ID, Input: "who", Text: "ws"}); strings.TrimSpace(got) != `[{"label":"ws-042","detail":"","value":"id42"}]` {
		t.Errorf("search = %s", got)
	}
	if got := p.done("teams/submit", Riley, teamsSubmitIn{Dialog: opened.Dialog.ID, Inputs: map[string]any{"why": "odd", "who": "id42"}}); !strings.Contains(got, "Thank you.") {
		t.Errorf("submit = %s, want the bot's answer", got)
	}
	if value := p.bot.last(t)["value"].(map[string]any)["data"].(map[string]any); value["why"] != "odd" || value["who"] != "id42" {
		t.Errorf("the bot got %v, want what was typed", value)
	}
}

// What is looked up for a message comes as the bot sent it, and goes out as a message of
// the person's.
func TestPage_teamsCardInAMessage(t *testing.T) {
	t.Parallel()
	p := newPage(t)
	const card = `{"type":"AdaptiveCard","version":"1.3","body":[{"type":"TextBlock","text":"ws-042"}]}`
	p.bot.answer("/api/messages",
		`{"composeExtension":{"type":"result","attachmentLayout":"list","attachments":[{"contentType":"application/vnd.microsoft.card.adaptive","content":`+card+
			`,"preview":{"contentType":"application/vnd.microsoft.card.thumbnail","content":{"title":"ws-042","text":"Windows11"}}}]}}`,
		`{"composeExtension":{"type":"message","text":"Not here."}}`, "")
	if got := p.done("teams/query", Riley, teamsQueryIn{Conversation: TeamsSOC, Text: " ws "}); strings.TrimSpace(got) != `{"results":[{"label":"ws-042","detail":"Windows11","card":`+card+`}],"note":""}` {
		t.Errorf("query = %s", got)
	}
	sent := p.bot.last(t)
	if value := sent["value"].(map[string]any); sent["name"] != "composeExtension/query" || value["commandId"] != TeamsSearch || value["parameters"].([]any)[0].(map[string]any)["value"] != "ws" {
		t.Errorf("the bot got %v", sent)
	}
	if got := p.done("teams/query", Riley, teamsQueryIn{Text: "ws"}); strings.TrimSpace(got) != `{"results":[],"note":"Not here."}` {
		t.Errorf("query in the chat with the bot = %s", got)
	}
	if kind := p.bot.last(t)["conversation"].(map[string]any)["conversationType"]; kind != "personal" {
		t.Errorf("the bot is asked about a conversation of type %v", kind)
	}
	if status, content := p.act("teams/query", Gale, teamsQueryIn{Conversation: TeamsSOC, Text: "ws"}); status != http.StatusConflict {
		t.Errorf("a guest searches in a channel that they are not in: %d %s", status, content)
	}

	before := p.bot.deliveries()
	send := func(text, thread string) shownMessage {
		t.Helper()
		p.done("teams/send", Riley, map[string]any{"conversation": TeamsSOC, "thread": thread, "text": text, "card": json.RawMessage(card)})
		all := messages(p.state(Avery).Teams.Conversations, TeamsSOC)
		m := all[len(all)-1]
		if m.From != Riley.Name || m.FromBot || m.Text != text || m.Thread != thread || m.Card["version"] != "1.3" {
			t.Errorf("Avery sees %+v, want Riley's words %q with the card", m, text)
		}
		return m
	}
	first := send("", "")
	send("look at this one", first.ID)
	if p.bot.deliveries() != before {
		t.Errorf("the bot hears of a message that is not for it: %v", p.bot.last(t))
	}
	for _, text := range []string{"/mde machine ws-042", "/help"} {
		if status, content := p.act("teams/send", Riley, map[string]any{"conversation": TeamsSOC, "text": text, "card": json.RawMessage(card)}); status != http.StatusConflict || !strings.Contains(content, "Remove the card") {
			t.Errorf("%s with a card = %d %s", text, status, content)
		}
	}
}

func TestPage_filesAreDownloaded(t *testing.T) {
	t.Parallel()
	p := newPage(t)
	started := p.bot.slack(t, "files.getUploadURLExternal", map[string]any{"filename": `"hunt".csv`, "length": 3})
	resp, err := http.Post(started["upload_url"].(string), "text/csv", strings.NewReader("a,b"))
	if err != nil {
		t.Fatalf("upload: %v", err)
	}
	resp.Body.Close()
	p.bot.slack(t, "files.completeUploadExternal", map[string]any{
		"channel_id": p.world.Slack.DirectChannel(Riley.Slack), "files": []any{map[string]any{"id": started["file_id"], "title": "Result"}},
	})
	direct := messages(p.state(Riley).Slack.Conversations, "direct")
	if len(direct) != 1 || len(direct[0].Files) != 1 {
		t.Fatalf("direct chat = %+v, want one file", direct)
	}
	path := "/api/slack/file?conversation=" + p.world.Slack.DirectChannel(Riley.Slack) + "&file=" + direct[0].Files[0].ID
	got, content := p.request(http.MethodGet, path+"&person=riley", "", nil)
	if content != "a,b" || !strings.HasPrefix(got.Header.Get("Content-Disposition"), "attachment;") || got.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("file = %q, %v, want a download", content, got.Header)
	}
	if got, content := p.request(http.MethodGet, path+"&person=avery", "", nil); got.StatusCode != http.StatusNotFound {
		t.Errorf("Riley's file for Avery = %d %s, want 404", got.StatusCode, content)
	}
}

func TestPage_defender(t *testing.T) {
	t.Parallel()
	p := newPage(t)
	p.done("defender/attack", Riley, struct{}{})
	s := p.state(Riley).Defender
	if s.Attack == nil || len(s.Attack.Steps) != 1 || s.Attack.Of != len(p.world.Estate.Attack(nil)) || s.Attack.Steps[0].Command != "machine ws-014" {
		t.Errorf("attack = %+v, want its first step", s.Attack)
	}
	if status, content := p.act("defender/attack", Riley, struct{}{}); status != http.StatusConflict {
		t.Errorf("second attack = %d %s, want 409", status, content)
	}
	p.done("defender/stop", Riley, struct{}{})
	if s = p.state(Riley).Defender; !s.Attack.Stopped || !s.Attack.Over || len(s.Attack.Steps) != 1 {
		t.Errorf("attack = %+v, want it stopped", s.Attack)
	}
	p.done("defender/attack", Riley, struct{}{}) // once more
	for range ordinaryAlerts {
		p.done("defender/alert", Riley, struct{}{})
	}
	newest := p.state(Riley).Defender.Alerts[0]
	for change, want := range map[string]string{"resolve": "Resolved", "take": "InProgress"} {
		p.done("defender/edit", Riley, editAlertIn{ID: newest.ID, Change: change})
		if a, _ := p.world.Tenant.Alert(newest.ID); a.Status != want {
			t.Errorf("after %s the alert is %s, want %s", change, a.Status, want)
		}
	}
	machine := p.world.Estate.Named("ws-014")[0]
	if _, err := p.world.Tenant.PortalAction(machine.ID, "Isolate", "somebody", "by hand"); err != nil {
		t.Fatalf("PortalAction() = %v", err)
	}
	s = p.state(Riley).Defender
	if len(s.Machines) != 1 || s.Machines[0].Name != "ws-014" || s.Machines[0].State != "isolating" {
		t.Errorf("machines = %+v, want ws-014 on its way", s.Machines)
	}
	if len(s.Actions) != 1 || s.Actions[0].Type != "Isolate" || s.Actions[0].Comment != "by hand" {
		t.Errorf("actions = %+v, want the one of the portal", s.Actions)
	}
}

func TestPage_eventsTellOfEveryChange(t *testing.T) {
	t.Parallel()
	p := newPage(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/api/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("GET /api/events: %v", err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	next := func(after string) {
		t.Helper()
		for lines.Scan() {
			if lines.Text() == "data: changed" {
				return
			}
		}
		t.Fatalf("no event after %s: %v", after, lines.Err())
	}
	next("the start")
	p.bot.slack(t, "chat.postMessage", map[string]any{"channel": SlackSOC, "text": "hello"})
	next("a message in Slack")
	p.bot.teams(t, TeamsSOC, map[string]any{"type": "AdaptiveCard", "version": "1.5", "body": []any{}})
	next("a card in Teams")
	p.done("defender/alert", Riley, struct{}{})
	next("an alert in Defender")
}

func TestSlackTime(t *testing.T) {
	t.Parallel()
	if got, want := slackTime("1790000000.250000"), time.Date(2026, 9, 21, 14, 13, 20, 250_000_000, time.UTC); !got.Equal(want) {
		t.Errorf("slackTime() = %v, want %v", got, want)
	}
	if got := slackTime("soon"); !got.IsZero() {
		t.Errorf("slackTime() = %v, want the zero time", got)
	}
}
