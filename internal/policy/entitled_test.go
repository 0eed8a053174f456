package policy

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mdebot/mdebot/internal/identity"
)

// directory answers memberships from a list; a group that is not in it fails.
type directory map[string][]identity.PersonID

var errDirectory = errors.New("directory does not answer")

func (d directory) Member(_ context.Context, group DirectoryGroup, p identity.PersonID) (bool, error) {
	members, ok := d[group.Object]
	if !ok {
		return false, errDirectory
	}
	return slices.Contains(members, p), nil
}

func person(object string) identity.PersonID {
	return identity.PersonID{Tenant: testTenant, Object: object}
}

const groupsText = somePeople + `
groups:
  soc: [` + avery + `, ` + sam + `]
  leads: { entra_group: ` + entraGroup + ` }
  nobody: []
`

func TestEntitled(t *testing.T) {
	t.Parallel()
	p := mustParse(t, groupsText)
	leads := directory{entraGroup: {person(sam)}}
	tests := []struct {
		name   string
		source GroupSource
		who    string
		from   []string
		want   []string
		err    error
	}{
		{"holder of the role approver", nil, sam, nil, []string{RoleApprovers}, nil},
		{"responder without the role", nil, riley, nil, nil, nil},
		{"member of the group", nil, avery, []string{"soc"}, []string{"soc"}, nil},
		{"approver outside the group", nil, jordan, []string{"soc"}, nil, nil},
		{"group of nobody", nil, sam, []string{"nobody"}, nil, nil},
		{"group that the file no longer has", nil, sam, []string{"gone"}, nil, nil},
		{"member of a directory group and of a list", leads, sam, []string{"soc", "leads"}, []string{"soc", "leads"}, nil},
		{"directory group without a directory", nil, sam, []string{"leads"}, nil, nil},
		{"directory that fails counts as no", directory{}, sam, []string{"leads"}, nil, errDirectory},
		{"directory that fails leaves the listed group", directory{}, sam, []string{"leads", "soc"}, []string{"soc"}, errDirectory},
		{"role approver beside a group", nil, avery, []string{RoleApprovers, "soc"}, []string{RoleApprovers, "soc"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			who := identity.Person{ID: person(tt.who)}
			got, ok, err := p.Entitled(t.Context(), tt.source, who, Applied{Approvers: 1, From: tt.from}, 0)
			if !cmp.Equal(got, tt.want) || ok != (len(tt.want) > 0) || !errors.Is(err, tt.err) {
				t.Errorf("Entitled() = %v, %t, %v, want %v, %v", got, ok, err, tt.want, tt.err)
			}
		})
	}
}

func TestEntitled_goesByTheFileAndNotByTheValue(t *testing.T) {
	t.Parallel()
	p := mustParse(t, groupsText)
	for name, who := range map[string]identity.Person{
		"claims a role that the file does not give": {ID: person(riley), Roles: []identity.Role{identity.Approver}},
		"is not in the file":                        {ID: person(entraGroup), Roles: []identity.Role{identity.Approver}},
		"is nobody":                                 {Roles: []identity.Role{identity.Approver}},
	} {
		if _, ok, err := p.Entitled(t.Context(), nil, who, Applied{Approvers: 1}, MaxThen); ok || err != nil {
			t.Errorf("Entitled(person who %s) = %t, %v, want a refusal", name, ok, err)
		}
	}
}

func TestEligible_leavesTheRequesterOut(t *testing.T) {
	t.Parallel()
	p := mustParse(t, groupsText)
	people, err := p.Eligible(t.Context(), nil, Applied{Approvers: 1}, person(avery), 0)
	if err != nil {
		t.Fatalf("Eligible() = %v", err)
	}
	var names []string
	for _, who := range people {
		names = append(names, who.Name)
	}
	if want := []string{"Sam", "Jordan", "Kim"}; !cmp.Equal(names, want) {
		t.Errorf("Eligible(requester Avery) = %v, want %v", names, want)
	}
}

func TestSatisfiable(t *testing.T) {
	t.Parallel()
	p := mustParse(t, groupsText)
	both := Applied{Approvers: 2, From: []string{"soc", "leads"}}
	tests := []struct {
		name      string
		rule      Applied
		leads     []identity.PersonID
		requester string
		want      bool
	}{
		{"other people for both groups", both, []identity.PersonID{person(sam)}, riley, true},
		{"requester is the only one left for a group", both, []identity.PersonID{person(avery)}, avery, false},
		{"one person would have to stand for both groups", both, []identity.PersonID{person(sam)}, avery, false},
		{"group without members", both, nil, riley, false},
		{"more people than may vote", Applied{Approvers: 5}, nil, riley, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := p.Satisfiable(t.Context(), directory{entraGroup: tt.leads}, tt.rule, person(tt.requester), 0)
			if got != tt.want || err != nil {
				t.Errorf("Satisfiable() = %t, %v, want %t", got, err, tt.want)
			}
		})
	}
}

func TestUnsatisfiable_followsTheDirectory(t *testing.T) {
	t.Parallel()
	p := mustParse(t, groupsText+`
approvals:
  rules:
    - { name: servers, when: machine.os == "x", from: [leads] }
    - { name: rest, from: [soc] }
`)
	if got, err := p.Unsatisfiable(t.Context(), directory{entraGroup: {person(kim)}}); len(got) > 0 || err != nil {
		t.Errorf("Unsatisfiable(with a lead) = %v, %v, want none", got, err)
	}
	want := []string{`rule "servers" (line 16) cannot be satisfied: it needs 1 person besides the requester, from leads`}
	if got, err := p.Unsatisfiable(t.Context(), directory{entraGroup: nil}); !cmp.Equal(got, want) || err != nil {
		t.Errorf("Unsatisfiable(no leads) = %q, %v, want %q", got, err, want)
	}
	if got, err := p.Unsatisfiable(t.Context(), directory{}); !cmp.Equal(got, want) || !errors.Is(err, errDirectory) {
		t.Errorf("Unsatisfiable(directory down) = %q, %v, want %q and the error", got, err, want)
	}
}

func TestMemberships(t *testing.T) {
	t.Parallel()
	p := mustParse(t, groupsText)
	sam, _ := p.Book().Person(person(sam))
	got, err := p.Memberships(t.Context(), directory{entraGroup: {sam.ID}}, sam)
	if want := []string{"leads", "soc"}; !cmp.Equal(got, want) || err != nil {
		t.Errorf("Memberships(Sam) = %v, %v, want %v", got, err, want)
	}
}
