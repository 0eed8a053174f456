package approvals_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

// What is asked every two seconds, and by everybody who looks at what is open, costs
// the same however many requests there have been.
func TestQueries_readNoWholeTable(t *testing.T) {
	t.Parallel()
	storetest.Plans(t, func(db storetest.Planned) {
		s := approvals.New(approvals.Config{DB: db, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
		for name, ask := range map[string]func() error{
			"the sweep":            func() error { return s.Sweep(t.Context()) },
			"the mark":             func() error { _, err := s.Mark(t.Context(), approvalstest.Tenant); return err },
			"what is open":         func() error { _, err := s.Live(t.Context(), approvalstest.Tenant); return err },
			"what actions are for": func() error { _, err := s.Started(t.Context(), approvalstest.Tenant, []string{"a", "b"}); return err },
		} {
			if err := ask(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
