package anchor_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mdebot/mdebot/internal/anchor"
	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/store/storetest"
	"github.com/mdebot/mdebot/internal/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const contoso tenant.ID = "contoso"

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

type world struct {
	db       durable.DB
	now      time.Time
	stops    []audit.Head
	accepted bool
}

func (w *world) Restored(_ context.Context, known audit.Head, _ string) (bool, error) {
	w.stops = append(w.stops, known)
	return w.accepted, nil
}

func newWorld(t *testing.T) *world { return &world{db: storetest.New(t), now: noon} }

func (w *world) append(t *testing.T, n int) {
	t.Helper()
	log := audit.NewLog(func() time.Time { return w.now })
	err := w.db.InTx(t.Context(), func(tx durable.Tx) error {
		for range n {
			if _, err := log.Append(t.Context(), tx, audit.Event{Tenant: contoso, Kind: "vote.approve"}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) cutTo(t *testing.T, seq int64) {
	t.Helper()
	err := w.db.InTx(t.Context(), func(tx durable.Tx) error {
		if _, err := tx.Exec(t.Context(), `DELETE FROM audit WHERE seq > $1`, seq); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), `UPDATE audit_heads SET seq = $1, hash = (SELECT hash FROM audit WHERE seq = $1)`, seq)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) keeper(t *testing.T, list string, key *audit.Key, outside anchor.Outside) *anchor.Keeper {
	t.Helper()
	d, err := anchor.Parse(list, outside)
	if err != nil {
		t.Fatalf("Parse(%q) = %v", list, err)
	}
	return anchor.New(anchor.Config{
		DB: w.db, Tenants: []tenant.ID{contoso}, Destinations: d, Key: key, Guard: w,
		Now: func() time.Time { return w.now }, Logger: slog.New(slog.DiscardHandler),
	})
}

func lines(t *testing.T, path string) []audit.Anchor {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []audit.Anchor
	for line := range bytes.Lines(text) {
		var a audit.Anchor
		if json.Unmarshal(line, &a) == nil {
			all = append(all, a)
		}
	}
	return all
}

func testKey(t *testing.T) *audit.Key {
	t.Helper()
	key, err := audit.ParseKey("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestKeeper_sendsWhenDueOrAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "anchors.jsonl")
	k := w.keeper(t, "file:"+path, testKey(t), anchor.Outside{})
	k.Keep(t.Context(), false)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty log was anchored")
	}
	w.append(t, 2)
	k.Keep(t.Context(), false)
	w.append(t, 1)
	k.Keep(t.Context(), false) // not due
	w.now = noon.Add(5 * time.Minute)
	k.Keep(t.Context(), false)
	k.Keep(t.Context(), true) // nothing new
	w.append(t, 1)
	k.Keep(t.Context(), true)
	var got []int64
	for _, a := range lines(t, path) {
		got = append(got, a.Seq)
		if err := a.SignedBy(testKey(t).Public()); err != nil {
			t.Errorf("anchor at %d: %v", a.Seq, err)
		}
	}
	if len(got) != 3 || got[0] != 2 || got[1] != 3 || got[2] != 4 {
		t.Errorf("anchored at %v, want 2, 3 and 4", got)
	}
	if len(w.stops) != 0 || k.Problem(contoso) != "" {
		t.Errorf("stopped for %v, problem %q", w.stops, k.Problem(contoso))
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
}

func TestKeeper_stopsForACutOrRewrittenLog(t *testing.T) {
	t.Parallel()
	for name, rewrite := range map[string]int{"cut": 0, "cut and rewritten": 5} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			path := filepath.Join(t.TempDir(), "anchors.jsonl")
			w.append(t, 4)
			w.keeper(t, "file:"+path, nil, anchor.Outside{}).Keep(t.Context(), false)
			evidence := lines(t, path)

			w.cutTo(t, 2)
			w.now = noon.Add(time.Hour)
			w.append(t, rewrite)
			k := w.keeper(t, "file:"+path, nil, anchor.Outside{})
			k.Keep(t.Context(), true)
			if len(w.stops) != 1 || w.stops[0] != evidence[0].Head {
				t.Errorf("stopped for %v, want the anchor %v", w.stops, evidence[0].Head)
			}
			if !k.Differs(contoso) || !strings.Contains(k.Problem(contoso), "not the one anchored") {
				t.Errorf("Differs() = %v, Problem() = %q", k.Differs(contoso), k.Problem(contoso))
			}
			if after := lines(t, path); len(after) != 1 {
				t.Errorf("%d anchors, want the evidence alone", len(after))
			}

			w.accepted = true
			k.Keep(t.Context(), false)
			after := lines(t, path)
			if len(after) != 2 || after[1].Replaces == nil || *after[1].Replaces != evidence[0].Head {
				t.Fatalf("anchors after people accepted: %+v, want one that names what it replaces", after)
			}
			stops := len(w.stops)
			k.Keep(t.Context(), true)
			if len(w.stops) != stops || k.Differs(contoso) {
				t.Error("stopped again after the restore was accepted and anchored")
			}
		})
	}
}

func TestKeeper_triesAgainAndSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "not mounted")
	k := w.keeper(t, "file:"+filepath.Join(dir, "anchors.jsonl"), nil, anchor.Outside{})
	w.append(t, 1)
	k.Keep(t.Context(), false)
	if !strings.Contains(k.Problem(contoso), "not mounted") {
		t.Errorf("Problem() = %q, want the destination named", k.Problem(contoso))
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	k.Keep(t.Context(), false)
	if p := k.Problem(contoso); p != "" {
		t.Errorf("Problem() = %q after it worked", p)
	}
}

func TestFile_survivesACutLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "anchors.jsonl")
	if err := os.WriteFile(path, []byte(`{"tenant":"contoso","seq":1,"ha`), 0o600); err != nil {
		t.Fatal(err)
	}
	w.append(t, 1)
	w.keeper(t, "file:"+path, nil, anchor.Outside{}).Keep(t.Context(), false)
	if all := lines(t, path); len(all) != 1 || all[0].Seq != 1 {
		t.Errorf("anchors: %+v, want the new one on a line of its own", all)
	}
}

