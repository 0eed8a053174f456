package slackbot

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
)

// send posts a signed body to the bot.
func (w *world) send(t *testing.T, path, contentType, body string) (int, string) {
	t.Helper()
	return w.post(t, path, contentType, body, func(*http.Request) {})
}

// post posts a signed body after change has spoilt the request.
func (w *world) post(t *testing.T, path, contentType, body string, change func(*http.Request)) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = slacksim.Sign(testSecret, w.bot.now(), []byte(body))
	req.Header.Set("Content-Type", contentType)
	change(req)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

const goodSlash = "command=%2Fmde&text=help&user_id=U0RILEY&user_name=riley&team_id=T0SOC&channel_id=C0SOC&trigger_id=1.2.3&api_app_id=A0MDEBOT&response_url=http%3A%2F%2Fx%2F"

const goodEvent = `{"type":"event_callback","team_id":"T0SOC","api_app_id":"A0MDEBOT","event_id":"Ev1","event":{"type":"app_mention","user":"U0RILEY","team":"T0SOC","text":"help","channel":"C0SOC","ts":"1.1"}}`

func clickPayload(app, team string) string {
	return `{"type":"block_actions","api_app_id":"` + app + `","team":{"id":"` + team + `"},"user":{"id":"U0RILEY","team_id":"T0SOC"},"trigger_id":"1.2","container":{"type":"message","message_ts":"1.1","channel_id":"C0SOC"},"actions":[{"type":"button","action_id":"a#0","value":"v","action_ts":"1.1"}]}`
}

func asForm(payload string) string { return url.Values{"payload": {payload}}.Encode() }

