package defendersim_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
)

const isolateBody = `{"Comment":"beaconing [mdebot #1]","IsolationType":"Full"}`

func TestIsolate_runsToItsEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := b.machine("ws-001")

	var created defendersim.Action
	b.do(http.MethodPost, "/api/machines/"+m.ID+"/isolate", isolateBody, http.StatusCreated).decode(t, &created)
	if created.Status != "Pending" || created.ComputerDNSName != nil || created.Requestor != clientID {
		t.Errorf("isolate answered %+v, want a pending action of the application without a name", created)
	}
	status := func() string {
		var a defendersim.Action
		b.do(http.MethodGet, "/api/v1.0/machineactions/"+created.ID, "", http.StatusOK).decode(t, &a)
		return a.Status
	}
	for _, step := range []struct {
		after time.Duration
		want  string
	}{{0, "Pending"}, {2 * time.Second, "InProgress"}, {4 * time.Second, "Succeeded"}} {
		b.clock.advance(step.after)
		if got := status(); got != step.want {
			t.Errorf("status after another %s = %s, want %s", step.after, got, step.want)
		}
	}
	if now := b.machine("ws-001"); !now.Isolated || now.Scope != "Full" {
		t.Errorf("machine after isolation = isolated %v scope %q, want isolated Full", now.Isolated, now.Scope)
	}
	effects := b.tenant.Effects(defendersim.OfKind(defendersim.EffectIsolate), defendersim.CommentHas("#1"))
	if len(effects) != 1 || effects[0].App != clientID || effects[0].MachineID != m.ID {
		t.Errorf("ledger = %+v, want one isolation of %s by the application", effects, m.ID)
	}
	var list struct{ Value []defendersim.Action }
	b.do(http.MethodGet, "/api/machineactions?"+url.Values{
		"$filter": {"machineId eq '" + m.ID + "' and type in ('Isolate','Unisolate')"},
	}.Encode(), "", http.StatusOK).decode(t, &list)
	if len(list.Value) != 1 || list.Value[0].ID != created.ID {
		t.Errorf("list of actions = %+v, want the one action", list.Value)
	}
}
