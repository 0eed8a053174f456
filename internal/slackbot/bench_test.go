package slackbot

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
)

// The two benchmarks below are compared in docs/benchmarks.md: what a slash
// command costs until it is acknowledged, against a bare handler that only
// verifies the same signature. cpu-ns/op is the CPU time of the whole process,
// client included, which is the same in both.

func BenchmarkSlashAck(b *testing.B) {
	bot := newOffline(b)
	bot.handler = silent{}
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- bot.Run(ctx) }()
	benchmarkRoute(b, bot.Routes())
	stop()
	<-done
}

// silent is a handler that answers nothing.
type silent struct{}

func (silent) Handle(context.Context, chat.Invocation) chat.Response { return chat.Response{} }

func BenchmarkBareVerification(b *testing.B) {
	benchmarkRoute(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		mac := hmac.New(sha256.New, []byte(testSecret))
		mac.Write([]byte("v0:" + r.Header.Get("X-Slack-Request-Timestamp") + ":"))
		mac.Write(body)
		if !hmac.Equal([]byte(r.Header.Get("X-Slack-Signature")), []byte("v0="+hex.EncodeToString(mac.Sum(nil)))) {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
}

func benchmarkRoute(b *testing.B, route http.Handler) {
	b.Helper()
	server := httptest.NewServer(route)
	defer server.Close()
	client := server.Client()
	bodies := make([]string, b.N)
	headers := make([]http.Header, b.N)
	for i := range bodies {
		bodies[i] = strings.Replace(goodSlash, "1.2.3", "t"+strconv.Itoa(i), 1)
		headers[i] = slacksim.Sign(testSecret, time.Now(), []byte(bodies[i]))
		headers[i].Set("Content-Type", formType)
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	for i := range b.N {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, server.URL+"/slack/commands", strings.NewReader(bodies[i]))
		if err != nil {
			b.Fatal(err)
		}
		req.Header = headers[i]
		resp, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			b.Fatalf("status %d", resp.StatusCode)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
