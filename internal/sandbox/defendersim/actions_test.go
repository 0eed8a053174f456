package defendersim_test

import (
	"net/http"
	"net/url"
	"strings"
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

func TestIsolate_refuses(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for name, c := range map[string]struct {
		machine, body string
		status        int
		code          string
	}{
		"no comment":                      {"ws-001", `{"IsolationType":"Full"}`, 400, "MissingRequiredParameter"},
		"a blank comment":                 {"ws-001", `{"Comment":" "}`, 400, "MissingRequiredParameter"},
		"names in lower case":             {"ws-001", `{"comment":"x","isolationType":"Full"}`, 400, "InvalidRequestBody"},
		"an unknown name":                 {"ws-001", `{"Comment":"x","ExternalId":"y"}`, 400, "InvalidRequestBody"},
		"a number for the comment":        {"ws-001", `{"Comment":1}`, 400, "InvalidRequestBody"},
		"no JSON":                         {"ws-001", `Comment=x`, 400, "InvalidRequestBody"},
		"an unknown type":                 {"ws-001", `{"Comment":"x","IsolationType":"Partial"}`, 400, "InvalidInput"},
		"a phone":                         {"phone-01", isolateBody, 400, "OsPlatformNotSupported"},
		"selective on Linux":              {"web-01", `{"Comment":"x","IsolationType":"Selective"}`, 400, "OsPlatformNotSupported"},
		"a Windows that is too old":       {"ws-150", isolateBody, 400, "ClientVersionNotSupported"},
		"a device that was not onboarded": {"printer-01", isolateBody, 400, "BadRequest"},
		"containment of an onboarded one": {"ws-001", `{"Comment":"x","IsolationType":"UnManagedDevice"}`, 400, "BadRequest"},
		"an unknown machine":              {"", isolateBody, 404, "ResourceNotFound"},
	} {
		t.Run(name, func(t *testing.T) {
			id := "0123456789abcdef0123456789abcdef01234567"
			if c.machine != "" {
				id = b.machine(c.machine).ID
			}
			a := b.in(t).do(http.MethodPost, "/api/machines/"+id+"/isolate", c.body, c.status)
			if got := a.code(t); got != c.code {
				t.Errorf("code = %s, want %s", got, c.code)
			}
		})
	}
	if got := b.tenant.Effects(); len(got) != 0 {
		t.Errorf("refused calls left effects: %+v", got)
	}
}

func (b *bench) isolate(name string) defendersim.Action {
	b.t.Helper()
	var a defendersim.Action
	b.do(http.MethodPost, "/api/machines/"+b.machine(name).ID+"/isolate", isolateBody, http.StatusCreated).decode(b.t, &a)
	return a
}

func (b *bench) action(id string) defendersim.Action {
	b.t.Helper()
	var a defendersim.Action
	b.do(http.MethodGet, "/api/machineactions/"+id, "", http.StatusOK).decode(b.t, &a)
	return a
}

func TestIsolate_twice(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := b.isolate("ws-001")
	path := "/api/machines/" + first.MachineID + "/isolate"
	if a := b.do(http.MethodPost, path, isolateBody, http.StatusBadRequest); a.code(t) != "ActiveRequestAlreadyExists" {
		t.Errorf("second isolation was refused with %s", a.body)
	}
	b.tenant.SetRepeat(defendersim.RepeatExisting)
	if again := b.isolate("ws-001"); again.ID != first.ID {
		t.Errorf("second isolation answered action %s, want the first one, %s", again.ID, first.ID)
	}
	if got := b.tenant.Effects(); len(got) != 1 {
		t.Errorf("ledger holds %d effects, want one", len(got))
	}
	// An isolation of an isolated machine is accepted and stays pending.
	b.clock.advance(time.Minute)
	stuck := b.isolate("ws-001")
	b.clock.advance(24 * time.Hour)
	b.token = b.tokenFor("https://api.securitycenter.microsoft.com")
	if got := b.action(stuck.ID); got.Status != "Pending" {
		t.Errorf("isolation of an isolated machine is %s, want Pending", got.Status)
	}
}

func TestUnisolate_frees(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a := b.isolate("web-01")
	b.clock.advance(time.Minute)
	b.do(http.MethodPost, "/api/machines/"+a.MachineID+"/unisolate", `{"Comment":"clean"}`, http.StatusCreated)
	if !b.machine("web-01").Isolated {
		t.Error("machine is free before the release has run")
	}
	b.clock.advance(time.Minute)
	if m := b.machine("web-01"); m.Isolated || len(m.Actions) != 2 {
		t.Errorf("machine is isolated %v after its release, with %d actions", m.Isolated, len(m.Actions))
	}
}

func TestIsolate_offlineMachine(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	waiting, returning := b.isolate("lt-013"), b.isolate("lt-026")
	b.clock.advance(20 * time.Hour)
	if got := b.action(waiting.ID); got.Status != "Pending" {
		t.Errorf("action on an offline machine is %s, want Pending", got.Status)
	}
	if err := b.tenant.SetOnline(returning.MachineID, true); err != nil {
		t.Fatal(err)
	}
	b.clock.advance(10 * time.Second)
	if got := b.action(returning.ID); got.Status != "Succeeded" {
		t.Errorf("action on a machine that came back is %s, want Succeeded", got.Status)
	}
	b.clock.advance(72 * time.Hour)
	b.token = b.tokenFor("https://api.securitycenter.microsoft.com")
	got := b.action(waiting.ID)
	if got.Status != "TimeOut" || got.ErrorHResult != -2145844840 || got.LastUpdateDateTimeUTC.Sub(got.CreationDateTimeUTC.Time) != 72*time.Hour+14*time.Minute {
		t.Errorf("action after three days = %+v, want TimeOut at 3 days 14 minutes", got)
	}
}

func TestIsolate_failsWhenScripted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.tenant.FailNext(b.machine("ws-002").ID, -2147024891)
	a := b.isolate("ws-002")
	b.clock.advance(time.Minute)
	if got := b.action(a.ID); got.Status != "Failed" || got.ErrorHResult != -2147024891 || b.machine("ws-002").Isolated {
		t.Errorf("action = %s %d, isolated %v, want Failed with the result and no isolation", got.Status, got.ErrorHResult, b.machine("ws-002").Isolated)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a := b.isolate("ws-003")
	path := "/api/machineactions/" + a.ID + "/cancel"
	b.do(http.MethodPost, path, `{}`, http.StatusBadRequest)
	var cancelled defendersim.Action
	b.do(http.MethodPost, path, `{"Comment":"mistake"}`, http.StatusOK).decode(t, &cancelled)
	if cancelled.Status != "Cancelled" || *cancelled.CancellationRequestor != clientID {
		t.Errorf("cancel answered %+v", cancelled)
	}
	b.clock.advance(time.Minute)
	if b.machine("ws-003").Isolated {
		t.Error("a cancelled action took effect")
	}
	b.do(http.MethodPost, path, `{"Comment":"again"}`, http.StatusBadRequest)
	b.do(http.MethodPost, "/api/machineactions/none/cancel", `{"Comment":"x"}`, http.StatusNotFound)
}

func TestPortalAction_isSeenByTheAPI(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := b.machine("ws-004")
	started, err := b.tenant.PortalAction(m.ID, "Isolate", "avery.chen@contoso.com", "from the portal")
	if err != nil {
		t.Fatal(err)
	}
	if got := b.action(started.ID); got.RequestSource != "Portal" || got.Requestor != "avery.chen@contoso.com" {
		t.Errorf("action from the portal = %+v", got)
	}
	b.do(http.MethodPost, "/api/machines/"+m.ID+"/isolate", isolateBody, http.StatusBadRequest)
}

func TestIsolate_atOnceByMany(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.machine("ws-005").ID
	b.tenant.StartAttack(time.Second)
	const callers = 20
	statuses := make(chan int, callers)
	for range callers {
		go func() {
			a, err := b.try(http.MethodPost, "/api/machines/"+id+"/isolate", isolateBody)
			if err != nil {
				t.Error(err)
			}
			b.clock.advance(time.Millisecond)
			statuses <- a.status
		}()
	}
	accepted := 0
	for range callers {
		if <-statuses == http.StatusCreated {
			accepted++
		}
	}
	if effects := b.tenant.Effects(defendersim.OnMachine(id)); accepted != 1 || len(effects) != 1 {
		t.Errorf("%d of %d callers were accepted with %d effects, want one of each", accepted, callers, len(effects))
	}
}

// aFileOf is a file that Defender has seen on a machine.
func aFileOf(b *bench, machineID string) string {
	for _, e := range b.estate.Events {
		if sha1, ok := e.Values["SHA1"].(string); ok && e.MachineID == machineID {
			return sha1
		}
	}
	b.t.Fatal("no file was ever seen on that machine")
	return ""
}

// Every action has its own address, permission and effect, and comes to its end.
func TestMachineActions_runToTheirEnd(t *testing.T) {
	t.Parallel()
	for verb, want := range map[string]struct {
		body, detail string
		kind         defendersim.EffectKind
	}{
		"restrictCodeExecution":       {`{"Comment":"x"}`, "", defendersim.EffectRestrict},
		"unrestrictCodeExecution":     {`{"Comment":"x"}`, "", defendersim.EffectUnrestrict},
		"runAntiVirusScan":            {`{"Comment":"x","ScanType":"Full"}`, "Full", defendersim.EffectScan},
		"collectInvestigationPackage": {`{"Comment":"x"}`, "", defendersim.EffectPackage},
		"StopAndQuarantineFile":       {`{"Comment":"x","Sha1":"FILE"}`, "FILE", defendersim.EffectQuarantine},
	} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			m := b.machine("ws-001")
			file := aFileOf(b, m.ID)
			body := strings.ReplaceAll(want.body, "FILE", file)
			var created defendersim.Action
			b.do(http.MethodPost, "/api/machines/"+m.ID+"/"+verb, body, http.StatusCreated).decode(t, &created)
			if created.Type != string(want.kind) || created.Status != "Pending" {
				t.Errorf("answer = %+v", created)
			}
			if again := b.do(http.MethodPost, "/api/machines/"+m.ID+"/"+verb, body, http.StatusBadRequest); again.code(t) != "ActiveRequestAlreadyExists" {
				t.Errorf("a second one is answered %s", again.body)
			}
			b.clock.advance(10 * time.Second)
			var done defendersim.Action
			b.do(http.MethodGet, "/api/machineactions/"+created.ID, "", http.StatusOK).decode(t, &done)
			if done.Status != "Succeeded" {
				t.Errorf("it ends as %s", done.Status)
			}
			effects := b.tenant.Effects(defendersim.OfKind(want.kind))
			if len(effects) != 1 || effects[0].Detail != strings.ReplaceAll(want.detail, "FILE", file) {
				t.Errorf("ledger = %+v", effects)
			}
			b.roles("Machine.Read.All", "Machine.Isolate")
			b.do(http.MethodPost, "/api/machines/"+m.ID+"/"+verb, body, http.StatusForbidden)
		})
	}
}