func TestNewest_countsOnlyWhatTheKeySigned(t *testing.T) {
	t.Parallel()
	key := testKey(t)
	signed := key.Sign(audit.Anchor{Head: audit.Head{Tenant: contoso, Seq: 3, Hash: "a"}, At: noon})
	forged := audit.Anchor{Head: audit.Head{Tenant: contoso, Seq: 9, Hash: "b"}, At: noon.Add(time.Hour)}
	file := func(all ...audit.Anchor) io.Reader {
		var b bytes.Buffer
		for _, a := range all {
			line, err := json.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(append(line, '\n'))
		}
		return &b
	}
	newest, _, err := anchor.Newest(file(signed, forged), key.Public())
	if err != nil || newest[contoso].Seq != 3 {
		t.Errorf("Newest() = %+v, %v, want the signed one", newest, err)
	}
	if _, _, err := anchor.Newest(file(forged), key.Public()); !errors.Is(err, audit.ErrSignature) {
		t.Errorf("Newest() = %v for unsigned anchors alone, want %v", err, audit.ErrSignature)
	}
	if newest, _, err := anchor.Newest(file(signed, forged), ""); err != nil || newest[contoso].Seq != 9 {
		t.Errorf("Newest() = %+v, %v without a key, want the last", newest, err)
	}
}

func TestHTTPS_postsAndAsks(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var kept []byte
	srv := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Query().Get("token") != "s3cret" {
			http.Error(rw, "who?", http.StatusForbidden)
			return
		}
		if r.Method == http.MethodPost {
			kept, _ = io.ReadAll(r.Body)
			return
		}
		_, _ = rw.Write(kept)
	}))
	t.Cleanup(srv.Close)
	outside := anchor.Outside{Transport: srv.Client().Transport}
	w := newWorld(t)
	w.append(t, 3)
	w.keeper(t, srv.URL+"/anchors?token=s3cret", nil, outside).Keep(t.Context(), false)
	w.cutTo(t, 1)
	k := w.keeper(t, srv.URL+"/anchors?token=s3cret", nil, outside)
	k.Keep(t.Context(), false)
	if len(w.stops) != 1 || w.stops[0].Seq != 3 {
		t.Errorf("stopped for %v, want what the address had been sent", w.stops)
	}
	refused := w.keeper(t, srv.URL+"/anchors?token=wrong", nil, outside)
	w.append(t, 1)
	refused.Keep(t.Context(), true)
	if p := refused.Problem(contoso); !strings.Contains(p, "403") || strings.Contains(p, "wrong") {
		t.Errorf("Problem() = %q, want the answer and no token", p)
	}
}

