package defender

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseTime(t *testing.T) {
	t.Parallel()
	at := func(nanos int) time.Time { return time.Date(2026, 11, 21, 10, 0, 0, nanos, time.UTC) }
	for in, want := range map[string]time.Time{
		"2026-11-21T10:00:00Z":              at(0),
		"2026-11-21T10:00:00.1Z":            at(100_000_000),
		"2026-11-21T10:00:00.1234567Z":      at(123_456_700),
		"2026-11-21T10:00:00.1234567":       at(123_456_700),
		"2026-11-21T10:00:00":               at(0),
		"2026-11-21 10:00:00":               at(0),
		"2026-11-21T12:00:00.1234567+02:00": at(123_456_700),
		"2026-11-21":                        time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC),
		"0001-01-01T00:00:00Z":              {},
		"":                                  {},
		"yesterday":                         {},
		"2026-13-01T00:00:00Z":              {},
	} {
		if got := parseTime(in); !got.Equal(want) {
			t.Errorf("parseTime(%q) = %s, want %s", in, got, want)
		}
	}
}

// Any JSON value in any field leaves the rest of the record readable.
func TestWire_oddFieldCostsNothingElse(t *testing.T) {
	t.Parallel()
	for _, odd := range []string{`null`, `""`, `"text"`, `1`, `-1.5`, `1e400`, `true`, `{}`, `[]`, `{"a":[1]}`, `[1,null,"x",{}]`, `"0001-01-01T00:00:00Z"`} {
		for _, record := range []any{new(wireAlert), new(wireMachine), new(wireAction), new(wireUser), new(wireEvidence)} {
			typ := reflect.TypeOf(record).Elem()
			for i := range typ.NumField() {
				name := typ.Field(i).Tag.Get("json")
				fresh := reflect.New(typ).Interface()
				if err := json.Unmarshal([]byte(`{"`+name+`":`+odd+`}`), fresh); err != nil {
					t.Errorf("%s.%s = %s: %v", typ.Name(), name, odd, err)
				}
			}
		}
	}
}

func TestWire_machineAsSent(t *testing.T) {
	t.Parallel()
	const body = `{"id":"` + testMachine + `","onboardingstatus":"onboarded","rbacGroupId":"140","version":"22H2","osVersion":null,
		"osProcessor":"x64","osBuild":22621,"isAadJoined":"True","machineTags":["tier0",null,7],"riskScore":"none",
		"ipAddresses":[{"ipAddress":"10.0.0.1","macAddress":null,"type":"Ethernet","operationalStatus":"Up"},null,"x"],
		"lastSeen":"2026-11-21T10:00:00","healthStatus":"SomethingNew"}`
	var w wireMachine
	if err := json.Unmarshal([]byte(body), &w); err != nil {
		t.Fatal(err)
	}
	_, got := (&core{tenant: testTenant}).machine(w)
	want := Machine{
		ID: testMachine, Tenant: testTenant, Onboarding: "Onboarded", GroupID: 140, OSVersion: "22H2", Architecture: "x64",
		OSBuild: 22621, EntraJoined: true, Tags: []string{"tier0", "7"}, Risk: "None", Health: "SomethingNew",
		NetworkAddress: []NetworkAddress{{IP: "10.0.0.1", Type: "Ethernet", Status: "Up"}},
		LastSeen:       time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("machine (-want +got):\n%s", diff)
	}
}

