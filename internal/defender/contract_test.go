package defender

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// contracts opens a file of the contract directory, which is not part of the
// repository: samples and descriptions from Microsoft's own documentation.
func contracts(t *testing.T, name ...string) []byte {
	t.Helper()
	dir := contractDir()
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no contracts in %s; set MDEBOT_CONTRACTS to check against them", dir)
	}
	b, err := os.ReadFile(filepath.Join(append([]string{dir}, name...)...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// contractDir resolves a relative MDEBOT_CONTRACTS from the root of the
// repository.
func contractDir() string {
	dir := cmp.Or(os.Getenv("MDEBOT_CONTRACTS"), "../shared")
	if filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join("..", "..", dir)
}

// sampleKind says how a sample is read.
type sampleKind struct {
	list   bool
	decode func([]byte) (id string, err error) // one record
	fields reflect.Type                        // whose json tags name what is used
}

func kindFor[W, T any](list bool, convert func(W) (string, T)) *sampleKind {
	return &sampleKind{list: list, fields: reflect.TypeFor[W](), decode: func(b []byte) (string, error) {
		id, _, err := convertRow(b, convert)
		return id, err
	}}
}

// samples maps every sample this client reads or sends to its type. The rest
// belongs to calls it does not make; they must still be JSON.
func samples(c *core) map[string]*sampleKind {
	return map[string]*sampleKind{
		"alert_get":                               kindFor(false, c.alert),
		"alerts_list":                             kindFor(true, c.alert),
		"alerts_list_expand_evidence":             kindFor(true, c.alert),
		"machine_get":                             kindFor(false, c.machine),
		"machines_list":                           kindFor(true, c.machine),
		"machines_list_empty":                     kindFor(true, c.machine),
		"machines_list_filter_riskscore":          kindFor(true, c.machine),
		"machines_list_filter_startswith":         kindFor(true, c.machine),
		"machine_logonusers":                      kindFor(true, wireUser.user),
		"alert_user":                              kindFor(false, wireUser.user),
		"machine_isolate_created_pending":         kindFor(false, c.machineAction),
		"machine_unisolate_created_pending":       kindFor(false, c.machineAction),
		"machine_runliveresponse_created_pending": kindFor(false, c.machineAction),
		"machineaction_cancel_response_cancelled": kindFor(false, c.machineAction),
		"machineaction_get_isolate_failed":        kindFor(false, c.machineAction),
		"machineaction_get_isolate_inprogress":    kindFor(false, c.machineAction),
		"machineaction_get_isolate_succeeded":     kindFor(false, c.machineAction),
		"machineaction_get_isolate_timeout":       kindFor(false, c.machineAction),
		"machineactions_list":                     kindFor(true, c.machineAction),
		"machineactions_list_empty":               kindFor(true, c.machineAction),
		"machineactions_list_filter_machineid":    kindFor(true, c.machineAction),
		"machineactions_list_filter_requestor":    kindFor(true, c.machineAction),
		"file_get":                                kindFor(false, wireFile.file),
		"file_stats":                              kindFor(false, wireSightings.sightings),
		"ip_stats":                                kindFor(false, wireSightings.sightings),
		"domain_stats":                            kindFor(false, wireSightings.sightings),
		"exposurescore_get":                       kindFor(false, wireScore.score),
		"configurationscore_get":                  kindFor(false, wireScore.score),
		"machine_software":                        kindFor(true, wireSoftware.software),
		"vulnerabilities_list":                    kindFor(true, wireVulnerability.vulnerability),
		"vulnerability_machinereferences":         kindFor(true, wireReference.reference),
		"xdr_incident_get":                        kindFor(false, c.incident),
		"xdr_incidents_list":                      kindFor(true, c.incident),
	}
}

func TestContract_samplesDecode(t *testing.T) {
	t.Parallel()
	contracts(t, "reference", "mde.swagger.json")
	files, err := filepath.Glob(filepath.Join(contractDir(), "testdata", "defender", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	kinds := samples(&core{tenant: testTenant})
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, err := os.ReadFile(file)
			if err != nil || !json.Valid(body) {
				t.Fatalf("the sample is not JSON: %v", err)
			}
			kind := kinds[name]
			if kind == nil {
				return
			}
			rows := []json.RawMessage{body}
			if kind.list {
				var page wirePage
				if err := decode(body, &page); err != nil || page.Value == nil {
					t.Fatalf("page = %+v, %v", page, err)
				}
				rows = page.Value
			}
			for _, row := range rows {
				id, err := kind.decode(row)
				if err != nil || id == "" {
					t.Errorf("decode = %q, %v", id, err)
				}
				checkNothingLost(t, row, kind.fields)
			}
		})
		delete(kinds, name)
	}
	for name := range kinds {
		t.Errorf("sample %s is gone", name)
	}
}

// checkNothingLost compares every field the type names with what it holds after
// decoding: a value in the sample must not have become nothing.
func checkNothingLost(t *testing.T, sample []byte, typ reflect.Type) {
	t.Helper()
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(sample, &raw); err != nil {
		t.Fatal(err)
	}
	into := reflect.New(typ)
	if err := json.Unmarshal(sample, into.Interface()); err != nil {
		t.Fatal(err)
	}
	for i := range typ.NumField() {
		name := typ.Field(i).Tag.Get("json")
		value := raw[name]
		empty := slices.Contains([]string{"", "null", `""`, "0", "false", "[]", "{}", `"0001-01-01T00:00:00Z"`}, string(value))
		if into.Elem().Field(i).IsZero() && !empty {
			t.Errorf("%s.%s: %s was lost", typ.Name(), name, value)
		}
		if elem := typ.Field(i).Type; elem.Kind() == reflect.Slice && elem.Elem().Kind() == reflect.Struct && !empty {
			var rows []json.RawMessage
			if err := json.Unmarshal(value, &rows); err != nil {
				t.Fatal(err)
			}
			for _, row := range rows {
				checkNothingLost(t, row, elem.Elem())
			}
		}
	}
}

func TestContract_errors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		file   string
		status int
		family family
		want   error
	}{
		{"error_400_activerequestalreadyexists", 400, familyActions, ErrAlreadyActive},
		{"error_400_hunting_result_too_large", 400, familyHunting, ErrResultTooLarge},
		{"error_400_invalidrequestbody", 400, familyActions, ErrInvalid},
		{"error_400_osplatformnotsupported", 400, familyActions, ErrInvalid},
		{"error_403_forbidden_missing_permission", 403, familyMachines, ErrForbidden},
		{"error_404_resourcenotfound", 404, familyMachines, ErrNotFound},
		{"graph_error_504_unknownerror", 504, familyHunting, ErrQueryTimedOut},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			t.Parallel()
			body := contracts(t, "testdata", "defender", tt.file+".json")
			c := &core{quota: newQuota(), now: (&clock{}).now}
			err := c.refusal(call{op: "x", family: tt.family}, &http.Response{StatusCode: tt.status}, body)
			if tt.family == familyHunting {
				err = huntError(err)
			}
			var api *APIError
			if !errors.Is(err, tt.want) || !errors.As(err, &api) || api.Code == "" || api.RequestID == "" {
				t.Errorf("refusal() = %v (%+v), want %v with code and request ID", err, api, tt.want)
			}
			if tt.want == ErrForbidden && api.Permission == "" { //nolint:errorlint // comparing table values
				t.Error("the permission was not read")
			}
		})
	}
	for file, minutes := range map[string]bool{"error_429_per_minute": true, "error_429_toomanyrequests_documented_code": false} {
		body := contracts(t, "testdata", "defender", file+".json")
		c := &core{quota: newQuota(), now: (&clock{}).now}
		err := c.refusal(call{op: "x", family: familyAlerts}, &http.Response{StatusCode: 429}, body)
		var throttled *ThrottledError
		if !errors.As(err, &throttled) || (throttled.RetryAfter.Minutes() == 1) != minutes {
			t.Errorf("%s: refusal() = %v", file, err)
		}
	}
}

