package audit_test

import (
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

// BenchmarkVerify verifies a chain of MDEBOT_BENCH_RECORDS records, 1,000,000 if
// it is not set, and reports seconds and the largest heap for a million of them.
// Writing the chain takes some minutes and is not counted.
func BenchmarkVerify(b *testing.B) {
	records := 1_000_000
	if n, err := strconv.Atoi(os.Getenv("MDEBOT_BENCH_RECORDS")); err == nil {
		records = n
	}
	url := storetest.SQLiteURL(b)
	fill(b, storetest.Open(b, url), records)
	db, err := store.OpenView(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	runtime.GC()
	peak := watchHeap(b)
	b.ResetTimer()
	for b.Loop() {
		head, err := audit.Verify(b.Context(), db.Read(), contoso)
		if err != nil || head.Seq != int64(records) {
			b.Fatalf("Verify() = %d, %v, want %d records", head.Seq, err, records)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)*1e6/float64(records), "s/million")
	b.ReportMetric(float64(peak())/(1<<20), "MiB-heap")
}

func fill(b *testing.B, db durable.DB, records int) {
	b.Helper()
	log := audit.NewLog(func() time.Time { return noon })
	for done := 0; done < records; {
		err := db.InTx(b.Context(), func(tx durable.Tx) error {
			for range min(10_000, records-done) {
				if _, err := log.Append(b.Context(), tx, someEvent(done)); err != nil {
					return err
				}
				done++
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// watchHeap returns what tells the largest heap seen since.
func watchHeap(b *testing.B) (peak func() uint64) {
	b.Helper()
	var most atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most.Store(max(most.Load(), m.HeapAlloc))
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	return func() uint64 {
		close(stop)
		<-stopped
		return most.Load()
	}
}
