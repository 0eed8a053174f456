package defender

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

const anIndicator = `{"id":"995","indicatorValue":"evil.example","indicatorType":"domainname","action":"block","title":"mdebot",
	"description":"why","createdBy":"app","creationTimeDateTimeUtc":"2026-11-20T10:00:00.1234567Z","expirationTime":"2026-12-01T00:00:00Z"}`

func TestActor_SetIndicator(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.grant(PermissionIndicators)
	f.mux.Handle("POST /api/indicators", answer(http.StatusOK, anIndicator))
	c, _ := f.client(t)
	a := f.actor(t, c)
	in := IndicatorInput{
		Type: IndicatorDomain, Value: "evil.example", Action: IndicatorBlock, Title: "mdebot", Description: "why",
		Expires: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC),
	}
	got, err := a.SetIndicator(t.Context(), in)
	if err != nil || got.ID != "995" || got.Type != IndicatorDomain || got.Action != IndicatorBlock || !got.Expires.Equal(in.Expires) {
		t.Fatalf("SetIndicator() = %+v, %v", got, err)
	}
	want := `{"indicatorValue":"evil.example","indicatorType":"DomainName","action":"Block","title":"mdebot","description":"why","severity":"Medium","application":"mdebot","expirationTime":"2026-12-01T00:00:00Z","generateAlert":true}`
	if got := string(f.seen()[0].Body); got != want {
		t.Errorf("body = %s\nwant   %s", got, want)
	}
	in.Value = "other.example"
	if _, err := a.SetIndicator(t.Context(), in); !errors.Is(err, ErrUnclear) {
		t.Errorf("an answer about another value = %v, want ErrUnclear", err)
	}
	in.Description = strings.Repeat("x", 1001)
	if _, err := a.SetIndicator(t.Context(), in); !errors.Is(err, ErrInvalid) {
		t.Errorf("a description beyond the limit = %v", err)
	}
	if n := len(f.seen()); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
}

func TestActor_DeleteIndicator(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.grant(PermissionIndicators)
	f.mux.HandleFunc("DELETE /api/indicators/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") != "995" {
			writeError(w, http.StatusNotFound, "ResourceNotFound", "gone")
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	c, _ := f.client(t)
	a := f.actor(t, c)
	if err := a.DeleteIndicator(t.Context(), "995"); err != nil {
		t.Errorf("DeleteIndicator() = %v", err)
	}
	if err := a.DeleteIndicator(t.Context(), "996"); !errors.Is(err, ErrNotFound) {
		t.Errorf("of one that is gone = %v, want ErrNotFound", err)
	}
	if err := a.DeleteIndicator(t.Context(), "../machines"); !errors.Is(err, ErrInvalid) {
		t.Errorf("of a path = %v, want ErrInvalid", err)
	}
	f.grant(PermissionIsolate)
	c, _ = f.client(t)
	if err := f.actor(t, c).DeleteIndicator(t.Context(), "995"); !errors.Is(err, ErrForbidden) {
		t.Errorf("without the permission = %v", err)
	}
}

func TestIndicatorReader(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.grant(PermissionIndicators)
	f.mux.Handle("GET /api/indicators", answer(http.StatusOK, `{"value":[`+anIndicator+`]}`))
	c, _ := f.client(t)
	var found []Indicator
	for i, err := range f.actor(t, c).Indicators(LaneInteractive).Indicators(t.Context(), "it's.example") {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, i)
	}
	if len(found) != 1 || found[0].Value != "evil.example" {
		t.Errorf("Indicators() = %+v", found)
	}
	if q := f.seen()[0].Query; !strings.Contains(q, "indicatorValue+eq+%27it%27%27s.example%27") {
		t.Errorf("query = %s, want the value as one literal", q)
	}
}

func TestActor_TagMachine(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc("POST /api/machines/{id}/tags", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{"id": testMachine, "machineTags": []string{"tier0"}})
	})
	c, _ := f.client(t)
	a := f.actor(t, c)
	if _, err := a.TagMachine(t.Context(), testMachine, "tier0", true); !errors.Is(err, ErrForbidden) || len(f.seen()) != 0 {
		t.Fatalf("without the permission = %v after %d calls", err, len(f.seen()))
	}
	f.grant(PermissionMachineWrite)
	a = f.actor(t, c)
	got, err := a.TagMachine(t.Context(), testMachine, "tier0", true)
	if err != nil || len(got.Tags) != 1 {
		t.Errorf("TagMachine() = %+v, %v", got, err)
	}
	if body := string(f.seen()[0].Body); body != `{"Value":"tier0","Action":"Add"}` {
		t.Errorf("body = %s", body)
	}
	if _, err := a.TagMachine(t.Context(), strings.Repeat("f", 40), "tier0", false); !errors.Is(err, ErrUnclear) {
		t.Errorf("an answer about another machine = %v, want ErrUnclear", err)
	}
	if _, err := a.TagMachine(t.Context(), testMachine, strings.Repeat("x", 201), true); !errors.Is(err, ErrInvalid) {
		t.Errorf("a tag beyond the limit = %v", err)
	}
	if n := len(f.seen()); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
}
