package defender

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func actionJSON(machine, kind, scope string) string {
	b, _ := json.Marshal(map[string]any{
		"id": testAction, "type": kind, "scope": scope, "machineId": machine, "status": "pending",
		"requestorComment": "request #1", "computerDnsName": nil,
	})
	return string(b)
}

var isolateFull = IsolateInput{Comment: "request #1", Type: FullIsolation}

func TestActor_IsolateMachine(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.Handle("POST /api/machines/{id}/isolate", answer(http.StatusCreated, actionJSON(testMachine, "isolate", "Full")))
	c, _ := f.client(t)
	got, err := f.actor(t, c).IsolateMachine(t.Context(), testMachine, isolateFull)
	if err != nil {
		t.Fatalf("IsolateMachine() = %v", err)
	}
	want := MachineAction{
		ID: testAction, Tenant: testTenant, Type: Isolate, Scope: "Full", Comment: "request #1",
		Status: ActionPending, MachineID: testMachine,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("IsolateMachine() (-want +got):\n%s", diff)
	}
	if got := string(f.seen()[0].Body); got != `{"Comment":"request #1","IsolationType":"Full"}` {
		t.Errorf("body = %s", got)
	}
}

func TestActor_ReleaseMachine(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.Handle("POST /api/machines/{id}/unisolate", answer(http.StatusCreated, actionJSON(testMachine, "Unisolate", "")))
	c, _ := f.client(t)
	if _, err := f.actor(t, c).ReleaseMachine(t.Context(), testMachine, "clean"); err != nil {
		t.Fatalf("ReleaseMachine() = %v", err)
	}
	if got := string(f.seen()[0].Body); got != `{"Comment":"clean"}` {
		t.Errorf("body = %s", got)
	}
}

// Every answer is either a success, a refusal for sure, or unclear; and whatever
// it is, one request was sent.
func TestActor_outcomes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    error
	}{
		{"400 for a bad request", answer(400, `{"error":{"code":"OsPlatformNotSupported","message":"iOS"}}`), ErrInvalid},
		{"400 for an action under way", answer(400, `{"error":{"code":"ActiveRequestAlreadyExists","message":"x"}}`), ErrAlreadyActive},
		{"400 for an action under way, in words", answer(400, `{"error":{"code":"BadRequest","message":"Action is already in progress"}}`), ErrAlreadyActive},
		{"401", answer(401, `{}`), ErrUnauthorized},
		{"403", answer(403, `{}`), ErrForbidden},
		{"404", answer(404, `{}`), ErrNotFound},
		{"409", answer(409, `{}`), ErrAlreadyActive},
		{"415", answer(415, ``), ErrInvalid},
		{"408 of a gateway", answer(408, ``), ErrUnclear},
		{"500", answer(500, `{"error":{"code":"InternalServerError"}}`), ErrUnclear},
		{"502 with HTML", answer(502, `<html>bad gateway</html>`), ErrUnclear},
		{"503", answer(503, ``), ErrUnclear},
		{"504", answer(504, ``), ErrUnclear},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, ErrUnclear},
		{"success without a body", answer(201, ``), ErrUnclear},
		{"success with HTML", answer(201, `<html></html>`), ErrUnclear},
		{"success without an ID", answer(201, `{"type":"Isolate","machineId":"`+testMachine+`"}`), ErrUnclear},
		{"success without a machine", answer(201, actionJSON("", "Isolate", "Full")), ErrUnclear},
		{"success on another machine", answer(201, actionJSON(otherID, "Isolate", "Full")), ErrUnclear},
		{"success of another type", answer(201, actionJSON(testMachine, "Unisolate", "Full")), ErrUnclear},
		{"success of another scope", answer(201, actionJSON(testMachine, "Isolate", "Selective")), ErrUnclear},
		{"a connection that breaks after the request", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ErrUnclear},
		{"a body that breaks off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(http.StatusCreated)
			panic(http.ErrAbortHandler)
		}, ErrUnclear},
		{"an endless body", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write(bytes.Repeat([]byte(" "), 2*maxErrorBody))
		}, ErrUnclear},
	}
	all := []error{ErrInvalid, ErrAlreadyActive, ErrUnauthorized, ErrForbidden, ErrNotFound, ErrUnclear}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.mux.HandleFunc("POST /api/machines/{id}/isolate", tt.handler)
			c, _ := f.client(t)
			_, err := f.actor(t, c).IsolateMachine(t.Context(), testMachine, isolateFull)
			for _, kind := range all {
				if errors.Is(err, kind) != errors.Is(tt.want, kind) {
					t.Errorf("IsolateMachine() = %v; is %q: %v", err, kind, errors.Is(err, kind))
				}
			}
			if got := len(f.seen()); got != 1 {
				t.Errorf("requests = %d, want 1", got)
			}
		})
	}
}

