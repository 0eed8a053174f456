package approvals_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
)

func block(values ...string) approvals.OpenInput {
	in := approvalstest.Isolate(riley)
	in.Action = approvals.Block
	for _, v := range values {
		in.Targets = append(in.Targets, approvals.TargetInput{ID: approvals.IndicatorID("DomainName", v), Name: v})
	}
	return in
}

// What is ours is blocked only under a rule that asks about indicators and for two
// people, and that is judged again at the claim.
func TestBlock_ofWhatIsOurs(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	own := strings.Replace(approvalstest.Config, "  rules:", "  own: [evil.example]\n  rules:", 1)
	strong := strings.Replace(own, "  rules:", "  rules:\n    - { name: ours, when: indicator.own, approvers: 2, from: [soc] }", 1)

	r := mustOpen(t, w, block("evil.example", "worse.example"))
	w.Use(t, own)
	if _, err := w.Open(t.Context(), block("www.evil.example")); !errors.Is(err, approvals.ErrProtected) || !strings.Contains(err.Error(), "part of our own estate") {
		t.Errorf("Open() of ours = %v", err)
	}
	in := block("ws-1.example")
	in.Targets[0].Own = true
	if _, err := w.Open(t.Context(), in); !errors.Is(err, approvals.ErrProtected) {
		t.Errorf("Open() of one of our machines = %v", err)
	}
	mustVote(t, w, r, avery, false)
	ref := ref(r)
	ref.Generation = 1
	if _, err := w.Claim(t.Context(), ref, approvals.Facts{At: w.Clock.Now()}); !errors.Is(err, approvals.ErrVoid) || !strings.Contains(err.Error(), "No rule in force allows it") {
		t.Errorf("Claim() after it became ours = %v", err)
	}
	ref.Index = 1
	if _, err := w.Claim(t.Context(), ref, approvals.Facts{At: w.Clock.Now()}); err != nil {
		t.Errorf("Claim() of the other = %v", err)
	}
	w.Use(t, strong)
	if r := mustOpen(t, w, block("evil.example")); r.Rule.Name != "ours" || r.Rule.Approvers != 2 {
		t.Errorf("under the stronger rule it is %+v", r.Rule)
	}
}

func TestBlock_paramsAreExact(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	for _, params := range []map[string]string{
		{"effect": "allow"}, {"expires": "tomorrow"}, {"expires": "2026-12-01T00:00:00Z\n"}, {"expires": "2026-12-01"}, {"scope": "full"},
	} {
		in := block("evil.example")
		in.Params = params
		if _, err := w.Open(t.Context(), in); !errors.Is(err, approvals.ErrUnknownAction) {
			t.Errorf("Open() with %v = %v", params, err)
		}
	}
	in := block("evil.example")
	in.Action = approvals.Unblock
	if _, err := w.Open(t.Context(), in); !errors.Is(err, approvals.ErrUnknownAction) {
		t.Errorf("Open() without the indicator that is meant = %v", err)
	}
}

func TestExpiring(t *testing.T) {
	t.Parallel()
	w := approvalstest.New(t)
	in := block("evil.example")
	in.Params = map[string]string{"expires": w.Clock.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)}
	r := mustVote(t, w, mustOpen(t, w, in), avery, false)
	ending := func() int {
		t.Helper()
		got, err := w.Expiring(t.Context(), approvalstest.Tenant)
		if err != nil {
			t.Fatal(err)
		}
		return len(got)
	}
	if n := ending(); n != 0 {
		t.Errorf("%d end before they are set", n)
	}
	a, err := w.Claim(t.Context(), ref(r), approvals.Facts{At: w.Clock.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Submitted(t.Context(), a, approvals.Started{ID: "995"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Finished(t.Context(), ref(r), true, "set", ""); err != nil {
		t.Fatal(err)
	}
	if n := ending(); n != 1 {
		t.Errorf("%d end, want the one that is set", n)
	}
	w.Clock.Pass(25 * time.Hour)
	if n := ending(); n != 0 {
		t.Errorf("%d end after their end", n)
	}
}

// Every parameter that cannot be listed has an example that it takes, so that the
// registry can be drawn from.
func TestActions_canBeDrawnFrom(t *testing.T) {
	t.Parallel()
	for kind, a := range approvals.Actions() {
		for name, p := range a.Params {
			if (p.Form != nil) == (len(p.Values) > 0) || p.Form != nil && !p.Form.MatchString(p.Example) {
				t.Errorf("%s: parameter %s has values %v, form %v and example %q", kind, name, p.Values, p.Form, p.Example)
			}
		}
	}
}
