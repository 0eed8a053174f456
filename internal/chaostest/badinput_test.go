package chaostest

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // for a look behind the bot's back

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

// bot is one mdebot in a world, used on Slack by Riley, who asks, and Avery, who
// approves.
type bot struct {
	testing.TB
	*process
	world *sandbox.World
}

func newBot(t testing.TB, database string) *bot {
	t.Helper()
	world, env := newWorld(t, quick(), policyFor())
	return &bot{TB: t, world: world, process: newProcess(t, "the bot", append(env, "MDEBOT_DATABASE_URL="+database))}
}

// up starts it and waits until it has looked at Defender's alerts.
func (b *bot) up(wrap ...string) {
	b.Helper()
	b.start("", wrap...)
	if !b.ready() {
		b.Fatalf("it ended at once:\n%s", b.log)
	}
	if err := b.world.Connect(b.Context(), "http://"+b.listen); err != nil {
		b.Fatal(err)
	}
	b.eventually("the first look at Defender", func() string {
		if len(b.world.Defender.Calls("GET /api/alerts")) == 0 {
			return "not yet"
		}
		return ""
	})
}

const patience = 90 * time.Second

func (b *bot) eventually(what string, missing func() string) {
	b.Helper()
	why := ""
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if why = missing(); why == "" {
			return
		}
	}
	b.Fatalf("%s: %s", what, why)
}

// sees waits for a message with the words in a channel, as who sees it.
func (b *bot) sees(who sandbox.Person, place string, words ...string) (found slacksim.Message) {
	b.Helper()
	b.eventually(fmt.Sprintf("%s looks for %q", who.Name, words), func() string {
		var all []string
		for _, m := range slices.Backward(b.world.Slack.Messages(place, who.Slack)) {
			text := readable(m.Blocks) + readable(m.Attachments) + m.Text
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) }) {
				found = m
				return ""
			}
			all = append(all, text)
		}
		return "not among " + strings.Join(all, "\n---\n")
	})
	return found
}

// asks types a command and tells how long the acknowledgement took.
func (b *bot) asks(text string) time.Duration {
	b.Helper()
	began := time.Now()
	if err := b.world.Slack.Slash(b.Context(), sandbox.Riley.Slack, sandbox.SlackSOC, text); err != nil {
		b.Errorf("/mde %s: %v", text, err)
	}
	return time.Since(began)
}

// card asks for an isolation and returns the card that Avery sees.
func (b *bot) card(machine string) slacksim.Message {
	b.Helper()
	b.asks("isolate " + machine + " something is wrong")
	return b.sees(sandbox.Avery, sandbox.SlackApprovals, "isolate "+machine, "waits for approval")
}

// approves presses Approve. A card without it has been decided, and what follows tells how.
func (b *bot) approves(card slacksim.Message) time.Duration {
	b.Helper()
	began := time.Now()
	err := b.world.Slack.Click(b.Context(), sandbox.Avery.Slack, sandbox.SlackApprovals, card.TS, slacksim.Press{Label: "Approve"})
	if err != nil && !errors.Is(err, slacksim.ErrNoElement) {
		b.Errorf("Approve on %q in %s: %v", card.TS, card.Channel, err)
	}
	return time.Since(began)
}

func (b *bot) wantIsolations(n int) {
	b.Helper()
	if got := b.world.Tenant.Effects(defendersim.OfKind(defendersim.EffectIsolate)); len(got) != n {
		b.Errorf("%d isolations took effect, want %d: %+v", len(got), n, got)
	}
}

func (b *bot) raise(machine, title string) {
	b.Helper()
	if _, err := b.world.Tenant.RaiseAlert(b.world.Tenant.Named(machine + ".corp.contoso.com")[0].ID, "High", title); err != nil {
		b.Fatal(err)
	}
}

// degraded waits until readiness names a part that does not work, or no longer does.
func (b *bot) degraded(part string, want bool) {
	b.Helper()
	b.eventually(fmt.Sprintf("readiness names %s: %t", part, want), func() string {
		code, body := b.get("/readyz")
		if code == 200 && strings.Contains(body, fmt.Sprintf("%q", part)) == want {
			return ""
		}
		return body
	})
}

