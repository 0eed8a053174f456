package app

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// A thousand tenants: how long the parts take to make, what each holds while
// nothing happens, and that nobody is asked for a token meanwhile.
func BenchmarkThousandTenants(b *testing.B) {
	const n = 1000
	world, err := sandbox.New(b.Context(), sandbox.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = world.Close() }()
	dir := b.TempDir()
	var file strings.Builder
	file.WriteString(sandbox.PolicyYAML() + "\ntenants:\n")
	for i := range n {
		fmt.Fprintf(&file, "  - { id: %s, name: customer-%d, people: [soc] }\n", customerID(i), i)
	}
	if err := os.WriteFile(filepath.Join(dir, "mdebot.yaml"), []byte(file.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	held := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		cfg, err := LoadConfig(b.Context(), append(world.Environment(), "MDEBOT_CONFIG="+filepath.Join(dir, "mdebot.yaml"),
			"MDEBOT_DATABASE_URL=sqlite:"+filepath.Join(b.TempDir(), "mdebot.db"), "MDEBOT_LISTEN=127.0.0.1:0", "MDEBOT_ADMIN_LISTEN=127.0.0.1:0"))
		if err != nil {
			b.Fatal(err)
		}
		before, began := held(), time.Now()
		a, err := New(b.Context(), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "start-s")
		b.ReportMetric(float64(held()-before)/n, "B/tenant")
		if got := len(world.Entra.Issued()); got > 0 {
			b.Errorf("%d tokens were fetched before anybody needed one", got)
		}
		if err := a.close(); err != nil {
			b.Error(err)
		}
	}
}
