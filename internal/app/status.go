package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/notify"
)

// Status implements commands.StatusSource.
func (a *App) Status(ctx context.Context) []cards.StatusLine {
	lines := append([]cards.StatusLine{{Part: "mdebot", Good: true, Detail: Version()}, a.databaseLine(ctx)}, a.parts.lines()...)
	watching, err := a.notify.Health(ctx, a.tenant)
	switch off := a.permissions.without(defender.PermissionAlertRead); {
	case off != "":
		lines = append(lines, cards.StatusLine{Part: "Alerts from Defender", Good: true, Detail: off})
	case err != nil:
		lines = append(lines, cards.StatusLine{Part: "Alerts from Defender", Detail: "the database cannot be read"})
	default:
		lines = append(lines, watchingLine(watching, a.now()))
	}
	lines = append(lines, a.freezeLine(ctx), a.anchorLine())
	if err := a.permissions.problem(); err != nil {
		lines = append(lines, cards.StatusLine{Part: "Defender sign-in", Detail: defender.Reason(err)})
	} else {
		lines = append(lines, cards.StatusLine{Part: "Defender sign-in", Good: true})
	}
	lines = append(lines, a.tenantLines(ctx)...)
	lines = append(lines, a.expiry.lines()...)
	lines = append(lines, a.actingLine(), a.misuseLine(ctx), a.skew.line())
	lines = append(lines, a.schedulesLines(ctx)...)
	pending, err := a.notify.Pending(ctx)
	if err != nil {
		return append(lines, cards.StatusLine{Part: "Messages", Detail: "the database cannot be read"})
	}
	return append(lines, pendingLine(pending, a.now()), a.pagingLine(ctx),
		cards.StatusLine{Part: "Configuration", Good: true, Detail: "hash " + a.policy.Current().Hash()[:12]})
}

// mixedVersions says that a replica of another version shares the database: two
// versions may judge one approval differently, so neither acts before the other has
// left.
func (a *App) mixedVersions(ctx context.Context) string {
	other, err := a.store.OtherVersion(ctx)
	switch {
	case err != nil:
		return "the versions of the replicas cannot be read"
	case other != "":
		return "a replica of version " + other + " is at work; this one is " + Version()
	}
	return ""
}

func (a *App) freezeLine(ctx context.Context) cards.StatusLine {
	l := cards.StatusLine{Part: "Actions", Good: true, Detail: "not frozen"}
	if why := a.mixedVersions(ctx); why != "" {
		l.Good, l.Detail = false, "approved actions wait: "+why
	}
	f, err := a.approvals.Frozen(ctx, a.tenant)
	switch {
	case err != nil:
		l.Good, l.Detail = false, "the database cannot be read"
	case f.On():
		l.Good, l.Detail = false, fmt.Sprintf("frozen by %s since %s: %s", f.ByName, f.Since.Format("2006-01-02 15:04 UTC"), f.Reason)
	}
	return l
}

// actingLine says which application isolates, and what is granted without need.
func (a *App) actingLine() cards.StatusLine {
	l := cards.StatusLine{Part: "Acting application", Good: true, Detail: "apart from the one that reads"}
	if !a.cfg.Defender.ActsApart() {
		l.Detail = "the one that reads; MDE_ACTION_CLIENT_ID keeps them apart"
	}
	if excess := a.permissions.excess(); len(excess) > 0 {
		l.Good, l.Detail = false, "granted without need: "+strings.Join(excess, ", ")
	}
	return l
}

// misuseLine says how long ago Defender's machine actions were compared with
// those that were approved here.
func (a *App) misuseLine(ctx context.Context) cards.StatusLine {
	l := cards.StatusLine{Part: "Watch for foreign actions"}
	if off := a.permissions.without(defender.PermissionMachineRead); off != "" {
		l.Good, l.Detail = true, off
		return l
	}
	last, err := a.misuse.LastLook(ctx)
	switch ago := a.now().Sub(last); {
	case err != nil:
		l.Detail = "the database cannot be read"
	case last.IsZero():
		l.Detail = "not looked yet"
	default:
		l.Good, l.Detail = ago < 5*time.Minute, fmt.Sprintf("last good look %s ago", ago.Round(time.Second))
	}
	return l
}

// pagingLine says whether somebody can be woken, and what for.
func (a *App) pagingLine(ctx context.Context) cards.StatusLine {
	l := cards.StatusLine{Part: "On-call page", Good: true}
	p, err := a.notify.Pagings(ctx)
	switch {
	case err != nil:
		l.Good, l.Detail = false, "the database cannot be read"
	case !p.On:
		l.Detail = "not set: nobody is woken; notify.page in mdebot.yaml"
	case p.Problem != "":
		l.Good, l.Detail = false, p.Problem
	case p.Open == 0:
		l.Detail = "nothing to wake anybody for"
	default:
		l.Detail = fmt.Sprintf("somebody was woken for %d matters that are not over", p.Open)
	}
	return l
}

// schedulesLines say whether the hunts that run by themselves do, where there are any.
func (a *App) schedulesLines(ctx context.Context) []cards.StatusLine {
	l := cards.StatusLine{Part: "Scheduled hunts", Good: true}
	count := 0
	var failing []string
	for _, c := range a.customers {
		all, err := a.notify.Schedules(ctx, c.id)
		if err != nil {
			l.Good, l.Detail = false, "the database cannot be read"
			return []cards.StatusLine{l}
		}
		count += len(all)
		for _, s := range all {
			if s.FailingTold {
				failing = append(failing, strings.TrimSpace(c.name+" "+s.Name)+" since "+s.Failing.Format("2006-01-02 15:04 UTC")+": "+s.Problem)
			}
		}
	}
	switch {
	case count == 0:
		return nil
	case len(failing) > 0:
		l.Good, l.Detail = false, strings.Join(failing, " ")
	default:
		l.Detail = fmt.Sprintf("%d, none fails", count)
	}
	return []cards.StatusLine{l}
}

func watchingLine(h notify.Health, now time.Time) cards.StatusLine {
	l := cards.StatusLine{Part: "Alerts from Defender", Good: !h.Blind && h.Problem == "", Detail: h.Problem}
	switch {
	case h.LastGood.IsZero():
		l.Detail = "not read yet"
	case h.Problem == "":
		l.Detail = fmt.Sprintf("last good look %s ago", now.Sub(h.LastGood).Round(time.Second))
		if !h.LastAlert.IsZero() {
			l.Detail += fmt.Sprintf(", newest alert %s ago", now.Sub(h.LastAlert).Round(time.Minute))
		}
	}
	return l
}

// waitingLong is from when a message that waits is worth a look.
const waitingLong = time.Minute

func pendingLine(p notify.PendingMessages, now time.Time) cards.StatusLine {
	l := cards.StatusLine{Part: "Messages", Good: true, Detail: "none waits"}
	if p.Count == 0 {
		return l
	}
	waits := now.Sub(p.Oldest).Round(time.Second)
	l.Good = waits < waitingLong && p.Problem == ""
	l.Detail = fmt.Sprintf("%d wait, the oldest for %s", p.Count, waits)
	if p.Problem != "" {
		l.Detail += ": " + p.Problem
	}
	return l
}

// degraded names the parts that do not work, for readiness. The listener has no
// login, so no detail is given.
func (a *App) degraded() []string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var bad []string
	for _, l := range a.Status(ctx) {
		if !l.Good {
			bad = append(bad, l.Part)
		}
	}
	return bad
}
