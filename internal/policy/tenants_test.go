package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/tenant"
)

const (
	fabrikam = tenant.ID("aaaaaaaa-0000-4000-8000-000000000001")
	tailspin = tenant.ID("aaaaaaaa-0000-4000-8000-000000000002")
)

const partnerFile = `
approvals:
  expire_after: 30m
  rules:
    - { name: all, approvers: 1, from: [soc] }
people:
  - { person: 11111111-1111-1111-1111-111111111111/22222222-2222-2222-2222-222222222201, name: A, slack: [T0SOC/U0A], roles: [responder, approver] }
  - { person: 11111111-1111-1111-1111-111111111111/22222222-2222-2222-2222-222222222202, name: B, slack: [T0SOC/U0B], roles: [responder, approver] }
  - { person: 11111111-1111-1111-1111-111111111111/22222222-2222-2222-2222-222222222203, name: C, slack: [T0SOC/U0C], roles: [responder, approver] }
groups:
  soc: [11111111-1111-1111-1111-111111111111/22222222-2222-2222-2222-222222222201, 11111111-1111-1111-1111-111111111111/22222222-2222-2222-2222-222222222202, 11111111-1111-1111-1111-111111111111/22222222-2222-2222-2222-222222222203]
  fab: [11111111-1111-1111-1111-111111111111/22222222-2222-2222-2222-222222222201, 11111111-1111-1111-1111-111111111111/22222222-2222-2222-2222-222222222202]
  lead: [11111111-1111-1111-1111-111111111111/22222222-2222-2222-2222-222222222201]
all_tenants: [lead]
notify:
  routes:
    - { name: high, when: 'alert.severity == "High"', to: ["slack:C0SOC"] }
tenants:
  - id: AAAAAAAA-0000-4000-8000-000000000001
    name: fabrikam
    channels: ["slack:C0FAB"]
    people: [fab]
    approvers: 2
    expire_after: 10m
    routes:
      - { name: all of it, to: ["slack:C0FAB"] }
`

func customerPerson(n string) identity.Person {
	return identity.Person{ID: identity.PersonID{Tenant: "11111111-1111-1111-1111-111111111111", Object: "22222222-2222-2222-2222-22222222220" + n}}
}

func TestTenants_eachHasItsOwnPeopleRulesAndRoutes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "mdebot.yaml")
	if err := os.MkdirAll(filepath.Join(dir, "tenants.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"mdebot.yaml":             partnerFile,
		"tenants.d/tailspin.yaml": "id: " + string(tailspin) + "\nname: tailspin\npeople: [soc]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := Load(file, Options{})
	if err != nil {
		t.Fatal(err)
	}
	alert := Alert{ID: "a", Severity: "High"}
	for id, want := range map[tenant.ID]struct {
		people, approvers, routes int
		expires                   string
	}{
		fabrikam: {2, 2, 2, "10m0s"}, tailspin: {3, 1, 1, "30m0s"}, "somebody-else": {0, 1, 0, "30m0s"},
	} {
		own := p.For(id)
		if got := len(own.Book().People()); got != want.people {
			t.Errorf("%s: %d people, want %d", id, got, want.people)
		}
		machine := &Machine{Name: "x", OS: "Windows11", Risk: "Low", Exposure: "Low", Value: "Normal", Health: "Active"}
		if got := own.Decide(Action{Kind: "isolate"}, []*Machine{machine}).Approvers; got != want.approvers {
			t.Errorf("%s: %d approvers, want %d", id, got, want.approvers)
		}
		if got := len(own.Routes(alert, nil)); got != want.routes {
			t.Errorf("%s: %d routes, want %d", id, got, want.routes)
		}
		if got := own.ExpireAfter().String(); got != want.expires {
			t.Errorf("%s: requests expire after %s, want %s", id, got, want.expires)
		}
	}
	// Somebody of the SOC who has no grant for the customer does not count there.
	rule := Applied{Name: "all", Approvers: 1, From: []string{"soc"}}
	if _, ok, _ := p.For(fabrikam).Entitled(t.Context(), nil, customerPerson("3"), rule, 0); ok {
		t.Error("somebody without a grant for the tenant may approve there")
	}
	if _, ok, _ := p.For(tailspin).Entitled(t.Context(), nil, customerPerson("3"), rule, 0); !ok {
		t.Error("somebody with a grant may not approve")
	}
	if !p.MayAskAll(customerPerson("1").ID) || p.MayAskAll(customerPerson("2").ID) {
		t.Error("all_tenants does not decide who may ask all")
	}
	if got, ok := p.TenantOf("slack:C0FAB"); !ok || got.ID != fabrikam {
		t.Errorf("the channel is bound to %v", got.ID)
	}
	if _, ok := p.TenantNamed("FABRIKAM"); !ok {
		t.Error("a tenant is not found by its name in another case")
	}
	s := NewSource(p)
	ours, again := s.In(fabrikam).Current(), s.In(fabrikam).Current()
	if ours != again || ours == s.In(tailspin).Current() {
		t.Error("the policy of a tenant is not one thing of its own")
	}
}

func TestTenants_faults(t *testing.T) {
	t.Parallel()
	for change, want := range map[string]string{
		"id: nonsense":                           "no tenant ID",
		"id: " + string(fabrikam) + "\n    ":     `"name" is missing`,
		"name: all\n    id: " + string(tailspin): "not all",
		"name: two words":                        "one word",
		"name: x\n    id: " + string(tailspin) + "\n    people: [nobody]": `group "nobody"`,
		"name: x\n    id: " + string(tailspin) + `
    channels: ["slack:C0FAB"]`: "bound to fabrikam already",
		"name: Fabrikam\n    id: " + string(tailspin):                                                                                 "also named",
		"name: x\n    id: " + string(fabrikam):                                                                                        "listed twice",
		"name: x\n    id: " + string(tailspin) + "\n    expire_after: 90m":                                                            "expire_after",
		"name: x\n    id: " + string(tailspin) + "\n    shared_channels: alerts":                                                      "no channel of its own",
		"name: x\n    id: " + string(tailspin) + "\n    shared_channels: approvals\n    channels: [slack:C0TAIL]":                     "write alerts",
		"name: x\n    id: " + string(tailspin) + "\n    shared_channels: alerts\n    routes: [{ name: ours, to: [\"slack:C0FAB\"] }]": "slack:C0FAB is a place of fabrikam too",
		"name: x\n    id: " + string(tailspin) + "\n    routes: [{ name: ours, to: [\"slack:C0SOC\"], allow_guests: true }]":          "another route allows guests in slack:C0SOC",
		"name: x\n    client_secret: abc":                                                                                             "unknown key",
	} {
		_, err := Parse("mdebot.yaml", []byte(partnerFile+"  - "+change+"\n"), Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: Parse() = %v, want %q", change, err, want)
		}
	}
}

// A fault says which file it stands in, whether that file shows it alone or only
// all of them together.
func TestLoad_faultsNameTheFileOfATenant(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "tenants.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"mdebot.yaml":             partnerFile,
		"tenants.d/tailspin.yaml": "id: " + string(tailspin) + "\nname: tailspin\npeople:\n  - nobody\n",
		"tenants.d/wingtip.yaml":  "id: wingtip\nname: wingtip\npeople: [soc]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Load(filepath.Join(dir, "mdebot.yaml"), Options{})
	for _, want := range []string{`tenants.d/tailspin.yaml:4: group "nobody" is not under groups`, `tenants.d/wingtip.yaml:1: tenant: id "wingtip"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load() = %v, want it to say %q", err, want)
		}
	}
}
