package defendersim_test

import (
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"
)

func TestAttack_unfolds(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	attack := b.tenant.StartAttack(time.Minute)
	if len(attack.Done) != 1 || attack.Over {
		t.Errorf("attack at its start = %+v, want one step", attack)
	}
	first := attack.AlertIDs[0]
	if a, _ := b.tenant.Alert(first); a.Severity != "Medium" {
		t.Errorf("first alert is %s, want Medium at first", a.Severity)
	}
	b.clock.advance(6 * time.Minute)
	attack = b.tenant.Attacks()[0]
	if len(attack.Done) != 7 || attack.Of != 7 || !attack.Over || attack.Contained || attack.Stopped {
		t.Errorf("attack at its end = %+v, want all seven steps", attack)
	}
	l := b.list("/api/alerts", url.Values{"$filter": {"incidentId eq " + strconv.FormatInt(attack.IncidentID, 10)}, "$orderby": {"alertCreationTime"}})
	if len(l.Value) != 6 || l.Value[0].ID != first || l.Value[0].Severity != "High" || l.Value[0].Status != "Resolved" || l.Value[1].Status != "New" {
		t.Errorf("incident holds %+v, want six alerts, the first raised to High and resolved", l.Value)
	}
	if m := b.machine("srv-fs-02"); m.RiskScore != "High" {
		t.Errorf("risk of the file server is %s, want High", m.RiskScore)
	}
	r := b.hunt("/api/advancedqueries/run", `DeviceProcessEvents | where ProcessCommandLine has "vssadmin" and DeviceName startswith "srv-fs-02"`)
	if len(r.Results) != 1 {
		t.Errorf("hunt for the last step found %d rows, want 1", len(r.Results))
	}
}

func TestAttack_endsWithIsolation(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.tenant.StartAttack(time.Minute)
	b.clock.advance(90 * time.Second)
	b.do(http.MethodPost, "/api/machines/"+b.machine("ws-014").ID+"/isolate", isolateBody, http.StatusCreated)
	b.clock.advance(time.Hour)
	if a := b.tenant.Attacks()[0]; len(a.Done) != 2 || !a.Contained || !a.Over {
		t.Errorf("attack after the isolation = %+v, want contained after two steps", a)
	}
}

func TestAttack_isStoppedAndPlayedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.tenant.StopAttack() // there is none
	b.tenant.StartAttack(time.Minute)
	b.clock.advance(90 * time.Second)
	b.tenant.StopAttack()
	b.clock.advance(time.Hour)
	if a := b.tenant.Attacks()[0]; len(a.Done) != 2 || !a.Stopped || !a.Over || a.Contained {
		t.Errorf("attack after it was stopped = %+v, want two steps", a)
	}
	b.tenant.StartAttack(time.Minute)
	b.clock.advance(time.Hour)
	all := b.tenant.Attacks()
	if a := all[1]; len(a.Done) != 7 || a.IncidentID == all[0].IncidentID || a.AlertIDs[0] == all[0].AlertIDs[0] {
		t.Errorf("the second attack = %+v after %+v, want all of it anew", a, all[0])
	}
	b.tenant.StopAttack()
	if a := b.tenant.Attacks()[1]; a.Stopped {
		t.Error("an attack that is over was stopped")
	}
}
