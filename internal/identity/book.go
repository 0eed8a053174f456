package identity

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Book is the list of people in force. It is immutable and safe for concurrent
// use; a reload makes a new one. An empty book knows nobody (threat-model I-14).
type Book struct {
	people   []Person
	byID     map[PersonID]int
	accounts map[string]int // by Principal.String()
}

// NewBook indexes people. It refuses people or accounts that are not in their
// canonical form, a person listed twice and an account claimed twice
// ([ErrAmbiguous]), and reports every fault it finds, joined.
func NewBook(people []Person) (*Book, error) {
	b := &Book{
		people:   make([]Person, 0, len(people)),
		byID:     make(map[PersonID]int, len(people)),
		accounts: make(map[string]int),
	}
	var faults []error
	for _, p := range people {
		if _, err := ParsePersonID(p.ID.String()); err != nil {
			faults = append(faults, fmt.Errorf("person %q: %w", p.ID, err))
			continue
		}
		if _, ok := b.byID[p.ID]; ok {
			faults = append(faults, fmt.Errorf("person %s is listed twice", p.ID))
			continue
		}
		i := len(b.people)
		b.byID[p.ID] = i
		b.people = append(b.people, copyPerson(p))
		for _, a := range p.Accounts {
			if err := checkLink(a); err != nil {
				faults = append(faults, fmt.Errorf("person %s: %w", p.ID, err))
				continue
			}
			if _, ok := b.accounts[a.String()]; ok {
				faults = append(faults, fmt.Errorf("person %s: account %s is already linked: %w", p.ID, a, ErrAmbiguous))
				continue
			}
			b.accounts[a.String()] = i
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return b, nil
}

// Resolve tells which person is behind an account. Slack accounts need a link;
// Teams accounts are the directory object itself, so a link is never consulted
// for them. The answer is [ErrUnlinked] for accounts of nobody in the book.
// Nothing but the exact identifiers is compared.
func (b *Book) Resolve(account Principal) (Person, error) {
	switch account.Platform {
	case Teams:
		id, err := ParsePersonID(account.Key())
		if err != nil {
			return Person{}, ErrUnlinked
		}
		if p, ok := b.Person(id); ok {
			return p, nil
		}
	case Slack:
		if i, ok := b.accounts[account.String()]; ok {
			return copyPerson(b.people[i]), nil
		}
	}
	return Person{}, ErrUnlinked
}

// Person is the entry of id.
func (b *Book) Person(id PersonID) (Person, bool) {
	i, ok := b.byID[id]
	if !ok {
		return Person{}, false
	}
	return copyPerson(b.people[i]), true
}

// People lists everybody in the order they were written. The caller owns the
// result.
func (b *Book) People() []Person {
	people := make([]Person, len(b.people))
	for i, p := range b.people {
		people[i] = copyPerson(p)
	}
	return people
}

func copyPerson(p Person) Person {
	p.Roles = slices.Clone(p.Roles)
	p.Accounts = slices.Clone(p.Accounts)
	return p
}

// Slack's identifiers: workspaces start with T, Enterprise Grid organisations
// with E, accounts with U or W.
var slackLink = regexp.MustCompile(`^[TE][A-Z0-9]{1,31}/[UW][A-Z0-9]{1,31}$`)

// ParseSlackAccount reads an account as people write it in mdebot.yaml,
// "T0SOC/U0RILEY". It accepts the canonical form alone.
func ParseSlackAccount(s string) (Principal, error) {
	if !slackLink.MatchString(s) {
		return Principal{}, fmt.Errorf("%q is no Slack account; write <workspace ID>/<user ID>, such as T0SOC/U0RILEY (copy it from the answer of /mde whoami)", s)
	}
	workspace, account, _ := strings.Cut(s, "/")
	return Principal{Platform: Slack, Workspace: workspace, Account: account, Address: account}, nil
}

func checkLink(a Principal) error {
	if a.Platform != Slack {
		return fmt.Errorf("account %s is not linked by hand; Teams activities carry the object ID", a)
	}
	_, err := ParseSlackAccount(a.Key())
	return err
}

// ParseRole reads a role by its name.
func ParseRole(s string) (Role, error) {
	switch r := Role(s); r {
	case Viewer, Responder, Hunter, Approver, Admin:
		return r, nil
	default:
		return "", fmt.Errorf("unknown role %q; the roles are viewer, responder, hunter, approver and admin", s)
	}
}
