//go:build faults

package containment

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/fault"
)

// finds is what the model must hold against each fault. A fault that is found by
// something else than what it breaks has hardly been found.
var finds = map[fault.Name]string{
	fault.OwnVote:   `INV-1|the denial of .* counts`,
	fault.Accounts:  `INV-1|the denial of .* counts`,
	fault.Names:     `INV-1|INV-10|has frozen|the denial of .* counts`,
	fault.Payload:   `INV-1`,
	fault.Denial:    `INV-5`,
	fault.CoolDown:  `INV-1|needs \d approvals`,
	fault.Rules:     `INV-1: too few .* in force`,
	fault.Expiry:    `INV-1: its time ended`,
	fault.Digest:    `INV-2`,
	fault.Facts:     `INV-11: what it goes by was read`,
	fault.Freeze:    `frozen`,
	fault.Twice:     `INV-3|INV-5|INV-6|A-20|went from`,
	fault.Lease:     `A-20`,
	fault.Resend:    `INV-3|INV-6`,
	fault.Unaudited: `INV-6`,
	fault.Adopt:     `nothing took effect`,
	fault.Early:     `INV-1`,
	fault.Restored:  `A-19`,
}

// TestFaults runs the model on the engine with each deliberate fault, and fails
// when the model finds nothing.
func TestFaults(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range fault.All() {
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			began := time.Now()
			run := exec.CommandContext(ctx, self, "-test.run=^TestModel$/^sqlite,_one_half$", "-rapid.nofailfile", "-rapid.shrinktime=0s")
			run.Env = append(os.Environ(), fault.Env+"="+string(name), modelEnv+"=2m")
			out, err := run.CombinedOutput()
			report := regexp.MustCompile(`\[rapid\] failed after (\d+) tests: (.*)`).FindStringSubmatch(string(out))
			switch {
			case err == nil || report == nil:
				t.Errorf("the model finds nothing (%v):\n%s", err, tail(out))
			case !regexp.MustCompile(finds[name]).MatchString(report[2]):
				t.Errorf("the model finds %q, want %s", report[2], finds[name])
			default:
				t.Logf("found in history %s after %s: %s", report[1], time.Since(began).Round(100*time.Millisecond), report[2])
			}
		})
	}
}

func tail(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