func TestContract_hunting(t *testing.T) {
	t.Parallel()
	for file, columns := range map[string]int{
		"advancedqueries_run_response": 4, "graph_runhuntingquery_response": 3, "xdr_advancedhunting_run_response": 3,
	} {
		var got table
		r := rowReader{sink: &got, max: 100}
		truncated, err := r.read(bytes.NewReader(contracts(t, "testdata", "defender", file+".json")))
		if err != nil || truncated != Complete || len(got.rows) != 2 || len(got.columns) != columns || slices.Contains(got.rows[0], "") {
			t.Errorf("%s: read() = %q, %v, %+v", file, truncated, err, got)
		}
		if got.columns[0] != (Column{Name: "Timestamp", Type: "DateTime"}) {
			t.Errorf("%s: first column = %+v", file, got.columns[0])
		}
	}
}

func TestContract_token(t *testing.T) {
	t.Parallel()
	var claims map[string]any
	if err := json.Unmarshal(contracts(t, "testdata", "defender", "token_claims_decoded_app_only.json"), &claims); err != nil {
		t.Fatal(err)
	}
	got := readClaims(jwt(claims))
	if !got.known || got.Tenant != testTenant || !got.Audience.names(commercialAudience) || got.Expires != 1767229500 || !got.has(PermissionMachineRead) || got.has(PermissionIsolate) {
		t.Errorf("readClaims() = %+v", got)
	}
}

