package app

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/commands"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/notify"
	"github.com/mdebot/mdebot/internal/tenant"
)

// directories asks the platform that an account belongs to.
type directories map[identity.Platform]identity.Directory

// Standing implements identity.Directory. An account of a platform that is not
// configured any more is unknown for good, so it is an answer and no error.
func (d directories) Standing(ctx context.Context, p identity.Principal) (identity.Standing, error) {
	platform, ok := d[p.Platform]
	if !ok {
		return identity.Unknown, nil
	}
	return platform.Standing(ctx, p)
}

// lateHandler is the router, which is made after the bots that need it.
type lateHandler struct{ chat.Handler }

// requestSource is the approvals service, which is made after the notifier that
// reads from it.
type requestSource struct{ *approvals.Service }

var _ notify.RequestSource = (*requestSource)(nil)

// huntRunner is the router, which is made after the notifier that lets it hunt.
type huntRunner struct{ *commands.Router }

var _ notify.HuntRunner = (*huntRunner)(nil)

// recorder appends events of their own, outside any other change.
type recorder struct {
	db  durable.DB
	log *audit.Log
}

// Record implements commands.Recorder.
func (r recorder) Record(ctx context.Context, e audit.Event) error {
	return r.db.InTx(ctx, func(tx durable.Tx) error {
		_, err := r.log.Append(ctx, tx, e)
		return err
	})
}

// guestsMayRead tells the bots where guests may read answers.
func (a *App) guestsMayRead(place chat.Destination) bool {
	return a.policy.Current().NoticeReaders(string(place))
}

// subjects tells commands what a thread is about.
type subjects struct{ *notify.Notifier }

// SubjectOf implements commands.Subjects.
func (s subjects) SubjectOf(ctx context.Context, in chat.Conversation) (commands.Subject, bool, error) {
	t, kind, id, ok, err := s.Notifier.SubjectOf(ctx, in)
	if err != nil || !ok {
		return commands.Subject{}, false, err
	}
	switch kind {
	case notify.SubjectAlert:
		return commands.Subject{Tenant: t, Kind: commands.SubjectAlert, ID: id}, true, nil
	case notify.SubjectRequest:
		return commands.Subject{Tenant: t, Kind: commands.SubjectRequest, ID: id}, true, nil
	}
	return commands.Subject{}, false, nil
}

// muteEnded records the end of a mute in the transaction that ends it.
func (a *App) muteEnded(ctx context.Context, tx durable.Tx, t tenant.ID, v cards.MuteView) error {
	detail, err := json.Marshal(map[string]any{"mute": v.ID, "number": v.Number, "kept_back": v.Held, "ended_by": v.EndedBy})
	if err != nil {
		return err
	}
	_, err = a.audit.Append(ctx, tx, audit.Event{
		Tenant: t, At: a.now(), Kind: "mute.off", Outcome: "ok", PolicyHash: a.policy.Current().Hash(), Detail: detail,
	})
	return err
}

// defenderOf is the client that commands read with. What they are permitted to
// ask for is what the acting application is permitted to do.
type defenderOf struct {
	*defender.Client
	actor *defender.Actor // nil: the reading application acts
}

// Permissions implements commands.Defender.
func (d defenderOf) Permissions(ctx context.Context) (defender.Permissions, error) {
	p, err := d.Client.Permissions(ctx)
	if err != nil || d.actor == nil {
		return p, err
	}
	return p.ActedBy(d.actor.Permissions(ctx)), nil
}

// permissions remembers what the Defender token permits, for the buttons of
// posted cards. Commands ask the client itself.
type permissions struct {
	client interface {
		Permissions(ctx context.Context) (defender.Permissions, error)
	}
	now func() time.Time

	mu      sync.Mutex
	asked   bool // at least once, whatever the answer
	current defender.Permissions
	err     error
	had     []string // roles that were there at some time
	told    string   // the problem that was announced, or ""
	since   time.Time
}

func newPermissions(c defenderOf, now func() time.Time) *permissions {
	return &permissions{client: c, now: now}
}

// permissionsEvery is how often a change of permissions is noticed. Tokens live
// an hour, and a change needs a new token.
const permissionsEvery = 5 * time.Minute

// problemFor is how long Entra may refuse before people are told.
const problemFor = time.Minute

// announce tells once that mdebot cannot sign in or lacks what it had, and once that
// it is over (threat-model D-05).
func (p *permissions) announce(ctx context.Context, tell func(context.Context, cards.StatusLine)) {
	problem := ""
	if err := p.problem(); err != nil {
		problem = err.Error()
	} else if lost := p.lost(); len(lost) > 0 {
		problem = "permissions are gone: " + strings.Join(lost, ", ")
	}
	switch {
	case problem == "":
		p.since = time.Time{}
		if p.told != "" && ctx.Err() == nil {
			p.told = ""
			tell(ctx, cards.StatusLine{Good: true})
		}
	case p.since.IsZero():
		p.since = p.now()
	}
	if problem != "" && p.told == "" && p.now().Sub(p.since) >= problemFor && ctx.Err() == nil {
		p.told = problem
		tell(ctx, cards.StatusLine{Detail: problem})
	}
}

// lost are roles that were granted since the start and are not any more. They count
// until they are back.
func (p *permissions) lost() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lost []string
	for _, role := range p.had {
		if !p.current.Has(role) {
			lost = append(lost, role)
		}
	}
	for _, role := range []string{defender.PermissionAlertRead, defender.PermissionAlertWrite, defender.PermissionMachineRead, defender.PermissionIsolate} {
		if p.err == nil && p.current.Has(role) && !slices.Contains(p.had, role) {
			p.had = append(p.had, role)
		}
	}
	return lost
}

// run reads the permissions until ctx ends, and hands what people must know to tell.
func (p *permissions) run(ctx context.Context, tell func(context.Context, cards.StatusLine)) {
	for {
		current, err := p.client.Permissions(ctx)
		p.mu.Lock()
		p.asked = true
		if p.err = err; err == nil {
			p.current = current
		}
		p.mu.Unlock()
		p.announce(ctx, tell)
		wait := permissionsEvery
		if err != nil {
			wait = 10 * time.Second
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (p *permissions) has(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current.Has(name)
}

// without says why nothing is done that needs a permission, or "". Without any
// token everything is tried, so that its absence is noticed.
func (p *permissions) without(permission string) string {
	p.mu.Lock()
	asked := p.asked
	p.mu.Unlock()
	switch {
	case !asked:
		return "waits for the first token"
	case p.has(permission):
		return ""
	}
	return "off, because it needs " + permission + " on " + defender.ResourceOf(permission)
}

func (p *permissions) problem() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		return p.current.ActingError
	}
	return p.err
}

// excess are the roles that are granted without need.
func (p *permissions) excess() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current.Excess()
}

func jsonString(s string) json.RawMessage {
	b, _ := json.Marshal(s) // a string always encodes
	return b
}
