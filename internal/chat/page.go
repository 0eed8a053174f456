package chat

import (
	"context"

	"github.com/mdebot/mdebot/internal/identity"
)

// Page is what one person finds in mdebot's own place on their platform: the Home tab
// in Slack, the tab Requests in Teams. It is messages one below the other. In Slack each
// has its own buttons; in Teams a browser draws it, and it has none that act. Nobody else
// sees it, and it notifies nobody.
type Page []Message

// Publisher shows pages. It makes one attempt.
type Publisher interface {
	Publish(ctx context.Context, to identity.Principal, p Page) error
}
