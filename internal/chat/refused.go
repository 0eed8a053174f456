package chat

import (
	"context"

	"github.com/mdebot/mdebot/internal/identity"
)

// Refused is an authentic delivery that was not taken. It is told to whoever keeps
// the record, from the path that acknowledges: the listener must not wait.
type Refused struct {
	// By is who it says it is from; nothing of it has been looked up.
	By  identity.Principal
	Why RefusedWhy
}

// RefusedWhy says why a delivery was not taken.
type RefusedWhy string

// The reasons.
const (
	// RefusedForeign: it is for another app, workspace or tenant.
	RefusedForeign RefusedWhy = "foreign"
	// RefusedRepeated: it was delivered before.
	RefusedRepeated RefusedWhy = "repeated"
)

// RefusedListener is told of refused deliveries. Nil means nobody.
type RefusedListener func(context.Context, Refused)

// Tell tells l, if there is one.
func (l RefusedListener) Tell(ctx context.Context, by identity.Principal, why RefusedWhy) {
	if l != nil {
		l(ctx, Refused{By: by, Why: why})
	}
}
