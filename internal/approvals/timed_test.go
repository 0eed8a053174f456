package approvals_test

import (
	"errors"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
)

func TestTimed_isReadAndBounded(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"": 0, "15m": 15 * time.Minute, "90m": 90 * time.Minute, "9999m": 9999 * time.Minute, "1h": time.Hour, "4h": 4 * time.Hour, "168h": 7 * 24 * time.Hour, "7d": 7 * 24 * time.Hour,
	} {
		w := approvalstest.New(t)
		in := approvalstest.Isolate(riley, approvalstest.Workstation("ws-1"))
		in.Params = map[string]string{"for": text}
		if r := mustOpen(t, w, in); r.Timed() != want {
			t.Errorf("for=%q is %s, want %s", text, r.Timed(), want)
		}
	}
	for _, text := range []string{"14m", "0h", "-4h", "4", "h", "4 h", "4H", "169h", "8d", "10000m", "04h", "1h30m", "1w", "4h\n", "forever"} {
		w := approvalstest.New(t)
		in := approvalstest.Isolate(riley, approvalstest.Workstation("ws-1"))
		in.Params = map[string]string{"for": text}
		if _, err := w.Open(t.Context(), in); !errors.Is(err, approvals.ErrUnknownAction) {
			t.Errorf("Open(for=%q) = %v, want a refusal", text, err)
		}
	}
	for d, want := range map[time.Duration]string{15 * time.Minute: "15m", 90 * time.Minute: "90m", 240 * time.Minute: "4h", 48 * time.Hour: "2d", 36 * time.Hour: "36h"} {
		if got := approvals.FormatTimed(d); got != want {
			t.Errorf("FormatTimed(%s) = %s, want %s", d, got, want)
		}
	}
}

// The time counts from when the machine was cut off, and is part of what was
// approved.
func TestTimed_listsWhatTookEffect(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	in := approvalstest.Isolate(riley, approvalstest.Workstation("ws-1"))
	in.Params = map[string]string{"for": "4h"}
	r, refs := approvedAs(t, w, in)
	timed := func() []approvals.Request {
		t.Helper()
		list, err := w.Timed(t.Context(), approvalstest.Tenant)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if list := timed(); len(list) != 0 {
		t.Errorf("Timed() = %d requests before anything was sent, want none", len(list))
	}
	a, err := w.Claim(t.Context(), refs[0], facts(w, r, 0))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Submitted(t.Context(), a, approvals.Started{ID: "a1", Status: "Pending"}); err != nil {
		t.Fatal(err)
	}
	w.Clock.Pass(time.Hour)
	job, err := approvals.ParseRef(w.DB.Due()[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Finished(t.Context(), job, true, "Succeeded", ""); err != nil {
		t.Fatal(err)
	}
	list := timed()
	if len(list) != 1 || !list[0].Until(list[0].Targets[0]).Equal(w.Clock.Now().Add(4*time.Hour)) {
		t.Fatalf("Timed() = %+v, want the request, with its end 4 hours after the machine was cut off", list)
	}
	w.Clock.Pass(approvals.TimedKept)
	if list := timed(); len(list) != 0 {
		t.Errorf("Timed() = %d requests after it is long over, want none", len(list))
	}
	untimed, _ := approvedAs(t, w, approvalstest.Isolate(riley, approvalstest.Workstation("ws-2")))
	if !untimed.Until(untimed.Targets[0]).IsZero() {
		t.Error("an isolation without a planned time has an end")
	}
}