func TestActor_throttled(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc("POST /api/machines/{id}/isolate", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	c, _ := f.client(t)
	a := f.actor(t, c)
	for range 3 {
		_, err := a.IsolateMachine(t.Context(), testMachine, isolateFull)
		var throttled *ThrottledError
		if !errors.As(err, &throttled) || throttled.RetryAfter != 30*time.Second || errors.Is(err, ErrUnclear) {
			t.Errorf("IsolateMachine() = %v, want throttled for 30 s", err)
		}
	}
	if got := len(f.seen()); got != 1 {
		t.Errorf("requests = %d, want 1: the block is remembered", got)
	}
}

func TestActor_connectionRefusedHadNoEffect(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	cfg := f.config()
	cfg.BaseURL = gone.URL
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	a, err := NewActor(cfg, c)
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.IsolateMachine(t.Context(), testMachine, isolateFull)
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnclear) {
		t.Errorf("IsolateMachine() = %v, want ErrUnavailable and not ErrUnclear", err)
	}
}

func TestActor_givenUpAfterSending(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	arrived, done := make(chan struct{}), make(chan struct{})
	f.mux.HandleFunc("POST /api/machines/{id}/isolate", func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-done
	})
	t.Cleanup(func() { close(done) })
	c, _ := f.client(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := f.actor(t, c).IsolateMachine(ctx, testMachine, isolateFull)
	if !errors.Is(err, ErrUnclear) {
		t.Errorf("IsolateMachine() = %v, want ErrUnclear", err)
	}
}

func TestActor_inputs(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c, _ := f.client(t)
	a := f.actor(t, c)
	tests := []struct {
		name, machine string
		in            IsolateInput
	}{
		{"a name for an ID", "web-01", isolateFull},
		{"a path for an ID", "../machines", isolateFull},
		{"an ID with a slash", testMachine[:39] + "/", isolateFull},
		{"no comment", testMachine, IsolateInput{Type: FullIsolation, Comment: " "}},
		{"a comment beyond the limit", testMachine, IsolateInput{Type: FullIsolation, Comment: strings.Repeat("x", 1001)}},
		{"no type", testMachine, IsolateInput{Comment: "x"}},
		{"an unknown type", testMachine, IsolateInput{Comment: "x", Type: "Partial"}},
	}
	for _, tt := range tests {
		if _, err := a.IsolateMachine(t.Context(), tt.machine, tt.in); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: IsolateMachine() = %v, want ErrInvalid", tt.name, err)
		}
	}
	if len(f.seen()) != 0 || f.tokensAsked() != 0 {
		t.Error("a refused input led to a request")
	}
}

func TestActor_mismatchIsAnAlarm(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.Handle("POST /api/machines/{id}/isolate", answer(http.StatusCreated, actionJSON(otherID, "Isolate", "Full")))
	var logs bytes.Buffer
	c, _ := f.client(t, WithLogger(slog.New(slog.NewJSONHandler(&logs, nil))))
	got, err := f.actor(t, c).IsolateMachine(t.Context(), testMachine, isolateFull)
	var mismatch *MismatchError
	if !errors.As(err, &mismatch) || got.MachineID != otherID {
		t.Errorf("IsolateMachine() = %+v, %v, want the action and a *MismatchError", got, err)
	}
	if !strings.Contains(logs.String(), `"level":"ERROR"`) {
		t.Errorf("no alarm in the log: %s", logs.String())
	}
}

