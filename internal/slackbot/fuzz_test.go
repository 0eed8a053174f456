package slackbot

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

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
	fuzzRoute(f, "/slack/interactions", formType, asForm(clickPayload("A0MDEBOT", "T0SOC")), goodSlash,
		asForm(`{"type":"block_actions","api_app_id":"A0MDEBOT","team":{"id":"T0SOC"},"actions":null}`))
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
