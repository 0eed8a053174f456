package notify

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/store"
)

// BenchmarkTakeIn reads, routes and records 10,000 new alerts on a SQLite file
// with real synchronisation.
func BenchmarkTakeIn(b *testing.B) {
	for range b.N {
		b.StopTimer()
		db, err := store.Open(b.Context(), "sqlite:"+b.TempDir()+"/bench.db", store.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		pol, err := policy.Parse("mdebot.yaml", []byte(routesYAML), policy.Options{HomeTenant: string(contoso)})
		if err != nil {
			b.Fatal(err)
		}
		c, source := newClock(), &fakeDefender{machines: map[string]defender.Machine{}}
		yes := func() bool { return true }
		n, err := New(Config{
			DB: db, Posters: map[identity.Platform]chat.Poster{identity.Slack: &fakeChat{}}, Requests: &fakeRequests{}, Policy: policy.NewSource(pol),
			Tenants: []Watched{{Tenant: contoso, Source: source, MayUpdate: yes, MayIsolate: yes, MayHunt: yes}}, Now: c.now, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			b.Fatal(err)
		}
		if err := n.PollOnce(b.Context(), contoso); err != nil {
			b.Fatal(err)
		}
		c.add(16 * time.Second)
		for i := range takeIn {
			now := c.now()
			source.alerts = append(source.alerts, defender.Alert{
				ID: fmt.Sprintf("da%016d_-%09d", i, i*7), Tenant: contoso, Severity: defender.High, Status: "New",
				Title: "Suspicious PowerShell command line", Created: now, Updated: now, IncidentID: int64(i / 5),
				MachineID: fmt.Sprintf("%040x", i%300), MachineName: fmt.Sprintf("ws-%03d", i%300),
			})
		}
		b.StartTimer()
		if err := n.PollOnce(b.Context(), contoso); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		var taken int
		if err := db.Read().QueryRow(b.Context(), `SELECT COUNT(*) FROM cards WHERE subject = 'alert'`).Scan(&taken); err != nil || taken < takeIn {
			b.Fatalf("%d cards, %v", taken, err)
		}
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// takeIn is the number of alerts of BenchmarkTakeIn.
const takeIn = 10_000