func TestMachineActions_refuse(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const file = `{"Comment":"x","Sha1":"87662bc3d60e4200ceaf7aae249d1c343f4b83c9"}`
	for name, c := range map[string]struct{ machine, verb, body, code string }{
		"restriction of Linux":         {"web-01", "restrictCodeExecution", `{"Comment":"x"}`, "OsPlatformNotSupported"},
		"unrestriction of a Mac":       {"mac-001", "unrestrictCodeExecution", `{"Comment":"x"}`, "OsPlatformNotSupported"},
		"scan of a phone":              {"phone-01", "runAntiVirusScan", `{"Comment":"x"}`, "OsPlatformNotSupported"},
		"scan of no known type":        {"ws-001", "runAntiVirusScan", `{"Comment":"x","ScanType":"Deep"}`, "InvalidInput"},
		"scan without a comment":       {"ws-001", "runAntiVirusScan", `{}`, "MissingRequiredParameter"},
		"package of a printer":         {"printer-01", "collectInvestigationPackage", `{"Comment":"x"}`, "BadRequest"},
		"quarantine on Linux":          {"web-01", "StopAndQuarantineFile", file, "OsPlatformNotSupported"},
		"quarantine without a file":    {"ws-001", "StopAndQuarantineFile", `{"Comment":"x"}`, "MissingRequiredParameter"},
		"quarantine by SHA-256":        {"ws-001", "StopAndQuarantineFile", `{"Comment":"x","Sha1":"413c58c8267d2c8648d8f6384bacc2ae9c929b2b96578b6860b5087cd1bd6462"}`, "InvalidHashValue"},
		"quarantine in another casing": {"ws-001", "StopAndQuarantineFile", `{"Comment":"x","SHA1":"87662bc3d60e4200ceaf7aae249d1c343f4b83c9"}`, "InvalidRequestBody"},
	} {
		r := b.do(http.MethodPost, "/api/machines/"+b.machine(c.machine).ID+"/"+c.verb, c.body, http.StatusBadRequest)
		if got := r.code(t); got != c.code {
			t.Errorf("%s: %s, want %s", name, got, c.code)
		}
	}
	if effects := b.tenant.Effects(); len(effects) != 0 {
		t.Errorf("refusals left %+v", effects)
	}
}

