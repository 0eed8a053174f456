package chat

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Post is one message to be posted.
type Post struct {
	To Destination
	// Thread is the message to reply to, or empty.
	Thread string
	// Broadcast shows a threaded reply in the channel as well.
	Broadcast bool
	Message   Message
	// Delivery identifies this post for [Poster.Find] after a crash.
	Delivery string
	// Admits says who besides members may read this post, because mdebot.yaml says
	// so by name. Nobody else from outside may (threat-model S-14).
	Admits Readers
}

// Readers are the people of a conversation who are no full members.
type Readers struct {
	// Guests of the own workspace or tenant.
	Guests bool
	// Strangers are of other organisations. Who admits them admits guests too.
	Strangers bool
}

// Admit reports whether everybody found in a conversation is admitted.
func (r Readers) Admit(found Readers) bool {
	return r.Strangers || !found.Strangers && (r.Guests || !found.Guests)
}

// Poster sends messages to one platform. Implementations make one attempt; who
// calls decides about retries and pace. They are safe for concurrent use.
type Poster interface {
	// Post posts and returns where the message is.
	Post(ctx context.Context, p Post) (Ref, error)
	// Edit redraws a posted message. It notifies nobody.
	Edit(ctx context.Context, ref Ref, m Message) error
	// Find looks for a post that may have been made although no answer was seen.
	// Where the platform cannot tell it returns found = false, which is no proof
	// of absence.
	Find(ctx context.Context, p Post, since time.Time) (ref Ref, found bool, err error)
}

// ClickEditor is a [Poster] that can redraw a message, for everyone who sees it, by
// what came with a click on one of its buttons, apart from the platform's limit on
// edits.
type ClickEditor interface {
	Poster
	// Clicked reports whether EditClicked would be tried for ref.
	Clicked(ref Ref) bool
	// EditClicked is one attempt. After an error Clicked is false until the next click,
	// and the message is for [Poster.Edit]. It does not tell reliably that a message is
	// gone, so not all edits go this way.
	EditClicked(ctx context.Context, ref Ref, m Message) error
}

// Why a message could not be posted or edited. Errors that are none of these may
// pass when tried again.
var (
	// ErrNotThere: the conversation does not exist, is archived, or the bot is not
	// in it. Trying again helps only after a person has acted.
	ErrNotThere = errors.New("the conversation cannot be reached")
	// ErrGone: the message to edit no longer exists or is not ours.
	ErrGone = errors.New("the message no longer exists")
	// ErrTooBig: the platform refused the message for its size or form.
	ErrTooBig = errors.New("the message does not fit")
	// ErrCredentials: the platform refused the bot itself.
	ErrCredentials = errors.New("the platform refused the bot's credentials")
	// ErrUnclear: no answer was seen; the message may have been posted.
	ErrUnclear = errors.New("no answer was seen")
	// ErrForbiddenPlace: people from outside read the conversation, and mdebot.yaml
	// does not name it for that (threat-model S-14). See [ForbiddenError].
	ErrForbiddenPlace = errors.New("people from outside read the conversation")
	// ErrReadersUnknown: nobody can tell now who reads the conversation, so that
	// nothing was posted there.
	ErrReadersUnknown = errors.New("who reads the conversation cannot be found out")
)

// ForbiddenError is [ErrForbiddenPlace] with who was found.
type ForbiddenError struct {
	Place Destination
	Found Readers
}

func (e *ForbiddenError) Error() string {
	if e.Found.Strangers {
		return fmt.Sprintf("%s is shared with people of other organisations", e.Place)
	}
	return fmt.Sprintf("%s holds guests", e.Place)
}

// Unwrap is [ErrForbiddenPlace].
func (*ForbiddenError) Unwrap() error { return ErrForbiddenPlace }

// ThrottledError reports that the platform asked to wait. Nothing was posted.
type ThrottledError struct {
	RetryAfter time.Duration
}

func (e *ThrottledError) Error() string {
	return fmt.Sprintf("the platform asks to wait %s", e.RetryAfter)
}
