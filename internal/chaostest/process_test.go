package chaostest

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/freeport"
)

var (
	seedFlag  = flag.Uint64("chaos.seed", 0, "seed of the first round; 0 draws one")
	killsFlag = flag.Int("chaos.kills", 0, "kills to reach in the long form; 0 is one short round")
	forFlag   = flag.Duration("chaos.for", 25*time.Minute, "bound of the long form")
	figures   = flag.Bool("chaos.figures", false, "measure the figures of docs/reliability.md")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if !*figures { // which are measured one after the other
		// The tests wait far more than they compute.
		if err := flag.Set("test.parallel", "12"); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir) // a temporary directory
	}
	os.Exit(code)
}

var built struct {
	once sync.Once
	dir  string
	err  error
}

// binary builds mdebot with failpoints, once for all tests.
func binary(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "mdebot-chaos-"); built.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-tags", "failpoint", "-o", filepath.Join(built.dir, "mdebot"), "./cmd/mdebot")
		cmd.Dir, cmd.Env = filepath.Join("..", ".."), append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatalf("build mdebot: %v", built.err)
	}
	return filepath.Join(built.dir, "mdebot")
}

// process is one mdebot, started again and again at the same addresses.
type process struct {
	testing.TB
	name, program string
	env           []string
	listen, admin string
	log           *tail

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
}

func newProcess(t testing.TB, name string, env []string) *process {
	t.Helper()
	p := &process{TB: t, name: name, program: binary(t), listen: freeAddress(t), admin: freeAddress(t), log: &tail{}}
	p.env = slices.Concat(env, []string{"MDEBOT_LISTEN=" + p.listen, "MDEBOT_ADMIN_LISTEN=" + p.admin})
	t.Cleanup(func() {
		p.kill()
		if keep := os.Getenv("CHAOS_KEEP"); keep != "" {
			_ = os.WriteFile(filepath.Join(keep, strings.ReplaceAll(t.Name()+" "+name, "/", "-")), []byte(p.log.String()), 0o600)
		} else if t.Failed() {
			t.Logf("the end of the log of %s:\n%s", name, p.log)
		}
	})
	return p
}

// freeAddress is a loopback address for a process, which needs the same one again when
// it is started again.
func freeAddress(t testing.TB) string {
	t.Helper()
	address, err := freeport.Address(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// command is mdebot with args in this process's environment, plus env.
func (p *process) command(env []string, args ...string) *exec.Cmd {
	cmd := exec.Command(p.program, args...)
	cmd.Env = append(slices.Clone(p.env), env...)
	return cmd
}

// start starts it with failpoints.
func (p *process) start(failpoints string, wrap ...string) {
	p.Helper()
	cmd := p.command([]string{"FAILPOINTS=" + failpoints}, "serve")
	if len(wrap) > 0 {
		cmd.Path, cmd.Args = wrap[0], append(slices.Clone(wrap), cmd.Args...)
	}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	// A group of its own, so that what a wrapper started ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	exited := make(chan struct{})
	p.mu.Lock() // until there is something to end
	err := cmd.Start()
	p.cmd, p.exited = cmd, exited
	p.mu.Unlock()
	if err != nil {
		p.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // ended tells how
		close(exited)
	}()
}

// ended waits until the process has ended, for as long as patience.
func (p *process) ended(patience time.Duration) bool {
	select {
	case <-p.exited:
		return true
	case <-time.After(patience):
		return false
	}
}

// crashedAt is the failpoint where it crashed, or "" when it ended otherwise.
func (p *process) crashedAt() string {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		return ""
	}
	all := strings.Split(strings.TrimSpace(p.log.String()), "\n")
	for _, line := range slices.Backward(all) {
		if at, ok := strings.CutPrefix(line, "failpoint "); ok {
			return at
		}
	}
	return ""
}

func (p *process) kill() {
	p.mu.Lock()
	exited := p.exited
	p.mu.Unlock()
	if exited == nil {
		return
	}
	p.end()
	<-exited
}

// end kills the process and does not wait for it.
func (p *process) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may have ended
}

func (p *process) signal(s syscall.Signal) {
	p.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.Fatal(err)
	}
}

// get asks the admin listener.
func (p *process) get(path string) (int, string) {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + p.admin + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// ready waits until the process serves, and tells whether it still lives.
func (p *process) ready() bool {
	p.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if code, _ := p.get("/readyz"); code == http.StatusOK {
			return true
		}
		if p.ended(10 * time.Millisecond) {
			return false
		}
	}
	p.Fatalf("%s is not ready after a minute:\n%s", p.name, p.log)
	return false
}

// serve starts it without failpoints, and waits.
func (p *process) serve() {
	p.Helper()
	p.start("")
	if !p.ready() {
		p.Fatalf("%s ended at once:\n%s", p.name, p.log)
	}
}

// rss is the resident memory in MiB, and the number of open files.
func (p *process) rss() (mib float64, files int) {
	p.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			var kib float64
			fmt.Sscan(rest, &kib)
			mib = kib / 1024
		}
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		p.Fatal(err)
	}
	return mib, len(open)
}

// tail keeps the end of a log.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 400_000

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	if len(l.b) > 2*tailSize {
		l.b = slices.Clone(l.b[len(l.b)-tailSize:])
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b[max(0, len(l.b)-tailSize):])
}

// balancer spreads requests over the processes in turn and goes on to the next
// when one does not answer, as a load balancer with health checks does.
type balancer struct {
	net.Listener
	server  http.Server
	mu      sync.Mutex
	targets []string
	next    int
}

func newBalancer(t testing.TB, processes ...*process) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{Listener: l}
	b.only(processes...)
	b.server.Handler = http.HandlerFunc(b.serve)
	go func() { _ = b.server.Serve(l) }()
	t.Cleanup(func() { _ = b.server.Close() })
	return b
}

func (b *balancer) only(processes ...*process) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.targets = nil
	for _, p := range processes {
		b.targets = append(b.targets, p.listen)
	}
}

func (b *balancer) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller has gone
	}
	b.mu.Lock()
	b.next++
	targets := slices.Concat(b.targets[b.next%len(b.targets):], b.targets[:b.next%len(b.targets)])
	b.mu.Unlock()
	for _, target := range targets {
		// Only a refused connection is known to have had no effect.
		probe, err := (&net.Dialer{Timeout: 500 * time.Millisecond}).DialContext(r.Context(), "tcp", target)
		if err != nil {
			continue
		}
		_ = probe.Close()
		proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: target})
		proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
		proxy.ErrorLog = discard
		r := r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
		return
	}
	w.WriteHeader(http.StatusBadGateway)
}

func (b *balancer) url() string { return "http://" + b.Addr().String() }

// pause waits, or tells that ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
