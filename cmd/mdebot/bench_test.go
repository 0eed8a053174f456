package main

import (
	"bytes"
	"fmt"
	"iter"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
	"github.com/mdebot/mdebot/internal/sandbox/freeport"
)

// The benchmarks of this file run the static binary in a process of its own, as
// in production, against simulators in this one. What they report belongs in
// docs/benchmarks.md.

var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "mdebot-bench-")
	if err != nil {
		return "", err
	}
	binaryDir = dir
	file := filepath.Join(dir, "mdebot")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build mdebot: %w\n%s", err, out)
	}
	return file, nil
})

var binaryDir string

func TestMain(m *testing.M) {
	code := m.Run()
	if binaryDir != "" {
		_ = os.RemoveAll(binaryDir) // a temporary directory
	}
	os.Exit(code)
}

// bot is a running mdebot serve.
type bot struct {
	world *sandbox.World
	pid   int
	ready time.Duration // from the start of the process to its first yes on /readyz
	stop  func()
}

// serve starts a world, and the bot in it on the database in dir.
func serve(b *testing.B, dir string) *bot {
	b.Helper()
	return serveUnder(b, dir, sandbox.PolicyYAML(), sandbox.Options{})
}

func serveUnder(b *testing.B, dir, yaml string, o sandbox.Options) *bot {
	b.Helper()
	file, err := built()
	if err != nil {
		b.Fatal(err)
	}
	world, err := sandbox.New(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	policy := filepath.Join(dir, "mdebot.yaml")
	if err := os.WriteFile(policy, []byte(yaml), 0o600); err != nil {
		b.Fatal(err)
	}
	webhook, admin := freeAddress(b), freeAddress(b)
	var log bytes.Buffer
	cmd := exec.CommandContext(b.Context(), file, "serve")
	cmd.Stderr = &log
	cmd.Env = slices.Concat(world.Environment(), []string{
		"MDEBOT_CONFIG=" + policy, "MDEBOT_DATABASE_URL=sqlite:" + filepath.Join(dir, "mdebot.db"),
		"MDEBOT_LISTEN=" + webhook, "MDEBOT_ADMIN_LISTEN=" + admin,
	})
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	s := &bot{world: world, pid: cmd.Process.Pid}
	s.stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // Wait tells how it ended
		if err := cmd.Wait(); err != nil {
			b.Errorf("mdebot serve: %v\n%s", err, log.Bytes())
		}
		if err := world.Close(); err != nil {
			b.Error(err)
		}
	}
	for !answers("http://" + admin + "/readyz") {
		if time.Since(began) > 30*time.Second {
			_ = cmd.Process.Kill()
			b.Fatalf("mdebot serve is not ready\n%s", log.Bytes())
		}
		time.Sleep(2 * time.Millisecond)
	}
	s.ready = time.Since(began)
	if err := world.Connect(b.Context(), "http://"+webhook); err != nil {
		b.Fatal(err)
	}
	return s
}

