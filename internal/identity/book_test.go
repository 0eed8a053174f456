package identity

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	home  = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	other = "9188040d-6c67-4c5b-b112-36a304b66dad"
	riley = "8a1f0c52-6d3e-4b7a-9c41-2f5e8d7b6a10"
	avery = "3c7e91d4-0b2a-4f68-8e15-a4d92c6f7b21"
)

func slackAccount(workspace, account string) Principal {
	return Principal{Platform: Slack, Workspace: workspace, Account: account}
}

func teamsAccount(tenant, object string) Principal {
	return Principal{Platform: Teams, Workspace: tenant, Account: object}
}

func mustBook(t *testing.T, people ...Person) *Book {
	t.Helper()
	b, err := NewBook(people)
	if err != nil {
		t.Fatalf("NewBook() = %v", err)
	}
	return b
}

func twoPeople(t *testing.T) *Book {
	t.Helper()
	return mustBook(t,
		Person{
			ID: PersonID{home, riley}, Name: "Riley", Roles: []Role{Responder},
			Accounts: []Principal{slackAccount("T0SOC", "U0RILEY"), slackAccount("T0OPS", "W0RILEY")},
		},
		Person{ID: PersonID{home, avery}, Name: "Avery", Roles: []Role{Approver}},
	)
}

func TestResolve(t *testing.T) {
	t.Parallel()
	b := twoPeople(t)
	tests := []struct {
		name    string
		account Principal
		want    string // empty: ErrUnlinked
	}{
		{"linked Slack account", slackAccount("T0SOC", "U0RILEY"), "Riley"},
		{"second Slack account of the same person", slackAccount("T0OPS", "W0RILEY"), "Riley"},
		{"Teams account is the object itself", teamsAccount(home, riley), "Riley"},
		{"Teams account of a person without links", teamsAccount(home, avery), "Avery"},
		{"Slack account in another workspace", slackAccount("T0EVIL", "U0RILEY"), ""},
		{"Slack account in lower case", slackAccount("T0SOC", "u0riley"), ""},
		{"Slack account with a space", slackAccount("T0SOC", "U0RILEY "), ""},
		{"Slack account with a look-alike letter", slackAccount("T0SOC", "U0RILЕY"), ""},
		{"Slack account whose parts shift", slackAccount("T0SOC/U0RILEY", ""), ""},
		{"Slack account without a workspace", slackAccount("", "U0RILEY"), ""},
		{"Slack account that claims an object ID", slackAccount(home, riley), ""},
		{"Teams object of another tenant", teamsAccount(other, riley), ""},
		{"Teams object in upper case", teamsAccount(home, strings.ToUpper(riley)), ""},
		{"Teams object in braces", teamsAccount(home, "{"+riley+"}"), ""},
		{"Teams account that claims a Slack account", teamsAccount("T0SOC", "U0RILEY"), ""},
		{"Teams account without an object", teamsAccount(home, ""), ""},
		{"unknown platform", Principal{Platform: "irc", Workspace: home, Account: riley}, ""},
		{"nobody", Principal{}, ""},
		{"name and address alone", Principal{Platform: Slack, Address: "U0RILEY", Name: "Riley"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := b.Resolve(tt.account)
			if tt.want == "" {
				if !errors.Is(err, ErrUnlinked) || !got.ID.IsZero() {
					t.Errorf("Resolve(%s) = %+v, %v, want ErrUnlinked", tt.account, got, err)
				}
				return
			}
			if err != nil || got.Name != tt.want {
				t.Errorf("Resolve(%s) = %+v, %v, want %s", tt.account, got, err, tt.want)
			}
		})
	}
}

func TestResolve_accountsOfOnePersonAreOnePerson(t *testing.T) {
	t.Parallel()
	b := twoPeople(t)
	for _, account := range []Principal{slackAccount("T0SOC", "U0RILEY"), slackAccount("T0OPS", "W0RILEY"), teamsAccount(home, riley)} {
		if p, err := b.Resolve(account); err != nil || p.ID != (PersonID{home, riley}) {
			t.Errorf("Resolve(%s) = %v, %v, want the one person", account, p.ID, err)
		}
	}
}

