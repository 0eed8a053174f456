package identity

import "context"

// People tells the standing of people in their own directory, whichever account
// they use. Answers are at most five minutes old, and a failed look-up is an
// error, never a Member.
type People interface {
	Standing(ctx context.Context, p PersonID) (Standing, error)
}