func freeAddress(b *testing.B) string {
	b.Helper()
	address, err := freeport.Address(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return address
}

func answers(url string) bool {
	resp, err := http.Get(url)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// BenchmarkStart is the time from the start of the process until it is ready:
// with an empty database, and with the one it left behind.
func BenchmarkStart(b *testing.B) {
	var first, again []time.Duration
	for b.Loop() {
		dir := b.TempDir()
		s := serve(b, dir)
		s.stop()
		first = append(first, s.ready)
		s = serve(b, dir)
		s.stop()
		again = append(again, s.ready)
	}
	b.ReportMetric(milliseconds(slices.Min(first)), "first-min-ms")
	b.ReportMetric(milliseconds(slices.Max(first)), "first-max-ms")
	b.ReportMetric(milliseconds(slices.Min(again)), "again-min-ms")
	b.ReportMetric(milliseconds(slices.Max(again)), "again-max-ms")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkIdle is the resident memory of a bot that has nothing to do, at its
// largest in the half minute after it was started, and at the end of it.
func BenchmarkIdle(b *testing.B) {
	for b.Loop() {
		s := serve(b, b.TempDir())
		time.Sleep(30 * time.Second)
		b.ReportMetric(s.memory(b, "VmHWM"), "MiB-peak")
		b.ReportMetric(s.memory(b, "VmRSS"), "MiB-idle")
		b.ReportMetric(s.memory(b, "RssAnon"), "MiB-idle-anonymous")
		s.stop()
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkHuntFromChat is by how much a hunt grows resident memory, from the
// slash command to the uploaded file. The first finds 100,000 rows of 20 columns
// with cells as long as Graph's limit of 50 MB allows and is cut at 10,000 rows;
// the second finds 25,000 rows and is cut at 10 MiB, the largest file there is.
func BenchmarkHuntFromChat(b *testing.B) {
	for _, bm := range []struct {
		name        string
		rows, width int
	}{
		{"100000rows", 100_000, 15},
		{"10MiB", 25_000, 80},
	} {
		b.Run(bm.name, func(b *testing.B) {
			s := serve(b, b.TempDir())
			defer s.stop()
			s.world.Tenant.AddTable("DeviceRegistryEvents", wide(bm.width)) // a table that every hunter may read
			hunts := 0
			hunt := func(query string) int {
				hunts++
				return s.hunt(b, query, hunts)
			}
			hunt("DeviceInfo | take 1") // loads what every hunt needs
			time.Sleep(5 * time.Second)
			var growth float64
			var size int
			for b.Loop() {
				before := s.memory(b, "VmRSS")
				s.forgetPeak(b)
				size = hunt(fmt.Sprintf("DeviceRegistryEvents | limit %d", bm.rows))
				growth = max(growth, s.memory(b, "VmHWM")-before)
			}
			b.ReportMetric(growth, "MiB-growth")
			b.ReportMetric(float64(size)/(1<<20), "MiB-file")
		})
	}
}

// hunt runs a query in Riley's direct chat and returns the size of the n-th file
// there, once it has come.
func (s *bot) hunt(b *testing.B, query string, n int) int {
	b.Helper()
	who := sandbox.Riley.Slack
	direct := s.world.Slack.DirectChannel(who)
	if err := s.world.Slack.Slash(b.Context(), who, direct, "hunt "+query); err != nil {
		b.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(5 * time.Millisecond) {
		var sizes []int
		for _, m := range s.world.Slack.Messages(direct, who) {
			for _, f := range m.Files {
				sizes = append(sizes, len(f.Content))
			}
		}
		if len(sizes) >= n {
			return sizes[n-1]
		}
	}
	b.Fatalf("no file for %q", query)
	return 0
}

// wide is a table of 100,000 rows that nobody holds.
func wide(width int) defendersim.Table {
	const rows, columns = 100_000, 20
	t := defendersim.Table{}
	for i := range columns {
		t.Columns = append(t.Columns, defendersim.Column{Name: fmt.Sprintf("C%02d", i), Type: "String"})
	}
	pad := strings.Repeat("x", width-6)
	t.Rows = iter.Seq[[]any](func(yield func([]any) bool) {
		row := make([]any, columns)
		for r := range rows {
			for c := range row {
				row[c] = pad + fmt.Sprintf("%06d", r)
			}
			if !yield(row) {
				return
			}
		}
	})
	return t
}

// BenchmarkAckWhileDefenderHangs sends 200 slash commands a second, whether or
// not the earlier ones were answered, while Defender answers nothing.
func BenchmarkAckWhileDefenderHangs(b *testing.B) {
	const rate, seconds = 200, 5
	s := serve(b, b.TempDir())
	defer s.stop()
	people := []sandbox.Person{sandbox.Riley, sandbox.Avery, sandbox.Sam, sandbox.Jordan}
	s.world.Defender.Faults.Add(fault.Fault{Kind: fault.Hang})
	defer s.world.Defender.Faults.Clear()
	var took []time.Duration
	failed := 0
	for b.Loop() {
		var mu sync.Mutex
		var sent sync.WaitGroup
		began := time.Now()
		for i := range rate * seconds {
			due := began.Add(time.Duration(i) * time.Second / rate)
			time.Sleep(time.Until(due))
			sent.Go(func() {
				err := s.world.Slack.Slash(b.Context(), people[i%len(people)].Slack, sandbox.SlackSOC, fmt.Sprintf("machine ws-%03d", i%300))
				mu.Lock()
				defer mu.Unlock()
				took = append(took, time.Since(due))
				if err != nil {
					failed++
				}
			})
		}
		sent.Wait()
	}
	slices.Sort(took)
	b.ReportMetric(milliseconds(took[len(took)/2]), "p50-ms")
	b.ReportMetric(milliseconds(took[len(took)*99/100]), "p99-ms")
	b.ReportMetric(milliseconds(took[len(took)-1]), "max-ms")
	b.ReportMetric(float64(failed), "refused")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkRequestBehindAlerts is the time from the slash command until the
// approval card stands in a channel for which 1,000 alerts wait, at the one
// message a second that Slack allows.
func BenchmarkRequestBehindAlerts(b *testing.B) {
	yaml := strings.NewReplacer("post_to: [slack:C0APPROVE,", "post_to: [slack:C0SOC,", "more_than: 20", "more_than: 10000").Replace(sandbox.PolicyYAML())
	var worst time.Duration
	for b.Loop() {
		s := serveUnder(b, b.TempDir(), yaml, sandbox.Options{Pace: true})
		time.Sleep(5 * time.Second) // what is open already is taken in
		machine := s.world.Tenant.Named("ws-013.corp.contoso.com")[0]
		for i := range 1_000 {
			if _, err := s.world.Tenant.RaiseAlert(machine.ID, "High", fmt.Sprintf("Flood %d", i)); err != nil {
				b.Fatal(err)
			}
		}
		s.sees(b, "Flood", 8)
		began := time.Now()
		if err := s.world.Slack.Slash(b.Context(), sandbox.Riley.Slack, sandbox.SlackOps, "isolate ws-011 beaconing"); err != nil {
			b.Fatal(err)
		}
		s.sees(b, "waits for approval", 1)
		worst = max(worst, time.Since(began))
		s.stop()
	}
	b.ReportMetric(milliseconds(worst), "card-max-ms")
	b.ReportMetric(0, "ns/op")
}

// sees waits until n messages with words stand in the SOC's channel.
func (s *bot) sees(b *testing.B, words string, n int) {
	b.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(5 * time.Millisecond) {
		found := 0
		for _, m := range s.world.Slack.Messages(sandbox.SlackSOC, sandbox.Riley.Slack) {
			if bytes.Contains(m.Payload, []byte(words)) {
				found++
			}
		}
		if found >= n {
			return
		}
	}
	b.Fatalf("%d messages with %q are not in the channel", n, words)
}

// memory is a value of the process's status, in MiB.
func (s *bot) memory(b *testing.B, name string) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		b.Skip("no /proc on this system")
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			if err != nil {
				b.Fatal(err)
			}
			return kib / 1024
		}
	}
	b.Skipf("no %s on this system", name)
	return 0
}

// forgetPeak lets VmHWM begin at what is resident now.
func (s *bot) forgetPeak(b *testing.B) {
	b.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.pid), []byte("5"), 0); err != nil {
		b.Skipf("the peak of resident memory cannot be reset: %v", err)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