func TestNewBook_withoutPeopleKnowsNobody(t *testing.T) {
	t.Parallel()
	b := mustBook(t)
	for _, account := range []Principal{{}, slackAccount("T0SOC", "U0RILEY"), teamsAccount(home, riley), teamsAccount("", "")} {
		if _, err := b.Resolve(account); !errors.Is(err, ErrUnlinked) {
			t.Errorf("Resolve(%s) = %v, want ErrUnlinked", account, err)
		}
	}
	if _, ok := b.Person(PersonID{}); ok || len(b.People()) != 0 {
		t.Error("an empty book has people")
	}
}

func TestNewBook_refusesWithEveryFault(t *testing.T) {
	t.Parallel()
	link := slackAccount("T0SOC", "U0RILEY")
	_, err := NewBook([]Person{
		{ID: PersonID{home, riley}, Accounts: []Principal{link}},
		{ID: PersonID{home, riley}},
		{ID: PersonID{home, avery}, Accounts: []Principal{link, slackAccount("T0SOC", "riley"), teamsAccount(home, avery)}},
		{ID: PersonID{home, strings.ToUpper(avery)}},
		{},
	})
	if err == nil {
		t.Fatal("NewBook() succeeded, want faults")
	}
	if !errors.Is(err, ErrAmbiguous) {
		t.Errorf("NewBook() = %v, want ErrAmbiguous among the faults", err)
	}
	want := []string{
		"person " + home + "/" + riley + " is listed twice",
		"person " + home + "/" + avery + ": account slack:T0SOC/U0RILEY is already linked: this chat account is linked to more than one person",
		"person " + home + "/" + avery + `: "T0SOC/riley" is no Slack account; write <workspace ID>/<user ID>, such as T0SOC/U0RILEY (copy it from the answer of /mde whoami)`,
		"person " + home + "/" + avery + ": account teams:" + home + "/" + avery + " is not linked by hand; Teams activities carry the object ID",
		`person "` + home + "/" + strings.ToUpper(avery) + `": person ID must be <tenant GUID>/<object GUID> in lower case`,
		`person "": person ID must be <tenant GUID>/<object GUID> in lower case`,
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("NewBook() faults (-want +got):\n%s", diff)
	}
}

func TestBook_cannotBeChangedThroughItsAnswers(t *testing.T) {
	t.Parallel()
	roles := []Role{Viewer}
	b := mustBook(t, Person{ID: PersonID{home, riley}, Roles: roles})
	roles[0] = Admin
	b.People()[0].Roles[0] = Admin
	p, _ := b.Person(PersonID{home, riley})
	p.Roles[0] = Admin
	q, err := b.Resolve(teamsAccount(home, riley))
	if err != nil || q.Has(Admin) {
		t.Errorf("Resolve() = %+v, %v, want a viewer still", q, err)
	}
}

func TestHas_rolesIncludeViewerAndNothingElse(t *testing.T) {
	t.Parallel()
	all := []Role{Viewer, Responder, Hunter, Approver, Admin}
	for _, held := range all {
		for _, asked := range all {
			want := held == asked || asked == Viewer
			if got := (Person{Roles: []Role{held}}).Has(asked); got != want {
				t.Errorf("%s.Has(%s) = %t, want %t", held, asked, got, want)
			}
		}
	}
	if (Person{}).Has(Viewer) {
		t.Error("a person without roles has the role viewer")
	}
}

func TestParseRole(t *testing.T) {
	t.Parallel()
	if r, err := ParseRole("hunter"); r != Hunter || err != nil {
		t.Errorf("ParseRole(hunter) = %q, %v", r, err)
	}
	for _, s := range []string{"", "Hunter", "hunter ", "owner", "*"} {
		if r, err := ParseRole(s); err == nil {
			t.Errorf("ParseRole(%q) = %q, want an error", s, r)
		}
	}
}

func TestParsePersonID(t *testing.T) {
	t.Parallel()
	id := PersonID{home, riley}
	if got, err := ParsePersonID(id.String()); got != id || err != nil {
		t.Errorf("ParsePersonID(%s) = %v, %v, want %v", id, got, err, id)
	}
	for _, s := range []string{
		"", "/", riley, home + "/", "/" + riley, home + "/" + riley + "/", home + "/" + riley + " ",
		strings.ToUpper(home) + "/" + riley, home + "\\" + riley, home + "/" + strings.ReplaceAll(riley, "-", ""),
		home + "/" + strings.Replace(riley, "8", "８", 1), home + "/" + strings.Replace(riley, "8", "g", 1),
	} {
		if got, err := ParsePersonID(s); err == nil {
			t.Errorf("ParsePersonID(%q) = %v, want an error", s, got)
		}
	}
}
