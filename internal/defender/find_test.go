package defender

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// estate answers the name filters the client uses over some machines.
func estate(f *fake, machines ...map[string]any) {
	f.mux.HandleFunc("GET /api/machines", func(w http.ResponseWriter, r *http.Request) {
		filter := r.URL.Query().Get("$filter")
		var rows []any
		for _, m := range machines {
			name, _ := m["computerDnsName"].(string)
			ip, _ := m["lastIpAddress"].(string)
			for _, term := range strings.Split(strings.Trim(filter, "()"), " or ") {
				value := term[strings.Index(term, "'")+1 : strings.LastIndex(term, "'")]
				if term == "computerDnsName eq '"+name+"'" || term == "lastIpAddress eq '"+ip+"'" ||
					strings.HasPrefix(term, "startswith(") && strings.HasPrefix(name, value) {
					rows = append(rows, m)
					break
				}
			}
		}
		page(w, "", rows...)
	})
	f.mux.HandleFunc("GET /api/machines/{id}", func(w http.ResponseWriter, r *http.Request) {
		for _, m := range machines {
			if m["id"] == r.PathValue("id") || strings.EqualFold(m["computerDnsName"].(string), r.PathValue("id")) {
				writeJSON(w, 200, m)
				return
			}
		}
		writeError(w, 404, "ResourceNotFound", "no")
	})
}

func id(n int) string { return strings.Repeat(string(rune('a'+n)), 40) }

func with(m map[string]any, key string, value any) map[string]any {
	m[key] = value
	return m
}

func TestFindMachines(t *testing.T) {
	t.Parallel()
	machines := []map[string]any{
		machineJSON(id(0), "ws-04"),
		machineJSON(id(1), "ws-042"),
		machineJSON(id(2), "ws-043.contoso.com"),
		machineJSON(id(3), "C-Lab-31"),
		machineJSON(id(4), "twin.contoso.com"),
		machineJSON(id(5), "twin.fabrikam.com"),
		with(machineJSON(testMachine, "old"), "mergedIntoMachineId", id(0)),
		with(machineJSON(otherID, "gone"), "isExcluded", true),
	}
	tests := []struct {
		name, query string
		want        []string
		match       Match
		requests    int
	}{
		{"an ID", id(1), []string{"ws-042"}, MatchID, 1},
		{"the ID of a merged record", testMachine, []string{"ws-04"}, MatchID, 2},
		{"an excluded machine by ID", otherID, []string{"gone"}, MatchID, 1},
		{"an unknown ID", strings.Repeat("0", 40), nil, MatchID, 1},
		{"an exact name beside longer ones", "ws-04", []string{"ws-04"}, MatchName, 1},
		{"a name in capitals", "WS-042", []string{"ws-042"}, MatchName, 1},
		{"a name with spaces and a final dot", " ws-042. ", []string{"ws-042"}, MatchName, 1},
		{"the first label of a whole name", "ws-043", []string{"ws-043.contoso.com"}, MatchName, 1},
		{"a whole name", "ws-043.contoso.com", []string{"ws-043.contoso.com"}, MatchName, 1},
		{"a name Defender spells otherwise", "c-lab-31", []string{"C-Lab-31"}, MatchName, 3},
		{"two machines of one name", "twin", []string{"twin.contoso.com", "twin.fabrikam.com"}, MatchName, 1},
		{"a prefix", "ws-0", []string{"ws-04", "ws-042", "ws-043.contoso.com"}, MatchPrefix, 2},
		{"a merged record by name", "old", nil, MatchName, 3},
		{"an excluded machine by name", "gone", nil, MatchName, 3},
		{"nothing of that name", "nope", nil, MatchName, 3},
		{"a name that is no host name", "ws-04'x/../y", nil, MatchName, 2},
		{"dots", "..", nil, MatchName, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			estate(f, machines...)
			c, _ := f.client(t)
			got, err := c.FindMachines(t.Context(), tt.query)
			if err != nil {
				t.Fatalf("FindMachines(%q) = %v", tt.query, err)
			}
			var names []string
			for _, m := range got.Machines {
				names = append(names, m.Name)
			}
			if diff := cmp.Diff(tt.want, names); diff != "" || got.Match != tt.match {
				t.Errorf("FindMachines(%q) matched by %s, want %s (-want +got):\n%s", tt.query, got.Match, tt.match, diff)
			}
			if n := len(f.seen()); n != tt.requests {
				t.Errorf("requests = %d, want %d", n, tt.requests)
			}
		})
	}
}

func TestMachinesNamed(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	estate(f,
		machineJSON(id(0), "ws-04"), machineJSON(id(1), "ws-042"), machineJSON(id(2), "ws-043.contoso.com"),
		machineJSON(id(3), "twin.contoso.com"), machineJSON(id(4), "twin.fabrikam.com"), with(machineJSON(otherID, "gone"), "isExcluded", true),
	)
	c, _ := f.client(t)
	got, err := c.MachinesNamed(t.Context(), []string{"WS-04", "ws-043", "twin", "gone", "nobody", "o'brien' or 1 eq 1", ""})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range got {
		names = append(names, m.Name)
	}
	if diff := cmp.Diff([]string{"ws-04", "ws-043.contoso.com", "twin.contoso.com", "twin.fabrikam.com"}, names); diff != "" {
		t.Errorf("MachinesNamed() (-want +got):\n%s", diff)
	}
	if n := len(f.seen()); n != 1 {
		t.Errorf("%d calls, want one for all names", n)
	}
	if got, err := c.MachinesNamed(t.Context(), []string{"", "a/b"}); len(got) > 0 || err != nil || len(f.seen()) != 1 {
		t.Errorf("no name at all: %v, %v after %d calls", got, err, len(f.seen()))
	}
}

