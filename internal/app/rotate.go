package app

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
)

// rotation replaces secrets that are given as files when a file changes, without a
// restart and without losing what is under way (threat-model C-06).
type rotation struct {
	app     *App
	current map[string]string    // values in force, by setting
	seen    map[string]fileStamp // by path
}

// replaceable are the settings that can change while the bot works, by the part
// that uses them.
func (r *rotation) replaceable() map[string]func(Config) error {
	a := r.app
	reading := func(c Config) error {
		var faults []error
		for _, one := range a.customers {
			faults = append(faults, one.rotate(c))
		}
		return errors.Join(faults...)
	}
	slack := func(c Config) error { return a.slack.Rotate(c.Slack) }
	all := map[string]func(Config) error{"MDE_CLIENT_SECRET": reading, "MDE_ACTION_CLIENT_SECRET": reading}
	if a.slack != nil {
		all["SLACK_BOT_TOKEN"], all["SLACK_SIGNING_SECRET"], all["SLACK_APP_TOKEN"] = slack, slack, slack
	}
	if a.teams != nil {
		all["TEAMS_APP_SECRET"] = func(c Config) error { return a.teams.Rotate(c.Teams) }
	}
	if a.signIn != nil {
		all["MDEBOT_OIDC_CLIENT_SECRET"] = func(c Config) error { return a.signIn.Rotate(c.SignIn) }
	}
	return all
}

// files are the paths that the environment and the tenants' entries name, with what
// they are now.
func (r *rotation) files() map[string]fileStamp {
	all := map[string]fileStamp{}
	for _, kv := range r.app.cfg.environ {
		name, path, _ := strings.Cut(kv, "=")
		if base, isFile := strings.CutSuffix(name, "_FILE"); isFile && slices.ContainsFunc(Settings(), func(s Setting) bool { return s.Name == base }) {
			all[path] = stampOf(path)
		}
	}
	for _, c := range r.app.customers {
		for _, path := range c.files() {
			all[path] = stampOf(path)
		}
	}
	return all
}

// run looks until ctx ends.
func (r *rotation) run(ctx context.Context) {
	r.seen, r.current = r.files(), r.app.cfg.given
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := r.files()
		if maps.Equal(now, r.seen) {
			continue
		}
		var changed []string
		for path, stamp := range now {
			if r.seen[path] != stamp {
				changed = append(changed, path)
			}
		}
		r.seen = now
		r.load(ctx, changed)
	}
}

// load takes over what the files hold now; changed are those that were written.
func (r *rotation) load(ctx context.Context, changed []string) {
	next, err := LoadConfig(ctx, r.app.cfg.environ)
	if err != nil {
		r.tell(ctx, "secrets.refused", "failed", cards.Notice(chat.Warning, "A file with a setting has faults; what was read before stays in force", chat.Untrusted(err.Error())), nil)
		return
	}
	r.app.cfg.masks.add(next.secrets)
	parts := r.replaceable()
	var replaced, restart []string
	var faults []error
	for _, s := range Settings() {
		if r.current[s.Name] == next.given[s.Name] {
			continue
		}
		rotate, can := parts[s.Name]
		if !can {
			restart = append(restart, s.Name)
			continue
		}
		if err := rotate(next); err != nil {
			faults = append(faults, err)
			continue
		}
		replaced = append(replaced, s.Name)
	}
	r.current = next.given
	for _, c := range r.app.customers {
		if !slices.ContainsFunc(c.files(), func(file string) bool { return slices.Contains(changed, file) }) {
			continue
		}
		if err := c.rotate(next); err != nil {
			faults = append(faults, err)
			continue
		}
		r.app.cfg.masks.add(c.secrets())
		replaced = append(replaced, "the credential of tenant "+c.name)
	}
	var lines []chat.Text
	if len(replaced) > 0 {
		lines = append(lines, chat.Plain("In force now: "+strings.Join(replaced, ", ")+". Nothing was interrupted."))
	}
	if len(restart) > 0 {
		lines = append(lines, chat.Plain("Changed, and in force after the next restart: "+strings.Join(restart, ", ")+"."))
	}
	for _, err := range faults {
		lines = append(lines, chat.Untrusted(err.Error()))
	}
	switch {
	case len(faults) > 0:
		r.tell(ctx, "secrets.refused", "failed", cards.Notice(chat.Warning, "Not every secret could be replaced", lines...), replaced)
	case len(lines) > 0:
		r.tell(ctx, "secrets.replaced", "ok", cards.Notice(chat.Notice, "Secrets have been replaced", lines...), append(replaced, restart...))
	}
}

func (r *rotation) tell(ctx context.Context, kind, outcome string, m chat.Message, names []string) {
	a := r.app
	about := kind + " " + a.now().UTC().Format(time.RFC3339)
	a.log.InfoContext(ctx, "files with settings have changed", "outcome", outcome, "settings", names)
	if err := errors.Join(a.record(ctx, kind, outcome, strings.Join(names, " ")), a.notify.Announce(ctx, a.tenant, about, m)); err != nil {
		a.log.ErrorContext(ctx, "replaced secrets not recorded", "error", err)
	}
}