func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	if _, err := w.bot.self.get(t.Context()); err != nil {
		t.Fatal(err)
	}
	none := func(*http.Request) {}
	stamp := func(v string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("X-Slack-Request-Timestamp", v) }
	}
	signedAt := func(seconds int64) func(*http.Request) {
		return func(r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			for k, v := range slacksim.Sign(testSecret, time.Unix(time.Now().Unix()+seconds, 0), body) {
				r.Header[k] = v
			}
		}
	}
	tests := []struct {
		name        string
		path        string
		contentType string
		body        string
		change      func(*http.Request)
		want        int
	}{
		{"unsigned", "/slack/commands", formType, goodSlash, func(r *http.Request) { r.Header.Del("X-Slack-Signature") }, 401},
		{"without timestamp", "/slack/commands", formType, goodSlash, func(r *http.Request) { r.Header.Del("X-Slack-Request-Timestamp") }, 401},
		{"signed with another secret", "/slack/commands", formType, goodSlash, func(r *http.Request) {
			r.Header.Set("X-Slack-Signature", slacksim.Sign("other", time.Now(), []byte(goodSlash)).Get("X-Slack-Signature"))
		}, 401},
		{"two signatures", "/slack/commands", formType, goodSlash, func(r *http.Request) {
			r.Header.Add("X-Slack-Signature", r.Header.Get("X-Slack-Signature"))
		}, 401},
		{"another version of signature", "/slack/commands", formType, goodSlash, func(r *http.Request) {
			r.Header.Set("X-Slack-Signature", "v1"+r.Header.Get("X-Slack-Signature")[2:])
		}, 401},
		{"a signature that is no hex", "/slack/commands", formType, goodSlash, func(r *http.Request) {
			r.Header.Set("X-Slack-Signature", "v0="+strings.Repeat("z", 64))
		}, 401},
		{"stale", "/slack/commands", formType, goodSlash, signedAt(-maxSkew - 2), 401},
		{"from the future", "/slack/commands", formType, goodSlash, signedAt(maxSkew + 2), 401},
		{"a timestamp that is no number", "/slack/commands", formType, goodSlash, stamp("soon"), 401},
		{"a timestamp with leading zero", "/slack/commands", formType, goodSlash, func(r *http.Request) {
			r.Header.Set("X-Slack-Request-Timestamp", "0"+r.Header.Get("X-Slack-Request-Timestamp"))
		}, 401},
		{"a negative timestamp", "/slack/commands", formType, goodSlash, stamp("-9223372036854775808"), 401},
		{"the largest timestamp", "/slack/commands", formType, goodSlash, stamp("9223372036854775807"), 401},
		{"a changed body", "/slack/commands", formType, goodSlash, func(r *http.Request) {
			changed := strings.Replace(goodSlash, "help", "hunt", 1)
			r.Body = io.NopCloser(strings.NewReader(changed))
		}, 401},
		{"the wrong media type", "/slack/commands", jsonType, goodSlash, none, 415},
		{"an event as text", "/slack/events", "text/plain", goodEvent, none, 415},
		{"no media type", "/slack/commands", formType, goodSlash, func(r *http.Request) { r.Header.Del("Content-Type") }, 415},
		{"another charset", "/slack/commands", formType + "; charset=utf-16", goodSlash, none, 415},
		{"a compressed body", "/slack/commands", formType, goodSlash, func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, 415},
		{"multipart", "/slack/interactions", "multipart/form-data; boundary=x", "--x--", none, 415},
		{"a query string", "/slack/interactions?payload=%7B%7D", formType, asForm(clickPayload("A0MDEBOT", "T0SOC")), none, 400},
		{"another method", "/slack/commands", formType, goodSlash, func(r *http.Request) { r.Method = http.MethodPut }, 405},
		{"an oversized body", "/slack/commands", formType, goodSlash + "&x=" + strings.Repeat("x", maxBody), none, 413},
		{"an oversized chunked body", "/slack/commands", formType, goodSlash, func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("x", maxBody+1))), -1
		}, 413},
		{"a repeated field", "/slack/commands", formType, goodSlash + "&user_id=U0AVERY", none, 400},
		{"a broken escape", "/slack/commands", formType, goodSlash + "&x=%zz", none, 400},
		{"an interaction on the command route", "/slack/commands", formType, asForm(clickPayload("A0MDEBOT", "T0SOC")), none, 400},
		{"a command on the interaction route", "/slack/interactions", formType, goodSlash, none, 400},
		{"a command beside a payload", "/slack/interactions", formType, goodSlash + "&" + asForm(clickPayload("A0MDEBOT", "T0SOC")), none, 400},
		{"an event on the interaction route", "/slack/interactions", formType, asForm(goodEvent), none, 400},
		{"a click on the event route", "/slack/events", jsonType, clickPayload("A0MDEBOT", "T0SOC"), none, 400},
		{"a repeated key", "/slack/events", jsonType, strings.Replace(goodEvent, `"user"`, `"user":"U0AVERY","User"`, 1), none, 400},
		{"trailing data", "/slack/events", jsonType, goodEvent + "{}", none, 400},
		{"deep nesting", "/slack/events", jsonType, strings.Repeat("[", 500) + strings.Repeat("]", 500), none, 400},
		{"a wrong JSON type", "/slack/events", jsonType, strings.Replace(goodEvent, `"Ev1"`, `7`, 1), none, 400},
		{"a broken payload", "/slack/interactions", formType, asForm("{"), none, 400},
		{"an unknown interaction", "/slack/interactions", formType, asForm(strings.Replace(clickPayload("A0MDEBOT", "T0SOC"), "block_actions", "workflow_step_edit", 1)), none, 400},
		{"another app's command", "/slack/commands", formType, strings.Replace(goodSlash, "A0MDEBOT", "A0OTHER", 1), none, 403},
		{"a command without app", "/slack/commands", formType, strings.Replace(goodSlash, "api_app_id", "app", 1), none, 403},
		{"another workspace's command", "/slack/commands", formType, strings.Replace(goodSlash, "T0SOC", "T0EVIL", 1), none, 403},
		{"another enterprise's command", "/slack/commands", formType, goodSlash + "&enterprise_id=E0EVIL", none, 403},
		{"another app's click", "/slack/interactions", formType, asForm(clickPayload("A0OTHER", "T0SOC")), none, 403},
		{"another workspace's click", "/slack/interactions", formType, asForm(clickPayload("A0MDEBOT", "T0EVIL")), none, 403},
		{"a click without workspace", "/slack/interactions", formType, asForm(strings.Replace(clickPayload("A0MDEBOT", "T0SOC"), `"team":{"id":"T0SOC"},`, `"team":null,`, 1)), none, 403},
		{"another app's event", "/slack/events", jsonType, strings.Replace(goodEvent, "A0MDEBOT", "A0OTHER", 1), none, 403},
		{"another workspace's event", "/slack/events", jsonType, strings.Replace(goodEvent, `"team_id":"T0SOC"`, `"team_id":"T0EVIL"`, 1), none, 403},
		{"a view that is not ours", "/slack/interactions", formType, asForm(`{"type":"view_submission","api_app_id":"A0MDEBOT","team":{"id":"T0SOC"},"user":{"id":"U0RILEY"},"view":{"id":"V1","private_metadata":"x"}}`), none, 400},
		{"a challenge without signature", "/slack/events", jsonType, `{"type":"url_verification","challenge":"x"}`, func(r *http.Request) { r.Header.Del("X-Slack-Signature") }, 401},
		{"a long challenge", "/slack/events", jsonType, `{"type":"url_verification","challenge":"` + strings.Repeat("x", maxChallenge+1) + `"}`, none, 400},
		{"an unknown path", "/slack/other", formType, goodSlash, none, 404},
	}
	for _, tt := range tests {
		got, answer := w.post(t, tt.path, tt.contentType, tt.body, tt.change)
		if got != tt.want {
			t.Errorf("%s: status %d, want %d", tt.name, got, tt.want)
		}
		if strings.Contains(answer, "v0=") {
			t.Errorf("%s: the answer %q tells about signatures", tt.name, answer)
		}
	}
	if n := w.handler.count(); n != 0 {
		t.Errorf("handler was asked %d times by refused requests", n)
	}
}

