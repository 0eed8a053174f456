package defender

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	testPerson = "8a1f0000-0000-4000-8000-000000000001"
	testGroup  = "5c2e0000-0000-4000-8000-000000000001"
)

func TestDirectoryUser(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, answer string
		want         DirectoryUser
	}{
		{"an active member", `"accountEnabled":true,"userType":"Member"`, DirectoryUser{ID: testPerson, Enabled: true, Member: true}},
		{"a disabled member", `"accountEnabled":false,"userType":"Member"`, DirectoryUser{ID: testPerson, Member: true}},
		{"a guest", `"accountEnabled":true,"userType":"Guest"`, DirectoryUser{ID: testPerson, Enabled: true}},
		{"properties that may not be read", `"accountEnabled":null,"userType":null`, DirectoryUser{ID: testPerson}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.mux.HandleFunc("GET /v1.0/users/"+testPerson, func(w http.ResponseWriter, r *http.Request) {
				if got := r.URL.Query().Get("$select"); got != directoryUserFields {
					t.Errorf("$select = %q", got)
				}
				_, _ = io.WriteString(w, `{"id":"`+testPerson+`",`+c.answer+`}`)
			})
			got, err := client(t, f).DirectoryUser(t.Context(), testPerson)
			if err != nil || got != c.want {
				t.Errorf("DirectoryUser() = %+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}

func TestDirectoryUser_refusesAnAnswerAboutAnother(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc("GET /v1.0/users/"+testPerson, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"id":"`+testGroup+`","accountEnabled":true,"userType":"Member"}`)
	})
	if got, err := client(t, f).DirectoryUser(t.Context(), testPerson); err == nil {
		t.Errorf("DirectoryUser() = %+v, want an error", got)
	}
	if _, err := client(t, f).DirectoryUser(t.Context(), "../groups"); !errors.Is(err, ErrInvalid) {
		t.Errorf("DirectoryUser(path) = %v, want ErrInvalid", err)
	}
}

func TestGroupMembers_followsPagesAndKeepsPeople(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc("GET /v1.0/groups/"+testGroup+"/transitiveMembers", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("$skiptoken") == "" {
			_, _ = io.WriteString(w, `{"@odata.nextLink":"`+f.server.URL+r.URL.Path+`?$skiptoken=2","value":[
				{"@odata.type":"#microsoft.graph.user","id":"`+testPerson+`","accountEnabled":true,"userType":"Member"},
				{"@odata.type":"#microsoft.graph.group","id":"`+otherGroup+`"},
				{"@odata.type":"#microsoft.graph.servicePrincipal","id":"`+testApp+`","accountEnabled":true}]}`)
			return
		}
		_, _ = io.WriteString(w, `{"value":[{"@odata.type":"#microsoft.graph.user","id":"`+testAction+`","accountEnabled":false,"userType":"Guest"}]}`)
	})
	got, err := client(t, f).GroupMembers(t.Context(), testGroup)
	want := []DirectoryUser{{ID: testPerson, Enabled: true, Member: true}, {ID: testAction}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("GroupMembers() = %v\n%s", err, diff)
	}
}

const otherGroup = "5c2e0000-0000-4000-8000-000000000002"

func TestGroupMembers_fails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		want   error
	}{
		"permission not granted": {http.StatusForbidden, ErrForbidden},
		"Graph is down":          {http.StatusServiceUnavailable, ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.mux.HandleFunc("/v1.0/groups/", func(w http.ResponseWriter, _ *http.Request) {
				writeError(w, c.status, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
			})
			if got, err := client(t, f).GroupMembers(t.Context(), testGroup); !errors.Is(err, c.want) {
				t.Errorf("GroupMembers() = %v, %v, want %v", got, err, c.want)
			}
		})
	}
}

func client(t *testing.T, f *fake) *Client {
	t.Helper()
	c, _ := f.client(t)
	return c
}
