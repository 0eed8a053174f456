package slackbot

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
)

// The two benchmarks below are compared in docs/benchmarks.md: what a slash
// command costs until it is acknowledged, against a bare handler that only
// verifies the same signature. cpu-ns/op is user and system time of this
// process; the client is another one and does not count.

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
	client := exec.CommandContext(b.Context(), os.Args[0])
	client.Env = append(os.Environ(), fmt.Sprintf("%s=%s/slack/commands %d", loadVariable, server.URL, b.N))
	before := cpuTime(b)
	if out, err := client.CombinedOutput(); err != nil {
		b.Fatalf("client: %v\n%s", err, out)
	}
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

// loadVariable makes the test binary a client that sends slash commands to an
// address as often as the variable says, over eight connections.
const loadVariable = "SLACKBOT_BENCH_LOAD"

func load(what string) error {
	const connections = 8
	address, count, _ := strings.Cut(what, " ")
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	failed := make(chan error, connections)
	var next atomic.Int64
	for range connections {
		go func() {
			var err error
			for i := next.Add(1); err == nil && i <= int64(n); i = next.Add(1) {
				err = sendSlash(client, address, strings.Replace(goodSlash, "1.2.3", fmt.Sprint("t", i), 1))
			}
			failed <- err
		}()
	}
	var errs []error
	for range connections {
		errs = append(errs, <-failed)
	}
	return errors.Join(errs...)
}

func sendSlash(client *http.Client, address, body string) error {
	req, err := http.NewRequest(http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = slacksim.Sign(testSecret, time.Now(), []byte(body))
	req.Header.Set("Content-Type", formType)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// BenchmarkRender draws cards as they are sent: a typical one, and one that
// reaches Slack's limits.
func BenchmarkRender(b *testing.B) {
	for name, m := range map[string]chat.Message{"typical": fullCard("web-01", 2), "huge": fullCard(strings.Repeat(hostile, 50), 30)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d := render(m)
				if _, err := json.Marshal(map[string]any{"text": d.text, "blocks": d.blocks, "attachments": d.attachments}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
