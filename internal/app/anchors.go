package app

import (
	"context"
	"net/http"

	"github.com/mdebot/mdebot/internal/anchor"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/containment"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/tenant"
)

func (a *App) newKeeper(transport http.RoundTripper, posters map[identity.Platform]chat.Poster) (*anchor.Keeper, error) {
	destinations, err := anchor.Parse(a.cfg.AuditAnchors, anchor.Outside{Transport: transport, Posters: posters})
	if err != nil {
		return nil, &ConfigError{Faults: appendFault(nil, err)}
	}
	key, err := a.cfg.auditKey()
	if err != nil {
		return nil, &ConfigError{Faults: []error{err}}
	}
	k := anchor.New(anchor.Config{
		DB: a.store, Tenants: a.tenantIDs(), Destinations: destinations, Key: key,
		Guard: a.approvals, Now: a.now, Logger: a.log,
	})
	switch {
	case len(destinations) == 0:
		a.log.Warn("the audit log is anchored nowhere, so a cut or restored database is not noticed; set MDEBOT_AUDIT_ANCHORS")
	case !k.Comparable():
		a.log.Warn("no anchor of the audit log can be read back, so a cut or restored database is not noticed at start; add a file or an https address to MDEBOT_AUDIT_ANCHORS")
	}
	return k, nil
}

// execute is containment's worker; the head of the audit log goes outside with
// what it has recorded.
func (a *App) execute(ctx context.Context, job durable.Job) error {
	defer a.anchors.Soon()
	return a.of((*containment.Runner).Execute)(ctx, job)
}

// tenantIDs are those that have an audit log: the bot's own and every one served.
func (a *App) tenantIDs() []tenant.ID {
	ids := []tenant.ID{a.tenant}
	for _, c := range a.customers {
		if c.id != a.tenant {
			ids = append(ids, c.id)
		}
	}
	return ids
}

// ran hears of every command. A no that is forgotten with a database that was put
// back must be missed, so the head goes outside with it.
func (a *App) ran(ctx context.Context, command, outcome string) {
	a.metrics.ran(command, outcome)
	a.traces.ran(ctx, command, outcome)
	switch command {
	case "deny", "withdraw", "freeze", "unlink":
		a.anchors.Soon()
	}
}

func (a *App) anchorLine() cards.StatusLine {
	l := cards.StatusLine{Part: "Audit log", Good: true, Detail: "anchored outside"}
	switch problem := a.anchors.Problem(a.tenant); {
	case a.cfg.AuditAnchors == "":
		l.Detail = "not anchored: MDEBOT_AUDIT_ANCHORS is not set"
	case problem != "":
		l.Good, l.Detail = false, problem
	}
	return l
}