func TestQuarantine_ofAFileThatIsNotThereFailsOnTheMachine(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := b.machine("ws-001")
	var created, done defendersim.Action
	b.do(http.MethodPost, "/api/machines/"+m.ID+"/StopAndQuarantineFile",
		`{"Comment":"x","Sha1":"87662bc3d60e4200ceaf7aae249d1c343f4b83c9"}`, http.StatusCreated).decode(t, &created)
	b.clock.advance(10 * time.Second)
	b.do(http.MethodGet, "/api/machineactions/"+created.ID, "", http.StatusOK).decode(t, &done)
	if done.Status != "Failed" || uint32(done.ErrorHResult) != 0x80070002 {
		t.Errorf("it ends as %s (0x%08x)", done.Status, uint32(done.ErrorHResult))
	}
}

// Cancelling needs the permission of what is cancelled.
func TestCancel_needsThePermissionOfTheKind(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, err := b.tenant.PortalAction(b.machine("ws-001").ID, "RunAntiVirusScan", "dana@contoso.com", "routine")
	if err != nil {
		t.Fatal(err)
	}
	if a.Scope == nil || *a.Scope != "Quick" {
		t.Errorf("a scan from the portal is %v", a.Scope)
	}
	b.roles("Machine.Isolate")
	b.do(http.MethodPost, "/api/machineactions/"+a.ID+"/cancel", `{"Comment":"x"}`, http.StatusForbidden)
	b.roles("Machine.Scan")
	b.do(http.MethodPost, "/api/machineactions/"+a.ID+"/cancel", `{"Comment":"x"}`, http.StatusOK)
}

func TestPackageURI(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := b.machine("ws-001")
	var created defendersim.Action
	b.do(http.MethodPost, "/api/machines/"+m.ID+"/collectInvestigationPackage", `{"Comment":"x"}`, http.StatusCreated).decode(t, &created)
	path := "/api/machineactions/" + created.ID + "/getPackageUri"
	b.do(http.MethodGet, path, "", http.StatusNotFound)
	b.clock.advance(time.Minute)
	addresses := map[string]bool{}
	for range 2 {
		var a struct{ Value string }
		b.do(http.MethodGet, path, "", http.StatusOK).decode(t, &a)
		if !strings.HasPrefix(a.Value, `"https://userrequests-eu.securitycenter.windows.com:443/`) {
			t.Errorf("value = %s", a.Value)
		}
		addresses[a.Value] = true
	}
	if len(addresses) != 2 {
		t.Error("the same address twice")
	}
	if r := b.do(http.MethodGet, path, "", http.StatusTooManyRequests); r.header.Get("Retry-After") == "" {
		t.Error("a third one within a minute is not told when to come back")
	}
	b.clock.advance(time.Minute)
	b.tenant.DropPackage(created.ID)
	b.do(http.MethodGet, path, "", http.StatusNotFound)
}