func TestContract_requestBodies(t *testing.T) {
	t.Parallel()
	for file, body := range map[string]any{
		"machine_isolate_request":       isolateBody{Comment: "x", IsolationType: "Full"},
		"machine_unisolate_request":     commentBody{Comment: "x"},
		"alert_update_request":          AlertUpdate{"x", "x", "x", "x", "x"},
		"advancedqueries_run_request":   huntBody{Query: "x"},
		"graph_runhuntingquery_request": huntBody{Query: "x"},
	} {
		var want map[string]any
		if err := json.Unmarshal(contracts(t, "testdata", "defender", file+".json"), &want); err != nil {
			t.Fatal(err)
		}
		for _, name := range bodyNames(t, body) {
			if _, ok := want[name]; !ok {
				t.Errorf("%s has no %s", file, name)
			}
		}
	}
}

func bodyNames(t *testing.T, body any) []string {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(b, &fields); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	return names
}

// notDescribed are calls that Microsoft's description, older than its
// documentation, does not have.
var notDescribed = map[string]string{
	"GET /api/machines/{}/logonusers":     "documented in get-machine-log-on-users",
	"GET /api/machines/{}/alerts":         "documented in get-machine-related-alerts",
	"GET /api/machines/findbyip({})":      "documented in find-machines-by-ip",
	"POST /v1.0/security/runHuntingQuery": "Microsoft Graph, not Defender",
}