func TestSyslog_writesRFC5424(t *testing.T) {
	t.Parallel()
	want := regexp.MustCompile(`^<109>1 2026-11-21T12:00:00\.000000Z \S+ mdebot \d+ audit-anchor - \{"tenant":"contoso","seq":1,"hash":"[0-9a-f]{64}",`)
	dir := t.TempDir()
	var lc net.ListenConfig
	packets := func(network, address string) (string, func() string) {
		c, err := lc.ListenPacket(t.Context(), network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c.LocalAddr().String(), func() string {
			b := make([]byte, 4096)
			_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
			n, _, err := c.ReadFrom(b)
			if err != nil {
				t.Errorf("%s: %v", network, err)
			}
			return string(b[:n])
		}
	}
	stream, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stream.Close() })
	unixAddr, fromUnix := packets("unixgram", filepath.Join(dir, "log"))
	udpAddr, fromUDP := packets("udp", "127.0.0.1:0")
	fromTCP := func() string {
		c, err := stream.Accept()
		if err != nil {
			t.Error(err)
			return ""
		}
		defer c.Close()
		text, _ := io.ReadAll(bufio.NewReader(c))
		length, message, _ := strings.Cut(string(text), " ")
		if length != jsonNumber(len(message)) {
			t.Errorf("the frame says %s octets, it has %d", length, len(message))
		}
		return message
	}
	for destination, read := range map[string]func() string{
		"syslog:unix:" + unixAddr: fromUnix, "syslog:udp:" + udpAddr: fromUDP, "syslog:tcp:" + stream.Addr().String(): fromTCP,
	} {
		w := newWorld(t)
		w.append(t, 1)
		k := w.keeper(t, destination, nil, anchor.Outside{})
		k.Keep(t.Context(), false)
		if p := k.Problem(contoso); p != "" {
			t.Errorf("%s: %s", destination, p)
			continue
		}
		if got := read(); !want.MatchString(got) {
			t.Errorf("%s got %q, want %s", destination, got, want)
		}
		if k.Comparable() {
			t.Errorf("%s claims that it can be read back", destination)
		}
	}
}

func jsonNumber(n int) string { b, _ := json.Marshal(n); return string(b) }

// channel is a chat platform that keeps what is posted.
type channel struct{ posts []chat.Post }

func (c *channel) Post(_ context.Context, p chat.Post) (chat.Ref, error) {
	c.posts = append(c.posts, p)
	return chat.Ref{MessageID: "1"}, nil
}

func (*channel) Edit(context.Context, chat.Ref, chat.Message) error { return nil }

func (*channel) Find(context.Context, chat.Post, time.Time) (chat.Ref, bool, error) {
	return chat.Ref{}, false, nil
}

func TestChat_postsHourlyAndWhenAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := &channel{}
	k := w.keeper(t, "slack:C0OPS", nil, anchor.Outside{Posters: map[identity.Platform]chat.Poster{identity.Slack: c}})
	for i, step := range []struct {
		after  time.Duration
		urgent bool
		posts  int
	}{{0, false, 1}, {10 * time.Minute, false, 1}, {11 * time.Minute, true, 2}, {72 * time.Minute, false, 3}} {
		w.now = noon.Add(step.after)
		w.append(t, 1)
		k.Keep(t.Context(), step.urgent)
		if len(c.posts) != step.posts {
			t.Errorf("step %d: %d posts, want %d", i, len(c.posts), step.posts)
		}
	}
}

func TestParse_refusals(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"file:relative.jsonl", "file:", "syslog:/dev/log", "syslog:unix:", "http://siem.example.com", "https://", "slack:C0OPS", "slack:ops", "carrier-pigeon",
	} {
		if _, err := anchor.Parse("file:/ok, "+bad, anchor.Outside{}); err == nil {
			t.Errorf("Parse accepted %q", bad)
		}
	}
	if d, err := anchor.Parse("", anchor.Outside{}); err != nil || len(d) != 0 {
		t.Errorf("Parse(nothing) = %v, %v", d, err)
	}
}
