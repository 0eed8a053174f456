package defender

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// What callers branch on. Use errors.Is; the concrete *APIError is reachable
// through errors.As.
var (
	// ErrNotFound: Defender does not know the ID (yet: a fresh machine action may
	// take two minutes to appear).
	ErrNotFound = errors.New("not found")
	// ErrForbidden: the application lacks a permission or the token has the wrong
	// audience. Trying again does not help.
	ErrForbidden = errors.New("forbidden")
	// ErrUnauthorized: Defender or Entra refused the application itself, also
	// after one fresh token.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrAlreadyActive: an action of the same kind is already under way on the
	// machine; look for it, it is neither a failure nor a success.
	ErrAlreadyActive = errors.New("an action of this kind is already active")
	// ErrInvalid: Defender refused the input; the message says why.
	ErrInvalid = errors.New("refused as invalid")
	// ErrUnclear: no answer was seen to a call that may have taken effect. It is
	// only returned by [Actor]; look before trying again (reliability P-2, P-3).
	ErrUnclear = errors.New("no clear answer")
	// ErrUnavailable: Defender, Entra or the way there is down.
	ErrUnavailable = errors.New("unavailable")
)

// APIError is an error answer of Defender, Graph or Entra. It holds no token and
// no query string.
type APIError struct {
	Op         string // "list alerts", "isolate machine", …
	StatusCode int
	Code       string // as the service sent it
	Message    string // free text from the service: outside text
	RequestID  string // what Microsoft support asks for
	Permission string // hint: the permission a 403 names, or ""
	kind       error
}

func (e *APIError) Error() string {
	return fmt.Sprintf("%s: HTTP %d %s", e.Op, e.StatusCode, cmp.Or(e.Code, http.StatusText(e.StatusCode)))
}

// Unwrap gives the sentinel that says what to do about it.
func (e *APIError) Unwrap() error { return e.kind }

// SignInError reports that there is no token: the application was refused, or its
// proof cannot be used. Sentence and Next are for people.
type SignInError struct {
	Op             string
	Sentence, Next string
	// NotHere: Entra does not know the application in this tenant.
	NotHere bool
	Err     error
}

func (e *SignInError) Error() string {
	return fmt.Sprintf("%s: %s (%v)", e.Op, e.Sentence, e.Err)
}

// Unwrap gives the sentinel that says what to do about it, and the *[APIError]
// or *[ThrottledError] where there was an answer.
func (e *SignInError) Unwrap() error { return e.Err }

// ThrottledError reports that the tenant's quota is used up. The call had no
// effect, and the client refuses further calls of that family by itself until
// RetryAfter has passed.
type ThrottledError struct {
	Op         string
	RetryAfter time.Duration
}

func (e *ThrottledError) Error() string {
	return fmt.Sprintf("%s: throttled, try again in %s", e.Op, e.RetryAfter.Round(time.Second))
}

// MismatchError reports that an answer was about something else than what was
// asked. Of [Actor] it is also ErrUnclear: something was done.
type MismatchError struct {
	Op, Field, Want, Got string
	kind                 error
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s: the answer has %s %q, not %q", e.Op, e.Field, cut(e.Got, maxCode), e.Want)
}

// Unwrap gives the sentinel that says what to do about it.
func (e *MismatchError) Unwrap() error { return e.kind }

// RecordError reports one record of a list that could not be read. The list goes
// on after it.
type RecordError struct {
	Op string
	ID string // "" when that could not be read either
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("%s: a record (ID %q) could not be read", e.Op, cut(e.ID, maxCode))
}