// The reading transport may have spoken HTTP/2 before; a copy of it must still
// be able to speak to a server that prefers it.
func TestActor_serverThatPrefersHTTP2(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	var protocols []string
	f.mux.HandleFunc("POST /api/machines/{id}/isolate", func(w http.ResponseWriter, r *http.Request) {
		protocols = append(protocols, r.Proto)
		answer(http.StatusCreated, actionJSON(testMachine, "Isolate", "Full"))(w, r)
	})
	f.mux.HandleFunc("GET /api/machines/{id}", func(w http.ResponseWriter, r *http.Request) {
		protocols = append(protocols, r.Proto)
		answer(http.StatusOK, `{"id":"`+testMachine+`"}`)(w, r)
	})
	secure := httptest.NewUnstartedServer(f.server.Config.Handler)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close)
	cfg := f.config()
	cfg.BaseURL, cfg.XDRURL, cfg.GraphURL, cfg.AuthorityURL = secure.URL, secure.URL, secure.URL, secure.URL
	base := secure.Client().Transport.(*http.Transport)
	base.ForceAttemptHTTP2 = true
	c, err := New(cfg, WithTransport(base))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	mustMachine(t, c)
	a, err := NewActor(cfg, c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.IsolateMachine(t.Context(), testMachine, isolateFull); err != nil {
		t.Fatalf("IsolateMachine() = %v", err)
	}
	if diff := cmp.Diff([]string{"HTTP/2.0", "HTTP/1.1"}, protocols); diff != "" {
		t.Errorf("protocols (-want +got):\n%s", diff)
	}
}

func TestNewActor_belongsToItsClient(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c, _ := f.client(t)
	cfg := f.config()
	cfg.TenantID = testApp
	if _, err := NewActor(cfg, c); err == nil {
		t.Error("NewActor() accepted another tenant")
	}
}

func TestConfig_actingSecretReachesNoReader(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	cfg := f.config()
	cfg.ActionClientID, cfg.ActionClientSecret = testTenant, "the acting secret"
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for _, source := range c.tokens {
		if got := source.credential; got.Secret != cfg.ClientSecret || got.ClientID != cfg.ClientID {
			t.Errorf("the reading client signs in as %s", got.ClientID)
		}
	}
	a, err := NewActor(cfg, c)
	if err != nil {
		t.Fatal(err)
	}
	if got := a.tokens.credential; got.ClientID != testTenant || got.Secret != "the acting secret" {
		t.Errorf("the actor signs in as %s", got.ClientID)
	}
	if text := fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg); strings.Contains(text, "the acting secret") {
		t.Errorf("the configuration prints its secret: %s", text)
	}
}

// Every machine action goes to its own address with its own body, and needs a
// permission of its own.
func TestActor_machineActions(t *testing.T) {
	t.Parallel()
	const sha1 = "87662bc3d60e4200ceaf7aae249d1c343f4b83c9"
	for name, tc := range map[string]struct {
		verb, kind, scope, body, permission string
		call                                func(context.Context, *Actor) (MachineAction, error)
	}{
		"restrict": {"restrictCodeExecution", "RestrictCodeExecution", "", `{"Comment":"why"}`, PermissionRestrict, func(ctx context.Context, a *Actor) (MachineAction, error) {
			return a.RestrictMachine(ctx, testMachine, "why")
		}},
		"unrestrict": {"unrestrictCodeExecution", "UnrestrictCodeExecution", "", `{"Comment":"why"}`, PermissionRestrict, func(ctx context.Context, a *Actor) (MachineAction, error) {
			return a.UnrestrictMachine(ctx, testMachine, "why")
		}},
		"scan": {"runAntiVirusScan", "RunAntiVirusScan", "Full", `{"Comment":"why","ScanType":"Full"}`, PermissionScan, func(ctx context.Context, a *Actor) (MachineAction, error) {
			return a.ScanMachine(ctx, testMachine, FullScan, "why")
		}},
		"quarantine": {"StopAndQuarantineFile", "StopAndQuarantineFile", "", `{"Comment":"why","Sha1":"` + sha1 + `"}`, PermissionQuarantine, func(ctx context.Context, a *Actor) (MachineAction, error) {
			return a.QuarantineFile(ctx, testMachine, sha1, "why")
		}},
		"package": {"collectInvestigationPackage", "CollectInvestigationPackage", "", `{"Comment":"why"}`, PermissionPackage, func(ctx context.Context, a *Actor) (MachineAction, error) {
			return a.CollectPackage(ctx, testMachine, "why")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.grant(tc.permission)
			f.mux.Handle("POST /api/machines/{id}/"+tc.verb, answer(http.StatusCreated, actionJSON(testMachine, tc.kind, tc.scope)))
			c, _ := f.client(t)
			got, err := tc.call(t.Context(), f.actor(t, c))
			if err != nil || string(got.Type) != tc.kind {
				t.Fatalf("%s = %+v, %v", name, got, err)
			}
			if got := string(f.seen()[0].Body); got != tc.body {
				t.Errorf("body = %s, want %s", got, tc.body)
			}
			f.grant("Machine.ReadWrite.All")
			c, _ = f.client(t)
			_, err = tc.call(t.Context(), f.actor(t, c))
			var api *APIError
			if !errors.Is(err, ErrForbidden) || !errors.As(err, &api) || api.Permission != tc.permission {
				t.Errorf("without %s: %v", tc.permission, err)
			}
			if n := len(f.seen()); n != 1 {
				t.Errorf("%d calls, want no second one without the permission", n)
			}
		})
	}
}

