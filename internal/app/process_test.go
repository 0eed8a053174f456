package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/sandbox/freeport"
)

// ran is how a process ended.
type ran struct {
	code           int
	stdout, stderr string
}

// run runs mdebot to its end with nothing in its environment but env.
func run(t *testing.T, env []string, stdin string, args ...string) ran {
	t.Helper()
	mdebot := binary(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, mdebot, args...)
	var out, errs bytes.Buffer
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, strings.NewReader(stdin), &out, &errs
	cmd.Dir = t.TempDir()
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatalf("mdebot %s: %v", strings.Join(args, " "), err)
	}
	return ran{code: cmd.ProcessState.ExitCode(), stdout: out.String(), stderr: errs.String()}
}

// outside is a story whose bot is the shipped binary.
type outside struct {
	*story
	webhook, admin string
	cmd            *exec.Cmd
	log            *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newOutside starts a world and the binary in it.
func newOutside(t *testing.T, o sandbox.Options, env ...string) *outside {
	t.Helper()
	if o.Timing == (defendersim.Timing{}) {
		o.Timing = defendersim.Timing{Start: 200 * time.Millisecond, Run: 200 * time.Millisecond}
	}
	world, err := sandbox.New(t.Context(), o)
	if err != nil {
		t.Fatalf("start the world: %v", err)
	}
	t.Cleanup(func() {
		if err := world.Close(); err != nil {
			t.Errorf("stop the world: %v", err)
		}
	})
	p := &outside{story: &story{T: t, world: world, dir: t.TempDir()}, webhook: freeAddress(t), admin: freeAddress(t), log: &lockedBuffer{}}
	t.Cleanup(func() {
		if t.Failed() {
			fmt.Fprintln(logTo(t), p.log)
		}
	})
	p.writePolicy(sandbox.PolicyYAML())
	p.env = slices.Concat(world.Environment(), []string{
		"MDEBOT_CONFIG=" + filepath.Join(p.dir, "mdebot.yaml"),
		"MDEBOT_DATABASE_URL=sqlite:" + filepath.Join(p.dir, "mdebot.db"),
		"MDEBOT_LISTEN=" + p.webhook,
		"MDEBOT_ADMIN_LISTEN=" + p.admin,
	}, env)
	return p
}

// freeAddress is a loopback address for a process, which needs the same one again when
// it is started again.
func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := freeport.Address(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// serve starts the process and waits until it is ready.
func (p *outside) serve() {
	p.Helper()
	p.cmd = exec.Command(binary(p.T), "serve")
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = p.env, p.log, p.log
	p.launch(p.cmd)
}

func (p *outside) launch(cmd *exec.Cmd) {
	p.Helper()
	if err := cmd.Start(); err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() {
		if p.cmd != nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	p.eventually("the process gets ready", func() string {
		if got := run(p.T, p.env, "", "healthcheck"); got.code != exitOK {
			return got.stderr + p.log.String()
		}
		return ""
	})
}

// connected tells the platforms where the bot is.
func (p *outside) connected() {
	p.Helper()
	if err := p.world.Connect(p.Context(), "http://"+p.webhook); err != nil {
		p.Fatalf("connect the platforms: %v", err)
	}
}

// kill is kill -9.
func (p *outside) kill() {
	p.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.Fatal(err)
	}
	_ = p.cmd.Wait() // says that it was killed
	p.cmd = nil
}

func TestProcess_survivesKillsWhileApprovingAndExecuting(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("MDEBOT_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("MDEBOT_TEST_SEED: %v", err)
		}
	}
	t.Logf("MDEBOT_TEST_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 1))

	p := newOutside(t, sandbox.Options{Timing: defendersim.Timing{Start: 50 * time.Millisecond, Run: 50 * time.Millisecond}})
	p.serve()
	p.connected()
	const rounds = 4
	asked := 0
	for round := range rounds {
		machine := fmt.Sprintf("ws-%03d", 80+round)
		// Riley's limit of five an hour would ask for a second approver.
		asker := []sandbox.Person{sandbox.Riley, sandbox.Sam}[round%2]
		card := p.request(p.slack(), p.teams(), asker, sandbox.Avery, machine, "killed in between")
		asked++
		wait := time.Duration(random.IntN(60)) * time.Millisecond
		var vote sync.WaitGroup
		vote.Go(func() { p.clickQuietly(p.teams(), sandbox.Avery, card, "Approve") })
		timer := time.NewTimer(wait)
		<-timer.C
		p.kill()
		vote.Wait()
		t.Logf("round %d: killed %s after the click, %d isolations so far", round+1, wait, len(p.isolations()))
		p.serve()
		// An unanswered click counts or not; a person who sees no effect clicks again.
		var clicked time.Time
		p.eventually("the vote counts", func() string {
			if p.posted(p.slack(), asker, sandbox.SlackSOC, "Request #", machine, "1 of 1") > 0 {
				return ""
			}
			if time.Since(clicked) > 3*time.Second {
				clicked = time.Now()
				// A card whose posting was not recorded counts as nobody's, and stands once more.
				for _, m := range p.teams().see(sandbox.Avery, sandbox.TeamsApprovals) {
					if containsAll(m.text, []string{"Request #", machine, "Approve"}) {
						card = m
					}
				}
				p.clickQuietly(p.teams(), sandbox.Avery, card, "Approve")
			}
			return "the card does not say 1 of 1"
		})
		if random.IntN(2) == 0 {
			p.kill()
			p.serve()
		}
	}
	for round := range rounds {
		machine := fmt.Sprintf("ws-%03d", 80+round)
		for _, there := range []struct {
			on    side
			who   sandbox.Person
			place string
		}{
			{p.slack(), sandbox.Riley, sandbox.SlackSOC}, {p.teams(), sandbox.Avery, sandbox.TeamsApprovals},
		} {
			p.sees(there.on, there.who, there.place, "isolate "+machine+".corp.contoso.com – isolated", "Avery Stone")
		}
		id := p.machine(machine).ID
		if n := len(p.world.Tenant.Effects(defendersim.OfKind(defendersim.EffectIsolate), defendersim.OnMachine(id))); n != 1 {
			t.Errorf("%s was isolated %d times, want once", machine, n)
		}
	}
	p.wantIsolations(asked)
}

func TestProcess_stopsInOrderOnSIGTERM(t *testing.T) {
	t.Parallel()
	p := newOutside(t, sandbox.Options{})
	p.serve()
	p.connected()
	card := p.request(p.slack(), p.slack(), sandbox.Riley, sandbox.Avery, "ws-090", "stopped in between")
	p.slack().click(sandbox.Avery, card, "Approve")
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v, want exit code 0\n%s", err, p.log)
	}
	p.cmd = nil
	if got := run(t, p.env, "", "healthcheck"); got.code == exitOK {
		t.Error("healthcheck says ready of a process that has ended")
	}
	// What was accepted before goes on at the next start.
	p.serve()
	p.sees(p.slack(), sandbox.Riley, sandbox.SlackSOC, "isolate ws-090.corp.contoso.com – isolated")
	p.wantIsolations(1)
	for _, secret := range []string{"SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "MDE_CLIENT_SECRET", "TEAMS_APP_SECRET"} {
		if v, ok := setting(p.env, secret); !ok || strings.Contains(p.log.String(), v) {
			t.Errorf("the log shows %s", secret)
		}
	}
}

func TestProcess_refusesToStartWithoutWhatItNeeds(t *testing.T) {
	t.Parallel()
	p := newOutside(t, sandbox.Options{})
	without := func(names ...string) []string {
		return slices.DeleteFunc(slices.Clone(p.env), func(line string) bool {
			name, _, _ := strings.Cut(line, "=")
			return slices.Contains(names, name)
		})
	}
	for _, name := range []string{"MDE_TENANT_ID", "MDE_CLIENT_ID", "MDE_CLIENT_SECRET", "SLACK_SIGNING_SECRET", "TEAMS_APP_SECRET", "TEAMS_TENANT_ID"} {
		for _, command := range [][]string{{"serve"}, {"config", "check"}} {
			if got := run(t, without(name), "", command...); got.code != exitConfig || !strings.Contains(got.stderr, name) {
				t.Errorf("%s without %s: exit code %d, %s", strings.Join(command, " "), name, got.code, got.stderr)
			}
		}
	}
	all := []string{"MDE_TENANT_ID", "MDE_CLIENT_ID", "MDE_CLIENT_SECRET", "SLACK_SIGNING_SECRET", "TEAMS_APP_SECRET", "TEAMS_TENANT_ID"}
	got := run(t, append(without(all...), "MDEBOT_LOG_LEVEL=loud", "MDEBOT_TLS_CERT_FILE=/nowhere"), "", "serve")
	for _, name := range append(all, "MDEBOT_LOG_LEVEL", "MDEBOT_TLS_KEY_FILE") {
		if !strings.Contains(got.stderr, name) {
			t.Errorf("serve does not name %s among all faults:\n%s", name, got.stderr)
		}
	}
	if got.code != exitConfig {
		t.Errorf("exit code %d with many faults, want %d", got.code, exitConfig)
	}
	if got := run(t, without("SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "TEAMS_APP_ID", "TEAMS_APP_SECRET", "TEAMS_TENANT_ID"), "", "serve"); got.code != exitConfig || !strings.Contains(got.stderr, "neither Slack nor Teams") {
		t.Errorf("without any platform: exit code %d, %s", got.code, got.stderr)
	}
	if got := run(t, append(without("MDE_BASE_URL"), "MDE_BASE_URL=http://defender.example"), "", "serve"); got.code != exitConfig || !strings.Contains(got.stderr, "MDE_BASE_URL") {
		t.Errorf("plain http to another host: exit code %d, %s", got.code, got.stderr)
	}
	p.writePolicy("approvals:\n  expire_after: never\n  rulez: []\npeople: 7\n")
	if got := run(t, p.env, "", "serve"); got.code != exitConfig || !containsAll(got.stderr, []string{"expire_after", "rulez", "people", ":2:", ":3:"}) {
		t.Errorf("a bad mdebot.yaml: exit code %d, %s", got.code, got.stderr)
	}
	if got := run(t, p.env, "", "frobnicate"); got.code != exitConfig {
		t.Errorf("an unknown command: exit code %d, want %d", got.code, exitConfig)
	}
}

func TestProcess_shippedBinaryHasNoFailpoints(t *testing.T) {
	t.Parallel()
	program, err := os.ReadFile(binary(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, trace := range []string{"FAILPOINTS", "crash-before"} {
		if bytes.Contains(program, []byte(trace)) {
			t.Errorf("the binary knows %s", trace)
		}
	}
}

func TestProcess_secretsFromFiles(t *testing.T) {
	t.Parallel()
	p := newOutside(t, sandbox.Options{})
	for i, line := range p.env {
		name, value, _ := strings.Cut(line, "=")
		if !slices.Contains([]string{"MDE_CLIENT_SECRET", "SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "TEAMS_APP_SECRET"}, name) {
			continue
		}
		file := filepath.Join(p.dir, name)
		if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		p.env[i] = name + "_FILE=" + file
	}
	p.serve()
	p.connected()
	p.ask(p.slack(), sandbox.Riley, "machine ws-091", "Machine ws-091")
	p.ask(p.teams(), sandbox.Riley, "machine ws-091", "Machine ws-091")
}

func TestProcess_smallCommands(t *testing.T) {
	t.Parallel()
	p := newOutside(t, sandbox.Options{})
	if got := run(t, p.env, "", "config", "check"); got.code != exitOK || !strings.Contains(got.stdout, "ok: 4 people") {
		t.Errorf("config check: exit code %d, %s%s", got.code, got.stdout, got.stderr)
	}
	example := run(t, nil, "", "config", "example")
	if example.code != exitOK {
		t.Fatalf("config example: exit code %d, %s", example.code, example.stderr)
	}
	p.writePolicy(example.stdout)
	if got := run(t, p.env, "", "config", "check"); got.code != exitOK {
		t.Errorf("config check of the example: exit code %d, %s", got.code, got.stderr)
	}
	if got := run(t, nil, "", "version"); got.code != exitOK || !strings.HasPrefix(got.stdout, "mdebot ") {
		t.Errorf("version: exit code %d, %q", got.code, got.stdout)
	}
	if got := run(t, p.env, "", "healthcheck"); got.code != exitFailed || !strings.Contains(got.stderr, "not running") {
		t.Errorf("healthcheck of nothing: exit code %d, %s", got.code, got.stderr)
	}
	app, _ := setting(p.env, "TEAMS_APP_ID")
	for _, platform := range [][]string{{"slack"}, {"teams", "--app-id", app}} {
		if got := run(t, nil, "", append([]string{"manifest"}, platform...)...); got.code != exitOK || len(got.stdout) < 100 {
			t.Errorf("manifest %q: exit code %d, %s", platform, got.code, got.stderr)
		}
	}
}

// nobody is a user who owns nothing.
const nobody = 65534

func TestProcess_inAnEmptyRootAsAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("chroot needs root")
	}
	p := newOutside(t, sandbox.Options{})
	root, err := os.MkdirTemp("", "mdebot-root-") // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
	for name, mode := range map[string]os.FileMode{"": 0o755, "data": 0o700, "etc": 0o755} {
		if err := errors.Join(os.MkdirAll(filepath.Join(root, name), mode), os.Chmod(filepath.Join(root, name), mode)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(root, "data"), nobody, nobody); err != nil {
		t.Fatal(err)
	}
	place(t, binary(t), filepath.Join(root, "mdebot"), 0o555)
	place(t, filepath.Join(p.dir, "mdebot.yaml"), filepath.Join(root, "etc", "mdebot.yaml"), 0o444)
	p.env = slices.DeleteFunc(p.env, func(line string) bool {
		return strings.HasPrefix(line, "MDEBOT_CONFIG=") || strings.HasPrefix(line, "MDEBOT_DATABASE_URL=")
	})
	p.env = append(p.env, "MDEBOT_CONFIG=/etc/mdebot.yaml", "MDEBOT_DATABASE_URL=sqlite:/data/mdebot.db")

	confined := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "/mdebot", args...)
		cmd.Dir, cmd.Env = "/", p.env
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		return cmd
	}
	p.cmd = confined("serve")
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.launch(p.cmd)
	if out, err := confined("healthcheck").CombinedOutput(); err != nil {
		t.Errorf("healthcheck inside: %v: %s", err, out)
	}
	p.connected()
	confinedTo(t, p.cmd.Process.Pid)
	card := p.request(p.slack(), p.teams(), sandbox.Riley, sandbox.Avery, "ws-092", "from an empty root")
	p.teams().click(sandbox.Avery, card, "Approve")
	p.sees(p.slack(), sandbox.Riley, sandbox.SlackSOC, "isolate ws-092.corp.contoso.com – isolated")
	p.wantIsolations(1)
	if entries, err := os.ReadDir(filepath.Join(root, "data")); err != nil || len(entries) == 0 {
		t.Errorf("nothing in /data: %v", err)
	}
}

// confinedTo fails unless a process has no capabilities and leaves nothing of its
// memory behind.
func confinedTo(t *testing.T, pid int) {
	t.Helper()
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	for file, want := range map[string]string{"status": `CapEff:\s+0000000000000000\n`, "limits": `Max core file size\s+0\s+0\s`} {
		content, err := os.ReadFile(filepath.Join(proc, file))
		if err != nil || !regexp.MustCompile(want).Match(content) {
			t.Errorf("%s: no %s in %s (%v)", file, want, content, err)
		}
	}
	// The kernel gives the files of a process that nobody may look into to root.
	info, err := os.Stat(filepath.Join(proc, "environ"))
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 {
		t.Errorf("other processes of user %d may look into this one", owner)
	}
}

func place(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, content, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What the demo prints is all that a bot of one's own needs.
func TestProcess_serveUnderWhatTheDemoPrints(t *testing.T) {
	t.Parallel()
	webhook, admin, printed := freeAddress(t), freeAddress(t), &lockedBuffer{}
	demo := exec.CommandContext(t.Context(), binary(t), "demo", "--listen", "127.0.0.1:0", "--bot", "http://"+webhook)
	demo.Env, demo.Stdout, demo.Stderr = []string{"TMPDIR=" + t.TempDir()}, printed, printed
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = demo.Process.Kill()
		_ = demo.Wait()
	})
	await := func(what string) {
		t.Helper()
		for end := time.Now().Add(patience); !strings.Contains(printed.String(), what); {
			if time.Now().After(end) {
				t.Fatalf("the demo has not printed %q:\n%s", what, printed)
			}
			time.Sleep(20 * time.Millisecond) // of another process
		}
	}
	await("# mdebot.yaml:")
	var env []string
	for line := range strings.Lines(printed.String()) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && regexp.MustCompile(`^[A-Z_]+$`).MatchString(name) {
			env = append(env, name+"="+value)
		}
	}
	env = append(env, "MDEBOT_LISTEN="+webhook, "MDEBOT_ADMIN_LISTEN="+admin, "MDEBOT_DATABASE_URL=sqlite:"+filepath.Join(t.TempDir(), "mdebot.db"))
	cmd := exec.CommandContext(t.Context(), binary(t), "serve")
	cmd.Env, cmd.Stdout, cmd.Stderr = env, printed, printed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	await(`"msg":"ready"`)
	await("Connected.")
	if got := run(t, env, "", "healthcheck"); got.code != exitOK {
		t.Errorf("healthcheck = %d: %s", got.code, got.stderr)
	}

	// Both Defender tenants are there: the company's in its channel, the customer's in
	// its own, and by name.
	page := strings.TrimSpace(strings.SplitN(printed.String(), "\n", 2)[0])
	for _, c := range []struct{ conversation, text, want string }{
		{sandbox.SlackSOC, "/mde machine ws-014", "ws-014.corp.contoso.com"},
		{sandbox.SlackFabrikam, "/mde machine ws-014", "ws-014.corp.fabrikam.com"},
		{sandbox.SlackFabrikam, "/mde tenant", "fabrikam"},
		{sandbox.SlackLobby, "/mde tenant fabrikam", "Chosen for reading"},
		{sandbox.SlackLobby, "/mde machine ws-015", "ws-015.corp.fabrikam.com"},
		{sandbox.SlackFabrikam, "/mde isolate ws-016 beaconing at the customer", "waits for approval"},
	} {
		onThePage(t, page, c.conversation, c.text)
		for end := time.Now().Add(patience); !strings.Contains(pageShows(t, page, c.conversation), c.want); {
			if time.Now().After(end) {
				t.Fatalf("%s in %s: %q is not there:\n%s", c.text, c.conversation, c.want, pageShows(t, page, c.conversation))
			}
			time.Sleep(100 * time.Millisecond) // of another process
		}
	}
}

// onThePage types text into a Slack conversation of the demo's page, as Riley.
func onThePage(t *testing.T, page, conversation, text string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"conversation": conversation, "text": text})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, page+"/api/slack/send?person=riley", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", page)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s = %d %s", text, resp.StatusCode, answer)
	}
}

// pageShows is what Riley's page shows of a Slack conversation.
func pageShows(t *testing.T, page, conversation string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, page+"/api/state?person=riley", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var state struct {
		Slack struct {
			Conversations []struct {
				ID       string
				Messages json.RawMessage
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&state); err != nil {
		t.Fatal(err)
	}
	for _, c := range state.Slack.Conversations {
		if c.ID == conversation {
			return string(c.Messages)
		}
	}
	return ""
}
