package estate_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mdebot/mdebot/internal/sandbox/estate"
)

var now = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)

func generate(seed uint64) *estate.Estate {
	return estate.Generate(estate.Options{Seed: seed, Now: now, Tenant: "7d0a6b3e-5a0f-4f0e-9a55-2f1c5d6e7f80"})
}

func TestGenerate_isDeterministic(t *testing.T) {
	t.Parallel()
	a, b, other := generate(1), generate(1), generate(2)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("the same seed gave two estates (-first +second):\n%s", diff)
	}
	if cmp.Equal(a.Alerts, other.Alerts) {
		t.Error("another seed gave the same alerts")
	}
}

func TestGenerate_holdsWhatTheDocumentationPromises(t *testing.T) {
	t.Parallel()
	e := generate(1)
	if n := len(e.Machines); n < 300 {
		t.Errorf("estate has %d machines, want some hundreds", n)
	}
	ids := map[string]bool{}
	for _, m := range e.Machines {
		if ids[m.ID] {
			t.Errorf("machine ID %s is used twice", m.ID)
		}
		ids[m.ID] = true
	}
	imaged := e.Named("ws-042")
	if len(imaged) != 2 || imaged[0].HealthStatus != "Active" || imaged[1].HealthStatus != "Inactive" {
		t.Errorf("ws-042 = %d records, want an active and an inactive one", len(imaged))
	}
	if twins := e.Named("lt-007"); len(twins) != 2 || twins[0].HealthStatus != "Active" || twins[1].HealthStatus != "Active" {
		t.Errorf("lt-007 = %d records, want two active ones", len(twins))
	}
	merged := e.Named("ws-077")
	if len(merged) != 2 || merged[1].MergedIntoMachineID == nil || *merged[1].MergedIntoMachineID != merged[0].ID {
		t.Errorf("ws-077 has no record merged into the other: %d records", len(merged))
	}
	for tag, want := range map[string]int{"tier0": 4, "finance": 10, "never-isolate": 2} {
		if got := len(e.Tagged(tag)); got != want {
			t.Errorf("%d machines carry the tag %s, want %d", got, tag, want)
		}
	}
	offline, systems := 0, map[string]bool{}
	for _, m := range e.Machines {
		systems[m.OSPlatform] = true
		if m.Offline {
			offline++
		}
	}
	for _, system := range []string{"Windows11", "WindowsServer2022", "Ubuntu", "macOS", "iOS"} {
		if !systems[system] {
			t.Errorf("no machine runs %s", system)
		}
	}
	if offline < 4 {
		t.Errorf("%d machines are offline, want some", offline)
	}
}

func TestGenerate_alertsAreUsable(t *testing.T) {
	t.Parallel()
	e := generate(1)
	machines := map[string]bool{}
	for _, m := range e.Machines {
		machines[m.ID] = true
	}
	incidents := map[int64]bool{}
	for _, in := range e.Incidents {
		incidents[in.ID] = true
	}
	severities, ids := map[string]int{}, map[string]bool{}
	for _, a := range e.Alerts {
		severities[a.Severity]++
		switch {
		case ids[a.ID]:
			t.Errorf("alert ID %s is used twice", a.ID)
		case a.MachineID == nil || !machines[*a.MachineID]:
			t.Errorf("alert %s is on no machine of the estate", a.ID)
		case !incidents[a.IncidentID]:
			t.Errorf("alert %s is of incident %d, which does not exist", a.ID, a.IncidentID)
		case a.AlertCreationTime.After(now) || a.LastUpdateTime.Before(a.AlertCreationTime.Time):
			t.Errorf("alert %s has impossible times", a.ID)
		}
		ids[a.ID] = true
	}
	for _, s := range []string{"Informational", "Low", "Medium", "High"} {
		if severities[s] == 0 {
			t.Errorf("no alert has severity %s", s)
		}
	}
}

func TestAttack_movesFromAWorkstationToAServer(t *testing.T) {
	t.Parallel()
	e := generate(1)
	steps := e.Attack(nil)
	if len(steps) != 7 {
		t.Fatalf("Attack() has %d steps, want 7", len(steps))
	}
	if steps[0].Machine == steps[3].Machine || !slices.ContainsFunc(e.Tagged("tier0"), func(m estate.Machine) bool { return m.ID == steps[4].Machine }) {
		t.Error("the attack does not move on to a server and to tier 0")
	}
	for i, s := range steps {
		if s.Told == "" || s.Try == "" || s.Command == "" {
			t.Errorf("step %q does not say what happens and what to try", s.Name)
		}
		if s.Resolves {
			continue
		}
		a := s.Alert(now, int32(i))
		if a.Status != "New" || len(a.Evidence) < 2 || len(a.MitreTechniques) == 0 {
			t.Errorf("step %q raises an alert without evidence or techniques: %+v", s.Name, a)
		}
		if len(s.Events(now)) == 0 {
			t.Errorf("step %q leaves nothing to hunt for", s.Name)
		}
	}
}

// Who plays it again before the machines are back gets others.
func TestAttack_takesMachinesThatAreOnTheNetwork(t *testing.T) {
	t.Parallel()
	e := generate(1)
	first := e.Attack(nil)
	again := e.Attack(func(id string) bool { return id == first[0].Machine })
	if again[0].Machine == first[0].Machine || again[0].Machine != again[2].Machine || again[3].Machine != first[3].Machine {
		t.Errorf("the attack begins on %s, want another machine than %s", again[0].Machine, first[0].Machine)
	}
	if nowhere := e.Attack(func(string) bool { return true }); nowhere[0].Machine != first[0].Machine {
		t.Error("with everything cut off the attack does not begin where it does otherwise")
	}
}

func TestTime_isWrittenAsDefenderDoes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at   time.Time
		want string
	}{
		"seven digits":      {time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC), `"2026-01-02T03:04:05.1234567Z"`},
		"fewer digits":      {time.Date(2026, 1, 2, 3, 4, 5, 200000000, time.UTC), `"2026-01-02T03:04:05.2Z"`},
		"whole seconds":     {time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), `"2026-01-02T03:04:05Z"`},
		"another time zone": {time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)), `"2026-01-02T02:04:05Z"`},
		"none":              {time.Time{}, "null"},
	} {
		got, err := json.Marshal(estate.At(c.at))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: Marshal() = %s, %v, want %s", name, got, err, c.want)
		}
	}
}
