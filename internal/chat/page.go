package chat

import (
	"context"

	"github.com/mdebot/mdebot/internal/identity"
)

// Page is what one person finds in mdebot's own place on their platform, such as the
// Home tab in Slack: messages one below the other, each with its own buttons. Nobody
// else sees it, and it notifies nobody.
type Page []Message

// Publisher shows pages. It makes one attempt.
type Publisher interface {
	Publish(ctx context.Context, to identity.Principal, p Page) error
}
