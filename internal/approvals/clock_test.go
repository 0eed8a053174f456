package approvals_test

import (
	"errors"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
	"github.com/mdebot/mdebot/internal/audit"
)

func TestClaim_judgesTheClock(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		ahead   time.Duration
		unknown bool
		void    bool
	}{
		"a right clock":                     {ahead: time.Second},
		"a clock a little off":              {ahead: 119 * time.Second},
		"two minutes ahead":                 {ahead: 120 * time.Second, void: true},
		"an hour behind":                    {ahead: -time.Hour, void: true},
		"a clock nothing was compared with": {unknown: true, void: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := approvalstest.New(t)
			r, refs := approved(t, w, approvalstest.Workstation("ws-1"))
			judge := approvals.New(approvals.Config{
				DB: w.DB, Audit: audit.NewLog(w.Clock.Now), Announcer: w.Told, Policy: w.Policy, Actions: approvals.Actions(),
				Now: w.Clock.Now, Logger: w.Logger, Skew: func() (time.Duration, bool) { return tc.ahead, !tc.unknown },
			})
			_, err := judge.Claim(t.Context(), refs[0], facts(w, r, 0))
			if got := errors.Is(err, approvals.ErrVoid); got != tc.void || !tc.void && err != nil {
				t.Errorf("Claim() = %v, want void = %v", err, tc.void)
			}
		})
	}
}