func TestActor_answerAboutAnotherFileIsUnclear(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.grant(PermissionQuarantine)
	f.mux.Handle("POST /api/machines/{id}/StopAndQuarantineFile", answer(http.StatusCreated, `{"id":"`+testAction+`","type":"StopAndQuarantineFile",
		"status":"Pending","machineId":"`+testMachine+`","relatedFileInfo":{"fileIdentifier":"AAAABBC3D60E4200CEAF7AAE249D1C343F4B83C9","fileIdentifierType":"Sha1"}}`))
	c, _ := f.client(t)
	got, err := f.actor(t, c).QuarantineFile(t.Context(), testMachine, "87662bc3d60e4200ceaf7aae249d1c343f4b83c9", "why")
	if !errors.Is(err, ErrUnclear) || got.File != "aaaabbc3d60e4200ceaf7aae249d1c343f4b83c9" {
		t.Errorf("QuarantineFile() = %+v, %v, want it unclear", got, err)
	}
	if _, err := f.actor(t, c).QuarantineFile(t.Context(), testMachine, strings.Repeat("a", 64), "why"); !errors.Is(err, ErrInvalid) {
		t.Errorf("with a SHA-256: %v, want ErrInvalid", err)
	}
}

func TestActor_CancelAction(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.grant(PermissionScan)
	f.mux.Handle("POST /api/machineactions/{id}/cancel", answer(http.StatusOK, `{"id":"`+testAction+`","type":"RunAntiVirusScan","status":"Cancelled","machineId":"`+testMachine+`"}`))
	c, _ := f.client(t)
	a := f.actor(t, c)
	got, err := a.CancelAction(t.Context(), testAction, Scan, "mistake")
	if err != nil || got.Status != ActionCancelled {
		t.Fatalf("CancelAction() = %+v, %v", got, err)
	}
	if r := f.seen()[0]; r.Path != "/api/machineactions/"+testAction+"/cancel" || string(r.Body) != `{"Comment":"mistake"}` {
		t.Errorf("request = %s %s", r.Path, r.Body)
	}
	if _, err := a.CancelAction(t.Context(), "44444444-7557-4ab7-9782-d50480024a4e", Scan, "x"); !errors.Is(err, ErrUnclear) {
		t.Errorf("an answer about another action = %v, want ErrUnclear", err)
	}
	if _, err := a.CancelAction(t.Context(), testAction, Isolate, "x"); !errors.Is(err, ErrForbidden) {
		t.Errorf("without the permission of its type = %v", err)
	}
	for _, bad := range []struct {
		id   string
		kind MachineActionType
	}{{"../../x", Scan}, {"", Scan}, {testAction, Offboard}, {testAction, "Invented"}} {
		if _, err := a.CancelAction(t.Context(), bad.id, bad.kind, "x"); !errors.Is(err, ErrInvalid) {
			t.Errorf("CancelAction(%q, %s) = %v, want ErrInvalid", bad.id, bad.kind, err)
		}
	}
	if n := len(f.seen()); n != 2 {
		t.Errorf("%d calls, want none for refused input", n)
	}
}
