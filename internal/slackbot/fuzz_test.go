package slackbot

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
)

// newOffline is a bot that knows its installation and has no Slack to call.
func newOffline(tb testing.TB) *Bot {
	tb.Helper()
	b, err := New(Config{BotToken: testBotToken, SigningSecret: testSecret, Transport: &http.Transport{}}, silent{}, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	b.self.known = &installation{app: "A0MDEBOT", workspace: "T0SOC", botUser: "U0MDEBOT", botID: "B0MDEBOT"}
	return b
}

// fuzzRoute sends signed and unsigned bodies to one route: unsigned ones are
// refused, signed ones never fail inside.
func fuzzRoute(f *testing.F, path, contentType string, seeds ...string) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	b := newOffline(f)
	routes := b.Routes()
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, signed := range []bool{true, false} {
			req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(string(body)))
			if signed {
				req.Header = slacksim.Sign(testSecret, time.Now(), body)
			}
			req.Header.Set("Content-Type", contentType)
			rec := httptest.NewRecorder()
			routes.ServeHTTP(rec, req)
			switch {
			case !signed && rec.Code != http.StatusUnauthorized && rec.Code != http.StatusRequestEntityTooLarge:
				t.Fatalf("unsigned: status %d", rec.Code)
			case rec.Code == http.StatusInternalServerError:
				t.Fatalf("panic for %q", body)
			}
			if signed && rec.Code == http.StatusOK {
				// Accepted bodies name this installation, unless they ask for nothing.
				if !slices.ContainsFunc([]string{"A0MDEBOT", "%", `\u`, "url_verification", "app_rate_limited", "ssl_check"},
					func(s string) bool { return strings.Contains(string(body), s) }) {
					t.Fatalf("accepted %q", body)
				}
			}
			drain(b)
		}
	})
}

// drain empties the queue: nobody works in these tests.
func drain(b *Bot) {
	for {
		select {
		case <-b.queue:
		default:
			return
		}
	}
}

func FuzzSlash(f *testing.F) {
	fuzzRoute(f, "/slack/commands", formType, goodSlash, "ssl_check=1", goodSlash+"&text=x", "a=%zz")
}

func FuzzInteraction(f *testing.F) {
	of := func(kind, more string) string {
		return asForm(`{"type":"` + kind + `","api_app_id":"A0MDEBOT","team":{"id":"T0SOC"},"user":{"id":"U0RILEY","team_id":"T0SOC"},"trigger_id":"1.2"` + more + `}`)
	}
	meta := url.QueryEscape(`{"a":"x"}`)
	fuzzRoute(f, "/slack/interactions", formType, asForm(clickPayload("A0MDEBOT", "T0SOC")), goodSlash,
		asForm(`{"type":"block_actions","api_app_id":"A0MDEBOT","team":{"id":"T0SOC"},"actions":null}`),
		of("view_submission", `,"view":{"id":"V1","hash":"h","callback_id":"mdebot","private_metadata":"`+meta+`","state":{"values":{"b":{"reason":{"value":"x"},"scope":{"selected_option":{"value":"full"}}}}}}`),
		of("view_closed", `,"view":{"id":"V1"}`), of("block_suggestion", `,"action_id":"machine.search","block_id":"b","value":"ws"`),
		of("shortcut", `,"callback_id":"x"`), of("message_action", `,"message":{"ts":"1.1"}`))
}

func FuzzEvent(f *testing.F) {
	fuzzRoute(f, "/slack/events", jsonType, goodEvent, `{"type":"url_verification","challenge":"x"}`, `{"type":"event_callback","event_id":"1"}`)
}

func FuzzPlainText(f *testing.F) {
	for _, seed := range []string{"<@U0BOT> x", "<http://a|a>", "&lt;", "<<>>", "<|>", "<!>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := plainText(s, "U0BOT"); len(got) > len(s)+1 {
			t.Fatalf("plainText(%q) = %q, longer than its input", s, got)
		}
	})
}

