package approvals

import (
	"context"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Links tells who is behind an account: by book, which is the file in force, and
// by what people linked themselves. It reads with db alone, so that a claim judges
// what commits with it. Errors that are an [identity.ErrUnlinked] mean nobody.
type Links interface {
	Resolve(ctx context.Context, db durable.DBTX, t tenant.ID, book *identity.Book, account identity.Principal) (identity.Link, error)
}

// StepUps tells who has signed in afresh for a request, just before a time. It
// reads with db alone.
type StepUps interface {
	SteppedUp(ctx context.Context, db durable.DBTX, t tenant.ID, person identity.PersonID, digest string, at time.Time) (bool, error)
}

// fileLinks knows the file alone.
type fileLinks struct{}

func (fileLinks) Resolve(_ context.Context, _ durable.DBTX, _ tenant.ID, book *identity.Book, account identity.Principal) (identity.Link, error) {
	return book.LinkOf(account)
}

// Change says what happened to a request.
type Change string

// The changes.
const (
	ChangeOpened     Change = "opened"
	ChangeVote       Change = "vote" // an approval that does not complete the quorum
	ChangeApproved   Change = "approved"
	ChangeReminder5  Change = "reminder-5"  // undecided for 5 minutes
	ChangeReminder15 Change = "reminder-15" // undecided for 15 minutes
	// ChangeAskedNext: the rule has fallen back to a further group, of the step that
	// Request.Asked says.
	ChangeAskedNext Change = "asked-next"
	// ChangeTarget: a target moved, and the request as a whole is not resolved.
	ChangeTarget Change = "target"
	// ChangeNeedsPeople: a target stays unknown after the last look and waits for
	// a settlement.
	ChangeNeedsPeople Change = "needs-people"
	// ChangeFreeze: a freeze began or ended, which the card must show.
	ChangeFreeze Change = "freeze"
	// ChangeResolved: the request reached a final state, which Request.State names.
	ChangeResolved Change = "resolved"
)

// Announcer tells people about requests. It is called inside the transaction of
// every change, with the request as it will be when that commits, so it only
// records what to send; an error undoes the change.
type Announcer interface {
	RequestChanged(ctx context.Context, tx durable.Tx, r Request, c Change) error
	// FreezeChanged tells that f has begun, or that the request endedBy ends it.
	FreezeChanged(ctx context.Context, tx durable.Tx, f Freeze, endedBy *Request) error
}

// KindExecute and KindFollow are the job kinds of containment. Their job ID is
// a [Ref]'s text.
const (
	KindExecute = "execute"
	KindFollow  = "follow"
)
