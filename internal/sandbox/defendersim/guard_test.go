package defendersim_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/sandbox/entrasim"
	"github.com/mdebot/mdebot/internal/sandbox/estate"
)

func TestGuard_token(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	graph := b.tokenFor(entrasim.Graph)
	xdr := b.tokenFor(entrasim.XDR)
	for name, c := range map[string]struct {
		token, method, path string
		status              int
		code                string
	}{
		"no token":                        {"", http.MethodGet, "/api/alerts", 401, "Unauthorized"},
		"rubbish":                         {"rubbish", http.MethodGet, "/api/alerts", 401, "Unauthorized"},
		"Graph token for Defender":        {graph, http.MethodGet, "/api/alerts", 403, "Forbidden"},
		"the audience of the host itself": {xdr, http.MethodGet, "/api/alerts", 403, "Forbidden"},
		"Defender token for Graph":        {b.token, http.MethodPost, graphHunt, 401, "InvalidAuthenticationToken"},
		"no token for Graph":              {"", http.MethodPost, graphHunt, 401, "InvalidAuthenticationToken"},
		"unknown route":                   {b.token, http.MethodGet, "/api/nothing", 404, "NotFound"},
	} {
		t.Run(name, func(t *testing.T) {
			mine := b.in(t)
			mine.token = c.token
			a := mine.do(c.method, c.path, huntBody("AlertInfo"), c.status)
			if got := a.code(t); got != c.code {
				t.Errorf("code = %s, want %s", got, c.code)
			}
		})
	}
	b.clock.advance(25 * time.Hour)
	b.do(http.MethodGet, "/api/alerts", "", http.StatusUnauthorized)
}

func TestGuard_roles(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := b.machine("ws-001")
	alert := b.tenant.Alerts()[0]
	file := ""
	for _, a := range b.tenant.Alerts() {
		for _, e := range a.Evidence {
			if e.SHA1 != nil {
				file = *e.SHA1
			}
		}
	}
	for _, c := range []struct{ method, path, body, role string }{
		{http.MethodGet, "/api/files/" + file, "", "File.Read.All"},
		{http.MethodGet, "/api/files/" + file + "/stats", "", "File.Read.All"},
		{http.MethodGet, "/api/files/" + file + "/alerts", "", "Alert.Read.All"},
		{http.MethodGet, "/api/files/" + file + "/machines", "", "Machine.Read.All"},
		{http.MethodGet, "/api/ips/203.0.113.9/stats", "", "Ip.Read.All"},
		{http.MethodGet, "/api/ips/203.0.113.9/alerts", "", "Alert.Read.All"},
		{http.MethodGet, "/api/domains/evil.example/stats?lookBackHours=720", "", "Url.Read.All"},
		{http.MethodGet, "/api/domains/evil.example/machines", "", "Machine.Read.All"},
		{http.MethodGet, "/api/users/nobody/machines", "", "Machine.ReadWrite.All"},
		{http.MethodGet, "/api/users/nobody/alerts", "", "Alert.Read.All"},
		{http.MethodPost, "/api/machines/" + m.ID + "/tags", `{"Value":"x","Action":"Add"}`, "Machine.ReadWrite.All"},
		{http.MethodGet, "/api/exposureScore", "", "Score.Read.All"},
		{http.MethodGet, "/api/configurationScore", "", "Score.Read.All"},
		{http.MethodGet, "/api/Software", "", "Software.Read.All"},
		{http.MethodGet, "/api/vulnerabilities/CVE-2021-44228", "", "Vulnerability.Read.All"},
		{http.MethodGet, "/api/vulnerabilities/CVE-2021-44228/machineReferences", "", "Vulnerability.Read.All"},
		{http.MethodGet, "/api/alerts", "", "Alert.Read.All"},
		{http.MethodGet, "/api/alerts/" + alert.ID, "", "Alert.Read.All"},
		{http.MethodPatch, "/api/alerts/" + alert.ID, `{"status":"InProgress"}`, "Alert.ReadWrite.All"},
		{http.MethodPost, "/api/alerts/batchUpdate", `{"alertIds":["` + alert.ID + `"],"status":"New"}`, "Alert.ReadWrite.All"},
		{http.MethodGet, "/api/machines", "", "Machine.Read.All"},
		{http.MethodGet, "/api/machines/" + m.ID, "", "Machine.Read.All"},
		{http.MethodGet, "/api/machines/" + m.ID + "/alerts", "", "Alert.Read.All"},
		{http.MethodGet, "/api/machines/" + m.ID + "/logonusers", "", "User.Read.All"},
		{http.MethodGet, "/api/machineactions", "", "Machine.Read.All"},
		{http.MethodPost, "/api/machines/" + m.ID + "/isolate", isolateBody, "Machine.Isolate"},
		{http.MethodPost, "/api/machines/" + m.ID + "/unisolate", `{"Comment":"clean"}`, "Machine.Isolate"},
		{http.MethodPost, "/api/advancedqueries/run", huntBody("AlertInfo | take 1"), "AdvancedQuery.Read.All"},
	} {
		// Machine.ReadWrite.All stands for a role that does not help: it includes
		// neither isolation nor users.
		other := "Ti.ReadWrite.All"
		if c.role == "Machine.Isolate" || c.role == "User.Read.All" {
			other = "Machine.ReadWrite.All"
		}
		b.entra.SetRoles(tenantID, clientID, entrasim.Defender, other)
		b.token = b.tokenFor(entrasim.Defender)
		a := b.do(c.method, c.path, c.body, http.StatusForbidden)
		if a.code(t) != "Forbidden" || !strings.Contains(string(a.body), c.role) {
			t.Errorf("%s %s without %s answered %s, want the role to be named", c.method, c.path, c.role, a.body)
		}
		b.entra.SetRoles(tenantID, clientID, entrasim.Defender, c.role)
		b.token = b.tokenFor(entrasim.Defender)
		if a, err := b.try(c.method, c.path, c.body); err != nil || a.status >= 300 {
			t.Errorf("%s %s with %s answered %d %s, %v", c.method, c.path, c.role, a.status, a.body, err)
		}
	}
	if got := b.tenant.Effects(defendersim.OfKind(defendersim.EffectIsolate)); len(got) != 1 {
		t.Errorf("ledger holds %d isolations, want the permitted one alone", len(got))
	}
}