func TestReplay_isAcknowledgedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	for path, body := range map[string]string{
		"/slack/commands":     goodSlash,
		"/slack/interactions": asForm(clickPayload("A0MDEBOT", "T0SOC")),
		"/slack/events":       goodEvent,
	} {
		contentType := formType
		if path == "/slack/events" {
			contentType = jsonType
		}
		for range 3 {
			if status, answer := w.send(t, path, contentType, body); status != 200 || answer != "" {
				t.Errorf("%s: %d %q, want an empty 200", path, status, answer)
			}
		}
		w.handler.next(t)
	}
	if n := w.handler.count(); n != 3 {
		t.Errorf("handler was asked %d times for 3 deliveries", n)
	}
}

func TestChallengeAndProbe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	if status, answer := w.send(t, "/slack/events", jsonType, `{"type":"url_verification","token":"t","challenge":"abc<x>"}`); status != 200 || answer != "abc<x>" {
		t.Errorf("challenge: %d %q, want it repeated", status, answer)
	}
	if status, answer := w.send(t, "/slack/commands", formType, "ssl_check=1&token=t"); status != 200 || answer != "" {
		t.Errorf("ssl_check: %d %q, want an empty 200", status, answer)
	}
	if n := w.handler.count(); n != 0 {
		t.Errorf("handler was asked %d times", n)
	}
}

func TestVerify_documentedVector(t *testing.T) {
	t.Parallel()
	const body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	header := http.Header{
		"X-Slack-Request-Timestamp": {"1531420618"},
		"X-Slack-Signature":         {"v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"},
	}
	for skew := -maxSkew - 1; skew <= maxSkew+1; skew++ {
		err := verify(header, []byte(body), testSecret, time.Unix(1531420618+int64(skew), 0))
		if within := skew >= -maxSkew && skew <= maxSkew; (err == nil) != within {
			t.Errorf("skew %d: verify() = %v, want accepted = %v", skew, err, within)
		}
	}
	for i := range body {
		changed := []byte(body)
		changed[i] ^= 1
		if verify(header, changed, testSecret, time.Unix(1531420618, 0)) == nil {
			t.Fatalf("accepted a body changed at byte %d", i)
		}
	}
}

