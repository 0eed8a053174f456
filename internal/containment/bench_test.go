package containment

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

// swiftDefender ends every action as soon as it has begun.
type swiftDefender struct{ *fakeDefender }

func (d swiftDefender) IsolateMachine(ctx context.Context, id string, in defender.IsolateInput) (defender.MachineAction, error) {
	a, err := d.fakeDefender.IsolateMachine(ctx, id, in)
	d.finish(defender.ActionSucceeded)
	return a, err
}

// settled counts the requests that have reached an end.
type settled struct {
	all   chan struct{}
	wants int64
	ended atomic.Int64
}

func (s *settled) RequestChanged(_ context.Context, _ durable.Tx, r approvals.Request, _ approvals.Change) error {
	if r.State == approvals.Succeeded && s.ended.Add(1) == s.wants {
		close(s.all)
	}
	return nil
}

func (*settled) FreezeChanged(context.Context, durable.Tx, approvals.Freeze, *approvals.Request) error {
	return nil
}

// BenchmarkFlow is the life of a request from the question to the end of the
// machine action, two votes in between, on a SQLite file whose commits reach the
// disk: rules, digests, fresh facts, claim, audit chain and River's jobs are as in
// production; Defender is in memory and nobody is told. Nine requests at a
// time are asked for and voted on. chain-% is how much of the time goes into the audit chain.
func BenchmarkFlow(b *testing.B) {
	db := storetest.Open(b, "sqlite:"+filepath.Join(b.TempDir(), "mdebot.db"))
	source := policy.NewSource(approvalstest.Parse(b, strings.Replace(approvalstest.Config,
		"limits: { per_person_per_hour: 5, per_tenant_per_hour: 20, tier0_per_day: 3 }", "limits: { per_person_per_hour: 10000, per_tenant_per_hour: 10000 }", 1)))
	end := &settled{all: make(chan struct{}), wants: int64(b.N)}
	chain := audit.NewLog(time.Now)
	service := approvals.New(approvals.Config{
		DB: db, Audit: chain, Announcer: end, Policy: source, Actions: approvals.Actions(), Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	clock := approvalstest.NewClock()
	clock.Pass(time.Since(clock.Now()))
	outside := swiftDefender{newFakeDefender(clock)}
	runner := New(Config{
		Approvals: service, Reader: outside, Indicators: outside, Actor: outside,
		Directory: &fakeDirectory{standings: map[string]identity.Standing{}}, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	db.Handle(approvals.KindExecute, runner.Execute, store.Workers(8))
	db.Handle(approvals.KindFollow, runner.Follow, store.Workers(8))
	ctx := b.Context()
	if err := db.Start(ctx); err != nil {
		b.Fatal(err)
	}
	for i := range b.N {
		outside.addMachine(fmt.Sprintf("srv-%d", i))
	}

	b.ResetTimer()
	var flows errgroup.Group
	var next atomic.Int64
	// Nobody may have more than three undecided requests.
	for _, asker := range slices.Repeat([]identity.Principal{approvalstest.Riley, approvalstest.Robin, approvalstest.Lou}, 3) {
		flows.Go(func() error {
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				target := approvalstest.Workstation(fmt.Sprintf("srv-%d", i))
				target.Machine.OS = "WindowsServer2022" // two approvers
				opened, err := service.Open(ctx, approvalstest.Isolate(asker, target))
				for _, by := range []identity.Principal{approvalstest.Avery, approvalstest.Sam} {
					if err == nil {
						_, err = service.Vote(ctx, approvalstest.Vote(opened.Request, by, false))
					}
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := flows.Wait(); err != nil {
		b.Fatal(err)
	}
	<-end.all
	took := b.Elapsed() / time.Duration(b.N)
	b.StopTimer()
	if err := db.Stop(ctx); err != nil {
		b.Fatal(err)
	}
	head, err := audit.Verify(b.Context(), db.Read(), approvalstest.Tenant)
	if err != nil || len(outside.sent()) != b.N {
		b.Fatalf("%d calls for %d requests; Verify() = %v", len(outside.sent()), b.N, err)
	}
	records := float64(head.Seq) / float64(b.N)
	b.ReportMetric(1/took.Seconds(), "flows/s")
	b.ReportMetric(records, "records/flow")
	b.ReportMetric(100*records*appendTime(b, db, chain).Seconds()/took.Seconds(), "chain-%")
}

// appendTime is what one record costs in a transaction that writes anyway.
func appendTime(b *testing.B, db durable.DB, chain *audit.Log) time.Duration {
	b.Helper()
	const n = 500
	var took time.Duration
	err := db.InTx(b.Context(), func(tx durable.Tx) error {
		began := time.Now()
		for range n {
			if _, err := chain.Append(b.Context(), tx, audit.Event{
				Tenant: approvalstest.Tenant, At: began, Kind: "request.vote", Person: approvalstest.ID(approvalstest.Avery), PersonName: "Avery Kim",
				Account: approvalstest.Avery, Conversation: "slack:C0SOC", Delivery: "delivery", Outcome: "ok", Detail: []byte(`{"request":"0191d2c4-0000-7000-8000-000000000001"}`),
			}); err != nil {
				return err
			}
		}
		took = time.Since(began)
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return took / n
}