func TestGuard_tenantsAreApart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const other = "0d9c5a1e-8a44-4f5e-8c7b-1f5e6a2b3c4d"
	b.entra.Register(other, entrasim.App{ID: clientID, Secret: secret, Roles: map[string][]string{entrasim.Defender: allRoles}})
	second := b.sim.AddTenant(estate.Generate(estate.Options{Seed: 1, Now: b.clock.Now(), Tenant: other}))
	foreign := second.Named("ws-001")[0]
	b.do(http.MethodGet, "/api/machines/"+foreign.ID, "", http.StatusNotFound)
	b.do(http.MethodPost, "/api/machines/"+foreign.ID+"/isolate", isolateBody, http.StatusNotFound)
	if len(second.Effects()) != 0 {
		t.Error("a token of one tenant had an effect in another")
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for i := range 45 {
		if a := b.do(http.MethodPost, "/api/advancedqueries/run", huntBody("AlertInfo | take 1"), http.StatusOK); a.status != 200 {
			t.Fatalf("hunt %d was refused", i+1)
		}
	}
	b.clock.advance(20 * time.Second)
	a := b.do(http.MethodPost, "/api/advancedqueries/run", huntBody("AlertInfo | take 1"), http.StatusTooManyRequests)
	if !strings.Contains(string(a.body), "maximum allowed 45 per 00:01:00") || a.code(t) != "429" {
		t.Errorf("46th hunt answered %s", a.body)
	}
	wait, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || wait != 40 {
		t.Errorf("Retry-After = %q, want 40 s", a.header.Get("Retry-After"))
	}
	b.do(http.MethodGet, "/api/machines?$top=1", "", http.StatusOK) // another family
	b.clock.advance(time.Duration(wait) * time.Second)
	b.do(http.MethodPost, "/api/advancedqueries/run", huntBody("AlertInfo | take 1"), http.StatusOK)
}

func TestLimits_hour(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *defendersim.Options) {
		o.Limits = map[defendersim.Family]defendersim.Limit{defendersim.FamilyMachines: {PerMinute: 10, PerHour: 15}}
	})
	for range 15 {
		b.do(http.MethodGet, "/api/machines?$top=1", "", http.StatusOK)
		b.clock.advance(10 * time.Second)
	}
	a := b.do(http.MethodGet, "/api/machines?$top=1", "", http.StatusTooManyRequests)
	if !strings.Contains(string(a.body), "maximum allowed 15 per 01:00:00") || a.header.Get("Retry-After") != "3450" {
		t.Errorf("16th call answered %s after %s s", a.body, a.header.Get("Retry-After"))
	}
	b.clock.advance(time.Hour)
	b.do(http.MethodGet, "/api/machines?$top=1", "", http.StatusOK)
}
