package defender

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestTokens_sharedAndRenewedEarly(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.Handle("GET /api/machines/{id}", answer(http.StatusOK, `{"id":"`+testMachine+`"}`))
	c, k := f.client(t, WithCacheFor(0))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := c.Fresh().Machine(t.Context(), testMachine); err != nil {
				t.Errorf("Machine() = %v", err)
			}
		})
	}
	wg.Wait()
	if got := f.tokensAsked(); got != 1 {
		t.Errorf("20 reads at once asked for %d tokens, want 1", got)
	}
	k.advance(50 * time.Minute)
	mustMachine(t, c)
	if got := f.tokensAsked(); got != 1 {
		t.Errorf("tokens after 50 minutes = %d, want 1", got)
	}
	k.advance(6 * time.Minute)
	mustMachine(t, c)
	if got := f.tokensAsked(); got != 2 {
		t.Errorf("tokens five minutes before the end = %d, want 2", got)
	}
}

func TestTokens_tenThousandWaitForOneCall(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c, k := f.client(t)
	if _, err := c.tokens[apiDefender].get(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.advance(2 * time.Hour) // the token has ended
	before := f.tokensAsked()
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for range 10_000 {
		wg.Go(func() {
			<-begin
			if _, err := c.tokens[apiDefender].get(t.Context()); err != nil {
				t.Errorf("get() = %v", err)
			}
		})
	}
	close(begin)
	wg.Wait()
	if got := f.tokensAsked() - before; got != 1 {
		t.Errorf("10,000 requests asked for %d tokens, want 1", got)
	}
}

func mustMachine(t *testing.T, c *Client) {
	t.Helper()
	if _, err := c.Fresh().Machine(t.Context(), testMachine); err != nil {
		t.Fatalf("Machine() = %v", err)
	}
}

func TestTokens_replacedOnceAfter401(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.Handle("GET /api/machines/{id}", answer(http.StatusOK, `{"id":"`+testMachine+`"}`))
	c, _ := f.client(t)
	mustMachine(t, c)
	f.set(func(f *fake) { f.revoked[f.requests[0].Token] = true })
	mustMachine(t, c)
	if got := f.tokensAsked(); got != 2 {
		t.Errorf("tokens = %d, want 2", got)
	}
}

func TestTokens_401ForEver(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc("GET /api/machines/{id}", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusUnauthorized, "Unauthorized", "no")
	})
	c, _ := f.client(t)
	if _, err := c.Machine(t.Context(), testMachine); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("Machine() = %v, want ErrUnauthorized", err)
	}
	if got := len(f.seen()); got != 2 {
		t.Errorf("requests = %d, want 2", got)
	}
}

func TestTokens_refusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*fake)
		want   string
	}{
		{"a token of another tenant", func(f *fake) { f.claims["tid"] = testApp }, "another tenant"},
		{"a token for another audience", func(f *fake) { f.claims["aud"] = "https://api.security.microsoft.com" }, "another audience"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			tt.change(f)
			c, _ := f.client(t)
			_, err := c.Machine(t.Context(), testMachine)
			if !errors.Is(err, ErrUnauthorized) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Machine() = %v, want ErrUnauthorized about %s", err, tt.want)
			}
			if len(f.seen()) != 0 {
				t.Error("the token was sent")
			}
		})
	}
}

func TestTokens_acceptApplicationIDAsAudience(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.claims["aud"] = appIDs[commercialAudience]
	f.mux.Handle("GET /api/machines/{id}", answer(http.StatusOK, `{"id":"`+testMachine+`"}`))
	c, _ := f.client(t)
	mustMachine(t, c)
}

func TestTokens_wrongSecret(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	cfg := f.config()
	cfg.ClientSecret = "wrong-canary"
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for range 5 {
		_, err = c.Machine(t.Context(), testMachine)
	}
	var api *APIError
	if !errors.Is(err, ErrUnauthorized) || !errors.As(err, &api) || api.Code != "AADSTS7000215" || api.RequestID != "trace-1" {
		t.Errorf("Machine() = %v (%+v), want ErrUnauthorized AADSTS7000215", err, api)
	}
	if strings.Contains(err.Error(), "wrong-canary") {
		t.Errorf("the error shows the secret: %v", err)
	}
	if got := f.tokensAsked(); got != 1 {
		t.Errorf("five calls in a row asked Entra %d times, want 1", got)
	}
}

