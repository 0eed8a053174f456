package slackbot

import (
	"context"
	"errors"
	"fmt"

	"github.com/slack-go/slack"

	"github.com/mdebot/mdebot/internal/identity"
)

// Standing implements [identity.Directory] through users.info. Answers are at
// most four minutes old.
func (b *Bot) Standing(ctx context.Context, p identity.Principal) (identity.Standing, error) {
	if p.Platform != identity.Slack || p.Account == "" || p.Workspace == "" {
		// In shared channels Slack does not always say whose account acts.
		return identity.Unknown, fmt.Errorf("standing of %s: no Slack account", p)
	}
	key := identity.Principal{Platform: p.Platform, Workspace: p.Workspace, Account: p.Account}
	if s, ok := b.standing.get(key); ok {
		return s, nil
	}
	me, err := b.self.get(ctx)
	if err != nil {
		return identity.Unknown, err
	}
	standing, err := b.lookUp(ctx, me, p)
	if err != nil {
		return identity.Unknown, err
	}
	b.standing.put(key, standing)
	return standing, nil
}

func (b *Bot) lookUp(ctx context.Context, me installation, p identity.Principal) (identity.Standing, error) {
	user, err := b.client.Load().GetUserInfoContext(ctx, p.Account)
	var refused slack.SlackErrorResponse
	switch {
	case errors.As(err, &refused) && (refused.Err == "user_not_found" || refused.Err == "user_not_visible"):
		return identity.Outsider, nil
	case err != nil:
		return identity.Unknown, refusal("look up a Slack account", err)
	case user.ID != p.Account:
		return identity.Unknown, errors.New("look up a Slack account: the answer is about nobody asked for; is a proxy answering?")
	}
	return standingOf(user, p, me), nil
}

func standingOf(u *slack.User, p identity.Principal, me installation) identity.Standing {
	switch {
	case u.Deleted:
		return identity.Inactive
	case u.IsBot, u.IsAppUser, u.IsWorkflowBot, u.IsConnectorBot, u.ID == "USLACKBOT":
		return identity.Automaton
	case u.IsStranger, !ours(u, p, me):
		return identity.Outsider
	case u.IsRestricted, u.IsUltraRestricted:
		return identity.Guest
	}
	return identity.Member
}

// ours reports whether the account lives in the workspace that it acted for and
// that workspace is the bot's, or one of the same enterprise.
func ours(u *slack.User, p identity.Principal, me installation) bool {
	if u.TeamID == p.Workspace && p.Workspace == me.workspace {
		return true
	}
	return me.enterprise != "" && u.Enterprise.EnterpriseID == me.enterprise
}
