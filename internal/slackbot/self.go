package slackbot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slack-go/slack"
)

// errForeign reports a genuine delivery that is not for this installation.
var errForeign = errors.New("another app, workspace or enterprise")

// installation is who the bot is: deliveries for anyone else are refused.
type installation struct {
	app        string
	workspace  string
	enterprise string
	botUser    string
	botID      string
}

// holds reports whether a delivery was meant for i. Payloads of an app installed
// for a whole enterprise may lack the workspace.
func (i installation) holds(app, workspace, enterprise string) bool {
	if app == "" || app != i.app {
		return false
	}
	if enterprise != "" && enterprise != i.enterprise {
		return false
	}
	return workspace == i.workspace || i.enterprise != "" && enterprise == i.enterprise
}

// self reads the installation once and remembers it. Failures are not
// remembered; callers share one attempt.
type self struct {
	client  *atomic.Pointer[slack.Client]
	reading chan struct{} // holds one token

	mu    sync.Mutex
	known *installation
}

func newSelf(client *atomic.Pointer[slack.Client]) *self {
	s := &self{client: client, reading: make(chan struct{}, 1)}
	s.reading <- struct{}{}
	return s
}

func (s *self) get(ctx context.Context) (installation, error) {
	if i, ok := s.cached(); ok {
		return i, nil
	}
	select {
	case <-s.reading:
	case <-ctx.Done():
		return installation{}, fmt.Errorf("read the Slack installation: %w", ctx.Err())
	}
	defer func() { s.reading <- struct{}{} }()
	if i, ok := s.cached(); ok {
		return i, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	auth, err := s.client.Load().AuthTestContext(ctx)
	if err != nil {
		return installation{}, refusal("read the Slack installation", err)
	}
	// auth.test does not name the app; its bot does.
	bot, err := s.client.Load().GetBotInfoContext(ctx, slack.GetBotInfoParameters{Bot: auth.BotID})
	if err != nil {
		return installation{}, refusal("read the Slack app", err)
	}
	i := installation{app: bot.AppID, workspace: auth.TeamID, enterprise: auth.EnterpriseID, botUser: auth.UserID, botID: auth.BotID}
	if i.app == "" || i.workspace == "" || i.botUser == "" {
		return installation{}, errors.New("read the Slack installation: the answer names no app, workspace or bot; is a proxy answering?")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = &i
	return i, nil
}

// Installed asks Slack for the workspace and the scopes of the bot token.
func (b *Bot) Installed(ctx context.Context) (workspace string, scopes []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	auth, err := b.client.Load().AuthTestContext(ctx)
	if err != nil {
		return "", nil, refusal("read the Slack installation", err)
	}
	for _, s := range strings.Split(auth.Header.Get("X-OAuth-Scopes"), ",") {
		if s = strings.TrimSpace(s); s != "" {
			scopes = append(scopes, s)
		}
	}
	return auth.TeamID, scopes, nil
}

// InstalledManifest is the app's manifest as Slack has it. The token is an app
// configuration token, see
// https://docs.slack.dev/reference/methods/apps.manifest.export.
func (b *Bot) InstalledManifest(ctx context.Context, token string) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	i, err := b.self.get(ctx)
	if err != nil {
		return nil, err
	}
	m, err := b.client.Load().ExportManifestRawContext(ctx, token, i.app)
	if err != nil {
		return nil, refusal("read the Slack app's manifest", err)
	}
	return m, nil
}

func (s *self) cached() (installation, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		return installation{}, false
	}
	return *s.known, true
}
