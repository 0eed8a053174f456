package defender

import (
	"crypto/tls"
	"net/http"
	"testing"
)

func TestNew_refusesTransportThatVerifiesNothing(t *testing.T) {
	t.Parallel()
	insecure := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	if _, err := New(newFake(t).config(), WithTransport(insecure)); err == nil {
		t.Error("New() accepted a transport without certificate checks")
	}
}

func TestClient_followsNoRedirect(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc("GET /api/machines/{id}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, f.server.URL+"/stolen", http.StatusTemporaryRedirect)
	})
	c, _ := f.client(t)
	if _, err := c.Machine(t.Context(), testMachine); err == nil {
		t.Error("Machine() followed a redirect")
	}
	for _, r := range f.seen() {
		if r.Path == "/stolen" {
			t.Error("the redirect was followed")
		}
	}
}
