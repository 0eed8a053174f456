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
	b.clock.advance(4 * time.Minute)
	attack = b.tenant.Attacks()[0]
	if len(attack.Done) != 5 || !attack.Over || attack.Contained {
		t.Errorf("attack at its end = %+v, want all five steps", attack)
	}
	l := b.list("/api/alerts", url.Values{"$filter": {"incidentId eq " + strconv.FormatInt(attack.IncidentID, 10)}, "$orderby": {"alertCreationTime"}})
	if len(l.Value) != 5 || l.Value[0].ID != first || l.Value[0].Severity != "High" {
		t.Errorf("incident holds %+v, want five alerts, the first raised to High", l.Value)
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