func TestFindMachines_byIP(t *testing.T) {
	t.Parallel()
	for query, wantPath := range map[string]string{
		"10.1.2.3":         "/api/machines/findbyip(ip='10.1.2.3',timestamp=2026-11-21T12:00:00Z)",
		"::ffff:10.1.2.3":  "/api/machines/findbyip(ip='10.1.2.3',timestamp=2026-11-21T12:00:00Z)",
		"[fd00::5%eth0]":   "/api/machines/findbyip(ip='fd00::5',timestamp=2026-11-21T12:00:00Z)",
		"FD00:0:0:0:0::05": "/api/machines/findbyip(ip='fd00::5',timestamp=2026-11-21T12:00:00Z)",
	} {
		f := newFake(t)
		f.mux.HandleFunc("GET /api/machines/{call}", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != wantPath {
				t.Errorf("%s: path = %s, want %s", query, r.URL.Path, wantPath)
			}
			page(w, "", machineJSON(id(0), "ws-04"))
		})
		c, k := f.client(t)
		k.advance(42 * time.Second)
		got, err := c.FindMachines(t.Context(), query)
		if err != nil || got.Match != MatchIP || len(got.Machines) != 1 {
			t.Errorf("FindMachines(%s) = %+v, %v", query, got, err)
		}
	}
}

func TestFindMachines_byIPNotSeenLately(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	estate(f, with(machineJSON(id(0), "ws-04"), "lastIpAddress", "10.1.2.3"))
	c, _ := f.client(t)
	got, err := c.FindMachines(t.Context(), "10.1.2.3")
	if err != nil || len(got.Machines) != 1 || got.Match != MatchIP {
		t.Errorf("FindMachines() = %+v, %v, want the machine whose last address it was", got, err)
	}
}

func TestFindMachines_mergedInACircle(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	estate(f, with(machineJSON(id(0), "a"), "mergedIntoMachineId", id(1)), with(machineJSON(id(1), "b"), "mergedIntoMachineId", id(0)))
	c, _ := f.client(t)
	if _, err := c.FindMachines(t.Context(), id(0)); !errors.Is(err, ErrInvalid) {
		t.Errorf("FindMachines() = %v, want ErrInvalid", err)
	}
}

func TestFindMachines_refuses(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c, _ := f.client(t)
	for _, query := range []string{"", "  ", "a\nb", "a\x00b", strings.Repeat("x", 256)} {
		if _, err := c.FindMachines(t.Context(), query); !errors.Is(err, ErrInvalid) {
			t.Errorf("FindMachines(%q) = %v, want ErrInvalid", query, err)
		}
	}
	if len(f.seen()) != 0 {
		t.Error("a refused query was sent")
	}
}

func TestMachines(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc("GET /api/machines", func(w http.ResponseWriter, r *http.Request) {
		want := "startswith(computerDnsName,'ws') and riskScore eq 'High' and healthStatus eq 'Active' and osPlatform eq 'Windows11' and machineTags/any(v: v eq 'tier''0') and lastSeen ge 2026-11-20T12:00:00.0000000Z"
		if got := r.URL.Query().Get("$filter"); got != want {
			t.Errorf("$filter = %s\nwant      %s", got, want)
		}
		page(w, "", with(machineJSON(id(0), "ws-0"), "isExcluded", true), machineJSON(id(1), "ws-1"), machineJSON(id(2), "ws-2"), machineJSON(id(3), "ws-3"))
	})
	c, k := f.client(t)
	got, err := collect(c.Machines(t.Context(), MachineFilter{
		NamePrefix: "ws", Risk: "High", Health: "Active", OS: "Windows11", Tag: "tier'0", SeenSince: k.now().Add(-24 * time.Hour), Limit: 2,
	}))
	if err != nil || len(got) != 2 || got[0].Name != "ws-1" || got[1].Name != "ws-2" {
		t.Errorf("Machines() = %+v, %v, want ws-1 and ws-2", got, err)
	}
}

func TestMachineUsersAndAlerts(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc("GET /api/machines/{id}/logonusers", func(w http.ResponseWriter, _ *http.Request) {
		page(w, "",
			map[string]any{"id": `contoso\early`, "accountName": "early", "lastSeen": "2026-11-20T00:00:00Z"},
			map[string]any{"id": `contoso\late`, "accountName": "late", "accountDomain": "contoso", "lastSeen": "2026-11-21T00:00:00Z", "isDomainAdmin": "True"})
	})
	f.mux.HandleFunc("GET /api/machines/{id}/alerts", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "" {
			t.Errorf("query = %s, want none", r.URL.RawQuery)
		}
		page(w, "",
			map[string]any{"id": "a1", "alertCreationTime": "2026-11-20T00:00:00Z"},
			map[string]any{"id": "a2", "alertCreationTime": "2026-11-21T00:00:00Z"})
	})
	c, _ := f.client(t)
	users, err := c.MachineUsers(t.Context(), testMachine)
	if err != nil || len(users) != 2 || users[0].Name != "late" || !users[0].DomainAdmin {
		t.Errorf("MachineUsers() = %+v, %v", users, err)
	}
	alerts, err := c.MachineAlerts(t.Context(), testMachine)
	if err != nil || len(alerts) != 2 || alerts[0].ID != "a2" {
		t.Errorf("MachineAlerts() = %+v, %v", alerts, err)
	}
	if _, err := c.MachineUsers(t.Context(), "web-01"); !errors.Is(err, ErrInvalid) {
		t.Errorf("MachineUsers() of a name = %v, want ErrInvalid", err)
	}
	if _, err := c.MachineAlerts(t.Context(), "web-01"); !errors.Is(err, ErrInvalid) {
		t.Errorf("MachineAlerts() of a name = %v, want ErrInvalid", err)
	}
}
