package identity

import (
	"fmt"
	"time"
)

// How is how an account came to stand for a person.
type How string

// The ways. Whatever an account's name or e-mail address says is none of them.
const (
	ByFile      How = "file"       // mdebot.yaml names the account
	ByDirectory How = "directory"  // the account is the directory object: Teams
	BySignIn    How = "sign-in"    // its owner signed in to the directory
	ByTeamsCode How = "teams-code" // its owner confirmed it in Teams
)

// Link is an account with the person behind it, and why.
type Link struct {
	Person Person
	How    How
	// Since is when it was linked; zero for [ByFile] and [ByDirectory]. What the
	// account said earlier was said by somebody else.
	Since time.Time
	// CountsFrom is from when approvals through the account count; zero is always
	// (threat-model I-07).
	CountsFrom time.Time
	// ConfirmedBy is the second person who made it count earlier, or nobody.
	ConfirmedBy PersonID
}

// ErrUnlisted reports an account that is linked to a directory object which
// mdebot.yaml does not name. It is an [ErrUnlinked].
var ErrUnlisted = fmt.Errorf("linked to somebody whom mdebot.yaml does not name: %w", ErrUnlinked)

// LinkOf is who is behind an account by the file alone; errors are those of
// [Book.Resolve].
func (b *Book) LinkOf(account Principal) (Link, error) {
	person, err := b.Resolve(account)
	if err != nil {
		return Link{}, err
	}
	how := ByFile
	if account.Platform == Teams {
		how = ByDirectory
	}
	return Link{Person: person, How: how}, nil
}
