package app

import (
	"context"
	"fmt"
	"time"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/tenant"
)

const (
	// warnFirst leaves the first answers of Entra and Defender time to come.
	warnFirst = time.Minute
	// warnEvery is how often what is still not as it should be is said again.
	warnEvery = 24 * time.Hour
	// warnLook is how often the clock is looked at for that.
	warnLook = time.Second
)

// announceStart tells people that this process serves from now on, and under
// which rules (threat-model O-09).
func (a *App) announceStart(ctx context.Context) error {
	at := a.now().UTC()
	return a.notify.Announce(ctx, a.tenant, "started "+at.Format(time.RFC3339Nano), cards.Notice(chat.Neutral, "mdebot has started",
		chat.Join(chat.Plain("Version "), chat.Code(Version()), chat.Plain("; configuration "), chat.Code(a.policy.Current().Hash()))))
}

// warn says what is not as it should be a minute after the start and then every
// day, until ctx ends: a warning that is read once is forgotten once (threat-model
//
func (a *App) warn(ctx context.Context) {
	next := a.now().Add(warnFirst)
	tick := time.NewTicker(warnLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if a.now().Before(next) {
			continue
		}
		next = a.now().Add(warnEvery)
		if err := a.tellWarnings(ctx); err != nil && ctx.Err() == nil {
			a.log.ErrorContext(ctx, "warnings not announced; they are in the log of the start", "error", err)
		}
	}
}

func (a *App) tellWarnings(ctx context.Context) error {
	all := a.warnings(ctx)
	if len(all) == 0 {
		return nil
	}
	lines := make([]chat.Text, len(all))
	for i, w := range all {
		lines[i] = chat.Untrusted(w)
	}
	// One message a day however many replicas say it.
	about := "warnings " + a.now().UTC().Format(time.DateOnly) + " " + a.policy.Current().Hash()
	return a.notify.Announce(ctx, a.tenant, about, cards.Notice(chat.Warning, "Allowed, but probably not meant", lines...))
}

// warnings are what the configuration, the directory and the permissions leave to
// be wished for now.
func (a *App) warnings(ctx context.Context) []string {
	current := a.policy.Current()
	all := current.Warnings()
	impossible, err := current.Unsatisfiable(ctx, a.people)
	if err != nil {
		a.log.WarnContext(ctx, "rules not checked against the directory", "error", err)
	}
	all = append(all, impossible...)
	for _, role := range a.permissions.excess() {
		all = append(all, fmt.Sprintf("granted without need: %s", role))
	}
	all = append(all, a.noPeople(ctx)...)
	if !a.cfg.Defender.ActsApart() {
		all = append(all, actsTogether)
	}
	if !a.cfg.SignIn.Enabled() {
		all = append(all, withoutSignIn)
	}
	return all
}

// maxLookedUp bounds what the daily look at people costs.
const maxLookedUp = 500

// noPeople names who is listed and is no active person of the directory: service
// principals, groups and shared accounts that are disabled never count, and an entry
// for one is a mistake (threat-model I-05).
func (a *App) noPeople(ctx context.Context) []string {
	var all []string
	listed := a.policy.Current().Book().People()
	for _, p := range listed[:min(len(listed), maxLookedUp)] {
		standing, err := a.people.Standing(ctx, p.ID)
		if err != nil {
			a.log.WarnContext(ctx, "people of mdebot.yaml not looked up in the directory", "error", err)
			return all
		}
		if standing != identity.Member {
			all = append(all, fmt.Sprintf("%s (%s) under people is no active person of the directory but %s, and may do nothing; a service, shared or guest account cannot approve", p.Name, p.ID.Object, standing))
		}
	}
	return all
}

// tellSignIn tells the ops channel that mdebot cannot use Defender as it could, or
// that this is over.
func (a *App) tellSignIn(ctx context.Context, t tenant.ID, l cards.StatusLine) {
	m := cards.Notice(chat.Danger, "Defender or Entra refuses mdebot",
		chat.Untrusted(l.Detail), chat.Plain("What needs it fails and says so; everything else goes on. This is announced again when it is over. Check the application's secret, permissions and consent in Entra."))
	if l.Good {
		m = cards.Notice(chat.Good, "Defender and Entra accept mdebot again")
	}
	if err := a.notify.Announce(ctx, t, "sign-in "+a.now().UTC().Format(time.RFC3339), m); err != nil {
		a.log.ErrorContext(ctx, "state of the sign-in not announced", "error", err)
	}
}

const withoutSignIn = "whoever takes over the chat account of an approver can approve tier 0 requests with it; set MDEBOT_PUBLIC_URL and the MDEBOT_OIDC settings, and those votes need a fresh sign-in"

const actsTogether = "the application that reads Defender also acts on machines; set MDE_ACTION_CLIENT_ID and MDE_ACTION_CLIENT_SECRET to keep the two apart"