// smallDisk mounts a file system of a few MiB.
func smallDisk(t testing.TB, flags uintptr) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, "size=6m"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func TestFullDisk_nothingRunsAndItRecoversByItself(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, 0)
	b := newBot(t, "sqlite:"+filepath.Join(dir, "mdebot.db"))
	b.up()
	card := b.card("ws-020")
	filler, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 4096)
	for err == nil {
		_, err = filler.Write(block)
	}
	b.approves(card)
	b.raise("ws-021", "While the disk was full")
	b.sees(sandbox.Avery, sandbox.SlackApprovals, "Something went wrong")
	b.degraded("Database", true)
	b.wantIsolations(0)
	if err := os.Remove(filler.Name()); err != nil {
		t.Fatal(err)
	}
	if err := filler.Close(); err != nil {
		t.Fatal(err)
	}
	b.degraded("Database", false)
	b.sees(sandbox.Riley, sandbox.SlackSOC, "While the disk was full")
	b.approves(card)
	b.sees(sandbox.Riley, sandbox.SlackSOC, "isolate ws-020.corp.contoso.com – isolated", "Avery Stone")
	b.wantIsolations(1)
}

func TestReadOnlyDisk_startSaysSo(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, 0)
	b := newBot(t, "sqlite:"+filepath.Join(dir, "mdebot.db"))
	b.up()
	b.kill()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("cannot be remounted: %v", err)
	}
	out, err := b.command(nil, "serve").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "read-only file system") {
		t.Errorf("serve on a read-only file system: %v\n%s", err, out)
	}
}

func TestLockHeld_commandsAreAcknowledgedAndNothingIsLost(t *testing.T) {
	t.Parallel()
	hold := 13 * time.Second // longer than SQLite waits
	if *figures {
		hold = 60 * time.Second
	}
	file := filepath.Join(t.TempDir(), "mdebot.db")
	b := newBot(t, "sqlite:"+file)
	b.up()
	card := b.card("ws-022")
	other, err := sql.Open("sqlite", "file:"+file+"?_txlock=immediate&_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	held, err := other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	released := time.After(hold)
	b.approves(card)
	b.raise("ws-023", "While the database was locked")
	var slowest time.Duration
	for waiting := true; waiting; {
		slowest = max(slowest, b.asks("whoami"))
		select {
		case <-released:
			waiting = false
		case <-time.After(500 * time.Millisecond):
		}
	}
	b.degraded("Database", true)
	b.wantIsolations(0)
	if err := held.Rollback(); err != nil {
		t.Fatal(err)
	}
	t.Logf("locked for %s, slowest acknowledgement %s", hold, slowest)
	if slowest > 3*time.Second {
		t.Errorf("an acknowledgement took %s, want less than Slack's three seconds", slowest)
	}
	b.degraded("Database", false)
	b.sees(sandbox.Riley, sandbox.SlackSOC, "While the database was locked")
	b.eventually("the vote counts", func() string {
		if len(b.world.Tenant.Effects(defendersim.OfKind(defendersim.EffectIsolate))) > 0 {
			return ""
		}
		b.approves(card)
		time.Sleep(time.Second)
		return "no isolation"
	})
	b.sees(sandbox.Riley, sandbox.SlackSOC, "isolate ws-022.corp.contoso.com – isolated")
	b.wantIsolations(1)
}

// wire is a connection to PostgreSQL that can be cut.
type wire struct {
	net.Listener
	target string
	mu     sync.Mutex
	cut    bool
	open   map[net.Conn]bool
}

func newWire(t testing.TB, target string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l, target: target, open: map[net.Conn]bool{}}
	t.Cleanup(func() { _ = l.Close(); w.set(true) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.carry(c)
		}
	}()
	return w
}

func (w *wire) carry(c net.Conn) {
	defer c.Close()
	far, err := net.Dial("tcp", w.target)
	if err != nil {
		return
	}
	defer far.Close()
	w.mu.Lock()
	if w.cut {
		w.mu.Unlock()
		return
	}
	w.open[c], w.open[far] = true, true
	w.mu.Unlock()
	go func() { _, _ = io.Copy(far, c); _ = far.Close() }()
	_, _ = io.Copy(c, far)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, c)
	delete(w.open, far)
}

// set cuts every connection and refuses new ones, or lets them through again.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	for c := range w.open {
		if cut {
			_ = c.Close()
		}
	}
}

