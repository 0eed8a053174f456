package chat

import (
	"fmt"
	"strings"

	"github.com/mdebot/mdebot/internal/identity"
)

// Conversation is a place where messages live: a channel, a group or a direct
// chat, or, with Thread, one thread in it.
type Conversation struct {
	Platform identity.Platform
	// Workspace is the Slack workspace or the Teams tenant that holds it.
	Workspace string
	// ID is the platform's ID without thread: "C…", "D…", "19:…@thread.tacv2",
	// "a:1…".
	ID string
	// Thread is the ID of the thread's first message, or empty.
	Thread string
	// Direct reports a chat of one person with the bot.
	Direct bool
}

// String is the destination form without thread, such as "slack:C0SOC".
func (c Conversation) String() string { return string(c.Platform) + ":" + c.ID }

// Ref finds a posted message again.
type Ref struct {
	Conversation Conversation
	// MessageID is the Slack ts or the Teams activity ID.
	MessageID string
}

// IsZero reports a message that was never posted.
func (r Ref) IsZero() bool { return r.MessageID == "" }

// Destination says where to post: a conversation by its ID or a person's direct
// chat by account. It is the text form of mdebot.yaml and of card rows:
//
//	slack:C0SOC                      a channel
//	slack:@T0SOC/U0RILEY             a person's direct chat
//	teams:19:abc@thread.tacv2        a channel
//	teams:@<tenant>/<object>         a person's personal chat
type Destination string

// ParseDestination checks the form of s. It does not ask any platform.
func ParseDestination(s string) (Destination, error) {
	d := Destination(s)
	platform, id, ok := strings.Cut(s, ":")
	if !ok || id == "" || strings.ContainsAny(id, " \t\r\n") {
		return "", fmt.Errorf("destination %q: write slack:C… or teams:19:…@thread.tacv2", s)
	}
	switch identity.Platform(platform) {
	case identity.Slack:
		if _, direct := d.Account(); !direct && !strings.ContainsAny(id[:1], "CGD") {
			return "", fmt.Errorf("destination %q: a Slack channel ID starts with C, G or D; copy it from the channel's details, names do not work", s)
		}
	case identity.Teams:
		if _, direct := d.Account(); !direct && !strings.HasPrefix(id, "19:") && !strings.HasPrefix(id, "a:") {
			return "", fmt.Errorf("destination %q: a Teams channel ID looks like 19:…@thread.tacv2; copy it from the channel's link", s)
		}
	default:
		return "", fmt.Errorf("destination %q: write slack: or teams: before the ID", s)
	}
	return d, nil
}

// Platform is the part before the first colon.
func (d Destination) Platform() identity.Platform {
	p, _, _ := strings.Cut(string(d), ":")
	return identity.Platform(p)
}

// ID is the conversation ID, or empty for a direct chat.
func (d Destination) ID() string {
	_, id, _ := strings.Cut(string(d), ":")
	if strings.HasPrefix(id, "@") {
		return ""
	}
	return id
}

// Account is the account whose direct chat is meant.
func (d Destination) Account() (identity.Principal, bool) {
	_, id, _ := strings.Cut(string(d), ":")
	key, ok := strings.CutPrefix(id, "@")
	if !ok {
		return identity.Principal{}, false
	}
	workspace, account, ok := strings.Cut(key, "/")
	if !ok || workspace == "" || account == "" {
		return identity.Principal{}, false
	}
	return identity.Principal{Platform: d.Platform(), Workspace: workspace, Account: account}, true
}

// DirectTo is the destination of p's direct chat.
func DirectTo(p identity.Principal) Destination {
	return Destination(string(p.Platform) + ":@" + p.Key())
}

// To is the destination of a conversation, without its thread.
func To(c Conversation) Destination { return Destination(c.String()) }
