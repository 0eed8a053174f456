package policy

import (
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/identity"
)

func TestPersonYAML(t *testing.T) {
	t.Parallel()
	slack := identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: "U0RILEY"}
	teams := identity.Principal{Platform: identity.Teams, Workspace: testTenant, Account: riley}
	if got, want := PersonYAML(teams, "Riley Chen"), "  - person: "+testTenant+"/"+riley+"\n    name: \"Riley Chen\"\n    roles: [viewer]\n"; got != want {
		t.Errorf("PersonYAML(Teams) = %q, want %q", got, want)
	}
	if got, want := PersonYAML(slack, "Riley Chen"), "  - person: <object ID of this person in Entra>\n    name: \"Riley Chen\"\n    slack: [T0SOC/U0RILEY]\n    roles: [viewer]\n"; got != want {
		t.Errorf("PersonYAML(Slack) = %q, want %q", got, want)
	}
}

func TestPersonYAML_isReadyToAdd(t *testing.T) {
	t.Parallel()
	teams := identity.Principal{Platform: identity.Teams, Workspace: testTenant, Account: riley}
	slack := identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: "U0RILEY"}
	for _, name := range []string{"Riley Chen", "José Ángel", `"; roles: [admin]`, "李雷", "x: {y: [", "# not a comment", strings.Repeat("é", 200)} {
		for _, account := range []identity.Principal{teams, slack} {
			lines := strings.Replace(PersonYAML(account, name), "<object ID of this person in Entra>", riley, 1)
			p := mustParse(t, "people:\n"+lines)
			got, err := p.Book().Resolve(account)
			if err != nil || !strings.HasPrefix(name, got.Name) || len(got.Roles) != 1 || got.Roles[0] != identity.Viewer {
				t.Errorf("PersonYAML(%s, %q) makes %+v, %v, want a viewer of that name", account.Platform, name, got, err)
			}
		}
	}
}

func TestPersonYAML_isRefusedUntilTheObjectIDIsFilledIn(t *testing.T) {
	t.Parallel()
	slack := identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: "U0RILEY"}
	if _, err := Parse("mdebot.yaml", []byte("people:\n"+PersonYAML(slack, "Riley")), Options{HomeTenant: testTenant}); err == nil {
		t.Error("Parse(lines as printed) succeeded, want a fault about the object ID")
	}
}

func TestPersonYAML_namesCannotAddLines(t *testing.T) {
	t.Parallel()
	account := identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: "U0RILEY"}
	hostile := "x\"\n    roles: [admin]\n\u2028\u0085  - person: y\xff"
	got := PersonYAML(account, hostile)
	if n := strings.Count(got, "\n"); n != 4 || strings.ContainsAny(got, "\u2028\u0085") || strings.Contains(got, "\n    roles: [admin]") {
		t.Errorf("PersonYAML(hostile name) = %q, want four lines of its own", got)
	}
	account.Account = "U0\n    roles: [admin]"
	if got := PersonYAML(account, "x"); strings.Count(got, "\n") != 4 {
		t.Errorf("PersonYAML(hostile account) = %q, want four lines of its own", got)
	}
}

func TestSource_holdsThePolicyInForce(t *testing.T) {
	t.Parallel()
	before, after := mustParse(t, ""), mustParse(t, somePeople)
	s := NewSource(before)
	if s.Current() != before {
		t.Error("Current() is not the first policy")
	}
	s.Set(after)
	if s.Current() != after {
		t.Error("Current() is not the policy that was set")
	}
}
