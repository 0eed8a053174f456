package anchor

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/chat"
)

// conversation posts anchors where people can see them. It is never read: what
// the bot posted it could also have edited.
type conversation struct {
	to     chat.Destination
	poster chat.Poster
}

func (c conversation) String() string { return string(c.to) }

func (conversation) Every() time.Duration { return hourly }

func (c conversation) Send(ctx context.Context, a audit.Anchor) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	_, err := c.poster.Post(ctx, chat.Post{
		To: c.to, Delivery: fmt.Sprintf("anchor-%s-%d", a.Tenant, a.Seq), Message: messageOf(a),
		Admits: chat.Readers{Guests: true}, // a hash and a count tell nobody anything
	})
	return err
}

func messageOf(a audit.Anchor) chat.Message {
	m := chat.Message{
		Title: chat.Plain("Audit log anchored"),
		Facts: []chat.Fact{
			{Label: "Tenant", Value: chat.Code(string(a.Tenant))},
			{Label: "Records", Value: chat.Plain(strconv.FormatInt(a.Seq, 10))},
			{Label: "Hash", Value: chat.Code(a.Hash)},
			{Label: "At", Value: chat.At(a.At)},
		},
		Note: chat.Plain("Compare with: mdebot audit verify. A log that was cut or written again does not contain this hash."),
	}
	if a.Signature != "" {
		m.Facts = append(m.Facts, chat.Fact{Label: "Signature", Value: chat.Code(a.Signature)})
	}
	return m
}