func TestWire_alertAsSent(t *testing.T) {
	t.Parallel()
	const body = `{"id":"da1_-2","incidentId":"1126093","severity":"HIGH","status":"inprogress","category":"null","evidence":{},
		"mitreTechniques":"T1064","relatedUser":{"userName":"riley","domainName":"CONTOSO"},"title":12,
		"comments":[{"comment":"x","createdBy":"riley","createdTime":"2026-11-21T10:00:00.5Z"},{}]}`
	var w wireAlert
	if err := json.Unmarshal([]byte(body), &w); err != nil {
		t.Fatal(err)
	}
	_, got := (&core{tenant: testTenant}).alert(w)
	want := Alert{
		ID: "da1_-2", Tenant: testTenant, IncidentID: 1126093, Severity: High, Status: "InProgress", Title: "12",
		Techniques: []string{"T1064"}, User: AccountName{Name: "riley", Domain: "CONTOSO"},
		Comments: []AlertComment{{Text: "x", By: "riley", At: time.Date(2026, 11, 21, 10, 0, 0, 500_000_000, time.UTC)}, {}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("alert (-want +got):\n%s", diff)
	}
}

func TestIsolationOf(t *testing.T) {
	t.Parallel()
	at := func(minute int) time.Time { return time.Date(2026, 11, 21, 12, minute, 0, 0, time.UTC) }
	action := func(kind MachineActionType, status MachineActionStatus, minute int) MachineAction {
		return MachineAction{Type: kind, Status: status, Created: at(minute), Scope: "Full"}
	}
	tests := []struct {
		name    string
		actions []MachineAction
		want    IsolationState
	}{
		{"no action", nil, NotIsolated},
		{"isolated", []MachineAction{action(Isolate, ActionSucceeded, 1)}, Isolated},
		{"isolated and released", []MachineAction{action(Unisolate, ActionSucceeded, 2), action(Isolate, ActionSucceeded, 1)}, NotIsolated},
		{"being isolated", []MachineAction{action(Isolate, ActionPending, 1)}, Isolating},
		{"being released", []MachineAction{action(Isolate, ActionSucceeded, 1), action(Unisolate, ActionInProgress, 2)}, Releasing},
		{"a release that failed", []MachineAction{action(Isolate, ActionSucceeded, 1), action(Unisolate, ActionFailed, 2)}, Isolated},
		{"an isolation that timed out", []MachineAction{action(Isolate, ActionTimeOut, 1)}, NotIsolated},
		{"an old pending one", []MachineAction{action(Isolate, ActionPending, 1), action(Unisolate, ActionSucceeded, 2)}, NotIsolated},
		{"another kind", []MachineAction{action("RunAntiVirusScan", ActionSucceeded, 1)}, NotIsolated},
		{"an unknown status", []MachineAction{action(Isolate, "Queued", 1)}, Isolating},
	}
	for _, tt := range tests {
		if got := IsolationOf(tt.actions).State; got != tt.want {
			t.Errorf("%s: IsolationOf() = %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestMachine_onVPN(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		address NetworkAddress
		want    bool
	}{
		"dial-up":              {NetworkAddress{IP: "10.99.0.7", Type: "Ppp", Status: "Up"}, true},
		"a tunnel":             {NetworkAddress{IP: "10.99.0.7", Type: "tunnel", Status: "up"}, true},
		"a tunnel that is off": {NetworkAddress{IP: "10.99.0.7", Type: "Tunnel", Status: "Down"}, false},
		"Teredo":               {NetworkAddress{IP: "2001:0:4136:e378:8000:63bf:3fff:fdd2", Type: "Tunnel", Status: "Up"}, false},
		"6to4":                 {NetworkAddress{IP: "2002:c000:204::1", Type: "Tunnel", Status: "Up"}, false},
		"ISATAP alone":         {NetworkAddress{IP: "fe80::5efe:a00:1", Type: "Tunnel", Status: "Up"}, false},
		"Ethernet":             {NetworkAddress{IP: "10.0.0.1", Type: "Ethernet", Status: "Up"}, false},
		"no address":           {NetworkAddress{Type: "Ppp", Status: "Up"}, false},
	} {
		if got := (Machine{NetworkAddress: []NetworkAddress{tt.address}}).OnVPN(); got != tt.want {
			t.Errorf("%s: OnVPN() = %t, want %t", name, got, tt.want)
		}
	}
}