// TestLogs_holdNoSecret looks for tokens, secrets, signatures and response
// addresses in the most verbose log of refusals and failures.
func TestLogs_holdNoSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{respond: func(chat.Invocation) chat.Response { return chat.Response{Message: say("x")} }})
	var logs lockedBuffer
	w.bot.logger = slog.New(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.sim.Inject(slacksim.Fault{Method: "response_url", Kind: slacksim.FaultDrop})
	w.sim.Inject(slacksim.Fault{Method: "conversations.open", Kind: slacksim.FaultDrop})
	if err := w.sim.Slash(t.Context(), "U0RILEY", "C0SOC", "typed words"); err != nil {
		t.Fatal(err)
	}
	w.handler.next(t)
	for _, change := range []string{"A0OTHER", "A0MDEBOT"} {
		w.post(t, "/slack/commands", formType, strings.Replace(goodSlash, "A0MDEBOT", change, 1), func(r *http.Request) {
			if change == "A0MDEBOT" {
				r.Header.Set("X-Slack-Signature", "v0="+strings.Repeat("0", 64))
			}
		})
	}
	w.bot.logger.InfoContext(context.Background(), "settings", slog.Any("config", w.bot.cfg))
	mac := slacksim.Sign(testSecret, time.Now(), []byte(goodSlash)).Get("X-Slack-Signature")
	for _, secret := range []string{testBotToken, testSecret, "/response/", "typed words", mac, hex.EncodeToString([]byte(testSecret))} {
		if strings.Contains(logs.String(), secret) {
			t.Errorf("the log holds %q:\n%s", secret, logs.String())
		}
	}
}