func TestTokens_oldOneServesWhileEntraIsDown(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.Handle("GET /api/machines/{id}", answer(http.StatusOK, `{"id":"`+testMachine+`"}`))
	c, k := f.client(t)
	mustMachine(t, c)
	c.tokens[apiDefender].target.Authority = f.server.URL + "/nowhere"
	k.advance(57 * time.Minute)
	mustMachine(t, c)
	k.advance(10 * time.Minute)
	if _, err := c.Fresh().Machine(t.Context(), testMachine); err == nil {
		t.Error("Machine() used a token after its end")
	}
}

func TestTokens_oddLifetimes(t *testing.T) {
	t.Parallel()
	for _, seconds := range []int{0, -5, 1, 1 << 40} {
		f := newFake(t)
		f.lifetime = seconds
		f.mux.Handle("GET /api/machines/{id}", answer(http.StatusOK, `{"id":"`+testMachine+`"}`))
		c, k := f.client(t)
		mustMachine(t, c)
		mustMachine(t, c)
		if got := f.tokensAsked(); got != 1 {
			t.Errorf("expires_in %d: two reads asked for %d tokens, want 1", seconds, got)
		}
		k.advance(maxTokenLife)
		mustMachine(t, c)
		if got := f.tokensAsked(); got != 2 {
			t.Errorf("expires_in %d: tokens after a day = %d, want 2", seconds, got)
		}
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c, _ := f.client(t)
	p, err := c.Permissions(t.Context())
	if err != nil {
		t.Fatalf("Permissions() = %v", err)
	}
	for name, want := range map[string]bool{
		PermissionAlertRead: true, // through Alert.ReadWrite.All, in another case
		"machine.read.all":  true,
		PermissionIsolate:   true,
		PermissionHuntGraph: true,
		"Ti.ReadWrite.All":  false,
	} {
		if got := p.Has(name); got != want {
			t.Errorf("Has(%s) = %v, want %v", name, got, want)
		}
	}
}

func TestPermissions_sameNameOnAnotherAPI(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.roles = map[string][]string{
		commercialAudience: {PermissionHuntGraph},
		commercialGraph:    {PermissionMachineRead},
	}
	c, _ := f.client(t)
	p, err := c.Permissions(t.Context())
	if err != nil {
		t.Fatalf("Permissions() = %v", err)
	}
	if p.Has(PermissionHuntGraph) || p.Has(PermissionMachineRead) {
		t.Error("a role on another API counted")
	}
}

func TestClaims_unreadableTokenIsTried(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"", "opaque", "a.b.c", "a.e30.c", "a.bnVsbA.c"} {
		if c := readClaims(token); c.known || !c.has(PermissionIsolate) {
			t.Errorf("readClaims(%q) = %+v, want unknown", token, c)
		}
	}
}

func TestPermissions_grantedLater(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.roles[commercialAudience] = []string{PermissionMachineRead}
	f.mux.Handle("POST /api/machines/{id}/isolate", answer(http.StatusCreated, actionJSON(testMachine, "Isolate", "Full")))
	c, k := f.client(t)
	a := f.actor(t, c)
	in := IsolateInput{Comment: "request #1", Type: FullIsolation}
	_, err := a.IsolateMachine(t.Context(), testMachine, in)
	var api *APIError
	if !errors.Is(err, ErrForbidden) || !errors.As(err, &api) || api.Permission != PermissionIsolate {
		t.Fatalf("IsolateMachine() = %v, want ErrForbidden for Machine.Isolate", err)
	}
	if len(f.seen()) != 0 {
		t.Fatal("a call was sent that cannot be permitted")
	}
	f.set(func(f *fake) { f.roles[commercialAudience] = []string{PermissionIsolate} })
	k.advance(6 * time.Minute)
	_, _ = a.IsolateMachine(t.Context(), testMachine, in) // notices that the token is old
	if _, err := a.IsolateMachine(t.Context(), testMachine, in); err != nil {
		t.Errorf("IsolateMachine() after the grant = %v", err)
	}
}
