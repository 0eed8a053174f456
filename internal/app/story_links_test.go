package app

import (
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

// pastes puts text into somebody's compose box in Teams, and returns what people read of
// the preview, or "".
func (s *story) pastes(who sandbox.Person, place, text string) string {
	s.Helper()
	card, err := s.world.Teams.Paste(s.Context(), who.Object, place, text)
	if err != nil {
		s.Fatalf("%s pastes %s: %v", who.Name, text, err)
	}
	if card == nil {
		return ""
	}
	return readable(card)
}

func TestStory_addressesOfThePortalArePreviewedInTeams(t *testing.T) {
	t.Parallel()
	yaml := strings.Replace(sandbox.PolicyYAML(), "readers: [", `readers: ["teams:19:guests@thread.v2", `, 1)
	s := newStoryUnder(t, yaml, sandbox.Options{})
	const place = sandbox.TeamsSOC
	machine := s.machine("ws-011.corp.contoso.com")
	alert, err := s.world.Tenant.RaiseAlert(machine.ID, "High", "Credential <at>all</at> [dumping](https://evil.example)")
	if err != nil {
		t.Fatal(err)
	}
	portal := s.bot.defender.Portal()
	link := portal.Machine(machine.ID)
	s.world.Teams.AddGroupChat(teamssim.GroupChat{
		Tenant: sandbox.TenantID, ID: "19:guests@thread.v2", Name: "With a guest", Members: []string{sandbox.Riley.Object, sandbox.Gale.Object}, Installed: true,
	})

	if got := s.pastes(sandbox.Riley, place, "look at "+link); !containsAll(got, []string{"Machine ws-011", "Windows11", "shows the rest"}) {
		t.Errorf("the preview of a machine is %q", got)
	}
	if got := s.pastes(sandbox.Avery, place, portal.Alert(alert.ID)); !containsAll(got, []string{"High alert", "Credential <at>all</at>", "[dumping](https[:]//evil.example)"}) {
		t.Errorf("the preview of an alert is %q", got)
	}
	for name, c := range map[string]struct {
		who   sandbox.Person
		place string
		text  string
	}{
		"in a channel that is not for readers": {sandbox.Riley, sandbox.TeamsApprovals, link},
		"where a guest reads":                  {sandbox.Riley, "19:guests@thread.v2", link},
		"in the chat with the bot":             {sandbox.Riley, s.teams().direct(sandbox.Riley), link},
		"by somebody who is not linked":        {sandbox.Noor, place, link},
		"of another tenant":                    {sandbox.Riley, place, strings.Replace(link, sandbox.TenantID, sandbox.CustomerID, 1)},
		"of a machine that does not exist":     {sandbox.Riley, place, portal.Machine(strings.Repeat("0", 40))},
		"of a page that says nothing":          {sandbox.Riley, place, "https://security.microsoft.com/advanced-hunting?query=1"},
		"with somebody's name in it":           {sandbox.Riley, place, strings.Replace(link, "https://", "https://riley@", 1)},
		"without TLS":                          {sandbox.Riley, place, strings.Replace(link, "https://", "http://", 1)},
		"with a port":                          {sandbox.Riley, place, strings.Replace(link, ".com/", ".com:444/", 1)},
	} {
		if got := s.pastes(c.who, c.place, c.text); got != "" {
			t.Errorf("%s there is a preview: %s", name, got)
		}
	}

	// The card goes out with the message of whoever wrote it, for all to see.
	s.teams().write(sandbox.Riley, place, "help, and look at "+link)
	s.sees(s.teams(), sandbox.Noor, place, "look at", "Machine ws-011")
	if n := len(s.audited("command.refused")); n != 0 {
		t.Errorf("%d refusals are recorded of people who asked for nothing", n)
	}

	// A channel is shown only so much.
	for range 12 {
		s.pastes(sandbox.Riley, place, link)
	}
	if got := s.pastes(sandbox.Riley, place, link); got != "" {
		t.Errorf("after a dozen there is still a preview: %s", got)
	}
}

// looksFor types text into the search box of the app at a message that somebody writes.
func (s *story) looksFor(who sandbox.Person, place, text string) teamssim.Results {
	s.Helper()
	got, err := s.world.Teams.Query(s.Context(), who.Object, place, "machine", text)
	if err != nil {
		s.Fatalf("%s looks for %s: %v", who.Name, text, err)
	}
	return got
}

// A machine is put into a message where an address of it would be previewed, and nowhere
// else; whoever gets none is told why.
func TestStory_machineIsPutIntoAMessageInTeams(t *testing.T) {
	t.Parallel()
	yaml := strings.Replace(sandbox.PolicyYAML(), "readers: [", `readers: ["teams:19:guests@thread.v2", `, 1)
	s := newStoryUnder(t, yaml, sandbox.Options{})
	const place = sandbox.TeamsSOC
	s.world.Teams.AddGroupChat(teamssim.GroupChat{
		Tenant: sandbox.TenantID, ID: "19:guests@thread.v2", Name: "With a guest", Members: []string{sandbox.Riley.Object, sandbox.Gale.Object}, Installed: true,
	})

	if got := s.looksFor(sandbox.Riley, place, ""); !strings.Contains(got.Note, "Type the beginning of a machine's name") {
		t.Errorf("the empty box says %+v", got)
	}
	if got := s.looksFor(sandbox.Riley, place, "ws-0"); len(got.List) != 10 {
		t.Errorf("ws-0 finds %d machines, want the first ten of them", len(got.List))
	}
	got := s.looksFor(sandbox.Riley, place, "ws-011")
	if len(got.List) != 1 || !strings.HasPrefix(got.List[0].Title, "Machine ws-011") || !containsAll(got.List[0].Text, []string{"OS Windows11", "Last seen "}) {
		t.Fatalf("ws-011 finds %+v", got)
	}
	if _, err := s.world.Teams.Insert(s.Context(), sandbox.Riley.Object, place, "have a look at this one", "", got.List[0]); err != nil {
		t.Fatal(err)
	}
	s.sees(s.teams(), sandbox.Noor, place, "have a look", "Machine ws-011", "Windows11")

	for name, c := range map[string]struct {
		who   sandbox.Person
		place string
		text  string
		want  string
	}{
		"in a channel that is not for readers": {sandbox.Riley, sandbox.TeamsApprovals, "ws-011", "names under readers"},
		"where a guest reads":                  {sandbox.Riley, "19:guests@thread.v2", "ws-011", "people from outside"},
		"in the chat with the bot":             {sandbox.Riley, s.teams().direct(sandbox.Riley), "ws-011", "Not in a chat with mdebot"},
		"by somebody who is not linked":        {sandbox.Noor, place, "ws-011", "linked account"},
		"of a machine that does not exist":     {sandbox.Riley, place, "ws-999", "You see no machine"},
		"of far too much":                      {sandbox.Riley, place, strings.Repeat("ws", 100), "Type the beginning"},
	} {
		if got := s.looksFor(c.who, c.place, c.text); got.List != nil || !strings.Contains(got.Note, c.want) {
			t.Errorf("%s: %+v, want nothing and %q", name, got, c.want)
		}
	}
	if got, err := s.world.Teams.Query(s.Context(), sandbox.Riley.Object, place, "isolate", "ws-011"); err != nil || !strings.Contains(got.Note, "another version") {
		t.Errorf("a command that there is not: %+v, %v", got, err)
	}
	if n := len(s.audited("command.refused")); n != 0 {
		t.Errorf("%d refusals are recorded of people who were typing", n)
	}
}

// Of several tenants, a place finds the machines of the one that it is bound to, and one
// that is bound to none finds nothing.
func TestStory_machinesOfSeveralTenantsInTeams(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{Customer: true})
	s.halt()
	const ours, unbound = sandbox.TeamsSOC, sandbox.TeamsOps
	yaml := strings.Replace(s.world.PolicyYAML(), "readers: [", `readers: ["teams:`+unbound+`", `, 1)
	s.writePolicy(strings.Replace(yaml, `      - "teams:`+unbound+`"`+"\n", "", 1))
	s.start()
	theirs := s.world.Fabrikam.Machines()[0]
	if got := s.looksFor(sandbox.Riley, ours, "ws-011"); len(got.List) != 1 || !containsAll(got.List[0].Text, []string{"Tenant contoso"}) {
		t.Errorf("ws-011 finds %+v", got)
	}
	if got := s.looksFor(sandbox.Riley, ours, theirs.ID); got.List != nil {
		t.Errorf("another tenant's machine is found: %+v", got)
	}
	if got := s.looksFor(sandbox.Riley, unbound, "ws-011"); got.List != nil || !strings.Contains(got.Note, "readers") {
		t.Errorf("where no tenant is bound: %+v", got)
	}
}