func TestBusy(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	w := newWorld(t, worldOptions{respond: func(chat.Invocation) chat.Response { <-release; return chat.Response{} }})
	if _, err := w.bot.self.get(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := range maxQueued + workers + 10 {
		body := strings.Replace(goodSlash, "1.2.3", "t"+strconv.Itoa(i), 1)
		rec := httptest.NewRecorder()
		req := httptest.NewRequest(http.MethodPost, "/slack/commands", strings.NewReader(body))
		req.Header = slacksim.Sign(testSecret, w.bot.now(), []byte(body))
		req.Header.Set("Content-Type", formType)
		w.bot.Routes().ServeHTTP(rec, req)
		if rec.Code == http.StatusServiceUnavailable {
			refused++
		}
	}
	close(release)
	if refused == 0 || refused > 10 {
		t.Errorf("%d refused, want some of the 10 too many", refused)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := Config{BotToken: testBotToken, SigningSecret: testSecret}
	if err := good.Validate(); err != nil {
		t.Fatalf("Validate(good) = %v", err)
	}
	tests := []struct {
		name   string
		change func(*Config)
		want   []string
	}{
		{"nothing", func(c *Config) { *c = Config{} }, []string{"SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET"}},
		{"a blank secret", func(c *Config) { c.SigningSecret = "   " }, []string{"SLACK_SIGNING_SECRET is missing"}},
		{"a secret with a line break", func(c *Config) { c.SigningSecret += "\n" }, []string{"contains blanks"}},
		{"a placeholder secret", func(c *Config) { c.SigningSecret = "your-signing-secret" }, []string{"placeholder"}},
		{"a placeholder token", func(c *Config) { c.BotToken = "xoxb-xxxxxxxxxxxx" }, []string{"placeholder"}},
		{"a user token", func(c *Config) { c.BotToken = "xoxp-1234567890" }, []string{"does not start with xoxb-"}},
		{"an app token in the wrong place", func(c *Config) { c.AppToken, c.SigningSecret = "xoxb-1234567890", "" }, []string{"SLACK_APP_TOKEN does not start"}},
		{"both transports", func(c *Config) { c.AppToken = testAppToken }, []string{"both set"}},
		{"plain http", func(c *Config) { c.APIURL = "http://slack.example.com/api/" }, []string{"SLACK_API_URL", "https"}},
		{"an address without host", func(c *Config) { c.APIURL = "slack.com/api/" }, []string{"SLACK_API_URL"}},
		{"three faults", func(c *Config) { *c = Config{AppToken: "x", APIURL: "::"} }, []string{"SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_API_URL"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := good
			tt.change(&c)
			_, err := New(c, &fakeHandler{}, slog.New(slog.DiscardHandler))
			if err == nil {
				t.Fatal("New() took it")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if len(c.BotToken) > 8 && strings.Contains(err.Error(), c.BotToken) {
				t.Errorf("error %q repeats the token", err)
			}
		})
	}
}

func TestAllowedResponse(t *testing.T) {
	t.Parallel()
	bot := func(api string) *Bot {
		b, err := New(Config{BotToken: testBotToken, SigningSecret: testSecret, APIURL: api, Transport: &http.Transport{}}, &fakeHandler{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	real, local := bot(""), bot("http://127.0.0.1:4100/api/")
	tests := []struct {
		name    string
		bot     *Bot
		address string
		want    bool
	}{
		{"Slack's own", real, "https://hooks.slack.com/commands/T/1/x", true},
		{"plain http", real, "http://hooks.slack.com/commands/T/1/x", false},
		{"another port", real, "https://hooks.slack.com:8443/x", false},
		{"user info", real, "https://a@hooks.slack.com/x", false},
		{"a longer name", real, "https://hooks.slack.com.evil.example/x", false},
		{"the API's host", real, "https://slack.com/x", false},
		{"loopback when not configured", real, "http://127.0.0.1:4100/x", false},
		{"metadata service", real, "http://169.254.169.254/latest", false},
		{"nothing", real, "", false},
		{"the simulator", local, "http://127.0.0.1:4100/response/1", true},
		{"another loopback port", local, "http://127.0.0.1:4101/response/1", false},
		{"Slack when a simulator is configured", local, "https://hooks.slack.com/x", false},
	}
	for _, tt := range tests {
		if got := tt.bot.allowedResponse(tt.address); got != tt.want {
			t.Errorf("%s: allowedResponse(%q) = %v, want %v", tt.name, tt.address, got, tt.want)
		}
	}
}

func TestPayloadsWithUnknownBlocks_areNotLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	var p map[string]any
	if err := json.Unmarshal([]byte(clickPayload("A0MDEBOT", "T0SOC")), &p); err != nil {
		t.Fatal(err)
	}
	p["message"] = map[string]any{"blocks": []any{map[string]any{"type": "actions", "elements": []any{map[string]any{"type": "hologram"}}}}}
	body, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := w.send(t, "/slack/interactions", formType, asForm(string(body))); status != 200 {
		t.Fatalf("status %d, want 200", status)
	}
	if inv := w.handler.next(t); inv.Action != "a" || inv.Value != "v" {
		t.Errorf("invocation = %+v, want the click", inv)
	}
}

func TestSigningSecrets_endAndAreReplaced(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	const fresh, old = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	body := []byte("a=b")
	for name, tc := range map[string]struct {
		list    string
		fresh   bool
		old     bool
		refused string
	}{
		"one":                    {list: fresh, fresh: true},
		"two, before the end":    {list: fresh + "," + old + "@" + now.Add(time.Second).UTC().Format(time.RFC3339), fresh: true, old: true},
		"two, at the end":        {list: fresh + "," + old + "@" + now.UTC().Format(time.RFC3339), fresh: true},
		"both with an end":       {list: fresh + "@2001-01-01T00:00:00Z," + old + "@2001-01-01T00:00:00Z"},
		"a second without end":   {list: fresh + "," + old, refused: "without an end"},
		"an end that is no time": {list: fresh + "," + old + "@tomorrow", refused: "no time"},
		"three":                  {list: fresh + "," + old + "@2100-01-01T00:00:00Z," + old + "@2100-01-01T00:00:00Z", refused: "more than two"},
		"nothing before a comma": {list: "," + old + "@2100-01-01T00:00:00Z", refused: "missing"},
		"nothing":                {refused: "missing"},
	} {
		cfg := Config{BotToken: testBotToken, SigningSecret: tc.list}
		err := cfg.Validate()
		if (err != nil) != (tc.refused != "") || err != nil && (!strings.Contains(err.Error(), tc.refused) || strings.Contains(err.Error(), old)) {
			t.Errorf("%s: Validate() = %v, want %q", name, err, tc.refused)
			continue
		}
		if err != nil {
			continue
		}
		secrets, err := parseSigning(tc.list)
		if err != nil {
			t.Fatal(err)
		}
		for secret, want := range map[string]bool{fresh: tc.fresh, old: tc.old, "somebody else's": false} {
			if got := verifyAny(slacksim.Sign(secret, now, body), body, secrets, now) == nil; got != want {
				t.Errorf("%s: a request signed with %.4s… is taken: %v, want %v", name, secret, got, want)
			}
		}
	}
}
