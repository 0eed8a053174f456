package notify

import (
	"context"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Tell posts a message to places when tx commits. about names what it is about;
// the same about again edits the earlier message. Places of a platform that is not
// configured are left out.
func (n *Notifier) Tell(ctx context.Context, tx durable.Tx, t tenant.ID, about string, m chat.Message, to ...chat.Destination) error {
	seen := map[chat.Destination]bool{"": true}
	var places []chat.Destination
	for _, d := range to {
		if !seen[d] && n.posters[d.Platform()] != nil {
			places = append(places, d)
		}
		seen[d] = true
	}
	return n.notice(ctx, tx, t, about, m, places...)
}

// DirectChats are all places where a person can be reached alone.
func (n *Notifier) DirectChats(p identity.Person) []chat.Destination { return n.directChats(p) }