func TestDatabaseGone_itIsSaidAndHealsByItself(t *testing.T) {
	t.Parallel()
	url := storetest.PostgresURL(t)
	at := strings.Index(url, "@") + 1
	end := at + strings.Index(url[at:], "/")
	w := newWire(t, url[at:end])
	b := newBot(t, url[:at]+w.Addr().String()+url[end:])
	b.up()
	card := b.card("ws-024")
	w.set(true)
	b.approves(card)
	b.raise("ws-025", "While the database was gone")
	b.degraded("Database", true)
	var slowest time.Duration
	for range 20 {
		slowest = max(slowest, b.asks("whoami"))
		time.Sleep(200 * time.Millisecond)
	}
	b.wantIsolations(0)
	w.set(false)
	back := time.Now()
	b.degraded("Database", false)
	healed := time.Since(back)
	b.sees(sandbox.Riley, sandbox.SlackSOC, "While the database was gone")
	b.approves(card)
	b.sees(sandbox.Riley, sandbox.SlackSOC, "isolate ws-024.corp.contoso.com – isolated")
	b.wantIsolations(1)
	t.Logf("slowest acknowledgement %s, healed after %s", slowest, healed)
	if healed > 30*time.Second {
		t.Errorf("healed after %s, want half a minute at most", healed)
	}
}

// A replica is stopped between its claim and its call, and wakes up when the other
// one has taken over: it must not call any more.
func TestPaused_betweenClaimAndCallItSendsNothing(t *testing.T) {
	t.Parallel()
	sleep := 24 * time.Second // longer than a lease
	if *figures {
		sleep = 300 * time.Second
	}
	b := newBot(t, storetest.PostgresURL(t))
	b.start("action-called=delay:10s") // the card says "running" a moment after the claim
	if !b.ready() {
		t.Fatal("it ended at once")
	}
	if err := b.world.Connect(t.Context(), "http://"+b.listen); err != nil {
		t.Fatal(err)
	}
	card := b.card("ws-026")
	b.approves(card)
	b.sees(sandbox.Riley, sandbox.SlackSOC, "isolate ws-026", "running")
	b.signal(syscall.SIGSTOP)
	b.wantIsolations(0)

	other := newProcess(t, "the other replica", b.env)
	other.serve()
	time.Sleep(sleep)
	b.signal(syscall.SIGCONT)
	b.sees(sandbox.Riley, sandbox.SlackSOC, "isolate ws-026", "unclear")
	time.Sleep(5 * time.Second)
	b.wantIsolations(0)
}

func TestFewFiles_itGoesOnAfterAFlood(t *testing.T) {
	t.Parallel()
	b := newBot(t, "sqlite:"+filepath.Join(t.TempDir(), "mdebot.db"))
	b.up("/bin/sh", "-c", `ulimit -n 64; exec "$@"`, "sh")
	var flood []net.Conn
	for range 200 {
		c, err := net.DialTimeout("tcp", b.listen, time.Second)
		if err != nil {
			break
		}
		flood = append(flood, c)
	}
	time.Sleep(3 * time.Second)
	for _, c := range flood {
		_ = c.Close()
	}
	if len(flood) < 64 {
		t.Errorf("only %d connections: the test shows little", len(flood))
	}
	b.raise("ws-027", "After the flood")
	card := b.card("ws-028")
	b.approves(card)
	b.sees(sandbox.Riley, sandbox.SlackSOC, "isolate ws-028.corp.contoso.com – isolated")
	b.sees(sandbox.Riley, sandbox.SlackSOC, "After the flood")
	b.wantIsolations(1)
}

func TestDamagedDatabase_isRefusedAndLeftAsItIs(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "mdebot.db")
	b := newBot(t, "sqlite:"+file)
	b.up()
	b.card("ws-029")
	b.signal(syscall.SIGTERM)
	if !b.ended(25 * time.Second) {
		t.Fatal("it does not stop")
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"cut":          func(f []byte) []byte { return f[:len(f)/2] },
		"overwritten":  func(f []byte) []byte { copy(f[4096:], bytes.Repeat([]byte{0xA5}, 40_000)); return f },
		"another file": func([]byte) []byte { return []byte("Dear diary, today the disk failed.") },
	} {
		damaged := damage(slices.Clone(whole))
		if err := os.WriteFile(file, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := b.command(nil, "serve").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "damaged") || !strings.Contains(string(out), "restore a backup") {
			t.Errorf("serve on a file that is %s: %v\n%s", name, err, out)
		}
		if after, err := os.ReadFile(file); err != nil || !bytes.Equal(after, damaged) {
			t.Errorf("serve changed a file that is %s (%v)", name, err)
		}
	}
}

func TestDowngrade_isRefused(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "mdebot.db")
	b := newBot(t, "sqlite:"+file)
	b.up()
	b.kill()
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := b.command(nil, "serve").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "run the newer mdebot") {
		t.Errorf("serve on a newer schema: %v\n%s", err, out)
	}
}