// Every call goes out once, as it really does, and is looked up in Microsoft's
// own description of the API.
func TestContract_pathsAndBodies(t *testing.T) {
	t.Parallel()
	var swagger struct {
		Paths map[string]map[string]struct {
			Parameters []struct {
				Name, In string
				Schema   struct {
					Properties map[string]any `json:"properties"`
				}
			}
		}
	}
	if err := json.Unmarshal(contracts(t, "reference", "mde.swagger.json"), &swagger); err != nil {
		t.Fatal(err)
	}
	type described struct{ body, query []string }
	known := make(map[string]described)
	for path, methods := range swagger.Paths {
		for method, op := range methods {
			var d described
			for _, p := range op.Parameters {
				if p.In == "query" {
					d.query = append(d.query, p.Name)
				}
				for name := range p.Schema.Properties {
					d.body = append(d.body, name)
				}
			}
			known[strings.ToUpper(method)+" "+shape(path)] = d
		}
	}
	sent := everyCall(t)
	for _, r := range sent {
		key := r.Method + " " + shape(r.Path)
		if notDescribed[key] != "" {
			continue
		}
		d, ok := known[key]
		if !ok {
			t.Errorf("%s is not described", key)
			continue
		}
		for _, parameter := range strings.Split(r.Query, "&") {
			name, _, _ := strings.Cut(parameter, "=")
			name = strings.Replace(name, "%24", "$", 1)
			if name != "" && !slices.Contains(d.query, name) {
				t.Errorf("%s does not take %s", key, name)
			}
		}
		if len(r.Body) > 0 {
			var body map[string]any
			if err := json.Unmarshal(r.Body, &body); err != nil {
				t.Fatal(err)
			}
			for name := range body {
				if !slices.Contains(d.body, name) {
					t.Errorf("%s takes no %s, only %v", key, name, d.body)
				}
			}
		}
	}
	for key := range notDescribed {
		if !slices.ContainsFunc(sent, func(r recorded) bool { return r.Method+" "+shape(r.Path) == key }) {
			t.Errorf("%s is listed as an exception and never sent", key)
		}
	}
}

// shape replaces what varies in a path.
func shape(path string) string {
	if name, _, ok := strings.Cut(path, "("); ok {
		return name + "({})"
	}
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if strings.HasPrefix(p, "{") || isMachineID(p) || isGUID(p) || p == "da1_2" || p == "web-01" {
			parts[i] = "{}"
		}
	}
	return strings.Join(parts, "/")
}

// everyCall makes each call of Client and Actor and returns what was sent.
func everyCall(t *testing.T) []recorded {
	t.Helper()
	f := newFake(t)
	f.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { page(w, "") })
	c, _ := f.client(t)
	ctx := context.Background()
	a := f.actor(t, c)
	calls := []func() error{
		func() error { _, err := collect(c.Alerts(ctx, AlertFilter{MinSeverity: High})); return err },
		func() error { _, err := c.Alert(ctx, "da1_2"); return err },
		func() error { _, err := c.AlertsWithEvidence(ctx, []string{"da1_2"}); return err },
		func() error { _, err := c.UpdateAlert(ctx, "da1_2", AlertUpdate{"x", "x", "x", "x", "x"}); return err },
		func() error { _, err := c.FindMachines(ctx, "web-01"); return err },
		func() error { _, err := c.FindMachines(ctx, "10.0.0.1"); return err },
		func() error { _, err := collect(c.Machines(ctx, MachineFilter{Tag: "x"})); return err },
		func() error { _, err := c.Machine(ctx, testMachine); return err },
		func() error { _, err := c.MachineUsers(ctx, testMachine); return err },
		func() error { _, err := c.MachineAlerts(ctx, testMachine); return err },
		func() error {
			_, err := collect(c.MachineActions(ctx, ActionFilter{MachineID: testMachine}))
			return err
		},
		func() error { _, err := c.MachineAction(ctx, testAction); return err },
		func() error { _, err := a.IsolateMachine(ctx, testMachine, isolateFull); return err },
		func() error { _, err := a.ReleaseMachine(ctx, testMachine, "x"); return err },
		func() error { _, err := c.Hunt(ctx, HuntQuery{KQL: "x"}, &table{}); return err },
		func() error {
			h, err := c.huntCall("x", Permissions{GraphError: errors.New("no Graph")}, "x")
			if err == nil {
				_, err = c.fetch(ctx, h)
			}
			return err
		},
	}
	for i, call := range calls {
		before := len(f.seen())
		// The empty answer fits lists only; what counts is what was sent.
		if err := call(); len(f.seen()) == before {
			t.Fatal(fmt.Errorf("call %d sent nothing: %w", i, err))
		}
	}
	return f.seen()
}