// FuzzVerify compares the verifier with one of its own, on signatures that are
// right and on any other.
func FuzzVerify(f *testing.F) {
	now := time.Unix(1_790_000_000, 0)
	for _, stamp := range []string{"1790000000", "1789999700", "1789999699", "1790000301", "0", "-1", "01790000000", "9223372036854775807", "1.79e9", ""} {
		f.Add(stamp, "", []byte(goodSlash), true)
	}
	f.Add("1790000000", "v0="+strings.Repeat("0", 64), []byte(""), false)
	f.Add("1790000000", "v1="+strings.Repeat("0", 64), []byte("x"), false)
	f.Fuzz(func(t *testing.T, stamp, signature string, body []byte, sign bool) {
		mac := hmac.New(sha256.New, []byte(testSecret))
		fmt.Fprintf(mac, "v0:%s:%s", stamp, body)
		right := "v0=" + hex.EncodeToString(mac.Sum(nil))
		if sign {
			signature = right
		}
		sent, err := strconv.ParseUint(stamp, 10, 63)
		want := err == nil && strconv.FormatUint(sent, 10) == stamp && int64(sent) >= now.Unix()-300 && int64(sent) <= now.Unix()+300 &&
			strings.HasPrefix(signature, "v0=") && strings.EqualFold(signature, right)
		err = verify(http.Header{"X-Slack-Request-Timestamp": {stamp}, "X-Slack-Signature": {signature}}, body, testSecret, now)
		if (err == nil) != want {
			t.Errorf("verify(%q, %q, %q) = %v, want accepted %t", stamp, signature, body, err, want)
		}
		if err != nil && strings.Contains(err.Error(), right[3:]) {
			t.Errorf("verify() tells the right signature: %v", err)
		}
	})
}

// FuzzSlashForm: a form that is accepted has one reading.
func FuzzSlashForm(f *testing.F) {
	for _, body := range []string{goodSlash, goodSlash + "&text=y", "text=a+b%20c", "text=a;user_id=x", "%74ext=x&text=y", "text", "=", "&&", "text=%00", "text=\xff"} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decodeSlashForm(body)
		if err != nil {
			return
		}
		seen := map[string]string{}
		for pair := range strings.SplitSeq(string(body), "&") {
			if pair == "" {
				continue
			}
			key, value, _ := strings.Cut(pair, "=")
			key, value = unescaped(key), unescaped(value)
			if _, twice := seen[key]; twice {
				t.Fatalf("%q has %q twice and is accepted", body, key)
			}
			seen[key] = value
		}
		for key, value := range map[string]string{
			"command": got.Command, "text": got.Text, "user_id": got.UserID, "team_id": got.TeamID, "trigger_id": got.TriggerID,
			"api_app_id": got.APIAppID, "channel_id": got.ChannelID, "response_url": got.ResponseURL,
		} {
			if seen[key] != value {
				t.Errorf("%q: %s is read as %q and as %q", body, key, value, seen[key])
			}
		}
	})
}

// unescaped decodes one part of a form, without net/url.
func unescaped(s string) string {
	var out []byte
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			out = append(out, ' ')
		case s[i] == '%' && i+2 < len(s):
			b, err := hex.DecodeString(s[i+1 : i+3])
			if err != nil {
				return "not an escape: " + s
			}
			out = append(out, b...)
			i += 2
		default:
			out = append(out, s[i])
		}
	}
	return string(out)
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "30", "0.5", "-1", "1e309", "NaN", "-Inf", "9223372036854775807", "Sat, 21 Nov 2026 12:00:45 GMT", "Mon, 01 Jan 0001 00:00:00 GMT"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		if got := retryAfter(value, now); got < time.Second || got > throttleMax {
			t.Errorf("retryAfter(%q) = %s", value, got)
		}
	})
}

// FuzzRender: whatever machines, alerts and people are called, a card has the same
// parts, and Slack takes it.
func FuzzRender(f *testing.F) {
	for _, s := range []string{hostile, "", "web-01", strings.Repeat("&<>", 4_000), strings.Repeat("\u202e", 900), strings.Repeat("e\u0301", 2_000), "\x00\xff"} {
		f.Add(s)
	}
	shape := func(t *testing.T, outside string) (any, drawn) {
		d := render(fullCard(outside, 3))
		encoded := encode(t, d)
		if !utf8.Valid(encoded) {
			t.Fatalf("the card of %q is not UTF-8", outside)
		}
		var v map[string]any
		if err := json.Unmarshal(encoded, &v); err != nil {
			t.Fatal(err)
		}
		v["blocks"] = withoutCutRemark(v["blocks"])
		delete(v, "text")
		return structure(v, ""), d
	}
	f.Fuzz(func(t *testing.T, outside string) {
		if outside == "" {
			return // mdebot says that a value is missing
		}
		calm, _ := shape(t, "x")
		wild, d := shape(t, outside)
		if !reflect.DeepEqual(calm, wild) {
			t.Errorf("%q changes the parts of a card", outside)
		}
		if err := validate(d); err != nil {
			t.Errorf("the card of %q: %v", outside, err)
		}
		for _, control := range []string{"<!", "<@", "<#", "<http"} {
			if strings.Contains(d.text, control) {
				t.Errorf("the text of %q holds %q", outside, control)
			}
		}
	})
}
